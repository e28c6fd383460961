/* table.h: the partitions one loop knows: by topic name, then by index. Owner: that loop. Holds, does not own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/map.h"

struct partition;

struct partition_table {
    struct map topics; /* name to struct table_topic */
    size_t count;
};

void partition_table_free(struct partition_table *table);
struct partition *partition_table_find(const struct partition_table *table, struct slice topic,
                                       int32_t index);
/* ERR_NOMEM leaves it as it was. Setting what is there already changes nothing. */
MUST_USE enum error partition_table_set(struct partition_table *table, struct partition *partition);
void partition_table_drop(struct partition_table *table, struct partition *partition);
/* Walks all of them; *position starts at 0. NULL at the end. No change meanwhile. */
struct partition *partition_table_next(const struct partition_table *table, size_t *position);
/* The same within one topic. */
struct partition *partition_table_next_of(const struct partition_table *table, struct slice topic,
                                          size_t *position);
