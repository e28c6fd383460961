#include "storage/txn_index.h"

/* 34 bytes for each abort in at most 2 GiB of log, each marker 78 bytes. */
#define TXN_INDEX_SIZE_MAX ((size_t)1 << 30)

void txn_entry_put(uint8_t out[TXN_ENTRY_SIZE], const struct txn_entry *entry)
{
    put_be16(out, 0);
    put_be64(out + 2, (uint64_t)entry->producer_id);
    put_be64(out + 10, (uint64_t)entry->first_offset);
    put_be64(out + 18, (uint64_t)entry->last_offset);
    put_be64(out + 26, (uint64_t)entry->last_stable_offset);
}

enum error txn_entry_get(const uint8_t *at, struct txn_entry *entry)
{
    if (get_be16(at) != 0) return ERR_UNSUPPORTED;
    *entry = (struct txn_entry){
        .producer_id = (int64_t)get_be64(at + 2),
        .first_offset = (int64_t)get_be64(at + 10),
        .last_offset = (int64_t)get_be64(at + 18),
        .last_stable_offset = (int64_t)get_be64(at + 26),
    };
    return OK;
}

enum error txn_index_append(struct disk *disk, const char *path, const struct txn_entry *entry)
{
    struct file *file = NULL;
    enum error err = file_open(disk, path, FILE_WRITE | FILE_CREATE, &file);
    int64_t size = 0;
    if (err == OK) err = file_size(file, &size);
    if (err == OK) {
        uint8_t raw[TXN_ENTRY_SIZE];
        txn_entry_put(raw, entry);
        err = file_pwrite(file, raw, sizeof raw, size);
        if (err == ERR_DISK_FULL && file_truncate(file, size) != OK) err = ERR_IO;
    }
    file_release(&file);
    return err;
}

enum error txn_index_check(struct slice content, int64_t base_offset)
{
    if (content.size % TXN_ENTRY_SIZE != 0) return ERR_CORRUPT;
    int64_t before = -1;
    for (size_t at = 0; at < content.size; at += TXN_ENTRY_SIZE) {
        struct txn_entry entry;
        enum error err = txn_entry_get(content.data + at, &entry);
        if (err != OK) return err;
        if (entry.first_offset < 0 || entry.first_offset > entry.last_offset) return ERR_CORRUPT;
        if (entry.last_offset < base_offset || entry.last_offset <= before) return ERR_CORRUPT;
        before = entry.last_offset;
    }
    return OK;
}

enum error txn_index_cut(struct disk *disk, const char *path, int64_t offset)
{
    struct bytes *bytes = NULL;
    enum error err = disk_read_file(disk, path, TXN_INDEX_SIZE_MAX, &bytes);
    if (err == ERR_NOT_FOUND) return OK;
    if (err != OK) return err;
    size_t kept = 0;
    while (kept + TXN_ENTRY_SIZE <= bytes->size) {
        struct txn_entry entry;
        if (txn_entry_get(bytes->data + kept, &entry) != OK || entry.last_offset >= offset) break;
        kept += TXN_ENTRY_SIZE;
    }
    if (kept < bytes->size) {
        struct file *file = NULL;
        err = kept == 0 ? disk_unlink(disk, path) : file_open(disk, path, FILE_WRITE, &file);
        if (err == OK && file) err = file_truncate(file, (int64_t)kept);
        file_release(&file);
    }
    bytes_release(&bytes);
    return err;
}
