/* registration.c: this broker's seat at /brokers/ids/N, and before that what every broker needs: folders, the cluster's id, its own.
 *
 * The seat is taken by one multi, {create ephemeral with null data, set expecting version 0}, as Apache's brokers do; the znode's czxid
 * is the broker epoch. If it is taken: by us, the answer was lost; by an earlier session of this process, it is removed; by
 * another, we wait for as long as a dead broker's session may live, and then give up. Source: facts/cluster.md 1.4, 2.1. */
#include <stdio.h>

#include "controller/inside.h"

enum { SEAT_PATIENCE_LEAST_MS = 27000 };

static void try_seat(struct controller *c);

/* --- the seat --- */

static struct slice seat_path(const struct controller *c, char path[40])
{
    snprintf(path, 40, "/brokers/ids/%d", c->id);
    return slice_of(path);
}

static void seat_lost(struct controller *c, const char *problem)
{
    c->is_registering = c->is_waiting_for_seat = false;
    diag_error("%s", problem);
    if (c->options.on_fatal) c->options.on_fatal(c->options.context, problem);
}

static void seated(struct controller *c, int64_t epoch)
{
    char path[40];
    c->is_registering = c->is_waiting_for_seat = false;
    c->broker_epoch = epoch;
    if (c->first_epoch == 0) c->first_epoch = epoch;
    c->last_session = coord_session_id(c->coord);
    coord_unwatch(c->coord, COORD_WATCH_NODE, seat_path(c, path));
    metadata_set_broker_epoch(c->metadata, epoch);
    diag_info("registered as broker %d, epoch %lld", c->id, (long long)epoch);
    if (c->options.on_registered) c->options.on_registered(c->options.context, epoch);
    role_elect(c);
}

static void seat_event(void *context, enum coord_event event, struct slice path)
{
    struct controller *c = context;
    (void)path;
    if (event == COORD_NODE_DELETED && c->is_waiting_for_seat) try_seat(c);
}

static void seat_removed(void *context, const struct coord_reply *reply)
{
    struct controller *c = context;
    if (!controller_is_alive(c)) return;
    if (reply->err == OK || reply->err == ERR_ZK_NO_NODE) try_seat(c);
}

static void wait_for_seat(struct controller *c, int64_t owner)
{
    if (!c->is_waiting_for_seat) {
        /* Its session ends at most one timeout after its process did, and the keeper may be late by a tick. An earlier life may
         * have had a longer timeout than we have, Kafka's 18 s before somebody chose a shorter one. */
        int64_t patience_ms = (int64_t)coord_session_timeout_ms(c->coord) * 3 / 2;
        if (patience_ms < SEAT_PATIENCE_LEAST_MS) patience_ms = SEAT_PATIENCE_LEAST_MS;
        c->seat_deadline_ms = controller_now_ms(c) + patience_ms;
        diag_warn("broker id %d is taken by session 0x%llx, waiting for it to end", c->id,
                  (unsigned long long)owner);
    }
    c->is_waiting_for_seat = true;
}

static void seat_looked(void *context, const struct coord_reply *reply)
{
    struct controller *c = context;
    if (!controller_is_alive(c)) return;
    char path[40];
    if (reply->err == ERR_ZK_NO_NODE) {
        try_seat(c);
    } else if (reply->err == OK && reply->stat.ephemeral_owner == coord_session_id(c->coord)) {
        seated(c, reply->stat.czxid);
    } else if (reply->err == OK && c->last_session != 0 && reply->stat.ephemeral_owner == c->last_session) {
        c->unanswered++;
        coord_delete(c->coord, seat_path(c, path), COORD_ANY_VERSION, seat_removed, c);
    } else if (reply->err == OK) {
        wait_for_seat(c, reply->stat.ephemeral_owner);
    }
}

static void seat_tried(void *context, const struct coord_reply *reply)
{
    struct controller *c = context;
    if (!controller_is_alive(c)) return;
    char path[40], problem[160];
    if (reply->err == OK) {
        seated(c, reply->results[1].stat.czxid);
    } else if (reply->err == ERR_ZK_NODE_EXISTS) {
        /* Armed before it is looked at: exists tells of its going either way. */
        need_ok(coord_watch(c->coord, COORD_WATCH_NODE, seat_path(c, path), seat_event, c));
        c->unanswered++;
        coord_exists(c->coord, seat_path(c, path), seat_looked, c);
    } else if (reply->err != ERR_ZK_SESSION_EXPIRED && reply->err != ERR_CLOSED) {
        snprintf(problem, sizeof problem, "could not register as broker %d: %s", c->id,
                 error_text(reply->err));
        seat_lost(c, problem);
    }
}

static void try_seat(struct controller *c)
{
    char path[40];
    struct text data = {0};
    c->options.registration.timestamp_ms = c->options.rules.wall_ms(c->options.rules.context);
    c->options.registration.alive_since_zxid = c->first_epoch;
    znode_broker_encode(&c->options.registration, &data);
    if (data.failed) need(NULL);
    struct coord_op ops[] = {
        {.kind = COORD_CREATE, .path = seat_path(c, path), .mode = COORD_EPHEMERAL},
        {.kind = COORD_SET, .path = seat_path(c, path), .data = text_slice(&data), .version = 0},
    };
    c->is_registering = true;
    c->unanswered++;
    coord_multi(c->coord, ops, 2, seat_tried, c);
    text_free(&data);
}

void registration_begin(struct controller *c)
{
    c->is_waiting_for_seat = false;
    try_seat(c);
}

void registration_session_lost(struct controller *c)
{
    c->broker_epoch = -1;
    c->is_registering = c->is_waiting_for_seat = false;
}

void registration_tick(struct controller *c)
{
    if (!c->is_waiting_for_seat || controller_now_ms(c) < c->seat_deadline_ms) return;
    char problem[160];
    snprintf(problem, sizeof problem,
             "broker id %d is in use: another process with this id is registered and lives", c->id);
    seat_lost(c, problem);
}

enum error controller_update_registration(struct controller *c,
                                          const struct broker_registration *registration)
{
    char path[40];
    struct text data = {0};
    struct broker_registration said = *registration;
    said.timestamp_ms = c->options.rules.wall_ms(c->options.rules.context);
    said.alive_since_zxid = c->options.registration.alive_since_zxid;
    znode_broker_encode(&said, &data);
    enum error err = data.failed ? ERR_NOMEM : OK;
    if (err == OK) err = controller_keep_registration(c, &said);
    if (err == OK) coord_set(c->coord, seat_path(c, path), text_slice(&data), COORD_ANY_VERSION, NULL, NULL);
    text_free(&data);
    return err;
}

/* --- joining --- */

static const char *const folders[] = {
    "/brokers",
    "/config",
    "/admin",
    "/cluster",
    "/consumers",
    "/brokers/ids",
    "/brokers/topics",
    "/config/changes",
    "/admin/delete_topics",
    "/brokers/seqid",
    "/isr_change_notification",
    "/latest_producer_id_block",
    "/log_dir_event_notification",
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
};
enum { FOLDERS = sizeof folders / sizeof *folders, JOIN_ATTEMPTS = 20 };

struct joining {
    struct coord *coord;
    struct cluster_join join;
    char known_id[64];
    bool has_known_id;
    struct cluster_identity identity;
    bool has_folder[FOLDERS], has_id;
    int asked, attempts;
    enum error err; /* of this round */
    char problem[300];
};

struct folder_question {
    struct joining *joining;
    int folder;
};

static void join_look(struct joining *joining);

static void join_end(struct joining *joining, enum error err, const char *problem)
{
    joining->join.done(joining->join.context, err, &joining->identity, problem);
    free(joining);
}

static void join_failed(struct joining *joining, const char *what, enum error err)
{
    char problem[420];
    snprintf(problem, sizeof problem, "could not %s: %s", what, error_text(err));
    join_end(joining, err, problem);
}

static bool may_try_again(struct joining *joining, enum error err)
{
    bool is_race = err == ERR_ZK_SESSION_EXPIRED || err == ERR_ZK_NODE_EXISTS || err == ERR_ZK_NO_NODE;
    return is_race && ++joining->attempts < JOIN_ATTEMPTS;
}

static void seqid_drawn(void *context, const struct coord_reply *reply)
{
    struct joining *joining = context;
    if (reply->err == OK) {
        joining->identity.broker_id = joining->join.reserved_max_id + reply->stat.version;
        join_end(joining, OK, NULL);
    } else if (may_try_again(joining, reply->err)) {
        join_look(joining);
    } else {
        join_failed(joining, "draw a broker id from /brokers/seqid", reply->err);
    }
}

static void join_complete(struct joining *joining)
{
    if (joining->has_known_id && strcmp(joining->known_id, joining->identity.cluster_id) != 0) {
        char problem[300];
        snprintf(problem, sizeof problem,
                 "the log directories belong to cluster %s, but the keeper's cluster is %s: check log.dirs "
                 "and zookeeper.connect, "
                 "or remove meta.properties if the move is wanted",
                 joining->known_id, joining->identity.cluster_id);
        join_end(joining, ERR_INCONSISTENT_CLUSTER_ID, problem);
        return;
    }
    joining->identity.broker_id = joining->join.broker_id;
    if (joining->join.broker_id >= 0)
        join_end(joining, OK, NULL);
    else
        coord_set(joining->coord, SLICE("/brokers/seqid"), SLICE(""), COORD_ANY_VERSION, seqid_drawn,
                  joining);
}

static void folders_made(void *context, const struct coord_reply *reply)
{
    struct joining *joining = context;
    if (reply->err == OK)
        join_complete(joining);
    else if (may_try_again(joining, reply->err))
        join_look(joining); /* somebody else makes them too */
    else
        join_failed(joining, "make the top-level znodes", reply->err);
}

static void make_folders(struct joining *joining)
{
    struct coord_op ops[FOLDERS + 1];
    struct text id = {0};
    size_t count = 0;
    for (int i = 0; i < FOLDERS; i++)
        if (!joining->has_folder[i])
            ops[count++] = (struct coord_op){.kind = COORD_CREATE, .path = slice_of(folders[i])};
    if (!joining->has_id) {
        /* The directories may have been here before the keeper was: then theirs is the cluster's. */
        if (joining->has_known_id)
            memcpy(joining->identity.cluster_id, joining->known_id, sizeof joining->known_id);
        else
            uuid_format(&joining->join.new_cluster_id, joining->identity.cluster_id);
        znode_cluster_id_encode(slice_of(joining->identity.cluster_id), &id);
        ops[count++] =
            (struct coord_op){.kind = COORD_CREATE, .path = SLICE("/cluster/id"), .data = text_slice(&id)};
    }
    if (count == 0)
        join_complete(joining);
    else if (id.failed)
        join_failed(joining, "name the cluster", ERR_NOMEM);
    else
        coord_multi(joining->coord, ops, count, folders_made, joining);
    text_free(&id);
}

static void join_answered(struct joining *joining, enum error err)
{
    if (err != OK && err != ERR_ZK_NO_NODE && joining->err == OK) joining->err = err;
    if (--joining->asked > 0) return;
    if (joining->err == OK)
        make_folders(joining);
    else if (may_try_again(joining, joining->err))
        join_look(joining);
    else
        join_failed(joining, *joining->problem ? joining->problem : "look at the top-level znodes",
                    joining->err);
}

static void folder_looked(void *context, const struct coord_reply *reply)
{
    struct folder_question question = *(struct folder_question *)context;
    free(context);
    question.joining->has_folder[question.folder] = reply->err == OK;
    join_answered(question.joining, reply->err);
}

static void cluster_id_read(void *context, const struct coord_reply *reply)
{
    struct joining *joining = context;
    enum error err = reply->err;
    joining->has_id = err == OK;
    if (err == OK) {
        struct arena arena;
        struct znode_fault fault;
        struct slice id = SLICE_NULL;
        arena_init(&arena, 0);
        err = znode_cluster_id_decode(SLICE("/cluster/id"), reply->data, &arena, &id, &fault);
        if (err == OK && (id.size == 0 || id.size >= sizeof joining->identity.cluster_id)) {
            err = ERR_CORRUPT;
            snprintf(fault.text, sizeof fault.text, "/cluster/id: id: not a cluster's id");
        }
        if (err == OK)
            slice_text(id, joining->identity.cluster_id, sizeof joining->identity.cluster_id);
        else
            snprintf(joining->problem, sizeof joining->problem, "read the cluster's id, %s", fault.text);
        arena_free(&arena);
    }
    join_answered(joining, err);
}

static void join_look(struct joining *joining)
{
    joining->err = OK;
    joining->asked = FOLDERS + 1;
    for (int i = 0; i < FOLDERS; i++) {
        struct folder_question *question = need(malloc(sizeof *question));
        *question = (struct folder_question){joining, i};
        coord_exists(joining->coord, slice_of(folders[i]), folder_looked, question);
    }
    coord_get(joining->coord, SLICE("/cluster/id"), cluster_id_read, joining);
}

enum error cluster_join(struct coord *coord, const struct cluster_join *join)
{
    struct joining *joining = calloc(1, sizeof *joining);
    if (!joining) return ERR_NOMEM;
    joining->coord = coord;
    joining->join = *join;
    joining->has_known_id = join->known_cluster_id.data != NULL;
    slice_text(join->known_cluster_id, joining->known_id, sizeof joining->known_id);
    join_look(joining);
    return OK;
}
