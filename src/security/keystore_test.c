/* keystore_test.c: stores as keytool and openssl wrote them (test/golden/keystores), and stores that are not whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "security/keystore.h"

static struct slice read_golden(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/test/golden/keystores/%s", getenv("SOURCE_ROOT"), name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("no %s", path);
    static uint8_t bytes[16384];
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return (struct slice){bytes, size};
}

static int count(const struct text *text, const char *word)
{
    int found = 0;
    for (const char *at = text->data; at && (at = strstr(at, word)); at++) found++;
    return found;
}

static void expect(const char *name, const char *password, const char *key_password, int chain, int keys,
                   int trust)
{
    struct keystore keystore;
    struct text why = {0};
    enum error err = keystore_read(read_golden(name), password, key_password, &keystore, &why);
    if (err != OK) fail_msg("%s: %s", name, why.data);
    assert_int_equal(count(&keystore.chain, "BEGIN CERTIFICATE"), chain);
    assert_int_equal(count(&keystore.key, "BEGIN PRIVATE KEY"), keys);
    assert_int_equal(count(&keystore.trust, "BEGIN CERTIFICATE"), trust);
    keystore_free(&keystore);
    text_free(&why);
}

static void expect_error(struct slice file, const char *password, const char *key_password, const char *says)
{
    struct keystore keystore;
    struct text why = {0};
    assert_int_equal(keystore_read(file, password, key_password, &keystore, &why), ERR_CONFIG);
    if (!strstr(why.data, says)) fail_msg("\"%s\" does not say \"%s\"", why.data, says);
    text_free(&why);
}

static void stores_are_read(void **state)
{
    (void)state;
    expect("key.p12", "storepass", NULL, 1, 1, 0);
    expect("key.jks", "storepass", "keypass", 1, 1, 0);
    expect("trust.jks", "storepass", NULL, 0, 0, 1);
    expect("trust.jks", NULL, NULL, 0, 0, 1);
    expect("trust.p12", "storepass", NULL, 0, 0, 1);
    expect("key.pem", NULL, "keypass", 1, 1, 0);
    expect("trust.pem", NULL, NULL, 0, 0, 1);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    expect_error(read_golden("key.p12"), "wrong", NULL, "password");
    expect_error(read_golden("key.jks"), "wrong", "keypass", "password");
    expect_error(read_golden("key.jks"), "storepass", "wrong", "key's password");
    expect_error(read_golden("key.jks"), NULL, NULL, "needs a password");
    expect_error(read_golden("key.pem"), NULL, "wrong", "private key cannot be read");
    expect_error(SLICE(""), NULL, NULL, "neither PEM");
    expect_error(SLICE("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"), NULL, NULL,
                 "certificate");
}

static void a_cut_store_is_refused_at_any_byte(void **state)
{
    (void)state;
    struct slice whole = read_golden("trust.jks");
    for (size_t size = 0; size < whole.size; size++) {
        struct keystore keystore;
        struct text why = {0};
        enum error err = keystore_read((struct slice){whole.data, size}, NULL, NULL, &keystore, &why);
        assert_int_equal(err, ERR_CONFIG);
        text_free(&why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_are_read),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_cut_store_is_refused_at_any_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
