/* replay.c: the pure part of statelog.h: from bytes of a log to the records a state is made of, where a key lives, and what
 * a client hears of a failed write. */
#include <assert.h>

#include "base/text.h"
#include "statelog/statelog.h"
#include "wire/batch.h"
#include "wire/legacy.h"
#include "wire/record.h"

/* What one compressed batch may unpack to. Coordinators write batches of at most message.max.bytes; a state that big in
 * one batch is a bomb. */
#define UNPACKED_MAX ((size_t)256 << 20)

/* --- Java's strings --- */

/* The next code point of UTF-8; a byte that begins none counts as U+FFFD, as Java's decoder has it. */
static uint32_t next_code_point(struct slice *text)
{
    const uint8_t *p = text->data;
    size_t size = 1, left = text->size;
    uint32_t point = p[0], least = 0;
    if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        size = 4, point = p[0] & 0x07, least = 0x10000;
    } else if (p[0] >= 0xe0 && p[0] < 0xf0) {
        size = 3, point = p[0] & 0x0f, least = 0x800;
    } else if (p[0] >= 0xc2 && p[0] < 0xe0) {
        size = 2, point = p[0] & 0x1f, least = 0x80;
    } else if (p[0] >= 0x80) {
        point = 0xfffd;
    }
    for (size_t i = 1; i < size; i++) {
        if (i >= left || (p[i] & 0xc0) != 0x80) {
            point = 0xfffd, least = 0, size = i;
            break;
        }
        point = point << 6 | (p[i] & 0x3f);
    }
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) point = 0xfffd, size = 1;
    *text = (struct slice){p + size, left - size};
    return point;
}

int32_t java_string_hash(struct slice utf8)
{
    uint32_t hash = 0;
    while (utf8.size > 0) {
        uint32_t point = next_code_point(&utf8);
        if (point >= 0x10000) {
            hash = hash * 31 + (0xd800 + ((point - 0x10000) >> 10));
            point = 0xdc00 + (point & 0x3ff);
        }
        hash = hash * 31 + point;
    }
    return (int32_t)hash;
}

size_t java_string_length(struct slice utf8)
{
    size_t length = 0;
    while (utf8.size > 0) length += next_code_point(&utf8) >= 0x10000 ? 2 : 1;
    return length;
}

int32_t statelog_partition_of(struct slice key, int32_t count)
{
    assert(count > 0);
    int32_t hash = java_string_hash(key);
    if (hash == INT32_MIN) return 0; /* it has no absolute value; Kafka takes 0 */
    return (hash < 0 ? -hash : hash) % count;
}

/* --- replay --- */

struct replay {
    const struct statelog_user *user;
    void *state;
    int64_t start_offset;
};

static void replay_record(const struct replay *replay, const struct statelog_record *record)
{
    if (record->offset < replay->start_offset || !record->key.data) return;
    replay->user->replay(replay->state, record);
}

static enum error replay_legacy(const struct replay *replay, struct slice entry, struct text *scratch)
{
    struct legacy_message message;
    struct legacy_walk walk;
    enum error err = legacy_message_read(entry, true, &message);
    if (err == OK) err = legacy_walk_open(&message, UNPACKED_MAX, scratch, &walk);
    while (err == OK) {
        err = legacy_walk_next(&walk, &message);
        if (err == OK) {
            replay_record(replay, &(struct statelog_record){.offset = message.offset,
                                                            .timestamp = message.timestamp,
                                                            .producer_id = NO_PRODUCER_ID,
                                                            .producer_epoch = NO_PRODUCER_EPOCH,
                                                            .key = message.key,
                                                            .value = message.value});
        }
    }
    return err == ERR_EOF ? OK : err;
}

static enum error replay_control(const struct replay *replay, const struct batch_header *batch,
                                 struct slice records)
{
    struct record record;
    enum error err;
    while ((err = record_next(&records, &record)) == OK) {
        struct control_record control;
        if ((err = control_record_read(&record, &control)) != OK) return err;
        bool is_end = control.type == CONTROL_ABORT || control.type == CONTROL_COMMIT;
        int64_t offset = record_offset(batch, &record);
        if (!is_end || offset < replay->start_offset || !replay->user->replay_marker) continue;
        replay->user->replay_marker(replay->state,
                                    &(struct statelog_marker){.offset = offset,
                                                              .producer_id = batch->producer_id,
                                                              .producer_epoch = batch->producer_epoch,
                                                              .is_commit = control.type == CONTROL_COMMIT});
    }
    return err == ERR_EOF ? OK : err;
}

static enum error replay_batch(const struct replay *replay, struct slice bytes, struct text *scratch,
                               int64_t *end_offset)
{
    struct batch_header batch;
    struct slice records;
    enum error err = batch_check(bytes, &batch);
    if (err != OK) return err;
    if (batch_last_offset(&batch) == INT64_MAX) return ERR_CORRUPT;
    *end_offset = batch_last_offset(&batch) + 1;
    if (*end_offset <= replay->start_offset) return OK;
    if (batch.magic < 2) return replay_legacy(replay, bytes, scratch);

    err = batch_records(bytes, &batch, UNPACKED_MAX, scratch, &records);
    if (err == OK && batch_is_control(&batch)) return replay_control(replay, &batch, records);

    bool is_transactional = batch_is_transactional(&batch);
    while (err == OK) {
        struct record record;
        err = record_next(&records, &record);
        if (err != OK) break;
        replay_record(replay,
                      &(struct statelog_record){
                          .offset = record_offset(&batch, &record),
                          .timestamp = record_timestamp(&batch, &record),
                          .producer_id = is_transactional ? batch.producer_id : NO_PRODUCER_ID,
                          .producer_epoch = is_transactional ? batch.producer_epoch : NO_PRODUCER_EPOCH,
                          .key = record.key,
                          .value = record.value});
    }
    return err == ERR_EOF ? OK : err;
}

enum error statelog_replay_run(struct slice *run, int64_t start_offset, size_t budget,
                               const struct statelog_user *user, void *state, int64_t *end_offset)
{
    const struct replay replay = {user, state, start_offset};
    struct text scratch = {0};
    enum error err = OK;
    for (size_t done = 0; budget == 0 || done < budget; done++) {
        struct slice batch;
        err = batches_next(run, NULL, &batch);
        if (err != OK) break;
        err = replay_batch(&replay, batch, &scratch, end_offset);
        if (err != OK) break;
    }
    text_free(&scratch);
    /* A read is cut at its size limit, so the last batch may be a part. */
    return err == ERR_EOF || err == ERR_TRUNCATED ? OK : err;
}

/* --- errors --- */

enum error statelog_client_error(enum error err)
{
    switch (err) {
    case OK: return OK;
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_NOT_ENOUGH_REPLICAS:
    case ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case ERR_REQUEST_TIMED_OUT:
    case ERR_TIMED_OUT:
    case ERR_LIMIT:
    case ERR_DISK_FULL: /* retriable, and over when there is room */
    case ERR_COORDINATOR_NOT_AVAILABLE: return ERR_COORDINATOR_NOT_AVAILABLE;
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_KAFKA_STORAGE_ERROR:
    case ERR_IO:
    case ERR_FENCED_LEADER_EPOCH:
    case ERR_UNKNOWN_LEADER_EPOCH:
    case ERR_NOT_COORDINATOR: return ERR_NOT_COORDINATOR;
    case ERR_NETWORK_EXCEPTION:
    case ERR_COORDINATOR_LOAD_IN_PROGRESS: return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    default: return ERR_UNKNOWN_SERVER_ERROR;
    }
}
