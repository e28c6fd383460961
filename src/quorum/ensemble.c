/* ensemble.c: the turn of a member: what came, what the core says to it, and what is done about that at the turn's end. */
#include "quorum/ensemble.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/vec.h"

enum {
    APPLY_TURN_BYTES = 4 << 20, /* applied before the loop sees to others */
    HURRY_STEP_MS = 40,         /* between one voter's try and the next one's */
    HURRY_AGAIN_MS = 30,
    HURRIES = 12,
};

/* --- memberships --- */

struct membership *ensemble_membership(struct ensemble *ensemble)
{
    return ensemble->change_count > 0 ? &ensemble->changes[ensemble->change_count - 1] : &ensemble->committed;
}

enum error ensemble_note_change(struct ensemble *ensemble, uint64_t index, struct slice bytes)
{
    if (!VEC_RESERVE(ensemble->changes, ensemble->change_count, ensemble->change_capacity)) return ERR_NOMEM;
    struct membership *membership = &ensemble->changes[ensemble->change_count];
    enum error err = membership_decode(bytes, membership);
    if (err != OK) return err;
    membership->index = index;
    ensemble->change_count++;
    return OK;
}

static void changes_cut(struct ensemble *ensemble, uint64_t index)
{
    while (ensemble->change_count > 0 && ensemble->changes[ensemble->change_count - 1].index >= index) {
        membership_free(&ensemble->changes[--ensemble->change_count]);
    }
}

bool ensemble_may_vote(struct ensemble *ensemble)
{
    struct membership *membership = ensemble_membership(ensemble);
    if (membership->index == 0) return false;
    const struct seat *seat = membership_seat(membership, ensemble->id);
    if (!seat || seat->role != SEAT_VOTER) return false;
    return seat->incarnation ? seat->incarnation == ensemble->vote.incarnation : ensemble->vote.is_founder;
}

bool ensemble_is_blank(const struct ensemble *ensemble)
{
    const struct quorum *quorum = ensemble->quorum;
    bool has_entries = ensemble->is_seeded ? quorum->last_index > quorum->snapshot_index
                                           : quorum->last_index > 1 || quorum->snapshot_index > 0;
    return !has_entries && ensemble->vote.voted_for == 0 && ensemble->vote.term <= 1;
}

static enum error expect_also(struct membership *all, const struct membership *membership)
{
    enum error err = OK;
    for (int i = 0; i < membership->count && err == OK; i++) {
        struct seat seat = membership->seats[i];
        seat.is_owed = false; /* it comes back */
        if (!membership_seat(all, seat.id)) err = membership_add(all, &seat);
    }
    return err;
}

/* Whoever is in the committed membership stays linked until another is committed: a leader that takes itself out must hear that; and
 * the others hear it out. */
void ensemble_expect(struct ensemble *ensemble)
{
    struct membership *newest = ensemble_membership(ensemble), all = {0};
    enum error err = expect_also(&all, newest);
    if (err == OK) err = expect_also(&all, &ensemble->committed);
    for (size_t i = 0; i < ensemble->change_count && err == OK; i++)
        err = expect_also(&all, &ensemble->changes[i]);
    bool is_in = newest->index > 0 && membership_seat(newest, ensemble->id);
    if (err == OK && !is_in) err = expect_also(&all, &ensemble->founders);
    int32_t leader = consensus_leader(ensemble->core);
    ensemble->is_expecting_leader = leader && leader != ensemble->id && !membership_seat(&all, leader);
    if (err == OK && !ensemble->is_expecting_leader)
        links_expect(ensemble->links, &all); /* else the next change tries again */
    membership_free(&all);
}

/* --- the log --- */

void ensemble_mark(struct ensemble *ensemble, uint64_t index, uint64_t file_first, int64_t position)
{
    const struct log_mark *last =
        ensemble->mark_count > 0 ? &ensemble->marks[ensemble->mark_count - 1] : NULL;
    if (last && last->file_first == file_first && position - last->position < MARK_STEP_BYTES) return;
    if (!VEC_RESERVE(ensemble->marks, ensemble->mark_count, ensemble->mark_capacity))
        return; /* a longer way to read */
    ensemble->marks[ensemble->mark_count++] = (struct log_mark){index, file_first, position};
}

enum error ensemble_log(struct ensemble *ensemble, uint64_t index, uint64_t term, enum entry_kind kind,
                        struct slice bytes)
{
    assert(ensemble->entries.next == index);
    enum error err = entries_append(&ensemble->entries, term, kind, &bytes, 1);
    uint8_t *out = err == OK ? quorum_gather(ensemble->quorum, index, term, kind, bytes.size) : NULL;
    if (!out) return ERR_NOMEM;
    if (bytes.size) memcpy(out, bytes.data, bytes.size);
    return OK;
}

/* What was appended here and the core has not heard of: its office is over. */
static void pending_drop(struct ensemble *ensemble)
{
    entries_cut(&ensemble->entries, ensemble->submitted + 1);
    ensemble->quorum->last_index = ensemble->submitted;
}

static void log_cut(struct ensemble *ensemble, uint64_t index)
{
    struct quorum *quorum = ensemble->quorum;
    entries_cut(&ensemble->entries, index);
    if (ensemble->entries.next > index || ensemble->entries.first > index)
        entries_reset(&ensemble->entries, index);
    changes_cut(ensemble, index);
    quorum_ungather(quorum, index);
    if (quorum->write.is_running) {
        if (ensemble->cut == 0 || ensemble->cut > index) ensemble->cut = index;
        if (ensemble->written >= index)
            ensemble->is_cut_in_files = true; /* already, whatever becomes of the write */
    } else if (ensemble->written >= index && (quorum->write.cut == 0 || quorum->write.cut > index)) {
        quorum->write.cut = index;
    }
    if (ensemble->written >= index) ensemble->written = index - 1;
    if (quorum->durable_end > index) quorum->durable_end = index;
    while (ensemble->mark_count > 0 && ensemble->marks[ensemble->mark_count - 1].index >= index)
        ensemble->mark_count--;
    quorum->last_index = ensemble->submitted = index - 1;
}

static enum error log_take(struct ensemble *ensemble, const struct consensus_effects *effects)
{
    struct quorum *quorum = ensemble->quorum;
    if (!ensemble->is_submitting) {
        if (quorum->last_index > ensemble->submitted) pending_drop(ensemble);
        if (effects->first <= quorum->last_index) log_cut(ensemble, effects->first);
        if (ensemble->entries.first == ensemble->entries.next && ensemble->entries.next != effects->first)
            entries_reset(&ensemble->entries, effects->first);
    }
    enum error err = OK;
    for (uint32_t i = 0; i < effects->entry_count && err == OK; i++) {
        const struct consensus_entry *entry = &effects->entries[i];
        uint64_t index = effects->first + i;
        struct frame_entry held;
        if (entry->kind == ENTRY_CHANGE) err = ensemble_note_change(ensemble, index, entry->bytes);
        if (err != OK) break;
        if (ensemble->is_submitting && entries_get(&ensemble->entries, index, &held)) {
            uint8_t *out = quorum_gather(quorum, index, held.term, held.kind, held.bytes.size);
            if (!out) err = ERR_NOMEM;
            if (out && held.bytes.size) memcpy(out, held.bytes.data, held.bytes.size);
        } else {
            err = ensemble_log(ensemble, index, entry->term, entry->kind, entry->bytes);
            quorum->last_index = index;
        }
    }
    ensemble->submitted = effects->first + effects->entry_count - 1;
    return err;
}

static uint64_t batch_last(const struct quorum_batch *batch)
{
    uint64_t last = 0;
    for (size_t at = 0; at < batch->size;) {
        last = get_be64(batch->data + at + 8);
        at += quorum_record_size(quorum_record_entry_size(get_be32(batch->data + at + 4)));
    }
    return last;
}

void ensemble_unwritten(struct ensemble *ensemble)
{
    uint64_t cut = ensemble->cut;
    ensemble->cut = 0;
    if (cut == 0) return;
    quorum_ungather(ensemble->quorum, cut); /* it is not written later either */
    if (ensemble->is_cut_in_files) ensemble->quorum->write.cut = cut;
    ensemble->is_cut_in_files = false;
    ensemble_turn_soon(ensemble);
}

void ensemble_written(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    const struct quorum_batch *batch = &quorum->writing;
    uint64_t cut = ensemble->cut, last = 0;
    int64_t position = quorum->file_end - (int64_t)batch->size;
    int64_t count = 0;
    for (size_t at = 0; at < batch->size;) {
        const uint8_t *record = batch->data + at;
        uint64_t index = get_be64(record + 8);
        size_t size = quorum_record_size(quorum_record_entry_size(get_be32(record + 4)));
        at += size;
        if (cut && index >= cut) continue;
        last = index;
        count++;
        ensemble_mark(ensemble, index, quorum->file_first, position + (int64_t)(at - size));
    }
    summary_record(&quorum->times.sync_entries, count);
    bool has_void = ensemble->is_cut_in_files;
    if (cut && batch->size > 0) has_void = has_void || batch_last(batch) >= cut;
    quorum->write.cut = has_void ? cut : 0;
    ensemble->cut = 0;
    ensemble->is_cut_in_files = false;
    ensemble_turn_soon(ensemble);
    if (last == 0 || ensemble->wants_install) return;
    ensemble->written = last;
    if (quorum->force_sync) quorum->durable_end = last + 1;
    if (ensemble->founding == FOUNDING_LOG) {
        ensemble_founded_written(ensemble);
        return;
    }
    struct consensus_effects effects;
    if (last > consensus_stored_index(ensemble->core)) {
        enum error err = consensus_persisted(ensemble->core, ensemble_now_ms(ensemble), last, &effects);
        ensemble_take(ensemble, err, &effects);
    }
}

/* --- what the core decided --- */

bool ensemble_take(struct ensemble *ensemble, enum error err, const struct consensus_effects *effects)
{
    struct quorum *quorum = ensemble->quorum;
    if (quorum->state == QUORUM_FAILED) return false;
    if (err != OK) {
        quorum_fail(quorum, "agree with the others on", err);
        return false;
    }
    struct consensus *core = ensemble->core;
    if (effects->has_promised) {
        ensemble->vote.term = consensus_term(core);
        ensemble->vote.voted_for = consensus_voted_for(core);
        ensemble_promise(ensemble);
        /* Whose office has ended sends no more of it, and while we waited our new leader would not hear how far we are. */
        const struct arrival *arrival = &ensemble->arrival;
        if (arrival->is_open && arrival->frame.term < ensemble->vote.term) arrival_void(ensemble);
    }
    if (effects->has_turned) {
        bool leads = consensus_state(core) == CONSENSUS_LEADER;
        if (!leads || consensus_term(core) != ensemble->office_term) {
            peers_forget_office(ensemble);
            ensemble->office_index = 0;
        }
        if (leads && ensemble->office_index == 0) {
            ensemble->office_index = consensus_last_index(core);
            ensemble->office_term = consensus_term(core);
        }
    }
    if (effects->first > 0) {
        err = log_take(ensemble, effects);
        if (err != OK) {
            quorum_fail(quorum, "keep", err);
            return false;
        }
    }
    if (effects->installs) ensemble->wants_install = true;
    for (int i = 0; i < effects->message_count; i++) peer_enqueue(ensemble, &effects->messages[i]);
    ensemble_turn_soon(ensemble);
    return true;
}

/* --- the turn's end --- */

void ensemble_turn_soon(struct ensemble *ensemble)
{
    if (ensemble->is_turn_deferred) return;
    ensemble->is_turn_deferred = true;
    loop_defer(ensemble->quorum->loop, &ensemble->turn);
}

static void standing_tell(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    struct consensus *core = ensemble->core;
    struct quorum_standing now = {QUORUM_LOOKING, consensus_leader(core), consensus_term(core)};
    if (consensus_state(core) == CONSENSUS_LEADER) {
        if (quorum->applied_index >= ensemble->office_index)
            now.office = QUORUM_LEADING;
        else
            now.leader = 0;
    } else if (now.leader) {
        now.office = QUORUM_FOLLOWING;
    }
    struct quorum_standing *told = &ensemble->standing;
    if (now.office == told->office && now.leader == told->leader && now.term == told->term) return;
    bool was_leading =
        told->office == QUORUM_LEADING && (now.office != QUORUM_LEADING || now.term != told->term);
    if (was_leading) {
        if (quorum->last_index > ensemble->submitted) pending_drop(ensemble);
        ensemble->pending_bytes = 0;
        ensemble_change_end(ensemble, ERR_NOT_LEADER);
    }
    quorum->term = now.term;
    void (*standing)(void *, const struct quorum_standing *) = quorum->events.standing;
    if (was_leading && now.office == QUORUM_LEADING) { /* again, with terms of others in between */
        *told = (struct quorum_standing){QUORUM_LOOKING, 0, now.term};
        struct quorum_standing between = *told;
        if (standing) standing(quorum->context, &between);
        if (quorum->is_closing) return;
    }
    *told = now;
    if (ensemble->is_expecting_leader) ensemble_expect(ensemble);
    if (standing) standing(quorum->context, &now);
}

bool ensemble_tell_core(struct ensemble *ensemble)
{
    struct consensus_effects effects;
    ensemble->is_parting = false;
    enum error err =
        consensus_membership(ensemble->core, ensemble_now_ms(ensemble), &ensemble->committed, &effects);
    return ensemble_take(ensemble, err, &effects);
}

static bool membership_apply(struct ensemble *ensemble, uint64_t index)
{
    struct quorum *quorum = ensemble->quorum;
    if (ensemble->change_count == 0 || ensemble->changes[0].index != index)
        return true; /* the snapshot had it */
    membership_free(&ensemble->committed);
    ensemble->committed = ensemble->changes[0];
    ensemble->change_count--;
    memmove(ensemble->changes, ensemble->changes + 1, ensemble->change_count * sizeof *ensemble->changes);
    ensemble->is_parting = consensus_state(ensemble->core) == CONSENSUS_LEADER &&
                           !membership_seat(&ensemble->committed, ensemble->id);
    if (!ensemble->is_parting && !ensemble_tell_core(ensemble)) return false;
    ensemble_expect(ensemble);
    if (quorum->events.members) quorum->events.members(quorum->context);
    if (!quorum->is_closing) ensemble_change_committed(ensemble);
    return !quorum->is_closing && quorum->state == QUORUM_OPEN;
}

static void apply_read_done(struct lane_job *job)
{
    struct log_read *read = CONTAINER_OF(job, struct log_read, job);
    struct ensemble *ensemble = read->ensemble;
    struct quorum *quorum = ensemble->quorum;
    read->is_running = false;
    if (quorum->is_closing) {
        quorum_job_ended(quorum);
        return;
    }
    if (read->is_void)
        log_read_free(read);
    else if (read->err != OK)
        quorum_fail(quorum, "read", read->err);
    ensemble_turn_soon(ensemble);
}

static bool apply_next(struct ensemble *ensemble, struct frame_entry *entry)
{
    uint64_t index = ensemble->quorum->applied_index + 1;
    struct log_read *read = &ensemble->apply_read;
    if (entries_get(&ensemble->entries, index, entry)) return true;
    if (read->is_running) return false;
    if (read->bytes && read->cursor == index && log_read_next(read, entry)) return true;
    log_read_free(read);
    if (!log_read_start(ensemble, read, index, consensus_commit_index(ensemble->core) + 1, apply_read_done))
        quorum_fail(ensemble->quorum, "find the entries of", ERR_CORRUPT);
    return false;
}

/* True: there is more to do. */
static bool apply_some(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    if (ensemble->wants_install || ensemble->is_installing || !ensemble->core) return false;
    uint64_t before = quorum->applied_index, commit = consensus_commit_index(ensemble->core);
    size_t bytes = 0;
    while (quorum->applied_index < commit && bytes < APPLY_TURN_BYTES) {
        struct frame_entry entry;
        if (!apply_next(ensemble, &entry)) break;
        uint64_t index = ++quorum->applied_index;
        ensemble->applied_term = entry.term;
        size_t size = quorum_record_size(entry.bytes.size);
        bytes += size;
        quorum->log_bytes += (int64_t)size;
        enum error err = OK;
        if (entry.kind == ENTRY_COMMAND) {
            if (ensemble->standing.office == QUORUM_LEADING && index > ensemble->office_index)
                ensemble->pending_bytes -= (int64_t)entry.bytes.size;
            err = quorum->machine.apply(quorum->context, index, entry.term, entry.bytes);
        }
        if (err != OK) quorum_fail(quorum, "apply an entry of", err); /* a later program made it */
        if (quorum->is_closing || quorum->state == QUORUM_FAILED) return false;
        if (entry.kind == ENTRY_CHANGE && !membership_apply(ensemble, index)) return false;
    }
    entries_trim(&ensemble->entries,
                 (quorum->applied_index < ensemble->written ? quorum->applied_index : ensemble->written) + 1,
                 ensemble->memory_bytes);
    if (quorum->applied_index > before && quorum->events.applied) quorum->events.applied(quorum->context);
    return !quorum->is_closing && quorum->applied_index < commit && !ensemble->apply_read.is_running;
}

void ensemble_submit_pending(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    uint64_t count = quorum->last_index - ensemble->submitted;
    if (count == 0 || consensus_state(ensemble->core) != CONSENSUS_LEADER ||
        consensus_is_transferring(ensemble->core))
        return;
    if (!VEC_RESERVE_N(ensemble->submitting, 0, ensemble->submitting_capacity, count))
        return; /* the next turn tries again */
    uint64_t term = consensus_term(ensemble->core);
    for (uint64_t i = 0; i < count; i++)
        ensemble->submitting[i] = (struct consensus_entry){term, ENTRY_COMMAND, SLICE_NULL};
    struct consensus_effects effects;
    ensemble->is_submitting = true;
    enum error err = consensus_submit(ensemble->core, ensemble_now_ms(ensemble), ensemble->submitting,
                                      (uint32_t)count, &effects);
    ensemble_take(ensemble, err, &effects);
    ensemble->is_submitting = false;
}

static void timer_arm(struct ensemble *ensemble)
{
    int64_t delay_ms = consensus_deadline_ms(ensemble->core) - ensemble_now_ms(ensemble);
    loop_timer_start(ensemble->quorum->loop, &ensemble->timer, delay_ms > 0 ? delay_ms : 0);
}

static void turn_run(struct loop_message *message)
{
    struct ensemble *ensemble = CONTAINER_OF(message, struct ensemble, turn);
    struct quorum *quorum = ensemble->quorum;
    ensemble->is_turn_deferred = false;
    if (quorum->is_closing) {
        quorum_job_ended(quorum);
        return;
    }
    if (quorum->state != QUORUM_OPEN) return;
    ensemble_found_maybe(ensemble);
    standing_tell(ensemble);
    if (quorum->is_closing) return;
    bool has_more = apply_some(ensemble);
    if (quorum->is_closing || quorum->state != QUORUM_OPEN) return;
    standing_tell(ensemble);
    if (quorum->is_closing) return;
    ensemble_change_run(ensemble);
    ensemble_submit_pending(ensemble);
    ensemble_step_down(ensemble);
    if (quorum->state != QUORUM_OPEN) return;
    ensemble_install_maybe(ensemble);
    if (!ensemble->wants_install && !ensemble->is_installing) quorum_flush(quorum);
    peers_pump(ensemble);
    timer_arm(ensemble);
    if (has_more) loop_timer_start(quorum->loop, &ensemble->timer, 0);
    if (quorum->wants_room && ensemble->pending_bytes <= quorum->max_pending_bytes / 2) {
        quorum->wants_room = false;
        if (quorum->events.room) quorum->events.room(quorum->context);
    }
}

static void timer_run(struct loop_timer *timer)
{
    struct ensemble *ensemble = CONTAINER_OF(timer, struct ensemble, timer);
    struct quorum *quorum = ensemble->quorum;
    if (quorum->state != QUORUM_OPEN || quorum->is_closing) return;
    ensemble_turn_soon(ensemble);
    int64_t now_ms = ensemble_now_ms(ensemble);
    if (now_ms < consensus_deadline_ms(ensemble->core)) return;
    if (consensus_state(ensemble->core) == CONSENSUS_FOLLOWER && !ensemble_may_vote(ensemble)) {
        /* It may not stand: the core must not think of it. */
        consensus_rest(ensemble->core, now_ms);
        return;
    }
    struct consensus_effects effects;
    enum error err = consensus_tick(ensemble->core, now_ms, &effects);
    ensemble_take(ensemble, err, &effects);
}

/* --- a leader that is gone: who hears it from the kernel does not wait out its silence --- */

static void hurry_run(struct loop_timer *timer)
{
    struct ensemble *ensemble = CONTAINER_OF(timer, struct ensemble, hurry_timer);
    struct quorum *quorum = ensemble->quorum;
    struct consensus *core = ensemble->core;
    if (quorum->state != QUORUM_OPEN || quorum->is_closing || ensemble->hurries_left-- <= 0) return;
    /* There is a leader again, or somebody stands and has our vote. */
    if (consensus_leader(core) || consensus_term(core) != ensemble->hurry_term ||
        !ensemble_may_vote(ensemble))
        return;
    consensus_hurry(core);
    struct consensus_effects effects;
    enum error err = consensus_tick(core, ensemble_now_ms(ensemble), &effects);
    if (!ensemble_take(ensemble, err, &effects)) return;
    loop_timer_start(quorum->loop, &ensemble->hurry_timer, HURRY_AGAIN_MS);
}

static void hurry(struct ensemble *ensemble, int32_t gone)
{
    if (consensus_state(ensemble->core) != CONSENSUS_FOLLOWER || consensus_leader(ensemble->core) != gone)
        return;
    consensus_forget_leader(ensemble->core);
    ensemble_turn_soon(ensemble);
    if (!ensemble_may_vote(ensemble)) return;
    const struct membership *membership = ensemble_membership(ensemble);
    int rank = 0;
    for (int i = 0; i < membership->count; i++) {
        const struct seat *seat = &membership->seats[i];
        rank += seat->role == SEAT_VOTER && seat->id < ensemble->id && seat->id != gone;
    }
    ensemble->hurries_left = HURRIES;
    ensemble->hurry_term = consensus_term(ensemble->core);
    loop_timer_start(ensemble->quorum->loop, &ensemble->hurry_timer, 1 + rank * HURRY_STEP_MS);
}

/* --- links --- */

static void on_up(void *context, int32_t id, const struct frame_hello *hello)
{
    struct ensemble *ensemble = context;
    struct quorum *quorum = ensemble->quorum;
    struct peer *peer = &ensemble->peers[id];
    peer->is_up = true;
    peer->is_paused = peer->is_stranger_told = false;
    peer->hello = *hello;
    ensemble_turn_soon(ensemble);
    if (quorum->events.link) quorum->events.link(quorum->context, id, true);
}

static void on_down(void *context, int32_t id, bool is_gone)
{
    struct ensemble *ensemble = context;
    struct quorum *quorum = ensemble->quorum;
    struct peer *peer = &ensemble->peers[id];
    peer->is_up = false;
    peer_forget(peer);
    if (ensemble->arrival.is_open && ensemble->arrival.from == id) arrival_void(ensemble);
    if (quorum->state == QUORUM_OPEN && !quorum->is_closing && is_gone) hurry(ensemble, id);
    if (quorum->events.link) quorum->events.link(quorum->context, id, false);
}

/* A CHANGE comes first, and is one. */
static enum error entries_check(const struct frame_entries *entries)
{
    struct slice left = entries->entries;
    for (uint32_t i = 0; i < entries->count; i++) {
        struct frame_entry entry;
        frame_entry_take(&left, &entry);
        if (entry.kind != ENTRY_CHANGE) {
            if (entries->previous_index + i == 0) return ERR_CORRUPT; /* the first of all is one */
            continue;
        }
        if (i > 0) return ERR_CORRUPT;
        struct membership membership;
        enum error err = membership_decode(entry.bytes, &membership);
        if (err != OK) return err;
        membership_free(&membership);
    }
    return OK;
}

static enum error on_frame(void *context, int32_t id, const struct frame *frame)
{
    struct ensemble *ensemble = context;
    struct quorum *quorum = ensemble->quorum;
    struct peer *peer = &ensemble->peers[id];
    if (quorum->state != QUORUM_OPEN || quorum->is_closing) return OK;
    if (frame->kind == FRAME_MESSAGE) {
        if (quorum->events.message) quorum->events.message(quorum->context, id, frame->message);
        return OK;
    }
    if (frame->kind == FRAME_FOUNDED) {
        peer->hello.is_founder = true;
        ensemble_turn_soon(ensemble);
        return OK;
    }
    if (ensemble->founding == FOUNDING_VOTE || ensemble->founding == FOUNDING_LOG)
        return OK; /* it is said again */
    if (ensemble->is_growing)
        return OK; /* of members who began without us, and do not know yet who they are */
    if (frame->kind == FRAME_SNAPSHOT || frame->kind == FRAME_CHUNK) return arrival_hear(ensemble, id, frame);
    bool is_for_voters = frame->kind == FRAME_VOTE || frame->kind == FRAME_TIMEOUT_NOW;
    if (is_for_voters && !ensemble_may_vote(ensemble)) return OK;
    if (frame->kind == FRAME_ENTRIES) {
        enum error err = entries_check(&frame->entries);
        if (err != OK) return err;
    }
    /* What a next leader says comes behind what was committed. */
    bool ends_office = frame->kind == FRAME_ENTRIES && frame->entries.term > consensus_term(ensemble->core);
    if (ends_office && ensemble->is_parting && !ensemble_tell_core(ensemble)) return OK;
    struct consensus_effects effects;
    enum error err = consensus_receive(ensemble->core, ensemble_now_ms(ensemble), id, frame, NULL, &effects);
    if (err == OK && frame->kind == FRAME_ENTRIES && frame->entries.is_quiet && effects.message_count == 1 &&
        effects.messages[0].frame.kind == FRAME_ENTRIES_RESULT &&
        effects.messages[0].frame.entries_result.rejected == 0 &&
        effects.messages[0].frame.entries_result.term == frame->entries.term) {
        effects.message_count = 0;
    }
    if (!ensemble_take(ensemble, err, &effects)) return OK;
    if ((int64_t)quorum->gathering.size > quorum->max_pending_bytes && frame->kind == FRAME_ENTRIES) {
        peer->is_paused = true;
        links_pause(ensemble->links, id, true);
    }
    return OK;
}

static void on_room(void *context, int32_t id)
{
    struct ensemble *ensemble = context;
    if (ensemble->quorum->state == QUORUM_OPEN) peer_pump(&ensemble->peers[id]);
}

/* --- begin and end --- */

static void timers_stop(struct ensemble *ensemble)
{
    struct loop *loop = ensemble->quorum->loop;
    loop_timer_stop(loop, &ensemble->timer);
    loop_timer_stop(loop, &ensemble->vote_retry);
    loop_timer_stop(loop, &ensemble->founding_timer);
    loop_timer_stop(loop, &ensemble->hurry_timer);
    loop_timer_stop(loop, &ensemble->change_timer);
    loop_timer_stop(loop, &ensemble->arrival.drop_timer);
}

static void end_run(struct loop_timer *timer)
{
    struct ensemble *ensemble = CONTAINER_OF(timer, struct ensemble, end_timer);
    links_free(&ensemble->links);
    timers_stop(ensemble);
    for (int32_t id = 0; id < PEERS; id++) {
        ensemble->peers[id].is_up = false;
        peer_forget(&ensemble->peers[id]);
    }
    if (ensemble->quorum->is_closing) quorum_job_ended(ensemble->quorum);
}

void ensemble_failed(struct ensemble *ensemble)
{
    timers_stop(ensemble);
    /* The others must not wait for us. Not now: we may be in a link's callback. */
    if (ensemble->is_begun) loop_timer_start(ensemble->quorum->loop, &ensemble->end_timer, 0);
}

void ensemble_close(struct ensemble *ensemble)
{
    ensemble_failed(ensemble);
}

enum error ensemble_begin(struct ensemble *ensemble)
{
    static const struct links_events events = {ensemble_hello, ensemble_check, on_up,
                                               on_down,        on_frame,       on_room};
    struct quorum *quorum = ensemble->quorum;
    const struct seat *own = membership_seat(ensemble_membership(ensemble), ensemble->id);
    if (!own) own = membership_seat(&ensemble->founders, ensemble->id);
    struct links_config config = {.id = ensemble->id,
                                  .host = ensemble->listen_host,
                                  .port = own->port,
                                  .silence_ms = 3 * ensemble->election_ms,
                                  .tls = ensemble->tls};
    ensemble->turn.run = turn_run;
    ensemble->timer.run = timer_run;
    ensemble->hurry_timer.run = hurry_run;
    ensemble->end_timer.run = end_run;
    ensemble->change_timer.run = ensemble_change_timer_run;
    quorum->state = QUORUM_OPEN;
    quorum->term = ensemble->vote.term;
    enum error err = links_new(quorum->loop, &config, &events, ensemble, &ensemble->links);
    if (err == OK) err = ensemble_start_core(ensemble);
    if (err == OK) err = links_listen(ensemble->links);
    if (err != OK) {
        diag_error("member %d cannot listen on %s:%u: %s", quorum_member_number(ensemble->id),
                   ensemble->listen_host, own->port, error_text(err));
        return err;
    }
    ensemble->is_begun = true;
    ensemble_promise(ensemble); /* entries may have reached the disk before the promise of their term did */
    ensemble_expect(ensemble);
    ensemble_turn_soon(ensemble);
    return OK;
}

bool ensemble_is_busy(const struct ensemble *ensemble)
{
    bool is_busy = ensemble->is_turn_deferred || ensemble->is_vote_running || ensemble->is_installing ||
                   ensemble->apply_read.is_running || ensemble->arrival.is_running;
    for (int32_t id = 0; id < PEERS && !is_busy; id++) {
        is_busy = ensemble->peers[id].read.is_running || ensemble->peers[id].is_sending_job;
    }
    return is_busy || loop_timer_running(&ensemble->end_timer);
}
