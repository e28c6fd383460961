/* shell.h: somebody with a ZooKeeper shell on the clients' machine, who forces elections of the controller and asks for moves of
 * partitions and for preferred leaders as the tools of old did, by znodes. */
#pragma once
#include "world.h"

struct shell;

struct shell *shell_new(struct world *world);
void shell_free(struct shell **shell);
/* Deletes /controller, whoever it is. */
void shell_force_election(struct shell *shell);
/* The replicas of a partition are to be these. */
void shell_reassign(struct shell *shell, const char *topic, int32_t index, const int32_t *brokers, int count);
void shell_elect_preferred(struct shell *shell, const char *topic, int32_t index);
