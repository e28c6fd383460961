/* zk_words_test.c: what people type. */
#include "cli/zk_words.h"

#include <stdio.h>
#include <string.h>

#include "base/test.h"

static void lines_become_words(void **state)
{
    static const struct {
        const char *line, *words; /* joined by '|' */
    } rows[] = {
        {"", ""},
        {"  ls   /a\t/b\n", "ls|/a|/b"},
        {"set /a 'two words'", "set|/a|two words"},
        {"set /a \"say \\\"so\\\"\"", "set|/a|say \"so\""},
        {"set /a {\\\"k\\\":1}", "set|/a|{\"k\":1}"},
        {"set /a 'a\\b'", "set|/a|a\\b"},
        {"set /a ''", "set|/a|"},
        {"set /a x'y z'w", "set|/a|xy zw"},
        {"set /a two\\ words", "set|/a|two words"},
        {"set /a 'open", NULL},
        {"1 2 3 4 5 6 7 8 9", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[128], joined[256] = "", *words[8];
        size_t count = 0;
        snprintf(line, sizeof line, "%s", rows[i].line);
        enum error err = zk_split(line, words, 8, &count);
        if (!rows[i].words) {
            assert_int_equal(err, ERR_USAGE);
            continue;
        }
        assert_int_equal(err, OK);
        for (size_t w = 0; w < count; w++) {
            strcat(joined, w ? "|" : "");
            strcat(joined, words[w]);
        }
        assert_string_equal(joined, rows[i].words);
    }
}

static void words_become_options(void **state)
{
    static const char table[] = "s e R v: t: add:";
    char *words[] = {"/a", "-sR", "-v", "3", "--add=x", "-1", "-add", "y", "--", "-s"};
    struct zk_words parsed;
    assert_int_equal(zk_words_parse(table, words, 10, &parsed), OK);
    assert_int_equal(parsed.argc, 3);
    assert_string_equal(parsed.argv[0], "/a");
    assert_string_equal(parsed.argv[1], "-1");
    assert_string_equal(parsed.argv[2], "-s");
    assert_non_null(zk_option(&parsed, "s"));
    assert_non_null(zk_option(&parsed, "R"));
    assert_null(zk_option(&parsed, "e"));
    assert_null(zk_option(&parsed, "a"));
    assert_string_equal(zk_option(&parsed, "v"), "3");
    assert_string_equal(zk_option(&parsed, "add"), "y"); /* the last counts */

    static char *const wrong[][2] = {{"-x", NULL},   {"-v", NULL},   {"-sx", NULL},
                                     {"--sR", NULL}, {"-s=1", NULL}, {"-sv", "3"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *given[] = {wrong[i][0], wrong[i][1]};
        assert_int_equal(zk_words_parse(table, given, given[1] ? 2 : 1, &parsed), ERR_USAGE);
        assert_string_equal(parsed.wrong, wrong[i][0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_words),
        cmocka_unit_test(words_become_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
