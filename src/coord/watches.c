/* watches.c: handlers by path, which of them the keeper will tell, and telling it again after a reconnect.
 *
 * The keeper forgets a watch when it fires; so do we. A read with a handler arms it: get and exists of a node that is there as
 * a data watch, exists of one that is not as an exist watch, children as a child watch (facts/keeper.md 1.5).
 */
#include <stdlib.h>

#include "coord/session.h"

/* Java's client sends SetWatches in pieces of this size, below any keeper's limit. */
enum { PIECE_SIZE = 128 << 10 };

struct slice chroot_strip(const struct coord *coord, struct slice path)
{
    size_t cut = coord->chroot_size;
    if (cut == 0 || path.size < cut || memcmp(path.data, coord->chroot, cut) != 0) return path;
    if (path.size == cut) return SLICE("/");
    return (struct slice){path.data + cut, path.size - cut};
}

static struct slice chroot_add(const struct coord *coord, struct slice path, struct text *full)
{
    text_add(full, (struct slice){(const uint8_t *)coord->chroot, coord->chroot_size});
    if (path.size > 1 || coord->chroot_size == 0) text_add(full, path);
    return text_slice(full);
}

enum error coord_watch(struct coord *coord, enum coord_watch kind, struct slice path, coord_watcher *watcher,
                       void *context)
{
    struct text full = {0};
    struct slice key = chroot_add(coord, path, &full);
    struct watch *watch = full.failed ? NULL : map_get(&coord->watches[kind], key);
    enum error err = full.failed ? ERR_NOMEM : OK;
    if (err == OK && !watch) {
        watch = calloc(1, sizeof *watch);
        err = watch ? map_put(&coord->watches[kind], key, watch) : ERR_NOMEM;
        if (err != OK) free(watch);
    }
    if (err == OK) {
        watch->watcher = watcher;
        watch->context = context;
    }
    text_free(&full);
    return err;
}

void coord_unwatch(struct coord *coord, enum coord_watch kind, struct slice path)
{
    struct text full = {0};
    struct slice key = chroot_add(coord, path, &full);
    /* Without memory for the key the handler would stay and be called with a context that may be gone. */
    if (full.failed) abort();
    free(map_remove(&coord->watches[kind], key));
    text_free(&full);
}

static struct watch *watch_of(const struct coord *coord, const struct request *request)
{
    enum coord_watch kind = request->op == JUTE_CHILDREN ? COORD_WATCH_CHILDREN : COORD_WATCH_NODE;
    return map_get(&coord->watches[kind], request->path);
}

bool watch_is_wanted(const struct coord *coord, const struct request *request)
{
    return request->path.data && !request->is_internal && watch_of(coord, request);
}

void watch_arm(struct coord *coord, const struct request *request, enum error err)
{
    struct watch *watch = watch_of(coord, request);
    if (!watch) return;
    if (err == OK)
        watch->armed = request->op == JUTE_CHILDREN ? ARMED_CHILD : ARMED_DATA;
    else if (err == ERR_ZK_NO_NODE && request->op == JUTE_EXISTS)
        watch->armed = ARMED_EXIST;
}

static void tell(struct coord *coord, enum coord_watch kind, enum coord_event event, struct slice path)
{
    struct watch *watch = map_get(&coord->watches[kind], path);
    if (!watch) return;
    /* One event about a deletion serves both kinds; who only listens to children hears it if armed. */
    if (kind == COORD_WATCH_CHILDREN && watch->armed == ARMED_NOT) return;
    watch->armed = ARMED_NOT;
    watch->watcher(watch->context, event, chroot_strip(coord, path));
}

void watch_event(struct coord *coord, int32_t type, struct slice path)
{
    switch (type) {
    case COORD_NODE_CREATED:
    case COORD_NODE_CHANGED: tell(coord, COORD_WATCH_NODE, (enum coord_event)type, path); break;
    case COORD_NODE_DELETED:
        tell(coord, COORD_WATCH_NODE, COORD_NODE_DELETED, path);
        tell(coord, COORD_WATCH_CHILDREN, COORD_NODE_DELETED, path);
        break;
    case COORD_CHILDREN_CHANGED: tell(coord, COORD_WATCH_CHILDREN, COORD_CHILDREN_CHANGED, path); break;
    default: break; /* -1: about the session itself; the connection tells */
    }
}

void watch_forget(struct coord *coord)
{
    for (int kind = 0; kind < 2; kind++) {
        struct map_slot *slot;
        for (size_t i = 0; (slot = map_next(&coord->watches[kind], &i));)
            ((struct watch *)slot->value)->armed = ARMED_NOT;
    }
}

static enum error send_piece(struct coord *coord, struct text lists[3], int32_t counts[3])
{
    struct text message = {0};
    text_add_be32(&message, (uint32_t)JUTE_XID_SET_WATCHES);
    text_add_be32(&message, JUTE_SET_WATCHES);
    text_add_be64(&message, (uint64_t)coord->last_zxid);
    for (int i = 0; i < 3; i++) {
        text_add_be32(&message, (uint32_t)counts[i]);
        text_add(&message, text_slice(&lists[i]));
        if (lists[i].failed) message.failed = true;
        text_reset(&lists[i]);
        counts[i] = 0;
    }
    struct bytes *bytes = message.failed ? NULL : bytes_copy(message.data, message.size);
    text_free(&message);
    if (!bytes) return ERR_NOMEM;
    coord->door.send(coord->door_context, bytes);
    return OK;
}

enum error watch_restore(struct coord *coord)
{
    struct text lists[3] = {0}; /* data, exist, child */
    int32_t counts[3] = {0};
    size_t size = 0;
    enum error err = OK;
    for (int kind = 0; kind < 2; kind++) {
        struct map_slot *slot;
        for (size_t i = 0; err == OK && (slot = map_next(&coord->watches[kind], &i));) {
            enum armed armed = ((struct watch *)slot->value)->armed;
            if (armed == ARMED_NOT) continue;
            int list = armed == ARMED_DATA ? 0 : armed == ARMED_EXIST ? 1 : 2;
            jute_add_bytes(&lists[list], map_slot_key(slot));
            counts[list]++;
            size += 4 + map_slot_key(slot).size;
            if (size < PIECE_SIZE) continue;
            err = send_piece(coord, lists, counts);
            size = 0;
        }
    }
    if (err == OK && size > 0) err = send_piece(coord, lists, counts);
    for (int i = 0; i < 3; i++) text_free(&lists[i]);
    return err;
}
