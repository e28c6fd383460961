/* zk_security_test.c: what a file of client properties may say, and what is said of one that may not. */
#include "cli/zk_security.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/test.h"
#include "security/sasl_digest.h"

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
        {"SASL, whose file is not there", "java.security.auth.login.config=/nosuch\n", ERR_NOT_FOUND,
         "/nosuch: "},
        {"SASL, asked for", "sasl.client=true\n", ERR_CONFIG, "no java.security.auth.login.config"},
        {"SASL, asked for by a section", "zookeeper.sasl.clientconfig=Me\n", ERR_CONFIG,
         "no java.security.auth.login.config"},
        {"SASL, given up", "zookeeper.sasl.client=false\njava.security.auth.login.config=/nosuch\n", OK, ""},
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

/* JAAS */
static void who_we_are_is_in_another_file(void **state)
{
    static const char jaas_text[] =
        "Client { org.apache.zookeeper.server.auth.DigestLoginModule required username=\"alice\" "
        "password=\"s\"; };\nKerberos { com.sun.security.auth.module.Krb5LoginModule required; };";
    char path[] = "/tmp/zk-security-XXXXXX", jaas[] = "/tmp/zk-jaas-XXXXXX", properties[200];
    int fd = mkstemp(path), jaas_fd = mkstemp(jaas);
    assert_true(fd >= 0 && jaas_fd >= 0);
    assert_int_equal(write(jaas_fd, jaas_text, strlen(jaas_text)), strlen(jaas_text));
    static const char *const sections[] = {"Client", "Kerberos", "Nobody"};
    static const char *const said[] = {NULL, "Krb5LoginModule", "no section \"Nobody\""};
    for (int i = 0; i < 3; i++) {
        int size = snprintf(properties, sizeof properties,
                            "java.security.auth.login.config=%s\nsasl.clientconfig=%s\n", jaas, sections[i]);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, properties, (size_t)size, 0), size);
        struct zk_security security;
        struct text why = {0};
        enum error err = zk_security_read(path, &security, &why);
        assert_int_equal(err, said[i] ? ERR_CONFIG : OK);
        if (said[i])
            assert_non_null(strstr(why.data, said[i]));
        else
            assert_string_equal(security.sasl->username, "alice");
        zk_security_free(&security);
        text_free(&why);
    }
    close(fd);
    close(jaas_fd);
    unlink(path);
    unlink(jaas);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(files_are_read_and_named),
                                       cmocka_unit_test(who_we_are_is_in_another_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
