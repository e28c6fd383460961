/* apache.h: a keeper that starts where Apache's ZooKeeper was. */
#pragma once
#include <stdbool.h>

#include "base/error.h"

struct disk;

/* Imports the version-2 in `data_dir`, if it is there and no keeper's files are, and says so. An error was said as well. */
MUST_USE enum error apache_take_over(struct disk *disk, const char *data_dir, const char *log_dir,
                                     bool is_alone);
