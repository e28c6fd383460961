/* straight.c: small batches straight to the disk, without the worker: for one client that waits for each of its writes, waking the
 * worker and being woken by it cost more than the sync.
 *
 *     0                    begun            end                     zeroed          room
 *     | header  records ...|.... | records  |  zeros, on the disk   |  reserved     |
 *                                           ^ written in whole blocks, the first with what is in it already (`last`)
 *
 * The blocks must have been written, so a worker that gets a small batch writes zeros behind it first, 256 KiB of them at a time.
 * Large batches are the worker's, who finds them no use: for them a sync is shared by many, and zeros would be twice the
 * bytes. Whatever it writes, it tells here where the log ends. Files and what recovery makes of them are the same either way: zeros behind
 * the last record are room, and a block that is torn holds the same earlier records, old or new.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "quorum/inside.h"

enum {
    PREPARE_BATCH_MAX = 4 << 10, /* so small a batch is worth zeros ... */
    BATCH_MAX =
        DIRECT_WRITE_MAX - 2 * DIRECT_BLOCK_BYTES, /* ... and where there are some, such a one uses them */
    ZEROS_BYTES = 256 << 10,
};

static int64_t block_start(int64_t position)
{
    return position / DIRECT_BLOCK_BYTES * DIRECT_BLOCK_BYTES;
}

static int64_t block_stop(int64_t position)
{
    return block_start(position + DIRECT_BLOCK_BYTES - 1);
}

void quorum_straight_forget(struct quorum *quorum)
{
    file_release(&quorum->straight.file);
}

static bool can_write(const struct quorum *quorum)
{
    const struct quorum_straight *straight = &quorum->straight;
    const struct quorum_write *write = &quorum->write;
    return straight->direct && !straight->is_off && straight->file && straight->file == quorum->file &&
           straight->end == quorum->file_end && !write->makes_file && !write->cut &&
           quorum->writing.size <= BATCH_MAX &&
           block_stop(quorum->file_end + (int64_t)quorum->writing.size) <= straight->zeroed;
}

static void write_done(void *context, enum error err)
{
    struct quorum *quorum = context;
    struct quorum_straight *straight = &quorum->straight;
    struct quorum_write *write = &quorum->write;
    if (err == ERR_UNSUPPORTED) straight->is_off = true;
    if (err == ERR_UNSUPPORTED || err == ERR_AGAIN || err == ERR_DISK_FULL) {
        quorum_straight_forget(quorum);
        quorum_write_by_worker(quorum);
        return;
    }
    write->err = err;
    write->failed_in_sync = err != OK;
    write->sync_us = loop_clock_us(quorum->loop) - write->begun_us;
    if (err == OK) {
        int64_t first = block_start(straight->begun);
        straight->end = quorum->file_end = straight->begun + (int64_t)quorum->writing.size;
        int64_t last = block_start(straight->end);
        if (last < straight->end)
            memcpy(straight->last, direct_buffer(straight->direct) + (last - first), DIRECT_BLOCK_BYTES);
    }
    quorum_write_ended(quorum);
}

bool quorum_straight_write(struct quorum *quorum)
{
    struct quorum_straight *straight = &quorum->straight;
    if (!can_write(quorum)) return false;
    quorum_seal(quorum);
    const struct quorum_batch *batch = &quorum->writing;
    uint8_t *buffer = direct_buffer(straight->direct);
    straight->begun = quorum->file_end;
    int64_t first = block_start(straight->begun);
    size_t before = (size_t)(straight->begun - first), used = before + batch->size;
    size_t size = (size_t)block_stop((int64_t)used);
    memcpy(buffer, straight->last, before);
    memcpy(buffer + before, batch->data, batch->size);
    memset(buffer + used, 0, size - used);
    enum error err = direct_write(straight->direct, size, first);
    if (err != OK) straight->is_off = true;
    return err == OK;
}

bool quorum_straight_wanted(struct quorum *quorum)
{
    struct quorum_straight *straight = &quorum->straight;
    if (!quorum->force_sync || straight->is_off || quorum->writing.size > PREPARE_BATCH_MAX) return false;
    if (straight->direct) return true;
    static const struct direct_events events = {.done = write_done};
    enum error err = direct_new(quorum->loop, quorum->disk, &events, quorum, &straight->direct);
    if (err == OK) return true;
    straight->is_off = true;
    diag_debug("no direct writes for the log in \"%s\" (%s): a worker writes", quorum->log_dir,
               error_text(err));
    return false;
}

void quorum_straight_zero(struct quorum *quorum, size_t size)
{
    struct quorum_straight *straight = &quorum->straight;
    quorum_straight_forget(quorum);
    int64_t end = quorum->file_end + (int64_t)size, zeroed = block_stop(end + ZEROS_BYTES);
    uint8_t *zeros = calloc(1, (size_t)(zeroed - end));
    enum error err = zeros ? file_pwrite(quorum->file, zeros, (size_t)(zeroed - end), end) : ERR_NOMEM;
    free(zeros);
    if (err != OK) { /* a full disk: what they took is the batch's */
        if (file_truncate(quorum->file, quorum->file_end) == OK) quorum->file_room = quorum->file_end;
        return;
    }
    if (quorum->file_room < zeroed) quorum->file_room = zeroed;
    straight->file = file_retain(quorum->file);
    straight->zeroed = zeroed;
}

void quorum_straight_note(struct quorum *quorum)
{
    struct quorum_straight *straight = &quorum->straight;
    if (!straight->file) return;
    int64_t first = block_start(quorum->file_end);
    size_t got = 0;
    bool is_ours = straight->file == quorum->file && quorum->file_end < straight->zeroed;
    enum error err = is_ours ? file_pread(quorum->file, straight->last, DIRECT_BLOCK_BYTES, first, &got) : OK;
    if (is_ours && err == OK && got < DIRECT_BLOCK_BYTES) err = ERR_TRUNCATED;
    if (is_ours && err == OK && quorum->write.prepares)
        err = direct_open(straight->direct, file_path(quorum->file));
    if (err == ERR_UNSUPPORTED) straight->is_off = true;
    if (!is_ours || err != OK) {
        quorum_straight_forget(quorum);
        return;
    }
    straight->end = quorum->file_end;
}

void quorum_straight_free(struct quorum *quorum)
{
    file_release(&quorum->straight.file);
    direct_free(&quorum->straight.direct);
}
