/* options.c: reading option values as people write them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"

const char *cli_text_at(const struct cli *cli, const char *option, size_t index)
{
    for (size_t i = 0; i < cli->value_count; i++) {
        if (strcmp(cli->values[i].name, option) == 0 && index-- == 0) return cli->values[i].value;
    }
    return NULL;
}

const char *cli_text(const struct cli *cli, const char *option)
{
    const char *last = NULL, *value;
    for (size_t i = 0; (value = cli_text_at(cli, option, i)); i++) last = value;
    return last;
}

bool cli_flag(const struct cli *cli, const char *option)
{
    return cli_text_at(cli, option, 0) != NULL;
}

bool cli_number(const struct cli *cli, const char *option, int64_t min, int64_t max, int64_t *value)
{
    const char *text = cli_text(cli, option);
    if (!text) return true;
    if (slice_to_int64(slice_of(text), min, max, value)) return true;
    cli_complain("--%s %s: not a number from %lld to %lld", option, text, (long long)min, (long long)max);
    return false;
}

/* A sum of numbers with units, each looked up in `units`. */
static bool parse_units(const char *text, const char *const *names, const int64_t *factors, int64_t *value)
{
    int64_t sum = 0;
    bool any = false;
    while (*text) {
        char *end;
        double number = strtod(text, &end);
        if (end == text || !(number >= 0)) return false;
        size_t unit_size = strcspn(end, "0123456789.");
        int64_t factor = 0;
        for (int i = 0; names[i]; i++) {
            if (strlen(names[i]) == unit_size && strncasecmp(end, names[i], unit_size) == 0)
                factor = factors[i];
        }
        if (factor == 0 || number * (double)factor > 9e18) return false;
        if (__builtin_add_overflow(sum, (int64_t)(number * (double)factor), &sum)) return false;
        text = end + unit_size;
        any = true;
    }
    if (any) *value = sum;
    return any;
}

bool cli_parse_duration_ms(const char *text, int64_t *ms)
{
    static const char *const names[] = {"", "ms", "s", "m", "min", "h", "d", "w", NULL};
    static const int64_t factors[] = {1, 1, 1000, 60000, 60000, 3600000, 86400000, 604800000};
    return parse_units(text, names, factors, ms);
}

bool cli_parse_bytes(const char *text, int64_t *bytes)
{
    static const char *const names[] = {"",    "b", "k",  "kb",  "kib", "m",   "mb",
                                        "mib", "g", "gb", "gib", "t",   "tib", NULL};
    static const int64_t factors[] = {
        1,       1,          1000,       1000,       1024,          1000000,      1000000,
        1048576, 1000000000, 1000000000, 1073741824, 1000000000000, 1099511627776};
    return parse_units(text, names, factors, bytes);
}

void cli_complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("odradek: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

bool cli_confirm(const struct cli *cli, const char *format, ...)
{
    if (cli_flag(cli, "yes")) return true;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (!isatty(STDIN_FILENO)) {
        fputs("\nodradek: not a terminal to ask on; give --yes to go ahead\n", stderr);
        return false;
    }
    fputs(" [y/N] ", stderr);
    char answer[16] = "";
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}
