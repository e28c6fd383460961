/* shell.h: somebody with a ZooKeeper shell on the clients' machine, who forces elections of the controller. */
#pragma once
#include "world.h"

struct shell;

struct shell *shell_new(struct world *world);
void shell_free(struct shell **shell);
/* Deletes /controller, whoever it is. */
void shell_force_election(struct shell *shell);
