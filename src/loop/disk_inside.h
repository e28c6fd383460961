/* disk_inside.h: what file.c and disk.c share. */
#pragma once
#include <errno.h>
#include <pthread.h>

#include "base/list.h"
#include "loop/inside.h"

struct disk {
    struct descriptors *descriptors;
    pthread_mutex_t mutex; /* guards the list, locks, paths and changes of descriptors */
    pthread_cond_t changed;
    struct list open; /* files with a descriptor, in clock order: the next candidate for closing first */
    struct list locks;
};

/* Files in use and libraries may take more than the account of descriptors knows: when the system has no more, a cached one
 * is given up. Without the mutex held. False: none is idle. Errno may change. */
bool disk_make_spare(struct disk *disk);

static inline bool is_out_of_descriptors(int number)
{
    return number == EMFILE || number == ENFILE;
}
