/* znodes_admin.c: configs and their change notices, lists of partitions, features, producer ids. */
#include <stdio.h>
#include <string.h>

#include "metadata/json_read.h"
#include "metadata/znodes.h"

static const char *const config_types[] = {[CONFIG_TOPIC] = "topics",
                                           [CONFIG_CLIENT] = "clients",
                                           [CONFIG_USER] = "users",
                                           [CONFIG_BROKER] = "brokers",
                                           [CONFIG_IP] = "ips"};

const char *config_type_name(enum config_type type)
{
    return config_types[type];
}

bool config_type_parse(struct slice name, enum config_type *type)
{
    for (int i = 0; i < CONFIG_TYPE_COUNT; i++) {
        if (!slice_is(name, config_types[i])) continue;
        *type = (enum config_type)i;
        return true;
    }
    return false;
}

void znode_config_encode(const struct config_entry *entries, size_t count, struct text *out)
{
    text_addz(out, "{\"version\":1,\"config\":{");
    for (size_t i = 0; i < count; i++) {
        if (i) text_addc(out, ',');
        text_add_json(out, entries[i].key);
        text_addc(out, ':');
        text_add_json(out, entries[i].value);
    }
    text_addz(out, "}}");
}

enum error znode_config_decode(struct slice path, struct slice data, struct arena *arena,
                               struct config_entry **entries, size_t *count, struct znode_fault *fault)
{
    struct json_reader reader;
    struct config_entry *read = NULL;
    size_t read_count = 0;
    json_reader_begin(&reader, path, data, arena, fault);
    if (reader.err == OK) {
        json_field_number(&reader, reader.root, "version", 1, 1);
        json_t *config = json_field_object(&reader, reader.root, "config"), *value;
        read = json_alloc(&reader, json_object_size(config), sizeof *read);
        const char *key;
        json_object_foreach(config, key, value)
        {
            char field[128];
            snprintf(field, sizeof field, "config.%.100s", key);
            if (!read || reader.err != OK) break;
            read[read_count].key = arena_copy(arena, slice_of(key));
            read[read_count].value = json_text(&reader, value, field);
            if (!read[read_count].key.data) reader.err = ERR_NOMEM;
            read_count++;
        }
    }
    enum error err = json_reader_end(&reader);
    if (err != OK) return err;
    *entries = read;
    *count = read_count;
    return OK;
}

/* Unreserved are letters, digits and "-._"; "~" too, though Java's encoder would escape it. */
void entity_name_encode(struct slice name, struct text *out)
{
    if (slice_is(name, CONFIG_DEFAULT_ENTITY)) {
        text_add(out, name);
        return;
    }
    for (size_t i = 0; i < name.size; i++) {
        char c = (char)name.data[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        c == '-' || c == '.' || c == '_' || c == '~';
        if (is_plain)
            text_addc(out, c);
        else
            text_addf(out, "%%%02X", (unsigned char)c);
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

enum error entity_name_decode(struct slice encoded, struct arena *arena, struct slice *name)
{
    uint8_t *out = arena_alloc(arena, encoded.size + 1);
    if (!out) return ERR_NOMEM;
    size_t size = 0;
    for (size_t i = 0; i < encoded.size; i++) {
        uint8_t c = encoded.data[i];
        if (c == '%') {
            int high = i + 2 < encoded.size ? hex_digit(encoded.data[i + 1]) : -1;
            int low = i + 2 < encoded.size ? hex_digit(encoded.data[i + 2]) : -1;
            if (high < 0 || low < 0) return ERR_CORRUPT;
            c = (uint8_t)(high * 16 + low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[size++] = c;
    }
    out[size] = 0;
    *name = (struct slice){out, size};
    return OK;
}

void znode_config_change_encode(struct slice entity_path, struct text *out)
{
    text_addz(out, "{\"version\":2,\"entity_path\":");
    text_add_json(out, entity_path);
    text_addc(out, '}');
}

enum error znode_config_change_decode(struct slice path, struct slice data, struct arena *arena,
                                      struct slice *entity_path, struct znode_fault *fault)
{
    struct json_reader reader;
    struct slice read = SLICE_NULL;
    json_reader_begin(&reader, path, data, arena, fault);
    if (reader.err == OK) {
        int64_t version = json_field_number(&reader, reader.root, "version", 1, 2);
        if (version == 2) {
            read = json_field_text(&reader, reader.root, "entity_path");
        } else if (version == 1) {
            struct slice type = json_field_text(&reader, reader.root, "entity_type");
            struct slice name = json_field_text(&reader, reader.root, "entity_name");
            if (reader.err == OK && !slice_is(type, "topics") && !slice_is(type, "clients"))
                json_fail(&reader, "entity_type", "version 1 knows topics and clients only");
            if (reader.err == OK) read = arena_printf(arena, "%.*s/%.*s", SLICE_ARG(type), SLICE_ARG(name));
            if (reader.err == OK && !read.data) reader.err = ERR_NOMEM;
        }
    }
    enum error err = json_reader_end(&reader);
    if (err == OK) *entity_path = read;
    return err;
}

/* --- lists of partitions --- */

void znode_partitions_encode(const struct named_partition *partitions, size_t count, bool has_replicas,
                             struct text *out)
{
    text_addz(out, "{\"version\":1,\"partitions\":[");
    for (size_t i = 0; i < count; i++) {
        if (i) text_addc(out, ',');
        text_addz(out, "{\"topic\":");
        text_add_json(out, partitions[i].topic);
        text_addf(out, ",\"partition\":%d", partitions[i].partition);
        if (has_replicas) {
            text_addz(out, ",\"replicas\":[");
            for (size_t r = 0; r < partitions[i].replicas.count; r++)
                text_addf(out, "%s%d", r ? "," : "", partitions[i].replicas.items[r]);
            text_addc(out, ']');
        }
        text_addc(out, '}');
    }
    text_addz(out, "]}");
}

enum error znode_partitions_decode(struct slice path, struct slice data, struct arena *arena,
                                   bool has_replicas, struct named_partition **partitions, size_t *count,
                                   struct znode_fault *fault)
{
    struct json_reader reader;
    struct named_partition *read = NULL;
    size_t read_count = 0;
    json_reader_begin(&reader, path, data, arena, fault);
    if (reader.err == OK) {
        json_t *list = json_field_array(&reader, reader.root, "partitions");
        read_count = json_array_size(list);
        read = json_alloc(&reader, read_count, sizeof *read);
        for (size_t i = 0; read && i < read_count && reader.err == OK; i++) {
            json_t *item = json_array_get(list, i);
            char field[64];
            snprintf(field, sizeof field, "partitions[%zu]", i);
            if (!json_is_object(item)) {
                json_fail(&reader, field, "expected an object");
                break;
            }
            read[i].topic = json_field_text(&reader, item, "topic");
            read[i].partition = (int32_t)json_field_number(&reader, item, "partition", 0, INT32_MAX);
            if (has_replicas) read[i].replicas = json_ids(&reader, json_object_get(item, "replicas"), field);
        }
    }
    enum error err = json_reader_end(&reader);
    if (err != OK) return err;
    *partitions = read;
    *count = read_count;
    return OK;
}

void znode_log_dir_event_encode(int32_t broker_id, struct text *out)
{
    text_addf(out, "{\"version\":1,\"broker\":%d,\"event\":1}", broker_id);
}

enum error znode_log_dir_event_decode(struct slice path, struct slice data, int32_t *broker_id,
                                      struct znode_fault *fault)
{
    struct json_reader reader;
    int32_t read = 0;
    json_reader_begin(&reader, path, data, NULL, fault);
    if (reader.err == OK) {
        json_field_number(&reader, reader.root, "event", 1, 1);
        read = (int32_t)json_field_number(&reader, reader.root, "broker", 0, INT32_MAX);
    }
    enum error err = json_reader_end(&reader);
    if (err == OK) *broker_id = read;
    return err;
}

/* --- features --- */

void znode_feature_encode(const struct feature_node *node, struct text *out)
{
    text_addz(out, "{\"features\":{");
    for (size_t i = 0; i < node->count; i++) {
        if (i) text_addc(out, ',');
        text_add_json(out, node->features[i].name);
        text_addf(out, ":{\"max_version_level\":%d}", node->features[i].max_level);
    }
    text_addf(out, "},\"version\":2,\"status\":%d}", node->is_enabled ? 1 : 0);
}

enum error znode_feature_decode(struct slice path, struct slice data, struct arena *arena,
                                struct feature_node *node, struct znode_fault *fault)
{
    struct json_reader reader;
    struct feature_node read = {0};
    json_reader_begin(&reader, path, data, arena, fault);
    if (reader.err == OK) {
        int64_t version = json_field_number(&reader, reader.root, "version", 1, 2);
        read.is_enabled = json_field_number(&reader, reader.root, "status", 0, 1) == 1;
        json_t *object = json_field_object(&reader, reader.root, "features"), *level;
        struct image_feature *features = json_alloc(&reader, json_object_size(object), sizeof *features);
        const char *name;
        json_object_foreach(object, name, level)
        {
            if (reader.err != OK) break;
            struct image_feature *feature = &features[read.count++];
            feature->name = arena_copy(arena, slice_of(name));
            if (!feature->name.data) reader.err = ERR_NOMEM;
            feature->max_level =
                (int16_t)json_field_number(&reader, level, "max_version_level", 1, INT16_MAX);
            feature->min_level =
                version == 1 ? (int16_t)json_field_number(&reader, level, "min_version_level", 1, INT16_MAX)
                             : 1;
        }
        read.features = features;
    }
    enum error err = json_reader_end(&reader);
    if (err == OK) *node = read;
    return err;
}

/* --- producer ids --- */

void znode_producer_ids_encode(const struct producer_id_block *block, struct text *out)
{
    text_addf(out, "{\"version\":1,\"broker\":%d,\"block_start\":\"%lld\",\"block_end\":\"%lld\"}",
              block->broker_id, (long long)block->first, (long long)block->last);
}

static int64_t read_id(struct json_reader *reader, const char *key)
{
    const json_t *value = json_object_get(reader->root, key);
    int64_t id = 0;
    if (!json_is_string(value) || !slice_to_int64(slice_of(json_string_value(value)), 0, INT64_MAX, &id))
        json_fail(reader, key, "expected a number in a string");
    return id;
}

enum error znode_producer_ids_decode(struct slice path, struct slice data, struct producer_id_block *block,
                                     struct znode_fault *fault)
{
    struct json_reader reader;
    struct producer_id_block read = {0};
    json_reader_begin(&reader, path, data, NULL, fault);
    if (reader.err == OK) {
        read.broker_id = (int32_t)json_field_number(&reader, reader.root, "broker", 0, INT32_MAX);
        read.first = read_id(&reader, "block_start");
        read.last = read_id(&reader, "block_end");
        if (reader.err == OK && read.last < read.first)
            json_fail(&reader, "block_end", "lies before block_start");
    }
    enum error err = json_reader_end(&reader);
    if (err == OK) *block = read;
    return err;
}
