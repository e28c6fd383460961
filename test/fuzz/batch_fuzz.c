/* batch_fuzz: a run of record batches, and messages of magic 0 and 1, from any bytes. The checksums are made right first in
 * half of the runs, or no mutation would get past them. What checks out must rebuild to records that read alike. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "wire/crc32c.h"
#include "wire/legacy.h"
#include "wire/record.h"

enum { OPENED_MAX = 1 << 20 };

static bool same(struct slice a, struct slice b)
{
    return slice_equal(a, b);
}

/* The records again through our builder: each must come out as it went in. */
static void rebuild(const struct batch_header *header, struct slice records)
{
    struct batch_builder builder = {0};
    struct batch_options options = BATCH_OPTIONS_DEFAULT;
    batch_builder_start(&builder, &options);
    struct record record;
    struct slice rest = records;
    while (record_next(&rest, &record) == OK) {
        struct record_header *headers = calloc((size_t)record.header_count + 1, sizeof *headers);
        CHECK(headers);
        struct slice at = record.headers;
        for (int32_t i = 0; i < record.header_count; i++) CHECK(record_header_next(&at, &headers[i]));
        CHECK(batch_builder_add(&builder, record_timestamp(header, &record), record.key, record.value,
                                headers, record.header_count) == OK);
        free(headers);
    }
    struct slice batch;
    struct batch_header again_header;
    CHECK(batch_builder_finish(&builder, &batch) == OK);
    CHECK(batch_check(batch, &again_header) == OK);
    CHECK(again_header.record_count == header->record_count);
    struct slice again = {batch.data + BATCH_HEADER_SIZE, batch.size - BATCH_HEADER_SIZE};
    struct record other;
    rest = records;
    while (record_next(&rest, &record) == OK) {
        CHECK(record_next(&again, &other) == OK);
        CHECK(same(record.key, other.key) && same(record.value, other.value));
        CHECK(record.header_count == other.header_count);
        CHECK(record_timestamp(header, &record) == record_timestamp(&again_header, &other));
    }
    batch_builder_free(&builder);
}

static void mend(uint8_t *data, size_t size)
{
    struct slice run = {data, size}, batch;
    struct batch_header header;
    while (batches_next(&run, &header, &batch) == OK) {
        uint8_t *at = (uint8_t *)(uintptr_t)batch.data;
        if (header.magic == 2)
            put_be32(at + 17, crc32c(0, at + 21, batch.size - 21));
        else
            put_be32(at + 12, crc32_legacy(0, at + 16, batch.size - 16));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    bool is_mended = data[0] & 1;
    size--;
    uint8_t *copy = malloc(size + 1);
    CHECK(copy);
    memcpy(copy, data + 1, size);
    if (is_mended) mend(copy, size);

    struct text scratch = {0};
    struct slice run = {copy, size}, batch;
    struct batch_header header;
    while (batches_next(&run, &header, &batch) == OK) {
        CHECK(batch.size == header.size_bytes && batch_last_offset(&header) >= header.base_offset);
        bool is_whole = batch_check(batch, NULL) == OK;
        if (header.magic < 2) {
            struct legacy_message message;
            struct legacy_walk walk;
            if (legacy_message_read(batch, is_mended, &message) != OK) continue;
            if (legacy_walk_open(&message, OPENED_MAX, &scratch, &walk) != OK) continue;
            int64_t last = -1;
            while (legacy_walk_next(&walk, &message) == OK) {
                CHECK(message.offset > last);
                last = message.offset;
            }
            continue;
        }
        const char *why;
        enum error produced = batch_check_produced(&header, &why);
        struct slice records;
        if (batch_records(batch, &header, OPENED_MAX, &scratch, &records) != OK) continue;
        struct records_report report;
        enum error err = records_check(&header, records, &report);
        CHECK((err == OK) == (report.fault == NULL));
        if (err == OK && is_whole && produced == OK) rebuild(&header, records);
        struct record record;
        struct control_record control;
        while (record_next(&records, &record) == OK) {
            if (control_record_read(&record, &control) == OK) CHECK(record.key.size >= 4);
        }
        if (is_whole) {
            uint8_t *patched = (uint8_t *)(uintptr_t)batch.data;
            batch_set_base_offset(patched, 7);
            batch_set_leader_epoch(patched, 3);
            batch_set_max_timestamp(patched, batch.size, TIMESTAMP_LOG_APPEND, 11);
            CHECK(batch_check(batch, &header) == OK);
            CHECK(header.base_offset == 7 && header.max_timestamp == 11);
        }
    }
    text_free(&scratch);
    free(copy);
    return 0;
}
