#include "cli/zk_security.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"
#include "keeper/keeper_tls.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "security/sasl_digest.h"
#include "settings/properties.h"

enum { FILE_MAX = 1 << 20 };

enum key {
    SECURE,
    KEY_LOCATION,
    KEY_PASSWORD,
    KEY_PASSWORD_PATH,
    TRUST_LOCATION,
    TRUST_PASSWORD,
    TRUST_PASSWORD_PATH,
    PROTOCOL,
    PROTOCOLS,
    CIPHERS,
    CHECKS_HOST,
    SASL_CLIENT,
    SASL_SECTION,
    JAAS,
    NEEDLESS, /* the bytes tell, or there is but one way here */
    KEY_COUNT,
    UNKNOWN = -1,
};

static const struct {
    const char *name;
    enum key key;
} keys[] = {
    {"client.secure", SECURE},
    {"ssl.keyStore.location", KEY_LOCATION},
    {"ssl.keyStore.password", KEY_PASSWORD},
    {"ssl.keyStore.passwordPath", KEY_PASSWORD_PATH},
    {"ssl.trustStore.location", TRUST_LOCATION},
    {"ssl.trustStore.password", TRUST_PASSWORD},
    {"ssl.trustStore.passwordPath", TRUST_PASSWORD_PATH},
    {"ssl.protocol", PROTOCOL},
    {"ssl.enabledProtocols", PROTOCOLS},
    {"ssl.ciphersuites", CIPHERS},
    {"ssl.hostnameVerification", CHECKS_HOST},
    {"sasl.client", SASL_CLIENT},
    {"sasl.clientconfig", SASL_SECTION},
    {"java.security.auth.login.config", JAAS},
    {"ssl.keyStore.type", NEEDLESS},
    {"ssl.trustStore.type", NEEDLESS},
    {"clientCnxnSocket", NEEDLESS},
};

static enum key find(struct slice name)
{
    static const char prefix[] = "zookeeper.";
    size_t skipped = sizeof prefix - 1;
    if (name.size > skipped && memcmp(name.data, prefix, skipped) == 0) {
        name.data += skipped;
        name.size -= skipped;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (slice_is(name, keys[i].name)) return keys[i].key;
    }
    return UNKNOWN;
}

static bool is_true(const char *value)
{
    return value && strcasecmp(value, "true") == 0;
}

/* The value of each key, in the arena; NULL: not set. */
static enum error read_keys(const char *path, struct slice file, struct arena *arena,
                            const char *values[KEY_COUNT], struct text *why)
{
    struct properties properties = properties_open(file);
    struct property property;
    const char *problem = NULL;
    for (;;) {
        enum error err = properties_next(&properties, arena, &property, &problem);
        if (err == ERR_EOF) return OK;
        if (err != OK) {
            text_addf(why, "%s:%d: %s", path, property.line, err == ERR_CORRUPT ? problem : error_text(err));
            return err == ERR_CORRUPT ? ERR_CONFIG : err;
        }
        enum key key = find(property.key);
        const char *value = (const char *)property.value.data;
        if (key == UNKNOWN) {
            cli_complain("%s:%d: %.*s has no effect here", path, property.line, SLICE_ARG(property.key));
        } else {
            values[key] = value;
        }
    }
}

/* As ZooKeeper's clients: SASL is on unless it is switched off, where there is a JAAS file with the section. */
static enum error read_login(const char *path, struct disk *disk, const char *const values[KEY_COUNT],
                             struct zk_security *security, struct text *why)
{
    const char *jaas = values[JAAS], *section = values[SASL_SECTION] ? values[SASL_SECTION] : "Client";
    bool is_wanted = values[SASL_SECTION] || is_true(values[SASL_CLIENT]);
    if (values[SASL_CLIENT] && !is_true(values[SASL_CLIENT])) return OK;
    if (!jaas && is_wanted) {
        text_addf(why, "%s: SASL is wanted, and no java.security.auth.login.config says who we are", path);
        return ERR_CONFIG;
    }
    if (!jaas) return OK;
    struct bytes *file = NULL;
    security->sasl = calloc(1, sizeof *security->sasl);
    if (!security->sasl) return ERR_NOMEM;
    enum error err = disk_read_file(disk, jaas, FILE_MAX, &file);
    text_addf(why, "%s: ", jaas);
    if (err != OK) {
        text_addz(why, error_text(err));
        return err;
    }
    err = sasl_login_read(bytes_slice(file), section, security->sasl, why);
    bytes_release(&file);
    return err == ERR_NOT_FOUND ? ERR_CONFIG : err;
}

enum error zk_security_read(const char *path, struct zk_security *security, struct text *why)
{
    *security = (struct zk_security){0};
    const char *values[KEY_COUNT] = {0};
    struct arena arena;
    arena_init(&arena, 0);
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = descriptors ? disk_new(descriptors) : NULL;
    struct bytes *file = NULL;
    enum error err = disk ? disk_read_file(disk, path, FILE_MAX, &file) : ERR_NOMEM;
    if (err != OK) {
        text_addf(why, "%s: %s", path, error_text(err));
    } else {
        err = read_keys(path, bytes_slice(file), &arena, values, why);
    }
    if (err == OK && is_true(values[SECURE])) {
        struct tls_files files = {
            .peer = TLS_PEER_NEEDED,
            .key_location = values[KEY_LOCATION],
            .key_password = values[KEY_PASSWORD],
            .key_password_path = values[KEY_PASSWORD_PATH],
            .trust_location = values[TRUST_LOCATION],
            .trust_password = values[TRUST_PASSWORD],
            .trust_password_path = values[TRUST_PASSWORD_PATH],
            .protocol = values[PROTOCOL],
            .protocols = values[PROTOCOLS],
            .ciphers = values[CIPHERS],
        };
        err = tls_files_context(&files, disk, &security->tls, why);
        security->checks_host = !values[CHECKS_HOST] || is_true(values[CHECKS_HOST]);
    }
    if (err == OK) err = read_login(path, disk, values, security, why);
    bytes_release(&file);
    if (disk) disk_free(disk);
    if (descriptors) descriptors_free(descriptors);
    arena_free(&arena);
    return err;
}

bool zk_security_of(const struct cli *cli, struct zk_security *security)
{
    *security = (struct zk_security){0};
    const char *file = cli_text(cli, "client-configuration");
    struct text why = {0};
    enum error err = file ? zk_security_read(file, security, &why) : OK;
    if (err != OK) cli_complain("%s", why.size > 0 ? why.data : error_text(err));
    text_free(&why);
    return err == OK;
}

void zk_security_free(struct zk_security *security)
{
    tls_context_release(&security->tls);
    if (security->sasl) sasl_login_free(security->sasl);
    free(security->sasl);
    security->sasl = NULL;
}
