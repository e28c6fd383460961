/* zk_security.h: what `odradek zk` shows of itself and wants to see, from the client properties of ZooKeeper's own clients: the file of zkCli's
 * -client-configuration, with or without "zookeeper." in front of a key.
 *
 *     client.secure=true                      TLS
 *     ssl.keyStore.location=/etc/me.p12       who we are, where the ensemble wants to know: PEM, PKCS12 or JKS
 *     ssl.keyStore.password=secret            or ssl.keyStore.passwordPath: a file whose first line it is
 *     ssl.trustStore.location=/etc/ca.pem     whom we believe; the system's authorities where not set
 *
 *     java.security.auth.login.config=/etc/jaas.conf    SASL DIGEST-MD5: who its section Client (or sasl.clientconfig's) says we are
 *
 * and ssl.protocol, ssl.enabledProtocols, ssl.ciphersuites, ssl.hostnameVerification (true). A key that has no effect here is named in a
 * warning. sasl.client=false switches SASL off; with it switched on and nobody to be, or as somebody else than a DigestLoginModule's, it is
 * refused: a client that was to prove itself must not go on without.
 *
 * Errors  *why (appended to) names file and line. Source  ZKClientConfig and X509Util of ZooKeeper 3.9. */
#pragma once
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

struct cli;
struct sasl_login;
struct tls_context;

/* Zeroed: in the clear. */
struct zk_security {
    struct tls_context *tls;
    bool checks_host;
    struct sasl_login *sasl; /* NULL: no SASL */
};

MUST_USE enum error zk_security_read(const char *path, struct zk_security *security, struct text *why);
/* As --client-configuration says. False after saying what is wrong with it. */
bool zk_security_of(const struct cli *cli, struct zk_security *security);
void zk_security_free(struct zk_security *security);
