/* engine.c: one event after the other, each a stack of steps, and the controller's way of asking the keeper. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "controller/inside.h"

enum { WRITES_IN_A_MULTI = 150, BYTES_IN_A_MULTI = 256 << 10 };

int64_t controller_now_ms(const struct controller *c)
{
    return c->options.rules.now_ms(c->options.rules.context);
}

/* --- scratch --- */

void *scratch_alloc(struct controller *c, size_t count, size_t size)
{
    return need(arena_zalloc(&c->scratch, count * size));
}

struct slice scratch_copy(struct controller *c, struct slice s)
{
    if (!s.data) return s;
    struct slice copy = arena_copy(&c->scratch, s);
    need((void *)copy.data);
    return copy;
}

struct slice scratch_print(struct controller *c, const char *format, ...)
{
    char small[600];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    assert(size >= 0 && (size_t)size < sizeof small); /* paths: names have at most 249 characters */
    return scratch_copy(c, (struct slice){(const uint8_t *)small, (size_t)size});
}

struct slice scratch_text(struct controller *c, struct text *text)
{
    if (text->failed) need(NULL);
    struct slice copy = scratch_copy(c, text_slice(text));
    text_free(text);
    return copy;
}

/* --- events and steps --- */

void engine_event(struct controller *c, step_run *run, void *argument,
                  void (*drop)(struct controller *, void *), bool is_unique)
{
    if (is_unique) {
        LIST_EACH(&c->events, item)
        if (CONTAINER_OF(item, struct event, link)->run == run) return;
    }
    struct event *event = need(malloc(sizeof *event));
    *event = (struct event){.run = run, .argument = argument, .drop = drop, .is_unique = is_unique};
    list_push_back(&c->events, &event->link);
    engine_drive(c);
}

void engine_push(struct controller *c, step_run *run, void *argument)
{
    if (!VEC_RESERVE(c->steps, c->step_count, c->step_capacity)) need(NULL);
    c->steps[c->step_count++] = (struct step){run, argument};
}

void engine_drive(struct controller *c)
{
    if (c->is_driving || c->is_freed) return;
    c->is_driving = true;
    while (c->outstanding == 0) {
        if (c->step_count > 0) {
            struct step step = c->steps[--c->step_count];
            step.run(c, step.argument);
            continue;
        }
        c->guard = NULL;
        arena_reset(&c->scratch);
        if (list_empty(&c->events)) break;
        struct event *event = CONTAINER_OF(c->events.next, struct event, link);
        list_remove(&event->link);
        event->run(c, event->argument);
        free(event);
    }
    c->is_driving = false;
    pending_check(c);
}

void engine_guard(struct controller *c, void (*drop)(struct controller *c, void *argument), void *argument)
{
    c->guard = drop;
    c->guarded = argument;
}

void engine_clear(struct controller *c)
{
    void (*guard)(struct controller *, void *) = c->guard;
    c->guard = NULL;
    c->term++;
    c->step_count = 0;
    c->outstanding = 0;
    batch_drop(c);
    if (guard) guard(c, c->guarded);
    /* A drop may queue nothing: it answers calls. */
    struct list dropped;
    list_init(&dropped);
    while (!list_empty(&c->events)) {
        struct list *first = c->events.next;
        list_remove(first);
        list_push_back(&dropped, first);
    }
    while (!list_empty(&dropped)) {
        struct event *event = CONTAINER_OF(dropped.next, struct event, link);
        list_remove(&event->link);
        if (event->drop) event->drop(c, event->argument);
        free(event);
    }
}

/* --- asking --- */

struct op {
    struct controller *c;
    uint64_t term;
    op_done *done;
    void *argument;
    bool is_fenced;
};

bool controller_is_alive(struct controller *c)
{
    c->unanswered--;
    if (!c->is_freed) return true;
    if (c->unanswered == 0) free(c);
    return false;
}

static void op_answered(void *context, const struct coord_reply *reply)
{
    struct op op = *(struct op *)context;
    free(context);
    struct controller *c = op.c;
    if (!controller_is_alive(c) || c->term != op.term) return;
    /* What the callback sends may be answered at once: the event goes on only when it has returned. */
    bool was_driving = c->is_driving;
    c->is_driving = true;
    c->outstanding--;
    bool is_deposed = op.is_fenced && reply->err != OK && reply->result_count > 0 && reply->failed_index == 0;
    if (reply->err == ERR_ZK_SESSION_EXPIRED || reply->err == ERR_CLOSED) {
        role_resign(c);
        engine_clear(c);
    } else if (is_deposed) {
        role_moved(c);
    } else if (op.done) {
        op.done(c, op.argument, reply);
    }
    c->is_driving = was_driving;
    engine_drive(c);
}

static struct op *op_new(struct controller *c, op_done *done, void *argument, bool is_fenced)
{
    struct op *op = need(malloc(sizeof *op));
    *op = (struct op){c, c->term, done, argument, is_fenced};
    c->outstanding++;
    c->unanswered++;
    return op;
}

void engine_get(struct controller *c, struct slice path, op_done *done, void *argument)
{
    coord_get(c->coord, path, op_answered, op_new(c, done, argument, false));
}

void engine_exists(struct controller *c, struct slice path, op_done *done, void *argument)
{
    coord_exists(c->coord, path, op_answered, op_new(c, done, argument, false));
}

void engine_children(struct controller *c, struct slice path, op_done *done, void *argument)
{
    coord_children(c->coord, path, op_answered, op_new(c, done, argument, false));
}

void engine_multi(struct controller *c, const struct coord_op *ops, size_t count, op_done *done,
                  void *argument)
{
    coord_multi(c->coord, ops, count, op_answered, op_new(c, done, argument, false));
}

static struct coord_op fence(const struct controller *c)
{
    return (struct coord_op){
        .kind = COORD_CHECK, .path = SLICE("/controller_epoch"), .version = c->fence_version};
}

void engine_fenced(struct controller *c, const struct coord_op *ops, size_t count, op_done *done,
                   void *argument)
{
    struct coord_op *all = scratch_alloc(c, count + 1, sizeof *all);
    all[0] = fence(c);
    memcpy(all + 1, ops, count * sizeof *ops);
    coord_multi(c->coord, all, count + 1, op_answered, op_new(c, done, argument, true));
}

/* --- many writes --- */

struct write_group {
    struct write *writes;
    size_t count;
};

static void send_group(struct controller *c, struct write *writes, size_t count);

/* Somebody wrote before us: we, if it says what we wanted to say, for it names our epoch. */
static void written_by_whom(struct controller *c, void *argument, const struct coord_reply *reply)
{
    (void)c;
    struct write *write = argument;
    if (reply->err != OK || !slice_equal(reply->data, write->data)) return;
    write->err = OK;
    write->version = reply->stat.version;
}

static void one_failed(struct controller *c, struct write *write, const struct coord_reply *reply)
{
    size_t at = reply->failed_index - 1;
    if (reply->result_count == 0) at = write->op_count;
    write->err = reply->err;
    if (reply->err == ERR_ZK_NODE_EXISTS && at < write->may_exist) {
        memmove(write->ops + at, write->ops + at + 1, (write->op_count - at - 1) * sizeof *write->ops);
        write->op_count--;
        write->may_exist--;
        send_group(c, write, 1);
    } else if ((reply->err == ERR_ZK_NODE_EXISTS || reply->err == ERR_ZK_BAD_VERSION) && write->data.data) {
        engine_get(c, write->ops[write->op_count - 1].path, written_by_whom, write);
    }
}

static void group_written(struct controller *c, void *argument, const struct coord_reply *reply)
{
    struct write_group *group = argument;
    if (reply->err != OK && group->count == 1) {
        one_failed(c, group->writes, reply);
        return;
    }
    if (reply->err != OK) {
        for (size_t i = 0; i < group->count; i++) send_group(c, &group->writes[i], 1);
        return;
    }
    size_t at = 1;
    for (size_t i = 0; i < group->count; i++) {
        struct write *write = &group->writes[i];
        at += write->op_count;
        const struct coord_op *last = &write->ops[write->op_count - 1];
        write->err = OK;
        write->version = last->kind == COORD_SET ? reply->results[at - 1].stat.version : 0;
    }
}

static void send_group(struct controller *c, struct write *writes, size_t count)
{
    size_t op_count = 0;
    for (size_t i = 0; i < count; i++) op_count += writes[i].op_count;
    struct coord_op *ops = scratch_alloc(c, op_count, sizeof *ops);
    struct write_group *group = scratch_alloc(c, 1, sizeof *group);
    *group = (struct write_group){writes, count};
    struct coord_op *at = ops;
    for (size_t i = 0; i < count; i++) {
        memcpy(at, writes[i].ops, writes[i].op_count * sizeof *at);
        at += writes[i].op_count;
        writes[i].err = ERR_CANCELLED;
    }
    engine_fenced(c, ops, op_count, group_written, group);
}

void engine_writes(struct controller *c, struct write *writes, size_t count)
{
    size_t begin = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        for (size_t o = 0; o < writes[i].op_count; o++) size += coord_op_size(c->coord, &writes[i].ops[o]);
        writes[i].data = writes[i].ops[writes[i].op_count - 1].data;
        if (i > begin && (i - begin == WRITES_IN_A_MULTI || bytes + size > BYTES_IN_A_MULTI)) {
            send_group(c, writes + begin, i - begin);
            begin = i;
            bytes = 0;
        }
        bytes += size;
    }
    if (count > begin) send_group(c, writes + begin, count - begin);
}
