/* zk_words.h: a line of the shell to words, and words to a verb's options and arguments. Pure.
 *
 * Options are written as in zkCli: "-s", "-v 3", "-add server.1=...", "--add ..."; flags may stand together ("-sR"). A word that is a
 * number, or comes after "--", is an argument. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Splits at blanks, in place; '...' and "..." keep them, a backslash keeps the next character (but not within '...'). ERR_USAGE: a quote
 * is not closed, or there are more than `capacity` words. */
MUST_USE enum error zk_split(char *line, char **words, size_t capacity, size_t *count);

enum { ZK_OPTIONS_MAX = 16 };
struct zk_words {
    struct {
        const char *name, *value; /* value "" of a flag */
    } options[ZK_OPTIONS_MAX];
    size_t option_count;
    char **argv; /* within the words that were given */
    int argc;
    const char *wrong; /* the word that is no option, or lacks its value */
};

/* `table`: "s w v: add:", a colon where a value follows. `words` is put in order: its arguments come first. */
MUST_USE enum error zk_words_parse(const char *table, char **words, int count, struct zk_words *parsed);
const char *zk_option(const struct zk_words *words, const char *name);
