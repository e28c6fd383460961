/* cut.c: the log's end taken back. What a leader that was deposed, or one that died, had sent to some members only, is void; its
 * records must be off the disk before others take their place, for a crash in between must not leave the old behind the new. */
#include <assert.h>
#include <stdlib.h>

#include "base/diag.h"
#include "quorum/inside.h"

/* One file, which begins before `index`: stays open for appending. */
static enum error cut_file(struct quorum *quorum, uint64_t first, uint64_t index)
{
    char path[QUORUM_PATH_SIZE];
    if (!quorum_path(path, quorum->log_dir, quorum->prefix, "log", first)) return ERR_TOO_LARGE;
    struct quorum_scan scan = {0};
    enum error err = quorum_scan_open(quorum->disk, path, first, &scan);
    struct quorum_record record;
    for (uint64_t expected = first; expected < index && err == OK; expected++) {
        enum quorum_scan_end end = quorum_scan_next(&scan, expected, &record, &err);
        if (err == OK && end != QUORUM_SCAN_RECORD) err = ERR_CORRUPT; /* we wrote it */
    }
    if (err == OK) err = file_truncate(scan.file, scan.position);
    if (err == OK) err = file_sync(scan.file);
    if (err == OK) {
        file_release(&quorum->file);
        quorum->file = file_retain(scan.file);
        quorum->file_first = first;
        quorum->file_end = quorum->file_room = scan.position;
    }
    quorum_scan_close(&scan);
    return err;
}

enum error quorum_cut(struct quorum *quorum, uint64_t index)
{
    uint64_t *logs;
    size_t count;
    enum error err = quorum_files_list(quorum->disk, quorum->log_dir, quorum->prefix, "log", &logs, &count);
    if (err != OK) return err;
    bool has_removed = false;
    char path[QUORUM_PATH_SIZE];
    for (; count > 0 && logs[count - 1] >= index && err == OK;
         count--) { /* the newest first: what is left has no hole */
        file_release(&quorum->file);
        if (!quorum_path(path, quorum->log_dir, quorum->prefix, "log", logs[count - 1])) err = ERR_TOO_LARGE;
        if (err == OK) err = disk_unlink(quorum->disk, path);
        has_removed = true;
    }
    if (err == OK && has_removed) err = quorum_sync_names(quorum);
    if (err == OK && count > 0) err = cut_file(quorum, logs[count - 1], index);
    free(logs);
    if (err != OK)
        diag_error("could not cut the log in \"%s\" at entry %llu: %s", quorum->log_dir,
                   (unsigned long long)index, error_text(err));
    return err;
}
