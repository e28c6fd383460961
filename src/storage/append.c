/* append.c: how batches get into a log: judged, stamped, written with one call, remembered.
 *
 * Nothing of the log changes before the write has succeeded, except that it may have rolled. A short write is cut back. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "base/diag.h"
#include "storage/log_parts.h"
#include "wire/record.h"

/* What one append is about, gathered in the first pass over its batches. */
struct run {
    int64_t base_offset, last_offset; /* as they will be in the log */
    int64_t max_timestamp;
    int64_t records;
    size_t size, batch_count;
};

static void refuse(struct log_appended *appended, int32_t record_index, const char *text)
{
    appended->bad_record_index = record_index;
    appended->bad_record_text = text;
}

static bool timestamp_is_fine(const struct log_config *config, int64_t timestamp, int64_t now_ms)
{
    if (timestamp == NO_TIMESTAMP) return true;
    /* Far apart numbers: no subtraction that could overflow. */
    __int128 age = (__int128)now_ms - timestamp;
    return age <= config->timestamp_before_max_ms && -age <= config->timestamp_after_max_ms;
}

/* Names the record that made a batch's range of timestamps unfit; 0 when it cannot be told without decompressing. */
static int32_t find_bad_timestamp(const struct log_config *config, struct slice batch,
                                  const struct batch_header *header, int64_t now_ms)
{
    if (batch_codec(header) != CODEC_NONE) return 0;
    struct slice records = {batch.data + BATCH_HEADER_SIZE, batch.size - BATCH_HEADER_SIZE};
    struct record record;
    for (int32_t i = 0; record_next(&records, &record) == OK; i++) {
        int64_t timestamp = (int64_t)((uint64_t)header->base_timestamp + (uint64_t)record.timestamp_delta);
        if (!timestamp_is_fine(config, timestamp, now_ms)) return i;
    }
    return 0;
}

/* What a leader asks of a batch, and the stamping of its timestamps. */
static enum error judge(struct log *log, uint8_t *data, struct batch_header *header,
                        const struct log_append *how, struct log_appended *appended)
{
    const struct log_config *config = &log->config;
    const struct records_report *report = how->report;
    struct slice batch = {data, header->size_bytes};

    if (header->magic < 2) return ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT;
    if ((int64_t)header->size_bytes > config->max_message_bytes) return ERR_MESSAGE_TOO_LARGE;
    if (how->origin == APPEND_CLIENT && config->compact_policy && report && report->null_key_count > 0) {
        refuse(appended, report->first_null_key, "Compacted topic cannot accept message without key");
        return ERR_INVALID_RECORD;
    }

    if (config->timestamp_type == TIMESTAMP_LOG_APPEND) {
        if (how->origin == APPEND_CLIENT && batch_timestamp_type(header) == TIMESTAMP_LOG_APPEND) {
            refuse(appended, 0, "A producer must not set the timestamp type to LogAppendTime");
            return ERR_INVALID_TIMESTAMP;
        }
        batch_set_max_timestamp(data, batch.size, TIMESTAMP_LOG_APPEND, how->now_ms);
        header->max_timestamp = how->now_ms;
        header->attributes |= BATCH_TIMESTAMP_TYPE;
        return OK;
    }

    int64_t largest = report ? report->max_timestamp : header->max_timestamp;
    int64_t smallest = report ? report->min_timestamp : header->base_timestamp;
    if (report && report->min_timestamp == INT64_MAX) smallest = NO_TIMESTAMP; /* none of them has one */
    if (!timestamp_is_fine(config, largest, how->now_ms) ||
        !timestamp_is_fine(config, smallest, how->now_ms)) {
        refuse(appended, find_bad_timestamp(config, batch, header, how->now_ms),
               "The timestamp of the record is out of the range the topic allows");
        return ERR_INVALID_TIMESTAMP;
    }
    if (largest != header->max_timestamp || batch_timestamp_type(header) != TIMESTAMP_CREATE) {
        batch_set_max_timestamp(data, batch.size, TIMESTAMP_CREATE, largest);
        header->max_timestamp = largest;
        header->attributes &= ~BATCH_TIMESTAMP_TYPE;
    }
    return OK;
}

static enum error check_producer(struct log *log, struct slice batch, const struct batch_header *header,
                                 const struct log_append *how, struct log_appended *appended)
{
    if (!batch_has_producer(header) || how->origin == APPEND_REPLICATION) return OK;
    struct control_record control;
    bool is_control = batch_is_control(header), is_duplicate;
    struct producer_batch duplicate;
    enum error err = is_control ? control_batch_read(batch, header, &control) : OK;
    if (err != OK) return err == ERR_CORRUPT ? ERR_CORRUPT_MESSAGE : err;
    err = producer_state_check(&log->producers, header, is_control ? &control : NULL, &is_duplicate,
                               &duplicate);
    if (err != OK || !is_duplicate) return err;

    appended->is_duplicate = true;
    appended->last_offset = duplicate.last_offset;
    appended->base_offset = duplicate.last_offset - duplicate.offset_delta;
    appended->log_append_time_ms = duplicate.timestamp;
    appended->log_start_offset = log->start_offset;
    return OK;
}

/* First pass: judges every batch, stamps it, and sums up. run->size is what is whole. */
static enum error prepare(struct log *log, uint8_t *batches, size_t size, const struct log_append *how,
                          struct run *run, struct log_appended *appended)
{
    struct slice rest = {batches, size}, batch;
    struct batch_header header;
    int64_t next_offset = log->end_offset;
    *run = (struct run){.base_offset = next_offset, .max_timestamp = NO_TIMESTAMP};

    for (;;) {
        enum error err = batches_next(&rest, &header, &batch);
        if (err == ERR_EOF) break;
        if (err == ERR_TRUNCATED && how->origin == APPEND_REPLICATION)
            break; /* the next fetch brings the rest */
        if (err == ERR_CORRUPT || err == ERR_TRUNCATED) return ERR_CORRUPT_MESSAGE;
        if (err != OK) return err;

        uint8_t *data = batches + (batch.data - batches);
        if (how->origin == APPEND_REPLICATION) {
            /* As another leader stamped them: gaps are normal, going back is not. */
            if (header.base_offset < next_offset) return ERR_OFFSET_OUT_OF_RANGE;
            if (run->batch_count == 0) run->base_offset = header.base_offset;
        } else {
            if (how->origin == APPEND_CLIENT && run->batch_count == 1) {
                refuse(appended, -1, "Produce requests must contain exactly one batch for each partition");
                return ERR_INVALID_RECORD;
            }
            if (INT64_MAX - header.last_offset_delta - 1 < next_offset) return ERR_OFFSET_OUT_OF_RANGE;
            err = judge(log, data, &header, how, appended);
            if (err == OK) err = check_producer(log, batch, &header, how, appended);
            if (err == OK && appended->is_duplicate) return OK;
            if (err == OK) {
                batch_set_base_offset(data, next_offset);
                batch_set_leader_epoch(data, how->leader_epoch);
                header.base_offset = next_offset;
            }
        }
        if (err != OK) return err;
        next_offset = batch_last_offset(&header) + 1;
        run->last_offset = next_offset - 1;
        run->records += (int64_t)header.last_offset_delta + 1;
        run->size += batch.size;
        run->batch_count++;
        if (header.max_timestamp > run->max_timestamp) run->max_timestamp = header.max_timestamp;
    }
    return run->batch_count > 0 ? OK : ERR_CORRUPT_MESSAGE;
}

static bool must_roll(const struct log *log, const struct run *run, int64_t now_ms)
{
    const struct log_config *config = &log->config;
    const struct log_active *active = log->active;
    const struct segment *segment = &log->segments[log->segment_count - 1];
    if (run->last_offset - segment->base_offset > INT32_MAX) return true;
    if (segment->size == 0) return false;
    if (segment->size + (int64_t)run->size > config->segment_bytes) return true;
    if (segment->size + (int64_t)run->size > POSITION_MAX) return true;

    int64_t waited_ms = now_ms - active->created_ms;
    if (active->first_batch_timestamp >= 0) waited_ms = run->max_timestamp - active->first_batch_timestamp;
    if (waited_ms > config->segment_ms - active->roll_jitter_ms) return true;

    int64_t offsets_max = config->segment_index_bytes / OFFSET_ENTRY_SIZE;
    int64_t times_max = config->segment_index_bytes / TIME_ENTRY_SIZE - 1;
    return (int64_t)active->offsets.count >= offsets_max || (int64_t)active->times.count >= times_max;
}

static enum error write_failed(struct log *log, enum error err)
{
    /* Too many open files: nothing was written, and the next try may find room. */
    if (err == ERR_LIMIT) return ERR_KAFKA_STORAGE_ERROR;
    struct segment *segment = log_active_segment(log);
    enum error cut = file_truncate(segment->log_file, segment->size);
    if (err == ERR_DISK_FULL && cut == OK) return ERR_DISK_FULL;
    log_dir_fail(log->dir, err, "append to", file_path(segment->log_file));
    return ERR_KAFKA_STORAGE_ERROR;
}

static enum error assign_epochs(struct log *log, struct slice rest)
{
    struct batch_header header;
    struct slice batch;
    enum error err = OK;
    while (err == OK && batches_next(&rest, &header, &batch) == OK) {
        if (header.partition_leader_epoch >= 0) {
            err = log_epoch_assign(log, header.partition_leader_epoch, header.base_offset);
        } else if (header.magic < 2 && log->epochs.count > 0) {
            /* Written by a leader that knew no epochs: what we know no longer tells who wrote the end. */
            log->epochs.count = 0;
            log->epochs_unsaved = true;
            log_mark_dirty(log);
        }
    }
    return err;
}

/* A failure after the write (no memory, no room for the transaction index): as if it had not been written. */
static enum error take_back(struct log *log, enum error why)
{
    struct segment *segment = log_active_segment(log);
    char *path = log_segment_path(log, segment->base_offset, FILE_TXNINDEX, "");
    enum error err = path ? file_truncate(segment->log_file, segment->size) : ERR_NOMEM;
    if (err == OK) err = txn_index_cut(log->dir->disk, path, log->end_offset);
    if (err == OK) err = log_rebuild_producers(log, log->end_offset);
    free(path);
    if (err == OK) return why;
    log_dir_fail(log->dir, err, "undo an append to", log->name);
    return ERR_KAFKA_STORAGE_ERROR;
}

static enum error write_run(struct log *log, const uint8_t *batches, const struct run *run,
                            const struct log_append *how)
{
    struct slice all = {batches, run->size}, rest = all, batch;
    struct batch_header header;
    enum error err = assign_epochs(log, all);
    if (err != OK) return err;

    struct segment *segment = log_active_segment(log);
    err = file_pwrite(segment->log_file, batches, run->size, segment->size);
    if (err != OK) return write_failed(log, err);

    while (err == OK && batches_next(&rest, &header, &batch) == OK) {
        err = log_apply_producer(log, &header, batch, true, segment->base_offset);
    }
    if (err != OK) return take_back(log, err);

    if (segment->size == 0) log->active->created_ms = how->now_ms;
    int64_t position = segment->size;
    for (rest = all; batches_next(&rest, &header, &batch) == OK; position += (int64_t)batch.size) {
        log_index_batch(log, &header, position);
    }
    segment->size = position;
    publish(&log->size_bytes, log->size_bytes + (int64_t)run->size);
    publish(&log->end_offset, run->last_offset + 1);
    return OK;
}

/* Asks for the sync that flush.messages and flush.ms promise. */
static void note_unsynced(struct log *log, int64_t records)
{
    const struct log_config *config = &log->config;
    bool was_synced = log->unsynced_records == 0;
    log->unsynced_records += records;
    if (log->unsynced_records >= config->flush_messages) {
        log_flush(log);
    } else if (was_synced && config->flush_ms != INT64_MAX) {
        log->unsynced_since_ms = log->home && log->home->loop ? loop_now_ms(log->home->loop) : 0;
        log_mark_dirty(log);
    }
}

static enum error append_run(struct log *log, uint8_t *batches, size_t size, const struct log_append *how,
                             struct log_appended *appended, size_t *taken)
{
    struct run run;
    enum error err = prepare(log, batches, size, how, &run, appended);
    if (err != OK) return err;
    if (appended->is_duplicate) return OK;
    if ((int64_t)run.size > log->config.segment_bytes &&
        (run.batch_count > 1 || how->origin != APPEND_REPLICATION)) {
        return ERR_RECORD_LIST_TOO_LARGE;
    }

    bool rolled = false;
    err = log_activate(log, how->now_ms);
    if (err == ERR_CORRUPT) {
        log_dir_fail(log->dir, err, "continue", log->name);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    if (err == OK && must_roll(log, &run, how->now_ms)) {
        /* At our end even if the run leaves a gap, for recovery takes one between segments for a loss; unless the run then
         * could not be told from the segment's base in 31 bits. */
        bool is_far = run.last_offset - log->end_offset > INT32_MAX;
        err = log_roll_at(log, is_far ? run.base_offset : log->end_offset);
        rolled = err == OK;
    }
    if (err == OK) err = write_run(log, batches, &run, how);
    if (err != OK) return err;

    note_unsynced(log, run.records);
    if (appended->base_offset < 0) appended->base_offset = run.base_offset;
    appended->last_offset = run.last_offset;
    appended->rolled = appended->rolled || rolled;
    appended->log_start_offset = log->start_offset;
    bool has_append_time =
        how->origin != APPEND_REPLICATION && log->config.timestamp_type == TIMESTAMP_LOG_APPEND;
    appended->log_append_time_ms = has_append_time ? how->now_ms : -1;
    *taken = run.size;
    return OK;
}

enum error log_append(struct log *log, uint8_t *batches, size_t size, const struct log_append *how,
                      struct log_appended *appended)
{
    *appended = (struct log_appended){
        .base_offset = -1, .last_offset = -1, .log_append_time_ms = -1, .bad_record_index = -1};
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;

    size_t taken = 0;
    enum error err = append_run(log, batches, size, how, appended, &taken);
    if (err != ERR_RECORD_LIST_TOO_LARGE || how->origin != APPEND_REPLICATION) goto done;

    /* A leader with larger segments sent more than fits one of ours: batch by batch. */
    struct slice rest = {batches, size}, batch;
    err = OK;
    while (err == OK && batches_next(&rest, NULL, &batch) == OK) {
        err = append_run(log, batches + (batch.data - batches), batch.size, how, appended, &taken);
    }
done:
    if (err == ERR_IO) {
        log_dir_fail(log->dir, err, "append to", log->name);
        err = ERR_KAFKA_STORAGE_ERROR;
    }
    return err;
}
