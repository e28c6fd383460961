/* apache_snapshot.c: Apache's snapshot to a tree and sessions.
 *
 *     "ZKSN"  i32 2  i64 dbid
 *     i32 count  (i64 session, i32 timeout) ...
 *     i32 count  (i64 key, vector of ACL) ...
 *     (ustring path, buffer data, i64 key, 60 bytes of stat) ...   "" first, parents before children; the path "/" ends it
 *     seal       i64 Adler-32 of all before, ustring "/"
 *     i64 zxid  i32 version  i64 digest    seal                    since 3.6, unless switched off
 *     i64 zxid                             seal                    since 3.9
 *
 * It was written while transactions went on, so it may hold more than its name says: what is odd because of that is left to
 * the replay (a session that is not there, an ACL list that is not). */
#include <assert.h>
#include <string.h>

#include "keeper/apache_inside.h"
#include "keeper/jute.h"
#include "keeper/tree_inside.h"

struct loading {
    struct apache_state *state;
    struct apache_file file;
    struct map acls; /* key: ours + 1 */
    struct text parent_path;
    struct znode *parent;
};

static enum error check_seal(struct apache_file *file)
{
    uint32_t sum = apache_file_sum(file);
    int64_t stored;
    const uint8_t *end;
    enum error err = apache_file_long(file, &stored);
    if (err == OK) err = apache_file_take(file, 5, &end);
    if (err != OK) return err;
    return stored == (int64_t)sum && memcmp(end, "\0\0\0\1/", 5) == 0 ? OK : ERR_CORRUPT;
}

static enum error load_header(struct apache_file *file)
{
    const uint8_t *header;
    enum error err = apache_file_take(file, APACHE_FILE_HEADER_SIZE, &header);
    if (err != OK) return err;
    if (get_be32(header) != APACHE_SNAPSHOT_MAGIC) return ERR_CORRUPT;
    return get_be32(header + 4) == APACHE_FORMAT ? OK : ERR_UNSUPPORTED_VERSION;
}

static enum error load_sessions(struct loading *loading)
{
    int32_t count;
    enum error err = apache_file_int(&loading->file, &count);
    if (err == OK && count < 0) err = ERR_CORRUPT;
    for (int32_t i = 0; i < count && err == OK; i++) {
        const uint8_t *item;
        err = apache_file_take(&loading->file, 12, &item);
        if (err != OK) break;
        int64_t id = (int64_t)get_be64(item);
        int32_t timeout_ms = (int32_t)get_be32(item + 8);
        if (id == 0 || timeout_ms < 0 || machine_session(&loading->state->machine, id)) return ERR_CORRUPT;
        apache_session(loading->state, id)->timeout_ms = timeout_ms;
    }
    return err;
}

/* One ustring or buffer with its length, as it is. */
static enum error peek_bytes(struct apache_file *file, size_t at, size_t *end)
{
    const uint8_t *data;
    size_t got;
    enum error err = apache_file_peek(file, at + 4, &data, &got);
    if (err != OK) return err;
    if (got < at + 4) return ERR_TRUNCATED;
    int32_t size = (int32_t)get_be32(data + at);
    if (size < -1) return ERR_CORRUPT;
    *end = at + 4 + (size > 0 ? (size_t)size : 0);
    return OK;
}

static enum error load_acl_list(struct loading *loading)
{
    struct apache_file *file = &loading->file;
    int64_t key;
    enum error err = apache_file_long(file, &key);
    const uint8_t *data = NULL;
    size_t got = 0, end = 4;
    if (err == OK) err = apache_file_peek(file, 4, &data, &got);
    if (err == OK && got < 4) err = ERR_TRUNCATED;
    if (err != OK) return err;
    int32_t count = (int32_t)get_be32(data);
    if (count < 0) return ERR_CORRUPT;
    for (int32_t i = 0; i < count && err == OK; i++) { /* permissions, scheme, id */
        err = peek_bytes(file, end + 4, &end);
        if (err == OK) err = peek_bytes(file, end, &end);
    }
    if (err == OK) err = apache_file_take(file, end, &data);
    if (err != OK) return err;
    struct jute in = jute_of((struct slice){data, end});
    struct slice bytes = acl_take(&in);
    if (bytes.size != end || key == APACHE_ACL_OPEN) return ERR_CORRUPT;
    if (map_get_number(&loading->acls, (uint64_t)key)) return ERR_CORRUPT;
    uintptr_t acl = acl_intern(&loading->state->machine.tree.acls, bytes);
    return map_put_number(&loading->acls, (uint64_t)key, (void *)(acl + 1));
}

static enum error load_acls(struct loading *loading)
{
    int32_t count;
    enum error err = apache_file_int(&loading->file, &count);
    if (err == OK && count < 0) err = ERR_CORRUPT;
    for (int32_t i = 0; i < count && err == OK; i++) err = load_acl_list(loading);
    return err;
}

/* Most znodes come right behind their siblings. */
static struct znode *find_parent(struct loading *loading, struct slice path)
{
    struct text *last = &loading->parent_path;
    if (!loading->parent || last->size != path.size ||
        memcmp(text_slice(last).data, path.data, path.size) != 0) {
        loading->parent = tree_find(&loading->state->machine.tree, path);
        text_reset(last);
        text_add(last, path);
        assert(!last->failed);
    }
    return loading->parent;
}

/* The root is there already, and takes what the file says of it. */
static enum error load_znode(struct loading *loading, struct slice path, struct slice rest)
{
    struct apache_state *state = loading->state;
    struct tree *tree = &state->machine.tree;
    struct jute in = jute_of(rest);
    struct slice data = jute_bytes(&in);
    int64_t key = jute_long(&in);
    uintptr_t known = (uintptr_t)map_get_number(&loading->acls, (uint64_t)key);
    uint32_t acl = key == APACHE_ACL_OPEN ? ACL_OPEN : known ? (uint32_t)(known - 1) : state->missing_acl;
    struct stat_kept stat = {0};
    stat.czxid = jute_long(&in);
    stat.mzxid = jute_long(&in);
    stat.ctime_ms = jute_long(&in);
    stat.mtime_ms = jute_long(&in);
    stat.version = jute_int(&in);
    stat.cversion = jute_int(&in);
    stat.aversion = jute_int(&in);
    stat.owner = jute_long(&in);
    stat.pzxid = jute_long(&in);
    assert(!in.is_bad && in.at == in.size);

    struct znode *node;
    if (path.size == 0) {
        node = tree->root;
        if (stat.owner != 0 || state->order > 0) return ERR_CORRUPT;
        tree_set_data(tree, node, data, 0, 0);
        acl_release(&tree->acls, znode_acl(tree, node));
        acl_retain(&tree->acls, acl);
        state->order++;
    } else {
        const uint8_t *slash = memrchr(path.data, '/', path.size);
        if (!slash || state->order == 0) return ERR_CORRUPT;
        struct slice parent_path = {path.data, (size_t)(slash - path.data)};
        struct slice name = {slash + 1, path.size - parent_path.size - 1};
        struct znode *parent = find_parent(loading, parent_path);
        if (!parent || name.size == 0 || name.size > ZNODE_NAME_MAX || memchr(path.data, 0, path.size))
            return ERR_CORRUPT;
        if (znode_owner_kind(tree, parent) == OWNER_SESSION || tree_child(tree, parent, name))
            return ERR_CORRUPT;
        acl_retain(&tree->acls, acl);
        struct znode_new wanted = {
            .name = name, .data = data, .acl = acl, .owner = stat.owner, .order = state->order};
        stat.order = owner_kind(stat.owner) == OWNER_SESSION ? state->order : 0;
        state->order++;
        if (owner_kind(stat.owner) == OWNER_SESSION)
            wanted.ephemerals = &apache_session(state, stat.owner)->ephemerals;
        struct znode_more *more = znode_need_more(tree, parent);
        int32_t cversion = more->cversion; /* as it was stored: its children are in it */
        int64_t pzxid = more->pzxid;
        node = tree_create(tree, parent, &wanted);
        more->cversion = cversion;
        more->pzxid = pzxid;
    }
    stat.acl = acl;
    znode_keep(tree, node, &stat);
    return OK;
}

static enum error load_znodes(struct loading *loading)
{
    struct apache_file *file = &loading->file;
    for (;;) {
        size_t path_end, end;
        enum error err = peek_bytes(file, 0, &path_end);
        if (err != OK) return err;
        const uint8_t *data;
        size_t got;
        err = apache_file_peek(file, path_end, &data, &got);
        if (err == OK && got < path_end) err = ERR_TRUNCATED;
        if (err != OK) return err;
        if (path_end == 5 && data[4] == '/') return apache_file_take(file, path_end, &data);
        err = peek_bytes(file, path_end, &end);
        if (err != OK) return err;
        int64_t begin = file->position;
        err = apache_file_take(file, end + 8 + APACHE_STAT_SIZE, &data);
        if (err != OK) return err;
        struct slice path = {data + 4, path_end - 4};
        struct slice rest = {data + path_end, end + 8 + APACHE_STAT_SIZE - path_end};
        err = load_znode(loading, path, rest);
        if (err != OK) {
            file->position = begin;
            return err;
        }
    }
}

/* What newer versions add. An older file ends before it. */
static enum error load_trailers(struct loading *loading, int64_t zxid)
{
    struct apache_state *state = loading->state;
    struct apache_file *file = &loading->file;
    const uint8_t *data;
    size_t got;
    enum error err = apache_file_peek(file, 1, &data, &got);
    if (err != OK || got == 0) return err;
    err = apache_file_take(file, 20, &data);
    if (err != OK) return err;
    state->digest_zxid = (int64_t)get_be64(data);
    state->digest_expected = get_be64(data + 12);
    /* An empty one, and one of the epoch before, say nothing about this snapshot. */
    state->has_digest =
        get_be32(data + 8) == APACHE_DIGEST_VERSION && state->digest_zxid > 0 && state->digest_zxid >= zxid;
    err = check_seal(file);
    if (err == OK) err = apache_file_peek(file, 1, &data, &got);
    if (err != OK || got == 0) return err;
    int64_t last_zxid;
    err = apache_file_long(file, &last_zxid);
    if (err == OK) err = check_seal(file);
    if (err == OK) err = apache_file_peek(file, 1, &data, &got);
    if (err == OK && (got > 0 || last_zxid < 0)) return ERR_CORRUPT;
    if (err == OK) state->zxid = last_zxid;
    return err;
}

enum error apache_snapshot_read(struct apache_state *state, struct disk *disk, const char *path, int64_t zxid,
                                int64_t *position)
{
    struct loading loading = {.state = state};
    *position = 0;
    enum error err = apache_file_open(disk, path, &loading.file);
    if (err != OK) return err;
    err = load_header(&loading.file);
    if (err == OK) err = load_sessions(&loading);
    if (err == OK) err = load_acls(&loading);
    if (err == OK) err = load_znodes(&loading);
    if (err == OK && state->order == 0) err = ERR_CORRUPT; /* not even a root */
    if (err == OK) err = check_seal(&loading.file);
    state->zxid = -1;
    if (err == OK) err = load_trailers(&loading, zxid);
    if (zxid >= 0) state->zxid = zxid;
    if (err == OK && state->zxid < 0) err = ERR_UNSUPPORTED_VERSION; /* of before 3.9 */
    *position = loading.file.position;
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&loading.acls, &i));)
        acl_release(&state->machine.tree.acls, (uint32_t)((uintptr_t)slot->value - 1));
    map_free(&loading.acls);
    text_free(&loading.parent_path);
    apache_file_close(&loading.file);
    return err;
}
