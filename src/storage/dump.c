/* dump.c: the files of storage/ in words, one line for each thing in them. Everything that can be read is shown, also behind
 * a damaged place where one can go on. */
#include "storage/dump.h"

#include <stdlib.h>
#include <string.h>

#include "storage/checkpoint.h"
#include "storage/dump_out.h"
#include "storage/epoch_cache.h"
#include "storage/index.h"
#include "storage/names.h"
#include "storage/producer_state.h"
#include "storage/scan.h"
#include "storage/txn_index.h"
#include "wire/crc32c.h"
#include "wire/legacy.h"
#include "wire/record.h"

#define LIMIT_BYTES_DEFAULT ((size_t)256 << 20)
#define SMALL_FILE_MAX ((size_t)256 << 20)

static size_t limit_of(const struct dump_options *options)
{
    return options->limit_bytes ? options->limit_bytes : LIMIT_BYTES_DEFAULT;
}

/* --- .log --- */

static void show_record(struct dump_out *out, const struct batch_header *header, const struct record *record)
{
    dump_begin(out, "record");
    dump_number(out, "offset", record_offset(header, record));
    dump_number(out, "timestamp", record_timestamp(header, record));
    if (header->base_sequence >= 0)
        dump_number(out, "sequence", sequence_add(header->base_sequence, record->offset_delta));
    struct control_record control;
    if (batch_is_control(header) && control_record_read(record, &control) == OK) {
        static const char *const names[] = {"ABORT",           "COMMIT",          "LEADER_CHANGE",
                                            "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER", "KRAFT_VERSION",
                                            "KRAFT_VOTERS"};
        bool is_known = control.type >= 0 && control.type < (int16_t)(sizeof names / sizeof *names);
        dump_text(out, "control", slice_of(is_known ? names[control.type] : "unknown"));
        if (control.coordinator_epoch >= 0) dump_number(out, "coordinator_epoch", control.coordinator_epoch);
        dump_end(out);
        return;
    }
    dump_text(out, "key", record->key);
    dump_text(out, "value", record->value);
    struct slice headers = record->headers;
    struct record_header pair;
    for (int32_t i = 0; i < record->header_count && record_header_next(&headers, &pair); i++) {
        dump_text(out, "header", pair.key);
        dump_text(out, "header_value", pair.value);
    }
    dump_end(out);
}

static enum error show_records(struct dump_out *out, struct slice batch, const struct batch_header *header)
{
    struct text scratch = {0};
    struct slice records;
    struct record record;
    enum error err = batch_records(batch, header, limit_of(out->options), &scratch, &records);
    while (err == OK && (err = record_next(&records, &record)) == OK) show_record(out, header, &record);
    text_free(&scratch);
    return err == ERR_EOF ? OK : err;
}

static enum error show_messages(struct dump_out *out, struct slice entry)
{
    struct text scratch = {0};
    struct legacy_message message;
    struct legacy_walk walk;
    enum error err = legacy_message_read(entry, true, &message);
    if (err == OK) err = legacy_walk_open(&message, limit_of(out->options), &scratch, &walk);
    while (err == OK && (err = legacy_walk_next(&walk, &message)) == OK) {
        dump_begin(out, "record");
        dump_number(out, "offset", message.offset);
        dump_number(out, "timestamp", message.timestamp);
        dump_text(out, "key", message.key);
        dump_text(out, "value", message.value);
        dump_end(out);
    }
    text_free(&scratch);
    return err == ERR_EOF ? OK : err;
}

static void show_batch(struct dump_out *out, const struct batch_header *header, int64_t position,
                       bool is_good)
{
    const char *codec = codec_text(batch_codec(header));
    dump_begin(out, "batch");
    dump_number(out, "base", header->base_offset);
    dump_number(out, "last", batch_last_offset(header));
    dump_number(out, "count", header->record_count);
    dump_number(out, "position", position);
    dump_number(out, "size", (int64_t)header->size_bytes);
    dump_number(out, "magic", header->magic);
    dump_number(out, "leader_epoch", header->partition_leader_epoch);
    dump_text(out, "codec", slice_of(codec ? codec : "unknown"));
    dump_text(
        out, "timestamp_type",
        slice_of(batch_timestamp_type(header) == TIMESTAMP_LOG_APPEND ? "LogAppendTime" : "CreateTime"));
    dump_number(out, "max_timestamp", header->max_timestamp);
    if (batch_has_producer(header)) {
        dump_number(out, "producer_id", header->producer_id);
        dump_number(out, "producer_epoch", header->producer_epoch);
        dump_number(out, "first_sequence", header->base_sequence);
        dump_number(out, "last_sequence", batch_last_sequence(header));
    }
    dump_flag(out, "transactional", batch_is_transactional(header));
    dump_flag(out, "control", batch_is_control(header));
    if (batch_has_delete_horizon(header)) dump_number(out, "delete_horizon", header->base_timestamp);
    dump_number(out, "crc", header->crc);
    dump_flag(out, "valid", is_good);
    dump_end(out);
}

static enum error dump_log(struct dump_out *out, struct disk *disk, const char *path)
{
    struct file *file = NULL;
    struct batch_scan scan = {0};
    enum error err = file_open(disk, path, FILE_READ, &file);
    if (err == OK) err = file_size(file, &scan.end);
    scan.file = file;
    bool is_damaged = false;
    struct batch_header header;
    struct slice batch;
    int64_t position;
    while (err == OK && (err = batch_scan_next(&scan, &header, &batch, &position)) == OK) {
        bool is_good = batch_check(batch, &header) == OK;
        show_batch(out, &header, position, is_good);
        if (is_good && out->options->deep) {
            enum error deep =
                header.magic >= 2 ? show_records(out, batch, &header) : show_messages(out, batch);
            if (deep != OK) {
                dump_problem(out, NULL, path, position, "the records cannot be read: %s", error_text(deep));
                is_good = false;
            }
        }
        is_damaged |= !is_good;
    }
    if (err == ERR_TRUNCATED || err == ERR_CORRUPT) {
        dump_problem(out, NULL, path, scan.position,
                     "no whole batch begins here, %lld bytes before the end of the file",
                     (long long)(scan.end - scan.position));
    }
    batch_scan_free(&scan);
    file_release(&file);
    if (err == ERR_EOF) err = OK;
    return err == OK && is_damaged ? ERR_CORRUPT : err;
}

/* --- small files --- */

static enum error dump_index(struct dump_out *out, struct slice content, int64_t base_offset)
{
    for (size_t at = 0; at + OFFSET_ENTRY_SIZE <= content.size; at += OFFSET_ENTRY_SIZE) {
        struct offset_entry entry = offset_entry_get(content.data + at);
        dump_begin(out, "index");
        dump_number(out, "offset", base_offset + entry.relative_offset);
        dump_number(out, "position", entry.position);
        dump_end(out);
    }
    return content.size % OFFSET_ENTRY_SIZE ? ERR_CORRUPT : OK;
}

static enum error dump_timeindex(struct dump_out *out, struct slice content, int64_t base_offset)
{
    for (size_t at = 0; at + TIME_ENTRY_SIZE <= content.size; at += TIME_ENTRY_SIZE) {
        struct time_entry entry = time_entry_get(content.data + at);
        dump_begin(out, "timeindex");
        dump_number(out, "timestamp", entry.timestamp);
        dump_number(out, "offset", base_offset + entry.relative_offset);
        dump_end(out);
    }
    return content.size % TIME_ENTRY_SIZE ? ERR_CORRUPT : OK;
}

static enum error dump_txnindex(struct dump_out *out, struct slice content)
{
    for (size_t at = 0; at + TXN_ENTRY_SIZE <= content.size; at += TXN_ENTRY_SIZE) {
        struct txn_entry entry;
        enum error err = txn_entry_get(content.data + at, &entry);
        if (err != OK) return err;
        dump_begin(out, "aborted");
        dump_number(out, "producer_id", entry.producer_id);
        dump_number(out, "first", entry.first_offset);
        dump_number(out, "last", entry.last_offset);
        dump_number(out, "last_stable", entry.last_stable_offset);
        dump_end(out);
    }
    return content.size % TXN_ENTRY_SIZE ? ERR_CORRUPT : OK;
}

static enum error dump_snapshot(struct dump_out *out, struct slice content)
{
    struct producer_state state = {0};
    enum error err = producer_state_read(content, &state);
    struct map_slot *slot;
    for (size_t i = 0; err == OK && (slot = map_next(&state.producers, &i));) {
        const struct producer *producer = slot->value;
        int last = producer->batch_count - 1;
        dump_begin(out, "producer");
        dump_number(out, "producer_id", producer->id);
        dump_number(out, "producer_epoch", producer->epoch);
        dump_number(out, "last_sequence", last >= 0 ? producer->batches[last].last_sequence : -1);
        dump_number(out, "last_offset", last >= 0 ? producer->batches[last].last_offset : -1);
        dump_number(out, "timestamp", producer->last_timestamp);
        dump_number(out, "coordinator_epoch", producer->coordinator_epoch);
        dump_number(out, "transaction_start", producer->txn_first_offset);
        dump_end(out);
    }
    producer_state_free(&state);
    return err;
}

static enum error show_offset(void *context, struct slice topic, int32_t partition, int64_t offset)
{
    struct dump_out *out = context;
    dump_begin(out, "checkpoint");
    dump_text(out, "topic", topic);
    dump_number(out, "partition", partition);
    dump_number(out, "offset", offset);
    dump_end(out);
    return OK;
}

static enum error dump_epochs(struct dump_out *out, struct slice content)
{
    struct epoch_cache cache = {0};
    enum error err = epoch_cache_read(content, &cache);
    for (size_t i = 0; err == OK && i < cache.count; i++) {
        dump_begin(out, "epoch");
        dump_number(out, "leader_epoch", cache.entries[i].epoch);
        dump_number(out, "start", cache.entries[i].start_offset);
        dump_end(out);
    }
    epoch_cache_free(&cache);
    return err;
}

static enum error dump_partition_metadata(struct dump_out *out, struct slice content)
{
    struct uuid id;
    enum error err = partition_metadata_read(content, &id);
    if (err != OK) return err;
    char text[UUID_TEXT_SIZE];
    uuid_format(&id, text);
    dump_begin(out, "partition");
    dump_text(out, "topic_id", slice_of(text));
    dump_end(out);
    return OK;
}

static enum error dump_meta_properties(struct dump_out *out, struct slice content)
{
    struct meta_properties meta;
    enum error err = meta_properties_read(content, &meta);
    if (err != OK) return err;
    dump_begin(out, "meta");
    dump_number(out, "version", meta.version);
    dump_number(out, "broker_id", meta.broker_id);
    dump_text(out, "cluster_id", slice_of(meta.cluster_id));
    if (meta.directory_id[0]) dump_text(out, "directory_id", slice_of(meta.directory_id));
    dump_end(out);
    return OK;
}

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), end_size = strlen(end);
    return size >= end_size && strcmp(name + size - end_size, end) == 0;
}

enum error dump_file(struct disk *disk, const char *path, const struct dump_options *options)
{
    struct dump_out out = {.options = options};
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    struct segment_file_name parsed = segment_file_parse(slice_of(name));
    if (parsed.kind == FILE_LOG) {
        enum error dumped = dump_log(&out, disk, path);
        text_free(&out.line);
        return dumped;
    }

    struct bytes *bytes = NULL;
    enum error err = disk_read_file(disk, path, SMALL_FILE_MAX, &bytes);
    struct slice content = bytes_slice(bytes);
    if (err == OK) {
        if (parsed.kind == FILE_INDEX)
            err = dump_index(&out, content, parsed.base_offset);
        else if (parsed.kind == FILE_TIMEINDEX)
            err = dump_timeindex(&out, content, parsed.base_offset);
        else if (parsed.kind == FILE_TXNINDEX)
            err = dump_txnindex(&out, content);
        else if (parsed.kind == FILE_SNAPSHOT)
            err = dump_snapshot(&out, content);
        else if (strcmp(name, EPOCH_FILE) == 0)
            err = dump_epochs(&out, content);
        else if (ends_with(name, "-checkpoint"))
            err = offset_checkpoint_read(content, show_offset, &out);
        else if (strcmp(name, PARTITION_METADATA_FILE) == 0)
            err = dump_partition_metadata(&out, content);
        else if (strcmp(name, META_PROPERTIES_FILE) == 0)
            err = dump_meta_properties(&out, content);
        else
            err = ERR_UNSUPPORTED;
    }
    bytes_release(&bytes);
    text_free(&out.line);
    return err;
}
