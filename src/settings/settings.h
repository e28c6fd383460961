/* settings.h: every key of server.properties, where its value came from, and what it means here.
 *
 *     dynamic, this broker  >  dynamic, all brokers  >  --override  >  server.properties  >  default
 *
 * struct settings is a value without statics: loaded once, then only read. A change of the dynamic layers makes a new one
 * (settings_with_dynamic), which is published to each loop like an image; so any thread may read one that nobody frees.
 *
 * Tables  broker.def, topic.def, zoo.def: one line a key. The parser, DescribeConfigs, `odradek config` and
 *         docs/settings.md are made from them.
 * Memory  all text a getter returns lives as long as the settings.
 * Errors  every problem of a file is collected (settings_problems), then ERR_CONFIG.
 * Source  facts/operators.md 2, facts/data; KIP-226 for the dynamic layers.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "settings/listeners.h"
#include "settings/problems.h"
#include "settings/spec.h"
#include "settings/topic_config.h"
#include "settings/zoo_config.h"

struct settings;

enum setting {
#define SETTING(id, name, type, default_text, min, max, choices, mode, effect, is_internal, doc) SETTING_##id,
#include "settings/broker.def"
#undef SETTING
    SETTING_COUNT
};

/* The numbers are those of DescribeConfigs. */
enum setting_source {
    SOURCE_TOPIC = 1,
    SOURCE_DYNAMIC_BROKER = 2,
    SOURCE_DYNAMIC_DEFAULT = 3,
    SOURCE_STATIC = 4, /* server.properties or --override */
    SOURCE_DEFAULT = 5,
};

/* --- loading --- */

struct settings_sources {
    /* of the file, as problems call it; NULL = no file: the development default on loopback */
    const char *name;
    struct slice text;            /* of the file */
    const char *const *overrides; /* "key=value" */
    size_t override_count;
    /* For ${env:NAME}; NULL = getenv. */
    const char *(*environment)(void *context, const char *name);
    /* For ${file:PATH:KEY} and ${dir:PATH:NAME}; NULL = stdio. Appends the file's bytes to `out`. */
    enum error (*read_file)(void *context, const char *path, struct text *out);
    void *context;
};

/* On ERR_CONFIG the settings are made all the same, so that its problems can be read; any other error makes none. */
MUST_USE enum error settings_load(const struct settings_sources *sources, struct settings **settings);
/* Reads `path` (NULL = development default) with stdio. A file that cannot be read is an error of errno's kind. */
MUST_USE enum error settings_load_file(const char *path, const char *const *overrides, size_t override_count,
                                       struct settings **settings);
void settings_free(struct settings **settings);

/* A new one with these dynamic layers in place of those `settings` has: the entities /config/brokers/ID and
 * /config/brokers/<default>. A key that may not be dynamic, or has no sense, is left out with a warning in problems. */
MUST_USE enum error settings_with_dynamic(const struct settings *settings,
                                          const struct setting_pair *of_broker, size_t of_broker_count,
                                          const struct setting_pair *of_all, size_t of_all_count,
                                          struct settings **changed);

const struct problems *settings_problems(const struct settings *settings);

/* --- reading. The getter must fit the key's type (asserted). --- */

int64_t settings_long(const struct settings *settings,
                      enum setting key); /* INT, SHORT, LONG; asserts on null */
double settings_double(const struct settings *settings, enum setting key);
bool settings_bool(const struct settings *settings, enum setting key);
const char *settings_text(const struct settings *settings, enum setting key); /* any type; NULL = null */
struct setting_list settings_list(const struct settings *settings, enum setting key); /* empty when null */
bool settings_is_null(const struct settings *settings, enum setting key);
/* Somebody said so: its source is not SOURCE_DEFAULT. */
bool settings_is_set(const struct settings *settings, enum setting key);
enum setting_source settings_source(const struct settings *settings, enum setting key);
/* "server.properties:12", "--override", "dynamic broker", "default" ... appended to `out`. */
void settings_origin(const struct settings *settings, enum setting key, struct text *out);

/* --- what several keys say together --- */

const struct listener_setting *settings_listeners(const struct settings *settings, size_t *count);
/* Where brokers meet; every broker has the listener of this name. Never NULL in settings without errors. */
const struct listener_setting *settings_inter_broker_listener(const struct settings *settings);
/* Where brokers hear their controller: control.plane.listener.name, or else the same. */
const struct listener_setting *settings_control_plane_listener(const struct settings *settings);
/* log.dirs, else log.dir. */
struct setting_list settings_log_dirs(const struct settings *settings);
/* node.id, else broker.id; -1 = let it be generated. */
int32_t settings_broker_id(const struct settings *settings);
/* The smaller of Apache's default and the live brokers, where the key is not set: offsets.topic.replication.factor and its
 * kin (design 5). */
int32_t settings_replication_factor(const struct settings *settings, enum setting key, int32_t live_brokers);

/* --- changing and describing --- */

/* May these be the whole new set of a broker entity's overrides, or of the default of all brokers? ERR_INVALID_CONFIG
 * or ERR_INVALID_REQUEST (a key that only a restart can change) and `why`. */
MUST_USE enum error broker_overrides_check(const struct settings *settings, bool is_default_entity,
                                           const struct setting_pair *overrides, size_t count,
                                           struct text *why);

struct setting_synonym {
    const char *name, *value; /* value NULL = null or not to be shown */
    enum setting_source source;
};

struct setting_description {
    const char *name, *value; /* value NULL = null, or sensitive and not to be shown */
    enum setting_source source;
    enum setting_type type;
    bool is_read_only, is_sensitive, is_internal;
    const char *doc;
    const struct setting_synonym *synonyms; /* strongest first, the value's own included */
    size_t synonym_count;
};

/* Calls `each` for each key of the scope in order of names, internal ones included. `arena` holds what it is shown, which
 * lasts as long as the arena. ERR_NOMEM stops it. */
typedef void setting_each(void *context, const struct setting_description *description);
MUST_USE enum error settings_describe_broker(const struct settings *settings, struct arena *arena,
                                             setting_each *each, void *context);
MUST_USE enum error settings_describe_topic(const struct settings *settings,
                                            const struct setting_pair *overrides, size_t count,
                                            struct arena *arena, setting_each *each, void *context);

const struct setting_table *broker_setting_table(void);

/* docs/settings.md, whole. */
void settings_reference(struct text *out);
/* `odradek config check FILE`: appends one line for each problem of a server.properties or zoo.cfg (told apart by name or
 * content). OK when it would start, ERR_CONFIG when not. */
MUST_USE enum error settings_check(const char *path, struct slice text, const char *const *overrides,
                                   size_t override_count, struct text *report);
