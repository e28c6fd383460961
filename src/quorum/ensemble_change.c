/* ensemble_change.c: what the leader does about the membership, one CHANGE entry at a time, the next when the last is committed.
 *
 *   - The cluster gets its number, founders their incarnations, from the first leader.
 *   - A member with another directory than the membership knows has forgotten what it promised. It is taken out, which all that it
 *     promised in its earlier life cannot outvote, and comes in again as new: noted as owed, removed, added as a stand-by under its new
 *     incarnation, given its part again once it has the log. The core also needs the removal: it forgets how far a member was
 *     only when it goes.
 *   - What quorum_change wants: newcomers first, as stand-bys, then their votes, then parts that are lost and members that go; the
 *     leader itself at last.
 *   - Who goes leaves first: the change is done when the last one's seat says so, and the seat goes once its member was told of that,
 *     and of what `done` appended: so it can answer the client that asked for it. Whoever leads then takes the seat away.
 *   - A leader that is out leads on until what `done` appended is applied, and the others know it to be committed: only then the core hears of it, and steps down.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/text.h"
#include "quorum/ensemble.h"

enum {
    CHANGE_PATIENCE_MS = 30000, /* without any progress of whom a change waits for */
    CHANGE_LOOK_MS = 100,
    CAUGHT_UP_ENTRIES = 256, /* so near to the end a newcomer may vote */
    FAREWELL_MS = 5000,      /* whoever has not heard by then will not */
};

static bool has_caught_up(struct ensemble *ensemble, const struct seat *seat)
{
    const struct peer *peer = &ensemble->peers[seat->id];
    uint64_t match = consensus_match_index(ensemble->core, seat->id),
             last = consensus_last_index(ensemble->core);
    return peer->is_up && seat->incarnation && peer->hello.incarnation == seat->incarnation && match > 0 &&
           match + CAUGHT_UP_ENTRIES >= last;
}

static bool is_other_directory(const struct ensemble *ensemble, const struct seat *seat)
{
    if (seat->id == ensemble->id || seat->is_owed || seat->is_leaving) return false;
    const struct peer *peer = &ensemble->peers[seat->id];
    if (!peer->is_up) return false;
    if (seat->incarnation) return peer->hello.incarnation != seat->incarnation;
    return seat->role == SEAT_VOTER && !peer->hello.is_founder;
}

/* Names directories that are not named yet: no part changes. True: there were some. */
static bool name_directories(struct ensemble *ensemble, struct membership *next)
{
    bool has_named = false;
    if (next->cluster == 0) {
        while (next->cluster == 0) loop_random(ensemble->quorum->loop, &next->cluster, sizeof next->cluster);
        has_named = true;
    }
    for (int i = 0; i < next->count; i++) {
        struct seat *seat = &next->seats[i];
        const struct peer *peer = &ensemble->peers[seat->id];
        if (seat->is_owed || seat->is_leaving || seat->incarnation) continue;
        if (seat->id == ensemble->id)
            seat->incarnation = ensemble->vote.incarnation;
        else if (peer->is_up && (seat->role != SEAT_VOTER || peer->hello.is_founder))
            seat->incarnation = peer->hello.incarnation;
        has_named = has_named || seat->incarnation;
    }
    return has_named;
}

/* One step towards every member having its own directory's seat. */
static enum error restore_step(struct ensemble *ensemble, struct membership *next, bool *has_step)
{
    *has_step = true;
    for (int i = 0; i < next->count; i++) {
        struct seat *seat = &next->seats[i];
        if (!is_other_directory(ensemble, seat)) continue;
        if (membership_owed(next, seat->id)) {
            membership_remove(next, seat);
            return OK;
        }
        diag_warn(
            "member %d comes with an empty directory: it is taken in anew, and votes once it has caught up",
            quorum_member_number(seat->id));
        struct seat owed = *seat;
        owed.is_owed = true;
        owed.incarnation = seat->role;
        owed.role = SEAT_SPARE;
        return membership_add(next, &owed);
    }
    for (int i = 0; i < next->count; i++) {
        struct seat *owed = &next->seats[i];
        if (!owed->is_owed) continue;
        struct seat *seat = membership_seat(next, owed->id);
        const struct peer *peer = &ensemble->peers[owed->id];
        if (!seat) {
            if (!peer->is_up) continue;
            struct seat added = *owed;
            added.is_owed = false;
            added.role = SEAT_STANDBY;
            added.incarnation = peer->hello.incarnation;
            return membership_add(next, &added);
        }
        if (seat->role != SEAT_VOTER && owed->incarnation == SEAT_VOTER && !has_caught_up(ensemble, seat))
            continue;
        seat->role = owed->incarnation == SEAT_VOTER ? SEAT_VOTER : SEAT_STANDBY;
        membership_remove(next, owed);
        return OK;
    }
    *has_step = false;
    return OK;
}

/* Takes over host, port and about where they differ. True: they did. */
static bool place_take(struct seat *seat, const struct seat *wanted)
{
    if (seat->port == wanted->port && strcmp(seat->host, wanted->host) == 0 &&
        strcmp(seat->about, wanted->about) == 0)
        return false;
    char *host = slice_dup(slice_of(wanted->host)), *about = slice_dup(slice_of(wanted->about));
    if (!host || !about) {
        free(host);
        free(about);
        return false; /* the next turn tries again */
    }
    free(seat->host);
    free(seat->about);
    seat->host = host;
    seat->about = about;
    seat->port = wanted->port;
    return true;
}

/* Takes one of `next` one step nearer to what is wanted of it, if that is less than it has: the leader at last. */
static bool let_go(struct ensemble *ensemble, struct membership *next, bool is_leaders_turn)
{
    for (int i = 0; i < next->count; i++) {
        struct seat *there = &next->seats[i];
        if ((there->id == ensemble->id) != is_leaders_turn || there->is_leaving) continue;
        const struct seat *seat = membership_seat(&ensemble->wanted, there->id);
        if (!seat && (there->is_owed || is_leaders_turn)) {
            membership_remove(next, there);
            return true;
        }
        if (!seat) {
            there->is_leaving = true;
            there->role = SEAT_STANDBY;
            return true;
        }
        if (!there->is_owed && seat->role != SEAT_VOTER && there->role == SEAT_VOTER) {
            there->role = SEAT_STANDBY;
            return true;
        }
    }
    return false;
}

/* One step towards what is wanted. *waits: somebody must catch up first. */
static enum error wanted_step(struct ensemble *ensemble, struct membership *next, bool *has_step, bool *waits)
{
    struct membership *wanted = &ensemble->wanted;
    *has_step = true;
    *waits = false;
    for (int i = 0; i < wanted->count; i++) {
        const struct seat *seat = &wanted->seats[i];
        struct seat *there = membership_seat(next, seat->id);
        if (!there) {
            struct seat added = *seat;
            added.role = SEAT_STANDBY;
            added.incarnation = 0;
            return membership_add(next, &added);
        }
        if (there->is_leaving) {
            there->is_leaving = false;
            return OK;
        }
        if (place_take(there, seat)) return OK;
    }
    for (int i = 0; i < wanted->count; i++) {
        struct seat *there = membership_seat(next, wanted->seats[i].id);
        if (wanted->seats[i].role != SEAT_VOTER || there->role == SEAT_VOTER) continue;
        if (has_caught_up(ensemble, there)) {
            there->role = SEAT_VOTER;
            return OK;
        }
        *waits = true;
    }
    *has_step = !*waits && (let_go(ensemble, next, false) || let_go(ensemble, next, true));
    return OK;
}

static bool is_reached(struct ensemble *ensemble)
{
    struct membership *committed = &ensemble->committed, *wanted = &ensemble->wanted;
    int seats = 0;
    for (int i = 0; i < committed->count; i++) {
        const struct seat *there = &committed->seats[i];
        if (there->is_leaving) continue;
        const struct seat *seat = membership_seat(wanted, there->id);
        if (!seat) return false;
        if (there->is_owed) continue;
        seats++;
        if (there->role != seat->role || there->port != seat->port || strcmp(there->host, seat->host) != 0 ||
            strcmp(there->about, seat->about) != 0)
            return false;
    }
    return seats == wanted->count;
}

void ensemble_change_end(struct ensemble *ensemble, enum error err)
{
    if (!ensemble->is_changing) return;
    ensemble->is_changing = false;
    membership_free(&ensemble->wanted);
    void (*changed)(void *, enum error) = ensemble->changed;
    ensemble->changed = NULL;
    if (changed) changed(ensemble->changed_context, err);
    ensemble->farewell_index = ensemble->quorum->last_index;
    ensemble->farewell_ms = ensemble_now_ms(ensemble);
    ensemble->farewell_heard_ms = -1;
}

void ensemble_change_committed(struct ensemble *ensemble)
{
    if (ensemble->is_changing && is_reached(ensemble)) ensemble_change_end(ensemble, OK);
}

/* It has applied what it should, or cannot be told. */
static bool has_heard(const struct ensemble *ensemble, const struct seat *seat)
{
    uint64_t index = ensemble->farewell_index;
    const struct peer *peer = &ensemble->peers[seat->id];
    return !peer->is_up ||
           (consensus_match_index(ensemble->core, seat->id) >= index && peer->told_commit >= index);
}

/* The seat of one that leaves goes. *waits: they are still being told. */
static void farewell_step(struct ensemble *ensemble, struct membership *next, bool *has_step, bool *waits)
{
    struct seat *goes = NULL;
    bool have_heard = true, is_up = false;
    for (int i = 0; i < next->count; i++) {
        struct seat *seat = &next->seats[i];
        if (!seat->is_leaving) continue;
        have_heard = have_heard && has_heard(ensemble, seat);
        is_up = is_up || ensemble->peers[seat->id].is_up;
        goes = seat;
    }
    if (!goes) return;
    int64_t now_ms = ensemble_now_ms(ensemble);
    if (have_heard && ensemble->farewell_heard_ms < 0) ensemble->farewell_heard_ms = now_ms;
    /* The last that was told is still on its way, and the link may end with the seat. */
    bool is_over = now_ms - ensemble->farewell_ms >= FAREWELL_MS ||
                   (have_heard && (!is_up || now_ms - ensemble->farewell_heard_ms >= CHANGE_LOOK_MS));
    *waits = !is_over;
    *has_step = is_over;
    if (is_over) membership_remove(next, goes);
}

/* Those that stay know that the farewell is committed: their clients wait for it, and after us it would be another's to say. */
static bool others_have_heard(const struct ensemble *ensemble)
{
    bool have_heard = true;
    for (int i = 0; i < ensemble->committed.count; i++) {
        const struct seat *seat = &ensemble->committed.seats[i];
        have_heard = have_heard && (seat->is_owed || seat->is_leaving || has_heard(ensemble, seat));
    }
    return have_heard;
}

void ensemble_step_down(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    if (!ensemble->is_parting) return;
    bool is_over = (quorum->applied_index >= ensemble->farewell_index && others_have_heard(ensemble)) ||
                   consensus_state(ensemble->core) != CONSENSUS_LEADER ||
                   ensemble_now_ms(ensemble) - ensemble->farewell_ms >= FAREWELL_MS;
    if (!is_over) return;
    int32_t next = consensus_state(ensemble->core) == CONSENSUS_LEADER ? ensemble_nearest_voter(ensemble) : 0;
    if (next && !consensus_is_transferring(ensemble->core)) {
        struct consensus_effects effects;
        enum error err = consensus_transfer(ensemble->core, ensemble_now_ms(ensemble), next, &effects);
        if (!ensemble_take(ensemble, err, &effects)) return;
    }
    (void)ensemble_tell_core(ensemble);
}

static enum error change_submit(struct ensemble *ensemble, const struct membership *next)
{
    uint8_t *bytes;
    size_t size;
    enum error err = membership_encode(next, &bytes, &size);
    if (err != OK) return err;
    struct consensus_entry entry = {consensus_term(ensemble->core), ENTRY_CHANGE, {bytes, size}};
    struct consensus_effects effects;
    ensemble->is_submitting = true;
    err = consensus_submit(ensemble->core, ensemble_now_ms(ensemble), &entry, 1, &effects);
    if (err == OK || err == ERR_CORRUPT || err == ERR_NOMEM) ensemble_take(ensemble, err, &effects);
    ensemble->is_submitting = false;
    free(bytes);
    return err;
}

static void look_again(struct ensemble *ensemble)
{
    if (!loop_timer_running(&ensemble->change_timer))
        loop_timer_start(ensemble->quorum->loop, &ensemble->change_timer, CHANGE_LOOK_MS);
}

/* Whom a change waits for comes nearer, or the change has waited long enough. */
static void patience_watch(struct ensemble *ensemble)
{
    uint64_t nearness = 0;
    for (int i = 0; i < ensemble->wanted.count; i++) {
        const struct peer *peer = &ensemble->peers[ensemble->wanted.seats[i].id];
        nearness +=
            consensus_match_index(ensemble->core, peer->id) + (peer->is_sending ? peer->sending_position : 0);
    }
    int64_t now_ms = ensemble_now_ms(ensemble);
    if (nearness != ensemble->change_nearness) {
        ensemble->change_nearness = nearness;
        ensemble->change_moved_ms = now_ms;
    }
    if (now_ms - ensemble->change_moved_ms >= CHANGE_PATIENCE_MS)
        ensemble_change_end(ensemble, ERR_TIMED_OUT);
}

void ensemble_change_run(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    if (quorum->state != QUORUM_OPEN || ensemble->standing.office != QUORUM_LEADING ||
        consensus_state(ensemble->core) != CONSENSUS_LEADER || ensemble->change_count > 0 ||
        consensus_is_changing(ensemble->core) || consensus_is_transferring(ensemble->core)) {
        return;
    }
    struct membership next;
    if (membership_copy(&ensemble->committed, &next) != OK) return;
    bool has_step = name_directories(ensemble, &next), waits = false;
    enum error err = OK;
    if (!has_step) err = restore_step(ensemble, &next, &has_step);
    if (!has_step && err == OK && ensemble->is_changing)
        err = wanted_step(ensemble, &next, &has_step, &waits);
    bool is_parting = false;
    if (!has_step && err == OK) farewell_step(ensemble, &next, &has_step, &is_parting);
    bool is_owing = is_parting;
    for (int i = 0; i < next.count; i++) is_owing = is_owing || next.seats[i].is_owed;
    if (has_step && err == OK) {
        ensemble_submit_pending(ensemble);
        if (quorum->last_index == ensemble->submitted && quorum->state == QUORUM_OPEN)
            err = change_submit(ensemble, &next);
    } else if (err == OK && ensemble->is_changing && !waits && is_reached(ensemble)) {
        ensemble_change_end(ensemble, OK);
    }
    membership_free(&next);
    if (err == ERR_LIMIT || err == ERR_CONFIG) ensemble_change_end(ensemble, err);
    if (waits) patience_watch(ensemble);
    if (waits || is_owing || err != OK) look_again(ensemble);
}

void ensemble_change_timer_run(struct loop_timer *timer)
{
    ensemble_turn_soon(CONTAINER_OF(timer, struct ensemble, change_timer));
}

enum error quorum_change(struct quorum *quorum, const struct quorum_member *members, int count,
                         void (*done)(void *context, enum error err), void *context)
{
    struct ensemble *ensemble = quorum->ensemble;
    if (!ensemble) return ERR_UNSUPPORTED;
    if (quorum->state != QUORUM_OPEN || ensemble->standing.office != QUORUM_LEADING) return ERR_NOT_LEADER;
    if (ensemble->is_changing) return ERR_BUSY;
    enum error err = membership_of(members, count, &ensemble->wanted);
    if (err != OK) return err;
    ensemble->is_changing = true;
    ensemble->changed = done;
    ensemble->changed_context = context;
    ensemble->change_nearness = 0;
    ensemble->change_moved_ms = ensemble_now_ms(ensemble);
    ensemble_turn_soon(ensemble);
    return OK;
}
