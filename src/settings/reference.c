/* reference.c: docs/settings.md and `odradek config check`, both made from the tables. */
#include <string.h>

#include "settings/inside.h"

static const char *effect_text(enum setting_effect effect)
{
    switch (effect) {
    case SETTING_EFFECTIVE: return "";
    case SETTING_NO_EFFECT: return "no effect here";
    case SETTING_REFUSED_UNLESS_DEFAULT: return "refused unless default";
    case SETTING_REFUSED: return "refused";
    }
    return "";
}

/* A table's cell: no bar may stand in it. */
static void cell(struct text *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '|')
            text_addz(out, "\\|");
        else
            text_addc(out, *s);
    }
}

static void range_cell(struct text *out, const struct setting_spec *spec)
{
    if (spec->choices) {
        for (const char *s = spec->choices; *s; s++) {
            if (*s == '|')
                text_addz(out, ", ");
            else
                text_addc(out, *s);
        }
        return;
    }
    bool is_number = spec->type == SETTING_INT || spec->type == SETTING_SHORT || spec->type == SETTING_LONG ||
                     spec->type == SETTING_DOUBLE;
    if (!is_number) return;
    int64_t min = spec->type == SETTING_SHORT ? INT16_MIN : spec->type == SETTING_INT ? INT32_MIN : INT64_MIN;
    int64_t max = spec->type == SETTING_SHORT ? INT16_MAX : spec->type == SETTING_INT ? INT32_MAX : INT64_MAX;
    if (spec->min > min) text_addf(out, "%lld", (long long)spec->min);
    if (spec->min > min || spec->max < max) text_addz(out, " ..");
    if (spec->max < max) text_addf(out, " %lld", (long long)spec->max);
}

static void table_print(struct text *out, const struct setting_table *table, bool has_modes)
{
    text_addz(
        out,
        has_modes
            ? "| key | type | default | values | changes | here | meaning |\n|---|---|---|---|---|---|---|\n"
            : "| key | type | default | values | here | meaning |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < table->count; i++) {
        const struct setting_spec *spec = &table->specs[i];
        if (spec->is_internal) continue;
        const char *value = spec->default_text;
        text_addf(out, "| `%s` | %s | ", spec->name, setting_type_text(spec->type));
        if (!value)
            text_addz(out, "none");
        else if (!value[0])
            text_addz(out, "empty");
        else
            cell(out, value);
        text_addz(out, " | ");
        range_cell(out, spec);
        if (has_modes) {
            static const char *const modes[] = {"restart", "per broker", "cluster-wide"};
            text_addf(out, " | %s", modes[spec->mode]);
        }
        text_addf(out, " | %s | ", effect_text(spec->effect));
        cell(out, spec->doc);
        text_addz(out, " |\n");
    }
}

void settings_reference(struct text *out)
{
    text_addz(out,
              "# Settings\n\n"
              "Made by `odradek config reference` from the tables in `src/settings`; do not edit.\n\n"
              "A value is looked for in this order: a topic's own (topic keys), dynamic settings of the "
              "broker, dynamic\n"
              "settings of all brokers, `--override key=value`, `server.properties`, the default. In files,\n"
              "`${env:NAME}`, `${file:PATH:KEY}` and `${dir:PATH:NAME}` are replaced.\n\n"
              "*No effect here*: accepted, with a warning. *Refused*: ignoring the key would make the node "
              "less safe than its\n"
              "owner believes, so it does not start.\n\n"
              "## Brokers: server.properties\n\n");
    table_print(out, broker_setting_table(), true);
    text_addz(out, "\n## Topics\n\n");
    table_print(out, topic_setting_table(), false);
    text_addz(out, "\n## Keepers: zoo.cfg\n\n"
                   "Also `server.N=HOST:PORT:PORT[:participant|observer][;[HOST:]PORT]`, of one server. Keys "
                   "of ZooKeeper's\n"
                   "system properties may begin with `zookeeper.`.\n\n");
    table_print(out, zoo_setting_table(), false);
}

static void problems_print(const struct problems *problems, struct text *out)
{
    for (size_t i = 0; i < problems->count; i++) {
        problem_print(&problems->items[i], out);
        text_addc(out, '\n');
    }
}

/* zoo.cfg by its name, or by a dataDir line where there is no key of a broker. */
static bool is_zoo_file(const char *path, struct slice text)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t size = strlen(name);
    if (size >= 4 && strcmp(name + size - 4, ".cfg") == 0) return true;
    struct slice rest = text;
    bool has_data_dir = false;
    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        struct slice line = {rest.data, end ? (size_t)(end - rest.data) : rest.size};
        rest.data += line.size + (end != NULL);
        rest.size -= line.size + (end != NULL);
        if (line.size >= 8 && memcmp(line.data, "dataDir=", 8) == 0) has_data_dir = true;
        if (line.size >= 4 && memcmp(line.data, "log.", 4) == 0) return false;
        if (line.size >= 9 && memcmp(line.data, "broker.id", 9) == 0) return false;
    }
    return has_data_dir;
}

enum error settings_check(const char *path, struct slice text, const char *const *overrides,
                          size_t override_count, struct text *report)
{
    if (is_zoo_file(path, text)) {
        struct zoo_config config;
        const struct zoo_beside beside = {.overrides = overrides, .override_count = override_count};
        enum error err = zoo_config_load_beside(text, path, &beside, &config);
        problems_print(&config.problems, report);
        zoo_config_free(&config);
        return err;
    }
    struct settings_sources sources = {
        .name = path, .text = text, .overrides = overrides, .override_count = override_count};
    struct settings *settings;
    enum error err = settings_load(&sources, &settings);
    if (err != OK && err != ERR_CONFIG) return err;
    problems_print(settings_problems(settings), report);
    settings_free(&settings);
    return err;
}
