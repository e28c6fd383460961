/* tools.h: somebody with Kafka's tools, who asks one broker for one thing at a time and does not mind when it is refused. */
#pragma once
#include "world.h"

struct tools;

struct tools *tools_new(struct world *world);
void tools_free(struct tools **tools);
/* The broker's replica is to live in that log directory (kafka-reassign-partitions with log_dirs). */
void tools_move_dir(struct tools *tools, int broker, size_t partition, const char *dir);
/* Everything below `offset` goes; `leader` leads (kafka-delete-records). */
void tools_delete_records(struct tools *tools, int leader, size_t partition, int64_t offset);
