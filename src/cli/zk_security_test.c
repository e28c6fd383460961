/* zk_security_test.c: what a file of client properties may say, and what is said of one that may not. */
#include "cli/zk_security.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/test.h"

static void files_are_read_and_named(void **state)
{
    static const struct {
        const char *sentence, *text;
        enum error want;
        const char *said; /* somewhere in it */
    } rows[] = {
        {"nothing", "", OK, ""},
        {"TLS that was not asked for is not looked at", "zookeeper.ssl.keyStore.location=/nosuch\n", OK, ""},
        {"asked for without", "client.secure=false\n", OK, ""},
        {"a store that is not there", "client.secure=true\nssl.keyStore.location=/nosuch\n", ERR_NOT_FOUND,
         "/nosuch"},
        {"SASL", "# it\nzookeeper.sasl.client.username=x\n", ERR_CONFIG,
         ":2: zookeeper.sasl.client.username"},
        {"SASL, by its file", "java.security.auth.login.config=/x\n", ERR_CONFIG, ":1: java.security.auth"},
        {"SASL, asked for", "sasl.client=true\n", ERR_CONFIG, ":1: sasl.client"},
        {"SASL, given up", "zookeeper.sasl.client=false\n", OK, ""},
        {"no property", "a=\\u12\n", ERR_CONFIG, ":1: "},
    };
    char path[] = "/tmp/zk-security-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, rows[i].text, strlen(rows[i].text), 0), strlen(rows[i].text));
        struct zk_security security;
        struct text why = {0};
        enum error err = zk_security_read(path, &security, &why);
        const char *said = why.data ? why.data : "";
        if (err != rows[i].want || !strstr(said, rows[i].said))
            fail_msg("%s: %s, \"%s\"", rows[i].sentence, error_text(err), said);
        assert_null(security.tls);
        zk_security_free(&security);
        text_free(&why);
    }
    close(fd);
    unlink(path);
    struct zk_security security;
    struct text why = {0};
    assert_int_equal(zk_security_read("/nosuch/file", &security, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.data, "/nosuch/file: "));
    text_free(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_are_read_and_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
