/* inside.h: what the files of settings/ share of struct settings. Not for other folders. */
#pragma once
#include <stdbool.h>

#include "settings/settings.h"

/* Weakest first. */
enum layer { LAYER_DEFAULT, LAYER_STATIC, LAYER_DYNAMIC_DEFAULT, LAYER_DYNAMIC_BROKER, LAYER_COUNT };

struct set_value {
    bool is_set;
    struct setting_value value;
    const char *file; /* "server.properties", "--override", ... */
    int line;
};

/* What a file said: shared by all settings that only differ in their dynamic layers. */
struct settings_base {
    int references; /* __atomic */
    struct arena arena;
    struct setting_value defaults[SETTING_COUNT];
    struct set_value fixed[SETTING_COUNT];
    const char *file;
    bool is_kraft; /* process.roles is set */
    int32_t broker_id;
    struct setting_list log_dirs;
    const struct listener_setting *listeners;
    size_t listener_count;
};

struct settings {
    struct settings_base *base;
    struct arena arena;
    struct problems problems;
    struct set_value *dynamic[LAYER_COUNT]; /* NULL: nothing set; LAYER_DYNAMIC_* only */
    const struct setting_value *effective[SETTING_COUNT];
    uint8_t layer[SETTING_COUNT]; /* where the effective one is from */
};

/* The value `key` has in a layer, NULL where that layer does not set it. */
const struct setting_value *settings_layer(const struct settings *settings, enum layer layer,
                                           enum setting key);
enum setting_source layer_source(enum layer layer);

/* Why a value is refused whose key this program cannot honour; false when it may pass. */
bool setting_is_refused(const struct setting_spec *spec, const struct setting_value *value, struct text *why);

/* An error about a key, where it was set. */
void settings_error(struct settings *settings, enum setting key, const char *what, ...)
    __attribute__((format(printf, 3, 4)));
void settings_say(struct settings *settings, enum problem_kind kind, enum setting key, const char *what, ...)
    __attribute__((format(printf, 4, 5)));

/* Rules between keys; problems go to settings->problems. ERR_NOMEM only. */
MUST_USE enum error settings_cross_check(struct settings *settings);
MUST_USE enum error listeners_make(struct settings *settings);

/* "host:port", "[::1]:port", ":port"; the host without brackets, "" allowed. */
bool host_port_parse(struct slice text, struct slice *host, uint16_t *port);

/* The broker's keys behind a topic's, strongest first, each with what its number is multiplied by. Returns how many. */
struct topic_synonym {
    enum setting key;
    int64_t factor;
};
enum { TOPIC_SYNONYMS_MAX = 3 };
size_t topic_synonyms(enum topic_setting key, struct topic_synonym synonyms[TOPIC_SYNONYMS_MAX]);
/* The value a topic's key has without an override, and the layer it comes from. `buffer` may hold its text. */
struct setting_value topic_default_value(const struct settings *settings, enum topic_setting key,
                                         char buffer[32], enum layer *layer);
