#include "shell.h"

#include <stdio.h>
#include <stdlib.h>

#include "coord/coord.h"

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
