/* sasl_users.c: names and passwords from a JAAS file: sections, in them login modules with options, all ended by ';'. */
#include <stdlib.h>

#include "base/vec.h"
#include "security/sasl_digest.h"

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_TEXT, TOKEN_MARK, TOKEN_BAD };

struct reader {
    struct slice rest;
    int line;
    enum token_kind kind;
    struct text token; /* a word or what stood between quotes */
    char mark;
};

static int next_byte(struct reader *reader)
{
    if (reader->rest.size == 0) return -1;
    int byte = *reader->rest.data;
    reader->rest.data++, reader->rest.size--;
    reader->line += byte == '\n';
    return byte;
}

static int peek(const struct reader *reader, size_t at)
{
    return at < reader->rest.size ? reader->rest.data[at] : -1;
}

static bool skip_comment(struct reader *reader)
{
    if (peek(reader, 0) != '/') return false;
    if (peek(reader, 1) == '/') {
        while (peek(reader, 0) >= 0 && peek(reader, 0) != '\n') next_byte(reader);
        return true;
    }
    if (peek(reader, 1) != '*') return false;
    next_byte(reader);
    next_byte(reader);
    while (peek(reader, 0) >= 0 && !(peek(reader, 0) == '*' && peek(reader, 1) == '/')) next_byte(reader);
    next_byte(reader);
    next_byte(reader);
    return true;
}

static enum token_kind take_quoted(struct reader *reader, int quote)
{
    for (int byte; (byte = next_byte(reader)) != quote;) {
        if (byte < 0 || byte == '\n') return TOKEN_BAD;
        if (byte == '\\') byte = next_byte(reader);
        if (byte < 0) return TOKEN_BAD;
        text_addc(&reader->token, (char)byte);
    }
    return TOKEN_TEXT;
}

static void advance(struct reader *reader)
{
    text_reset(&reader->token);
    for (;;) {
        int byte = peek(reader, 0);
        if (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n') {
            next_byte(reader);
        } else if (!skip_comment(reader)) {
            break;
        }
    }
    int byte = peek(reader, 0);
    if (byte < 0) {
        reader->kind = TOKEN_END;
    } else if (strchr("{};=", byte) && byte) {
        reader->kind = TOKEN_MARK;
        reader->mark = (char)next_byte(reader);
    } else if (byte == '"' || byte == '\'') {
        reader->kind = take_quoted(reader, next_byte(reader));
    } else {
        reader->kind = TOKEN_WORD;
        while (byte > ' ' && !strchr("{};=\"'", byte)) {
            text_addc(&reader->token, (char)next_byte(reader));
            byte = peek(reader, 0);
        }
        if (reader->token.size == 0) {
            next_byte(reader);
            reader->kind = TOKEN_BAD;
        }
    }
}

static bool is_mark(const struct reader *reader, char mark)
{
    return reader->kind == TOKEN_MARK && reader->mark == mark;
}

static enum error complain(const struct reader *reader, struct text *why, const char *wanted)
{
    text_addf(why, "line %d: %s expected", reader->line, wanted);
    return ERR_CONFIG;
}

/* NAME = VALUE, kept where NAME begins with `prefix`, without that. */
static enum error take_option(struct reader *reader, bool is_wanted, const char *prefix,
                              struct sasl_users *users, struct text *why)
{
    size_t skipped = strlen(prefix);
    struct text name = {0};
    text_add(&name, text_slice(&reader->token));
    advance(reader);
    enum error err = is_mark(reader, '=') ? OK : complain(reader, why, "\"=\"");
    if (err == OK) {
        advance(reader);
        if (reader->kind != TOKEN_TEXT && reader->kind != TOKEN_WORD)
            err = complain(reader, why, "a value, in quotes");
    }
    bool is_user = name.size > skipped && memcmp(name.data, prefix, skipped) == 0;
    if (err == OK && (name.failed || reader->token.failed)) err = ERR_NOMEM;
    if (err == OK && is_wanted && is_user) {
        struct slice user = {(const uint8_t *)name.data + skipped, name.size - skipped};
        err = sasl_users_set(users, user, text_slice(&reader->token));
    }
    if (err == OK) advance(reader);
    text_free(&name);
    return err;
}

/* Behind the '{', to the '}' and the ';' after it. */
static enum error take_section(struct reader *reader, bool is_wanted, const char *prefix,
                               struct sasl_users *users, struct text *why)
{
    static const char digest_module[] = "org.apache.zookeeper.server.auth.DigestLoginModule";
    while (!is_mark(reader, '}')) {
        if (reader->kind != TOKEN_WORD) return complain(reader, why, "a login module or \"}\"");
        bool is_digest = slice_is(text_slice(&reader->token), digest_module);
        if (is_wanted && !is_digest) {
            text_addf(why, "line %d: %.*s: only %s is known here", reader->line, (int)reader->token.size,
                      reader->token.data, digest_module);
            return ERR_CONFIG;
        }
        advance(reader);
        if (reader->kind != TOKEN_WORD) return complain(reader, why, "required, or another flag,");
        advance(reader);
        while (reader->kind == TOKEN_WORD) {
            enum error err = take_option(reader, is_wanted, prefix, users, why);
            if (err != OK) return err;
        }
        if (!is_mark(reader, ';')) return complain(reader, why, "\";\"");
        advance(reader);
    }
    advance(reader);
    if (!is_mark(reader, ';')) return complain(reader, why, "\";\" after \"}\"");
    advance(reader);
    return OK;
}

static enum error read_options(struct slice file, const char *section, const char *prefix,
                               struct sasl_users *users, struct text *why)
{
    struct reader reader = {.rest = file, .line = 1};
    enum error err = OK;
    bool is_found = false;
    for (advance(&reader); err == OK && reader.kind != TOKEN_END;) {
        if (reader.kind != TOKEN_WORD && reader.kind != TOKEN_TEXT) {
            err = complain(&reader, why, "the name of a section");
            break;
        }
        bool is_wanted = slice_is(text_slice(&reader.token), section);
        is_found = is_found || is_wanted;
        advance(&reader);
        if (is_mark(&reader, '{')) {
            advance(&reader);
            err = take_section(&reader, is_wanted, prefix, users, why);
        } else {
            err = complain(&reader, why, "\"{\"");
        }
    }
    if (err == OK && !is_found) {
        text_addf(why, "there is no section \"%s\"", section);
        err = ERR_NOT_FOUND;
    }
    text_free(&reader.token);
    return err;
}

enum error sasl_users_read(struct slice file, const char *section, struct sasl_users *users, struct text *why)
{
    return read_options(file, section, "user_", users, why);
}

enum error sasl_login_read(struct slice file, const char *section, struct sasl_login *login, struct text *why)
{
    struct sasl_users options = {0};
    *login = (struct sasl_login){0};
    enum error err = read_options(file, section, "", &options, why);
    const char *username = sasl_users_password(&options, "username"),
               *password = sasl_users_password(&options, "password");
    if (err == OK && (!username || !password)) {
        text_addf(why, "section \"%s\" has no %s", section, username ? "password" : "username");
        err = ERR_CONFIG;
    }
    if (err == OK) {
        login->username = slice_dup(slice_of(username));
        login->password = slice_dup(slice_of(password));
        if (!login->username || !login->password) err = ERR_NOMEM;
    }
    if (err != OK) sasl_login_free(login);
    sasl_users_free(&options);
    return err;
}

void sasl_login_free(struct sasl_login *login)
{
    free(login->username);
    free(login->password);
    *login = (struct sasl_login){0};
}

enum error sasl_users_set(struct sasl_users *users, struct slice name, struct slice password)
{
    char *copy = slice_dup(password);
    if (!copy) return ERR_NOMEM;
    for (size_t i = 0; i < users->count; i++) {
        if (!slice_is(name, users->items[i].name)) continue;
        free(users->items[i].password);
        users->items[i].password = copy;
        return OK;
    }
    char *own_name = slice_dup(name);
    if (!own_name || !VEC_RESERVE(users->items, users->count, users->capacity)) {
        free(own_name);
        free(copy);
        return ERR_NOMEM;
    }
    users->items[users->count++] = (struct sasl_user){own_name, copy};
    return OK;
}

const char *sasl_users_password(const struct sasl_users *users, const char *name)
{
    for (size_t i = 0; i < users->count; i++) {
        if (strcmp(users->items[i].name, name) == 0) return users->items[i].password;
    }
    return NULL;
}

void sasl_users_free(struct sasl_users *users)
{
    for (size_t i = 0; i < users->count; i++) {
        free(users->items[i].name);
        free(users->items[i].password);
    }
    free(users->items);
    *users = (struct sasl_users){0};
}
