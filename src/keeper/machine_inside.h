/* machine_inside.h: what machine.c and machine_snapshot.c share. */
#pragma once
#include "keeper/machine.h"

void machine_saver_free(struct machine *machine);
struct session *machine_session_add(struct machine *machine, int64_t id);
