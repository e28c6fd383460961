/* tools.h: somebody with Kafka's tools, who asks one broker for one thing at a time and does not mind when it is refused. */
#pragma once
#include "world.h"

struct tools;

struct tools_target {
    const char *topic; /* until the loop runs again */
    int32_t index;
};

/* A partition that producers write to, or the coordinators, or of a topic that goes soon. */
bool tools_target_draw(struct world *world, struct tools_target *target);
/* Of the one that is deleted next, perhaps while something goes on with it. */
bool tools_target_doomed(struct world *world, struct tools_target *target);

struct tools *tools_new(struct world *world);
void tools_free(struct tools **tools);
/* The broker's replica is to live in that log directory (kafka-reassign-partitions with log_dirs). */
void tools_move_dir(struct tools *tools, int broker, const char *topic, int32_t index, const char *dir);
/* One batch of about `size` bytes, for a topic that nobody else writes to, with acks=1; `leader` leads. */
void tools_fill(struct tools *tools, int leader, const char *topic, int32_t index, size_t size);
/* Everything below `offset` goes; `leader` leads (kafka-delete-records). */
void tools_delete_records(struct tools *tools, int leader, size_t partition, int64_t offset);
