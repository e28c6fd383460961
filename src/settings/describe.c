/* describe.c: what DescribeConfigs and `odradek config show` tell of each key: its value, where that comes from, and
 * every other place that would have had a say. */
#include "settings/inside.h"

struct synonyms {
    struct arena *arena;
    struct setting_synonym *items;
    size_t count;
};

static const char *shown(const struct setting_spec *spec, const char *value)
{
    return setting_is_sensitive(spec) ? NULL : value;
}

/* Each layer that sets a broker's key, strongest first; the default only where there is one. */
static void synonyms_add(struct synonyms *synonyms, const struct settings *settings, enum setting key)
{
    const struct setting_spec *spec = &broker_setting_table()->specs[key];
    for (int layer = LAYER_COUNT - 1; layer >= 0; layer--) {
        const struct setting_value *value = settings_layer(settings, (enum layer)layer, key);
        if (!value || (layer == LAYER_DEFAULT && !value->text)) continue;
        synonyms->items[synonyms->count++] =
            (struct setting_synonym){spec->name, shown(spec, value->text), layer_source((enum layer)layer)};
    }
}

/* What a broker's key falls back to: log.retention.ms to .minutes to .hours. It is a topic's chain from the key on. */
static size_t fallbacks(enum setting key, enum setting found[TOPIC_SYNONYMS_MAX])
{
    static const enum topic_setting chained[] = {TOPIC_RETENTION_MS, TOPIC_SEGMENT_MS,
                                                 TOPIC_SEGMENT_JITTER_MS, TOPIC_FLUSH_MS};
    for (size_t i = 0; i < sizeof chained / sizeof *chained; i++) {
        struct topic_synonym chain[TOPIC_SYNONYMS_MAX];
        size_t count = topic_synonyms(chained[i], chain);
        for (size_t at = 0; at < count; at++) {
            if (chain[at].key != key) continue;
            for (size_t rest = at; rest < count; rest++) found[rest - at] = chain[rest].key;
            return count - at;
        }
    }
    found[0] = key;
    return 1;
}

enum error settings_describe_broker(const struct settings *settings, struct arena *arena, setting_each *each,
                                    void *context)
{
    const struct setting_table *table = broker_setting_table();
    for (int key = 0; key < SETTING_COUNT; key++) {
        const struct setting_spec *spec = &table->specs[key];
        struct synonyms synonyms = {
            arena, arena_array(arena, TOPIC_SYNONYMS_MAX * LAYER_COUNT, sizeof *synonyms.items), 0};
        if (!synonyms.items) return ERR_NOMEM;
        enum setting chain[TOPIC_SYNONYMS_MAX];
        size_t count = fallbacks((enum setting)key, chain);
        for (size_t i = 0; i < count; i++) synonyms_add(&synonyms, settings, chain[i]);
        struct setting_description description = {
            .name = spec->name,
            .value = shown(spec, settings->effective[key]->text),
            .source = settings_source(settings, (enum setting)key),
            .type = spec->type,
            .is_read_only = spec->mode == SETTING_STATIC,
            .is_sensitive = setting_is_sensitive(spec),
            .is_internal = spec->is_internal,
            .doc = spec->doc,
            .synonyms = synonyms.items,
            .synonym_count = synonyms.count,
        };
        each(context, &description);
    }
    return OK;
}

enum error settings_describe_topic(const struct settings *settings, const struct setting_pair *overrides,
                                   size_t count, struct arena *arena, setting_each *each, void *context)
{
    const struct setting_table *table = topic_setting_table();
    for (int key = 0; key < TOPIC_SETTING_COUNT; key++) {
        const struct setting_spec *spec = &table->specs[key];
        size_t room = 2 + TOPIC_SYNONYMS_MAX * LAYER_COUNT;
        struct synonyms synonyms = {arena, arena_array(arena, room, sizeof *synonyms.items), 0};
        if (!synonyms.items) return ERR_NOMEM;

        char buffer[32];
        enum layer layer;
        struct setting_value value = topic_default_value(settings, (enum topic_setting)key, buffer, &layer);
        enum setting_source source = layer_source(layer);
        struct slice text = slice_of(value.text ? value.text : spec->default_text);
        for (size_t i = 0; i < count; i++) {
            if (!slice_is(overrides[i].key, spec->name) || !overrides[i].value.data) continue;
            text = overrides[i].value;
            source = SOURCE_TOPIC;
        }
        text = arena_copy(arena, text);
        if (source == SOURCE_TOPIC) {
            synonyms.items[synonyms.count++] =
                (struct setting_synonym){spec->name, (const char *)text.data, SOURCE_TOPIC};
        }
        struct topic_synonym chain[TOPIC_SYNONYMS_MAX];
        size_t chain_count = topic_synonyms((enum topic_setting)key, chain);
        for (size_t i = 0; i < chain_count; i++) synonyms_add(&synonyms, settings, chain[i].key);
        if (chain_count == 0 && spec->default_text) {
            synonyms.items[synonyms.count++] =
                (struct setting_synonym){spec->name, spec->default_text, SOURCE_DEFAULT};
        }
        struct setting_description description = {
            .name = spec->name,
            .value = (const char *)text.data,
            .source = source,
            .type = spec->type,
            .is_internal = spec->is_internal,
            .doc = spec->doc,
            .synonyms = synonyms.items,
            .synonym_count = synonyms.count,
        };
        each(context, &description);
    }
    return OK;
}
