#include "logs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "loop/disk.h"
#include "wire/record.h"
#include "world.h"

/* The batches of a segment; space that was reserved and not yet used follows them. */
static void add_segment(struct slice bytes, struct text *out)
{
    size_t at = 0;
    while (bytes.size - at >= 12 && get_be32(bytes.data + at + 8) != 0) {
        size_t size = 12 + (size_t)get_be32(bytes.data + at + 8);
        at += size < bytes.size - at ? size : bytes.size - at;
    }
    text_add(out, (struct slice){bytes.data, at});
}

/* All segments, one after the other, of whichever directory has it. */
static bool load(struct server *server, const char *topic, int32_t index, struct text *out)
{
    struct disk *disk = sim_machine_disk(server->machine);
    char dir[200], path[512];
    snprintf(dir, sizeof dir, "/data/a/%s-%d", topic, index);
    bool is_in_a = disk_exists(disk, dir);
    snprintf(path, sizeof path, "/data/b/%s-%d", topic, index);
    if (is_in_a && disk_exists(disk, path))
        history_fail(&server->world->history, "%s: %s and %s are there", server->host, dir, path);
    if (!is_in_a) snprintf(dir, sizeof dir, "/data/b/%s-%d", topic, index);
    struct disk_entry *entries;
    size_t count;
    if (disk_list(disk, dir, &entries, &count) != OK) return false;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(entries[i].name);
        if (size < 4 || strcmp(entries[i].name + size - 4, ".log") != 0) continue;
        struct bytes *bytes = NULL;
        snprintf(path, sizeof path, "%s/%s", dir, entries[i].name);
        if (disk_read_file(disk, path, 64 << 20, &bytes) == OK) add_segment(bytes_slice(bytes), out);
        bytes_release(&bytes);
    }
    disk_list_free(entries, count);
    return true;
}

struct cursor {
    const struct server *server;
    struct text text;
    struct slice rest, batch;
    int64_t end; /* one past the last offset walked over */
};

/* The next batch; false at the end. */
static bool next(struct world *world, const char *topic, int32_t index, struct cursor *cursor)
{
    if (cursor->rest.size < 12) return false;
    struct batch_header header;
    size_t size = 12 + (size_t)get_be32(cursor->rest.data + 8);
    enum error err = size <= cursor->rest.size ? OK : ERR_TRUNCATED;
    cursor->batch = (struct slice){cursor->rest.data, size};
    if (err == OK) err = batch_check(cursor->batch, &header);
    if (err != OK) {
        history_fail(&world->history, "%s-%d on %s: the batch after %" PRId64 " is damaged: %s", topic, index,
                     cursor->server->host, cursor->end, error_text(err));
        return false;
    }
    int64_t base = (int64_t)get_be64(cursor->batch.data);
    if (base < cursor->end) {
        history_fail(&world->history, "%s-%d on %s: a batch at %" PRId64 " after %" PRId64, topic, index,
                     cursor->server->host, base, cursor->end);
        return false;
    }
    cursor->end = batch_last_offset(&header) + 1;
    cursor->rest.data += size;
    cursor->rest.size -= size;
    return true;
}

static int64_t base_of(const struct cursor *cursor)
{
    return (int64_t)get_be64(cursor->batch.data);
}

static void compare(struct world *world, const char *topic, int32_t index, struct cursor *a, struct cursor *b,
                    int64_t may_start, int64_t must_end)
{
    bool has_a, has_b;
    do {
        has_a = next(world, topic, index, a);
        has_b = next(world, topic, index, b);
        while (has_a && has_b && base_of(a) < base_of(b) && base_of(a) < may_start)
            has_a = next(world, topic, index, a);
        while (has_a && has_b && base_of(b) < base_of(a) && base_of(b) < may_start)
            has_b = next(world, topic, index, b);
        bool is_equal = has_a && has_b && a->batch.size == b->batch.size &&
                        memcmp(a->batch.data, b->batch.data, a->batch.size) == 0;
        if (has_a && has_b && !is_equal) {
            history_fail(&world->history,
                         "%s-%d: %s and %s differ in the batch before %" PRId64 " and %" PRId64, topic, index,
                         a->server->host, b->server->host, a->end, b->end);
        }
    } while (has_a && has_b && !world_has_failed(world));
    int64_t end = has_a ? b->end : a->end;
    if (end < must_end) {
        history_fail(&world->history, "%s-%d: %s ends at %" PRId64 ", but %" PRId64 " must be there", topic,
                     index, has_a ? b->server->host : a->server->host, end, must_end);
    }
}

void logs_compare(struct world *world, const char *topic, int32_t index, const int32_t *brokers, int count,
                  int64_t may_start, int64_t must_end)
{
    for (int i = 1; i < count && !world_has_failed(world); i++) {
        struct cursor a = {.server = &world->servers[brokers[0]]},
                      b = {.server = &world->servers[brokers[i]]};
        bool is_there = load(&world->servers[brokers[0]], topic, index, &a.text) &&
                        load(&world->servers[brokers[i]], topic, index, &b.text);
        a.rest = text_slice(&a.text);
        b.rest = text_slice(&b.text);
        if (is_there)
            compare(world, topic, index, &a, &b, may_start, must_end);
        else
            history_fail(&world->history, "%s-%d: %s or %s has no such log", topic, index, a.server->host,
                         b.server->host);
        text_free(&a.text);
        text_free(&b.text);
    }
}
