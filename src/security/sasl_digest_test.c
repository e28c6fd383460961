/* sasl_digest_test.c: libgsasl's own client against our server, and JAAS files. */
#include "security/sasl_digest.h"

#include <gsasl.h>

#include "base/test.h"

static enum error read_users(const char *file, struct sasl_users *users, struct text *why)
{
    *users = (struct sasl_users){0};
    text_reset(why);
    return sasl_users_read(slice_of(file), "Server", users, why);
}

static void jaas_files(void **state)
{
    static const struct {
        const char *file, *why; /* NULL: it is right, and alice's password is "s" */
    } rows[] = {
        {"Server {\n org.apache.zookeeper.server.auth.DigestLoginModule required\n user_alice=\"s\";\n};",
         NULL},
        {"// users\nClient { a.b required x=1; };\n/* here\n */ Server { "
         "org.apache.zookeeper.server.auth.DigestLoginModule required debug=true user_a='\\'' "
         "user_alice=\"s\" ; };",
         NULL},
        {"Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_alice=\"x\" "
         "user_alice=s;};",
         NULL},
        {"", "there is no section \"Server\""},
        {"Client { };", "there is no section \"Server\""},
        {"Server", "line 1: \"{\" expected"},
        {"Server {\n", "line 2: a login module or \"}\" expected"},
        {"Server { }", "line 1: \";\" after \"}\" expected"},
        {"Server {\ncom.sun.security.auth.module.Krb5LoginModule required; };",
         "line 2: com.sun.security.auth.module.Krb5LoginModule: only "
         "org.apache.zookeeper.server.auth.DigestLoginModule is known here"},
        {"Server { org.apache.zookeeper.server.auth.DigestLoginModule; };",
         "line 1: required, or another flag, expected"},
        {"Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_a; };",
         "line 1: \"=\" expected"},
        {"Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_a=\"open\n; };",
         "line 2: a value, in quotes expected"},
        {"Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_a=\"x\" };",
         "line 1: \";\" expected"},
        {"\x01", "line 1: the name of a section expected"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sasl_users users;
        struct text why = {0};
        enum error err = read_users(rows[i].file, &users, &why);
        if (rows[i].why) {
            assert_int_equal(err, strncmp(rows[i].why, "there is no", 11) == 0 ? ERR_NOT_FOUND : ERR_CONFIG);
            assert_string_equal(why.data, rows[i].why);
        } else {
            assert_int_equal(err, OK);
            assert_string_equal(sasl_users_password(&users, "alice"), "s");
        }
        sasl_users_free(&users);
        text_free(&why);
    }
}

static int client_answer(Gsasl *library, Gsasl_session *session, Gsasl_property what)
{
    const char **who = gsasl_callback_hook_get(library);
    switch (what) {
    case GSASL_AUTHID: return gsasl_property_set(session, what, who[0]);
    case GSASL_PASSWORD: return gsasl_property_set(session, what, who[1]);
    case GSASL_SERVICE: return gsasl_property_set(session, what, "zookeeper");
    case GSASL_HOSTNAME: return gsasl_property_set(session, what, "zk-sasl-md5");
    default: return GSASL_NO_CALLBACK;
    }
}

static enum error exchange_with(const struct sasl_users *users, const char *name, const char *password)
{
    const char *who[2] = {name, password};
    Gsasl *library = NULL;
    Gsasl_session *client = NULL;
    assert_int_equal(gsasl_init(&library), GSASL_OK);
    gsasl_callback_hook_set(library, who);
    gsasl_callback_set(library, client_answer);
    assert_int_equal(gsasl_client_start(library, "DIGEST-MD5", &client), GSASL_OK);
    struct sasl_digest *server;
    assert_int_equal(sasl_digest_new(users, "zookeeper", "zk-sasl-md5", &server), OK);
    struct text token = {0}, out = {0};
    bool is_done = false;
    enum error err = OK;
    for (int round = 0; err == OK && !is_done; round++) {
        text_reset(&out);
        err = sasl_digest_step(server, text_slice(&token), &out, &is_done);
        if (err != OK) break;
        char *answered = NULL;
        size_t size = 0;
        int status = gsasl_step(client, out.data, out.size, &answered, &size);
        assert_true(status == GSASL_OK || status == GSASL_NEEDS_MORE);
        text_reset(&token);
        text_add(&token, (struct slice){(const uint8_t *)answered, size});
        gsasl_free(answered);
        assert_true(round < 3);
    }
    if (err == OK) assert_string_equal(sasl_digest_user(server), name);
    /* It is over, either way. */
    assert_int_equal(sasl_digest_step(server, text_slice(&token), &out, &is_done), ERR_CORRUPT);
    sasl_digest_free(&server);
    gsasl_finish(client);
    gsasl_done(library);
    text_free(&token);
    text_free(&out);
    return err;
}

/* Our client against our server: both are sure of each other, or neither is. */
static enum error ours_with(const struct sasl_users *users, const char *name, const char *password)
{
    struct sasl_login login = {(char *)name, (char *)password};
    struct sasl_digest *server;
    struct sasl_digest_client *client;
    assert_int_equal(sasl_digest_new(users, "zookeeper", "zk-sasl-md5", &server), OK);
    assert_int_equal(sasl_digest_client_new(&login, "zookeeper", "zk-sasl-md5", &client), OK);
    struct text token = {0}, out = {0};
    bool is_sure = false, is_done = false;
    enum error err = OK;
    while (err == OK && !is_done) {
        text_reset(&out);
        err = sasl_digest_step(server, text_slice(&token), &out, &is_sure);
        text_reset(&token);
        if (err == OK) err = sasl_digest_client_step(client, text_slice(&out), &token, &is_done);
        assert_true(err != OK || is_done == is_sure);
    }
    assert_int_equal(sasl_digest_client_step(client, SLICE("x"), &token, &is_done), ERR_CORRUPT);
    sasl_digest_free(&server);
    sasl_digest_client_free(&client);
    text_free(&token);
    text_free(&out);
    return err;
}

static void who_a_client_is(void **state)
{
    static const struct {
        const char *file, *why; /* NULL: alice, with the password "s" */
    } rows[] = {
        {"Client { org.apache.zookeeper.server.auth.DigestLoginModule required username=\"alice\" "
         "password=\"s\"; };",
         NULL},
        {"Client { org.apache.zookeeper.server.auth.DigestLoginModule required user_alice=\"s\" "
         "password=\"s\"; };",
         "section \"Client\" has no username"},
        {"Client { org.apache.zookeeper.server.auth.DigestLoginModule required username=\"s\"; };",
         "section \"Client\" has no password"},
        {"Server { a.b required x=1; };", "there is no section \"Client\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sasl_login login;
        struct text why = {0};
        enum error err = sasl_login_read(slice_of(rows[i].file), "Client", &login, &why);
        assert_true((err == OK) == !rows[i].why);
        if (rows[i].why) {
            assert_string_equal(why.data, rows[i].why);
            assert_null(login.username);
        } else {
            assert_string_equal(login.username, "alice");
            assert_string_equal(login.password, "s");
        }
        sasl_login_free(&login);
        text_free(&why);
    }
}

static void a_server_must_know_it_too(void **state)
{
    static const char *const tokens[] = {
        "", "x", "rspauth=00000000000000000000000000000000", "nonce=\"x\",qop=\"auth-conf\"", "\"", ",,,,"};
    const struct sasl_login login = {"alice", "secret"};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        for (int responds = 0; responds < 2; responds++) {
            struct sasl_digest_client *client;
            struct text out = {0};
            bool is_done;
            assert_int_equal(sasl_digest_client_new(&login, "zookeeper", "zk-sasl-md5", &client), OK);
            struct slice challenge =
                SLICE("realm=\"r\",nonce=\"n\",qop=\"auth\",charset=utf-8,algorithm=md5-sess");
            if (responds) assert_int_equal(sasl_digest_client_step(client, challenge, &out, &is_done), OK);
            if (responds) assert_true(memmem(out.data, out.size, "realm=\"r\"", 9) && !is_done);
            assert_int_equal(sasl_digest_client_step(client, slice_of(tokens[i]), &out, &is_done),
                             ERR_CORRUPT);
            assert_false(is_done);
            sasl_digest_client_free(&client);
            text_free(&out);
        }
    }
}

static void only_who_knows_the_password(void **state)
{
    struct sasl_users users = {0};
    assert_int_equal(sasl_users_set(&users, SLICE("alice"), SLICE("secret")), OK);
    assert_int_equal(sasl_users_set(&users, SLICE("b\xc3\xa4r"), SLICE("\xc3\xbc")), OK);
    assert_int_equal(exchange_with(&users, "alice", "secret"), OK);
    assert_int_equal(exchange_with(&users, "b\xc3\xa4r", "\xc3\xbc"), OK);
    assert_int_equal(exchange_with(&users, "alice", "wrong"), ERR_CORRUPT);
    assert_int_equal(exchange_with(&users, "mallory", "secret"), ERR_CORRUPT);
    assert_int_equal(ours_with(&users, "alice", "secret"), OK);
    assert_int_equal(ours_with(&users, "b\xc3\xa4r", "\xc3\xbc"), OK);
    assert_int_equal(ours_with(&users, "alice", "wrong"), ERR_CORRUPT);
    assert_int_equal(ours_with(&users, "mallory", "secret"), ERR_CORRUPT);
    sasl_users_free(&users);
}

static void tokens_that_are_none(void **state)
{
    static const char *const tokens[] = {
        "", "x", "username=\"alice\"", "username=\"alice\",realm=\"zk-sasl-md5\",nonce=\"\"", "\"", ",,,,"};
    struct sasl_users users = {0};
    assert_int_equal(sasl_users_set(&users, SLICE("alice"), SLICE("secret")), OK);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        for (int begins = 0; begins < 2; begins++) { /* what is said before the challenge is not looked at */
            struct sasl_digest *server;
            struct text out = {0};
            bool is_done;
            assert_int_equal(sasl_digest_new(&users, "zookeeper", "zk-sasl-md5", &server), OK);
            struct slice first = begins ? slice_of(tokens[i]) : SLICE_NULL;
            assert_int_equal(sasl_digest_step(server, first, &out, &is_done), OK);
            assert_true(out.size > 0 && !is_done);
            assert_int_equal(sasl_digest_step(server, slice_of(tokens[i]), &out, &is_done), ERR_CORRUPT);
            assert_false(is_done);
            sasl_digest_free(&server);
            text_free(&out);
        }
    }
    sasl_users_free(&users);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jaas_files),
        cmocka_unit_test(only_who_knows_the_password),
        cmocka_unit_test(tokens_that_are_none),
        cmocka_unit_test(who_a_client_is),
        cmocka_unit_test(a_server_must_know_it_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
