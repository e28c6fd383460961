/* zk_client.h: one session with an ensemble, for a program that asks and waits.
 *
 * It speaks ZooKeeper's protocol to whoever does. What was in flight when a connection goes fails with ERR_ZK_CONNECTION_LOSS and is not
 * sent again, for it may have been done; the session goes on at the next member, with its authentications and the persistent
 * watches that were added; where `security` says so SASL comes first on each. While nobody asks (a prompt), zk_idle keeps the session alive and hands over events.
 *
 * Memory   requests are the caller's until answered. Threads: the one that opened it. Paths: the chroot is added and taken off here.
 * Errors   of the ensemble (ERR_ZK_...), or why there is none: ERR_TIMED_OUT, ERR_REFUSED, ERR_NAME, ... Source: facts/keeper.md 1. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "base/text.h"
#include "cli/zk_security.h"

struct zk;

enum zk_state { ZK_CONNECTING, ZK_CONNECTED };

struct zk_options {
    const char *server; /* "host:port,host/chroot", port 2181 where none is named */
    int32_t session_timeout_ms;
    int64_t timeout_ms;          /* for the first connection, and for each answer */
    struct zk_security security; /* on each connection; the caller keeps it until zk_close */
    /* An event of a watch, or EXPIRED: another session has begun. */
    void (*on_event)(void *context, int32_t type, struct slice path);
    void (*on_expired)(void *context);
    void *context;
};

/* Waits until the session is there. ERR_CONFIG after saying what is wrong with `server`. */
MUST_USE enum error zk_open(const struct zk_options *options, struct zk **zk);
/* Ends the session, so its ephemerals go at once. */
void zk_close(struct zk **zk);

enum zk_state zk_state(const struct zk *zk);
const char *zk_server(const struct zk *zk); /* of the connection, "host:port" */
int64_t zk_session_id(const struct zk *zk);
int32_t zk_session_timeout_ms(const struct zk *zk);

/* body begins empty; whoever asks frees body and answer. */
struct zk_request {
    int32_t op;
    struct text body;
    enum error err;
    struct text answer; /* its body, when err is OK */
    struct list link;   /* the client's, until answered */
    int32_t xid;
};

/* Puts a path into a body, with the chroot before it. */
void zk_add_path(const struct zk *zk, struct text *body, const char *path);
/* The answer's path without it. */
struct slice zk_strip(const struct zk *zk, struct slice path);

/* Sends, and waits for, all of them; they are answered in this order. The first error, also in each. */
enum error zk_ask_all(struct zk *zk, struct zk_request *requests, size_t count);
enum error zk_ask(struct zk *zk, struct zk_request *request);
void zk_request_free(struct zk_request *request);

/* Proves who we are, now and on each later connection. */
MUST_USE enum error zk_auth(struct zk *zk, const char *scheme, const char *auth);
/* mode 0: persistent, 1: persistent and recursive. */
MUST_USE enum error zk_watch(struct zk *zk, const char *path, int32_t mode);
/* kind 1: of children, 2: of data, 3: all. */
enum error zk_unwatch(struct zk *zk, const char *path, int32_t kind);

/* Serves the session until `fd` can be read; -1: for `ms` (negative: for ever, until zk_stop). */
void zk_idle(struct zk *zk, int fd, int64_t ms);
/* From a callback: ends zk_idle. */
void zk_stop(struct zk *zk);
