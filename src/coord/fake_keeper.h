/* fake_keeper.h: a keeper for tests: a map of znodes behind scripted doors, in one thread, over virtual time.
 *
 * It speaks ZooKeeper's messages as far as a broker's session uses them, applies them one by one, and does what a test says:
 * deliver, hold, lose, expire. Plain on purpose: it is what the real ones are compared with. Never linked into the program.
 * Out of memory aborts.
 */
#pragma once
#include "base/text.h"
#include "coord/coord.h"

struct fake_keeper;

/* Its wall clock at virtual time 0. */
#define FAKE_KEEPER_EPOCH_MS 1700000000000

struct fake_keeper *fake_keeper_new(void);
/* Close its coords first. */
void fake_keeper_free(struct fake_keeper *fake);

/* A coord behind a door of this keeper. With old_session_id != 0 (as fake_keeper_remembered gave) it ends that one first. */
struct coord *fake_keeper_coord(struct fake_keeper *fake, const struct coord_options *options,
                                int64_t old_session_id);
/* The session last given to a door's `remember`; its password is derived from the id. */
int64_t fake_keeper_remembered(const struct fake_keeper *fake);

/* Delivers the oldest message that waits, in whichever direction. False when none waits. */
bool fake_keeper_step(struct fake_keeper *fake);
/* Until none waits. */
void fake_keeper_run(struct fake_keeper *fake);
/* Time goes on by `ms`, each tick at its time, messages delivered in between; sessions without a sign of life expire. */
void fake_keeper_advance(struct fake_keeper *fake, int64_t ms);
int64_t fake_keeper_now_ms(const struct fake_keeper *fake);

/* --- faults --- */
/* Every connection is reset; what was on its way is lost. */
void fake_keeper_cut(struct fake_keeper *fake);
/* Only the answers on their way are lost, then the connections: writes were done and nobody knows. */
void fake_keeper_cut_answers(struct fake_keeper *fake);
/* The session ends as if it had timed out, its connection is reset. */
void fake_keeper_expire(struct fake_keeper *fake, int64_t session_id);
/* While refusing, connections do not open. */
void fake_keeper_refuse(struct fake_keeper *fake, bool is_refusing);
/* The answer to the next request is these bytes instead. */
void fake_keeper_garble(struct fake_keeper *fake, struct slice answer);

/* --- what a test sees, and does behind everybody's back (watches fire) --- */
int64_t
fake_keeper_writes(const struct fake_keeper *fake); /* requests that changed the tree, a multi counts one */
int64_t fake_keeper_requests(const struct fake_keeper *fake);     /* of all kinds but pings */
size_t fake_keeper_max_in_flight(const struct fake_keeper *fake); /* most requests seen waiting at once */
size_t fake_keeper_armed(const struct fake_keeper *fake);         /* watches */
bool fake_keeper_has(const struct fake_keeper *fake, const char *path);
/* Null when absent or when its data is null; a loan until the next change. */
struct slice fake_keeper_data(const struct fake_keeper *fake, const char *path);
bool fake_keeper_stat(const struct fake_keeper *fake, const char *path, struct znode_stat *stat);
/* Creates (with parents) or sets. owner 0 = persistent. */
void fake_keeper_put(struct fake_keeper *fake, const char *path, struct slice data, int64_t owner);
void fake_keeper_remove(struct fake_keeper *fake, const char *path); /* with all below */
/* Every path in order, one a line: path, version, data. */
void fake_keeper_dump(const struct fake_keeper *fake, struct text *out);
/* Calls visit for each path in order. */
void fake_keeper_walk(const struct fake_keeper *fake,
                      void (*visit)(void *context, const char *path, struct slice data), void *context);
