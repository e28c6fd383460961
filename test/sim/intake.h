/* intake.h: a simulated consumer, as member.c (the group protocol) and intake.c (reading) share it.
 *
 * A member has an intake for each broker: a connection on which it fetches those of its places that the broker leads, as far as
 * its routes know.
 */
#pragma once
#include "fetcher.h"
#include "peer.h"
#include "routes.h"
#include "world.h"

enum { MAX_SEATS = 4 };

enum member_state { AWAY, FINDING, JOINING, SYNCING, LOOKING_UP, STABLE, COMMITTING_LAST, LEAVING };

struct member_place {
    int64_t committed;
    uint64_t commit_serial; /* of the commit in flight */
    int64_t commit_offset;
};

/* What it reads from one broker. */
struct intake {
    struct member *member;
    int server;
    struct peer peer;
    struct call call;
    struct loop_timer timer;
    bool is_fetching;
    uint32_t round;
    size_t asked[FETCH_MAX_PLACES]; /* indexes of its places */
    int64_t from[FETCH_MAX_PLACES]; /* their positions then */
    size_t asked_count;
};

struct crew;

struct member {
    struct crew *crew;
    size_t group;
    int rack;
    struct world *world;
    char name[HISTORY_NAME], instance_id[HISTORY_NAME], member_id[HISTORY_NAME];
    enum member_state state;
    struct peer coordinator;
    int moves_to; /* the broker that is said to be it; -1 = this one, or not known */
    struct intake intakes[WORLD_MAX_SERVERS];
    struct routes routes;
    struct call call;
    bool is_calling;
    struct loop_timer timer;
    int32_t generation, newest;
    bool began_calm; /* ... and how the world was then */
    uint32_t round;  /* of assignments: answers to fetches of an older one are not ours any more */
    bool is_leader;
    bool has_offsets; /* its places are where the group was */
    struct fetch_place places[FETCH_MAX_PLACES];
    struct member_place known[FETCH_MAX_PLACES];
    size_t place_count;
    struct text frames[MAX_SEATS * 4]; /* a leader's assignments while they are sent */
    char other_ids[MAX_SEATS * 4][HISTORY_NAME];
    size_t other_count;
    size_t assigning; /* partitions that the assignments under way share out; 0 = none are */
};

void intakes_start(struct member *member);
void intakes_stop(struct member *member);
/* It has places, or its places have offsets. */
void intakes_go_on(struct member *member);
