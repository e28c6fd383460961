#include "controller/admin.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/twice.h"

enum { SCRATCH_LIMIT = 64 << 20 };

struct admin_call *admin_begin(struct controller *c, struct controller_call *call, size_t count,
                               bool (*is_shown)(const struct admin_call *, struct admin_item *),
                               enum error (*answer)(struct admin_call *))
{
    struct admin_call *admin = calloc(1, sizeof *admin);
    if (admin) {
        *admin = (struct admin_call){
            .c = c, .call = call, .count = count, .is_shown = is_shown, .answer = answer, .outstanding = 1};
        arena_init(&admin->arena, SCRATCH_LIMIT);
        admin->items = arena_zalloc(&admin->arena, (count ? count : 1) * sizeof *admin->items);
    }
    if (admin && admin->items) return admin;
    if (admin) arena_free(&admin->arena);
    free(admin);
    call_done(call, ERR_NOMEM);
    return NULL;
}

void item_fail(struct admin_item *item, enum error err, const char *format, ...)
{
    va_list arguments;
    item->err = err;
    item->is_waiting = false;
    va_start(arguments, format);
    vsnprintf(item->message, sizeof item->message, format, arguments);
    va_end(arguments);
}

void admin_refuse_twice(struct admin_call *admin, const char *why)
{
    struct slice *keys = arena_array(&admin->arena, admin->count, sizeof *keys);
    for (size_t i = 0; keys && i < admin->count; i++) {
        const struct admin_item *item = &admin->items[i];
        uint8_t *key = item->name.data ? arena_alloc(&admin->arena, 2 + item->name.size) : NULL;
        keys[i] = (struct slice){key, key ? 2 + item->name.size : 0};
        if (!key) continue;
        put_be16(key, (uint16_t)item->replication);
        if (item->name.size > 0) memcpy(key + 2, item->name.data, item->name.size);
    }
    const bool *is_twice = keys ? find_twice(&admin->arena, keys, admin->count) : NULL;
    for (size_t i = 0; i < admin->count; i++) {
        if (!is_twice)
            item_fail(&admin->items[i], ERR_NOMEM, "%s", "");
        else if (is_twice[i])
            item_fail(&admin->items[i], ERR_INVALID_REQUEST, "%s", why);
    }
}

struct slice item_message(const struct admin_call *admin, const struct admin_item *item, bool *is_failed)
{
    if (item->err == OK) return SLICE_NULL;
    const char *text = *item->message ? item->message : error_text(item->err);
    struct slice copy = arena_copy(admin->call->arena, slice_of(text));
    if (!copy.data) *is_failed = true;
    return copy;
}

/* --- the end --- */

static void admin_end(struct admin_call *admin, enum error err)
{
    struct controller_call *call = admin->call;
    if (admin->is_pending) list_remove(&admin->link);
    if (err == OK) err = admin->answer(admin);
    arena_free(&admin->arena);
    free(admin);
    call_done(call, err);
}

static bool is_complete(struct admin_call *admin, bool is_late)
{
    bool is_waiting = false;
    for (size_t i = 0; i < admin->count; i++) {
        struct admin_item *item = &admin->items[i];
        if (!item->is_waiting) continue;
        if (admin->is_shown(admin, item))
            item->is_waiting = false;
        else if (!is_late)
            is_waiting = true;
        else if (admin->is_late_ok)
            item->is_waiting = false;
        else
            item_fail(item, ERR_REQUEST_TIMED_OUT,
                      "accepted, but not carried out within the request's timeout");
    }
    return !is_waiting;
}

static void admin_written(struct admin_call *admin)
{
    struct controller *c = admin->c;
    bool is_late = admin->deadline_ms <= controller_now_ms(c);
    if (c->is_freed || is_complete(admin, is_late)) {
        admin_end(admin, c->is_freed ? ERR_NOT_CONTROLLER : OK);
        return;
    }
    admin->is_pending = true;
    list_push_back(&c->pending, &admin->link);
    controller_reschedule(c);
}

static void admin_asked(struct admin_call *admin)
{
    if (--admin->outstanding == 0) admin_written(admin);
}

void admin_proceed(struct admin_call *admin, int32_t timeout_ms)
{
    admin->deadline_ms = controller_now_ms(admin->c) + (timeout_ms > 0 ? timeout_ms : 0);
    admin_asked(admin);
}

void pending_check(struct controller *c)
{
    if (c->is_checking_pending || c->is_freed) return;
    c->is_checking_pending = true;
    int64_t now_ms = controller_now_ms(c);
    LIST_EACH(&c->pending, link)
    {
        struct admin_call *admin = CONTAINER_OF(link, struct admin_call, link);
        if (is_complete(admin, now_ms >= admin->deadline_ms)) admin_end(admin, OK);
    }
    c->is_checking_pending = false;
}

int64_t pending_due_ms(const struct controller *c)
{
    int64_t due_ms = INT64_MAX;
    LIST_EACH((struct list *)&c->pending, link)
    {
        const struct admin_call *admin = CONTAINER_OF(link, struct admin_call, link);
        if (admin->deadline_ms < due_ms) due_ms = admin->deadline_ms;
    }
    return due_ms;
}

void pending_drop_all(struct controller *c, enum error err)
{
    while (!list_empty(&c->pending)) admin_end(CONTAINER_OF(c->pending.next, struct admin_call, link), err);
}

/* --- questions --- */

struct item_question {
    struct admin_call *admin;
    struct admin_item *item;
    item_done *done;
};

static void question_answered(void *context, const struct coord_reply *reply)
{
    struct item_question question = *(struct item_question *)context;
    free(context);
    struct controller *c = question.admin->c;
    bool is_gone = reply->err == ERR_CLOSED || reply->err == ERR_ZK_SESSION_EXPIRED || c->is_freed;
    if (is_gone)
        item_fail(question.item, ERR_REQUEST_TIMED_OUT, "the connection to the keeper was lost meanwhile");
    else
        question.done(question.admin, question.item, reply);
    admin_asked(question.admin);
    controller_is_alive(c);
}

static struct item_question *question_new(struct admin_call *admin, struct admin_item *item, item_done *done)
{
    struct item_question *question = malloc(sizeof *question);
    if (!question) {
        item_fail(item, ERR_NOMEM, "%s", "");
        return NULL;
    }
    *question = (struct item_question){admin, item, done};
    admin->outstanding++;
    admin->c->unanswered++;
    return question;
}

void admin_multi(struct admin_call *admin, struct admin_item *item, const struct coord_op *ops, size_t count,
                 item_done *done)
{
    struct item_question *question = question_new(admin, item, done);
    if (question) coord_multi(admin->c->coord, ops, count, question_answered, question);
}

void admin_get(struct admin_call *admin, struct admin_item *item, struct slice path, item_done *done)
{
    struct item_question *question = question_new(admin, item, done);
    if (question) coord_get(admin->c->coord, path, question_answered, question);
}
