/* message_test.c: chosen bytes, hostile bytes, and random lives of every message in every version.
 * Apache's own word on all of this is test/interop/vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "wire/message_table.h"
#include "wire/messages.h"
#include "wire/recode.h"
#include "wire/utf8.h"

/* --- helpers --- */

static struct slice from_hex(const char *hex, struct text *bytes)
{
    text_reset(bytes);
    assert_true(hex_parse(slice_of(hex), bytes));
    return text_slice(bytes);
}

static void assert_encodes(const struct message_type *type, int16_t version, const void *message,
                           const char *hex)
{
    struct text want = {0}, got = {0};
    from_hex(hex, &want);
    size_t size = message_size(type, version, message);
    assert_int_not_equal(size, SIZE_MAX);
    uint8_t *out = malloc(size + 1);
    assert_int_equal(message_encode(type, version, message, out, NULL), size);
    hex_add(&got, (struct slice){out, size});
    struct text spelled = {0};
    hex_add(&spelled, text_slice(&want));
    assert_string_equal(got.data ? got.data : "", spelled.data ? spelled.data : "");
    free(out);
    text_free(&want);
    text_free(&got);
    text_free(&spelled);
}

/* --- chosen bytes --- */

static void test_golden(void **state)
{
    /* What every broker answers to an ApiVersions version it does not have; KIP-511. */
    struct api_versions_response_api_version only = {.api_key = 18, .min_version = 0, .max_version = 4};
    struct api_versions_response versions;
    api_versions_response_init(&versions);
    versions.error_code = 35;
    versions.api_keys.items = &only;
    versions.api_keys.count = 1;
    assert_encodes(&api_versions_response_type, 0, &versions, "0023 00000001 0012 0000 0004");
    /* Flexible: a tag section in each struct; all known tags are at their defaults. */
    assert_encodes(&api_versions_response_type, 3, &versions, "0023 02 0012 0000 0004 00 00000000 00");
    versions.finalized_features_epoch = 7;
    versions.zk_migration_ready = true;
    assert_encodes(&api_versions_response_type, 3, &versions,
                   "0023 02 0012 0000 0004 00 00000000 02 01 08 0000000000000007 03 01 01");

    struct metadata_request metadata;
    metadata_request_init(&metadata);
    assert_encodes(&metadata_request_type, 0, &metadata, "00000000");
    metadata.topics.count = -1;
    assert_encodes(&metadata_request_type, 1, &metadata, "ffffffff");
    assert_encodes(&metadata_request_type, 12, &metadata, "00 01 00 00");
    assert_int_equal(metadata_request_size(0, &metadata), SIZE_MAX); /* null came with version 1 */

    struct request_header header;
    request_header_init(&header);
    header.request_api_key = 3;
    header.request_api_version = 12;
    header.correlation_id = 9;
    header.client_id = SLICE("c");
    assert_encodes(&request_header_type, 2, &header, "0003 000c 00000009 0001 63 00"); /* classic string */
    header.client_id = SLICE_NULL;
    assert_encodes(&request_header_type, 1, &header, "0003 000c 00000009 ffff");

    /* A struct that may be null: an int8 before it, but a varint where it is a tag's value. */
    struct consumer_group_heartbeat_response heartbeat;
    consumer_group_heartbeat_response_init(&heartbeat);
    assert_encodes(&consumer_group_heartbeat_response_type, 0, &heartbeat,
                   "00000000 0000 00 00 00000000 00000000 ff 00");
    struct consumer_group_heartbeat_response_assignment assignment = {0};
    heartbeat.assignment = &assignment;
    assert_encodes(&consumer_group_heartbeat_response_type, 0, &heartbeat,
                   "00000000 0000 00 00 00000000 00000000 01 01 00 00");
    struct consumer_group_member_metadata_value member;
    consumer_group_member_metadata_value_init(&member);
    assert_encodes(&consumer_group_member_metadata_value_type, 0, &member,
                   "01 01 01 01 01 01 ffffffff 01 00");
    member.classic_member_metadata = NULL;
    assert_encodes(&consumer_group_member_metadata_value_type, 0, &member,
                   "01 01 01 01 01 01 ffffffff 01 01 00 01 00");

    struct leader_and_isr_request isr;
    leader_and_isr_request_init(&isr);
    isr.is_k_raft_controller = true;
    assert_int_equal(leader_and_isr_request_size(6, &isr), SIZE_MAX); /* may not be dropped */
    assert_int_not_equal(leader_and_isr_request_size(7, &isr), SIZE_MAX);
}

static void test_jute(void **state)
{
    struct zk_acl open_to_all = {.perms = 31, .id = {SLICE("world"), SLICE("anyone")}};
    struct zk_create_request create;
    zk_create_request_init(&create);
    create.path = SLICE("/a");
    create.data = SLICE_NULL;
    create.acl.items = &open_to_all;
    create.acl.count = 1;
    create.flags = 2;
    const char *hex =
        "00000002 2f61 ffffffff 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00000002";
    assert_encodes(&zk_create_request_type, 0, &create, hex);

    struct text bytes = {0};
    struct arena arena;
    arena_init(&arena, 0);
    struct zk_create_request back;
    size_t consumed;
    assert_int_equal(zk_create_request_decode(0, from_hex(hex, &bytes), &arena, &back, &consumed, NULL), OK);
    assert_int_equal(consumed, bytes.size);
    assert_true(slice_is(back.path, "/a"));
    assert_null(back.data.data);
    assert_int_equal(back.acl.count, 1);
    assert_true(slice_is(back.acl.items[0].id.id, "anyone"));

    /* Bytes that are not UTF-8 are kept, long strings are legal, null is legal everywhere. */
    struct zk_sync_request sync;
    assert_int_equal(zk_sync_request_decode(0, from_hex("00000002 ff2f", &bytes), &arena, &sync, NULL, NULL),
                     OK);
    assert_memory_equal(sync.path.data, "\xff/", 2);
    assert_int_equal(zk_sync_request_decode(0, from_hex("ffffffff", &bytes), &arena, &sync, NULL, NULL), OK);
    assert_null(sync.path.data);
    assert_int_equal(zk_sync_request_decode(0, from_hex("fffffffe", &bytes), &arena, &sync, NULL, NULL),
                     ERR_CORRUPT);

    struct zk_connect_request connect;
    zk_connect_request_init(&connect);
    assert_int_equal(zk_connect_request_size(0, &connect), 29);
    assert_int_equal(zk_connect_request_size(1, &connect), 28);
    arena_free(&arena);
    text_free(&bytes);
}

static void test_external_records(void **state)
{
    struct fetch_response_partition_data partitions[2];
    struct fetch_response_fetchable_topic_response topic;
    fetch_response_fetchable_topic_response_init(&topic);
    topic.partitions.items = partitions;
    topic.partitions.count = 2;
    struct fetch_response fetch;
    fetch_response_init(&fetch);
    fetch.responses.items = &topic;
    fetch.responses.count = 1;
    int slices[2];
    for (int i = 0; i < 2; i++) {
        fetch_response_partition_data_init(&partitions[i]);
        partitions[i].records = (struct records_field){.size = 1000 + i, .external = &slices[i]};
    }
    for (int16_t version = 0; version <= 18; version++) {
        size_t size = fetch_response_size(version, &fetch);
        assert_int_not_equal(size, SIZE_MAX);
        uint8_t out[512];
        struct splice room[2];
        struct splices splices = {room, 0, 2};
        size_t written = fetch_response_encode(version, &fetch, out, &splices);
        assert_int_equal(written + 2001, size);
        assert_int_equal(splices.count, 2);
        assert_ptr_equal(room[0].external, &slices[0]);
        assert_int_equal(room[1].size, 1001);
        assert_true(room[0].at < room[1].at && room[1].at <= written);
        /* Right before the place stands the length. */
        if (version < 12) {
            assert_int_equal(get_be32(out + room[0].at - 4), 1000);
        } else {
            assert_memory_equal(out + room[0].at - 2, "\xe9\x07", 2); /* 1001 = length + 1 */
        }
    }
}

/* --- what is merely accepted, and what is refused --- */

struct frame_case {
    const char *sentence;
    const struct message_type *type;
    int16_t version;
    const char *in;
    enum error err;
    const char *out; /* encoded again; or a part of the fault's text */
};

static const struct frame_case frame_cases[] = {
    {"bytes after the body are left alone", &metadata_request_type, 0, "00000000 ffff", OK, "00000000"},
    {"a varint may be longer than needed", &metadata_request_type, 9, "8100 01 00 00 8000", OK,
     "01 01 00 00 00"},
    {"but not than 5 bytes", &metadata_request_type, 9, "818080808000 01 00 00 00", ERR_CORRUPT,
     "topics: a varint longer than 5 bytes"},
    {"any negative length is null", &metadata_request_type, 1, "fffffff0", OK, "ffffffff"},
    {"a varint's high bits make it negative", &metadata_request_type, 9, "ffffffff0f 01 00 00 00", OK,
     "00 01 00 00 00"},
    {"null where the version forbids it", &metadata_request_type, 0, "ffffffff", ERR_CORRUPT,
     "topics: is null"},
    {"null element", &metadata_request_type, 1, "00000001 ffff", ERR_CORRUPT, "topics[0].name: is null"},
    {"more elements than bytes", &metadata_request_type, 0, "7fffffff 0000", ERR_TRUNCATED,
     "topics: 2147483647 elements but 2 bytes left"},
    {"a bool is anything but zero", &metadata_request_type, 4, "ffffffff 2a", OK, "ffffffff 01"},
    {"a string beyond the frame", &metadata_request_type, 0, "00000001 0005 6162", ERR_TRUNCATED,
     "topics[0].name: length 5 but 2 bytes left"},
    {"an empty frame", &metadata_request_type, 0, "", ERR_TRUNCATED, "topics: 4 bytes wanted but 0 left"},
    {"a version beyond the last", &metadata_request_type, 14, "", ERR_UNSUPPORTED, "versions 0-13, not 14"},
    {"a version below the first", &metadata_request_type, -1, "", ERR_UNSUPPORTED, "not -1"},
    {"an unknown tag is carried on", &metadata_request_type, 9, "01 01 00 00 01 05 02 abcd", OK,
     "01 01 00 00 01 05 02 abcd"},
    {"an unknown tag beyond the frame", &metadata_request_type, 9, "01 01 00 00 01 05 03 abcd", ERR_TRUNCATED,
     "tag 5 has 3 bytes but 2 left"},
    {"a negative count of tags is none", &metadata_request_type, 9, "01 01 00 00 ffffffff0f", OK,
     "01 01 00 00 00"},
    {"a tag at its default is not written again", &fetch_request_type, 12,
     "ffffffff 00000000 00000000 00000000 00 00000000 00000000 01 01 01 01 00 01 00", OK,
     "ffffffff 00000000 00000000 00000000 00 00000000 00000000 01 01 01 00"},
    {"tags in any order are sorted, unknown between known", &fetch_request_type, 15,
     "00000000 00000000 00000000 00 00000000 00000000 01 01 01 03 01 0d 00000005 0000000000000006 00 09 01 "
     "aa 00 02 0262",
     OK,
     "00000000 00000000 00000000 00 00000000 00000000 01 01 01 03 00 02 0262 01 0d 00000005 0000000000000006 "
     "00 09 01 aa"},
    {"a known tag that this version lacks", &fetch_request_type, 12,
     "ffffffff 00000000 00000000 00000000 00 00000000 00000000 01 01 01 01 01 00", ERR_CORRUPT,
     "tag 1 is not of version 12"},
    {"bytes that are not UTF-8 are replaced", &find_coordinator_request_type, 0, "0003 61ff62", OK,
     "0005 61efbfbd62"},
};

static void test_frames(void **state)
{
    struct text bytes = {0};
    for (size_t i = 0; i < sizeof frame_cases / sizeof *frame_cases; i++) {
        const struct frame_case *c = &frame_cases[i];
        struct arena arena;
        arena_init(&arena, 1 << 20);
        void *message = malloc(message_struct_size(c->type));
        struct decode_fault fault = {{0}};
        enum error err =
            message_decode(c->type, c->version, from_hex(c->in, &bytes), &arena, message, NULL, &fault);
        if (err != c->err) fail_msg("%s: %s, %s", c->sentence, error_name(err), fault.text);
        if (err == OK) {
            assert_encodes(c->type, c->version, message, c->out);
        } else if (!strstr(fault.text, c->out)) {
            fail_msg("%s: %s", c->sentence, fault.text);
        }
        free(message);
        arena_free(&arena);
    }
    text_free(&bytes);
}

static void test_strings_have_a_limit(void **state)
{
    uint8_t *frame = calloc(1, 40000);
    /* A classic length is an int16, so only flexible versions can claim more. */
    frame[0] = 0x81; /* varint 32769 = length 32768 */
    frame[1] = 0x80;
    frame[2] = 0x02;
    memset(frame + 3, 'x', 39000);
    struct arena arena;
    arena_init(&arena, 0);
    struct find_coordinator_request request;
    struct decode_fault fault;
    assert_int_equal(
        find_coordinator_request_decode(3, (struct slice){frame, 40000}, &arena, &request, NULL, &fault),
        ERR_CORRUPT);
    assert_string_equal(fault.text, "key: a string of 32768 bytes");
    assert_int_equal(request.key.size, 0); /* back at its defaults */
    frame[0] = 0x80;                       /* 32768 = length 32767 */
    assert_int_equal(
        find_coordinator_request_decode(3, (struct slice){frame, 40000}, &arena, &request, NULL, &fault), OK);
    request.key.size = 32768;
    request.key_type = 0;
    assert_int_equal(find_coordinator_request_size(3, &request), SIZE_MAX);
    assert_int_equal(find_coordinator_request_size(0, &request), SIZE_MAX);
    arena_free(&arena);
    free(frame);
}

static void test_memory_is_charged_first(void **state)
{
    /* 100,000 topics of 5 bytes each: over a megabyte of structs, against a budget of 100,000 bytes. */
    enum { TOPICS = 100000 };
    uint8_t *frame = calloc(TOPICS, 5);
    put_be32(frame, TOPICS);
    struct arena arena;
    arena_init(&arena, 100000);
    struct metadata_request request;
    struct decode_fault fault;
    struct slice in = {frame, (size_t)TOPICS * 5};
    assert_int_equal(metadata_request_decode(1, in, &arena, &request, NULL, &fault), ERR_NOMEM);
    assert_true(arena.used_bytes <= 100000);
    assert_string_equal(fault.text, "topics: no memory for 100000 elements");
    arena_free(&arena);
    free(frame);
}

static void test_utf8(void **state)
{
    /* As Java's decoder does it; each "fffd" is one U+FFFD. */
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"61", "61"},
        {"c3a9", "c3a9"},
        {"f09f9880", "f09f9880"},
        {"00", "00"},
        {"80", "efbfbd"},
        {"c0af", "efbfbdefbfbd"},
        {"c3", "efbfbd"},
        {"c361", "efbfbd61"},
        {"e2", "efbfbd"},
        {"e282", "efbfbd"},
        {"e28261", "efbfbd61"},
        {"e080af", "efbfbdefbfbdefbfbd"},
        {"eda080", "efbfbd"}, /* a surrogate is one */
        {"f0808080", "efbfbdefbfbdefbfbdefbfbd"},
        {"f09f98", "efbfbd"},
        {"f09f9861", "efbfbd61"},
        {"f4908080", "efbfbdefbfbdefbfbdefbfbd"},
        {"f5808080", "efbfbdefbfbdefbfbdefbfbd"},
        {"ff61fe", "efbfbd61efbfbd"},
        {"6162636465666768c3", "6162636465666768efbfbd"},
    };
    struct text in = {0}, want = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice bytes = from_hex(cases[i].in, &in);
        from_hex(cases[i].out, &want);
        uint8_t out[64];
        size_t size = utf8_replace(bytes, out);
        assert_int_equal(size, want.size);
        assert_memory_equal(out, want.data, size);
        assert_int_equal(utf8_is_valid(bytes), strcmp(cases[i].in, cases[i].out) == 0);
    }
    text_free(&in);
    text_free(&want);
}

/* --- unknown tags when encoding --- */

static void test_unknown_tags(void **state)
{
    struct unknown_tag tags[2] = {{4, SLICE("a")}, {9, SLICE("")}};
    struct metadata_request request;
    metadata_request_init(&request);
    request.unknown_tags = (struct unknown_tags){tags, 2};
    assert_encodes(&metadata_request_type, 9, &request, "01 01 00 00 02 04 01 61 09 00");
    assert_int_equal(metadata_request_size(8, &request), SIZE_MAX); /* no place for tags */
    tags[1].tag = 4;
    assert_int_equal(metadata_request_size(9, &request), SIZE_MAX); /* twice */
    tags[1].tag = 3;
    assert_int_equal(metadata_request_size(9, &request), SIZE_MAX); /* falling */
    tags[1].tag = INT32_MAX;
    assert_int_equal(metadata_request_size(9, &request), SIZE_MAX);
    struct fetch_request fetch;
    fetch_request_init(&fetch);
    tags[0].tag = 0;
    fetch.unknown_tags = (struct unknown_tags){tags, 1};
    assert_int_equal(fetch_request_size(12, &fetch), SIZE_MAX); /* the cluster id's */
}

/* --- tables and text --- */

static void test_apis(void **state)
{
    for (int16_t key = 0; key <= 92; key++) {
        const struct api *api = api_of(key);
        assert_non_null(api);
        assert_ptr_equal(api, api_at((size_t)key));
        assert_int_equal(api->key, key);
        assert_int_equal(message_min_version(api->request), api->min_version);
        assert_int_equal(message_max_version(api->response), api->max_version);
    }
    assert_null(api_of(93));
    assert_null(api_of(-1));
    assert_null(api_at(93));
    assert_string_equal(api_of(1)->name, "Fetch");
    assert_int_equal(api_of(0)->max_version, 13);
    assert_int_equal(api_of(4)->max_version, 7);
    assert_int_equal(api_of(8)->max_version, 10);

    assert_int_equal(api_request_header_version(7, 0), 0);
    assert_int_equal(api_request_header_version(7, 1), 1);
    assert_int_equal(api_request_header_version(0, 8), 1);
    assert_int_equal(api_request_header_version(0, 9), 2);
    assert_int_equal(api_request_header_version(18, 3), 2);
    assert_int_equal(api_response_header_version(18, 3), 0);
    assert_int_equal(api_response_header_version(0, 9), 1);
    assert_int_equal(api_response_header_version(17, 1), 0);

    assert_ptr_equal(message_type_named(SLICE("GroupMetadataValue")), &group_metadata_value_type);
    assert_ptr_equal(message_type_named(SLICE("TransactionLogKey")), &transaction_log_key_type);
    assert_null(message_type_named(SLICE("GroupMetadataValu")));
    assert_null(message_type_named(SLICE_NULL));
    for (size_t i = 0; i < message_type_count; i++) {
        assert_ptr_equal(message_type_named(slice_of(message_types[i]->name)), message_types[i]);
    }
}

static void assert_answer(void (*recode)(const char *, struct text *), const char *line, const char *want)
{
    struct text out = {0};
    recode(line, &out);
    assert_string_equal(out.data, want);
    text_free(&out);
}

static void test_lines(void **state)
{
    assert_answer(recode_rpc_line, "18 0 request - ignored\n", "-");
    assert_answer(recode_rpc_line, "3 0 request 00000000", "00000000");
    assert_answer(recode_rpc_line, "3 0 request 0000000", "ERR USAGE the bytes are not hex");
    assert_answer(recode_rpc_line, "", "ERR UNSUPPORTED no such api key");
    assert_answer(recode_rpc_line, "3 0 sideways 00",
                  "ERR USAGE a line is: apiKey apiVersion request|response hex");
    assert_answer(recode_rpc_line, "3 x request 00", "ERR USAGE the version is not a number");
    assert_answer(recode_rpc_line, "3 0 request 00",
                  "ERR TRUNCATED MetadataRequest v0: topics: 4 bytes wanted but 1 left");
    assert_answer(recode_msg_line, "OffsetCommitKey 1 - 0001 67",
                  "ERR TRUNCATED OffsetCommitKey v1: group: length 1 but 0 bytes left");
    assert_answer(recode_msg_line, "OffsetCommitKey 0 - 0001670001740000000a", "0001670001740000000a");
    assert_answer(recode_msg_line, "Nonsense 0 - 00", "ERR UNSUPPORTED no schema has this name");
    /* Two forms of one version: 3.9's early one, and the one that stayed. */
    assert_answer(recode_msg_line, "ShareGroupMetadataValue 0 - 0000000500", "0000000500");
    assert_answer(recode_msg_line, "ShareGroupMetadataValue 0 - 00000005000000000000000600",
                  "00000005000000000000000600");

    struct text out = {0}, bytes = {0};
    size_t consumed;
    assert_int_equal(
        decode_frame(
            18, 3, true,
            from_hex("0000 02 0012 0000 0004 00 00000000 02 01 08 0000000000000007 63 01 ff", &bytes), &out,
            &consumed, NULL),
        OK);
    assert_string_equal(out.data,
                        "{\"errorCode\":0,\"apiKeys\":[{\"apiKey\":18,\"minVersion\":0,\"maxVersion\":4}],"
                        "\"throttleTimeMs\":0,\"finalizedFeaturesEpoch\":7,"
                        "\"unknownTags\":[{\"tag\":99,\"data\":\"/w==\"}]}");
    struct decode_fault fault;
    assert_int_equal(decode_frame(93, 0, false, SLICE_NULL, &out, NULL, &fault), ERR_UNSUPPORTED);
    assert_string_equal(fault.text, "no such api key: 93");
    text_free(&out);
    text_free(&bytes);
}

/* --- random lives --- */

struct life {
    struct random random;
    struct arena arena;
    int16_t version;
};

static void live_struct(struct life *life, const struct message_struct *s, void *value);

static struct slice live_run(struct life *life, size_t most, bool is_text)
{
    size_t size = random_below(&life->random, 20) == 0 ? 130 : random_below(&life->random, most);
    uint8_t *data = arena_alloc(&life->arena, size + 1);
    for (size_t i = 0; i < size; i++) {
        data[i] =
            (uint8_t)(is_text ? 'a' + random_below(&life->random, 26) : random_below(&life->random, 256));
    }
    return (struct slice){data, size};
}

static void live_value(struct life *life, const struct message_field *field, bool may_be_null, void *out)
{
    bool is_null = may_be_null && random_below(&life->random, 3) == 0;
    switch ((enum field_kind)field->kind) {
    case KIND_BOOL: *(bool *)out = random_below(&life->random, 2); return;
    case KIND_STRING:
    case KIND_BYTES:
        *(struct slice *)out = is_null ? SLICE_NULL : live_run(life, 8, field->kind == KIND_STRING);
        return;
    case KIND_RECORDS: {
        struct slice run = live_run(life, 8, false);
        *(struct records_field *)out = is_null ? (struct records_field){NULL, -1, NULL}
                                               : (struct records_field){run.data, (int32_t)run.size, NULL};
        return;
    }
    case KIND_STRUCT: live_struct(life, field->of, out); return;
    default:
        for (size_t i = 0; i < message_field_element_size(field); i++) {
            ((uint8_t *)out)[i] = (uint8_t)random_below(&life->random, 256);
        }
    }
}

static void live_field(struct life *life, const struct message_field *field, void *out)
{
    bool may_be_null = life->version >= field->null_min && life->version <= field->null_max;
    if (field->is_array) {
        struct any_array *array = out;
        bool is_null = may_be_null && random_below(&life->random, 3) == 0;
        array->count = is_null ? -1 : (int32_t)random_below(&life->random, 4);
        array->items = NULL;
        if (array->count <= 0) return;
        size_t stride = message_field_element_size(field);
        array->items = arena_array(&life->arena, (size_t)array->count, stride);
        for (int32_t i = 0; i < array->count; i++) {
            live_value(life, field, false, (uint8_t *)array->items + (size_t)i * stride);
        }
    } else if (field->is_pointer) {
        void **pointer = out;
        *pointer = NULL;
        if (may_be_null && random_below(&life->random, 3) == 0) return;
        *pointer = arena_alloc(&life->arena, field->of->size);
        live_struct(life, field->of, *pointer);
    } else {
        live_value(life, field, may_be_null, out);
    }
}

static void live_struct(struct life *life, const struct message_struct *s, void *value)
{
    const struct message_plan *plan = &s->plans[s->plan_of_version[life->version]];
    memcpy(value, s->defaults, s->size);
    for (unsigned i = 0; i < (unsigned)plan->untagged + plan->tagged; i++) {
        const struct message_field *field = &s->fields[plan->order[i]];
        if (i >= plan->untagged && random_below(&life->random, 2) == 0) continue;
        live_field(life, field, (uint8_t *)value + field->offset);
    }
    if (plan->encoding == WIRE_COMPACT && random_below(&life->random, 4) == 0) {
        struct unknown_tags *unknown = (struct unknown_tags *)(void *)((uint8_t *)value + s->unknown_tags);
        unknown->count = 1;
        unknown->items = arena_alloc(&life->arena, sizeof *unknown->items);
        *unknown->items =
            (struct unknown_tag){20 + random_below(&life->random, 300), live_run(life, 5, false)};
    }
}

/* Encodes, decodes, encodes: the same bytes. Returns them. */
static struct slice round_trip(const struct message_type *type, int16_t version, const void *message,
                               struct arena *arena, const char *when)
{
    size_t size = message_size(type, version, message);
    if (size == SIZE_MAX) fail_msg("%s v%d has no size, %s", type->name, version, when);
    uint8_t *first = arena_alloc(arena, size + 1), *second = arena_alloc(arena, size + 1);
    assert_int_equal(message_encode(type, version, message, first, NULL), size);
    void *back = arena_alloc(arena, message_struct_size(type) + 1);
    size_t consumed = 0;
    struct decode_fault fault;
    enum error err =
        message_decode(type, version, (struct slice){first, size}, arena, back, &consumed, &fault);
    if (err != OK) fail_msg("%s v%d: %s, %s", type->name, version, fault.text, when);
    assert_int_equal(consumed, size);
    assert_int_equal(message_size(type, version, back), size);
    assert_int_equal(message_encode(type, version, back, second, NULL), size);
    if (size > 0 && memcmp(first, second, size) != 0)
        fail_msg("%s v%d differs, %s", type->name, version, when);
    return (struct slice){first, size};
}

static void damage(struct random *random, struct slice bytes, uint8_t *out, size_t *size)
{
    memcpy(out, bytes.data, bytes.size);
    *size = bytes.size;
    for (uint64_t i = 1 + random_below(random, 3); i > 0 && *size > 0; i--) {
        switch (random_below(random, 4)) {
        case 0: *size = random_below(random, *size); break;
        case 1: out[random_below(random, *size)] = 0xff; break;
        default: out[random_below(random, *size)] = (uint8_t)random_below(random, 256);
        }
    }
}

static void test_random_lives(void **state)
{
    uint64_t lives = 0, survived = 0;
    for (size_t t = 0; t < message_type_count; t++) {
        const struct message_type *type = message_types[t];
        for (int16_t version = type->min_version; version <= type->max_version; version++) {
            for (uint64_t seed = 0; seed < 6; seed++) {
                struct life life = {.version = version};
                random_seed(&life.random, t * 1000 + (uint64_t)version * 10 + seed);
                arena_init(&life.arena, 0);
                char when[32];
                snprintf(when, sizeof when, "seed %d", (int)seed);
                void *message = arena_alloc(&life.arena, message_struct_size(type) + 1);
                live_struct(&life, type->body, message);
                struct slice bytes = round_trip(type, version, message, &life.arena, when);

                struct text json = {0};
                message_print(type, version, message, &json);
                assert_true(json.size >= 2 && json.data[0] == '{' && json.data[json.size - 1] == '}');
                text_free(&json);

                for (int i = 0; i < 12; i++) {
                    size_t size;
                    /* Exactly as large as needed, so that a sanitizer sees any step beyond. */
                    uint8_t *damaged = malloc(bytes.size + 1);
                    damage(&life.random, bytes, damaged, &size);
                    uint8_t *tight = malloc(size ? size : 1);
                    memcpy(tight, damaged, size);
                    struct arena arena;
                    arena_init(&arena, 1 << 20);
                    struct decode_fault fault = {{0}};
                    enum error err = message_decode(type, version, (struct slice){tight, size}, &arena,
                                                    message, NULL, &fault);
                    lives++;
                    if (err == OK && message_size(type, version, message) != SIZE_MAX) {
                        survived++;
                        round_trip(type, version, message, &life.arena, when);
                    } else if (err != OK) {
                        assert_true(fault.text[0] != 0);
                    }
                    arena_free(&arena);
                    free(tight);
                    free(damaged);
                }
                arena_free(&life.arena);
            }
        }
    }
    assert_true(survived > lives / 10 &&
                survived < lives); /* the damage is neither harmless nor always fatal */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_jute),
        cmocka_unit_test(test_external_records),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_strings_have_a_limit),
        cmocka_unit_test(test_memory_is_charged_first),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_unknown_tags),
        cmocka_unit_test(test_apis),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_random_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
