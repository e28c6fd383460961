#include "cli/zk_words.h"

#include <string.h>

enum error zk_split(char *line, char **words, size_t capacity, size_t *count)
{
    char *in = line, *out = line;
    *count = 0;
    for (;;) {
        while (*in == ' ' || *in == '\t' || *in == '\n' || *in == '\r') in++;
        if (!*in) return OK;
        if (*count == capacity) return ERR_USAGE;
        words[(*count)++] = out;
        char quote = 0;
        for (; *in && (quote || !strchr(" \t\r\n", *in)); in++) {
            if (!quote && (*in == '"' || *in == '\'')) {
                quote = *in;
            } else if (*in == quote) {
                quote = 0;
            } else if (*in == '\\' && quote != '\'' && in[1]) {
                *out++ = *++in;
            } else {
                *out++ = *in;
            }
        }
        if (quote) return ERR_USAGE;
        bool is_end = !*in;
        if (!is_end) in++;
        *out++ = 0; /* never beyond what was read: a word is followed by a blank or the end */
        if (is_end) return OK;
    }
}

/* The table's own spelling; NULL when it has none such. */
static const char *lookup(const char *table, const char *name, size_t size, bool *has_value)
{
    for (const char *at = table; *at;) {
        while (*at == ' ') at++;
        size_t length = strcspn(at, " :");
        *has_value = at[length] == ':';
        if (length == size && length > 0 && memcmp(at, name, size) == 0) return at;
        at += length + *has_value;
    }
    return NULL;
}

static bool add(struct zk_words *parsed, const char *name, const char *value)
{
    if (parsed->option_count == ZK_OPTIONS_MAX) return false;
    parsed->options[parsed->option_count].name = name;
    parsed->options[parsed->option_count++].value = value;
    return true;
}

static bool all_flags(const char *table, const char *letters)
{
    bool has_value;
    for (; *letters; letters++) {
        if (!lookup(table, letters, 1, &has_value) || has_value) return false;
    }
    return true;
}

enum error zk_words_parse(const char *table, char **words, int count, struct zk_words *parsed)
{
    *parsed = (struct zk_words){.argv = words};
    bool only_arguments = false;
    for (int i = 0; i < count; i++) {
        char *word = words[i];
        bool is_number = word[0] == '-' && word[1] >= '0' && word[1] <= '9';
        if (only_arguments || word[0] != '-' || !word[1] || is_number) {
            words[parsed->argc++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_arguments = true;
            continue;
        }
        parsed->wrong = word;
        const char *name = word + 1 + (word[1] == '-'), *equals = strchr(name, '=');
        bool has_value = false;
        const char *known = lookup(table, name, strlen(name), &has_value);
        const char *value = "";
        if (!known && equals) {
            known = lookup(table, name, (size_t)(equals - name), &has_value);
            if (known && !has_value) return ERR_USAGE;
            value = equals + 1;
        } else if (known && has_value) {
            if (++i == count) return ERR_USAGE;
            value = words[i];
        }
        if (known) {
            if (!add(parsed, known, value)) return ERR_USAGE;
        } else {
            if (word[1] == '-' || !all_flags(table, name)) return ERR_USAGE;
            for (; *name; name++) {
                if (!add(parsed, lookup(table, name, 1, &has_value), "")) return ERR_USAGE;
            }
        }
    }
    parsed->wrong = NULL;
    return OK;
}

const char *zk_option(const struct zk_words *words, const char *name)
{
    const char *value = NULL;
    size_t size = strlen(name);
    for (size_t i = 0; i < words->option_count; i++) {
        const char *known = words->options[i].name;
        if (strcspn(known, " :") == size && memcmp(known, name, size) == 0) value = words->options[i].value;
    }
    return value;
}
