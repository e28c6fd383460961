/* people.h: everybody who works with a world's servers: the admin, producers and groups, and in the end the reader. */
#pragma once
#include "world.h"

enum { MAX_PRODUCERS = 8, MAX_GROUPS = 4 };

struct people {
    struct world *world;
    struct admin *admin;
    struct producer *producers[MAX_PRODUCERS];
    struct crew *crews[MAX_GROUPS];
    int producer_count, crew_count;
};

void people_come(struct people *people, struct world *world);
void people_go(struct people *people);
/* All is well: everything is to be acknowledged, read and committed within a minute. */
void people_settle(struct people *people);
/* Every record, topic and commit is read and told to the history. */
void people_read_all(struct world *world);
