/* path.h: what a znode's path may look like. Bytes in, for Java's strings come as (nearly) UTF-8.
 * Source: facts/keeper.md 1.8. */
#pragma once
#include <stdbool.h>

#include "base/bytes.h"

/* Absolute, no empty, "." or ".." component, no '/' at the end (but "/" itself), none of the characters that
 * ZooKeeper refuses: U+0000-001F, 007F-009F, D800-F8FF, FFF0-FFFF, those beyond U+FFFF, malformed bytes. */
bool path_is_valid(struct slice path);

/* Everything before the last '/', and after it. false without a '/' or with a NUL byte. */
bool path_split(struct slice path, struct slice *parent, struct slice *name);

/* "/", /zookeeper, /zookeeper/quota, /zookeeper/config: not to be deleted. */
bool path_is_special(struct slice path);

static inline bool path_has_nul(struct slice path)
{
    return path.size > 0 && memchr(path.data, 0, path.size) != NULL;
}

/* `path` is `ancestor` or lies below it. "/" is above everything. */
bool path_is_within(struct slice path, struct slice ancestor);
