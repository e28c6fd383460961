/* apache_export.c: a tree and sessions to Apache's snapshot format (drawn in apache_snapshot.c). */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "keeper/apache_inside.h"
#include "keeper/jute.h"
#include "loop/disk.h"
#include "quorum/offline.h"

enum { WRITE_BYTES = 256 << 10 };

struct writing {
    enum error (*write)(void *context, struct slice bytes);
    void *context;
    struct text bytes, path;
    uint32_t adler;
    enum error err;
};

static void flush(struct writing *writing)
{
    struct text *bytes = &writing->bytes;
    if (bytes->failed || writing->path.failed) writing->err = ERR_NOMEM;
    if (writing->err == OK && bytes->size > 0) {
        writing->adler = adler32_of(writing->adler, bytes->data, bytes->size);
        writing->err = writing->write(writing->context, text_slice(bytes));
    }
    text_reset(bytes);
}

static void seal(struct writing *writing)
{
    flush(writing); /* the sum is over all before */
    text_add_be64(&writing->bytes, writing->adler);
    jute_add_bytes(&writing->bytes, SLICE("/"));
}

static void write_header(const struct machine *machine, struct writing *writing)
{
    struct text *out = &writing->bytes;
    text_add_be32(out, APACHE_SNAPSHOT_MAGIC);
    text_add_be32(out, APACHE_FORMAT);
    text_add_be64(out, UINT64_MAX); /* dbid */
    text_add_be32(out, (uint32_t)machine->sessions.count);
    LIST_EACH(&machine->session_list, item)
    {
        const struct session *session = CONTAINER_OF(item, struct session, all);
        text_add_be64(out, (uint64_t)session->id);
        text_add_be32(out, (uint32_t)session->timeout_ms);
        if (out->size >= WRITE_BYTES) flush(writing);
    }
    const struct acl_cache *acls = &machine->tree.acls;
    uint32_t count = 0;
    for (uint32_t i = 0; i < acls->count; i++) count += i != ACL_OPEN && acls->lists[i].bytes;
    text_add_be32(out, count);
    for (uint32_t i = 0; i < acls->count; i++) {
        if (i == ACL_OPEN || !acls->lists[i].bytes) continue;
        text_add_be64(out, i);
        text_add(out, acl_bytes(acls, i));
        if (out->size >= WRITE_BYTES) flush(writing);
    }
}

static void write_znode(const struct tree *tree, const struct znode *node, struct writing *writing)
{
    struct stat_kept kept = znode_kept(tree, node);
    struct text *out = &writing->bytes;
    text_reset(&writing->path);
    if (node->parent) tree_path(tree, node, &writing->path); /* the root's path is "" here */
    jute_add_bytes(out, text_slice(&writing->path));
    jute_add_bytes(out, znode_data(tree, node));
    text_add_be64(out, kept.acl == ACL_OPEN ? (uint64_t)APACHE_ACL_OPEN : kept.acl);
    text_add_be64(out, (uint64_t)kept.czxid);
    text_add_be64(out, (uint64_t)kept.mzxid);
    text_add_be64(out, (uint64_t)kept.ctime_ms);
    text_add_be64(out, (uint64_t)kept.mtime_ms);
    text_add_be32(out, (uint32_t)kept.version);
    text_add_be32(out, (uint32_t)kept.cversion);
    text_add_be32(out, (uint32_t)kept.aversion);
    text_add_be64(out, (uint64_t)kept.owner);
    text_add_be64(out, (uint64_t)kept.pzxid);
    if (out->size >= WRITE_BYTES) flush(writing);
}

enum error apache_write(const struct machine *machine, enum error (*write)(void *context, struct slice bytes),
                        void *context)
{
    struct writing writing = {.write = write, .context = context, .adler = 1};
    write_header(machine, &writing);
    const struct tree *tree = &machine->tree;
    const struct znode *node = tree->root;
    while (node && writing.err == OK) {
        write_znode(tree, node, &writing);
        node = znode_next_below(tree, tree->root, node);
    }
    jute_add_bytes(&writing.bytes, SLICE("/"));
    seal(&writing);
    text_add_be64(&writing.bytes, (uint64_t)machine->zxid);
    text_add_be32(&writing.bytes, APACHE_DIGEST_VERSION);
    text_add_be64(&writing.bytes, machine->tree.digest);
    seal(&writing);
    text_add_be64(&writing.bytes, (uint64_t)machine->zxid);
    seal(&writing);
    flush(&writing);
    text_free(&writing.bytes);
    text_free(&writing.path);
    return writing.err;
}

/* --- from a keeper's files --- */

static enum error on_restore(void *context, struct slice chunk)
{
    return machine_restore(context, chunk);
}

static enum error on_restored(void *context, uint64_t index)
{
    return machine_restored(context);
}

static enum error on_apply(void *context, uint64_t index, uint64_t term, struct slice entry)
{
    return machine_apply(context, entry);
}

enum error apache_read_ours(struct disk *disk, const char *data_dir, bool locks, uint64_t last_index,
                            struct machine *machine)
{
    static const struct quorum_machine callbacks = {on_restore, on_restored, on_apply};
    machine_init(machine, 1);
    if (last_index == 0) return OK; /* nothing was written yet */
    return quorum_offline_read(disk, data_dir, "keeper-", locks, last_index, &callbacks, machine);
}

enum error apache_export(struct disk *disk, const char *data_dir, bool locks, uint64_t last_index,
                         enum error (*write)(void *context, struct slice bytes), void *context, int64_t *zxid)
{
    struct machine machine;
    enum error err = apache_read_ours(disk, data_dir, locks, last_index, &machine);
    if (err == OK) {
        *zxid = machine.zxid;
        err = apache_write(&machine, write, context);
    }
    machine_free(&machine);
    return err;
}

struct exporting {
    struct file *file;
    int64_t position;
};

static enum error write_file(void *context, struct slice bytes)
{
    struct exporting *exporting = context;
    enum error err = file_pwrite(exporting->file, bytes.data, bytes.size, exporting->position);
    exporting->position += (int64_t)bytes.size;
    return err;
}

static enum error write_snapshot(struct disk *disk, const char *dir, const struct machine *machine)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/snapshot.%llx", dir, (unsigned long long)machine->zxid);
    if (size >= PATH_MAX) return ERR_TOO_LARGE;
    size = snprintf(temporary, sizeof temporary, "%s/odradek-export.tmp", dir);
    if (size >= PATH_MAX) return ERR_TOO_LARGE;
    struct exporting exporting = {0};
    enum error err = file_open(disk, temporary, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &exporting.file);
    if (err == OK) err = apache_write(machine, write_file, &exporting);
    if (err == OK) err = file_sync(exporting.file);
    if (err == OK) err = disk_rename(disk, temporary, path);
    if (err == OK) file_renamed(exporting.file, path);
    if (err == OK) err = disk_sync_dir(disk, dir);
    bool is_left = err != OK && exporting.file;
    file_release(&exporting.file);
    if (err != OK) diag_error("could not write \"%s\": %s", path, error_text(err));
    if (is_left && disk_unlink(disk, temporary) != OK) diag_warn("could not remove \"%s\"", temporary);
    return err;
}

enum error apache_export_to(struct disk *disk, const char *data_dir, const char *to,
                            struct apache_report *report)
{
    *report = (struct apache_report){0};
    char dir[PATH_MAX];
    bool is_there = false, is_both = false;
    if (snprintf(dir, sizeof dir, "%s/version-2", to) >= PATH_MAX) return ERR_TOO_LARGE;
    enum error err = apache_is_there(disk, to, &is_there, &is_both);
    if (err == OK && (is_there || is_both)) {
        diag_error("\"%s\" has snapshots or logs of Apache's already", dir);
        return ERR_EXISTS;
    }
    if (err == OK) err = disk_exists(disk, dir) ? OK : disk_mkdir(disk, dir);
    if (err != OK) {
        diag_error("could not make \"%s\": %s", dir, error_text(err));
        return err;
    }
    struct machine machine;
    err = apache_read_ours(disk, data_dir, true, UINT64_MAX, &machine);
    if (err != OK) diag_error("cannot read a keeper's files in \"%s\": %s", data_dir, error_text(err));
    if (err == OK) err = write_snapshot(disk, dir, &machine);
    report->last_zxid = report->next_zxid = machine.zxid;
    report->znode_count = machine.tree.count;
    report->session_count = (int64_t)machine.sessions.count;
    machine_free(&machine);
    return err;
}
