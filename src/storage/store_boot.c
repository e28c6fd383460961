/* store_boot.c: did the machine go down since the last life, and with it what was written and not synced?
 *
 *     odradek-boot      odradek boot, version 1
 *                       6ff05ea2-3a5c-4d2c-9ad1-0c8d0a4b1a57      the kernel's boot_id, a line each
 *
 * A process that was killed lost nothing: the page cache has it. The file says in which boot this directory's broker last took its
 * place in the cluster; it is written only then, so a broker that is killed before is asked again. A clean stop synced everything,
 * whatever has happened since. What cannot be told is taken for a loss, which costs a moment at start. */
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "storage/log_store.h"
#include "storage/store_parts.h"

enum { BOOT_FILE_MAX = 4096 };

static bool boot_text(struct log_dir *dir, struct text *text)
{
    char id[DISK_BOOT_ID_SIZE];
    if (disk_boot_id(dir->disk, id) != OK) return false;
    text_addf(text, "odradek boot, version 1\n%s\n", id);
    return !text->failed;
}

enum error dir_boot_read(struct log_dir *dir, bool is_known)
{
    dir->has_lost_cache = !dir->was_clean;
    if (dir->was_clean || !is_known) return OK;
    struct text now = {0};
    struct bytes *bytes = NULL;
    char *path = path_join(dir->path, BOOT_FILE);
    enum error err = path ? disk_read_file(dir->disk, path, BOOT_FILE_MAX, &bytes) : ERR_NOMEM;
    if (err == OK && boot_text(dir, &now))
        dir->has_lost_cache = !slice_equal(bytes_slice(bytes), text_slice(&now));
    bytes_release(&bytes);
    text_free(&now);
    free(path);
    return err == ERR_NOT_FOUND || err == ERR_TOO_LARGE ? OK : err;
}

bool log_store_may_have_lost(const struct log_store *store)
{
    for (size_t i = 0; i < store->dir_count; i++)
        if (store->dirs[i].has_lost_cache) return true;
    return false;
}

void log_store_note_boot(struct log_store *store)
{
    for (size_t i = 0; i < store->dir_count; i++) {
        struct log_dir *dir = &store->dirs[i];
        struct text text = {0};
        dir->has_lost_cache = false;
        if (log_dir_is_failed(dir) || !boot_text(dir, &text)) {
            text_free(&text);
            continue;
        }
        struct file *file = NULL;
        char *path = path_join(dir->path, BOOT_FILE);
        enum error err =
            path ? file_open(dir->disk, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file) : ERR_NOMEM;
        if (err == OK) err = file_pwrite(file, text.data, text.size, 0);
        /* The next start will be more careful than it had to be. */
        if (err != OK) diag_warn("could not write \"%s/%s\": %s", dir->path, BOOT_FILE, error_text(err));
        file_release(&file);
        free(path);
        text_free(&text);
    }
}
