#include "shell.h"

#include <stdio.h>
#include <stdlib.h>

#include "coord/coord.h"
#include "metadata/znodes.h"

enum { SESSION_MS = 5000 };

struct shell {
    struct world *world;
    struct coord *coord;
};

struct shell *shell_new(struct world *world)
{
    struct shell *shell = calloc(1, sizeof *shell);
    if (!shell) abort();
    shell->world = world;
    char connect[64];
    snprintf(connect, sizeof connect, "%s:%d/kafka", WORLD_KEEPER, WORLD_KEEPER_PORT);
    struct coord_options options = {.session_timeout_ms = SESSION_MS};
    enum error err = coord_open_wire(world->loop, sim_machine_disk(world->clients), connect, NULL, &options,
                                     &shell->coord);
    if (err != OK) abort();
    return shell;
}

void shell_free(struct shell **freed)
{
    struct shell *shell = *freed;
    *freed = NULL;
    if (!shell) return;
    coord_close(&shell->coord);
    free(shell);
}

static void deleted(void *context, const struct coord_reply *reply)
{
    struct shell *shell = context;
    if (reply->err != ERR_CLOSED)
        world_note(shell->world, "/controller is deleted: %s", error_name(reply->err));
}

void shell_force_election(struct shell *shell)
{
    world_note(shell->world, "an election of the controller is forced");
    coord_delete(shell->coord, SLICE("/controller"), COORD_ANY_VERSION, deleted, shell);
}

static void asked(void *context, const struct coord_reply *reply)
{
    struct shell *shell = context;
    if (reply->err != ERR_CLOSED) world_note(shell->world, "the znode is there: %s", error_name(reply->err));
}

static void ask(struct shell *shell, const char *path, const struct named_partition *partition,
                bool has_replicas)
{
    struct text text = {0};
    znode_partitions_encode(partition, 1, has_replicas, &text);
    coord_create(shell->coord, slice_of(path), text_slice(&text), COORD_PERSISTENT, COORD_ACL_OPEN, asked,
                 shell);
    text_free(&text);
}

void shell_reassign(struct shell *shell, const char *topic, int32_t index, const int32_t *brokers, int count)
{
    struct named_partition partition = {
        .topic = slice_of(topic), .partition = index, .replicas = {brokers, (size_t)count}};
    world_note(shell->world, "%s-%d is to move to %d, ... (%d replicas)", topic, index, brokers[0], count);
    ask(shell, "/admin/reassign_partitions", &partition, true);
}

void shell_elect_preferred(struct shell *shell, const char *topic, int32_t index)
{
    struct named_partition partition = {.topic = slice_of(topic), .partition = index};
    world_note(shell->world, "%s-%d is to have its preferred leader", topic, index);
    ask(shell, "/admin/preferred_replica_election", &partition, false);
}
