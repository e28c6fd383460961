#include "storage/epoch_cache.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "storage/checkpoint.h"

void epoch_cache_free(struct epoch_cache *cache)
{
    free(cache->entries);
    *cache = (struct epoch_cache){0};
}

enum error epoch_cache_assign(struct epoch_cache *cache, int32_t epoch, int64_t start_offset)
{
    assert(epoch >= 0);
    assert(start_offset >= 0);

    const struct epoch_entry *entries = cache->entries;
    size_t kept = cache->count;
    if (kept > 0 && entries[kept - 1].epoch == epoch && entries[kept - 1].start_offset <= start_offset) {
        return OK;
    }
    while (kept > 0 && (entries[kept - 1].epoch >= epoch || entries[kept - 1].start_offset >= start_offset)) {
        kept--;
    }

    if (!VEC_RESERVE(cache->entries, kept, cache->capacity)) return ERR_NOMEM;
    cache->entries[kept] = (struct epoch_entry){epoch, start_offset};
    cache->count = kept + 1;
    return OK;
}

struct epoch_end epoch_cache_end(const struct epoch_cache *cache, int32_t epoch, int64_t log_end)
{
    const struct epoch_end unknown = {-1, -1};
    if (epoch < 0) return unknown;

    /* Newest first: nearly every question is about one of the last two leaders. */
    size_t next = cache->count;
    while (next > 0 && cache->entries[next - 1].epoch > epoch) next--;

    bool is_known = next > 0 && cache->entries[next - 1].epoch == epoch;
    if (next == cache->count) return is_known ? (struct epoch_end){epoch, log_end} : unknown;

    /* Below our first entry the records are gone. Our first offset is then the lowest place the
     * follower can agree with us, so it stands in for an end we no longer know. */
    int32_t found = next > 0 ? cache->entries[next - 1].epoch : epoch;
    return (struct epoch_end){found, cache->entries[next].start_offset};
}

int32_t epoch_cache_of(const struct epoch_cache *cache, int64_t offset)
{
    size_t next = cache->count;
    while (next > 0 && cache->entries[next - 1].start_offset > offset) next--;
    return next > 0 ? cache->entries[next - 1].epoch : -1;
}

bool epoch_cache_cut_end(struct epoch_cache *cache, int64_t offset)
{
    size_t kept = cache->count;
    while (kept > 0 && cache->entries[kept - 1].start_offset >= offset) kept--;
    bool changed = kept != cache->count;
    cache->count = kept;
    return changed;
}

bool epoch_cache_cut_start(struct epoch_cache *cache, int64_t offset)
{
    size_t gone = 0;
    while (gone + 1 < cache->count && cache->entries[gone + 1].start_offset <= offset) gone++;
    bool changed = gone > 0;
    if (gone > 0)
        memmove(cache->entries, cache->entries + gone, (cache->count - gone) * sizeof *cache->entries);
    cache->count -= gone;
    if (cache->count > 0 && cache->entries[0].start_offset < offset) {
        cache->entries[0].start_offset = offset;
        changed = true;
    }
    return changed;
}

void epoch_cache_write(const struct epoch_cache *cache, struct text *text)
{
    text_addf(text, "0\n%zu\n", cache->count);
    for (size_t i = 0; i < cache->count; i++) {
        text_addf(text, "%d %lld\n", (int)cache->entries[i].epoch, (long long)cache->entries[i].start_offset);
    }
}

static enum error read_entry(void *context, const struct slice *fields)
{
    struct epoch_cache *cache = context;
    int64_t epoch, start;
    if (!slice_to_int64(fields[0], 0, INT32_MAX, &epoch)) return ERR_CORRUPT;
    if (!slice_to_int64(fields[1], 0, INT64_MAX, &start)) return ERR_CORRUPT;
    return epoch_cache_assign(cache, (int32_t)epoch, start);
}

enum error epoch_cache_read(struct slice text, struct epoch_cache *cache)
{
    struct epoch_cache read = {0};
    enum error err = checkpoint_lines(text, 2, read_entry, &read);
    if (err != OK) {
        epoch_cache_free(&read);
        return err;
    }
    epoch_cache_free(cache);
    *cache = read;
    return OK;
}
