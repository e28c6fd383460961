/* recovery.c: from files to a machine that stands where it stood: newest snapshot, then the log. */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "quorum/alone.h"
#include "quorum/ensemble.h"
#include "quorum/frames.h"
#include "quorum/inside.h"

struct recovery {
    struct quorum *quorum;
    uint64_t *snapshots, *logs;
    size_t snapshot_count, log_count;
};

static enum error restore_chunk(void *context, struct slice chunk)
{
    struct quorum *quorum = context;
    if (quorum->ensemble) ensemble_recover_chunk(quorum->ensemble, chunk);
    return quorum->machine.restore(quorum->context, chunk);
}

static enum error restore_members(void *context, struct slice chunk)
{
    struct quorum *quorum = context;
    return ensemble_recover_members(quorum->ensemble, chunk);
}

/* What convert.c did not make ours. */
static enum error check_format(const struct quorum *quorum, const char *path, uint32_t format)
{
    if (format == quorum_format(quorum)) return OK;
    diag_error("\"%s\" belongs to %s", path,
               quorum->ensemble
                   ? "a keeper that stands alone: it cannot become a member of an ensemble as it is"
                   : "a member of an ensemble: it cannot stand alone");
    return ERR_CONFIG;
}

static enum error recover_snapshot(struct quorum *quorum, uint64_t name_index)
{
    char path[QUORUM_PATH_SIZE];
    if (!quorum_path(path, quorum->dir, quorum->prefix, "snapshot", name_index)) return ERR_TOO_LARGE;
    uint64_t index = 0, term = 0;
    int64_t position = 0;
    uint32_t format = 0;
    enum error err =
        quorum_snapshot_read(quorum->disk, path, &index, &term, &format,
                             quorum->ensemble ? restore_members : NULL, restore_chunk, quorum, &position);
    if (format && check_format(quorum, path, format) != OK) return ERR_CONFIG;
    if (err == OK && index != name_index) err = ERR_CORRUPT;
    if (err == OK) err = quorum->machine.restored(quorum->context, index);
    if (err != OK) {
        diag_error("cannot use snapshot \"%s\": %s at byte %lld", path, error_text(err), (long long)position);
        return err;
    }
    quorum->applied_index = quorum->last_index = quorum->snapshot_index = index;
    quorum->published_index = index;
    struct file *file = NULL;
    if (file_open(quorum->disk, path, FILE_READ, &file) == OK) {
        if (file_mtime_ms(file, &quorum->published_wall_ms) != OK) quorum->published_wall_ms = 0;
        file_release(&file);
    }
    if (quorum->ensemble) quorum->ensemble->snapshot_term = term;
    if (term > quorum->term) quorum->term = term;
    return OK;
}

static enum error apply_record(struct quorum *quorum, const struct quorum_record *record, uint64_t file_first,
                               int64_t end)
{
    if (record->index > quorum->snapshot_index) quorum->replayed += record->kind == ENTRY_COMMAND;
    if (quorum->ensemble) {
        int64_t position = end - (int64_t)quorum_record_size(record->entry.size);
        return ensemble_recover_record(quorum->ensemble, record, file_first, position);
    }
    if (record->term > quorum->term) quorum->term = record->term;
    if (record->index <= quorum->applied_index) return OK;
    enum error err = quorum->machine.apply(quorum->context, record->index, record->term, record->entry);
    if (err == OK) {
        quorum->applied_index = record->index;
        quorum->log_bytes += (int64_t)quorum_record_size(record->entry.size);
    }
    return err;
}

/* The last write may have been killed before its sync, or its sync may have failed: its bytes are then in the page cache and
 * maybe nowhere else, and a second sync alone need not write them. What we are about to serve is written again and synced. So are the
 * names: a later file, which was never finished and which an earlier start removed, would take the place of this one if it came back. */
static enum error settle(struct quorum *quorum, struct file *file, int64_t from, int64_t end)
{
    enum { PIECE = 64 << 10 };
    uint8_t *piece = malloc(PIECE);
    enum error err = piece ? OK : ERR_NOMEM;
    for (int64_t at = from; at < end && err == OK;) {
        size_t size = end - at < PIECE ? (size_t)(end - at) : PIECE, got = 0;
        err = file_pread(file, piece, size, at, &got);
        if (err == OK && got < size) err = ERR_TRUNCATED;
        if (err == OK) err = file_pwrite(file, piece, size, at);
        at += (int64_t)size;
    }
    free(piece);
    if (err == OK) err = file_sync(file);
    if (err == OK) err = quorum_sync_names(quorum);
    return err;
}

/* All records of one log file. *end: what stopped the scan; *next_index: of the record that would have come; *unsure: where the
 * records begin that were written at once with the last one. */
static enum error recover_records(struct quorum *quorum, struct quorum_scan *scan, uint64_t name_index,
                                  uint64_t *next_index, int64_t *unsure, enum quorum_scan_end *end)
{
    uint64_t durable = 0;
    struct quorum_record record;
    enum error err = OK;
    *next_index = name_index;
    *unsure = 0;
    while (err == OK && (*end = quorum_scan_next(scan, *next_index, &record, &err)) == QUORUM_SCAN_RECORD) {
        err = apply_record(quorum, &record, name_index, scan->position);
        if (record.durable != durable) {
            durable = record.durable;
            bool is_first = record.index == name_index;
            *unsure = is_first ? 0 : scan->position - (int64_t)quorum_record_size(record.entry.size);
        }
        (*next_index)++;
    }
    return err;
}

static enum error cut_torn(struct quorum_scan *scan, const char *path)
{
    diag_warn("cutting log \"%s\" at byte %lld: the last write before a crash was unfinished", path,
              (long long)scan->position);
    enum error err = file_truncate(scan->file, scan->position);
    if (err == OK) err = file_sync(scan->file);
    if (err == OK) scan->size = scan->position;
    if (err != OK) diag_error("could not cut log \"%s\": %s", path, error_text(err));
    return err;
}

/* The last file goes on: synced as far as it may not be, and open for appending. */
static enum error keep_last(struct quorum *quorum, const struct quorum_scan *scan, const char *path,
                            uint64_t name_index, int64_t unsure)
{
    if (quorum->force_sync) {
        enum error err = settle(quorum, scan->file, unsure, scan->position);
        if (err != OK) {
            diag_error("could not sync log \"%s\": %s", path, error_text(err));
            return err;
        }
    }
    quorum->file = file_retain(scan->file);
    quorum->file_first = name_index;
    quorum->file_end = scan->position;
    quorum->file_room = scan->size;
    /* How this file was written is not known (forceSync=no?): only what lies before it is surely on the disk. */
    quorum->durable_end = name_index;
    return OK;
}

/* One log file. The last one stays open for appending. */
static enum error recover_log(struct quorum *quorum, uint64_t name_index, bool is_last)
{
    char path[QUORUM_PATH_SIZE];
    if (!quorum_path(path, quorum->log_dir, quorum->prefix, "log", name_index)) return ERR_TOO_LARGE;
    struct quorum_scan scan = {0};
    enum error err = quorum_scan_open(quorum->disk, path, name_index, &scan);
    if (err == ERR_TRUNCATED && is_last) {
        /* It was being made when the machine went down: nothing in it was ever acknowledged. */
        diag_warn("removing log \"%s\": it was never finished", path);
        return disk_unlink(quorum->disk, path);
    }
    if (err != OK) {
        diag_error("cannot use log \"%s\": %s in its header", path, error_text(err));
        return err;
    }

    err = check_format(quorum, path, scan.format);
    uint64_t expected = name_index;
    int64_t unsure = 0;
    enum quorum_scan_end end = QUORUM_SCAN_RECORD;
    if (err == OK) err = recover_records(quorum, &scan, name_index, &expected, &unsure, &end);
    quorum->last_index = expected - 1;
    long long position = (long long)scan.position;
    if (err == OK && end == QUORUM_SCAN_TORN && !is_last) end = QUORUM_SCAN_HURT;
    if (err == OK && end == QUORUM_SCAN_HURT) {
        err = ERR_CORRUPT;
        diag_error(
            "log \"%s\" is damaged at byte %lld (entry %llu), and what was there had been acknowledged: "
            "restore the file, or remove it and what follows it to go back to entry %llu",
            path, position, (unsigned long long)expected, (unsigned long long)expected - 1);
    } else if (err != OK && err != ERR_CONFIG) {
        diag_error("cannot read log \"%s\" at byte %lld (entry %llu): %s", path, position,
                   (unsigned long long)expected, error_text(err));
    } else if (end == QUORUM_SCAN_TORN) {
        err = cut_torn(&scan, path);
    }
    if (err == OK && is_last) err = keep_last(quorum, &scan, path, name_index, unsure);
    quorum_scan_close(&scan);
    return err;
}

static enum error recover_logs(struct recovery *recovery)
{
    struct quorum *quorum = recovery->quorum;
    bool is_first = true;
    for (size_t i = 0; i < recovery->log_count; i++) {
        uint64_t first = recovery->logs[i];
        bool is_last = i + 1 == recovery->log_count;
        if (!is_last && recovery->logs[i + 1] <= quorum->applied_index + 1)
            continue; /* all in the snapshot */
        bool follows = is_first ? first <= quorum->applied_index + 1 : first == quorum->last_index + 1;
        is_first = false;
        if (!follows) {
            diag_error("in \"%s\" the log goes from entry %llu to %llu: files are missing", quorum->log_dir,
                       (unsigned long long)quorum->last_index, (unsigned long long)first);
            return ERR_CORRUPT;
        }
        enum error err = recover_log(quorum, first, is_last);
        if (err != OK) return err;
    }
    if (quorum->last_index < quorum->applied_index) {
        /* An unsynced log (forceSync=no) may end before the snapshot: go on in a new file. */
        quorum->last_index = quorum->applied_index;
        file_release(&quorum->file);
    }
    return OK;
}

static enum error open_dir(struct quorum *quorum, const char *dir, struct disk_lock **lock)
{
    char path[QUORUM_PATH_SIZE];
    int size = snprintf(path, sizeof path, "%s/%slock", dir, quorum->prefix);
    if (size >= (int)sizeof path) return ERR_TOO_LARGE;
    if (*lock) return OK; /* recovery's second run */
    enum error err = disk_exists(quorum->disk, dir) ? OK : disk_mkdir(quorum->disk, dir);
    if (err == OK) err = disk_lock(quorum->disk, path, lock);
    if (err != OK) diag_error("cannot open the keeper's directory \"%s\": %s", dir, error_text(err));
    return err;
}

/* The log is what it was before, or the start is refused: a snapshot without the log after it would be a step back in time. */
static enum error check_log_dir(struct quorum *quorum)
{
    char path[QUORUM_PATH_SIZE];
    int size = snprintf(path, sizeof path, "%s/%slogdir", quorum->dir, quorum->prefix);
    if (size >= (int)sizeof path) return ERR_TOO_LARGE;
    struct slice wanted = slice_of(quorum->log_dir);
    struct bytes *known = NULL;
    enum error err = disk_read_file(quorum->disk, path, QUORUM_PATH_SIZE, &known);
    if (err == OK) {
        if (!slice_equal(bytes_slice(known), wanted)) {
            diag_error("the log of \"%s\" is in \"%.*s\", not in \"%s\": set dataLogDir to that, or move its "
                       "files and "
                       "remove \"%s\"",
                       quorum->dir, SLICE_ARG(bytes_slice(known)), quorum->log_dir, path);
            err = ERR_CONFIG;
        }
        bytes_release(&known);
        return err;
    }
    if (err != ERR_NOT_FOUND || !quorum->has_log_dir) return err == ERR_NOT_FOUND ? OK : err;
    int64_t bytes = 0;
    err = quorum_files_bytes(quorum->disk, quorum->dir, quorum->prefix, "log", &bytes);
    if (err == OK && bytes > 0) {
        diag_error("there is a log in \"%s\", but dataLogDir is \"%s\": move the files %slog-* there",
                   quorum->dir, quorum->log_dir, quorum->prefix);
        return ERR_CONFIG;
    }
    return err == OK ? disk_write_file_atomic(quorum->disk, path, wanted) : err;
}

enum error quorum_recover(struct quorum *quorum)
{
    struct recovery recovery = {.quorum = quorum};
    enum error err = open_dir(quorum, quorum->dir, &quorum->lock);
    if (err == OK && quorum->has_log_dir) err = open_dir(quorum, quorum->log_dir, &quorum->log_lock);
    if (err == OK) err = check_log_dir(quorum);
    if (err == OK)
        err = quorum->ensemble ? ensemble_recover_begin(quorum->ensemble) : quorum_stand_alone(quorum);
    if (err != OK || (quorum->alone && !alone_is_sure(quorum))) return err; /* others are asked first */
    err = quorum_files_list(quorum->disk, quorum->dir, quorum->prefix, "snapshot", &recovery.snapshots,
                            &recovery.snapshot_count);
    if (err == OK) {
        err = quorum_files_list(quorum->disk, quorum->log_dir, quorum->prefix, "log", &recovery.logs,
                                &recovery.log_count);
    }
    if (err != OK) diag_error("cannot read the keeper's directory \"%s\": %s", quorum->dir, error_text(err));
    quorum->is_dir_known = !quorum->has_log_dir && recovery.snapshot_count > 0;
    int64_t begun_us = loop_clock_us(quorum->loop);
    if (err == OK && recovery.snapshot_count > 0) {
        err = recover_snapshot(quorum, recovery.snapshots[recovery.snapshot_count - 1]);
    }
    int64_t loaded_us = loop_clock_us(quorum->loop);
    quorum->load_us = loaded_us - begun_us;
    if (err == OK) err = recover_logs(&recovery);
    quorum->replay_us = loop_clock_us(quorum->loop) - loaded_us;
    if (err == OK && quorum->ensemble) err = ensemble_recover_end(quorum->ensemble);
    if (err == OK && !quorum->file) quorum->durable_end = quorum->last_index + 1;
    free(recovery.snapshots);
    free(recovery.logs);
    return err;
}
