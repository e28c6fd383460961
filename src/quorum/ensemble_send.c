/* ensemble_send.c: frames to the other members. What the core says is queued for each as it was said; entries are laid out only when
 * the stream has room, so a member that lags costs a few numbers, not memory. Raft's frames go before the machine's, those before a
 * snapshot's, and nothing waits behind more than SEND_AHEAD_BYTES. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "quorum/ensemble.h"

/* One message of the machine. */
struct parcel {
    struct list in_peer;
    size_t size;
    struct bytes *bytes;
};

/* --- reading entries from files --- */

/* The entries of one file from the mark on, until there are enough. */
static enum error read_file(struct log_read *read)
{
    struct quorum *quorum = read->ensemble->quorum;
    char path[QUORUM_PATH_SIZE];
    if (!quorum_path(path, quorum->log_dir, quorum->prefix, "log", read->mark.file_first))
        return ERR_TOO_LARGE;
    struct quorum_scan scan = {0};
    enum error err = quorum_scan_open(quorum->disk, path, read->mark.file_first, &scan);
    if (err != OK) return err;
    scan.position = read->mark.position;
    uint64_t next = read->first;
    for (uint64_t index = read->mark.index; index < read->next && err == OK; index++) {
        struct quorum_record record;
        enum quorum_scan_end end = quorum_scan_next(&scan, index, &record, &err);
        if (err != OK || end != QUORUM_SCAN_RECORD) break;
        if (index < read->first) continue;
        size_t size = FRAME_ENTRY_HEAD + record.entry.size, used = read->bytes ? read->bytes->size : 0;
        if (used > 0 && used + size > READ_BYTES) break;
        if (!read->bytes) read->bytes = bytes_new(size > READ_BYTES ? size : READ_BYTES);
        if (!read->bytes) {
            err = ERR_NOMEM;
            break;
        }
        struct frame_entry entry = {(enum entry_kind)record.kind, record.term, record.entry};
        frame_entry_head(&entry, read->bytes->data + used);
        if (record.entry.size)
            memcpy(read->bytes->data + used + FRAME_ENTRY_HEAD, record.entry.data, record.entry.size);
        read->bytes->size = used + size;
        next = index + 1;
    }
    quorum_scan_close(&scan);
    if (err == OK && next == read->first) err = ERR_NOT_FOUND;
    read->next = next;
    return err;
}

static void read_work(struct lane_job *job)
{
    struct log_read *read = CONTAINER_OF(job, struct log_read, job);
    read->err = read_file(read);
}

bool log_read_start(struct ensemble *ensemble, struct log_read *read, uint64_t first, uint64_t next,
                    void (*done)(struct lane_job *job))
{
    assert(!read->is_running && !read->bytes);
    size_t low = 0, high = ensemble->mark_count;
    while (low < high) { /* the last mark at or before it */
        size_t middle = low + (high - low) / 2;
        if (ensemble->marks[middle].index <= first)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return false;
    *read = (struct log_read){.job = {.work = read_work, .done = done},
                              .ensemble = ensemble,
                              .is_running = true,
                              .first = first,
                              .next = next,
                              .cursor = first,
                              .mark = ensemble->marks[low - 1]};
    lane_submit(ensemble->quorum->work, ensemble->quorum->loop, &read->job);
    return true;
}

bool log_read_next(struct log_read *read, struct frame_entry *entry)
{
    if (read->is_running || !read->bytes || read->at == read->bytes->size) return false;
    struct slice left = {read->bytes->data + read->at, read->bytes->size - read->at};
    frame_entry_take(&left, entry);
    read->at = read->bytes->size - left.size;
    read->cursor++;
    return true;
}

void log_read_free(struct log_read *read)
{
    if (read->is_running) {
        read->is_void = true;
        return;
    }
    bytes_release(&read->bytes);
    read->cursor = read->next = 0;
}

static void peer_read_done(struct lane_job *job)
{
    struct log_read *read = CONTAINER_OF(job, struct log_read, job);
    struct peer *peer = CONTAINER_OF(read, struct peer, read);
    struct ensemble *ensemble = peer->ensemble;
    read->is_running = false;
    if (ensemble->quorum->is_closing) {
        quorum_job_ended(ensemble->quorum);
        return;
    }
    bool is_bad = !read->is_void && read->err != OK;
    if (read->is_void || is_bad) log_read_free(read);
    if (ensemble->quorum->state != QUORUM_OPEN) return;
    if (is_bad) { /* purged meanwhile: in its next life the core sees that it needs a snapshot */
        links_drop(ensemble->links, peer->id);
        return;
    }
    peer_pump(peer);
}

/* --- the queue --- */

static struct frame *queue_at(const struct peer *peer, size_t i)
{
    return &peer->queue[(peer->head + i) % peer->capacity];
}

static bool queue_push(struct peer *peer, const struct frame *frame)
{
    if (peer->count == peer->capacity) {
        size_t capacity = peer->capacity ? peer->capacity * 2 : 16;
        struct frame *queue = malloc(capacity * sizeof *queue);
        if (!queue) return false;
        for (size_t i = 0; i < peer->count; i++) queue[i] = *queue_at(peer, i);
        free(peer->queue);
        peer->queue = queue;
        peer->capacity = capacity;
        peer->head = 0;
    }
    peer->count++;
    *queue_at(peer, peer->count - 1) = *frame;
    return true;
}

static void queue_pop(struct peer *peer)
{
    peer->head = (peer->head + 1) % peer->capacity;
    peer->count--;
}

void peer_enqueue(struct ensemble *ensemble, const struct consensus_message *message)
{
    struct peer *peer = &ensemble->peers[message->to];
    if (!peer->is_up) return;
    const struct frame *frame = &message->frame;
    if (frame->kind == FRAME_SNAPSHOT) {
        peer_snapshot_send(peer, &frame->snapshot);
        return;
    }
    if (frame->kind == FRAME_ENTRIES && peer->count > 0) {
        struct frame_entries *last = &queue_at(peer, peer->count - 1)->entries;
        const struct frame_entries *next = &frame->entries;
        if (queue_at(peer, peer->count - 1)->kind == FRAME_ENTRIES && last->term == next->term &&
            last->previous_index + last->count == next->previous_index) { /* one frame says both */
            last->count += next->count;
            last->commit = next->commit;
            return;
        }
    }
    if (!queue_push(peer, frame)) {
        diag_warn("no memory for what is to be told to member %d: hanging up",
                  quorum_member_number(peer->id));
        links_drop(ensemble->links, peer->id);
    }
}

void peer_forget(struct peer *peer)
{
    peer->count = 0;
    peer->told_commit = 0;
    log_read_free(&peer->read);
    peer_snapshot_void(peer);
    while (!list_empty(&peer->parcels)) {
        struct parcel *parcel = CONTAINER_OF(peer->parcels.next, struct parcel, in_peer);
        list_remove(&parcel->in_peer);
        bytes_release(&parcel->bytes);
        free(parcel);
    }
    peer->parcel_bytes = 0;
}

void peers_forget_office(struct ensemble *ensemble)
{
    for (int32_t id = 1; id < PEERS; id++) {
        struct peer *peer = &ensemble->peers[id];
        size_t kept = 0;
        for (size_t i = 0; i < peer->count; i++) {
            const struct frame *frame = queue_at(peer, i);
            if (frame->kind != FRAME_ENTRIES) *queue_at(peer, kept++) = *frame;
        }
        peer->count = kept;
        peer->told_commit = 0;
        log_read_free(&peer->read);
        peer->is_owed_snapshot = false;
        peer_snapshot_void(peer);
    }
}

/* --- the pump --- */

static bool peer_send(struct peer *peer, const uint8_t *head, size_t head_size, struct bytes *body)
{
    struct ensemble *ensemble = peer->ensemble;
    if (links_send(ensemble->links, peer->id, head, head_size, body) == OK) return true;
    links_drop(ensemble->links, peer->id);
    return false;
}

enum layout { LAYOUT_DONE, LAYOUT_WAITS, LAYOUT_FAILED };

static bool entry_of(struct peer *peer, uint64_t index, struct frame_entry *entry)
{
    if (entries_get(&peer->ensemble->entries, index, entry)) return true;
    return peer->read.cursor == index && log_read_next(&peer->read, entry);
}

/* One frame of as many entries as it may have: a CHANGE comes first. */
static enum layout entries_send(struct peer *peer, struct frame_entries *wanted)
{
    struct ensemble *ensemble = peer->ensemble;
    struct frame_entries sent = *wanted;
    sent.count = 0;
    struct bytes *body = NULL;
    struct frame_entry entry;
    uint64_t last_term = wanted->previous_term;
    for (; sent.count < wanted->count; sent.count++) {
        uint64_t index = wanted->previous_index + 1 + sent.count;
        /* A read entry is taken for good: look at its size beforehand. */
        bool is_cached = entries_get(&ensemble->entries, index, &entry);
        if (!is_cached) {
            struct log_read ahead = peer->read;
            if (peer->read.cursor != index || !log_read_next(&ahead, &entry)) break;
        }
        size_t size = FRAME_ENTRY_HEAD + entry.bytes.size, used = body ? body->size : 0;
        if (sent.count > 0 && (entry.kind == ENTRY_CHANGE || used + size > FRAME_FILL_BYTES)) break;
        if (!body) body = bytes_new(size > FRAME_FILL_BYTES || wanted->count == 1 ? size : FRAME_FILL_BYTES);
        if (!body) return LAYOUT_FAILED;
        if (!entry_of(peer, index, &entry)) break;
        frame_entry_head(&entry, body->data + used);
        if (entry.bytes.size)
            memcpy(body->data + used + FRAME_ENTRY_HEAD, entry.bytes.data, entry.bytes.size);
        body->size = used + size;
        last_term = entry.term;
    }
    if (sent.count == 0 && wanted->count > 0) {
        struct log_read *read = &peer->read;
        uint64_t index = wanted->previous_index + 1;
        if (read->is_running) return LAYOUT_WAITS;
        log_read_free(read);
        bool has_begun = index < ensemble->entries.first &&
                         log_read_start(ensemble, read, index, ensemble->entries.first, peer_read_done);
        return has_begun ? LAYOUT_WAITS : LAYOUT_FAILED;
    }
    uint8_t head[FRAME_SMALL_MAX];
    size_t head_size = frame_entries_head(&sent, body ? body->size : 0, head);
    if (!peer_send(peer, head, head_size, body)) return LAYOUT_WAITS; /* the queue is gone */
    uint64_t end = sent.previous_index + sent.count;
    uint64_t told = sent.commit < end ? sent.commit : end;
    if (told > peer->told_commit) peer->told_commit = told;
    wanted->previous_index = end;
    wanted->previous_term = last_term;
    wanted->count -= sent.count;
    return LAYOUT_DONE;
}

/* A commit that no frame on its way tells: a member that waits to answer its client must not wait for the next heartbeat. */
static void commit_tell(struct peer *peer)
{
    struct ensemble *ensemble = peer->ensemble;
    if (consensus_state(ensemble->core) != CONSENSUS_LEADER) return;
    uint64_t commit = consensus_commit_index(ensemble->core),
             match = consensus_match_index(ensemble->core, peer->id);
    uint64_t told = commit < match ? commit : match;
    struct frame_entry entry;
    if (told <= peer->told_commit || !entries_get(&ensemble->entries, told, &entry)) return;
    struct frame_entries quiet = {.term = consensus_term(ensemble->core),
                                  .previous_index = told,
                                  .previous_term = entry.term,
                                  .commit = commit,
                                  .is_quiet = true};
    uint8_t head[FRAME_SMALL_MAX];
    if (peer_send(peer, head, frame_entries_head(&quiet, 0, head), NULL)) peer->told_commit = told;
}

static bool has_room(const struct peer *peer)
{
    return peer->is_up && links_unsent_bytes(peer->ensemble->links, peer->id) < SEND_AHEAD_BYTES;
}

void peer_pump(struct peer *peer)
{
    struct ensemble *ensemble = peer->ensemble;
    /* Nothing of Raft's leaves before what was promised is on the disk. */
    bool may_talk = ensemble_is_promised(ensemble);
    while (may_talk && peer->count > 0 && has_room(peer)) {
        struct frame *frame = queue_at(peer, 0);
        if (frame->kind == FRAME_ENTRIES) {
            enum layout layout = entries_send(peer, &frame->entries);
            if (layout == LAYOUT_WAITS) break;
            if (layout == LAYOUT_FAILED) {
                links_drop(ensemble->links, peer->id);
                return;
            }
            if (frame->entries.count == 0) queue_pop(peer);
        } else {
            uint8_t head[FRAME_SMALL_MAX];
            if (!peer_send(peer, head, frame_encode(frame, head), NULL)) return;
            queue_pop(peer);
        }
    }
    if (may_talk && peer->count == 0 && has_room(peer)) commit_tell(peer);
    while (!list_empty(&peer->parcels) && has_room(peer)) {
        struct parcel *parcel = CONTAINER_OF(peer->parcels.next, struct parcel, in_peer);
        list_remove(&parcel->in_peer);
        peer->parcel_bytes -= parcel->size;
        struct bytes *bytes = parcel->bytes;
        free(parcel);
        uint8_t head[FRAME_SMALL_MAX];
        if (!peer_send(peer, head, frame_message_head(bytes->size, head), bytes)) return;
    }
    peer_snapshot_check(peer);
    if (peer->is_sending && has_room(peer)) peer_snapshot_pump(peer);
}

void peers_pump(struct ensemble *ensemble)
{
    bool is_full = (int64_t)ensemble->quorum->gathering.size > ensemble->quorum->max_pending_bytes ||
                   ensemble->arrival.gathering.size > ARRIVAL_BYTES;
    for (int32_t id = 1; id < PEERS; id++) {
        struct peer *peer = &ensemble->peers[id];
        if (!peer->is_up) continue;
        peer_pump(peer);
        if (peer->is_paused && !is_full) {
            peer->is_paused = false;
            links_pause(ensemble->links, id, false);
        }
    }
}

enum error peer_parcel(struct peer *peer, const struct slice *parts, int count)
{
    struct ensemble *ensemble = peer->ensemble;
    if (!peer->is_up) return ERR_CLOSED;
    size_t size = 0;
    for (int i = 0; i < count; i++) size += parts[i].size;
    if (size > QUORUM_MESSAGE_BYTES_MAX) return ERR_TOO_LARGE;
    size_t unsent = peer->parcel_bytes + links_unsent_bytes(ensemble->links, peer->id);
    if (unsent > 0 && unsent + size > QUORUM_UNSENT_BYTES_MAX) return ERR_AGAIN;
    struct parcel *parcel = calloc(1, sizeof *parcel);
    struct bytes *bytes = parcel ? bytes_new(size) : NULL;
    if (!bytes) {
        free(parcel);
        return ERR_NOMEM;
    }
    for (int i = 0; i < count; i++) {
        if (parts[i].size) memcpy(bytes->data + bytes->size, parts[i].data, parts[i].size);
        bytes->size += parts[i].size;
    }
    parcel->bytes = bytes;
    parcel->size = size;
    peer->parcel_bytes += size;
    list_push_back(&peer->parcels, &parcel->in_peer);
    ensemble_turn_soon(ensemble);
    return OK;
}
