#include "base/test.h"

#include "base/text.h"
#include "keeper/servers.h"

static void lines_become_members_and_lines_again(void **state)
{
    struct keeper_servers servers;
    struct text why = {0}, out = {0};
    keeper_servers_init(&servers);
    static const char lines[] =
        "server.1=a:2888:3888\n\n server.2 = [::1]:2889:3889:observer;2182 \nversion=100000003\n"
        "server.30=c:1:2:participant|d:3:4;[fe80::1]:2183\n";
    assert_int_equal(keeper_servers_parse(&servers, slice_of(lines), "\n", &why), OK);
    assert_int_equal(servers.count, 3);
    keeper_servers_add_client_port(&servers, 1, "", 2181);
    keeper_servers_add_client_port(&servers, 2, "", 2181);
    for (size_t i = 0; i < servers.count; i++) {
        keeper_server_print(servers.items[i].id, servers.items[i].line, &out);
        text_addc(&out, '\n');
    }
    assert_string_equal(out.data, "server.1=a:2888:3888:participant;0.0.0.0:2181\n"
                                  "server.2=[::1]:2889:3889:observer;0.0.0.0:2182\n"
                                  "server.30=c:1:2:participant;[fe80::1]:2183\n");
    assert_string_equal(servers.items[1].host, "::1");
    assert_int_equal(servers.items[1].quorum_port, 2889);
    assert_true(servers.items[1].is_observer);
    assert_null(keeper_servers_find(&servers, 3));
    keeper_servers_free(&servers);
    text_free(&why);
    text_free(&out);
}

/* 0 is nobody inside. */
static void number_0_is_a_member_like_others(void **state)
{
    struct keeper_servers servers;
    struct text why = {0}, out = {0};
    keeper_servers_init(&servers);
    assert_int_equal(keeper_servers_parse(&servers, SLICE("server.0=a:1:2;3,server.254=b:1:2;3"), ",", &why),
                     OK);
    assert_int_equal(servers.items[0].id, QUORUM_MEMBER_ZERO);
    assert_null(keeper_servers_find(&servers, 0));
    keeper_server_print(servers.items[0].id, servers.items[0].line, &out);
    assert_string_equal(out.data, "server.0=a:1:2:participant;0.0.0.0:3");
    for (int32_t id = 1; id <= QUORUM_MEMBER_ZERO; id++)
        assert_int_equal(quorum_member_of_number(quorum_member_number(id)), id);
    keeper_servers_free(&servers);
    text_free(&why);
    text_free(&out);
}

static void what_is_no_server_is_named(void **state)
{
    static const struct {
        const char *lines, *why;
    } rows[] = {
        {"server.1=a:2888", "\"server.1=a:2888\" is not a server; server.1=HOST:2888:3888 would be right"},
        {"a:2888:3888", "\"a:2888:3888\" is not a server; server.1=HOST:2888:3888 would be right"},
        {"server.0=a:1:2,server.0=b:1:2", "server.0 stands there twice"},
        {"server.255=a:1:2", "server.255: members are numbered from 0 to 254"},
        {"server.999=a:1:2", "server.999: members are numbered from 0 to 254"},
        {"server.x=a:1:2", "\"server.x=a:1:2\" is not a server; server.1=HOST:2888:3888 would be right"},
        {"server.1=a:1:2,server.1=b:1:2", "server.1 stands there twice"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct keeper_servers servers;
        struct text why = {0};
        keeper_servers_init(&servers);
        bool is_beyond = strstr(rows[i].why, "are numbered") != NULL;
        assert_int_equal(keeper_servers_parse(&servers, slice_of(rows[i].lines), ",", &why),
                         is_beyond ? ERR_LIMIT : ERR_CONFIG);
        assert_string_equal(why.data, rows[i].why);
        keeper_servers_free(&servers);
        text_free(&why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_members_and_lines_again),
        cmocka_unit_test(number_0_is_a_member_like_others),
        cmocka_unit_test(what_is_no_server_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
