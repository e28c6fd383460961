#include "quorum/offline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "loop/disk.h"
#include "quorum/files.h"
#include "quorum/frames.h"
#include "quorum/inside.h"
#include "wire/crc32c.h"

enum { FIRST_INDEX = 1, FIRST_TERM = 1, WRITE_BYTES = 1 << 20 };

struct quorum_offline {
    struct disk *disk;
    struct disk_lock *lock;
    char dir[QUORUM_PATH_SIZE], path[QUORUM_PATH_SIZE], temporary[QUORUM_PATH_SIZE];
    struct file *file;
    struct quorum_batch batch;
    int64_t position;
    uint64_t chunk_count;
    uint32_t crc;
    enum error err;
};

/* Where the logs are: beside the snapshots, or where PREFIXlogdir says. */
static enum error find_log_dir(struct disk *disk, const char *dir, const char *prefix,
                               char out[QUORUM_PATH_SIZE])
{
    char path[QUORUM_PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/%slogdir", dir, prefix) >= (int)sizeof path) return ERR_TOO_LARGE;
    snprintf(out, QUORUM_PATH_SIZE, "%s", dir);
    if (!disk_exists(disk, path)) return OK;
    struct bytes *content = NULL;
    enum error err = disk_read_file(disk, path, QUORUM_PATH_SIZE - 1, &content);
    if (err == OK) slice_text(bytes_slice(content), out, QUORUM_PATH_SIZE);
    bytes_release(&content);
    return err;
}

enum error quorum_offline_exists(struct disk *disk, const char *dir, const char *prefix, bool *exists)
{
    static const char *const kinds[] = {"log", "snapshot"};
    char log_dir[QUORUM_PATH_SIZE];
    *exists = false;
    if (!disk_exists(disk, dir)) return OK;
    enum error err = find_log_dir(disk, dir, prefix, log_dir);
    for (int i = 0; i < 2 && err == OK; i++) {
        uint64_t *indexes = NULL;
        size_t count = 0;
        const char *where = i == 0 ? log_dir : dir;
        if (!disk_exists(disk, where)) continue;
        err = quorum_files_list(disk, where, prefix, kinds[i], &indexes, &count);
        free(indexes);
        *exists = *exists || count > 0;
    }
    return err;
}

static enum error lock_take(struct disk *disk, const char *dir, const char *prefix, struct disk_lock **lock)
{
    char path[QUORUM_PATH_SIZE];
    int size = snprintf(path, sizeof path, "%s/%slock", dir, prefix);
    return size < (int)sizeof path ? disk_lock(disk, path, lock) : ERR_TOO_LARGE;
}

static void flush(struct quorum_offline *offline)
{
    struct quorum_batch *batch = &offline->batch;
    if (offline->err == OK)
        offline->err = file_pwrite(offline->file, batch->data, batch->size, offline->position);
    offline->position += (int64_t)batch->size;
    batch->size = 0;
}

static void add(struct quorum_offline *offline, uint32_t size_word, struct slice chunk)
{
    uint8_t *out = quorum_batch_reserve(&offline->batch, QUORUM_CHUNK_HEADER_SIZE + chunk.size);
    if (!out) offline->err = ERR_NOMEM;
    if (offline->err != OK) return;
    offline->crc = crc32c(offline->crc, chunk.data, chunk.size);
    put_be32(out, size_word);
    put_be32(out + 4, offline->crc);
    memcpy(out + QUORUM_CHUNK_HEADER_SIZE, chunk.data, chunk.size);
    offline->batch.size += QUORUM_CHUNK_HEADER_SIZE + chunk.size;
    if (offline->batch.size >= WRITE_BYTES) flush(offline);
}

void quorum_offline_write(struct quorum_offline *offline, struct slice chunk)
{
    add(offline, (uint32_t)chunk.size, chunk);
    offline->chunk_count++;
}

static enum error copy_chunk(void *context, struct slice chunk)
{
    struct quorum_offline *offline = context;
    quorum_offline_write(offline, chunk);
    return offline->err;
}

static enum error skip_members(void *context, struct slice chunk)
{
    return OK;
}

enum error quorum_offline_replace(struct disk *disk, const char *dir, const char *prefix, uint64_t index,
                                  uint64_t term, struct slice members, struct quorum_offline **result)
{
    struct quorum_offline *offline = calloc(1, sizeof *offline);
    if (!offline) return ERR_NOMEM;
    offline->disk = disk;
    int size = snprintf(offline->temporary, sizeof offline->temporary, "%s/%ssnapshot.tmp", dir, prefix);
    bool fits =
        size < (int)sizeof offline->temporary && quorum_path(offline->path, dir, prefix, "snapshot", index);
    snprintf(offline->dir, sizeof offline->dir, "%s", dir);
    enum error err = fits ? OK : ERR_TOO_LARGE;
    if (err == OK)
        err = file_open(disk, offline->temporary, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &offline->file);
    uint8_t *header = err == OK ? quorum_batch_reserve(&offline->batch, QUORUM_FILE_HEADER_SIZE) : NULL;
    if (err == OK && !header) err = ERR_NOMEM;
    if (err != OK) return quorum_offline_end(&offline, err);
    quorum_snapshot_header(header, members.data ? QUORUM_FORMAT : QUORUM_FORMAT_LONE, index, term);
    offline->batch.size = QUORUM_FILE_HEADER_SIZE;
    if (members.data) quorum_offline_write(offline, members);
    *result = offline;
    return OK;
}

enum error quorum_offline_begin(struct disk *disk, const char *dir, const char *prefix,
                                struct quorum_offline **result)
{
    struct disk_lock *lock = NULL;
    enum error err = disk_exists(disk, dir) ? OK : disk_mkdir(disk, dir);
    if (err == OK) err = lock_take(disk, dir, prefix, &lock);
    bool exists = false;
    if (err == OK) err = quorum_offline_exists(disk, dir, prefix, &exists);
    if (err == OK && exists) err = ERR_EXISTS;
    if (err == OK)
        err = quorum_offline_replace(disk, dir, prefix, FIRST_INDEX, FIRST_TERM, SLICE_NULL, result);
    if (err == OK)
        (*result)->lock = lock;
    else if (lock)
        disk_unlock(&lock);
    return err;
}

enum error quorum_offline_seat(struct disk *disk, const char *dir, const char *prefix, uint64_t from_index,
                               uint64_t to_index, struct slice members)
{
    char from[QUORUM_PATH_SIZE];
    struct quorum_header header;
    struct quorum_offline *offline;
    if (!quorum_path(from, dir, prefix, "snapshot", from_index)) return ERR_TOO_LARGE;
    enum error err = quorum_header_read(disk, from, &header);
    if (err == OK)
        err = quorum_offline_replace(disk, dir, prefix, to_index, header.second, members, &offline);
    if (err != OK) return err;
    uint64_t index, term;
    uint32_t format;
    int64_t position;
    err = quorum_snapshot_read(disk, from, &index, &term, &format, skip_members, copy_chunk, offline,
                               &position);
    err = quorum_offline_end(&offline, err);
    if (err == OK && to_index != from_index) err = disk_unlink(disk, from);
    if (err == OK && to_index != from_index) err = disk_sync_dir(disk, dir);
    return err;
}

enum error quorum_offline_end(struct quorum_offline **ended, enum error err)
{
    struct quorum_offline *offline = *ended;
    if (!offline) return err;
    if (err == OK) {
        uint8_t count[8];
        put_be64(count, offline->chunk_count);
        add(offline, QUORUM_CHUNK_END, (struct slice){count, sizeof count});
        flush(offline);
        err = offline->err;
    }
    if (err == OK) err = file_sync(offline->file);
    if (err == OK) err = disk_rename(offline->disk, offline->temporary, offline->path);
    if (err == OK) file_renamed(offline->file, offline->path);
    if (err == OK) err = disk_sync_dir(offline->disk, offline->dir);
    bool is_left = err != OK && offline->file;
    file_release(&offline->file);
    if (is_left && disk_unlink(offline->disk, offline->temporary) != OK)
        diag_warn("could not remove \"%s\"", offline->temporary);
    if (offline->lock) disk_unlock(&offline->lock);
    free(offline->batch.data);
    free(offline);
    *ended = NULL;
    return err;
}

/* --- reading --- */

struct reading {
    const struct quorum_machine *machine;
    void *context;
};

static enum error on_chunk(void *context, struct slice chunk)
{
    struct reading *reading = context;
    return reading->machine->restore(reading->context, chunk);
}

/* Who belonged to the quorum does not matter here. */
static enum error on_members(void *context, struct slice chunk)
{
    return OK;
}

static enum error read_log(struct disk *disk, const char *path, uint64_t first, uint64_t last,
                           bool is_last_file, uint64_t *applied, const struct reading *reading)
{
    struct quorum_scan scan = {0};
    enum error err = quorum_scan_open(disk, path, first, &scan);
    if (err == ERR_TRUNCATED && is_last_file) return OK; /* being made, or never finished */
    if (err != OK) {
        diag_error("cannot read log \"%s\": %s", path, error_text(err));
        return err;
    }
    uint64_t expected = first;
    while (err == OK && *applied < last) {
        struct quorum_record record;
        enum quorum_scan_end end = quorum_scan_next(&scan, expected, &record, &err);
        if (end != QUORUM_SCAN_RECORD) {
            bool is_hurt = end == QUORUM_SCAN_HURT || (end == QUORUM_SCAN_TORN && !is_last_file);
            if (is_hurt) err = ERR_CORRUPT;
            break;
        }
        expected++;
        if (record.index <= *applied) continue;
        if (record.kind == ENTRY_COMMAND) /* others are the quorum's own */
            err = reading->machine->apply(reading->context, record.index, record.term, record.entry);
        if (err == OK) *applied = record.index;
    }
    if (err != OK) {
        diag_error("cannot read log \"%s\" at byte %lld (entry %llu): %s", path, (long long)scan.position,
                   (unsigned long long)expected, error_text(err));
    }
    quorum_scan_close(&scan);
    return err;
}

static enum error read_files(struct disk *disk, const char *dir, const char *prefix, uint64_t last,
                             const struct reading *reading)
{
    uint64_t *snapshots = NULL, *logs = NULL, applied = 0;
    size_t snapshot_count = 0, log_count = 0;
    char path[QUORUM_PATH_SIZE], log_dir[QUORUM_PATH_SIZE];
    enum error err = find_log_dir(disk, dir, prefix, log_dir);
    if (err == OK) err = quorum_files_list(disk, dir, prefix, "snapshot", &snapshots, &snapshot_count);
    if (err == OK) err = quorum_files_list(disk, log_dir, prefix, "log", &logs, &log_count);
    while (snapshot_count > 0 && snapshots[snapshot_count - 1] > last) snapshot_count--;
    if (err == OK && snapshot_count + log_count == 0) err = ERR_NOT_FOUND;
    if (err == OK && snapshot_count > 0) {
        uint64_t index = 0, term = 0;
        int64_t position = 0;
        uint32_t format = 0;
        if (!quorum_path(path, dir, prefix, "snapshot", snapshots[snapshot_count - 1])) err = ERR_TOO_LARGE;
        if (err == OK)
            err = quorum_snapshot_read(disk, path, &index, &term, &format, on_members, on_chunk,
                                       (void *)reading, &position);
        if (err == OK && index != snapshots[snapshot_count - 1]) err = ERR_CORRUPT;
        if (err == OK) err = reading->machine->restored(reading->context, index);
        if (err != OK && err != ERR_NOT_FOUND) {
            diag_error("cannot use snapshot \"%s\": %s at byte %lld", path, error_text(err),
                       (long long)position);
        }
        applied = index;
    }
    for (size_t i = 0; i < log_count && err == OK && applied < last; i++) {
        bool is_last_file = i + 1 == log_count;
        if (!is_last_file && logs[i + 1] <= applied + 1) continue; /* all in the snapshot */
        if (logs[i] > applied + 1) {
            diag_error("in \"%s\" the log goes from entry %llu to %llu: files are missing", log_dir,
                       (unsigned long long)applied, (unsigned long long)logs[i]);
            err = ERR_CORRUPT;
        }
        if (err == OK && !quorum_path(path, log_dir, prefix, "log", logs[i])) err = ERR_TOO_LARGE;
        if (err == OK) err = read_log(disk, path, logs[i], last, is_last_file, &applied, reading);
    }
    if (err == OK && last != UINT64_MAX && applied < last) err = ERR_TRUNCATED;
    free(snapshots);
    free(logs);
    return err;
}

enum error quorum_offline_read(struct disk *disk, const char *dir, const char *prefix, bool locks,
                               uint64_t last, const struct quorum_machine *machine, void *context)
{
    struct disk_lock *lock = NULL;
    if (!disk_exists(disk, dir)) return ERR_NOT_FOUND;
    enum error err = locks ? lock_take(disk, dir, prefix, &lock) : OK;
    const struct reading reading = {machine, context};
    if (err == OK) err = read_files(disk, dir, prefix, last, &reading);
    disk_unlock(&lock);
    return err;
}
