/* forward.c: requests on their way to the log: here to ours when we lead, over the link to the leader when we follow; and what else
 * a member tells its leader. The messages are drawn in office.h. */
#include <stdlib.h>

#include "keeper/inside.h"
#include "keeper/status_members.h"

/* One member's entry for which the leader's log had no room: those behind it wait, too, for their order. */
struct held {
    struct held *next;
    int32_t from;
    uint32_t life;
    size_t size;
    uint8_t bytes[];
};

enum { FORWARD_HEADER_SIZE = 5, LOST_SIZE = 13 };

/* --- a member's side --- */

static enum error send_to_leader(struct keeper *keeper, const struct slice *parts, int count)
{
    enum error err = quorum_send(keeper->quorum, keeper->office.leader, parts, count);
    return err == ERR_CLOSED ? ERR_AGAIN : err; /* the link's own event will say what follows */
}

enum error forward_entry(struct keeper *keeper, const struct slice parts[3], uint64_t *index)
{
    struct office *office = &keeper->office;
    if (office->state == OFFICE_LEADING || office->state == OFFICE_ENTERING) {
        if (keeper->held_first) return ERR_AGAIN;
        enum error err = quorum_append(keeper->quorum, parts, 3, index);
        if (err == OK) status_proposed(keeper, parts[0].size + parts[1].size + parts[2].size);
        return err == ERR_NOT_LEADER ? ERR_AGAIN : err;
    }
    if (office->state != OFFICE_FOLLOWING) return ERR_AGAIN;
    uint8_t header[FORWARD_HEADER_SIZE] = {'F'};
    put_be32(header + 1, office->life);
    const struct slice message[] = {{header, sizeof header}, parts[0], parts[1], parts[2]};
    return send_to_leader(keeper, message, 4);
}

void forward_lost(struct keeper *keeper, int64_t session, uint32_t attachment)
{
    uint8_t lost[LOST_SIZE] = {'L'};
    put_be64(lost + 1, (uint64_t)session);
    put_be32(lost + 9, attachment);
    /* One that does not get through lives until its timeout. */
    (void)!send_to_leader(keeper, &(struct slice){lost, sizeof lost}, 1);
}

/* Every half tick: whom we heard of since. */
void forward_touches(struct loop_timer *timer)
{
    struct keeper *keeper = CONTAINER_OF(timer, struct keeper, touch_timer);
    struct text message = {0};
    text_addc(&message, 'T');
    while (!list_empty(&keeper->touched)) {
        struct live *live = CONTAINER_OF(keeper->touched.next, struct live, touched);
        list_remove(&live->touched);
        text_add_be64(&message, (uint64_t)live->id);
    }
    bool is_told = keeper->office.state == OFFICE_FOLLOWING && !message.failed;
    struct slice bytes = text_slice(&message);
    /* What does not get through is touched again, and a new leader begins with everybody's full timeout. */
    if (is_told) (void)!send_to_leader(keeper, &bytes, 1);
    text_free(&message);
}

/* --- the leader's side --- */

static void hold(struct keeper *keeper, int32_t from, uint32_t life, const struct slice parts[2])
{
    size_t size = parts[0].size + parts[1].size;
    struct held *held = malloc(sizeof *held + size);
    if (!held) {
        forward_refuse(keeper, from, life);
        return;
    }
    *held = (struct held){.from = from, .life = life, .size = size};
    memcpy(held->bytes, parts[0].data, parts[0].size);
    if (parts[1].size) memcpy(held->bytes + parts[0].size, parts[1].data, parts[1].size);
    *(keeper->held_last ? &keeper->held_last->next : &keeper->held_first) = held;
    keeper->held_last = held;
}

/* An entry of this life is lost: what comes after it must not count. */
void forward_refuse(struct keeper *keeper, int32_t member, uint32_t life)
{
    uint8_t renew[5] = {'X'};
    put_be32(renew + 1, life);
    keeper->office.hellos[member].life = ~life;
    (void)!quorum_send(keeper->quorum, member, &(struct slice){renew, sizeof renew}, 1);
}

/* False: the log has no room. */
static bool append(struct keeper *keeper, int32_t from, uint32_t life, const struct slice *parts, int count)
{
    uint64_t index;
    size_t size = 0;
    enum error err = quorum_append(keeper->quorum, parts, count, &index);
    if (err == ERR_AGAIN) return false;
    for (int i = 0; i < count && err == OK; i++) size += parts[i].size;
    if (err == OK) status_proposed(keeper, size);
    if (err != OK && err != ERR_NOT_LEADER) forward_refuse(keeper, from, life);
    return true;
}

bool forward_append_held(struct keeper *keeper)
{
    while (keeper->held_first) {
        struct held *held = keeper->held_first;
        bool is_current = keeper->office.hellos[held->from].life == held->life;
        struct slice bytes = {held->bytes, held->size};
        if (is_current && !append(keeper, held->from, held->life, &bytes, 1)) return false;
        keeper->held_first = held->next;
        if (!held->next) keeper->held_last = NULL;
        free(held);
    }
    return true;
}

void forward_drop_held(struct keeper *keeper)
{
    while (keeper->held_first) {
        struct held *held = keeper->held_first;
        keeper->held_first = held->next;
        free(held);
    }
    keeper->held_last = NULL;
}

static void touch(struct keeper *keeper, int64_t session)
{
    struct live *live = session ? map_get_number(&keeper->lives, (uint64_t)session) : NULL;
    if (live) session_touch(keeper, live);
}

/* What a member's clients may ask; the rest only the leader says. */
static bool is_forwarded(int32_t op)
{
    return op_is_write(op) || op == OP_CREATE_SESSION || op == OP_ATTACH || op == OP_SYNC;
}

static void take_entry(struct keeper *keeper, int32_t from, struct slice bytes)
{
    struct office *office = &keeper->office;
    bool is_in_office = office->state == OFFICE_ENTERING || office->state == OFFICE_LEADING;
    const struct hello *hello = &office->hellos[from];
    uint32_t life = get_be32(bytes.data + 1);
    if (!is_in_office || hello->term != office->term || hello->life != life) return;
    struct slice sent = {bytes.data + FORWARD_HEADER_SIZE, bytes.size - FORWARD_HEADER_SIZE};
    struct entry entry;
    bool is_sound = entry_parse(sent, &entry) == OK && entry.origin == from && entry.life == life;
    if (!is_sound || !is_forwarded(entry.op)) {
        forward_refuse(keeper, from, life);
        return;
    }
    touch(keeper, entry.session);
    if (entry.op == OP_ATTACH) session_coming_back(keeper, &entry);
    if (entry.op == OP_RECONFIG) {
        members_reconfig(keeper, &entry);
        return;
    }
    uint8_t header[ENTRY_HEADER_MAX];
    memcpy(header, sent.data, sizeof header);
    entry_stamp(header, (uint8_t)((entry.flags & ENTRY_LOCAL_DOOR) | request_flags(keeper)),
                loop_wall_ms(keeper->loop));
    const struct slice parts[] = {{header, sizeof header},
                                  {sent.data + sizeof header, sent.size - sizeof header}};
    if (keeper->held_first || !append(keeper, from, life, parts, 2)) hold(keeper, from, life, parts);
}

void forward_message(struct keeper *keeper, int32_t from, struct slice bytes)
{
    switch (bytes.data[0]) {
    case 'F':
        if (bytes.size > FORWARD_HEADER_SIZE) take_entry(keeper, from, bytes);
        break;
    case 'T':
        for (size_t at = 1; at + 8 <= bytes.size && keeper->office.state == OFFICE_LEADING; at += 8)
            touch(keeper, (int64_t)get_be64(bytes.data + at));
        break;
    case 'L':
        if (bytes.size == LOST_SIZE && keeper->office.state == OFFICE_LEADING) {
            session_lost_elsewhere(keeper, (int64_t)get_be64(bytes.data + 1), get_be32(bytes.data + 9));
        }
        break;
    default: break; /* of a later version */
    }
}
