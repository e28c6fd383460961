/* direct_door.c: the door to the keeper of this process: the same messages, handed over instead of sent.
 *
 * Its sessions end with the process, so there is nothing to remember. Close the coord before the keeper. */
#include <stdlib.h>

#include "base/list.h"
#include "coord/coord.h"
#include "keeper/keeper.h"
#include "loop/loop.h"

struct direct_door {
    struct coord *coord;
    struct loop *loop;
    struct keeper *keeper;
    struct keeper_local *local;
    enum error open_err;
    struct loop_timer timer, opened;
};

static void close_connection(struct direct_door *door)
{
    loop_timer_stop(door->loop, &door->opened);
    keeper_local_close(&door->local);
}

static void on_frame(void *context, struct slice frame)
{
    coord_door_message(((struct direct_door *)context)->coord, frame);
}

static void on_closed(void *context)
{
    struct direct_door *door = context;
    close_connection(door);
    coord_door_closed(door->coord, ERR_EOF);
}

static void on_opened(struct loop_timer *timer)
{
    struct direct_door *door = CONTAINER_OF(timer, struct direct_door, opened);
    if (door->open_err == OK)
        coord_door_opened(door->coord);
    else
        coord_door_closed(door->coord, door->open_err);
}

static void door_open(void *context)
{
    struct direct_door *door = context;
    static const struct keeper_local_events events = {on_frame, on_closed};
    door->open_err = keeper_local_connect(door->keeper, &events, door, &door->local);
    loop_timer_start(door->loop, &door->opened, 0);
}

static void door_send(void *context, struct bytes *message)
{
    struct direct_door *door = context;
    enum error err = door->local ? keeper_local_send(door->local, bytes_slice(message)) : OK;
    bytes_release(&message);
    if (err == OK) return;
    /* A request is missing: what comes after it would be answered out of order. */
    keeper_local_close(&door->local);
    door->open_err = err;
    loop_timer_start(door->loop, &door->opened, 0);
}

static void door_close(void *context)
{
    close_connection(context);
}

static int64_t door_now_ms(void *context)
{
    return loop_now_ms(((struct direct_door *)context)->loop);
}

static void on_timer(struct loop_timer *timer)
{
    coord_door_tick(CONTAINER_OF(timer, struct direct_door, timer)->coord);
}

static void door_wake_at(void *context, int64_t due_ms)
{
    struct direct_door *door = context;
    if (due_ms == INT64_MAX)
        loop_timer_stop(door->loop, &door->timer);
    else
        loop_timer_start(door->loop, &door->timer, due_ms - loop_now_ms(door->loop));
}

static void door_random(void *context, void *out, size_t size)
{
    loop_random(((struct direct_door *)context)->loop, out, size);
}

static void door_free(void *context)
{
    struct direct_door *door = context;
    close_connection(door);
    loop_timer_stop(door->loop, &door->timer);
    free(door);
}

enum error coord_open_direct(struct loop *loop, struct keeper *keeper, const struct coord_options *options,
                             struct coord **coord)
{
    struct direct_door *door = calloc(1, sizeof *door);
    if (!door) return ERR_NOMEM;
    *door = (struct direct_door){.loop = loop,
                                 .keeper = keeper,
                                 .timer.run = on_timer,
                                 .opened.run = on_opened,
                                 .open_err = ERR_CLOSED};
    static const struct coord_door table = {.open = door_open,
                                            .send = door_send,
                                            .close = door_close,
                                            .now_ms = door_now_ms,
                                            .wake_at = door_wake_at,
                                            .random = door_random,
                                            .free = door_free};
    enum error err = coord_new(&table, door, options, 0, (const uint8_t[16]){0}, &door->coord);
    if (err == OK)
        *coord = door->coord;
    else
        free(door);
    return err;
}
