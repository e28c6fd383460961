#include "storage/producer_state.h"

#include <stdlib.h>

#include "base/vec.h"
#include "wire/crc32c.h"

#define SNAPSHOT_VERSION 1
#define SNAPSHOT_PRODUCER_SIZE 46
#define SNAPSHOT_HEADER_SIZE 10

static struct producer *find(const struct producer_state *state, int64_t id)
{
    return map_get_number(&state->producers, (uint64_t)id);
}

void producer_state_free(struct producer_state *state)
{
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&state->producers, &i));) free(slot->value);
    map_free(&state->producers);
    free(state->ended);
    *state = (struct producer_state){0};
}

static enum error check_marker(const struct producer *producer, const struct batch_header *header,
                               const struct control_record *control)
{
    if (control->type != CONTROL_ABORT && control->type != CONTROL_COMMIT) return OK;
    if (header->producer_epoch < producer->epoch) return ERR_INVALID_PRODUCER_EPOCH;
    if (control->coordinator_epoch < producer->coordinator_epoch) return ERR_TRANSACTION_COORDINATOR_FENCED;
    return OK;
}

/* Of the batch that is to come; there was one before it. */
static int32_t next_sequence(const struct producer *producer)
{
    return sequence_add(producer->batches[producer->batch_count - 1].last_sequence, 1);
}

enum error producer_state_check(const struct producer_state *state, const struct batch_header *header,
                                const struct control_record *control, bool *is_duplicate,
                                struct producer_batch *duplicate)
{
    *is_duplicate = false;
    if (!batch_has_producer(header)) return OK;
    const struct producer *producer = find(state, header->producer_id);
    if (!producer) return OK;
    if (control) return check_marker(producer, header, control);

    if (header->producer_epoch < producer->epoch) return ERR_INVALID_PRODUCER_EPOCH;
    if (header->base_sequence < 0) return OK; /* a coordinator's own transactional write */
    if (header->producer_epoch > producer->epoch) {
        bool is_epoch_known = producer->epoch != NO_PRODUCER_EPOCH;
        if (is_epoch_known && header->base_sequence != 0) return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    } else {
        int32_t last_sequence = batch_last_sequence(header);
        for (int i = 0; i < producer->batch_count; i++) {
            const struct producer_batch *batch = &producer->batches[i];
            if (batch->last_sequence != last_sequence || batch->offset_delta != header->last_offset_delta)
                continue;
            *is_duplicate = true;
            *duplicate = *batch;
            return OK;
        }
        if (producer->batch_count > 0 && header->base_sequence != next_sequence(producer))
            return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    }
    if (producer->txn_first_offset >= 0 && !batch_is_transactional(header)) return ERR_INVALID_TXN_STATE;
    return OK;
}

int32_t producer_state_next(const struct producer_state *state, const struct batch_header *header)
{
    const struct producer *producer = find(state, header->producer_id);
    bool is_known = producer && producer->epoch == header->producer_epoch && producer->batch_count > 0;
    return is_known ? next_sequence(producer) : -1;
}

static void set_epoch(struct producer *producer, int16_t epoch)
{
    if (producer->epoch == epoch) return;
    producer->epoch = epoch;
    producer->batch_count = 0;
}

/* The oldest transaction still open: only asked when one ends, so a walk is fine. */
static int64_t oldest_open(const struct producer_state *state)
{
    int64_t oldest = INT64_MAX;
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&state->producers, &i));) {
        const struct producer *producer = slot->value;
        if (producer->txn_first_offset >= 0 && producer->txn_first_offset < oldest) {
            oldest = producer->txn_first_offset;
        }
    }
    return oldest;
}

static void end_txn(struct producer_state *state, struct producer *producer,
                    const struct batch_header *header, const struct control_record *control,
                    bool *has_aborted, struct txn_entry *aborted)
{
    struct ended_txn ended = {producer->txn_first_offset, batch_last_offset(header)};
    producer->txn_first_offset = -1;
    state->open_count--;
    state->first_open_offset = state->open_count ? oldest_open(state) : 0;
    state->ended[state->ended_count++] = ended;
    if (control->type != CONTROL_ABORT) return;

    *has_aborted = true;
    *aborted = (struct txn_entry){
        .producer_id = producer->id,
        .first_offset = ended.first_offset,
        .last_offset = ended.last_offset,
        .last_stable_offset = state->open_count ? state->first_open_offset : ended.last_offset + 1,
    };
}

static void add_batch(struct producer *producer, const struct batch_header *header)
{
    if (producer->batch_count == PRODUCER_BATCHES) {
        memmove(producer->batches, producer->batches + 1, (PRODUCER_BATCHES - 1) * sizeof *producer->batches);
        producer->batch_count--;
    }
    producer->batches[producer->batch_count++] = (struct producer_batch){
        .last_offset = batch_last_offset(header),
        .timestamp = header->max_timestamp,
        .last_sequence = batch_last_sequence(header),
        .offset_delta = header->last_offset_delta,
    };
}

enum error producer_state_apply(struct producer_state *state, const struct batch_header *header,
                                const struct control_record *control, bool *has_aborted,
                                struct txn_entry *aborted)
{
    *has_aborted = false;
    if (!batch_has_producer(header)) return OK;
    if (control && control->type != CONTROL_ABORT && control->type != CONTROL_COMMIT) return OK;
    if (!VEC_RESERVE(state->ended, state->ended_count, state->ended_capacity)) return ERR_NOMEM;

    struct producer *producer = find(state, header->producer_id);
    if (!producer) {
        producer = calloc(1, sizeof *producer);
        if (!producer) return ERR_NOMEM;
        *producer = (struct producer){.id = header->producer_id,
                                      .epoch = header->producer_epoch,
                                      .coordinator_epoch = -1,
                                      .txn_first_offset = -1};
        enum error err = map_put_number(&state->producers, (uint64_t)header->producer_id, producer);
        if (err != OK) {
            free(producer);
            return err;
        }
    }

    set_epoch(producer, header->producer_epoch);
    producer->last_timestamp = header->max_timestamp;
    if (control) {
        producer->coordinator_epoch = control->coordinator_epoch;
        if (producer->txn_first_offset >= 0) end_txn(state, producer, header, control, has_aborted, aborted);
        return OK;
    }
    if (header->base_sequence >= 0) add_batch(producer, header);
    if (batch_is_transactional(header) && producer->txn_first_offset < 0) {
        producer->txn_first_offset = header->base_offset;
        if (state->open_count == 0 || header->base_offset < state->first_open_offset) {
            state->first_open_offset = header->base_offset;
        }
        state->open_count++;
    }
    return OK;
}

void producer_state_recall(struct producer_state *state, const struct producer_state *before,
                           int64_t end_offset)
{
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&state->producers, &i));) {
        struct producer *producer = slot->value;
        const struct producer *known = find(before, producer->id);
        if (!known || known->epoch != producer->epoch || producer->batch_count == 0) continue;
        int older = 0;
        while (older < known->batch_count && known->batches[older].last_offset < end_offset &&
               known->batches[older].last_offset < producer->batches[0].last_offset)
            older++;
        int room = PRODUCER_BATCHES - producer->batch_count;
        int taken = older < room ? older : room;
        memmove(producer->batches + taken, producer->batches,
                producer->batch_count * sizeof *producer->batches);
        memcpy(producer->batches, known->batches + (older - taken),
               (size_t)taken * sizeof *producer->batches);
        producer->batch_count = (uint8_t)(producer->batch_count + taken);
    }
}

int64_t producer_state_first_open(const struct producer_state *state)
{
    return state->open_count ? state->first_open_offset : INT64_MAX;
}

int64_t producer_state_first_unstable(struct producer_state *state, int64_t high_watermark)
{
    size_t kept = 0;
    int64_t first = producer_state_first_open(state);
    for (size_t i = 0; i < state->ended_count; i++) {
        if (state->ended[i].last_offset < high_watermark) continue;
        if (state->ended[i].first_offset < first) first = state->ended[i].first_offset;
        state->ended[kept++] = state->ended[i];
    }
    state->ended_count = kept;
    return first;
}

void producer_state_expire(struct producer_state *state, int64_t before_ms)
{
    /* The map cannot lose entries while it is walked, so ids are collected, some at a time. */
    int64_t ids[64];
    size_t count;
    do {
        count = 0;
        struct map_slot *slot;
        for (size_t i = 0; count < 64 && (slot = map_next(&state->producers, &i));) {
            const struct producer *producer = slot->value;
            if (producer->txn_first_offset < 0 && producer->last_timestamp <= before_ms)
                ids[count++] = producer->id;
        }
        for (size_t i = 0; i < count; i++) free(map_remove_number(&state->producers, (uint64_t)ids[i]));
    } while (count == 64);
}

static int compare_ids(const void *a, const void *b)
{
    const struct producer *x = *(const struct producer *const *)a, *y = *(const struct producer *const *)b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void write_producer(const struct producer *producer, struct text *snapshot)
{
    const struct producer_batch none = {
        .last_offset = -1, .timestamp = producer->last_timestamp, .last_sequence = -1};
    const struct producer_batch *last =
        producer->batch_count ? &producer->batches[producer->batch_count - 1] : &none;
    text_add_be64(snapshot, (uint64_t)producer->id);
    text_add_be16(snapshot, (uint16_t)producer->epoch);
    text_add_be32(snapshot, (uint32_t)last->last_sequence);
    text_add_be64(snapshot, (uint64_t)last->last_offset);
    text_add_be32(snapshot, (uint32_t)last->offset_delta);
    text_add_be64(snapshot, (uint64_t)producer->last_timestamp);
    text_add_be32(snapshot, (uint32_t)producer->coordinator_epoch);
    text_add_be64(snapshot, (uint64_t)producer->txn_first_offset);
}

void producer_state_write(const struct producer_state *state, struct text *snapshot)
{
    size_t start = snapshot->size, count = 0;
    text_add_be16(snapshot, SNAPSHOT_VERSION);
    text_add_be32(snapshot, 0);
    text_add_be32(snapshot, (uint32_t)state->producers.count);

    /* In order of their ids, so that equal states give equal files. */
    const struct producer **sorted = NULL;
    if (state->producers.count > 0) sorted = malloc(state->producers.count * sizeof *sorted);
    if (state->producers.count > 0 && !sorted) snapshot->failed = true;
    struct map_slot *slot;
    for (size_t i = 0; sorted && (slot = map_next(&state->producers, &i));) sorted[count++] = slot->value;
    if (sorted) qsort(sorted, count, sizeof *sorted, compare_ids);
    for (size_t i = 0; i < count; i++) write_producer(sorted[i], snapshot);
    free(sorted);

    if (snapshot->failed) return;
    uint8_t *at = (uint8_t *)snapshot->data + start;
    put_be32(at + 2, crc32c(0, at + 6, snapshot->size - start - 6));
}

static enum error read_producer(const uint8_t *at, struct producer_state *state)
{
    struct producer *producer = calloc(1, sizeof *producer);
    if (!producer) return ERR_NOMEM;
    struct producer_batch last = {
        .last_sequence = (int32_t)get_be32(at + 10),
        .last_offset = (int64_t)get_be64(at + 14),
        .offset_delta = (int32_t)get_be32(at + 22),
        .timestamp = (int64_t)get_be64(at + 26),
    };
    *producer = (struct producer){
        .id = (int64_t)get_be64(at),
        .epoch = (int16_t)get_be16(at + 8),
        .last_timestamp = last.timestamp,
        .coordinator_epoch = (int32_t)get_be32(at + 34),
        .txn_first_offset = (int64_t)get_be64(at + 38),
    };
    if (last.last_offset >= 0 && last.last_sequence >= 0) producer->batches[producer->batch_count++] = last;

    enum error err = OK;
    bool is_valid = producer->id >= 0 && producer->txn_first_offset >= -1 &&
                    (producer->batch_count == 0 || last.offset_delta >= 0);
    if (!is_valid || find(state, producer->id)) err = ERR_CORRUPT;
    if (err == OK) err = map_put_number(&state->producers, (uint64_t)producer->id, producer);
    if (err != OK) {
        free(producer);
        return err;
    }
    if (producer->txn_first_offset >= 0) {
        if (state->open_count == 0 || producer->txn_first_offset < state->first_open_offset) {
            state->first_open_offset = producer->txn_first_offset;
        }
        state->open_count++;
    }
    return OK;
}

enum error producer_state_read(struct slice snapshot, struct producer_state *state)
{
    if (snapshot.size < 2) return ERR_CORRUPT;
    if (get_be16(snapshot.data) != SNAPSHOT_VERSION) return ERR_UNSUPPORTED;
    if (snapshot.size < SNAPSHOT_HEADER_SIZE) return ERR_CORRUPT;
    if (get_be32(snapshot.data + 2) != crc32c(0, snapshot.data + 6, snapshot.size - 6)) return ERR_CORRUPT;
    uint64_t count = get_be32(snapshot.data + 6);
    if (snapshot.size != SNAPSHOT_HEADER_SIZE + count * SNAPSHOT_PRODUCER_SIZE) return ERR_CORRUPT;

    struct producer_state read = {0};
    enum error err = OK;
    for (uint64_t i = 0; err == OK && i < count; i++) {
        err = read_producer(snapshot.data + SNAPSHOT_HEADER_SIZE + i * SNAPSHOT_PRODUCER_SIZE, &read);
    }
    if (err != OK) {
        producer_state_free(&read);
        return err;
    }
    producer_state_free(state);
    *state = read;
    return OK;
}

enum error control_batch_read(struct slice batch, const struct batch_header *header,
                              struct control_record *control)
{
    struct text scratch = {0};
    struct slice records;
    struct record record;
    enum error err = batch_records(batch, header, 1 << 20, &scratch, &records);
    if (err == OK) err = record_next(&records, &record);
    if (err == OK) err = control_record_read(&record, control);
    text_free(&scratch);
    return err == OK || err == ERR_NOMEM ? err : ERR_CORRUPT;
}
