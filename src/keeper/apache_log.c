/* apache_log.c: Apache's transaction log, record by record.
 *
 *     "ZKLG"  i32 2  i64 dbid
 *     i64 Adler-32 of the bytes   i32 size   bytes   'B'   ...   zeros (room made beforehand)
 *     bytes: i64 session, i32 cxid, i64 zxid, i64 time_ms, i32 type, body, [i32 version, i64 digest]
 *
 * Records are written front to back: one without its 'B' was being written when the machine or the process went down. One that has
 * it and does not sum up, or that has whole ones behind it, was damaged later. */
#include "keeper/apache_inside.h"
#include "loop/disk.h"

enum { RECORD_HEAD = 12, RECORD_MIN = APACHE_TXN_HEADER_SIZE };

enum error apache_log_open(struct disk *disk, const char *path, struct apache_log *log)
{
    *log = (struct apache_log){0};
    const uint8_t *header = NULL;
    size_t got = 0;
    enum error err = apache_file_open(disk, path, &log->file);
    if (err == OK) err = file_size(log->file.file, &log->size);
    if (err == OK) err = apache_file_peek(&log->file, APACHE_FILE_HEADER_SIZE, &header, &got);
    if (err == OK && got < APACHE_FILE_HEADER_SIZE) err = ERR_TRUNCATED;
    if (err == OK) {
        static const uint8_t zeros[APACHE_FILE_HEADER_SIZE];
        if (memcmp(header, zeros, sizeof zeros) == 0) {
            err = ERR_TRUNCATED;
        } else if (get_be32(header) != APACHE_LOG_MAGIC) {
            err = ERR_CORRUPT;
        } else if (get_be32(header + 4) != APACHE_FORMAT) {
            err = ERR_UNSUPPORTED_VERSION;
        }
    }
    if (err == OK) err = apache_file_take(&log->file, APACHE_FILE_HEADER_SIZE, &header);
    if (err != OK) apache_log_close(log);
    return err;
}

void apache_log_close(struct apache_log *log)
{
    apache_file_close(&log->file);
    *log = (struct apache_log){0};
}

enum shape { WHOLE, UNFINISHED, WRONG };

/* The record that begins at the file's position; its bytes, when it is whole. */
static enum error record_at(struct apache_log *log, enum shape *shape, struct slice *bytes)
{
    const uint8_t *data;
    size_t got;
    *shape = UNFINISHED;
    enum error err = apache_file_peek(&log->file, RECORD_HEAD, &data, &got);
    if (err != OK || got < RECORD_HEAD) return err;
    int32_t size = (int32_t)get_be32(data + 8);
    if (size < RECORD_MIN) {
        *shape = size == 0 ? UNFINISHED : WRONG;
        return OK;
    }
    if (size > log->size - log->file.position - RECORD_HEAD) return OK;
    size_t whole = RECORD_HEAD + (size_t)size + 1;
    err = apache_file_peek(&log->file, whole, &data, &got);
    if (err != OK || got < whole || data[whole - 1] != 'B') return err;
    bool sums_up = get_be64(data) == adler32_of(1, data + RECORD_HEAD, (size_t)size);
    *shape = sums_up ? WHOLE : WRONG;
    *bytes = (struct slice){data + RECORD_HEAD, (size_t)size};
    return OK;
}

/* What is broken at the position: the end, a write that was not finished, or damage? */
static enum error judge(struct apache_log *log, bool is_wrong, enum apache_log_end *end)
{
    int64_t begin = log->file.position;
    bool is_zero = !is_wrong;
    *end = is_wrong ? APACHE_LOG_HURT : APACHE_LOG_TORN;
    while (!is_wrong) {
        const uint8_t *data;
        size_t got;
        enum error err = apache_file_peek(&log->file, RECORD_HEAD + RECORD_MIN, &data, &got);
        if (err != OK) return err;
        for (size_t i = 0; i < got && is_zero; i++) is_zero = data[i] == 0;
        if (got < RECORD_HEAD + RECORD_MIN) break;
        enum shape shape;
        struct slice bytes;
        /* The sum's upper half is always zero, so most places are passed over quickly. */
        bool is_likely = log->file.position > begin && get_be32(data) == 0 && get_be32(data + 4) != 0;
        err = is_likely ? record_at(log, &shape, &bytes) : OK;
        if (err != OK) return err;
        if (is_likely && shape == WHOLE) {
            *end = APACHE_LOG_HURT;
            break;
        }
        err = apache_file_take(&log->file, 1, &data);
        if (err != OK) return err;
    }
    if (*end == APACHE_LOG_TORN && is_zero) *end = APACHE_LOG_END;
    log->file.position = begin; /* only for people: the file is not read on */
    return OK;
}

enum apache_log_end apache_log_next(struct apache_log *log, struct apache_txn *txn, enum error *err)
{
    enum shape shape;
    struct slice bytes;
    *err = record_at(log, &shape, &bytes);
    if (*err != OK) return APACHE_LOG_FAILED;
    if (shape != WHOLE) {
        enum apache_log_end end;
        *err = judge(log, shape == WRONG, &end);
        return *err == OK ? end : APACHE_LOG_FAILED;
    }
    *txn = (struct apache_txn){
        .session = (int64_t)get_be64(bytes.data),
        .cxid = (int32_t)get_be32(bytes.data + 8),
        .zxid = (int64_t)get_be64(bytes.data + 12),
        .time_ms = (int64_t)get_be64(bytes.data + 20),
        .type = (int32_t)get_be32(bytes.data + 28),
        .body = {bytes.data + APACHE_TXN_HEADER_SIZE, bytes.size - APACHE_TXN_HEADER_SIZE},
        .position = log->file.position,
    };
    const uint8_t *data;
    *err = apache_file_take(&log->file, RECORD_HEAD + bytes.size + 1, &data);
    return *err == OK ? APACHE_LOG_TXN : APACHE_LOG_FAILED;
}
