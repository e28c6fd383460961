/* ensemble_open.c: from files to a running core; founding; promises. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/text.h"
#include "base/vec.h"
#include "loop/tls.h"
#include "quorum/ensemble.h"
#include "quorum/offline.h"
#include "wire/crc32c.h"

enum { VOTE_RETRY_MS = 1000 };

/* --- recovery, on a worker --- */

enum error ensemble_recover_begin(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    struct vote vote;
    enum error err = vote_open(quorum->disk, ensemble->vote_path, &ensemble->vote_file, &vote);
    ensemble->has_vote = err == OK;
    if (err == OK) ensemble->vote = ensemble->vote_written = vote;
    if (err != OK && err != ERR_NOT_FOUND) {
        diag_error("cannot use \"%s\": %s; without it this member could vote twice: remove its whole "
                   "directory, and it comes "
                   "back as a new one",
                   ensemble->vote_path, error_text(err));
        return err;
    }
    err = ensemble_seed_take(ensemble);
    /* A snapshot that was received whole, when the machine went down before it had taken the log's place. */
    return err == OK ? quorum_finish_install(quorum) : err;
}

void ensemble_recover_chunk(struct ensemble *ensemble, struct slice chunk)
{
    ensemble->seed_crc = crc32c(ensemble->seed_crc, chunk.data, chunk.size);
}

enum error ensemble_recover_members(struct ensemble *ensemble, struct slice chunk)
{
    if (chunk.size < 8) return ERR_CORRUPT;
    struct membership membership;
    enum error err = membership_decode((struct slice){chunk.data + 8, chunk.size - 8}, &membership);
    if (err != OK) return err;
    membership.index = get_be64(chunk.data);
    membership_free(&ensemble->committed);
    ensemble->committed = membership;
    return OK;
}

enum error ensemble_recover_record(struct ensemble *ensemble, const struct quorum_record *record,
                                   uint64_t file_first, int64_t position)
{
    struct quorum *quorum = ensemble->quorum;
    if (record->kind >= ENTRY_KIND_END || record->term == 0) return ERR_CORRUPT;
    if (ensemble->past_count == 0) {
        ensemble->past_first = record->index;
        entries_reset(&ensemble->entries, record->index);
    }
    if (record->index == 1 && record->kind != ENTRY_CHANGE) return ERR_CORRUPT;
    if (record->index == quorum->snapshot_index && record->term != ensemble->snapshot_term)
        ensemble->is_past_stale = true;
    if (!VEC_RESERVE(ensemble->past, ensemble->past_count, ensemble->past_capacity)) return ERR_NOMEM;
    struct consensus_entry entry = {record->term, (enum entry_kind)record->kind, SLICE_NULL};
    if (entry.kind == ENTRY_CHANGE) {
        enum error err = OK;
        if (record->index > ensemble->committed.index) {
            err = ensemble_note_change(ensemble, record->index, record->entry);
        } else {
            struct membership membership;
            err = membership_decode(record->entry, &membership);
            if (err == OK) membership_free(&membership);
        }
        uint8_t *copy = err == OK ? malloc(record->entry.size) : NULL;
        if (err == OK && !copy) err = ERR_NOMEM;
        if (err != OK) return err;
        memcpy(copy, record->entry.data, record->entry.size);
        entry.bytes = (struct slice){copy, record->entry.size};
    }
    ensemble->past[ensemble->past_count++] = entry;
    ensemble_mark(ensemble, record->index, file_first, position);
    enum error err = entries_append(&ensemble->entries, entry.term, entry.kind, &record->entry, 1);
    entries_trim(&ensemble->entries, record->index, ensemble->memory_bytes);
    return err;
}

static void past_free(struct ensemble *ensemble)
{
    for (size_t i = 0; i < ensemble->past_count; i++) free((void *)ensemble->past[i].bytes.data);
    free(ensemble->past);
    ensemble->past = NULL;
    ensemble->past_count = ensemble->past_capacity = 0;
}

enum error ensemble_vote_make(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    enum error err = vote_create(quorum->disk, ensemble->vote_path, &ensemble->vote, &ensemble->vote_file);
    if (err == OK) err = quorum_sync_path(quorum, quorum->dir);
    if (err != OK) {
        diag_error("could not write \"%s\": %s", ensemble->vote_path, error_text(err));
        return err;
    }
    ensemble->vote_written = ensemble->vote;
    ensemble->has_vote = true;
    return OK;
}

enum error ensemble_recover_end(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    enum error seed_err = ensemble_seed_check(ensemble);
    if (seed_err != OK) return seed_err;
    uint64_t past_last = ensemble->past_first + ensemble->past_count - 1;
    if (ensemble->past_count > 0 && (ensemble->is_past_stale || past_last < quorum->snapshot_index)) {
        /* What a snapshot of the leader's had replaced. */
        past_free(ensemble);
        ensemble->mark_count = 0;
        for (; ensemble->change_count > 0; ensemble->change_count--)
            membership_free(&ensemble->changes[ensemble->change_count - 1]);
        enum error err = quorum_cut(quorum, 0);
        if (err != OK) return err;
        quorum->last_index = quorum->applied_index;
        quorum->log_bytes = 0;
    }
    if (ensemble->past_count == 0) {
        ensemble->past_first = quorum->last_index + 1;
        entries_reset(&ensemble->entries, quorum->last_index + 1);
    }
    ensemble->applied_term = ensemble->snapshot_term;
    struct vote *vote = &ensemble->vote;
    if (!ensemble->has_vote) {
        if (quorum->last_index > 0 && !ensemble->is_seeded) {
            diag_error("\"%s\" is missing, but there is a log: without it this member could vote twice; "
                       "remove its whole "
                       "directory, and it comes back as a new one",
                       ensemble->vote_path);
            return ERR_CORRUPT;
        }
        enum error err = ensemble_vote_make(ensemble);
        if (err != OK) return err;
    }
    uint64_t last_term =
        ensemble->past_count > 0 ? ensemble->past[ensemble->past_count - 1].term : ensemble->snapshot_term;
    if (last_term > vote->term) { /* its entries were on the disk before its promise was */
        vote->term = last_term;
        vote->voted_for = 0;
    }
    return OK;
}

/* --- promises --- */

static void vote_work(struct lane_job *job)
{
    struct ensemble *ensemble = CONTAINER_OF(job, struct ensemble, vote_job);
    ensemble->vote_err = vote_write(&ensemble->vote_file, &ensemble->vote_writing);
}

static void vote_done(struct lane_job *job)
{
    struct ensemble *ensemble = CONTAINER_OF(job, struct ensemble, vote_job);
    struct quorum *quorum = ensemble->quorum;
    ensemble->is_vote_running = false;
    if (quorum->is_closing) {
        quorum_job_ended(quorum);
        return;
    }
    if (ensemble->vote_err == ERR_DISK_FULL) {
        loop_timer_start(quorum->loop, &ensemble->vote_retry, VOTE_RETRY_MS);
        return;
    }
    if (ensemble->vote_err != OK) {
        quorum_fail(quorum, "write the vote of", ensemble->vote_err);
        return;
    }
    ensemble->vote_written = ensemble->vote_writing;
    ensemble_promise(ensemble);
    ensemble_turn_soon(ensemble);
}

static void vote_retry_run(struct loop_timer *timer)
{
    ensemble_promise(CONTAINER_OF(timer, struct ensemble, vote_retry));
}

static bool is_same(const struct vote *a, const struct vote *b)
{
    return a->term == b->term && a->voted_for == b->voted_for && a->is_founder == b->is_founder;
}

bool ensemble_is_promised(const struct ensemble *ensemble)
{
    return is_same(&ensemble->vote, &ensemble->vote_written);
}

void ensemble_promise(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    if (ensemble->is_vote_running || ensemble_is_promised(ensemble) || quorum->state == QUORUM_FAILED) return;
    ensemble->is_vote_running = true;
    ensemble->vote_writing = ensemble->vote;
    ensemble->vote_job = (struct lane_job){.work = vote_work, .done = vote_done};
    lane_submit(quorum->sync, quorum->loop, &ensemble->vote_job);
}

/* --- the core --- */

enum error ensemble_start_core(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    struct consensus_config config = {.id = ensemble->id,
                                      .seed = ensemble->seed,
                                      .heartbeat_ms = (uint32_t)ensemble->heartbeat_ms,
                                      .election_ms = (uint32_t)ensemble->election_ms};
    struct consensus_past past = {.term = ensemble->vote.term,
                                  .voted_for = ensemble->vote.voted_for,
                                  .snapshot_index = quorum->snapshot_index,
                                  .snapshot_term = ensemble->snapshot_term,
                                  .membership = &ensemble->committed,
                                  .first = ensemble->past_first,
                                  .entries = ensemble->past,
                                  .entry_count = (uint32_t)ensemble->past_count};
    if (ensemble->is_growing) { /* as if it had nothing: a sole voter would lead at once */
        past.snapshot_index = past.snapshot_term = 0;
        past.first = 1;
    }
    consensus_free(&ensemble->core);
    struct consensus_effects effects = {0};
    enum error err = consensus_new(&config, &ensemble->core);
    if (err == OK) err = consensus_start(ensemble->core, ensemble_now_ms(ensemble), &past, &effects);
    past_free(ensemble);
    ensemble->submitted = ensemble->written = quorum->last_index;
    if (err == OK) ensemble_take(ensemble, err, &effects);
    return err;
}

void ensemble_hello(void *context, struct frame_hello *hello)
{
    struct ensemble *ensemble = context;
    hello->incarnation = ensemble->vote.incarnation;
    hello->cluster = ensemble_membership(ensemble)->cluster;
    hello->founders = ensemble->founders_hash;
    hello->is_blank = ensemble_is_blank(ensemble);
    hello->is_founder = ensemble->vote.is_founder;
}

enum error ensemble_check(void *context, const struct frame_hello *hello)
{
    struct ensemble *ensemble = context;
    uint64_t cluster = ensemble_membership(ensemble)->cluster;
    bool is_other = cluster && hello->cluster && cluster != hello->cluster;
    if (ensemble->is_growing && (is_other || ensemble->rival == hello->from))
        ensemble_rival_note(ensemble, is_other ? hello->from : 0);
    if (is_other) {
        bool *is_told = &ensemble->peers[hello->from].is_stranger_told;
        if (!*is_told)
            diag_warn("member %d belongs to another cluster: hanging up", quorum_member_number(hello->from));
        *is_told = true;
        return ERR_CONFIG;
    }
    if (hello->is_blank && ensemble_is_blank(ensemble) && hello->founders != ensemble->founders_hash) {
        diag_warn("member %d was given another list of members than this one, and there is no quorum yet: "
                  "hanging up",
                  quorum_member_number(hello->from));
        return ERR_CONFIG;
    }
    return OK;
}

/* --- founding --- */

static enum error found_log(struct ensemble *ensemble)
{
    uint8_t *bytes;
    size_t size;
    enum error err = membership_encode(&ensemble->founders, &bytes, &size);
    if (err != OK) return err;
    struct slice entry = {bytes, size};
    err = ensemble_note_change(ensemble, 1, entry);
    if (err == OK) err = ensemble_log(ensemble, 1, 1, ENTRY_CHANGE, entry);
    if (err == OK) {
        ensemble->past = calloc(1, sizeof *ensemble->past);
        if (!ensemble->past) err = ERR_NOMEM;
    }
    if (err == OK) {
        ensemble->past[0] = (struct consensus_entry){1, ENTRY_CHANGE, entry};
        ensemble->past_count = ensemble->past_capacity = 1;
        ensemble->past_first = 1;
        ensemble->quorum->last_index = 1;
        quorum_flush(ensemble->quorum);
    } else {
        free(bytes);
    }
    return err;
}

static void found_end(struct ensemble *ensemble)
{
    ensemble->founding = FOUNDING_DONE;
    if (ensemble->is_growing) {
        ensemble->is_growing = false;
        enum error err = ensemble_start_core(ensemble);
        if (err != OK) quorum_fail(ensemble->quorum, "found", err);
    }
    for (int32_t id = 1; id < PEERS; id++) {
        struct frame frame = {.kind = FRAME_FOUNDED};
        if (ensemble->peers[id].is_up && links_send_frame(ensemble->links, id, &frame) != OK)
            links_drop(ensemble->links, id);
    }
    ensemble_turn_soon(ensemble);
}

/* The founders' entry is on the disk. */
void ensemble_founded_written(struct ensemble *ensemble)
{
    assert(ensemble->founding == FOUNDING_LOG);
    for (int32_t id = 1; id < PEERS; id++) ensemble->peers[id].count = 0; /* what the blank core had to say */
    enum error err = ensemble_start_core(ensemble);
    if (err != OK) quorum_fail(ensemble->quorum, "found", err);
    found_end(ensemble);
}

static void founding_run(struct loop_timer *timer)
{
    ensemble_turn_soon(CONTAINER_OF(timer, struct ensemble, founding_timer));
}

/* Blank voters among the founders that can be seen; others that can be seen; a blank one that has founded. */
static void founders_count(struct ensemble *ensemble, int *blank, int *others, bool *has_founded)
{
    *blank = 1;
    *others = ensemble->rival != 0;
    *has_founded = ensemble->vote.is_founder;
    for (int i = 0; i < ensemble->founders.count; i++) {
        const struct seat *seat = &ensemble->founders.seats[i];
        const struct peer *peer = &ensemble->peers[seat->id];
        if (seat->id == ensemble->id || !peer->is_up) continue;
        bool is_same_list = peer->hello.founders == ensemble->founders_hash;
        if (!peer->hello.is_blank || !is_same_list) {
            *others += 1;
            if (ensemble->is_growing) ensemble_rival_note(ensemble, seat->id);
        } else if (seat->role == SEAT_VOTER) {
            *blank += 1;
            *has_founded = *has_founded || peer->hello.is_founder;
        }
    }
}

static bool founding_is_due(struct ensemble *ensemble)
{
    struct seat *seat = membership_seat(&ensemble->founders, ensemble->id);
    if (!seat || seat->role != SEAT_VOTER) return false;
    int voters = membership_voters(&ensemble->founders), blank, others;
    bool has_founded;
    founders_count(ensemble, &blank, &others, &has_founded);
    if (blank == voters) return true;
    if (blank <= voters / 2 || others > 0) {
        ensemble->founding_since_ms = -1;
        return false;
    }
    if (has_founded) return true;
    int64_t now_ms = ensemble_now_ms(ensemble);
    if (ensemble->founding_since_ms < 0) {
        ensemble->founding_since_ms = now_ms;
        loop_timer_start(ensemble->quorum->loop, &ensemble->founding_timer, FOUNDING_PATIENCE_MS);
        return false;
    }
    if (now_ms - ensemble->founding_since_ms < FOUNDING_PATIENCE_MS) return false;
    for (int i = 0; i < ensemble->founders.count; i++) {
        const struct seat *other = &ensemble->founders.seats[i];
        if (other->id == ensemble->id || other->role != SEAT_VOTER || ensemble->peers[other->id].is_up)
            continue;
        diag_warn("the ensemble begins without member %d, which was not seen: should it have data of an "
                  "earlier life, it will "
                  "be turned away",
                  quorum_member_number(other->id));
    }
    return true;
}

void ensemble_found_maybe(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    if (ensemble->founding == FOUNDING_VOTE && ensemble_is_promised(ensemble)) {
        if (ensemble->is_seeded || ensemble->is_growing) { /* its snapshot says it */
            found_end(ensemble);
            return;
        }
        ensemble->founding = FOUNDING_LOG;
        enum error err = found_log(ensemble);
        if (err != OK) quorum_fail(quorum, "found", err);
        return;
    }
    bool is_empty = ensemble_is_blank(ensemble) && (quorum->last_index == 0 || ensemble->is_seeded) &&
                    consensus_term(ensemble->core) <= 1;
    bool may_found = is_empty || ensemble->is_growing;
    if (ensemble->founding != FOUNDING_NO || !may_found || !founding_is_due(ensemble)) return;
    loop_timer_stop(quorum->loop, &ensemble->founding_timer);
    ensemble->founding = FOUNDING_VOTE;
    uint64_t term = ensemble->is_growing ? ensemble->vote.term : 1;
    ensemble->vote =
        (struct vote){.term = term, .is_founder = true, .incarnation = ensemble->vote.incarnation};
    ensemble_promise(ensemble);
    ensemble_turn_soon(ensemble);
}

/* --- made and freed --- */

enum error quorum_ensemble_new(struct quorum *quorum, const struct quorum_config *config,
                               struct ensemble **ensemble)
{
    struct membership founders;
    enum error err = membership_of(config->founders, config->founder_count, &founders);
    if (err != OK) {
        diag_error("the list of members cannot be used: each needs a number of its own from 0 to 254, a host "
                   "and a port, and one at "
                   "least must vote");
        return err;
    }
    struct seat *own = membership_seat(&founders, config->id);
    if (!own) {
        diag_error("this is member %d, and the list of members does not name it",
                   quorum_member_number(config->id));
        membership_free(&founders);
        return ERR_CONFIG;
    }
    struct ensemble *made = calloc(1, sizeof *made);
    if (!made) {
        membership_free(&founders);
        return ERR_NOMEM;
    }
    made->quorum = quorum;
    made->id = config->id;
    made->heartbeat_ms = config->heartbeat_ms > 0 ? config->heartbeat_ms : HEARTBEAT_MS;
    made->election_ms = config->election_ms > 0 ? config->election_ms : ELECTION_MS;
    made->founders = founders;
    made->founders_hash = membership_hash(&founders);
    made->tls = tls_peers_retain(&config->tls);
    made->memory_bytes = config->memory_bytes > 0 ? (size_t)config->memory_bytes : MEMORY_BYTES;
    made->founding_since_ms = -1;
    made->sending_oldest = UINT64_MAX;
    made->vote_retry.run = vote_retry_run;
    made->founding_timer.run = founding_run;
    made->arrival.drop_timer.run = arrival_drop_run;
    loop_random(quorum->loop, &made->seed, sizeof made->seed);
    while (made->vote.incarnation == 0)
        loop_random(quorum->loop, &made->vote.incarnation, sizeof made->vote.incarnation);
    made->listen_host =
        slice_dup(slice_of(config->listen_host && *config->listen_host ? config->listen_host : own->host));
    int size = snprintf(made->vote_path, sizeof made->vote_path, "%s/%svote", quorum->dir, quorum->prefix);
    err = made->listen_host && size < (int)sizeof made->vote_path ? OK : ERR_NOMEM;
    if (err == OK) err = membership_copy(&founders, &made->committed);
    for (int32_t id = 0; id < PEERS; id++) {
        made->peers[id] = (struct peer){.ensemble = made, .id = id};
        list_init(&made->peers[id].parcels);
    }
    *ensemble = made;
    if (err != OK) quorum_ensemble_free(ensemble);
    return err;
}

void quorum_ensemble_free(struct ensemble **ensemble)
{
    struct ensemble *held = *ensemble;
    *ensemble = NULL;
    if (!held) return;
    links_free(&held->links);
    consensus_free(&held->core);
    for (int32_t id = 0; id < PEERS; id++) {
        struct peer *peer = &held->peers[id];
        peer_forget(peer);
        free(peer->queue);
        log_read_free(&peer->read);
        file_release(&peer->sending_file);
        bytes_release(&peer->sending_bytes);
    }
    log_read_free(&held->apply_read);
    arrival_free(&held->arrival);
    entries_reset(&held->entries, 0);
    vote_close(&held->vote_file);
    past_free(held);
    membership_free(&held->founders);
    membership_free(&held->committed);
    membership_free(&held->snapshot_membership);
    membership_free(&held->wanted);
    for (size_t i = 0; i < held->change_count; i++) membership_free(&held->changes[i]);
    free(held->changes);
    free(held->told);
    free(held->submitting);
    free(held->marks);
    free(held->listen_host);
    tls_peers_release(&held->tls);
    free(held);
}
