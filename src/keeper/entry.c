/* entry.c: an entry of the log to bytes and back. */
#include "keeper/machine.h"

enum { FORMAT_ALONE = 1, FORMAT_ENSEMBLE = 2, HEADER_ALONE = 26 };

bool op_is_write(int32_t op)
{
    switch (op) {
    case OP_CREATE:
    case OP_DELETE:
    case OP_SET_DATA:
    case OP_SET_ACL:
    case OP_MULTI:
    case OP_CREATE2:
    case OP_RECONFIG:
    case OP_CREATE_CONTAINER:
    case OP_DELETE_CONTAINER:
    case OP_CREATE_TTL:
    case OP_CLOSE_SESSION: return true;
    default: return false;
    }
}

size_t entry_header(const struct entry *entry, uint8_t out[ENTRY_HEADER_MAX])
{
    out[0] = entry->origin ? FORMAT_ENSEMBLE : FORMAT_ALONE;
    out[1] = entry->flags;
    put_be32(out + 2, (uint32_t)entry->op);
    put_be64(out + 6, (uint64_t)entry->time_ms);
    put_be64(out + 14, (uint64_t)entry->session);
    put_be32(out + 22, (uint32_t)entry->cxid);
    if (!entry->origin) return HEADER_ALONE;
    out[26] = entry->origin;
    put_be32(out + 27, entry->life);
    put_be32(out + 31, entry->sequence);
    put_be32(out + 35, entry->attachment);
    return ENTRY_HEADER_MAX;
}

void entry_stamp(uint8_t header[ENTRY_HEADER_MAX], uint8_t flags, int64_t time_ms)
{
    header[1] = flags;
    put_be64(header + 6, (uint64_t)time_ms);
}

enum error entry_parse(struct slice bytes, struct entry *entry)
{
    if (bytes.size < 1) return ERR_CORRUPT;
    uint8_t format = bytes.data[0];
    if (format != FORMAT_ALONE && format != FORMAT_ENSEMBLE) return ERR_UNSUPPORTED_VERSION;
    size_t header_size = format == FORMAT_ALONE ? HEADER_ALONE : ENTRY_HEADER_MAX;
    if (bytes.size < header_size) return ERR_CORRUPT;
    struct slice rest = {bytes.data + header_size, bytes.size - header_size};
    size_t ids_size;
    if (!auth_measure(rest, &ids_size)) return ERR_CORRUPT;
    *entry = (struct entry){
        .flags = bytes.data[1],
        .op = (int32_t)get_be32(bytes.data + 2),
        .time_ms = (int64_t)get_be64(bytes.data + 6),
        .session = (int64_t)get_be64(bytes.data + 14),
        .cxid = (int32_t)get_be32(bytes.data + 22),
        .ids = {{rest.data, ids_size}},
        .body = {rest.data + ids_size, rest.size - ids_size},
    };
    if (format == FORMAT_ALONE) return OK;
    entry->origin = bytes.data[26];
    entry->life = get_be32(bytes.data + 27);
    entry->sequence = get_be32(bytes.data + 31);
    entry->attachment = get_be32(bytes.data + 35);
    return entry->origin == 0 ? ERR_CORRUPT : OK;
}
