/* sim_file.c: the simulated disk's files: reading, writing, syncing, and what a crash leaves of them. */
#include "loop/sim_disk_inside.h"

#include "base/vec.h"

/* --- pages --- */

static size_t find_undo(const struct inode *inode, int64_t page)
{
    size_t low = 0, high = inode->undo_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (inode->undos[middle]->page < page) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void drop_undo(struct inode *inode, size_t at)
{
    free(inode->undos[at]);
    memmove(&inode->undos[at], &inode->undos[at + 1], (inode->undo_count - at - 1) * sizeof *inode->undos);
    inode->undo_count--;
}

/* The page is about to change: keeps what is there, unless an older copy is kept already. */
static void save_page(struct inode *inode, int64_t page)
{
    size_t at = find_undo(inode, page);
    if (at < inode->undo_count && inode->undos[at]->page == page) {
        inode->undos[at]->is_lost = false; /* dirty again: the next sync writes all of it */
        return;
    }
    int64_t start = page * PAGE_BYTES;
    bool is_zero = start >= inode->size;
    struct undo *undo = malloc(sizeof *undo + (is_zero ? 0 : PAGE_BYTES));
    bool has_room = undo && VEC_RESERVE(inode->undos, inode->undo_count, inode->undo_capacity);
    assert(has_room);
    *undo = (struct undo){.page = page, .is_zero = is_zero};
    if (!is_zero) {
        int64_t there = inode->size - start < PAGE_BYTES ? inode->size - start : PAGE_BYTES;
        memcpy(undo->old, inode->data + start, (size_t)there);
        memset(undo->old + there, 0, (size_t)(PAGE_BYTES - there));
    }
    memmove(&inode->undos[at + 1], &inode->undos[at], (inode->undo_count - at) * sizeof *inode->undos);
    inode->undos[at] = undo;
    inode->undo_count++;
}

static void save_range(struct inode *inode, int64_t start, int64_t stop)
{
    for (int64_t page = start / PAGE_BYTES; page * PAGE_BYTES < stop; page++) save_page(inode, page);
}

void inode_forget_undos(struct inode *inode)
{
    for (size_t i = 0; i < inode->undo_count; i++) free(inode->undos[i]);
    free(inode->undos);
    inode->undos = NULL;
    inode->undo_count = inode->undo_capacity = 0;
}

/* Changes the current size; new bytes are zero. */
enum error inode_resize(struct inode *inode, int64_t size)
{
    if ((uint64_t)size > inode->capacity) {
        size_t wanted = (size_t)size + (size_t)size / 2 + PAGE_BYTES;
        if (size > 2 * inode->size + (1 << 20))
            wanted = (size_t)size;          /* allocated in one go: no room beyond it */
        uint8_t *moved = calloc(1, wanted); /* large ones cost nothing until touched */
        if (!moved) return ERR_NOMEM;
        if (inode->size > 0) memcpy(moved, inode->data, (size_t)inode->size);
        free(inode->data);
        inode->data = moved;
        inode->capacity = wanted;
    }
    if (size < inode->size) memset(inode->data + size, 0, (size_t)(inode->size - size));
    inode->machine->used_bytes += size - inode->size;
    inode->size = size;
    return OK;
}

/* --- a crash --- */

/* Puts the platter's version of a page back: all of it, or each sector by chance. */
static void lose_page(struct inode *inode, const struct undo *undo, bool is_torn)
{
    static const uint8_t zeros[SECTOR_BYTES];
    struct sim *sim = inode->machine->sim;
    int64_t start = undo->page * PAGE_BYTES;
    for (int sector = 0; sector < PAGE_BYTES / SECTOR_BYTES; sector++) {
        int64_t at = start + sector * SECTOR_BYTES;
        if (is_torn && sim_chance(sim, 2)) continue;
        if (at >= inode->size) break;
        int64_t there = inode->size - at < SECTOR_BYTES ? inode->size - at : SECTOR_BYTES;
        memcpy(inode->data + at, undo->is_zero ? zeros : undo->old + sector * SECTOR_BYTES, (size_t)there);
    }
}

void inode_crash(struct inode *inode)
{
    struct sim *sim = inode->machine->sim;
    int64_t durable = inode->durable_size, lowest = inode->lowest_size, written = inode->size;
    if (inode->undo_count == 0 && written == durable && lowest >= durable) return;

    bool was_cut = lowest < durable;
    bool keeps_cut = was_cut && sim_chance(sim, 2);
    int64_t base = !was_cut || keeps_cut ? (lowest < durable ? lowest : durable) : durable;
    int64_t size = base;
    if ((!was_cut || keeps_cut) && written > base) {
        /* Data of an append may arrive before the size does, or after it: then there are zeros. */
        switch (sim_between(sim, 0, 3)) {
        case 0: break;
        case 1: size = sim_between(sim, base, written); break;
        default: size = written;
        }
    }
    int64_t larger = size > written ? size : written;
    enum error err = inode_resize(inode, larger);
    assert(err == OK);

    for (size_t i = 0; i < inode->undo_count && keeps_cut;
         i++) { /* a cut that was made also cut the old versions */
        struct undo *undo = inode->undos[i];
        int64_t start = undo->page * PAGE_BYTES, kept = lowest > start ? lowest - start : 0;
        if (!undo->is_zero && kept < PAGE_BYTES) memset(undo->old + kept, 0, (size_t)(PAGE_BYTES - kept));
    }

    int mood =
        (int)sim_between(sim, 0, 3); /* of this crash for this file: lose all, keep all, or page by page */
    for (size_t i = 0; i < inode->undo_count; i++) {
        const struct undo *undo = inode->undos[i];
        /* Pages beyond a cut that was not made are as they were. */
        bool is_before_cut = was_cut && !keeps_cut && undo->page * PAGE_BYTES >= lowest;
        bool is_lost = is_before_cut || undo->is_lost || mood == 0 || (mood >= 2 && sim_chance(sim, 2));
        bool is_torn = !is_before_cut && !undo->is_lost && mood >= 2 && sim_chance(sim, 4);
        if (is_torn || is_lost) lose_page(inode, undo, is_torn);
    }
    err = inode_resize(inode, size);
    assert(err == OK);
    inode_forget_undos(inode);
    inode->durable_size = inode->lowest_size = size;
}

/* --- opening --- */

enum error file_open(struct disk *disk, const char *path, int flags, struct file **result)
{
    if (disk->is_dead) return ERR_IO;
    bool can_write = flags & FILE_WRITE;
    struct inode *inode = disk_find(disk->machine, path);
    enum error err = OK;
    if (inode && inode->is_dir) return ERR_IO;
    if (inode && can_write && flags & FILE_CREATE && flags & FILE_EXCLUSIVE) return ERR_EXISTS;
    if (!inode && can_write && flags & FILE_CREATE) {
        err = disk_create(disk, path, &inode);
        if (err != OK) return err;
    }
    if (!inode && !(flags & FILE_LAZY)) return ERR_NOT_FOUND;

    struct file *file = calloc(1, sizeof *file);
    if (!file || !(file->path = strdup(path))) {
        free(file);
        return ERR_NOMEM;
    }
    file->disk = disk;
    file->inode = inode ? inode_retain(inode) : NULL;
    file->references = 1;
    file->can_write = can_write;
    list_push_back(&disk->files, &file->in_disk);
    if (can_write && flags & FILE_TRUNCATE && inode->size > 0) err = file_truncate(file, 0);
    if (err != OK) {
        file_release(&file);
        return err;
    }
    *result = file;
    return OK;
}

struct file *file_retain(struct file *file)
{
    file->references++;
    return file;
}

void file_release(struct file **released)
{
    struct file *file = *released;
    *released = NULL;
    if (!file || --file->references > 0) return;
    if (file->inode) inode_release(file->inode);
    list_remove(&file->in_disk);
    free(file->path);
    free(file);
}

void file_renamed(struct file *file, const char *new_path)
{
    char *path = strdup(new_path);
    assert(path);
    free(file->path);
    file->path = path;
}

const char *file_path(const struct file *file)
{
    return file->path;
}

static enum error inode_of(struct file *file, struct inode **inode)
{
    if (file->disk->is_dead) return ERR_IO;
    if (!file->inode) {
        struct inode *found = disk_find(file->disk->machine, file->path);
        if (!found) return ERR_NOT_FOUND;
        if (found->is_dir) return ERR_IO;
        file->inode = inode_retain(found);
    }
    *inode = file->inode;
    return OK;
}

/* --- reading --- */

enum error file_pread(struct file *file, void *into, size_t size, int64_t position, size_t *got)
{
    assert(position >= 0);
    struct inode *inode;
    enum error err = inode_of(file, &inode);
    if (err != OK) return err;
    int64_t there = inode->size > position ? inode->size - position : 0;
    if ((uint64_t)there > size) there = (int64_t)size;
    if (there > 0) memcpy(into, inode->data + position, (size_t)there);
    *got = (size_t)there;
    return OK;
}

enum error file_pread_cached(struct file *file, void *into, size_t size, int64_t position, size_t *got)
{
    if (!file->disk->is_dead && sim_chance(file->disk->machine->sim, 16)) return ERR_AGAIN;
    return file_pread(file, into, size, position, got);
}

bool file_is_cached(struct file *file, int64_t position, size_t size)
{
    (void)position;
    (void)size;
    return file->disk->is_dead || !sim_chance(file->disk->machine->sim, 16);
}

/* --- writing --- */

static enum error inode_to_write(struct file *file, struct inode **inode)
{
    enum error err = inode_of(file, inode);
    if (err == OK && !file->can_write) err = ERR_IO;
    return err;
}

/* Now and then the kernel writes a page back by itself. */
static void write_back_some(struct inode *inode)
{
    struct sim *sim = inode->machine->sim;
    if (inode->undo_count == 0 || !sim_chance(sim, 16)) return;
    size_t at = (size_t)sim_between(sim, 0, (int64_t)inode->undo_count - 1);
    bool is_within = (inode->undos[at]->page + 1) * PAGE_BYTES <= inode->durable_size;
    if (is_within && inode->lowest_size >= inode->durable_size && !inode->undos[at]->is_lost)
        drop_undo(inode, at);
}

enum error file_pwrite(struct file *file, const void *data, size_t size, int64_t position)
{
    struct iovec part = {(void *)data, size};
    return file_pwritev(file, &part, 1, position);
}

enum error file_pwritev(struct file *file, const struct iovec *parts, int count, int64_t position)
{
    assert(position >= 0);
    struct inode *inode;
    enum error err = inode_to_write(file, &inode);
    if (err != OK) return err;
    struct sim_machine *machine = inode->machine;
    struct sim *sim = machine->sim;
    size_t total = 0;
    for (int i = 0; i < count; i++) total += parts[i].iov_len;
    if (total == 0) return OK;
    if (position > INT64_MAX / 4 || total > (size_t)1 << 40) return ERR_TOO_LARGE;

    size_t allowed = total;
    if (machine->is_full && position + (int64_t)total > inode->size) { /* what is there may be overwritten */
        int64_t room = inode->size - position;
        allowed = room > 0 ? (size_t)room : 0;
        if (total > allowed) allowed += (size_t)sim_between(sim, 0, (int64_t)(total - allowed)) / 2;
        err = ERR_DISK_FULL;
    }
    sim_note(sim, machine, SIM_WRITE, (int64_t)inode->number, position + (int64_t)allowed);
    if (allowed > 0) {
        int64_t stop = position + (int64_t)allowed;
        save_range(inode, position, stop);
        if (stop > inode->size) {
            enum error grown = inode_resize(inode, stop);
            if (grown != OK) return grown;
        }
        size_t done = 0;
        for (int i = 0; i < count && done < allowed; i++) {
            size_t part = parts[i].iov_len < allowed - done ? parts[i].iov_len : allowed - done;
            if (part > 0) memcpy(inode->data + position + done, parts[i].iov_base, part);
            done += part;
        }
        inode->mtime_ms = sim_wall_ms(machine);
    }
    sim->charge_us += 2;
    write_back_some(inode);
    if (disk_changes(file->disk)) return ERR_IO;
    return err;
}

enum error file_truncate(struct file *file, int64_t size)
{
    assert(size >= 0);
    struct inode *inode;
    enum error err = inode_to_write(file, &inode);
    if (err != OK) return err;
    if (size > inode->size && inode->machine->is_full) return ERR_DISK_FULL;
    sim_note(inode->machine->sim, inode->machine, SIM_WRITE, (int64_t)inode->number, -size - 1);
    if (size < inode->size) {
        /* If the cut is lost, what the platter has beyond it is there again. */
        save_range(inode, size, inode->size < inode->durable_size ? inode->size : inode->durable_size);
        if (size < inode->lowest_size) inode->lowest_size = size;
    }
    err = inode_resize(inode, size);
    if (err != OK) return err;
    inode->mtime_ms = sim_wall_ms(inode->machine);
    return disk_changes(file->disk) ? ERR_IO : OK;
}

enum error file_allocate(struct file *file, int64_t size)
{
    struct inode *inode;
    enum error err = inode_to_write(file, &inode);
    if (err != OK) return err;
    return size > inode->size ? file_truncate(file, size) : OK;
}

enum error file_reserve(struct file *file, int64_t position, int64_t size)
{
    (void)file, (void)position, (void)size;
    return ERR_UNSUPPORTED;
}

enum error file_sync(struct file *file)
{
    struct inode *inode;
    enum error err = inode_of(file, &inode);
    if (err != OK) return err;
    struct sim_machine *machine = inode->machine;
    struct sim *sim = machine->sim;
    sim->charge_us += sim_between(sim, 100, 2000);
    if (machine->slow_count > 0) {
        machine->slow_count--;
        sim->charge_us += machine->slow_ms * 1000;
    }
    if (disk_changes(file->disk)) return ERR_IO; /* the power went before it was done */
    if (machine->fail_count > 0) {
        machine->fail_count--;
        sim_note(sim, machine, SIM_SYNC, (int64_t)inode->number, -1);
        for (size_t i = 0; i < inode->undo_count; i++) inode->undos[i]->is_lost = true;
        return ERR_IO;
    }
    sim_note(sim, machine, SIM_SYNC, (int64_t)inode->number, (int64_t)inode->undo_count);
    size_t kept = 0;
    for (size_t i = 0; i < inode->undo_count; i++) {
        if (inode->undos[i]->is_lost) {
            inode->undos[kept++] = inode->undos[i];
        } else {
            free(inode->undos[i]);
        }
    }
    inode->undo_count = kept;
    inode->durable_size = inode->lowest_size = inode->size;
    return OK;
}

/* --- the inode --- */

enum error file_size(struct file *file, int64_t *size)
{
    struct inode *inode;
    enum error err = inode_of(file, &inode);
    if (err == OK) *size = inode->size;
    return err;
}

enum error file_mtime_ms(struct file *file, int64_t *mtime_ms)
{
    struct inode *inode;
    enum error err = inode_of(file, &inode);
    if (err == OK) *mtime_ms = inode->mtime_ms;
    return err;
}

enum error sim_disk_rot(struct sim_machine *machine, const char *path, int64_t position, uint8_t mask)
{
    struct inode *inode = disk_find(machine, path);
    if (!inode || inode->is_dir) return ERR_NOT_FOUND;
    if (position < 0 || position >= inode->size) return ERR_EOF;
    sim_note(machine->sim, machine, SIM_FAULT, position, mask);
    inode->data[position] ^= mask;
    size_t at = find_undo(inode, position / PAGE_BYTES);
    if (at < inode->undo_count && inode->undos[at]->page == position / PAGE_BYTES &&
        !inode->undos[at]->is_zero) {
        inode->undos[at]->old[position % PAGE_BYTES] ^= mask;
    }
    return OK;
}
