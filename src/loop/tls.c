/* tls.c: the session of one stream, on OpenSSL, over its non-blocking socket. */
#include "loop/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/text.h"
#include "loop/inside.h"
#include "loop/tls_inside.h"

enum { RECORD_BYTES = 16384, HANDSHAKE_BYTE = 0x16 };

struct tls {
    SSL *ssl;
    struct tls_context *context;
    int fd;
    bool admits_plain, is_ready;
    bool is_dry; /* the last read found nothing */
    char reason[96];
};

static bool set_host(SSL *ssl, const struct tls_start *start)
{
    if (!start->host || !*start->host) return true;
    unsigned char address[sizeof(struct in6_addr)];
    bool is_number =
        inet_pton(AF_INET, start->host, address) == 1 || inet_pton(AF_INET6, start->host, address) == 1;
    if (!is_number && SSL_set_tlsext_host_name(ssl, start->host) != 1) return false;
    return !start->checks_host || SSL_set1_host(ssl, start->host) == 1;
}

enum error tls_new(struct tls_context *context, const struct tls_start *start, int fd, struct tls **result)
{
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls) return ERR_NOMEM;
    tls->ssl = SSL_new(context->ssl);
    tls->context = tls_context_retain(context);
    tls->fd = fd;
    tls->admits_plain = start->admits_plain && context->is_server;
    if (!tls->ssl || SSL_set_fd(tls->ssl, fd) != 1 || !set_host(tls->ssl, start)) {
        ERR_clear_error();
        tls_free(&tls);
        return ERR_NOMEM;
    }
    if (context->is_server) {
        SSL_set_accept_state(tls->ssl);
    } else {
        SSL_set_connect_state(tls->ssl);
    }
    *result = tls;
    return OK;
}

void tls_free(struct tls **tls)
{
    struct tls *freed = *tls;
    *tls = NULL;
    if (!freed) return;
    SSL_free(freed->ssl);
    tls_context_release(&freed->context);
    free(freed);
}

/* What an operation that did not go through means. errno and OpenSSL's queue are those right after it. */
static enum error result_of(struct tls *tls, int returned)
{
    int number = errno;
    switch (SSL_get_error(tls->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return ERR_EOF;
    case SSL_ERROR_SYSCALL: return number ? net_error(number) : ERR_EOF;
    default: break;
    }
    long verified = SSL_get_verify_result(tls->ssl);
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (code && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
        reason = X509_verify_cert_error_string(verified);
    snprintf(tls->reason, sizeof tls->reason, "%s", reason ? reason : "protocol error");
    ERR_clear_error();
    return ERR_TLS;
}

const char *tls_reason(const struct tls *tls)
{
    return tls->reason[0] ? tls->reason : "protocol error";
}

enum tls_step tls_handshake(struct tls *tls, enum error *err)
{
    *err = OK;
    if (tls->is_ready) return TLS_STEP_READY;
    if (tls->admits_plain) {
        uint8_t first;
        ssize_t got = recv(tls->fd, &first, 1, MSG_PEEK);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return TLS_STEP_READ;
        if (got <= 0) {
            *err = got == 0 ? ERR_EOF : net_error(errno);
            return TLS_STEP_FAILED;
        }
        if (first != HANDSHAKE_BYTE) return TLS_STEP_PLAIN;
        tls->admits_plain = false;
    }
    ERR_clear_error();
    errno = 0;
    int returned = SSL_do_handshake(tls->ssl);
    if (returned == 1) {
        tls->is_ready = true;
        return TLS_STEP_READY;
    }
    bool wants_write = SSL_want_write(tls->ssl);
    *err = result_of(tls, returned);
    if (*err != ERR_AGAIN) return TLS_STEP_FAILED;
    *err = OK;
    return wants_write ? TLS_STEP_WRITE : TLS_STEP_READ;
}

enum error tls_read(struct tls *tls, void *into, size_t capacity, size_t *got)
{
    ERR_clear_error();
    errno = 0;
    tls->is_dry = false;
    int returned = SSL_read_ex(tls->ssl, into, capacity, got);
    if (returned == 1) return OK;
    enum error err = result_of(tls, returned);
    tls->is_dry = err == ERR_AGAIN;
    return err;
}

bool tls_has_input(const struct tls *tls)
{
    return tls->is_ready && !tls->is_dry && SSL_has_pending(tls->ssl);
}

static enum error send_record(struct tls *tls, const void *data, size_t size, size_t *sent)
{
    ERR_clear_error();
    errno = 0;
    int returned = SSL_write_ex(tls->ssl, data, size, sent);
    if (returned == 1) return OK;
    *sent = 0;
    return result_of(tls, returned);
}

enum error tls_send(struct tls *tls, const struct iovec *parts, int count, size_t *sent)
{
    uint8_t record[RECORD_BYTES]; /* small pieces share a record */
    size_t done = 0, at = 0;      /* at: of parts[i] */
    enum error err = OK;
    for (int i = 0; i < count;) {
        const uint8_t *data = (const uint8_t *)parts[i].iov_base + at;
        size_t size = parts[i].iov_len - at, taken = 0;
        if (size >= RECORD_BYTES) {
            size = RECORD_BYTES;
        } else {
            size = 0;
            size_t from = at;
            for (int j = i; j < count && size < RECORD_BYTES; j++, from = 0) {
                size_t part = parts[j].iov_len - from;
                if (part > RECORD_BYTES - size) part = RECORD_BYTES - size;
                memcpy(record + size, (const uint8_t *)parts[j].iov_base + from, part);
                size += part;
            }
            data = record;
        }
        if (size > 0) err = send_record(tls, data, size, &taken);
        done += taken;
        if (err != OK || taken < size) break;
        at += taken;
        while (i < count && at >= parts[i].iov_len) at -= parts[i++].iov_len;
    }
    *sent = done;
    return err == ERR_AGAIN ? OK : err;
}

void tls_shutdown(struct tls *tls)
{
    ERR_clear_error();
    if (tls->is_ready) SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

bool tls_peer(const struct tls *tls, struct text *subject)
{
    X509 *certificate = tls->is_ready ? SSL_get0_peer_certificate(tls->ssl) : NULL;
    if (!certificate || SSL_get_verify_result(tls->ssl) != X509_V_OK) return false;
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio) return false;
    bool is_printed = X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0,
                                         XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0;
    char *name = NULL;
    long size = BIO_get_mem_data(bio, &name);
    if (is_printed) text_add(subject, (struct slice){(const uint8_t *)name, (size_t)size});
    BIO_free(bio);
    return is_printed && !subject->failed;
}
