#include "keeper/office.h"

#include <assert.h>

#include "base/diag.h"
#include "keeper/inside.h"
#include "keeper/status_members.h"

enum { RETRY_MS = 300, HELLO_SIZE = 13, WELCOME_SIZE = 21, RENEW_SIZE = 5 };

bool office_takes_writes(const struct keeper *keeper)
{
    enum office_state state = keeper->office.state;
    return state == OFFICE_ALONE || state == OFFICE_FOLLOWING || state == OFFICE_LEADING;
}

bool office_leads(const struct keeper *keeper)
{
    enum office_state state = keeper->office.state;
    return keeper->is_machine_here && (state == OFFICE_ALONE || state == OFFICE_LEADING);
}

static bool is_observer(const struct keeper *keeper)
{
    const struct quorum_member *own = members_find(keeper, keeper->office.id);
    return own && own->part == QUORUM_OBSERVER;
}

const char *office_mode(const struct keeper *keeper)
{
    if (keeper->office.state == OFFICE_ALONE) return "standalone";
    if (keeper->is_read_only) return "read-only";
    if (keeper->office.state == OFFICE_LEADING || keeper->office.state == OFFICE_ENTERING) return "leader";
    return is_observer(keeper) ? "observer" : "follower";
}

/* --- lives --- */

/* Nobody knows what became of the requests of the life that ends. */
static void life_begin(struct keeper *keeper)
{
    struct office *office = &keeper->office;
    uint32_t before = office->life;
    while (office->life == before) loop_random(keeper->loop, &office->life, sizeof office->life);
    office->sequence = 0;
    request_drop_pending(keeper);
}

static void state_set(struct keeper *keeper, enum office_state state)
{
    status_office_changes(keeper, state);
    keeper->office.state = state;
    keeper->office.joined_index = 0;
    if (state == OFFICE_JOINING || state == OFFICE_ENTERING) {
        loop_timer_start(keeper->loop, &keeper->office.retry, RETRY_MS);
    }
}

/* Whatever we were, we are it no more. */
static void leave(struct keeper *keeper)
{
    struct office *office = &keeper->office;
    life_begin(keeper);
    forward_drop_held(keeper);
    session_leave_office(keeper);
    members_forget(keeper);
    state_set(keeper, OFFICE_LOOKING);
    office->leader = 0;
    if (!loop_timer_running(&office->patience) && !keeper->is_read_only) {
        loop_timer_start(keeper->loop, &office->patience, keeper->config.patience_ms);
    }
}

static void patience_ended(struct loop_timer *timer)
{
    struct keeper *keeper = CONTAINER_OF(timer, struct keeper, office.patience);
    if (keeper->is_serving || !keeper->has_told_ready) {
        diag_warn("no leader for %d ms: %s", (int)keeper->config.patience_ms,
                  keeper->config.admits_read_only ? "only readers are served until there is one"
                                                  : "clients are sent away until there is one");
    }
    keeper_cut_clients(keeper);
    if (!keeper->config.admits_read_only || keeper->has_failed || !keeper->is_machine_here) return;
    keeper->is_read_only = keeper->is_serving = true;
}

/* Clients may write (again). */
static void serve(struct keeper *keeper)
{
    loop_timer_stop(keeper->loop, &keeper->office.patience);
    if (keeper->is_read_only) keeper_cut_clients(keeper); /* they come back with their sessions */
    keeper->is_read_only = false;
    if (!keeper->has_told_ready) {
        session_end_old(keeper);
        if (keeper->closes_left > 0) return;
    }
    keeper_serve(keeper);
}

/* --- following --- */

static void say_hello(struct keeper *keeper)
{
    const struct office *office = &keeper->office;
    uint8_t hello[HELLO_SIZE] = {'H'};
    put_be64(hello + 1, office->term);
    put_be32(hello + 9, office->life);
    /* A link that just went is told of in its own event; one without room is asked again. */
    (void)!quorum_send(keeper->quorum, office->leader, &(struct slice){hello, sizeof hello}, 1);
}

static void maybe_follow(struct keeper *keeper)
{
    struct office *office = &keeper->office;
    if (office->state != OFFICE_JOINING || office->joined_index == 0) return;
    if (quorum_applied_index(keeper->quorum) < office->joined_index) return;
    state_set(keeper, OFFICE_FOLLOWING);
    diag_info("following %d, term %llu", office->leader, (unsigned long long)office->term);
    serve(keeper);
}

/* --- leading --- */

static void welcome(struct keeper *keeper, int32_t member)
{
    const struct office *office = &keeper->office;
    const struct hello *hello = &office->hellos[member];
    bool is_in_office =
        office->state == OFFICE_LEADING || (office->state == OFFICE_ENTERING && !office->owes_epoch);
    if (!is_in_office || hello->term != office->term || !members_find(keeper, member)) return;
    uint8_t answer[WELCOME_SIZE] = {'W'};
    put_be64(answer + 1, hello->term);
    put_be32(answer + 9, hello->life);
    put_be64(answer + 13, quorum_last_index(keeper->quorum));
    (void)!quorum_send(keeper->quorum, member, &(struct slice){answer, sizeof answer}, 1);
}

static void enter(struct keeper *keeper)
{
    struct office *office = &keeper->office;
    office->owes_epoch = request_submit_own(keeper, OP_NEW_EPOCH, 0, SLICE_NULL) != OK;
    if (office->owes_epoch) return;
    for (int32_t id = 1; id < MEMBER_IDS; id++) {
        if (office->hellos[id].term) welcome(keeper, id);
    }
}

void office_entered(struct keeper *keeper)
{
    struct office *office = &keeper->office;
    assert(office->state == OFFICE_ENTERING);
    state_set(keeper, OFFICE_LEADING);
    diag_info("leading, term %llu, epoch %lld", (unsigned long long)office->term,
              (long long)(keeper->machine.zxid >> 32));
    office->told_mark_zxid = keeper->machine.zxid;
    session_take_office(keeper);
    members_tell(keeper);
    serve(keeper);
}

/* --- what happens --- */

static void standing_changed(struct keeper *keeper)
{
    struct office *office = &keeper->office;
    if (!keeper->is_machine_here || keeper->is_closing) return;
    struct quorum_standing now;
    quorum_standing(keeper->quorum, &now);
    bool leads = now.office == QUORUM_LEADING;
    bool follows = now.office == QUORUM_FOLLOWING && now.leader > 0 && now.leader < MEMBER_IDS &&
                   office->is_linked[now.leader];
    bool is_same = office->term == now.term &&
                   (leads     ? office->state == OFFICE_ENTERING || office->state == OFFICE_LEADING
                    : follows ? office->leader == now.leader &&
                                    (office->state == OFFICE_JOINING || office->state == OFFICE_FOLLOWING)
                              : office->state == OFFICE_LOOKING);
    if (is_same) return;
    if (office->state != OFFICE_LOOKING || leads || follows) leave(keeper);
    office->term = now.term;
    if (leads) {
        state_set(keeper, OFFICE_ENTERING);
        office->leader = office->id;
        enter(keeper);
    } else if (follows) {
        state_set(keeper, OFFICE_JOINING);
        office->leader = now.leader;
        say_hello(keeper);
    }
}

void office_standing(void *context, const struct quorum_standing *standing)
{
    standing_changed(context);
}

void office_link(void *context, int32_t id, bool is_up)
{
    struct keeper *keeper = context;
    struct office *office = &keeper->office;
    assert(id > 0 && id < MEMBER_IDS);
    if (office->is_linked[id] == is_up) return;
    office->is_linked[id] = is_up;
    office->hellos[id] = (struct hello){0};
    if (office->state == OFFICE_LEADING) session_member_linked(keeper, id, is_up);
    standing_changed(keeper);
}

void office_renew(struct keeper *keeper)
{
    leave(keeper);
    standing_changed(keeper);
}

void office_message(void *context, int32_t from, struct slice bytes)
{
    struct keeper *keeper = context;
    struct office *office = &keeper->office;
    if (bytes.size == 0 || from <= 0 || from >= MEMBER_IDS || keeper->is_closing) return;
    switch (bytes.data[0]) {
    case 'H':
        if (bytes.size != HELLO_SIZE) return;
        office->hellos[from] = (struct hello){get_be64(bytes.data + 1), get_be32(bytes.data + 9)};
        welcome(keeper, from);
        break;
    case 'W':
        if (bytes.size != WELCOME_SIZE || office->state != OFFICE_JOINING || from != office->leader) return;
        if (get_be64(bytes.data + 1) != office->term || get_be32(bytes.data + 9) != office->life) return;
        office->joined_index = get_be64(bytes.data + 13);
        maybe_follow(keeper);
        break;
    case 'X':
        if (bytes.size != RENEW_SIZE || from != office->leader || get_be32(bytes.data + 1) != office->life)
            return;
        office_renew(keeper);
        break;
    default: forward_message(keeper, from, bytes); break;
    }
}

/* Others compare what they were at the mark. */
static void tell_mark(struct keeper *keeper)
{
    struct machine_mark mark;
    if (!machine_last_mark(&keeper->machine, &mark) || mark.zxid == keeper->office.told_mark_zxid) return;
    uint8_t body[DIGEST_BODY_SIZE];
    put_be64(body, (uint64_t)mark.zxid);
    put_be64(body + 8, mark.digest);
    if (request_submit_own(keeper, OP_DIGEST, 0, (struct slice){body, sizeof body}) == OK) {
        keeper->office.told_mark_zxid = mark.zxid;
    }
}

void office_applied(struct keeper *keeper)
{
    maybe_follow(keeper);
    if (keeper->office.state != OFFICE_LEADING) return;
    tell_mark(keeper);
    members_tell(keeper);
}

/* What did not get through, or was applied without a word, is looked at again. */
static void retry_run(struct loop_timer *timer)
{
    struct keeper *keeper = CONTAINER_OF(timer, struct keeper, office.retry);
    struct office *office = &keeper->office;
    if (office->state == OFFICE_JOINING) {
        if (office->joined_index == 0) say_hello(keeper);
        maybe_follow(keeper);
    } else if (office->state == OFFICE_ENTERING && office->owes_epoch) {
        enter(keeper);
    } else if (office_takes_writes(keeper) && !keeper->has_told_ready) {
        serve(keeper);
    }
    bool is_on_the_way = !office_takes_writes(keeper) || !keeper->has_told_ready;
    if (is_on_the_way) loop_timer_start(keeper->loop, &office->retry, RETRY_MS);
}

void office_open(struct keeper *keeper)
{
    struct office *office = &keeper->office;
    office->patience.run = patience_ended;
    office->retry.run = retry_run;
    office->state = OFFICE_ALONE;
    if (keeper->config.server_count == 0) return;
    office->id = (uint8_t)keeper->config.server_id;
    status_office_changes(keeper, OFFICE_LOOKING);
    office->state = OFFICE_LOOKING;
}

void office_ready(struct keeper *keeper)
{
    if (keeper->office.state == OFFICE_ALONE) {
        session_end_old(keeper);
        if (keeper->closes_left == 0) {
            keeper_serve(keeper);
        } else {
            loop_timer_start(keeper->loop, &keeper->office.retry, RETRY_MS);
        }
        return;
    }
    life_begin(keeper);
    loop_timer_start(keeper->loop, &keeper->office.patience, keeper->config.patience_ms);
    standing_changed(keeper);
}

void office_close(struct keeper *keeper)
{
    loop_timer_stop(keeper->loop, &keeper->office.patience);
    loop_timer_stop(keeper->loop, &keeper->office.retry);
}
