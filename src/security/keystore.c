/* keystore.c: PEM, PKCS12 and JKS stores to PEM, on OpenSSL. */
#include "security/keystore.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>

#include "security/keystore_jks.h"

struct reading {
    struct keystore *keystore;
    struct text *why;
    bool has_key, takes_chain;
};

static enum error complain(struct reading *reading, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    text_addf(reading->why, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
    return ERR_CONFIG;
}

/* --- out --- */

static enum error add_bio(BIO *bio, bool is_written, struct text *out)
{
    char *data;
    long size = BIO_get_mem_data(bio, &data);
    if (is_written) text_add(out, (struct slice){(const uint8_t *)data, (size_t)size});
    if (size > 0) OPENSSL_cleanse(data, (size_t)size);
    BIO_free(bio);
    return is_written && !out->failed ? OK : ERR_NOMEM;
}

static enum error add_certificate(X509 *certificate, struct text *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio) return ERR_NOMEM;
    return add_bio(bio, PEM_write_bio_X509(bio, certificate) == 1, out);
}

/* The first one counts. */
static enum error add_key(struct reading *reading, EVP_PKEY *key)
{
    reading->takes_chain = !reading->has_key;
    if (reading->has_key) return OK;
    reading->has_key = true;
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio) return ERR_NOMEM;
    bool is_written = PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1;
    return add_bio(bio, is_written, &reading->keystore->key);
}

/* --- JKS --- */

static enum error jks_certificate_to(struct reading *reading, struct slice der, struct text *out)
{
    const unsigned char *at = der.data;
    X509 *certificate = der.size <= INT32_MAX ? d2i_X509(NULL, &at, (long)der.size) : NULL;
    if (!certificate) return complain(reading, "a certificate of the JKS store is malformed");
    enum error err = add_certificate(certificate, out);
    X509_free(certificate);
    return err;
}

static enum error jks_certificate(void *context, struct slice der)
{
    struct reading *reading = context;
    return jks_certificate_to(reading, der, &reading->keystore->trust);
}

static enum error jks_chain_certificate(void *context, struct slice der)
{
    struct reading *reading = context;
    return reading->takes_chain ? jks_certificate_to(reading, der, &reading->keystore->chain) : OK;
}

static enum error jks_key(void *context, struct slice der)
{
    struct reading *reading = context;
    const unsigned char *at = der.data;
    PKCS8_PRIV_KEY_INFO *info =
        der.size <= INT32_MAX ? d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)der.size) : NULL;
    EVP_PKEY *key = info ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (!key) return complain(reading, "the key of the JKS store is malformed");
    enum error err = add_key(reading, key);
    EVP_PKEY_free(key);
    return err;
}

static enum error read_jks(struct reading *reading, struct slice file, const char *password,
                           const char *key_password)
{
    const struct jks_events events = {jks_certificate, jks_key, jks_chain_certificate, reading};
    return jks_read(file, password, key_password, &events, reading->why);
}

/* --- PKCS12 --- */

struct parsed {
    EVP_PKEY *key;
    X509 *certificate;
    STACK_OF(X509) * others;
};

static bool parse_pkcs12(struct slice file, const char *password, OSSL_LIB_CTX *library,
                         struct parsed *parsed)
{
    *parsed = (struct parsed){0};
    PKCS12 *store = PKCS12_init_ex(NID_pkcs7_data, library, NULL);
    BIO *bio = file.size <= INT32_MAX ? BIO_new_mem_buf(file.data, (int)file.size) : NULL;
    bool is_parsed = false;
    if (store && bio && d2i_PKCS12_bio(bio, &store)) {
        is_parsed = PKCS12_parse(store, password ? password : "", &parsed->key, &parsed->certificate,
                                 &parsed->others) == 1;
    }
    BIO_free(bio);
    PKCS12_free(store);
    return is_parsed;
}

/* Old ciphers live in a provider that is not loaded for the rest of the program. */
struct old_library {
    OSSL_LIB_CTX *context;
    OSSL_PROVIDER *providers[2];
};

static void old_library_free(struct old_library *library)
{
    for (int i = 0; i < 2; i++) {
        if (library->providers[i]) OSSL_PROVIDER_unload(library->providers[i]);
    }
    OSSL_LIB_CTX_free(library->context);
}

static bool parse_old_pkcs12(struct slice file, const char *password, struct parsed *parsed,
                             struct old_library *library)
{
    static const char *const names[] = {"legacy", "default"};
    library->context = OSSL_LIB_CTX_new();
    for (int i = 0; i < 2 && library->context; i++) {
        library->providers[i] = OSSL_PROVIDER_load(library->context, names[i]);
        if (!library->providers[i]) return false;
    }
    return library->context && parse_pkcs12(file, password, library->context, parsed);
}

static enum error read_pkcs12(struct reading *reading, struct slice file, const char *password)
{
    struct parsed parsed;
    struct old_library library = {0};
    bool is_parsed = parse_pkcs12(file, password, NULL, &parsed);
    if (!is_parsed) {
        unsigned long code = ERR_peek_error();
        is_parsed = parse_old_pkcs12(file, password, &parsed, &library);
        if (!is_parsed && code) ERR_clear_error();
    }
    if (!is_parsed) {
        old_library_free(&library);
        return complain(reading,
                        "the store is neither PEM nor JKS nor PKCS12, or the password is not its own");
    }
    struct keystore *keystore = reading->keystore;
    enum error err = parsed.key ? add_key(reading, parsed.key) : OK;
    if (err == OK && parsed.certificate)
        err = add_certificate(parsed.certificate, parsed.key ? &keystore->chain : &keystore->trust);
    for (int i = 0; err == OK && i < sk_X509_num(parsed.others); i++) {
        X509 *other = sk_X509_value(parsed.others, i);
        err = add_certificate(other, parsed.key ? &keystore->chain : &keystore->trust);
    }
    EVP_PKEY_free(parsed.key);
    X509_free(parsed.certificate);
    sk_X509_pop_free(parsed.others, X509_free);
    old_library_free(&library);
    ERR_clear_error();
    return err;
}

/* --- PEM --- */

static int give_password(char *buffer, int size, int is_writing, void *context)
{
    (void)is_writing;
    const char *password = context;
    size_t length = password ? strlen(password) : 0;
    if (length == 0 || length > (size_t)size) return 0;
    memcpy(buffer, password, length);
    return (int)length;
}

static bool has_text(struct slice file, const char *text)
{
    return file.size > 0 && memmem(file.data, file.size, text, strlen(text)) != NULL;
}

static enum error read_pem(struct reading *reading, struct slice file, const char *password)
{
    BIO *bio = file.size <= INT32_MAX ? BIO_new_mem_buf(file.data, (int)file.size) : NULL;
    if (!bio) return ERR_NOMEM;
    enum error err = OK;
    EVP_PKEY *key = NULL;
    if (has_text(file, "PRIVATE KEY-----")) {
        key = PEM_read_bio_PrivateKey(bio, NULL, give_password, (void *)password);
        err = key ? add_key(reading, key) : complain(reading, "the private key cannot be read");
    }
    EVP_PKEY_free(key);
    ERR_clear_error();
    BIO_free(bio);

    struct text *out = reading->has_key ? &reading->keystore->chain : &reading->keystore->trust;
    bio = BIO_new_mem_buf(file.data, (int)file.size);
    if (!bio) return ERR_NOMEM;
    X509 *certificate;
    while (err == OK && (certificate = PEM_read_bio_X509(bio, NULL, give_password, NULL))) {
        err = add_certificate(certificate, out);
        X509_free(certificate);
    }
    if (err == OK && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        err = complain(reading, "a certificate cannot be read");
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

enum error keystore_read(struct slice file, const char *password, const char *key_password,
                         struct keystore *keystore, struct text *why)
{
    *keystore = (struct keystore){0};
    struct reading reading = {.keystore = keystore, .why = why};
    ERR_clear_error();
    enum error err;
    if (jks_is(file)) {
        err = read_jks(&reading, file, password, key_password);
    } else if (has_text(file, "-----BEGIN ")) {
        err = read_pem(&reading, file, key_password ? key_password : password);
    } else {
        err = read_pkcs12(&reading, file, password);
    }
    if (err == OK && keystore->chain.size == 0 && keystore->trust.size == 0) {
        text_addz(why, "there is no certificate in the store");
        err = ERR_CONFIG;
    }
    if (err != OK) keystore_free(keystore);
    return err;
}

void keystore_free(struct keystore *keystore)
{
    if (keystore->key.size > 0) OPENSSL_cleanse(keystore->key.data, keystore->key.size);
    text_free(&keystore->chain);
    text_free(&keystore->key);
    text_free(&keystore->trust);
}
