/* keystore_jks.c: Java's old key store.
 *
 *     feedfeed  version u32 (1, 2)  count u32
 *     entry     tag u32   alias (u16 size, UTF-8)   date u64
 *       tag 1   key (u32 size: PKCS#8 EncryptedPrivateKeyInfo)   chain: count u32, certificates
 *       tag 2   certificate: type (u16 size; version 2 only)  DER (u32 size)
 *     SHA-1 of password in UTF-16, a fixed phrase, and all before it
 *
 * A key is hidden by SHA-1(password, previous 20 bytes), beginning with a salt, as a stream; SHA-1(password, key) tells whether it
 * came out right. */
#include "security/keystore_jks.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

enum { JKS_MAGIC = 0xfeedfeed, DIGEST_SIZE = 20, TAG_KEY = 1, TAG_CERTIFICATE = 2, CHAIN_MAX = 64 };

struct reader {
    const uint8_t *data;
    size_t size, at;
    bool is_bad;
};

static struct slice take(struct reader *in, size_t size)
{
    if (in->is_bad || size > in->size - in->at) {
        in->is_bad = true;
        return SLICE_NULL;
    }
    struct slice s = {in->data + in->at, size};
    in->at += size;
    return s;
}

static uint32_t take_u32(struct reader *in)
{
    struct slice s = take(in, 4);
    return s.data ? get_be32(s.data) : 0;
}

static struct slice take_name(struct reader *in)
{
    struct slice s = take(in, 2);
    return take(in, s.data ? get_be16(s.data) : 0);
}

bool jks_is(struct slice file)
{
    return file.size >= 4 && get_be32(file.data) == JKS_MAGIC;
}

/* The password as Java's characters: two bytes each. Beyond the BMP nobody goes. */
static uint8_t *wide(const char *password, size_t *size)
{
    size_t length = strlen(password), at = 0;
    uint8_t *out = malloc(2 * length + 1);
    if (!out) return NULL;
    for (size_t i = 0; i < length;) {
        uint8_t c = (uint8_t)password[i];
        size_t more = c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        uint32_t code = c >= 0xe0 ? c & 0x0f : c >= 0xc0 ? c & 0x1f : c;
        i++;
        for (; more > 0 && i < length; more--, i++) code = code << 6 | ((uint8_t)password[i] & 0x3f);
        put_be16(out + at, (uint16_t)code);
        at += 2;
    }
    *size = at;
    return out;
}

static bool sha1_of(struct slice a, struct slice b, struct slice c, uint8_t out[DIGEST_SIZE])
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool is_done =
        digest && EVP_DigestInit_ex(digest, EVP_sha1(), NULL) == 1 &&
        EVP_DigestUpdate(digest, a.data, a.size) == 1 && EVP_DigestUpdate(digest, b.data, b.size) == 1 &&
        EVP_DigestUpdate(digest, c.data, c.size) == 1 && EVP_DigestFinal_ex(digest, out, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return is_done;
}

static enum error check_whole(struct slice file, const char *password, struct text *why)
{
    static const char phrase[] = "Mighty Aphrodite"; /* of the format */
    size_t size;
    uint8_t *characters = wide(password, &size), digest[DIGEST_SIZE];
    if (!characters) return ERR_NOMEM;
    struct slice body = {file.data, file.size - DIGEST_SIZE};
    bool is_done = sha1_of((struct slice){characters, size}, SLICE(phrase), body, digest);
    OPENSSL_cleanse(characters, size);
    free(characters);
    if (is_done && CRYPTO_memcmp(digest, body.data + body.size, DIGEST_SIZE) == 0) return OK;
    text_addz(why, "the JKS store is damaged or the password is not its own");
    return ERR_CONFIG;
}

/* `hidden`: salt, key, check. `plain` has room for hidden.size. */
static bool reveal(struct slice hidden, struct slice characters, uint8_t *plain, size_t *size)
{
    if (hidden.size < 2 * DIGEST_SIZE) return false;
    uint8_t digest[DIGEST_SIZE];
    memcpy(digest, hidden.data, DIGEST_SIZE);
    *size = hidden.size - 2 * DIGEST_SIZE;
    for (size_t at = 0; at < *size; at++) {
        if (at % DIGEST_SIZE == 0 &&
            !sha1_of(characters, (struct slice){digest, DIGEST_SIZE}, SLICE_NULL, digest)) {
            return false;
        }
        plain[at] = hidden.data[DIGEST_SIZE + at] ^ digest[at % DIGEST_SIZE];
    }
    return sha1_of(characters, (struct slice){plain, *size}, SLICE_NULL, digest) &&
           CRYPTO_memcmp(digest, hidden.data + DIGEST_SIZE + *size, DIGEST_SIZE) == 0;
}

static enum error read_key(struct slice der, const char *password, const struct jks_events *events,
                           struct text *why)
{
    if (!password) {
        text_addz(why, "the key of the JKS store needs a password");
        return ERR_CONFIG;
    }
    const unsigned char *at = der.data;
    X509_SIG *sealed = der.size <= INT32_MAX ? d2i_X509_SIG(NULL, &at, (long)der.size) : NULL;
    if (!sealed) {
        text_addz(why, "the key of the JKS store is malformed");
        return ERR_CONFIG;
    }
    const ASN1_OCTET_STRING *octets;
    X509_SIG_get0(sealed, NULL, &octets);
    struct slice hidden = {ASN1_STRING_get0_data(octets), (size_t)ASN1_STRING_length(octets)};
    size_t characters_size = 0, size = 0;
    uint8_t *characters = wide(password, &characters_size), *plain = malloc(hidden.size + 1);
    enum error err = characters && plain ? OK : ERR_NOMEM;
    if (err == OK && !reveal(hidden, (struct slice){characters, characters_size}, plain, &size)) {
        text_addz(why, "the key's password is wrong");
        err = ERR_CONFIG;
    }
    if (err == OK) err = events->key(events->context, (struct slice){plain, size});
    if (characters) OPENSSL_cleanse(characters, characters_size);
    if (plain) OPENSSL_cleanse(plain, hidden.size);
    free(characters);
    free(plain);
    X509_SIG_free(sealed);
    return err;
}

static struct slice take_certificate(struct reader *in, uint32_t version)
{
    if (version == 2) take_name(in); /* "X.509" */
    return take(in, take_u32(in));
}

enum error jks_read(struct slice file, const char *password, const char *key_password,
                    const struct jks_events *events, struct text *why)
{
    if (file.size < 12 + DIGEST_SIZE) {
        text_addz(why, "the JKS store ends too early");
        return ERR_CONFIG;
    }
    enum error err = password ? check_whole(file, password, why) : OK;
    struct reader in = {file.data, file.size - DIGEST_SIZE, 4, false};
    uint32_t version = take_u32(&in), count = take_u32(&in);
    if (err == OK && version != 1 && version != 2) {
        text_addf(why, "version %u of JKS is not known", version);
        return ERR_CONFIG;
    }
    for (uint32_t i = 0; i < count && err == OK && !in.is_bad; i++) {
        uint32_t tag = take_u32(&in);
        take_name(&in);
        take(&in, 8);
        if (tag == TAG_CERTIFICATE) {
            struct slice der = take_certificate(&in, version);
            if (!in.is_bad) err = events->certificate(events->context, der);
        } else if (tag == TAG_KEY) {
            struct slice der = take(&in, take_u32(&in));
            if (!in.is_bad) err = read_key(der, key_password ? key_password : password, events, why);
            uint32_t chain = take_u32(&in);
            if (chain > CHAIN_MAX) in.is_bad = true;
            for (uint32_t j = 0; j < chain && err == OK && !in.is_bad; j++) {
                der = take_certificate(&in, version);
                if (!in.is_bad) err = events->chain_certificate(events->context, der);
            }
        } else {
            in.is_bad = true;
        }
    }
    if (err == OK && in.is_bad) {
        text_addf(why, "the JKS store is malformed at byte %zu", in.at);
        err = ERR_CONFIG;
    }
    return err;
}
