/* log.c: who a log is, and its getters. Appending is append.c, reading read.c, cutting change.c. */
#include "storage/log.h"

#include <stdlib.h>

#include "base/diag.h"
#include "storage/checkpoint.h"
#include "storage/log_parts.h"

struct slice log_topic(const struct log *log)
{
    return (struct slice){(const uint8_t *)log->name, log->topic_size};
}

int32_t log_partition(const struct log *log)
{
    return log->partition;
}

const struct uuid *log_topic_id(const struct log *log)
{
    return &log->topic_id;
}

const char *log_dir_path(const struct log *log)
{
    return log->dir->path;
}

bool log_is_offline(const struct log *log)
{
    return log_dir_is_failed(log->dir);
}

const struct log_config *log_config_of(const struct log *log)
{
    return &log->config;
}

void log_configure(struct log *log, const struct log_config *config)
{
    log->config = *config;
}

enum error log_write_topic_id(struct log *log)
{
    struct text text = {0};
    partition_metadata_write(&log->topic_id, &text);
    char *dir = log_path(log);
    char *path = dir ? path_join(dir, PARTITION_METADATA_FILE) : NULL;
    enum error err =
        path && !text.failed ? write_file_unsynced(log->dir->disk, path, text_slice(&text)) : ERR_NOMEM;
    if (err == OK) log->metadata_unsynced = log->dir_unsynced = true;
    if (err == ERR_IO) log_dir_fail(log->dir, err, "write", path);
    free(path);
    free(dir);
    text_free(&text);
    return err;
}

enum error log_set_topic_id(struct log *log, const struct uuid *topic_id)
{
    if (uuid_equal(&log->topic_id, topic_id)) return OK;
    if (!uuid_is_zero(&log->topic_id)) return ERR_INCONSISTENT_TOPIC_ID;
    log->topic_id = *topic_id;
    enum error err = log_write_topic_id(log);
    if (err != OK) log->topic_id = (struct uuid){{0}};
    return err;
}

int64_t log_start_offset(const struct log *log)
{
    return published(&log->start_offset);
}

int64_t log_end_offset(const struct log *log)
{
    return published(&log->end_offset);
}

int64_t log_size_bytes(const struct log *log)
{
    return published(&log->size_bytes);
}

int64_t log_synced_end_offset(const struct log *log)
{
    return published(&log->recovery_point);
}

void log_set_high_watermark(struct log *log, int64_t high_watermark)
{
    if (log->high_watermark == high_watermark) return;
    publish(&log->high_watermark, high_watermark);
    int *dirty = &log->dir->high_watermark_dirty;
    if (!__atomic_load_n(dirty, __ATOMIC_RELAXED)) __atomic_store_n(dirty, 1, __ATOMIC_RELAXED);
}

int64_t log_high_watermark(const struct log *log)
{
    return published(&log->high_watermark);
}

void log_on_synced(struct log *log, void (*run)(void *context, struct log *log), void *context)
{
    log->on_synced = run;
    log->synced_context = context;
}

void log_slice_release(struct log_slice *slice)
{
    file_release(&slice->file);
    slice->size = 0;
}

static void free_segments(struct log *log)
{
    for (size_t i = 0; i < log->segment_count; i++) segment_release_files(&log->segments[i]);
    free(log->segments);
    log->segments = NULL;
    log->segment_count = log->segment_capacity = 0;
}

void log_free(struct log *log)
{
    if (!log) return;
    log_deactivate(log);
    free_segments(log);
    epoch_cache_free(&log->epochs);
    producer_state_free(&log->producers);
    refused_free(&log->refused);
    free(log->name);
    free(log);
}

void log_config_default(struct log_config *config)
{
    *config = (struct log_config){
        .segment_bytes = 1 << 30,
        .segment_ms = 604800000,
        .segment_jitter_ms = 0,
        .segment_index_bytes = 10485760,
        .index_interval_bytes = 4096,
        .retention_ms = 604800000,
        .retention_bytes = -1,
        .file_delete_delay_ms = 60000,
        .flush_messages = INT64_MAX,
        .flush_ms = INT64_MAX,
        .max_message_bytes = 1048588,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = 3600000,
        .timestamp_type = TIMESTAMP_CREATE,
        .delete_policy = true,
        .producer_id_expiration_ms = 86400000,
    };
}
