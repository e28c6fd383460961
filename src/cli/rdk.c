#include "cli/rdk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/admin.h"

int rdk_probe(const struct cli *cli)
{
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    admin_close(&admin);
    return status;
}

static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    (void)client;
    if (level <= 4) cli_complain("%s: %s", facility, text);
}

rd_kafka_conf_t *rdk_conf(const struct cli *cli)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (!conf) return NULL;
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (!rdk_set(conf, "bootstrap.servers", cli->bootstrap) || !rdk_set(conf, "client.id", "odradek-cli")) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    return conf;
}

bool rdk_set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char why[512];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof why) == RD_KAFKA_CONF_OK) return true;
    cli_complain("%s=%s: %s", key, value, why);
    return false;
}

bool rdk_set_number(rd_kafka_conf_t *conf, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return rdk_set(conf, key, text);
}

bool rdk_set_all(rd_kafka_conf_t *conf, const struct cli *cli)
{
    const char *text;
    for (size_t i = 0; (text = cli_text_at(cli, "set", i)); i++) {
        const char *equals = strchr(text, '=');
        char key[256];
        if (!equals || (size_t)(equals - text) >= sizeof key) {
            cli_complain("-X %s: not KEY=VALUE", text);
            return false;
        }
        slice_text((struct slice){(const uint8_t *)text, (size_t)(equals - text)}, key, sizeof key);
        if (!rdk_set(conf, key, equals + 1)) return false;
    }
    return true;
}

char *rdk_separator(const struct cli *cli)
{
    const char *text = cli_text(cli, "key-separator");
    if (!text || !text[0]) return NULL;
    char *made = strdup(text), *out = made;
    for (; made && *text; text++) {
        bool is_escape = *text == '\\' && (text[1] == 't' || text[1] == 'n' || text[1] == '\\');
        if (is_escape) text++;
        *out++ = !is_escape ? *text : (char)(*text == 't' ? '\t' : *text == 'n' ? '\n' : '\\');
    }
    if (made) *out = 0;
    return made;
}

void rdk_separator_free(const char *separator)
{
    free((void *)separator);
}

int64_t rdk_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *rdk_bytes_json(const void *bytes, size_t size)
{
    if (!bytes) return json_null();
    json_t *text = json_stringn(bytes, size);
    if (text) return json_pack("{s:o}", "text", text);
    struct text out = {0};
    const uint8_t *p = bytes;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t word = (uint32_t)p[i] << 16 | (i + 1 < size ? (uint32_t)p[i + 1] << 8 : 0) |
                        (i + 2 < size ? p[i + 2] : 0);
        text_addc(&out, base64[word >> 18]);
        text_addc(&out, base64[word >> 12 & 63]);
        text_addc(&out, i + 1 < size ? base64[word >> 6 & 63] : '=');
        text_addc(&out, i + 2 < size ? base64[word & 63] : '=');
    }
    json_t *result = json_pack("{s:s}", "b64", out.data ? out.data : "");
    text_free(&out);
    return result;
}

bool rdk_json_bytes(const json_t *json, struct text *memory, const void **bytes, size_t *size)
{
    *bytes = NULL;
    *size = 0;
    if (!json || json_is_null(json)) return true;
    const json_t *plain = json_is_string(json) ? json : json_object_get(json, "text");
    if (plain) {
        *bytes = json_string_value(plain);
        *size = json_string_length(plain);
        return *bytes != NULL;
    }
    const char *encoded = json_string_value(json_object_get(json, "b64"));
    if (!encoded) return false;
    uint32_t word = 0;
    int bits = 0;
    for (; *encoded && *encoded != '='; encoded++) {
        const char *at = strchr(base64, *encoded);
        if (!at) return false;
        word = word << 6 | (uint32_t)(at - base64);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            text_addc(memory, (char)(word >> bits & 255));
        }
    }
    *bytes = memory->data ? memory->data : "";
    *size = memory->size;
    return !memory->failed;
}
