/* admin.h: a client's request in progress: items that are checked, written, and waited for until this broker's image shows
 * them. The answer has an item for each of the request's, in its order.
 *
 *     checked --ask--> outstanding writes --0 left--> waiting for the image --all shown, or late--> answered
 */
#pragma once
#include "controller/inside.h"

struct admin_item {
    struct slice name; /* the request's; null when only the id was given */
    struct uuid id;
    enum error err;
    char message[256];   /* for the client; "" = the error's own text */
    bool is_waiting;     /* written, and not seen yet */
    int32_t partitions;  /* CreateTopics: -1 = not known; ElectLeaders: the partition */
    int16_t replication; /* CreateTopics; configs: the resource type */
    void *extra;         /* of its kind, in `arena` */
};

struct admin_call {
    struct list link; /* among the pending */
    struct controller *c;
    struct controller_call *call;
    struct arena arena; /* until answered */
    struct admin_item *items;
    size_t count;
    size_t outstanding;
    int64_t deadline_ms;
    bool is_late_ok; /* items not seen at the deadline are a success all the same */
    bool is_pending;
    /* True once the image (or the context) shows the item. */
    bool (*is_shown)(const struct admin_call *admin, struct admin_item *item);
    /* Writes the answer into call->response; ERR_NOMEM. */
    enum error (*answer)(struct admin_call *admin);
};

/* NULL: out of memory, and the call is answered so. */
struct admin_call *admin_begin(struct controller *c, struct controller_call *call, size_t count,
                               bool (*is_shown)(const struct admin_call *, struct admin_item *),
                               enum error (*answer)(struct admin_call *));
void item_fail(struct admin_item *item, enum error err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Items of one name (and, for configs, one type in `replication`) are refused, all of them. */
void admin_refuse_twice(struct admin_call *admin, const char *why);
/* Asks the keeper about an item; done gets the item. Every admin_ask's end comes through admin_asked. */
typedef void item_done(struct admin_call *admin, struct admin_item *item, const struct coord_reply *reply);
void admin_multi(struct admin_call *admin, struct admin_item *item, const struct coord_op *ops, size_t count,
                 item_done *done);
void admin_get(struct admin_call *admin, struct admin_item *item, struct slice path, item_done *done);
/* After the first questions were asked, if any: goes on, or answers at once. */
void admin_proceed(struct admin_call *admin, int32_t timeout_ms);
/* The text to send, copied into the answer's arena; null for success. */
struct slice item_message(const struct admin_call *admin, const struct admin_item *item, bool *is_failed);
