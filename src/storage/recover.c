/* recover.c: after an unclean stop: what of a log's end can be trusted?
 *
 * Everything below the recovery point was synced. The segment that holds it and all after it are read from front to end:
 * every batch must be whole, have its checksum, and go on in offsets. The first that does not is where the log now ends; what
 * lies behind it goes. Indexes, leader epochs and producers are made anew from what was read, so no file but .log needs to
 * have survived.
 *
 * On a full disk it does without those that find no room (log_dir_spare), and a later start makes them.
 *
 * After a failed sync the kernel forgets which pages it still owes the disk, and goes on showing them. Where the last life
 * ended so and the machine stayed up, whatever is found good is written again, from the very bytes that were checked. */
#include <stdlib.h>

#include "base/diag.h"
#include "storage/log_parts.h"

/* Is this batch one that may stand at this place? A leader epoch below the one before it is that of a batch which was cut
 * away, and came back because the crash came before the cut was on disk. */
static bool is_good(struct slice batch, const struct batch_header *header, int64_t next_offset,
                    int32_t last_epoch)
{
    struct batch_header checked;
    if (batch_check(batch, &checked) != OK) return false;
    if (header->partition_leader_epoch >= 0 && header->partition_leader_epoch < last_epoch) return false;
    return header->base_offset >= next_offset;
}

static enum error learn(struct log *log, const struct batch_header *header, struct slice batch,
                        int64_t position)
{
    enum error err = log_apply_producer(log, header, batch, true, log_active_segment(log)->base_offset);
    if (err == OK && header->partition_leader_epoch > log_latest_epoch(log)) {
        err = log_epoch_assign(log, header->partition_leader_epoch, header->base_offset);
    }
    if (err == OK) log_index_batch(log, header, position);
    return err;
}

/* Recovers the last segment of the array. *is_cut: a bad batch ended it. */
static enum error recover_active(struct log *log, bool *is_cut, int32_t *last_epoch, int64_t *recovered_bytes)
{
    struct segment *segment = log_active_segment(log);
    char *txn_path = log_segment_path(log, segment->base_offset, FILE_TXNINDEX, "");
    enum error err = txn_path ? segment_file(log, segment, true) : ERR_NOMEM;
    if (err == OK) err = disk_unlink(log->dir->disk, txn_path);
    if (err == ERR_NOT_FOUND) err = OK;
    free(txn_path);
    if (err != OK) return err;

    segment->max_timestamp = -1;
    segment->max_timestamp_offset = segment->base_offset;
    int64_t position = 0, next_offset = segment->base_offset, good = 0;
    struct batch_scan scan = {.file = segment->log_file, .end = segment->size};
    struct batch_header header;
    struct slice batch;
    while ((err = batch_scan_next(&scan, &header, &batch, &position)) == OK) {
        if (!is_good(batch, &header, next_offset, *last_epoch)) {
            err = ERR_CORRUPT;
            break;
        }
        err = learn(log, &header, batch, position);
        if (err == OK && log->dir->has_lost_sync)
            err = file_pwrite(segment->log_file, batch.data, batch.size, position);
        if (err != OK) break;
        next_offset = batch_last_offset(&header) + 1;
        *last_epoch = header.partition_leader_epoch;
        good = scan.position;
    }
    batch_scan_free(&scan);
    if (err == ERR_EOF) err = OK;
    *is_cut = err == ERR_CORRUPT || err == ERR_TRUNCATED;
    if (err != OK && !*is_cut) return err;

    *recovered_bytes += good;
    log->end_offset = next_offset;
    bool has_more = good < segment->size;
    if (has_more) {
        diag_warn("cutting \"%s\" at offset %lld: %lld bytes after it in segment %lld are not whole batches",
                  log->name, (long long)next_offset, (long long)(segment->size - good),
                  (long long)segment->base_offset);
        log->size_bytes -= segment->size - good;
        segment->size = good;
    }
    /* Also cuts what a preallocated file holds beyond. A whole batch behind a torn one must not come back under what is
     * written next (see cut_active). */
    err = file_truncate(segment->log_file, good);
    return err == OK && (has_more || log->dir->has_lost_sync) ? file_sync(segment->log_file) : err;
}

enum error log_recover(struct log *log, bool may_have_gaps, int64_t *recovered_bytes)
{
    size_t count = log->segment_count;
    size_t first = log_segment_of(log, log->recovery_point), kept = first;
    log->end_offset = log->segments[first].base_offset;
    enum error err = log_rebuild_producers(log, log->segments[first].base_offset);
    /* The number may be from before a cut, so within this segment nothing is known to be synced. */
    if (log->recovery_point > log->segments[first].base_offset)
        log->recovery_point = log->segments[first].base_offset;
    /* What the batches say counts, not a file that may be older or newer than they are. */
    if (epoch_cache_cut_end(&log->epochs, log->segments[first].base_offset)) log->epochs_unsaved = true;

    bool is_cut = false;
    int32_t last_epoch = -1;
    while (err == OK && !is_cut && kept < count) {
        /* One that begins below our end was cut away once, and came back with the crash. */
        if (log->segments[kept].base_offset < log->end_offset) break;
        /* We never leave offsets out between segments, so what was there is lost, and with it what came after. Only
         * compaction makes such gaps. */
        if (log->segments[kept].base_offset > log->end_offset && !may_have_gaps) break;
        /* Each in turn is the last segment, as it was when it was written. */
        log->segment_count = kept + 1;
        log->end_offset = log->segments[kept].base_offset;
        if (kept > first) err = log_dir_spare(log->dir, log_write_snapshot(log, log->end_offset));
        if (err == OK) err = log_begin_indexes(log);
        if (err == OK) err = recover_active(log, &is_cut, &last_epoch, recovered_bytes);
        if (err == OK) err = log_leave_indexes(log);
        log_deactivate(log);
        kept++;
    }
    log->segment_count = count;
    if (err == OK && kept < count) {
        diag_warn("dropping %zu segments of \"%s\" behind offset %lld", count - kept, log->name,
                  (long long)log->end_offset);
        err = log_drop_segments(log, kept, count - kept, true);
        /* Another crash must not bring them back behind what is written next: of the same leader, nothing would tell them from it. */
        if (err == OK) err = log_sync_names(log);
    }
    if (err == OK && log->has_unsaved_state)
        err = log_dir_spare(log->dir, log_write_snapshot(log, log->end_offset));
    return err;
}
