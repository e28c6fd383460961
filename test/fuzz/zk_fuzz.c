/* zk_fuzz: what odradek zk reads: answers of a server, access lists and lines that people type. Any bytes are read or refused. */
#include <stdlib.h>
#include <string.h>

#include "cli/zk.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = {data, size}, rest;
    struct zk_names names;
    struct znode_stat stat;
    struct text shown = {0}, vector = {0}, again = {0};
    if (zk_children_read(bytes, &names, &stat) == OK) {
        for (size_t i = 1; i < names.count; i++) CHECK(strcmp(names.names[i - 1], names.names[i]) <= 0);
        zk_names_free(&names);
    }
    if (zk_acl_text(bytes, &shown, &rest) == OK) CHECK(rest.size <= size);
    if (zk_stat_read(bytes, &stat) == OK) CHECK(size >= STAT_SIZE);

    char *text = slice_dup(bytes);
    CHECK(text);
    if (zk_acl_parse(text, &vector)) {
        text_reset(&shown);
        CHECK(zk_acl_text(text_slice(&vector), &shown, NULL) == OK);
        CHECK(zk_acl_parse(shown.data, &again));
        CHECK(again.size == vector.size && memcmp(again.data, vector.data, again.size) == 0);
    }
    char *words[16];
    size_t count;
    if (zk_split(text, words, 16, &count) == OK) {
        for (size_t i = 0; i < count; i++) CHECK(words[i] + strlen(words[i]) <= text + size);
        struct zk_words parsed;
        if (zk_words_parse("s w R v: add:", words, (int)count, &parsed) == OK)
            CHECK(parsed.argc <= (int)count);
    }
    free(text);
    text_free(&shown);
    text_free(&vector);
    text_free(&again);
    return 0;
}
