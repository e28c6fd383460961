/* backup.h: the admin commands `snapshot` and `restore`: all that a keeper holds, out of it and into it while it runs, in the format of
 * Apache's snapshots (apache.h).
 *
 *     snapshot   a worker reads this keeper's files beside it, up to what is applied, into a file without a name, which is answered
 *     restore    comes into a temporary file; a worker reads and checks it; clients are cut, what is on its way to the log is finished;
 *                the machine is replaced and a snapshot of it written; clients come back
 *
 * What was restored counts from the rename of that snapshot on, as any snapshot: a start before it finds what was before. In between nobody
 * is served. Only a keeper that stands alone can be restored: the log of an ensemble is everybody's. One command at a time.
 *
 * Owner   the keeper's loop. Errors: as ZooKeeper's, statuses of HTTP with a JSON object like those of admin.h.
 * Source  facts/keeper.md 3.3; Commands of ZooKeeper 3.9. Compared with Apache's, and restored from it and to it, by
 *         test/interop/keeper_backup.py. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/text.h"

struct keeper;
struct file;

struct backup_request {
    struct slice name;         /* as it was asked for */
    const char *authorization; /* NULL: none; "digest USER:PASSWORD", "ip" */
    const char *host;          /* who asks, a numeric address */
    bool is_restore,
        streams; /* streams: of a snapshot; else it only lies in the data directory, in our format */
};

struct backup_answer {
    unsigned status;
    struct text body;  /* JSON; none where there is a file */
    struct file *file; /* a snapshot */
    int64_t size;      /* of a snapshot, -1: there is none to tell of */
    int64_t zxid;      /* its last */
};

/* "snapshot", "snap", "restore", "rest". */
bool backup_knows(struct slice name, bool *is_restore);

/* True: it begins; `done` is called once, in a later turn, and hands over what the answer holds. False: *answer says why not. */
bool backup_begin(struct keeper *keeper, const struct backup_request *request,
                  void (*done)(void *context, struct backup_answer *answer), void *context,
                  struct backup_answer *answer);
/* Of a restore: the bytes, and their end. */
void backup_take(struct keeper *keeper, struct slice bytes);
void backup_end(struct keeper *keeper);
/* Nobody waits for `done` any more. A restore that has all its bytes goes on. */
void backup_forget(struct keeper *keeper);
