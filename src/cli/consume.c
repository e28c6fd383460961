/* consume.c: records to standard output, through librdkafka.
 *
 * Without a group: each partition is read from --from to the end it had at the start (or on, with -f). With a group: as a
 * member, offsets committed as they are written.
 */
#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/offset.h"
#include "cli/rdk.h"

enum { ASK_MS = 10000, POLL_MS = 100, REBALANCE_PATIENCE_MS = 10000, FLUSH_RECORDS = 1000 };

/* SIGINT and SIGTERM stay pending, for librdkafka's threads too, and are asked for between records. */
static void hold_signals(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static bool is_interrupted(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1);
}

struct consumed {
    const struct cli *cli;
    rd_kafka_t *consumer;
    char *separator;
    bool is_follow, is_quiet, shows_progress, is_group;
    struct offset_wish from;
    int64_t limit, count, bytes, lag;
    int64_t started_ms, shown_ms, last_record_ms;
    /* Without a group: where each partition ends for us. */
    rd_kafka_topic_partition_list_t *ends; /* offset = end; -1 = reached */
    int left;
    /* In a group: partitions whose end was reported after their last record. */
    rd_kafka_topic_partition_list_t *at_end;
    /* In a group: written to standard output but not yet handed to the kernel. */
    rd_kafka_topic_partition_list_t *written;
    int unflushed;
    bool is_out_closed, is_failed;
};

static void show_progress(struct consumed *c, bool is_last)
{
    int64_t now = rdk_now_ms();
    if (!c->shows_progress || (!is_last && now - c->shown_ms < 200)) return;
    c->shown_ms = now;
    double seconds = (double)(now - c->started_ms) / 1000;
    fprintf(stderr, "\r%" PRId64 " records, %.1f MB, %.0f records/s, lag %" PRId64 "   %s", c->count,
            (double)c->bytes / 1e6, seconds > 0 ? (double)c->count / seconds : 0, c->lag,
            is_last ? "\n" : "");
}

static void write_json(const rd_kafka_message_t *message)
{
    json_t *headers = json_array();
    rd_kafka_headers_t *list = NULL;
    if (rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char *name;
        const void *value;
        size_t size;
        for (size_t i = 0;
             rd_kafka_header_get_all(list, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
            json_array_append_new(headers, json_pack("[s, o]", name, rdk_bytes_json(value, size)));
        }
    }
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    json_t *record =
        json_pack("{s:s, s:i, s:I, s:I, s:o, s:o, s:o}", "topic", rd_kafka_topic_name(message->rkt),
                  "partition", (int)message->partition, "offset", (json_int_t)message->offset, "timestamp",
                  (json_int_t)timestamp, "key", rdk_bytes_json(message->key, message->key_len), "value",
                  rdk_bytes_json(message->payload, message->len), "headers", headers);
    if (record) json_dumpf(record, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(record);
}

static void write_line(const struct consumed *c, const rd_kafka_message_t *message)
{
    if (cli_flag(c->cli, "offsets")) {
        printf("%s [%d] %" PRId64 "\t", rd_kafka_topic_name(message->rkt), (int)message->partition,
               message->offset);
    }
    if (cli_flag(c->cli, "headers")) {
        rd_kafka_headers_t *list = NULL;
        const char *name;
        const void *value;
        size_t size;
        if (rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            for (size_t i = 0;
                 rd_kafka_header_get_all(list, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
                printf("%s%s=%.*s", i ? "," : "", name, (int)size, value ? (const char *)value : "");
            }
        }
        putchar('\t');
    }
    if (cli_flag(c->cli, "keys") || c->separator) {
        if (message->key) fwrite(message->key, 1, message->key_len, stdout);
        fputs(c->separator ? c->separator : "\t", stdout);
    }
    if (message->payload) fwrite(message->payload, 1, message->len, stdout);
    putchar('\n');
}

/* Hands what was written to the kernel, and only then lets its offsets be committed: a member that is killed has committed
 * nothing that its reader did not get. */
static void flush(struct consumed *c)
{
    if (fflush(stdout) != 0) c->is_out_closed = true;
    if (!c->is_group || c->is_out_closed || c->unflushed == 0) return;
    c->unflushed = 0;
    rd_kafka_offsets_store(c->consumer,
                           c->written); /* partitions that were taken away meanwhile are refused: fine */
    rd_kafka_topic_partition_list_destroy(c->written);
    c->written = rd_kafka_topic_partition_list_new(8);
}

static void take(struct consumed *c, const rd_kafka_message_t *message)
{
    rd_kafka_topic_partition_t *end = NULL;
    if (c->ends) {
        end = rd_kafka_topic_partition_list_find(c->ends, rd_kafka_topic_name(message->rkt),
                                                 message->partition);
        if (end && end->offset < 0) return; /* done with this one */
        if (end && message->offset >= end->offset) {
            end->offset = -1;
            c->left--;
            return;
        }
    }
    if (c->cli->output == OUTPUT_JSON || c->cli->output == OUTPUT_JSONL) {
        write_json(message);
    } else {
        write_line(c, message);
    }
    c->count++;
    c->bytes += (int64_t)(message->key_len + message->len);
    c->last_record_ms = rdk_now_ms();
    if (end) {
        c->lag = end->offset - message->offset - 1;
        if (message->offset + 1 >= end->offset) {
            end->offset = -1;
            c->left--;
        }
    }
    if (ferror(stdout)) c->is_out_closed = true;
    if (c->is_group && !c->is_out_closed)
        rd_kafka_offset_store(message->rkt, message->partition, message->offset);
    show_progress(c, false);
}

/* Start offsets of one topic's partitions, and their ends. False after saying what is wrong. */
static bool assign(struct consumed *c, const char *topic)
{
    int64_t only = -1;
    if (!cli_number(c->cli, "partition", 0, INT32_MAX, &only)) return false;
    const rd_kafka_metadata_t *metadata = NULL;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(c->consumer, topic, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(c->consumer, 0, handle, &metadata, ASK_MS);
    rd_kafka_topic_destroy(handle);
    if (!err && (metadata->topic_cnt != 1 || metadata->topics[0].err)) {
        err = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    }
    if (err) {
        cli_complain("%s: %s", topic, rd_kafka_err2str(err));
        if (metadata) rd_kafka_metadata_destroy(metadata);
        return false;
    }
    rd_kafka_topic_partition_list_t *starts = rd_kafka_topic_partition_list_new(8);
    c->ends = rd_kafka_topic_partition_list_new(8);
    for (int i = 0; i < metadata->topics[0].partition_cnt && !err; i++) {
        int32_t partition = metadata->topics[0].partitions[i].id;
        if (only >= 0 && partition != only) continue;
        int64_t low = 0, high = 0;
        err = rd_kafka_query_watermark_offsets(c->consumer, topic, partition, &low, &high, ASK_MS);
        if (err) {
            cli_complain("%s [%d]: %s", topic, (int)partition, rd_kafka_err2str(err));
            break;
        }
        rd_kafka_topic_partition_t *start = rd_kafka_topic_partition_list_add(starts, topic, partition);
        start->offset = c->from.kind == OFFSET_END      ? high
                        : c->from.kind == OFFSET_NUMBER ? c->from.value
                        : c->from.kind == OFFSET_FROM_END
                            ? (high - c->from.value > low ? high - c->from.value : low)
                        : c->from.kind == OFFSET_AT_TIME ? c->from.value
                                                         : low;
        rd_kafka_topic_partition_list_add(c->ends, topic, partition)->offset = high;
    }
    rd_kafka_metadata_destroy(metadata);
    if (!err && c->from.kind == OFFSET_AT_TIME) {
        err = rd_kafka_offsets_for_times(c->consumer, starts, ASK_MS);
        if (err) cli_complain("%s: offsets for that time: %s", topic, rd_kafka_err2str(err));
    }
    if (!err && starts->cnt == 0) {
        cli_complain("%s has no partition %" PRId64, topic, only);
        err = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    }
    for (int i = 0; i < starts->cnt && !err; i++) {
        int64_t start = starts->elems[i].offset, end = c->ends->elems[i].offset;
        if (start < 0) start = starts->elems[i].offset = end; /* nothing that late */
        if (start >= end) c->ends->elems[i].offset = -1;
        c->left += start < end;
        c->lag += start < end ? end - start : 0;
    }
    if (c->is_follow) {
        rd_kafka_topic_partition_list_destroy(c->ends);
        c->ends = NULL;
    }
    if (!err) err = rd_kafka_assign(c->consumer, starts);
    rd_kafka_topic_partition_list_destroy(starts);
    return !err;
}

static bool subscribe(struct consumed *c, const char *topic)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(c->consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (err) cli_complain("%s: %s", topic, rd_kafka_err2str(err));
    return !err;
}

static bool is_finished(struct consumed *c)
{
    if (is_interrupted() || c->is_out_closed || c->is_failed) return true;
    if (c->limit >= 0 && c->count >= c->limit) return true;
    if (c->is_follow) return false;
    if (!c->is_group) return c->left <= 0;
    /* A member stops when each of its partitions is at its end. */
    rd_kafka_topic_partition_list_t *mine = NULL;
    int assigned = 0, ended = 0;
    if (!rd_kafka_assignment(c->consumer, &mine)) {
        assigned = mine->cnt;
        for (int i = 0; i < assigned && c->at_end->cnt > 0; i++) {
            const rd_kafka_topic_partition_t *one = &mine->elems[i];
            ended += rd_kafka_topic_partition_list_find(c->at_end, one->topic, one->partition) != NULL;
        }
        rd_kafka_topic_partition_list_destroy(mine);
    }
    if (assigned > 0) return ended == assigned;
    return rdk_now_ms() - c->last_record_ms > REBALANCE_PATIENCE_MS; /* nothing for us in this group */
}

static void reached_end(struct consumed *c, const char *topic, int32_t partition)
{
    if (!rd_kafka_topic_partition_list_find(c->at_end, topic, partition))
        rd_kafka_topic_partition_list_add(c->at_end, topic, partition);
    rd_kafka_topic_partition_t *end =
        c->ends ? rd_kafka_topic_partition_list_find(c->ends, topic, partition) : NULL;
    if (!end || end->offset < 0) return;
    end->offset = -1; /* only control records were left */
    c->left--;
}

static void consume(struct consumed *c)
{
    while (!is_finished(c)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(c->consumer, POLL_MS);
        if (!message) {
            flush(c);
            show_progress(c, false);
            continue;
        }
        if (!message->err) {
            rd_kafka_topic_partition_list_del(c->at_end, rd_kafka_topic_name(message->rkt),
                                              message->partition);
            take(c, message);
        } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            reached_end(c, rd_kafka_topic_name(message->rkt), message->partition);
        } else if (message->err != RD_KAFKA_RESP_ERR__TRANSPORT &&
                   message->err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
            cli_complain("%s", rd_kafka_message_errstr(message));
            c->is_failed = true;
        }
        rd_kafka_message_destroy(message);
    }
    flush(c);
    show_progress(c, true);
}

static bool configure(struct consumed *c, rd_kafka_conf_t *conf)
{
    const char *group = cli_text(c->cli, "group");
    char own[64];
    snprintf(own, sizeof own, "odradek-consume-%d",
             (int)getpid()); /* librdkafka wants one; nothing is committed */
    bool is_from_end = c->from.kind == OFFSET_END;
    return rdk_set(conf, "group.id", group ? group : own) &&
           rdk_set(conf, "enable.auto.commit", group ? "true" : "false") &&
           rdk_set(conf, "enable.auto.offset.store", "false") &&
           rdk_set(conf, "enable.partition.eof", "true") &&
           rdk_set(conf, "auto.offset.reset", is_from_end ? "latest" : "earliest") &&
           rdk_set(conf, "allow.auto.create.topics", "false") && rdk_set_all(conf, c->cli);
}

int cli_consume(struct cli *cli)
{
    struct consumed c = {.cli = cli, .limit = -1};
    const char *from = cli_text(cli, "from");
    if (!offset_parse(from ? from : "start", time(NULL) * 1000, &c.from)) {
        cli_complain("--from %s: it is start, end, N, -N, @2026-11-22T10:00Z or @-1h", from);
        return EXIT_USAGE;
    }
    if (!cli_number(cli, "count", 0, INT64_MAX, &c.limit)) return EXIT_USAGE;
    c.is_group = cli_text(cli, "group") != NULL;
    c.is_follow = cli_flag(cli, "follow") || c.from.kind == OFFSET_END;
    c.is_quiet = cli_flag(cli, "quiet");
    c.shows_progress = !c.is_quiet && isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
    if (c.is_group && (cli_text(cli, "partition") || (from && c.from.kind > OFFSET_END))) {
        cli_complain(
            "a member of a group gets its partitions and offsets from the group; see odradek group seek");
        return EXIT_USAGE;
    }
    int status = rdk_probe(cli);
    if (status != EXIT_OK) return status;
    hold_signals();
    rd_kafka_conf_t *conf = rdk_conf(cli);
    char why[512];
    if (!conf || !configure(&c, conf)) {
        if (conf) rd_kafka_conf_destroy(conf);
        return EXIT_USAGE;
    }
    c.consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!c.consumer) {
        cli_complain("consumer: %s", why);
        rd_kafka_conf_destroy(conf);
        return EXIT_USAGE;
    }
    rd_kafka_poll_set_consumer(c.consumer);
    c.separator = rdk_separator(cli);
    c.written = rd_kafka_topic_partition_list_new(8);
    c.at_end = rd_kafka_topic_partition_list_new(8);
    c.started_ms = c.last_record_ms = rdk_now_ms();
    bool is_ready = c.is_group ? subscribe(&c, cli->argv[0]) : assign(&c, cli->argv[0]);
    if (is_ready) consume(&c);
    rd_kafka_consumer_close(c.consumer);
    rd_kafka_destroy(c.consumer);
    if (c.ends) rd_kafka_topic_partition_list_destroy(c.ends);
    rd_kafka_topic_partition_list_destroy(c.written);
    rd_kafka_topic_partition_list_destroy(c.at_end);
    rdk_separator_free(c.separator);
    if (is_ready && !c.is_quiet && isatty(STDERR_FILENO) && isatty(STDOUT_FILENO)) {
        fprintf(stderr, "%" PRId64 " records\n", c.count);
    }
    if (!is_ready || c.is_failed) return EXIT_ITEM_FAILED;
    return is_interrupted() ? 130 : EXIT_OK;
}
