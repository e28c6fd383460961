/* result.c: what a command found, as a table, tab-separated lines, or JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"

json_t *cli_json_text(struct slice s)
{
    if (!s.data) return json_null();
    json_t *text = json_stringn((const char *)s.data, s.size);
    if (text) return text;
    struct text quoted = {0}; /* not UTF-8: let the quoting replace what is not */
    text_addc(&quoted, '[');
    text_add_json(&quoted, s);
    text_addc(&quoted, ']');
    json_t *list = quoted.failed ? NULL : json_loadb(quoted.data, quoted.size, 0, NULL);
    json_t *first = list ? json_incref(json_array_get(list, 0)) : json_null();
    json_decref(list);
    text_free(&quoted);
    return first;
}

void cli_result_begin(struct cli_result *result, const struct cli *cli, const char *kind)
{
    *result = (struct cli_result){cli, kind, json_array(), json_array(), false};
}

void cli_result_add(struct cli_result *result, json_t *item)
{
    json_array_append_new(result->items, item);
}

void cli_result_fail(struct cli_result *result, const char *name, enum error err, struct slice message)
{
    char text[512];
    slice_text(message, text, sizeof text);
    if (!text[0]) snprintf(text, sizeof text, "%s", error_text(err));
    json_array_append_new(result->errors,
                          json_pack("{s:s, s:s, s:s, s:i}", "name", name, "error", error_name(err), "message",
                                    text, "code", error_kafka_code(err)));
    if (err == ERR_TOPIC_AUTHORIZATION_FAILED || err == ERR_GROUP_AUTHORIZATION_FAILED ||
        err == ERR_CLUSTER_AUTHORIZATION_FAILED) {
        result->is_denied = true;
    }
}

static void cell(const json_t *value, char *out, size_t size)
{
    out[0] = 0;
    switch (json_typeof(value)) {
    case JSON_STRING: snprintf(out, size, "%s", json_string_value(value)); break;
    case JSON_INTEGER: snprintf(out, size, "%lld", (long long)json_integer_value(value)); break;
    case JSON_REAL: snprintf(out, size, "%.1f", json_real_value(value)); break;
    case JSON_TRUE: snprintf(out, size, "yes"); break;
    case JSON_FALSE: snprintf(out, size, "no"); break;
    case JSON_NULL: snprintf(out, size, "-"); break;
    case JSON_ARRAY: {
        size_t used = 0;
        for (size_t i = 0; i < json_array_size(value) && used + 1 < size; i++) {
            char part[256];
            cell(json_array_get(value, i), part, sizeof part);
            int n = snprintf(out + used, size - used, "%s%s", i ? "," : "", part);
            used += n > 0 ? (size_t)n : 0;
        }
        break;
    }
    case JSON_OBJECT: {
        char *dumped = json_dumps(value, JSON_COMPACT);
        snprintf(out, size, "%s", dumped ? dumped : "");
        free(dumped);
        break;
    }
    }
}

static size_t width_of(const char *text)
{
    size_t width = 0; /* characters, not bytes */
    for (; *text; text++) width += (*text & 0xc0) != 0x80;
    return width;
}

enum { MAX_COLUMNS = 16, CELL_SIZE = 1024 };

void cli_table(FILE *out, const json_t *items, const struct cli_column *columns)
{
    size_t widths[MAX_COLUMNS], count = 0;
    char text[CELL_SIZE];
    for (; columns[count].title && count < MAX_COLUMNS; count++) {
        widths[count] = width_of(columns[count].title);
        for (size_t i = 0; i < json_array_size(items); i++) {
            const json_t *value = json_object_get(json_array_get(items, i), columns[count].key);
            if (value) cell(value, text, sizeof text);
            if (value && width_of(text) > widths[count]) widths[count] = width_of(text);
        }
    }
    for (size_t row = 0; row <= json_array_size(items); row++) {
        for (size_t c = 0; c < count; c++) {
            const json_t *value =
                row ? json_object_get(json_array_get(items, row - 1), columns[c].key) : NULL;
            snprintf(text, sizeof text, "%s", columns[c].title);
            if (row) text[0] = 0;
            if (value) cell(value, text, sizeof text);
            const json_t *sample = json_object_get(json_array_get(items, 0), columns[c].key);
            bool is_number = json_is_number(sample) || (row && json_is_number(value));
            int pad = (int)(widths[c] - width_of(text));
            if (c) fputs("  ", out);
            if (is_number) fprintf(out, "%*s", pad, "");
            fputs(text, out);
            if (!is_number && c + 1 < count) fprintf(out, "%*s", pad, "");
        }
        fputc('\n', out);
    }
}

static void print_tsv(const json_t *items, const struct cli_column *columns)
{
    char text[CELL_SIZE];
    for (size_t i = 0; i < json_array_size(items); i++) {
        for (size_t c = 0; columns[c].title; c++) {
            const json_t *value = json_object_get(json_array_get(items, i), columns[c].key);
            text[0] = 0;
            if (value && !json_is_null(value)) cell(value, text, sizeof text);
            for (char *p = text; *p; p++) *p = *p == '\t' || *p == '\n' ? ' ' : *p;
            printf("%s%s", c ? "\t" : "", text);
        }
        putchar('\n');
    }
}

int cli_result_end(struct cli_result *result, const struct cli_column *columns, const char *empty)
{
    size_t failures = json_array_size(result->errors);
    if (result->cli->output == OUTPUT_JSON) {
        json_t *whole = json_pack("{s:s, s:i, s:O, s:O}", "kind", result->kind, "version", 1, "items",
                                  result->items, "errors", result->errors);
        json_dumpf(whole, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(whole);
    } else {
        char text[CELL_SIZE];
        for (size_t i = 0; i < json_array_size(result->items) && result->cli->output >= OUTPUT_JSONL; i++) {
            const json_t *item = json_array_get(result->items, i);
            if (result->cli->output == OUTPUT_JSONL) {
                json_dumpf(item, stdout, JSON_COMPACT);
                putchar('\n');
            } else if (result->cli->output == OUTPUT_NAME) {
                const json_t *name = json_object_get(item, columns[0].key);
                if (name) cell(name, text, sizeof text);
                if (name) puts(text);
            }
        }
        if (result->cli->output == OUTPUT_TSV) print_tsv(result->items, columns);
        if (result->cli->output == OUTPUT_TABLE && json_array_size(result->items) > 0) {
            cli_table(stdout, result->items, columns);
        }
        for (size_t i = 0; i < failures; i++) {
            const json_t *failure = json_array_get(result->errors, i);
            cli_complain("%s: %s (%s)", json_string_value(json_object_get(failure, "name")),
                         json_string_value(json_object_get(failure, "message")),
                         json_string_value(json_object_get(failure, "error")));
        }
        if (empty && json_array_size(result->items) == 0 && failures == 0 && isatty(STDERR_FILENO)) {
            fprintf(stderr, "%s\n", empty);
        }
    }
    json_decref(result->items);
    json_decref(result->errors);
    if (failures == 0) return EXIT_OK;
    return result->is_denied ? EXIT_DENIED : EXIT_ITEM_FAILED;
}
