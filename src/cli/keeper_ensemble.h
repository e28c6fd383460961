/* keeper_ensemble.h: what a member of an ensemble needs beside zoo.cfg: the file of server lines it names, and myid. Says itself what
 * is wrong. */
#pragma once
#include "base/error.h"
#include "keeper/keeper.h"
#include "keeper/servers.h"
#include "settings/settings.h"

struct disk;

/* zoo.cfg with the lines of its dynamicConfigFile, if it names one. As zoo_config_load_beside otherwise. */
MUST_USE enum error ensemble_load(struct disk *disk, struct slice text, const char *name,
                                  const struct zoo_beside *beside, struct zoo_config *config);

/* A member's own number, from dataDir/myid, and who the members are, into `keeper`; `servers` owns what it points to. Takes the client
 * port from our own server line where no key has it. */
MUST_USE enum error ensemble_configure(struct disk *disk, struct zoo_config *config,
                                       struct keeper_servers *servers, struct keeper_config *keeper);
