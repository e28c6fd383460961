/* words_fuzz: any bytes as an address list, an offset, a duration, an amount, a UUID. What is accepted lies in its range and,
 * where there is one way to write it, is read again as the same. */
#include <stdlib.h>

#include "base/text.h"
#include "base/uuid.h"
#include "cli/cli.h"
#include "cli/offset.h"
#include "client/bootstrap.h"
#include "fuzz.h"

enum { CAPACITY = 3, NOW_MS = 1763805600 };

static void addresses(struct slice in, uint16_t default_port)
{
    struct endpoint found[CAPACITY], again[CAPACITY];
    size_t count = SIZE_MAX, again_count;
    const char *why = NULL;
    struct slice bad = SLICE_NULL;
    if (bootstrap_parse(in, default_port, found, CAPACITY, &count, &why, &bad) != OK) {
        CHECK(why && count == SIZE_MAX);
        CHECK(bad.data >= in.data && bad.data + bad.size <= in.data + in.size);
        return;
    }
    CHECK(count >= 1 && count <= CAPACITY);
    struct text out = {0};
    for (size_t i = 0; i < count; i++) {
        CHECK(found[i].host[0] != 0 && found[i].port != 0);
        bool has_bracket = strchr(found[i].host, ']') != NULL;
        text_addf(&out, has_bracket ? "%s:%u ," : " [%s]:%u,", found[i].host, found[i].port);
    }
    CHECK(bootstrap_parse(text_slice(&out), 0, again, CAPACITY, &again_count, &why, &bad) == OK);
    CHECK(again_count == count);
    for (size_t i = 0; i < count; i++)
        CHECK(again[i].port == found[i].port && strcmp(again[i].host, found[i].host) == 0);
    text_free(&out);
}

static void words(const char *word)
{
    const int64_t unset = -77;
    int64_t number = unset, again = 0;
    char out[32];
    if (cli_parse_duration_ms(word, &number)) {
        CHECK(number >= 0);
        /* Exact up to what a double holds. */
        snprintf(out, sizeof out, "%lldms", (long long)number);
        CHECK(number > (int64_t)1 << 52 || (cli_parse_duration_ms(out, &again) && again == number));
    } else {
        CHECK(number == unset);
    }
    number = unset;
    CHECK(cli_parse_bytes(word, &number) ? number >= 0 : number == unset);
    struct offset_wish wish = {OFFSET_START, unset};
    if (!offset_parse(word, NOW_MS, &wish))
        CHECK(wish.kind == OFFSET_START && wish.value == unset);
    else if (wish.kind == OFFSET_NUMBER || wish.kind == OFFSET_FROM_END)
        CHECK(wish.value >= 0);
    else
        CHECK(wish.kind == OFFSET_AT_TIME || wish.value == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct slice in = {data + 1, size - 1};
    char *word = slice_dup(in);
    addresses(in, data[0] & 1 ? 9092 : 0);
    words(word);
    struct uuid id;
    char text[UUID_TEXT_SIZE];
    if (uuid_parse(in, &id)) {
        struct uuid same;
        uuid_format(&id, text); /* its last character may be another: four bits of it say nothing */
        CHECK(in.size == strlen(text) && memcmp(in.data, text, in.size - 1) == 0);
        CHECK(uuid_parse(slice_of(text), &same) && uuid_equal(&same, &id));
    }
    free(word);
    return 0;
}
