/* machine_config.c: /zookeeper/config: what the leader found out about a reconfig, or about the members when it took office. */
#include <assert.h>

#include "keeper/jute.h"
#include "keeper/machine.h"
#include "keeper/machine_inside.h"

static const enum error refusals[] = {
    ERR_ZK_BAD_ARGUMENTS, ERR_ZK_NEW_CONFIG_NO_QUORUM, ERR_ZK_RECONFIG_IN_PROGRESS,
    ERR_ZK_BAD_VERSION,   ERR_ZK_RECONFIG_DISABLED,    ERR_ZK_NO_AUTH,
    ERR_ZK_UNIMPLEMENTED,
};

static enum error refusal_of(int32_t code)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (error_zk_code(refusals[i]) == code) return refusals[i];
    }
    return ERR_ZK_SYSTEM;
}

void reconfig_body(struct text *out, enum error err, struct slice lines)
{
    text_add_be32(out, (uint32_t)error_zk_code(err));
    text_add(out, lines);
}

static bool is_said(struct slice known, struct slice lines)
{
    static const char mark[] = "version=";
    return known.size >= lines.size + sizeof mark - 1 && memcmp(known.data, lines.data, lines.size) == 0 &&
           memcmp(known.data + lines.size, mark, sizeof mark - 1) == 0;
}

bool reconfig_takes_no_zxid(const struct apply *apply)
{
    struct slice body = apply->entry->body;
    if (apply->entry->session != 0 || body.size < 4 || get_be32(body.data) != 0) return false;
    const struct machine *machine = apply->machine;
    struct znode *node = tree_find(&machine->tree, SLICE("/zookeeper/config"));
    if (!node) return false;
    struct slice known = znode_data(&machine->tree, node);
    return known.size == 0 || is_said(known, (struct slice){body.data + 4, body.size - 4});
}

/* The members changed before this was written: it takes place whatever became of the session that asked. */
enum error apply_reconfig(struct apply *apply, struct text *out)
{
    struct machine *machine = apply->machine;
    struct slice body = apply->entry->body, path = SLICE("/zookeeper/config");
    if (body.size < 4) return ERR_ZK_MARSHALLING;
    int32_t code = (int32_t)get_be32(body.data);
    if (code != 0) return refusal_of(code);
    struct znode *node = tree_find(&machine->tree, path);
    if (!node) return ERR_ZK_NO_NODE;
    struct slice lines = {body.data + 4, body.size - 4}, known = znode_data(&machine->tree, node);
    /* A leader that says what is there already, of its own: nobody asked. */
    if (is_said(known, lines) && apply->entry->session == 0) return OK;
    text_reset(&machine->scratch);
    text_add(&machine->scratch, lines);
    /* The first one is of the epoch's beginning, as ZooKeeper's. */
    bool is_first = known.size == 0;
    int64_t version = is_first ? apply->zxid & ~(int64_t)UINT32_MAX : apply->zxid;
    text_addf(&machine->scratch, "version=%llx", (unsigned long long)version);
    assert(!machine->scratch.failed);
    tree_set_data(&machine->tree, node, text_slice(&machine->scratch), apply->zxid, apply->entry->time_ms);
    apply_event(apply, EVENT_DATA_CHANGED, path, znode_acl(&machine->tree, node),
                znode_acl(&machine->tree, node));
    jute_add_bytes(out, znode_data(&machine->tree, node));
    znode_add_stat(&machine->tree, node, out);
    return OK;
}
