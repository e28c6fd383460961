#include "keeper/keeper_tls.h"

#include <stdlib.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/text.h"
#include "loop/disk.h"
#include "loop/tls.h"
#include "security/keystore.h"
#include "settings/zoo_config.h"

enum { STORE_MAX = 1 << 20, PASSWORD_MAX = 4096 };

struct keys {
    const char *prefix;
    enum zoo_setting key_location, key_password, key_password_path;
    enum zoo_setting trust_location, trust_password, trust_password_path;
    enum zoo_setting protocol, enabled_protocols, ciphers, client_auth;
};

static const struct keys OF_CLIENTS = {
    "ssl",
    ZOO_SSL_KEY_STORE_LOCATION,
    ZOO_SSL_KEY_STORE_PASSWORD,
    ZOO_SSL_KEY_STORE_PASSWORD_PATH,
    ZOO_SSL_TRUST_STORE_LOCATION,
    ZOO_SSL_TRUST_STORE_PASSWORD,
    ZOO_SSL_TRUST_STORE_PASSWORD_PATH,
    ZOO_SSL_PROTOCOL,
    ZOO_SSL_ENABLED_PROTOCOLS,
    ZOO_SSL_CIPHERSUITES,
    ZOO_SSL_CLIENT_AUTH,
};
static const struct keys OF_MEMBERS = {
    "ssl.quorum",
    ZOO_SSL_MEMBERS_KEY_STORE_LOCATION,
    ZOO_SSL_MEMBERS_KEY_STORE_PASSWORD,
    ZOO_SSL_MEMBERS_KEY_STORE_PASSWORD_PATH,
    ZOO_SSL_MEMBERS_TRUST_STORE_LOCATION,
    ZOO_SSL_MEMBERS_TRUST_STORE_PASSWORD,
    ZOO_SSL_MEMBERS_TRUST_STORE_PASSWORD_PATH,
    ZOO_SSL_MEMBERS_PROTOCOL,
    ZOO_SSL_MEMBERS_ENABLED_PROTOCOLS,
    ZOO_SSL_MEMBERS_CIPHERSUITES,
    ZOO_SSL_MEMBERS_CLIENT_AUTH,
};

/* *password is freed by the caller; NULL: none. */
static enum error password_of(struct disk *disk, const char *text, const char *path, char **password,
                              struct text *why)
{
    *password = NULL;
    struct bytes *file = NULL;
    if (path && *path) {
        enum error err = disk_read_file(disk, path, PASSWORD_MAX, &file);
        if (err != OK) {
            text_addf(why, "%s: %s", path, error_text(err));
            return err;
        }
        struct slice line = bytes_slice(file);
        const uint8_t *end = line.size ? memchr(line.data, '\n', line.size) : NULL;
        if (end) line.size = (size_t)(end - line.data);
        if (line.size > 0 && line.data[line.size - 1] == '\r') line.size--;
        *password = slice_dup(line);
    } else if (text) {
        *password = slice_dup(slice_of(text));
    } else {
        return OK;
    }
    bytes_release(&file);
    return *password ? OK : ERR_NOMEM;
}

static enum error store_of(struct disk *disk, const char *path, const char *password_text,
                           const char *password_path, struct keystore *store, struct text *why)
{
    *store = (struct keystore){0};
    if (!path || !*path) return OK;
    char *password = NULL;
    enum error err = password_of(disk, password_text, password_path, &password, why);
    struct bytes *file = NULL;
    if (err == OK) {
        err = disk_read_file(disk, path, STORE_MAX, &file);
        if (err != OK) text_addf(why, "%s: %s", path, error_text(err));
    }
    if (err == OK) {
        size_t before = why->size;
        text_addf(why, "%s: ", path);
        err = keystore_read(bytes_slice(file), password, NULL, store, why);
        if (err == OK) why->size = before;
    }
    bytes_release(&file);
    if (password) explicit_bzero(password, strlen(password));
    free(password);
    return err;
}

static struct slice or_null(const struct text *text)
{
    return text->size > 0 ? text_slice(text) : SLICE_NULL;
}

enum error tls_files_context(const struct tls_files *files, struct disk *disk, struct tls_context **context,
                             struct text *why)
{
    struct keystore own = {0}, trusted = {0};
    enum error err =
        store_of(disk, files->key_location, files->key_password, files->key_password_path, &own, why);
    if (err == OK) {
        err = store_of(disk, files->trust_location, files->trust_password, files->trust_password_path,
                       &trusted, why);
    }
    if (err == OK) {
        bool has_protocols = files->protocols && *files->protocols;
        bool has_protocol = files->protocol && strcmp(files->protocol, "TLS") != 0;
        struct tls_config config = {
            .is_server = files->is_server,
            .chain = or_null(&own.chain),
            .key = or_null(&own.key),
            /* A trust store may be a store with a key: Java then believes its certificates as well. */
            .trust = or_null(trusted.trust.size > 0 ? &trusted.trust : &trusted.chain),
            .peer = files->peer,
            .protocols = has_protocols || !has_protocol ? files->protocols : files->protocol,
            .ciphers = files->ciphers,
        };
        err = tls_context_new(&config, context, why);
    }
    keystore_free(&own);
    keystore_free(&trusted);
    return err;
}

/* --- zoo.cfg --- */

static enum tls_peer_check peer_check(const struct zoo_config *config, const struct keys *keys,
                                      bool is_server)
{
    if (!is_server) return TLS_PEER_NEEDED;
    const char *word = zoo_text(config, keys->client_auth);
    if (strcasecmp(word, "need") == 0) return TLS_PEER_NEEDED;
    return strcasecmp(word, "want") == 0 ? TLS_PEER_WANTED : TLS_PEER_ANY;
}

enum error keeper_tls_context(const struct zoo_config *config, struct disk *disk, enum keeper_tls_side side,
                              struct tls_context **context, struct text *why)
{
    const struct keys *keys = side == KEEPER_TLS_CLIENTS ? &OF_CLIENTS : &OF_MEMBERS;
    bool is_server = side != KEEPER_TLS_DIALING;
    struct tls_files files = {
        .is_server = is_server,
        .peer = peer_check(config, keys, is_server),
        .key_location = zoo_text(config, keys->key_location),
        .key_password = zoo_text(config, keys->key_password),
        .key_password_path = zoo_text(config, keys->key_password_path),
        .trust_location = zoo_text(config, keys->trust_location),
        .trust_password = zoo_text(config, keys->trust_password),
        .trust_password_path = zoo_text(config, keys->trust_password_path),
        .protocol = zoo_text(config, keys->protocol),
        .protocols = zoo_text(config, keys->enabled_protocols),
        .ciphers = zoo_text(config, keys->ciphers),
    };
    if (is_server && (!files.key_location || !*files.key_location)) {
        text_addf(why, "%s.keyStore.location must name a store with a key and its certificate", keys->prefix);
        return ERR_CONFIG;
    }
    if (is_server && files.peer != TLS_PEER_ANY && (!files.trust_location || !*files.trust_location)) {
        text_addf(why, "%s.trustStore.location must name a store, or %s.clientAuth be none", keys->prefix,
                  keys->prefix);
        return ERR_CONFIG;
    }
    return tls_files_context(&files, disk, context, why);
}
