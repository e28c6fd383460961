#include "settings/settings.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings/inside.h"
#include "settings/properties.h"

static const struct setting_spec SPECS[SETTING_COUNT] = {
#define SETTING(id, key, value_type, default_value, low, high, values, who, what, internal, sentence)        \
    {.name = key,                                                                                            \
     .type = SETTING_##value_type,                                                                           \
     .default_text = default_value,                                                                          \
     .min = low,                                                                                             \
     .max = high,                                                                                            \
     .choices = values,                                                                                      \
     .mode = SETTING_##who,                                                                                  \
     .effect = SETTING_##what,                                                                               \
     .is_internal = internal,                                                                                \
     .doc = sentence},
#include "settings/broker.def"
#undef SETTING
};

static const struct setting_table TABLE = {SPECS, SETTING_COUNT};

const struct setting_table *broker_setting_table(void)
{
    return &TABLE;
}

/* Keys of other programs or other times that deserve better than "unknown". */
static const struct {
    const char *name, *what;
} STRANGERS[] = {
    {"super.users", "has no effect without an authorizer"},
    {"allow.everyone.if.no.acl.found", "has no effect without an authorizer"},
    {"host.name", "is no key since Kafka 3.0; listeners=PLAINTEXT://HOST:PORT would be right"},
    {"port", "is no key since Kafka 3.0; listeners=PLAINTEXT://HOST:PORT would be right"},
    {"advertised.host.name",
     "is no key since Kafka 3.0; advertised.listeners=PLAINTEXT://HOST:PORT would be right"},
    {"advertised.port",
     "is no key since Kafka 3.0; advertised.listeners=PLAINTEXT://HOST:PORT would be right"},
};

/* What `odradek server` without a file reads. */
static const char DEVELOPMENT[] = "listeners=PLAINTEXT://127.0.0.1:9092\n"
                                  "log.dirs=./odradek-data\n"
                                  "metrics.listener=127.0.0.1:9644\n";

enum { PROBLEMS_MAX = 1000, FILE_SIZE_MAX = 16 << 20 };

/* --- problems --- */

static void say(struct settings *settings, enum problem_kind kind, enum setting key, const char *what,
                va_list args)
{
    char text[1000];
    vsnprintf(text, sizeof text, what, args);
    const struct set_value *set = &settings->base->fixed[key];
    problems_add(&settings->problems, &settings->arena, kind, set->is_set ? set->file : settings->base->file,
                 set->is_set ? set->line : 0, slice_of(SPECS[key].name), "%s", text);
}

void settings_error(struct settings *settings, enum setting key, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    say(settings, PROBLEM_ERROR, key, what, args);
    va_end(args);
}

void settings_say(struct settings *settings, enum problem_kind kind, enum setting key, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    say(settings, kind, key, what, args);
    va_end(args);
}

bool setting_is_refused(const struct setting_spec *spec, const struct setting_value *value, struct text *why)
{
    bool is_default = value->text && spec->default_text ? strcmp(value->text, spec->default_text) == 0
                                                        : !value->text && !spec->default_text;
    /* An empty class or file name is as good as none. */
    if (!spec->default_text && value->text && !value->text[0]) is_default = true;
    bool is_refused =
        spec->effect == SETTING_REFUSED || (spec->effect == SETTING_REFUSED_UNLESS_DEFAULT && !is_default);
    if (!is_refused) return false;
    text_addz(why, "refused, for it would be ignored: ");
    text_addz(why, spec->doc);
    text_addz(why, " Without the key");
    if (spec->effect == SETTING_REFUSED_UNLESS_DEFAULT && spec->default_text && spec->default_text[0]) {
        text_addf(why, ", or with %s,", spec->default_text);
    }
    text_addz(why, " the node starts");
    return true;
}

/* --- loading --- */

static void key_set(struct settings *settings, enum setting key, struct slice text, const char *file,
                    int line)
{
    struct settings_base *base = settings->base;
    struct text why = {0};
    struct setting_value value;
    enum error err = setting_parse(&SPECS[key], text, &base->arena, &value, &why);
    if (err == ERR_NOMEM) settings->problems.is_out_of_memory = true;
    if (err == ERR_CONFIG) {
        problems_add(&settings->problems, &settings->arena, PROBLEM_ERROR, file, line,
                     slice_of(SPECS[key].name), "%.*s", SLICE_ARG(text_slice(&why)));
    }
    if (err == OK) {
        struct set_value *set = &base->fixed[key];
        if (set->is_set && strcmp(set->file, file) == 0) {
            problems_add(&settings->problems, &settings->arena, PROBLEM_WARNING, file, line,
                         slice_of(SPECS[key].name),
                         set->line > 0 ? "set before, in line %d; this one counts"
                                       : "set more than once; the last one counts",
                         set->line);
        }
        *set = (struct set_value){true, value, file, line};
        if (setting_is_refused(&SPECS[key], &value, &why)) {
            problems_add(&settings->problems, &settings->arena, PROBLEM_ERROR, file, line,
                         slice_of(SPECS[key].name), "%.*s", SLICE_ARG(text_slice(&why)));
        } else if (SPECS[key].effect == SETTING_NO_EFFECT) {
            problems_add(&settings->problems, &settings->arena, PROBLEM_NO_EFFECT, file, line,
                         slice_of(SPECS[key].name), "has no effect here: %s", SPECS[key].doc);
        }
    }
    text_free(&why);
}

/* listener.name.NAME.KEY and listener.name.NAME.MECHANISM.KEY: one listener's own value. None is effective yet. */
static bool listener_key_set(struct settings *settings, struct slice name, struct slice text,
                             const char *file, int line)
{
    static const char prefix[] = "listener.name.";
    size_t prefix_size = sizeof prefix - 1;
    if (name.size < prefix_size || memcmp(name.data, prefix, prefix_size) != 0) return false;
    struct slice rest = {name.data + prefix_size, name.size - prefix_size};
    for (int skipped = 0; skipped < 2; skipped++) { /* the listener, then perhaps a SASL mechanism */
        const uint8_t *dot = memchr(rest.data, '.', rest.size);
        if (!dot) return false;
        rest.size -= (size_t)(dot + 1 - rest.data);
        rest.data = dot + 1;
        ptrdiff_t index = setting_find(&TABLE, rest);
        if (index < 0) continue;
        const struct setting_spec *spec = &SPECS[index];
        struct text why = {0};
        struct setting_value value;
        enum error err = setting_parse(spec, text, &settings->base->arena, &value, &why);
        if (err == ERR_CONFIG || (err == OK && setting_is_refused(spec, &value, &why))) {
            problems_add(&settings->problems, &settings->arena, PROBLEM_ERROR, file, line, name, "%.*s",
                         SLICE_ARG(text_slice(&why)));
        } else {
            problems_add(&settings->problems, &settings->arena, PROBLEM_NO_EFFECT, file, line, name,
                         "has no effect here: no key can be set for one listener alone yet");
        }
        text_free(&why);
        return true;
    }
    return false;
}

static void pair_set(struct settings *settings, struct slice name, struct slice text, const char *file,
                     int line)
{
    ptrdiff_t index = setting_find(&TABLE, name);
    if (index >= 0) {
        key_set(settings, (enum setting)index, text, file, line);
        return;
    }
    if (settings->problems.count >= PROBLEMS_MAX) return;
    if (listener_key_set(settings, name, text, file, line)) return;
    static const char providers[] = "config.providers."; /* their own parameters */
    if (name.size > sizeof providers - 1 && memcmp(name.data, providers, sizeof providers - 1) == 0) return;
    for (size_t i = 0; i < sizeof STRANGERS / sizeof *STRANGERS; i++) {
        if (!slice_is(name, STRANGERS[i].name)) continue;
        problems_add(&settings->problems, &settings->arena, PROBLEM_NO_EFFECT, file, line, name, "%s",
                     STRANGERS[i].what);
        return;
    }
    const char *nearest = setting_nearest(&TABLE, name);
    if (nearest) {
        problems_add(&settings->problems, &settings->arena, PROBLEM_UNKNOWN, file, line, name,
                     "unknown and ignored; %s would be right, perhaps", nearest);
    } else {
        problems_add(&settings->problems, &settings->arena, PROBLEM_UNKNOWN, file, line, name,
                     "unknown and ignored");
    }
}

static const char *environment_get(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

static enum error file_read(void *context, const char *path, struct text *out)
{
    (void)context;
    FILE *file = fopen(path, "re");
    if (!file) return error_from_errno(errno);
    char buffer[4096];
    enum error err = OK;
    size_t size;
    while (err == OK && (size = fread(buffer, 1, sizeof buffer, file)) > 0) {
        text_add(out, (struct slice){(const uint8_t *)buffer, size});
        if (out->size > FILE_SIZE_MAX) err = ERR_TOO_LARGE;
    }
    if (err == OK && ferror(file)) err = ERR_IO;
    if (err == OK && out->failed) err = ERR_NOMEM;
    fclose(file);
    return err;
}

static enum error text_load(struct settings *settings, struct slice text,
                            const struct properties_variables *variables)
{
    struct settings_base *base = settings->base;
    bool is_file = base->file[0] != '('; /* the development default has no lines to point to */
    struct properties properties = properties_open(text);
    struct property property;
    const char *broken = NULL;
    enum error err;
    while ((err = properties_next(&properties, &base->arena, &property, &broken)) != ERR_EOF) {
        int line = is_file ? property.line : 0;
        if (err == ERR_NOMEM) return err;
        if (err != OK) {
            problems_add(&settings->problems, &settings->arena, PROBLEM_ERROR, base->file, line, SLICE_NULL,
                         "%s", broken);
            continue;
        }
        struct slice value;
        struct text why = {0};
        err = properties_expand(property.value, variables, &base->arena, &value, &why);
        if (err == OK) {
            pair_set(settings, property.key, value, base->file, line);
        } else if (err != ERR_NOMEM) {
            problems_add(&settings->problems, &settings->arena, PROBLEM_ERROR, base->file, line, property.key,
                         "%.*s", SLICE_ARG(text_slice(&why)));
        }
        text_free(&why);
        if (err == ERR_NOMEM) return err;
    }
    return OK;
}

static enum error override_load(struct settings *settings, const char *pair,
                                const struct properties_variables *variables)
{
    const char *equals = strchr(pair, '=');
    struct slice name = {(const uint8_t *)pair, equals ? (size_t)(equals - pair) : strlen(pair)};
    if (!equals) {
        problems_add(&settings->problems, &settings->arena, PROBLEM_ERROR, "--override", 0, name,
                     "no value; --override %s=VALUE would be right", pair);
        return OK;
    }
    struct slice value;
    struct text why = {0};
    enum error err = properties_expand(slice_of(equals + 1), variables, &settings->base->arena, &value, &why);
    if (err == OK) {
        pair_set(settings, name, value, "--override", 0);
    } else if (err != ERR_NOMEM) {
        problems_add(&settings->problems, &settings->arena, PROBLEM_ERROR, "--override", 0, name, "%.*s",
                     SLICE_ARG(text_slice(&why)));
        err = OK;
    }
    text_free(&why);
    return err;
}

const struct setting_value *settings_layer(const struct settings *settings, enum layer layer,
                                           enum setting key)
{
    const struct set_value *set = NULL;
    if (layer == LAYER_DEFAULT) return &settings->base->defaults[key];
    if (layer == LAYER_STATIC)
        set = &settings->base->fixed[key];
    else if (settings->dynamic[layer])
        set = &settings->dynamic[layer][key];
    return set && set->is_set ? &set->value : NULL;
}

static void effective_find(struct settings *settings)
{
    for (int key = 0; key < SETTING_COUNT; key++) {
        int layer = LAYER_COUNT - 1;
        while (!settings_layer(settings, (enum layer)layer, (enum setting)key)) layer--;
        settings->layer[key] = (uint8_t)layer;
        settings->effective[key] = settings_layer(settings, (enum layer)layer, (enum setting)key);
    }
}

static struct settings *settings_new(struct settings_base *base)
{
    struct settings *settings = calloc(1, sizeof *settings);
    if (!settings) return NULL;
    arena_init(&settings->arena, 0);
    settings->base = base;
    return settings;
}

enum error settings_load(const struct settings_sources *sources, struct settings **settings)
{
    struct settings_base *base = calloc(1, sizeof *base);
    struct settings *loaded = base ? settings_new(base) : NULL;
    if (!loaded) {
        free(base);
        return ERR_NOMEM;
    }
    base->references = 1;
    arena_init(&base->arena, 0);

    struct properties_variables variables = {sources->environment ? sources->environment : environment_get,
                                             sources->read_file ? sources->read_file : file_read,
                                             sources->context};
    enum error err = OK;
    struct slice name =
        arena_copy(&base->arena, slice_of(sources->name ? sources->name : "(development default)"));
    if (!name.data) err = ERR_NOMEM;
    base->file = (const char *)name.data;
    for (int key = 0; err == OK && key < SETTING_COUNT; key++) {
        struct text why = {0};
        err = setting_parse(&SPECS[key], slice_of(SPECS[key].default_text), &base->arena,
                            &base->defaults[key], &why);
        assert(err != ERR_CONFIG); /* a default of the table that the table refuses */
        text_free(&why);
    }
    if (err == OK) err = text_load(loaded, sources->name ? sources->text : SLICE(DEVELOPMENT), &variables);
    for (size_t i = 0; err == OK && i < sources->override_count; i++) {
        err = override_load(loaded, sources->overrides[i], &variables);
    }
    if (err == OK) {
        effective_find(loaded);
        err = settings_cross_check(loaded);
    }
    if (err == OK && loaded->problems.is_out_of_memory) err = ERR_NOMEM;
    if (err != OK) {
        settings_free(&loaded);
        return err;
    }
    *settings = loaded;
    return loaded->problems.error_count > 0 ? ERR_CONFIG : OK;
}

enum error settings_load_file(const char *path, const char *const *overrides, size_t override_count,
                              struct settings **settings)
{
    struct settings_sources sources = {
        .name = path, .overrides = overrides, .override_count = override_count};
    struct text text = {0};
    enum error err = path ? file_read(NULL, path, &text) : OK;
    sources.text = text_slice(&text);
    if (err == OK) err = settings_load(&sources, settings);
    text_free(&text);
    return err;
}

void settings_free(struct settings **settings)
{
    struct settings *freed = *settings;
    *settings = NULL;
    if (!freed) return;
    struct settings_base *base = freed->base;
    if (__atomic_sub_fetch(&base->references, 1, __ATOMIC_ACQ_REL) == 0) {
        arena_free(&base->arena);
        free(base);
    }
    problems_free(&freed->problems);
    arena_free(&freed->arena);
    free(freed);
}

/* --- dynamic layers --- */

static enum error layer_load(struct settings *settings, enum layer layer, const struct setting_pair *pairs,
                             size_t count)
{
    const char *file = layer == LAYER_DYNAMIC_BROKER ? "dynamic broker" : "dynamic default";
    for (size_t i = 0; i < count; i++) {
        if (!pairs[i].value.data) continue;
        ptrdiff_t index = setting_find(&TABLE, pairs[i].key);
        struct text why = {0};
        struct setting_value value;
        const char *refusal = NULL;
        if (index < 0)
            refusal = "unknown and ignored";
        else if (SPECS[index].mode == SETTING_STATIC)
            refusal = "ignored: only server.properties can set it";
        else if (SPECS[index].mode == SETTING_PER_BROKER && layer == LAYER_DYNAMIC_DEFAULT)
            refusal = "ignored: only one broker at a time can have it";
        enum error err = refusal
                             ? ERR_CONFIG
                             : setting_parse(&SPECS[index], pairs[i].value, &settings->arena, &value, &why);
        if (err == OK && !settings->dynamic[layer]) {
            settings->dynamic[layer] =
                arena_zalloc(&settings->arena, sizeof(struct set_value) * SETTING_COUNT);
            if (!settings->dynamic[layer]) err = ERR_NOMEM;
        }
        if (err == OK) settings->dynamic[layer][index] = (struct set_value){true, value, file, 0};
        if (err == ERR_CONFIG && settings->problems.count < PROBLEMS_MAX) {
            problems_add(&settings->problems, &settings->arena, PROBLEM_WARNING, file, 0, pairs[i].key, "%s",
                         refusal ? refusal : why.data);
        }
        text_free(&why);
        if (err == ERR_NOMEM) return err;
    }
    return OK;
}

enum error settings_with_dynamic(const struct settings *settings, const struct setting_pair *of_broker,
                                 size_t of_broker_count, const struct setting_pair *of_all,
                                 size_t of_all_count, struct settings **changed)
{
    struct settings *made = settings_new(settings->base);
    if (!made) return ERR_NOMEM;
    __atomic_add_fetch(&made->base->references, 1, __ATOMIC_RELAXED);
    enum error err = layer_load(made, LAYER_DYNAMIC_DEFAULT, of_all, of_all_count);
    if (err == OK) err = layer_load(made, LAYER_DYNAMIC_BROKER, of_broker, of_broker_count);
    if (err == OK && made->problems.is_out_of_memory) err = ERR_NOMEM;
    if (err != OK) {
        settings_free(&made);
        return err;
    }
    effective_find(made);
    *changed = made;
    return OK;
}

enum error broker_overrides_check(const struct settings *settings, bool is_default_entity,
                                  const struct setting_pair *overrides, size_t count, struct text *why)
{
    (void)settings;
    struct arena arena;
    arena_init(&arena, 0);
    enum error err = OK;
    for (size_t i = 0; err == OK && i < count; i++) {
        if (!overrides[i].value.data) continue;
        struct slice name = overrides[i].key;
        ptrdiff_t index = setting_find(&TABLE, name);
        struct setting_value value;
        struct text reason = {0};
        if (index < 0) {
            const char *nearest = setting_nearest(&TABLE, name);
            text_addz(&reason, "unknown");
            if (nearest) text_addf(&reason, "; %s would be right, perhaps", nearest);
            err = ERR_INVALID_REQUEST;
        } else if (SPECS[index].mode == SETTING_STATIC) {
            text_addz(&reason,
                      "cannot change while the broker runs; server.properties and a restart would be right");
            err = ERR_INVALID_REQUEST;
        } else if (SPECS[index].mode == SETTING_PER_BROKER && is_default_entity) {
            text_addz(&reason, "cannot be the same for all brokers; a change of one broker would be right");
            err = ERR_INVALID_REQUEST;
        } else {
            err = setting_parse(&SPECS[index], overrides[i].value, &arena, &value, &reason);
            if (err == ERR_CONFIG) err = ERR_INVALID_CONFIG;
            if (err == OK && setting_is_refused(&SPECS[index], &value, &reason)) err = ERR_INVALID_CONFIG;
        }
        if (err != OK && err != ERR_NOMEM) {
            text_addf(why, "%.*s: ", SLICE_ARG(name));
            text_add(why, text_slice(&reason));
        }
        text_free(&reason);
    }
    arena_free(&arena);
    return err;
}

/* --- reading --- */

const struct problems *settings_problems(const struct settings *settings)
{
    return &settings->problems;
}

int64_t settings_long(const struct settings *settings, enum setting key)
{
    enum setting_type type = SPECS[key].type;
    assert(type == SETTING_INT || type == SETTING_SHORT || type == SETTING_LONG);
    assert(settings->effective[key]->text);
    return settings->effective[key]->number;
}

double settings_double(const struct settings *settings, enum setting key)
{
    assert(SPECS[key].type == SETTING_DOUBLE);
    assert(settings->effective[key]->text);
    return settings->effective[key]->real;
}

bool settings_bool(const struct settings *settings, enum setting key)
{
    assert(SPECS[key].type == SETTING_BOOLEAN);
    return settings->effective[key]->number != 0;
}

const char *settings_text(const struct settings *settings, enum setting key)
{
    return settings->effective[key]->text;
}

struct setting_list settings_list(const struct settings *settings, enum setting key)
{
    assert(SPECS[key].type == SETTING_LIST);
    return settings->effective[key]->list;
}

bool settings_is_null(const struct settings *settings, enum setting key)
{
    return settings->effective[key]->text == NULL;
}

bool settings_is_set(const struct settings *settings, enum setting key)
{
    return settings->layer[key] != LAYER_DEFAULT;
}

enum setting_source layer_source(enum layer layer)
{
    switch (layer) {
    case LAYER_DYNAMIC_BROKER: return SOURCE_DYNAMIC_BROKER;
    case LAYER_DYNAMIC_DEFAULT: return SOURCE_DYNAMIC_DEFAULT;
    case LAYER_STATIC: return SOURCE_STATIC;
    default: return SOURCE_DEFAULT;
    }
}

enum setting_source settings_source(const struct settings *settings, enum setting key)
{
    return layer_source((enum layer)settings->layer[key]);
}

void settings_origin(const struct settings *settings, enum setting key, struct text *out)
{
    const struct set_value *fixed = &settings->base->fixed[key];
    switch ((enum layer)settings->layer[key]) {
    case LAYER_DYNAMIC_BROKER: text_addz(out, "dynamic broker"); break;
    case LAYER_DYNAMIC_DEFAULT: text_addz(out, "dynamic default"); break;
    case LAYER_STATIC:
        text_addz(out, fixed->file);
        if (fixed->line > 0) text_addf(out, ":%d", fixed->line);
        break;
    default: text_addz(out, "default"); break;
    }
}

/* --- several keys together --- */

const struct listener_setting *settings_listeners(const struct settings *settings, size_t *count)
{
    *count = settings->base->listener_count;
    return settings->base->listeners;
}

const struct listener_setting *settings_inter_broker_listener(const struct settings *settings)
{
    for (size_t i = 0; i < settings->base->listener_count; i++) {
        if (settings->base->listeners[i].is_inter_broker) return &settings->base->listeners[i];
    }
    return NULL;
}

const struct listener_setting *settings_control_plane_listener(const struct settings *settings)
{
    for (size_t i = 0; i < settings->base->listener_count; i++) {
        if (settings->base->listeners[i].is_control_plane) return &settings->base->listeners[i];
    }
    return settings_inter_broker_listener(settings);
}

struct setting_list settings_log_dirs(const struct settings *settings)
{
    return settings->base->log_dirs;
}

int32_t settings_broker_id(const struct settings *settings)
{
    return settings->base->broker_id;
}

int32_t settings_replication_factor(const struct settings *settings, enum setting key, int32_t live_brokers)
{
    int64_t factor = settings_long(settings, key);
    if (settings_is_set(settings, key) || live_brokers < 1 || live_brokers >= factor) return (int32_t)factor;
    return live_brokers;
}
