/* digest.h: the digests that wire formats ask for. Pure. */
#pragma once
#include "base/bytes.h"

/* Base64 of the SHA-1 of `s`, NUL-terminated: what ZooKeeper's "digest" scheme keeps of "user:password". */
enum { SHA1_BASE64_SIZE = 29 };
void sha1_base64(struct slice s, char out[SHA1_BASE64_SIZE]);
