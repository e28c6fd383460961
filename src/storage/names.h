/* names.h: how partition directories and the files in them are called.
 *
 *     orders-0/                         topic "orders", partition 0; topics may have dashes: cut at the last one
 *     orders-0.<32 hex>-delete/         waiting to be removed; -stray: put aside for the operator; -future: being moved here
 *     00000000000000004711.log          base offset, 20 digits; .index .timeindex .txnindex .snapshot beside it
 *     00000000000000004711.log.deleted  waiting to be removed; .cleaned, .swap: compaction under way
 *
 * Threads pure. Source: facts/storage.md 2.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#define TOPIC_NAME_MAX 249
#define PARTITION_DIR_NAME_MAX 255
#define FUTURE_SUFFIX_SIZE 40

enum partition_dir_kind { DIR_CURRENT, DIR_DELETE, DIR_STRAY, DIR_FUTURE, DIR_FOREIGN };

struct partition_dir_name {
    enum partition_dir_kind kind;
    struct slice topic; /* a loan from the name; cut short in the names of -delete and -stray */
    int32_t partition;
};
/* Never fails: what is no partition's is DIR_FOREIGN. */
struct partition_dir_name partition_dir_parse(struct slice name);
bool topic_name_is_valid(struct slice topic);
/* "topic-0.<hex>-future": the name and FUTURE_SUFFIX_SIZE bytes. False when that is longer than a name may be. */
bool partition_dir_future_name(struct slice current_name, const uint8_t unique[16],
                               char out[PARTITION_DIR_NAME_MAX + 1]);
/* "topic-0.<hex>-delete", its topic cut so that all fits 255 bytes. */
void partition_dir_delete_name(struct slice current_name, const uint8_t unique[16],
                               char out[PARTITION_DIR_NAME_MAX + 1]);

enum file_kind {
    FILE_LOG,
    FILE_INDEX,
    FILE_TIMEINDEX,
    FILE_TXNINDEX,
    FILE_SNAPSHOT,
    FILE_KINDS,
    FILE_OTHER = FILE_KINDS,
};
enum file_state { STATE_CURRENT, STATE_DELETED, STATE_CLEANED, STATE_SWAP };

struct segment_file_name {
    enum file_kind kind; /* FILE_OTHER: not a segment's */
    enum file_state state;
    int64_t base_offset;
};
struct segment_file_name segment_file_parse(struct slice name);
/* ".log" */
const char *file_kind_suffix(enum file_kind kind);

/* Room for the longest file name in a partition directory, with NUL. */
#define SEGMENT_NAME_SIZE 48
/* "<dir>/<base>.log", then `suffix` ("" or ".deleted"); malloc'ed, NULL without memory. */
char *segment_path(const char *dir, int64_t base_offset, enum file_kind kind, const char *suffix);
/* "<dir>/<name>", malloc'ed. */
char *path_join(const char *dir, const char *name);
