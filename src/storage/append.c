/* append.c: how batches get into a log: judged, stamped, written with one call, remembered.
 *
 * Nothing of the log changes before the write has succeeded, except that it may have rolled. A short write is cut back. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/vec.h"
#include "storage/log_parts.h"
#include "wire/record.h"

enum {
    GROUP_PARTS = 64,
    GROUP_BYTES = 4 << 20,
    RESERVE_FROM = 1 << 20, /* a segment of this size has shown that it grows */
    RESERVE_MAX = 16 << 20,
};

/* What one append is about, gathered in the first pass over its batches. */
struct run {
    const uint8_t *batches;
    int64_t base_offset, last_offset; /* as they will be in the log */
    int64_t max_timestamp;
    int64_t records;
    size_t size, batch_count;
    bool has_producer, has_control;
    struct batch_header first; /* of its first batch, stamped */
};

/* Goes over the batches of a run. The first is known, and mostly there is no other: nothing is parsed twice. */
struct batch_walk {
    struct slice rest;
    const struct batch_header *known; /* of the one that comes next; NULL: to be read */
    struct batch_header read;
};

/* NULL at the end. */
static const struct batch_header *batch_walk_next(struct batch_walk *walk, struct slice *batch)
{
    const struct batch_header *header = walk->known;
    if (!header) return batches_next(&walk->rest, &walk->read, batch) == OK ? &walk->read : NULL;
    *batch = (struct slice){walk->rest.data, header->size_bytes};
    walk->rest.data += header->size_bytes;
    walk->rest.size -= header->size_bytes;
    walk->known = NULL;
    return header;
}

static struct batch_walk walk_run(const struct run *run)
{
    return (struct batch_walk){.rest = {run->batches, run->size}, .known = &run->first};
}

/* Runs that are written together: those of items[first] to items[next - 1] that are not refused and no duplicates. */
struct group {
    struct log *log;
    struct log_append_item *items;
    size_t first, next;
    int part_count;
    struct iovec parts[GROUP_PARTS];
    struct batch_header firsts[GROUP_PARTS]; /* of each part's first batch, stamped */
    int64_t size, records;
    int64_t end_offset; /* where the log will end */
    int64_t now_ms;
    bool has_producer;
    struct epoch_cache epochs_before; /* where the group brings an epoch */
    bool has_epochs_before;
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
    /* Also where nothing is known of a producer whose first batch found no room: its second would be taken for its first. */
    bool is_next = err == OK && !is_duplicate && !is_control;
    if (log->refused.count > 0 && (is_next || err == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER)) {
        int32_t next_sequence = producer_state_next(&log->producers, header);
        enum error refused = refused_check(&log->refused, header, next_sequence, how->now_ms);
        if (refused != OK) return refused;
    }
    if (err != OK || !is_duplicate) return err;

    appended->is_duplicate = true;
    appended->last_offset = duplicate.last_offset;
    appended->base_offset = duplicate.last_offset - duplicate.offset_delta;
    appended->log_append_time_ms = duplicate.timestamp;
    appended->log_start_offset = log->start_offset;
    return OK;
}

/* First pass: judges every batch, stamps it, and sums up. run->size is what is whole. */
static enum error prepare(struct log *log, int64_t next_offset, uint8_t *batches, size_t size,
                          const struct log_append *how, struct run *run, struct log_appended *appended)
{
    struct slice rest = {batches, size}, batch;
    struct batch_header header;
    *run = (struct run){.batches = batches, .base_offset = next_offset, .max_timestamp = NO_TIMESTAMP};

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
                header.partition_leader_epoch = how->leader_epoch;
            }
        }
        if (err != OK) return err;
        if (run->batch_count == 0) run->first = header;
        run->has_producer = run->has_producer || batch_has_producer(&header);
        run->has_control = run->has_control || batch_is_control(&header);
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

/* True when the run may be written with those before it: nothing they do to the segment could make it roll. */
static bool fits(const struct group *group, const struct run *run)
{
    const struct log *log = group->log;
    const struct log_config *config = &log->config;
    const struct log_active *active = log->active;
    const struct segment *segment = &log->segments[log->segment_count - 1];
    if (group->part_count == GROUP_PARTS || group->size + (int64_t)run->size > GROUP_BYTES) return false;
    if (run->has_control || run->batch_count != 1) return false;
    if (segment->size == 0) return false; /* its first batch says when it rolls */
    int64_t end = segment->size + group->size + (int64_t)run->size;
    if (end > config->segment_bytes || end > POSITION_MAX) return false;
    int64_t entries =
        (int64_t)(active->offsets.count > active->times.count ? active->offsets.count : active->times.count) +
        group->part_count;
    return entries < config->segment_index_bytes / TIME_ENTRY_SIZE - 1;
}

/* The file as it was before a write. What was reserved beyond goes with it, and is asked for again. */
static enum error cut_back(struct log *log)
{
    const struct segment *segment = log_active_segment(log);
    log->active->reserved_to = 0;
    return file_truncate(segment->log_file, segment->size);
}

static enum error write_failed(struct log *log, enum error err)
{
    /* Too many open files: nothing was written, and the next try may find room. */
    if (err == ERR_LIMIT) return ERR_KAFKA_STORAGE_ERROR;
    struct segment *segment = log_active_segment(log);
    enum error cut = cut_back(log);
    if (err == ERR_DISK_FULL && cut == OK) return ERR_DISK_FULL;
    log_dir_fail(log->dir, err, "append to", file_path(segment->log_file));
    return ERR_KAFKA_STORAGE_ERROR;
}

/* An epoch brought by records that are not written after all would, told again, move its own beginning (and with it that of
 * records that are there): so a group that fails puts back what was. */
static enum error keep_epochs(struct group *group)
{
    const struct epoch_cache *epochs = &group->log->epochs;
    struct epoch_cache *before = &group->epochs_before;
    if (group->has_epochs_before) return OK;
    if (!VEC_RESERVE(before->entries, epochs->count, before->capacity)) return ERR_NOMEM;
    if (epochs->count > 0) memcpy(before->entries, epochs->entries, epochs->count * sizeof *epochs->entries);
    before->count = epochs->count;
    group->has_epochs_before = true;
    return OK;
}

static void put_epochs_back(struct group *group)
{
    if (!group->has_epochs_before) return;
    epoch_cache_free(&group->log->epochs);
    group->log->epochs = group->epochs_before;
    group->epochs_before = (struct epoch_cache){0};
    group->has_epochs_before = false;
}

static enum error assign_epochs(struct group *group, const struct run *run)
{
    struct log *log = group->log;
    struct batch_walk walk = walk_run(run);
    const struct batch_header *header;
    struct slice batch;
    enum error err = OK;
    while (err == OK && (header = batch_walk_next(&walk, &batch))) {
        if (header->partition_leader_epoch >= 0) {
            if (header->partition_leader_epoch != log_latest_epoch(log)) err = keep_epochs(group);
            if (err == OK) err = log_epoch_assign(log, header->partition_leader_epoch, header->base_offset);
        } else if (header->magic < 2 && log->epochs.count > 0) {
            /* Written by a leader that knew no epochs: what we know no longer tells who wrote the end. */
            log->epochs.count = 0;
            log->epochs_unsaved = true;
            log_mark_dirty(log);
        }
    }
    return err;
}

/* Producers were told of batches that are not in the log after all. */
static enum error forget_producers(struct log *log, enum error why)
{
    enum error err = log_rebuild_producers(log, log->end_offset);
    if (err == OK) return why;
    log_dir_fail(log->dir, err, "undo an append to", log->name);
    return ERR_KAFKA_STORAGE_ERROR;
}

/* A failure after the write (no memory, no room for the transaction index): as if it had not been written. */
static enum error take_back(struct log *log, enum error why)
{
    struct segment *segment = log_active_segment(log);
    char *path = log_segment_path(log, segment->base_offset, FILE_TXNINDEX, "");
    enum error err = path ? cut_back(log) : ERR_NOMEM;
    if (err == OK) err = txn_index_cut(log->dir->disk, path, log->end_offset);
    free(path);
    if (err == OK) return forget_producers(log, why);
    log_dir_fail(log->dir, err, "undo an append to", log->name);
    return ERR_KAFKA_STORAGE_ERROR;
}

static enum error apply_producers(struct log *log, const struct run *run)
{
    if (!run->has_producer) return OK;
    struct batch_walk walk = walk_run(run);
    const struct batch_header *header;
    struct slice batch;
    enum error err = OK;
    while (err == OK && (header = batch_walk_next(&walk, &batch))) {
        err = log_apply_producer(log, header, batch, true, log_active_segment(log)->base_offset);
    }
    return err;
}

/* Blocks for what a growing segment will hold: the file system then finds them in one piece, and writing into blocks that it
 * has already costs a quarter less. A hint: where it fails, the write says why. */
static void reserve(struct log *log, int64_t end)
{
    struct log_active *active = log->active;
    const struct segment *segment = log_active_segment(log);
    if (active->is_preallocated || end <= active->reserved_to || end < RESERVE_FROM) return;
    int64_t more = end < RESERVE_MAX ? end : RESERVE_MAX;
    int64_t to = end + more < log->config.segment_bytes ? end + more : log->config.segment_bytes;
    active->reserved_to = to > end ? to : end; /* asked once, whatever the answer */
    if (to > end && file_reserve(segment->log_file, segment->size, to - segment->size) == OK)
        active->has_reserve = true;
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

static void group_begin(struct group *group, size_t first)
{
    group->first = group->next = first;
    group->part_count = 0;
    group->size = group->records = 0;
    group->end_offset = group->log->end_offset;
    group->has_producer = false;
    epoch_cache_free(&group->epochs_before);
    group->has_epochs_before = false;
}

/* Its parts stay as they are: clearing what nobody looks at would cost more than a small append. */
static void group_init(struct group *group, struct log *log, struct log_append_item *items)
{
    group->log = log;
    group->items = items;
    group->now_ms = 0;
    group->epochs_before = (struct epoch_cache){0};
    group_begin(group, 0);
}

static void index_part(struct log *log, struct batch_walk walk, int64_t position)
{
    const struct batch_header *header;
    struct slice batch;
    for (; (header = batch_walk_next(&walk, &batch)); position += (int64_t)batch.size) {
        log_index_batch(log, header, position);
    }
}

/* Into the file, where nobody looks yet. */
static enum error group_put(struct group *group)
{
    struct log *log = group->log;
    struct segment *segment = log_active_segment(log);
    reserve(log, segment->size + group->size);
    enum error err = file_pwritev(segment->log_file, group->parts, group->part_count, segment->size);
    if (err == OK) return OK;
    err = write_failed(log, err);
    return group->has_producer ? forget_producers(log, err) : err;
}

static void group_publish(struct group *group)
{
    struct log *log = group->log;
    struct segment *segment = log_active_segment(log);
    if (segment->size == 0) log->active->created_ms = group->now_ms;
    for (int i = 0; i < group->part_count; i++) {
        struct slice part = {group->parts[i].iov_base, group->parts[i].iov_len};
        index_part(log, (struct batch_walk){.rest = part, .known = &group->firsts[i]}, segment->size);
        segment->size += (int64_t)part.size;
    }
    publish(&log->size_bytes, log->size_bytes + group->size);
    publish(&log->end_offset, group->end_offset);
    note_unsynced(log, group->records);
}

/* What its producer has on its way behind it is to hear the same. A new segment that found no room has refused it, too. */
static void note_refused(struct log *log, const struct log_append_item *item, enum error err)
{
    if (item->how->origin != APPEND_CLIENT || (err != ERR_DISK_FULL && err != ERR_KAFKA_STORAGE_ERROR))
        return;
    struct slice rest = {item->batches, item->size}, batch;
    struct batch_header header;
    if (batches_next(&rest, &header, &batch) == OK) refused_note(&log->refused, &header, item->how->now_ms);
}

/* Writes what the group holds, and begins a new one. On an error none of it was appended, and its items hear so; a duplicate
 * among them may be one of a batch that is lost now. */
static enum error group_flush(struct group *group)
{
    enum error err = OK;
    if (group->part_count > 0) {
        err = group_put(group);
        if (err == OK)
            group_publish(group);
        else
            put_epochs_back(group);
    }
    for (size_t i = group->first; err != OK && i < group->next; i++) {
        if (group->items[i].err != OK) continue;
        group->items[i].err = err;
        note_refused(group->log, &group->items[i], err);
    }
    group_begin(group, group->next);
    return err;
}

static void group_add(struct group *group, const struct run *run)
{
    group->parts[group->part_count] = (struct iovec){(void *)run->batches, run->size};
    group->firsts[group->part_count++] = run->first;
    group->size += (int64_t)run->size;
    group->records += run->records;
    group->end_offset = run->last_offset + 1;
    group->has_producer = group->has_producer || run->has_producer;
}

/* A segment for the run: a new one when it is due. What is gathered is written before; *rolled when it rolled. */
static enum error make_place(struct group *group, const struct run *run, int64_t now_ms, bool *rolled)
{
    struct log *log = group->log;
    enum error err = log_activate(log, now_ms);
    if (err == ERR_CORRUPT) {
        log_dir_fail(log->dir, err, "continue", log->name);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    /* The offsets it has been stamped with hold only when those before it are written. */
    if (err == OK && group->part_count > 0 && !fits(group, run)) err = group_flush(group);
    if (err != OK || !must_roll(log, run, now_ms)) return err;
    if (group->part_count > 0) err = group_flush(group);
    if (err != OK) return err;
    /* At our end even if the run leaves a gap, for recovery takes one between segments for a loss; unless the run then
     * could not be told from the segment's base in 31 bits. */
    bool is_far = run->last_offset - log->end_offset > INT32_MAX;
    err = log_roll_at(log, is_far ? run->base_offset : log->end_offset);
    *rolled = err == OK;
    return err;
}

/* Written at once and alone, for what it does to the transaction index comes after the write. */
static enum error put_control(struct group *group, const struct run *run)
{
    group_add(group, run);
    group->has_producer = false; /* not told yet */
    enum error err = group_put(group);
    if (err == OK) {
        err = apply_producers(group->log, run);
        if (err == OK)
            group_publish(group);
        else
            err = take_back(group->log, err);
    }
    if (err != OK) put_epochs_back(group);
    group_begin(group, group->next);
    return err;
}

static enum error gather(struct group *group, const struct run *run)
{
    enum error err = apply_producers(group->log, run);
    if (err == OK) {
        group_add(group, run);
        return OK;
    }
    enum error lost = group_flush(group);
    return forget_producers(group->log, lost == OK ? err : lost);
}

static enum error group_take(struct group *group, struct log_append_item *item)
{
    struct log *log = group->log;
    const struct log_append *how = item->how;
    struct log_appended *appended = item->appended;
    struct run run;
    if (how->origin == APPEND_REPLICATION) refused_free(&log->refused); /* producers talk to another leader */
    enum error err = prepare(log, group->end_offset, item->batches, item->size, how, &run, appended);
    if (err != OK) return err;
    if (appended->is_duplicate) return OK;
    if ((int64_t)run.size > log->config.segment_bytes &&
        (run.batch_count > 1 || how->origin != APPEND_REPLICATION)) {
        return ERR_RECORD_LIST_TOO_LARGE;
    }

    bool rolled = false;
    err = make_place(group, &run, how->now_ms, &rolled);
    if (err == OK) err = assign_epochs(group, &run);
    if (err != OK) return err;
    group->now_ms = how->now_ms;
    err = run.has_control ? put_control(group, &run) : gather(group, &run);
    if (err != OK) return err;

    if (appended->base_offset < 0) appended->base_offset = run.base_offset;
    appended->last_offset = run.last_offset;
    appended->rolled = appended->rolled || rolled;
    appended->log_start_offset = log->start_offset;
    bool has_append_time =
        how->origin != APPEND_REPLICATION && log->config.timestamp_type == TIMESTAMP_LOG_APPEND;
    appended->log_append_time_ms = has_append_time ? how->now_ms : -1;
    return OK;
}

/* Some errors are the directory's end. */
static enum error settled(struct log *log, const struct log_append_item *item, enum error err)
{
    note_refused(log, item, err);
    if (err != ERR_IO) return err;
    log_dir_fail(log->dir, err, "append to", log->name);
    return ERR_KAFKA_STORAGE_ERROR;
}

static void appended_init(struct log_appended *appended)
{
    *appended = (struct log_appended){
        .base_offset = -1, .last_offset = -1, .log_append_time_ms = -1, .bad_record_index = -1};
}

void log_append_all(struct log *log, struct log_append_item *items, size_t count)
{
    struct group group;
    group_init(&group, log, items);
    for (size_t i = 0; i < count; i++) {
        group.next = i;
        appended_init(items[i].appended);
        items[i].err = log_dir_is_failed(log->dir) ? ERR_KAFKA_STORAGE_ERROR
                                                   : settled(log, &items[i], group_take(&group, &items[i]));
    }
    group.next = count;
    enum error err = group_flush(&group);
    (void)err; /* the items have it */
}

/* A write of its own. */
static enum error append_one(struct log *log, struct log_append_item *item)
{
    struct group group;
    group_init(&group, log, item);
    enum error err = group_take(&group, item);
    enum error written = group_flush(&group);
    return settled(log, item, err == OK ? written : err);
}

enum error log_append(struct log *log, uint8_t *batches, size_t size, const struct log_append *how,
                      struct log_appended *appended)
{
    appended_init(appended);
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;

    struct log_append_item item = {.batches = batches, .size = size, .how = how, .appended = appended};
    enum error err = append_one(log, &item);
    if (err != ERR_RECORD_LIST_TOO_LARGE || how->origin != APPEND_REPLICATION) return err;

    /* A leader with larger segments sent more than fits one of ours: batch by batch. */
    struct slice rest = {batches, size}, batch;
    err = OK;
    while (err == OK && batches_next(&rest, NULL, &batch) == OK) {
        item.batches = batches + (batch.data - batches);
        item.size = batch.size;
        err = append_one(log, &item);
    }
    return err;
}
