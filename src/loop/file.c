/* file.c: files whose descriptors come and go: a cache of open descriptors.
 *
 * Every call pins the file, uses its descriptor and unpins it. Pinning an open file is one atomic add. The rest, opening
 * and closing, goes through the disk's mutex:
 *
 *     state   = number of pins + CHANGING    CHANGING: somebody opens or closes the descriptor, wait for `changed`
 *     closing   needs state 0 -> CHANGING, so a descriptor never goes away under a reader
 *
 * Who is closed: second chance, an approximation of the least recently used. Clean files go first; if none is idle and
 * clean, the oldest dirty ones are synced as a batch (the kernel writes them side by side) outside the mutex.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/disk_inside.h"

enum {
    CHANGING = 1 << 30,
    SYNC_BATCH = 16,
    MAX_IOVECS = 64,
    CACHE_PROBES = 16,
};

struct file {
    struct disk *disk;
    struct list in_open; /* disk->open, while fd >= 0 */
    char *path;          /* by disk->mutex */
    int reopen_flags;
    int references; /* __atomic */
    unsigned state; /* __atomic */
    int fd;         /* __atomic; changes only under CHANGING */
    int is_used;    /* __atomic, since the clock's hand came by */
    int is_dirty;   /* __atomic: written since the last sync */
    int has_failed; /* __atomic: a sync failed, bytes are lost */
};

static int get(const int *atomic)
{
    return __atomic_load_n(atomic, __ATOMIC_ACQUIRE);
}

static void set(int *atomic, int value)
{
    __atomic_store_n(atomic, value, __ATOMIC_RELEASE);
}

/* --- making room; all with disk->mutex held --- */

static bool try_claim(struct file *file)
{
    unsigned idle = 0;
    return __atomic_compare_exchange_n(&file->state, &idle, CHANGING, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

static void unclaim(struct file *file)
{
    __atomic_fetch_and(&file->state, ~(unsigned)CHANGING, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&file->disk->changed);
}

static void close_claimed(struct file *file)
{
    close(file->fd);
    set(&file->fd, -1);
    list_remove(&file->in_open);
    __atomic_sub_fetch(&file->disk->descriptors->files, 1, __ATOMIC_RELAXED);
    unclaim(file);
}

static enum error sync_descriptor(struct file *file, int fd)
{
    if (get(&file->has_failed)) return ERR_IO;
    set(&file->is_dirty, 0); /* before, so that a write during the sync counts as unsynced */
    if (fdatasync(fd) == 0) return OK;
    set(&file->has_failed, 1);
    return ERR_IO;
}

static bool close_one_clean(struct disk *disk, struct file **dirty, int *dirty_count)
{
    *dirty_count = 0;
    struct list *end = disk->open.prev;
    bool is_second_pass = false;
    for (struct list *item = disk->open.next, *next; item != &disk->open; item = next) {
        next = item->next;
        bool is_end = item == end;
        struct file *file = CONTAINER_OF(item, struct file, in_open);
        if (get(&file->is_used)) {
            set(&file->is_used, 0);
            list_remove(item);
            list_push_back(&disk->open, item);
        } else if (get(&file->is_dirty)) {
            if (*dirty_count < SYNC_BATCH) dirty[(*dirty_count)++] = file;
        } else if (try_claim(file)) {
            close_claimed(file);
            return true;
        }
        if (is_end) { /* once around; a second time if the first only took marks away */
            if (is_second_pass || *dirty_count > 0) return false;
            is_second_pass = true;
            next = disk->open.next;
            end = disk->open.prev;
        }
    }
    return false;
}

/* Syncs and closes idle dirty files. The mutex is given up meanwhile. */
static bool close_dirty(struct disk *disk, struct file **dirty, int count)
{
    int claimed = 0;
    for (int i = 0; i < count; i++) {
        if (try_claim(dirty[i])) dirty[claimed++] = dirty[i];
    }
    if (claimed == 0) return false;
    pthread_mutex_unlock(&disk->mutex);
    for (int i = 0; i < claimed; i++) sync_file_range(dirty[i]->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    for (int i = 0; i < claimed; i++) {
        enum error err = sync_descriptor(dirty[i], dirty[i]->fd);
        (void)err; /* remembered in has_failed: the next write or sync of the file tells its owner */
    }
    pthread_mutex_lock(&disk->mutex);
    for (int i = 0; i < claimed; i++) close_claimed(dirty[i]);
    return true;
}

static void make_room(struct disk *disk, size_t wanted)
{
    struct descriptors *descriptors = disk->descriptors;
    while (__atomic_load_n(&descriptors->files, __ATOMIC_RELAXED) + wanted >
           descriptors_for_files(descriptors)) {
        struct file *dirty[SYNC_BATCH];
        int count;
        if (close_one_clean(disk, dirty, &count)) continue;
        if (!close_dirty(disk, dirty, count)) return; /* all in use: the spare ones must do */
    }
}

bool disk_make_spare(struct disk *disk)
{
    struct file *dirty[SYNC_BATCH];
    int count;
    pthread_mutex_lock(&disk->mutex);
    bool made = close_one_clean(disk, dirty, &count) || close_dirty(disk, dirty, count);
    LIST_EACH(&disk->open, item)
    {
        const struct file *file = CONTAINER_OF(item, struct file, in_open);
        if (made || !(__atomic_load_n(&file->state, __ATOMIC_ACQUIRE) & CHANGING)) continue;
        pthread_cond_wait(&disk->changed, &disk->mutex); /* somebody is closing these, and says so */
        made = true;
        break;
    }
    pthread_mutex_unlock(&disk->mutex);
    return made;
}

void disk_shrink(struct disk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    make_room(disk, 0);
    pthread_mutex_unlock(&disk->mutex);
}

/* --- pins --- */

/* With the mutex held and the file pinned or not yet known to others: opens the descriptor. */
static enum error open_descriptor(struct file *file, int extra_flags)
{
    struct disk *disk = file->disk;
    __atomic_fetch_or(&file->state, CHANGING, __ATOMIC_ACQUIRE);
    make_room(disk, 1);
    __atomic_add_fetch(&disk->descriptors->files, 1, __ATOMIC_RELAXED);
    char *path = strdup(file->path); /* a rename may come while the mutex is free */
    pthread_mutex_unlock(&disk->mutex);
    int fd = -1, number = ENOMEM;
    if (path) {
        do {
            fd = open(path, file->reopen_flags | extra_flags, 0644);
            number = errno;
        } while (fd < 0 && (number == EINTR || (is_out_of_descriptors(number) && disk_make_spare(disk))));
        free(path);
    }
    pthread_mutex_lock(&disk->mutex);
    if (fd >= 0) {
        set(&file->fd, fd);
        set(&file->is_used, 1);
        list_push_back(&disk->open, &file->in_open);
    } else {
        __atomic_sub_fetch(&disk->descriptors->files, 1, __ATOMIC_RELAXED);
    }
    unclaim(file);
    return fd >= 0 ? OK : error_from_errno(number);
}

enum error file_pin(struct file *file, int *result)
{
    unsigned before = __atomic_fetch_add(&file->state, 1, __ATOMIC_ACQUIRE);
    int fd = get(&file->fd);
    if (!(before & CHANGING) && fd >= 0) {
        __atomic_store_n(&file->is_used, 1, __ATOMIC_RELAXED);
        *result = fd;
        return OK;
    }
    __atomic_fetch_sub(&file->state, 1, __ATOMIC_RELEASE);

    pthread_mutex_lock(&file->disk->mutex);
    enum error err = OK;
    for (;;) {
        while (__atomic_load_n(&file->state, __ATOMIC_ACQUIRE) & CHANGING) {
            pthread_cond_wait(&file->disk->changed, &file->disk->mutex);
        }
        if (get(&file->fd) >= 0) break;
        err = open_descriptor(file, 0);
        if (err != OK) break;
    }
    if (err == OK) {
        __atomic_fetch_add(&file->state, 1, __ATOMIC_ACQUIRE); /* closing needs the mutex, which we have */
        *result = get(&file->fd);
    }
    pthread_mutex_unlock(&file->disk->mutex);
    return err;
}

void file_unpin(struct file *file)
{
    __atomic_fetch_sub(&file->state, 1, __ATOMIC_RELEASE);
}

/* --- life --- */

enum error file_open(struct disk *disk, const char *path, int flags, struct file **result)
{
    struct file *file = calloc(1, sizeof *file);
    if (!file || !(file->path = strdup(path))) {
        free(file);
        return ERR_NOMEM;
    }
    file->disk = disk;
    file->references = 1;
    file->fd = -1;
    list_init(&file->in_open);
    bool can_write = flags & FILE_WRITE;
    file->reopen_flags = (can_write ? O_RDWR : O_RDONLY) | O_CLOEXEC;
    int once = (can_write && flags & FILE_CREATE ? O_CREAT : 0) | (flags & FILE_EXCLUSIVE ? O_EXCL : 0) |
               (can_write && flags & FILE_TRUNCATE ? O_TRUNC : 0);
    if (once & O_TRUNC) file->is_dirty = 1; /* a new name is its directory's to sync */

    enum error err = OK;
    if (!(flags & FILE_LAZY) || once) {
        pthread_mutex_lock(&disk->mutex);
        err = open_descriptor(file, once);
        pthread_mutex_unlock(&disk->mutex);
    }
    struct stat stat;
    if (err == OK && file->fd >= 0 && !can_write && fstat(file->fd, &stat) == 0 && S_ISDIR(stat.st_mode))
        err = ERR_IO;
    if (err != OK) {
        file_release(&file);
        return err;
    }
    *result = file;
    return OK;
}

struct file *file_retain(struct file *file)
{
    __atomic_add_fetch(&file->references, 1, __ATOMIC_RELAXED);
    return file;
}

void file_release(struct file **released)
{
    struct file *file = *released;
    *released = NULL;
    if (!file || __atomic_sub_fetch(&file->references, 1, __ATOMIC_ACQ_REL) > 0) return;
    struct disk *disk = file->disk;
    pthread_mutex_lock(&disk->mutex);
    /* Nobody can pin it any more, but somebody making room may be at it. */
    while (get(&file->fd) >= 0) {
        if (try_claim(file)) {
            close_claimed(file);
        } else {
            pthread_cond_wait(&disk->changed, &disk->mutex);
        }
    }
    pthread_mutex_unlock(&disk->mutex);
    free(file->path);
    free(file);
}

void file_renamed(struct file *file, const char *new_path)
{
    char *path = strdup(new_path);
    assert(path);
    pthread_mutex_lock(&file->disk->mutex);
    free(file->path);
    file->path = path;
    pthread_mutex_unlock(&file->disk->mutex);
}

const char *file_path(const struct file *file)
{
    return file->path;
}

/* --- reading --- */

static enum error read_at(struct file *file, void *into, size_t size, int64_t position, int flags,
                          size_t *got)
{
    assert(position >= 0);
    int fd;
    enum error err = file_pin(file, &fd);
    if (err != OK) return err;
    size_t done = 0;
    while (done < size) {
        struct iovec part = {(uint8_t *)into + done, size - done};
        ssize_t n = flags ? preadv2(fd, &part, 1, position + (int64_t)done, flags)
                          : pread(fd, part.iov_base, part.iov_len, position + (int64_t)done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0) {
            break;
        } else if (errno == EOPNOTSUPP && flags) {
            flags = 0; /* this file system cannot say; reading it is all we can do */
        } else if (errno != EINTR) {
            err = error_from_errno(errno);
            break;
        }
    }
    file_unpin(file);
    if (err == OK) *got = done;
    return err;
}

enum error file_pread(struct file *file, void *into, size_t size, int64_t position, size_t *got)
{
    return read_at(file, into, size, position, 0, got);
}

enum error file_pread_cached(struct file *file, void *into, size_t size, int64_t position, size_t *got)
{
    return read_at(file, into, size, position, RWF_NOWAIT, got);
}

bool file_is_cached(struct file *file, int64_t position, size_t size)
{
    int fd;
    if (size == 0) return true;
    if (file_pin(file, &fd) != OK) return false;
    /* The first byte, the last, and some between. */
    bool is_cached = true;
    size_t step = size / (CACHE_PROBES - 1) + 1;
    for (int i = 0; i < CACHE_PROBES && is_cached; i++) {
        size_t at = (size_t)i * step < size - 1 ? (size_t)i * step : size - 1;
        uint8_t probe;
        struct iovec part = {&probe, 1};
        is_cached = preadv2(fd, &part, 1, position + (int64_t)at, RWF_NOWAIT) >= 0 || errno != EAGAIN;
        if (at == size - 1) break;
    }
    file_unpin(file);
    return is_cached;
}

/* --- writing --- */

static enum error pin_to_write(struct file *file, int *fd)
{
    if (get(&file->has_failed)) return ERR_IO;
    enum error err = file_pin(file, fd);
    if (err == OK) set(&file->is_dirty, 1);
    return err;
}

enum error file_pwrite(struct file *file, const void *data, size_t size, int64_t position)
{
    struct iovec part = {(void *)data, size};
    return file_pwritev(file, &part, 1, position);
}

enum error file_pwritev(struct file *file, const struct iovec *parts, int count, int64_t position)
{
    assert(position >= 0);
    int fd;
    enum error err = pin_to_write(file, &fd);
    if (err != OK) return err;
    struct iovec window[MAX_IOVECS];
    size_t skip = 0; /* of parts[0], written already */
    while (count > 0) {
        int used = count < MAX_IOVECS ? count : MAX_IOVECS;
        memcpy(window, parts, (size_t)used * sizeof *window);
        window[0].iov_base = (uint8_t *)window[0].iov_base + skip;
        window[0].iov_len -= skip;
        ssize_t n = pwritev(fd, window, used, position);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            err = error_from_errno(errno);
            break;
        }
        position += n;
        skip += (size_t)n;
        bool is_moved = n > 0;
        while (count > 0 && skip >= parts->iov_len) {
            skip -= parts->iov_len;
            parts++;
            count--;
            is_moved = true;
        }
        if (!is_moved) {
            err = ERR_IO; /* the kernel takes nothing and says nothing */
            break;
        }
    }
    file_unpin(file);
    return err;
}

enum error file_truncate(struct file *file, int64_t size)
{
    int fd;
    enum error err = pin_to_write(file, &fd);
    if (err != OK) return err;
    int status;
    do {
        status = ftruncate(fd, size);
    } while (status != 0 && errno == EINTR);
    if (status != 0) err = error_from_errno(errno);
    file_unpin(file);
    return err;
}

enum error file_allocate(struct file *file, int64_t size)
{
    int fd;
    enum error err = pin_to_write(file, &fd);
    if (err != OK) return err;
    int number;
    do {
        number = posix_fallocate(fd, 0, size);
    } while (number == EINTR);
    file_unpin(file);
    return error_from_errno(number);
}

enum error file_reserve(struct file *file, int64_t position, int64_t size)
{
    int fd;
    enum error err = file_pin(file, &fd);
    if (err != OK) return err;
    int status;
    do {
        status = fallocate(fd, FALLOC_FL_KEEP_SIZE, position, size);
    } while (status != 0 && errno == EINTR);
    int number = status == 0 ? 0 : errno;
    file_unpin(file);
    return number == EOPNOTSUPP || number == ENOSYS ? ERR_UNSUPPORTED : error_from_errno(number);
}

enum error file_sync(struct file *file)
{
    if (get(&file->has_failed)) return ERR_IO;
    int fd;
    enum error err = file_pin(file, &fd);
    if (err != OK) return err;
    err = sync_descriptor(file, fd);
    file_unpin(file);
    return err;
}

/* --- the inode --- */

static enum error stat_file(struct file *file, struct stat *stat)
{
    int fd;
    enum error err = file_pin(file, &fd);
    if (err != OK) return err;
    if (fstat(fd, stat) != 0) err = error_from_errno(errno);
    file_unpin(file);
    return err;
}

enum error file_size(struct file *file, int64_t *size)
{
    struct stat stat;
    enum error err = stat_file(file, &stat);
    if (err == OK) *size = stat.st_size;
    return err;
}

enum error file_mtime_ms(struct file *file, int64_t *mtime_ms)
{
    struct stat stat;
    enum error err = stat_file(file, &stat);
    if (err == OK) *mtime_ms = (int64_t)stat.st_mtim.tv_sec * 1000 + stat.st_mtim.tv_nsec / 1000000;
    return err;
}
