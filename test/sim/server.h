/* server.h: one machine of a world that runs a broker (or the keeper alone): its deaths, its starts, its disk.
 *
 * The server checks its own life: after each start it must become ready (unless the adversary has just made that impossible), it
 * must not end by itself without a reason, and a clean stop must end. What it tells its clients is checked by history.h.
 *
 * Loss   when the power of a machine goes whose log was not synced, a broker without replicas elsewhere takes the end of its logs
 *        with it: the history hears of it. With replicas it is `is_hurt` until the witness has seen it back in every ISR: until
 *        then the adversary must not hurt more machines than the promise bears.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum server_state { SERVER_DOWN, SERVER_STARTING, SERVER_READY, SERVER_STOPPING };

struct keeper;
struct server_life;
struct sim_machine;
struct world;

struct server {
    struct world *world;
    bool is_there, is_keeper;
    int id; /* broker.id */
    char host[24];
    struct sim_machine *machine;
    enum server_state state;
    struct server_life *life; /* NULL while down */
    int deaths_seen;          /* sim_machine_crashes at the last look */
    bool is_full;             /* its disk */
    bool is_disk_sick;        /* its syncs fail */
    bool may_end;             /* it was while this life lasted, so it may end by itself */
    bool is_hurt;             /* lost what only its disk's cache had; what others have must do */
    bool is_troubled;         /* cut off or paused: it may have to go without our doing more */
    int64_t skew_ms;          /* of its wall clock */
    int64_t ready_ms;         /* since when it is ready */
};

void server_init(struct server *server, struct world *world, const char *host, int id, bool is_keeper);

/* Starts begin and return. */
void server_start(struct server *server);
void server_power_cut(struct server *server);
void server_kill(struct server *server);
/* Asks for a clean stop and waits for its end (or for the power to go meanwhile). */
void server_stop(struct server *server);
/* The same without waiting. */
void server_ask_stop(struct server *server);

/* The disk is full or its syncs fail from now on, or is well again. */
void server_disk_full(struct server *server, bool is_full);
void server_fail_syncs(struct server *server, int count);
void server_disk_heal(struct server *server);

/* Sees whether it has died or ended since the last look, and takes leave of it; true when it did. */
bool server_look(struct server *server);
/* The keeper of this life while it serves; NULL. For the witness. */
const struct keeper *server_keeper(const struct server *server);
