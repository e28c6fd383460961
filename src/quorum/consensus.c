/* consensus.c: consensus.h over cowsql raft's raft_step(). */
#include "quorum/consensus.h"

#include <assert.h>
#include <raft.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

enum {
    INFLIGHT_MAX = 65536,         /* entries to a member that has not answered; the links bound the bytes */
    INSTALL_PATIENCE_MS = 3600000 /* a snapshot's way is watched by its link, not by a clock */
};

struct consensus {
    struct raft raft;
    bool is_receiving;
    struct raft_entry *given; /* to the core, for a call */
    size_t given_capacity;
    struct consensus_entry *entries;
    size_t entries_capacity;
    struct consensus_message *messages;
    size_t messages_capacity;
    void *spent; /* the core's memory behind the last effects */
};

/* Any address but NULL marks entries whose memory is not the core's. */
static const char not_yours;

static int kind_to_raft(enum entry_kind kind)
{
    return kind == ENTRY_COMMAND ? RAFT_COMMAND : kind == ENTRY_BARRIER ? RAFT_BARRIER : RAFT_CHANGE;
}

static enum entry_kind kind_from_raft(int type)
{
    return type == RAFT_COMMAND ? ENTRY_COMMAND : type == RAFT_BARRIER ? ENTRY_BARRIER : ENTRY_CHANGE;
}

static enum error error_from_raft(int rv)
{
    switch (rv) {
    case 0: return OK;
    case RAFT_NOMEM: return ERR_NOMEM;
    case RAFT_NOTLEADER: return ERR_NOT_LEADER;
    case RAFT_CANTCHANGE: return ERR_BUSY;
    case RAFT_BADID:
    case RAFT_NOTFOUND: return ERR_NOT_FOUND;
    default: return ERR_CORRUPT;
    }
}

static enum error configuration_of(const struct membership *membership, struct raft_configuration *conf)
{
    uint8_t *bytes;
    size_t size;
    enum error err = membership_encode(membership, &bytes, &size);
    if (err != OK) return err;
    struct raft_buffer buffer = {bytes, size};
    err = error_from_raft(raft_configuration_decode(&buffer, conf));
    free(bytes);
    return err;
}

enum error consensus_new(const struct consensus_config *config, struct consensus **consensus)
{
    struct consensus *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    struct raft *raft = &made->raft;
    if (raft_init(raft, NULL, NULL, (raft_id)config->id, "-") != 0) {
        free(made);
        return ERR_NOMEM;
    }
    raft->tracer = NULL; /* the default one formats each line before it throws it away */
    raft_seed(raft, config->seed);
    raft_set_heartbeat_timeout(raft, config->heartbeat_ms);
    raft_set_election_timeout(raft, config->election_ms);
    raft_set_install_snapshot_timeout(raft, INSTALL_PATIENCE_MS);
    raft_set_max_inflight_entries(raft, INFLIGHT_MAX);
    raft_set_pre_vote(raft, true);
    *consensus = made;
    return OK;
}

static void spent_free(struct consensus *consensus)
{
    raft_free(consensus->spent);
    consensus->spent = NULL;
}

void consensus_free(struct consensus **consensus)
{
    struct consensus *held = *consensus;
    *consensus = NULL;
    if (!held) return;
    spent_free(held);
    raft_close(&held->raft, NULL);
    free(held->given);
    free(held->entries);
    free(held->messages);
    free(held);
}

/* --- effects --- */

static void result_say(const struct consensus *consensus, struct frame_entries_result *result)
{
    const struct raft *raft = &consensus->raft;
    if (result->rejected == 0) return;
    if (consensus->is_receiving || raft->snapshot.installing) {
        result->rejected = result->last_index = 0; /* still here */
        return;
    }
    uint64_t snapshot = raft->trail.snapshot.index;
    if (result->rejected <= snapshot && raft->last_stored >= snapshot) {
        result->rejected = 0;
        result->last_index = snapshot;
    }
}

/* False: it is for nobody. */
static bool message_say(const struct consensus *consensus, const struct raft_message *message, bool is_stale,
                        struct consensus_message *said)
{
    if (message->server_id == 0) return false; /* a leader that was forgotten */
    *said = (struct consensus_message){.to = (int32_t)message->server_id};
    struct frame *frame = &said->frame;
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        frame->kind = FRAME_ENTRIES;
        frame->entries = (struct frame_entries){.term = message->append_entries.term,
                                                .previous_index = message->append_entries.prev_log_index,
                                                .previous_term = message->append_entries.prev_log_term,
                                                .commit = message->append_entries.leader_commit,
                                                .count = message->append_entries.n_entries};
        return true;
    case RAFT_APPEND_ENTRIES_RESULT:
        frame->kind = FRAME_ENTRIES_RESULT;
        frame->entries_result = (struct frame_entries_result){
            message->append_entries_result.term, message->append_entries_result.rejected,
            is_stale ? 0 : message->append_entries_result.last_log_index};
        if (!is_stale) result_say(consensus, &frame->entries_result);
        return true;
    case RAFT_REQUEST_VOTE:
        frame->kind = FRAME_VOTE;
        frame->vote = (struct frame_vote){message->request_vote.term, message->request_vote.last_log_index,
                                          message->request_vote.last_log_term, message->request_vote.pre_vote,
                                          message->request_vote.disrupt_leader};
        return true;
    case RAFT_REQUEST_VOTE_RESULT:
        frame->kind = FRAME_VOTE_RESULT;
        frame->vote_result = (struct frame_vote_result){message->request_vote_result.term,
                                                        message->request_vote_result.vote_granted,
                                                        message->request_vote_result.pre_vote};
        return true;
    case RAFT_INSTALL_SNAPSHOT:
        frame->kind = FRAME_SNAPSHOT;
        frame->snapshot =
            (struct frame_snapshot){message->install_snapshot.term, message->install_snapshot.last_index,
                                    message->install_snapshot.last_term, 0};
        return true;
    case RAFT_TIMEOUT_NOW:
        frame->kind = FRAME_TIMEOUT_NOW;
        frame->timeout_now =
            (struct frame_timeout_now){message->timeout_now.term, message->timeout_now.last_log_index,
                                       message->timeout_now.last_log_term};
        return true;
    }
    return false;
}

static enum error step(struct consensus *consensus, int64_t now_ms, struct raft_event *event, bool is_stale,
                       struct consensus_effects *effects)
{
    spent_free(consensus);
    struct raft *raft = &consensus->raft;
    enum consensus_state state = consensus_state(consensus);
    int32_t leader = consensus_leader(consensus);
    struct raft_update update = {0};
    event->time = (raft_time)now_ms;
    *effects = (struct consensus_effects){0};
    enum error err = error_from_raft(raft_step(raft, event, &update));
    if (err != OK) return err;

    unsigned flags = update.flags;
    effects->has_promised = flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR);
    effects->has_committed = flags & (RAFT_UPDATE_COMMIT_INDEX);
    effects->has_turned =
        effects->has_promised || state != consensus_state(consensus) || leader != consensus_leader(consensus);
    if (flags & (RAFT_UPDATE_ENTRIES)) {
        unsigned count = update.entries.n;
        if (!VEC_RESERVE_N(consensus->entries, 0, consensus->entries_capacity, count)) return ERR_NOMEM;
        for (unsigned i = 0; i < count; i++) {
            const struct raft_entry *entry = &update.entries.batch[i];
            consensus->entries[i] = (struct consensus_entry){
                entry->term, kind_from_raft(entry->type), {entry->buf.base, entry->buf.len}};
        }
        effects->first = update.entries.index;
        effects->entries = consensus->entries;
        effects->entry_count = count;
        void *batch = update.entries.batch[0].batch;
        if (batch != &not_yours) consensus->spent = batch;
    }
    if (flags & (RAFT_UPDATE_SNAPSHOT)) {
        effects->installs = true;
        raft_configuration_close(&update.snapshot.metadata.configuration);
        raft_free(update.snapshot.chunk.base);
    }
    if (flags & (RAFT_UPDATE_MESSAGES)) {
        if (!VEC_RESERVE_N(consensus->messages, 0, consensus->messages_capacity, update.messages.n))
            return ERR_NOMEM;
        int count = 0;
        for (unsigned i = 0; i < update.messages.n; i++) {
            const struct raft_message *message = &update.messages.batch[i];
            count += message_say(consensus, message, is_stale, &consensus->messages[count]);
        }
        effects->messages = consensus->messages;
        effects->message_count = count;
    }
    return OK;
}

/* --- events --- */

/* The core lets a sole voter lead without a term of its own: two leaders of one term, if there was another before, or if what it sent
 * to an observer in its last life was not yet on its own disk. So it gets its term, and its own vote, here. */
static bool is_sole_voter(const struct raft_configuration *conf, raft_id id)
{
    bool is_voter = false;
    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].role != RAFT_VOTER) continue;
        if (conf->servers[i].id != id) return false;
        is_voter = true;
    }
    return is_voter;
}

static bool past_is_sole_voter(const struct consensus *consensus, const struct consensus_past *past)
{
    struct raft_configuration conf = {0};
    enum error err = ERR_NOT_FOUND;
    for (uint32_t i = past->entry_count; i > 0 && err == ERR_NOT_FOUND; i--) {
        const struct consensus_entry *entry = &past->entries[i - 1];
        if (entry->kind != ENTRY_CHANGE) continue;
        struct raft_buffer buffer = {(void *)entry->bytes.data, entry->bytes.size};
        err = error_from_raft(raft_configuration_decode(&buffer, &conf));
    }
    if (err == ERR_NOT_FOUND && past->snapshot_index > 0) err = configuration_of(past->membership, &conf);
    bool is_sole = err == OK && is_sole_voter(&conf, consensus->raft.id);
    if (err == OK) raft_configuration_close(&conf);
    return is_sole;
}

enum error consensus_start(struct consensus *consensus, int64_t now_ms, const struct consensus_past *past,
                           struct consensus_effects *effects)
{
    struct raft_event event = {.type = RAFT_START};
    struct raft_snapshot_metadata metadata = {0};
    struct raft_entry *entries = NULL;
    bool is_sole = past_is_sole_voter(consensus, past);
    event.start.term = past->term + is_sole;
    event.start.voted_for = is_sole ? consensus->raft.id : (raft_id)past->voted_for;
    event.start.start_index = past->first;
    if (past->entry_count > 0) {
        entries = raft_malloc(past->entry_count * sizeof *entries);
        if (!entries) return ERR_NOMEM;
        for (uint32_t i = 0; i < past->entry_count; i++) {
            const struct consensus_entry *entry = &past->entries[i];
            entries[i] = (struct raft_entry){.term = entry->term,
                                             .type = kind_to_raft(entry->kind),
                                             .buf = {(void *)entry->bytes.data, entry->bytes.size}};
        }
        event.start.entries = entries;
        event.start.n_entries = past->entry_count;
    }
    if (past->snapshot_index > 0) {
        metadata = (struct raft_snapshot_metadata){.index = past->snapshot_index,
                                                   .term = past->snapshot_term,
                                                   .configuration_index = past->membership->index};
        enum error err = configuration_of(past->membership, &metadata.configuration);
        if (err != OK) {
            raft_free(entries);
            return err;
        }
        event.start.metadata = &metadata;
    }
    enum error err = step(consensus, now_ms, &event, false, effects);
    if (err == OK) raft_free(entries); /* else the core did */
    if (is_sole) effects->has_promised = effects->has_turned = true;
    return err;
}

enum error consensus_tick(struct consensus *consensus, int64_t now_ms, struct consensus_effects *effects)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    struct raft *raft = &consensus->raft;
    bool stands_alone = raft->state == RAFT_FOLLOWER && now_ms >= consensus_deadline_ms(consensus) &&
                        is_sole_voter(&raft->configuration, raft->id);
    if (stands_alone) {
        raft->current_term++;
        raft->voted_for = raft->id;
    }
    enum error err = step(consensus, now_ms, &event, false, effects);
    if (stands_alone) effects->has_promised = effects->has_turned = true;
    return err;
}

int64_t consensus_deadline_ms(const struct consensus *consensus)
{
    return (int64_t)raft_timeout(&consensus->raft);
}

static enum error entries_hear(struct consensus *consensus, const struct frame_entries *heard,
                               struct raft_append_entries *args)
{
    *args = (struct raft_append_entries){.version = 1,
                                         .term = heard->term,
                                         .prev_log_index = heard->previous_index,
                                         .prev_log_term = heard->previous_term,
                                         .leader_commit = heard->commit,
                                         .n_entries = heard->count};
    if (heard->count == 0) return OK;
    if (!VEC_RESERVE_N(consensus->given, 0, consensus->given_capacity, heard->count)) return ERR_NOMEM;
    /* The core frees this itself, or hands it back with the entries. */
    void *batch = raft_malloc(1);
    if (!batch) return ERR_NOMEM;
    struct slice left = heard->entries;
    for (uint32_t i = 0; i < heard->count; i++) {
        struct frame_entry entry;
        frame_entry_take(&left, &entry);
        assert(entry.kind != ENTRY_CHANGE || i == 0);
        consensus->given[i] = (struct raft_entry){.term = entry.term,
                                                  .type = kind_to_raft(entry.kind),
                                                  .buf = {(void *)entry.bytes.data, entry.bytes.size},
                                                  .batch = batch};
    }
    args->entries = consensus->given;
    return OK;
}

enum error consensus_receive(struct consensus *consensus, int64_t now_ms, int32_t from,
                             const struct frame *frame, const struct membership *membership,
                             struct consensus_effects *effects)
{
    struct raft_message message = {.server_id = (raft_id)from, .server_address = "-"};
    struct raft_event event = {.type = RAFT_RECEIVE};
    event.receive.message = &message;
    enum error err = OK;
    bool is_stale = false;
    switch (frame->kind) {
    case FRAME_ENTRIES:
        message.type = RAFT_APPEND_ENTRIES;
        is_stale = frame->entries.term < consensus_term(consensus);
        /* Two leaders of one term: the core would not survive it. */
        if (frame->entries.term == consensus_term(consensus) &&
            consensus_state(consensus) == CONSENSUS_LEADER)
            return ERR_CORRUPT;
        err = entries_hear(consensus, &frame->entries, &message.append_entries);
        break;
    case FRAME_ENTRIES_RESULT:
        message.type = RAFT_APPEND_ENTRIES_RESULT;
        message.append_entries_result =
            (struct raft_append_entries_result){.version = 1,
                                                .term = frame->entries_result.term,
                                                .rejected = frame->entries_result.rejected,
                                                .last_log_index = frame->entries_result.last_index};
        break;
    case FRAME_VOTE:
        message.type = RAFT_REQUEST_VOTE;
        message.request_vote = (struct raft_request_vote){.version = 2,
                                                          .term = frame->vote.term,
                                                          .candidate_id = (raft_id)from,
                                                          .last_log_index = frame->vote.last_index,
                                                          .last_log_term = frame->vote.last_term,
                                                          .disrupt_leader = frame->vote.is_transfer,
                                                          .pre_vote = frame->vote.is_pre_vote};
        break;
    case FRAME_VOTE_RESULT:
        /* Nothing to a member that does not stand; and the core would take a pre-vote's term for one that somebody has. */
        if (consensus_state(consensus) != CONSENSUS_CANDIDATE &&
            (frame->vote_result.is_pre_vote || frame->vote_result.term <= consensus_term(consensus))) {
            *effects = (struct consensus_effects){0};
            return OK;
        }
        message.type = RAFT_REQUEST_VOTE_RESULT;
        message.request_vote_result =
            (struct raft_request_vote_result){.version = 2,
                                              .term = frame->vote_result.term,
                                              .vote_granted = frame->vote_result.is_granted,
                                              .pre_vote = frame->vote_result.is_pre_vote};
        break;
    case FRAME_TIMEOUT_NOW:
        /* A sole voter gets its term from the next tick. */
        if (is_sole_voter(&consensus->raft.configuration, consensus->raft.id)) {
            bool is_whole = consensus_stored_index(consensus) == consensus_last_index(consensus) &&
                            consensus_last_index(consensus) == frame->timeout_now.last_index;
            if (is_whole && consensus_leader(consensus) == from) consensus_hurry(consensus);
            *effects = (struct consensus_effects){0};
            return OK;
        }
        message.type = RAFT_TIMEOUT_NOW;
        message.timeout_now = (struct raft_timeout_now){.version = 1,
                                                        .term = frame->timeout_now.term,
                                                        .last_log_index = frame->timeout_now.last_index,
                                                        .last_log_term = frame->timeout_now.last_term};
        break;
    case FRAME_SNAPSHOT:
        if (frame->snapshot.term == consensus_term(consensus) &&
            consensus_state(consensus) == CONSENSUS_LEADER)
            return ERR_CORRUPT;
        message.type = RAFT_INSTALL_SNAPSHOT;
        message.install_snapshot = (struct raft_install_snapshot){.version = 1,
                                                                  .term = frame->snapshot.term,
                                                                  .last_index = frame->snapshot.index,
                                                                  .last_term = frame->snapshot.last_term,
                                                                  .conf_index = membership->index};
        err = configuration_of(membership, &message.install_snapshot.conf);
        if (err == OK) {
            message.install_snapshot.data = (struct raft_buffer){raft_malloc(1), 1};
            if (!message.install_snapshot.data.base) err = ERR_NOMEM;
        }
        break;
    default: assert(!"not for the core");
    }
    return err == OK ? step(consensus, now_ms, &event, is_stale, effects) : err;
}

enum error consensus_submit(struct consensus *consensus, int64_t now_ms,
                            const struct consensus_entry *entries, uint32_t count,
                            struct consensus_effects *effects)
{
    struct raft_event event = {.type = RAFT_SUBMIT};
    if (!VEC_RESERVE_N(consensus->given, 0, consensus->given_capacity, count)) return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        assert(entries[i].kind != ENTRY_CHANGE || count == 1);
        consensus->given[i] =
            (struct raft_entry){.term = entries[i].term,
                                .type = kind_to_raft(entries[i].kind),
                                .buf = {(void *)entries[i].bytes.data, entries[i].bytes.size},
                                .batch = (void *)&not_yours};
    }
    event.submit.entries = consensus->given;
    event.submit.n = count;
    return step(consensus, now_ms, &event, false, effects);
}

enum error consensus_persisted(struct consensus *consensus, int64_t now_ms, uint64_t index,
                               struct consensus_effects *effects)
{
    assert(index > consensus->raft.last_stored && index <= consensus_last_index(consensus));
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
    event.persisted_entries.index = index;
    return step(consensus, now_ms, &event, false, effects);
}

enum error consensus_installed(struct consensus *consensus, int64_t now_ms, uint64_t index, uint64_t term,
                               const struct membership *membership, struct consensus_effects *effects)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    event.persisted_snapshot.metadata = (struct raft_snapshot_metadata){
        .index = index, .term = term, .configuration_index = membership->index};
    event.persisted_snapshot.last = true;
    enum error err = configuration_of(membership, &event.persisted_snapshot.metadata.configuration);
    return err == OK ? step(consensus, now_ms, &event, false, effects) : err;
}

enum error consensus_membership(struct consensus *consensus, int64_t now_ms,
                                const struct membership *membership, struct consensus_effects *effects)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    event.configuration.index = membership->index;
    enum error err = configuration_of(membership, &event.configuration.conf);
    return err == OK ? step(consensus, now_ms, &event, false, effects) : err;
}

enum error consensus_snapshot(struct consensus *consensus, int64_t now_ms, uint64_t index, uint64_t first,
                              const struct membership *membership, struct consensus_effects *effects)
{
    *effects = (struct consensus_effects){0};
    if (index <= consensus->raft.trail.snapshot.index || consensus->raft.snapshot.installing) return OK;
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    event.snapshot.metadata =
        (struct raft_snapshot_metadata){.index = index, .configuration_index = membership->index};
    event.snapshot.trailing = (unsigned)(first <= index ? index - first + 1 : 0);
    enum error err = configuration_of(membership, &event.snapshot.metadata.configuration);
    return err == OK ? step(consensus, now_ms, &event, false, effects) : err;
}

enum error consensus_transfer(struct consensus *consensus, int64_t now_ms, int32_t to,
                              struct consensus_effects *effects)
{
    struct raft_event event = {.type = RAFT_TRANSFER};
    event.transfer.server_id = (raft_id)to;
    return step(consensus, now_ms, &event, false, effects);
}

void consensus_receiving(struct consensus *consensus, bool is_receiving)
{
    consensus->is_receiving = is_receiving;
}

void consensus_forget_leader(struct consensus *consensus)
{
    if (consensus->raft.state == RAFT_FOLLOWER) consensus->raft.follower_state.current_leader.id = 0;
}

void consensus_hurry(struct consensus *consensus)
{
    struct raft *raft = &consensus->raft;
    if (raft->state == RAFT_FOLLOWER) raft->follower_state.randomized_election_timeout = 0;
    if (raft->state == RAFT_CANDIDATE && raft->candidate_state.in_pre_vote)
        raft->candidate_state.randomized_election_timeout = 0;
}

void consensus_rest(struct consensus *consensus, int64_t now_ms)
{
    consensus->raft.election_timer_start = (raft_time)now_ms;
}

/* --- questions --- */

enum consensus_state consensus_state(const struct consensus *consensus)
{
    switch (consensus->raft.state) {
    case RAFT_LEADER: return CONSENSUS_LEADER;
    case RAFT_CANDIDATE: return CONSENSUS_CANDIDATE;
    default: return CONSENSUS_FOLLOWER;
    }
}

int32_t consensus_leader(const struct consensus *consensus)
{
    const struct raft *raft = &consensus->raft;
    if (raft->state == RAFT_LEADER) return (int32_t)raft->id;
    return raft->state == RAFT_FOLLOWER ? (int32_t)raft->follower_state.current_leader.id : 0;
}

uint64_t consensus_term(const struct consensus *consensus)
{
    return consensus->raft.current_term;
}

int32_t consensus_voted_for(const struct consensus *consensus)
{
    return (int32_t)consensus->raft.voted_for;
}

uint64_t consensus_commit_index(const struct consensus *consensus)
{
    return consensus->raft.commit_index;
}

uint64_t consensus_last_index(const struct consensus *consensus)
{
    return raft_last_index((struct raft *)&consensus->raft); /* it changes nothing */
}

uint64_t consensus_stored_index(const struct consensus *consensus)
{
    return consensus->raft.last_stored;
}

uint64_t consensus_match_index(const struct consensus *consensus, int32_t id)
{
    raft_index index = 0;
    return raft_match_index(&consensus->raft, (raft_id)id, &index) == 0 ? index : 0;
}

bool consensus_is_transferring(const struct consensus *consensus)
{
    return raft_transferee(&consensus->raft) != 0;
}

bool consensus_is_changing(const struct consensus *consensus)
{
    return consensus->raft.configuration_uncommitted_index != 0;
}
