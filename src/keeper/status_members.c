#include "keeper/status_members.h"

#include <inttypes.h>
#include <stdio.h>

#include "keeper/status.h"

/* A member's line, taken apart: HOST:PORT:PORT[:role][;[HOST:]PORT]. */
struct line {
    struct slice host, quorum_port, election_port, client; /* client: null where the line names none */
    bool is_observer;
};

bool status_is_member(const struct keeper *keeper)
{
    return keeper->office.state != OFFICE_ALONE;
}

static bool takes_part(const struct keeper *keeper)
{
    return status_is_member(keeper) && keeper->office.state != OFFICE_LOOKING;
}

static bool is_led_here(const struct keeper *keeper)
{
    return keeper->office.state == OFFICE_LEADING || keeper->office.state == OFFICE_ENTERING;
}

/* Up to the last `mark`, for a host may be an IPv6 address. */
static struct slice cut_last(struct slice *rest, char mark)
{
    size_t at = rest->size;
    while (at > 0 && rest->data[at - 1] != (uint8_t)mark) at--;
    struct slice last = {rest->data + at, rest->size - at};
    rest->size = at > 0 ? at - 1 : 0;
    return last;
}

static struct line line_of(const struct quorum_member *member)
{
    struct line line = {.is_observer = member->part == QUORUM_OBSERVER};
    struct slice server = slice_of(member->about ? member->about : "");
    const uint8_t *semicolon = server.size ? memchr(server.data, ';', server.size) : NULL;
    if (semicolon) {
        size_t size = (size_t)(semicolon - server.data);
        line.client = (struct slice){semicolon + 1, server.size - size - 1};
        server.size = size;
    }
    struct slice whole = server, role = cut_last(&server, ':');
    if (!slice_is(role, "participant") && !slice_is(role, "observer")) server = whole;
    line.election_port = cut_last(&server, ':');
    line.quorum_port = cut_last(&server, ':');
    line.host = server;
    return line;
}

static const struct quorum_member *member_of(const struct keeper *keeper, int32_t id)
{
    int count = 0;
    const struct quorum_member *members = quorum_members(keeper->quorum, &count, &(uint64_t){0});
    for (int i = 0; i < count; i++) {
        if (members[i].id == id) return &members[i];
    }
    return NULL;
}

static const char *phase(const struct keeper *keeper)
{
    switch (keeper->office.state) {
    case OFFICE_JOINING:
    case OFFICE_ENTERING: return "synchronization";
    case OFFICE_FOLLOWING:
    case OFFICE_LEADING: return "broadcast";
    default: return "election";
    }
}

const char *status_peer_state(const struct keeper *keeper)
{
    bool is_broadcast = strcmp(phase(keeper), "broadcast") == 0;
    if (!takes_part(keeper)) return NULL;
    if (is_led_here(keeper)) return is_broadcast ? "leading - broadcast" : "leading - synchronization";
    const struct quorum_member *self = member_of(keeper, keeper->office.id);
    if (self && self->part == QUORUM_OBSERVER)
        return is_broadcast ? "observing - broadcast" : "observing - synchronization";
    return is_broadcast ? "following - broadcast" : "following - synchronization";
}

void status_learners(const struct keeper *keeper, struct status_learners *learners)
{
    *learners = (struct status_learners){0};
    int count = 0;
    const struct quorum_member *members = quorum_members(keeper->quorum, &count, &(uint64_t){0});
    for (int i = 0; i < count; i++) {
        bool is_voter = members[i].part == QUORUM_VOTER;
        learners->voters += is_voter;
        if (members[i].id == keeper->office.id || !keeper->office.is_linked[members[i].id]) continue;
        *(is_voter ? &learners->followers : &learners->observers) += 1;
    }
}

/* --- words --- */

void status_add_membership(const struct keeper *keeper, struct text *out)
{
    int count = 0;
    const struct quorum_member *members = quorum_members(keeper->quorum, &count, &(uint64_t){0});
    const struct quorum_member *self = member_of(keeper, keeper->office.id);
    struct line line = self ? line_of(self) : (struct line){0};
    text_addf(out, "initLimit=%d\nsyncLimit=%d\nelectionAlg=3\n", keeper->config.init_limit,
              keeper->config.sync_limit);
    text_addf(out, "electionPort=%.*s\nquorumPort=%.*s\n", SLICE_ARG(line.election_port),
              SLICE_ARG(line.quorum_port));
    text_addf(out, "peerType=%d\nmembership: \n", self && line.is_observer ? 1 : 0);
    const struct znode *config = tree_find(&keeper->machine.tree, SLICE("/zookeeper/config"));
    struct slice data = config ? znode_data(&keeper->machine.tree, config) : SLICE_NULL;
    if (data.size > 0) {
        text_add(out, data);
        return;
    }
    for (int i = 0; i < count; i++)
        text_addf(out, "server.%d=%s\n", quorum_member_number(members[i].id), members[i].about);
    text_addz(out, "version=0");
}

void status_add_global_sessions(const struct keeper *keeper, struct text *out)
{
    text_addf(out, "Global Sessions(%zu):\n", keeper->machine.sessions.count);
    LIST_EACH(&keeper->machine.session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        text_addf(out, "0x%" PRIx64 "\t%dms\n", (uint64_t)session->id, session->timeout_ms);
    }
}

/* --- admin commands --- */

void status_report_leader(const struct keeper *keeper, struct report *report)
{
    const struct quorum_member *leader = member_of(keeper, keeper->office.leader);
    report_bool(report, "is_leader", is_led_here(keeper));
    report_number(report, "leader_id", quorum_member_number(keeper->office.leader));
    report_text(report, "leader_ip", leader ? line_of(leader).host : SLICE(""));
}

static void report_address(struct report *report, const char *key, struct slice host, struct slice port)
{
    struct text address = {0};
    text_add(&address, host);
    if (port.data) {
        text_addc(&address, ':');
        text_add(&address, port);
    }
    report_text(report, key, text_slice(&address));
    report->out->failed |= address.failed;
    text_free(&address);
}

/* An address that has one place, as Java shows its lists of them. */
static void report_place(struct report *report, const char *key, struct slice host, struct slice port)
{
    static const char *const lists[] = {"all_reachable_addresses", "all_reachable_addresses_or_all"};
    int64_t number = 0;
    if (!slice_to_int64(port, 0, 65535, &number)) number = 0;
    report_open(report, key, '{');
    report_bool(report, "empty", false);
    report_open(report, "all_addresses", '[');
    report_address(report, NULL, host, port);
    report_close(report);
    report_open(report, "wildcard_addresses", '[');
    report_address(report, NULL, SLICE("0.0.0.0"), port);
    report_close(report);
    report_open(report, "all_ports", '[');
    report_number(report, NULL, number);
    report_close(report);
    report_open(report, "all_host_strings", '[');
    report_text(report, NULL, host);
    report_close(report);
    report_address(report, "reachable_address", host, port);
    for (int i = 0; i < 2; i++) {
        report_open(report, lists[i], '[');
        report_address(report, NULL, host, port);
        report_close(report);
    }
    report_address(report, "reachable_or_one", host, port);
    report_address(report, "one", host, port);
    report_close(report);
}

void status_report_observers(const struct keeper *keeper, struct report *report)
{
    struct status_learners learners;
    status_learners(keeper, &learners);
    bool leads = is_led_here(keeper);
    int count = 0;
    const struct quorum_member *members = quorum_members(keeper->quorum, &count, &(uint64_t){0});
    report_number(report, "synced_observers", leads ? learners.observers : 0);
    report_open(report, "observers", '[');
    for (int i = 0; i < count && leads; i++) {
        bool is_here = keeper->office.is_linked[members[i].id];
        if (members[i].part != QUORUM_OBSERVER || !is_here || members[i].id == keeper->office.id) continue;
        struct line line = line_of(&members[i]);
        report_open(report, NULL, '{');
        report_address(report, "remote_socket_address", line.host, line.quorum_port);
        report_number(report, "sid", quorum_member_number(members[i].id));
        report_close(report);
    }
    report_close(report);
}

void status_report_voting_view(const struct keeper *keeper, struct report *report)
{
    int count = 0;
    const struct quorum_member *members = quorum_members(keeper->quorum, &count, &(uint64_t){0});
    report_open(report, "current_config", '{');
    for (int i = 0; i < count; i++) {
        if (members[i].part != QUORUM_VOTER) continue;
        struct line line = line_of(&members[i]);
        char id[16];
        snprintf(id, sizeof id, "%d", quorum_member_number(members[i].id));
        report_open(report, id, '{');
        report_open(report, "server_addresses", '[');
        report_address(report, NULL, line.host, line.quorum_port);
        report_close(report);
        report_open(report, "election_addresses", '[');
        report_address(report, NULL, line.host, line.election_port);
        report_close(report);
        report_address(report, "client_address", line.client, SLICE_NULL);
        report_text(report, "learner_type", SLICE("participant"));
        report_close(report);
    }
    report_close(report);
}

void status_report_zabstate(const struct keeper *keeper, struct report *report)
{
    const struct quorum_member *self = member_of(keeper, keeper->office.id);
    struct line line = self ? line_of(self) : (struct line){.is_observer = true};
    uint64_t zxid = keeper->is_machine_here ? (uint64_t)keeper->machine.zxid : 0;
    char hex[24];
    snprintf(hex, sizeof hex, "0x%" PRIx64, zxid);
    report_number(report, "myid", quorum_member_number(keeper->office.id));
    report_bool(report, "is_leader", is_led_here(keeper));
    report_place(report, "quorum_address", line.host, line.quorum_port);
    report_place(report, "election_address", line.host, line.election_port);
    report_address(report, "client_address", line.client, SLICE_NULL);
    report_bool(report, "voting", self && !line.is_observer);
    report_text(report, "last_zxid", slice_of(hex));
    report_number(report, "zab_epoch", (int64_t)(zxid >> 32));
    report_number(report, "zab_counter", (int64_t)(zxid & 0xffffffff));
    report_text(report, "zabstate", slice_of(phase(keeper)));
}

/* --- figures --- */

void status_office_changes(struct keeper *keeper, enum office_state next)
{
    int64_t now_us = loop_clock_us(keeper->loop);
    if (next == OFFICE_LOOKING && !keeper->is_looking) {
        keeper->is_looking = true;
        keeper->looking_from_us = now_us;
        keeper->counts.lookings++;
    }
    if ((next == OFFICE_FOLLOWING || next == OFFICE_LEADING) && keeper->is_looking) {
        keeper->is_looking = false;
        summary_record(&keeper->counts.election_us, now_us - keeper->looking_from_us);
    }
    if (next == OFFICE_LEADING) {
        keeper->led_from_ms = loop_now_ms(keeper->loop);
        keeper->counts.proposal_last = keeper->counts.proposal_least = keeper->counts.proposal_greatest = -1;
    }
}

void status_proposed(struct keeper *keeper, size_t size)
{
    struct keeper_counts *counts = &keeper->counts;
    int64_t bytes = (int64_t)size;
    counts->proposals++;
    counts->proposal_last = bytes;
    if (bytes > counts->proposal_greatest) counts->proposal_greatest = bytes;
    if (bytes < counts->proposal_least || counts->proposal_least < 0) counts->proposal_least = bytes;
}
