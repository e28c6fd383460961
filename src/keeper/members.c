#include "keeper/members.h"

#include <stdlib.h>

#include "base/diag.h"
#include "keeper/inside.h"
#include "keeper/jute.h"
#include "keeper/servers.h"

/* --- what is --- */

static void add_lines(const struct quorum_member *members, int count, struct text *out)
{
    for (int number = 0; number < MEMBER_IDS; number++) {
        for (int i = 0; i < count; i++) {
            if (quorum_member_number(members[i].id) != number) continue;
            keeper_server_print(members[i].id, members[i].about, out);
            text_addc(out, '\n');
        }
    }
}

const struct quorum_member *members_find(const struct keeper *keeper, int32_t id)
{
    int count = 0;
    uint64_t index;
    const struct quorum_member *members = quorum_members(keeper->quorum, &count, &index);
    for (int i = 0; i < count; i++) {
        if (members[i].id == id) return &members[i];
    }
    return NULL;
}

static struct slice config_data(const struct keeper *keeper)
{
    const struct znode *node = tree_find(&keeper->machine.tree, SLICE("/zookeeper/config"));
    return node ? znode_data(&keeper->machine.tree, node) : SLICE_NULL;
}

/* The lines without the version, which is 0 where there is none. */
static struct slice config_lines(struct slice data, int64_t *version)
{
    static const char mark[] = "version=";
    *version = 0;
    for (size_t at = data.size; at-- > 0;) {
        bool begins_line = at == 0 || data.data[at - 1] == '\n';
        if (!begins_line || data.size - at < sizeof mark - 1 ||
            memcmp(data.data + at, mark, sizeof mark - 1) != 0)
            continue;
        char digits[32];
        slice_text((struct slice){data.data + at + sizeof mark - 1, data.size - at - (sizeof mark - 1)},
                   digits, sizeof digits);
        *version = (int64_t)strtoull(digits, NULL, 16);
        return (struct slice){data.data, at};
    }
    return data;
}

void members_tell(struct keeper *keeper)
{
    if (keeper->office.state != OFFICE_LEADING || keeper->reconfig.is_running || keeper->is_config_told)
        return;
    int count = 0;
    uint64_t index;
    int64_t version;
    const struct quorum_member *members = quorum_members(keeper->quorum, &count, &index);
    struct text lines = {0}, body = {0};
    add_lines(members, count, &lines);
    bool is_said = slice_equal(config_lines(config_data(keeper), &version), text_slice(&lines));
    reconfig_body(&body, OK, text_slice(&lines));
    bool is_whole = !lines.failed && !body.failed && count > 0;
    if (is_said) {
        keeper->is_config_told = true;
    } else if (is_whole && request_submit_own(keeper, OP_RECONFIG, 0, text_slice(&body)) == OK) {
        keeper->is_config_told = true;
    }
    text_free(&lines);
    text_free(&body);
}

void members_changed(void *context)
{
    struct keeper *keeper = context;
    keeper->is_config_told = false;
    if (keeper->is_closing || !keeper->is_machine_here) return;
    members_tell(keeper);
    /* Who has left hears nothing new any more: it must not go on as if it did. */
    for (int32_t id = 1; id < MEMBER_IDS && keeper->office.state == OFFICE_LEADING; id++) {
        const struct hello *hello = &keeper->office.hellos[id];
        bool has_left = !members_find(keeper, id) && !quorum_is_leaving(keeper->quorum, id);
        if (hello->term && has_left) forward_refuse(keeper, id, hello->life);
    }
}

/* --- a request --- */

static void running_free(struct reconfig *reconfig)
{
    text_free(&reconfig->ids);
    text_free(&reconfig->lines);
    *reconfig = (struct reconfig){.number = reconfig->number + 1};
}

void members_forget(struct keeper *keeper)
{
    running_free(&keeper->reconfig);
    keeper->is_config_told = false;
}

/* The entry that answers: by then whatever it says has happened. */
static void answer(struct keeper *keeper, const struct reconfig *asked, enum error err)
{
    struct text body = {0};
    reconfig_body(&body, err, text_slice(&asked->lines));
    struct entry entry = {.flags = request_flags(keeper),
                          .op = OP_RECONFIG,
                          .time_ms = loop_wall_ms(keeper->loop),
                          .session = asked->session,
                          .cxid = asked->cxid,
                          .origin = asked->origin,
                          .life = asked->life,
                          .sequence = asked->sequence};
    uint8_t header[ENTRY_HEADER_MAX];
    size_t header_size = entry_header(&entry, header);
    struct slice ids = asked->ids.size ? text_slice(&asked->ids) : (struct slice){(const uint8_t *)"\0\0", 2};
    const struct slice parts[] = {{header, header_size}, ids, text_slice(&body)};
    uint64_t index;
    enum error appended = body.failed ? ERR_NOMEM : quorum_append(keeper->quorum, parts, 3, &index);
    /* Nobody will hear of it but by its effect: whoever waits has to ask again. */
    if (appended != OK && asked->origin == keeper->office.id) {
        office_renew(keeper);
    } else if (appended != OK) {
        forward_refuse(keeper, asked->origin, asked->life);
    }
    text_free(&body);
}

struct change {
    struct keeper *keeper;
    uint32_t number;
};

static void changed(void *context, enum error err)
{
    struct change change = *(struct change *)context;
    free(context);
    struct keeper *keeper = change.keeper;
    if (keeper->is_closing || !keeper->reconfig.is_running || keeper->reconfig.number != change.number)
        return;
    if (err != OK) diag_warn("the ensemble could not be changed: %s", error_text(err));
    struct reconfig asked = keeper->reconfig;
    keeper->reconfig = (struct reconfig){.number = asked.number + 1};
    keeper->is_config_told = err == OK; /* by the answer */
    answer(keeper, &asked, err == OK ? OK : ERR_ZK_NEW_CONFIG_NO_QUORUM);
    text_free(&asked.ids);
    text_free(&asked.lines);
}

static enum error remove_leaving(struct keeper_servers *servers, struct slice leaving)
{
    for (size_t at = 0; at < leaving.size;) {
        size_t end = at;
        while (end < leaving.size && leaving.data[end] != ',') end++;
        struct slice digits = {leaving.data + at, end - at};
        while (digits.size > 0 && digits.data[0] == ' ')
            digits = (struct slice){digits.data + 1, digits.size - 1};
        while (digits.size > 0 && digits.data[digits.size - 1] == ' ') digits.size--;
        int64_t id;
        at = end + 1;
        if (digits.size == 0) continue;
        if (!slice_to_int64(digits, INT32_MIN, INT32_MAX, &id)) return ERR_ZK_BAD_ARGUMENTS;
        for (size_t i = 0; i < servers->count; i++) {
            if (quorum_member_number(servers->items[i].id) != id) continue;
            servers->items[i] = servers->items[--servers->count];
            break;
        }
    }
    return OK;
}

/* Who would be in the ensemble. */
static enum error next_servers(const struct keeper *keeper, struct jute *in, struct keeper_servers *next)
{
    struct slice joining = jute_bytes(in), leaving = jute_bytes(in), all = jute_bytes(in);
    struct text why = {0}, lines = {0};
    enum error err;
    if (all.data) {
        err = keeper_servers_parse(next, all, ",\n", &why);
    } else {
        int count = 0;
        uint64_t index;
        struct keeper_servers joiners;
        const struct quorum_member *members = quorum_members(keeper->quorum, &count, &index);
        keeper_servers_init(&joiners);
        add_lines(members, count, &lines);
        err = keeper_servers_parse(next, text_slice(&lines), "\n", &why);
        if (err == OK) err = remove_leaving(next, leaving);
        if (err == OK) err = keeper_servers_parse(&joiners, joining, ",\n", &why);
        for (size_t i = 0; i < joiners.count && err == OK; i++) {
            const struct keeper_server *joiner = &joiners.items[i];
            if (!strchr(joiner->line, ';')) err = ERR_ZK_BAD_ARGUMENTS; /* each names its three ports */
            text_reset(&lines);
            text_addf(&lines, "%d", quorum_member_number(joiner->id));
            if (err == OK) err = remove_leaving(next, text_slice(&lines));
            text_reset(&lines);
            keeper_server_print(joiner->id, joiner->line, &lines);
            if (err == OK) err = keeper_servers_parse(next, text_slice(&lines), "\n", &why);
        }
        keeper_servers_free(&joiners);
    }
    if (why.size > 0) diag_warn("a reconfig: %s", why.data);
    text_free(&why);
    text_free(&lines);
    return err == OK || err == ERR_NOMEM || err == ERR_LIMIT ? err : ERR_ZK_BAD_ARGUMENTS;
}

/* Enough of those that would vote can be reached, or are new and will be asked to catch up. */
static bool has_quorum(const struct keeper *keeper, const struct keeper_servers *next)
{
    size_t voters = 0, there = 0;
    for (size_t i = 0; i < next->count; i++) {
        const struct keeper_server *server = &next->items[i];
        if (server->is_observer) continue;
        voters++;
        there += !members_find(keeper, server->id) || server->id == keeper->office.id ||
                 keeper->office.is_linked[server->id];
    }
    return there * 2 > voters;
}

static bool shares_address(const struct keeper_servers *next)
{
    for (size_t i = 0; i < next->count; i++) {
        for (size_t other = 0; other < i; other++) {
            const struct keeper_server *a = &next->items[i], *b = &next->items[other];
            if (a->quorum_port == b->quorum_port && strcmp(a->host, b->host) == 0) return true;
        }
    }
    return false;
}

static bool may_write_config(const struct keeper *keeper, const struct auth_ids *ids)
{
    const struct znode *node = tree_find(&keeper->machine.tree, SLICE("/zookeeper/config"));
    return keeper->config.skip_acl ||
           (node && acl_permits(acl_bytes(&keeper->machine.tree.acls, znode_acl(&keeper->machine.tree, node)),
                                ACL_WRITE, ids));
}

static enum error check(struct keeper *keeper, const struct entry *entry, struct keeper_servers *next)
{
    struct jute in = jute_of(entry->body);
    if (!keeper->config.reconfig_enabled) return ERR_ZK_RECONFIG_DISABLED;
    if (keeper->reconfig.is_running) return ERR_ZK_RECONFIG_IN_PROGRESS;
    struct jute end = in;
    for (int i = 0; i < 3; i++) jute_bytes(&end);
    int64_t wanted_version = jute_long(&end), version;
    config_lines(config_data(keeper), &version);
    if (wanted_version != -1 && wanted_version != version) return ERR_ZK_BAD_VERSION;
    enum error err = next_servers(keeper, &in, next);
    /* ZooKeeper has no such limit, and would ask for rights next. */
    if (err == ERR_LIMIT)
        return may_write_config(keeper, &entry->ids) ? ERR_ZK_BAD_ARGUMENTS : ERR_ZK_NO_AUTH;
    if (err != OK) return err;
    size_t voters = 0;
    for (size_t i = 0; i < next->count; i++) voters += !next->items[i].is_observer;
    if (voters < 1 || shares_address(next)) return ERR_ZK_BAD_ARGUMENTS;
    if (!has_quorum(keeper, next)) return ERR_ZK_NEW_CONFIG_NO_QUORUM;
    return may_write_config(keeper, &entry->ids) ? OK : ERR_ZK_NO_AUTH;
}

static enum error begin(struct keeper *keeper, const struct keeper_servers *next)
{
    struct quorum_member members[QUORUM_MEMBERS_MAX];
    for (size_t i = 0; i < next->count; i++) {
        const struct keeper_server *server = &next->items[i];
        members[i] = (struct quorum_member){.id = server->id,
                                            .part = server->is_observer ? QUORUM_OBSERVER : QUORUM_VOTER,
                                            .host = server->host,
                                            .port = server->quorum_port,
                                            .about = server->line};
    }
    struct change *change = malloc(sizeof *change);
    if (!change) return ERR_NOMEM;
    *change = (struct change){keeper, keeper->reconfig.number};
    enum error err = quorum_change(keeper->quorum, members, (int)next->count, changed, change);
    if (err != OK) free(change);
    switch (err) {
    case OK: return OK;
    case ERR_BUSY: return ERR_ZK_RECONFIG_IN_PROGRESS;
    case ERR_CONFIG: return ERR_ZK_BAD_ARGUMENTS;
    default: return ERR_ZK_NEW_CONFIG_NO_QUORUM;
    }
}

void members_reconfig(struct keeper *keeper, const struct entry *entry)
{
    struct reconfig asked = {.number = keeper->reconfig.number,
                             .origin = entry->origin,
                             .life = entry->life,
                             .sequence = entry->sequence,
                             .session = entry->session,
                             .cxid = entry->cxid};
    text_add(&asked.ids, entry->ids.bytes);
    struct keeper_servers next;
    keeper_servers_init(&next);
    enum error err = check(keeper, entry, &next);
    if (err == OK) {
        struct quorum_member lines_of[QUORUM_MEMBERS_MAX];
        for (size_t i = 0; i < next.count; i++)
            lines_of[i] = (struct quorum_member){.id = next.items[i].id, .about = next.items[i].line};
        add_lines(lines_of, (int)next.count, &asked.lines);
        asked.is_running = true;
        keeper->reconfig = asked;
        err = begin(keeper, &next);
        if (err != OK) keeper->reconfig = (struct reconfig){.number = asked.number + 1};
    }
    if (err != OK) {
        answer(keeper, &asked, err);
        text_free(&asked.ids);
        text_free(&asked.lines);
    }
    keeper_servers_free(&next);
}
