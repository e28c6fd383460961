#include "broker/by_home.h"

struct home_work {
    struct home_work *next;
    struct by_home *by_home;
    struct loop *home;
    struct home_item *items, *last;
    int held;
    struct loop_message there, back;
};

bool by_home_add(struct by_home *by_home, struct home_item *item, struct partition *partition)
{
    struct loop *home = partition_home(partition);
    struct home_work *work = by_home->works;
    while (work && work->home != home) work = work->next;
    if (!work) {
        work = request_alloc(by_home->request, 1, sizeof *work);
        if (!work) return false;
        work->by_home = by_home;
        work->home = home;
        work->next = by_home->works;
        by_home->works = work;
    }
    item->partition = partition;
    item->work = work;
    item->next = NULL;
    if (work->last)
        work->last->next = item;
    else
        work->items = item;
    work->last = item;
    return true;
}

static void work_back(struct loop_message *message)
{
    struct by_home *by_home = CONTAINER_OF(message, struct home_work, back)->by_home;
    if (--by_home->works_out == 0) by_home->done(by_home);
}

static void release(struct home_work *work)
{
    if (--work->held > 0) return;
    struct loop *loop = work->by_home->request->home->loop;
    if (work->home == loop) {
        work_back(&work->back);
        return;
    }
    work->back.run = work_back;
    loop_post(loop, &work->back);
}

static void work_there(struct loop_message *message)
{
    struct home_work *work = CONTAINER_OF(message, struct home_work, there);
    work->held = 1; /* ours, until all have run */
    for (struct home_item *item = work->items; item; item = item->next)
        work->by_home->run(work->by_home, item);
    release(work);
}

void by_home_start(struct by_home *by_home)
{
    struct home_work *mine = NULL;
    by_home->works_out = 1;
    for (struct home_work *work = by_home->works; work; work = work->next) {
        by_home->works_out++;
        work->there.run = work_there;
        if (work->home == by_home->request->home->loop)
            mine = work;
        else
            loop_post(work->home, &work->there);
    }
    if (mine) work_there(&mine->there);
    if (--by_home->works_out == 0) by_home->done(by_home);
}

struct loop *by_home_loop(const struct home_item *item)
{
    return item->work->home;
}

void by_home_hold(struct home_item *item)
{
    item->work->held++;
}

void by_home_release(struct home_item *item)
{
    release(item->work);
}
