/* load.c: from a partition directory to a log, and back to rest.
 *
 * After a clean stop nothing of the batches is read: the recovery point says where the log ends, and the producer snapshot of
 * that very offset vouches for it. Where they are missing or disagree, the end of the active segment is looked at. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/vec.h"
#include "storage/checkpoint.h"
#include "storage/log_parts.h"

#define SMALL_FILE_MAX ((size_t)64 << 20)

struct listing {
    char *path;
    struct disk_entry *entries;
    size_t count;
};

static void listing_free(struct listing *listing)
{
    disk_list_free(listing->entries, listing->count);
    listing->entries = NULL;
    listing->count = 0;
}

static enum error listing_read(struct log *log, struct listing *listing)
{
    listing_free(listing);
    return disk_list(log->dir->disk, listing->path, &listing->entries, &listing->count);
}

static enum error unlink_in(struct log *log, const struct listing *listing, const char *name)
{
    char *path = path_join(listing->path, name);
    enum error err = path ? disk_unlink(log->dir->disk, path) : ERR_NOMEM;
    free(path);
    return err == ERR_NOT_FOUND ? OK : err;
}

static struct segment_file_name name_of(const struct listing *listing, size_t i)
{
    return segment_file_parse(slice_of(listing->entries[i].name));
}

static bool has_file(const struct listing *listing, int64_t base_offset, enum file_kind kind)
{
    char name[SEGMENT_NAME_SIZE];
    snprintf(name, sizeof name, "%020lld%s", (long long)base_offset, file_kind_suffix(kind));
    size_t low = 0, high = listing->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(listing->entries[middle].name, name);
        if (order == 0) return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* --- what a compaction or deletion left unfinished (facts/storage.md 5, step 2) --- */

/* Where the offsets of a segment file end: after its last whole batch. */
static enum error file_end_offset(struct log *log, const char *path, int64_t base_offset, int64_t *end_offset)
{
    struct file *file = NULL;
    int64_t size = 0, position;
    enum error err = file_open(log->dir->disk, path, FILE_READ, &file);
    if (err == OK) err = file_size(file, &size);
    uint8_t window[4096];
    struct header_scan scan = {.file = file, .end = size, .window = window, .window_capacity = sizeof window};
    struct batch_header header;
    *end_offset = base_offset;
    while (err == OK && (err = header_scan_next(&scan, &header, &position)) == OK) {
        *end_offset = batch_last_offset(&header) + 1;
    }
    file_release(&file);
    return err == ERR_EOF || err == ERR_TRUNCATED || err == ERR_CORRUPT ? OK : err;
}

/* Removes current files of segments the swapped ones replace. */
static enum error remove_replaced(struct log *log, const struct listing *listing, int64_t first, int64_t end)
{
    enum error err = OK;
    for (size_t i = 0; err == OK && i < listing->count; i++) {
        struct segment_file_name name = name_of(listing, i);
        bool is_replaced = name.kind != FILE_OTHER && name.kind != FILE_SNAPSHOT &&
                           name.state == STATE_CURRENT && name.base_offset >= first && name.base_offset < end;
        if (is_replaced) err = unlink_in(log, listing, listing->entries[i].name);
    }
    return err;
}

static enum error finish_swaps(struct log *log, struct listing *listing)
{
    int64_t first = INT64_MAX, end = -1;
    enum error err = OK;
    for (size_t i = 0; err == OK && i < listing->count; i++) {
        struct segment_file_name name = name_of(listing, i);
        if (name.state != STATE_SWAP || name.kind != FILE_LOG) continue;
        int64_t its_end;
        char *path = path_join(listing->path, listing->entries[i].name);
        err = path ? file_end_offset(log, path, name.base_offset, &its_end) : ERR_NOMEM;
        free(path);
        if (name.base_offset < first) first = name.base_offset;
        if (err == OK && its_end > end) end = its_end;
    }
    if (err == OK) err = remove_replaced(log, listing, first, end);
    for (size_t i = 0; err == OK && i < listing->count; i++) {
        if (name_of(listing, i).state != STATE_SWAP) continue;
        char *from = path_join(listing->path, listing->entries[i].name);
        char *to = from ? slice_dup(slice_of(from)) : NULL;
        if (to) to[strlen(to) - strlen(".swap")] = 0;
        err = to ? disk_rename(log->dir->disk, from, to) : ERR_NOMEM;
        free(from);
        free(to);
    }
    return err;
}

static enum error finish_leftovers(struct log *log, struct listing *listing)
{
    int64_t first_cleaned = INT64_MAX;
    bool has_any = false;
    for (size_t i = 0; i < listing->count; i++) {
        struct segment_file_name name = name_of(listing, i);
        if (name.kind == FILE_OTHER || name.state == STATE_CURRENT) continue;
        has_any = true;
        if (name.state == STATE_CLEANED && name.base_offset < first_cleaned) first_cleaned = name.base_offset;
    }
    if (!has_any) return OK;

    enum error err = OK;
    for (size_t i = 0; err == OK && i < listing->count; i++) {
        struct segment_file_name name = name_of(listing, i);
        if (name.kind == FILE_OTHER) continue;
        bool is_void = name.state == STATE_DELETED || name.state == STATE_CLEANED ||
                       (name.state == STATE_SWAP && name.base_offset >= first_cleaned);
        if (is_void) err = unlink_in(log, listing, listing->entries[i].name);
    }
    if (err == OK) err = listing_read(log, listing);
    if (err == OK) err = finish_swaps(log, listing);
    if (err == OK) err = listing_read(log, listing);
    return err;
}

/* --- the pieces --- */

static enum error collect_segments(struct log *log, const struct listing *listing)
{
    enum error err = OK;
    for (size_t i = 0; err == OK && i < listing->count; i++) {
        struct segment_file_name name = name_of(listing, i);
        if (name.kind == FILE_OTHER || name.state != STATE_CURRENT) continue;
        if (name.kind == FILE_LOG) {
            if (!log_reserve_segments(log, 1)) return ERR_NOMEM;
            log->segments[log->segment_count++] = (struct segment){.base_offset = name.base_offset,
                                                                   .size = listing->entries[i].size,
                                                                   .max_timestamp = UNKNOWN_TIMESTAMP,
                                                                   .max_timestamp_offset = name.base_offset};
            log->size_bytes += listing->entries[i].size;
        } else if (name.kind != FILE_SNAPSHOT && !has_file(listing, name.base_offset, FILE_LOG)) {
            err = unlink_in(log, listing, listing->entries[i].name);
        }
    }
    return err;
}

static enum error read_small(struct log *log, const struct listing *listing, const char *name,
                             struct bytes **bytes)
{
    char *path = path_join(listing->path, name);
    enum error err = path ? disk_read_file(log->dir->disk, path, SMALL_FILE_MAX, bytes) : ERR_NOMEM;
    free(path);
    return err;
}

static enum error read_topic_id(struct log *log, const struct listing *listing)
{
    struct bytes *bytes = NULL;
    enum error err = read_small(log, listing, PARTITION_METADATA_FILE, &bytes);
    if (err == ERR_NOT_FOUND) return OK;
    if (err == OK) err = partition_metadata_read(bytes_slice(bytes), &log->topic_id);
    bytes_release(&bytes);
    if (err != ERR_CORRUPT && err != ERR_TOO_LARGE) return err;
    diag_warn("partition.metadata of \"%s\" is damaged; the topic id will be asked for again", log->name);
    return OK;
}

/* Leader epochs from the batches themselves: all of them, or those from the start to this offset, where messages too old for
 * epochs leave nothing to be read. */
static enum error rebuild_epochs(struct log *log, int64_t end_offset)
{
    uint8_t window[4096];
    enum error err = OK;
    bool is_over = false;
    for (size_t i = 0; err == OK && !is_over && i < log->segment_count; i++) {
        struct segment *segment = &log->segments[i];
        if (segment->size == 0) continue;
        if (segment->base_offset >= end_offset) break;
        err = segment_file(log, segment, false);
        struct header_scan scan = {.file = segment->log_file,
                                   .end = segment->size,
                                   .window = window,
                                   .window_capacity = sizeof window};
        struct batch_header header;
        int64_t position;
        while (err == OK && !is_over && (err = header_scan_next(&scan, &header, &position)) == OK) {
            bool is_old = header.partition_leader_epoch < 0 && end_offset < INT64_MAX;
            is_over = is_old || header.base_offset >= end_offset;
            if (!is_over && header.partition_leader_epoch > log_latest_epoch(log))
                err = epoch_cache_assign(&log->epochs, header.partition_leader_epoch, header.base_offset);
        }
        segment_release_files(segment);
        if (err == ERR_EOF || err == ERR_TRUNCATED || err == ERR_CORRUPT) err = OK;
    }
    log->epochs_unsaved = true;
    return err;
}

/* A log start that was raised cuts the epochs below it, and is itself saved only now and then: a crash may bring the old start
 * back, and with it records whose epoch nobody would know. A follower that parts from us among them must be told so. */
static enum error mend_first_epochs(struct log *log)
{
    struct epoch_cache known = log->epochs;
    int64_t first = known.count > 0 ? known.entries[0].start_offset : log->end_offset;
    if (first <= log->start_offset) return OK;
    log->epochs = (struct epoch_cache){0};
    enum error err = rebuild_epochs(log, first);
    for (size_t i = 0; err == OK && i < known.count; i++)
        err = epoch_cache_assign(&log->epochs, known.entries[i].epoch, known.entries[i].start_offset);
    epoch_cache_free(&known);
    return err;
}

/* *must_rebuild: the file is damaged, or empty, as one that was renamed into place just before the power went. */
static enum error read_epochs(struct log *log, const struct listing *listing, bool *must_rebuild)
{
    struct bytes *bytes = NULL;
    enum error err = read_small(log, listing, EPOCH_FILE, &bytes);
    *must_rebuild = false;
    if (err == ERR_NOT_FOUND) return OK;
    if (err == OK) err = epoch_cache_read(bytes_slice(bytes), &log->epochs);
    *must_rebuild = err == ERR_CORRUPT || err == ERR_TOO_LARGE || (err == OK && bytes->size == 0);
    bytes_release(&bytes);
    if (err == ERR_CORRUPT || err == ERR_TOO_LARGE) {
        diag_warn("leader-epoch-checkpoint of \"%s\" is damaged; making it anew from the batches", log->name);
        err = OK;
    }
    return err;
}

static enum error check_txn_index(struct log *log, const struct listing *listing, size_t i, bool *is_good)
{
    int64_t base_offset = log->segments[i].base_offset;
    *is_good = true;
    if (!has_file(listing, base_offset, FILE_TXNINDEX)) return OK;
    char *path = segment_path(listing->path, base_offset, FILE_TXNINDEX, "");
    struct bytes *bytes = NULL;
    enum error err = path ? disk_read_file(log->dir->disk, path, (size_t)1 << 30, &bytes) : ERR_NOMEM;
    if (err == OK) *is_good = txn_index_check(bytes_slice(bytes), base_offset) == OK;
    bytes_release(&bytes);
    free(path);
    return err;
}

/* Segments whose indexes are gone get new ones. */
static enum error mend_indexes(struct log *log, const struct listing *listing, size_t end)
{
    enum error err = OK;
    for (size_t i = 0; err == OK && i < end; i++) {
        struct segment *segment = &log->segments[i];
        bool is_whole = has_file(listing, segment->base_offset, FILE_INDEX) &&
                        has_file(listing, segment->base_offset, FILE_TIMEINDEX);
        if (is_whole) continue;
        diag_info("making the indexes of segment %lld of \"%s\" anew", (long long)segment->base_offset,
                  log->name);
        err = segment_rebuild_indexes(log, i);
        segment_release_files(segment);
        if (err == ERR_CORRUPT) {
            diag_error("segment %lld of \"%s\" has damaged batches", (long long)segment->base_offset,
                       log->name);
            err = OK; /* readers of that place will hear of it; the rest stays readable */
        }
    }
    return err;
}

/* After a clean stop: the end, without reading what two files agree on. ERR_CORRUPT: it was not as clean as it said. */
static enum error find_end(struct log *log, const struct listing *listing)
{
    struct segment *active = log_active_segment(log);
    int64_t said = log->recovery_point;
    bool has_indexes = has_file(listing, active->base_offset, FILE_INDEX) &&
                       has_file(listing, active->base_offset, FILE_TIMEINDEX);
    bool is_vouched = said > active->base_offset && has_file(listing, said, FILE_SNAPSHOT);
    if (active->size == 0 || (is_vouched && has_indexes)) {
        log->end_offset = active->size == 0 ? active->base_offset : said;
        if (active->size == 0 && !has_indexes) return segment_rebuild_indexes(log, log->segment_count - 1);
        return OK;
    }
    log->end_offset = active->base_offset;
    enum error err = log_activate(log, 0);
    if (err == OK && log->active->indexes_unsaved) err = log_leave_indexes(log);
    log_deactivate(log);
    segment_release_files(log_active_segment(log));
    return err;
}

static enum error start_at(struct log *log, int64_t offset)
{
    enum error err = log_drop_segments(log, 0, log->segment_count, true);
    if (err == OK) err = log_add_segment(log, offset);
    if (err == OK) err = log_save_indexes(log);
    if (err == OK && log->active->is_preallocated) err = file_truncate(log_active_segment(log)->log_file, 0);
    log_deactivate(log);
    log->end_offset = offset;
    log->recovery_point = offset;
    return err;
}

static bool any_snapshot(const struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++) {
        struct segment_file_name name = name_of(listing, i);
        if (name.kind == FILE_SNAPSHOT && name.state == STATE_CURRENT) return true;
    }
    return false;
}

/* The small files, as new ones. */
static enum error rewrite_small(struct log *log)
{
    log->epochs_unsaved = log->epochs.count > 0;
    return uuid_is_zero(&log->topic_id) ? OK : log_write_topic_id(log);
}

/* The transaction indexes of the segments below `end`. A damaged one is made anew by recovery, from its segment on. */
static enum error check_txn_indexes(struct log *log, const struct listing *listing, size_t end,
                                    bool *was_clean)
{
    for (size_t i = 0; i < end; i++) {
        bool is_good;
        enum error err = check_txn_index(log, listing, i, &is_good);
        if (err != OK) return err;
        if (is_good) continue;
        diag_warn("transaction index of segment %lld of \"%s\" is damaged: making it anew",
                  (long long)log->segments[i].base_offset, log->name);
        if (log->recovery_point > log->segments[i].base_offset)
            log->recovery_point = log->segments[i].base_offset;
        *was_clean = false;
    }
    return OK;
}

/* The segments as they lie there. What was not stopped cleanly, or turns out to be damaged, is left to recovery: *was_clean. */
static enum error find_segments(const struct log_load_request *request, struct log *log,
                                const struct listing *listing, bool *was_clean)
{
    *was_clean = request->was_clean;
    enum error err = collect_segments(log, listing);
    if (err != OK) return err;
    if (log->segment_count == 0) {
        *was_clean = true; /* nothing to recover */
        return start_at(log, request->start_offset > 0 ? request->start_offset : 0);
    }
    size_t trusted = *was_clean ? log->segment_count - 1 : log_segment_of(log, log->recovery_point);
    err = mend_indexes(log, listing, trusted);
    if (err == OK) err = check_txn_indexes(log, listing, trusted, was_clean);
    if (err != OK || !*was_clean) return err;
    err = find_end(log, listing);
    if (err != ERR_CORRUPT) return err;
    diag_warn("\"%s\" was said to be cleanly stopped, but its end is damaged: recovering", log->name);
    log->recovery_point = log_active_segment(log)->base_offset;
    *was_clean = false;
    return OK;
}

static void settle_points(const struct log_load_request *request, struct log *log, bool was_clean)
{
    log->start_offset = log->first_offset = log->segments[0].base_offset;
    if (request->start_offset > log->start_offset) log->start_offset = request->start_offset;
    if (log->recovery_point > log->end_offset) log->recovery_point = log->end_offset;
    if (was_clean && request->was_clean) log->recovery_point = log->end_offset;
    log->closed_synced = log->segments[log_segment_of(log, log->recovery_point)].base_offset;
    log->trusted_point = log->recovery_point;
}

static enum error load_segments(const struct log_load_request *request, struct log *log,
                                const struct listing *listing, bool must_rebuild_epochs,
                                int64_t *recovered_bytes)
{
    bool was_clean, starts_anew = false;
    enum error err = find_segments(request, log, listing, &was_clean);
    /* Whoever was killed may not have come to it. */
    log->dir_unsynced = log->parent_unsynced = !was_clean;
    if (err == OK && log->dir->has_lost_sync) err = rewrite_small(log);
    if (err == OK && !was_clean)
        err = log_recover(log, request->was_compacted || log->config.compact_policy, recovered_bytes);
    if (err == OK && request->start_offset > log->end_offset) {
        diag_warn("\"%s\" ends at %lld, before its log start %lld: starting there, empty", log->name,
                  (long long)log->end_offset, (long long)request->start_offset);
        err = start_at(log, request->start_offset);
        starts_anew = true;
    }
    if (err == OK && must_rebuild_epochs) {
        log->epochs.count = 0;
        err = rebuild_epochs(log, INT64_MAX);
    }
    if (err != OK) return err;

    settle_points(request, log, was_clean);
    /* The checkpoint will not name this start any more: the segment itself does, so its name must last. */
    if (starts_anew) log->dir_unsynced = true;
    if (starts_anew) err = log_flush_now(log);
    if (err != OK) return err;
    /* An epoch that began at the very end wrote nothing yet, and is still the newest. */
    if (epoch_cache_cut_end(&log->epochs, log->end_offset + 1)) log->epochs_unsaved = true;
    if (!was_clean) err = mend_first_epochs(log);
    if (err != OK) return err;
    if (epoch_cache_cut_start(&log->epochs, log->start_offset)) log->epochs_unsaved = true;
    if (!was_clean) {
        log->recovered_end = log->end_offset;
        log_prune_snapshots(log, true);
        return OK; /* recovery knows the producers already */
    }
    if (!any_snapshot(listing)) return OK; /* before producers had ids */
    return log_rebuild_producers(log, log->end_offset);
}

/* Write, rename over; durable with whatever is synced next. A crash before leaves the old file, the new or none. */
enum error write_file_unsynced(struct disk *disk, const char *path, struct slice content)
{
    size_t size = strlen(path) + 5;
    char *temporary = malloc(size);
    if (!temporary) return ERR_NOMEM;
    snprintf(temporary, size, "%s.tmp", path);
    struct file *file = NULL;
    enum error err = file_open(disk, temporary, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);
    if (err == OK) err = file_pwrite(file, content.data, content.size, 0);
    file_release(&file);
    if (err == OK) err = disk_rename(disk, temporary, path);
    free(temporary);
    return err;
}

static enum error log_new(struct log_dir *dir, const char *name, const struct log_config *config,
                          struct log **log)
{
    struct partition_dir_name parsed = partition_dir_parse(slice_of(name));
    struct log *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->dir = dir;
    size_t name_size = strlen(name);
    if (parsed.kind == DIR_FUTURE) {
        name_size -= FUTURE_SUFFIX_SIZE;
        snprintf(made->future_suffix, sizeof made->future_suffix, "%s", name + name_size);
    }
    made->name = slice_dup((struct slice){(const uint8_t *)name, name_size});
    made->topic_size = parsed.topic.size;
    made->partition = parsed.partition;
    made->config = *config;
    made->snapshot_offset = -1;
    made->agreed_generation = -1;
    made->checkpoint_pending = -1;
    list_init(&made->home_link);
    list_init(&made->dirty_link);
    list_init(&made->flush_link);
    if (!made->name) {
        free(made);
        return ERR_NOMEM;
    }
    *log = made;
    return OK;
}

enum error log_load(const struct log_load_request *request, struct log **log, int64_t *recovered_bytes)
{
    struct log *loaded = NULL;
    struct listing listing = {0};
    bool must_rebuild_epochs = false;
    enum error err = log_new(request->dir, request->name, request->config, &loaded);
    if (err != OK) return err;
    loaded->recovery_point = request->recovery_point > 0 ? request->recovery_point : 0;
    loaded->checkpointed_recovery_point = loaded->recovery_point;
    loaded->high_watermark = request->high_watermark;
    listing.path = log_path(loaded);
    err = listing.path ? listing_read(loaded, &listing) : ERR_NOMEM;
    if (err == OK) err = finish_leftovers(loaded, &listing);
    if (err == OK) err = read_topic_id(loaded, &listing);
    if (err == OK) err = read_epochs(loaded, &listing, &must_rebuild_epochs);
    if (err == OK) err = load_segments(request, loaded, &listing, must_rebuild_epochs, recovered_bytes);
    for (size_t i = 0; i < listing.count; i++)
        loaded->has_moved_mark |= strcmp(listing.entries[i].name, MOVED_HERE_FILE) == 0;
    listing_free(&listing);
    free(listing.path);
    if (err != OK) {
        /* It was made, but nothing ever came into it: log_store_create takes the directory that is there. */
        bool was_begun = loaded->segment_count > 0 || request->start_offset > 0;
        log_free(loaded);
        *log = NULL;
        return was_begun ? err : log_dir_spare(request->dir, err);
    }
    if (loaded->high_watermark > loaded->end_offset) loaded->high_watermark = loaded->end_offset;
    if (loaded->high_watermark < loaded->start_offset) loaded->high_watermark = loaded->start_offset;
    loaded->is_loaded = true;
    *log = loaded;
    return OK;
}

enum error log_create(struct log_dir *dir, const char *name, const struct uuid *topic_id,
                      const struct log_config *config, struct log **log)
{
    struct log *made = NULL;
    enum error err = log_new(dir, name, config, &made);
    if (err != OK) return err;
    char *path = log_path(made);
    err = path ? disk_mkdir(dir->disk, path) : ERR_NOMEM;
    free(path);
    made->is_loaded = true;
    made->parent_unsynced = true;
    if (err == OK && topic_id && !uuid_is_zero(topic_id)) err = log_set_topic_id(made, topic_id);
    if (err == OK) err = log_add_segment(made, 0);
    if (err == OK) err = log_save_indexes(made);
    /* Many are made that nobody will ever write to. */
    if (err == OK && !made->active->is_preallocated) {
        log_deactivate(made);
        segment_release_files(log_active_segment(made));
    }
    if (err != OK) {
        log_free(made);
        return err;
    }
    *log = made;
    return OK;
}

static enum error sync_file(struct log *log, int64_t offset, enum file_kind kind)
{
    char *path = log_segment_path(log, offset, kind, "");
    struct file *file = NULL;
    enum error err = path ? file_open(log->dir->disk, path, FILE_WRITE, &file) : ERR_NOMEM;
    if (err == OK) err = file_sync(file);
    file_release(&file);
    free(path);
    return err == ERR_NOT_FOUND ? OK : err;
}

bool log_is_at_rest(const struct log *log)
{
    bool has_snapshot =
        log->snapshot_offset == log->end_offset || log->segments[log->segment_count - 1].size == 0;
    return !log->active && !log->epochs_unsaved && !log->epochs_unsynced && !log->metadata_unsynced &&
           !log->snapshot_unsynced && !log->has_unsaved_state && has_snapshot &&
           log->recovery_point == log->end_offset &&
           log->closed_synced == log->segments[log->segment_count - 1].base_offset;
}

static enum error write_rest(struct log *log, bool *is_written)
{
    *is_written = log->active != NULL;
    enum error err = OK;
    if (log->active) {
        struct segment *segment = log_active_segment(log);
        err = log_close_indexes(log);
        if (err == OK && (log->active->is_preallocated || log->active->has_reserve))
            err = file_truncate(segment->log_file, segment->size);
    }
    /* The snapshot of the end vouches for it at the next start; an empty log needs none. */
    bool has_snapshot = log->snapshot_offset == log->end_offset || log_active_segment(log)->size == 0;
    if (err == OK && (!has_snapshot || log->has_unsaved_state)) {
        int64_t before = log->snapshot_offset;
        err = log_write_snapshot(log, log->end_offset);
        if (err == OK && before >= 0) log_prune_snapshots(log, false);
    }
    return err;
}

static enum error sync_rest(struct log *log, bool was_used)
{
    int64_t base_offset = log_active_segment(log)->base_offset;
    enum error err = log_flush_now(log);
    /* A clean start believes these, so they are synced though recovery could make them anew. */
    if (err == OK && was_used) err = sync_file(log, base_offset, FILE_INDEX);
    if (err == OK && was_used) err = sync_file(log, base_offset, FILE_TIMEINDEX);
    if (err == OK && was_used) err = sync_file(log, base_offset, FILE_TXNINDEX);
    if (err == OK && log->snapshot_unsynced) err = sync_file(log, log->end_offset, FILE_SNAPSHOT);
    if (err == OK && (was_used || log->snapshot_unsynced)) {
        char *path = log_path(log);
        err = path ? disk_sync_dir(log->dir->disk, path) : ERR_NOMEM;
        free(path);
    }
    return err;
}

enum error log_close_cleanly(struct log *log, bool all_will_be_synced)
{
    if (log_dir_is_failed(log->dir)) return ERR_KAFKA_STORAGE_ERROR;
    log->on_synced = NULL;
    bool is_written;
    enum error err = write_rest(log, &is_written);
    if (err == OK && !all_will_be_synced) return sync_rest(log, is_written);
    if (err == OK && log->epochs_unsaved) err = log_write_epochs(log);
    return err;
}

void log_was_synced(struct log *log)
{
    publish(&log->recovery_point, log->end_offset);
    log->epochs_unsynced = log->metadata_unsynced = log->snapshot_unsynced = false;
    log->dir_unsynced = log->parent_unsynced = false;
    log->closed_synced = log_active_segment(log)->base_offset;
    log_publish_trust(log);
}
