#include "witness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/vec.h"
#include "keeper/inside.h"
#include "logs.h"
#include "metadata/znodes.h"
#include "world.h"

enum { MAX_REPLICAS = WORLD_MAX_SERVERS, ROOT_NAME = 128 };

/* One partition of one topic's life: a topic that is made again is another. */
struct seat {
    char topic[HISTORY_NAME];
    int32_t index;
    int64_t topic_czxid, state_czxid;
    bool is_there;
    int32_t replicas[MAX_REPLICAS], isr[MAX_REPLICAS];
    int replica_count, isr_count;
    int32_t version, leader, leader_epoch, controller_epoch; /* version -1 = no state yet */
    bool is_recovering;
    bool must_leave[WORLD_MAX_SERVERS]; /* hurt, and not yet seen out of the ISR since */
};

struct witness {
    struct world *world;
    /* of the last look, and of the write that made the controller epoch what it is */
    int64_t zxid, epoch_zxid;
    int64_t changes;
    int32_t controller_epoch;
    bool is_registered[WORLD_MAX_SERVERS];
    struct seat *seats;
    size_t count, capacity;
    struct arena arena;
};

struct witness *witness_new(struct world *world)
{
    struct witness *witness = calloc(1, sizeof *witness);
    if (!witness) abort();
    witness->world = world;
    arena_init(&witness->arena, 1 << 20);
    return witness;
}

void witness_free(struct witness **freed)
{
    struct witness *witness = *freed;
    *freed = NULL;
    if (!witness) return;
    arena_free(&witness->arena);
    free(witness->seats);
    free(witness);
}

static bool has(const int32_t *items, int count, int32_t id)
{
    for (int i = 0; i < count; i++) {
        if (items[i] == id) return true;
    }
    return false;
}

/* --- what is in the tree --- */

static int copy(const struct int32_list *from, int32_t to[MAX_REPLICAS])
{
    int count = 0;
    for (size_t i = 0; i < from->count && count < MAX_REPLICAS; i++) to[count++] = from->items[i];
    return count;
}

static struct seat *seat_of(struct witness *witness, struct slice topic, int32_t index, int64_t czxid)
{
    for (size_t i = 0; i < witness->count; i++) {
        struct seat *seat = &witness->seats[i];
        if (seat->topic_czxid == czxid && seat->index == index && slice_is(topic, seat->topic)) return seat;
    }
    if (!VEC_RESERVE(witness->seats, witness->count, witness->capacity)) abort();
    struct seat *seat = &witness->seats[witness->count++];
    *seat = (struct seat){.index = index, .topic_czxid = czxid, .version = -1, .leader = -1};
    slice_text(topic, seat->topic, sizeof seat->topic);
    return seat;
}

static void judge(struct witness *witness, const struct seat *seat, const struct partition_state *state,
                  const struct stat_kept *kept)
{
    int32_t version = kept->version;
    struct history *history = &witness->world->history;
    const char *topic = seat->topic;
    int32_t p = seat->index;
    if (version < seat->version) {
        history_fail(history, "%s-%d: the state's version goes back from %d to %d", topic, p, seat->version,
                     version);
    }
    if (state->leader_epoch < seat->leader_epoch) {
        history_fail(history, "%s-%d: the leader epoch goes back from %d to %d", topic, p, seat->leader_epoch,
                     state->leader_epoch);
    }
    bool is_deposed =
        kept->mzxid > witness->epoch_zxid && state->controller_epoch < witness->controller_epoch;
    if (is_deposed || state->controller_epoch < seat->controller_epoch ||
        state->controller_epoch > witness->controller_epoch) {
        history_fail(history, "%s-%d: written by controller epoch %d, after %d, while it is %d", topic, p,
                     state->controller_epoch, seat->controller_epoch, witness->controller_epoch);
    }
    bool is_same_epoch = seat->version >= 0 && state->leader_epoch == seat->leader_epoch;
    if (is_same_epoch && state->leader != seat->leader) {
        history_fail(history, "%s-%d: leader epoch %d has leaders %d and %d", topic, p, seat->leader_epoch,
                     seat->leader, state->leader);
    }
    int32_t isr[MAX_REPLICAS];
    int count = copy(&state->isr, isr);
    bool is_repeated = is_same_epoch && state->leader == seat->leader && count == seat->isr_count &&
                       memcmp(isr, seat->isr, (size_t)count * sizeof *isr) == 0 &&
                       state->controller_epoch == seat->controller_epoch &&
                       state->is_recovering == seat->is_recovering;
    if (is_repeated) {
        history_fail(history, "%s-%d: version %d says again what version %d said", topic, p, version,
                     seat->version);
    }
    if (state->isr.count == 0) history_fail(history, "%s-%d: the ISR is empty", topic, p);
    for (size_t i = 0; i < state->isr.count; i++) {
        if (!has(seat->replicas, seat->replica_count, state->isr.items[i])) {
            history_fail(history, "%s-%d: %d is in the ISR and no replica", topic, p, state->isr.items[i]);
        }
    }
    if (state->leader >= 0 && !has(isr, count, state->leader))
        history_fail(history, "%s-%d: the leader %d is not in the ISR", topic, p, state->leader);
}

static void see_state(struct witness *witness, const struct tree *tree, struct seat *seat,
                      const struct znode *node)
{
    struct stat_kept kept = znode_kept(tree, node);
    if (seat->state_czxid == kept.czxid && seat->version == kept.version) return;
    struct partition_state state;
    struct znode_fault fault;
    if (znode_state_decode(SLICE("state"), znode_data(tree, node), &witness->arena, &state, &fault) != OK) {
        history_fail(&witness->world->history, "%s-%d: %s", seat->topic, seat->index, fault.text);
        return;
    }
    judge(witness, seat, &state, &kept);
    witness->changes++;
    seat->state_czxid = kept.czxid;
    seat->version = kept.version;
    seat->leader = state.leader;
    seat->leader_epoch = state.leader_epoch;
    seat->controller_epoch = state.controller_epoch;
    seat->is_recovering = state.is_recovering;
    seat->isr_count = copy(&state.isr, seat->isr);
    char words[64] = "";
    size_t used = 0;
    for (int i = 0; i < seat->isr_count; i++)
        used += (size_t)snprintf(words + used, sizeof words - used, "%s%d", i ? "," : "", seat->isr[i]);
    world_note(witness->world, "%s-%d: leader %d epoch %d, ISR %s, version %d", seat->topic, seat->index,
               seat->leader, seat->leader_epoch, words, seat->version);
    for (int i = 0; i < WORLD_MAX_SERVERS; i++) {
        if (!has(seat->isr, seat->isr_count, i)) seat->must_leave[i] = false;
    }
}

static void see_topic(struct witness *witness, const struct tree *tree, const struct znode *topic)
{
    struct topic_assignment assignment;
    struct znode_fault fault;
    if (znode_topic_decode(SLICE("topic"), znode_data(tree, topic), &witness->arena, &assignment, &fault) !=
        OK) {
        history_fail(&witness->world->history, "%s", fault.text);
        return;
    }
    const struct znode *partitions = tree_child(tree, topic, SLICE("partitions"));
    for (size_t p = 0; p < assignment.partition_count; p++) {
        struct seat *seat = seat_of(witness, znode_name(topic), (int32_t)p, topic->czxid);
        seat->is_there = true;
        seat->replica_count = copy(&assignment.replicas[p], seat->replicas);
        char name[24];
        snprintf(name, sizeof name, "%zu", p);
        const struct znode *partition = partitions ? tree_child(tree, partitions, slice_of(name)) : NULL;
        const struct znode *state = partition ? tree_child(tree, partition, SLICE("state")) : NULL;
        if (state) see_state(witness, tree, seat, state);
        history_leader(&witness->world->history, znode_name(topic), (int32_t)p, seat->leader_epoch);
    }
}

static void see_controller(struct witness *witness, const struct tree *tree)
{
    const struct znode *node = tree_find(tree, SLICE("/kafka/controller_epoch"));
    int32_t epoch = 0;
    struct znode_fault fault;
    if (!node) return;
    if (znode_epoch_decode(SLICE("/controller_epoch"), znode_data(tree, node), &epoch, &fault) != OK) {
        history_fail(&witness->world->history, "%s", fault.text);
        return;
    }
    if (epoch < witness->controller_epoch) {
        history_fail(&witness->world->history, "the controller epoch goes back from %d to %d",
                     witness->controller_epoch, epoch);
    }
    witness->epoch_zxid = znode_kept(tree, node).mzxid;
    if (epoch != witness->controller_epoch) world_note(witness->world, "controller epoch %d", epoch);
    witness->controller_epoch = epoch;
}

static void see_brokers(struct witness *witness, const struct tree *tree)
{
    const struct znode *ids = tree_find(tree, SLICE("/kafka/brokers/ids"));
    for (int i = 0; i < witness->world->server_count; i++) {
        char name[24];
        snprintf(name, sizeof name, "%d", i);
        witness->is_registered[i] = ids && tree_child(tree, ids, slice_of(name));
    }
}

/* --- hurt and healed --- */

void witness_hurt(struct witness *witness, const struct server *server)
{
    for (size_t i = 0; i < witness->count; i++) {
        struct seat *seat = &witness->seats[i];
        seat->must_leave[server->id] = seat->is_there && has(seat->isr, seat->isr_count, server->id);
    }
}

static bool is_healed(const struct witness *witness, const struct server *server)
{
    if (server->state != SERVER_READY) return false;
    for (size_t i = 0; i < witness->count; i++) {
        const struct seat *seat = &witness->seats[i];
        if (!seat->is_there || !has(seat->replicas, seat->replica_count, server->id)) continue;
        if (seat->must_leave[server->id] || !has(seat->isr, seat->isr_count, server->id)) return false;
    }
    return true;
}

static bool has_other(const struct witness *witness, const struct seat *seat, const struct server *server)
{
    for (int i = 0; i < seat->isr_count; i++) {
        int32_t id = seat->isr[i];
        if (id == server->id || id >= witness->world->server_count) continue;
        const struct server *other = &witness->world->servers[id];
        bool is_well = !other->is_hurt && !other->is_troubled && !other->is_disk_sick;
        if (other->state == SERVER_READY && is_well) return true;
    }
    return false;
}

static bool have_others(const struct witness *witness, const struct server *server)
{
    for (size_t i = 0; i < witness->count; i++) {
        const struct seat *seat = &witness->seats[i];
        bool is_in = seat->is_there && has(seat->isr, seat->isr_count, server->id);
        if (is_in && !has_other(witness, seat, server)) return false;
    }
    return true;
}

bool witness_may_lose(const struct witness *witness, const struct server *server)
{
    bool is_any_hurt = false;
    for (int i = 0; i < witness->world->server_count; i++)
        is_any_hurt |= witness->world->servers[i].is_hurt || witness->world->servers[i].is_disk_sick;
    return !is_any_hurt || have_others(witness, server);
}

bool witness_may_hurt(const struct witness *witness, const struct server *server)
{
    const struct plan *plan = &witness->world->plan;
    if (plan->is_durable || !plan_is_replicated(plan)) return true;
    int hurt = 0;
    /* A disk that failed is as good as lost until its broker has started again. */
    for (int i = 0; i < witness->world->server_count; i++)
        hurt += witness->world->servers[i].is_hurt || witness->world->servers[i].is_disk_sick;
    return hurt + 1 < plan->min_isr && have_others(witness, server);
}

/* --- looking --- */

void witness_look(struct witness *witness)
{
    struct world *world = witness->world;
    const struct keeper *keeper = server_keeper(&world->keeper);
    if (!keeper || keeper->machine.zxid == witness->zxid) return;
    witness->zxid = keeper->machine.zxid;
    const struct tree *tree = &keeper->machine.tree;
    for (size_t i = 0; i < witness->count; i++) witness->seats[i].is_there = false;
    see_controller(witness, tree);
    see_brokers(witness, tree);
    const struct znode *topics = tree_find(tree, SLICE("/kafka/brokers/topics"));
    size_t at = 0;
    for (const struct znode *topic; topics && (topic = znode_next_child(tree, topics, &at));)
        see_topic(witness, tree, topic);
    arena_reset(&witness->arena);
    for (int i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        if (!server->is_hurt || !is_healed(witness, server)) continue;
        server->is_hurt = false;
        world_note(world, "%s is in sync again", server->host);
    }
}

int witness_isr(const struct witness *witness, const char *topic, int32_t index, int32_t *ids)
{
    int count = 0;
    for (size_t i = 0; i < witness->count; i++) {
        const struct seat *seat = &witness->seats[i];
        if (!seat->is_there || seat->index != index || strcmp(seat->topic, topic) != 0) continue;
        if (seat->leader < 0) return 0;
        ids[count++] = seat->leader;
        for (int k = 0; k < seat->isr_count; k++) {
            if (seat->isr[k] != seat->leader) ids[count++] = seat->isr[k];
        }
    }
    return count;
}

int64_t witness_changes(const struct witness *witness)
{
    return witness->changes;
}

bool witness_is_whole(const struct witness *witness)
{
    char words[8];
    witness_say(witness, words, sizeof words);
    return !words[0];
}

void witness_say(const struct witness *witness, char *words, size_t size)
{
    words[0] = 0;
    for (int i = 0; i < witness->world->server_count && !words[0]; i++) {
        if (!witness->is_registered[i]) snprintf(words, size, "broker %d is not registered", i);
    }
    for (size_t i = 0; i < witness->count && !words[0]; i++) {
        const struct seat *seat = &witness->seats[i];
        if (!seat->is_there) continue;
        if (seat->leader < 0) snprintf(words, size, "%s-%d has no leader", seat->topic, seat->index);
        if (seat->isr_count < seat->replica_count)
            snprintf(words, size, "%s-%d has %d of %d replicas in sync", seat->topic, seat->index,
                     seat->isr_count, seat->replica_count);
    }
}

void witness_compare(const struct witness *witness)
{
    struct world *world = witness->world;
    for (size_t i = 0; i < witness->count && !world_has_failed(world); i++) {
        const struct seat *seat = &witness->seats[i];
        if (!seat->is_there) continue;
        size_t known = history_find_partition(&world->history, slice_of(seat->topic), seat->index);
        if (known == SIZE_MAX && seat->leader < 0) continue; /* of a topic that is being deleted */
        int64_t end = known == SIZE_MAX ? 0 : history_known_end(&world->history, known);
        int64_t start = known == SIZE_MAX ? 0 : world->history.partitions[known].asked_start;
        logs_compare(world, seat->topic, seat->index, seat->isr, seat->isr_count, start, end);
    }
}
