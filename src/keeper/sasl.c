/* sasl.c: SASL of clients (DIGEST-MD5), and whether a connection has proved enough to ask for anything.
 *
 * An exchange belongs to a connection and is over with its last token; only then its user is among the connection's ids. Tokens are
 * answered at once, as authentication packets are: they concern later requests. Source: facts/keeper.md 1.5, 2.6. */
#include "base/diag.h"
#include "keeper/inside.h"
#include "keeper/jute.h"
#include "security/sasl_digest.h"

/* What Java's client calls the service and its server, whoever they are. */
#define SERVICE "zookeeper"
#define SERVER "zk-sasl-md5"

bool list_names(const char *list, char mark, struct slice wanted)
{
    for (const char *at = list; at && *at;) {
        const char *end = strchrnul(at, mark);
        struct slice item = {(const uint8_t *)at, (size_t)(end - at)};
        while (item.size > 0 && item.data[0] == ' ') item.data++, item.size--;
        while (item.size > 0 && item.data[item.size - 1] == ' ') item.size--;
        if (slice_equal(item, wanted)) return true;
        at = *end ? end + 1 : end;
    }
    return false;
}

bool sasl_suffices(const struct conn *conn)
{
    const char *schemes = conn->keeper->config.enforced_schemes;
    if (!schemes || conn->local) return true;
    struct auth_ids ids = {text_slice(&conn->ids)};
    struct auth_id id;
    for (size_t at = 0; auth_next(&ids, &at, &id);) {
        if (list_names(schemes, ',', id.scheme)) return true;
    }
    return false;
}

void sasl_refuse(struct conn *conn, int32_t xid)
{
    diag_debug("%s:%u asks without having authenticated as %s", conn->host, conn->port,
               conn->keeper->config.enforced_schemes);
    conn_reply(conn, xid, 0, error_zk_code(ERR_ZK_SESSION_CLOSED_REQUIRE_SASL), SLICE_NULL);
    conn_finish(conn);
}

static void sasl_failed(struct conn *conn, int32_t xid)
{
    const struct keeper_config *config = &conn->keeper->config;
    bool is_required = config->enforced_schemes && list_names(config->enforced_schemes, ',', SLICE("sasl"));
    diag_warn("%s:%u failed to authenticate by SASL", conn->host, conn->port);
    if (config->admits_sasl_failures && !is_required) {
        static const uint8_t no_token[] = {0xff, 0xff, 0xff, 0xff};
        conn_reply(conn, xid, 0, 0, (struct slice){no_token, sizeof no_token});
        return;
    }
    conn_reply(conn, xid, 0,
               error_zk_code(is_required ? ERR_ZK_SESSION_CLOSED_REQUIRE_SASL : ERR_ZK_AUTH_FAILED),
               SLICE_NULL);
    conn_finish(conn);
}

void sasl_take(struct conn *conn, int32_t xid, struct slice body)
{
    const struct keeper_config *config = &conn->keeper->config;
    struct jute in = jute_of(body);
    struct slice token = jute_bytes(&in);
    if (in.is_bad || !token.data) { /* Java's server fails over a token that is none */
        conn_close(conn);
        return;
    }
    struct text out = {0};
    text_add_be32(&out, UINT32_MAX);
    if (!config->sasl_users) { /* there is no mechanism: no token */
        conn_reply(conn, xid, 0, 0, text_slice(&out));
        text_free(&out);
        return;
    }
    bool is_done = false;
    enum error err = conn->sasl_is_over ? ERR_CORRUPT : OK;
    if (err == OK && !conn->sasl) err = sasl_digest_new(config->sasl_users, SERVICE, SERVER, &conn->sasl);
    if (err == OK) err = sasl_digest_step(conn->sasl, token, &out, &is_done);
    if (err == OK) {
        put_be32(out.data, (uint32_t)out.size - 4);
        struct slice user = is_done ? slice_of(sasl_digest_user(conn->sasl)) : SLICE_NULL;
        if (is_done) conn->auth_count += auth_add(&conn->ids, SLICE("sasl"), user);
        if (is_done && list_names(config->super_users, '\n', user))
            conn->auth_count += auth_add(&conn->ids, SLICE("super"), SLICE(""));
        conn_reply(conn, xid, 0, 0, text_slice(&out));
    }
    conn->sasl_is_over = err != OK || is_done;
    if (conn->sasl_is_over) sasl_digest_free(&conn->sasl);
    if (err != OK) sasl_failed(conn, xid);
    text_free(&out);
}
