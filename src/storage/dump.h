/* dump.h: what `odradek log dump` and `odradek log verify` show: the files of a partition, in words.
 *
 * Works on files alone, so it needs no broker, takes no lock and changes nothing. One line at a time goes to `line`.
 *
 * Errors  ERR_CORRUPT after everything readable was shown; ERR_NOT_FOUND, ERR_DENIED, ERR_IO; ERR_UNSUPPORTED for a file
 *         whose name says nothing to us.
 * Source  facts/storage.md 1-3.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "loop/disk.h"

struct dump_options {
    bool deep;          /* each record of each batch, with key, value and headers as text */
    bool json;          /* one JSON object a line */
    size_t limit_bytes; /* of what a batch may decompress to; 0 = 256 MiB */
    void (*line)(void *context, const char *text);
    void *context;
};
/* .log, .index, .timeindex, .txnindex, .snapshot, *-checkpoint, partition.metadata, meta.properties: by its name. */
MUST_USE enum error dump_file(struct disk *disk, const char *path, const struct dump_options *options);

struct verify_report {
    size_t partitions, segments, batches, problems;
    int64_t bytes;
};
/* A partition directory, or a log directory with all of its partitions. Each problem is one line: what is wrong, where.
 * OK also when problems were found: ask report->problems. */
MUST_USE enum error verify_path(struct disk *disk, const char *path, const struct dump_options *options,
                                struct verify_report *report);
