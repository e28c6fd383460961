/* records.c: groups and offsets as records of __consumer_offsets, and back.
 *
 *     key    i16 type | fields            type 0, 1: one offset; 2: a classic group; 3 and more: other kinds of groups
 *     value  i16 version | fields         null: a tombstone
 *
 * We write what Apache Kafka 3.9 writes: offsets as version 3, groups as version 3. Brokers of a mixed cluster and tools
 * of that age read it. Version 4 of an offset adds the topic's id, which matters to clients that commit by id (4.x), so
 * just their commits are written so; 3.9 reads them too. A commit with its own time to live is version 1, whose only
 * difference is that field. Types that are not ours are left alone, with one warning each.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/vec.h"
#include "group/brain.h"

enum record_type { RECORD_OFFSET_LEGACY = 0, RECORD_OFFSET = 1, RECORD_GROUP = 2 };

#define GROUP_VERSION 3
#define OFFSET_VERSION 3
#define OFFSET_VERSION_EXPIRING 1
#define OFFSET_VERSION_TOPIC_ID 4

/* --- writing --- */

struct group_write *group_write_new(struct group_shard *shard, enum group_write_kind kind,
                                    struct group *group)
{
    struct group_write *write = calloc(1, sizeof *write);
    if (!write) return NULL;
    list_init(&write->link);
    write->shard = shard;
    write->kind = kind;
    write->group = group;
    if (group) {
        write->generation = group->generation;
        group->writes++;
    }
    return write;
}

void group_write_free(struct group_write *write)
{
    if (write->group) write->group->writes--;
    for (size_t i = 0; i < write->change_count; i++) {
        struct offset_change *change = &write->changes[i];
        slice_drop(&change->value.metadata);
        if (change->entry) change->entry->in_flight--;
        if (change->entry) offsets_tidy(change->entry);
    }
    free(write->changes);
    free(write->entries);
    text_free(&write->bytes);
    slice_drop(&write->new_id);
    slice_drop(&write->old_id);
    slice_drop(&write->old_leader_id);
    free(write->old_protocols.items);
    free(write);
}

void group_write_submit(struct group_write *write)
{
    list_push_back(&write->shard->writes, &write->link);
}

/* i16 prefix | message. SIZE_MAX when it cannot be encoded or memory is out. */
static size_t add_message(struct text *bytes, int16_t prefix, const struct message_type *type,
                          int16_t version, const void *message)
{
    size_t size = message_size(type, version, message);
    if (size >= INT32_MAX) return SIZE_MAX;
    if (!vec_grow((void **)&bytes->data, &bytes->capacity, bytes->size + size + 3, 1)) return SIZE_MAX;
    uint8_t *at = (uint8_t *)bytes->data + bytes->size;
    put_be16(at, (uint16_t)prefix);
    message_encode(type, version, message, at + 2, NULL);
    bytes->size += size + 2;
    return size + 2;
}

/* value NULL: a tombstone. */
static bool add_entry(struct group_write *write, int16_t key_type, const struct message_type *key_message,
                      const void *key, const struct message_type *value_message, int16_t value_version,
                      const void *value)
{
    if (!VEC_RESERVE(write->entries, write->entry_count, write->entry_capacity)) return false;
    struct group_write_entry entry = {.key_at = write->bytes.size};
    entry.key_size = add_message(&write->bytes, key_type, key_message, key_type, key);
    entry.value_at = write->bytes.size;
    entry.value_size = SIZE_MAX;
    if (entry.key_size == SIZE_MAX) return false;
    if (value) {
        entry.value_size = add_message(&write->bytes, value_version, value_message, value_version, value);
        if (entry.value_size == SIZE_MAX) return false;
    }
    write->entries[write->entry_count++] = entry;
    return true;
}

static bool add_offset_entry(struct group_write *write, const struct offset_entry *entry,
                             const struct offset_commit_value *value, int16_t version)
{
    struct offset_commit_key key;
    offset_commit_key_init(&key);
    key.group = write->group->id;
    key.topic = entry->topic->name;
    key.partition = entry->partition;
    return add_entry(write, RECORD_OFFSET, &offset_commit_key_type, &key, &offset_commit_value_type, version,
                     value);
}

/* The change that goes with the next entry. Owned by the write from here on. */
static struct offset_change *add_change(struct group_write *write, struct offset_entry *entry)
{
    assert(write->entry_count == write->change_count);
    if (!VEC_RESERVE(write->changes, write->change_count, write->change_capacity)) return NULL;
    struct offset_change *change = &write->changes[write->change_count++];
    *change = (struct offset_change){.entry = entry};
    entry->in_flight++;
    return change;
}

bool group_write_offset(struct group_write *write, struct offset_entry *entry,
                        const struct offset_value *value)
{
    struct offset_change *change = add_change(write, entry);
    if (!change) return false;
    change->value = *value;
    change->value.metadata = SLICE_NULL;
    if (!slice_keep(value->metadata, &change->value.metadata)) return false;

    struct offset_commit_value record;
    offset_commit_value_init(&record);
    record.offset = value->offset;
    record.leader_epoch = value->leader_epoch;
    record.metadata = value->metadata;
    record.commit_timestamp = value->commit_timestamp;
    record.expire_timestamp = value->expire_timestamp;
    record.topic_id = value->topic_id;
    int16_t version = OFFSET_VERSION;
    if (!uuid_is_zero(&value->topic_id)) version = OFFSET_VERSION_TOPIC_ID;
    if (value->expire_timestamp != -1) version = OFFSET_VERSION_EXPIRING;
    return add_offset_entry(write, entry, &record, version);
}

bool group_write_offset_tombstone(struct group_write *write, struct offset_entry *entry)
{
    return add_change(write, entry) && add_offset_entry(write, entry, NULL, 0);
}

bool group_write_metadata(struct group_write *write, const struct group *group, enum group_metadata_kind kind)
{
    bool is_empty = kind == METADATA_EMPTY;
    struct group_metadata_key key;
    struct group_metadata_value value;
    group_metadata_key_init(&key);
    group_metadata_value_init(&value);
    key.group = group->id;
    /* A group that is just being made has no type yet: its first generation will write it. */
    bool has_type = group->protocol_type.data && !(is_empty && group->generation == 0);
    value.protocol_type = has_type ? group->protocol_type : SLICE("");
    value.generation = group->generation;
    value.protocol = is_empty ? SLICE_NULL : group->protocol;
    value.leader = group->leader && !is_empty ? group->leader->id : SLICE_NULL;
    value.current_state_timestamp = group->state_since_ms;

    struct group_metadata_value_member_metadata *members = calloc(group->member_count + 1, sizeof *members);
    if (!members) return false;
    value.members.items = members;
    LIST_EACH(&group->members, item)
    {
        if (is_empty) break;
        const struct member *member = CONTAINER_OF(item, struct member, link);
        struct group_metadata_value_member_metadata *to = &members[value.members.count++];
        struct slice metadata = member_metadata(member, group->protocol);
        struct slice assignment = kind == METADATA_NEXT ? member->next_assignment : member->assignment;
        to->member_id = member->id;
        to->group_instance_id = member->instance_id;
        to->client_id = member->client_id;
        to->client_host = member->client_host;
        to->rebalance_timeout = member->rebalance_timeout_ms;
        to->session_timeout = member->session_timeout_ms;
        to->subscription = metadata.data ? metadata : SLICE("");
        to->assignment = assignment.data ? assignment : SLICE("");
    }
    bool is_added = add_entry(write, RECORD_GROUP, &group_metadata_key_type, &key, &group_metadata_value_type,
                              GROUP_VERSION, &value);
    free(members);
    return is_added;
}

bool group_write_metadata_tombstone(struct group_write *write, const struct group *group)
{
    struct group_metadata_key key;
    group_metadata_key_init(&key);
    key.group = group->id;
    return add_entry(write, RECORD_GROUP, &group_metadata_key_type, &key, NULL, 0, NULL);
}

/* --- replay --- */

static void warn_once(struct group_shard *shard, int16_t type, const char *why)
{
    shard->skipped_records++;
    uint64_t bit = (uint64_t)1 << (type >= 0 && type < 63 ? type : 63);
    if (shard->warned_types & bit) return;
    shard->warned_types |= bit;
    diag_warn("records of type %d in __consumer_offsets are left alone: %s", type, why);
}

/* The version an i16 in front of `in` names; takes it off. */
static bool take_version(struct slice *in, int16_t *version)
{
    if (in->size < 2) return false;
    *version = (int16_t)get_be16(in->data);
    *in = (struct slice){in->data + 2, in->size - 2};
    return true;
}

/* False: the value is not one we know, or damaged. */
static bool read_offset_value(struct group_shard *shard, struct slice in,
                              const struct statelog_record *record, struct offset_value *value)
{
    struct offset_commit_value read;
    int16_t version;
    if (!take_version(&in, &version) || version < 0 ||
        version > message_max_version(&offset_commit_value_type) ||
        offset_commit_value_decode(version, in, &shard->scratch, &read, NULL, NULL) != OK) {
        return false;
    }
    *value = (struct offset_value){.offset = read.offset,
                                   .leader_epoch = version >= 3 ? read.leader_epoch : -1,
                                   .metadata = read.metadata,
                                   .commit_timestamp = read.commit_timestamp,
                                   .expire_timestamp = version == 1 ? read.expire_timestamp : -1,
                                   .topic_id = read.topic_id,
                                   .record_offset = record->offset};
    return true;
}

static void replay_offset(struct group_shard *shard, const struct statelog_record *record,
                          struct slice key_fields, int16_t type)
{
    struct offset_commit_key key; /* type 0 has the same fields */
    if (offset_commit_key_decode(1, key_fields, &shard->scratch, &key, NULL, NULL) != OK) {
        return warn_once(shard, type, "damaged key");
    }
    if (!record->value.data) {
        struct group *group = group_find(shard, key.group);
        struct offset_entry *entry = group ? offsets_find(group, key.topic, key.partition) : NULL;
        if (!entry) return;
        offsets_clear(shard, entry, record->offset);
        return group_drop_if_void(shard, group);
    }

    struct offset_value read, value;
    if (!read_offset_value(shard, record->value, record, &read))
        return warn_once(shard, type, "unknown or damaged value");
    value = read;
    value.metadata = SLICE_NULL;
    struct group *group = group_obtain(shard, key.group);
    struct offset_entry *entry = group ? offsets_obtain(group, key.topic, key.partition) : NULL;
    if (!entry || !slice_keep(read.metadata, &value.metadata)) {
        shard->is_short_of_memory = true;
    } else if (record->producer_id < 0) {
        offsets_set(entry, &value);
    } else if (!offsets_set_pending(shard, record->producer_id, entry, &value)) {
        shard->is_short_of_memory = true;
    }
    slice_drop(&value.metadata);
    if (entry) offsets_tidy(entry);
    if (group) group_drop_if_void(shard, group);
}

static bool replay_member(struct group_shard *shard, struct group *group,
                          const struct group_metadata_value_member_metadata *from)
{
    /* An id or instance cannot be there twice unless the record is damaged; then the first one stands. */
    if (group_member(group, from->member_id) || group_static_member(group, from->group_instance_id))
        return true;
    struct member *member = group_add_member(shard, group, from->member_id, from->group_instance_id,
                                             from->client_id, from->client_host);
    if (!member) return false;
    member->session_timeout_ms = from->session_timeout;
    member->rebalance_timeout_ms =
        from->rebalance_timeout >= 0 ? from->rebalance_timeout : from->session_timeout;

    struct join_group_request_join_group_request_protocol protocol = {.name = group->protocol,
                                                                      .metadata = from->subscription};
    const struct join_group_request request = {
        .protocols = {.items = &protocol, .count = group->protocol.data ? 1 : 0}};
    return member_protocols_copy(&request, &member->protocols) &&
           slice_keep(from->assignment, &member->assignment);
}

static void replay_group(struct group_shard *shard, const struct statelog_record *record,
                         struct slice key_fields)
{
    struct group_metadata_key key;
    if (group_metadata_key_decode(RECORD_GROUP, key_fields, &shard->scratch, &key, NULL, NULL) != OK) {
        return warn_once(shard, RECORD_GROUP, "damaged key");
    }
    struct group_metadata_value value;
    struct slice in = record->value;
    int16_t version = 0;
    if (in.data && (!take_version(&in, &version) || version < 0 ||
                    version > message_max_version(&group_metadata_value_type) ||
                    group_metadata_value_decode(version, in, &shard->scratch, &value, NULL, NULL) != OK)) {
        return warn_once(shard, RECORD_GROUP, "unknown or damaged value");
    }

    struct group *group = in.data ? group_obtain(shard, key.group) : group_find(shard, key.group);
    if (!group) {
        shard->is_short_of_memory |= in.data != NULL;
        return;
    }
    while (!list_empty(&group->members)) {
        group_remove_member(shard, CONTAINER_OF(group->members.next, struct member, link));
    }
    slice_drop(&group->protocol_type);
    slice_drop(&group->protocol);
    group->state = GROUP_EMPTY;
    group->generation = 0;
    group->state_since_ms = -1;
    group->has_record = in.data != NULL;
    if (!in.data) return group_drop_if_void(shard, group);

    group->generation = value.generation;
    group->state_since_ms = version >= 2 ? value.current_state_timestamp : -1;
    bool is_kept = true;
    if (value.protocol_type.size > 0) is_kept = slice_keep(value.protocol_type, &group->protocol_type);
    if (is_kept && value.protocol.data && value.members.count > 0)
        is_kept = slice_keep(value.protocol, &group->protocol);
    for (int32_t i = 0; i < value.members.count && is_kept; i++) {
        is_kept = replay_member(shard, group, &value.members.items[i]);
    }
    if (!is_kept) shard->is_short_of_memory = true;
    if (group->member_count == 0) return;
    group->state = GROUP_STABLE;
    struct member *leader = value.leader.data ? group_member(group, value.leader) : NULL;
    if (leader) group->leader = leader;
}

void group_shard_replay(struct group_shard *shard, const struct statelog_record *record)
{
    struct slice key = record->key;
    int16_t type;
    arena_reset(&shard->scratch);
    if (!take_version(&key, &type)) return warn_once(shard, -1, "no type");
    switch (type) {
    case RECORD_OFFSET_LEGACY:
    case RECORD_OFFSET: return replay_offset(shard, record, key, type);
    case RECORD_GROUP: return replay_group(shard, record, key);
    default: return warn_once(shard, type, "not a record of the classic protocol");
    }
}
