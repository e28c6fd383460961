/* checkpoint.h: the small text files of a log directory and of a partition.
 *
 *     recovery-point-offset-checkpoint      leader-epoch-checkpoint     partition.metadata      meta.properties
 *       0                    version          0                           version: 0              version=0
 *       2                    entries          1                           topic_id: Wd2g..        broker.id=1
 *       orders 0 4711                         3 120                                               cluster.id=...
 *       orders 1 17
 *
 * Errors  ERR_CORRUPT for what does not read as its format says: a wrong version, a bad line, another count.
 * Threads pure. Source: facts/storage.md 1, 2.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"

#define RECOVERY_POINT_FILE "recovery-point-offset-checkpoint"
#define LOG_START_FILE "log-start-offset-checkpoint"
#define HIGH_WATERMARK_FILE "replication-offset-checkpoint"
#define CLEANER_OFFSET_FILE "cleaner-offset-checkpoint"
#define EPOCH_FILE "leader-epoch-checkpoint"
#define PARTITION_METADATA_FILE "partition.metadata"
#define MOVED_HERE_FILE "moved-here"
#define META_PROPERTIES_FILE "meta.properties"
#define CLEAN_SHUTDOWN_FILE ".kafka_cleanshutdown"
/* Ours: this directory failed while the machine stays up, so the page cache may show bytes that the kernel gave up on and will
 * never write. Never synced itself: when the machine goes down, it may go, for then the disk tells the truth. */
#define LOST_SYNC_FILE "odradek-lost-sync"
/* Ours: the boot of the machine in which the broker last took its place in the cluster. An unclean start in another one may have
 * lost what was acknowledged and not synced. Never synced itself: it has to outlive the process and no more. */
#define BOOT_FILE "odradek-boot"
#define LOCK_FILE ".lock"
#define CHECKPOINT_SIZE_MAX ((size_t)256 << 20)

/* Version 0, a count, then that many lines of `field_count` (at most 4) fields between blanks. Blank lines and carriage
 * returns at line ends are tolerated; an empty text has no entries. Stops at the first error of `each`. */
MUST_USE enum error checkpoint_lines(struct slice text, size_t field_count,
                                     enum error (*each)(void *context, const struct slice *fields),
                                     void *context);

/* "topic partition offset" lines. */
MUST_USE enum error offset_checkpoint_read(struct slice text,
                                           enum error (*each)(void *context, struct slice topic,
                                                              int32_t partition, int64_t offset),
                                           void *context);

MUST_USE enum error partition_metadata_read(struct slice text, struct uuid *topic_id);
/* No newline at its end, as Kafka has it. */
void partition_metadata_write(const struct uuid *topic_id, struct text *text);

struct meta_properties {
    int32_t version;
    int32_t broker_id; /* broker.id, or node.id of version 1; -1 = not there */
    char cluster_id[64];
    char directory_id[UUID_TEXT_SIZE]; /* "" = not there */
};
/* Java properties: comments, key=value. ERR_CORRUPT without a version or with a bad number. */
MUST_USE enum error meta_properties_read(struct slice text, struct meta_properties *meta);
void meta_properties_write(const struct meta_properties *meta, struct text *text);

void clean_shutdown_write(int64_t broker_epoch, struct text *text);
