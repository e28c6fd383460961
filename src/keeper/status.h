/* status.h: what a keeper tells of itself, gathered once for words.c (text), admin.c (JSON) and figures.c (numbers).
 *
 * Owner   the keeper's loop. Memory: arrays given out are the caller's to free; NULL, count 0 without memory.
 * Source  facts/keeper.md 3.2, 3.3; compared with Apache's answers by test/interop/keeper_operators.py. */
#pragma once
#include "keeper/inside.h"

/* standalone, leader, follower, observer or read-only. */
const char *status_mode(const struct keeper *keeper);

/* Bytes of the snapshots' and of the logs' files; 0 where the file system does not tell. */
void status_dir_bytes(const struct keeper *keeper, int64_t *data, int64_t *log);

/* What is still to expire, in order of due_ms (monotonic). One of session and conn is set, or both. */
struct status_due {
    int64_t due_ms;
    const struct session *session;
    const struct conn *conn;
};
struct status_due *status_sessions(struct keeper *keeper, size_t *count);
struct status_due *status_conns(struct keeper *keeper, size_t *count);
/* Of a sorted array: how many from `at` on are due at the same time. */
size_t status_same_due(const struct status_due *due, size_t count, size_t at);

/* Of the data watches, which are all that ZooKeeper tells of: who watches, and what. */
void status_watches(const struct keeper *keeper, int64_t *connections, int64_t *paths);
/* Of clients in the clear and with TLS; -1: there is none. */
void status_ports(const struct keeper *keeper, int *plain, int *secure);
int64_t status_session_id(const struct conn *conn);
/* ZooKeeper names whoever had an ephemeral, also when none is left. */
bool status_names_ephemerals(const struct session *session);
/* Four letters for a request, as ZooKeeper's lop. */
const char *status_op_name(int32_t op);
/* 0 reads no more, 1 reads. */
int status_interest(const struct conn *conn);
