#include "keepers.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/vec.h"
#include "guest.h"
#include "keeper/inside.h"
#include "tenant.h"

enum {
    STOP_MS = 30000,
    START_MS = 30000, /* of virtual time; a start of a member whose disk is well must do */
};

/* One start of a member, to its end. Abandoned when the machine dies. */
struct member_life {
    struct member *member;
    struct loop *loop;
    struct lane *lane;
    struct keeper *keeper;
    struct tenant *tenant;
    bool has_ended;
    struct loop_message start, stop;
};

/* --- chance, time, notes --- */

int64_t keepers_now_ms(const struct keepers *keepers)
{
    return sim_now_ms(keepers->sim);
}

int64_t keepers_between(struct keepers *keepers, int64_t min, int64_t max)
{
    assert(min <= max);
    return min + (int64_t)random_below(&keepers->random, (uint64_t)(max - min) + 1);
}

bool keepers_chance(struct keepers *keepers, unsigned one_in)
{
    return random_below(&keepers->random, one_in) == 0;
}

void keepers_note(struct keepers *keepers, const char *format, ...)
{
    if (!keepers->line) return;
    char text[1200];
    int64_t now_ms = keepers_now_ms(keepers);
    int used = snprintf(text, sizeof text, "%10" PRId64 ".%03" PRId64 "    # ", now_ms / 1000, now_ms % 1000);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, sizeof text - (size_t)used, format, arguments);
    va_end(arguments);
    keepers->line(keepers->line_context, text);
}

void keepers_fail(struct keepers *keepers, const char *format, ...)
{
    char words[800];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    if (!keepers_has_failed(keepers)) keepers_note(keepers, "FAULT: %s", words);
    tree_history_fail(&keepers->history, "%s", words);
}

static void note_diagnostic(void *context, enum diag_level level, const char *message)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    struct keepers *keepers = context;
    const char *host = sim_current_host(keepers->sim);
    keepers_note(keepers, "%s: %s: %s", host ? host : "-", names[level], message);
}

void keepers_trouble(struct keepers *keepers, int64_t ms)
{
    int64_t until_ms = keepers_now_ms(keepers) + ms + 3000;
    if (until_ms > keepers->trouble_ms) keepers->trouble_ms = until_ms;
}

/* --- a member's life --- */

const struct keeper *member_keeper(const struct member *member)
{
    return member->life ? member->life->keeper : NULL;
}

struct keeper *member_keeper_mut(struct member *member)
{
    return member->life ? member->life->keeper : NULL;
}

static void mourn(struct member *member)
{
    member->deaths_seen = sim_machine_crashes(member->machine);
    member->state = MEMBER_DOWN;
    member->life = NULL; /* abandoned */
    member->looked_index = 0;
    keepers_trouble(member->keepers, 0);
}

void member_power_cut(struct member *member)
{
    keepers_note(member->keepers, "%s: power cut", member->host);
    member->keepers->counts.power_cuts++;
    sim_machine_crash(member->machine);
    mourn(member);
}

void member_kill(struct member *member)
{
    keepers_note(member->keepers, "%s: kill -9", member->host);
    member->keepers->counts.kills++;
    sim_machine_kill(member->machine);
    mourn(member);
}

static bool look_for_death(struct member *member)
{
    if (sim_machine_crashes(member->machine) != member->deaths_seen) {
        keepers_note(member->keepers, "%s: the power is gone in the middle of a write", member->host);
        member->keepers->counts.power_cuts++;
        mourn(member);
        return true;
    }
    if (!member->life || !member->life->has_ended) return false;
    free(member->life);
    member->life = NULL;
    sim_machine_kill(member->machine); /* what is left of the process */
    mourn(member);
    return true;
}

static void has_ended(struct member_life *life, enum error err)
{
    struct member *member = life->member;
    struct keepers *keepers = member->keepers;
    keepers_note(keepers, "%s: ended: %s", member->host, error_text(err));
    bool was_asked = member->state == MEMBER_STOPPING;
    bool may = was_asked || member->was_sick || member->was_starved;
    if (!may) keepers_fail(keepers, "member %d ended by itself: %s", member->number, error_text(err));
    keepers->counts.ends += !was_asked;
    life->has_ended = true;
}

static void keeper_ready(void *context, enum error err)
{
    struct member_life *life = context;
    struct member *member = life->member;
    if (err == OK) err = keeper_listen(life->keeper, "", MEMBER_PORT);
    if (err != OK) {
        has_ended(life, err);
        return;
    }
    keepers_note(member->keepers, "%s: ready", member->host);
    if (member->state == MEMBER_STARTING) member->state = MEMBER_READY;
    if (member->keepers->plan.has_tenants) life->tenant = tenant_new(member, life->loop, life->keeper);
}

static void keeper_failed(void *context, enum error err)
{
    has_ended(context, err);
}

void member_line(const struct member *member, bool is_observer, char *line, size_t size)
{
    snprintf(line, size, "%s:%d:%d:%s;%s:%d", member->host, MEMBER_QUORUM_PORT, MEMBER_ELECTION_PORT,
             is_observer ? "observer" : "participant", member->host, MEMBER_PORT);
}

/* As zoo.cfg would have it. */
struct configuration {
    struct keeper_config config;
    struct keeper_server servers[MEMBERS_MAX];
    char lines[MEMBERS_MAX][80];
};

static void configure(const struct keepers *keepers, const struct member *member, struct configuration *whole)
{
    struct keeper_config *config = &whole->config;
    *whole = (struct configuration){0};
    keeper_config_init(config);
    config->data_dir = "/data";
    config->server_id = member->number;
    config->tick_time_ms = keepers->plan.tick_ms;
    config->snap_count = keepers->plan.snap_count;
    config->max_client_cnxns = 0;
    if (keepers->plan.members == 1) return;
    for (int i = 0; i < keepers->plan.members; i++) {
        member_line(&keepers->members[i], false, whole->lines[i], sizeof whole->lines[i]);
        whole->servers[i] = (struct keeper_server){.id = i + 1,
                                                   .host = keepers->members[i].host,
                                                   .quorum_port = MEMBER_QUORUM_PORT,
                                                   .line = whole->lines[i]};
    }
    config->reconfig_enabled = config->skip_acl = keepers->plan.has_changes;
    config->servers = whole->servers;
    config->server_count = (size_t)keepers->plan.members;
}

static void start_keeper(struct loop_message *message)
{
    static const struct keeper_events events = {.ready = keeper_ready, .failed = keeper_failed};
    struct member_life *life = CONTAINER_OF(message, struct member_life, start);
    struct member *member = life->member;
    struct configuration whole;
    configure(member->keepers, member, &whole);
    enum error err = lane_new(life->loop, "keeper-sync", 1, &life->lane);
    if (err == OK) {
        err = keeper_open(&whole.config, life->loop, sim_machine_disk(member->machine), life->lane, &events,
                          life, &life->keeper);
    }
    if (err != OK) keepers_fail(member->keepers, "keeper_open: %s", error_text(err));
}

void member_start(struct member *member)
{
    struct keepers *keepers = member->keepers;
    assert(member->state == MEMBER_DOWN && !member->life);
    struct member_life *life = calloc(1, sizeof *life);
    if (!life) abort();
    life->member = member;
    if (sim_loop_new(member->machine, &life->loop) != OK) abort();
    keepers_note(keepers, "%s: start", member->host);
    keepers->counts.starts++;
    keepers_trouble(keepers, 0);
    member->life = life;
    member->state = MEMBER_STARTING;
    member->was_sick = member->is_disk_sick;
    member->was_starved = member->is_full;
    member->looked_index = 0;
    life->start.run = start_keeper;
    loop_post(life->loop, &life->start);
}

static void keeper_closed(void *context)
{
    struct member_life *life = context;
    lane_free(life->lane);
    has_ended(life, OK);
}

static void stop_keeper(struct loop_message *message)
{
    struct member_life *life = CONTAINER_OF(message, struct member_life, stop);
    if (life->has_ended) return;
    tenant_free(&life->tenant);
    keeper_close(&life->keeper, keeper_closed, life);
}

static bool is_down(void *context)
{
    return ((struct member *)context)->state == MEMBER_DOWN;
}

void member_stop(struct member *member)
{
    struct keepers *keepers = member->keepers;
    if (member->state == MEMBER_DOWN || member->state == MEMBER_STOPPING) return;
    keepers_note(keepers, "%s: stop", member->host);
    keepers->counts.stops++;
    keepers_trouble(keepers, 0);
    member->state = MEMBER_STOPPING;
    member->life->stop.run = stop_keeper;
    loop_post(member->life->loop, &member->life->stop);
    if (!keepers_run_until(keepers, is_down, member, STOP_MS))
        keepers_fail(keepers, "a clean stop of %s does not end within %d s", member->host, STOP_MS / 1000);
}

void member_wipe(struct member *member)
{
    assert(member->state == MEMBER_DOWN);
    keepers_note(member->keepers, "%s: its disk is new", member->host);
    member->keepers->counts.wipes++;
    enum error err = disk_remove_tree(sim_machine_disk(member->machine), "/data");
    if (err == OK) err = disk_sync_dir(sim_machine_disk(member->machine), "/");
    if (err != OK && err != ERR_NOT_FOUND) keepers_fail(member->keepers, "wiping: %s", error_text(err));
}

/* --- looking --- */

static struct watched_session *find_session(const struct keepers *keepers, int64_t id)
{
    for (size_t i = 0; i < keepers->session_count; i++) {
        if (keepers->sessions[i].id == id) return &keepers->sessions[i];
    }
    return NULL;
}

bool keepers_has_session(const struct keepers *keepers, int64_t id)
{
    const struct watched_session *session = find_session(keepers, id);
    return session ? session->first_gone == UINT64_MAX : true;
}

static void session_is_there(struct keepers *keepers, const struct member *member, uint64_t index, int64_t id)
{
    struct watched_session *session = find_session(keepers, id);
    if (!session) {
        if (!VEC_RESERVE(keepers->sessions, keepers->session_count, keepers->session_capacity)) abort();
        session = &keepers->sessions[keepers->session_count++];
        *session = (struct watched_session){.id = id, .first_gone = UINT64_MAX};
    }
    if (index > session->last_there) session->last_there = index;
    if (index < session->first_gone) return;
    keepers_fail(keepers,
                 "session %" PRIx64 " was over at index %" PRIu64 ", and member %d has it at %" PRIu64,
                 (uint64_t)id, session->first_gone, member->number, index);
}

static void session_is_gone(struct keepers *keepers, struct watched_session *session, uint64_t index)
{
    bool is_news = session->first_gone == UINT64_MAX;
    session->first_gone = index;
    if (!is_news) return;
    keepers_note(keepers, "session %" PRIx64 " is over", (uint64_t)session->id);
    for (int i = 0; i < keepers->guest_count; i++) {
        if (keepers->guests[i].session == session->id) guest_session_gone(&keepers->guests[i]);
    }
}

static void look_at_sessions(struct keepers *keepers, const struct member *member,
                             const struct machine *machine, uint64_t index)
{
    LIST_EACH(&machine->session_list, item)
    {
        session_is_there(keepers, member, index, CONTAINER_OF(item, struct session, all)->id);
    }
    for (size_t i = 0; i < keepers->session_count; i++) {
        struct watched_session *session = &keepers->sessions[i];
        if (index < session->last_there || index >= session->first_gone) continue;
        if (!machine_session(machine, session->id)) session_is_gone(keepers, session, index);
    }
}

static void look_at_ephemerals(struct keepers *keepers, const struct member *member,
                               const struct machine *machine)
{
    const struct tree *tree = &machine->tree;
    uint64_t at = 0;
    const struct znode *node;
    while ((node = tree_next(tree, &at))) {
        int64_t owner = znode_owner(tree, node);
        if (owner_kind(owner) != OWNER_SESSION || machine_session(machine, owner)) continue;
        keepers_fail(keepers, "member %d has %.*s of session %" PRIx64 ", which does not exist",
                     member->number, SLICE_ARG(znode_name(node)), (uint64_t)owner);
    }
}

static void look_at_digest(struct keepers *keepers, const struct member *member,
                           const struct machine *machine, uint64_t index)
{
    uint64_t digest = machine_digest(machine);
    struct digest_at *known = map_get_number(&keepers->digests, index);
    if (!known) {
        known = calloc(1, sizeof *known);
        if (!known || map_put_number(&keepers->digests, index, known) != OK) abort();
        *known = (struct digest_at){digest, member->number};
    } else if (known->digest != digest) {
        keepers_fail(keepers,
                     "at index %" PRIu64 " (zxid %" PRIx64 ") member %d has the digest %016" PRIx64
                     ", member %d had %016" PRIx64,
                     index, (uint64_t)machine->zxid, member->number, digest, known->member, known->digest);
    }
}

static void look_at(struct member *member)
{
    struct keepers *keepers = member->keepers;
    const struct keeper *keeper = member_keeper(member);
    if (!keeper || member->state != MEMBER_READY) return;
    uint64_t index = quorum_applied_index(keeper->quorum);
    if (index == member->looked_index || index == 0) return;
    if (index < member->looked_index) {
        keepers_fail(keepers, "member %d went back from index %" PRIu64 " to %" PRIu64, member->number,
                     member->looked_index, index);
    }
    member->looked_index = index;
    keepers->counts.looks++;
    look_at_sessions(keepers, member, &keeper->machine, index);
    look_at_ephemerals(keepers, member, &keeper->machine);
    look_at_digest(keepers, member, &keeper->machine, index);
}

static void standing_of(const struct member *member, struct quorum_standing *standing)
{
    *standing = (struct quorum_standing){0};
    if (member->state == MEMBER_READY && member_keeper(member))
        quorum_standing(member_keeper(member)->quorum, standing);
}

struct member *keepers_leader(struct keepers *keepers)
{
    if (keepers->plan.members == 1)
        return keepers->members[0].state == MEMBER_READY ? &keepers->members[0] : NULL;
    struct member *leader = NULL;
    uint64_t term = 0;
    for (int i = 0; i < keepers->plan.members; i++) {
        struct quorum_standing standing;
        standing_of(&keepers->members[i], &standing);
        if (standing.office != QUORUM_LEADING || standing.term <= term) continue;
        leader = &keepers->members[i];
        term = standing.term;
    }
    return leader;
}

int keepers_voters(struct keepers *keepers)
{
    struct member *leader = keepers_leader(keepers);
    if (!leader) return 0;
    if (keepers->plan.members == 1) return 1;
    int count = 0, voters = 0;
    uint64_t index;
    const struct quorum_member *members = quorum_members(member_keeper(leader)->quorum, &count, &index);
    for (int i = 0; i < count; i++) voters += members[i].part == QUORUM_VOTER;
    return voters;
}

/* A term has one leader for ever. */
static void look_at_leader(struct keepers *keepers)
{
    if (keepers->plan.members == 1) return;
    struct member *leader = keepers_leader(keepers);
    if (!leader) return;
    struct quorum_standing standing;
    standing_of(leader, &standing);
    if (standing.term < keepers->leader_term) return; /* one that does not know yet */
    if (standing.term == keepers->leader_term) {
        if (leader->number != keepers->leader)
            keepers_fail(keepers, "members %d and %d both lead in term %" PRIu64, keepers->leader,
                         leader->number, standing.term);
        return;
    }
    keepers_note(keepers, "member %d leads in term %" PRIu64, leader->number, standing.term);
    keepers->counts.leaders++;
    keepers->leader = leader->number;
    keepers->leader_term = standing.term;
    keepers_trouble(keepers, 0);
}

/* --- time --- */

struct waiting {
    struct keepers *keepers;
    bool (*check)(void *context);
    void *context;
};

static bool is_over(void *context)
{
    struct waiting *waiting = context;
    struct keepers *keepers = waiting->keepers;
    for (int i = 0; i < keepers->plan.members; i++) {
        look_for_death(&keepers->members[i]);
        look_at(&keepers->members[i]);
    }
    look_at_leader(keepers);
    if (keepers_has_failed(keepers)) return true;
    return waiting->check && waiting->check(waiting->context);
}

bool keepers_run_until(struct keepers *keepers, bool (*check)(void *context), void *context, int64_t limit_ms)
{
    struct waiting waiting = {keepers, check, context};
    return sim_run_until(keepers->sim, is_over, &waiting, limit_ms) && !keepers_has_failed(keepers);
}

void keepers_run(struct keepers *keepers, int64_t ms)
{
    struct waiting waiting = {keepers, NULL, NULL};
    bool is_early = sim_run_until(keepers->sim, is_over, &waiting, ms);
    (void)is_early; /* then there is a fault */
}

/* --- all members --- */

static bool is_everybody_level(void *context)
{
    struct keepers *keepers = context;
    uint64_t index = 0;
    for (int i = 0; i < keepers->plan.members; i++) {
        const struct member *member = &keepers->members[i];
        const struct keeper *keeper = member_keeper(member);
        if (member->state != MEMBER_READY || !keeper) return false;
        uint64_t applied = quorum_applied_index(keeper->quorum);
        if (i > 0 && applied != index) return false;
        index = applied;
    }
    return true;
}

static void compare_trees(struct keepers *keepers, const struct member *one, const struct member *other)
{
    const struct tree *tree = &member_keeper(one)->machine.tree;
    const struct tree *twin = &member_keeper(other)->machine.tree;
    if (tree->count != twin->count) {
        keepers_fail(keepers, "member %d has %" PRId64 " znodes, member %d %" PRId64, one->number,
                     tree->count, other->number, twin->count);
    }
    struct text path = {0};
    uint64_t at = 0;
    const struct znode *node;
    while ((node = tree_next(tree, &at))) {
        text_reset(&path);
        tree_path(tree, node, &path);
        const struct znode *same = tree_find(twin, text_slice(&path));
        struct znode_stat left = znode_stat(tree, node),
                          right = same ? znode_stat(twin, same) : (struct znode_stat){0};
        uint8_t bytes[2][STAT_SIZE];
        stat_encode(&left, bytes[0]);
        stat_encode(&right, bytes[1]);
        struct slice data = znode_data(tree, node), twins = same ? znode_data(twin, same) : SLICE_NULL;
        bool is_equal = same && memcmp(bytes[0], bytes[1], STAT_SIZE) == 0 && data.size == twins.size &&
                        (data.size == 0 || memcmp(data.data, twins.data, data.size) == 0);
        if (!is_equal)
            keepers_fail(keepers, "%s is not the same on members %d and %d", path.data, one->number,
                         other->number);
    }
    text_free(&path);
}

void keepers_compare(struct keepers *keepers)
{
    enum { LEVEL_MS = 20000 };
    if (!keepers_run_until(keepers, is_everybody_level, keepers, LEVEL_MS)) {
        for (int i = 0; i < keepers->plan.members && !keepers_has_failed(keepers); i++) {
            const struct keeper *keeper = member_keeper(&keepers->members[i]);
            keepers_note(keepers, "member %d: state %d, index %" PRIu64, i + 1,
                         (int)keepers->members[i].state, keeper ? quorum_applied_index(keeper->quorum) : 0);
        }
        keepers_fail(keepers, "%d s after all was well the members have not applied the same",
                     LEVEL_MS / 1000);
        return;
    }
    for (int i = 1; i < keepers->plan.members; i++) {
        if (machine_digest(&member_keeper(&keepers->members[i])->machine) !=
            machine_digest(&member_keeper(&keepers->members[0])->machine))
            keepers_fail(keepers, "members 1 and %d have different digests", i + 1);
        compare_trees(keepers, &keepers->members[0], &keepers->members[i]);
        compare_trees(keepers, &keepers->members[i], &keepers->members[0]);
    }
}

/* --- from a seed --- */

static void draw_plan(struct keepers *keepers, int forced_members)
{
    static const int sizes[] = {1, 3, 3, 3, 5};
    struct keepers_plan *plan = &keepers->plan;
    plan->members = sizes[keepers_between(keepers, 0, sizeof sizes / sizeof *sizes - 1)];
    if (forced_members > 0 && forced_members <= MEMBERS_MAX) plan->members = forced_members;
    plan->guests = (int)keepers_between(keepers, 2, GUESTS_MAX);
    plan->window = (int)keepers_between(keepers, 1, 8);
    plan->steps = (int)keepers_between(keepers, 6, 16);
    plan->tick_ms = (int)keepers_between(keepers, 100, 400);
    plan->timeout_ms = plan->tick_ms * (int)keepers_between(keepers, 4, 16);
    plan->snap_count = keepers_between(keepers, 20, keepers_chance(keepers, 2) ? 100 : 1000);
    plan->has_power_cuts = !keepers_chance(keepers, 5);
    plan->has_failed_syncs = plan->has_power_cuts && keepers_chance(keepers, 3);
    plan->has_wipes = plan->members > 2 && keepers_chance(keepers, 3);
    plan->has_broker = keepers_chance(keepers, 3);
    plan->has_tenants = keepers_chance(keepers, 3);
    plan->has_changes = plan->members > 2 && keepers_chance(keepers, 3);
    keepers_note(keepers,
                 "plan: %d members, %d guests, windows up to %d, tick %d ms, sessions %d ms, snapshots every "
                 "%d%s%s%s%s",
                 plan->members, plan->guests, plan->window, plan->tick_ms, plan->timeout_ms,
                 (int)plan->snap_count, plan->has_power_cuts ? ", power cuts" : "",
                 plan->has_failed_syncs ? ", failed syncs" : "", plan->has_wipes ? ", wiped disks" : "",
                 plan->has_changes ? ", changes of members" : "");
}

static enum error make_machines(struct keepers *keepers)
{
    enum error err = OK;
    for (int i = 0; i < keepers->plan.members && err == OK; i++) {
        struct member *member = &keepers->members[i];
        *member = (struct member){.keepers = keepers, .number = i + 1};
        snprintf(member->host, sizeof member->host, "10.0.0.%d", i + 1);
        err = sim_machine_new(keepers->sim, member->host, &member->machine);
    }
    for (int i = 0; i < CLIENT_MACHINES && err == OK; i++) {
        char host[24];
        snprintf(host, sizeof host, "10.0.1.%d", i + 1);
        err = sim_machine_new(keepers->sim, host, &keepers->client_machines[i]);
        if (err == OK) err = sim_loop_new(keepers->client_machines[i], &keepers->client_loops[i]);
    }
    return err;
}

enum error keepers_new(uint64_t seed, int forced_members, void (*line)(void *context, const char *text),
                       void *context, struct keepers **result)
{
    struct keepers *keepers = calloc(1, sizeof *keepers);
    if (!keepers) return ERR_NOMEM;
    keepers->seed = seed;
    keepers->line = line;
    keepers->line_context = context;
    random_seed(&keepers->random, seed);
    enum error err = sim_new(seed, &keepers->sim);
    if (err == OK) {
        diag_set_sink(note_diagnostic, keepers);
        draw_plan(keepers, forced_members);
        err = make_machines(keepers);
    }
    keepers->guests = calloc(GUESTS_MAX + MEMBERS_MAX + 1, sizeof *keepers->guests);
    if (!keepers->guests) err = ERR_NOMEM;
    if (err != OK) {
        keepers_free(&keepers);
        return err;
    }
    if (line) sim_trace_to(keepers->sim, line, context);
    *result = keepers;
    return OK;
}

void keepers_free(struct keepers **freed)
{
    struct keepers *keepers = *freed;
    *freed = NULL;
    if (!keepers) return;
    sim_free(keepers->sim);
    tree_history_free(&keepers->history);
    struct map_slot *slot;
    for (size_t i = 0; (slot = map_next(&keepers->digests, &i));) free(slot->value);
    map_free(&keepers->digests);
    free(keepers->sessions);
    free(keepers->guests);
    diag_set_sink(NULL, NULL);
    free(keepers);
}
