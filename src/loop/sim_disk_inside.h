/* sim_disk_inside.h: what sim_file.c and sim_disk.c share: inodes, and what of them is on the platter.
 *
 * A file's bytes are what the page cache would show. For each page written since the last sync `undo` keeps what the
 * platter still has there: dropping the undo is writing the page back, applying it is losing the page. A directory has two
 * sets of entries, the current and the durable one; the machine's journal holds, in order, what leads from one to the other.
 */
#pragma once
#include "loop/sim_inside.h"

enum { PAGE_BYTES = 4096, SECTOR_BYTES = 512 };

struct undo {
    int64_t page;
    bool is_lost; /* a sync failed: the cache believes it written, the platter never saw it */
    bool is_zero; /* no copy: nothing was there */
    uint8_t old[];
};

struct dir_entry {
    char *name;
    struct inode *inode;
};

struct dir_entries {
    struct dir_entry *items; /* sorted by name */
    size_t count, capacity;
};

struct inode {
    struct list in_machine;
    struct sim_machine *machine;
    int references; /* entries of both kinds, the journal, open files */
    uint64_t number;
    bool is_dir;
    int64_t mtime_ms;
    /* a file */
    uint8_t *data; /* zero from size to capacity */
    int64_t size;
    size_t capacity;
    int64_t durable_size, lowest_size; /* on the platter; the lowest it was cut to since the last sync */
    struct undo **undos;               /* sorted by page */
    size_t undo_count, undo_capacity;
    /* a directory */
    struct dir_entries current, durable;
    bool is_marked; /* scratch for walks over the journal */
};

struct disk {
    struct sim_machine *machine;
    struct list in_machine, files, locks;
    bool is_dead;
};

struct file {
    struct list in_disk;
    struct disk *disk;
    struct inode *inode; /* NULL: lazy, not yet looked up */
    char *path;
    int references;
    bool can_write;
};

struct inode *inode_new(struct sim_machine *machine, bool is_dir);
struct inode *inode_retain(struct inode *inode);
void inode_release(struct inode *inode);
/* Looks a path up among the current entries; NULL when it is not there. */
struct inode *disk_find(struct sim_machine *machine, const char *path);
/* Makes an empty file; journalled. */
MUST_USE enum error disk_create(struct disk *disk, const char *path, struct inode **inode);
/* Counts a change of the disk; true when the machine just crashed in it. */
bool disk_changes(struct disk *disk);

/* sim_file.c: the adversary's choice for one file, at a crash. */
void inode_crash(struct inode *inode);
void inode_forget_undos(struct inode *inode);
enum error inode_resize(struct inode *inode, int64_t size);
