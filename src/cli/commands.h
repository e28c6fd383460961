/* commands.h: the tables of commands and options. */
#pragma once
#include "cli/cli.h"

const struct cli_command *cli_command_at(size_t index); /* NULL at the end */
const struct cli_option *cli_common_options(void);      /* ended by a zeroed one */
