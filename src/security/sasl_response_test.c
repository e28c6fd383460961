/* sasl_response_test.c: which answers to a challenge are for us, and what the library gets of them. */
#include "security/sasl_response.h"

#include "base/test.h"

#define PROOF "0123456789abcdef0123456789abcdef"
#define WHOLE                                                                                                \
    "username=\"alice\",realm=\"host\",nonce=\"n\",cnonce=\"c\",digest-uri=\"zookeeper/"                     \
    "host\",response=" PROOF
#define READ                                                                                                 \
    "charset=utf-8,nc=00000001,qop=auth,response=" PROOF                                                     \
    ",username=\"alice\",realm=\"host\",nonce=\"n\",cnonce=\"c\",digest-uri=\"zookeeper/host\""

static void what_is_read(void **state)
{
    static const struct {
        const char *token, *read; /* NULL: it is refused */
    } rows[] = {
        {WHOLE, READ},
        {WHOLE ",charset=utf-8,nc=00000001,qop=auth", READ},
        {WHOLE ",nc=1,maxbuf=65536,cipher=des,nosuch=\"a,b\"", READ},
        {",, \t" WHOLE " ,\r\n", READ},
        {"USERNAME = alice ,Realm=host nonce=n,cnonce=\"c\",digest-uri=ZooKeeper/HOST,response=\"" PROOF "\"",
         "charset=utf-8,nc=00000001,qop=auth,response=" PROOF
         ",username=\"alice\",realm=\"host\",nonce=\"n\",cnonce=\"c\",digest-uri=\"ZooKeeper/HOST\""},
        {WHOLE ",authzid=\"a\\\"\\\\b\"", READ ",authzid=\"a\\\"\\\\b\""},
        {WHOLE ",nc=00000002", NULL},
        {WHOLE ",nc=", NULL},
        {WHOLE ",qop=auth-int", NULL},
        {WHOLE ",charset=latin-1", NULL},
        {WHOLE ",username=\"bob\"", NULL},
        {WHOLE ",=x", NULL},
        {WHOLE ",x", NULL},
        {WHOLE ",x y", NULL},
        {WHOLE ",x=\"open", NULL},
        {WHOLE ",x=\"open\\", NULL},
        {WHOLE ",x=\"shut\"y", NULL},
        {"", NULL},
        {",,,", NULL},
        {"realm=\"host\",nonce=\"n\",cnonce=\"c\",digest-uri=\"zookeeper/host\",response=" PROOF, NULL},
        {"username=\"alice\",nonce=\"n\",cnonce=\"c\",digest-uri=\"zookeeper/host\",response=" PROOF, NULL},
        {"username=a,realm=other,nonce=n,cnonce=c,digest-uri=zookeeper/host,response=" PROOF, NULL},
        {"username=a,realm=host,nonce=n,cnonce=c,digest-uri=zookeeper/other,response=" PROOF, NULL},
        {"username=a,realm=host,nonce=n,cnonce=c,digest-uri=zookeeper,response=" PROOF, NULL},
        {"username=a,realm=host,nonce=n,cnonce=c,digest-uri=zookeeper/host,response=\"" PROOF ",username=b\"",
         NULL},
        {"username=a,realm=host,nonce=n,cnonce=c,digest-uri=zookeeper/"
         "host,response=0123456789ABCDEF0123456789ABCDEF",
         NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text out = {0};
        enum error err = sasl_response_read(slice_of(rows[i].token), "zookeeper", "host", &out);
        if ((err == OK) != (rows[i].read != NULL)) fail_msg("row %zu: %s", i, error_text(err));
        if (err == OK) assert_string_equal(out.data, rows[i].read);
        text_free(&out);
    }
    struct text out = {0};
    assert_int_equal(sasl_response_read(SLICE(WHOLE ",x=\"\0\""), "zookeeper", "host", &out), ERR_CORRUPT);
    assert_int_equal(sasl_response_read(SLICE_NULL, "zookeeper", "host", &out), ERR_CORRUPT);
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
