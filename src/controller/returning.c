/* returning.c: a broker that may have lost acknowledged records, before it registers (controller.h, cluster_return).
 *
 *     topics --> states of what it has beside others --> in an ISR of several? --every LOOK_MS--> no longer: done
 *                                                              |
 *                         all others of that ISR return too: done; none of it for `patience_ms`: done, and said. While the
 *                         leader is registered that time does not count: it will take us out, once it has synced.
 *
 * Nothing but absence is needed to leave an ISR: the controller, Apache's or ours, takes a broker out that is not registered. Only who
 * is there may be elected, so the others of the ISR have their chance first. /odradek/returning/N, ephemeral, tells other brokers of
 * ours that this one waits; Apache's do not look there. */
#include <stdio.h>

#include "controller/inside.h"

#define RETURNING "/odradek/returning"

enum { LOOK_MS = 100, STALL_MS = 2000 };

struct counted { /* a partition whose ISR counts on us */
    char *path;
    struct int32_list isr;
    int32_t leader;
    bool is_counted;
};

struct returning {
    struct coord *coord;
    struct cluster_return options;
    struct coord_listener listener;
    struct loop_timer timer;
    struct arena arena; /* of one answer */
    struct counted *partitions;
    size_t count, capacity;
    struct int32_list others;     /* that return as well; owned */
    struct int32_list registered; /* owned */
    int asked;
    bool has_failed;     /* in this look */
    bool has_listed;     /* the partitions are known */
    bool is_over;        /* done, or cancelled: freed with the last answer */
    int64_t look_ms;     /* when this look began */
    int64_t deadline_ms; /* of our patience */
    bool has_said;
};

static void forget_partitions(struct returning *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->partitions[i].path);
        free((void *)r->partitions[i].isr.items);
    }
    r->count = 0;
}

static void returning_free(struct returning *r)
{
    forget_partitions(r);
    free(r->partitions);
    free((void *)r->others.items);
    free((void *)r->registered.items);
    arena_free(&r->arena);
    free(r);
}

static void leave(struct returning *r)
{
    loop_timer_stop(r->options.loop, &r->timer);
    coord_unlisten(r->coord, &r->listener);
    r->is_over = true;
    if (r->asked == 0) returning_free(r);
}

static void finish(struct returning *r)
{
    char path[64];
    snprintf(path, sizeof path, RETURNING "/%d", r->options.broker_id);
    coord_delete(r->coord, slice_of(path), COORD_ANY_VERSION, NULL, NULL);
    void (*done)(void *) = r->options.done;
    void *context = r->options.context;
    leave(r);
    done(context);
}

void cluster_return_cancel(struct returning **returning)
{
    struct returning *r = *returning;
    *returning = NULL;
    if (r) leave(r);
}

/* --- one look --- */

static bool is_waited_for(const struct returning *r, const struct counted *partition)
{
    if (!partition->is_counted) return false;
    for (size_t i = 0; i < partition->isr.count; i++) {
        int32_t id = partition->isr.items[i];
        if (id != r->options.broker_id && !ids_have(r->others, id)) return true;
    }
    return false;
}

static void judge(struct returning *r)
{
    int64_t now_ms = loop_now_ms(r->options.loop);
    /* Time in which nobody could have come back does not count. */
    if (r->has_failed || now_ms - r->look_ms > STALL_MS) r->deadline_ms = now_ms + r->options.patience_ms;
    size_t waited = 0;
    const struct counted *first = NULL;
    for (size_t i = 0; i < r->count; i++) {
        const struct counted *partition = &r->partitions[i];
        if (!is_waited_for(r, partition)) continue;
        if (waited++ == 0) first = partition;
        bool is_led = partition->leader != r->options.broker_id && ids_have(r->registered, partition->leader);
        if (is_led) r->deadline_ms = now_ms + r->options.patience_ms;
    }
    if (!r->has_failed && waited == 0) {
        finish(r);
        return;
    }
    if (waited > 0 && !r->has_said) {
        r->has_said = true;
        diag_warn("this machine went down with records that were not yet on its disk: broker %d stays away "
                  "until %zu "
                  "partitions count on others (the first: %s)",
                  r->options.broker_id, waited, first->path);
    }
    if (waited > 0 && now_ms >= r->deadline_ms) {
        diag_error(
            "for %lld ms nobody else of the ISRs of %zu partitions came back: broker %d takes part with what "
            "it has, acknowledged records may be lost (the first: %s)",
            (long long)r->options.patience_ms, waited, r->options.broker_id, first->path);
        finish(r);
        return;
    }
    loop_timer_start(r->options.loop, &r->timer, LOOK_MS);
}

/* Counts one answer; false: it is nobody's any more. */
static bool answered(struct returning *r)
{
    r->asked--;
    if (r->is_over && r->asked == 0)
        returning_free(r);
    else if (!r->is_over)
        return true;
    return false;
}

static void ask(struct returning *r)
{
    r->asked++;
}

static void took(struct returning *r, enum error err)
{
    if (err != OK && err != ERR_ZK_NO_NODE) r->has_failed = true;
    if (r->asked == 0) judge(r);
}

struct question {
    struct returning *returning;
    size_t index; /* of a partition, or */
    char topic[256];
};

static void state_read(void *context, const struct coord_reply *reply)
{
    struct question question = *(struct question *)context;
    free(context);
    struct returning *r = question.returning;
    if (!answered(r)) return;
    struct counted *partition = &r->partitions[question.index];
    struct partition_state state;
    struct znode_fault fault;
    free((void *)partition->isr.items);
    partition->isr = (struct int32_list){0};
    partition->leader = -1;
    partition->is_counted = false;
    arena_reset(&r->arena);
    /* One that cannot be read counts on nobody: the controller leaves it without a leader. */
    if (reply->err == OK &&
        znode_state_decode(slice_of(partition->path), reply->data, &r->arena, &state, &fault) == OK &&
        ids_have(state.isr, r->options.broker_id)) {
        int32_t *ids = need(malloc((state.isr.count + 1) * sizeof *ids));
        memcpy(ids, state.isr.items, state.isr.count * sizeof *ids);
        partition->isr = (struct int32_list){ids, state.isr.count};
        partition->leader = state.leader;
        partition->is_counted = state.isr.count > 1;
    } else if (reply->err != OK && reply->err != ERR_ZK_NO_NODE) {
        partition->is_counted = true; /* as far as we know */
    }
    took(r, reply->err);
}

static void ask_state(struct returning *r, size_t index)
{
    struct question *question = need(malloc(sizeof *question));
    question->returning = r;
    question->index = index;
    ask(r);
    coord_get(r->coord, slice_of(r->partitions[index].path), state_read, question);
}

static void topic_read(void *context, const struct coord_reply *reply)
{
    struct question *question = context;
    struct returning *r = question->returning;
    struct topic_assignment assignment;
    struct znode_fault fault;
    char path[300];
    snprintf(path, sizeof path, "/brokers/topics/%s", question->topic);
    if (!answered(r)) {
        free(question);
        return;
    }
    arena_reset(&r->arena);
    bool is_known = reply->err == OK &&
                    znode_topic_decode(slice_of(path), reply->data, &r->arena, &assignment, &fault) == OK;
    size_t first = r->count;
    for (size_t p = 0; is_known && p < assignment.partition_count; p++) {
        struct int32_list replicas = assignment.replicas[p];
        if (replicas.count < 2 || !ids_have(replicas, r->options.broker_id)) continue;
        if (!VEC_RESERVE(r->partitions, r->count, r->capacity)) need(NULL);
        struct text text = {0};
        text_addf(&text, "%s/partitions/%zu/state", path, p);
        r->partitions[r->count++] = (struct counted){.path = need(slice_dup(text_slice(&text)))};
        text_free(&text);
    }
    free(question);
    if (reply->err != OK && reply->err != ERR_ZK_NO_NODE) r->has_listed = false;
    for (size_t i = first; i < r->count; i++) ask_state(r, i);
    took(r, reply->err);
}

static void topics_listed(void *context, const struct coord_reply *reply)
{
    struct returning *r = context;
    if (!answered(r)) return;
    r->has_listed = reply->err == OK;
    for (size_t i = 0; reply->err == OK && i < reply->child_count; i++) {
        if (topic_name_check(reply->children[i], NULL) != OK) continue;
        struct question *question = need(calloc(1, sizeof *question));
        question->returning = r;
        slice_text(reply->children[i], question->topic, sizeof question->topic);
        char path[300];
        snprintf(path, sizeof path, "/brokers/topics/%s", question->topic);
        ask(r);
        coord_get(r->coord, slice_of(path), topic_read, question);
    }
    took(r, reply->err);
}

static void take_ids(struct returning *r, const struct coord_reply *reply, struct int32_list *list)
{
    int32_t *ids = need(calloc(reply->child_count + 1, sizeof *ids));
    size_t count = 0;
    for (size_t i = 0; reply->err == OK && i < reply->child_count; i++) {
        int64_t id;
        if (slice_to_int64(reply->children[i], 0, INT32_MAX, &id)) ids[count++] = (int32_t)id;
    }
    free((void *)list->items);
    *list = (struct int32_list){ids, count};
    took(r, reply->err);
}

static void others_listed(void *context, const struct coord_reply *reply)
{
    struct returning *r = context;
    if (answered(r)) take_ids(r, reply, &r->others);
}

static void registered_listed(void *context, const struct coord_reply *reply)
{
    struct returning *r = context;
    if (answered(r)) take_ids(r, reply, &r->registered);
}

static void announced(void *context, const struct coord_reply *reply)
{
    struct returning *r = context;
    if (!answered(r)) return;
    /* There already: ours, or of an earlier life, which says the same and goes with its session; then again. */
    took(r, reply->err == ERR_ZK_NODE_EXISTS ? OK : reply->err);
}

static void look(struct returning *r)
{
    char path[64];
    snprintf(path, sizeof path, RETURNING "/%d", r->options.broker_id);
    r->has_failed = false;
    r->look_ms = loop_now_ms(r->options.loop);
    ask(r); /* until all is asked */
    if (!r->has_listed) {
        forget_partitions(r);
        coord_create(r->coord, SLICE("/odradek"), SLICE_NULL, COORD_PERSISTENT, COORD_ACL_OPEN, NULL, NULL);
        coord_create(r->coord, SLICE(RETURNING), SLICE_NULL, COORD_PERSISTENT, COORD_ACL_OPEN, NULL, NULL);
    }
    ask(r);
    coord_create(r->coord, slice_of(path), SLICE_NULL, COORD_EPHEMERAL, COORD_ACL_OPEN, announced, r);
    ask(r);
    coord_children(r->coord, SLICE(RETURNING), others_listed, r);
    ask(r);
    coord_children(r->coord, SLICE("/brokers/ids"), registered_listed, r);
    if (r->has_listed) {
        for (size_t i = 0; i < r->count; i++)
            if (r->partitions[i].is_counted) ask_state(r, i);
    } else {
        ask(r);
        coord_children(r->coord, SLICE("/brokers/topics"), topics_listed, r);
    }
    if (answered(r)) took(r, OK);
}

static void look_due(struct loop_timer *timer)
{
    look(CONTAINER_OF(timer, struct returning, timer));
}

/* Without the keeper nobody can come back. */
static void on_state(void *context, enum coord_state state)
{
    struct returning *r = context;
    if (state != COORD_CONNECTED) return;
    r->deadline_ms = loop_now_ms(r->options.loop) + r->options.patience_ms;
}

enum error cluster_return(struct coord *coord, const struct cluster_return *options,
                          struct returning **returning)
{
    struct returning *r = calloc(1, sizeof *r);
    if (!r) return ERR_NOMEM;
    *returning = r;
    r->coord = coord;
    r->options = *options;
    r->timer.run = look_due;
    r->listener = (struct coord_listener){.on_state = on_state, .context = r};
    arena_init(&r->arena, 0);
    coord_listen(coord, &r->listener);
    r->deadline_ms = loop_now_ms(options->loop) + options->patience_ms;
    look(r);
    return OK;
}
