/* log_store.h: all log directories of a node: which logs there are, and what is written about them.
 *
 *     log.dirs   /a  .lock  meta.properties  recovery-point-offset-checkpoint  replication-offset-checkpoint ...
 *                    orders-0/  orders-1/  clicks-0.1f..9a-delete/
 *                /b  ...
 *
 * Life: log_store_open (locks, reads meta.properties and checkpoints) -> log_store_claim (now that the cluster id is known)
 * -> log_store_load (all partitions, in parallel) -> find, create, delete -> log_store_close (flush, snapshots, checkpoints,
 * clean-shutdown marker).
 *
 * A directory that fails goes offline until the process starts again; the others go on. on_dir_failed says so, and the node
 * ends itself when log_store_live_dirs is 0.
 *
 * Owner    one loop, the store's: all functions here are called on it, except "any thread". A log that was found is then
 *          owned by its home loop (log_home.h): hand it over by message.
 * Errors   open and claim explain refusals in `why` (one sentence for the operator, without a full stop).
 * Source   facts/storage.md 1, 2, 5, 6.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"
#include "storage/log.h"
#include "storage/log_home.h"

struct log_store;

struct log_store_options {
    struct disk *disk;
    struct loop *loop; /* NULL: everything happens at once on the calling thread (tools, tests) */
    const char *const *dirs;
    size_t dir_count;
    struct log_config config;     /* of logs whose topic has none of its own; log_configure them after load */
    int recovery_threads_per_dir; /* num.recovery.threads.per.data.dir */
    int64_t recovery_checkpoint_interval_ms;       /* log.flush.offset.checkpoint.interval.ms */
    int64_t log_start_checkpoint_interval_ms;      /* log.flush.start.offset.checkpoint.interval.ms */
    int64_t high_watermark_checkpoint_interval_ms; /* replica.high.watermark.checkpoint.interval.ms */
    int64_t retention_check_interval_ms;           /* log.retention.check.interval.ms */
    int64_t retention_initial_delay_ms;            /* log.initial.task.delay.ms */
    /* others count on the replicas: after a loss a stop is clean only once log_store_note_boot was called */
    bool is_of_cluster;
    uint64_t random_seed; /* for roll jitter and names of deleted directories; 0 with a loop: asks it */
    void (*on_dir_failed)(void *context, const char *dir,
                          enum error err); /* on the store's loop; may be NULL */
    void *context;
};
/* Kafka's defaults for everything but disk, loop and dirs. */
void log_store_options_default(struct log_store_options *options);
void log_config_default(struct log_config *config);

/* What meta.properties of the directories say, before anything is decided. */
struct log_store_identity {
    bool is_known;       /* at least one directory has a meta.properties */
    char cluster_id[64]; /* "" = not known */
    int32_t broker_id;   /* -1 = not known */
};

/* Creates missing directories, takes the locks, reads meta.properties and checkpoints. ERR_BUSY: another process has a
 * directory; ERR_UNSUPPORTED: a directory of KRaft or of a later version; ERR_CONFIG: directories contradict each other. A
 * directory that cannot be read at all is offline from the start; ERR_IO when that leaves none. */
MUST_USE enum error log_store_open(const struct log_store_options *options, struct log_store **store,
                                   struct text *why);
void log_store_identity(const struct log_store *store, struct log_store_identity *identity);
/* Checks that the directories belong to this cluster and broker, and writes meta.properties where there is none. ERR_CONFIG. */
MUST_USE enum error log_store_claim(struct log_store *store, const char *cluster_id, int32_t broker_id,
                                    struct text *why);

/* Loads all partitions; done(context, err) runs on the store's loop (before this returns, without a loop). A partition that
 * cannot be loaded takes its directory offline; ERR_CONFIG, why: a partition lies in two directories. */
void log_store_load(struct log_store *store, void (*done)(void *context, enum error err, const char *why),
                    void *context);
struct log_store_progress {
    size_t partitions, loaded, recovered; /* found, loaded so far, of those not cleanly stopped */
    int64_t recovered_bytes;
};
void log_store_progress(const struct log_store *store, struct log_store_progress *progress); /* any thread */

struct log *log_store_find(struct log_store *store, struct slice topic,
                           int32_t partition); /* NULL when none */
/* An empty log in the directory that was asked for (log_store_want), else in the live one with the fewest partitions. ERR_EXISTS; ERR_KAFKA_STORAGE_ERROR when no directory
 * lives. topic_id zero: written later by log_set_topic_id. */
MUST_USE enum error log_store_create(struct log_store *store, struct slice topic, int32_t partition,
                                     const struct uuid *topic_id, const struct log_config *config,
                                     struct log **log);
/* Takes it from its home (call on the store's loop, after the home loop has let go of it: log_set_home(log, NULL) there).
 * Renames the directory to ...-delete and removes it file.delete.delay.ms later. Frees the log; slices stay valid. */
MUST_USE enum error log_store_delete(struct log_store *store, struct log **log);
/* In no particular but repeatable order. for (size_t i = 0; (log = log_store_next(store, &i));) ...
 * Do not create or delete meanwhile. */
struct log *log_store_next(const struct log_store *store, size_t *position);
size_t log_store_count(const struct log_store *store);

struct log_store_dir {
    const char *path;
    bool is_online;
    bool was_clean; /* at start */
    size_t partition_count;
    int64_t size_bytes; /* of its logs */
};
size_t log_store_dir_count(const struct log_store *store);
void log_store_dir(const struct log_store *store, size_t index, struct log_store_dir *dir);
/* Where they are kept, for disk_space of a directory's path by a worker. */
struct disk *log_store_disk(const struct log_store *store);
size_t log_store_live_dirs(const struct log_store *store); /* any thread */

/* True when logs may lack records that were acknowledged in an earlier life: a directory was not stopped in good order and the
 * machine has been off since, or it is empty. Who counted on its replicas must not until they have caught up (controller.h,
 * cluster_return). From open on. */
bool log_store_may_have_lost(const struct log_store *store);
/* Nobody counts on what was lost any more, and as long as the machine stays up nothing else will be. */
void log_store_note_boot(struct log_store *store);

/* Checkpoints now (they are also written by time, and after create, delete and truncation where that matters). Without a
 * loop: before it returns. */
void log_store_checkpoint(struct log_store *store);
/* Broker epoch for the clean-shutdown marker; -1 = unknown. */
void log_store_set_broker_epoch(struct log_store *store, int64_t broker_epoch);

/* Clean stop: flush, snapshot and trim every log in parallel, checkpoints, marker, unlock. All logs must have been taken
 * from their homes, and the homes be idle. done on the store's loop; then the store and its logs are freed. */
void log_store_close(struct log_store *store, void (*done)(void *context), void *context);
/* Frees everything without writing anything, as if the process had died: tests, the simulator after a crash (lanes are not
 * touched when `machine_is_gone`; otherwise no job of the store may be in flight). */
void log_store_abandon(struct log_store *store, bool machine_is_gone);
