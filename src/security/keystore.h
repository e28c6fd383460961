/* keystore.h: key stores and trust stores as Java's programs have them, to PEM as loop/tls.h wants it. Pure: bytes in, text out.
 *
 *     PEM      certificates and a private key, which may be encrypted (PKCS#8)
 *     PKCS12   what keytool writes today; old ones with 40-bit RC2 too, where OpenSSL has its legacy provider
 *     JKS      what keytool wrote before Java 9: "feedfeed", entries, a SHA-1 over password and all
 *
 * What the bytes are decides, not their name: Java reads a PKCS12 store that is called JKS. Of several keys the first in the
 * file is taken, and said.
 *
 * Errors  ERR_CONFIG: *why (appended to) says what is wrong. ERR_NOMEM. Keys are wiped from memory by keystore_free.
 */
#pragma once
#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

struct keystore {
    struct text chain; /* PEM, our certificate first */
    struct text key;   /* PEM, in the clear */
    struct text trust; /* PEM, certificates without a key */
};

/* `password` of the store, `key_password` of its key; NULL: none, and the key's is the store's. A JKS store can be read without a
 * password; then it is not known to be whole, and its key is out of reach. */
MUST_USE enum error keystore_read(struct slice file, const char *password, const char *key_password,
                                  struct keystore *keystore, struct text *why);
void keystore_free(struct keystore *keystore);
