#include "storage/checkpoint.h"

#include <assert.h>
#include <string.h>

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static struct slice trimmed(struct slice s)
{
    while (s.size > 0 && is_blank(s.data[0])) s.data++, s.size--;
    while (s.size > 0 && is_blank(s.data[s.size - 1])) s.size--;
    return s;
}

/* The next line that is not blank, trimmed. */
static bool line_next(struct slice *text, struct slice *line)
{
    while (text->size > 0) {
        const uint8_t *end = memchr(text->data, '\n', text->size);
        size_t size = end ? (size_t)(end - text->data) : text->size;
        *line = trimmed((struct slice){text->data, size});
        size_t taken = end ? size + 1 : size;
        text->data += taken;
        text->size -= taken;
        if (line->size > 0) return true;
    }
    return false;
}

static bool fields_split(struct slice line, struct slice *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        line = trimmed(line);
        size_t size = 0;
        while (size < line.size && !is_blank(line.data[size])) size++;
        if (size == 0) return false;
        fields[i] = (struct slice){line.data, size};
        line.data += size;
        line.size -= size;
    }
    return trimmed(line).size == 0;
}

enum error checkpoint_lines(struct slice text, size_t field_count,
                            enum error (*each)(void *context, const struct slice *fields), void *context)
{
    assert(field_count <= 4);
    struct slice line, fields[4];
    int64_t version, count;
    if (!line_next(&text, &line)) return OK;
    if (!slice_to_int64(line, 0, 0, &version)) return ERR_CORRUPT;
    if (!line_next(&text, &line)) return ERR_CORRUPT;
    if (!slice_to_int64(line, 0, INT32_MAX, &count)) return ERR_CORRUPT;

    for (int64_t i = 0; i < count; i++) {
        if (!line_next(&text, &line)) return ERR_CORRUPT;
        if (text.data[-1] != '\n')
            return ERR_CORRUPT; /* the power went: of its last number some digits may be missing */
        if (!fields_split(line, fields, field_count)) return ERR_CORRUPT;
        enum error err = each(context, fields);
        if (err != OK) return err;
    }
    return line_next(&text, &line) ? ERR_CORRUPT : OK;
}

struct offset_reader {
    enum error (*each)(void *context, struct slice topic, int32_t partition, int64_t offset);
    void *context;
};

static enum error offset_line(void *context, const struct slice *fields)
{
    struct offset_reader *reader = context;
    int64_t partition, offset;
    if (!slice_to_int64(fields[1], 0, INT32_MAX, &partition)) return ERR_CORRUPT;
    if (!slice_to_int64(fields[2], INT64_MIN, INT64_MAX, &offset)) return ERR_CORRUPT;
    return reader->each(reader->context, fields[0], (int32_t)partition, offset);
}

enum error offset_checkpoint_read(struct slice text,
                                  enum error (*each)(void *context, struct slice topic, int32_t partition,
                                                     int64_t offset),
                                  void *context)
{
    struct offset_reader reader = {each, context};
    return checkpoint_lines(text, 3, offset_line, &reader);
}

/* "key<separator>value", with blanks around either. */
static bool pair_split(struct slice line, char separator, struct slice *key, struct slice *value)
{
    const uint8_t *at = memchr(line.data, separator, line.size);
    if (!at) return false;
    size_t key_size = (size_t)(at - line.data);
    *key = trimmed((struct slice){line.data, key_size});
    *value = trimmed((struct slice){at + 1, line.size - key_size - 1});
    return true;
}

enum error partition_metadata_read(struct slice text, struct uuid *topic_id)
{
    struct slice line, key, value;
    struct uuid id = {0};
    bool has_version = false;
    while (line_next(&text, &line)) {
        int64_t version;
        if (!pair_split(line, ':', &key, &value)) return ERR_CORRUPT;
        if (slice_is(key, "version")) {
            if (!slice_to_int64(value, 0, 0, &version)) return ERR_CORRUPT;
            has_version = true;
        } else if (slice_is(key, "topic_id")) {
            if (!uuid_parse(value, &id)) return ERR_CORRUPT;
        }
    }
    if (!has_version || uuid_is_zero(&id)) return ERR_CORRUPT;
    *topic_id = id;
    return OK;
}

void partition_metadata_write(const struct uuid *topic_id, struct text *text)
{
    char id[UUID_TEXT_SIZE];
    uuid_format(topic_id, id);
    text_addf(text, "version: 0\ntopic_id: %s", id);
}

/* Java escapes ':', '=', '#', '!' and blanks in values with a backslash; no id needs one, but another writer may. */
static bool value_unescape(struct slice value, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] == '\\' && i + 1 < value.size) i++;
        if (value.data[i] == 0 || used + 1 >= size) return false;
        out[used++] = (char)value.data[i];
    }
    out[used] = 0;
    return true;
}

enum error meta_properties_read(struct slice text, struct meta_properties *meta)
{
    struct meta_properties read = {.version = -1, .broker_id = -1};
    struct slice line, key, value;
    while (line_next(&text, &line)) {
        int64_t number;
        if (line.data[0] == '#' || line.data[0] == '!') continue;
        if (!pair_split(line, '=', &key, &value)) return ERR_CORRUPT;
        if (slice_is(key, "version")) {
            if (!slice_to_int64(value, 0, INT32_MAX, &number)) return ERR_CORRUPT;
            read.version = (int32_t)number;
        } else if (slice_is(key, "broker.id") || slice_is(key, "node.id")) {
            if (!slice_to_int64(value, -1, INT32_MAX, &number)) return ERR_CORRUPT;
            read.broker_id = (int32_t)number;
        } else if (slice_is(key, "cluster.id")) {
            if (!value_unescape(value, read.cluster_id, sizeof read.cluster_id)) return ERR_CORRUPT;
        } else if (slice_is(key, "directory.id")) {
            if (!value_unescape(value, read.directory_id, sizeof read.directory_id)) return ERR_CORRUPT;
        }
    }
    if (read.version < 0) return ERR_CORRUPT;
    *meta = read;
    return OK;
}

void meta_properties_write(const struct meta_properties *meta, struct text *text)
{
    text_addf(text, "#\n#written by odradek\nversion=%d\n", (int)meta->version);
    if (meta->broker_id >= 0)
        text_addf(text, "%s=%d\n", meta->version == 0 ? "broker.id" : "node.id", (int)meta->broker_id);
    if (meta->cluster_id[0]) text_addf(text, "cluster.id=%s\n", meta->cluster_id);
    if (meta->directory_id[0]) text_addf(text, "directory.id=%s\n", meta->directory_id);
}

void clean_shutdown_write(int64_t broker_epoch, struct text *text)
{
    text_addf(text, "{\"version\":0,\"brokerEpoch\":%lld}", (long long)broker_epoch);
}
