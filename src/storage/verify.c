/* verify.c: is what lies there a partition's log? Every rule a reader or a recovery relies on, checked against the batches
 * themselves; each breach is one line. */
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "storage/checkpoint.h"
#include "storage/dump_out.h"
#include "storage/epoch_cache.h"
#include "storage/index.h"
#include "storage/names.h"
#include "storage/producer_state.h"
#include "storage/scan.h"
#include "storage/txn_index.h"
#include "wire/legacy.h"
#include "wire/record.h"

#define SMALL_FILE_MAX ((size_t)1 << 30)

struct batch_place {
    int64_t position, base_offset, last_offset, max_timestamp;
};

struct verifier {
    struct disk *disk;
    struct dump_out out;
    struct verify_report *report;
    size_t limit_bytes;
    /* of the partition at hand */
    int64_t next_offset;
    int32_t last_epoch;
    bool has_batches;
    /* of the segment at hand */
    struct batch_place *places;
    size_t count, capacity;
};

#define PROBLEM(verifier, path, position, ...)                                                               \
    dump_problem(&(verifier)->out, (verifier)->report, path, position, __VA_ARGS__)

/* --- batches --- */

static enum error check_records(const struct verifier *verifier, struct slice batch,
                                const struct batch_header *header)
{
    struct text scratch = {0};
    struct slice records;
    enum error err = OK;
    if (header->magic >= 2) {
        struct record record;
        int32_t count = 0, before = -1;
        err = batch_records(batch, header, verifier->limit_bytes, &scratch, &records);
        while (err == OK && (err = record_next(&records, &record)) == OK) {
            if (record.offset_delta <= before || record.offset_delta > header->last_offset_delta)
                err = ERR_CORRUPT;
            before = record.offset_delta;
            count++;
        }
        if (err == ERR_EOF) err = count == header->record_count ? OK : ERR_CORRUPT;
    } else {
        struct legacy_message message;
        struct legacy_walk walk;
        err = legacy_message_read(batch, true, &message);
        if (err == OK) err = legacy_walk_open(&message, verifier->limit_bytes, &scratch, &walk);
        while (err == OK) err = legacy_walk_next(&walk, &message);
        if (err == ERR_EOF) err = OK;
    }
    text_free(&scratch);
    return err;
}

static enum error check_batch(struct verifier *verifier, const char *path, struct slice batch,
                              const struct batch_header *header, int64_t position)
{
    struct batch_header checked;
    enum error records;
    if (batch_check(batch, &checked) != OK) {
        PROBLEM(verifier, path, position, "the batch at offset %lld fails its checksum",
                (long long)header->base_offset);
    } else if ((records = check_records(verifier, batch, header)) != OK) {
        PROBLEM(verifier, path, position, "the records of the batch at offset %lld cannot be read: %s",
                (long long)header->base_offset, error_text(records));
    }
    if (header->base_offset < verifier->next_offset) {
        PROBLEM(verifier, path, position, "the batch begins at offset %lld, but those before it end at %lld",
                (long long)header->base_offset, (long long)verifier->next_offset);
    }
    if (header->partition_leader_epoch >= 0 && header->partition_leader_epoch < verifier->last_epoch) {
        PROBLEM(verifier, path, position, "leader epoch %d comes after %d",
                (int)header->partition_leader_epoch, (int)verifier->last_epoch);
    }
    if (!VEC_RESERVE(verifier->places, verifier->count, verifier->capacity)) return ERR_NOMEM;
    verifier->places[verifier->count++] =
        (struct batch_place){position, header->base_offset, batch_last_offset(header), header->max_timestamp};
    verifier->next_offset = batch_last_offset(header) + 1;
    if (header->partition_leader_epoch >= 0) verifier->last_epoch = header->partition_leader_epoch;
    verifier->has_batches = true;
    verifier->report->batches++;
    return OK;
}

static enum error verify_log(struct verifier *verifier, const char *path, int64_t base_offset)
{
    struct file *file = NULL;
    struct batch_scan scan = {0};
    enum error err = file_open(verifier->disk, path, FILE_READ, &file);
    if (err == OK) err = file_size(file, &scan.end);
    if (err == OK && base_offset < verifier->next_offset) {
        PROBLEM(verifier, path, -1, "the segment begins below offset %lld, where the one before it ends",
                (long long)verifier->next_offset);
    }
    if (base_offset > verifier->next_offset) verifier->next_offset = base_offset;
    scan.file = file;
    verifier->count = 0;
    verifier->report->segments++;
    verifier->report->bytes += scan.end;
    struct batch_header header;
    struct slice batch;
    int64_t position;
    while (err == OK && (err = batch_scan_next(&scan, &header, &batch, &position)) == OK) {
        err = check_batch(verifier, path, batch, &header, position);
    }
    if (err == ERR_TRUNCATED || err == ERR_CORRUPT) {
        PROBLEM(verifier, path, scan.position,
                "no whole batch begins here, %lld bytes before the end of the file",
                (long long)(scan.end - scan.position));
        err = OK;
    }
    batch_scan_free(&scan);
    file_release(&file);
    return err == ERR_EOF ? OK : err;
}

/* --- indexes, against the batches just walked --- */

/* The batch that begins at `position`, from the `from`th on; count when none does. */
static size_t batch_at(const struct verifier *verifier, int64_t position, size_t from)
{
    while (from < verifier->count && verifier->places[from].position < position) from++;
    bool is_there = from < verifier->count && verifier->places[from].position == position;
    return is_there ? from : verifier->count;
}

static void verify_index(struct verifier *verifier, const char *path, struct slice content,
                         int64_t base_offset)
{
    if (content.size % OFFSET_ENTRY_SIZE)
        PROBLEM(verifier, path, -1, "the size is no multiple of %d", OFFSET_ENTRY_SIZE);
    struct offset_entry before = {-1, -1};
    size_t batch = 0;
    for (size_t at = 0; at + OFFSET_ENTRY_SIZE <= content.size; at += OFFSET_ENTRY_SIZE) {
        struct offset_entry entry = offset_entry_get(content.data + at);
        int64_t offset = base_offset + entry.relative_offset;
        if (entry.relative_offset <= before.relative_offset || entry.position <= before.position) {
            PROBLEM(verifier, path, (int64_t)at,
                    "the entries do not rise: %lld at %d after %lld at %d (left by a crash?)",
                    (long long)offset, (int)entry.position, (long long)(base_offset + before.relative_offset),
                    (int)before.position);
            return;
        }
        before = entry;
        size_t found = batch_at(verifier, entry.position, batch);
        if (found == verifier->count) {
            PROBLEM(verifier, path, (int64_t)at, "points to position %d, where no batch begins",
                    (int)entry.position);
        } else if (verifier->places[found].base_offset > offset) {
            PROBLEM(verifier, path, (int64_t)at, "points with offset %lld to a batch that begins at %lld",
                    (long long)offset, (long long)verifier->places[found].base_offset);
        } else {
            batch = found;
        }
    }
}

static void verify_timeindex(struct verifier *verifier, const char *path, struct slice content,
                             int64_t base_offset)
{
    if (content.size % TIME_ENTRY_SIZE)
        PROBLEM(verifier, path, -1, "the size is no multiple of %d", TIME_ENTRY_SIZE);
    struct time_entry before = {-1, -1};
    int64_t largest = -1;
    size_t batch = 0;
    for (size_t at = 0; at + TIME_ENTRY_SIZE <= content.size; at += TIME_ENTRY_SIZE) {
        struct time_entry entry = time_entry_get(content.data + at);
        int64_t offset = base_offset + entry.relative_offset;
        if (entry.timestamp <= before.timestamp || entry.relative_offset < before.relative_offset) {
            PROBLEM(verifier, path, (int64_t)at, "the entries do not rise (left by a crash?)");
            return;
        }
        before = entry;
        for (; batch < verifier->count && verifier->places[batch].last_offset <= offset; batch++) {
            if (verifier->places[batch].max_timestamp > largest)
                largest = verifier->places[batch].max_timestamp;
        }
        if (largest > entry.timestamp) {
            PROBLEM(verifier, path, (int64_t)at,
                    "says nothing up to offset %lld is later than %lld, but %lld is", (long long)offset,
                    (long long)entry.timestamp, (long long)largest);
        }
    }
}

static void verify_snapshot(struct verifier *verifier, const char *path, struct slice content)
{
    struct producer_state state = {0};
    enum error err = producer_state_read(content, &state);
    producer_state_free(&state);
    if (err != OK) PROBLEM(verifier, path, -1, "not a producer snapshot: %s", error_text(err));
}

static void verify_txnindex(struct verifier *verifier, const char *path, struct slice content,
                            int64_t base_offset)
{
    if (txn_index_check(content, base_offset) != OK)
        PROBLEM(verifier, path, -1, "the entries are damaged or do not rise");
}

/* --- a partition --- */

static enum error verify_small(struct verifier *verifier, const char *path, const char *name)
{
    struct segment_file_name parsed = segment_file_parse(slice_of(name));
    struct bytes *bytes = NULL;
    enum error err = disk_read_file(verifier->disk, path, SMALL_FILE_MAX, &bytes);
    if (err == ERR_NOT_FOUND) return OK;
    if (err != OK) return err;
    struct slice content = bytes_slice(bytes);
    struct uuid id;
    struct epoch_cache cache = {0};
    if (parsed.kind == FILE_INDEX)
        verify_index(verifier, path, content, parsed.base_offset);
    else if (parsed.kind == FILE_TIMEINDEX)
        verify_timeindex(verifier, path, content, parsed.base_offset);
    else if (parsed.kind == FILE_TXNINDEX)
        verify_txnindex(verifier, path, content, parsed.base_offset);
    else if (parsed.kind == FILE_SNAPSHOT)
        verify_snapshot(verifier, path, content);
    else if (strcmp(name, PARTITION_METADATA_FILE) == 0 && partition_metadata_read(content, &id) != OK)
        PROBLEM(verifier, path, -1, "no topic id can be read");
    else if (strcmp(name, EPOCH_FILE) == 0 && epoch_cache_read(content, &cache) != OK)
        PROBLEM(verifier, path, -1, "not a leader epoch checkpoint");
    epoch_cache_free(&cache);
    bytes_release(&bytes);
    return OK;
}

static bool is_beside(const struct disk_entry *entries, size_t count, int64_t base_offset,
                      enum file_kind kind)
{
    for (size_t i = 0; i < count; i++) {
        struct segment_file_name name = segment_file_parse(slice_of(entries[i].name));
        if (name.kind == kind && name.state == STATE_CURRENT && name.base_offset == base_offset) return true;
    }
    return false;
}

static enum error verify_one(struct verifier *verifier, const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    if (!path) return ERR_NOMEM;
    struct segment_file_name parsed = segment_file_parse(slice_of(name));
    enum error err = parsed.kind == FILE_LOG ? verify_log(verifier, path, parsed.base_offset)
                                             : verify_small(verifier, path, name);
    free(path);
    return err;
}

/* Sorted names put a segment's .index before its .log, so logs are walked first, each followed by what belongs to it. */
static enum error verify_partition(struct verifier *verifier, const char *dir)
{
    struct disk_entry *entries = NULL;
    size_t count = 0;
    enum error err = disk_list(verifier->disk, dir, &entries, &count);
    verifier->next_offset = 0;
    verifier->last_epoch = -1;
    verifier->has_batches = false;
    verifier->report->partitions++;
    for (size_t i = 0; err == OK && i < count; i++) {
        struct segment_file_name name = segment_file_parse(slice_of(entries[i].name));
        if (name.kind != FILE_LOG || name.state != STATE_CURRENT) continue;
        err = verify_one(verifier, dir, entries[i].name);
        for (size_t k = 0; err == OK && k < count; k++) {
            struct segment_file_name other = segment_file_parse(slice_of(entries[k].name));
            bool is_its = other.kind != FILE_OTHER && other.kind != FILE_LOG &&
                          other.state == STATE_CURRENT && other.kind != FILE_SNAPSHOT &&
                          other.base_offset == name.base_offset;
            if (is_its) err = verify_one(verifier, dir, entries[k].name);
        }
    }
    for (size_t i = 0; err == OK && i < count; i++) {
        struct segment_file_name name = segment_file_parse(slice_of(entries[i].name));
        if (name.kind == FILE_OTHER || (name.kind == FILE_SNAPSHOT && name.state == STATE_CURRENT)) {
            if (!entries[i].is_dir) err = verify_one(verifier, dir, entries[i].name);
        } else if (name.kind != FILE_LOG && name.state == STATE_CURRENT &&
                   !is_beside(entries, count, name.base_offset, FILE_LOG)) {
            char *path = path_join(dir, entries[i].name);
            if (path) PROBLEM(verifier, path, -1, "there is no segment of this name");
            free(path);
        }
    }
    disk_list_free(entries, count);
    return err;
}

/* --- a log directory --- */

static enum error pass_line(void *context, struct slice topic, int32_t partition, int64_t offset)
{
    return OK;
}

static enum error verify_checkpoint(struct verifier *verifier, const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    struct bytes *bytes = NULL;
    enum error err = path ? disk_read_file(verifier->disk, path, SMALL_FILE_MAX, &bytes) : ERR_NOMEM;
    if (err == OK && offset_checkpoint_read(bytes_slice(bytes), pass_line, NULL) != OK) {
        PROBLEM(verifier, path, -1, "not an offset checkpoint");
    }
    bytes_release(&bytes);
    free(path);
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum error verify_dir(struct verifier *verifier, const char *dir)
{
    static const char *const checkpoints[] = {RECOVERY_POINT_FILE, LOG_START_FILE, HIGH_WATERMARK_FILE,
                                              CLEANER_OFFSET_FILE};
    struct disk_entry *entries = NULL;
    size_t count = 0;
    enum error err = disk_list(verifier->disk, dir, &entries, &count);
    for (size_t i = 0; err == OK && i < sizeof checkpoints / sizeof *checkpoints; i++) {
        err = verify_checkpoint(verifier, dir, checkpoints[i]);
    }
    for (size_t i = 0; err == OK && i < count; i++) {
        if (!entries[i].is_dir || partition_dir_parse(slice_of(entries[i].name)).kind != DIR_CURRENT)
            continue;
        char *path = path_join(dir, entries[i].name);
        err = path ? verify_partition(verifier, path) : ERR_NOMEM;
        free(path);
    }
    disk_list_free(entries, count);
    return err;
}

enum error verify_path(struct disk *disk, const char *path, const struct dump_options *options,
                       struct verify_report *report)
{
    struct verifier verifier = {.disk = disk,
                                .out = {.options = options},
                                .report = report,
                                .limit_bytes =
                                    options->limit_bytes ? options->limit_bytes : (size_t)256 << 20};
    *report = (struct verify_report){0};
    char *clean = slice_dup(slice_of(path));
    size_t size = clean ? strlen(clean) : 0;
    while (size > 1 && clean[size - 1] == '/') clean[--size] = 0;
    const char *slash = clean ? strrchr(clean, '/') : NULL;
    const char *name = slash ? slash + 1 : clean;
    enum error err = clean ? OK : ERR_NOMEM;
    if (err == OK) {
        bool is_partition = partition_dir_parse(slice_of(name)).kind != DIR_FOREIGN;
        err = is_partition ? verify_partition(&verifier, clean) : verify_dir(&verifier, clean);
    }
    free(clean);
    free(verifier.places);
    text_free(&verifier.out.line);
    return err;
}
