/* sasl_digest_client.c: the client's side of DIGEST-MD5, as ZooKeeper's Java client speaks it: only authentication, in the first realm that the
 * server names. */
#include <gsasl.h>
#include <stdlib.h>

#include "security/sasl_digest.h"

struct sasl_digest_client {
    Gsasl *library;
    Gsasl_session *session;
    const struct sasl_login *login;
    const char *service, *host;
    bool has_responded, is_over;
};

static int answer(Gsasl *library, Gsasl_session *session, Gsasl_property what)
{
    const struct sasl_digest_client *exchange = gsasl_session_hook_get(session);
    switch (what) {
    case GSASL_AUTHID: return gsasl_property_set(session, GSASL_AUTHID, exchange->login->username);
    case GSASL_PASSWORD: return gsasl_property_set(session, GSASL_PASSWORD, exchange->login->password);
    case GSASL_SERVICE: return gsasl_property_set(session, GSASL_SERVICE, exchange->service);
    case GSASL_HOSTNAME: return gsasl_property_set(session, GSASL_HOSTNAME, exchange->host);
    case GSASL_QOP: return gsasl_property_set(session, GSASL_QOP, "qop-auth");
    default: return GSASL_NO_CALLBACK;
    }
}

enum error sasl_digest_client_new(const struct sasl_login *login, const char *service, const char *host,
                                  struct sasl_digest_client **exchange)
{
    struct sasl_digest_client *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->login = login;
    made->service = service;
    made->host = host;
    if (gsasl_init(&made->library) != GSASL_OK ||
        gsasl_client_start(made->library, "DIGEST-MD5", &made->session) != GSASL_OK) {
        sasl_digest_client_free(&made);
        return ERR_NOMEM;
    }
    gsasl_callback_set(made->library, answer);
    gsasl_session_hook_set(made->session, made);
    *exchange = made;
    return OK;
}

void sasl_digest_client_free(struct sasl_digest_client **exchange)
{
    struct sasl_digest_client *held = *exchange;
    *exchange = NULL;
    if (!held) return;
    if (held->session) gsasl_finish(held->session);
    if (held->library) gsasl_done(held->library);
    free(held);
}

enum error sasl_digest_client_step(struct sasl_digest_client *exchange, struct slice token, struct text *out,
                                   bool *is_done)
{
    *is_done = false;
    if (exchange->is_over || token.size == 0) return ERR_CORRUPT;
    char *answered = NULL;
    size_t size = 0;
    int status = gsasl_step(exchange->session, (const char *)token.data, token.size, &answered, &size);
    bool is_good = status == GSASL_OK || status == GSASL_NEEDS_MORE;
    if (is_good && size > 0) text_add(out, (struct slice){(const uint8_t *)answered, size});
    gsasl_free(answered);
    *is_done = is_good && exchange->has_responded;
    exchange->has_responded = true;
    exchange->is_over = !is_good || *is_done;
    if (status == GSASL_MALLOC_ERROR || out->failed) return ERR_NOMEM;
    return is_good ? OK : ERR_CORRUPT;
}
