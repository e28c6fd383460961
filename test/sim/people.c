#include "people.h"

#include "admin.h"
#include "member.h"
#include "producer.h"
#include "reader.h"

enum {
    SETTLE_MS = 60000, /* of virtual time until all is acknowledged, read and committed */
    READ_MS = 60000,
};

static bool is_written(void *context)
{
    const struct people *people = context;
    for (int i = 0; i < people->producer_count; i++) {
        if (!producer_is_idle(people->producers[i])) return false;
    }
    return admin_is_idle(people->admin);
}

static bool is_consumed(void *context)
{
    const struct people *people = context;
    for (int i = 0; i < people->crew_count; i++) {
        if (!crew_is_done(people->crews[i])) return false;
    }
    return true;
}

static bool is_read(void *context)
{
    return reader_is_done(context);
}

void people_come(struct people *people, struct world *world)
{
    *people = (struct people){
        .world = world, .producer_count = world->plan.producers, .crew_count = world->plan.groups};
    people->admin = admin_new(world);
    for (int i = 0; i < people->producer_count; i++) people->producers[i] = producer_new(world, i);
    for (int i = 0; i < people->crew_count; i++) people->crews[i] = crew_new(world, (size_t)i);
}

void people_go(struct people *people)
{
    admin_free(&people->admin);
    for (int i = 0; i < people->producer_count; i++) producer_free(&people->producers[i]);
    for (int i = 0; i < people->crew_count; i++) crew_free(&people->crews[i]);
}

void people_settle(struct people *people)
{
    struct world *world = people->world;
    admin_finish(people->admin);
    for (int i = 0; i < people->producer_count; i++) producer_finish(people->producers[i]);
    for (int i = 0; i < people->crew_count; i++) crew_settle(people->crews[i]);
    if (!world_run_until(world, is_written, people, SETTLE_MS)) {
        history_fail(&world->history, "not everything is acknowledged %d s after all was well",
                     SETTLE_MS / 1000);
    }
    if (!world_run_until(world, is_consumed, people, SETTLE_MS)) {
        history_fail(&world->history, "the groups have not read and committed everything %d s later",
                     SETTLE_MS / 1000);
    }
}

void people_read_all(struct world *world)
{
    world_note(world, "everything is read");
    struct reader *reader = reader_new(world);
    if (!world_run_until(world, is_read, reader, READ_MS))
        history_fail(&world->history, "cannot read everything within %d s", READ_MS / 1000);
    reader_free(&reader);
}
