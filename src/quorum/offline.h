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

/* For a member of several, which holds the lock itself: the first snapshot becomes theirs, with a membership (its index u64 and bytes, as
 * files.h says). `index` is its own: 1 as it was imported, or QUORUM_SEATED_INDEX, which is what it becomes, for the Raft library
 * cannot tell one that ends at entry 1 from the entry itself. In one piece, or not at all. */
enum { QUORUM_SEATED_INDEX = 2 };
MUST_USE enum error quorum_offline_seat(struct disk *disk, const char *dir, const char *prefix,
                                        uint64_t index, struct slice members);

/* --- reading --- */
/* Newest snapshot, then the log after it up to and with entry `last`, into the machine; nothing is changed. `locks`: refuse with
 * ERR_BUSY while a quorum runs on them; without it what is committed is read beside a running one, which may purge a file
 * meanwhile: ERR_NOT_FOUND, try again. ERR_NOT_FOUND also when there is nothing. ERR_TRUNCATED: it ends before `last`, which
 * UINT64_MAX does not mind. */
MUST_USE enum error quorum_offline_read(struct disk *disk, const char *dir, const char *prefix, bool locks,
                                        uint64_t last, const struct quorum_machine *machine, void *context);
