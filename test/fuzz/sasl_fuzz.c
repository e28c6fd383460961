/* sasl_fuzz: any bytes as a client's answer to SASL's challenge: what is read of it is read again as the same; and to the whole exchange. */
#include "fuzz.h"
#include "security/sasl_digest.h"
#include "security/sasl_response.h"

static const char service[] = "zookeeper", host[] = "zk-sasl-md5";

static void exchange(struct slice token)
{
    struct sasl_users users = {0};
    struct sasl_digest *server = NULL;
    struct text out = {0};
    bool is_done = false;
    CHECK(sasl_users_set(&users, SLICE("alice"), SLICE("secret")) == OK);
    CHECK(sasl_digest_new(&users, service, host, &server) == OK);
    CHECK(sasl_digest_step(server, token, &out, &is_done) == OK && !is_done);
    CHECK(sasl_digest_step(server, token, &out, &is_done) != OK && !is_done); /* nobody guesses a nonce */
    sasl_digest_free(&server);
    sasl_users_free(&users);
    text_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice token = {data, size};
    struct text once = {0}, twice = {0};
    if (sasl_response_read(token, service, host, &once) == OK) {
        CHECK(sasl_response_read(text_slice(&once), service, host, &twice) == OK);
        CHECK(slice_equal(text_slice(&once), text_slice(&twice)));
    }
    text_free(&once);
    text_free(&twice);
    exchange(token);
    return 0;
}
