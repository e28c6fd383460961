/* direct.c: direct writes through a ring of io_uring's, spoken to without a library: one entry, one at a time.
 *
 *     sq_tail + 1, io_uring_enter: the kernel takes entry 0     cq_tail != cq_head: it has answered; the ring is readable then
 */
#include "loop/direct.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "loop/disk_inside.h"
#include "loop/inside.h"

#ifndef IORING_SETUP_COOP_TASKRUN /* headers of Linux 5.18 and before */
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif

enum { RING_ENTRIES = 1, RING_DESCRIPTORS = 2 /* the ring and the file */ };

struct direct {
    struct loop *loop;
    struct disk *disk;
    struct direct_events events;
    void *context;
    uint8_t *buffer;
    size_t size; /* of the write under way; 0: none is */
    int file, ring;
    struct loop_poll *poll;
    void *rings, *entries; /* mapped */
    size_t rings_bytes, entries_bytes;
    unsigned *sq_tail, *sq_array, *cq_head; /* __atomic, shared with the kernel */
    const unsigned *cq_tail, *sq_mask, *cq_mask;
    const struct io_uring_cqe *answers;
};

static enum error answer_error(const struct direct *direct, int32_t result)
{
    if (result == -EINVAL || result == -EOPNOTSUPP || result == -ENOSYS) return ERR_UNSUPPORTED;
    if (result == -EAGAIN || result == -EINTR || result == -ECANCELED) return ERR_AGAIN;
    if (result < 0) return error_from_errno(-result);
    return (size_t)result == direct->size ? OK : ERR_AGAIN;
}

static void ring_ready(void *context)
{
    struct direct *direct = context;
    unsigned head = *direct->cq_head;
    if (head == __atomic_load_n(direct->cq_tail, __ATOMIC_ACQUIRE)) return;
    enum error err = answer_error(direct, direct->answers[head & *direct->cq_mask].res);
    __atomic_store_n(direct->cq_head, head + 1, __ATOMIC_RELEASE);
    direct->size = 0;
    direct->loop->direct_writes--;
    direct->events.done(direct->context, err);
}

static enum error map(int ring, size_t size, int64_t what, void **mapped)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what);
    if (at == MAP_FAILED) return ERR_NOMEM;
    *mapped = at;
    return OK;
}

static enum error ring_open(struct direct *direct)
{
    /* The answer need not interrupt us: it is looked for before the loop sleeps. Kernels before 5.19 do not know that flag. */
    struct io_uring_params params = {.flags = IORING_SETUP_COOP_TASKRUN};
    direct->ring = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &params);
    if (direct->ring < 0 && errno == EINVAL) {
        params = (struct io_uring_params){0};
        direct->ring = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &params);
    }
    if (direct->ring < 0) return errno == ENOMEM ? ERR_NOMEM : ERR_UNSUPPORTED;
    if (!(params.features & IORING_FEAT_SINGLE_MMAP)) return ERR_UNSUPPORTED; /* before 5.4 */

    size_t sq_bytes = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    size_t cq_bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    direct->rings_bytes = sq_bytes > cq_bytes ? sq_bytes : cq_bytes;
    direct->entries_bytes = params.sq_entries * sizeof(struct io_uring_sqe);
    enum error err = map(direct->ring, direct->rings_bytes, IORING_OFF_SQ_RING, &direct->rings);
    if (err == OK) err = map(direct->ring, direct->entries_bytes, IORING_OFF_SQES, &direct->entries);
    if (err != OK) return err;
    uint8_t *rings = direct->rings;
    direct->sq_tail = (unsigned *)(rings + params.sq_off.tail);
    direct->sq_mask = (const unsigned *)(rings + params.sq_off.ring_mask);
    direct->sq_array = (unsigned *)(rings + params.sq_off.array);
    direct->cq_head = (unsigned *)(rings + params.cq_off.head);
    direct->cq_tail = (const unsigned *)(rings + params.cq_off.tail);
    direct->cq_mask = (const unsigned *)(rings + params.cq_off.ring_mask);
    direct->answers = (const struct io_uring_cqe *)(rings + params.cq_off.cqes);
    return OK;
}

enum error direct_new(struct loop *loop, struct disk *disk, const struct direct_events *events, void *context,
                      struct direct **result)
{
    struct direct *direct = calloc(1, sizeof *direct);
    if (!direct) return ERR_NOMEM;
    *direct = (struct direct){
        .loop = loop, .disk = disk, .events = *events, .context = context, .file = -1, .ring = -1};
    __atomic_add_fetch(&loop->descriptors->sockets, RING_DESCRIPTORS, __ATOMIC_RELAXED);
    direct->buffer = aligned_alloc(DIRECT_BLOCK_BYTES, DIRECT_WRITE_MAX);
    enum error err = direct->buffer ? ring_open(direct) : ERR_NOMEM;
    if (err == OK) err = loop_poll_new(loop, direct->ring, ring_ready, direct, &direct->poll);
    if (err != OK) {
        direct_free(&direct);
        return err;
    }
    *result = direct;
    return OK;
}

enum error direct_open(struct direct *direct, const char *path)
{
    assert(direct->size == 0);
    int file;
    do {
        file = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
    } while (file < 0 && (errno == EINTR || (is_out_of_descriptors(errno) && disk_make_spare(direct->disk))));
    if (file < 0) return errno == EINVAL ? ERR_UNSUPPORTED : error_from_errno(errno);
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    if (direct->file >= 0) close(direct->file);
    direct->file = file;
    return OK;
}

uint8_t *direct_buffer(struct direct *direct)
{
    return direct->buffer;
}

enum error direct_write(struct direct *direct, size_t size, int64_t position)
{
    assert(direct->size == 0 && direct->file >= 0);
    assert(size > 0 && size <= DIRECT_WRITE_MAX && size % DIRECT_BLOCK_BYTES == 0);
    assert(position >= 0 && position % DIRECT_BLOCK_BYTES == 0);
    unsigned tail = *direct->sq_tail, at = tail & *direct->sq_mask;
    struct io_uring_sqe *entries = direct->entries;
    entries[at] = (struct io_uring_sqe){.opcode = IORING_OP_WRITE,
                                        .fd = direct->file,
                                        .off = (uint64_t)position,
                                        .addr = (uintptr_t)direct->buffer,
                                        .len = (uint32_t)size,
                                        .rw_flags = RWF_DSYNC};
    direct->sq_array[at] = at;
    __atomic_store_n(direct->sq_tail, tail + 1, __ATOMIC_RELEASE);
    long taken;
    do {
        taken = syscall(SYS_io_uring_enter, direct->ring, 1, 0, 0, NULL, 0);
    } while (taken < 0 && errno == EINTR);
    if (taken != 1) {
        __atomic_store_n(direct->sq_tail, tail, __ATOMIC_RELEASE); /* the kernel has not looked at it */
        return ERR_UNSUPPORTED;
    }
    direct->size = size;
    direct->loop->direct_writes++;
    return OK;
}

void direct_free(struct direct **freed)
{
    struct direct *direct = *freed;
    *freed = NULL;
    if (!direct) return;
    assert(direct->size == 0);
    if (direct->poll) loop_poll_free(&direct->poll);
    if (direct->entries) munmap(direct->entries, direct->entries_bytes);
    if (direct->rings) munmap(direct->rings, direct->rings_bytes);
    if (direct->ring >= 0) close(direct->ring);
    if (direct->file >= 0) close(direct->file);
    __atomic_sub_fetch(&direct->loop->descriptors->sockets, RING_DESCRIPTORS, __ATOMIC_RELAXED);
    free(direct->buffer);
    free(direct);
}
