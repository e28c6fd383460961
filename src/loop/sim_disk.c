/* sim_disk.c: the simulated disk's names: directories, the journal of their changes, locks, and what a crash leaves.
 *
 * As nasty as POSIX allows, fair where it promises: after file_sync a file's bytes are safe, after disk_sync_dir the names
 * in that directory are. Syncing a file does not save its name. Of the changes since a directory's last sync a crash leaves
 * a prefix; a rename between two directories needs both prefixes and is never half done.
 */
#include "loop/sim_disk_inside.h"

#include <stdio.h>

#include "base/vec.h"

enum { MAX_TREE_DEPTH = 64 };
static const int64_t DISK_BYTES = 1LL << 40;

struct change { /* one entry of the journal */
    struct list in_journal;
    struct inode *dir, *to_dir;
    char *name, *to_name;
    struct inode *target; /* NULL: the name goes */
};

/* --- inodes and entries --- */

struct inode *inode_new(struct sim_machine *machine, bool is_dir)
{
    struct inode *inode = calloc(1, sizeof *inode);
    if (!inode) return NULL;
    inode->machine = machine;
    inode->is_dir = is_dir;
    inode->mtime_ms = sim_wall_ms(machine);
    inode->number = list_empty(&machine->inodes)
                        ? 1
                        : CONTAINER_OF(machine->inodes.prev, struct inode, in_machine)->number + 1;
    list_push_back(&machine->inodes, &inode->in_machine);
    return inode;
}

struct inode *inode_retain(struct inode *inode)
{
    inode->references++;
    return inode;
}

static void entries_free(struct dir_entries *entries)
{
    struct dir_entries dropped = *entries;
    *entries = (struct dir_entries){0};
    for (size_t i = 0; i < dropped.count; i++) {
        free(dropped.items[i].name);
        inode_release(dropped.items[i].inode);
    }
    free(dropped.items);
}

void inode_release(struct inode *inode)
{
    if (--inode->references > 0) return;
    entries_free(&inode->current);
    entries_free(&inode->durable);
    inode_forget_undos(inode);
    inode->machine->used_bytes -= inode->size;
    free(inode->data);
    list_remove(&inode->in_machine);
    free(inode);
}

static size_t find_entry(const struct dir_entries *entries, const char *name, bool *is_there)
{
    size_t low = 0, high = entries->count;
    *is_there = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(entries->items[middle].name, name);
        if (order == 0) *is_there = true;
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct inode *entry_get(const struct dir_entries *entries, const char *name)
{
    bool is_there;
    size_t at = find_entry(entries, name, &is_there);
    return is_there ? entries->items[at].inode : NULL;
}

static void entry_set(struct dir_entries *entries, const char *name, struct inode *inode)
{
    bool is_there;
    size_t at = find_entry(entries, name, &is_there);
    inode_retain(inode);
    if (is_there) {
        struct inode *old = entries->items[at].inode;
        entries->items[at].inode = inode;
        inode_release(old);
        return;
    }
    char *copy = strdup(name);
    bool has_room = copy && VEC_RESERVE(entries->items, entries->count, entries->capacity);
    assert(has_room);
    memmove(&entries->items[at + 1], &entries->items[at], (entries->count - at) * sizeof *entries->items);
    entries->items[at] = (struct dir_entry){copy, inode};
    entries->count++;
}

static void entry_remove(struct dir_entries *entries, const char *name)
{
    bool is_there;
    size_t at = find_entry(entries, name, &is_there);
    if (!is_there) return;
    struct dir_entry gone = entries->items[at];
    memmove(&entries->items[at], &entries->items[at + 1], (entries->count - at - 1) * sizeof *entries->items);
    entries->count--;
    free(gone.name);
    inode_release(gone.inode);
}

/* --- paths --- */

/* The next component of *path, moved past it; false at the end. Longer names than 255 bytes do not exist. */
static bool next_component(const char **path, char name[256])
{
    for (;;) {
        while (**path == '/') (*path)++;
        if (**path == 0) return false;
        size_t size = strcspn(*path, "/");
        const char *start = *path;
        *path += size;
        if (size == 1 && *start == '.') continue;
        if (size > 255) size = 255;
        memcpy(name, start, size);
        name[size] = 0;
        return true;
    }
}

struct inode *disk_find(struct sim_machine *machine, const char *path)
{
    struct inode *at = machine->root;
    char name[256];
    while (at && next_component(&path, name)) at = at->is_dir ? entry_get(&at->current, name) : NULL;
    return at;
}

/* The directory of a path's last component, and that component. */
static struct inode *find_parent(struct sim_machine *machine, const char *path, char name[256])
{
    struct inode *at = machine->root;
    char next[256];
    if (!next_component(&path, name)) return NULL;
    while (next_component(&path, next)) {
        at = at && at->is_dir ? entry_get(&at->current, name) : NULL;
        strcpy(name, next);
    }
    return at && at->is_dir ? at : NULL;
}

/* --- the journal --- */

static void change_free(struct change *change)
{
    list_remove(&change->in_journal);
    inode_release(change->dir);
    if (change->to_dir) inode_release(change->to_dir);
    if (change->target) inode_release(change->target);
    free(change->name);
    free(change->to_name);
    free(change);
}

static void journal_add(struct sim_machine *machine, struct inode *dir, const char *name,
                        struct inode *to_dir, const char *to_name, struct inode *target)
{
    struct change *change = calloc(1, sizeof *change);
    assert(change);
    change->dir = inode_retain(dir);
    change->name = strdup(name);
    if (to_dir) {
        change->to_dir = inode_retain(to_dir);
        change->to_name = strdup(to_name);
    }
    if (target) change->target = inode_retain(target);
    list_push_back(&machine->journal, &change->in_journal);
    sim_note(machine->sim, machine, SIM_NAME, (int64_t)dir->number, target ? (int64_t)target->number : -1);
}

/* To the platter. */
static void commit(struct change *change)
{
    if (!change->to_dir) {
        if (change->target) {
            entry_set(&change->dir->durable, change->name, change->target);
        } else {
            entry_remove(&change->dir->durable, change->name);
        }
    } else {
        entry_set(&change->to_dir->durable, change->to_name, change->target);
        bool is_itself = change->dir == change->to_dir && strcmp(change->name, change->to_name) == 0;
        if (!is_itself) entry_remove(&change->dir->durable, change->name);
    }
    change_free(change);
}

bool disk_changes(struct disk *disk)
{
    struct sim_machine *machine = disk->machine;
    if (machine->crash_countdown > 0 && --machine->crash_countdown == 0) sim_machine_crash(machine);
    return disk->is_dead;
}

enum error disk_sync_dir(struct disk *disk, const char *path)
{
    if (disk->is_dead) return ERR_IO;
    struct sim_machine *machine = disk->machine;
    struct inode *dir = disk_find(machine, path);
    if (!dir) return ERR_NOT_FOUND;
    if (!dir->is_dir) return ERR_IO;
    machine->sim->charge_us += sim_between(machine->sim, 100, 2000);
    if (disk_changes(disk)) return ERR_IO;
    if (machine->fail_count > 0) {
        machine->fail_count--;
        return ERR_IO;
    }
    sim_note(machine->sim, machine, SIM_SYNC, (int64_t)dir->number, -2);
    /* Backwards: what is needed of other directories because a rename ties them to this one. */
    LIST_EACH(&machine->inodes, item) CONTAINER_OF(item, struct inode, in_machine)->is_marked = false;
    dir->is_marked = true;
    struct list needed;
    list_init(&needed);
    for (struct list *item = machine->journal.prev, *before; item != &machine->journal; item = before) {
        before = item->prev;
        struct change *change = CONTAINER_OF(item, struct change, in_journal);
        if (!change->dir->is_marked && !(change->to_dir && change->to_dir->is_marked)) continue;
        change->dir->is_marked = true;
        if (change->to_dir) change->to_dir->is_marked = true;
        list_remove(item);
        list_push_front(&needed, item);
    }
    while (!list_empty(&needed)) commit(CONTAINER_OF(needed.next, struct change, in_journal));
    return OK;
}

/* --- life and death --- */

enum error disk_of_machine(struct sim_machine *machine)
{
    struct disk *disk = calloc(1, sizeof *disk);
    if (!disk) return ERR_NOMEM;
    if (!machine->root) {
        machine->root = inode_new(machine, true);
        if (!machine->root) {
            free(disk);
            return ERR_NOMEM;
        }
        machine->root->references = 1;
    }
    disk->machine = machine;
    list_init(&disk->files);
    list_init(&disk->locks);
    list_push_back(&machine->disks, &disk->in_machine);
    machine->disk = disk;
    return OK;
}

static void choose_names(struct sim_machine *machine)
{
    struct sim *sim = machine->sim;
    static const unsigned moods[] = {1, 2, 8,
                                     1000000}; /* one in so many changes is where a directory's prefix ends */
    unsigned mood = moods[sim_between(sim, 0, 3)];
    LIST_EACH(&machine->inodes, item)
    CONTAINER_OF(item, struct inode, in_machine)->is_marked = false; /* = ended */
    while (!list_empty(&machine->journal)) {
        struct change *change = CONTAINER_OF(machine->journal.next, struct change, in_journal);
        bool has_ended = change->dir->is_marked || (change->to_dir && change->to_dir->is_marked);
        if (has_ended || sim_chance(sim, mood)) {
            change->dir->is_marked = true;
            if (change->to_dir) change->to_dir->is_marked = true;
            change_free(change);
        } else {
            commit(change);
        }
    }
    /* What the platter has is what there is. All are held meanwhile, for dropping one may drop others. */
    size_t count = 0, capacity = 0;
    struct inode **held = NULL;
    LIST_EACH(&machine->inodes, item)
    {
        bool has_room = VEC_RESERVE(held, count, capacity);
        assert(has_room);
        held[count++] = inode_retain(CONTAINER_OF(item, struct inode, in_machine));
    }
    for (size_t i = 0; i < count; i++) {
        entries_free(&held[i]->current);
        for (size_t k = 0; k < held[i]->durable.count; k++) {
            entry_set(&held[i]->current, held[i]->durable.items[k].name, held[i]->durable.items[k].inode);
        }
    }
    for (size_t i = 0; i < count; i++) inode_release(held[i]);
    free(held);
}

void disk_die(struct sim_machine *machine, bool is_power_lost)
{
    machine->disk->is_dead = true;
    if (is_power_lost) {
        choose_names(machine);
        LIST_EACH(&machine->inodes, item)
        {
            struct inode *inode = CONTAINER_OF(item, struct inode, in_machine);
            if (!inode->is_dir) inode_crash(inode);
        }
    }
    enum error err = disk_of_machine(machine);
    assert(err == OK);
}

/* The disk of a simulated node is its machine's. */
struct disk *disk_new(struct descriptors *descriptors)
{
    (void)descriptors;
    return NULL;
}

void disk_free(struct disk *disk)
{
    (void)disk;
}

struct disk_lock {
    struct list in_disk;
    struct disk *disk;
    char *path;
};

void disk_world_free(struct sim_machine *machine)
{
    LIST_EACH(&machine->disks, item)
    {
        struct disk *disk = CONTAINER_OF(item, struct disk, in_machine);
        LIST_EACH(&disk->files, of_file)
        {
            struct file *file = CONTAINER_OF(of_file, struct file, in_disk);
            file->references = 1;
            file_release(&file);
        }
        LIST_EACH(&disk->locks, of_lock)
        {
            struct disk_lock *lock = CONTAINER_OF(of_lock, struct disk_lock, in_disk);
            disk_unlock(&lock);
        }
        free(disk);
    }
    while (!list_empty(&machine->journal))
        change_free(CONTAINER_OF(machine->journal.next, struct change, in_journal));
    if (machine->root) inode_release(machine->root);
    while (!list_empty(&machine->inodes)) { /* directories that contain each other */
        struct inode *inode = CONTAINER_OF(machine->inodes.next, struct inode, in_machine);
        inode->references = 1;
        inode_release(inode);
    }
}

/* --- names --- */

enum error disk_create(struct disk *disk, const char *path, struct inode **result)
{
    struct sim_machine *machine = disk->machine;
    char name[256];
    struct inode *parent = find_parent(machine, path, name);
    if (!parent) return ERR_NOT_FOUND;
    if (machine->is_full) return ERR_DISK_FULL;
    struct inode *inode = inode_new(machine, false);
    if (!inode) return ERR_NOMEM;
    entry_set(&parent->current, name, inode);
    journal_add(machine, parent, name, NULL, NULL, inode);
    if (disk_changes(disk)) return ERR_IO;
    *result = inode;
    return OK;
}

enum error disk_mkdir(struct disk *disk, const char *path)
{
    if (disk->is_dead) return ERR_IO;
    struct sim_machine *machine = disk->machine;
    struct inode *at = machine->root;
    char name[256];
    while (next_component(&path, name)) {
        struct inode *next = entry_get(&at->current, name);
        if (next && !next->is_dir) return ERR_EXISTS;
        if (!next) {
            if (machine->is_full) return ERR_DISK_FULL;
            next = inode_new(machine, true);
            if (!next) return ERR_NOMEM;
            entry_set(&at->current, name, next);
            journal_add(machine, at, name, NULL, NULL, next);
            if (disk_changes(disk)) return ERR_IO;
        }
        at = next;
    }
    return OK;
}

static bool is_below(const struct inode *dir, const struct inode *inode)
{
    if (dir == inode) return true;
    for (size_t i = 0; i < dir->current.count; i++) {
        const struct inode *child = dir->current.items[i].inode;
        if (child->is_dir && is_below(child, inode)) return true;
    }
    return false;
}

enum error disk_rename(struct disk *disk, const char *from, const char *to)
{
    if (disk->is_dead) return ERR_IO;
    struct sim_machine *machine = disk->machine;
    char name[256], to_name[256];
    struct inode *parent = find_parent(machine, from, name), *to_parent = find_parent(machine, to, to_name);
    struct inode *moved = parent ? entry_get(&parent->current, name) : NULL;
    if (!moved || !to_parent) return ERR_NOT_FOUND;
    struct inode *replaced = entry_get(&to_parent->current, to_name);
    if (replaced == moved) return OK;
    if (replaced && (replaced->is_dir != moved->is_dir || replaced->current.count > 0)) return ERR_IO;
    if (moved->is_dir && is_below(moved, to_parent)) return ERR_IO;
    inode_retain(moved);
    entry_remove(&parent->current, name);
    entry_set(&to_parent->current, to_name, moved);
    journal_add(machine, parent, name, to_parent, to_name, moved);
    inode_release(moved);
    return disk_changes(disk) ? ERR_IO : OK;
}

static enum error remove_name(struct disk *disk, const char *path, bool is_dir)
{
    if (disk->is_dead) return ERR_IO;
    char name[256];
    struct inode *parent = find_parent(disk->machine, path, name);
    struct inode *inode = parent ? entry_get(&parent->current, name) : NULL;
    if (!inode) return ERR_NOT_FOUND;
    if (inode->is_dir != is_dir || inode->current.count > 0) return ERR_IO;
    entry_remove(&parent->current, name);
    journal_add(disk->machine, parent, name, NULL, NULL, NULL);
    return disk_changes(disk) ? ERR_IO : OK;
}

enum error disk_unlink(struct disk *disk, const char *path)
{
    return remove_name(disk, path, false);
}

enum error disk_rmdir(struct disk *disk, const char *path)
{
    return remove_name(disk, path, true);
}

static enum error remove_tree(struct disk *disk, const char *path, int depth)
{
    if (disk->is_dead) return ERR_IO;
    struct inode *inode = disk_find(disk->machine, path);
    if (!inode) return ERR_NOT_FOUND;
    if (!inode->is_dir) return disk_unlink(disk, path);
    if (depth == 0) return ERR_LIMIT;
    enum error err = OK;
    while (inode->current.count > 0 && err == OK) {
        char *child;
        if (asprintf(&child, "%s/%s", path, inode->current.items[0].name) < 0) return ERR_NOMEM;
        err = remove_tree(disk, child, depth - 1);
        free(child);
    }
    return err == OK ? disk_rmdir(disk, path) : err;
}

enum error disk_remove_tree(struct disk *disk, const char *path)
{
    return remove_tree(disk, path, MAX_TREE_DEPTH);
}

bool disk_exists(struct disk *disk, const char *path)
{
    return !disk->is_dead && disk_find(disk->machine, path);
}

enum error disk_list(struct disk *disk, const char *path, struct disk_entry **result, size_t *count)
{
    if (disk->is_dead) return ERR_IO;
    struct inode *dir = disk_find(disk->machine, path);
    if (!dir) return ERR_NOT_FOUND;
    if (!dir->is_dir) return ERR_IO;
    struct disk_entry *entries = calloc(dir->current.count + 1, sizeof *entries);
    if (!entries) return ERR_NOMEM;
    for (size_t i = 0; i < dir->current.count; i++) {
        const struct dir_entry *entry = &dir->current.items[i];
        entries[i] = (struct disk_entry){strdup(entry->name), entry->inode->is_dir, entry->inode->size};
        assert(entries[i].name);
    }
    *result = entries;
    *count = dir->current.count;
    return OK;
}

/* --- locks and space --- */

enum error disk_lock(struct disk *disk, const char *path, struct disk_lock **result)
{
    if (disk->is_dead) return ERR_IO;
    LIST_EACH(&disk->locks, item)
    {
        if (strcmp(CONTAINER_OF(item, struct disk_lock, in_disk)->path, path) == 0) return ERR_BUSY;
    }
    struct inode *inode = disk_find(disk->machine, path);
    if (inode && inode->is_dir) return ERR_IO;
    enum error err = inode ? OK : disk_create(disk, path, &inode);
    if (err != OK) return err;
    struct disk_lock *lock = calloc(1, sizeof *lock);
    if (!lock || !(lock->path = strdup(path))) {
        free(lock);
        return ERR_NOMEM;
    }
    lock->disk = disk;
    list_push_back(&disk->locks, &lock->in_disk);
    *result = lock;
    return OK;
}

void disk_unlock(struct disk_lock **lock)
{
    struct disk_lock *held = *lock;
    *lock = NULL;
    if (!held) return;
    list_remove(&held->in_disk);
    free(held->path);
    free(held);
}

enum error disk_boot_id(struct disk *disk, char id[DISK_BOOT_ID_SIZE])
{
    if (disk->is_dead) return ERR_IO;
    snprintf(id, DISK_BOOT_ID_SIZE, "simulated-boot-%d", disk->machine->power_losses);
    return OK;
}

enum error disk_space(struct disk *disk, const char *path, int64_t *free_bytes, int64_t *total_bytes)
{
    if (disk->is_dead) return ERR_IO;
    if (!disk_find(disk->machine, path)) return ERR_NOT_FOUND;
    *free_bytes = disk->machine->is_full ? 0 : DISK_BYTES - disk->machine->used_bytes;
    *total_bytes = DISK_BYTES;
    return OK;
}
