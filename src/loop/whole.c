/* whole.c: small files read and written as a whole, over the calls of disk.h; the same for both implementations. */
#include <stdlib.h>
#include <string.h>

#include "loop/disk.h"

enum error disk_read_file(struct disk *disk, const char *path, size_t max_size, struct bytes **result)
{
    struct file *file = NULL;
    struct bytes *bytes = NULL;
    int64_t size = 0;
    enum error err = file_open(disk, path, FILE_READ, &file);
    if (err == OK) err = file_size(file, &size);
    if (err == OK && (uint64_t)size > max_size) err = ERR_TOO_LARGE;
    if (err == OK && !(bytes = bytes_new((size_t)size + 1)))
        err = ERR_NOMEM; /* never of size 0; room for a NUL */
    if (err == OK) err = file_pread(file, bytes->data, (size_t)size, 0, &bytes->size);
    if (file) file_release(&file);
    if (err != OK) {
        bytes_release(&bytes);
        return err;
    }
    bytes->data[bytes->size] = 0;
    *result = bytes;
    return OK;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    if (slash == path) return strdup("/");
    return slice_dup((struct slice){(const uint8_t *)path, (size_t)(slash - path)});
}

enum error disk_write_file_atomic(struct disk *disk, const char *path, struct slice content)
{
    size_t length = strlen(path);
    char *temporary = malloc(length + sizeof ".tmp"), *parent = parent_of(path);
    if (!temporary || !parent) {
        free(temporary);
        free(parent);
        return ERR_NOMEM;
    }
    memcpy(temporary, path, length);
    memcpy(temporary + length, ".tmp", sizeof ".tmp");

    struct file *file = NULL;
    enum error err = file_open(disk, temporary, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);
    if (err == OK && content.size > 0) err = file_pwrite(file, content.data, content.size, 0);
    if (err == OK) err = file_sync(file);
    bool was_made = file != NULL;
    if (file) file_release(&file);
    if (err == OK) err = disk_rename(disk, temporary, path);
    if (err == OK) {
        err = disk_sync_dir(disk, parent);
    } else if (was_made) {
        enum error ignored = disk_unlink(disk, temporary); /* the first error is the one to tell */
        (void)ignored;
    }
    free(temporary);
    free(parent);
    return err;
}

void disk_list_free(struct disk_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) free(entries[i].name);
    free(entries);
}
