/* stat.h: what ZooKeeper tells of a znode besides its data: the record Stat, in memory and in its encoding.
 *
 *      0      8      16     24     32       36        40        44               52           56           60      68
 *     | i64  | i64  | i64  | i64  | i32    | i32     | i32     | i64            | i32        | i32        | i64   |
 *     | czxid| mzxid| ctime| mtime| version| cversion| aversion| ephemeral owner| data length| child count| pzxid |
 *
 * Units   times in ms since 1970; ephemeral_owner is a session's id, 0 = persistent.
 * Source  facts/keeper.md 1.1.
 */
#pragma once
#include <stdint.h>

#include "keeper/jute.h"

struct znode_stat {
    int64_t czxid, mzxid, ctime_ms, mtime_ms;
    int32_t version, cversion, aversion;
    int64_t ephemeral_owner;
    int32_t data_length, child_count;
    int64_t pzxid;
};
enum { STAT_SIZE = 68 };

void stat_encode(const struct znode_stat *stat, uint8_t out[STAT_SIZE]);
void stat_add(const struct znode_stat *stat, struct text *out);
/* Of a record that is cut off, zeros from there on; `in` remembers it. */
struct znode_stat stat_read(struct jute *in);
