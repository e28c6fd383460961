/* sasl_digest.h: both sides of SASL DIGEST-MD5; the users a server knows, and who a client is, from a JAAS file.
 *
 *     Server {
 *         org.apache.zookeeper.server.auth.DigestLoginModule required
 *         user_alice="secret"
 *         user_bob="other";
 *     };
 *     Client {
 *         org.apache.zookeeper.server.auth.DigestLoginModule required username="alice" password="secret";
 *     };
 *
 * An exchange is three tokens: the client's empty one (answered by a challenge), the client's response (answered by proof
 * that the server knows the password too), and then it is done. Errors  ERR_CORRUPT: wrong password, user or token; the exchange
 * is over. Randomness  libgsasl's own. Source  RFC 2831; ZooKeeper's DigestLoginModule and SaslServerCallbackHandler.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

struct sasl_user {
    char *name, *password;
};

/* Zeroed: nobody. */
struct sasl_users {
    struct sasl_user *items;
    size_t count, capacity;
};

/* The users of one section of a JAAS file. ERR_CONFIG: *why (appended to) says what is wrong and in which line;
 * ERR_NOT_FOUND: that there is no such section. */
MUST_USE enum error sasl_users_read(struct slice file, const char *section, struct sasl_users *users,
                                    struct text *why);
/* Adds one, or gives a known one another password. ERR_NOMEM. */
MUST_USE enum error sasl_users_set(struct sasl_users *users, struct slice name, struct slice password);
const char *sasl_users_password(const struct sasl_users *users, const char *name);
void sasl_users_free(struct sasl_users *users);

/* The client's section: username and password of its login module. ERR_CONFIG also when one is missing. */
struct sasl_login {
    char *username, *password;
};
MUST_USE enum error sasl_login_read(struct slice file, const char *section, struct sasl_login *login,
                                    struct text *why);
void sasl_login_free(struct sasl_login *login);

/* --- the server's side --- */
struct sasl_digest;

/* `users`, `service` and `host` outlive the exchange. The host is the realm as well. */
MUST_USE enum error sasl_digest_new(const struct sasl_users *users, const char *service, const char *host,
                                    struct sasl_digest **exchange);
void sasl_digest_free(struct sasl_digest **exchange);
/* The client's next token, and ours, appended to `out`. */
MUST_USE enum error sasl_digest_step(struct sasl_digest *exchange, struct slice token, struct text *out,
                                     bool *is_done);
/* Who it is, once done. A loan from the exchange. */
const char *sasl_digest_user(const struct sasl_digest *exchange);

/* --- the client's side --- */
struct sasl_digest_client;

/* What is given outlives the exchange. */
MUST_USE enum error sasl_digest_client_new(const struct sasl_login *login, const char *service,
                                           const char *host, struct sasl_digest_client **exchange);
void sasl_digest_client_free(struct sasl_digest_client **exchange);
/* The server's next token (the challenge, then its proof), and our answer, appended to `out`. ERR_CORRUPT: no challenge, or a server that
 * does not know the password. */
MUST_USE enum error sasl_digest_client_step(struct sasl_digest_client *exchange, struct slice token,
                                            struct text *out, bool *is_done);
