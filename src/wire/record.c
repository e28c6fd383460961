#include "wire/record.h"

#include <assert.h>
#include <string.h>

#include "wire/varint.h"

/* A varint size, -1 for null, and that many bytes. */
static bool nullable_take(struct slice *in, struct slice *out)
{
    int32_t size;
    if (!varint32_get(in, &size) || size < -1) return false;
    if (size == -1) {
        *out = SLICE_NULL;
        return true;
    }
    if ((size_t)size > in->size) return false;
    *out = (struct slice){in->data, (size_t)size};
    in->data += size;
    in->size -= (size_t)size;
    return true;
}

static bool header_take(struct slice *in, struct record_header *header)
{
    return nullable_take(in, &header->key) && header->key.data != NULL && nullable_take(in, &header->value);
}

bool record_header_next(struct slice *headers, struct record_header *header)
{
    return headers->size > 0 && header_take(headers, header);
}

enum error record_next(struct slice *records, struct record *record)
{
    if (records->size == 0) return ERR_EOF;
    struct slice rest = *records;
    int32_t size;
    if (!varint32_get(&rest, &size) || size < 1 || (size_t)size > rest.size) return ERR_CORRUPT;
    struct slice body = {rest.data, (size_t)size};
    rest.data += size;
    rest.size -= (size_t)size;

    struct record read = {.attributes = (int8_t)body.data[0]};
    body.data++;
    body.size--;
    if (!varint64_get(&body, &read.timestamp_delta) || !varint32_get(&body, &read.offset_delta) ||
        !nullable_take(&body, &read.key) || !nullable_take(&body, &read.value) ||
        !varint32_get(&body, &read.header_count)) {
        return ERR_CORRUPT;
    }
    /* A header is two bytes at least, so the count cannot make this loop longer than the record is. */
    if (read.header_count < 0 || (size_t)read.header_count > body.size / 2) return ERR_CORRUPT;
    read.headers = body;
    for (int32_t i = 0; i < read.header_count; i++) {
        struct record_header header;
        if (!header_take(&body, &header)) return ERR_CORRUPT;
    }
    if (body.size > 0) return ERR_CORRUPT;

    *record = read;
    *records = rest;
    return OK;
}

enum error records_check(const struct batch_header *batch, struct slice records,
                         struct records_report *report)
{
    struct records_report found = {
        .max_timestamp = NO_TIMESTAMP,
        .min_timestamp = INT64_MAX,
        .first_null_key = -1,
        .records_bytes = records.size,
        .fault_index = -1,
    };
    int32_t index = 0;
    struct record record;
    enum error err;
    while ((err = record_next(&records, &record)) == OK) {
        if (index == batch->record_count) {
            found.fault = "more records than the batch's header counts";
            break;
        }
        if (record.offset_delta != index) {
            found.fault = "the offset deltas are not 0, 1, 2 ...";
            break;
        }
        int64_t timestamp = (int64_t)((uint64_t)batch->base_timestamp + (uint64_t)record.timestamp_delta);
        if (timestamp > found.max_timestamp) {
            found.max_timestamp = timestamp;
            found.max_timestamp_offset_delta = index;
        }
        if (timestamp != NO_TIMESTAMP && timestamp < found.min_timestamp) found.min_timestamp = timestamp;
        if (!record.key.data) {
            if (found.null_key_count++ == 0) found.first_null_key = index;
        }
        index++;
    }
    if (err == ERR_CORRUPT) found.fault = "a malformed record";
    if (found.fault) found.fault_index = index;
    if (!found.fault && index < batch->record_count)
        found.fault = "fewer records than the batch's header counts";
    *report = found;
    return found.fault ? ERR_INVALID_RECORD : OK;
}

enum error control_record_read(const struct record *record, struct control_record *control)
{
    struct slice key = record->key, value = record->value;
    /* A later version may add fields behind ours. */
    if (key.size < 4 || (int16_t)get_be16(key.data) < 0) return ERR_CORRUPT;
    struct control_record read = {.type = (int16_t)get_be16(key.data + 2), .coordinator_epoch = -1};
    if (read.type == CONTROL_ABORT || read.type == CONTROL_COMMIT) {
        if (value.size < 6 || (int16_t)get_be16(value.data) < 0) return ERR_CORRUPT;
        read.coordinator_epoch = (int32_t)get_be32(value.data + 2);
    }
    *control = read;
    return OK;
}
