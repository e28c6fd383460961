/* requests.c: what a frame asks for, and the order of answers.
 *
 * Each connection has a queue of requests without an answer. A write goes to the log when it comes; when the log applies
 * it, it is at the head of its queue, is answered, and the reads behind it up to the next write are answered at once, so that
 * they see exactly the state after it. A read with nothing before it is answered without ever being queued. */
#include <assert.h>
#include <stdlib.h>

#include "base/diag.h"
#include "keeper/inside.h"
#include "keeper/jute.h"
#include "loop/tls.h"
#include "security/digest.h"

/* --- queues --- */

static struct request *request_new(struct conn *conn, enum request_kind kind, int32_t xid, int32_t op,
                                   struct slice body)
{
    struct request *request = malloc(sizeof *request + body.size);
    if (!request) return NULL;
    *request = (struct request){.conn = conn, .kind = kind, .xid = xid, .op = op, .body_size = body.size};
    if (body.size) memcpy(request->body, body.data, body.size);
    return request;
}

static void conn_push(struct conn *conn, struct request *request)
{
    request->begun_us = loop_now_us(conn->keeper->loop);
    if (conn->last) {
        conn->last->next_of_conn = request;
    } else {
        conn->first = request;
    }
    conn->last = request;
    *(request->kind == REQUEST_READ || request->kind == REQUEST_SYNC ? &conn->read_count
                                                                     : &conn->write_count) += 1;
}

static struct request *conn_pop(struct conn *conn)
{
    struct request *request = conn->first;
    conn->first = request->next_of_conn;
    if (!conn->first) conn->last = NULL;
    *(request->kind == REQUEST_READ || request->kind == REQUEST_SYNC ? &conn->read_count
                                                                     : &conn->write_count) -= 1;
    return request;
}

static void pending_push(struct keeper *keeper, struct request *request)
{
    if (keeper->pending_last) {
        keeper->pending_last->next_pending = request;
    } else {
        keeper->pending_first = request;
    }
    keeper->pending_last = request;
    keeper->outstanding++;
}

void request_drop_all(struct conn *conn)
{
    while (conn->first) {
        struct request *request = conn_pop(conn);
        if (request->kind == REQUEST_READ) {
            free(request);
        } else {
            request->conn = NULL; /* the keeper's queue frees it when it is applied */
        }
    }
}

void request_drop_pending(struct keeper *keeper)
{
    while (keeper->pending_first) {
        struct request *request = keeper->pending_first;
        if (request->conn) conn_close(request->conn);
        keeper->pending_first = request->next_pending;
        keeper->outstanding--;
        free(request);
    }
    keeper->pending_last = NULL;
    while (keeper->reconfigs) {
        struct request *request = keeper->reconfigs;
        if (request->conn) conn_close(request->conn);
        keeper->reconfigs = request->next_pending;
        free(request);
    }
}

/* --- writes --- */

static void reconfig_push(struct keeper *keeper, struct conn *conn, struct request *request)
{
    keeper->office.sequence++;
    conn_push(conn, request);
    conn->is_reconfiguring = true;
    request->next_pending = keeper->reconfigs;
    keeper->reconfigs = request;
}

enum error request_submit(struct keeper *keeper, struct conn *conn, enum request_kind kind, int32_t xid,
                          struct entry *entry)
{
    static const uint8_t no_ids[2];
    struct office *office = &keeper->office;
    struct request *request =
        request_new(conn, kind, xid, entry->op, kind == REQUEST_SYNC ? entry->body : SLICE_NULL);
    if (!request) return ERR_NOMEM;
    entry->origin = office->id;
    entry->life = office->life;
    entry->sequence = request->sequence = office->sequence + 1;
    bool leads = office->state == OFFICE_LEADING || office->state == OFFICE_ENTERING;
    if (kind == REQUEST_RECONFIG && leads) {
        reconfig_push(keeper, conn, request);
        members_reconfig(keeper, entry);
        return OK;
    }
    uint8_t header[ENTRY_HEADER_MAX];
    size_t header_size = entry_header(entry, header);
    struct slice ids = entry->ids.bytes.size ? entry->ids.bytes : (struct slice){no_ids, sizeof no_ids};
    struct slice parts[] = {{header, header_size}, ids, entry->body};
    enum error err = office->state == OFFICE_ALONE ? quorum_append(keeper->quorum, parts, 3, &request->index)
                                                   : forward_entry(keeper, parts, &request->index);
    if (err != OK) {
        free(request);
        return err;
    }
    if (kind == REQUEST_RECONFIG) {
        reconfig_push(keeper, conn, request);
        return OK;
    }
    office->sequence++;
    if (conn) conn_push(conn, request);
    pending_push(keeper, request);
    keeper->counts.log_entries++;
    return OK;
}

uint8_t request_flags(const struct keeper *keeper)
{
    return (uint8_t)((keeper->config.extended_types ? ENTRY_EXTENDED_TYPES : 0) |
                     (keeper->config.skip_acl ? ENTRY_SKIP_ACL : 0) |
                     (keeper->config.enforce_quota ? ENTRY_ENFORCE_QUOTA : 0) |
                     (keeper->config.has_x509_acls ? ENTRY_X509_ACLS : 0) |
                     (keeper->config.has_sasl_acls ? ENTRY_SASL_ACLS : 0) |
                     (keeper->config.reconfig_enabled ? ENTRY_RECONFIG : 0));
}

enum error request_submit_own(struct keeper *keeper, int32_t op, int64_t session, struct slice body)
{
    struct entry entry = {.flags = request_flags(keeper),
                          .op = op,
                          .time_ms = loop_wall_ms(keeper->loop),
                          .session = session,
                          .body = body};
    return request_submit(keeper, NULL, REQUEST_WRITE, 0, &entry);
}

static bool take_read(struct conn *conn, int32_t xid, int32_t op, struct slice body);

/* request_throttle_max_requests: whoever asks waits, or has waited for too long. True: *is_taken says which. */
static bool is_throttled(struct conn *conn, int32_t xid, int32_t op, bool *is_taken)
{
    const struct keeper_config *config = &conn->keeper->config;
    if (config->request_throttle_max == 0) return false;
    int64_t now_ms = loop_now_ms(conn->keeper->loop);
    *is_taken = false;
    if (conn->keeper->outstanding >= (size_t)config->request_throttle_max) {
        if (conn->throttled_ms == 0) conn->throttled_ms = now_ms;
        return true;
    }
    bool is_late = conn->throttled_ms > 0 && config->throttled_wait_ms > 0 &&
                   now_ms - conn->throttled_ms > config->throttled_wait_ms && op != OP_CLOSE_SESSION;
    if (is_late) {
        *is_taken = take_read(conn, xid, OP_THROTTLED, SLICE_NULL); /* its answer stands in line */
        if (!*is_taken) return true;
    }
    conn->throttled_ms = 0;
    return is_late;
}

/* False: too much is on its way already. */
static bool take_write(struct conn *conn, int32_t xid, int32_t op, struct slice body)
{
    struct keeper *keeper = conn->keeper;
    bool is_taken;
    if (is_throttled(conn, xid, op, &is_taken)) return is_taken;
    bool is_busy = keeper->outstanding >= (size_t)keeper->config.global_outstanding_limit;
    if (is_busy && conn->write_count > 0) return false;
    struct entry entry = {
        .flags = request_flags(keeper),
        .op = op,
        .time_ms = loop_wall_ms(keeper->loop),
        .session = conn->live->id,
        .cxid = xid,
        .attachment = conn->attachment,
        .ids = {text_slice(&conn->ids)},
        .body = body,
    };
    bool is_reconfig = op == OP_RECONFIG && keeper->office.state != OFFICE_ALONE;
    enum error err =
        request_submit(keeper, conn, is_reconfig ? REQUEST_RECONFIG : REQUEST_WRITE, xid, &entry);
    if (err == ERR_AGAIN) return false;
    if (err != OK) conn_close(conn);
    return true;
}

/* --- answers --- */

static void note_latency(struct conn *conn, int32_t xid, int32_t op, int64_t zxid, int64_t begun_us)
{
    struct keeper *keeper = conn->keeper;
    int64_t latency_us = loop_now_us(keeper->loop) - begun_us;
    if (latency_us < 0) latency_us = 0;
    if (keeper->latency_count == 0 || latency_us < keeper->latency_min_us)
        keeper->latency_min_us = latency_us;
    if (latency_us > keeper->latency_max_us) keeper->latency_max_us = latency_us;
    keeper->latency_sum_us += latency_us;
    keeper->latency_count++;
    summary_record(op_is_write(op) ? &keeper->counts.update_us : &keeper->counts.read_us, latency_us);
    if (conn->latency_count++ == 0 || latency_us < conn->latency_min_us) conn->latency_min_us = latency_us;
    if (latency_us > conn->latency_max_us) conn->latency_max_us = latency_us;
    conn->latency_sum_us += latency_us;
    conn->latency_last_us = latency_us;
    conn->last_op = op;
    if (xid >= 0) conn->last_xid = xid;
    if (zxid > 0) conn->last_zxid = zxid;
    conn->last_answer_ms = loop_now_ms(keeper->loop);
}

enum { XID_PING = -2 }; /* of the answer, whatever the ping had */

static void serve(struct conn *conn, int32_t xid, int32_t op, struct slice body, int64_t begun_us)
{
    struct keeper *keeper = conn->keeper;
    struct text *out = &keeper->body;
    text_reset(out);
    int64_t zxid = keeper->machine.zxid;
    enum error err = OK;
    bool is_unknown = false;
    if (op_is_read(op)) {
        struct read_request read = {
            .op = op,
            .session = conn->live->id,
            .ids = {text_slice(&conn->ids)},
            .skips_acl = keeper->config.skip_acl,
            .knows_sasl = keeper->config.has_sasl_acls,
            .body = body,
            .watch = events_watch_read,
            .context = conn,
        };
        err = machine_read(&keeper->machine, &read, out);
    } else {
        struct jute in = jute_of(body);
        switch (op) {
        case OP_PING: break;
        case OP_THROTTLED: err = ERR_ZK_THROTTLED; break;
        case OP_CREATE:
        case OP_CREATE2:
        case OP_CREATE_CONTAINER:
        case OP_CREATE_TTL:
        case OP_DELETE:
        case OP_DELETE_CONTAINER:
        case OP_SET_DATA:
        case OP_SET_ACL:
        case OP_MULTI:
        case OP_RECONFIG:
        case OP_CREATE_SESSION:
            err = ERR_ZK_MARSHALLING;
            break; /* writes that can be read do not come here */
        case OP_SYNC:
            jute_add_bytes(out, jute_bytes(&in));
            if (in.is_bad) err = ERR_ZK_MARSHALLING;
            break;
        case OP_SET_WATCHES: err = events_set_watches(conn, body, false); break;
        case OP_SET_WATCHES2: err = events_set_watches(conn, body, true); break;
        case OP_ADD_WATCH: err = events_add_watch(conn, body, out); break;
        case OP_CHECK_WATCHES: err = events_check_watches(conn, body, false); break;
        case OP_REMOVE_WATCHES: err = events_check_watches(conn, body, true); break;
        default:
            err = ERR_ZK_UNIMPLEMENTED;
            is_unknown = true;
            zxid = -1;
            break;
        }
    }
    if (out->failed) {
        conn_cut(conn);
        return;
    }
    conn_reply(conn, op == OP_PING ? XID_PING : xid, zxid, error_zk_code(err), text_slice(out));
    note_latency(conn, xid, op, zxid, begun_us);
    if (err != OK && op_is_write(op)) conn->last_op = 0;
    if (out->capacity > OUT_PAUSE_BYTES) text_free(out);
    if (is_unknown) conn_finish(conn);
}

void request_drain(struct conn *conn)
{
    while (conn->state == CONN_OPEN && conn->first) {
        struct request *request = conn->first;
        if (request->kind != REQUEST_READ && !request->is_applied) return;
        conn_pop(conn);
        serve(conn, request->xid, request->op, (struct slice){request->body, request->body_size},
              request->begun_us);
        free(request);
    }
}

static void answer_write(struct keeper *keeper, struct request *request)
{
    const struct machine_outcome *outcome = &keeper->machine.outcome;
    struct conn *conn = request->conn;
    if (request->op == OP_NEW_EPOCH) office_entered(keeper);
    if (conn) {
        assert(conn->first == request);
        conn_pop(conn);
        if (outcome->err == ERR_ZK_SESSION_MOVED) { /* its client does not listen here any more */
            session_detach(conn);
            conn_close(conn);
            return;
        }
        conn_reply(conn, request->xid, outcome->zxid, error_zk_code(outcome->err),
                   text_slice(&outcome->body));
        note_latency(conn, request->xid, request->op, outcome->zxid, request->begun_us);
        if (outcome->err != OK) conn->last_op = 0; /* ZooKeeper does not say which write it was that failed */
    }
    if (request->op == OP_CLOSE_SESSION && outcome->err == OK) session_closed(keeper, outcome->session, conn);
    if (conn) request_drain(conn);
}

static void answer_first(struct keeper *keeper)
{
    struct request *request = keeper->pending_first;
    keeper->pending_first = request->next_pending;
    if (!keeper->pending_first) keeper->pending_last = NULL;
    keeper->outstanding--;
    struct conn *conn = request->conn;
    switch (request->kind) {
    case REQUEST_WRITE: answer_write(keeper, request); break;
    case REQUEST_CONNECT:
        if (!conn) break;
        conn_pop(conn);
        session_connected(conn);
        break;
    default:
        if (!conn) break;
        request->is_applied = true;
        request_drain(conn); /* frees it */
        return;
    }
    free(request);
}

const struct request *request_of_applied(const struct keeper *keeper, uint64_t index)
{
    const struct machine_outcome *outcome = &keeper->machine.outcome;
    const struct request *request = keeper->pending_first;
    if (keeper->office.state == OFFICE_ALONE) {
        while (request && request->index < index) request = request->next_pending; /* syncs before it */
        while (request && request->index == index && request->kind == REQUEST_SYNC)
            request = request->next_pending;
        return request && request->index == index ? request : NULL;
    }
    bool is_ours = outcome->origin == keeper->office.id && outcome->life == keeper->office.life;
    return is_ours && request && request->sequence == outcome->sequence ? request : NULL;
}

/* Whose reconfig this was answers it. */
static bool answer_reconfig(struct keeper *keeper)
{
    const struct machine_outcome *outcome = &keeper->machine.outcome;
    if (outcome->op != OP_RECONFIG || outcome->origin != keeper->office.id ||
        outcome->life != keeper->office.life) {
        return false;
    }
    for (struct request **at = &keeper->reconfigs; *at; at = &(*at)->next_pending) {
        struct request *request = *at;
        if (request->sequence != outcome->sequence) continue;
        *at = request->next_pending;
        if (request->conn) request->conn->is_reconfiguring = false;
        answer_write(keeper, request);
        free(request);
        return true;
    }
    return false; /* the leader's own words */
}

/* Of all members' entries those of our life come back in the order in which we sent them. */
static bool is_next_of_ours(struct keeper *keeper)
{
    const struct machine_outcome *outcome = &keeper->machine.outcome;
    if (outcome->origin != keeper->office.id || outcome->life != keeper->office.life) return false;
    if (keeper->pending_first && keeper->pending_first->sequence == outcome->sequence) return true;
    diag_error("entry %u of this life is applied, but %u is awaited: clients have to ask again",
               outcome->sequence, keeper->pending_first ? keeper->pending_first->sequence : 0);
    office_renew(keeper);
    return false;
}

void request_applied(struct keeper *keeper, uint64_t index)
{
    const struct machine_outcome *outcome = &keeper->machine.outcome;
    if (outcome->err == OK && outcome->op == OP_CREATE_SESSION) session_created(keeper);
    if (outcome->err == OK && outcome->op == OP_ATTACH) session_attached(keeper);
    if (keeper->office.state == OFFICE_ALONE) {
        while (keeper->pending_first && keeper->pending_first->index <= index) answer_first(keeper);
    } else if (answer_reconfig(keeper)) {
        return;
    } else if (is_next_of_ours(keeper)) {
        answer_first(keeper);
    } else if (outcome->err == OK && outcome->op == OP_CLOSE_SESSION) {
        session_closed(keeper, outcome->session, NULL);
    }
}

/* --- auth --- */

int auth_add_digest(const struct keeper *keeper, struct slice secret, struct text *ids)
{
    int count = 0;
    struct text id = {0};
    const uint8_t *colon = secret.size ? memchr(secret.data, ':', secret.size) : NULL;
    char hash[SHA1_BASE64_SIZE];
    sha1_base64(secret, hash);
    text_add(&id, (struct slice){secret.data, colon ? (size_t)(colon - secret.data) : secret.size});
    text_addc(&id, ':');
    text_addz(&id, hash);
    const char *super = keeper->config.super_digest;
    if (!id.failed && super && slice_is(text_slice(&id), super))
        count += auth_add(ids, SLICE("super"), SLICE(""));
    if (!id.failed) count += auth_add(ids, SLICE("digest"), text_slice(&id));
    ids->failed |= id.failed;
    text_free(&id);
    return count;
}

static bool auth_digest(struct conn *conn, struct slice secret)
{
    if (!secret.data) return false; /* null, which is not empty */
    conn->auth_count += auth_add_digest(conn->keeper, secret, &conn->ids);
    return !conn->ids.failed;
}

/* No proof of who asks: whether we are whom it means. A client of another ensemble goes to another of its servers, so it is cut without a word. */
static bool is_of_ensemble(const struct keeper *keeper, struct slice name)
{
    const char *names = keeper->config.ensemble_names;
    return !names || name.size == 0 || list_names(names, ',', name);
}

/* Answered at once, before what waits in the queue: it concerns later requests only. */
static void take_auth(struct conn *conn, int32_t xid, struct slice body)
{
    struct jute in = jute_of(body);
    jute_int(&in);
    struct slice scheme = jute_bytes(&in), secret = jute_bytes(&in);
    if (in.is_bad) {
        conn_close(conn);
        return;
    }
    bool asks_ensemble = conn->keeper->config.knows_ensembles && slice_is(scheme, "ensemble");
    if (asks_ensemble && !is_of_ensemble(conn->keeper, secret)) {
        diag_debug("%s:%u wants another ensemble than this", conn->host, conn->port);
        conn_close(conn);
        return;
    }
    bool is_good = conn->auth_count < AUTH_IDS_MAX || asks_ensemble;
    if (is_good && slice_is(scheme, "digest")) {
        is_good = auth_digest(conn, secret);
    } else {
        /* Every socket has proved its address already. */
        is_good = is_good && (asks_ensemble || slice_is(scheme, "ip"));
    }
    conn_reply(conn, xid, 0, is_good ? 0 : error_zk_code(ERR_ZK_AUTH_FAILED), SLICE_NULL);
    if (is_good) return;
    conn->keeper->counts.auth_failed++;
    conn_finish(conn);
}

/* --- a frame --- */

/* In an ensemble a sync is an entry of its own: once it is applied here, so is all that was committed when it came. */
static bool take_sync(struct conn *conn, int32_t xid, struct slice body)
{
    struct keeper *keeper = conn->keeper;
    if (conn->read_count >= QUEUED_READS_MAX) return false;
    struct entry entry = {.op = OP_SYNC, .session = conn->live->id, .cxid = xid, .body = body};
    enum error err = request_submit(keeper, conn, REQUEST_SYNC, xid, &entry);
    if (err == ERR_AGAIN) return false;
    if (err != OK) conn_close(conn);
    return true;
}

static bool take_read(struct conn *conn, int32_t xid, int32_t op, struct slice body)
{
    struct keeper *keeper = conn->keeper;
    if (op == OP_SYNC && keeper->office.state != OFFICE_ALONE) return take_sync(conn, xid, body);
    bool waits = op == OP_SYNC && quorum_applied_index(keeper->quorum) < quorum_last_index(keeper->quorum);
    if (!conn->first && !waits) {
        serve(conn, xid, op, body, loop_now_us(keeper->loop));
        return true;
    }
    if (conn->read_count >= QUEUED_READS_MAX) return false;
    struct request *request = request_new(conn, op == OP_SYNC ? REQUEST_SYNC : REQUEST_READ, xid, op, body);
    if (!request) {
        conn_close(conn);
        return true;
    }
    conn_push(conn, request);
    if (op == OP_SYNC) {
        request->index = quorum_last_index(keeper->quorum);
        pending_push(keeper, request);
    }
    return true;
}

/* A client that showed a certificate is known by its subject. Before its first frame nobody knew of one. */
static void identify_by_certificate(struct conn *conn)
{
    const char *super = conn->keeper->config.x509_super_user;
    struct text subject = {0};
    if (conn->stream && stream_tls_peer(conn->stream, &subject)) {
        conn->auth_count += auth_add(&conn->ids, SLICE("x509"), text_slice(&subject));
        if (super && slice_is(text_slice(&subject), super))
            conn->auth_count += auth_add(&conn->ids, SLICE("super"), text_slice(&subject));
    }
    text_free(&subject);
}

/* A session that only this member knows may be closed; one that all know may not, nor anything else be changed. */
static bool read_only_admits(const struct conn *conn, int32_t op)
{
    if (op == OP_CLOSE_SESSION) return conn->live->is_read_only;
    return op != OP_SYNC && op != OP_CHECK && !op_is_write(op);
}

bool request_frame(struct conn *conn, struct slice frame)
{
    enum { REQUEST_HEADER_SIZE = 8 };
    struct keeper *keeper = conn->keeper;
    bool is_taken = true;
    if (conn->is_reconfiguring) return false;
    if (conn->state == CONN_FRESH) {
        if (conn->received == 0) identify_by_certificate(conn);
        session_connect_frame(conn, frame, &is_taken);
    } else if (frame.size < REQUEST_HEADER_SIZE || conn->live->is_closing) {
        conn_close(
            conn); /* malformed; or too late: its session has expired, as it will hear when it comes back */
    } else {
        int32_t xid = (int32_t)get_be32(frame.data), op = (int32_t)get_be32(frame.data + 4);
        struct slice body = {frame.data + REQUEST_HEADER_SIZE, frame.size - REQUEST_HEADER_SIZE};
        session_touch(keeper, conn->live);
        if (op == OP_AUTH) {
            take_auth(conn, xid, body);
        } else if (op == OP_SASL) {
            sasl_take(conn, xid, body);
        } else if (!sasl_suffices(conn)) {
            sasl_refuse(conn, xid);
        } else if (keeper->is_read_only && !read_only_admits(conn, op)) {
            conn_reply(conn, xid, keeper->machine.zxid, error_zk_code(ERR_ZK_NOT_READ_ONLY), SLICE_NULL);
        } else if (conn->live->is_read_only && op == OP_CLOSE_SESSION) {
            conn_reply(conn, xid, keeper->machine.zxid, 0, SLICE_NULL);
            conn_finish(conn);
        } else if (op_is_write(op) && op_is_decodable(op, body)) {
            is_taken = take_write(conn, xid, op, body);
        } else { /* nobody asks for what only throttling answers */
            is_taken = take_read(conn, xid, op == OP_THROTTLED ? OP_ERROR : op, body);
        }
    }
    if (is_taken) {
        conn->received++;
        keeper->packets_received++;
        keeper->counts.bytes_received += 4 + (int64_t)frame.size;
    }
    return is_taken;
}
