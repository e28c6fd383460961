/* sim_direct.c: direct writes in the simulation: a worker of the machine's, which writes and syncs. A crash finds them as it finds
 * any write; half of all machines do not have them. */
#include "loop/direct.h"

#include "loop/sim_disk_inside.h"

struct direct {
    struct loop *loop;
    struct disk *disk;
    struct direct_events events;
    void *context;
    struct lane *lane;
    struct lane_job job;
    struct file *file;
    int64_t position;
    size_t size; /* 0: no write is under way */
    enum error err;
    uint8_t buffer[DIRECT_WRITE_MAX];
};

static void write_work(struct lane_job *job)
{
    struct direct *direct = CONTAINER_OF(job, struct direct, job);
    direct->err = file_pwrite(direct->file, direct->buffer, direct->size, direct->position);
    if (direct->err == OK) direct->err = file_sync(direct->file);
}

static void write_done(struct lane_job *job)
{
    struct direct *direct = CONTAINER_OF(job, struct direct, job);
    direct->size = 0;
    direct->events.done(direct->context, direct->err);
}

enum error direct_new(struct loop *loop, struct disk *disk, const struct direct_events *events, void *context,
                      struct direct **result)
{
    if (sim_chance(disk->machine->sim, 2)) return ERR_UNSUPPORTED;
    struct direct *direct = calloc(1, sizeof *direct);
    if (!direct) return ERR_NOMEM;
    direct->loop = loop;
    direct->disk = disk;
    direct->events = *events;
    direct->context = context;
    direct->job = (struct lane_job){.work = write_work, .done = write_done};
    enum error err = lane_new(loop, "direct", 1, &direct->lane);
    if (err != OK) {
        free(direct);
        return err;
    }
    *result = direct;
    return OK;
}

enum error direct_open(struct direct *direct, const char *path)
{
    assert(direct->size == 0);
    struct file *file = NULL;
    enum error err = file_open(direct->disk, path, FILE_WRITE, &file);
    if (err != OK) return err;
    file_release(&direct->file);
    direct->file = file;
    return OK;
}

uint8_t *direct_buffer(struct direct *direct)
{
    return direct->buffer;
}

enum error direct_write(struct direct *direct, size_t size, int64_t position)
{
    assert(direct->size == 0 && direct->file);
    assert(size > 0 && size <= DIRECT_WRITE_MAX && size % DIRECT_BLOCK_BYTES == 0);
    assert(position >= 0 && position % DIRECT_BLOCK_BYTES == 0);
    direct->size = size;
    direct->position = position;
    lane_submit(direct->lane, direct->loop, &direct->job);
    return OK;
}

void direct_free(struct direct **freed)
{
    struct direct *direct = *freed;
    *freed = NULL;
    if (!direct) return;
    lane_free(direct->lane);
    file_release(&direct->file);
    free(direct);
}
