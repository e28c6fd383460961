/* tools.h: somebody with Kafka's tools, who asks one broker for one thing at a time and does not mind when it is refused. */
#pragma once
#include "world.h"

struct tools;

struct tools *tools_new(struct world *world);
void tools_free(struct tools **tools);
/* The broker's replica is to live in that log directory (kafka-reassign-partitions with log_dirs). */
void tools_move_dir(struct tools *tools, int broker, const char *topic, int32_t index, const char *dir);
/* One batch of about `size` bytes, for a topic that nobody else writes to, with acks=1; `leader` leads. */
void tools_fill(struct tools *tools, int leader, const char *topic, int32_t index, size_t size);
/* Everything below `offset` goes; `leader` leads (kafka-delete-records). */
void tools_delete_records(struct tools *tools, int leader, size_t partition, int64_t offset);
