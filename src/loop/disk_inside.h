/* disk_inside.h: what file.c and disk.c share. */
#pragma once
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
