/* tls_context.c: who we are and whom we trust, on OpenSSL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/text.h"
#include "loop/tls_inside.h"

static enum error complain(struct text *why, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    text_addf(why, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
    return ERR_CONFIG;
}

/* PEM blocks one after another. *count: how many. */
static enum error each_certificate(struct slice pem, bool (*take)(SSL_CTX *ssl, X509 *certificate, int index),
                                   SSL_CTX *ssl, int *count)
{
    BIO *bio = pem.size <= INT32_MAX ? BIO_new_mem_buf(pem.data, (int)pem.size) : NULL;
    if (!bio) return ERR_NOMEM;
    enum error err = OK;
    *count = 0;
    X509 *certificate;
    while (err == OK && (certificate = PEM_read_bio_X509(bio, NULL, NULL, ""))) {
        if (!take(ssl, certificate, (*count)++)) err = ERR_CONFIG;
        X509_free(certificate);
    }
    BIO_free(bio);
    if (err == OK && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) err = ERR_CONFIG;
    if (err == OK) ERR_clear_error();
    return err;
}

static bool take_own(SSL_CTX *ssl, X509 *certificate, int index)
{
    if (index == 0) return SSL_CTX_use_certificate(ssl, certificate) == 1;
    return SSL_CTX_add1_chain_cert(ssl, certificate) == 1;
}

static bool take_trusted(SSL_CTX *ssl, X509 *certificate, int index)
{
    (void)index;
    return X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate) == 1 &&
           SSL_CTX_add_client_CA(ssl, certificate) == 1;
}

static enum error set_identity(SSL_CTX *ssl, const struct tls_config *config, struct text *why)
{
    if (!config->chain.data) {
        return config->is_server ? complain(why, "a server needs a key and a certificate") : OK;
    }
    int count = 0;
    enum error err = each_certificate(config->chain, take_own, ssl, &count);
    if (err != OK || count == 0) return complain(why, "cannot use the certificate");
    BIO *bio =
        config->key.size <= INT32_MAX ? BIO_new_mem_buf(config->key.data, (int)config->key.size) : NULL;
    if (!bio) return ERR_NOMEM;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, "");
    BIO_free(bio);
    if (!key) return complain(why, "cannot use the private key");
    bool is_used = SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    return is_used ? OK : complain(why, "the private key does not belong to the certificate");
}

/* --- a client's certificate that bears the name of its issuer --- */

enum { STRENGTH_BITS = 112 /* of RSA with 2048 bits, and less than SHA-256 has */ };

/* By one that we trust, that may sign others wherever their names lie, and whose time it is. */
static bool is_signed_by_trusted(X509_STORE_CTX *checking, X509 *certificate)
{
    bool is_signed = false;
    int digest_bits = 0;
    X509_get_signature_info(certificate, NULL, NULL, &digest_bits, NULL);
    STACK_OF(X509) *found = X509_STORE_CTX_get1_certs(checking, X509_get_issuer_name(certificate));
    for (int i = 0; i < sk_X509_num(found) && !is_signed && digest_bits >= STRENGTH_BITS; i++) {
        X509 *issuer = sk_X509_value(found, i);
        EVP_PKEY *key = X509_get0_pubkey(issuer);
        int kind = X509_check_ca(issuer); /* 3: it says nothing, being of version 1, and looks like a root */
        bool may_sign = (kind == 1 || (kind == 3 && X509_self_signed(issuer, 1) == 1)) &&
                        X509_get_ext_by_NID(issuer, NID_name_constraints, -1) < 0;
        bool is_its_time = X509_cmp_current_time(X509_get0_notBefore(issuer)) < 0 &&
                           X509_cmp_current_time(X509_get0_notAfter(issuer)) > 0;
        is_signed = may_sign && is_its_time && key && EVP_PKEY_get_security_bits(key) >= STRENGTH_BITS &&
                    X509_verify(certificate, key) == 1;
    }
    sk_X509_pop_free(found, X509_free);
    return is_signed;
}

/* By its names it signed itself, so OpenSSL looks for no issuer and refuses it as one that poses as the authority. Java looks
 * who signed it, and so do we, in this one case: its own time and purposes are checked after this as ever. */
static int check_namesake(int is_good, X509_STORE_CTX *checking)
{
    bool is_namesake = !is_good && X509_STORE_CTX_get_error_depth(checking) == 0 &&
                       X509_STORE_CTX_get_error(checking) == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
    if (!is_namesake) return is_good;
    ERR_set_mark();
    bool is_signed = is_signed_by_trusted(checking, X509_STORE_CTX_get_current_cert(checking));
    ERR_pop_to_mark();
    if (is_signed) X509_STORE_CTX_set_error(checking, X509_V_OK);
    return is_signed;
}

static enum error set_trust(SSL_CTX *ssl, const struct tls_config *config, struct text *why)
{
    int count = 0;
    if (config->trust.data) {
        enum error err = each_certificate(config->trust, take_trusted, ssl, &count);
        if (err != OK || count == 0) return complain(why, "cannot use the trusted certificates");
        /* Java believes whatever its trust store holds, roots or not. */
        X509_STORE_set_flags(SSL_CTX_get_cert_store(ssl), X509_V_FLAG_PARTIAL_CHAIN);
    } else if (!config->is_server && SSL_CTX_set_default_verify_paths(ssl) != 1) {
        return complain(why, "cannot use the system's trusted certificates");
    }
    if (config->peer == TLS_PEER_ANY) return OK;
    if (config->is_server && !config->trust.data)
        return complain(why, "clients' certificates cannot be checked without trusted certificates");
    bool must = config->peer == TLS_PEER_NEEDED;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | (must ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       config->is_server ? check_namesake : NULL);
    return OK;
}

static bool next_word(const char **from, char *word, size_t size)
{
    *from += strspn(*from, ", \t");
    size_t length = strcspn(*from, ", \t");
    if (length == 0) return false;
    snprintf(word, size, "%.*s", (int)length, *from);
    *from += length;
    return true;
}

static enum error set_protocols(SSL_CTX *ssl, const char *protocols, struct text *why)
{
    int least = TLS1_2_VERSION, most = TLS1_3_VERSION;
    if (protocols && *protocols) {
        bool has_2 = false, has_3 = false;
        char word[32];
        while (next_word(&protocols, word, sizeof word)) {
            has_2 |= strcmp(word, "TLSv1.2") == 0;
            has_3 |= strcmp(word, "TLSv1.3") == 0;
        }
        if (!has_2 && !has_3) return complain(why, "of the protocols only TLSv1.2 and TLSv1.3 are spoken");
        if (!has_2) least = TLS1_3_VERSION;
        if (!has_3) most = TLS1_2_VERSION;
    }
    bool is_set =
        SSL_CTX_set_min_proto_version(ssl, least) == 1 && SSL_CTX_set_max_proto_version(ssl, most) == 1;
    return is_set ? OK : complain(why, "cannot set the protocol versions");
}

static enum error set_ciphers(SSL_CTX *ssl, const char *ciphers, struct text *why)
{
    if (!ciphers || !*ciphers) return OK;
    struct text suites = {0}, older = {0};
    char word[96];
    while (next_word(&ciphers, word, sizeof word)) {
        bool is_suite = strncmp(word, "TLS_", 4) == 0 && !strstr(word, "_WITH_"); /* of TLS 1.3 */
        const char *name = strncmp(word, "TLS_", 4) == 0 && !is_suite ? OPENSSL_cipher_name(word) : word;
        struct text *list = is_suite ? &suites : &older;
        if (list->size > 0) text_addc(list, ':');
        text_addz(list, name);
    }
    bool is_set = !suites.failed && !older.failed;
    if (is_set && suites.size > 0) is_set = SSL_CTX_set_ciphersuites(ssl, suites.data) == 1;
    if (is_set && older.size > 0) is_set = SSL_CTX_set_cipher_list(ssl, older.data) == 1;
    text_free(&suites);
    text_free(&older);
    return is_set ? OK : complain(why, "cannot use the cipher suites");
}

enum error tls_context_new(const struct tls_config *config, struct tls_context **result, struct text *why)
{
    static const unsigned char session_scope[] = "odradek";
    ERR_clear_error();
    struct tls_context *context = calloc(1, sizeof *context);
    if (!context) return ERR_NOMEM;
    context->references = 1;
    context->is_server = config->is_server;
    context->ssl = SSL_CTX_new(config->is_server ? TLS_server_method() : TLS_client_method());
    if (!context->ssl) {
        free(context);
        return ERR_NOMEM;
    }
    SSL_CTX_set_mode(context->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                       SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                          SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_read_ahead(context->ssl, 1);
    SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(context->ssl, session_scope, sizeof session_scope - 1);
    enum error err = set_protocols(context->ssl, config->protocols, why);
    if (err == OK) err = set_ciphers(context->ssl, config->ciphers, why);
    if (err == OK) err = set_identity(context->ssl, config, why);
    if (err == OK) err = set_trust(context->ssl, config, why);
    if (err != OK) tls_context_release(&context);
    *result = context;
    return err;
}

struct tls_context *tls_context_retain(struct tls_context *context)
{
    __atomic_add_fetch(&context->references, 1, __ATOMIC_RELAXED);
    return context;
}

void tls_context_release(struct tls_context **context)
{
    struct tls_context *released = *context;
    *context = NULL;
    if (!released || __atomic_sub_fetch(&released->references, 1, __ATOMIC_ACQ_REL) > 0) return;
    SSL_CTX_free(released->ssl);
    free(released);
}

struct tls_peers tls_peers_retain(const struct tls_peers *peers)
{
    if (peers->accepting) tls_context_retain(peers->accepting);
    if (peers->dialing) tls_context_retain(peers->dialing);
    return *peers;
}

void tls_peers_release(struct tls_peers *peers)
{
    tls_context_release(&peers->accepting);
    tls_context_release(&peers->dialing);
}
