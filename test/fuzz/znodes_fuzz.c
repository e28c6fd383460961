/* znodes_fuzz: any bytes as the content of each of Kafka's znodes. Refused with a fault that says where; or what was read is
 * written again, reads again, and is then written the same. */
#include <stdlib.h>

#include "fuzz.h"
#include "metadata/znodes.h"

struct reading {
    struct arena *arena;
    struct znode_fault *fault;
    struct text *out;
};

static enum error recode_lists(struct reading *r, struct slice path, struct slice data, int kind)
{
    size_t count = 0;
    enum error err;
    if (kind == 0) {
        struct config_entry *entries = NULL;
        err = znode_config_decode(path, data, r->arena, &entries, &count, r->fault);
        if (err == OK) znode_config_encode(entries, count, r->out);
        return err;
    }
    struct named_partition *partitions = NULL;
    err = znode_partitions_decode(path, data, r->arena, kind == 2, &partitions, &count, r->fault);
    if (err == OK) znode_partitions_encode(partitions, count, kind == 2, r->out);
    return err;
}

static void check_topic(const struct topic_assignment *topic)
{
    for (size_t i = 0; i < topic->partition_count; i++) {
        for (size_t k = 0; k < topic->replicas[i].count; k++) CHECK(topic->replicas[i].items[k] >= 0);
    }
}

static enum error recode(int kind, struct slice data, struct reading *r)
{
    struct slice path = SLICE("/a/znode"), text = SLICE_NULL;
    enum error err = OK;
    int32_t number = 0;
    union {
        struct broker_registration broker;
        struct topic_assignment topic;
        struct partition_state state;
        struct controller_owner owner;
        struct feature_node feature;
        struct producer_id_block block;
    } as = {0};
    switch (kind) {
    case 0:
        path = SLICE("/brokers/ids/3");
        err = znode_broker_decode(path, data, r->arena, &as.broker, r->fault);
        if (err == OK) znode_broker_encode(&as.broker, r->out);
        break;
    case 1:
        err = znode_topic_decode(path, data, r->arena, &as.topic, r->fault);
        if (err == OK) check_topic(&as.topic);
        if (err == OK) znode_topic_encode(&as.topic, r->out);
        break;
    case 2:
        err = znode_state_decode(path, data, r->arena, &as.state, r->fault);
        if (err == OK) znode_state_encode(&as.state, r->out);
        break;
    case 3:
        err = znode_controller_decode(path, data, &as.owner, r->fault);
        if (err == OK) znode_controller_encode(&as.owner, r->out);
        break;
    case 4:
        err = znode_epoch_decode(path, data, &number, r->fault);
        if (err == OK) text_addf(r->out, "%d", number);
        break;
    case 5:
        err = znode_cluster_id_decode(path, data, r->arena, &text, r->fault);
        if (err == OK) znode_cluster_id_encode(text, r->out);
        break;
    case 6:
    case 7:
    case 8: err = recode_lists(r, path, data, kind - 6); break;
    case 9:
        err = znode_config_change_decode(path, data, r->arena, &text, r->fault);
        if (err == OK) znode_config_change_encode(text, r->out);
        break;
    case 10:
        err = znode_log_dir_event_decode(path, data, &number, r->fault);
        if (err == OK) znode_log_dir_event_encode(number, r->out);
        break;
    case 11:
        err = znode_feature_decode(path, data, r->arena, &as.feature, r->fault);
        if (err == OK) znode_feature_encode(&as.feature, r->out);
        break;
    case 12:
        err = znode_producer_ids_decode(path, data, &as.block, r->fault);
        if (err == OK) znode_producer_ids_encode(&as.block, r->out);
        break;
    default:
        err = entity_name_decode(data, r->arena, &text);
        if (err == OK) entity_name_encode(text, r->out);
        if (err != OK) r->fault->text[0] = '%'; /* this one has no fault to give */
        break;
    }
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct znode_fault fault = {{0}};
    struct text once = {0}, twice = {0};
    struct reading first = {&arena, &fault, &once}, second = {&arena, &fault, &twice};
    int kind = data[0] % 14;
    enum error err = recode(kind, (struct slice){data + 1, size - 1}, &first);
    if (err != OK) {
        CHECK(fault.text[0] != 0 && memchr(fault.text, 0, sizeof fault.text));
        CHECK(once.size == 0);
    } else {
        CHECK(recode(kind, text_slice(&once), &second) == OK);
        CHECK(slice_equal(text_slice(&once), text_slice(&twice)));
    }
    text_free(&once);
    text_free(&twice);
    arena_free(&arena);
    return 0;
}
