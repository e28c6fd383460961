/* znodes.c: brokers, topics, partition states, the controller, the cluster. */
#include "metadata/znodes.h"

#include <stdio.h>
#include <string.h>

#include "metadata/json_read.h"

static void add_ids(struct text *out, struct int32_list ids)
{
    text_addc(out, '[');
    for (size_t i = 0; i < ids.count; i++) text_addf(out, "%s%d", i ? "," : "", ids.items[i]);
    text_addc(out, ']');
}

/* --- brokers --- */

static const char *const protocols[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};

const char *security_protocol_name(int16_t protocol)
{
    return protocol >= 0 && protocol < 4 ? protocols[protocol] : NULL;
}

bool security_protocol_of_name(struct slice name, int16_t *protocol)
{
    for (int16_t i = 0; i < 4; i++) {
        if (!slice_is(name, protocols[i])) continue;
        *protocol = i;
        return true;
    }
    return false;
}

static void add_endpoint(struct text *out, const struct broker_endpoint *endpoint)
{
    struct text uri = {0};
    bool is_ipv6 = endpoint->host.size > 0 && memchr(endpoint->host.data, ':', endpoint->host.size);
    text_addf(&uri, "%.*s://%s%.*s%s:%d", SLICE_ARG(endpoint->listener), is_ipv6 ? "[" : "",
              SLICE_ARG(endpoint->host), is_ipv6 ? "]" : "", endpoint->port);
    text_add_json(out, text_slice(&uri));
    if (uri.failed) out->failed = true;
    text_free(&uri);
}

void znode_broker_encode(const struct broker_registration *broker, struct text *out)
{
    /* Clients of old that read host and port talk plaintext. */
    const struct broker_endpoint *plain = NULL;
    text_addz(out, "{\"features\":{");
    for (size_t i = 0; i < broker->feature_count; i++) {
        const struct broker_feature *feature = &broker->features[i];
        if (i) text_addc(out, ',');
        text_add_json(out, feature->name);
        text_addf(out, ":{\"min_version\":%d,\"max_version\":%d}", feature->min_version,
                  feature->max_version);
    }
    text_addz(out, "},\"listener_security_protocol_map\":{");
    for (size_t i = 0; i < broker->endpoint_count; i++) {
        const struct broker_endpoint *endpoint = &broker->endpoints[i];
        if (i) text_addc(out, ',');
        text_add_json(out, endpoint->listener);
        text_addc(out, ':');
        text_add_json(out, slice_of(security_protocol_name(endpoint->security_protocol)));
        if (!plain && endpoint->security_protocol == 0) plain = endpoint;
    }
    text_addz(out, "},\"endpoints\":[");
    for (size_t i = 0; i < broker->endpoint_count; i++) {
        if (i) text_addc(out, ',');
        add_endpoint(out, &broker->endpoints[i]);
    }
    text_addc(out, ']');
    if (broker->rack.data) {
        text_addz(out, ",\"rack\":");
        text_add_json(out, broker->rack);
    }
    text_addf(out, ",\"jmx_port\":%d,\"port\":%d,\"host\":", broker->jmx_port, plain ? plain->port : -1);
    if (plain)
        text_add_json(out, plain->host);
    else
        text_addz(out, "null");
    text_addf(out, ",\"version\":5,\"timestamp\":\"%lld\"", (long long)broker->timestamp_ms);
    if (broker->alive_since_zxid > 0)
        text_addf(out, ",\"odradek_alive_since\":%lld", (long long)broker->alive_since_zxid);
    if (broker->shrinks_itself) text_addz(out, ",\"odradek_shrinks_itself\":true");
    text_addc(out, '}');
}

/* "LISTENER://host:port", "LISTENER://[v6]:port". */
static bool parse_endpoint(struct slice uri, struct broker_endpoint *endpoint)
{
    const uint8_t *scheme = memmem(uri.data, uri.size, "://", 3);
    if (!scheme || scheme == uri.data) return false;
    endpoint->listener = (struct slice){uri.data, (size_t)(scheme - uri.data)};
    struct slice rest = {scheme + 3, uri.size - endpoint->listener.size - 3};
    const uint8_t *colon = memrchr(rest.data, ':', rest.size);
    int64_t port;
    if (!colon || !slice_to_int64((struct slice){colon + 1, (size_t)(rest.data + rest.size - colon - 1)}, -1,
                                  65535, &port))
        return false;
    endpoint->host = (struct slice){rest.data, (size_t)(colon - rest.data)};
    if (endpoint->host.size >= 2 && rest.data[0] == '[' && colon[-1] == ']')
        endpoint->host = (struct slice){rest.data + 1, endpoint->host.size - 2};
    endpoint->port = (int32_t)port;
    return true;
}

static void read_endpoints(struct json_reader *reader, struct broker_registration *broker)
{
    json_t *uris = json_field_array(reader, reader->root, "endpoints");
    const json_t *map = json_find(reader->root, "listener_security_protocol_map");
    size_t count = json_array_size(uris);
    struct broker_endpoint *endpoints = json_alloc(reader, count, sizeof *endpoints);
    for (size_t i = 0; endpoints && i < count && reader->err == OK; i++) {
        char field[64];
        snprintf(field, sizeof field, "endpoints[%zu]", i);
        struct slice uri = json_text(reader, json_array_get(uris, i), field);
        if (reader->err != OK) break;
        if (!parse_endpoint(uri, &endpoints[i])) {
            json_fail(reader, field, "not LISTENER://host:port");
            break;
        }
        /* Before version 4 a listener was named as its protocol. */
        char name[256];
        slice_text(endpoints[i].listener, name, sizeof name);
        const json_t *said = json_find(map, name);
        struct slice protocol = said ? slice_of(json_string_value(said)) : endpoints[i].listener;
        if (!protocol.data || !security_protocol_of_name(protocol, &endpoints[i].security_protocol))
            json_fail(reader, field, "its listener has no known security protocol");
    }
    broker->endpoints = endpoints;
    broker->endpoint_count = reader->err == OK ? count : 0;
}

static void read_features(struct json_reader *reader, struct broker_registration *broker)
{
    json_t *object = json_find(reader->root, "features");
    struct broker_feature *features = json_alloc(reader, json_object_size(object), sizeof *features);
    const char *name;
    json_t *range;
    size_t count = 0;
    if (!features) return;
    json_object_foreach(object, name, range)
    {
        struct broker_feature *feature = &features[count++];
        feature->name = arena_copy(reader->arena, slice_of(name));
        if (!feature->name.data) reader->err = ERR_NOMEM;
        feature->min_version = (int16_t)json_field_number(reader, range, "min_version", 0, INT16_MAX);
        feature->max_version = (int16_t)json_field_number(reader, range, "max_version", 0, INT16_MAX);
    }
    broker->features = features;
    broker->feature_count = count;
}

static int64_t read_timestamp(struct json_reader *reader, const char *key)
{
    const json_t *value = json_find(reader->root, key);
    int64_t timestamp_ms = 0;
    if (json_is_integer(value)) return json_integer_value(value);
    if (value && !slice_to_int64(slice_of(json_string_value(value)), INT64_MIN, INT64_MAX, &timestamp_ms))
        json_fail(reader, key, "not a time in milliseconds");
    return timestamp_ms;
}

enum error znode_broker_decode(struct slice path, struct slice data, struct arena *arena,
                               struct broker_registration *broker, struct znode_fault *fault)
{
    struct json_reader reader;
    struct broker_registration read = {.rack = SLICE_NULL};
    json_reader_begin(&reader, path, data, arena, fault);
    if (reader.err == OK) {
        json_field_number(&reader, reader.root, "version", 2, 100);
        read.jmx_port = (int32_t)json_field_number(&reader, reader.root, "jmx_port", -1, 65535);
        read.timestamp_ms = read_timestamp(&reader, "timestamp");
        const json_t *since = json_find(reader.root, "odradek_alive_since");
        read.alive_since_zxid = json_is_integer(since) ? json_integer_value(since) : 0;
        read.shrinks_itself = json_is_true(json_find(reader.root, "odradek_shrinks_itself"));
        if (json_find(reader.root, "rack")) read.rack = json_field_text(&reader, reader.root, "rack");
        read_endpoints(&reader, &read);
        read_features(&reader, &read);
    }
    enum error err = json_reader_end(&reader);
    if (err != OK) return err;
    const uint8_t *slash = path.size ? memrchr(path.data, '/', path.size) : NULL;
    int64_t id = -1;
    if (slash && !slice_to_int64((struct slice){slash + 1, (size_t)(path.data + path.size - slash - 1)}, 0,
                                 INT32_MAX, &id))
        id = -1;
    read.id = (int32_t)id;
    *broker = read;
    return OK;
}

/* --- topics --- */

static void add_lists(struct text *out, const char *key, const struct int32_list *lists, size_t count,
                      bool with_empty)
{
    bool is_first = true;
    text_addf(out, "\"%s\":{", key);
    for (size_t i = 0; lists && i < count; i++) {
        if (lists[i].count == 0 && !with_empty) continue;
        text_addf(out, "%s\"%zu\":", is_first ? "" : ",", i);
        add_ids(out, lists[i]);
        is_first = false;
    }
    text_addc(out, '}');
}

void znode_topic_encode(const struct topic_assignment *topic, struct text *out)
{
    text_addc(out, '{');
    add_lists(out, "partitions", topic->replicas, topic->partition_count, true);
    if (!uuid_is_zero(&topic->id)) {
        char id[UUID_TEXT_SIZE];
        uuid_format(&topic->id, id);
        text_addf(out, ",\"topic_id\":\"%s\"", id);
    }
    text_addc(out, ',');
    add_lists(out, "adding_replicas", topic->adding, topic->partition_count, false);
    text_addc(out, ',');
    add_lists(out, "removing_replicas", topic->removing, topic->partition_count, false);
    text_addz(out, ",\"version\":3}");
}

static void read_lists(struct json_reader *reader, const char *key, const json_t *object,
                       struct int32_list *lists, size_t count)
{
    const char *name;
    json_t *ids;
    if (object && !json_is_object(object)) json_fail(reader, key, "expected an object");
    json_object_foreach((json_t *)object, name, ids)
    {
        char field[96];
        int64_t index;
        snprintf(field, sizeof field, "%s.%.60s", key, name);
        if (!slice_to_int64(slice_of(name), 0, (int64_t)count - 1, &index)) {
            json_fail(reader, field, "partitions must be numbered from 0 without gaps");
            return;
        }
        lists[index] = json_ids(reader, ids, field);
        if (reader->err != OK) return;
    }
}

enum error znode_topic_decode(struct slice path, struct slice data, struct arena *arena,
                              struct topic_assignment *topic, struct znode_fault *fault)
{
    struct json_reader reader;
    struct topic_assignment read = {0};
    json_reader_begin(&reader, path, data, arena, fault);
    if (reader.err == OK) {
        int64_t version = json_field_number(&reader, reader.root, "version", 1, 100);
        json_t *partitions = json_field_object(&reader, reader.root, "partitions");
        size_t count = json_object_size(partitions);
        struct int32_list *lists = json_alloc(&reader, 3 * count, sizeof *lists);
        if (lists) {
            read = (struct topic_assignment){.replicas = lists,
                                             .adding = lists + count,
                                             .removing = lists + 2 * count,
                                             .partition_count = count};
            read_lists(&reader, "partitions", partitions, read.replicas, count);
            if (version >= 2) {
                read_lists(&reader, "adding_replicas", json_find(reader.root, "adding_replicas"), read.adding,
                           count);
                read_lists(&reader, "removing_replicas", json_find(reader.root, "removing_replicas"),
                           read.removing, count);
            }
            for (size_t i = 0; i < count && reader.err == OK; i++) {
                char field[64];
                snprintf(field, sizeof field, "partitions.%zu", i);
                if (read.replicas[i].count == 0) json_fail(&reader, field, "expected replicas, found none");
            }
        }
        const json_t *id = version >= 3 ? json_find(reader.root, "topic_id") : NULL;
        if (id && !uuid_parse(json_text(&reader, id, "topic_id"), &read.id))
            json_fail(&reader, "topic_id", "not 22 characters of URL-safe base64");
    }
    enum error err = json_reader_end(&reader);
    if (err == OK) *topic = read;
    return err;
}

/* --- partition states --- */

void znode_state_encode(const struct partition_state *state, struct text *out)
{
    text_addf(out, "{\"controller_epoch\":%d,\"leader\":%d,\"version\":1,\"leader_epoch\":%d,\"isr\":",
              state->controller_epoch, state->leader, state->leader_epoch);
    add_ids(out, state->isr);
    if (state->is_recovering) text_addz(out, ",\"leader_recovery_state\":1");
    text_addc(out, '}');
}

enum error znode_state_decode(struct slice path, struct slice data, struct arena *arena,
                              struct partition_state *state, struct znode_fault *fault)
{
    struct json_reader reader;
    struct partition_state read = {0};
    json_reader_begin(&reader, path, data, arena, fault);
    if (reader.err == OK) {
        read.controller_epoch =
            (int32_t)json_field_number(&reader, reader.root, "controller_epoch", 0, INT32_MAX);
        read.leader = (int32_t)json_field_number(&reader, reader.root, "leader", -1, INT32_MAX);
        read.leader_epoch = (int32_t)json_field_number(&reader, reader.root, "leader_epoch", 0, INT32_MAX);
        read.isr = json_ids(&reader, json_object_get(reader.root, "isr"), "isr");
        read.is_recovering =
            json_field_number_or(&reader, reader.root, "leader_recovery_state", 0, 1, 0) == 1;
    }
    enum error err = json_reader_end(&reader);
    if (err == OK) *state = read;
    return err;
}

/* --- the controller, the cluster --- */

void znode_controller_encode(const struct controller_owner *owner, struct text *out)
{
    text_addf(out, "{\"version\":2,\"brokerid\":%d,\"timestamp\":\"%lld\",\"kraftControllerEpoch\":%d}",
              owner->broker_id, (long long)owner->timestamp_ms, owner->kraft_controller_epoch);
}

enum error znode_controller_decode(struct slice path, struct slice data, struct controller_owner *owner,
                                   struct znode_fault *fault)
{
    struct json_reader reader;
    struct controller_owner read = {0};
    json_reader_begin(&reader, path, data, NULL, fault);
    if (reader.err == OK) {
        read.broker_id = (int32_t)json_field_number(&reader, reader.root, "brokerid", 0, INT32_MAX);
        read.timestamp_ms = read_timestamp(&reader, "timestamp");
        read.kraft_controller_epoch =
            (int32_t)json_field_number_or(&reader, reader.root, "kraftControllerEpoch", -1, INT32_MAX, -1);
    }
    enum error err = json_reader_end(&reader);
    if (err == OK) *owner = read;
    return err;
}

enum error znode_epoch_decode(struct slice path, struct slice data, int32_t *epoch, struct znode_fault *fault)
{
    int64_t number;
    if (!slice_to_int64(data, 0, INT32_MAX, &number)) {
        if (fault)
            snprintf(fault->text, sizeof fault->text, "%.*s: expected a number, found \"%.*s\"",
                     SLICE_ARG(path), (int)(data.size < 40 ? data.size : 40),
                     data.data ? (const char *)data.data : "");
        return ERR_CORRUPT;
    }
    *epoch = (int32_t)number;
    return OK;
}

void znode_cluster_id_encode(struct slice id, struct text *out)
{
    text_addz(out, "{\"version\":\"1\",\"id\":");
    text_add_json(out, id);
    text_addc(out, '}');
}

enum error znode_cluster_id_decode(struct slice path, struct slice data, struct arena *arena,
                                   struct slice *id, struct znode_fault *fault)
{
    struct json_reader reader;
    struct slice read = SLICE_NULL;
    json_reader_begin(&reader, path, data, arena, fault);
    if (reader.err == OK) read = json_field_text(&reader, reader.root, "id");
    enum error err = json_reader_end(&reader);
    if (err == OK) *id = read;
    return err;
}
