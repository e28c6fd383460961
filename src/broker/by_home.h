/* by_home.h: work on many partitions, each on its home loop, then one answer on the connection's loop.
 *
 *     by_home_add ...  by_home_start --> run(item) on its home, perhaps held for a worker --> done() on the connection's loop
 *
 * Items are the caller's, intrusive, in the request's arena. The home loop alone touches an item between start and done.
 */
#pragma once
#include <stdbool.h>

#include "base/error.h"
#include "broker/request.h"
#include "replica/partition.h"

struct home_work;

struct home_item {
    struct home_item *next;
    struct home_work *work;
    struct partition *partition; /* as the connection's loop found it */
};

struct by_home {
    struct request *request;
    void (*run)(struct by_home *by_home, struct home_item *item);
    void (*done)(struct by_home *by_home);
    /* by_home.c's: */
    struct home_work *works;
    size_t works_out;
};

/* False without memory. */
bool by_home_add(struct by_home *by_home, struct home_item *item, struct partition *partition);
/* done() may come before this returns. */
void by_home_start(struct by_home *by_home);
struct loop *by_home_loop(const struct home_item *item);
/* Within run(), and later on the same loop: this item is not over yet; now it is. */
void by_home_hold(struct home_item *item);
void by_home_release(struct home_item *item);
