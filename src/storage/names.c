#include "storage/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static const char *const suffixes[FILE_KINDS] = {
    [FILE_LOG] = ".log",           [FILE_INDEX] = ".index",       [FILE_TIMEINDEX] = ".timeindex",
    [FILE_TXNINDEX] = ".txnindex", [FILE_SNAPSHOT] = ".snapshot",
};

const char *file_kind_suffix(enum file_kind kind)
{
    return suffixes[kind];
}

bool topic_name_is_valid(struct slice topic)
{
    if (topic.size == 0 || topic.size > TOPIC_NAME_MAX) return false;
    if (slice_is(topic, ".") || slice_is(topic, "..")) return false;
    for (size_t i = 0; i < topic.size; i++) {
        uint8_t c = topic.data[i];
        bool is_fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
        if (!is_fine) return false;
    }
    return true;
}

static bool strip_end(struct slice *s, const char *end)
{
    size_t size = strlen(end);
    if (s->size < size || memcmp(s->data + s->size - size, end, size) != 0) return false;
    s->size -= size;
    return true;
}

static bool is_hex(struct slice s)
{
    for (size_t i = 0; i < s.size; i++) {
        uint8_t c = s.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) return false;
    }
    return true;
}

static bool digits_only(struct slice s)
{
    for (size_t i = 0; i < s.size; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') return false;
    }
    return s.size > 0;
}

struct partition_dir_name partition_dir_parse(struct slice name)
{
    const struct partition_dir_name foreign = {.kind = DIR_FOREIGN};
    struct partition_dir_name parsed = {.kind = DIR_CURRENT};
    if (name.size == 0 || name.size > PARTITION_DIR_NAME_MAX) return foreign;

    struct slice rest = name;
    if (strip_end(&rest, "-delete"))
        parsed.kind = DIR_DELETE;
    else if (strip_end(&rest, "-stray"))
        parsed.kind = DIR_STRAY;
    else if (strip_end(&rest, "-future"))
        parsed.kind = DIR_FUTURE;
    if (parsed.kind != DIR_CURRENT) {
        const uint8_t *dot = memrchr(rest.data, '.', rest.size);
        if (!dot) return foreign;
        struct slice unique = {dot + 1, rest.size - (size_t)(dot - rest.data) - 1};
        if (unique.size != 32 || !is_hex(unique)) return foreign;
        rest.size = (size_t)(dot - rest.data);
    }

    const uint8_t *dash = rest.size ? memrchr(rest.data, '-', rest.size) : NULL;
    if (!dash) return foreign;
    parsed.topic = (struct slice){rest.data, (size_t)(dash - rest.data)};
    struct slice number = {dash + 1, rest.size - parsed.topic.size - 1};
    int64_t partition;
    if (!digits_only(number) || !slice_to_int64(number, 0, INT32_MAX, &partition)) return foreign;
    if (!topic_name_is_valid(parsed.topic)) return foreign;
    parsed.partition = (int32_t)partition;
    return parsed;
}

/* "-0.<hex><what>" */
static int make_end(int32_t partition, const uint8_t unique[16], const char *what, char *end, size_t capacity)
{
    int size = snprintf(end, capacity, "-%d.", (int)partition);
    for (int i = 0; i < 16; i++) size += snprintf(end + size, capacity - (size_t)size, "%02x", unique[i]);
    return size + snprintf(end + size, capacity - (size_t)size, "%s", what);
}

bool partition_dir_future_name(struct slice current_name, const uint8_t unique[16],
                               char out[PARTITION_DIR_NAME_MAX + 1])
{
    struct partition_dir_name parsed = partition_dir_parse(current_name);
    char end[64];
    int end_size = make_end(parsed.partition, unique, "-future", end, sizeof end);
    if (parsed.topic.size + (size_t)end_size > PARTITION_DIR_NAME_MAX) return false;
    memcpy(out, parsed.topic.data, parsed.topic.size);
    memcpy(out + parsed.topic.size, end, (size_t)end_size + 1);
    return true;
}

void partition_dir_delete_name(struct slice current_name, const uint8_t unique[16],
                               char out[PARTITION_DIR_NAME_MAX + 1])
{
    struct partition_dir_name parsed = partition_dir_parse(current_name);
    char end[64];
    int end_size = make_end(parsed.partition, unique, "-delete", end, sizeof end);
    size_t topic_size = parsed.topic.size;
    if (topic_size + (size_t)end_size > PARTITION_DIR_NAME_MAX)
        topic_size = PARTITION_DIR_NAME_MAX - (size_t)end_size;
    memcpy(out, parsed.topic.data, topic_size);
    memcpy(out + topic_size, end, (size_t)end_size + 1);
}

struct segment_file_name segment_file_parse(struct slice name)
{
    const struct segment_file_name other = {.kind = FILE_OTHER};
    struct segment_file_name parsed = {.state = STATE_CURRENT};
    if (strip_end(&name, ".deleted"))
        parsed.state = STATE_DELETED;
    else if (strip_end(&name, ".cleaned"))
        parsed.state = STATE_CLEANED;
    else if (strip_end(&name, ".swap"))
        parsed.state = STATE_SWAP;

    int kind = 0;
    while (kind < FILE_KINDS && !strip_end(&name, suffixes[kind])) kind++;
    if (kind == FILE_KINDS) return other;
    parsed.kind = (enum file_kind)kind;
    if (name.size != 20 || !digits_only(name)) return other;
    if (!slice_to_int64(name, 0, INT64_MAX, &parsed.base_offset)) return other;
    return parsed;
}

char *segment_path(const char *dir, int64_t base_offset, enum file_kind kind, const char *suffix)
{
    size_t size = strlen(dir) + SEGMENT_NAME_SIZE;
    char *path = malloc(size);
    if (path) snprintf(path, size, "%s/%020lld%s%s", dir, (long long)base_offset, suffixes[kind], suffix);
    return path;
}

char *path_join(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = malloc(size);
    if (path) snprintf(path, size, "%s/%s", dir, name);
    return path;
}
