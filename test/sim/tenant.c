#include "tenant.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "keeper/inside.h"
#include "keeper/jute.h"

enum { ZK_NODE_EXISTS = -110 };

struct tenant {
    struct keepers *keepers;
    struct loop *loop;
    struct keeper *keeper;
    struct keeper_local *local;
    struct loop_timer think;
    char path[12];
    int32_t xid;
    bool is_up, is_waiting, is_leaving;
    bool has_node;
    bool may_have_node; /* an earlier session of this life may not be over yet */
};

/* --- asking --- */

static void send(struct tenant *tenant, struct text *out)
{
    tenant->is_waiting = true;
    enum error err = keeper_local_send(tenant->local, text_slice(out));
    if (err != OK) keepers_fail(tenant->keepers, "the local door: %s", error_text(err));
    text_free(out);
}

static void ask_session(struct tenant *tenant)
{
    static const uint8_t no_password[PASSWORD_SIZE];
    struct text out = {0};
    text_add_be32(&out, KEEPER_BROKER_PROTOCOL);
    text_add_be64(&out, 0);
    text_add_be32(&out, (uint32_t)tenant->keepers->plan.timeout_ms);
    text_add_be64(&out, 0);
    jute_add_bytes(&out, (struct slice){no_password, PASSWORD_SIZE});
    text_addc(&out, 0);
    send(tenant, &out);
}

static void ask(struct tenant *tenant)
{
    struct text out = {0};
    if (tenant->keepers->phase == PHASE_OVER) {
        tenant->is_leaving = true;
        text_add_be32(&out, (uint32_t)++tenant->xid);
        text_add_be32(&out, (uint32_t)OP_CLOSE_SESSION);
    } else if (tenant->has_node) {
        text_add_be32(&out, (uint32_t)-2);
        text_add_be32(&out, OP_PING);
    } else {
        text_add_be32(&out, (uint32_t)++tenant->xid);
        text_add_be32(&out, OP_CREATE);
        jute_add_bytes(&out, slice_of(tenant->path));
        jute_add_bytes(&out, SLICE("tenant"));
        text_add_be32(&out, 1);
        text_add_be32(&out, ACL_ALL);
        jute_add_bytes(&out, SLICE("world"));
        jute_add_bytes(&out, SLICE("anyone"));
        text_add_be32(&out, 1);
    }
    send(tenant, &out);
}

/* --- hearing --- */

static void on_frame(void *context, struct slice frame)
{
    struct tenant *tenant = context;
    struct jute in = jute_of(frame);
    int32_t first = jute_int(&in);
    tenant->is_waiting = false;
    if (!tenant->is_up) {
        tenant->is_up = jute_int(&in) > 0;
        return;
    }
    jute_long(&in);
    int32_t err = jute_int(&in);
    if (first < 0 || tenant->is_leaving || tenant->has_node) return;
    if (err == ZK_NODE_EXISTS && !tenant->may_have_node)
        keepers_fail(tenant->keepers, "%s outlived the process that it belonged to", tenant->path);
    tenant->has_node = err == 0;
}

static void on_closed(void *context)
{
    struct tenant *tenant = context;
    keeper_local_close(&tenant->local);
    tenant->is_up = tenant->is_waiting = tenant->has_node = false;
    tenant->may_have_node = true;
}

static void think(struct loop_timer *timer)
{
    static const struct keeper_local_events events = {on_frame, on_closed};
    struct tenant *tenant = CONTAINER_OF(timer, struct tenant, think);
    struct keepers *keepers = tenant->keepers;
    if (tenant->is_leaving && !tenant->local) return;
    if (!tenant->local && keepers->phase != PHASE_OVER) {
        if (keeper_local_connect(tenant->keeper, &events, tenant, &tenant->local) == OK) ask_session(tenant);
    } else if (tenant->local && tenant->is_up && !tenant->is_waiting) {
        ask(tenant);
    }
    loop_timer_start(tenant->loop, timer, keepers_between(keepers, 1, 1 + keepers->plan.timeout_ms / 4));
}

/* --- life --- */

struct tenant *tenant_new(struct member *member, struct loop *loop, struct keeper *keeper)
{
    struct tenant *tenant = calloc(1, sizeof *tenant);
    if (!tenant) abort();
    *tenant = (struct tenant){.keepers = member->keepers, .loop = loop, .keeper = keeper, .think.run = think};
    snprintf(tenant->path, sizeof tenant->path, "/t%d", member->number);
    if (tree_find(&keeper->machine.tree, slice_of(tenant->path)))
        keepers_fail(member->keepers, "member %d is ready, and %s of its last life is there", member->number,
                     tenant->path);
    loop_timer_start(loop, &tenant->think, 1);
    return tenant;
}

void tenant_free(struct tenant **freed)
{
    struct tenant *tenant = *freed;
    *freed = NULL;
    if (!tenant) return;
    loop_timer_stop(tenant->loop, &tenant->think);
    keeper_local_close(&tenant->local);
    free(tenant);
}
