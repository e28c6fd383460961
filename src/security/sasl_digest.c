#include "security/sasl_digest.h"

#include <gsasl.h>
#include <stdlib.h>

#include "security/sasl_response.h"

struct sasl_digest {
    Gsasl *library;
    Gsasl_session *session;
    const struct sasl_users *users;
    const char *service, *host;
    bool has_challenged, is_over;
};

static int answer(Gsasl *library, Gsasl_session *session, Gsasl_property what)
{
    const struct sasl_digest *exchange = gsasl_session_hook_get(session);
    switch (what) {
    case GSASL_REALM: return gsasl_property_set(session, GSASL_REALM, exchange->host);
    case GSASL_SERVICE: return gsasl_property_set(session, GSASL_SERVICE, exchange->service);
    case GSASL_HOSTNAME: return gsasl_property_set(session, GSASL_HOSTNAME, exchange->host);
    case GSASL_QOPS: return gsasl_property_set(session, GSASL_QOPS, "qop-auth");
    case GSASL_PASSWORD: {
        const char *name = gsasl_property_fast(session, GSASL_AUTHID);
        const char *password = name ? sasl_users_password(exchange->users, name) : NULL;
        return password ? gsasl_property_set(session, GSASL_PASSWORD, password) : GSASL_NO_PASSWORD;
    }
    default: return GSASL_NO_CALLBACK;
    }
}

enum error sasl_digest_new(const struct sasl_users *users, const char *service, const char *host,
                           struct sasl_digest **exchange)
{
    struct sasl_digest *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->users = users;
    made->service = service;
    made->host = host;
    if (gsasl_init(&made->library) != GSASL_OK ||
        gsasl_server_start(made->library, "DIGEST-MD5", &made->session) != GSASL_OK) {
        sasl_digest_free(&made);
        return ERR_NOMEM;
    }
    gsasl_callback_set(made->library, answer);
    gsasl_session_hook_set(made->session, made);
    *exchange = made;
    return OK;
}

void sasl_digest_free(struct sasl_digest **exchange)
{
    struct sasl_digest *held = *exchange;
    *exchange = NULL;
    if (!held) return;
    if (held->session) gsasl_finish(held->session);
    if (held->library) gsasl_done(held->library);
    free(held);
}

enum error sasl_digest_step(struct sasl_digest *exchange, struct slice token, struct text *out, bool *is_done)
{
    *is_done = false;
    if (exchange->is_over) return ERR_CORRUPT;
    /* The challenge asks for nothing: what comes before it is not looked at, as by Java's server. */
    struct text response = {0};
    if (exchange->has_challenged) {
        enum error err = sasl_response_read(token, exchange->service, exchange->host, &response);
        if (err != OK) {
            text_free(&response);
            exchange->is_over = true;
            return err;
        }
    }
    char *answered = NULL;
    size_t size = 0;
    int status = gsasl_step(exchange->session, response.data, response.size, &answered, &size);
    text_free(&response);
    if (status == GSASL_OK || status == GSASL_NEEDS_MORE)
        text_add(out, (struct slice){(const uint8_t *)answered, size});
    gsasl_free(answered);
    bool was_response = exchange->has_challenged;
    exchange->has_challenged = true;
    if (status == GSASL_NEEDS_MORE && !was_response) return OK;
    exchange->is_over = true;
    *is_done = was_response && (status == GSASL_OK || status == GSASL_NEEDS_MORE);
    if (status == GSASL_MALLOC_ERROR || out->failed) return ERR_NOMEM;
    return *is_done ? OK : ERR_CORRUPT;
}

const char *sasl_digest_user(const struct sasl_digest *exchange)
{
    return gsasl_property_fast(exchange->session, GSASL_AUTHID);
}
