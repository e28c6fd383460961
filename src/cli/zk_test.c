/* zk_test.c: access lists as people write them, and two subtrees side by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "cli/zk.h"

static void acls_are_read_and_written(void **state)
{
    static const struct {
        const char *written, *shown; /* NULL: refused */
    } rows[] = {
        {"world:anyone:cdrwa", "world:anyone:cdrwa"},
        {"world:anyone:awr", "world:anyone:rwa"},
        {"digest:u:h/x=:rw,ip:10.0.0.0/8:r", "digest:u:h/x=:rw,ip:10.0.0.0/8:r"},
        {"ip:::1:r", "ip:::1:r"},
        {"auth::cdrwa", "auth::cdrwa"},
        {"world:anyone:", "world:anyone:"},
        {"", NULL},
        {"world:anyone", NULL},
        {"world:anyone:x", NULL},
        {"world:anyone:r,", NULL},
        {"r", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct text vector = {0}, shown = {0};
        bool is_good = zk_acl_parse(rows[i].written, &vector);
        if (is_good != (rows[i].shown != NULL)) fail_msg("%s", rows[i].written);
        if (is_good) {
            assert_int_equal(zk_acl_text(text_slice(&vector), &shown, NULL), OK);
            assert_string_equal(shown.data, rows[i].shown);
            for (size_t size = 0; size < vector.size; size++) { /* cut anywhere */
                text_reset(&shown);
                assert_int_equal(zk_acl_text((struct slice){(uint8_t *)vector.data, size}, &shown, NULL),
                                 ERR_CORRUPT);
            }
        }
        text_free(&vector);
        text_free(&shown);
    }
}

static void children_come_between_their_parent_and_its_sibling(void **state)
{
    static const char *const rising[] = {"/", "/a", "/a/z", "/a/z/b", "/a!", "/a!/c", "/aa", "/b"};
    for (size_t i = 0; i < sizeof rising / sizeof *rising; i++) {
        for (size_t j = 0; j < sizeof rising / sizeof *rising; j++)
            assert_int_equal(zk_compare_paths(rising[i], rising[j]), (i > j) - (i < j));
    }
}

static struct zk_subtree subtree(struct zk_node *nodes, size_t count)
{
    return (struct zk_subtree){.nodes = nodes, .count = count};
}

static void differences_are_found(void **state)
{
    struct zk_node left[] = {
        {.path = "/"},
        {.path = "/acl", .acl = {.data = "x", .size = 1}},
        {.path = "/data", .data = {.data = "x", .size = 1}},
        {.path = "/ephemeral", .stat.ephemeral_owner = 1},
        {.path = "/left"},
        {.path = "/null", .is_null = true},
        {.path = "/same", .data = {.data = "s", .size = 1}},
        {.path = "/zookeeper/config", .data = {.data = "1", .size = 1}},
    };
    struct zk_node right[] = {
        {.path = "/"},
        {.path = "/acl", .acl = {.data = "y", .size = 1}},
        {.path = "/data", .data = {.data = "xx", .size = 2}},
        {.path = "/ephemeral", .data = {.data = "e", .size = 1}},
        {.path = "/null"},
        {.path = "/right"},
        {.path = "/right/below"},
        {.path = "/same", .data = {.data = "s", .size = 1}},
        {.path = "/zookeeper/config"},
    };
    struct zk_call call = {.output = OUTPUT_JSON, .items = json_array()};
    struct zk_subtree a = subtree(left, sizeof left / sizeof *left),
                      b = subtree(right, sizeof right / sizeof *right);
    assert_int_equal(zk_diff_subtrees(&call, &a, &a), 0);
    assert_int_equal(zk_diff_subtrees(&call, &a, &b), 7);
    char *shown = json_dumps(call.items, JSON_COMPACT);
    static const char want[] = "[{\"path\":\"/acl\",\"kind\":\"differs\",\"what\":\"acl\"},"
                               "{\"path\":\"/data\",\"kind\":\"differs\",\"what\":\"data\"},"
                               "{\"path\":\"/ephemeral\",\"kind\":\"differs\",\"what\":\"data ephemeral\"},"
                               "{\"path\":\"/left\",\"kind\":\"only_left\",\"what\":\"\"},"
                               "{\"path\":\"/null\",\"kind\":\"differs\",\"what\":\"data\"},"
                               "{\"path\":\"/right\",\"kind\":\"only_right\",\"what\":\"\"},"
                               "{\"path\":\"/right/below\",\"kind\":\"only_right\",\"what\":\"\"}]";
    assert_string_equal(shown, want);
    free(shown);
    json_decref(call.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acls_are_read_and_written),
        cmocka_unit_test(children_come_between_their_parent_and_its_sibling),
        cmocka_unit_test(differences_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
