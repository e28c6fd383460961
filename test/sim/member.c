#include "member.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "intake.h"
#include "wire/messages.h"

enum {
    API_OFFSET_COMMIT = 8,
    API_OFFSET_FETCH = 9,
    API_FIND_COORDINATOR = 10,
    API_JOIN_GROUP = 11,
    API_HEARTBEAT = 12,
    API_LEAVE_GROUP = 13,
    API_SYNC_GROUP = 14,
    /* The last version with topic names, and those with one group in a request. */
    OFFSET_COMMIT_VERSION = 9,
    OFFSET_FETCH_VERSION = 7,
    FIND_COORDINATOR_VERSION = 3,

    MAX_TOPICS = 8,
    CALL_MS = 4000,
};

struct crew {
    struct world *world;
    size_t group;
    char name[HISTORY_NAME];
    struct member members[MAX_SEATS];
    size_t seats, assigned; /* partitions the last leader knew of */
    int64_t power_cuts;     /* after one that loses things the group may be back at an older assignment */
    bool is_settled;
    struct loop_timer timer;
};

void crew_name(const struct world *world, size_t group, char name[HISTORY_NAME])
{
    (void)world;
    snprintf(name, HISTORY_NAME, "group-%zu", group);
}

static void step(struct loop_timer *timer);

static struct history *history_of(const struct member *member)
{
    return &member->world->history;
}

static void step_in(struct member *member, int64_t delay_ms)
{
    if (member->state != AWAY) loop_timer_start(member->world->loop, &member->timer, delay_ms);
}

static void step_soon(struct member *member)
{
    step_in(member, world_between(member->world, 0, 3));
}

static void step_later(struct member *member)
{
    step_in(member, world_between(member->world, 20, 150));
}

/* Its partitions are not its own any more. */
static void give_up(struct member *member)
{
    member->round++;
    member->place_count = 0;
    member->has_offsets = false;
}

static void rejoin(struct member *member, bool is_forgotten)
{
    give_up(member);
    if (is_forgotten) member->member_id[0] = 0;
    member->generation = -1;
    member->state = JOINING;
    step_soon(member);
}

static void find_again(struct member *member)
{
    if (member->state != LEAVING) member->state = FINDING;
    step_later(member);
}

static enum error code_of(int16_t code)
{
    return code == 0 ? OK : error_from_kafka(code);
}

/* What a coordinator's refusal asks for; true when it was dealt with. */
static bool follow(struct member *member, enum error code, const char *what)
{
    switch (code) {
    case ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case ERR_COORDINATOR_NOT_AVAILABLE:
    case ERR_NOT_COORDINATOR:
    case ERR_REQUEST_TIMED_OUT:
    case ERR_KAFKA_STORAGE_ERROR: find_again(member); return true;
    case ERR_REBALANCE_IN_PROGRESS: rejoin(member, false); return true;
    case ERR_UNKNOWN_MEMBER_ID:
    case ERR_FENCED_INSTANCE_ID:
    case ERR_ILLEGAL_GENERATION:
    case ERR_GROUP_ID_NOT_FOUND: rejoin(member, true); return true;
    case ERR_UNKNOWN_TOPIC_OR_PARTITION: /* a coordinator that has just come up */
        if (member->world->server_count > 1) {
            find_again(member);
            return true;
        }
        __attribute__((fallthrough));
    default:
        history_fail(history_of(member), "%s: %s answers %s", member->name, what, error_name(code));
        return false;
    }
}

static bool call(struct member *member, int16_t api_key, const void *request, int16_t max_version,
                 int64_t timeout_ms,
                 void (*done)(struct call *call, enum error err, int16_t version, const void *response))
{
    member->call =
        (struct call){.done = done, .context = member, .max_version = max_version, .timeout_ms = timeout_ms};
    member->is_calling = peer_send(&member->coordinator, api_key, request, &member->call) == OK;
    return member->is_calling;
}

/* The answer's member; NULL when there was no answer (the lost connection asks for the next step), or when it has decided to leave
 * meanwhile and does not care any more. */
static struct member *returned(struct call *call, enum error err)
{
    struct member *member = call->context;
    member->is_calling = false;
    if (member->state == LEAVING) {
        step_soon(member);
        return NULL;
    }
    return err == OK && member->state != AWAY ? member : NULL;
}

/* --- finding --- */

static void found(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    const struct find_coordinator_response *answer = response;
    struct member *member = returned(call, err);
    if (!member) return;
    enum error code = code_of(answer->error_code);
    if (code != OK) {
        follow(member, code, "FindCoordinator");
        return;
    }
    if (answer->node_id != member->coordinator.server) {
        world_note(member->world, "%s hears from broker %d that its coordinator is %d", member->name,
                   member->coordinator.server, answer->node_id);
        member->moves_to = answer->node_id;
        step_soon(member);
        return;
    }
    bool is_member = member->generation >= 0 && member->place_count > 0;
    member->state = !is_member ? JOINING : member->has_offsets ? STABLE : LOOKING_UP;
    step_soon(member);
}

static void find(struct member *member)
{
    struct find_coordinator_request request;
    find_coordinator_request_init(&request);
    request.key = slice_of(member->crew->name);
    call(member, API_FIND_COORDINATOR, &request, FIND_COORDINATOR_VERSION, CALL_MS, found);
}

/* --- joining --- */

static struct slice instance_of(const struct member *member)
{
    return member->instance_id[0] ? slice_of(member->instance_id) : SLICE_NULL;
}

/* i16 version, then the message in that version (KIP-54's consumer protocol). */
static void embed(const struct message_type *type, const void *message, struct text *out)
{
    size_t size = message_size(type, 0, message);
    uint8_t *bytes = malloc(size + 1);
    if (!bytes || size == SIZE_MAX) abort();
    message_encode(type, 0, message, bytes, NULL);
    text_reset(out);
    text_add_be16(out, 0);
    text_add(out, (struct slice){bytes, size});
    free(bytes);
}

static void remember_others(struct member *member, const struct join_group_response *answer)
{
    member->other_count = 0;
    for (int32_t i = 0; i < answer->members.count && member->other_count < MAX_SEATS * 4; i++) {
        slice_text(answer->members.items[i].member_id, member->other_ids[member->other_count++],
                   HISTORY_NAME);
    }
}

static void joined(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    const struct join_group_response *answer = response;
    struct member *member = returned(call, err);
    if (!member) return;
    enum error code = code_of(answer->error_code);
    if (code == ERR_MEMBER_ID_REQUIRED) {
        slice_text(answer->member_id, member->member_id, sizeof member->member_id);
        step_soon(member);
        return;
    }
    if (code != OK) {
        if (follow(member, code, "JoinGroup")) step_later(member);
        return;
    }
    slice_text(answer->member_id, member->member_id, sizeof member->member_id);
    member->generation = answer->generation_id;
    /* A deposed coordinator may still answer: what its generations do reaches no log. */
    bool may_be_deposed = member->world->server_count > 1 && !member->began_calm;
    if (member->generation < member->newest && !history_of(member)->was_lossy && !may_be_deposed) {
        history_fail(history_of(member), "%s joins generation %d, but %d has been", member->name,
                     member->generation, member->newest);
        return;
    }
    member->is_leader = slice_is(answer->leader, member->member_id);
    if (member->is_leader && !answer->skip_assignment) remember_others(member, answer);
    if (answer->skip_assignment) member->other_count = 0;
    member->state = SYNCING;
    step_soon(member);
}

static void join(struct member *member)
{
    const struct history *history = history_of(member);
    struct slice topics[MAX_TOPICS];
    struct consumer_protocol_subscription subscription;
    consumer_protocol_subscription_init(&subscription);
    subscription.user_data = SLICE_NULL;
    subscription.topics.items = topics;
    int32_t count = 0;
    for (size_t i = 0; i < history->partition_count && count < MAX_TOPICS; i++) {
        if (history->partitions[i].index == 0) topics[count++] = slice_of(history->partitions[i].topic);
    }
    subscription.topics.count = count;
    struct text frame = {0};
    embed(&consumer_protocol_subscription_type, &subscription, &frame);

    struct join_group_request_join_group_request_protocol protocol;
    join_group_request_join_group_request_protocol_init(&protocol);
    protocol.name = SLICE("range");
    protocol.metadata = text_slice(&frame);
    int32_t session_ms = member->world->plan.session_ms;
    struct join_group_request request;
    join_group_request_init(&request);
    request.group_id = slice_of(member->crew->name);
    request.session_timeout_ms = session_ms;
    request.rebalance_timeout_ms = session_ms * 2;
    request.member_id = slice_of(member->member_id);
    request.group_instance_id = instance_of(member);
    request.protocol_type = SLICE("consumer");
    request.protocols.items = &protocol;
    request.protocols.count = 1;
    member->newest = history_newest(history, member->group);
    member->began_calm = member->world->is_calm;
    call(member, API_JOIN_GROUP, &request, -1, session_ms * 2 + CALL_MS, joined);
    text_free(&frame);
}

/* --- syncing --- */

/* Partition i belongs to member i mod n. */
static void assign(struct member *member, size_t to, struct text *frame)
{
    const struct history *history = history_of(member);
    struct consumer_protocol_assignment_topic_partition topics[FETCH_MAX_PLACES];
    int32_t indexes[FETCH_MAX_PLACES];
    struct consumer_protocol_assignment assignment;
    consumer_protocol_assignment_init(&assignment);
    assignment.user_data = SLICE_NULL;
    assignment.assigned_partitions.items = topics;
    int32_t count = 0;
    for (size_t i = to, n = 0; i < history->partition_count && n < FETCH_MAX_PLACES;
         i += member->other_count, n++) {
        const struct history_partition *partition = &history->partitions[i];
        indexes[n] = partition->index;
        if (count > 0 && slice_is(topics[count - 1].topic, partition->topic)) {
            topics[count - 1].partitions.count++;
            continue;
        }
        consumer_protocol_assignment_topic_partition_init(&topics[count]);
        topics[count].topic = slice_of(partition->topic);
        topics[count].partitions.items = &indexes[n];
        topics[count++].partitions.count = 1;
    }
    assignment.assigned_partitions.count = count;
    embed(&consumer_protocol_assignment_type, &assignment, frame);
}

static bool take_assignment(struct member *member, struct slice frame)
{
    struct history *history = history_of(member);
    give_up(member);
    if (frame.size == 0) return true; /* no leader has thought of us */
    struct arena arena;
    arena_init(&arena, 1 << 20);
    struct consumer_protocol_assignment assignment;
    enum error err = frame.size < 2
                         ? ERR_TRUNCATED
                         : consumer_protocol_assignment_decode((int16_t)get_be16(frame.data),
                                                               (struct slice){frame.data + 2, frame.size - 2},
                                                               &arena, &assignment, NULL, NULL);
    for (int32_t t = 0; err == OK && t < assignment.assigned_partitions.count; t++) {
        const struct consumer_protocol_assignment_topic_partition *topic =
            &assignment.assigned_partitions.items[t];
        for (int32_t p = 0; p < topic->partitions.count && member->place_count < FETCH_MAX_PLACES; p++) {
            size_t partition = history_find_partition(history, topic->topic, topic->partitions.items[p]);
            if (partition == SIZE_MAX) {
                err = ERR_NOT_FOUND;
                break;
            }
            const char *owner = member->instance_id[0] ? member->instance_id : member->member_id;
            history_claimed(history, member->group, member->generation, partition, slice_of(owner));
            member->known[member->place_count] = (struct member_place){.committed = -1};
            member->places[member->place_count++] =
                (struct fetch_place){.partition = partition, .leader_epoch = -1, .high_watermark = -1};
        }
    }
    arena_free(&arena);
    if (err != OK) history_fail(history, "%s: its assignment is not what a leader wrote", member->name);
    return err == OK;
}

static void synced(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    const struct sync_group_response *answer = response;
    struct member *member = returned(call, err);
    if (!member) return;
    enum error code = code_of(answer->error_code);
    if (code != OK) {
        follow(member, code, "SyncGroup");
        return;
    }
    if (!take_assignment(member, answer->assignment)) return;
    world_note(member->world, "%s is in generation %d with %zu partitions%s", member->name,
               member->generation, member->place_count, member->is_leader ? ", leading" : "");
    if (member->assigning > 0) member->crew->assigned = member->assigning;
    member->state = LOOKING_UP;
    step_soon(member);
}

static void sync_group(struct member *member)
{
    struct sync_group_request_sync_group_request_assignment assignments[MAX_SEATS * 4];
    struct sync_group_request request;
    sync_group_request_init(&request);
    request.group_id = slice_of(member->crew->name);
    request.generation_id = member->generation;
    request.member_id = slice_of(member->member_id);
    request.group_instance_id = instance_of(member);
    request.protocol_type = SLICE("consumer");
    request.protocol_name = SLICE("range");
    member->assigning = 0;
    if (member->is_leader) {
        if (member->other_count > 0) member->assigning = history_of(member)->partition_count;
        for (size_t i = 0; i < member->other_count; i++) {
            assign(member, i, &member->frames[i]);
            sync_group_request_sync_group_request_assignment_init(&assignments[i]);
            assignments[i].member_id = slice_of(member->other_ids[i]);
            assignments[i].assignment = text_slice(&member->frames[i]);
        }
        request.assignments.items = assignments;
        request.assignments.count = (int32_t)member->other_count;
    }
    call(member, API_SYNC_GROUP, &request, -1, member->world->plan.session_ms * 2 + CALL_MS, synced);
}

/* --- offsets --- */

static void looked_up(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    const struct offset_fetch_response *answer = response;
    struct member *member = returned(call, err);
    if (!member) return;
    enum error code = code_of(answer->error_code);
    for (int32_t t = 0; code == OK && t < answer->topics.count; t++) {
        const struct offset_fetch_response_offset_fetch_response_topic *topic = &answer->topics.items[t];
        for (int32_t p = 0; code == OK && p < topic->partitions.count; p++) {
            code = code_of(topic->partitions.items[p].error_code);
        }
    }
    if (code != OK) {
        follow(member, code, "OffsetFetch");
        return;
    }
    struct history *history = history_of(member);
    bool is_present = history_is_newest(history, member->group, member->generation);
    size_t found_count = 0;
    for (int32_t t = 0; t < answer->topics.count; t++) {
        const struct offset_fetch_response_offset_fetch_response_topic *topic = &answer->topics.items[t];
        for (int32_t p = 0; p < topic->partitions.count; p++) {
            size_t partition =
                history_find_partition(history, topic->name, topic->partitions.items[p].partition_index);
            for (size_t i = 0; i < member->place_count; i++) {
                if (member->places[i].partition != partition) continue;
                int64_t offset = topic->partitions.items[p].committed_offset;
                if (is_present) history_committed(history, member->group, partition, offset);
                member->places[i].position = offset < 0 ? 0 : offset;
                member->known[i].committed = offset;
                found_count++;
            }
        }
    }
    if (found_count != member->place_count) {
        history_fail(history, "%s: OffsetFetch answers for %zu of %zu partitions", member->name, found_count,
                     member->place_count);
        return;
    }
    member->has_offsets = true;
    member->state = STABLE;
    step_soon(member);
    intakes_go_on(member);
}

static void look_up(struct member *member)
{
    struct offset_fetch_request_offset_fetch_request_topic topics[FETCH_MAX_PLACES];
    struct offset_fetch_request request;
    offset_fetch_request_init(&request);
    request.group_id = slice_of(member->crew->name);
    request.topics.items = topics;
    request.topics.count = (int32_t)member->place_count;
    for (size_t i = 0; i < member->place_count; i++) {
        struct history_partition *partition = &history_of(member)->partitions[member->places[i].partition];
        offset_fetch_request_offset_fetch_request_topic_init(&topics[i]);
        topics[i].name = slice_of(partition->topic);
        topics[i].partition_indexes.items = &partition->index;
        topics[i].partition_indexes.count = 1;
    }
    call(member, API_OFFSET_FETCH, &request, OFFSET_FETCH_VERSION, CALL_MS, looked_up);
}

static bool is_refusal(enum error code)
{
    return code == ERR_UNKNOWN_MEMBER_ID || code == ERR_ILLEGAL_GENERATION ||
           code == ERR_FENCED_INSTANCE_ID || code == ERR_REBALANCE_IN_PROGRESS ||
           code == ERR_GROUP_ID_NOT_FOUND;
}

static void commit_ended(struct member *member, struct member_place *place, size_t partition, enum error code)
{
    struct history *history = history_of(member);
    size_t group = member->group;
    if (place->commit_serial == 0) return;
    if (code == OK) {
        history_commit_acked(history, group, partition, place->commit_serial);
        place->committed = place->commit_offset;
    } else {
        history_commit_failed(history, group, partition, place->commit_serial, is_refusal(code));
    }
    place->commit_serial = 0;
}

/* The places are those of the commit: nothing else is done on this connection meanwhile, and a member that goes away ends its
 * calls first. */
static void committed(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    const struct offset_commit_response *answer = response;
    struct member *member = call->context;
    enum error refusal = OK;
    for (size_t i = 0; i < member->place_count; i++) {
        const struct history_partition *partition =
            &history_of(member)->partitions[member->places[i].partition];
        enum error code = ERR_CLOSED;
        for (int32_t t = 0; err == OK && t < answer->topics.count; t++) {
            const struct offset_commit_response_offset_commit_response_topic *topic =
                &answer->topics.items[t];
            for (int32_t p = 0; p < topic->partitions.count; p++) {
                bool is_it = slice_is(topic->name, partition->topic) &&
                             topic->partitions.items[p].partition_index == partition->index;
                if (is_it) code = code_of(topic->partitions.items[p].error_code);
            }
        }
        if (code != OK && code != ERR_CLOSED) refusal = code;
        commit_ended(member, &member->known[i], member->places[i].partition, code);
    }
    member = returned(call, err);
    if (!member) return;
    if (refusal != OK) {
        follow(member, refusal, "OffsetCommit");
    } else if (member->state == COMMITTING_LAST) {
        rejoin(member, false);
    } else {
        step_in(member, world_between(member->world, 10, 200));
    }
}

static bool commit(struct member *member)
{
    struct offset_commit_request_offset_commit_request_topic topics[FETCH_MAX_PLACES];
    struct offset_commit_request_offset_commit_request_partition partitions[FETCH_MAX_PLACES];
    struct offset_commit_request request;
    offset_commit_request_init(&request);
    request.group_id = slice_of(member->crew->name);
    request.generation_id_or_member_epoch = member->generation;
    request.member_id = slice_of(member->member_id);
    request.group_instance_id = instance_of(member);
    request.topics.items = topics;
    int32_t count = 0;
    for (size_t i = 0; i < member->place_count; i++) {
        struct fetch_place *place = &member->places[i];
        if (place->position == member->known[i].committed ||
            (place->position == 0 && member->known[i].committed < 0))
            continue;
        const struct history_partition *partition = &history_of(member)->partitions[place->partition];
        member->known[i].commit_offset = place->position;
        member->known[i].commit_serial = history_commit_sent(
            history_of(member), member->group, place->partition, member->generation, place->position);
        offset_commit_request_offset_commit_request_topic_init(&topics[count]);
        offset_commit_request_offset_commit_request_partition_init(&partitions[count]);
        topics[count].name = slice_of(partition->topic);
        topics[count].partitions.items = &partitions[count];
        topics[count].partitions.count = 1;
        partitions[count].partition_index = partition->index;
        partitions[count].committed_offset = place->position;
        partitions[count].committed_metadata = SLICE("");
        count++;
    }
    request.topics.count = count;
    if (count == 0) return false;
    if (!call(member, API_OFFSET_COMMIT, &request, OFFSET_COMMIT_VERSION, CALL_MS, committed)) {
        for (size_t i = 0; i < member->place_count; i++) {
            struct member_place *known = &member->known[i];
            if (known->commit_serial)
                history_commit_failed(history_of(member), member->group, member->places[i].partition,
                                      known->commit_serial, true);
            known->commit_serial = 0;
        }
    }
    return true;
}

/* --- being a member --- */

static void has_beaten(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    const struct heartbeat_response *answer = response;
    struct member *member = returned(call, err);
    if (!member) return;
    enum error code = code_of(answer->error_code);
    if (code == ERR_REBALANCE_IN_PROGRESS && world_chance(member->world, 2)) {
        member->state = COMMITTING_LAST; /* as clients do before they give up their partitions */
        step_soon(member);
    } else if (code != OK) {
        follow(member, code, "Heartbeat");
    } else {
        step_in(member, world_between(member->world, 20, member->world->plan.session_ms / 4));
    }
}

static void beat(struct member *member)
{
    struct heartbeat_request request;
    heartbeat_request_init(&request);
    request.group_id = slice_of(member->crew->name);
    request.generation_id = member->generation;
    request.member_id = slice_of(member->member_id);
    request.group_instance_id = instance_of(member);
    call(member, API_HEARTBEAT, &request, -1, CALL_MS, has_beaten);
}

static void be_member(struct member *member)
{
    struct crew *crew = member->crew;
    if (!crew->world->plan.is_durable && crew->power_cuts != crew->world->counts.power_cuts) {
        crew->power_cuts = crew->world->counts.power_cuts;
        crew->assigned = 0;
    }
    bool has_new_partitions = member->is_leader && crew->assigned < history_of(member)->partition_count;
    if (has_new_partitions) {
        rejoin(member, false);
        return;
    }
    if (world_chance(member->world, 2) && commit(member)) return;
    beat(member);
}

static void go(struct member *member)
{
    member->state = AWAY;
    loop_timer_stop(member->world->loop, &member->timer);
    peer_stop(&member->coordinator);
    intakes_stop(member);
    for (size_t i = 0; i < MAX_SEATS * 4; i++) text_free(&member->frames[i]);
}

static void gone(struct loop_timer *timer)
{
    go(CONTAINER_OF(timer, struct member, timer));
}

static void has_left(struct call *call, enum error err, int16_t version, const void *response)
{
    (void)version;
    (void)response;
    struct member *member = call->context;
    member->is_calling = false;
    if (member->state == AWAY) return;
    if (err == OK) world_note(member->world, "%s has left", member->name);
    member->timer.run = gone; /* its connection is still busy with this call */
    loop_timer_start(member->world->loop, &member->timer, 0);
}

static void leave(struct member *member)
{
    struct leave_group_request_member_identity identity;
    leave_group_request_member_identity_init(&identity);
    identity.member_id = slice_of(member->member_id);
    identity.group_instance_id = instance_of(member);
    struct leave_group_request request;
    leave_group_request_init(&request);
    request.group_id = slice_of(member->crew->name);
    request.members.items = &identity;
    request.members.count = 1;
    call(member, API_LEAVE_GROUP, &request, -1, CALL_MS, has_left);
}

static void step(struct loop_timer *timer)
{
    struct member *member = CONTAINER_OF(timer, struct member, timer);
    if (member->moves_to >= 0 && !member->is_calling) {
        int server = member->moves_to;
        member->moves_to = -1;
        peer_move(&member->coordinator, server);
    }
    if (member->is_calling || !member->coordinator.is_open || world_has_failed(member->world)) return;
    switch (member->state) {
    case AWAY: break;
    case FINDING: find(member); break;
    case JOINING: join(member); break;
    case SYNCING: sync_group(member); break;
    case LOOKING_UP:
        if (member->place_count > 0) {
            look_up(member);
        } else {
            member->state = STABLE;
            beat(member);
        }
        break;
    case STABLE: be_member(member); break;
    case COMMITTING_LAST:
        if (!commit(member)) rejoin(member, false);
        break;
    case LEAVING: leave(member); break;
    }
}

static void coordinator_opened(struct peer *peer)
{
    struct member *member = CONTAINER_OF(peer, struct member, coordinator);
    step_soon(member);
}

static void coordinator_lost(struct peer *peer)
{
    struct member *member = CONTAINER_OF(peer, struct member, coordinator);
    if (member->state != AWAY && member->state != LEAVING) member->state = FINDING;
}

/* --- the crew --- */

static void sit_down(struct crew *crew, size_t seat)
{
    struct member *member = &crew->members[seat];
    struct member fresh = {.crew = crew,
                           .group = crew->group,
                           .rack = (int)(seat % PLAN_RACKS),
                           .world = crew->world,
                           .state = FINDING,
                           .generation = -1,
                           .moves_to = -1};
    memcpy(fresh.name, member->name, sizeof fresh.name);
    memcpy(fresh.instance_id, member->instance_id, sizeof fresh.instance_id);
    *member = fresh;
    member->timer.run = step;
    member->coordinator.on_open = coordinator_opened;
    member->coordinator.on_lost = coordinator_lost;
    peer_start(&member->coordinator, crew->world, member->name, PEER_ANY);
    intakes_start(member);
    world_note(crew->world, "%s comes", member->name);
}

static void change(struct loop_timer *timer)
{
    struct crew *crew = CONTAINER_OF(timer, struct crew, timer);
    struct world *world = crew->world;
    struct member *member = &crew->members[world_between(world, 0, (int64_t)crew->seats - 1)];
    if (member->state == AWAY) {
        sit_down(crew, (size_t)(member - crew->members));
    } else if (world_chance(world, 4)) {
        world_note(world, "%s dies", member->name);
        go(member);
    } else if (world_chance(world, 4) && member->member_id[0] && member->state != LEAVING) {
        give_up(member);
        member->state = LEAVING;
        step_soon(member);
    }
    loop_timer_start(world->loop, timer, world_between(world, 100, 2500));
}

struct crew *crew_new(struct world *world, size_t group)
{
    struct crew *crew = calloc(1, sizeof *crew);
    if (!crew) abort();
    crew->world = world;
    crew->group = group;
    crew->seats = (size_t)world->plan.members_per_group;
    assert(crew->seats <= MAX_SEATS);
    crew_name(world, group, crew->name);
    for (size_t i = 0; i < crew->seats; i++) {
        struct member *member = &crew->members[i];
        snprintf(member->name, sizeof member->name, "member-%zu-%zu", group, i);
        if (world_chance(world, 3))
            snprintf(member->instance_id, sizeof member->instance_id, "instance-%zu-%zu", group, i);
        if (world_chance(world, 2)) sit_down(crew, i);
    }
    crew->timer.run = change;
    loop_timer_start(world->loop, &crew->timer, world_between(world, 0, 500));
    return crew;
}

void crew_free(struct crew **freed)
{
    struct crew *crew = *freed;
    *freed = NULL;
    if (!crew) return;
    loop_timer_stop(crew->world->loop, &crew->timer);
    for (size_t i = 0; i < crew->seats; i++) {
        if (crew->members[i].state != AWAY) go(&crew->members[i]);
    }
    free(crew);
}

void crew_settle(struct crew *crew)
{
    if (crew->is_settled) return;
    crew->is_settled = true;
    loop_timer_stop(crew->world->loop, &crew->timer);
    for (size_t i = 0; i < crew->seats; i++) {
        if (crew->members[i].state == LEAVING) go(&crew->members[i]);
        if (crew->members[i].state == AWAY) sit_down(crew, i);
    }
}

bool crew_is_done(const struct crew *crew)
{
    const struct history *history = &crew->world->history;
    size_t done = 0;
    for (size_t i = 0; i < crew->seats; i++) {
        const struct member *member = &crew->members[i];
        if (member->state != STABLE || member->is_calling) continue;
        for (size_t p = 0; p < member->place_count; p++) {
            const struct fetch_place *place = &member->places[p];
            const struct history_partition *partition = &history->partitions[place->partition];
            bool is_at_end =
                place->position == place->high_watermark && place->position >= partition->seen_end;
            done += is_at_end && (member->known[p].committed == place->position || place->position == 0);
        }
    }
    return done == history->partition_count;
}
