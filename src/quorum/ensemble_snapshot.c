/* ensemble_snapshot.c: a snapshot from the leader's file to a member that is too far behind for the log.
 *
 *     leader    snapshot-N --chunks, when nothing else is to be sent--> link
 *     member    link --> arrival.tmp --whole, checked, synced--> the core agrees --> install-N --logs removed--> snapshot-N --> machine
 *
 * A crash before install-N leaves the member as it was; after it the next start goes on (ensemble_recover_begin). The link's end
 * ends the transfer: the next life begins it anew. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "quorum/ensemble.h"

enum { ARRIVAL_JOB_BYTES = 256 << 10, DROP_DELAY_MS = 1000 };

/* --- the leader's side --- */

static void sending_note(struct ensemble *ensemble)
{
    uint64_t oldest = UINT64_MAX;
    for (int32_t id = 1; id < PEERS; id++) {
        const struct peer *peer = &ensemble->peers[id];
        if ((peer->is_sending || peer->is_owed_snapshot) && peer->sending.index < oldest)
            oldest = peer->sending.index;
    }
    __atomic_store_n(&ensemble->sending_oldest, oldest, __ATOMIC_RELEASE);
}

bool ensemble_sends_snapshot(const struct ensemble *ensemble, uint64_t index)
{
    return index >= __atomic_load_n(&ensemble->sending_oldest, __ATOMIC_ACQUIRE);
}

void peer_snapshot_void(struct peer *peer)
{
    peer->has_sent_snapshot = false;
    if (!peer->is_sending && !peer->is_sending_job) return;
    peer->is_sending = peer->has_begun_sending = false;
    if (peer->is_sending_job) {
        peer->is_sending_void = true; /* it still uses the file */
    } else {
        file_release(&peer->sending_file);
        bytes_release(&peer->sending_bytes);
    }
    sending_note(peer->ensemble);
}

void peer_snapshot_check(struct peer *peer)
{
    if (!peer->is_owed_snapshot) return;
    if (consensus_match_index(peer->ensemble->core, peer->id) >= peer->sending.index) {
        peer->is_owed_snapshot = false;
        sending_note(peer->ensemble);
    } else if (!peer->is_sending && !peer->is_sending_job && !peer->has_sent_snapshot) {
        struct frame_snapshot frame = peer->sending;
        peer_snapshot_send(peer, &frame);
    }
}

void peer_snapshot_send(struct peer *peer, const struct frame_snapshot *frame)
{
    struct ensemble *ensemble = peer->ensemble;
    struct quorum *quorum = ensemble->quorum;
    if (peer->is_sending && peer->sending.index >= frame->index && peer->sending.term == frame->term) return;
    peer_snapshot_void(peer);
    peer->sending = *frame;
    peer->is_owed_snapshot = true;
    peer->has_sent_snapshot = false;
    sending_note(ensemble);
    if (peer->is_sending_job) return; /* of another one; peer_snapshot_check begins this */
    char path[QUORUM_PATH_SIZE];
    int64_t size = 0;
    enum error err = OK;
    if (!quorum_path(path, quorum->dir, quorum->prefix, "snapshot", frame->index)) err = ERR_TOO_LARGE;
    if (err == OK) err = file_open(quorum->disk, path, FILE_READ, &peer->sending_file);
    if (err == OK) err = file_size(peer->sending_file, &size);
    if (err != OK) {
        diag_warn("cannot send snapshot %llu to member %d: %s", (unsigned long long)frame->index,
                  quorum_member_number(peer->id), error_text(err));
        file_release(&peer->sending_file);
        links_drop(ensemble->links, peer->id); /* in its next life it is tried again */
        return;
    }
    diag_info("member %d is too far behind for the log: sending it the snapshot at entry %llu, %lld bytes",
              quorum_member_number(peer->id), (unsigned long long)frame->index, (long long)size);
    peer->is_sending = true;
    peer->has_begun_sending = false;
    peer->sending.size = (uint64_t)size;
    peer->sending_position = 0;
    sending_note(ensemble);
}

static void sending_work(struct lane_job *job)
{
    struct peer *peer = CONTAINER_OF(job, struct peer, sending_job);
    uint64_t left = peer->sending.size - peer->sending_position;
    size_t size = left < FRAME_CHUNK_MAX ? (size_t)left : FRAME_CHUNK_MAX, got = 0;
    peer->sending_bytes = bytes_new(size);
    peer->sending_err = peer->sending_bytes ? OK : ERR_NOMEM;
    if (peer->sending_err == OK)
        peer->sending_err = file_pread(peer->sending_file, peer->sending_bytes->data, size,
                                       (int64_t)peer->sending_position, &got);
    if (peer->sending_err == OK && got < size) peer->sending_err = ERR_TRUNCATED;
    if (peer->sending_err == OK) peer->sending_bytes->size = size;
}

static void sending_done(struct lane_job *job)
{
    struct peer *peer = CONTAINER_OF(job, struct peer, sending_job);
    struct ensemble *ensemble = peer->ensemble;
    peer->is_sending_job = false;
    if (ensemble->quorum->is_closing) {
        quorum_job_ended(ensemble->quorum);
        return;
    }
    if (peer->is_sending_void) {
        peer->is_sending_void = false;
        file_release(&peer->sending_file);
        bytes_release(&peer->sending_bytes);
        return;
    }
    if (peer->sending_err != OK) {
        diag_warn("cannot read snapshot %llu for member %d: %s", (unsigned long long)peer->sending.index,
                  quorum_member_number(peer->id), error_text(peer->sending_err));
        links_drop(ensemble->links, peer->id);
        return;
    }
    struct bytes *bytes = peer->sending_bytes;
    peer->sending_bytes = NULL;
    uint8_t head[FRAME_SMALL_MAX];
    size_t head_size = frame_chunk_head(peer->sending_position, bytes->size, head);
    peer->sending_position += bytes->size;
    if (peer->sending_position == peer->sending.size) {
        peer_snapshot_void(peer);
        peer->has_sent_snapshot = true; /* of this life of the link */
    }
    if (links_send(ensemble->links, peer->id, head, head_size, bytes) != OK) {
        links_drop(ensemble->links, peer->id);
        return;
    }
    peer_pump(peer);
}

void peer_snapshot_pump(struct peer *peer)
{
    struct ensemble *ensemble = peer->ensemble;
    if (peer->is_sending_job) return;
    if (!peer->has_begun_sending) {
        if (!ensemble_is_promised(ensemble)) return;
        struct frame frame = {.kind = FRAME_SNAPSHOT};
        frame.snapshot = peer->sending;
        if (links_send_frame(ensemble->links, peer->id, &frame) != OK) {
            links_drop(ensemble->links, peer->id);
            return;
        }
        peer->has_begun_sending = true;
        ensemble->quorum->times.snapshots_sent++;
    }
    peer->is_sending_job = true;
    peer->sending_job = (struct lane_job){.work = sending_work, .done = sending_done};
    lane_submit(ensemble->quorum->work, ensemble->quorum->loop, &peer->sending_job);
}

/* --- the member's side --- */

static bool arrival_path(const struct quorum *quorum, char path[QUORUM_PATH_SIZE])
{
    int size = snprintf(path, QUORUM_PATH_SIZE, "%s/%sarrival.tmp", quorum->dir, quorum->prefix);
    return size < QUORUM_PATH_SIZE;
}

void arrival_free(struct arrival *arrival)
{
    file_release(&arrival->file);
    free(arrival->gathering.data);
    free(arrival->writing.data);
    membership_free(&arrival->membership);
    struct loop_timer timer = arrival->drop_timer;
    *arrival = (struct arrival){.drop_timer = timer, .declined = arrival->declined};
}

void arrival_void(struct ensemble *ensemble)
{
    struct arrival *arrival = &ensemble->arrival;
    if (ensemble->wants_install || ensemble->is_installing)
        return; /* it is here, and the core counts on it */
    if (ensemble->core) consensus_receiving(ensemble->core, false);
    arrival->is_open = false;
    if (arrival->is_running)
        arrival->is_void = true;
    else
        arrival_free(arrival);
}

/* Whose snapshot was not taken sends it anew. */
static void declined_again(struct ensemble *ensemble)
{
    int32_t id = ensemble->arrival.declined;
    ensemble->arrival.declined = 0;
    if (id && ensemble->links) links_drop(ensemble->links, id);
}

void arrival_drop_run(struct loop_timer *timer)
{
    struct ensemble *ensemble = CONTAINER_OF(timer, struct ensemble, arrival.drop_timer);
    int32_t from = ensemble->arrival.from;
    arrival_void(ensemble);
    if (ensemble->links) links_drop(ensemble->links, from);
    declined_again(ensemble);
}

static enum error keep_members(void *context, struct slice chunk)
{
    struct membership *membership = context;
    if (chunk.size < 8) return ERR_CORRUPT;
    enum error err = membership_decode((struct slice){chunk.data + 8, chunk.size - 8}, membership);
    if (err == OK) membership->index = get_be64(chunk.data);
    return err;
}

static enum error pass_chunk(void *context, struct slice chunk)
{
    return OK;
}

static void arrival_work(struct lane_job *job)
{
    struct ensemble *ensemble = CONTAINER_OF(job, struct ensemble, arrival.job);
    struct arrival *arrival = &ensemble->arrival;
    struct quorum *quorum = ensemble->quorum;
    char path[QUORUM_PATH_SIZE];
    enum error err = arrival_path(quorum, path) ? OK : ERR_TOO_LARGE;
    if (err == OK && !arrival->file)
        err = file_open(quorum->disk, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &arrival->file);
    if (err == OK)
        err = file_pwrite(arrival->file, arrival->writing.data, arrival->writing.size, arrival->written);
    if (err == OK) arrival->written += (int64_t)arrival->writing.size;
    if (err == OK && arrival->job_ends) err = file_sync(arrival->file);
    if (err == OK && arrival->job_ends) {
        uint64_t index = 0, term = 0;
        int64_t position = 0;
        uint32_t format = 0;
        err = quorum_snapshot_read(quorum->disk, path, &index, &term, &format, keep_members, pass_chunk,
                                   &arrival->membership, &position);
        bool is_it = format == QUORUM_FORMAT && index == arrival->frame.index &&
                     term == arrival->frame.last_term && arrival->membership.index <= index;
        if (err == OK && !is_it) err = ERR_CORRUPT;
    }
    arrival->err = err;
}

static void arrival_start(struct ensemble *ensemble);

static void arrival_done(struct lane_job *job)
{
    struct ensemble *ensemble = CONTAINER_OF(job, struct ensemble, arrival.job);
    struct arrival *arrival = &ensemble->arrival;
    struct quorum *quorum = ensemble->quorum;
    arrival->is_running = false;
    arrival->writing.size = 0;
    if (quorum->is_closing) {
        quorum_job_ended(quorum);
        return;
    }
    if (arrival->is_void) {
        arrival_free(arrival);
        return;
    }
    if (quorum->state != QUORUM_OPEN) return;
    ensemble_turn_soon(ensemble); /* goes on reading */
    if (arrival->err != OK) {
        diag_warn("could not take a snapshot from member %d into \"%s\": %s",
                  quorum_member_number(arrival->from), quorum->dir, error_text(arrival->err));
        arrival->is_open = false;
        loop_timer_start(quorum->loop, &arrival->drop_timer, DROP_DELAY_MS);
        return;
    }
    if (!arrival->job_ends) {
        arrival_start(ensemble);
        return;
    }
    struct frame frame = {.kind = FRAME_SNAPSHOT};
    frame.snapshot = arrival->frame;
    consensus_receiving(ensemble->core, false);
    struct consensus_effects effects;
    enum error err = consensus_receive(ensemble->core, ensemble_now_ms(ensemble), arrival->from, &frame,
                                       &arrival->membership, &effects);
    if (!ensemble_take(ensemble, err, &effects)) return;
    arrival->is_open = false;
    if (!ensemble->wants_install)
        arrival_free(arrival); /* the log has it by now, or its leader is none any more */
}

static void arrival_start(struct ensemble *ensemble)
{
    struct arrival *arrival = &ensemble->arrival;
    bool is_whole = arrival->position == arrival->frame.size;
    if (arrival->is_running || (arrival->gathering.size < ARRIVAL_JOB_BYTES && !is_whole)) return;
    struct quorum_batch emptied = arrival->writing;
    arrival->writing = arrival->gathering;
    arrival->gathering = emptied;
    arrival->gathering.size = 0;
    arrival->job_ends = is_whole;
    arrival->is_running = true;
    arrival->job = (struct lane_job){.work = arrival_work, .done = arrival_done};
    lane_submit(ensemble->quorum->work, ensemble->quorum->loop, &arrival->job);
}

static enum error arrival_begin(struct ensemble *ensemble, int32_t from, const struct frame *frame)
{
    struct arrival *arrival = &ensemble->arrival;
    struct quorum *quorum = ensemble->quorum;
    /* A second one before the first is done with: said again in the link's next life. */
    if (ensemble->wants_install || ensemble->is_installing || loop_timer_running(&arrival->drop_timer))
        return OK;
    if (arrival->is_running) arrival_void(ensemble);
    if (arrival->is_running) return ERR_CLOSED; /* the link begins anew */
    arrival_free(arrival);
    if (frame->snapshot.term < consensus_term(ensemble->core)) return OK;
    if (frame->snapshot.index <= quorum->applied_index) { /* the core says that it is here */
        struct consensus_effects effects;
        enum error err = consensus_receive(ensemble->core, ensemble_now_ms(ensemble), from, frame,
                                           &ensemble->committed, &effects);
        ensemble_take(ensemble, err, &effects);
        return OK;
    }
    arrival->is_open = true;
    arrival->from = from;
    arrival->frame = frame->snapshot;
    consensus_receiving(ensemble->core, true);
    return OK;
}

enum error arrival_hear(struct ensemble *ensemble, int32_t from, const struct frame *frame)
{
    struct arrival *arrival = &ensemble->arrival;
    if (frame->kind == FRAME_SNAPSHOT) return arrival_begin(ensemble, from, frame);
    if (!arrival->is_open || arrival->from != from) return OK; /* of one that we did not take */
    struct slice bytes = frame->chunk.bytes;
    if (frame->chunk.position != arrival->position || bytes.size > arrival->frame.size - arrival->position)
        return ERR_CORRUPT;
    uint8_t *out = quorum_batch_reserve(&arrival->gathering, bytes.size);
    if (!out) return ERR_NOMEM;
    memcpy(out, bytes.data, bytes.size);
    arrival->gathering.size += bytes.size;
    arrival->position += bytes.size;
    arrival_start(ensemble);
    if (arrival->gathering.size > ARRIVAL_BYTES) {
        ensemble->peers[from].is_paused = true;
        links_pause(ensemble->links, from, true);
    }
    return OK;
}

/* --- the machine's side --- */

static enum error install_chunk(void *context, struct slice chunk)
{
    struct quorum *quorum = context;
    return quorum->machine.restore(quorum->context, chunk);
}

static void install_work(struct lane_job *job)
{
    struct ensemble *ensemble = CONTAINER_OF(job, struct ensemble, install_job);
    struct quorum *quorum = ensemble->quorum;
    struct arrival *arrival = &ensemble->arrival;
    char arrived[QUORUM_PATH_SIZE], install[QUORUM_PATH_SIZE], snapshot[QUORUM_PATH_SIZE];
    uint64_t index = arrival->frame.index, term = 0;
    bool fits = arrival_path(quorum, arrived) &&
                quorum_path(install, quorum->dir, quorum->prefix, "install", index) &&
                quorum_path(snapshot, quorum->dir, quorum->prefix, "snapshot", index);
    file_release(&arrival->file);
    enum error err = fits ? disk_rename(quorum->disk, arrived, install) : ERR_TOO_LARGE;
    if (err == OK) err = disk_sync_dir(quorum->disk, quorum->dir);
    if (err == OK) err = quorum_cut(quorum, 0);
    if (err == OK) err = disk_rename(quorum->disk, install, snapshot);
    if (err == OK) err = disk_sync_dir(quorum->disk, quorum->dir);
    int64_t position = 0;
    uint32_t format = 0;
    if (err == OK)
        err = quorum_snapshot_read(quorum->disk, snapshot, &index, &term, &format, pass_chunk, install_chunk,
                                   quorum, &position);
    if (err == OK) err = quorum->machine.restored(quorum->context, index);
    ensemble->install_err = err;
}

static void install_done(struct lane_job *job)
{
    struct ensemble *ensemble = CONTAINER_OF(job, struct ensemble, install_job);
    struct quorum *quorum = ensemble->quorum;
    struct arrival *arrival = &ensemble->arrival;
    ensemble->is_installing = false;
    if (quorum->is_closing) {
        quorum_job_ended(quorum);
        return;
    }
    if (ensemble->install_err != OK) {
        quorum_fail(quorum, "install a snapshot in place of", ensemble->install_err);
        return;
    }
    ensemble->wants_install = false;
    uint64_t index = arrival->frame.index;
    quorum->snapshot_index = quorum->applied_index = quorum->last_index = index;
    ensemble->submitted = ensemble->written = index;
    ensemble->applied_term = ensemble->snapshot_term = arrival->frame.last_term;
    quorum->durable_end = index + 1;
    quorum->log_bytes = 0;
    quorum->published_index = index;
    quorum->published_wall_ms = loop_wall_ms(quorum->loop);
    entries_reset(&ensemble->entries, index + 1);
    ensemble->mark_count = 0;
    for (; ensemble->change_count > 0; ensemble->change_count--)
        membership_free(&ensemble->changes[ensemble->change_count - 1]);
    membership_free(&ensemble->committed);
    ensemble->committed = arrival->membership;
    arrival->membership = (struct membership){0};
    arrival_free(arrival);
    declined_again(ensemble);
    diag_info("took the snapshot at entry %llu from the leader", (unsigned long long)index);
    struct consensus_effects effects;
    enum error err = consensus_installed(ensemble->core, ensemble_now_ms(ensemble), index,
                                         ensemble->snapshot_term, &ensemble->committed, &effects);
    if (!ensemble_take(ensemble, err, &effects)) return;
    ensemble_expect(ensemble);
    if (quorum->machine.installed) quorum->machine.installed(quorum->context);
    if (!quorum->is_closing && quorum->events.members) quorum->events.members(quorum->context);
}

void ensemble_install_maybe(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    if (!ensemble->wants_install || ensemble->is_installing || quorum->write.is_running ||
        quorum->snapshot.is_open)
        return;
    quorum_ungather(quorum, 0);
    quorum->write.cut = ensemble->cut = 0;
    log_read_free(&ensemble->apply_read);
    ensemble->is_installing = true;
    if (quorum->machine.installing) quorum->machine.installing(quorum->context);
    ensemble->install_job = (struct lane_job){.work = install_work, .done = install_done};
    lane_submit(quorum->work, quorum->loop, &ensemble->install_job);
}

/* --- our own --- */

enum error ensemble_snapshot_begin(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    struct quorum_snapshot *snapshot = &quorum->snapshot;
    /* Of entry 1 there is none: it is the founders', and the core takes a snapshot that ends there for the entry itself. */
    if (ensemble->wants_install || ensemble->is_installing || snapshot->index < 2) return ERR_BUSY;
    membership_free(&ensemble->snapshot_membership);
    uint8_t *bytes;
    size_t size;
    enum error err = membership_copy(&ensemble->committed, &ensemble->snapshot_membership);
    if (err == OK) err = membership_encode(&ensemble->committed, &bytes, &size);
    if (err != OK) return err;
    uint8_t *chunk = malloc(8 + size);
    if (chunk) {
        put_be64(chunk, ensemble->committed.index);
        memcpy(chunk + 8, bytes, size);
        quorum_chunk_add(snapshot, (uint32_t)(8 + size), (struct slice){chunk, 8 + size});
        snapshot->chunk_count++;
    }
    free(bytes);
    free(chunk);
    return chunk ? snapshot->err : ERR_NOMEM;
}

void ensemble_snapshot_done(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    if (quorum->state != QUORUM_OPEN) return;
    uint64_t oldest = quorum->snapshot.oldest_log;
    size_t gone = 0;
    while (gone < ensemble->mark_count && ensemble->marks[gone].file_first < oldest) gone++;
    ensemble->mark_count -= gone;
    memmove(ensemble->marks, ensemble->marks + gone, ensemble->mark_count * sizeof *ensemble->marks);
    struct consensus_effects effects;
    enum error err = consensus_snapshot(ensemble->core, ensemble_now_ms(ensemble), quorum->snapshot.index,
                                        oldest, &ensemble->snapshot_membership, &effects);
    ensemble_take(ensemble, err, &effects);
    ensemble_turn_soon(ensemble);
}
