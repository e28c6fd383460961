#include "security/digest.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

void sha1_base64(struct slice s, char out[SHA1_BASE64_SIZE])
{
    unsigned char hash[SHA_DIGEST_LENGTH];
    SHA1(s.data ? s.data : (const unsigned char *)"", s.size, hash);
    EVP_EncodeBlock((unsigned char *)out, hash, sizeof hash);
}
