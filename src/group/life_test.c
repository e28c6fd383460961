/* life_test.c: random lives of groups: clients come, wait, sync, beat, commit, leave, vanish and return under the same
 * instance, while writes are slow, fail, or time out, and the coordinator moves to another broker. After every step:
 *
 *   - a call is answered once, and in the end every call is
 *   - one generation at a time: who was told the same generation was told the same leader and protocol, and only the
 *     leader was given the members
 *   - a member is assigned what its generation's leader said, and nothing else
 *   - a commit that was acknowledged is there, for us and for whoever replays the log
 *   - what a replay of the log makes of a stable group is that group
 */
#include "group/brain_testbed.h"

#include "base/diag.h"

enum { CLIENTS = 6, PARTITIONS = 4, GENERATIONS = 4000 };

struct client {
    enum { AWAY, JOINING, JOINED, SYNCING, MEMBER } state;
    char id[64], instance[8]; /* instance "" = dynamic */
    int16_t version;
    int32_t generation;
    bool is_leader;
    char members[CLIENTS * 2][64]; /* what a leader has to assign to */
    int member_count;
    int64_t last_beat_ms;
    struct bed_call *call; /* its join or sync that waits */
};

struct told { /* of one generation, by this coordinator */
    char leader[64], protocol[16];
};

struct commit {
    struct bed_call *call;
    int32_t partition;
    int64_t offset;
    int64_t records_before; /* it was written at or after this record */
};

struct life {
    struct bed bed;
    struct random random;
    uint64_t seed;
    struct client clients[CLIENTS];
    struct told *told; /* by generation, of this coordinator's time */
    struct commit commits[256];
    int commit_count;
    /* the last offset whose commit succeeded, by the order of answers; -1 */
    int64_t acknowledged[PARTITIONS];
    int64_t next_offset;
    struct bed_call *forgotten[4096]; /* calls whose client is gone */
    int forgotten_count;
    int stable_checks, moves;
    bool was_refused; /* a write, since the last move: perhaps the word that the group is empty */
};

static uint64_t below(struct life *life, uint64_t bound)
{
    return random_below(&life->random, bound);
}

#define check(life, condition)                                                                               \
    do {                                                                                                     \
        if (!(condition)) fail_msg("seed %llu: %s", (unsigned long long)(life)->seed, #condition);           \
    } while (0)

static void forget(struct life *life, struct bed_call *call)
{
    check(life, life->forgotten_count < 4096);
    life->forgotten[life->forgotten_count++] = call;
}

static void sweep(struct life *life)
{
    int kept = 0;
    for (int i = 0; i < life->forgotten_count; i++) {
        if (life->forgotten[i]->is_answered)
            bed_call_free(life->forgotten[i]);
        else
            life->forgotten[kept++] = life->forgotten[i];
    }
    life->forgotten_count = kept;
}

/* --- clients --- */

static void client_reset(struct client *client)
{
    client->state = AWAY;
    client->id[0] = 0;
}

static void client_join(struct life *life, struct client *client)
{
    static const char *const lists[] = {"range", "range,sticky", "sticky,range"};
    static const char *const metadata[] = {"m", "m", "m", "n"};
    client->state = JOINING;
    client->call = bed_join(&life->bed, client->version,
                            (struct bed_join){.member = client->id,
                                              .instance = client->instance[0] ? client->instance : NULL,
                                              .protocols = lists[below(life, 3)],
                                              .metadata = metadata[below(life, 4)],
                                              .session_ms = 10000,
                                              .rebalance_ms = 20000});
}

static void client_sync(struct life *life, struct client *client)
{
    char assignments[CLIENTS * 2 * 160] = "";
    size_t size = 0;
    for (int i = 0; client->is_leader && i < client->member_count; i++) {
        size += (size_t)snprintf(assignments + size, sizeof assignments - size, "%s%s=%d by %s", i ? "," : "",
                                 client->members[i], client->generation, client->id);
    }
    client->state = SYNCING;
    client->call = bed_sync(&life->bed, 3, "g", client->id, client->instance[0] ? client->instance : NULL,
                            client->generation, assignments);
}

/* 79: again with the id; other errors: a new life, or the same id once more. */
static void client_failed(struct life *life, struct client *client, int16_t code, const struct slice *id)
{
    client->state = AWAY;
    if (code == 79 && id)
        slice_text(*id, client->id, sizeof client->id);
    else if (code != 27 && code != 15 && code != 22)
        client->id[0] = 0;
    /* After a move the log knows of each old member only the protocol that was chosen (as in Apache's), so one who does
     * not speak it stays out until they are gone. */
    if (code == 23) check(life, life->moves > 0);
    check(life, code == 79 || code == 25 || code == 27 || code == 22 || code == 82 || code == 15 ||
                    code == 16 || code == -1 || code == 23);
}

static void client_joined(struct life *life, struct client *client)
{
    const struct join_group_response *response = joined(client->call);
    if (response->error_code != 0)
        return client_failed(life, client, response->error_code, &response->member_id);
    int32_t generation = response->generation_id;
    check(life, generation > 0 && generation < GENERATIONS);
    slice_text(response->member_id, client->id, sizeof client->id);
    client->generation = generation;
    client->is_leader = slice_is(response->leader, client->id);
    check(life, client->is_leader ? response->members.count > 0 : response->members.count == 0);

    /* A static member that took its place back hears of the leader by an old or a new id, so only others are asked. */
    struct told *told = &life->told[generation];
    char leader[64], protocol[16];
    slice_text(response->leader, leader, sizeof leader);
    slice_text(response->protocol_name, protocol, sizeof protocol);
    check(life, !told->protocol[0] || strcmp(told->protocol, protocol) == 0);
    strcpy(told->protocol, protocol);
    if (!client->instance[0]) {
        bool was_static = told->leader[0] == 's' || leader[0] == 's';
        check(life, !told->leader[0] || was_static || strcmp(told->leader, leader) == 0);
        strcpy(told->leader, leader);
    }
    client->member_count = 0;
    for (int i = 0; i < response->members.count; i++) {
        check(life, i < CLIENTS * 2);
        slice_text(response->members.items[i].member_id, client->members[client->member_count++], 64);
    }
    client->state = JOINED;
    if (response->skip_assignment) client->is_leader = false;
}

static void client_synced(struct life *life, struct client *client)
{
    const struct sync_group_response *response = synced(client->call);
    if (response->error_code != 0) return client_failed(life, client, response->error_code, NULL);
    if (response->assignment.size > 0) {
        /* "<generation> by <leader>": a member hears what was said for the generation it is in. */
        char want[16];
        snprintf(want, sizeof want, "%d by ", client->generation);
        check(life, memcmp(response->assignment.data, want, strlen(want)) == 0);
    }
    client->state = MEMBER;
}

static void client_beat(struct life *life, struct client *client)
{
    int16_t code = bed_heartbeat(&life->bed, "g", client->id, client->instance[0] ? client->instance : NULL,
                                 client->generation);
    client->last_beat_ms = life->bed.shard.now_ms;
    if (code == 0) return;
    check(life, code == 27 || code == 25 || code == 22 || code == 82 || code == 15);
    if (code == 25 || code == 82) client->id[0] = 0;
    client->state = AWAY;
}

static void client_commit(struct life *life, struct client *client)
{
    if (life->commit_count == 256) return;
    struct commit *commit = &life->commits[life->commit_count++];
    commit->partition = (int32_t)below(life, PARTITIONS);
    commit->offset = life->next_offset++;
    commit->records_before = (int64_t)life->bed.record_count;
    commit->call = bed_commit(&life->bed, 8,
                              (struct bed_commit){.member = client->id,
                                                  .instance = client->instance[0] ? client->instance : NULL,
                                                  .generation = client->generation,
                                                  .partition = commit->partition,
                                                  .offset = commit->offset});
}

static void client_leave(struct life *life, struct client *client)
{
    if (client->instance[0] == 0 || below(life, 2)) {
        int16_t code =
            bed_leave(&life->bed, 3, "g", client->id, client->instance[0] ? client->instance : NULL);
        check(life, code == 0 || code == 25 || code == 82 || code == 15);
    }
    if (client->call) forget(life, client->call);
    client->call = NULL;
    client_reset(client);
}

static void client_hear(struct life *life, struct client *client)
{
    if (client->state == JOINING) {
        client_joined(life, client);
    } else {
        client_synced(life, client);
    }
    bed_call_free(client->call);
    client->call = NULL;
}

static void client_step(struct life *life, struct client *client)
{
    uint64_t dice = below(life, 100);
    if (client->call) {
        if (!client->call->is_answered) {
            if (dice < 2) { /* the process dies; a static one comes back under its instance */
                forget(life, client->call);
                client->call = NULL;
                client_reset(client);
            }
            return;
        }
        client_hear(life, client);
        return;
    }
    switch (client->state) {
    case AWAY:
        if (dice < 30) client_join(life, client);
        break;
    case JOINED:
        if (dice < 60)
            client_sync(life, client);
        else if (dice < 62)
            client_leave(life, client);
        else if (dice < 63)
            client_reset(client);
        break;
    case MEMBER:
        if (dice < 40)
            client_beat(life, client);
        else if (dice < 70)
            client_commit(life, client);
        else if (dice < 73)
            client_leave(life, client);
        else if (dice < 75)
            client_reset(client); /* kill -9 */
        else if (dice < 77)
            client_join(life, client);
        break;
    default: break;
    }
}

/* --- commits --- */

static void note_commits(struct life *life)
{
    int kept = 0;
    for (int i = 0; i < life->commit_count; i++) {
        struct commit *commit = &life->commits[i];
        if (!commit->call->is_answered) {
            life->commits[kept++] = *commit;
            continue;
        }
        int16_t code = committed(commit->call);
        if (code == 0 && commit->offset > life->acknowledged[commit->partition]) {
            life->acknowledged[commit->partition] = commit->offset;
        }
        bed_call_free(commit->call);
    }
    life->commit_count = kept;
}

static int64_t value_in(const struct group_shard *shard, int32_t partition)
{
    const struct group *group = group_find(shard, SLICE("g"));
    const struct offset_entry *entry = group ? offsets_find(group, SLICE("t"), partition) : NULL;
    return entry && entry->has_value ? entry->value.offset : -1;
}

/* Offsets are given out rising, so the newest acknowledged one is a floor for what anyone may see. */
static void check_commits(struct life *life)
{
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        check(life, value_in(&life->bed.shard, partition) >= life->acknowledged[partition]);
    }
}

static void check_same_member(struct life *life, const struct member *live, const struct group *copy)
{
    const struct member *other = group_member(copy, live->id);
    check(life, other != NULL);
    check(life, slice_equal(live->assignment, other->assignment));
    check(life, slice_equal(live->instance_id, other->instance_id));
    check(life,
          slice_equal(member_metadata(live, live->group->protocol), member_metadata(other, copy->protocol)));
}

/* Everything is written and committed: the log tells the same story. */
static void check_replay(struct life *life)
{
    if (!list_empty(&life->bed.held)) return;
    struct group_shard copy;
    bed_replay(&life->bed, &copy);
    check(life, group_shard_loaded(&copy) == OK);
    check(life, copy.skipped_records == 0);
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        check(life, value_in(&copy, partition) == value_in(&life->bed.shard, partition));
    }
    const struct group *live = group_find(&life->bed.shard, SLICE("g")),
                       *other = group_find(&copy, SLICE("g"));
    if (live && live->state == GROUP_STABLE) {
        life->stable_checks++;
        check(life, other && other->state == GROUP_STABLE && other->generation == live->generation);
        check(life,
              other->member_count == live->member_count && slice_equal(other->protocol, live->protocol));
        check(life, slice_equal(other->leader->id, live->leader->id));
        LIST_EACH(&live->members, item)
        check_same_member(life, CONTAINER_OF(item, struct member, link), other);
    }
    if (live && live->state == GROUP_EMPTY && other && !life->was_refused) {
        check(life, other->member_count == 0 && other->generation == live->generation);
    }
    group_shard_free(&copy);
}

/* Inside a live group everything counts up. */
static void check_group(struct life *life)
{
    const struct group *group = group_find(&life->bed.shard, SLICE("g"));
    if (!group) return;
    size_t members = 0, joining = 0, statics = 0;
    bool has_leader = false;
    LIST_EACH(&group->members, item)
    {
        const struct member *member = CONTAINER_OF(item, struct member, link);
        members++;
        joining += member->join != NULL;
        statics += member->instance_id.data != NULL;
        has_leader |= member == group->leader;
        check(life, group_member(group, member->id) == member);
        check(life, member->session.heap_index > 0);
        check(life, !member->join || group->state == GROUP_PREPARING_REBALANCE);
        check(life, !member->sync || group->state == GROUP_COMPLETING_REBALANCE);
    }
    check(life,
          members == group->member_count && members == group->by_id.count && joining == group->joining_count);
    check(life, statics == group->by_instance.count && has_leader == (members > 0));
    check(life, (group->state == GROUP_EMPTY) <= (members == 0));
    check(life, group->state != GROUP_STABLE || members > 0);
    check(life, group->state != GROUP_PREPARING_REBALANCE || group->join_timer.heap_index > 0);
}

/* --- the coordinator --- */

static void coordinator_step(struct life *life)
{
    struct bed *bed = &life->bed;
    uint64_t dice = below(life, 100);
    if (dice < 30)
        bed->mode = BED_COMMITS;
    else if (dice < 40)
        bed->mode = BED_HOLDS;
    if (dice >= 40 && dice < 60 && !list_empty(&bed->held)) bed_end_one(bed, OK);
    if (dice >= 60 && dice < 64 && !list_empty(&bed->held)) {
        life->was_refused = true;
        bed_refuse_last(bed, ERR_NOT_ENOUGH_REPLICAS);
    }
    if (dice >= 64 && dice < 67 && !list_empty(&bed->held)) {
        group_shard_write_timed_out(&bed->shard, CONTAINER_OF(bed->held.next, struct group_write, link));
    }
    if (dice == 70) group_shard_expire(&bed->shard);
    bed_settle(bed);
}

/* Leadership moves: every call hears of it, and the next coordinator has the log, cut somewhere above what was
 * committed. */
static void coordinator_moves(struct life *life)
{
    struct bed *bed = &life->bed;
    size_t safe = bed->record_count;
    if (!list_empty(&bed->held)) {
        struct group_write *first = CONTAINER_OF(bed->held.next, struct group_write, link);
        safe = (size_t)first->op.last_offset + 1 - first->entry_count;
    }
    size_t survives = safe + (size_t)below(life, bed->record_count - safe + 1);
    group_shard_fail(&bed->shard, ERR_NOT_COORDINATOR);
    while (!list_empty(&bed->held)) bed_end_one(bed, ERR_NOT_COORDINATOR);
    bed_collect(bed);
    for (int i = 0; i < CLIENTS; i++) {
        if (life->clients[i].call) client_hear(life, &life->clients[i]);
    }
    group_shard_free(&bed->shard);
    while (bed->record_count > survives) {
        struct bed_record *record = &bed->records[--bed->record_count];
        slice_drop(&record->key);
        slice_drop(&record->value);
    }
    int64_t now_ms = bed->shard.now_ms, wall_ms = bed->shard.wall_ms;
    struct group_shard next;
    bed_replay(bed, &next);
    bed->shard = next;
    list_init(&bed->shard.answers); /* heads do not survive being copied */
    list_init(&bed->shard.writes);
    bed->shard.random = bed_random;
    bed->shard.random_context = &bed->random;
    bed->shard.now_ms = now_ms;
    bed->shard.wall_ms = wall_ms;
    check(life, group_shard_loaded(&bed->shard) == OK);
    memset(life->told, 0, GENERATIONS * sizeof *life->told);
    life->moves++;
    life->was_refused = false;
    note_commits(life);
}

static void one_life(uint64_t seed, int steps, int *stable_checks)
{
    struct life *life = calloc(1, sizeof *life);
    life->told = calloc(GENERATIONS, sizeof *life->told);
    life->seed = seed;
    random_seed(&life->random, seed);
    bed_open(&life->bed, seed);
    life->bed.config.initial_rebalance_delay_ms = (int32_t)below(life, 3) * 1000;
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &life->clients[i];
        bool is_static = i % 3 == 2;
        if (is_static) snprintf(client->instance, sizeof client->instance, "s%d", i);
        client->version = is_static ? (below(life, 2) ? 5 : 9) : (below(life, 2) ? 3 : 6);
    }
    for (int i = 0; i < PARTITIONS; i++) life->acknowledged[i] = -1;

    for (int step = 0; step < steps; step++) {
        coordinator_step(life);
        client_step(life, &life->clients[below(life, CLIENTS)]);
        if (below(life, 3) == 0) bed_advance(&life->bed, (int64_t)below(life, 800));
        if (below(life, 300) == 0) bed_advance(&life->bed, 12000);
        if (below(life, 400) == 0) coordinator_moves(life);
        note_commits(life);
        check_commits(life);
        check_group(life);
        if (below(life, 20) == 0) check_replay(life);
        sweep(life);
    }
    *stable_checks += life->stable_checks;

    for (int i = 0; i < CLIENTS; i++) {
        if (life->clients[i].call) forget(life, life->clients[i].call);
    }
    for (int i = 0; i < life->commit_count; i++) forget(life, life->commits[i].call);
    bed_close(&life->bed);
    sweep(life);
    check(life, life->forgotten_count == 0); /* every call was answered */
    free(life->told);
    free(life);
}

static void lives(void **unused)
{
    int stable_checks = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) one_life(seed, 3000, &stable_checks);
    assert_true(stable_checks > 300); /* the lives are worth looking at */
}

int main(void)
{
    diag_set_level(DIAG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(lives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
