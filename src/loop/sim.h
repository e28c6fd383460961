/* sim.h: steering the simulated loop: machines, their disks, the network between them, time, and the adversary.
 *
 * One struct sim is a whole world driven from one seed in one thread: loops of simulated machines, virtual time that jumps
 * to the next event, streams with delay, loss of connection and partitions, disks whose unsynced writes may be lost, torn
 * or kept in any order by a crash. The same seed and the same program give the same trace, byte for byte.
 *
 * Linking  the library loop_sim in place of loop; the folders above call the same names. A folder lists such tests in
 *          FOLDER_sim_tests of its meson.build (they are built with -DLOOP_IS_SIMULATED); test/sim links all_sim_libs.
 * Nodes    take their loops and their disk from outside: here from sim_loop_new and sim_machine_disk (loop_new answers
 *          ERR_UNSUPPORTED, disk_new NULL). Loops take turns from the moment they are made; loop_start_thread and loop_join
 *          work (join drives the world), so does loop_run.
 * Memory   a crashed node is freed as usual (its objects of loop/ are dead and harmless) or abandoned, then with leak
 *          detection off. Free nodes before sim_free.
 * Fair     what POSIX promises holds: bytes after file_sync, names after disk_sync_dir of their directory (a new directory's
 *          own name after that of its parent). Nothing else does: syncing a new file does not save its name.
 */
#pragma once
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/stream.h"

struct sim;
struct sim_machine;

MUST_USE enum error sim_new(uint64_t seed, struct sim **sim);
void sim_free(struct sim *sim);

/* A machine has an address (its name resolves to it and is what peers see, so "10.0.0.1" is a good one; "localhost" and
 * "127.0.0.1" are the machine itself), a wall clock, a disk. Machines live as long as the sim. */
MUST_USE enum error sim_machine_new(struct sim *sim, const char *host, struct sim_machine **machine);
/* The disk of this life of the machine: ask again after a crash. The old one, and files opened on it, answer ERR_IO. It
 * belongs to the sim; disk_free on it does nothing. */
struct disk *sim_machine_disk(struct sim_machine *machine);
/* Instead of loop_new. Lanes of its loops run jobs with virtual delays. */
MUST_USE enum error sim_loop_new(struct sim_machine *machine, struct loop **loop);

/* Everything the machine runs is gone at once: loops, streams, timers, messages, lanes are dropped without callbacks (the
 * caller frees or leaks the node's memory: see sim.c), peers see resets after a delay. The
 * disk keeps what was synced and, of the rest, what the adversary leaves: each unsynced 4 KiB page write is kept, lost or
 * torn, metadata operations (create, rename, unlink, truncate) since the directory's last sync are kept or lost as a prefix. */
void sim_machine_crash(struct sim_machine *machine);
/* kill -9: as crash, but the kernel survives: all writes stay. */
void sim_machine_kill(struct sim_machine *machine);

/* The machine crashes by itself in the middle of its `count`th change of the disk from now (write, truncate, rename, sync,
 * ...), 1 being the next; 0 = never. That call and all after it fail, and nothing of the callback it is in reaches anybody. */
void sim_machine_crash_at_write(struct sim_machine *machine, int count);
/* How often it has crashed or was killed so far. */
int sim_machine_crashes(const struct sim_machine *machine);

/* Runs events until virtual time has advanced by `ms`. */
void sim_run_ms(struct sim *sim, int64_t ms);
/* Runs until check(context) is true; false when `limit_ms` of virtual time went by. */
bool sim_run_until(struct sim *sim, bool (*check)(void *context), void *context, int64_t limit_ms);
int64_t sim_now_ms(const struct sim *sim);
/* The machine whose code is running; NULL = none. */
const char *sim_current_host(const struct sim *sim);

/* The adversary. */
struct random;
struct random *sim_random(struct sim *sim);
void sim_net_delay(struct sim *sim, int64_t min_us, int64_t max_us);
void sim_net_cut(struct sim *sim, struct sim_machine *a, struct sim_machine *b, bool is_cut);
/* One way only: `to` hears nothing of `from`, which hears it still. No connection can be made meanwhile. */
void sim_net_cut_way(struct sim *sim, struct sim_machine *from, struct sim_machine *to, bool is_cut);
/* Resets one connection chosen at random; false when there is none. */
bool sim_net_reset_one(struct sim *sim);
void sim_disk_full(struct sim_machine *machine, bool is_full);
/* The next `count` syncs take `delay_ms` each, or fail. */
void sim_disk_slow(struct sim_machine *machine, int64_t delay_ms, int count);
void sim_disk_fail_sync(struct sim_machine *machine, int count);
/* Bit rot: flips the bits of `mask` in one byte, as it is read and as it is on the platter. */
MUST_USE enum error sim_disk_rot(struct sim_machine *machine, const char *path, int64_t position,
                                 uint8_t mask);
void sim_wall_jump(struct sim_machine *machine, int64_t ms);
/* The machine's loops do nothing for `ms` (SIGSTOP). */
void sim_machine_pause(struct sim_machine *machine, int64_t ms);

/* A hash over every event so far (time, kind, machine, sizes): equal runs have equal traces. */
uint64_t sim_trace(const struct sim *sim);
/* Events are also written as readable lines while set. */
void sim_trace_to(struct sim *sim, void (*line)(void *context, const char *text), void *context);
