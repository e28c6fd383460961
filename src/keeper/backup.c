#include "keeper/backup.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "keeper/admin.h"
#include "keeper/apache.h"
#include "keeper/inside.h"
#include "keeper/report.h"
#include "loop/disk.h"

enum {
    AGAIN_MS = 100,
    AGAINS = 50
}; /* the own disk may be behind what is applied, or a file be purged meanwhile */

enum backup_state {
    BACKUP_IDLE,
    BACKUP_EXPORTING, /* a worker writes what is streamed */
    BACKUP_SAVING,    /* a snapshot that stays here */
    BACKUP_TAKING,    /* the bytes come */
    BACKUP_READING,   /* a worker reads and checks them */
    BACKUP_DRAINING,  /* clients are cut; entries on their way are waited for */
    BACKUP_REPLACING, /* a worker fills the machine */
    BACKUP_SETTLING,  /* its snapshot is being written */
};

struct backup {
    struct keeper *keeper;
    struct lane *lane;
    struct lane_job job;
    bool is_running; /* the job */
    enum backup_state state;
    void (*done)(void *context, struct backup_answer *answer);
    void *context;
    struct loop_timer again;
    int agains;
    struct file *file;
    int64_t size; /* written to it */
    char path[PATH_MAX];
    uint64_t
        index; /* of an export: as of this entry; of a restore: the entry whose snapshot it becomes, 0: not yet appended */
    int64_t zxid;
    int64_t begun_us; /* a restore */
    enum error err;
    struct apache_restored *restored;
    struct apache_report report;
    /* since when a command may be given again, and whether it was */
    int64_t limited_from_ms[2];
    bool is_spent[2];
};

static const char *const command_names[] = {"snapshot", "restore"};

bool backup_knows(struct slice name, bool *is_restore)
{
    *is_restore = slice_is(name, "restore") || slice_is(name, "rest");
    return *is_restore || slice_is(name, "snapshot") || slice_is(name, "snap");
}

/* --- answers --- */

static void say(struct backup_answer *answer, unsigned status, struct slice command, const char *error,
                const int64_t *last_zxid)
{
    *answer = (struct backup_answer){.status = status, .size = -1};
    struct report report = {.out = &answer->body};
    report_open(&report, NULL, '{');
    if (last_zxid) report_number(&report, "last_zxid", *last_zxid);
    report_text(&report, "command", command);
    if (error)
        report_text(&report, "error", slice_of(error));
    else
        report_null(&report, "error");
    report_close(&report);
}

static void finish(struct backup *backup, struct backup_answer *answer)
{
    void (*done)(void *, struct backup_answer *) = backup->done;
    backup->done = NULL;
    backup->state = BACKUP_IDLE;
    file_release(&backup->file);
    apache_restored_free(&backup->restored);
    if (done) {
        done(backup->context, answer);
    } else {
        text_free(&answer->body);
        file_release(&answer->file);
    }
}

static void finish_failed(struct backup *backup, bool is_restore, const char *what, enum error err)
{
    struct backup_answer answer;
    char error[160];
    snprintf(error, sizeof error, "%s: %s", what, error_text(err));
    diag_warn("admin command %s: %s", command_names[is_restore], error);
    backup->keeper->counts.backups_failed[is_restore]++;
    say(&answer, 500, slice_of(command_names[is_restore]), error, NULL);
    finish(backup, &answer);
}

/* --- who may --- */

/* The status that it is refused with; 0: it is not. */
static unsigned refuse_identity(const struct keeper *keeper, const struct backup_request *request,
                                const char **error)
{
    if (!request->authorization) {
        *error = "Auth info is missing for the command";
        return 401;
    }
    struct slice scheme = slice_of(request->authorization), secret = SLICE_NULL;
    const uint8_t *space = memchr(scheme.data, ' ', scheme.size);
    if (space) {
        secret = (struct slice){space + 1, (size_t)(scheme.data + scheme.size - space) - 1};
        scheme.size = (size_t)(space - scheme.data);
    }
    struct text ids = {0};
    bool is_whole = !secret.data || !memchr(secret.data, ' ', secret.size);
    if (is_whole && secret.size > 0 && slice_is(scheme, "digest"))
        auth_add_digest(keeper, secret, &ids);
    else if (is_whole && slice_is(scheme, "ip"))
        auth_add(&ids, SLICE("ip"), slice_of(request->host));
    unsigned status = 0;
    if (ids.failed || ids.size == 0) {
        *error = "Not authenticated";
        status = 401;
    }
    const struct tree *tree = &keeper->machine.tree;
    struct slice list = acl_bytes(&tree->acls, znode_acl(tree, tree->root));
    const struct auth_ids proved = {text_slice(&ids)};
    for (int perm = 1; status == 0 && perm < ACL_ALL && !keeper->config.skip_acl; perm *= 2) {
        if (acl_permits(list, perm, &proved)) continue;
        *error = "Not authorized";
        status = 403;
    }
    text_free(&ids);
    return status;
}

/* One in an interval that begins when the last one is over; snapshot's is a thousandth, for ZooKeeper reads it as microseconds there. */
static bool spend(struct backup *backup, bool is_restore)
{
    int64_t interval_ms = backup->keeper->config.admin_interval_ms / (is_restore ? 1 : 1000);
    int64_t now_ms = loop_now_ms(backup->keeper->loop);
    if (now_ms > backup->limited_from_ms[is_restore] + interval_ms) {
        backup->limited_from_ms[is_restore] = now_ms;
        backup->is_spent[is_restore] = false;
    }
    bool may = !backup->is_spent[is_restore];
    backup->is_spent[is_restore] = true;
    return may;
}

/* --- snapshot --- */

static enum error write_export(void *context, struct slice bytes)
{
    struct backup *backup = context;
    enum error err = file_pwrite(backup->file, bytes.data, bytes.size, backup->size);
    backup->size += (int64_t)bytes.size;
    return err;
}

static void export_work(struct lane_job *job)
{
    struct backup *backup = CONTAINER_OF(job, struct backup, job);
    const struct keeper *keeper = backup->keeper;
    backup->size = 0;
    backup->err = file_truncate(backup->file, 0);
    if (backup->err == OK)
        backup->err = apache_export(keeper->disk, keeper->config.data_dir, false, backup->index, write_export,
                                    backup, &backup->zxid);
}

static void job_start(struct backup *backup, void (*work)(struct lane_job *), void (*done)(struct lane_job *))
{
    backup->is_running = true;
    backup->job = (struct lane_job){.work = work, .done = done};
    lane_submit(backup->lane, backup->keeper->loop, &backup->job);
}

/* False: the keeper is closing, and may be gone now. */
static bool job_ended(struct backup *backup)
{
    backup->is_running = false;
    bool is_closing = backup->keeper->is_closing;
    if (is_closing) keeper_end(backup->keeper);
    return !is_closing;
}

static void export_done(struct lane_job *job)
{
    struct backup *backup = CONTAINER_OF(job, struct backup, job);
    if (!job_ended(backup)) return;
    bool may_be_later = backup->err == ERR_TRUNCATED || backup->err == ERR_NOT_FOUND;
    if (may_be_later && backup->agains++ < AGAINS) {
        loop_timer_start(backup->keeper->loop, &backup->again, AGAIN_MS);
        return;
    }
    if (backup->err != OK) {
        finish_failed(backup, false, "the keeper's files cannot be read", backup->err);
        return;
    }
    struct backup_answer answer = {
        .status = 200, .size = backup->size, .zxid = backup->zxid, .file = backup->file};
    backup->file = NULL;
    finish(backup, &answer);
}

static void export_again(struct loop_timer *timer)
{
    struct backup *backup = CONTAINER_OF(timer, struct backup, again);
    if (!backup->keeper->is_closing) job_start(backup, export_work, export_done);
}

static enum error file_begin(struct backup *backup)
{
    const struct keeper *keeper = backup->keeper;
    int size = snprintf(backup->path, sizeof backup->path, "%s/keeper-admin.tmp", keeper->config.data_dir);
    if (size >= (int)sizeof backup->path) return ERR_TOO_LARGE;
    backup->size = 0;
    return file_open(keeper->disk, backup->path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &backup->file);
}

static void file_forget(struct backup *backup)
{
    if (disk_unlink(backup->keeper->disk, backup->path) != OK)
        diag_warn("could not remove \"%s\"", backup->path);
}

static enum error snapshot_begin(struct backup *backup, bool streams)
{
    struct keeper *keeper = backup->keeper;
    backup->agains = 0;
    if (!streams) {
        backup->state = BACKUP_SAVING;
        backup->index = 0;
        if (keeper->is_saving || saver_begin(keeper) != OK) return OK; /* when that one is done */
        backup->index = quorum_applied_index(keeper->quorum);
        return OK;
    }
    enum error err = file_begin(backup);
    if (err != OK) return err;
    file_forget(backup); /* what is left of it is its descriptor */
    backup->state = BACKUP_EXPORTING;
    backup->index = quorum_applied_index(keeper->quorum);
    job_start(backup, export_work, export_done);
    return OK;
}

static void saved_answer(struct backup *backup)
{
    struct keeper *keeper = backup->keeper;
    char path[PATH_MAX];
    struct file *file = NULL;
    struct backup_answer answer;
    say(&answer, 200, SLICE("snapshot"), NULL, NULL);
    answer.zxid = keeper->saved_zxid;
    int size =
        snprintf(path, sizeof path, "%s/keeper-snapshot-%020" PRIu64, keeper->config.data_dir, backup->index);
    enum error err =
        size < (int)sizeof path ? file_open(keeper->disk, path, FILE_READ, &file) : ERR_TOO_LARGE;
    if (err == OK) err = file_size(file, &answer.size);
    file_release(&file);
    if (err != OK) diag_warn("cannot measure \"%s\": %s", path, error_text(err));
    finish(backup, &answer);
}

/* --- restore --- */

void backup_take(struct keeper *keeper, struct slice bytes)
{
    struct backup *backup = keeper->backup;
    if (backup->err == OK) backup->err = file_pwrite(backup->file, bytes.data, bytes.size, backup->size);
    backup->size += (int64_t)bytes.size;
}

static void read_work(struct lane_job *job)
{
    struct backup *backup = CONTAINER_OF(job, struct backup, job);
    if (backup->err == OK)
        backup->err = apache_restore_read(backup->keeper->disk, backup->path, backup->zxid, &backup->restored,
                                          &backup->report);
}

static void read_done(struct lane_job *job)
{
    struct backup *backup = CONTAINER_OF(job, struct backup, job);
    file_forget(backup);
    if (!job_ended(backup)) return;
    struct keeper *keeper = backup->keeper;
    if (backup->err != OK || keeper->has_failed) {
        finish_failed(backup, true, "the snapshot cannot be used", backup->err != OK ? backup->err : ERR_IO);
        return;
    }
    diag_info("restoring %" PRId64 " znodes and %" PRId64 " sessions of zxid 0x%" PRIx64
              ": clients are cut, and come back",
              backup->report.znode_count, backup->report.session_count, (uint64_t)backup->report.last_zxid);
    backup->state = BACKUP_DRAINING;
    backup->index = 0;
    keeper_cut_clients(keeper);
    backup_go_on(keeper);
}

void backup_end(struct keeper *keeper)
{
    struct backup *backup = keeper->backup;
    backup->state = BACKUP_READING;
    backup->zxid = keeper->machine.zxid;
    file_release(&backup->file);
    job_start(backup, read_work, read_done); /* also after an error: `done` comes later */
}

static void replace_chunk(void *context, struct slice chunk)
{
    struct backup *backup = context;
    if (backup->err == OK) backup->err = machine_restore(&backup->keeper->machine, chunk);
}

static void replace_work(struct lane_job *job)
{
    struct backup *backup = CONTAINER_OF(job, struct backup, job);
    apache_restored_write(backup->restored, replace_chunk, backup);
    if (backup->err == OK) backup->err = machine_restored(&backup->keeper->machine);
    apache_restored_free(&backup->restored);
}

static void settle(struct backup *backup)
{
    enum error err = saver_begin(backup->keeper);
    if (err == OK || err == ERR_BUSY) return; /* busy: the one before is not quite done */
    finish_failed(backup, true, "what is restored cannot be written", err);
    keeper_fail(backup->keeper, err);
}

static void replace_done(struct lane_job *job)
{
    struct backup *backup = CONTAINER_OF(job, struct backup, job);
    if (!job_ended(backup)) return;
    struct keeper *keeper = backup->keeper;
    if (backup->err != OK) {
        finish_failed(backup, true, "what was read cannot be taken", backup->err);
        keeper_fail(keeper, backup->err);
        return;
    }
    keeper->is_machine_here = keeper->machine.wants_events = true;
    backup->state = BACKUP_SETTLING;
    settle(backup);
}

void backup_go_on(struct keeper *keeper)
{
    struct backup *backup = keeper->backup;
    if (!backup || backup->state != BACKUP_DRAINING) return;
    if (keeper->has_failed) {
        finish_failed(backup, true, "the log has failed", ERR_IO);
        return;
    }
    /* An entry that says nothing, for a snapshot of the next index. */
    if (backup->index == 0 && request_submit_own(keeper, OP_SYNC, 0, SLICE_NULL) == OK)
        backup->index = quorum_last_index(keeper->quorum);
    if (backup->index == 0 || quorum_applied_index(keeper->quorum) < quorum_last_index(keeper->quorum))
        return;
    backup->state = BACKUP_REPLACING;
    saver_finish(keeper);
    keeper->is_machine_here = keeper->machine.wants_events = false;
    session_free_all(keeper);
    job_start(backup, replace_work, replace_done);
}

void backup_saved(struct keeper *keeper, enum error err)
{
    struct backup *backup = keeper->backup;
    if (!backup) return;
    if (backup->state == BACKUP_SAVING && err == OK && backup->index == 0) { /* another's; now ours */
        enum error begun = saver_begin(keeper);
        if (begun == OK)
            backup->index = quorum_applied_index(keeper->quorum);
        else
            finish_failed(backup, false, "cannot write a snapshot", begun);
    } else if (backup->state == BACKUP_SAVING && err == OK) {
        saved_answer(backup);
    } else if (backup->state == BACKUP_SAVING) {
        finish_failed(backup, false, "cannot write a snapshot", err);
    } else if (backup->state == BACKUP_SETTLING && keeper->saved_zxid != keeper->machine.zxid && err == OK) {
        settle(backup); /* that was the one before */
    } else if (backup->state == BACKUP_SETTLING && err != OK) {
        finish_failed(backup, true, "what is restored cannot be written", err);
        keeper_fail(keeper, err);
    } else if (backup->state == BACKUP_SETTLING) {
        diag_info("restored: zxids go on at 0x%" PRIx64, (uint64_t)keeper->machine.zxid);
        session_adopt_all(keeper);
        office_ready(keeper);
        summary_record(&keeper->counts.restore_us, loop_clock_us(keeper->loop) - backup->begun_us);
        struct backup_answer answer;
        say(&answer, 200, SLICE("restore"), NULL, &backup->report.last_zxid);
        finish(backup, &answer);
    }
}

static enum error restore_begin(struct backup *backup)
{
    backup->err = file_begin(backup);
    if (backup->err == OK) backup->state = BACKUP_TAKING;
    backup->begun_us = loop_clock_us(backup->keeper->loop);
    return backup->err;
}

/* --- all of it --- */

static enum error backup_new(struct keeper *keeper)
{
    struct backup *backup = calloc(1, sizeof *backup);
    if (!backup) return ERR_NOMEM;
    backup->keeper = keeper;
    backup->again.run = export_again;
    backup->limited_from_ms[0] = backup->limited_from_ms[1] = loop_now_ms(keeper->loop);
    enum error err = lane_new(keeper->loop, "keeper-backup", 1, &backup->lane);
    if (err == OK)
        keeper->backup = backup;
    else
        free(backup);
    return err;
}

bool backup_begin(struct keeper *keeper, const struct backup_request *request,
                  void (*done)(void *context, struct backup_answer *answer), void *context,
                  struct backup_answer *answer)
{
    bool is_restore = request->is_restore;
    struct slice name = slice_of(command_names[is_restore]);
    const char *error = NULL;
    if (!keeper->is_serving) {
        say(answer, 200, request->name, KEEPER_NOT_SERVING, NULL);
        return false;
    }
    unsigned status = refuse_identity(keeper, request, &error);
    if (status) {
        say(answer, status, request->name, error, NULL);
        return false;
    }
    enum error err = keeper->backup ? OK : backup_new(keeper);
    struct backup *backup = keeper->backup;
    bool is_enabled = is_restore ? keeper->config.has_admin_restore : keeper->config.has_admin_snapshot;
    if (!is_enabled) {
        status = 503;
    } else if (is_restore && keeper->office.state != OFFICE_ALONE) {
        status = 503;
        error = "restore is for a keeper that stands alone: the log of an ensemble is everybody's";
    } else if (err == OK && backup->state != BACKUP_IDLE) {
        status = 503;
        error = "another snapshot or restore is under way";
    } else if (err == OK && !spend(backup, is_restore)) {
        status = 429;
        keeper->counts.backups_limited[is_restore]++;
    } else {
        if (err == OK) err = is_restore ? restore_begin(backup) : snapshot_begin(backup, request->streams);
        if (err != OK) error = error_text(err);
        if (err != OK) status = 500;
        keeper->counts.backups_failed[is_restore] += err != OK;
    }
    if (status) {
        say(answer, status, name, error, NULL);
        return false;
    }
    backup->done = done;
    backup->context = context;
    return true;
}

void backup_forget(struct keeper *keeper)
{
    struct backup *backup = keeper->backup;
    backup->done = NULL;
    if (backup->state != BACKUP_TAKING) return;
    keeper->counts.backups_failed[true]++; /* whoever sent it hung up */
    file_forget(backup);
    file_release(&backup->file);
    backup->state = BACKUP_IDLE;
}

bool backup_is_busy(const struct keeper *keeper)
{
    return keeper->backup && keeper->backup->is_running;
}

void backup_free(struct backup **freed)
{
    struct backup *backup = *freed;
    *freed = NULL;
    if (!backup) return;
    loop_timer_stop(backup->keeper->loop, &backup->again);
    lane_free(backup->lane);
    file_release(&backup->file);
    apache_restored_free(&backup->restored);
    free(backup);
}
