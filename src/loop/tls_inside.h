/* tls_inside.h: what stream.c asks of a stream's TLS session; nobody else includes it. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "loop/tls.h"

struct tls_context {
    int references; /* __atomic */
    struct ssl_ctx_st *ssl;
    bool is_server;
};

struct tls;

MUST_USE enum error tls_new(struct tls_context *context, const struct tls_start *start, int fd,
                            struct tls **tls);
void tls_free(struct tls **tls);

enum tls_step {
    TLS_STEP_READY, /* bytes may go both ways */
    TLS_STEP_PLAIN, /* the peer speaks without: free the session and go on as a plain stream */
    TLS_STEP_READ,  /* more must come first */
    TLS_STEP_WRITE, /* the socket must take more first */
    TLS_STEP_FAILED /* *err says why: ERR_EOF, ERR_TLS, a network error */
};
/* Goes on with the handshake; READY when it is or was done. */
enum tls_step tls_handshake(struct tls *tls, enum error *err);
/* Only for diagnostics, after ERR_TLS. */
const char *tls_reason(const struct tls *tls);

/* After READY. OK with *got > 0, ERR_AGAIN, ERR_EOF, ERR_TLS, a network error. */
MUST_USE enum error tls_read(struct tls *tls, void *into, size_t capacity, size_t *got);
/* There may be something to read that the socket will not announce again. */
bool tls_has_input(const struct tls *tls);
/* Sends what the socket takes. What it did not take must come again, at the same place, the next time. */
MUST_USE enum error tls_send(struct tls *tls, const struct iovec *parts, int count, size_t *sent);
/* Our last word. */
void tls_shutdown(struct tls *tls);
bool tls_peer(const struct tls *tls, struct text *subject);
