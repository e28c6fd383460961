/* rdk.h: what produce and consume share of librdkafka. */
#pragma once
#include <librdkafka/rdkafka.h>

#include "base/text.h"
#include "cli/cli.h"

/* Answers within the connect timeout whether a broker is there, saying why not: librdkafka alone would retry for ever. */
int rdk_probe(const struct cli *cli);
/* bootstrap.servers, client.id, logging. NULL after saying what is wrong. */
rd_kafka_conf_t *rdk_conf(const struct cli *cli);
/* False after saying what is wrong. */
bool rdk_set(rd_kafka_conf_t *conf, const char *key, const char *value);
bool rdk_set_number(rd_kafka_conf_t *conf, const char *key, int64_t value);
/* Every -X KEY=VALUE. */
bool rdk_set_all(rd_kafka_conf_t *conf, const struct cli *cli);
/* --key-separator with \t and \n understood, or NULL; free with rdk_separator_free. */
char *rdk_separator(const struct cli *cli);
void rdk_separator_free(const char *separator);
int64_t rdk_now_ms(void);

/* Bytes as JSON and back, lossless: null, {"text":"..."} or {"b64":"..."}. The bytes may live in `memory`. */
json_t *rdk_bytes_json(const void *bytes, size_t size);
bool rdk_json_bytes(const json_t *json, struct text *memory, const void **bytes, size_t *size);
