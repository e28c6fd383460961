#include "security/sasl_response.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { USERNAME, REALM, NONCE, CNONCE, NC, QOP, URI, RESPONSE, CHARSET, AUTHZID, MAXBUF, CIPHER, PAIRS };

static const char *const names[PAIRS] = {"username",   "realm",    "nonce",   "cnonce",  "nc",     "qop",
                                         "digest-uri", "response", "charset", "authzid", "maxbuf", "cipher"};

/* A name or a value that is being read. */
struct piece {
    struct text text;
    bool is_there;
};

struct reader {
    struct slice in;
    size_t at;
};

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static void skip_spaces(struct reader *reader)
{
    while (reader->at < reader->in.size && is_space(reader->in.data[reader->at])) reader->at++;
}

static int next_byte(struct reader *reader)
{
    return reader->at < reader->in.size ? reader->in.data[reader->at++] : -1;
}

static enum error read_name(struct reader *reader, struct text *name)
{
    for (;;) {
        int byte = next_byte(reader);
        if (byte == '=' && name->size > 0) return OK;
        if (byte < 0 || byte == '=' || byte == ',' || byte == 0) return ERR_CORRUPT;
        if (!is_space((uint8_t)byte)) {
            text_addc(name, (char)byte);
            continue;
        }
        skip_spaces(reader);
        return next_byte(reader) == '=' ? OK : ERR_CORRUPT;
    }
}

static enum error read_quoted(struct reader *reader, struct text *value)
{
    for (;;) {
        int byte = next_byte(reader);
        if (byte == '"') break;
        if (byte == '\\') byte = next_byte(reader);
        if (byte <= 0) return ERR_CORRUPT;
        text_addc(value, (char)byte);
    }
    int after = next_byte(reader);
    return after < 0 || after == ',' || is_space((uint8_t)after) ? OK : ERR_CORRUPT;
}

static enum error read_value(struct reader *reader, struct text *value)
{
    skip_spaces(reader);
    int byte = next_byte(reader);
    if (byte < 0) return ERR_CORRUPT;
    if (byte == '"') return read_quoted(reader, value);
    for (; byte >= 0 && byte != ',' && !is_space((uint8_t)byte); byte = next_byte(reader)) {
        if (byte == 0) return ERR_CORRUPT;
        text_addc(value, (char)byte);
    }
    return OK;
}

static enum error read_pair(struct reader *reader, struct piece pairs[PAIRS], struct text *name)
{
    struct text other = {0};
    enum error err = read_name(reader, name);
    if (err == OK && name->failed) err = ERR_NOMEM;
    int which = 0;
    while (err == OK && which < PAIRS && strcasecmp(names[which], name->data) != 0) which++;
    struct text *value = which < PAIRS ? &pairs[which].text : &other;
    if (err == OK && which < PAIRS && pairs[which].is_there) err = ERR_CORRUPT; /* twice */
    if (err == OK) err = read_value(reader, value);
    if (err == OK && value->failed) err = ERR_NOMEM;
    if (err == OK && which < PAIRS) pairs[which].is_there = true;
    text_free(&other);
    return err;
}

static enum error read_pairs(struct slice token, struct piece pairs[PAIRS])
{
    struct reader reader = {token, 0};
    struct text name = {0};
    enum error err = OK;
    while (err == OK) {
        skip_spaces(&reader);
        if (reader.at == token.size) break;
        if (token.data[reader.at] == ',') {
            reader.at++;
            continue;
        }
        text_reset(&name);
        err = read_pair(&reader, pairs, &name);
    }
    text_free(&name);
    return err;
}

static bool says(const struct piece *piece, const char *what)
{
    return piece->is_there && slice_is(text_slice(&piece->text), what);
}

static bool is_for(const struct piece *uri, const char *service, const char *host)
{
    size_t size = strlen(service);
    const struct text *said = &uri->text;
    return said->size == size + 1 + strlen(host) && strncasecmp(said->data, service, size) == 0 &&
           said->data[size] == '/' && strcasecmp(said->data + size + 1, host) == 0;
}

/* The first use of the nonce: 1, in hexadecimal digits. */
static bool is_first(const struct piece *count)
{
    if (!count->is_there) return true;
    const struct text *said = &count->text;
    size_t zeros = 0;
    while (zeros < said->size && said->data[zeros] == '0') zeros++;
    return said->size - zeros == 1 && said->data[zeros] == '1';
}

/* An MD5 in small digits, so that it cannot say anything else. */
static bool is_proof(const struct piece *response)
{
    const struct text *said = &response->text;
    size_t digits = 0;
    while (digits < said->size && strchr("0123456789abcdef", said->data[digits])) digits++;
    return digits == 32 && said->size == 32;
}

static enum error check(const struct piece pairs[PAIRS], const char *service, const char *host)
{
    static const int needed[] = {USERNAME, NONCE, CNONCE, URI, RESPONSE};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!pairs[needed[i]].is_there) return ERR_CORRUPT;
    }
    if (pairs[CHARSET].is_there && !says(&pairs[CHARSET], "utf-8")) return ERR_CORRUPT;
    if (pairs[QOP].is_there && !says(&pairs[QOP], "auth")) return ERR_CORRUPT;
    bool is_ours = says(&pairs[REALM], host) && is_for(&pairs[URI], service, host);
    return is_ours && is_first(&pairs[NC]) && is_proof(&pairs[RESPONSE]) ? OK : ERR_CORRUPT;
}

static void add_quoted(struct text *out, int which, const struct piece pairs[PAIRS])
{
    if (!pairs[which].is_there) return;
    const struct text *value = &pairs[which].text;
    text_addf(out, ",%s=\"", names[which]);
    for (size_t i = 0; i < value->size; i++) {
        if (value->data[i] == '"' || value->data[i] == '\\') text_addc(out, '\\');
        text_addc(out, value->data[i]);
    }
    text_addc(out, '"');
}

enum error sasl_response_read(struct slice token, const char *service, const char *host, struct text *out)
{
    static const int quoted[] = {USERNAME, REALM, NONCE, CNONCE, URI, AUTHZID};
    struct piece pairs[PAIRS] = {0};
    enum error err = read_pairs(token, pairs);
    if (err == OK) err = check(pairs, service, host);
    if (err == OK) {
        text_addz(out, "charset=utf-8,nc=00000001,qop=auth,response=");
        text_add(out, text_slice(&pairs[RESPONSE].text));
        for (size_t i = 0; i < sizeof quoted / sizeof *quoted; i++) add_quoted(out, quoted[i], pairs);
        if (out->failed) err = ERR_NOMEM;
    }
    for (int i = 0; i < PAIRS; i++) text_free(&pairs[i].text);
    return err;
}
