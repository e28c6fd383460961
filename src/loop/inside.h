/* inside.h: what the files of the real loop share; nobody else includes it.
 *
 * A turn of a loop:   wake -> sockets, in the order the kernel names them -> timers due -> messages -> deferred -> flush
 *                     of all streams written to -> sleep
 *
 * Everything after the sockets happens in end_turn() of loop.c, which libuv calls right before it sleeps. libuv's own
 * timer only ends the sleep. The clock is read once at the wake and once before the sleep.
 */
#pragma once
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/list.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/pieces.h"
#include "loop/stream.h"
#include "loop/timer_heap.h"

enum {
    SCRATCH_BYTES = 256 * 1024,    /* a loop's buffer to join small file slices in; made at its first use */
    SMALL_SLICE_BYTES = 64 * 1024, /* up to here a slice is read and joined, above it goes by sendfile */
    SPARE_DESCRIPTORS = 32,        /* for directories, locks, loops, accept-and-close, libraries */
    MIN_FILE_DESCRIPTORS = 16,     /* sockets never take these from the file cache */
    LOOP_DESCRIPTORS = 5,          /* what libuv opens for one loop */
};

struct descriptors {
    size_t limit;
    size_t sockets;        /* __atomic; loops' own included */
    size_t files;          /* __atomic; open in the file cache */
    pthread_mutex_t mutex; /* guards the two below */
    struct disk *disk;     /* whose cache makes room */
    struct lane *names;    /* looks host names up; made at the first name */
};

/* False when only the files' share is left. May close idle files of the cache. */
bool descriptors_take_socket(struct descriptors *descriptors);
void descriptors_put_socket(struct descriptors *descriptors);
/* How many descriptors the file cache may hold now. */
size_t descriptors_for_files(const struct descriptors *descriptors);
/* The lane for host names, made when needed. */
MUST_USE enum error descriptors_names(struct descriptors *descriptors, struct lane **lane);
/* file.c: closes idle files until the cache fits its share. */
void disk_shrink(struct disk *disk);
/* lane.c: as lane_free, without waiting for a job at work: its worker frees the lane. */
void lane_abandon(struct lane *lane);
/* The lane's own mutex, for jobs that outlive who asked for them. */
void lane_lock(struct lane *lane);
void lane_unlock(struct lane *lane);

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t turn_end;
    uv_idle_t hot; /* running = do not sleep */
    uv_timer_t alarm;
    uv_signal_t signals[3];
    void (*on_signal)(void *context, int signal);
    void *on_signal_context;
    struct descriptors *descriptors;

    /* Written by any thread. */
    struct loop_message *inbox; /* __atomic, newest first */
    int is_asleep;              /* __atomic: a post must wake us */
    int is_stopping;            /* __atomic */

    bool is_in_turn, is_hot;
    /* Staying awake for what is about to come (loop.c, keep_watch). */
    bool is_watching;
    int short_waits;         /* so many waits in a row were short */
    int64_t wait_start_us;   /* when the last turn ended */
    int64_t watch_polled_us; /* when the kernel was last asked */
    int64_t no_watch_until_us;
    int direct_writes;     /* under way (direct.c) */
    bool waits_for_a_disk; /* the wait that goes on, or was the last, began with one under way */
    int64_t now_us;
    int64_t alarm_due_ms; /* INT64_MAX = off */
    struct timer_heap timers;
    struct loop_message *deferred, *deferred_last;
    struct list flush; /* streams with something to send or to tell */
    struct piece_pool spare_pieces;
    uint8_t *scratch;
    struct list lookups; /* names being resolved for this loop */

    /* Busy time; written by the loop, read by anyone, all __atomic. */
    int64_t second_start_us, second_busy_us, turn_start_us; /* turn_start_us 0 = asleep */
    int last_permille;

    uint8_t random[256];
    size_t random_left;

    pthread_t thread; /* of loop_start_thread */
    pthread_t runner; /* __atomic */
    int is_running;   /* __atomic */
    char name[16];
};

/* loop.c */
int64_t clock_us(void);

/* First in every callback from libuv: a turn has begun. */
static inline void loop_begin_turn(struct loop *loop)
{
    if (loop->is_in_turn) return;
    loop->is_in_turn = true;
    loop->now_us = clock_us();
    __atomic_store_n(&loop->turn_start_us, loop->now_us, __ATOMIC_RELAXED);
    /* Posts from now on need no wake-up: the inbox is read before the next sleep. */
    if (__atomic_load_n(&loop->is_asleep, __ATOMIC_RELAXED)) {
        __atomic_store_n(&loop->is_asleep, 0, __ATOMIC_SEQ_CST);
    }
}

/* SCRATCH_BYTES of the loop; NULL without memory. Free to use between two callbacks. */
uint8_t *loop_scratch(struct loop *loop);

/* stream.c, called at the end of each turn. */
void streams_flush(struct loop *loop);
/* A stream on a connected, non-blocking socket whose descriptor was taken (descriptors_take_socket). On error the caller
 * still owns both. */
MUST_USE enum error stream_on_socket(struct loop *loop, int fd, const struct sockaddr *peer,
                                     struct stream **stream);
void address_of(const struct sockaddr *from, struct address *address);
enum error net_error(int number);

/* connect.c: nothing of this loop stays behind in the lane for names. */
void lookups_abandon(struct loop *loop);

/* file.c: a descriptor that stays open until file_unpin. */
MUST_USE enum error file_pin(struct file *file, int *fd);
void file_unpin(struct file *file);
