/* rules.c: what configurations say to the data path and to the controller; the dynamic layers of this broker's settings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "broker/broker_state.h"
#include "broker/groups.h"
#include "controller/controller.h"
#include "settings/settings.h"

/* The same pair under two names, for settings/ and metadata/ do not know each other. */
_Static_assert(sizeof(struct setting_pair) == sizeof(struct config_entry), "one pair of slices each");

static const struct setting_pair *pairs_of(const struct config_entry *entries)
{
    return (const struct setting_pair *)entries;
}

static struct broker_loop *this_loop(struct broker *broker)
{
    for (size_t i = 0; i < broker->options.loop_count; i++) {
        if (loop_is_current(broker->loops[i].loop)) return &broker->loops[i];
    }
    return &broker->loops[0];
}

static void resolve(const struct settings *settings, const struct image_config *config,
                    struct topic_config *resolved)
{
    topic_config_resolve(settings, config ? pairs_of(config->entries) : NULL,
                         config ? (size_t)config->entry_count : 0, resolved);
}

static int codec_level(const struct topic_config *config)
{
    switch (config->compression) {
    case CODEC_GZIP: return config->gzip_level;
    case CODEC_LZ4: return config->lz4_level;
    case CODEC_ZSTD: return config->zstd_level;
    default: return 0;
    }
}

/* What the topic itself sets, null where it does not. */
static struct slice override_of(const struct image_config *config, const char *key)
{
    for (int32_t i = 0; config && i < (int32_t)config->entry_count; i++) {
        if (slice_is(config->entries[i].key, key)) return config->entries[i].value;
    }
    return SLICE_NULL;
}

void broker_topic_rules(void *context, struct slice topic, struct topic_rules *rules)
{
    struct broker_loop *here = this_loop(context);
    const struct settings *settings = here->settings;
    struct topic_config config;
    const struct image_config *own = image_config(metadata_view_image(here->view), CONFIG_TOPIC, topic);
    resolve(settings, own, &config);
    *rules = (struct topic_rules){
        .min_insync_replicas = config.min_insync_replicas,
        .throttled_leaders = override_of(own, "leader.replication.throttled.replicas"),
        .throttled_followers = override_of(own, "follower.replication.throttled.replicas"),
        .leader_rate = settings_long(settings, SETTING_LEADER_REPLICATION_THROTTLED_RATE),
        .follower_rate = settings_long(settings, SETTING_FOLLOWER_REPLICATION_THROTTLED_RATE),
        .move_rate = settings_long(settings, SETTING_REPLICA_ALTER_LOG_DIRS_IO_MAX_BYTES_PER_SECOND),
        .log = {.segment_bytes = config.segment_bytes,
                .segment_ms = config.segment_ms,
                .segment_jitter_ms = config.segment_jitter_ms,
                .segment_index_bytes = config.segment_index_bytes,
                .index_interval_bytes = config.index_interval_bytes,
                .retention_ms = config.retention_ms,
                .retention_bytes = config.retention_bytes,
                .file_delete_delay_ms = config.file_delete_delay_ms,
                .flush_messages = config.flush_messages,
                .flush_ms = config.flush_ms,
                .max_message_bytes = config.max_message_bytes,
                .timestamp_before_max_ms = config.timestamp_before_max_ms,
                .timestamp_after_max_ms = config.timestamp_after_max_ms,
                .timestamp_type = config.is_append_time ? TIMESTAMP_LOG_APPEND : TIMESTAMP_CREATE,
                .delete_policy = config.is_cleaned_by_delete,
                .compact_policy = config.is_cleaned_by_compact,
                .preallocate = config.is_preallocated,
                .recompresses = config.compression != TOPIC_COMPRESSION_PRODUCER,
                .codec = config.compression > 0 ? (enum codec)config.compression : CODEC_NONE,
                .codec_level = codec_level(&config),
                .producer_id_expiration_ms = settings_long(settings, SETTING_PRODUCER_ID_EXPIRATION_MS)}};
}

struct fetch_rules broker_fetch_rules(const struct settings *settings)
{
    return (struct fetch_rules){
        .wait_max_ms = (int32_t)settings_long(settings, SETTING_REPLICA_FETCH_WAIT_MAX_MS),
        .min_bytes = (int32_t)settings_long(settings, SETTING_REPLICA_FETCH_MIN_BYTES),
        .max_bytes = (int32_t)settings_long(settings, SETTING_REPLICA_FETCH_MAX_BYTES),
        .response_max_bytes = (int32_t)settings_long(settings, SETTING_REPLICA_FETCH_RESPONSE_MAX_BYTES),
        .backoff_ms = settings_long(settings, SETTING_REPLICA_FETCH_BACKOFF_MS),
        .socket_timeout_ms = settings_long(settings, SETTING_REPLICA_SOCKET_TIMEOUT_MS)};
}

/* --- dynamic configuration: the control loop --- */

struct settings_visit {
    struct loop_message there, back;
    struct settings_change *change;
    struct broker_loop *home;
};

struct settings_change {
    struct broker *broker;
    struct settings *changed, *old;
    size_t visits_out;
    struct settings_visit visits[];
};

static void visit_back(struct loop_message *message)
{
    struct settings_change *change = CONTAINER_OF(message, struct settings_visit, back)->change;
    if (--change->visits_out > 0) return;
    settings_free(&change->old);
    free(change);
}

static void visit_there(struct loop_message *message)
{
    struct settings_visit *visit = CONTAINER_OF(message, struct settings_visit, there);
    struct broker *broker = visit->change->broker;
    visit->home->settings = visit->change->changed;
    visit->back.run = visit_back;
    loop_post(broker->options.loops[0], &visit->back);
}

static void apply_dynamic(struct broker *broker, const struct image_config *mine,
                          const struct image_config *all)
{
    struct settings_change *change =
        calloc(1, sizeof *change + broker->options.loop_count * sizeof(struct settings_visit));
    enum error err = change ? OK : ERR_NOMEM;
    if (err == OK) {
        err = settings_with_dynamic(broker->options.settings, mine ? pairs_of(mine->entries) : NULL,
                                    mine ? (size_t)mine->entry_count : 0, all ? pairs_of(all->entries) : NULL,
                                    all ? (size_t)all->entry_count : 0, &change->changed);
    }
    if (err != OK) {
        diag_error("could not apply the dynamic configuration of this broker: %s", error_text(err));
        free(change);
        return;
    }
    change->broker = broker;
    change->old = broker->owned_settings;
    broker->owned_settings = change->changed;
    broker->settings = change->changed;
    change->visits_out = broker->options.loop_count;
    for (size_t i = 0; i < broker->options.loop_count; i++) {
        change->visits[i] = (struct settings_visit){
            .there = {.run = visit_there}, .change = change, .home = &broker->loops[i]};
        loop_post(broker->options.loops[i], &change->visits[i].there);
    }
    /* Arrives on each loop behind the new settings, and before the answer to whoever asked for them. */
    if (broker->parts.replicas) replicas_reconfigure(broker->parts.replicas, SLICE_NULL);
}

/* Topics whose overrides are other ones now: both images list them in order of their names. */
static void apply_topics(struct broker *broker, const struct image *old, const struct image *image)
{
    const struct image_config *a = image_next_config(old, CONFIG_TOPIC, SLICE_NULL, false);
    const struct image_config *b = image_next_config(image, CONFIG_TOPIC, SLICE_NULL, false);
    while (a || b) {
        int order = !a ? 1 : !b ? -1 : a == b ? 0 : slice_compare(a->name, b->name);
        const struct image_config *first = order <= 0 ? a : b;
        if (a != b || order != 0) replicas_reconfigure(broker->parts.replicas, first->name);
        if (order <= 0) a = image_next_config(old, CONFIG_TOPIC, a->name, true);
        if (order >= 0) b = image_next_config(image, CONFIG_TOPIC, b->name, true);
    }
}

void broker_on_image(struct broker *broker, const struct image *old, const struct image *image)
{
    groups_on_image(broker, image);
    char id[16];
    int size = 0;
    struct slice name = {(const uint8_t *)id, 0};
    size = snprintf(id, sizeof id, "%d", broker->options.broker_id);
    name.size = (size_t)size;
    const struct image_config *mine = image_config(image, CONFIG_BROKER, name);
    const struct image_config *all = image_config(image, CONFIG_BROKER, slice_of(CONFIG_DEFAULT_ENTITY));
    bool has_changed = !old || mine != image_config(old, CONFIG_BROKER, name) ||
                       all != image_config(old, CONFIG_BROKER, slice_of(CONFIG_DEFAULT_ENTITY));
    if (has_changed && (mine || all || broker->owned_settings)) apply_dynamic(broker, mine, all);
    if (old && broker->parts.replicas) apply_topics(broker, old, image);
}

/* --- what the controller asks: the control loop --- */

static enum error check_configs(void *context, enum config_type type, struct slice name,
                                const struct config_entry *entries, size_t count, struct text *message)
{
    struct broker *broker = context;
    switch (type) {
    case CONFIG_TOPIC: return topic_overrides_check(broker->settings, pairs_of(entries), count, message);
    case CONFIG_BROKER: {
        bool is_default = slice_is(name, CONFIG_DEFAULT_ENTITY) || name.size == 0;
        return broker_overrides_check(broker->settings, is_default, pairs_of(entries), count, message);
    }
    default:
        text_addz(message, "only topics and brokers have configurations here");
        return ERR_INVALID_REQUEST;
    }
}

static bool list_default(void *context, enum config_type type, struct slice name, struct slice key,
                         struct slice *value)
{
    struct broker *broker = context;
    const struct setting_table *table = type == CONFIG_TOPIC ? topic_setting_table() : broker_setting_table();
    ptrdiff_t index = setting_find(table, key);
    if (index < 0 || table->specs[index].type != SETTING_LIST) return false;
    if (type != CONFIG_TOPIC) {
        const char *text = table->specs[index].default_text;
        *value = slice_of(text ? text : "");
        return true;
    }
    bool is_null = true;
    text_reset(&broker->list_default);
    if (!topic_setting_default(broker->settings, key, &broker->list_default, &is_null)) return false;
    *value = is_null ? SLICE("") : text_slice(&broker->list_default);
    return true;
}

static int32_t default_partitions(void *context)
{
    return (int32_t)settings_long(((struct broker *)context)->settings, SETTING_NUM_PARTITIONS);
}

static int16_t default_replication_factor(void *context)
{
    return (int16_t)settings_long(((struct broker *)context)->settings, SETTING_DEFAULT_REPLICATION_FACTOR);
}

static bool is_unclean_election_allowed(void *context, const struct image_config *config)
{
    struct topic_config resolved;
    resolve(((struct broker *)context)->settings, config, &resolved);
    return resolved.is_unclean_election_allowed;
}

static int64_t now_ms(void *context)
{
    return loop_now_ms(((struct broker *)context)->options.loops[0]);
}

static int64_t wall_ms(void *context)
{
    return loop_wall_ms(((struct broker *)context)->options.loops[0]);
}

static void random_bytes(void *context, void *out, size_t size)
{
    loop_random(((struct broker *)context)->options.loops[0], out, size);
}

void broker_controller_rules(struct broker *broker, struct controller_rules *rules)
{
    const struct settings *settings = broker->settings;
    *rules = (struct controller_rules){
        .context = broker,
        .check_configs = check_configs,
        .list_default = list_default,
        .default_partitions = default_partitions,
        .default_replication_factor = default_replication_factor,
        .is_unclean_election_allowed = is_unclean_election_allowed,
        .is_topic_deletion_enabled = settings_bool(settings, SETTING_DELETE_TOPIC_ENABLE),
        .is_auto_rebalance_enabled = settings_bool(settings, SETTING_AUTO_LEADER_REBALANCE_ENABLE),
        .imbalance_percentage =
            (int32_t)settings_long(settings, SETTING_LEADER_IMBALANCE_PER_BROKER_PERCENTAGE),
        .imbalance_check_seconds =
            (int32_t)settings_long(settings, SETTING_LEADER_IMBALANCE_CHECK_INTERVAL_SECONDS),
        .now_ms = now_ms,
        .wall_ms = wall_ms,
        .random = random_bytes};
}
