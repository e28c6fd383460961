/* offline.h: a quorum's files without a quorum: made from elsewhere (import) and read where they lie (export).
 *
 * Threads  any; the calls block. Errors: what is wrong with a file is said as a diagnostic, by its name and place. */
#pragma once
#include "quorum/quorum.h"

/* Whether there is a log or a snapshot of a quorum in `dir`. */
MUST_USE enum error quorum_offline_exists(struct disk *disk, const char *dir, const char *prefix,
                                          bool *exists);

/* --- a first snapshot --- */
/* The one from which a quorum in `dir` will begin: of index 1, without a log. It appears whole, or not at all. Several members
 * that shall begin alike are given copies of the same file. */
struct quorum_offline;
/* Makes `dir` when absent. ERR_EXISTS: files of a quorum are there; ERR_BUSY: one is running on them. */
MUST_USE enum error quorum_offline_begin(struct disk *disk, const char *dir, const char *prefix,
                                         struct quorum_offline **offline);
/* One chunk. An error is remembered for the end. */
void quorum_offline_write(struct quorum_offline *offline, struct slice chunk);
/* Publishes it if `err` is OK and nothing went wrong, frees it in any case. */
MUST_USE enum error quorum_offline_end(struct quorum_offline **offline, enum error err);

/* Whoever holds the lock itself writes a snapshot anew: `members` as files.h says (index u64 and bytes), NULL for a log of one. Chunks and
 * end as above; one of that index is replaced, in one piece or not at all. */
MUST_USE enum error quorum_offline_replace(struct disk *disk, const char *dir, const char *prefix,
                                           uint64_t index, uint64_t term, struct slice members,
                                           struct quorum_offline **offline);
/* The same with the chunks of the snapshot `from`, which is removed if it is not `to`. An imported one becomes QUORUM_SEATED_INDEX, for the
 * Raft library cannot tell a snapshot that ends at entry 1 from the entry itself. */
enum { QUORUM_SEATED_INDEX = 2 };
MUST_USE enum error quorum_offline_seat(struct disk *disk, const char *dir, const char *prefix, uint64_t from,
                                        uint64_t to, struct slice members);

/* --- reading --- */
/* Newest snapshot, then the log after it up to and with entry `last`, into the machine; nothing is changed. `locks`: refuse with
 * ERR_BUSY while a quorum runs on them; without it what is committed is read beside a running one, which may purge a file
 * meanwhile: ERR_NOT_FOUND, try again. ERR_NOT_FOUND also when there is nothing. ERR_TRUNCATED: it ends before `last`, which
 * UINT64_MAX does not mind. */
MUST_USE enum error quorum_offline_read(struct disk *disk, const char *dir, const char *prefix, bool locks,
                                        uint64_t last, const struct quorum_machine *machine, void *context);
