/* alter.h: changing configuration, shared by `topic alter` and `config set|unset`. */
#pragma once
#include "cli/cli.h"

enum { ALTER_MAX = 256, ALTER_TOPIC = 2, ALTER_BROKER = 4 }; /* resource types of the protocol */

struct alter_change {
    struct slice key, value; /* null value: back to the default */
};

/* KEY=VALUE; false after saying what is wrong. */
bool alter_parse_set(const char *text, struct alter_change *change);
/* resource "" with ALTER_BROKER: the default of all brokers. The exit code. */
int alter_configs(struct cli *cli, int8_t type, const char *resource, const struct alter_change *changes,
                  size_t count);
