/* move.h: a partition's log moves to another log directory of this node, while it is written to and read (KIP-113).
 *
 *     /a  orders-0                     | orders-0                  | orders-0.<32 hex>-delete
 *     /b  orders-0.<32 hex>-future     | orders-0, moved-here      | orders-0
 *         copied, behind or even       | log_move_swap             | log_store_moved
 *
 * The future log is filled by who moves it (replica/move.h): log_move_align, then an append as from a leader, again and again.
 * Once both end at the same offset log_move_swap makes the future log the current one within that turn of the home loop, by
 * one rename, and no append may come between. Then the old one's directory is renamed by a worker, after the new name is durable.
 *
 * Crash    before the swap: the future log is found at the next start, and filled on. After it: both directories are called
 *          orders-0, and the file "moved-here", synced before the swap, says which one has gone on. Without that file neither is
 *          trusted, as Apache Kafka does not.
 * Owner    "store": its loop. "home": the home loop of both logs, which is the same.
 * Errors   as log.h; a directory that fails goes offline, and with the target only the future log is lost.
 * Source   facts/cluster.md 5.11, facts/storage.md 1.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "storage/log_store.h"

/* Store. `dir` is one of log.dirs as the operator wrote it. ERR_LOG_DIR_NOT_FOUND; ERR_KAFKA_STORAGE_ERROR: it is offline. */
MUST_USE enum error log_store_check_dir(const struct log_store *store, struct slice dir);
/* Store. A log that is not there yet is to be made in `dir`, which was checked. */
MUST_USE enum error log_store_want(struct log_store *store, struct slice topic, int32_t partition,
                                   struct slice dir);
/* Store. Where `current` is going to; NULL: nowhere. */
struct log *log_store_future(const struct log_store *store, struct slice topic, int32_t partition);
/* Store. An empty future log of `current` in `dir`, which was checked and is another one. ERR_KAFKA_STORAGE_ERROR while any directory
 * is offline, for there could be another future log; ERR_INVALID_TOPIC_EXCEPTION: the name would be too long;
 * ERR_REPLICA_NOT_AVAILABLE: the last move is ending just now, ask again. It goes by log_store_delete. */
MUST_USE enum error log_store_make_future(struct log_store *store, const struct log *current,
                                          struct slice dir, struct log **future);
bool log_is_future(const struct log *log);

/* Home. Cuts the future log to what both agree on, by leader epoch, at first and whenever the other was cut; takes over start offset
 * and high watermark. */
MUST_USE enum error log_move_align(const struct log *current, struct log *future);
/* A worker, once before the swap: writes "moved-here". */
struct log_move_mark {
    struct disk *disk;
    char *path;
    enum error err;
};
MUST_USE enum error log_move_mark_begin(const struct log *future, struct log_move_mark *mark); /* home */
void log_move_mark_work(struct log_move_mark *mark);
enum error log_move_mark_end(struct log *future, struct log_move_mark *mark); /* home */
/* Home. The future log is the current one from now on, with the epochs and producers of the other; its cold reads begin anew.
 * ERR_AGAIN: they do not end at the same offset, or a flush is under way. May wait for the disk, where what is synced in the one is
 * not in the other. Afterwards the old log is to be taken from its home, and log_store_moved called. */
MUST_USE enum error log_move_swap(struct log *current, struct log *future);
/* Store. Frees the old log, whose directory goes as a deleted one's does. */
void log_store_moved(struct log_store *store, struct log **old);
