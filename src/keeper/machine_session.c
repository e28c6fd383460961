/* machine_session.c: sessions as the members agree on them: made, attached again, ended. */
#include <assert.h>
#include <stdlib.h>

#include "keeper/machine.h"
#include "keeper/machine_inside.h"

#define COUNT_BITS ((UINT64_C(1) << 56) - 1) /* an id without the member that gave it */

void machine_sessions_free(struct machine *machine)
{
    LIST_EACH(&machine->session_list, item) free(CONTAINER_OF(item, struct session, all));
    list_init(&machine->session_list);
    map_free(&machine->sessions);
}

struct session *machine_session(const struct machine *machine, int64_t id)
{
    return map_get_number(&machine->sessions, (uint64_t)id);
}

uint64_t session_digest(const struct session *session)
{
    uint64_t numbers[3] = {(uint64_t)session->id, (uint64_t)(uint32_t)session->timeout_ms,
                           session->attachment};
    return hash_bytes(numbers, sizeof numbers) + hash_bytes(session->password, PASSWORD_SIZE) * 7 +
           session->is_local_door;
}

/* Ids look like ZooKeeper's: the member, then milliseconds, then a count. Without the member they rise for ever, whatever the
 * clocks do, so no two members ever give the same. */
static int64_t next_session_id(const struct machine *machine, const struct entry *entry)
{
    uint64_t member = session_top_byte(entry->origin ? entry->origin : machine->server_id);
    uint64_t last = (uint64_t)machine->last_session & COUNT_BITS;
    uint64_t count = (uint64_t)entry->time_ms << 24 >> 8;
    if (count <= last) count = last + 1;
    while ((count & COUNT_BITS) == 0 ||
           machine_session(machine, (int64_t)(member << 56 | (count & COUNT_BITS))))
        count++;
    return (int64_t)(member << 56 | (count & COUNT_BITS));
}

bool session_id_is_given(const struct machine *machine, int64_t id)
{
    return ((uint64_t)id & COUNT_BITS) <= ((uint64_t)machine->last_session & COUNT_BITS);
}

struct session *machine_session_add(struct machine *machine, const struct session *fields)
{
    struct session *session = calloc(1, sizeof *session);
    assert(session);
    *session = *fields;
    session->ephemerals = (struct ephemerals){0};
    enum error err = map_put_number(&machine->sessions, (uint64_t)session->id, session);
    assert(err == OK);
    list_push_back(&machine->session_list, &session->all);
    machine->session_digest += session_digest(session);
    return session;
}

void machine_session_remove(struct machine *machine, struct session *session)
{
    assert(!session->ephemerals.first);
    machine->session_digest -= session_digest(session);
    map_remove_number(&machine->sessions, (uint64_t)session->id);
    list_remove(&session->all);
    free(session);
}

enum error apply_create_session(struct apply *apply)
{
    struct machine *machine = apply->machine;
    struct slice body = apply->entry->body;
    if (body.size != CREATE_SESSION_BODY_SIZE) return ERR_ZK_MARSHALLING;
    struct session made = {
        .id = next_session_id(machine, apply->entry),
        .timeout_ms = (int32_t)get_be32(body.data),
        .attachment = 1,
        .is_local_door = apply->entry->flags & ENTRY_LOCAL_DOOR,
    };
    memcpy(made.password, body.data + 4, PASSWORD_SIZE);
    machine_session_add(machine, &made);
    machine->last_session = machine->outcome.session = made.id;
    machine->outcome.attachment = made.attachment;
    return OK;
}

enum error apply_close_session(struct apply *apply)
{
    struct machine *machine = apply->machine;
    struct session *session = machine_session(machine, apply->entry->session);
    if (!session) return OK; /* closed twice: by its client and by time */
    if (session_has_moved(session, apply->entry)) return ERR_ZK_SESSION_MOVED;
    while (session->ephemerals.first) {
        struct znode *node = session->ephemerals.first;
        text_reset(&machine->path);
        tree_path(&machine->tree, node, &machine->path);
        apply_removal(apply, node, text_slice(&machine->path));
    }
    machine_session_remove(machine, session);
    return OK;
}

bool session_has_moved(const struct session *session, const struct entry *entry)
{
    return session && entry->attachment != 0 && entry->attachment != session->attachment;
}

static bool passwords_match(const uint8_t *a, const uint8_t *b)
{
    uint8_t difference = 0;
    for (size_t i = 0; i < PASSWORD_SIZE; i++) difference |= (uint8_t)(a[i] ^ b[i]);
    return difference == 0;
}

/* From here on only the connection that asked for this writes for the session. */
enum error apply_attach(struct apply *apply)
{
    struct machine *machine = apply->machine;
    struct slice body = apply->entry->body;
    struct session *session = machine_session(machine, apply->entry->session);
    if (body.size != CREATE_SESSION_BODY_SIZE) return ERR_ZK_MARSHALLING;
    if (!session || !passwords_match(session->password, body.data + 4)) return ERR_ZK_SESSION_EXPIRED;
    machine->session_digest -= session_digest(session);
    session->timeout_ms = (int32_t)get_be32(body.data);
    session->attachment++;
    if (session->attachment == 0) session->attachment = 1; /* 0 asks for no check */
    machine->session_digest += session_digest(session);
    machine->outcome.attachment = session->attachment;
    return OK;
}
