#include <assert.h>
#include <stdio.h>

#include "coord/fake_inside.h"

/* --- parcels --- */

static void post(struct fake_keeper *fake, enum parcel_kind kind, struct fake_door *door,
                 struct bytes *message)
{
    struct parcel *parcel = need(calloc(1, sizeof *parcel));
    *parcel = (struct parcel){.kind = kind, .door = door, .connection = door->connection, .message = message};
    list_push_back(&fake->parcels, &parcel->link);
}

static void parcel_free(struct parcel *parcel)
{
    list_remove(&parcel->link);
    bytes_release(&parcel->message);
    free(parcel);
}

static void post_text(struct fake_keeper *fake, struct fake_door *door, struct text *message)
{
    assert(!message->failed);
    post(fake, TO_CLIENT, door, need(bytes_copy(message->data, message->size)));
    text_free(message);
}

static void header(struct text *out, int32_t xid, int64_t zxid, enum error err)
{
    text_add_be32(out, (uint32_t)xid);
    text_add_be64(out, (uint64_t)zxid);
    text_add_be32(out, (uint32_t)error_zk_code(err));
}

static void send_event(struct fake_keeper *fake, struct fake_door *door, enum coord_event event,
                       const char *path)
{
    struct text message = {0};
    header(&message, JUTE_XID_EVENT, -1, OK);
    text_add_be32(&message, (uint32_t)event);
    text_add_be32(&message, 3); /* connected */
    jute_add_bytes(&message, slice_of(path));
    post_text(fake, door, &message);
}

/* One event for a connection and path, whatever kinds it watches with. */
static void fire(struct fake_keeper *fake, enum coord_event event, const char *path)
{
    struct fake_door *told[64];
    size_t told_count = 0;
    for (size_t i = 0; i < fake->watch_count;) {
        struct fake_watch *watch = &fake->watches[i];
        bool is_meant = strcmp(watch->path, path) == 0 &&
                        (event == COORD_NODE_DELETED ||
                         (event == COORD_CHILDREN_CHANGED) == (watch->kind == COORD_WATCH_CHILDREN));
        if (!is_meant) {
            i++;
            continue;
        }
        bool is_told = watch->connection != watch->door->connection;
        for (size_t t = 0; t < told_count; t++) is_told |= told[t] == watch->door;
        if (!is_told) {
            send_event(fake, watch->door, event, path);
            told[told_count++] = watch->door;
        }
        free(watch->path);
        fake->watches[i] = fake->watches[--fake->watch_count];
    }
}

static void fire_parent(struct fake_keeper *fake, const char *path)
{
    char parent[540];
    fake_parent(path, parent, sizeof parent);
    fire(fake, COORD_CHILDREN_CHANGED, parent);
}

static void arm(struct fake_keeper *fake, struct fake_door *door, enum coord_watch kind, const char *path)
{
    for (size_t i = 0; i < fake->watch_count; i++) {
        struct fake_watch *watch = &fake->watches[i];
        if (watch->door == door && watch->connection == door->connection && watch->kind == kind &&
            strcmp(watch->path, path) == 0)
            return;
    }
    if (!VEC_RESERVE(fake->watches, fake->watch_count, fake->watch_capacity)) abort();
    fake->watches[fake->watch_count++] =
        (struct fake_watch){door, door->connection, kind, need(strdup(path))};
}

static void disarm(struct fake_keeper *fake, const struct fake_door *door)
{
    for (size_t i = 0; i < fake->watch_count;) {
        if (fake->watches[i].door != door) {
            i++;
            continue;
        }
        free(fake->watches[i].path);
        fake->watches[i] = fake->watches[--fake->watch_count];
    }
}

/* --- sessions --- */

static struct fake_session *session_of(const struct fake_keeper *fake, int64_t id)
{
    for (size_t i = 0; i < fake->session_count; i++)
        if (fake->sessions[i]->id == id && fake->sessions[i]->is_alive) return fake->sessions[i];
    return NULL;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All paths in order; free the array alone. */
static const char **sorted_paths(const struct fake_keeper *fake, size_t *count)
{
    const char **paths = need(malloc((fake->nodes.count + 1) * sizeof *paths));
    size_t found = 0;
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&fake->nodes, &i));)
        paths[found++] = ((struct znode *)slot->value)->path;
    qsort(paths, found, sizeof *paths, compare_paths);
    *count = found;
    return paths;
}

static void delete_and_tell(struct fake_keeper *fake, const char *path)
{
    char *copy = need(strdup(path));
    need_ok(fake_delete(fake, copy, COORD_ANY_VERSION));
    fire(fake, COORD_NODE_DELETED, copy);
    fire_parent(fake, copy);
    free(copy);
}

static void end_session(struct fake_keeper *fake, struct fake_session *session)
{
    session->is_alive = false;
    fake->zxid++;
    size_t count;
    const char **paths = sorted_paths(fake, &count);
    for (size_t i = 0; i < count; i++)
        if (fake_find(fake, paths[i])->stat.ephemeral_owner == session->id) delete_and_tell(fake, paths[i]);
    free(paths);
}

static void reset(struct fake_keeper *fake, struct fake_door *door)
{
    if (door->connection == 0) return;
    uint64_t connection = door->connection;
    LIST_EACH(&fake->parcels, item)
    {
        struct parcel *parcel = CONTAINER_OF(item, struct parcel, link);
        if (parcel->door == door && parcel->connection == connection) parcel_free(parcel);
    }
    disarm(fake, door);
    post(fake, CLOSED, door, NULL);
    door->waiting = 0;
}

static void password_of(int64_t id, uint8_t password[16])
{
    memset(password, 7, 16);
    put_be64(password, (uint64_t)id * 0x9e3779b97f4a7c15u);
}

static void greeted(struct fake_keeper *fake, struct fake_door *door, struct jute *in)
{
    jute_int(in);
    jute_long(in);
    int32_t timeout_ms = jute_int(in);
    int64_t id = jute_long(in);
    struct slice given = jute_bytes(in);
    assert(!in->is_bad && given.size == 16);
    struct fake_session *session = NULL;
    uint8_t password[16] = {0};
    if (id == 0) {
        session = need(calloc(1, sizeof *session));
        fake->zxid++;
        *session =
            (struct fake_session){.id = 0x100000 + fake->zxid, .timeout_ms = timeout_ms, .is_alive = true};
        if (!VEC_RESERVE(fake->sessions, fake->session_count, fake->session_capacity)) abort();
        fake->sessions[fake->session_count++] = session;
        password_of(session->id, password);
    } else {
        password_of(id, password);
        session = memcmp(password, given.data, 16) == 0 ? session_of(fake, id) : NULL;
        if (!session) memset(password, 0, 16);
    }
    door->is_greeted = true;
    door->session = session;
    if (session) session->heard_ms = fake->now_ms;
    struct text message = {0};
    text_add_be32(&message, 0);
    text_add_be32(&message, session ? (uint32_t)session->timeout_ms : 0);
    text_add_be64(&message, session ? (uint64_t)session->id : 0);
    jute_add_bytes(&message, (struct slice){password, 16});
    text_addc(&message, 0);
    post_text(fake, door, &message);
    if (!session) post(fake, CLOSED, door, NULL);
}

/* --- requests --- */

struct step {
    int32_t type;
    char path[512], created[540];
    struct slice data;
    int32_t version, flags;
    enum error err;
    struct znode_stat stat;
};

static void read_path(struct jute *in, char path[512])
{
    struct slice s = jute_bytes(in);
    assert(!in->is_bad && s.size > 0 && s.size < 512);
    slice_text(s, path, 512);
}

static void read_step(struct jute *in, struct step *step)
{
    read_path(in, step->path);
    if (step->type == JUTE_CREATE || step->type == JUTE_SET) step->data = jute_bytes(in);
    if (step->type == JUTE_CREATE) {
        for (int32_t acls = jute_count(in, 4); acls > 0; acls--) {
            jute_int(in);
            jute_bytes(in);
            jute_bytes(in);
        }
        step->flags = jute_int(in);
    } else {
        step->version = jute_int(in);
    }
    assert(!in->is_bad);
}

static void apply_step(struct fake_keeper *fake, struct fake_door *door, struct step *step)
{
    switch (step->type) {
    case JUTE_CREATE:
        step->err = fake_create(fake, step->path, step->data, step->flags, door->session->id, step->created,
                                sizeof step->created);
        break;
    case JUTE_DELETE: step->err = fake_delete(fake, step->path, step->version); break;
    case JUTE_SET:
        step->err = fake_set(fake, step->path, step->data, step->version);
        if (step->err == OK) step->stat = fake_find(fake, step->path)->stat;
        break;
    case JUTE_CHECK: step->err = fake_check(fake, step->path, step->version); break;
    default: abort();
    }
}

static void tell_step(struct fake_keeper *fake, const struct step *step)
{
    if (step->type == JUTE_CREATE) {
        fire(fake, COORD_NODE_CREATED, step->created);
        fire_parent(fake, step->created);
    } else if (step->type == JUTE_DELETE) {
        fire(fake, COORD_NODE_DELETED, step->path);
        fire_parent(fake, step->path);
    } else if (step->type == JUTE_SET) {
        fire(fake, COORD_NODE_CHANGED, step->path);
    }
}

static void answer_step(struct text *out, const struct step *step)
{
    if (step->type == JUTE_CREATE) jute_add_bytes(out, slice_of(step->created));
    if (step->type == JUTE_SET) stat_add(&step->stat, out);
}

static void multi(struct fake_keeper *fake, struct fake_door *door, struct jute *in, struct text *body)
{
    struct step *steps = NULL;
    size_t count = 0, capacity = 0;
    for (;;) {
        int32_t type = jute_int(in);
        bool is_done = jute_bool(in);
        jute_int(in);
        assert(!in->is_bad);
        if (is_done) break;
        if (!VEC_RESERVE(steps, count, capacity)) abort();
        steps[count] = (struct step){.type = type};
        read_step(in, &steps[count++]);
    }
    enum error err = OK;
    fake->is_in_multi = true;
    for (size_t i = 0; i < count; i++) {
        if (err == OK)
            apply_step(fake, door, &steps[i]);
        else
            steps[i].err = ERR_ZK_RUNTIME_INCONSISTENCY;
        if (err == OK) err = steps[i].err;
    }
    fake_forget_undo(fake, err != OK);
    if (err == OK) fake->writes++;
    for (size_t i = 0; i < count; i++) {
        if (err == OK) {
            tell_step(fake, &steps[i]);
            jute_add_multi_header(body, steps[i].type, false, 0);
            answer_step(body, &steps[i]);
        } else {
            jute_add_multi_header(body, -1, false, error_zk_code(steps[i].err));
            text_add_be32(body, (uint32_t)error_zk_code(steps[i].err));
        }
    }
    jute_add_multi_header(body, -1, true, -1);
    free(steps);
}

static void children(struct fake_keeper *fake, const struct znode *node, struct text *body)
{
    size_t size = strlen(node->path), prefix = size == 1 ? 1 : size + 1, count;
    const char **paths = sorted_paths(fake, &count);
    text_add_be32(body, (uint32_t)node->stat.child_count);
    for (size_t i = 0; i < count; i++) {
        const char *path = paths[i];
        bool is_below =
            strlen(path) > prefix && strncmp(path, node->path, size) == 0 && path[prefix - 1] == '/';
        if (is_below && !strchr(path + prefix, '/')) jute_add_bytes(body, slice_of(path + prefix));
    }
    free(paths);
    stat_add(&node->stat, body);
}

static enum error read_node(struct fake_keeper *fake, struct fake_door *door, int32_t type, struct jute *in,
                            struct text *body)
{
    char path[512];
    read_path(in, path);
    bool is_watching = jute_bool(in);
    struct znode *node = fake_find(fake, path);
    if (is_watching && (node || type == JUTE_EXISTS))
        arm(fake, door, type == JUTE_CHILDREN ? COORD_WATCH_CHILDREN : COORD_WATCH_NODE, path);
    if (!node) return ERR_ZK_NO_NODE;
    if (type == JUTE_GET) jute_add_bytes(body, (struct slice){node->data, node->size});
    if (type == JUTE_CHILDREN)
        children(fake, node, body);
    else
        stat_add(&node->stat, body);
    return OK;
}

static void set_watches(struct fake_keeper *fake, struct fake_door *door, struct jute *in)
{
    int64_t seen = jute_long(in);
    for (int list = 0; list < 3; list++) { /* data, exist, child */
        for (int32_t count = jute_count(in, 4); count > 0; count--) {
            char path[512];
            read_path(in, path);
            struct znode *node = fake_find(fake, path);
            if (list != 1 && !node)
                send_event(fake, door, COORD_NODE_DELETED, path);
            else if (list == 0 && node->stat.mzxid > seen)
                send_event(fake, door, COORD_NODE_CHANGED, path);
            else if (list == 1 && node)
                send_event(fake, door, COORD_NODE_CREATED, path);
            else if (list == 2 && node->stat.pzxid > seen)
                send_event(fake, door, COORD_CHILDREN_CHANGED, path);
            else
                arm(fake, door, list == 2 ? COORD_WATCH_CHILDREN : COORD_WATCH_NODE, path);
        }
    }
}

static void request(struct fake_keeper *fake, struct fake_door *door, struct jute *in)
{
    int32_t xid = jute_int(in), type = jute_int(in);
    struct text body = {0}, message = {0};
    enum error err = OK;
    door->session->heard_ms = fake->now_ms;
    bool is_write = type == JUTE_CREATE || type == JUTE_DELETE || type == JUTE_SET || type == JUTE_MULTI;
    if (is_write) fake->zxid++;
    if (type != JUTE_PING) fake->requests++;
    if (xid > 0) door->waiting--;
    if (type == JUTE_MULTI)
        multi(fake, door, in, &body);
    else if (type == JUTE_EXISTS || type == JUTE_GET || type == JUTE_CHILDREN)
        err = read_node(fake, door, type, in, &body);
    else if (type == JUTE_SET_WATCHES)
        set_watches(fake, door, in);
    else if (is_write) {
        struct step step = {.type = type};
        read_step(in, &step);
        apply_step(fake, door, &step);
        err = step.err;
        if (err == OK) {
            fake->writes++;
            tell_step(fake, &step);
            answer_step(&body, &step);
        }
    } else if (type == JUTE_CLOSE)
        end_session(fake, door->session);
    else if (type != JUTE_PING)
        abort();

    header(&message, xid, fake->zxid, err);
    if (err == OK) text_add(&message, text_slice(&body));
    text_free(&body);
    if (fake->garbled && xid > 0) {
        text_free(&message);
        post(fake, TO_CLIENT, door, fake->garbled);
        fake->garbled = NULL;
    } else {
        post_text(fake, door, &message);
    }
    if (type == JUTE_CLOSE) post(fake, CLOSED, door, NULL);
}

bool fake_keeper_step(struct fake_keeper *fake)
{
    if (list_empty(&fake->parcels)) return false;
    struct parcel *parcel = CONTAINER_OF(fake->parcels.next, struct parcel, link);
    struct parcel now = *parcel;
    parcel->message = NULL;
    parcel_free(parcel);
    struct fake_door *door = now.door;
    if (now.connection == door->connection) {
        switch (now.kind) {
        case OPENED:
            if (fake->is_refusing) {
                door->connection = 0;
                coord_door_closed(door->coord, ERR_REFUSED);
            } else {
                coord_door_opened(door->coord);
            }
            break;
        case CLOSED:
            door->connection = 0;
            disarm(fake, door);
            coord_door_closed(door->coord, ERR_EOF);
            break;
        case TO_KEEPER: {
            struct jute in = jute_of(bytes_slice(now.message));
            if (!door->is_greeted)
                greeted(fake, door, &in);
            else if (door->session && door->session->is_alive)
                request(fake, door, &in);
            break;
        }
        case TO_CLIENT: coord_door_message(door->coord, bytes_slice(now.message)); break;
        }
    }
    bytes_release(&now.message);
    return true;
}

void fake_keeper_run(struct fake_keeper *fake)
{
    while (fake_keeper_step(fake)) {
    }
}

void fake_keeper_advance(struct fake_keeper *fake, int64_t ms)
{
    int64_t end_ms = fake->now_ms + ms;
    for (;;) {
        fake_keeper_run(fake);
        int64_t next_ms = end_ms;
        struct fake_door *next = NULL;
        LIST_EACH(&fake->doors, item)
        {
            struct fake_door *door = CONTAINER_OF(item, struct fake_door, link);
            if (door->due_ms > next_ms || (next && door->due_ms == next_ms)) continue;
            next = door;
            next_ms = door->due_ms;
        }
        if (next_ms > fake->now_ms) fake->now_ms = next_ms;
        for (size_t i = 0; i < fake->session_count; i++) {
            struct fake_session *session = fake->sessions[i];
            if (session->is_alive && fake->now_ms - session->heard_ms > session->timeout_ms)
                fake_keeper_expire(fake, session->id);
        }
        if (!next) break;
        next->due_ms = INT64_MAX;
        coord_door_tick(next->coord);
    }
    fake_keeper_run(fake);
}

/* --- the door --- */

static void door_open(void *context)
{
    struct fake_door *door = context;
    door->connection = ++door->fake->last_connection;
    door->is_greeted = false;
    door->session = NULL;
    door->waiting = 0;
    post(door->fake, OPENED, door, NULL);
}

static void door_send(void *context, struct bytes *message)
{
    struct fake_door *door = context;
    if (door->connection == 0) {
        bytes_release(&message);
        return;
    }
    if (door->is_greeted && (int32_t)get_be32(message->data) > 0) door->waiting++;
    if (door->waiting > door->fake->max_in_flight) door->fake->max_in_flight = door->waiting;
    post(door->fake, TO_KEEPER, door, message);
}

static void door_close(void *context)
{
    struct fake_door *door = context;
    disarm(door->fake, door);
    door->connection = 0;
}

static int64_t door_now_ms(void *context)
{
    return ((struct fake_door *)context)->fake->now_ms;
}

static void door_wake_at(void *context, int64_t due_ms)
{
    ((struct fake_door *)context)->due_ms = due_ms;
}

static void door_random(void *context, void *out, size_t size)
{
    random_fill(&((struct fake_door *)context)->random, out, size);
}

static void door_remember(void *context, int64_t session_id, const uint8_t password[16])
{
    (void)password;
    ((struct fake_door *)context)->fake->remembered = session_id;
}

static void door_free(void *context)
{
    struct fake_door *door = context;
    LIST_EACH(&door->fake->parcels, item)
    {
        struct parcel *parcel = CONTAINER_OF(item, struct parcel, link);
        if (parcel->door == door) parcel_free(parcel);
    }
    disarm(door->fake, door);
    list_remove(&door->link);
    free(door);
}

struct coord *fake_keeper_coord(struct fake_keeper *fake, const struct coord_options *options,
                                int64_t old_session_id)
{
    struct fake_door *door = need(calloc(1, sizeof *door));
    door->fake = fake;
    random_seed(&door->random, ++fake->last_connection);
    list_push_back(&fake->doors, &door->link);
    static const struct coord_door table = {door_open,    door_send,   door_close,    door_now_ms,
                                            door_wake_at, door_random, door_remember, door_free};
    struct coord_options none = {0};
    uint8_t password[16];
    password_of(old_session_id, password);
    need_ok(coord_new(&table, door, options ? options : &none, old_session_id, password, &door->coord));
    return door->coord;
}

/* --- life, faults, looks --- */

struct fake_keeper *fake_keeper_new(void)
{
    struct fake_keeper *fake = need(calloc(1, sizeof *fake));
    list_init(&fake->doors);
    list_init(&fake->parcels);
    fake->now_ms = 1000;
    struct znode *root = need(calloc(1, sizeof *root));
    root->path = need(strdup("/"));
    root->stat.czxid = -1;
    need_ok(map_put(&fake->nodes, SLICE("/"), root));
    return fake;
}

void fake_keeper_free(struct fake_keeper *fake)
{
    assert(list_empty(&fake->doors));
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&fake->nodes, &i));) fake_znode_free(slot->value);
    map_free(&fake->nodes);
    for (size_t i = 0; i < fake->session_count; i++) free(fake->sessions[i]);
    for (size_t i = 0; i < fake->watch_count; i++) free(fake->watches[i].path);
    bytes_release(&fake->garbled);
    free(fake->sessions);
    free(fake->watches);
    free(fake->undo);
    free(fake);
}

int64_t fake_keeper_remembered(const struct fake_keeper *fake)
{
    return fake->remembered;
}

int64_t fake_keeper_now_ms(const struct fake_keeper *fake)
{
    return fake->now_ms;
}

void fake_keeper_cut(struct fake_keeper *fake)
{
    LIST_EACH(&fake->doors, item) reset(fake, CONTAINER_OF(item, struct fake_door, link));
}

void fake_keeper_cut_answers(struct fake_keeper *fake)
{
    /* What clients sent is applied first; then nobody hears of it. */
    LIST_EACH(&fake->parcels, item)
    {
        struct parcel *parcel = CONTAINER_OF(item, struct parcel, link);
        struct fake_door *door = parcel->door;
        if (parcel->kind != TO_KEEPER || parcel->connection != door->connection || !door->session) continue;
        struct jute in = jute_of(bytes_slice(parcel->message));
        if (door->session->is_alive) request(fake, door, &in);
        parcel_free(parcel);
    }
    fake_keeper_cut(fake);
}

void fake_keeper_expire(struct fake_keeper *fake, int64_t session_id)
{
    struct fake_session *session = session_of(fake, session_id);
    if (!session) return;
    LIST_EACH(&fake->doors, item)
    {
        struct fake_door *door = CONTAINER_OF(item, struct fake_door, link);
        if (door->session == session) reset(fake, door);
    }
    end_session(fake, session);
}

void fake_keeper_refuse(struct fake_keeper *fake, bool is_refusing)
{
    fake->is_refusing = is_refusing;
}

void fake_keeper_garble(struct fake_keeper *fake, struct slice answer)
{
    fake->garbled = need(bytes_copy(answer.data, answer.size));
}

int64_t fake_keeper_writes(const struct fake_keeper *fake)
{
    return fake->writes;
}

int64_t fake_keeper_requests(const struct fake_keeper *fake)
{
    return fake->requests;
}

size_t fake_keeper_max_in_flight(const struct fake_keeper *fake)
{
    return fake->max_in_flight;
}

size_t fake_keeper_armed(const struct fake_keeper *fake)
{
    return fake->watch_count;
}

bool fake_keeper_has(const struct fake_keeper *fake, const char *path)
{
    return fake_find(fake, path) != NULL;
}

struct slice fake_keeper_data(const struct fake_keeper *fake, const char *path)
{
    const struct znode *node = fake_find(fake, path);
    return node ? (struct slice){node->data, node->size} : SLICE_NULL;
}

bool fake_keeper_stat(const struct fake_keeper *fake, const char *path, struct znode_stat *stat)
{
    const struct znode *node = fake_find(fake, path);
    if (node) *stat = node->stat;
    return node != NULL;
}

void fake_keeper_put(struct fake_keeper *fake, const char *path, struct slice data, int64_t owner)
{
    char created[540], parent[540];
    fake->zxid++;
    if (fake_find(fake, path)) {
        need_ok(fake_set(fake, path, data, COORD_ANY_VERSION));
        fire(fake, COORD_NODE_CHANGED, path);
        return;
    }
    fake_parent(path, parent, sizeof parent);
    if (!fake_find(fake, parent)) fake_keeper_put(fake, parent, SLICE_NULL, 0);
    need_ok(fake_create(fake, path, data, owner ? COORD_EPHEMERAL : 0, owner, created, sizeof created));
    fire(fake, COORD_NODE_CREATED, created);
    fire_parent(fake, created);
}

void fake_keeper_remove(struct fake_keeper *fake, const char *path)
{
    size_t count, size = strlen(path);
    const char **paths = sorted_paths(fake, &count);
    fake->zxid++;
    for (size_t i = count; i-- > 0;) {
        bool is_below = strncmp(paths[i], path, size) == 0 && (paths[i][size] == 0 || paths[i][size] == '/');
        if (is_below) delete_and_tell(fake, paths[i]);
    }
    free(paths);
}

void fake_keeper_walk(const struct fake_keeper *fake,
                      void (*visit)(void *context, const char *path, struct slice data), void *context)
{
    size_t count;
    const char **paths = sorted_paths(fake, &count);
    for (size_t i = 0; i < count; i++) visit(context, paths[i], fake_keeper_data(fake, paths[i]));
    free(paths);
}

void fake_keeper_dump(const struct fake_keeper *fake, struct text *out)
{
    size_t count;
    const char **paths = sorted_paths(fake, &count);
    for (size_t i = 0; i < count; i++) {
        const struct znode *node = fake_find(fake, paths[i]);
        text_addf(out, "%s %d ", node->path, node->stat.version);
        if (node->data)
            text_add(out, (struct slice){node->data, node->size});
        else
            text_addz(out, "-");
        text_addc(out, '\n');
    }
    free(paths);
}
