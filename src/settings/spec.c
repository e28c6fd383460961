#include "settings/spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

ptrdiff_t setting_find(const struct setting_table *table, struct slice name)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(name, slice_of(table->specs[middle].name));
        if (order == 0) return (ptrdiff_t)middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

enum { NAME_MAX_COMPARED = 96 };

/* Insertions, deletions, replacements and swaps of neighbours that lead from one to the other. */
static size_t edit_distance(struct slice a, struct slice b)
{
    size_t rows[3][NAME_MAX_COMPARED + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.size; j++) last[j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t cost = last[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            if (last[j] + 1 < cost) cost = last[j] + 1;
            if (now[j - 1] + 1 < cost) cost = now[j - 1] + 1;
            bool is_swap = i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1];
            if (is_swap && before[j - 2] + 1 < cost) cost = before[j - 2] + 1;
            now[j] = cost;
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[b.size];
}

const char *setting_nearest(const struct setting_table *table, struct slice name)
{
    if (name.size == 0 || name.size > NAME_MAX_COMPARED) return NULL;
    const char *nearest = NULL;
    size_t best = name.size / 5 + 2; /* farther than that is another word */
    for (size_t i = 0; i < table->count; i++) {
        struct slice known = slice_of(table->specs[i].name);
        if (known.size > NAME_MAX_COMPARED || known.size + best < name.size || name.size + best < known.size)
            continue;
        size_t distance = edit_distance(name, known);
        if (distance >= best) continue;
        best = distance;
        nearest = table->specs[i].name;
    }
    return nearest;
}

const char *setting_type_text(enum setting_type type)
{
    static const char *const names[] = {
        [SETTING_BOOLEAN] = "BOOLEAN", [SETTING_STRING] = "STRING", [SETTING_INT] = "INT",
        [SETTING_SHORT] = "SHORT",     [SETTING_LONG] = "LONG",     [SETTING_DOUBLE] = "DOUBLE",
        [SETTING_LIST] = "LIST",       [SETTING_CLASS] = "CLASS",   [SETTING_PASSWORD] = "PASSWORD",
    };
    return names[type];
}

bool setting_is_sensitive(const struct setting_spec *spec)
{
    return spec->type == SETTING_PASSWORD;
}

static struct slice trim(struct slice s)
{
    while (s.size > 0 && s.data[0] <= ' ') {
        s.data++;
        s.size--;
    }
    while (s.size > 0 && s.data[s.size - 1] <= ' ') s.size--;
    return s;
}

static bool choices_have(const char *choices, struct slice wanted)
{
    while (*choices) {
        size_t size = strcspn(choices, "|");
        if (size == wanted.size && memcmp(choices, wanted.data, size) == 0) return true;
        choices += size + (choices[size] == '|');
    }
    return false;
}

static void choices_print(const char *choices, struct text *out)
{
    while (*choices) {
        size_t size = strcspn(choices, "|");
        text_add(out, (struct slice){(const uint8_t *)choices, size});
        choices += size;
        if (*choices != '|') break;
        choices++;
        text_addz(out, strchr(choices, '|') ? ", " : " or ");
    }
}

static void type_bounds(enum setting_type type, int64_t *min, int64_t *max)
{
    *min = type == SETTING_SHORT ? INT16_MIN : type == SETTING_INT ? INT32_MIN : INT64_MIN;
    *max = type == SETTING_SHORT ? INT16_MAX : type == SETTING_INT ? INT32_MAX : INT64_MAX;
}

static void range_print(const struct setting_spec *spec, struct text *out)
{
    int64_t min, max;
    type_bounds(spec->type, &min, &max);
    const char *kind = spec->type == SETTING_DOUBLE ? "number" : "whole number";
    if (spec->max < max) {
        text_addf(out, "a %s from %lld to %lld", kind, (long long)spec->min, (long long)spec->max);
    } else if (spec->min > min) {
        text_addf(out, "a %s of at least %lld", kind, (long long)spec->min);
    } else if (spec->type == SETTING_DOUBLE || spec->type == SETTING_LONG) {
        text_addf(out, "a %s", kind);
    } else {
        text_addf(out, "a %s from %lld to %lld", kind, (long long)min, (long long)max);
    }
}

/* Long and binary values are shown in part. */
static void shown(struct slice text, struct text *out)
{
    struct slice part = {text.data, text.size > 60 ? 60 : text.size};
    text_addc(out, '"');
    for (size_t i = 0; i < part.size; i++) text_addc(out, part.data[i] < ' ' ? '?' : (char)part.data[i]);
    text_addz(out, text.size > 60 ? "...\"" : "\"");
}

static enum error choice_check(const struct setting_spec *spec, struct slice text, struct text *why)
{
    if (!spec->choices || choices_have(spec->choices, text)) return OK;
    shown(text, why);
    text_addz(why, " is not known here; ");
    choices_print(spec->choices, why);
    text_addz(why, " would be right");
    return ERR_CONFIG;
}

static enum error number_parse(const struct setting_spec *spec, struct slice text, struct arena *arena,
                               struct setting_value *value, struct text *why)
{
    struct slice digits = text;
    if (digits.size > 1 && digits.data[0] == '+' && digits.data[1] != '-') {
        digits.data++;
        digits.size--;
    }
    int64_t min, max, number;
    type_bounds(spec->type, &min, &max);
    if (slice_to_int64(digits, spec->min, spec->max, &number)) {
        struct slice normal = arena_printf(arena, "%lld", (long long)number);
        if (!normal.data) return ERR_NOMEM;
        enum error err = choice_check(spec, normal, why);
        if (err != OK) return err;
        *value = (struct setting_value){
            .text = (const char *)normal.data, .number = number, .real = (double)number};
        return OK;
    }
    shown(text, why);
    if (slice_to_int64(digits, min, max, &number)) {
        text_addz(why, number < spec->min ? " is too small; " : " is too large; ");
    } else {
        text_addf(why, " is not a whole number%s; ", spec->type == SETTING_LONG ? "" : " of this size");
    }
    range_print(spec, why);
    text_addz(why, " would be right");
    return ERR_CONFIG;
}

static enum error double_parse(const struct setting_spec *spec, struct slice text, struct arena *arena,
                               struct setting_value *value, struct text *why)
{
    struct slice copy = arena_copy(arena, text);
    if (!copy.data) return ERR_NOMEM;
    char *end;
    double real = strtod((const char *)copy.data, &end);
    bool is_number = copy.size > 0 && end == (const char *)copy.data + copy.size && isfinite(real);
    bool is_small = is_number && spec->min != INT64_MIN && real < (double)spec->min;
    bool is_large = is_number && spec->max != INT64_MAX && real > (double)spec->max;
    if (is_number && !is_small && !is_large) {
        *value = (struct setting_value){.text = (const char *)copy.data, .real = real};
        return OK;
    }
    shown(text, why);
    text_addz(why, is_small ? " is too small; " : is_large ? " is too large; " : " is not a number; ");
    range_print(spec, why);
    text_addz(why, " would be right");
    return ERR_CONFIG;
}

static enum error list_parse(const struct setting_spec *spec, struct slice text, struct arena *arena,
                             struct setting_value *value, struct text *why)
{
    size_t count = 1;
    for (size_t i = 0; i < text.size; i++) count += text.data[i] == ',';
    struct slice *items = arena_array(arena, count, sizeof *items);
    if (!items) return ERR_NOMEM;
    size_t kept = 0;
    struct text joined = {0};
    enum error err = OK;
    while (err == OK && text.size > 0) {
        const uint8_t *comma = memchr(text.data, ',', text.size);
        size_t size = comma ? (size_t)(comma - text.data) : text.size;
        struct slice item = trim((struct slice){text.data, size});
        text.data += size + (comma != NULL);
        text.size -= size + (comma != NULL);
        if (item.size == 0) continue;
        err = choice_check(spec, item, why);
        if (err != OK) break;
        items[kept] = arena_copy(arena, item);
        if (!items[kept].data) err = ERR_NOMEM;
        if (kept++ > 0) text_addc(&joined, ',');
        text_add(&joined, item);
    }
    if (err == OK) {
        struct slice normal = arena_copy(arena, text_slice(&joined));
        if (joined.failed || !normal.data)
            err = ERR_NOMEM;
        else
            *value = (struct setting_value){.text = (const char *)normal.data, .list = {items, kept}};
    }
    text_free(&joined);
    return err;
}

enum error setting_parse(const struct setting_spec *spec, struct slice text, struct arena *arena,
                         struct setting_value *value, struct text *why)
{
    if (!text.data) {
        *value = (struct setting_value){0};
        return OK;
    }
    if (text.size > 0 && memchr(text.data, 0, text.size)) {
        text_addz(why, "a NUL character; text without it would be right");
        return ERR_CONFIG;
    }
    text = trim(text);
    switch (spec->type) {
    case SETTING_INT:
    case SETTING_SHORT:
    case SETTING_LONG: return number_parse(spec, text, arena, value, why);
    case SETTING_DOUBLE: return double_parse(spec, text, arena, value, why);
    case SETTING_LIST: return list_parse(spec, text, arena, value, why);
    case SETTING_BOOLEAN: {
        bool is_true = text.size == 4 && strncasecmp((const char *)text.data, "true", 4) == 0;
        bool is_false = text.size == 5 && strncasecmp((const char *)text.data, "false", 5) == 0;
        if (!is_true && !is_false) {
            shown(text, why);
            text_addz(why, " is neither true nor false, one of which would be right");
            return ERR_CONFIG;
        }
        *value = (struct setting_value){.text = is_true ? "true" : "false", .number = is_true};
        return OK;
    }
    case SETTING_STRING:
    case SETTING_CLASS:
    case SETTING_PASSWORD: break;
    }
    enum error err = choice_check(spec, text, why);
    if (err != OK) return err;
    struct slice copy = arena_copy(arena, text);
    if (!copy.data) return ERR_NOMEM;
    *value = (struct setting_value){.text = (const char *)copy.data};
    return OK;
}
