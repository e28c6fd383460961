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

/* A file wins over the key itself, as in ZooKeeper. *password is freed by the caller; NULL: none. */
static enum error password_of(const struct zoo_config *config, struct disk *disk, enum zoo_setting key,
                              enum zoo_setting path_key, char **password, struct text *why)
{
    const char *path = zoo_text(config, path_key), *text = zoo_text(config, key);
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

static enum error store_of(const struct zoo_config *config, struct disk *disk, enum zoo_setting location,
                           enum zoo_setting password_key, enum zoo_setting path_key, struct keystore *store,
                           struct text *why)
{
    *store = (struct keystore){0};
    const char *path = zoo_text(config, location);
    if (!path || !*path) return OK;
    char *password = NULL;
    enum error err = password_of(config, disk, password_key, path_key, &password, why);
    struct bytes *file = NULL;
    if (err == OK) {
        err = disk_read_file(disk, path, STORE_MAX, &file);
        if (err != OK) text_addf(why, "%s: %s", path, error_text(err));
    }
    if (err == OK) {
        text_addf(why, "%s: ", path);
        size_t said = why->size;
        err = keystore_read(bytes_slice(file), password, NULL, store, why);
        if (err == OK && why->size == said) why->size -= strlen(path) + 2;
    }
    bytes_release(&file);
    if (password) explicit_bzero(password, strlen(password));
    free(password);
    return err;
}

static enum tls_peer_check peer_check(const struct zoo_config *config, const struct keys *keys,
                                      bool is_server)
{
    if (!is_server) return TLS_PEER_NEEDED;
    const char *word = zoo_text(config, keys->client_auth);
    if (strcasecmp(word, "need") == 0) return TLS_PEER_NEEDED;
    return strcasecmp(word, "want") == 0 ? TLS_PEER_WANTED : TLS_PEER_ANY;
}

static struct slice or_null(const struct text *text)
{
    return text->size > 0 ? text_slice(text) : SLICE_NULL;
}

enum error keeper_tls_context(const struct zoo_config *config, struct disk *disk, enum keeper_tls_side side,
                              struct tls_context **context, struct text *why)
{
    const struct keys *keys = side == KEEPER_TLS_CLIENTS ? &OF_CLIENTS : &OF_MEMBERS;
    bool is_server = side != KEEPER_TLS_DIALING;
    struct keystore own = {0}, trusted = {0};
    enum error err =
        store_of(config, disk, keys->key_location, keys->key_password, keys->key_password_path, &own, why);
    if (err == OK) {
        err = store_of(config, disk, keys->trust_location, keys->trust_password, keys->trust_password_path,
                       &trusted, why);
    }
    if (err == OK) {
        /* A trust store may be a store with a key: Java then believes its certificates as well. */
        struct slice trust = or_null(&trusted.trust);
        if (!trust.data) trust = or_null(&trusted.chain);
        const char *protocols = zoo_text(config, keys->enabled_protocols);
        const char *protocol = zoo_text(config, keys->protocol);
        if ((!protocols || !*protocols) && protocol && strcmp(protocol, "TLS") != 0) protocols = protocol;
        struct tls_config tls = {
            .is_server = is_server,
            .chain = or_null(&own.chain),
            .key = or_null(&own.key),
            .trust = trust,
            .peer = peer_check(config, keys, is_server),
            .protocols = protocols,
            .ciphers = zoo_text(config, keys->ciphers),
        };
        if (is_server && !tls.chain.data) {
            text_addf(why, "%s.keyStore.location must name a store with a key and its certificate",
                      keys->prefix);
            err = ERR_CONFIG;
        } else if (is_server && tls.peer != TLS_PEER_ANY && !trust.data) {
            text_addf(why, "%s.trustStore.location must name a store, or %s.clientAuth be none", keys->prefix,
                      keys->prefix);
            err = ERR_CONFIG;
        } else {
            err = tls_context_new(&tls, context, why);
        }
    }
    keystore_free(&own);
    keystore_free(&trusted);
    return err;
}
