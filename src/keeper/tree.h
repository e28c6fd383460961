/* tree.h: the znodes.
 *
 *     znode       28 bytes, its name and its data in one piece     tree.nodes (base/slabs.h), which never moves
 *     znode_more  80 bytes, only when something about it is not as it was born, or it has children      tree.mores
 *     children    of a znode that has some, by name                children.h
 *
 * So no path is stored, and a znode of 100 bytes that was only created costs about 45 more, its place in its parent included. The
 * children of a znode come in no particular order. The tree knows no sessions and no permissions: it keeps what it is told.
 *
 *     undo      between tree_begin and tree_commit or tree_rollback every change can be taken back (multi)
 *     snapshot  tree_snapshot_begin freezes a view: a znode about to change for the first time since is handed to the
 *               sink as it was. tree_snapshot_step hands over the rest, a slice at a time.
 *
 * Memory   what cannot be allocated stops the process: members that skip a change would part ways.
 * Units    times in ms since 1970 from the log, never from a clock.
 * Source   facts/keeper.md 2.3, 2.4.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/map.h"
#include "base/slabs.h"
#include "base/text.h"
#include "keeper/acl.h"
#include "keeper/children.h"
#include "keeper/stat.h"

/* Stored owners that are not sessions. */
#define OWNER_CONTAINER INT64_MIN
#define OWNER_TTL_MASK ((int64_t)0xff00000000000000)
#define TTL_MAX_MS ((int64_t)0xffffffffff)

enum owner_kind { OWNER_NONE, OWNER_SESSION, OWNER_IS_CONTAINER, OWNER_IS_TTL };

struct znode;

/* The ephemerals of one session, oldest first. */
struct ephemerals {
    struct znode *first, *last;
    size_t count;
};

struct znode_ephemeral {
    struct znode *next, *prev;
    struct ephemerals *list;
};

/* The longest name. */
#define ZNODE_NAME_MAX ((size_t)(1 << 22) - 1)
/* A znode without more was created at ctime_ms by czxid, and neither it nor its children changed since. */
struct __attribute__((packed, aligned(4))) znode {
    uint32_t parent; /* 0: the root has none. Never SLABS_FREE */
    uint32_t more;   /* 0: none */
    int64_t czxid;
    uint64_t ctime_ms : 42, name_size : 22; /* the time as znode_kept says when there is more */
    uint32_t data_size_or_0 : 30;           /* size + 1; 0: null */
    uint32_t is_saved : 1;                  /* equals tree.saved_mark: the running or last snapshot has it */
    uint32_t is_undigested : 1;             /* below /zookeeper */
    char name[];                            /* then the data, unless more->data has it */
};

/* What lasts of a stat; the first nine are ZooKeeper's. */
struct stat_kept {
    int64_t czxid, mzxid, pzxid, ctime_ms, mtime_ms, owner;
    int32_t version, cversion, aversion; /* cversion as stored: creations of children only */
    uint32_t acl;
    uint32_t order; /* of an ephemeral: of creation within its zxid */
};

struct znode_more {
    int64_t mzxid, pzxid, ctime_ms, mtime_ms, owner;
    int32_t version, cversion, aversion;
    uint32_t acl, order;
    uint32_t data_crc; /* of path and data */
    uint8_t *data;     /* NULL: behind the name, or none */
    union {
        struct znode_children *children;   /* NULL: none */
        struct znode_ephemeral *ephemeral; /* of a session's znode: it has no children */
    };
};

struct undo;

struct tree {
    struct znode *root;
    struct znode *quotas; /* /zookeeper/quota; NULL: a snapshot of elsewhere that has none */
    struct slabs nodes, mores;
    uint32_t child_ids; /* ids of znode_children are below it */
    uint32_t *free_ids;
    size_t free_id_count, free_id_capacity;

    int64_t count;      /* znodes, the root too */
    int64_t data_bytes; /* names and data */
    int64_t ephemeral_count, container_count, ttl_count;

    struct acl_cache acls;

    uint64_t digest; /* ZooKeeper's, version 2: the sum of znode_digest over all znodes */

    bool is_recording;
    uint64_t recorded_digest; /* as it was before */
    struct undo *undos;
    size_t undo_count, undo_capacity;

    struct tree_restoring {
        int64_t zxid;
        int32_t format;
        struct tree_branch
            *branches; /* znodes that may have children, by stored id, as far as they are dense */
        size_t branch_count;
        struct map others; /* id: the rest of them, struct tree_branch */
        struct map acls;   /* stored id: ours + 1 */
        size_t count;      /* znodes read */
        size_t ephemeral_count;
    } restoring;

    bool is_saving, saved_mark;
    uint64_t saving_at; /* slabs_next */
    void (*save)(void *context, const struct tree *tree, const struct znode *node);
    void *save_context;
};

/* With the five znodes of a new service: "/", /zookeeper, quota and config. */
void tree_init(struct tree *tree);
void tree_free(struct tree *tree);

/* The exact path; "" and "/" are the root. NULL when absent. */
struct znode *tree_find(const struct tree *tree, struct slice path);
struct znode *tree_child(const struct tree *tree, const struct znode *parent, struct slice name);
void tree_path(const struct tree *tree, const struct znode *node, struct text *out);
/* Every znode once, in no particular order; *at begins as 0. As slabs_next. */
static inline struct znode *tree_next(const struct tree *tree, uint64_t *at)
{
    return slabs_next(&tree->nodes, at);
}

static inline struct znode *znode_parent(const struct tree *tree, const struct znode *node)
{
    return node->parent ? slabs_at(&tree->nodes, node->parent) : NULL;
}
static inline struct znode_more *znode_more(const struct tree *tree, const struct znode *node)
{
    return node->more ? slabs_at(&tree->mores, node->more) : NULL;
}
struct stat_kept znode_kept(const struct tree *tree, const struct znode *node);
/* Sets it, but for the owner; the reference to the ACL is not counted, the digest and a running snapshot do not follow. */
void znode_keep(struct tree *tree, struct znode *node, const struct stat_kept *kept);
uint32_t znode_acl(const struct tree *tree, const struct znode *node);
int64_t znode_owner(const struct tree *tree, const struct znode *node);
enum owner_kind owner_kind(int64_t owner);
static inline enum owner_kind znode_owner_kind(const struct tree *tree, const struct znode *node)
{
    return node->more ? owner_kind(znode_owner(tree, node)) : OWNER_NONE;
}
uint32_t znode_child_count(const struct tree *tree, const struct znode *node);
static inline struct slice znode_name(const struct znode *node)
{
    return (struct slice){(const uint8_t *)node->name, node->name_size};
}
/* Null when the data is null. */
struct slice znode_data(const struct tree *tree, const struct znode *node);
static inline int64_t znode_data_size(const struct znode *node)
{
    return node->data_size_or_0 > 0 ? (int64_t)node->data_size_or_0 - 1 : 0;
}
struct znode_stat znode_stat(const struct tree *tree, const struct znode *node);
/* Its stat, encoded. */
void znode_add_stat(const struct tree *tree, const struct znode *node, struct text *out);
/* One child after another, *at begins as 0; and the first of them. */
struct znode *znode_next_child(const struct tree *tree, const struct znode *node, size_t *at);
struct znode *znode_first_child(const struct tree *tree, const struct znode *node);
/* Of `top` and all below it the one after `node`, parents before their children; NULL: it was the last. */
struct znode *znode_next_below(const struct tree *tree, const struct znode *top, const struct znode *node);
/* The next of the same session. */
struct znode *znode_next_ephemeral(const struct tree *tree, const struct znode *node);
/* Descendants, itself not counted. Walks them. */
int64_t znode_descendant_count(const struct tree *tree, const struct znode *node);

struct znode_new {
    struct slice name, data;
    uint32_t acl; /* a reference the znode takes over */
    int64_t owner;
    struct ephemerals *ephemerals; /* of the owner, when that is a session */
    int64_t zxid, time_ms;
    uint32_t order;
};
/* The parent's cversion and pzxid move. The name must be absent and the parent no ephemeral. */
struct znode *tree_create(struct tree *tree, struct znode *parent, const struct znode_new *wanted);
/* Without children, not the root. The parent's pzxid moves. */
void tree_delete(struct tree *tree, struct znode *node, int64_t zxid);
void tree_set_data(struct tree *tree, struct znode *node, struct slice data, int64_t zxid, int64_t time_ms);
/* What the service keeps by itself: the data alone changes, neither version nor time. */
void tree_keep_data(struct tree *tree, struct znode *node, struct slice data);
/* Takes over the reference to `acl`. */
void tree_set_acl(struct tree *tree, struct znode *node, uint32_t acl);

/* Several changes that stand or fall together. */
void tree_begin(struct tree *tree);
void tree_commit(struct tree *tree);
void tree_rollback(struct tree *tree);

/* `save` is called for each znode of this moment exactly once, in no particular order. Nothing may be recording. */
void tree_snapshot_begin(struct tree *tree,
                         void (*save)(void *context, const struct tree *tree, const struct znode *node),
                         void *context);
/* Visits up to `count` znodes. False once all were seen: the snapshot is complete. */
bool tree_snapshot_step(struct tree *tree, size_t count);

/* One znode as a snapshot holds it, and back. Restoring: tree_restore_begin gives an empty tree, nothing in which is later
 * than `zxid`; then the ACL lists by the ids they had, then each znode in any order; tree_restore_end ties them together.
 * Ids are only names there: znodes get new ones without gaps, so bytes that lie cost no more than they are.
 * Format 1 and 2 name every znode, 3 those with children alone and leaves out what is as it was born.
 * After an error only tree_free is left. */
enum { ZNODE_FORMAT = 3 };
void znode_encode(const struct tree *tree, const struct znode *node, struct text *out);
struct jute;
void tree_restore_begin(struct tree *tree, int64_t zxid, int32_t format);
MUST_USE enum error tree_restore_acl(struct tree *tree, uint32_t id, struct slice bytes);
MUST_USE enum error tree_restore_znode(struct tree *tree, struct jute *in);
/* owner_of: the list of a session, NULL when it does not exist (then the bytes are damaged). */
MUST_USE enum error tree_restore_end(struct tree *tree,
                                     struct ephemerals *(*owner_of)(void *context, int64_t session),
                                     void *context);

/* ZooKeeper's: CRC-32 over path, data and the stat as it is kept; 0 for what is below /zookeeper. tree.digest follows each
 * change: a change of n bytes of data costs their checksum and that of the stat, twice. */
uint64_t znode_digest(const struct tree *tree, const struct znode *node);

/* A sum over all that the znodes hold, whatever their order: two trees with equal contents have equal digests. */
uint64_t tree_digest(const struct tree *tree);
