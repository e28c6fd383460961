#include "cli/assignment.h"

#include "base/text.h"

/* The next piece up to `separator` or the end; `rest` moves behind it, null after the last. */
static struct slice piece(struct slice *rest, char separator)
{
    const uint8_t *end = memchr(rest->data, separator, rest->size);
    struct slice found = {rest->data, end ? (size_t)(end - rest->data) : rest->size};
    *rest = end ? (struct slice){end + 1, rest->size - found.size - 1} : SLICE_NULL;
    return found;
}

static size_t pieces(struct slice text, char separator)
{
    size_t count = 1;
    for (size_t i = 0; i < text.size; i++) count += text.data[i] == (uint8_t)separator;
    return count;
}

static const char *parse_replicas(struct slice text, struct arena *arena, struct ids *replicas)
{
    int32_t *items = arena_array(arena, pieces(text, ':'), sizeof *items), count = 0;
    if (!items) return "no memory";
    for (struct slice rest = text; rest.data;) {
        int64_t id;
        if (!slice_to_int64(piece(&rest, ':'), 0, INT32_MAX, &id)) return "not a broker id; 1:2:3,2:3:1";
        if (view_ids_have((struct ids){items, count}, (int32_t)id)) return "a broker twice in one partition";
        items[count++] = (int32_t)id;
    }
    *replicas = (struct ids){items, count};
    return NULL;
}

enum error assignment_parse(const char *text, struct arena *arena, struct ids **replicas, int32_t *count,
                            const char **why)
{
    struct slice rest = slice_of(text);
    struct ids *made = arena_array(arena, pieces(rest, ','), sizeof *made);
    int32_t made_count = 0;
    if (!made) return ERR_NOMEM;
    while (rest.data) {
        *why = parse_replicas(piece(&rest, ','), arena, &made[made_count++]);
        if (*why) return ERR_CONFIG;
    }
    *replicas = made;
    *count = made_count;
    return OK;
}

/* A topic's name has no colon, so the first one begins the partitions. */
static struct slice split(const char *text, struct slice *topic)
{
    struct slice rest = slice_of(text);
    *topic = piece(&rest, ':');
    return rest;
}

bool partition_wish_is_good(const char *text)
{
    struct slice topic, rest = split(text, &topic);
    int64_t index;
    while (rest.data) {
        if (!slice_to_int64(piece(&rest, ','), 0, INT32_MAX, &index)) return false;
    }
    return topic.size > 0;
}

bool partition_wish_names(const char *text, struct slice topic, int32_t index)
{
    struct slice named, rest = split(text, &named);
    if (!slice_equal(named, topic)) return false;
    if (!rest.data) return true;
    int64_t wanted;
    while (rest.data) {
        if (slice_to_int64(piece(&rest, ','), 0, INT32_MAX, &wanted) && wanted == index) return true;
    }
    return false;
}
