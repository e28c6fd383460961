/* words.c: four-letter words: four bytes instead of a first frame, answered with text. Source: facts/keeper.md 3.2. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "keeper/inside.h"

#define WORDS_VERSION "3.9.5-odradek-" ODRADEK_VERSION ", built on 2026-11-22 00:00 UTC"

/* --- pieces --- */

static void add_millis(struct text *out, int64_t us)
{
    text_addf(out, "%" PRId64, us / 1000);
}

static double average_ms(int64_t sum_us, int64_t count)
{
    return count > 0 ? (double)sum_us / 1000.0 / (double)count : 0.0;
}

static void add_latency(struct text *out, const struct keeper *keeper)
{
    text_addf(out, "Latency min/avg/max: %" PRId64 "/%.4g/%" PRId64 "\n", keeper->latency_min_us / 1000,
              average_ms(keeper->latency_sum_us, keeper->latency_count), keeper->latency_max_us / 1000);
}

static void add_server(struct text *out, const struct keeper *keeper)
{
    add_latency(out, keeper);
    text_addf(out, "Received: %" PRId64 "\nSent: %" PRId64 "\n", keeper->packets_received,
              keeper->packets_sent);
    text_addf(out, "Connections: %zu\nOutstanding: %zu\n", keeper->conn_count, keeper->outstanding);
    text_addf(out, "Zxid: 0x%" PRIx64 "\nMode: %s\n", (uint64_t)keeper->machine.zxid, office_mode(keeper));
    text_addf(out, "Node count: %" PRId64 "\n", keeper->machine.tree.count + 1);
}

static void add_peer(struct text *out, const struct conn *conn)
{
    bool is_ipv6 = memchr(conn->host, ':', strlen(conn->host)) != NULL;
    text_addf(out, is_ipv6 ? " /[%s]:%u" : " /%s:%u", conn->host, conn->port);
}

static const char *op_name(int32_t op)
{
    switch (op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL: return "CREA";
    case OP_DELETE: return "DELE";
    case OP_EXISTS: return "EXIS";
    case OP_GET_DATA: return "GETD";
    case OP_SET_DATA: return "SETD";
    case OP_GET_ACL: return "GETA";
    case OP_SET_ACL: return "SETA";
    case OP_GET_CHILDREN:
    case OP_GET_CHILDREN2: return "GETC";
    case OP_SYNC: return "SYNC";
    case OP_PING: return "PING";
    case OP_MULTI: return "MULT";
    case OP_SET_WATCHES:
    case OP_SET_WATCHES2: return "SETW";
    case OP_ADD_WATCH: return "ADDW";
    case -1: return "SESS";
    default: return "NA";
    }
}

static void add_conn(struct text *out, const struct conn *conn, bool is_full)
{
    add_peer(out, conn);
    text_addf(out, "[%d](queued=%zu,recved=%" PRId64 ",sent=%" PRId64, list_empty(&conn->stalled) ? 1 : 0,
              conn->write_count + conn->read_count, conn->received, conn->sent);
    if (is_full && conn->live) {
        const struct keeper *keeper = conn->keeper;
        int64_t wall_ms = loop_wall_ms(keeper->loop), now_ms = loop_now_ms(keeper->loop);
        text_addf(out, ",sid=0x%" PRIx64 ",lop=%s,est=%" PRId64 ",to=%d,lcxid=0x%x,lzxid=0x%" PRIx64,
                  (uint64_t)conn->live->session->id, op_name(conn->last_op),
                  wall_ms - (now_ms - conn->begun_ms), conn->live->timeout_ms, (unsigned)conn->last_xid,
                  (uint64_t)conn->last_zxid);
        text_addf(out, ",lresp=%" PRId64 ",llat=", conn->last_answer_ms);
        add_millis(out, conn->latency_last_us);
        text_addz(out, ",minlat=");
        add_millis(out, conn->latency_min_us);
        text_addz(out, ",avglat=");
        add_millis(out, conn->sent > 0 ? conn->latency_sum_us / conn->sent : 0);
        text_addz(out, ",maxlat=");
        add_millis(out, conn->latency_max_us);
    }
    text_addz(out, ")\n");
}

static void add_conns(struct text *out, struct keeper *keeper, bool is_full)
{
    LIST_EACH(&keeper->conns, item) add_conn(out, CONTAINER_OF(item, struct conn, all), is_full);
    text_addc(out, '\n');
}

/* --- the words --- */

static void word_ruok(struct keeper *keeper, struct text *out)
{
    text_addz(out, "imok");
}

static void word_isro(struct keeper *keeper, struct text *out)
{
    text_addz(out, "rw");
}

static void word_gtmk(struct keeper *keeper, struct text *out)
{
    text_addz(out, "306");
}

static void word_srvr(struct keeper *keeper, struct text *out)
{
    text_addz(out, "Zookeeper version: " WORDS_VERSION "\n");
    add_server(out, keeper);
}

static void word_stat(struct keeper *keeper, struct text *out)
{
    text_addz(out, "Zookeeper version: " WORDS_VERSION "\nClients:\n");
    add_conns(out, keeper, false);
    add_server(out, keeper);
}

static void word_cons(struct keeper *keeper, struct text *out)
{
    add_conns(out, keeper, true);
}

static void word_crst(struct keeper *keeper, struct text *out)
{
    LIST_EACH(&keeper->conns, item)
    {
        struct conn *conn = CONTAINER_OF(item, struct conn, all);
        conn->sent = conn->latency_min_us = conn->latency_max_us = conn->latency_sum_us = 0;
        conn->received = 1; /* 0 means "fresh" */
    }
    text_addz(out, "Connection stats reset.\n");
}

static void word_srst(struct keeper *keeper, struct text *out)
{
    keeper->packets_received = keeper->packets_sent = 0;
    keeper->latency_count = keeper->latency_sum_us = keeper->latency_min_us = keeper->latency_max_us = 0;
    text_addz(out, "Server stats reset.\n");
}

static void word_conf(struct keeper *keeper, struct text *out)
{
    const struct keeper_config *config = &keeper->config;
    struct quorum_stats log;
    quorum_stats(keeper->quorum, &log);
    text_addf(out, "clientPort=%u\nsecureClientPort=-1\n", keeper_port(keeper));
    text_addf(out, "dataDir=%s\ndataDirSize=%" PRId64 "\n", config->data_dir,
              quorum_log_bytes(keeper->quorum));
    text_addf(out, "dataLogDir=%s\ndataLogSize=%" PRId64 "\n", config->data_dir,
              quorum_log_bytes(keeper->quorum));
    text_addf(out, "tickTime=%d\nmaxClientCnxns=%d\n", config->tick_time_ms, config->max_client_cnxns);
    text_addf(out, "minSessionTimeout=%d\nmaxSessionTimeout=%d\n", keeper_min_timeout_ms(keeper),
              keeper_max_timeout_ms(keeper));
    text_addf(out, "clientPortListenBacklog=%d\nserverId=0\n", config->listen_backlog);
}

static void word_envi(struct keeper *keeper, struct text *out)
{
    char host[256] = "localhost";
    if (gethostname(host, sizeof host - 1) != 0) slice_text(SLICE("localhost"), host, sizeof host);
    text_addz(out, "Environment:\nzookeeper.version=" WORDS_VERSION "\n");
    text_addf(out, "host.name=%s\n", host);
    text_addz(
        out,
        "java.version=none\njava.vendor=odradek\njava.home=\njava.class.path=\njava.library.path=\n"
        "java.io.tmpdir=/tmp\njava.compiler=<NA>\nos.name=Linux\nos.arch=amd64\nos.version=\n"
        "user.name=\nuser.home=\nuser.dir=\nos.memory.free=0MB\nos.memory.max=0MB\nos.memory.total=0MB\n");
}

static void word_dump(struct keeper *keeper, struct text *out)
{
    size_t with_ephemerals = 0;
    text_addf(out, "SessionTracker dump:\nSession Sets (%zu)/(%zu):\n", keeper->machine.sessions.count,
              keeper->machine.sessions.count);
    int64_t wall_ms = loop_wall_ms(keeper->loop) - loop_now_ms(keeper->loop);
    LIST_EACH(&keeper->machine.session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        const struct live *live = map_get_number(&keeper->lives, (uint64_t)session->id);
        int64_t due_ms = live ? live->due_tick * keeper->config.tick_time_ms + wall_ms : 0;
        text_addf(out, "1 expire at %" PRId64 ":\n\t0x%" PRIx64 "\n", due_ms, (uint64_t)session->id);
        with_ephemerals += session->ephemerals.count > 0;
    }
    text_addf(out, "ephemeral nodes dump:\nSessions with Ephemerals (%zu):\n", with_ephemerals);
    LIST_EACH(&keeper->machine.session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        if (session->ephemerals.count > 0) text_addf(out, "0x%" PRIx64 ":\n", (uint64_t)session->id);
        for (const struct znode *node = session->ephemerals.first; node; node = node->ephemeral->next) {
            text_addc(out, '\t');
            tree_path(node, out);
            text_addc(out, '\n');
        }
    }
    text_addf(out, "Connections dump:\nConnections Sets (%zu)/(%zu):\n", keeper->conn_count,
              keeper->conn_count);
}

static void word_wchs(struct keeper *keeper, struct text *out)
{
    size_t watching = 0;
    LIST_EACH(&keeper->conns, item) watching += CONTAINER_OF(item, struct conn, all)->watcher.count > 0;
    text_addf(out, "%zu connections watching %zu paths\nTotal watches:%" PRId64 "\n", watching,
              keeper->watches.paths.count, keeper->watches.count);
}

static void add_session_of(struct text *out, const struct conn *conn)
{
    text_addf(out, "0x%" PRIx64, conn->live ? (uint64_t)conn->live->session->id : 0);
}

static void word_wchc(struct keeper *keeper, struct text *out)
{
    LIST_EACH(&keeper->conns, item)
    {
        const struct conn *conn = CONTAINER_OF(item, struct conn, all);
        if (conn->watcher.count == 0) continue;
        add_session_of(out, conn);
        text_addc(out, '\n');
        struct slice path;
        for (struct list *position = NULL; watcher_next_path(&conn->watcher, &position, &path);) {
            text_addc(out, '\t');
            text_add(out, path);
            text_addc(out, '\n');
        }
    }
}

static void word_wchp(struct keeper *keeper, struct text *out)
{
    struct watch_path *known;
    struct slice path;
    for (size_t at = 0; (known = watch_next_path(&keeper->watches, &at, &path));) {
        text_add(out, path);
        text_addc(out, '\n');
        struct watcher *watcher;
        for (struct list *position = NULL; (watcher = watch_next_watcher(known, &position));) {
            text_addc(out, '\t');
            add_session_of(out, CONTAINER_OF(watcher, struct conn, watcher));
            text_addc(out, '\n');
        }
    }
}

static void word_dirs(struct keeper *keeper, struct text *out)
{
    text_addf(out, "datadir_size: %" PRId64 "\nlogdir_size: %" PRId64 "\n", quorum_log_bytes(keeper->quorum),
              quorum_log_bytes(keeper->quorum));
}

static void word_mntr(struct keeper *keeper, struct text *out)
{
    struct keeper_stats stats;
    struct quorum_stats log;
    keeper_stats(keeper, &stats);
    quorum_stats(keeper->quorum, &log);
    const struct {
        const char *name;
        int64_t value;
    } figures[] = {
        {"max_latency", keeper->latency_max_us / 1000},
        {"min_latency", keeper->latency_min_us / 1000},
        {"packets_received", stats.packets_received},
        {"packets_sent", stats.packets_sent},
        {"num_alive_connections", stats.connection_count},
        {"outstanding_requests", stats.outstanding},
        {"znode_count", stats.znode_count},
        {"watch_count", stats.watch_count},
        {"ephemerals_count", stats.ephemeral_count},
        {"approximate_data_size", stats.approximate_data_bytes},
        {"global_sessions", stats.session_count},
        {"local_sessions", 0},
        {"uptime", loop_now_ms(keeper->loop) - keeper->begun_ms},
        {"connection_rejected", keeper->rejected_count},
        {"stale_sessions_expired", keeper->expired_count},
        {"snapshots_count", log.snapshots},
        {"cnt_fsynctime", log.syncs},
        {"sum_fsynctime", log.sync_us_sum / 1000},
        {"max_fsynctime", log.sync_us_max / 1000},
    };
    text_addz(out, "zk_version\t" WORDS_VERSION "\nzk_server_state\tstandalone\n");
    text_addf(out, "zk_avg_latency\t%.4g\n", average_ms(keeper->latency_sum_us, keeper->latency_count));
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        text_addf(out, "zk_%s\t%" PRId64 "\n", figures[i].name, figures[i].value);
    }
}

static const struct word {
    char name[5];
    void (*run)(struct keeper *keeper, struct text *out);
} words[] = {
    {"conf", word_conf}, {"cons", word_cons}, {"crst", word_crst}, {"dirs", word_dirs},
    {"dump", word_dump}, {"envi", word_envi}, {"gtmk", word_gtmk}, {"isro", word_isro},
    {"mntr", word_mntr}, {"ruok", word_ruok}, {"srst", word_srst}, {"srvr", word_srvr},
    {"stat", word_stat}, {"wchc", word_wchc}, {"wchp", word_wchp}, {"wchs", word_wchs},
};

static bool is_listed(const char *list, const char *word)
{
    if (strcmp(list, "*") == 0) return true;
    for (const char *at = list; *at;) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ", \t");
        if (size == 4 && memcmp(at, word, 4) == 0) return true;
        at += size;
    }
    return false;
}

static bool is_allowed(const struct keeper *keeper, const char *word)
{
    if (strcmp(word, "isro") == 0 && keeper->config.admits_read_only) return true;
    return is_listed(keeper->config.four_letter_words, word);
}

bool words_try(struct conn *conn, const uint8_t word[4])
{
    const struct word *known = NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words && !known; i++) {
        if (memcmp(words[i].name, word, 4) == 0) known = &words[i];
    }
    if (!known) return false;
    struct text out = {0};
    if (is_allowed(conn->keeper, known->name)) {
        known->run(conn->keeper, &out);
    } else {
        text_addf(&out, "%s is not executed because it is not in the whitelist.\n", known->name);
    }
    uint8_t *into = out.failed ? NULL : conn_reserve(conn, out.size);
    if (into && out.size) memcpy(into, out.data, out.size);
    text_free(&out);
    conn_finish(conn);
    return true;
}
