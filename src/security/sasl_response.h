/* sasl_response.h: what a client answers to DIGEST-MD5's challenge: pairs between commas, names in any case, values in quotes or bare.
 *
 *     charset=utf-8,username="alice",realm="zk-sasl-md5",nonce="...",cnonce="...",nc=00000001,qop=auth,
 *     digest-uri="zookeeper/zk-sasl-md5",response=388a61d2...
 *
 * libgsasl checks the proof, but not for whom it was made, and wants what has a default to be said. So all that Java's server
 * checks of the pairs is checked here, and the library gets them anew, complete.
 * Source  RFC 2831 section 2.1.2; held against Java's server by test/interop/keeper_fuzz.py.
 */
#pragma once
#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

/* Appends the pairs to `out`. ERR_CORRUPT: no response, one to another service, host or realm, or of a protection we do not offer. */
MUST_USE enum error sasl_response_read(struct slice token, const char *service, const char *host,
                                       struct text *out);
