#include "replica/move.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "replica/partition_state.h"
#include "replica/throttle.h"
#include "storage/move.h"

enum {
    CHUNK = 1 << 20,
    NEAR = 128 << 10, /* what is left is little: the loop reads it itself, from the page cache */
    AT_ONCE = 4,      /* such reads in a turn */
    RETRY_MS = 10,    /* a flush is under way */
    NO_ROOM_MS = 1000,
};

struct move {
    struct move_end end; /* first: what is left of it in the end */
    struct list link;
    struct moves *owner;
    struct partition *partition; /* NULL: given up while a worker was at it */
    struct log *future;
    struct log_home *home;
    bool is_marked, is_near, is_out;
    /* the worker's */
    struct lane_job job;
    struct log_cold_read read;
    struct log_move_mark mark;
    uint8_t *bytes; /* CHUNK, or more for a large batch */
    size_t capacity, size;
    enum error err;
    uint8_t topic[];
};

static void go_on(struct moves *moves);

static void move_free(struct move *move)
{
    free(move->bytes);
    free(move);
}

void move_end_free(struct move_end **end)
{
    move_free(CONTAINER_OF(*end, struct move, end));
    *end = NULL;
}

static void run_later(struct loop_message *message)
{
    struct moves *moves = CONTAINER_OF(message, struct moves, go_on);
    moves->is_deferred = false;
    go_on(moves);
}

static void defer(struct moves *moves)
{
    if (moves->is_deferred) return;
    moves->is_deferred = true;
    loop_post(moves->loop, &moves->go_on);
}

static void timer_run(struct loop_timer *timer)
{
    go_on(CONTAINER_OF(timer, struct moves, timer));
}

static void again_in(struct moves *moves, int64_t ms)
{
    loop_timer_start(moves->loop, &moves->timer, ms);
}

static void end(struct move *move, struct log *left, bool is_moved)
{
    struct moves *moves = move->owner;
    move->partition->move = NULL;
    list_remove(&move->link);
    log_set_home(left, NULL);
    partition_wake(move->partition, CHANGE_LOW); /* it counted, and does no more */
    move->end.left = left;
    move->end.is_moved = is_moved;
    defer(moves);
    moves->ended(moves->context, &move->end);
}

static void give_up(struct move *move, enum error err)
{
    diag_warn("\"%.*s-%d\" is not moved to \"%s\": %s", SLICE_ARG(partition_topic(move->partition)),
              (int)move->partition->index, log_dir_path(move->future), error_text(err));
    end(move, move->future, false);
}

static void failed(struct move *move, enum error err)
{
    if (err == ERR_NOMEM || err == ERR_DISK_FULL)
        again_in(move->owner, NO_ROOM_MS);
    else if (log_is_offline(move->partition->log))
        defer(move->owner); /* it waits for the next start, and another one has its turn */
    else
        give_up(move, err);
}

static bool has_room(struct move *move, size_t size)
{
    if (size <= move->capacity) return true;
    uint8_t *bytes = realloc(move->bytes, size);
    if (!bytes) return false;
    move->bytes = bytes;
    move->capacity = size;
    return true;
}

static enum error append(struct move *move)
{
    struct log_append how = {.origin = APPEND_REPLICATION, .now_ms = loop_wall_ms(move->owner->loop)};
    struct log_appended appended;
    throttle_charge(move->owner->throttle, move->size, loop_now_us(move->owner->loop));
    return log_append(move->future, move->bytes, move->size, &how, &appended);
}

/* --- a part by a worker --- */

static void read_work(struct lane_job *job)
{
    struct move *move = CONTAINER_OF(job, struct move, job);
    log_cold_read_work(&move->read);
    const struct log_slice *slice = &move->read.slice;
    move->size = 0;
    move->err = move->read.err == OK && !has_room(move, slice->size) ? ERR_NOMEM : OK;
    if (move->read.err == OK && move->err == OK && slice->size > 0)
        move->err = file_pread(slice->file, move->bytes, slice->size, slice->position, &move->size);
}

/* A worker's part is over. */
static void submit(struct move *move, void (*work)(struct lane_job *job), void (*done)(struct lane_job *job))
{
    move->job = (struct lane_job){.work = work, .done = done};
    move->is_out = move->owner->is_out = true;
    log_home_job_begin(move->home);
    lane_submit(move->owner->lane, move->owner->loop, &move->job);
}

/* What came of it; then the next step, of this one or of another. */
static void came_back(struct move *move, enum error err)
{
    struct moves *moves = move->owner;
    struct log_home *home = move->home;
    moves->is_out = move->is_out = false;
    if (!move->partition)
        move_free(move);
    else if (err != OK && err != ERR_AGAIN)
        failed(move, err);
    /* Else a pause that failed() ordered would be over at once. */
    if (!loop_timer_running(&moves->timer)) go_on(moves);
    log_home_job_end(home);
}

static void read_done(struct lane_job *job)
{
    struct move *move = CONTAINER_OF(job, struct move, job);
    struct log_slice slice = {0};
    enum error err = log_cold_read_end(move->partition ? move->partition->log : NULL, &move->read, &slice);
    bool is_whole = err == OK && slice.size == move->size;
    log_slice_release(&slice);
    move->is_near = err == OK && move->size < NEAR;
    if (err == OK) err = move->err;
    /* What stopped short is of no use; the next one says what is wrong. */
    bool has_news = move->partition && err == OK && is_whole && move->size > 0;
    if (has_news && move->read.what.offset == log_end_offset(move->future)) err = append(move);
    came_back(move, err);
}

static enum error read_by_worker(struct move *move, const struct log_read *what)
{
    enum error err = log_cold_read_begin(move->partition->log, what, &move->read);
    if (err != OK) return err;
    submit(move, read_work, read_done);
    return OK;
}

static void mark_work(struct lane_job *job)
{
    log_move_mark_work(&CONTAINER_OF(job, struct move, job)->mark);
}

static void mark_done(struct lane_job *job)
{
    struct move *move = CONTAINER_OF(job, struct move, job);
    enum error err = log_move_mark_end(move->partition ? move->future : NULL, &move->mark);
    move->is_marked = err == OK;
    came_back(move, err);
}

static enum error mark_by_worker(struct move *move)
{
    enum error err = log_move_mark_begin(move->future, &move->mark);
    if (err != OK) return err;
    submit(move, mark_work, mark_done);
    return OK;
}

/* --- the loop --- */

/* What is left, as far as it comes from the page cache. ERR_AGAIN: it does not. */
static enum error read_here(struct move *move, const struct log_read *what)
{
    struct log_slice slice = {0};
    enum error err = log_read(move->partition->log, what, &slice);
    if (err == OK && slice.size > NEAR) err = ERR_AGAIN;
    if (err == OK && !has_room(move, slice.size)) err = ERR_NOMEM;
    if (err == OK && slice.size > 0)
        err = file_pread_cached(slice.file, move->bytes, slice.size, slice.position, &move->size);
    if (err == OK && (slice.size == 0 || move->size != slice.size)) err = ERR_AGAIN;
    log_slice_release(&slice);
    return err == OK ? append(move) : err;
}

static enum error finish(struct move *move)
{
    if (!move->is_marked) {
        log_flush(move->future); /* on its lane, so that the swap finds little left to sync */
        return mark_by_worker(move);
    }
    struct partition *partition = move->partition;
    struct log *old = partition->log, *now = move->future;
    enum error err = log_move_swap(old, now);
    if (err != OK) return err;
    partition_swap_log(partition, now);
    diag_info("\"%.*s-%d\" was moved from \"%s\" to \"%s\"", SLICE_ARG(partition_topic(partition)),
              (int)partition->index, log_dir_path(old), log_dir_path(now));
    end(move, old, true);
    return OK;
}

static enum error copy(struct move *move)
{
    for (int i = 0; i < AT_ONCE; i++) {
        struct log *log = move->partition->log;
        int64_t start = log_start_offset(move->future);
        enum error err = log_move_align(log, move->future);
        if (err != OK) return err;
        if (log_start_offset(move->future) != start) partition_wake(move->partition, CHANGE_LOW);
        int64_t from = log_end_offset(move->future), to = log_end_offset(log);
        if (from == to) return finish(move);
        struct log_read what = {.offset = from, .limit_offset = to, .max_bytes = NEAR, .min_one_batch = true};
        if (!move->is_near) break;
        err = read_here(move, &what);
        if (err == ERR_AGAIN) break;
        if (err != OK) return err;
    }
    struct log_read what = {.offset = log_end_offset(move->future),
                            .limit_offset = log_end_offset(move->partition->log),
                            .max_bytes = CHUNK,
                            .min_one_batch = true};
    return read_by_worker(move, &what);
}

static struct move *next_of(struct moves *moves)
{
    LIST_EACH(&moves->moves, item)
    {
        struct move *move = CONTAINER_OF(item, struct move, link);
        bool can_go = move->partition->role != PARTITION_OFFLINE && !log_is_offline(move->partition->log);
        if (can_go || log_is_offline(move->future)) return move;
    }
    return NULL;
}

static void go_on(struct moves *moves)
{
    struct move *move = moves->is_out ? NULL : next_of(moves);
    if (!move) return;
    loop_timer_stop(moves->loop, &moves->timer);
    if (log_is_offline(move->future)) {
        give_up(move, ERR_KAFKA_STORAGE_ERROR);
        return;
    }
    int64_t wait_ms = throttle_wait_ms(moves->throttle, loop_now_us(moves->loop));
    if (wait_ms > 0) {
        again_in(moves, wait_ms);
        return;
    }
    enum error err = copy(move);
    if (err == ERR_AGAIN)
        again_in(moves, RETRY_MS);
    else if (err != OK)
        failed(move, err);
}

void moves_init(struct moves *moves, struct loop *loop, struct lane *lane, struct throttle *throttle)
{
    *moves = (struct moves){.loop = loop,
                            .lane = lane,
                            .throttle = throttle,
                            .timer = {.run = timer_run},
                            .go_on = {.run = run_later}};
    list_init(&moves->moves);
}

enum error moves_begin(struct moves *moves, struct partition *partition, struct log *future,
                       struct log_home *home)
{
    struct slice topic = partition_topic(partition);
    struct move *move = calloc(1, sizeof *move + topic.size);
    if (!move) return ERR_NOMEM;
    memcpy(move->topic, topic.data, topic.size);
    move->end = (struct move_end){
        .context = moves->context, .topic = {move->topic, topic.size}, .index = partition->index};
    move->owner = moves;
    move->partition = partition;
    move->future = future;
    move->home = home;
    log_set_home(future, home);
    log_configure(future, log_config_of(partition->log));
    list_push_back(&moves->moves, &move->link);
    partition->move = move;
    diag_info("\"%.*s-%d\" is being moved from \"%s\" to \"%s\"", SLICE_ARG(partition_topic(partition)),
              (int)partition->index, log_dir_path(partition->log), log_dir_path(future));
    defer(moves);
    return OK;
}

struct log *moves_end(struct partition *partition)
{
    struct move *move = partition->move;
    if (!move) return NULL;
    struct moves *moves = move->owner;
    struct log *future = move->future;
    partition->move = NULL;
    list_remove(&move->link);
    log_set_home(future, NULL);
    partition_wake(partition, CHANGE_LOW);
    move->partition = NULL;
    if (!move->is_out) move_free(move);
    defer(moves);
    return future;
}

struct log *moves_future(const struct partition *partition)
{
    return partition->move ? partition->move->future : NULL;
}

void moves_close(struct moves *moves)
{
    assert(list_empty(&moves->moves));
    loop_timer_stop(moves->loop, &moves->timer);
}

void moves_look(struct partition *partition)
{
    if (partition->move) defer(partition->move->owner);
}
