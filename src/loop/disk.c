/* disk.c: directories, locks, and the account of descriptors. Files are in file.c. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/vec.h"
#include "loop/disk_inside.h"

enum {
    MAX_DESCRIPTORS = 1 << 20, /* what an unlimited node counts with */
    NAME_THREADS = 2,
    MAX_TREE_DEPTH = 64,
};

/* --- descriptors --- */

struct descriptors *descriptors_new(size_t limit)
{
    if (limit == 0) {
        struct rlimit rlimit = {1024, 1024};
        getrlimit(RLIMIT_NOFILE, &rlimit);
        if (rlimit.rlim_cur < rlimit.rlim_max) {
            struct rlimit raised = {rlimit.rlim_max, rlimit.rlim_max};
            if (setrlimit(RLIMIT_NOFILE, &raised) == 0) rlimit = raised;
        }
        limit = rlimit.rlim_cur < MAX_DESCRIPTORS ? (size_t)rlimit.rlim_cur : MAX_DESCRIPTORS;
    }
    struct descriptors *descriptors = calloc(1, sizeof *descriptors);
    if (!descriptors) return NULL;
    descriptors->limit = limit;
    pthread_mutex_init(&descriptors->mutex, NULL);
    return descriptors;
}

void descriptors_free(struct descriptors *descriptors)
{
    if (!descriptors) return;
    assert(!descriptors->disk && "descriptors freed before their disk");
    lane_abandon(descriptors->names); /* a worker may be waiting for a name server */
    pthread_mutex_destroy(&descriptors->mutex);
    free(descriptors);
}

size_t descriptors_for_files(const struct descriptors *descriptors)
{
    size_t taken = __atomic_load_n(&descriptors->sockets, __ATOMIC_RELAXED) + SPARE_DESCRIPTORS;
    if (taken + MIN_FILE_DESCRIPTORS > descriptors->limit) return MIN_FILE_DESCRIPTORS;
    return descriptors->limit - taken;
}

bool descriptors_take_socket(struct descriptors *descriptors)
{
    size_t sockets = __atomic_add_fetch(&descriptors->sockets, 1, __ATOMIC_RELAXED);
    if (sockets + SPARE_DESCRIPTORS + MIN_FILE_DESCRIPTORS > descriptors->limit) {
        descriptors_put_socket(descriptors);
        return false;
    }
    if (__atomic_load_n(&descriptors->files, __ATOMIC_RELAXED) > descriptors_for_files(descriptors)) {
        pthread_mutex_lock(&descriptors->mutex);
        if (descriptors->disk) disk_shrink(descriptors->disk);
        pthread_mutex_unlock(&descriptors->mutex);
    }
    return true;
}

void descriptors_put_socket(struct descriptors *descriptors)
{
    __atomic_sub_fetch(&descriptors->sockets, 1, __ATOMIC_RELAXED);
}

enum error descriptors_names(struct descriptors *descriptors, struct lane **lane)
{
    pthread_mutex_lock(&descriptors->mutex);
    enum error err = descriptors->names ? OK : lane_new(NULL, "names", NAME_THREADS, &descriptors->names);
    *lane = descriptors->names;
    pthread_mutex_unlock(&descriptors->mutex);
    return err;
}

/* --- life --- */

struct disk *disk_new(struct descriptors *descriptors)
{
    struct disk *disk = calloc(1, sizeof *disk);
    if (!disk) return NULL;
    disk->descriptors = descriptors;
    pthread_mutex_init(&disk->mutex, NULL);
    pthread_cond_init(&disk->changed, NULL);
    list_init(&disk->open);
    list_init(&disk->locks);
    pthread_mutex_lock(&descriptors->mutex);
    assert(!descriptors->disk && "one disk for one node's descriptors");
    descriptors->disk = disk;
    pthread_mutex_unlock(&descriptors->mutex);
    return disk;
}

void disk_free(struct disk *disk)
{
    if (!disk) return;
    assert(list_empty(&disk->open) && list_empty(&disk->locks));
    pthread_mutex_lock(&disk->descriptors->mutex);
    disk->descriptors->disk = NULL;
    pthread_mutex_unlock(&disk->descriptors->mutex);
    pthread_cond_destroy(&disk->changed);
    pthread_mutex_destroy(&disk->mutex);
    free(disk);
}

/* --- names and directories --- */

static enum error done(int status)
{
    return status == 0 ? OK : error_from_errno(errno);
}

enum error disk_rename(struct disk *disk, const char *from, const char *to)
{
    (void)disk;
    return done(rename(from, to));
}

enum error disk_unlink(struct disk *disk, const char *path)
{
    (void)disk;
    return done(unlink(path));
}

static bool is_directory(const char *path)
{
    struct stat stat_of;
    return stat(path, &stat_of) == 0 && S_ISDIR(stat_of.st_mode);
}

/* EEXIST is fine where it is a directory. */
static enum error make_one(const char *path)
{
    if (mkdir(path, 0755) == 0) return OK;
    int number = errno;
    return is_directory(path) ? OK : error_from_errno(number);
}

enum error disk_mkdir(struct disk *disk, const char *path)
{
    (void)disk;
    enum error err = make_one(path);
    if (err != ERR_NOT_FOUND || path[0] == 0) return err;
    /* A parent is missing, too: from the top. */
    char *partial = strdup(path);
    if (!partial) return ERR_NOMEM;
    err = OK;
    for (char *at = partial + 1; err == OK && at[-1] != 0; at++) {
        char stopped = *at;
        if (stopped != '/' && stopped != 0) continue;
        *at = 0;
        err = make_one(partial);
        *at = stopped;
    }
    free(partial);
    return err;
}

enum error disk_rmdir(struct disk *disk, const char *path)
{
    (void)disk;
    return done(rmdir(path));
}

static enum error remove_tree(struct disk *disk, const char *path, int depth)
{
    struct stat stat;
    if (lstat(path, &stat) != 0) return error_from_errno(errno);
    if (!S_ISDIR(stat.st_mode)) return done(unlink(path));
    if (depth == 0) return ERR_LIMIT;
    struct disk_entry *entries;
    size_t count;
    enum error err = disk_list(disk, path, &entries, &count);
    if (err != OK) return err;
    for (size_t i = 0; i < count && err == OK; i++) {
        char *child;
        if (asprintf(&child, "%s/%s", path, entries[i].name) < 0) {
            err = ERR_NOMEM;
            break;
        }
        err = remove_tree(disk, child, depth - 1);
        free(child);
    }
    disk_list_free(entries, count);
    return err == OK ? done(rmdir(path)) : err;
}

enum error disk_remove_tree(struct disk *disk, const char *path)
{
    return remove_tree(disk, path, MAX_TREE_DEPTH);
}

enum error disk_sync_dir(struct disk *disk, const char *path)
{
    int fd;
    do {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } while (fd < 0 && is_out_of_descriptors(errno) && disk_make_spare(disk));
    if (fd < 0) return error_from_errno(errno);
    enum error err = fsync(fd) == 0 ? OK : ERR_IO;
    close(fd);
    return err;
}

bool disk_exists(struct disk *disk, const char *path)
{
    (void)disk;
    return access(path, F_OK) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct disk_entry *)a)->name, ((const struct disk_entry *)b)->name);
}

enum error disk_list(struct disk *disk, const char *path, struct disk_entry **entries, size_t *count)
{
    DIR *directory;
    do {
        directory = opendir(path);
    } while (!directory && is_out_of_descriptors(errno) && disk_make_spare(disk));
    if (!directory) return error_from_errno(errno);
    struct disk_entry *found = NULL;
    size_t found_count = 0, capacity = 0;
    enum error err = OK;
    struct dirent *item;
    while (err == OK && (errno = 0, item = readdir(directory))) {
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0) continue;
        struct stat stat;
        if (fstatat(dirfd(directory), item->d_name, &stat, 0) != 0) {
            if (errno == ENOENT) continue; /* gone meanwhile, or a link to nowhere */
            err = error_from_errno(errno);
            break;
        }
        char *name = strdup(item->d_name);
        if (!name || !VEC_RESERVE(found, found_count, capacity)) {
            free(name);
            err = ERR_NOMEM;
            break;
        }
        found[found_count++] = (struct disk_entry){name, S_ISDIR(stat.st_mode), stat.st_size};
    }
    if (err == OK && errno != 0) err = error_from_errno(errno);
    closedir(directory);
    if (err != OK) {
        disk_list_free(found, found_count);
        return err;
    }
    if (found_count > 0) qsort(found, found_count, sizeof *found, by_name);
    *entries = found;
    *count = found_count;
    return OK;
}

/* --- locks --- */

struct disk_lock {
    struct list in_disk;
    struct disk *disk;
    int fd;
    dev_t device;
    ino_t inode;
};

/* A record lock does not hold against one's own process, and goes when the process closes any descriptor of the file: so
 * our own locks are listed, and the file is looked at by stat alone before it is opened. */
static bool is_held(struct disk *disk, const struct stat *stat)
{
    LIST_EACH(&disk->locks, item)
    {
        const struct disk_lock *held = CONTAINER_OF(item, struct disk_lock, in_disk);
        if (held->device == stat->st_dev && held->inode == stat->st_ino) return true;
    }
    return false;
}

static enum error lock_file(const char *path, struct disk_lock *lock)
{
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock->fd < 0) return error_from_errno(errno);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat stat;
    enum error err = OK;
    if (fcntl(lock->fd, F_SETLK, &whole) != 0) {
        err = errno == EAGAIN || errno == EACCES ? ERR_BUSY : error_from_errno(errno);
    } else if (fstat(lock->fd, &stat) != 0) {
        err = error_from_errno(errno);
    }
    if (err != OK) {
        close(lock->fd);
        return err;
    }
    lock->device = stat.st_dev;
    lock->inode = stat.st_ino;
    return OK;
}

enum error disk_lock(struct disk *disk, const char *path, struct disk_lock **result)
{
    struct disk_lock *lock = calloc(1, sizeof *lock);
    if (!lock) return ERR_NOMEM;
    lock->disk = disk;
    pthread_mutex_lock(&disk->mutex);
    struct stat stat_of;
    enum error err = stat(path, &stat_of) == 0 && is_held(disk, &stat_of) ? ERR_BUSY : lock_file(path, lock);
    if (err == OK) list_push_back(&disk->locks, &lock->in_disk);
    pthread_mutex_unlock(&disk->mutex);
    if (err != OK) {
        free(lock);
        return err;
    }
    *result = lock;
    return OK;
}

void disk_unlock(struct disk_lock **lock)
{
    struct disk_lock *held = *lock;
    *lock = NULL;
    if (!held) return;
    pthread_mutex_lock(&held->disk->mutex);
    list_remove(&held->in_disk);
    close(held->fd);
    pthread_mutex_unlock(&held->disk->mutex);
    free(held);
}

enum error disk_boot_id(struct disk *disk, char id[DISK_BOOT_ID_SIZE])
{
    (void)disk;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ERR_UNSUPPORTED;
    ssize_t size = read(fd, id, DISK_BOOT_ID_SIZE - 1);
    close(fd);
    if (size <= 1) return ERR_UNSUPPORTED;
    id[size] = 0;
    id[strcspn(id, "\n")] = 0;
    return OK;
}

enum error disk_space(struct disk *disk, const char *path, int64_t *free_bytes, int64_t *total_bytes)
{
    (void)disk;
    struct statvfs space;
    if (statvfs(path, &space) != 0) return error_from_errno(errno);
    *free_bytes = (int64_t)(space.f_bavail * space.f_frsize);
    *total_bytes = (int64_t)(space.f_blocks * space.f_frsize);
    return OK;
}
