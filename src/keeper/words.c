/* words.c: four-letter words: four bytes instead of a first frame, answered with text. Source: facts/keeper.md 3.2; held against
 * Apache's answers by test/interop/keeper_operators.py. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "keeper/figures.h"
#include "keeper/inside.h"
#include "keeper/process.h"
#include "keeper/status.h"
#include "keeper/status_members.h"

#define NOT_SERVING "This ZooKeeper instance is not currently serving requests\n"

/* --- pieces --- */

static void add_server(struct text *out, struct keeper *keeper)
{
    int64_t count = keeper->latency_count;
    text_addf(out, "Latency min/avg/max: %" PRId64 "/", keeper->latency_min_us / 1000);
    text_add_real(out, count > 0 ? (double)keeper->latency_sum_us / 1000.0 / (double)count : 0.0);
    text_addf(out, "/%" PRId64 "\n", keeper->latency_max_us / 1000);
    text_addf(out, "Received: %" PRId64 "\nSent: %" PRId64 "\n", keeper->packets_received,
              keeper->packets_sent);
    text_addf(out, "Connections: %zu\nOutstanding: %zu\n", keeper->conn_count, keeper->outstanding);
    text_addf(out, "Zxid: 0x%" PRIx64 "\nMode: %s\n", (uint64_t)keeper->machine.zxid, status_mode(keeper));
    text_addf(out, "Node count: %" PRId64 "\n", keeper->machine.tree.count + 1);
    const struct keeper_counts *counts = &keeper->counts;
    if (keeper->office.state == OFFICE_LEADING)
        text_addf(out, "Proposal sizes last/min/max: %" PRId64 "/%" PRId64 "/%" PRId64 "\n",
                  counts->proposal_last, counts->proposal_least, counts->proposal_greatest);
}

static void add_version(const struct keeper *keeper, struct text *out)
{
    text_addz(out, "Zookeeper version: " KEEPER_VERSION "\n");
    if (keeper->is_read_only) text_addz(out, "READ-ONLY mode; serving only read-only clients\n");
}

static void add_peer(struct text *out, const struct conn *conn)
{
    bool is_ipv6 = strchr(conn->host, ':') != NULL;
    text_addf(out, is_ipv6 ? "/[%s]:%u" : "/%s:%u", conn->host, conn->port);
}

static void add_conn(struct text *out, const struct conn *conn, bool is_full)
{
    text_addc(out, ' ');
    add_peer(out, conn);
    text_addf(out, "[%d](queued=%zu,recved=%" PRId64 ",sent=%" PRId64, status_interest(conn),
              conn->write_count + conn->read_count, conn->received, conn->sent);
    if (is_full && conn->live) {
        const struct keeper *keeper = conn->keeper;
        int64_t wall_ms = loop_wall_ms(keeper->loop), now_ms = loop_now_ms(keeper->loop);
        text_addf(out, ",sid=0x%" PRIx64 ",lop=%s,est=%" PRId64 ",to=%d", (uint64_t)status_session_id(conn),
                  conn->last_op == OP_NEVER ? "null" : status_op_name(conn->last_op),
                  wall_ms - (now_ms - conn->begun_ms), conn->live->timeout_ms);
        if (conn->last_xid >= 0) text_addf(out, ",lcxid=0x%x", (unsigned)conn->last_xid);
        text_addf(out, ",lzxid=0x%" PRIx64, (uint64_t)conn->last_zxid);
        int64_t average_us = conn->latency_count > 0 ? conn->latency_sum_us / conn->latency_count : 0;
        text_addf(out,
                  ",lresp=%" PRId64 ",llat=%" PRId64 ",minlat=%" PRId64 ",avglat=%" PRId64 ",maxlat=%" PRId64,
                  conn->last_answer_ms, conn->latency_last_us / 1000, conn->latency_min_us / 1000,
                  average_us / 1000, conn->latency_max_us / 1000);
    }
    text_addz(out, ")\n");
}

static void add_conns(struct text *out, struct keeper *keeper, bool is_full)
{
    LIST_EACH(&keeper->conns, item) add_conn(out, CONTAINER_OF(item, struct conn, all), is_full);
    text_addc(out, '\n');
}

/* As java.util.Date prints it: Fri Nov 27 22:44:11 UTC 2026. */
static void add_date(struct text *out, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts = {0};
    char date[64] = "";
    localtime_r(&seconds, &parts);
    strftime(date, sizeof date, "%a %b %d %H:%M:%S %Z %Y", &parts);
    text_addz(out, date);
}

static size_t bucket_count(const struct status_due *due, size_t count)
{
    size_t buckets = 0;
    for (size_t at = 0; at < count; at += status_same_due(due, count, at)) buckets++;
    return buckets;
}

/* --- the words --- */

static void word_ruok(struct keeper *keeper, struct text *out)
{
    text_addz(out, "imok");
}

static void word_isro(struct keeper *keeper, struct text *out)
{
    text_addz(out, !keeper->is_serving ? "null" : keeper->is_read_only ? "ro" : "rw");
}

/* The mask of what ZooKeeper would trace: kept for who sets it, for nothing is traced here. */
static void word_gtmk(struct keeper *keeper, struct text *out)
{
    text_addf(out, "%" PRId64, keeper->trace_mask);
}

static void word_srvr(struct keeper *keeper, struct text *out)
{
    add_version(keeper, out);
    add_server(out, keeper);
}

static void word_stat(struct keeper *keeper, struct text *out)
{
    add_version(keeper, out);
    text_addz(out, "Clients:\n");
    add_conns(out, keeper, false);
    add_server(out, keeper);
}

static void word_cons(struct keeper *keeper, struct text *out)
{
    add_conns(out, keeper, true);
}

void conns_reset(struct keeper *keeper)
{
    LIST_EACH(&keeper->conns, item)
    {
        struct conn *conn = CONTAINER_OF(item, struct conn, all);
        conn->received = conn->sent = 0;
        conn->latency_count = conn->latency_sum_us = conn->latency_last_us = 0;
        conn->latency_min_us = conn->latency_max_us = 0;
        conn->last_op = 0;
        conn->last_xid = -1;
        conn->last_zxid = -1;
        conn->last_answer_ms = 0;
    }
}

static void word_crst(struct keeper *keeper, struct text *out)
{
    conns_reset(keeper);
    text_addz(out, "Connection stats reset.\n");
}

static void word_srst(struct keeper *keeper, struct text *out)
{
    figures_reset(keeper);
    text_addz(out, "Server stats reset.\n");
}

static void word_conf(struct keeper *keeper, struct text *out)
{
    const struct keeper_config *config = &keeper->config;
    int64_t data_bytes, log_bytes;
    status_dir_bytes(keeper, &data_bytes, &log_bytes);
    int plain, secure;
    status_ports(keeper, &plain, &secure);
    text_addf(out, "clientPort=%d\nsecureClientPort=%d\n", plain, secure);
    text_addf(out, "dataDir=%s\ndataDirSize=%" PRId64 "\n", config->data_dir, data_bytes);
    text_addf(out, "dataLogDir=%s\ndataLogSize=%" PRId64 "\n",
              config->data_log_dir ? config->data_log_dir : config->data_dir, log_bytes);
    text_addf(out, "tickTime=%d\nmaxClientCnxns=%d\n", config->tick_time_ms, config->max_client_cnxns);
    text_addf(out, "minSessionTimeout=%d\nmaxSessionTimeout=%d\n", keeper_min_timeout_ms(keeper),
              keeper_max_timeout_ms(keeper));
    text_addf(out, "clientPortListenBacklog=%d\nserverId=%d\n", config->listen_backlog,
              quorum_member_number(keeper->office.id));
    if (status_is_member(keeper)) status_add_membership(keeper, out);
}

static void add_pair(void *context, const char *name, const char *value)
{
    text_addf(context, "%s=%s\n", name, value);
}

static void word_envi(struct keeper *keeper, struct text *out)
{
    text_addz(out, "Environment:\n");
    process_environment(KEEPER_VERSION, add_pair, out);
}

/* What is due at the same time, together. Frees `due`. */
static void dump_due(struct text *out, struct status_due *due, size_t count, int64_t wall_ms,
                     void (*add)(struct text *out, const struct status_due *due))
{
    text_addf(out, " Sets (%zu)/(%zu):\n", bucket_count(due, count), count);
    for (size_t at = 0, same; at < count; at += same) {
        same = status_same_due(due, count, at);
        text_addf(out, "%zu expire at ", same);
        add_date(out, due[at].due_ms + wall_ms);
        text_addz(out, ":\n");
        for (size_t i = at; i < at + same; i++) add(out, &due[i]);
    }
    free(due);
}

static void add_due_session(struct text *out, const struct status_due *due)
{
    text_addf(out, "\t0x%" PRIx64 "\n", (uint64_t)due->session->id);
}

static void add_due_conn(struct text *out, const struct status_due *due)
{
    text_addz(out, "\tip: ");
    add_peer(out, due->conn);
    text_addf(out, " sessionId: 0x%" PRIx64 "\n", (uint64_t)status_session_id(due->conn));
}

static void dump_ephemerals(struct keeper *keeper, struct text *out)
{
    size_t owners = 0;
    LIST_EACH(&keeper->machine.session_list, item)
    owners += status_names_ephemerals(CONTAINER_OF(item, struct session, all));
    text_addf(out, "ephemeral nodes dump:\nSessions with Ephemerals (%zu):\n", owners);
    LIST_EACH(&keeper->machine.session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        if (status_names_ephemerals(session)) text_addf(out, "0x%" PRIx64 ":\n", (uint64_t)session->id);
        for (const struct znode *node = session->ephemerals.first; node;
             node = znode_next_ephemeral(&keeper->machine.tree, node)) {
            text_addc(out, '\t');
            tree_path(&keeper->machine.tree, node, out);
            text_addc(out, '\n');
        }
    }
}

static void word_dump(struct keeper *keeper, struct text *out)
{
    int64_t wall_ms = loop_wall_ms(keeper->loop) - loop_now_ms(keeper->loop); /* of 0 on our clock */
    size_t count;
    text_addz(out, "SessionTracker dump:\n");
    if (office_leads(keeper)) {
        struct status_due *sessions = status_sessions(keeper, &count);
        text_addz(out, "Session");
        dump_due(out, sessions, count, wall_ms, add_due_session);
    } else {
        status_add_global_sessions(keeper, out); /* when they expire is for the leader to say */
    }
    dump_ephemerals(keeper, out);
    struct status_due *conns = status_conns(keeper, &count);
    text_addz(out, "Connections dump:\nConnections");
    dump_due(out, conns, count, wall_ms, add_due_conn);
}

static void word_wchs(struct keeper *keeper, struct text *out)
{
    int64_t connections, paths;
    status_watches(keeper, &connections, &paths);
    text_addf(out, "%" PRId64 " connections watching %" PRId64 " paths\nTotal watches:%" PRId64 "\n",
              connections, paths, keeper->watches.data_count);
}

static void word_wchc(struct keeper *keeper, struct text *out)
{
    LIST_EACH(&keeper->conns, item)
    {
        const struct conn *conn = CONTAINER_OF(item, struct conn, all);
        struct slice path;
        int modes;
        if (!conn->watcher.is_in_data) continue;
        text_addf(out, "0x%" PRIx64 "\n", (uint64_t)status_session_id(conn));
        for (struct list *position = NULL; watcher_next_path(&conn->watcher, &position, &path, &modes);) {
            if (!(modes & WATCH_IN_DATA)) continue;
            text_addc(out, '\t');
            text_add(out, path);
            text_addc(out, '\n');
        }
    }
    text_addc(out, '\n');
}

static void word_wchp(struct keeper *keeper, struct text *out)
{
    struct watch_path *known;
    struct slice path;
    for (size_t at = 0; (known = watch_next_path(&keeper->watches, &at, &path));) {
        struct watcher *watcher;
        int modes;
        bool is_named = false;
        for (struct list *position = NULL; (watcher = watch_next_watcher(known, &position, &modes));) {
            if (!(modes & WATCH_IN_DATA)) continue;
            if (!is_named) {
                text_add(out, path);
                text_addc(out, '\n');
            }
            is_named = true;
            const struct conn *conn = CONTAINER_OF(watcher, struct conn, watcher);
            text_addf(out, "\t0x%" PRIx64 "\n", (uint64_t)status_session_id(conn));
        }
    }
    text_addc(out, '\n');
}

static void word_dirs(struct keeper *keeper, struct text *out)
{
    int64_t data_bytes, log_bytes;
    status_dir_bytes(keeper, &data_bytes, &log_bytes);
    text_addf(out, "datadir_size: %" PRId64 "\nlogdir_size: %" PRId64 "\n", data_bytes, log_bytes);
}

static void word_hash(struct keeper *keeper, struct text *out)
{
    uint64_t at = keeper->digest_count > DIGESTS_KEPT ? keeper->digest_count - DIGESTS_KEPT : 0;
    for (; at < keeper->digest_count; at++) {
        const struct tree_digest_at *then = &keeper->digests[at % DIGESTS_KEPT];
        text_addf(out, "%" PRIx64 ": %" PRId64 "\n", (uint64_t)then->zxid, (int64_t)then->digest);
    }
}

static const struct word {
    char name[5];
    bool works_always; /* also while we do not serve */
    void (*run)(struct keeper *keeper, struct text *out);
} words[] = {
    {"conf", false, word_conf},    {"cons", false, word_cons}, {"crst", false, word_crst},
    {"dirs", false, word_dirs},    {"dump", false, word_dump}, {"envi", true, word_envi},
    {"gtmk", true, word_gtmk},     {"hash", false, word_hash}, {"isro", true, word_isro},
    {"mntr", false, figures_mntr}, {"ruok", true, word_ruok},  {"srst", false, word_srst},
    {"srvr", false, word_srvr},    {"stat", false, word_stat}, {"stmk", true, word_gtmk},
    {"wchc", false, word_wchc},    {"wchp", false, word_wchp}, {"wchs", false, word_wchs},
};

/* As ZooKeeper reads its whitelist: words between commas, * for all of them; srvr is always there. */
static bool is_allowed(const struct keeper *keeper, const char *word)
{
    if (strcmp(word, "srvr") == 0) return true;
    if (strcmp(word, "isro") == 0 && keeper->config.admits_read_only) return true;
    for (const char *at = keeper->config.four_letter_words; *at;) {
        size_t size = strcspn(at, ","), first = 0, end = size;
        while (first < end && (unsigned char)at[first] <= ' ') first++;
        while (end > first && (unsigned char)at[end - 1] <= ' ') end--;
        if (end - first == 1 && at[first] == '*') return true;
        if (end - first == 4 && memcmp(at + first, word, 4) == 0) return true;
        at += size + (at[size] == ',');
    }
    return false;
}

enum words_found words_try(struct conn *conn, const uint8_t *data, size_t size)
{
    enum { MASK_SIZE = 8 };
    const struct word *known = NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words && !known; i++) {
        if (memcmp(words[i].name, data, 4) == 0) known = &words[i];
    }
    if (!known) return WORDS_NONE;
    struct keeper *keeper = conn->keeper;
    bool is_ours = is_allowed(keeper, known->name);
    if (is_ours && strcmp(known->name, "stmk") == 0) {
        if (size < 4 + MASK_SIZE) return WORDS_MORE;
        keeper->trace_mask = (int64_t)get_be64(data + 4);
    }
    conn->received++;
    keeper->packets_received++;
    struct text out = {0};
    if (!is_ours) {
        text_addf(&out, "%s is not executed because it is not in the whitelist.\n", known->name);
    } else if (!keeper->is_serving && !known->works_always) {
        text_addz(&out, NOT_SERVING);
    } else {
        known->run(keeper, &out);
    }
    uint8_t *into = out.failed ? NULL : conn_reserve(conn, out.size);
    if (into && out.size) memcpy(into, out.data, out.size);
    text_free(&out);
    keeper->packets_sent++;
    conn_finish(conn);
    return WORDS_ANSWERED;
}
