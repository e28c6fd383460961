/* apache.h: Apache ZooKeeper's own files: its version-2 directory taken over, and written.
 *
 *     version-2/snapshot.ZXID[.gz|.snappy]  +  log.ZXID ...   -->  keeper-snapshot-1   (import)
 *     keeper-snapshot-N  +  keeper-log-N ...                   -->  snapshot.ZXID       (export)
 *
 * Import reads the newest whole snapshot and replays the log after it as ZooKeeper itself does (a snapshot is written while the
 * server works, and may hold more than its name says). What comes out is held against the digests that ZooKeeper left in
 * its files. Apache's files stay as they are. Zxids go on in the next epoch; sessions keep their ids, timeouts and passwords (which
 * ZooKeeper computes from the id), so that clients come back to them.
 *
 * Refused, with file and byte named: damage, transactions that are missing, another digest. Only an unfinished last
 * record is the end of its file, as after a kill. `forces` takes what can be read.
 *
 * Threads  any; the calls block and take memory for the whole tree. Errors: said as diagnostics where they happen.
 * Source   facts/keeper.md 4. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct disk;
struct machine;

struct apache_import {
    const char *from;    /* a dataDir, or the version-2 in it */
    const char *log_dir; /* dataLogDir, likewise; NULL: the same */
    const char *to;      /* the keeper's dataDir; made when absent, must have no keeper's files */
    bool forces;
};

struct apache_report {
    int64_t snapshot_zxid; /* -1: there was none */
    int64_t last_zxid;     /* of the last transaction */
    int64_t next_zxid;     /* where we go on */
    int64_t txn_count;     /* replayed */
    int64_t znode_count, session_count;
    int64_t orphan_count;  /* ephemerals whose session is not there any more: dropped */
    int64_t verified_zxid; /* the last whose digest was compared and is the same; 0: the files hold none */
    int64_t problem_count; /* what `forces` passed over */
};

/* Whether `dir` (a dataDir) holds files of Apache's and none of ours; `is_both`: of both. */
MUST_USE enum error apache_is_there(struct disk *disk, const char *dir, bool *is_there, bool *is_both);
MUST_USE enum error apache_import(struct disk *disk, const struct apache_import *import,
                                  struct apache_report *report);

/* --- one snapshot by itself, as ZooKeeper's admin command `snapshot` streams it --- */
struct apache_restored;
/* Reads and checks it. Zxids go on in an epoch behind that of `after_zxid`. As ZooKeeper does it takes one that was written amid
 * writes and does not sum up, and says so. ERR_CORRUPT, ERR_TRUNCATED; ERR_UNSUPPORTED_VERSION: it does not say its zxid, so it is of before 3.9. */
MUST_USE enum error apache_restore_read(struct disk *disk, const char *path, int64_t after_zxid,
                                        struct apache_restored **restored, struct apache_report *report);
/* The chunks of a snapshot of ours (machine_restore). Once. */
void apache_restored_write(struct apache_restored *restored, void (*write)(void *context, struct slice chunk),
                           void *context);
void apache_restored_free(struct apache_restored **restored);

/* --- the other way --- */
/* The state in Apache's snapshot format, some tens of KiB at a time; `write` is a loan and may refuse. The machine must not change
 * meanwhile. */
MUST_USE enum error apache_write(const struct machine *machine,
                                 enum error (*write)(void *context, struct slice bytes), void *context);

/* The state in a keeper's files, as of log entry `last_index` (UINT64_MAX: the end), in that format. `locks` as in
 * quorum/offline.h: a running keeper's files are read beside it with false and its applied index. */
MUST_USE enum error apache_export(struct disk *disk, const char *data_dir, bool locks, uint64_t last_index,
                                  enum error (*write)(void *context, struct slice bytes), void *context,
                                  int64_t *zxid);
/* TO/version-2/snapshot.ZXID. ERR_EXISTS: Apache's files are there. Of the report: znode_count, session_count, last_zxid. */
MUST_USE enum error apache_export_to(struct disk *disk, const char *data_dir, const char *to,
                                     struct apache_report *report);
