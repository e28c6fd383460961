#include "settings/topic_config.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "settings/inside.h"

static const struct setting_spec SPECS[TOPIC_SETTING_COUNT] = {
#define SETTING(id, key, value_type, default_value, low, high, values, synonym, what, internal, sentence)    \
    {.name = key,                                                                                            \
     .type = SETTING_##value_type,                                                                           \
     .default_text = default_value,                                                                          \
     .min = low,                                                                                             \
     .max = high,                                                                                            \
     .choices = values,                                                                                      \
     .mode = SETTING_CLUSTER_WIDE,                                                                           \
     .effect = SETTING_##what,                                                                               \
     .is_internal = internal,                                                                                \
     .doc = sentence},
#include "settings/topic.def"
#undef SETTING
};

enum { TIMESTAMP_AFTER_DEFAULT_MS = 3600000 };

static const struct setting_table TABLE = {SPECS, TOPIC_SETTING_COUNT};

static const int SYNONYM[TOPIC_SETTING_COUNT] = {
#define SETTING(id, key, value_type, default_value, low, high, values, synonym, what, internal, sentence)    \
    synonym,
#include "settings/topic.def"
#undef SETTING
};

const struct setting_table *topic_setting_table(void)
{
    return &TABLE;
}

size_t topic_synonyms(enum topic_setting key, struct topic_synonym synonyms[TOPIC_SYNONYMS_MAX])
{
    const int64_t minute = 60000, hour = 60 * minute;
    if (SYNONYM[key] < 0) return 0;
    synonyms[0] = (struct topic_synonym){(enum setting)SYNONYM[key], 1};
    switch (key) {
    case TOPIC_RETENTION_MS:
        synonyms[1] = (struct topic_synonym){SETTING_LOG_RETENTION_MINUTES, minute};
        synonyms[2] = (struct topic_synonym){SETTING_LOG_RETENTION_HOURS, hour};
        return 3;
    case TOPIC_SEGMENT_MS: synonyms[1] = (struct topic_synonym){SETTING_LOG_ROLL_HOURS, hour}; return 2;
    case TOPIC_SEGMENT_JITTER_MS:
        synonyms[1] = (struct topic_synonym){SETTING_LOG_ROLL_JITTER_HOURS, hour};
        return 2;
    case TOPIC_FLUSH_MS:
        synonyms[1] = (struct topic_synonym){SETTING_LOG_FLUSH_SCHEDULER_INTERVAL_MS, 1};
        return 2;
    default: return 1;
    }
}

struct setting_value topic_default_value(const struct settings *settings, enum topic_setting key,
                                         char buffer[32], enum layer *layer)
{
    struct topic_synonym synonyms[TOPIC_SYNONYMS_MAX];
    size_t count = topic_synonyms(key, synonyms);
    for (size_t i = 0; i < count; i++) {
        const struct setting_value *value = settings->effective[synonyms[i].key];
        if (!value->text) continue;
        struct setting_value found = *value;
        *layer = (enum layer)settings->layer[synonyms[i].key];
        if (synonyms[i].factor == 1) return found;
        /* "For ever" is -1 in every unit. */
        found.number = found.number < 0 ? -1 : found.number * synonyms[i].factor;
        snprintf(buffer, 32, "%lld", (long long)found.number);
        found.text = buffer;
        return found;
    }
    *layer = LAYER_DEFAULT;
    return (struct setting_value){0}; /* the key's own default, for the caller */
}

/* Its own default, whose text is in the table. */
static struct setting_value own_default(enum topic_setting key, struct arena *arena)
{
    struct text why = {0};
    struct setting_value value = {0};
    enum error err = setting_parse(&SPECS[key], slice_of(SPECS[key].default_text), arena, &value, &why);
    assert(err != ERR_CONFIG);
    text_free(&why);
    return value;
}

static bool list_has(struct setting_list list, const char *text)
{
    for (size_t i = 0; i < list.count; i++) {
        if (slice_is(list.items[i], text)) return true;
    }
    return false;
}

static int compression_number(const char *text)
{
    /* The numbers of wire/codec.h. */
    static const char *const names[] = {"uncompressed", "gzip", "snappy", "lz4", "zstd"};
    for (int i = 0; text && i < 5; i++) {
        if (strcmp(text, names[i]) == 0) return i;
    }
    return TOPIC_COMPRESSION_PRODUCER;
}

void topic_config_resolve(const struct settings *settings, const struct setting_pair *overrides, size_t count,
                          struct topic_config *config)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct setting_value values[TOPIC_SETTING_COUNT];
    char buffers[TOPIC_SETTING_COUNT][32];
    for (int key = 0; key < TOPIC_SETTING_COUNT; key++) {
        enum layer layer;
        values[key] = (struct setting_value){0};
        if (settings)
            values[key] = topic_default_value(settings, (enum topic_setting)key, buffers[key], &layer);
        if (!values[key].text) values[key] = own_default((enum topic_setting)key, &arena);
    }
    for (size_t i = 0; i < count; i++) {
        ptrdiff_t index = overrides[i].value.data ? setting_find(&TABLE, overrides[i].key) : -1;
        if (index < 0) continue;
        struct text why = {0};
        struct setting_value value;
        if (setting_parse(&SPECS[index], overrides[i].value, &arena, &value, &why) == OK)
            values[index] = value;
        text_free(&why);
    }
#define NUMBER(key) values[TOPIC_##key].number
    /* The older key says both, where the newer ones stand at their defaults. */
    int64_t before_ms = NUMBER(MESSAGE_TIMESTAMP_BEFORE_MAX_MS),
            after_ms = NUMBER(MESSAGE_TIMESTAMP_AFTER_MAX_MS);
    int64_t difference_ms = NUMBER(MESSAGE_TIMESTAMP_DIFFERENCE_MAX_MS);
    if (before_ms == INT64_MAX) before_ms = difference_ms;
    if (difference_ms < INT64_MAX && (after_ms == INT64_MAX || after_ms == TIMESTAMP_AFTER_DEFAULT_MS))
        after_ms = difference_ms;
    *config = (struct topic_config){
        .retention_ms = NUMBER(RETENTION_MS),
        .retention_bytes = NUMBER(RETENTION_BYTES),
        .segment_ms = NUMBER(SEGMENT_MS),
        .segment_jitter_ms = NUMBER(SEGMENT_JITTER_MS),
        .segment_bytes = (int32_t)NUMBER(SEGMENT_BYTES),
        .segment_index_bytes = (int32_t)NUMBER(SEGMENT_INDEX_BYTES),
        .index_interval_bytes = (int32_t)NUMBER(INDEX_INTERVAL_BYTES),
        .max_message_bytes = (int32_t)NUMBER(MAX_MESSAGE_BYTES),
        .min_insync_replicas = (int32_t)NUMBER(MIN_INSYNC_REPLICAS),
        .flush_messages = NUMBER(FLUSH_MESSAGES),
        .flush_ms = NUMBER(FLUSH_MS),
        .file_delete_delay_ms = NUMBER(FILE_DELETE_DELAY_MS),
        .min_compaction_lag_ms = NUMBER(MIN_COMPACTION_LAG_MS),
        .max_compaction_lag_ms = NUMBER(MAX_COMPACTION_LAG_MS),
        .min_cleanable_dirty_ratio = values[TOPIC_MIN_CLEANABLE_DIRTY_RATIO].real,
        .timestamp_before_max_ms = before_ms,
        .timestamp_after_max_ms = after_ms,
        .compression = compression_number(values[TOPIC_COMPRESSION_TYPE].text),
        .gzip_level = (int)NUMBER(COMPRESSION_GZIP_LEVEL),
        .lz4_level = (int)NUMBER(COMPRESSION_LZ4_LEVEL),
        .zstd_level = (int)NUMBER(COMPRESSION_ZSTD_LEVEL),
        .is_cleaned_by_delete = list_has(values[TOPIC_CLEANUP_POLICY].list, "delete"),
        .is_cleaned_by_compact = list_has(values[TOPIC_CLEANUP_POLICY].list, "compact"),
        .is_append_time = strcmp(values[TOPIC_MESSAGE_TIMESTAMP_TYPE].text, "LogAppendTime") == 0,
        .is_preallocated = NUMBER(PREALLOCATE) != 0,
        .is_unclean_election_allowed = NUMBER(UNCLEAN_LEADER_ELECTION_ENABLE) != 0,
    };
#undef NUMBER
    arena_free(&arena);
}

/* "*" or "partition:broker,..." */
static bool throttled_is_right(struct setting_list list)
{
    if (list.count == 1 && slice_is(list.items[0], "*")) return true;
    for (size_t i = 0; i < list.count; i++) {
        struct slice item = list.items[i];
        const uint8_t *colon = memchr(item.data, ':', item.size);
        int64_t number;
        if (!colon) return false;
        struct slice partition = {item.data, (size_t)(colon - item.data)},
                     broker = {colon + 1, item.size - partition.size - 1};
        if (!slice_to_int64(partition, 0, INT32_MAX, &number) ||
            !slice_to_int64(broker, 0, INT32_MAX, &number))
            return false;
    }
    return true;
}

enum error topic_overrides_check(const struct settings *settings, const struct setting_pair *overrides,
                                 size_t count, struct text *why)
{
    struct arena arena;
    arena_init(&arena, 0);
    enum error err = OK;
    struct text reason = {0};
    for (size_t i = 0; err == OK && i < count; i++) {
        struct slice name = overrides[i].key;
        ptrdiff_t index = setting_find(&TABLE, name);
        struct setting_value value;
        if (index < 0) {
            const char *nearest = setting_nearest(&TABLE, name);
            text_addz(&reason, "unknown");
            if (nearest) text_addf(&reason, "; %s would be right, perhaps", nearest);
            err = ERR_INVALID_CONFIG;
        } else if (!overrides[i].value.data) {
            text_addz(&reason, "no value");
            err = ERR_INVALID_CONFIG;
        } else {
            err = setting_parse(&SPECS[index], overrides[i].value, &arena, &value, &reason);
            if (err == ERR_CONFIG) err = ERR_INVALID_CONFIG;
            if (err == OK && setting_is_refused(&SPECS[index], &value, &reason)) err = ERR_INVALID_CONFIG;
            bool is_throttle = index == TOPIC_LEADER_REPLICATION_THROTTLED_REPLICAS ||
                               index == TOPIC_FOLLOWER_REPLICATION_THROTTLED_REPLICAS;
            if (err == OK && is_throttle && !throttled_is_right(value.list)) {
                text_addz(&reason,
                          "is not a list of replicas; *, or 0:101,1:102 (partition:broker), would be right");
                err = ERR_INVALID_CONFIG;
            }
        }
        if (err != OK && err != ERR_NOMEM) text_addf(why, "%.*s: %s", SLICE_ARG(name), reason.data);
    }
    if (err == OK) {
        struct topic_config config;
        topic_config_resolve(settings, overrides, count, &config);
        if (config.min_compaction_lag_ms > config.max_compaction_lag_ms) {
            text_addf(why, "min.compaction.lag.ms: %lld is more than max.compaction.lag.ms, %lld",
                      (long long)config.min_compaction_lag_ms, (long long)config.max_compaction_lag_ms);
            err = ERR_INVALID_CONFIG;
        }
    }
    text_free(&reason);
    arena_free(&arena);
    return err;
}

bool topic_setting_default(const struct settings *settings, struct slice key, struct text *out, bool *is_null)
{
    ptrdiff_t index = setting_find(&TABLE, key);
    if (index < 0) return false;
    char buffer[32];
    enum layer layer;
    struct setting_value value = {0};
    if (settings) value = topic_default_value(settings, (enum topic_setting)index, buffer, &layer);
    const char *text = value.text ? value.text : SPECS[index].default_text;
    *is_null = text == NULL;
    if (text) text_addz(out, text);
    return true;
}
