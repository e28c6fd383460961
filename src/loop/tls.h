/* tls.h: TLS on a stream. A context says who we are and whom we trust; a stream that is given one speaks TLS from then on,
 * and whoever reads and writes it does not notice.
 *
 *     plain bytes --> stream_write --> [records] --> socket --> [records] --> stream_read --> plain bytes
 *
 * The handshake runs by itself, over what the loop hears anyway: until it is done reads say ERR_AGAIN and writes wait. One that
 * fails ends the stream with ERR_TLS and says why, with the peer's address, in one line (info: anybody can provoke it).
 *
 * Threads   a context is immutable and counted: any thread. A stream's session belongs to the stream's loop.
 * Limits    TLS 1.2 and 1.3; no renegotiation; a record at a time is copied (files too: no kernel TLS).
 * Ends      a peer that hangs up without a closing alert has finished (ERR_EOF): the protocols above know their lengths.
 * Simulated there is none: ERR_UNSUPPORTED.
 */
#pragma once
#include <stdbool.h>

#include "base/bytes.h"
#include "base/error.h"

struct stream;
struct text;
struct tls_context;

enum tls_peer_check { TLS_PEER_ANY, TLS_PEER_WANTED, TLS_PEER_NEEDED };

struct tls_config {
    bool is_server;
    struct slice chain;       /* PEM: our certificate, then those above it; null: none (a client without) */
    struct slice key;         /* PEM, in the clear */
    struct slice trust;       /* PEM: whose certificates we believe; null: the system's, for a client */
    enum tls_peer_check peer; /* server: must clients show a certificate; client: ANY believes every server */
    const char *protocols;    /* "TLSv1.2,TLSv1.3", as Java names them; NULL or "": both */
    const char *ciphers;      /* comma list, IANA's or OpenSSL's names; NULL or "": OpenSSL's default */
};

/* ERR_CONFIG: *why (appended to) says what is wrong, and with which of these. */
MUST_USE enum error tls_context_new(const struct tls_config *config, struct tls_context **context,
                                    struct text *why);
struct tls_context *tls_context_retain(struct tls_context *context);
/* Clears the pointer; NULL is fine. Streams that use it keep it alive. */
void tls_context_release(struct tls_context **context);

struct tls_start {
    const char *host;  /* client: asked for, and checked against the certificate; NULL: neither */
    bool checks_host;  /* client: only then it is checked */
    bool admits_plain; /* server: a peer whose first byte is no handshake's is served in the clear */
};

/* How programs that both dial and accept do it among each other. NULL: in the clear. */
struct tls_peers {
    struct tls_context *accepting, *dialing;
    bool admits_plain; /* accepting: who comes without TLS may in, too */
    bool checks_host;  /* dialing */
};
struct tls_peers tls_peers_retain(const struct tls_peers *peers);
void tls_peers_release(struct tls_peers *peers);

/* Right after a stream was accepted or connected, before anything was read or written. ERR_NOMEM, ERR_UNSUPPORTED. */
MUST_USE enum error stream_start_tls(struct stream *stream, struct tls_context *context,
                                     const struct tls_start *start);
/* Once something was read: does it speak TLS? */
bool stream_is_tls(const struct stream *stream);
/* Once something was read: appends the subject of the peer's checked certificate as RFC 2253 writes it ("CN=a,O=b"). False: it
 * showed none. */
bool stream_tls_peer(const struct stream *stream, struct text *subject);
