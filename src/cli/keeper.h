/* keeper.h: a keeper alone as a process: odradek keeper, and zkserver start-foreground. */
#pragma once
#include "cli/cli.h"
#include "settings/settings.h"

/* Reads the file (NULL: a keeper to try things with, on loopback), says what is wrong with it, and runs until SIGTERM or SIGINT. ready_fd: a
 * byte is written there once it serves, or with `is_heard_early` once a member of an ensemble listens; -1: none. The exit code. */
int keeper_main(const char *path, const struct zoo_beside *beside, int ready_fd, bool is_heard_early);

/* The values of --override. Free the array. */
const char **keeper_overrides(const struct cli *cli, size_t *count);
