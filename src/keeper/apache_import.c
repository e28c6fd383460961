/* apache_import.c: which of Apache's files are read, in which order, and whether what they come to is right. */
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/vec.h"
#include "keeper/apache_inside.h"
#include "keeper/machine_inside.h"
#include "keeper/quota.h"
#include "keeper/tree_inside.h"
#include "loop/disk.h"
#include "quorum/offline.h"

#define PREFIX "keeper-"

struct apache_name {
    int64_t zxid;
    char *name;
};

struct apache_names {
    struct apache_name *items;
    size_t count, capacity;
};

struct importing {
    struct disk *disk;
    const struct apache_import *import;
    struct apache_report *report;
    char snapshot_dir[PATH_MAX], log_dir[PATH_MAX];
    struct apache_names snapshots, logs;
    struct apache_state state;
    bool has_state;
    /* Transactions are missing after this one, unless a digest says that nothing is. */
    bool has_gap;
    int64_t gap_after, gap_to;
    bool is_fuzzy;        /* until the digest of the snapshot */
    int64_t least_epoch;  /* we go on behind it */
    bool has_last_digest; /* of the last record, when nothing else says where the snapshot is whole */
    uint64_t last_digest;
};

/* --- the files --- */

static bool path_join(char out[PATH_MAX], const char *dir, const char *name)
{
    return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX;
}

/* "snapshot.1a0f" and, for snapshots, .gz and .snappy behind it. */
static bool name_parse(const char *name, const char *kind, bool may_be_packed, int64_t *zxid)
{
    size_t size = strlen(kind);
    if (strncmp(name, kind, size) != 0 || name[size] != '.') return false;
    const char *digits = name + size + 1;
    size_t count = strspn(digits, "0123456789abcdefABCDEF");
    const char *rest = digits + count;
    if (count == 0 || count > 16) return false;
    bool is_packed = strcmp(rest, ".gz") == 0 || strcmp(rest, ".snappy") == 0;
    if (*rest && !(is_packed && may_be_packed)) return false;
    *zxid = (int64_t)strtoull(digits, NULL, 16);
    return *zxid >= 0;
}

static int name_compare(const void *a, const void *b)
{
    const struct apache_name *x = a, *y = b;
    if (x->zxid != y->zxid) return x->zxid < y->zxid ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void names_free(struct apache_names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->items[i].name);
    free(names->items);
}

static enum error names_list(struct disk *disk, const char *dir, const char *kind, bool may_be_packed,
                             struct apache_names *names)
{
    struct disk_entry *entries = NULL;
    size_t count = 0;
    enum error err = disk_list(disk, dir, &entries, &count);
    for (size_t i = 0; i < count && err == OK; i++) {
        int64_t zxid;
        if (entries[i].is_dir || !name_parse(entries[i].name, kind, may_be_packed, &zxid)) continue;
        char *copy = slice_dup(slice_of(entries[i].name));
        if (!copy || !VEC_RESERVE(names->items, names->count, names->capacity)) {
            free(copy);
            err = ERR_NOMEM;
            break;
        }
        names->items[names->count++] = (struct apache_name){zxid, copy};
    }
    disk_list_free(entries, count);
    if (names->count > 1) qsort(names->items, names->count, sizeof *names->items, name_compare);
    return err;
}

/* A dataDir has a version-2; whoever names that itself is understood too. */
static enum error resolve(struct disk *disk, const char *dir, char out[PATH_MAX])
{
    if (!path_join(out, dir, "version-2")) return ERR_TOO_LARGE;
    if (!disk_exists(disk, out)) snprintf(out, PATH_MAX, "%s", dir);
    return disk_exists(disk, out) ? OK : ERR_NOT_FOUND;
}

enum error apache_is_there(struct disk *disk, const char *dir, bool *is_there, bool *is_both)
{
    char path[PATH_MAX];
    bool has_ours = false;
    *is_there = *is_both = false;
    if (!path_join(path, dir, "version-2")) return ERR_TOO_LARGE;
    if (!disk_exists(disk, path)) return OK;
    struct apache_names names = {0};
    enum error err = names_list(disk, path, "snapshot", true, &names);
    if (err == OK) err = names_list(disk, path, "log", false, &names);
    if (err == OK) err = quorum_offline_exists(disk, dir, PREFIX, &has_ours);
    *is_both = names.count > 0 && has_ours;
    *is_there = names.count > 0 && !has_ours;
    names_free(&names);
    return err;
}

/* --- verifying --- */

/* Something is wrong that `forces` may pass over. */
static enum error problem(struct importing *importing, enum error err)
{
    importing->report->problem_count++;
    return importing->import->forces ? OK : err;
}

static enum error compare(struct importing *importing, uint64_t expected, const char *where)
{
    struct apache_state *state = &importing->state;
    if (state->machine.tree.digest == expected) {
        importing->report->verified_zxid = state->zxid;
        importing->has_gap = false;
        return OK;
    }
    if (importing->report->problem_count < 3) {
        diag_error("at zxid 0x%llx (%s) the znodes sum up to %llx, ZooKeeper had %llx: not the same tree",
                   (unsigned long long)state->zxid, where, (unsigned long long)state->machine.tree.digest,
                   (unsigned long long)expected);
    }
    return problem(importing, ERR_CORRUPT);
}

/* --- the snapshot --- */

static enum error read_snapshots(struct importing *importing)
{
    struct apache_names *names = &importing->snapshots;
    struct apache_state *state = &importing->state;
    char path[PATH_MAX];
    for (size_t i = names->count; i-- > 0;) {
        if (!path_join(path, importing->snapshot_dir, names->items[i].name)) return ERR_TOO_LARGE;
        apache_state_init(state);
        importing->has_state = true;
        int64_t position;
        enum error err = apache_snapshot_read(state, importing->disk, path, names->items[i].zxid, &position);
        if (err == OK) {
            importing->report->snapshot_zxid = state->zxid;
            tree_digest_all(&state->machine.tree);
            importing->is_fuzzy = state->has_digest && state->digest_zxid > state->zxid;
            if (!state->has_digest || importing->is_fuzzy) return OK;
            return compare(importing, state->digest_expected, names->items[i].name);
        }
        apache_state_free(state);
        importing->has_state = false;
        bool is_broken = err == ERR_CORRUPT || err == ERR_TRUNCATED;
        diag_warn("cannot use snapshot \"%s\": %s at byte %lld%s", path, error_text(err), (long long)position,
                  i > 0 && is_broken ? "; trying the one before" : "");
        if (i == 0 || !is_broken) return err;
    }
    apache_state_begin(state);
    importing->has_state = true;
    return OK;
}

/* --- the logs --- */

static void look_for_gap(struct importing *importing, int64_t zxid)
{
    int64_t last = importing->state.zxid;
    bool follows = zxid == last + 1;
    if (zxid >> 32 > last >> 32) follows = (zxid & 0xffffffff) <= 1;
    if (follows || importing->has_gap) return;
    importing->has_gap = true;
    importing->gap_after = last;
    importing->gap_to = zxid;
}

static enum error replay(struct importing *importing, const struct apache_txn *txn, const char *path)
{
    struct apache_state *state = &importing->state;
    if (txn->zxid <= state->zxid) return OK; /* the snapshot has it, or an earlier record was the same */
    look_for_gap(importing, txn->zxid);
    bool has_digest = false;
    uint64_t digest = 0;
    enum error err = apache_replay(state, txn, &has_digest, &digest);
    if (err != OK) {
        diag_error("cannot use log \"%s\": transaction 0x%llx of type %d at byte %lld: %s", path,
                   (unsigned long long)txn->zxid, txn->type, (long long)txn->position, error_text(err));
        return problem(importing, err);
    }
    importing->report->txn_count++;
    if (importing->is_fuzzy) {
        if (state->zxid < state->digest_zxid) return OK;
        importing->is_fuzzy = false;
        return state->zxid == state->digest_zxid ? compare(importing, state->digest_expected, path) : OK;
    }
    /* Without a digest in the snapshot nobody knows from where on it is whole, only that it is at the end. */
    importing->has_last_digest = has_digest && !state->has_digest && importing->report->snapshot_zxid >= 0;
    importing->last_digest = digest;
    return has_digest && !importing->has_last_digest ? compare(importing, digest, path) : OK;
}

static enum error read_log(struct importing *importing, const char *path)
{
    struct apache_log log;
    enum error err = apache_log_open(importing->disk, path, &log);
    if (err == ERR_TRUNCATED) {
        diag_warn("log \"%s\" has not even a header: passed over", path);
        return OK;
    }
    if (err != OK) {
        diag_error("cannot use log \"%s\": %s", path, error_text(err));
        return problem(importing, err);
    }
    struct apache_txn txn;
    enum apache_log_end end;
    while ((end = apache_log_next(&log, &txn, &err)) == APACHE_LOG_TXN) {
        err = replay(importing, &txn, path);
        if (err != OK) break;
    }
    long long position = (long long)log.file.position;
    if (end == APACHE_LOG_TORN) {
        diag_warn("log \"%s\" ends in an unfinished record at byte %lld", path, position);
    } else if (end == APACHE_LOG_HURT) {
        diag_error("log \"%s\" is damaged at byte %lld, behind transaction 0x%llx", path, position,
                   (unsigned long long)importing->state.zxid);
        err = problem(importing, ERR_CORRUPT);
    } else if (end == APACHE_LOG_FAILED) {
        diag_error("cannot read log \"%s\" at byte %lld: %s", path, position, error_text(err));
    }
    apache_log_close(&log);
    return err;
}

static enum error read_logs(struct importing *importing)
{
    const struct apache_names *names = &importing->logs;
    char path[PATH_MAX];
    size_t first = 0; /* the last that may hold what follows the snapshot */
    for (size_t i = 0; i < names->count; i++) {
        if (names->items[i].zxid <= importing->state.zxid) first = i;
    }
    enum error err = OK;
    for (size_t i = first; i < names->count && err == OK; i++) {
        if (!path_join(path, importing->log_dir, names->items[i].name)) return ERR_TOO_LARGE;
        err = read_log(importing, path);
    }
    return err;
}

/* --- finishing --- */

static enum error check_end(struct importing *importing)
{
    struct apache_state *state = &importing->state;
    enum error err = OK;
    if (importing->has_last_digest) err = compare(importing, importing->last_digest, "the last record");
    if (err == OK && importing->is_fuzzy) {
        diag_error(
            "the snapshot was written up to zxid 0x%llx, the log ends at 0x%llx: transactions are missing",
            (unsigned long long)state->digest_zxid, (unsigned long long)state->zxid);
        err = problem(importing, ERR_CORRUPT);
    }
    if (err == OK && importing->has_gap) {
        diag_error("from zxid 0x%llx to 0x%llx transactions are missing",
                   (unsigned long long)importing->gap_after, (unsigned long long)importing->gap_to);
        err = problem(importing, ERR_CORRUPT);
    }
    /* The same, seen from the znodes: zxids must rise for ever. */
    int64_t latest = 0;
    uint64_t at = 0;
    const struct znode *node;
    while ((node = tree_next(&state->machine.tree, &at))) {
        struct stat_kept kept = znode_kept(&state->machine.tree, node);
        const int64_t zxids[] = {kept.czxid, kept.mzxid, kept.pzxid};
        for (int z = 0; z < 3; z++) latest = zxids[z] > latest ? zxids[z] : latest;
    }
    if (err == OK && latest > state->zxid) {
        diag_error("there are znodes of zxid 0x%llx, and the log ends at 0x%llx: transactions are missing",
                   (unsigned long long)latest, (unsigned long long)state->zxid);
        err = problem(importing, ERR_CORRUPT);
        state->zxid = latest;
    }
    /* A list that the snapshot did not have yet, and no transaction brought. */
    struct tree *tree = &state->machine.tree;
    if (err == OK && tree->acls.lists[state->missing_acl].references > 1) {
        diag_error("%lld znodes have an ACL that neither the snapshot nor the log holds",
                   (long long)tree->acls.lists[state->missing_acl].references - 1);
        err = ERR_CORRUPT;
    }
    return err;
}

/* Ephemerals of sessions that ended: ZooKeeper drops them when it starts. */
static void drop_orphans(struct importing *importing)
{
    struct apache_state *state = &importing->state;
    LIST_EACH(&state->machine.session_list, item)
    {
        struct session *session = CONTAINER_OF(item, struct session, all);
        if (session->timeout_ms != APACHE_GHOST_TIMEOUT) continue;
        while (session->ephemerals.first) {
            apache_remove(state, session->ephemerals.first, state->zxid);
            importing->report->orphan_count++;
        }
        machine_session_remove(&state->machine, session);
    }
}

/* The password that ZooKeeper makes of a session's id: java.util.Random's bytes. */
static void session_password(int64_t id, uint8_t password[PASSWORD_SIZE])
{
    const uint64_t factor = 0x5deece66dULL, mask = (1ULL << 48) - 1;
    uint64_t seed = (((uint64_t)id ^ 0xb3415c00ULL) ^ factor) & mask;
    for (int i = 0; i < PASSWORD_SIZE; i += 4) {
        seed = (seed * factor + 0xb) & mask;
        uint32_t bits = (uint32_t)(seed >> 16);
        for (int b = 0; b < 4; b++) password[i + b] = (uint8_t)(bits >> 8 * b);
    }
}

static struct znode *ensure(struct apache_state *state, struct znode *parent, const char *name)
{
    struct tree *tree = &state->machine.tree;
    struct znode *node = tree_child(tree, parent, slice_of(name));
    if (node) return node;
    struct znode_new wanted = {.name = slice_of(name), .data = SLICE(""), .order = state->order++};
    acl_retain(&tree->acls, ACL_OPEN);
    int32_t cversion = znode_kept(tree, parent).cversion;
    node = tree_create(tree, parent, &wanted);
    tree->digest -= znode_digest(tree, parent);
    znode_need_more(tree, parent)->cversion = cversion;
    tree->digest += znode_digest(tree, parent);
    return node;
}

/* zookeeper_stats is kept by each server for itself, not through the log: so it is counted anew. */
static void count_quotas(struct tree *tree)
{
    struct znode *node = tree->quotas;
    while (node) {
        if (slice_is(znode_name(node), "zookeeper_stats")) quota_made(tree, node);
        node = znode_next_below(tree, tree->quotas, node);
    }
}

/* currentEpoch, acceptedEpoch: a number each. Absent on a server alone. */
static int64_t read_epoch(struct importing *importing, const char *name)
{
    char path[PATH_MAX];
    struct bytes *content = NULL;
    int64_t epoch = 0;
    if (!importing->snapshot_dir[0] || !path_join(path, importing->snapshot_dir, name) ||
        !disk_exists(importing->disk, path))
        return 0;
    if (disk_read_file(importing->disk, path, 64, &content) != OK) return 0;
    struct slice text = bytes_slice(content);
    while (text.size > 0 && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r'))
        text.size--;
    if (!slice_to_int64(text, 0, INT32_MAX, &epoch)) epoch = 0;
    bytes_release(&content);
    return epoch;
}

static enum error finish(struct importing *importing)
{
    struct apache_state *state = &importing->state;
    struct machine *machine = &state->machine;
    struct apache_report *report = importing->report;
    drop_orphans(importing);
    struct znode *zookeeper = ensure(state, machine->tree.root, "zookeeper");
    machine->tree.quotas = ensure(state, zookeeper, "quota");
    ensure(state, zookeeper, "config");
    count_quotas(&machine->tree);

    LIST_EACH(&machine->session_list, item)
    {
        struct session *session = CONTAINER_OF(item, struct session, all);
        session_password(session->id, session->password);
        if (!session_id_is_given(machine, session->id)) machine->last_session = session->id;
    }
    int64_t epoch = state->zxid >> 32;
    const int64_t epochs[] = {read_epoch(importing, "currentEpoch"), read_epoch(importing, "acceptedEpoch"),
                              importing->least_epoch};
    for (int i = 0; i < 3; i++) epoch = epochs[i] > epoch ? epochs[i] : epoch;
    if (epoch >= INT32_MAX) {
        diag_error("epoch 0x%llx is the last there can be", (unsigned long long)epoch);
        return ERR_LIMIT;
    }
    machine->zxid = (epoch + 1) << 32;
    report->last_zxid = state->zxid;
    report->next_zxid = machine->zxid;
    report->znode_count = machine->tree.count;
    report->session_count = (int64_t)machine->sessions.count;
    return OK;
}

static void on_chunk(void *context, struct slice chunk)
{
    quorum_offline_write(context, chunk);
}

static enum error save(struct importing *importing)
{
    struct quorum_offline *offline = NULL;
    enum error err = quorum_offline_begin(importing->disk, importing->import->to, PREFIX, &offline);
    if (err == OK) {
        machine_snapshot_begin(&importing->state.machine, on_chunk, offline);
        while (machine_snapshot_step(&importing->state.machine, 1 << 16)) continue;
        err = quorum_offline_end(&offline, OK);
    }
    if (err != OK)
        diag_error("could not write a snapshot into \"%s\": %s", importing->import->to, error_text(err));
    return err;
}

enum error apache_import(struct disk *disk, const struct apache_import *import, struct apache_report *report)
{
    *report = (struct apache_report){.snapshot_zxid = -1};
    struct importing importing = {.disk = disk, .import = import, .report = report};
    const char *log_dir = import->log_dir ? import->log_dir : import->from;
    bool exists = false;
    enum error err = quorum_offline_exists(disk, import->to, PREFIX, &exists);
    if (err == OK && exists) {
        diag_error("\"%s\" has a keeper's files already", import->to);
        return ERR_EXISTS;
    }
    if (err == OK) err = resolve(disk, import->from, importing.snapshot_dir);
    if (err == OK) err = names_list(disk, importing.snapshot_dir, "snapshot", true, &importing.snapshots);
    if (err != OK) diag_error("cannot read \"%s\": %s", import->from, error_text(err));
    if (err == OK) {
        err = resolve(disk, log_dir, importing.log_dir);
        if (err == OK) err = names_list(disk, importing.log_dir, "log", false, &importing.logs);
        if (err != OK) diag_error("cannot read \"%s\": %s", log_dir, error_text(err));
    }
    if (err == OK && importing.snapshots.count + importing.logs.count == 0) {
        diag_error("in \"%s\" there is neither snapshot nor log", importing.snapshot_dir);
        err = ERR_NOT_FOUND;
    }
    if (err == OK) err = read_snapshots(&importing);
    if (err == OK) err = read_logs(&importing);
    if (err == OK) err = check_end(&importing);
    if (err == OK) err = finish(&importing);
    if (err == OK) err = save(&importing);
    if (importing.has_state) apache_state_free(&importing.state);
    names_free(&importing.snapshots);
    names_free(&importing.logs);
    return err;
}

/* --- a snapshot by itself --- */

struct apache_restored {
    struct importing importing;
};

enum error apache_restore_read(struct disk *disk, const char *path, int64_t after_zxid,
                               struct apache_restored **restored, struct apache_report *report)
{
    static const struct apache_import forces = {.forces = true}; /* as ZooKeeper's own restore takes it */
    *report = (struct apache_report){.snapshot_zxid = -1};
    struct apache_restored *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    struct importing *importing = &made->importing;
    *importing = (struct importing){
        .disk = disk, .import = &forces, .report = report, .least_epoch = after_zxid >> 32};
    struct apache_state *state = &importing->state;
    apache_state_init(state);
    int64_t position = 0;
    enum error err = apache_snapshot_read(state, disk, path, -1, &position);
    if (err != OK) diag_warn("cannot restore: %s at byte %lld", error_text(err), (long long)position);
    if (err == OK) {
        report->snapshot_zxid = state->zxid;
        tree_digest_all(&state->machine.tree);
        if (state->has_digest && state->digest_zxid == state->zxid)
            err = compare(importing, state->digest_expected, "what is restored");
    }
    if (err == OK) err = check_end(importing);
    if (err == OK) err = finish(importing);
    if (err == OK)
        *restored = made;
    else
        apache_restored_free(&made);
    return err;
}

void apache_restored_write(struct apache_restored *restored, void (*write)(void *context, struct slice chunk),
                           void *context)
{
    struct machine *machine = &restored->importing.state.machine;
    machine_snapshot_begin(machine, write, context);
    while (machine_snapshot_step(machine, 1 << 16)) continue;
}

void apache_restored_free(struct apache_restored **restored)
{
    if (!*restored) return;
    apache_state_free(&(*restored)->importing.state);
    free(*restored);
    *restored = NULL;
}
