/* keystore_fuzz: any bytes as a key store. Either a reason, or PEM that a TLS library can use; nothing is left behind. */
#include <stdlib.h>

#include "fuzz.h"
#include "security/keystore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    const char *password = data[0] & 1 ? "storepass" : NULL, *key_password = data[0] & 2 ? "keypass" : NULL;
    struct keystore keystore;
    struct text why = {0};
    enum error err =
        keystore_read((struct slice){data + 1, size - 1}, password, key_password, &keystore, &why);
    CHECK(err == OK || err == ERR_CONFIG || err == ERR_NOMEM);
    CHECK(err == OK || why.size > 0 || err == ERR_NOMEM);
    if (err == OK) {
        CHECK(keystore.chain.size > 0 || keystore.trust.size > 0);
        keystore_free(&keystore);
    }
    text_free(&why);
    return 0;
}
