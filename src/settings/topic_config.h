/* topic_config.h: what a topic's configuration comes to: its own overrides over the broker's settings over Kafka's
 * defaults, as plain numbers for those who keep and copy its log.
 *
 *     topic override  >  dynamic broker  >  dynamic default of all brokers  >  server.properties  >  default
 *
 * Units   in the names. -1 is "no limit" for retention_ms and retention_bytes, INT64_MAX is "never" elsewhere.
 * Threads pure, over a struct settings that nobody changes meanwhile. Source: facts/storage.md 11, operators.md 2.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "settings/spec.h"

struct settings;

enum topic_setting {
#define SETTING(id, name, type, default_text, min, max, choices, broker_synonym, effect, is_internal, doc)   \
    TOPIC_##id,
#include "settings/topic.def"
#undef SETTING
    TOPIC_SETTING_COUNT
};

/* An override as a request or a znode has it. */
struct setting_pair {
    struct slice key, value; /* value null: the key is absent */
};

#define TOPIC_COMPRESSION_PRODUCER (-1) /* as it came */

struct topic_config {
    int64_t retention_ms, retention_bytes;
    int64_t segment_ms, segment_jitter_ms;
    int32_t segment_bytes, segment_index_bytes, index_interval_bytes;
    int32_t max_message_bytes;
    int32_t min_insync_replicas;
    int64_t flush_messages, flush_ms;
    int64_t file_delete_delay_ms;
    int64_t min_compaction_lag_ms, max_compaction_lag_ms;
    double min_cleanable_dirty_ratio;
    int64_t timestamp_before_max_ms, timestamp_after_max_ms;
    int compression; /* TOPIC_COMPRESSION_PRODUCER, or the number of wire/codec.h's enum codec */
    int gzip_level, lz4_level, zstd_level;
    bool is_cleaned_by_delete, is_cleaned_by_compact;
    bool is_append_time; /* message.timestamp.type=LogAppendTime */
    bool is_preallocated;
    bool is_unclean_election_allowed;
};

/* `settings` NULL: Kafka's defaults. An override that cannot be understood (an older or newer broker wrote it) counts
 * as absent; topic_overrides_check() is where they are refused. */
void topic_config_resolve(const struct settings *settings, const struct setting_pair *overrides, size_t count,
                          struct topic_config *config);

/* May these be the whole new set of a topic's overrides? ERR_INVALID_CONFIG, with `why` for the client: an unknown key, a
 * value out of range, a contradiction between keys, or one that this program refuses. */
MUST_USE enum error topic_overrides_check(const struct settings *settings,
                                          const struct setting_pair *overrides, size_t count,
                                          struct text *why);

const struct setting_table *topic_setting_table(void);
/* The value a topic's key has where the topic does not set it, as text (null = null), written into `out`; false for an unknown
 * key. */
bool topic_setting_default(const struct settings *settings, struct slice key, struct text *out,
                           bool *is_null);
