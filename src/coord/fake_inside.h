/* fake_inside.h: what the fake keeper is made of: its znodes (fake_tree.c), its messages and sessions (fake_keeper.c). */
#pragma once
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "base/vec.h"
#include "coord/fake_keeper.h"
#include "coord/protocol.h"

struct znode {
    char *path;
    uint8_t *data; /* NULL = null */
    size_t size;
    struct znode_stat stat;
    int32_t sequence;
};

struct fake_session {
    int64_t id;
    int32_t timeout_ms;
    int64_t heard_ms;
    bool is_alive;
};

struct fake_door {
    struct list link;
    struct fake_keeper *fake;
    struct coord *coord;
    struct random random;
    int64_t due_ms;
    uint64_t connection; /* counts them; 0 = none open */
    struct fake_session *session;
    bool is_greeted;
    size_t waiting; /* requests not yet answered */
};

enum parcel_kind { TO_KEEPER, TO_CLIENT, OPENED, CLOSED };

struct parcel {
    struct list link;
    enum parcel_kind kind;
    struct fake_door *door;
    uint64_t connection;
    struct bytes *message;
};

/* A watch of one connection: kind is coord_watch, path as on the wire. */
struct fake_watch {
    struct fake_door *door;
    uint64_t connection;
    enum coord_watch kind;
    char *path;
};

struct fake_keeper {
    struct map nodes; /* path -> struct znode */
    struct list doors, parcels;
    struct fake_session **sessions;
    size_t session_count, session_capacity;
    struct fake_watch *watches;
    size_t watch_count, watch_capacity;
    int64_t now_ms, zxid, remembered, writes, requests;
    uint64_t last_connection;
    size_t max_in_flight;
    bool is_refusing;
    struct bytes *garbled;
    /* The multi being applied: what to put back. */
    struct znode **undo; /* copies; data of absent ones: stat.czxid 0 */
    size_t undo_count, undo_capacity;
    bool is_in_multi;
};

static inline void *need(void *memory)
{
    if (!memory) abort();
    return memory;
}

static inline void need_ok(enum error err)
{
    if (err != OK) abort();
}

/* fake_tree.c: flags as on the wire; `created` gets the path with its sequence number */
struct znode *fake_find(const struct fake_keeper *fake, const char *path);
MUST_USE enum error fake_create(struct fake_keeper *fake, const char *path, struct slice data, int32_t flags,
                                int64_t owner, char *created, size_t created_size);
MUST_USE enum error fake_delete(struct fake_keeper *fake, const char *path, int32_t version);
MUST_USE enum error fake_set(struct fake_keeper *fake, const char *path, struct slice data, int32_t version);
MUST_USE enum error fake_check(struct fake_keeper *fake, const char *path, int32_t version);
void fake_forget_undo(struct fake_keeper *fake, bool is_undone);
void fake_parent(const char *path, char *parent, size_t size);
void fake_znode_free(struct znode *node);
