/* files.h: the bytes of a quorum's files.
 *
 *     PREFIXlog-00000000000000000042             PREFIXsnapshot-00000000000000000041
 *     +------------------------------+           +------------------------------+
 *     | "odrq-log"  version  crc     |           | "odrq-snp"  version  crc     |
 *     | first index 42   0           |           | index 41    term             |   32 bytes
 *     +------------------------------+           +------------------------------+
 *     | crc size index term durable  | 32 bytes  | size  crc  chunk             |   8 bytes and the chunk,
 *     | entry, zeros up to 8 bytes   |           | size  crc  chunk ...         |   chained: each crc starts from
 *     | ... records, index by index  |           | 0xffffffff crc  chunk count  |   the one before it
 *     | zeros (room made beforehand) |           +------------------------------+
 *     +------------------------------+
 *
 * With several members the two upper bits of a record's size are its kind (frames.h), the first chunk of a snapshot is the
 * index u64 of a membership and its bytes (membership.h), and the version is 2, so that nobody who knows only the log of one takes
 * them for damage.
 *
 * Numbers are big-endian, checksums CRC-32C over all that follows in the header or record. `durable` says: every entry
 * below it was on the disk when this record was written. It tells a torn write from damage: if a record is broken and a
 * later one that is whole says that the broken one was durable, then the disk lost it and we must not go on.
 *
 * A newer version is refused by name. Nothing here knows what an entry means.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct disk;
struct file;

enum {
    QUORUM_FORMAT_LONE = 1, /* of a log of one */
    QUORUM_FORMAT =
        2, /* of several members: entries have kinds, a snapshot's first chunk is the membership */
    QUORUM_FILE_HEADER_SIZE = 32,
    QUORUM_RECORD_HEADER_SIZE = 32,
    QUORUM_CHUNK_HEADER_SIZE = 8,
    QUORUM_PATH_SIZE = 4096,
};
#define QUORUM_ENTRY_MAX (((size_t)1 << 30) - 1)
#define QUORUM_CHUNK_END 0xffffffffu

struct quorum_record {
    uint64_t index, term, durable;
    unsigned kind; /* enum entry_kind; 0 in a log of one */
    struct slice entry;
};

static inline size_t quorum_record_size(size_t entry_size)
{
    return QUORUM_RECORD_HEADER_SIZE + ((entry_size + 7) & ~(size_t)7);
}
/* Into `out`, quorum_record_size() bytes; the entry's bytes are there already, right after the header. */
void quorum_record_seal(uint8_t *out, uint64_t index, uint64_t term, uint64_t durable, unsigned kind,
                        size_t entry_size);
/* What the size field of a record says. */
static inline size_t quorum_record_entry_size(uint32_t word)
{
    return word & QUORUM_ENTRY_MAX;
}

void quorum_log_header(uint8_t out[QUORUM_FILE_HEADER_SIZE], uint32_t format, uint64_t first_index);
void quorum_snapshot_header(uint8_t out[QUORUM_FILE_HEADER_SIZE], uint32_t format, uint64_t index,
                            uint64_t term);

/* Names. false when it does not fit or is not such a name. */
bool quorum_path(char out[QUORUM_PATH_SIZE], const char *dir, const char *prefix, const char *kind,
                 uint64_t index);
bool quorum_name_parse(const char *name, const char *prefix, const char *kind, uint64_t *index);

/* The files of one kind ("log" or "snapshot") in `dir`, rising. Free *indexes. */
MUST_USE enum error quorum_files_list(struct disk *disk, const char *dir, const char *prefix,
                                      const char *kind, uint64_t **indexes, size_t *count);

/* What they take up. */
MUST_USE enum error quorum_files_bytes(struct disk *disk, const char *dir, const char *prefix,
                                       const char *kind, int64_t *bytes);

/* --- reading a log file, record by record --- */
struct quorum_scan {
    struct file *file;
    const char *path;
    uint32_t format;
    int64_t size, position; /* position: of the next record */
    uint8_t *buffer;
    size_t buffered, capacity;
    int64_t buffer_position;
};

enum quorum_scan_end {
    QUORUM_SCAN_RECORD, /* *record was filled */
    QUORUM_SCAN_END,    /* only zeros, or nothing, from position on */
    QUORUM_SCAN_TORN,   /* an unfinished write from position on: cut it */
    QUORUM_SCAN_HURT,   /* damage at position, in what was durable */
    QUORUM_SCAN_FAILED, /* *err says why */
};

/* Reads and checks the header; name_index is what the file's name says. ERR_TRUNCATED: the header is not there, and nothing
 * durable behind it (a crash while the file was made); ERR_UNSUPPORTED_VERSION; ERR_CORRUPT. `path` is a loan. */
MUST_USE enum error quorum_scan_open(struct disk *disk, const char *path, uint64_t name_index,
                                     struct quorum_scan *scan);
/* expected: the index the next record must have. */
enum quorum_scan_end quorum_scan_next(struct quorum_scan *scan, uint64_t expected,
                                      struct quorum_record *record, enum error *err);
void quorum_scan_close(struct quorum_scan *scan);

/* --- the header of either --- */
struct quorum_header {
    uint32_t format;
    uint64_t first, second; /* of a log: its first index; of a snapshot: index and term */
};
/* ERR_TRUNCATED, ERR_CORRUPT, ERR_UNSUPPORTED_VERSION: it is none. */
MUST_USE enum error quorum_header_read(struct disk *disk, const char *path, struct quorum_header *header);

/* --- reading a snapshot --- */
/* Checks the file and hands each chunk to `chunk`; that of the membership, which only a snapshot of several members has, to `members`
 * (NULL: such a one is ERR_UNSUPPORTED). ERR_CORRUPT, ERR_TRUNCATED: *position says where. */
MUST_USE enum error quorum_snapshot_read(struct disk *disk, const char *path, uint64_t *index, uint64_t *term,
                                         uint32_t *format,
                                         enum error (*members)(void *context, struct slice chunk),
                                         enum error (*chunk)(void *context, struct slice chunk),
                                         void *context, int64_t *position);
