/* assignment.h: partitions and replicas as words on the command line.
 *
 *     1:2:3,2:3:1      replicas of partition 0, then of 1; the first of each is its preferred leader (as kafka-topics has it)
 *     orders:0,4       partitions 0 and 4 of a topic; orders alone means all of them
 */
#pragma once
#include "base/arena.h"
#include "cli/view.h"

/* *why names what is wrong: an empty list, a number that is none, a broker twice. Memory is the arena's. */
MUST_USE enum error assignment_parse(const char *text, struct arena *arena, struct ids **replicas,
                                     int32_t *count, const char **why);
/* Does `text` (TOPIC or TOPIC:P,P) name this partition? False also when it is malformed: partition_wish_is_good says. */
bool partition_wish_names(const char *text, struct slice topic, int32_t index);
bool partition_wish_is_good(const char *text);
