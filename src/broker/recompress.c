#include "broker/recompress.h"

enum { OPENED_MAX = 256 << 20 };

enum error recompress(const struct log_config *config, struct slice *batch, struct text *made,
                      struct records_report *report, const char **why)
{
    struct batch_header header;
    enum error err = batch_header_read(*batch, &header);
    if (err != OK) return ERR_CORRUPT_MESSAGE;
    if (!config->recompresses || batch_codec(&header) == config->codec) return OK;
    /* Too large as it came is too large, however small it would become. */
    if ((int64_t)batch->size > config->max_message_bytes) return ERR_MESSAGE_TOO_LARGE;

    struct text opened = {0};
    struct slice records;
    err = batch_records(*batch, &header, OPENED_MAX, &opened, &records);
    if (err != OK) {
        *why = "the records cannot be decompressed";
        if (err != ERR_NOMEM) err = ERR_CORRUPT_MESSAGE;
    } else {
        err = records_check(&header, records, report);
        if (err != OK) *why = report->fault;
    }
    if (err == OK) err = batch_recompress(*batch, records, config->codec, config->codec_level, made);
    if (err == OK) *batch = text_slice(made);
    text_free(&opened);
    return err;
}
