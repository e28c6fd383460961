/* convert.c: files of the other kind become ours: an operator makes a member of several out of a keeper that stood alone, or the
 * other way round. On the recovery's worker, under its lock:
 *
 *     read       newest snapshot and log, into the machine
 *     publish    one snapshot of our kind, by a rename: from here on the files are ours
 *     remove     the log and older snapshots; where a crash came in between, the next start does it
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "quorum/alone.h"
#include "quorum/files.h"
#include "quorum/inside.h"
#include "quorum/offline.h"

struct lists {
    uint64_t *snapshots, *logs;
    size_t snapshot_count, log_count;
};

static enum error lists_read(const struct quorum *quorum, struct lists *lists)
{
    *lists = (struct lists){0};
    enum error err = quorum_files_list(quorum->disk, quorum->dir, quorum->prefix, "snapshot",
                                       &lists->snapshots, &lists->snapshot_count);
    if (err == OK)
        err = quorum_files_list(quorum->disk, quorum->log_dir, quorum->prefix, "log", &lists->logs,
                                &lists->log_count);
    if (err != OK) diag_error("cannot read the keeper's directory \"%s\": %s", quorum->dir, error_text(err));
    return err;
}

static void lists_free(struct lists *lists)
{
    free(lists->snapshots);
    free(lists->logs);
}

/* 0: it has no header, or none that can be used, which recovery says by name. */
static uint32_t format_of(const struct quorum *quorum, const char *dir, const char *kind, uint64_t index)
{
    char path[QUORUM_PATH_SIZE];
    struct quorum_header header = {0};
    if (!quorum_path(path, dir, quorum->prefix, kind, index)) return 0;
    return quorum_header_read(quorum->disk, path, &header) == OK ? header.format : 0;
}

enum error quorum_finish_install(struct quorum *quorum)
{
    uint64_t *indexes;
    size_t count;
    enum error err =
        quorum_files_list(quorum->disk, quorum->dir, quorum->prefix, "install", &indexes, &count);
    if (err != OK || count == 0) {
        if (err == OK) free(indexes);
        return err;
    }
    char from[QUORUM_PATH_SIZE], to[QUORUM_PATH_SIZE];
    uint64_t index = indexes[count - 1];
    free(indexes);
    err = quorum_cut(quorum, 0);
    if (err == OK && (!quorum_path(from, quorum->dir, quorum->prefix, "install", index) ||
                      !quorum_path(to, quorum->dir, quorum->prefix, "snapshot", index)))
        err = ERR_TOO_LARGE;
    if (err == OK) err = disk_rename(quorum->disk, from, to);
    if (err == OK) err = disk_sync_dir(quorum->disk, quorum->dir);
    if (err != OK)
        diag_error("could not install the snapshot at entry %llu: %s", (unsigned long long)index,
                   error_text(err));
    return err;
}

enum error quorum_is_other_kind(struct quorum *quorum, bool *is_other)
{
    struct lists lists;
    *is_other = false;
    enum error err = lists_read(quorum, &lists);
    if (err == OK) {
        uint32_t ours = quorum_format(quorum);
        uint32_t snapshot = lists.snapshot_count > 0 ? format_of(quorum, quorum->dir, "snapshot",
                                                                 lists.snapshots[lists.snapshot_count - 1])
                                                     : 0;
        uint32_t log = lists.log_count > 0 ? format_of(quorum, quorum->log_dir, "log", lists.logs[0]) : 0;
        if (snapshot == ours && log && log != ours) {
            err = quorum_cut(quorum, 0); /* a crash came before it was removed */
        } else {
            uint32_t format = snapshot ? snapshot : log;
            *is_other = format && format != ours;
        }
    }
    lists_free(&lists);
    return err;
}

/* --- read --- */

struct reading {
    struct quorum *quorum;
    uint64_t index, term;
};

static enum error on_restore(void *context, struct slice chunk)
{
    const struct quorum *quorum = ((struct reading *)context)->quorum;
    return quorum->machine.restore(quorum->context, chunk);
}

static enum error on_restored(void *context, uint64_t index)
{
    struct reading *reading = context;
    reading->index = index;
    return reading->quorum->machine.restored(reading->quorum->context, index);
}

static enum error on_apply(void *context, uint64_t index, uint64_t term, struct slice entry)
{
    struct reading *reading = context;
    reading->index = index;
    if (term > reading->term) reading->term = term;
    return reading->quorum->machine.apply(reading->quorum->context, index, term, entry);
}

/* --- publish, remove --- */

static void on_chunk(void *context, struct slice chunk)
{
    quorum_offline_write(context, chunk);
}

static enum error publish(struct quorum *quorum, const struct reading *read, struct slice members)
{
    struct quorum_offline *offline;
    enum error err = quorum_offline_replace(quorum->disk, quorum->dir, quorum->prefix, read->index,
                                            read->term, members, &offline);
    if (err != OK) return err;
    return quorum_offline_end(&offline, quorum->machine.save(quorum->context, on_chunk, offline));
}

static enum error remove_snapshots(struct quorum *quorum, const struct lists *lists, uint64_t kept)
{
    enum error err = OK;
    for (size_t i = 0; i < lists->snapshot_count && err == OK; i++) {
        char path[QUORUM_PATH_SIZE];
        if (lists->snapshots[i] == kept) continue;
        err = quorum_path(path, quorum->dir, quorum->prefix, "snapshot", lists->snapshots[i])
                  ? disk_unlink(quorum->disk, path)
                  : ERR_TOO_LARGE;
    }
    return err == OK ? disk_sync_dir(quorum->disk, quorum->dir) : err;
}

enum error quorum_convert(struct quorum *quorum, uint64_t least_index, struct slice members)
{
    static const struct quorum_machine machine = {on_restore, on_restored, on_apply};
    struct reading read = {.quorum = quorum, .term = 1};
    struct lists lists;
    enum error err = lists_read(quorum, &lists);
    if (err == OK && lists.snapshot_count > 0) {
        char path[QUORUM_PATH_SIZE];
        struct quorum_header header = {0};
        if (!quorum_path(path, quorum->dir, quorum->prefix, "snapshot",
                         lists.snapshots[lists.snapshot_count - 1]))
            err = ERR_TOO_LARGE;
        if (err == OK) err = quorum_header_read(quorum->disk, path, &header);
        if (err == OK) read.term = header.second;
    }
    if (err == OK)
        err = quorum_offline_read(quorum->disk, quorum->dir, quorum->prefix, false, UINT64_MAX, &machine,
                                  &read);
    bool is_empty = read.index == 0; /* a log was begun, and nothing ever came of it */
    if (read.index < least_index) read.index = least_index;
    if (err == OK && !is_empty) {
        err = publish(quorum, &read, members);
        if (err != OK) diag_error("could not write a snapshot in \"%s\": %s", quorum->dir, error_text(err));
    }
    if (err == OK) err = quorum_cut(quorum, 0);
    if (err == OK) err = remove_snapshots(quorum, &lists, read.index);
    lists_free(&lists);
    return err;
}

enum error quorum_stand_alone(struct quorum *quorum)
{
    bool is_other;
    enum error err = quorum_is_other_kind(quorum, &is_other);
    if (err != OK || !is_other || !quorum->machine.save) return err;
    char path[QUORUM_PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/%svote", quorum->dir, quorum->prefix) >= (int)sizeof path)
        return ERR_TOO_LARGE;
    if (disk_exists(quorum->disk, path) && quorum->leaves_silent) {
        if (!alone_is_sure(quorum)) return alone_read(quorum);
    } else if (disk_exists(quorum->disk, path)) {
        diag_error(
            "what is in \"%s\" belongs to a member of an ensemble: are server lines missing? To let it "
            "stand alone with what it has, while the others stay away for good, remove \"%s\"",
            quorum->dir, path);
        return ERR_CONFIG;
    }
    err = quorum_finish_install(quorum);
    if (err == OK) err = quorum_convert(quorum, 1, SLICE_NULL);
    if (err != OK) return err;
    if (alone_is_sure(quorum)) {
        alone_tell(quorum);
    } else {
        diag_warn("what is in \"%s\" belonged to a member of an ensemble, and stands alone from now on",
                  quorum->dir);
    }
    return OK;
}
