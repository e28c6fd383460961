/* produce.c: lines of a file or pipe as records, through librdkafka.
 *
 * Standard output stays empty; progress (on a terminal) and a summary go to standard error. A record that the broker
 * refused is named with its line; the exit code is then 1.
 */
#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/rdk.h"

struct produced {
    const struct cli *cli;
    rd_kafka_t *producer;
    rd_kafka_topic_t *topic;
    int32_t partition; /* RD_KAFKA_PARTITION_UA: librdkafka chooses */
    const char *key, *separator;
    bool nulls, is_jsonl, is_quiet, shows_progress;
    uint64_t sent, delivered, failed, bytes;
    int64_t started_ms, shown_ms;
};

static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *context)
{
    (void)producer;
    struct produced *p = context;
    if (!message->err) {
        p->delivered++;
        return;
    }
    p->failed++;
    if (p->failed <= 10) {
        cli_complain("line %" PRIu64 ": %s", (uint64_t)(uintptr_t)message->_private,
                     rd_kafka_err2str(message->err));
    }
}

static void show_progress(struct produced *p, bool is_last)
{
    int64_t now = rdk_now_ms();
    if (!p->shows_progress || (!is_last && now - p->shown_ms < 200)) return;
    p->shown_ms = now;
    double seconds = (double)(now - p->started_ms) / 1000;
    fprintf(stderr, "\r%" PRIu64 " records, %.1f MB, %.0f records/s, %" PRIu64 " waiting   %s", p->delivered,
            (double)p->bytes / 1e6, seconds > 0 ? (double)p->delivered / seconds : 0,
            p->sent - p->delivered - p->failed, is_last ? "\n" : "");
}

struct outgoing {
    const void *key, *value; /* NULL = null */
    size_t key_size, value_size;
    rd_kafka_headers_t *headers; /* taken over */
    int32_t partition;
    int64_t timestamp; /* 0 = now */
};

static bool send_record(struct produced *p, struct outgoing *out)
{
    for (;;) {
        rd_kafka_vu_t parts[] = {
            {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = p->topic},
            {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = out->partition},
            {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
            {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)(p->sent + 1)},
            {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)out->key, out->key_size}},
            {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)out->value, out->value_size}},
            {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = out->timestamp},
            {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = out->headers},
        };
        rd_kafka_error_t *error = rd_kafka_produceva(p->producer, parts, out->headers ? 8 : 7);
        if (!error) {
            p->sent++;
            p->bytes += out->key_size + out->value_size;
            rd_kafka_poll(p->producer, 0);
            show_progress(p, false);
            return true;
        }
        rd_kafka_resp_err_t code = rd_kafka_error_code(error);
        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            rd_kafka_error_destroy(error);
            rd_kafka_poll(p->producer, 100);
            show_progress(p, false);
            continue;
        }
        p->sent++;
        p->failed++;
        cli_complain("line %" PRIu64 ": %s", p->sent, rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        if (out->headers) rd_kafka_headers_destroy(out->headers);
        bool is_hopeless = code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
                           code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR__FATAL;
        return !is_hopeless;
    }
}

static rd_kafka_headers_t *common_headers(const struct cli *cli)
{
    rd_kafka_headers_t *headers = NULL;
    const char *text;
    for (size_t i = 0; (text = cli_text_at(cli, "header", i)); i++) {
        const char *equals = strchr(text, '=');
        if (!headers) headers = rd_kafka_headers_new(4);
        size_t name_size = equals ? (size_t)(equals - text) : strlen(text);
        rd_kafka_header_add(headers, text, (ssize_t)name_size, equals ? equals + 1 : NULL, equals ? -1 : 0);
    }
    return headers;
}

static bool send_line(struct produced *p, const char *line, size_t size)
{
    struct outgoing out = {.value = line, .value_size = size, .partition = p->partition};
    if (p->key) {
        out.key = p->key;
        out.key_size = strlen(p->key);
    }
    if (p->separator) {
        const char *at = memmem(line, size, p->separator, strlen(p->separator));
        if (at) {
            out.key = line;
            out.key_size = (size_t)(at - line);
            out.value = at + strlen(p->separator);
            out.value_size = size - out.key_size - strlen(p->separator);
        }
    }
    if (p->nulls && out.value_size == 0) out.value = NULL;
    out.headers = common_headers(p->cli);
    return send_record(p, &out);
}

static bool send_json(struct produced *p, const char *line, size_t size)
{
    json_error_t where;
    json_t *record = json_loadb(line, size, JSON_ALLOW_NUL, &where);
    if (!json_is_object(record)) {
        cli_complain("line %" PRIu64 ": not a JSON object: %s", p->sent + 1,
                     record ? "another kind of value" : where.text);
        json_decref(record);
        p->sent++;
        p->failed++;
        return true;
    }
    struct text key = {0}, value = {0}, part = {0};
    struct outgoing out = {.partition = p->partition};
    bool is_good = rdk_json_bytes(json_object_get(record, "key"), &key, &out.key, &out.key_size) &&
                   rdk_json_bytes(json_object_get(record, "value"), &value, &out.value, &out.value_size);
    const json_t *timestamp = json_object_get(record, "timestamp");
    if (json_is_integer(timestamp) && json_integer_value(timestamp) > 0)
        out.timestamp = json_integer_value(timestamp);
    out.headers = common_headers(p->cli);
    const json_t *headers = json_object_get(record, "headers");
    for (size_t i = 0; i < json_array_size(headers) && is_good; i++) {
        const json_t *pair = json_array_get(headers, i);
        const char *name = json_string_value(json_array_get(pair, 0));
        const void *bytes = NULL;
        size_t bytes_size = 0;
        text_reset(&part);
        is_good = name && rdk_json_bytes(json_array_get(pair, 1), &part, &bytes, &bytes_size);
        if (!out.headers) out.headers = rd_kafka_headers_new(4);
        if (is_good) rd_kafka_header_add(out.headers, name, -1, bytes, (ssize_t)bytes_size);
    }
    bool goes_on = true;
    if (is_good) {
        goes_on = send_record(p, &out);
    } else {
        cli_complain("line %" PRIu64
                     ": key, value and header values are null, {\"text\":...} or {\"b64\":...}",
                     p->sent + 1);
        p->sent++;
        p->failed++;
        if (out.headers) rd_kafka_headers_destroy(out.headers);
    }
    text_free(&key);
    text_free(&value);
    text_free(&part);
    json_decref(record);
    return goes_on;
}

static void send_input(struct produced *p, FILE *input)
{
    char *line = NULL;
    size_t capacity = 0;
    if (cli_flag(p->cli, "whole")) {
        struct text all = {0};
        char part[65536];
        size_t got;
        while ((got = fread(part, 1, sizeof part, input)) > 0)
            text_add(&all, (struct slice){(uint8_t *)part, got});
        send_line(p, all.data ? all.data : "", all.size);
        text_free(&all);
        return;
    }
    ssize_t size;
    while ((size = getline(&line, &capacity, input)) >= 0) {
        if (size > 0 && line[size - 1] == '\n') size--;
        bool goes_on = p->is_jsonl ? send_json(p, line, (size_t)size) : send_line(p, line, (size_t)size);
        if (!goes_on) break;
    }
    free(line);
}

static bool configure(struct produced *p, rd_kafka_conf_t *conf)
{
    const struct cli *cli = p->cli;
    const char *acks = cli_text(cli, "acks"), *codec = cli_text(cli, "compression");
    if (acks && strcmp(acks, "0") != 0 && strcmp(acks, "1") != 0 && strcmp(acks, "all") != 0 &&
        strcmp(acks, "-1") != 0) {
        cli_complain("--acks %s: it is 0, 1 or all", acks);
        return false;
    }
    rd_kafka_conf_set_opaque(conf, p);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    /* murmur2 over the key, as Java's clients do; without a key librdkafka stays with one partition for a while. */
    return rdk_set(conf, "partitioner", "murmur2_random") && rdk_set(conf, "acks", acks ? acks : "all") &&
           rdk_set(conf, "linger.ms", "5") && rdk_set(conf, "sticky.partitioning.linger.ms", "10") &&
           (!codec || rdk_set(conf, "compression.codec", codec)) &&
           (!cli->timeout_ms || rdk_set_number(conf, "message.timeout.ms", cli->timeout_ms)) &&
           rdk_set_all(conf, cli);
}

int cli_produce(struct cli *cli)
{
    int64_t partition = RD_KAFKA_PARTITION_UA;
    const char *file = cli_text(cli, "file"), *format = cli_text(cli, "input");
    if (!cli_number(cli, "partition", 0, INT32_MAX, &partition)) return EXIT_USAGE;
    if (format && strcmp(format, "jsonl") != 0 && strcmp(format, "lines") != 0) {
        cli_complain("--input %s: it is lines or jsonl", format);
        return EXIT_USAGE;
    }
    struct produced p = {
        .cli = cli,
        .partition = (int32_t)partition,
        .key = cli_text(cli, "key"),
        .separator = rdk_separator(cli),
        .nulls = cli_flag(cli, "null"),
        .is_jsonl = format && strcmp(format, "jsonl") == 0,
        .is_quiet = cli_flag(cli, "quiet"),
    };
    int status = rdk_probe(cli);
    if (status != EXIT_OK) return status;
    FILE *input = file ? fopen(file, "r") : stdin;
    if (!input) {
        cli_complain("%s: %s", file, error_text(error_from_errno(errno)));
        return EXIT_USAGE;
    }
    p.shows_progress = !p.is_quiet && isatty(STDERR_FILENO) && !isatty(fileno(input));
    rd_kafka_conf_t *conf = rdk_conf(cli);
    if (!conf || !configure(&p, conf)) {
        if (conf) rd_kafka_conf_destroy(conf);
        if (file) fclose(input);
        return EXIT_USAGE;
    }
    char why[512];
    p.producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!p.producer) {
        cli_complain("producer: %s", why);
        rd_kafka_conf_destroy(conf);
        if (file) fclose(input);
        return EXIT_USAGE;
    }
    p.topic = rd_kafka_topic_new(p.producer, cli->argv[0], NULL);
    p.started_ms = rdk_now_ms();
    send_input(&p, input);
    while (rd_kafka_outq_len(p.producer) > 0) {
        rd_kafka_poll(p.producer, 100);
        show_progress(&p, false);
    }
    show_progress(&p, true);
    if (!p.is_quiet && isatty(STDERR_FILENO)) {
        fprintf(stderr, "%" PRIu64 " records written to %s\n", p.delivered, cli->argv[0]);
    }
    if (p.failed) cli_complain("%" PRIu64 " of %" PRIu64 " records were not written", p.failed, p.sent);
    rd_kafka_topic_destroy(p.topic);
    rd_kafka_destroy(p.producer);
    if (file) fclose(input);
    rdk_separator_free(p.separator);
    return p.failed ? EXIT_ITEM_FAILED : EXIT_OK;
}
