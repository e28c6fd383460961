/* keystore_jks.h: the JKS part of keystore.c. */
#pragma once
#include <stdbool.h>

#include "security/keystore.h"

bool jks_is(struct slice file);

struct jks_events {
    enum error (*certificate)(void *context, struct slice der);
    /* A key, as PKCS#8 in DER, and its chain behind it through chain_certificate. */
    enum error (*key)(void *context, struct slice der);
    enum error (*chain_certificate)(void *context, struct slice der);
    void *context;
};
MUST_USE enum error jks_read(struct slice file, const char *password, const char *key_password,
                             const struct jks_events *events, struct text *why);
