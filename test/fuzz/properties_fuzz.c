/* properties_fuzz: any bytes as server.properties and as zoo.cfg. Either a list of problems, or settings that keep what their
 * header promises. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "settings/settings.h"

static const char *environment(void *context, const char *name)
{
    (void)context;
    return name[0] == 'A' ? "value" : NULL;
}

static enum error read_file(void *context, const char *path, struct text *out)
{
    struct slice *file = context;
    if (path[0] == 'x') return ERR_NOT_FOUND;
    text_add(out, *file);
    return OK;
}

static void seen(void *context, const struct setting_description *description)
{
    size_t *count = context;
    CHECK(description->doc && description->name);
    *count += description->synonym_count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {data, size};
    struct settings_sources sources = {
        .name = "f", .text = text, .environment = environment, .read_file = read_file, .context = &text};
    struct settings *settings = NULL;
    enum error err = settings_load(&sources, &settings);
    CHECK(err == OK || err == ERR_CONFIG);
    const struct problems *problems = settings_problems(settings);
    CHECK((err == ERR_CONFIG) == (problems->error_count > 0));
    struct text line = {0};
    for (size_t i = 0; i < problems->count; i++) problem_print(&problems->items[i], &line);
    if (err == OK) {
        size_t count, inter_broker = 0, synonyms = 0;
        const struct listener_setting *listeners = settings_listeners(settings, &count);
        for (size_t i = 0; i < count; i++) {
            CHECK(listeners[i].protocol == PROTOCOL_PLAINTEXT);
            inter_broker += listeners[i].is_inter_broker;
        }
        CHECK(inter_broker == 1);
        CHECK(settings_log_dirs(settings).count > 0);
        struct topic_config config;
        topic_config_resolve(settings, NULL, 0, &config);
        CHECK(config.retention_ms >= -1 && config.min_insync_replicas >= 1 && config.segment_ms >= 1);
        struct arena arena;
        arena_init(&arena, 0);
        CHECK(settings_describe_broker(settings, &arena, seen, &synonyms) == OK);
        CHECK(settings_describe_topic(settings, NULL, 0, &arena, seen, &synonyms) == OK);
        CHECK(synonyms > 0);
        arena_free(&arena);
    }
    settings_free(&settings);

    struct zoo_config zoo;
    err = zoo_config_load(text, "z", &zoo);
    CHECK(err == OK || err == ERR_CONFIG);
    CHECK((err == ERR_CONFIG) == (zoo.problems.error_count > 0));
    for (size_t i = 0; i < zoo.problems.count; i++) problem_print(&zoo.problems.items[i], &line);
    zoo_config_free(&zoo);
    char *pair = slice_dup(text); /* beside a file, up to a NUL */
    const char *const pairs[] = {pair};
    const struct zoo_beside beside = {pairs, pair != NULL, pairs, pair != NULL};
    err = zoo_config_load_beside(SLICE("dataDir=/d\n"), "z", &beside, &zoo);
    CHECK(err == OK || err == ERR_CONFIG);
    zoo_config_free(&zoo);
    free(pair);
    text_free(&line);
    return 0;
}
