/* tree.h: the znodes.
 *
 * A znode is found by (parent, name) in one hash table, so no path is stored; its children hang in the order they were
 * made. About 140 bytes and its name and data. The tree knows no sessions and no permissions: it keeps what it is told.
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
#include "base/text.h"
#include "keeper/acl.h"

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

struct znode_children {
    struct znode *first, *last;
    uint32_t count;
};

struct znode_ephemeral {
    struct znode *next, *prev;
    struct ephemerals *list;
};

struct znode {
    struct znode *parent;
    struct znode *hash_next;
    struct znode *next, *prev; /* siblings, in order of creation */
    union {
        struct znode_children *children;   /* NULL: none */
        struct znode_ephemeral *ephemeral; /* of a session's znode: it has no children */
    };
    uint8_t *data;
    int64_t czxid, mzxid, pzxid, ctime_ms, mtime_ms, owner;
    int32_t version, cversion, aversion; /* cversion as stored: creations of children only */
    int32_t data_size;                   /* -1: null */
    uint32_t acl, slot, hash, order;     /* order: of creation within its zxid */
    uint32_t name_size;
    uint32_t path_crc, data_crc; /* of the path, and of path and data */
    bool is_saved;               /* equals tree.saved_mark: the running or last snapshot has it */
    bool is_undigested;          /* below /zookeeper */
    char name[];
};

struct stat {
    int64_t czxid, mzxid, ctime_ms, mtime_ms;
    int32_t version, cversion, aversion;
    int64_t ephemeral_owner;
    int32_t data_length, child_count;
    int64_t pzxid;
};
enum { STAT_SIZE = 68 };

struct undo;

struct tree {
    struct znode *root;
    struct znode *quotas; /* /zookeeper/quota; NULL: a snapshot of elsewhere that has none */
    struct znode **slots; /* every znode, by slot; NULL: free */
    size_t slot_count, slot_capacity;
    uint32_t *free_slots;
    size_t free_count, free_capacity;

    struct znode **buckets, **old_buckets; /* old ones are moved over a few at a time */
    size_t bucket_count, old_bucket_count, moved_count;

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
        struct znode **by_slot; /* by stored slot, as far as they are dense */
        size_t by_slot_count;
        struct map slots; /* the others */
        struct map acls;  /* stored id: ours + 1 */
    } restoring;

    bool is_saving, saved_mark;
    size_t saving_slot;
    void (*save)(void *context, const struct znode *node);
    void *save_context;
};

/* With the five znodes of a new service: "/", /zookeeper, quota and config. */
void tree_init(struct tree *tree);
void tree_free(struct tree *tree);

/* The exact path; "" and "/" are the root. NULL when absent. */
struct znode *tree_find(const struct tree *tree, struct slice path);
struct znode *tree_child(const struct tree *tree, const struct znode *parent, struct slice name);
void tree_path(const struct znode *node, struct text *out);

enum owner_kind znode_owner_kind(const struct znode *node);
static inline uint32_t znode_child_count(const struct znode *node)
{
    return znode_owner_kind(node) == OWNER_SESSION || !node->children ? 0 : node->children->count;
}
static inline struct slice znode_name(const struct znode *node)
{
    return (struct slice){(const uint8_t *)node->name, node->name_size};
}
/* Null when the data is null. */
struct slice znode_data(const struct znode *node);
struct stat znode_stat(const struct znode *node);
void stat_encode(const struct stat *stat, uint8_t out[STAT_SIZE]);
/* First and next child. */
struct znode *znode_first_child(const struct znode *node);
/* Descendants, itself not counted. Walks them. */
int64_t znode_descendant_count(const struct znode *node);

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

/* `save` is called for each znode of this moment exactly once, parents in no particular order; its parent's slot and its own
 * name it. Nothing may be recording. */
void tree_snapshot_begin(struct tree *tree, void (*save)(void *context, const struct znode *node),
                         void *context);
/* Visits up to `slots` places. False once all were seen: the snapshot is complete. */
bool tree_snapshot_step(struct tree *tree, size_t slots);

/* One znode as a snapshot holds it, and back. Restoring: tree_restore_begin gives an empty tree, nothing in which is later
 * than `zxid`; then the ACL lists by the ids they had, then each znode in any order; tree_restore_end ties them together.
 * Slots and ids are only names there: znodes get new ones without gaps, so bytes that lie cost no more than they are.
 * After an error only tree_free is left. */
void znode_encode(const struct znode *node, struct text *out);
struct jute;
void tree_restore_begin(struct tree *tree, int64_t zxid);
MUST_USE enum error tree_restore_acl(struct tree *tree, uint32_t id, struct slice bytes);
MUST_USE enum error tree_restore_znode(struct tree *tree, struct jute *in);
/* owner_of: the list of a session, NULL when it does not exist (then the bytes are damaged). */
MUST_USE enum error tree_restore_end(struct tree *tree,
                                     struct ephemerals *(*owner_of)(void *context, int64_t session),
                                     void *context);

/* ZooKeeper's: CRC-32 over path, data and the stat as it is kept; 0 for what is below /zookeeper. tree.digest follows each
 * change: a change of n bytes of data costs their checksum and that of the stat, twice. */
uint64_t znode_digest(const struct znode *node);

/* A sum over all that the znodes hold, whatever their order: two trees with equal contents have equal digests. */
uint64_t tree_digest(const struct tree *tree);
