#include "node/coord_tls.h"

#include <stdbool.h>

#include "base/text.h"
#include "coord/coord.h"
#include "keeper/keeper_tls.h"
#include "settings/settings.h"

enum error coord_tls(const struct settings *settings, struct disk *disk, struct coord_options *options,
                     struct text *why)
{
    if (!settings_bool(settings, SETTING_ZOOKEEPER_SSL_CLIENT_ENABLE)) return OK;
    const char *checked = settings_text(settings, SETTING_ZOOKEEPER_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM);
    options->checks_host = checked && *checked;
    struct text protocols = {0}, ciphers = {0};
    struct setting_list list = settings_list(settings, SETTING_ZOOKEEPER_SSL_ENABLED_PROTOCOLS);
    for (size_t i = 0; i < list.count; i++)
        text_addf(&protocols, "%s%.*s", i ? "," : "", SLICE_ARG(list.items[i]));
    list = settings_list(settings, SETTING_ZOOKEEPER_SSL_CIPHER_SUITES);
    for (size_t i = 0; i < list.count; i++)
        text_addf(&ciphers, "%s%.*s", i ? "," : "", SLICE_ARG(list.items[i]));
    struct tls_files files = {
        .peer = TLS_PEER_NEEDED,
        .key_location = settings_text(settings, SETTING_ZOOKEEPER_SSL_KEYSTORE_LOCATION),
        .key_password = settings_text(settings, SETTING_ZOOKEEPER_SSL_KEYSTORE_PASSWORD),
        .trust_location = settings_text(settings, SETTING_ZOOKEEPER_SSL_TRUSTSTORE_LOCATION),
        .trust_password = settings_text(settings, SETTING_ZOOKEEPER_SSL_TRUSTSTORE_PASSWORD),
        .protocol = settings_text(settings, SETTING_ZOOKEEPER_SSL_PROTOCOL),
        .protocols = protocols.data,
        .ciphers = ciphers.data,
    };
    enum error err =
        protocols.failed || ciphers.failed ? ERR_NOMEM : tls_files_context(&files, disk, &options->tls, why);
    text_free(&protocols);
    text_free(&ciphers);
    return err;
}
