/* group_replay_fuzz: any records as the content of a partition of __consumer_offsets: other kinds of groups, other versions,
 * damage. The input is a list of
 *
 *     u8 flags | u8 key size | u16 value size | key | value       flags: 1 transactional, 2 a marker, 4 a commit's, 8 a tombstone
 *                                                                 high bits: the producer
 *
 * Whatever was read must be a state: written again and read by another brain it is the same groups; its sessions run out,
 * its offsets expire, and nothing is left. */
#include <stdlib.h>

#include "base/diag.h"
#include "fuzz.h"
#include "group/brain.h"

static void feed(struct group_shard *shard, struct slice in)
{
    for (int64_t offset = 0; in.size >= 4; offset++) {
        uint8_t flags = in.data[0];
        size_t key_size = in.data[1], value_size = get_be16(in.data + 2);
        in = (struct slice){in.data + 4, in.size - 4};
        if (key_size > in.size) key_size = in.size;
        struct slice key = {in.data, key_size};
        in = (struct slice){in.data + key_size, in.size - key_size};
        if (value_size > in.size) value_size = in.size;
        struct slice value = {in.data, value_size};
        in = (struct slice){in.data + value_size, in.size - value_size};
        if (flags & 2) {
            offsets_end_transaction(shard, flags >> 4, flags & 4);
            continue;
        }
        const struct statelog_record record = {.offset = offset,
                                               .producer_id = flags & 1 ? flags >> 4 : -1,
                                               .key = key,
                                               .value = flags & 8 ? SLICE_NULL : value};
        group_shard_replay(shard, &record);
    }
}

/* What is to be written goes into `copy`, if there is one, and is committed at once. */
static void settle(struct group_shard *shard, struct group_shard *copy, int64_t *end_offset)
{
    while (!list_empty(&shard->writes)) {
        struct group_write *write = CONTAINER_OF(shard->writes.next, struct group_write, link);
        list_remove(&write->link);
        for (size_t i = 0; copy && i < write->entry_count; i++) {
            const struct group_write_entry *entry = &write->entries[i];
            const uint8_t *bytes = (const uint8_t *)write->bytes.data;
            struct slice value = {bytes + entry->value_at, entry->value_size};
            if (entry->value_size == SIZE_MAX) value = SLICE_NULL;
            group_shard_replay(copy,
                               &(struct statelog_record){.offset = *end_offset + (int64_t)i,
                                                         .producer_id = -1,
                                                         .key = {bytes + entry->key_at, entry->key_size},
                                                         .value = value});
        }
        int64_t first_offset = *end_offset;
        *end_offset += (int64_t)write->entry_count;
        group_shard_written(shard, write, OK, first_offset);
    }
}

/* Version 4 of both records has room for strings that version 3, which we write, has not. */
static bool is_writable(const struct group *group)
{
    LIST_EACH(&group->members, item)
    {
        const struct member *member = CONTAINER_OF(item, struct member, link);
        if (member->id.size > INT16_MAX || member->instance_id.size > INT16_MAX) return false;
        if (member->client_id.size > INT16_MAX || member->client_host.size > INT16_MAX) return false;
    }
    return group->protocol_type.size <= INT16_MAX && group->protocol.size <= INT16_MAX;
}

static void write_again(struct group_shard *shard, struct group *group, struct group_shard *copy,
                        int64_t *end_offset)
{
    struct group_write *write = group_write_new(shard, WRITE_OFFSETS, group);
    CHECK(write);
    struct map_slot *topic_slot, *slot;
    for (size_t i = 0; (topic_slot = map_next(&group->topics, &i));) {
        const struct offset_topic *topic = topic_slot->value;
        for (size_t j = 0; (slot = map_next(&topic->partitions, &j));) {
            struct offset_entry *entry = slot->value;
            if (!entry->has_value || entry->value.metadata.size > INT16_MAX) continue;
            CHECK(group_write_offset(write, entry, &entry->value));
        }
    }
    if (group->has_record && is_writable(group)) CHECK(group_write_metadata(write, group, METADATA_PRESENT));
    if (write->entry_count > 0)
        group_write_submit(write);
    else
        group_write_free(write);
    settle(shard, copy, end_offset);
}

static void compare(const struct group *group, const struct group_shard *copy)
{
    const struct group *other = group_find(copy, group->id);
    if (!is_writable(group)) return;
    CHECK(other || !group->has_record);
    if (!other) return;
    CHECK(other->member_count == group->member_count && other->state == group->state);
    CHECK(slice_equal(other->protocol_type, group->protocol_type));
    LIST_EACH(&group->members, item)
    {
        const struct member *member = CONTAINER_OF(item, struct member, link);
        const struct member *same = group_member(other, member->id);
        CHECK(same && slice_equal(same->assignment, member->assignment));
        CHECK(slice_equal(same->instance_id, member->instance_id));
        CHECK(same->session_timeout_ms == member->session_timeout_ms);
    }
    struct map_slot *topic_slot, *slot;
    for (size_t i = 0; (topic_slot = map_next(&group->topics, &i));) {
        const struct offset_topic *topic = topic_slot->value;
        for (size_t j = 0; (slot = map_next(&topic->partitions, &j));) {
            const struct offset_entry *entry = slot->value;
            if (!entry->has_value || entry->value.metadata.size > INT16_MAX) continue;
            const struct offset_entry *read = offsets_find(other, topic->name, entry->partition);
            CHECK(read && read->has_value && read->value.offset == entry->value.offset);
            CHECK(slice_equal(read->value.metadata, entry->value.metadata));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct group_config config = GROUP_CONFIG_DEFAULT;
    struct group_shard shard, copy;
    int64_t end_offset = (int64_t)1 << 40; /* later than any of the input */
    diag_set_level(DIAG_ERROR);
    config.offsets_retention_ms = 0;
    group_shard_init(&shard, &config);
    group_shard_init(&copy, &config);
    shard.wall_ms = copy.wall_ms = (int64_t)1 << 60;
    shard.warned_types = copy.warned_types = UINT64_MAX; /* quietly */
    feed(&shard, (struct slice){data, size});
    CHECK(group_shard_loaded(&shard) == OK);

    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&shard.groups, &i));)
        write_again(&shard, slot->value, &copy, &end_offset);
    for (size_t i = 0; (slot = map_next(&shard.groups, &i));) compare(slot->value, &copy);

    /* Silence: sessions end, groups empty, offsets expire. */
    int64_t due_ms;
    for (int rounds = 0; (due_ms = group_shard_next_due_ms(&shard)) != INT64_MAX; rounds++) {
        CHECK(rounds < 10000);
        if (due_ms > shard.now_ms) shard.now_ms = due_ms;
        if (rounds > 100) shard.now_ms += INT32_MAX; /* a session may be as long as that */
        group_shard_tick(&shard);
        settle(&shard, NULL, &end_offset);
    }
    struct map_slot *open;
    for (size_t i = 0; (open = map_next(&shard.transactions, &i)); i = 0) {
        offsets_end_transaction(&shard, (int64_t)open->key_size_or_number, false);
    }
    shard.wall_ms = INT64_MAX; /* later than any time a record may name */
    group_shard_expire(&shard);
    settle(&shard, NULL, &end_offset);
    CHECK(shard.groups.count == 0);
    CHECK(list_empty(&shard.answers));

    group_shard_fail(&copy, ERR_NOT_COORDINATOR);
    group_shard_free(&copy);
    group_shard_free(&shard);
    return 0;
}
