/* sim_sync_all.c: on the simulated disk, every file and every directory below, one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/disk.h"

static enum error sync_one(struct disk *disk, const char *path)
{
    struct file *file = NULL;
    enum error err = file_open(disk, path, FILE_READ, &file);
    if (err == OK) err = file_sync(file);
    file_release(&file);
    return err;
}

enum error disk_sync_all(struct disk *disk, const char *path)
{
    struct disk_entry *entries = NULL;
    size_t count = 0;
    enum error err = disk_list(disk, path, &entries, &count);
    for (size_t i = 0; err == OK && i < count; i++) {
        size_t size = strlen(path) + strlen(entries[i].name) + 2;
        char *below = malloc(size);
        if (!below) {
            err = ERR_NOMEM;
            break;
        }
        snprintf(below, size, "%s/%s", path, entries[i].name);
        err = entries[i].is_dir ? disk_sync_all(disk, below) : sync_one(disk, below);
        free(below);
    }
    disk_list_free(entries, count);
    return err == OK ? disk_sync_dir(disk, path) : err;
}
