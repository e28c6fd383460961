/* machine_snapshot.c: the state machine to chunks and back. */
#include <assert.h>
#include <stdlib.h>

#include "keeper/jute.h"
#include "keeper/machine.h"
#include "keeper/machine_inside.h"

/* A chunk is one kind of record, several of them: the kind, then the records to the chunk's end. */
enum chunk_kind { CHUNK_HEADER = 'H', CHUNK_ACLS = 'A', CHUNK_SESSIONS = 'S', CHUNK_ZNODES = 'Z' };
/* Format 2 adds the tree's digest to the header and its attachment to each session; format 3 writes znodes shorter. */
enum { SNAPSHOT_FORMAT = ZNODE_FORMAT, CHUNK_BYTES = 64 << 10 };

struct machine_saver {
    void (*write)(void *context, struct slice chunk);
    void *context;
    struct text chunk;
};

void machine_saver_free(struct machine *machine)
{
    if (!machine->saver) return;
    text_free(&machine->saver->chunk);
    free(machine->saver);
    machine->saver = NULL;
}

static void saver_flush(struct machine_saver *saver)
{
    assert(!saver->chunk.failed);
    if (saver->chunk.size > 0) saver->write(saver->context, text_slice(&saver->chunk));
    text_reset(&saver->chunk);
}

/* Begins a record of this kind in a chunk that has room. */
static struct text *saver_record(struct machine_saver *saver, enum chunk_kind kind)
{
    if (saver->chunk.size > 0 && (saver->chunk.data[0] != (char)kind || saver->chunk.size >= CHUNK_BYTES)) {
        saver_flush(saver);
    }
    if (saver->chunk.size == 0) text_addc(&saver->chunk, (char)kind);
    return &saver->chunk;
}

static void save_znode(void *context, const struct tree *tree, const struct znode *node)
{
    znode_encode(tree, node, saver_record(context, CHUNK_ZNODES));
}

void machine_snapshot_begin(struct machine *machine, void (*write)(void *context, struct slice chunk),
                            void *context)
{
    assert(!machine->saver);
    struct machine_saver *saver = calloc(1, sizeof *saver);
    assert(saver);
    machine->saver = saver;
    saver->write = write;
    saver->context = context;

    struct tree *tree = &machine->tree;
    struct text *out = saver_record(saver, CHUNK_HEADER);
    text_add_be32(out, SNAPSHOT_FORMAT);
    text_add_be64(out, (uint64_t)machine->zxid);
    text_add_be64(out, (uint64_t)machine->last_session);
    text_add_be64(out, (uint64_t)tree->count);
    text_add_be64(out, (uint64_t)tree->count);
    text_add_be64(out, machine->sessions.count);
    text_add_be64(out, tree->digest);
    for (uint32_t i = 0; i < tree->acls.count; i++) {
        if (!tree->acls.lists[i].bytes) continue;
        out = saver_record(saver, CHUNK_ACLS);
        text_add_be32(out, i);
        jute_add_bytes(out, acl_bytes(&tree->acls, i));
    }
    LIST_EACH(&machine->session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        out = saver_record(saver, CHUNK_SESSIONS);
        text_add_be64(out, (uint64_t)session->id);
        text_add_be32(out, (uint32_t)session->timeout_ms);
        text_add(out, (struct slice){session->password, PASSWORD_SIZE});
        text_addc(out, (char)session->is_local_door);
        text_add_be32(out, session->attachment);
    }
    saver_flush(saver);
    tree_snapshot_begin(tree, save_znode, saver);
}

bool machine_snapshot_step(struct machine *machine, size_t slots)
{
    assert(machine->saver);
    if (tree_snapshot_step(&machine->tree, slots)) return true;
    saver_flush(machine->saver);
    machine_saver_free(machine);
    return false;
}

static enum error restore_header(struct machine *machine, struct jute *in)
{
    int32_t format = jute_int(in);
    if (format < 1 || format > SNAPSHOT_FORMAT) return ERR_UNSUPPORTED_VERSION;
    uint8_t server_id = machine->server_id;
    bool wants_events = machine->wants_events;
    machine_free(machine);
    *machine = (struct machine){.server_id = server_id, .wants_events = wants_events};
    list_init(&machine->session_list);
    machine->zxid = jute_long(in);
    machine->last_session = jute_long(in);
    jute_long(in); /* of interest to people only */
    struct machine_restoring *restoring = &machine->restoring;
    *restoring = (struct machine_restoring){.is_running = true, .format = format};
    restoring->znode_count = jute_long(in);
    restoring->session_count = jute_long(in);
    if (format >= 2) restoring->digest = (uint64_t)jute_long(in);
    tree_restore_begin(&machine->tree, machine->zxid, format);
    bool is_spent = session_id_is_given(machine, -1); /* no id is left: nobody gets that far */
    return in->is_bad || machine->zxid < 0 || is_spent ? ERR_CORRUPT : OK;
}

static enum error restore_session(struct machine *machine, struct jute *in)
{
    struct session read = {.attachment = 1};
    read.id = jute_long(in);
    read.timeout_ms = jute_int(in);
    const uint8_t *password = jute_take(in, PASSWORD_SIZE);
    read.is_local_door = jute_bool(in);
    if (machine->restoring.format >= 2) read.attachment = (uint32_t)jute_int(in);
    /* One that is still to be given out would be there twice some day. */
    if (in->is_bad || read.id == 0 || read.attachment == 0 || !session_id_is_given(machine, read.id) ||
        machine_session(machine, read.id)) {
        return ERR_CORRUPT;
    }
    memcpy(read.password, password, PASSWORD_SIZE);
    machine_session_add(machine, &read);
    return OK;
}

enum error machine_restore(struct machine *machine, struct slice chunk)
{
    if (chunk.size == 0) return ERR_CORRUPT;
    struct jute in = jute_of(chunk);
    enum chunk_kind kind = (enum chunk_kind) * jute_take(&in, 1);
    if ((kind == CHUNK_HEADER) == machine->restoring.is_running) return ERR_CORRUPT;
    enum error err = OK;
    while (err == OK && in.at < in.size) {
        switch (kind) {
        case CHUNK_HEADER:
            err = machine->restoring.is_running ? ERR_CORRUPT : restore_header(machine, &in);
            break;
        case CHUNK_ACLS: {
            uint32_t id = (uint32_t)jute_int(&in);
            struct slice bytes = jute_bytes(&in);
            err = in.is_bad || !bytes.data ? ERR_CORRUPT : tree_restore_acl(&machine->tree, id, bytes);
            break;
        }
        case CHUNK_SESSIONS: err = restore_session(machine, &in); break;
        case CHUNK_ZNODES: err = tree_restore_znode(&machine->tree, &in); break;
        default: err = ERR_CORRUPT;
        }
    }
    return err;
}

static struct ephemerals *ephemerals_of(void *context, int64_t id)
{
    struct session *session = machine_session(context, id);
    return session ? &session->ephemerals : NULL;
}

enum error machine_restored(struct machine *machine)
{
    if (!machine->restoring.is_running) return ERR_CORRUPT;
    enum error err = tree_restore_end(&machine->tree, ephemerals_of, machine);
    if (err != OK) return err;
    if (machine->tree.count != machine->restoring.znode_count ||
        (int64_t)machine->sessions.count != machine->restoring.session_count) {
        return ERR_CORRUPT;
    }
    if (machine->restoring.format >= 2 && machine->tree.digest != machine->restoring.digest)
        return ERR_CORRUPT;
    machine->restoring.is_running = false;
    return OK;
}
