#include "keeper/stat.h"

void stat_encode(const struct znode_stat *stat, uint8_t out[STAT_SIZE])
{
    put_be64(out, (uint64_t)stat->czxid);
    put_be64(out + 8, (uint64_t)stat->mzxid);
    put_be64(out + 16, (uint64_t)stat->ctime_ms);
    put_be64(out + 24, (uint64_t)stat->mtime_ms);
    put_be32(out + 32, (uint32_t)stat->version);
    put_be32(out + 36, (uint32_t)stat->cversion);
    put_be32(out + 40, (uint32_t)stat->aversion);
    put_be64(out + 44, (uint64_t)stat->ephemeral_owner);
    put_be32(out + 52, (uint32_t)stat->data_length);
    put_be32(out + 56, (uint32_t)stat->child_count);
    put_be64(out + 60, (uint64_t)stat->pzxid);
}

void stat_add(const struct znode_stat *stat, struct text *out)
{
    uint8_t bytes[STAT_SIZE];
    stat_encode(stat, bytes);
    text_add(out, (struct slice){bytes, sizeof bytes});
}

struct znode_stat stat_read(struct jute *in)
{
    struct znode_stat stat;
    stat.czxid = jute_long(in);
    stat.mzxid = jute_long(in);
    stat.ctime_ms = jute_long(in);
    stat.mtime_ms = jute_long(in);
    stat.version = jute_int(in);
    stat.cversion = jute_int(in);
    stat.aversion = jute_int(in);
    stat.ephemeral_owner = jute_long(in);
    stat.data_length = jute_int(in);
    stat.child_count = jute_int(in);
    stat.pzxid = jute_long(in);
    return stat;
}
