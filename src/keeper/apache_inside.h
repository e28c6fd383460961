/* apache_inside.h: what the readers and the writer of Apache ZooKeeper's files share.
 *
 *     apache_file.c       bytes of a file, packed or not, with the sum over them
 *     apache_snapshot.c   snapshot.ZXID to a tree and sessions
 *     apache_log.c        log.ZXID, record by record
 *     apache_replay.c     a logged transaction to the tree, by the rules for fuzzy snapshots
 *     apache_import.c     which files, in which order, and whether what they come to is right
 *     apache_export.c     a tree and sessions to snapshot.ZXID
 *
 * Source: facts/keeper.md 4. */
#pragma once
#include "base/text.h"
#include "keeper/apache.h"
#include "keeper/machine.h"
#include "wire/gunzip.h"

#define APACHE_SNAPSHOT_MAGIC 0x5a4b534eu /* ZKSN */
#define APACHE_LOG_MAGIC 0x5a4b4c47u      /* ZKLG */
enum {
    APACHE_FORMAT = 2,
    APACHE_DIGEST_VERSION = 2,
    APACHE_STAT_SIZE = 60,
    APACHE_TXN_HEADER_SIZE = 32,
    APACHE_TXN_DIGEST_SIZE = 12,
    APACHE_FILE_HEADER_SIZE = 16,
};
#define APACHE_ACL_OPEN ((int64_t)-1) /* the key of world:anyone with all permissions */

/* --- apache_file.c --- */

/* Bytes of a file in order, unpacked when its name ends in .gz or .snappy. */
struct apache_file {
    struct file *file;
    struct gunzip *gunzip;
    bool is_snappy;
    int64_t read; /* of the file itself */
    uint8_t *packed;
    size_t packed_begin, packed_end, packed_capacity;
    struct text unpacked; /* a snappy block */
    size_t unpacked_begin;
    uint8_t *buffer; /* bytes begin..end wait */
    size_t begin, end, capacity;
    int64_t position; /* of the byte at `begin`, unpacked */
    uint32_t adler;   /* over all before `summed` */
    size_t summed;
};

MUST_USE enum error apache_file_open(struct disk *disk, const char *path, struct apache_file *file);
void apache_file_close(struct apache_file *file);
/* Up to `size` bytes from here on, without passing them; *got < size only at the end. A loan until the next call. */
MUST_USE enum error apache_file_peek(struct apache_file *file, size_t size, const uint8_t **data,
                                     size_t *got);
/* The same, and passes them. ERR_TRUNCATED when there are fewer. */
MUST_USE enum error apache_file_take(struct apache_file *file, size_t size, const uint8_t **data);
MUST_USE enum error apache_file_int(struct apache_file *file, int32_t *value);
MUST_USE enum error apache_file_long(struct apache_file *file, int64_t *value);
/* Adler-32 of all that was passed. */
uint32_t apache_file_sum(struct apache_file *file);

/* --- the state --- */

enum { APACHE_GHOST_TIMEOUT = -1 }; /* of a session that is only known by its ephemerals */

struct apache_state {
    struct machine machine;
    int64_t zxid;    /* of the last transaction in it */
    bool has_digest; /* of the snapshot, below */
    int64_t digest_zxid;
    uint64_t digest_expected;
    uint32_t missing_acl; /* stands for lists that the snapshot refers to and has not */
    uint32_t order;       /* of creation, for znodes of one zxid */
    int64_t ignored;      /* operations on znodes that are not there or are there already */
};

/* An empty tree without any znode. */
void apache_state_init(struct apache_state *state);
void apache_state_free(struct apache_state *state);
/* As a new server begins. */
void apache_state_begin(struct apache_state *state);
/* The session, real or not; made when absent. What is set in it later is not in the machine's sum over sessions. */
struct session *apache_session(struct apache_state *state, int64_t id);

/* --- apache_snapshot.c --- */
/* The state as of `path`, whose name says `zxid` (-1: it has no name, and its end says so). *position: how far it was read when an error came. */
MUST_USE enum error apache_snapshot_read(struct apache_state *state, struct disk *disk, const char *path,
                                         int64_t zxid, int64_t *position);

/* --- apache_log.c --- */
struct apache_txn {
    int64_t session;
    int32_t cxid, type;
    int64_t zxid, time_ms;
    struct slice body; /* and, behind it, the digest if there is one */
    int64_t position;  /* of the record in its file */
};

enum apache_log_end {
    APACHE_LOG_TXN,  /* *txn was filled; a loan until the next call */
    APACHE_LOG_END,  /* zeros or nothing from here on */
    APACHE_LOG_TORN, /* an unfinished record, and no whole one after it */
    APACHE_LOG_HURT, /* damage: at file.position */
    APACHE_LOG_FAILED,
};

struct apache_log {
    struct apache_file file;
    int64_t size;
};
/* ERR_TRUNCATED: not even a header. ERR_CORRUPT, ERR_UNSUPPORTED_VERSION. */
MUST_USE enum error apache_log_open(struct disk *disk, const char *path, struct apache_log *log);
enum apache_log_end apache_log_next(struct apache_log *log, struct apache_txn *txn, enum error *err);
void apache_log_close(struct apache_log *log);

/* --- apache_replay.c --- */
/* Brings the state forward by one transaction. ERR_CORRUPT: its body cannot be read; ERR_UNSUPPORTED: a type nobody knows. Has
 * it a digest of the version we can compute: *digest_given, *digest. */
MUST_USE enum error apache_replay(struct apache_state *state, const struct apache_txn *txn,
                                  bool *digest_given, uint64_t *digest);
/* The znode and what is below it. */
void apache_remove(struct apache_state *state, struct znode *top, int64_t zxid);

/* --- apache_export.c --- */
/* What a keeper of ours holds in `data_dir`, up to entry `last_index`. Inits the machine; machine_free it in any case. locks: while it is
 * read no keeper may have it. */
MUST_USE enum error apache_read_ours(struct disk *disk, const char *data_dir, bool locks, uint64_t last_index,
                                     struct machine *machine);
