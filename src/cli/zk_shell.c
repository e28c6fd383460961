/* zk_shell.c: odradek zk without a verb: a prompt with completion and history; or lines from standard input, one verb each.
 *
 * While the prompt waits for keys the session is served: pings go out, events of watches are shown as they come. */
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/zk.h"

enum { WORDS_MAX = 64, HISTORY_SIZE = 1000 };

struct zk_shell {
    struct zk *zk;
    const struct cli *cli;
    EditLine *edit;
    History *history;
    char prompt[400];
    unsigned number;
};

static void help(void)
{
    for (size_t i = 0; zk_verb_at(i); i++) {
        const struct zk_verb *verb = zk_verb_at(i);
        char left[64];
        snprintf(left, sizeof left, "%s %s", verb->name, verb->args);
        printf("  %-48s %s\n", left, verb->summary);
    }
    printf("  %-48s %s\n  %-48s %s\n  %-48s %s\n", "history", "what was typed", "help", "this", "quit",
           "end the session");
}

static void print_history(struct zk_shell *shell)
{
    HistEvent event;
    for (int more = history(shell->history, &event, H_LAST); more >= 0;
         more = history(shell->history, &event, H_PREV))
        printf("%d - %s", event.num, event.str);
}

/* False: the user wants to go. */
static bool run_line(struct zk_shell *shell, char *line, int *status)
{
    char *words[WORDS_MAX];
    size_t count;
    if (zk_split(line, words, WORDS_MAX, &count) != OK) {
        cli_complain("a quote is not closed, or there are more than %d words", WORDS_MAX);
        *status = EXIT_USAGE;
        return true;
    }
    if (count == 0 || words[0][0] == '#') return true;
    if (strcmp(words[0], "quit") == 0 || strcmp(words[0], "exit") == 0) return false;
    if (strcmp(words[0], "help") == 0 || strcmp(words[0], "?") == 0) {
        help();
        return true;
    }
    if (strcmp(words[0], "history") == 0 && shell->history) {
        print_history(shell);
        return true;
    }
    int ended = zk_run(shell->zk, shell->cli, true, (int)count, words);
    if (ended != EXIT_OK || shell->edit) *status = ended;
    return true;
}

/* --- the prompt --- */

static struct zk_shell *shell_of(EditLine *edit)
{
    void *data = NULL;
    el_get(edit, EL_CLIENTDATA, &data);
    return data;
}

static char *prompt(EditLine *edit)
{
    struct zk_shell *shell = shell_of(edit);
    const char *state = zk_state(shell->zk) == ZK_CONNECTED ? "CONNECTED" : "CONNECTING";
    snprintf(shell->prompt, sizeof shell->prompt, "[zk: %s(%s) %u] ", zk_server(shell->zk), state,
             shell->number);
    return shell->prompt;
}

/* One character; until it comes the session is served. */
static int get_character(EditLine *edit, wchar_t *out)
{
    struct zk_shell *shell = shell_of(edit);
    mbstate_t state = {0};
    for (;;) {
        zk_idle(shell->zk, STDIN_FILENO, -1);
        char byte;
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got <= 0) return got == 0 ? 0 : -1;
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-2) continue; /* more of it to come */
        if (used == (size_t)-1) {
            memset(&state, 0, sizeof state);
            continue;
        }
        if (used == 0) *out = 0;
        return 1;
    }
}

/* --- completion --- */

struct matches {
    char **items;
    size_t count;
    size_t common; /* bytes that all share */
};

static void match_add(struct matches *matches, const char *item)
{
    char **grown = realloc(matches->items, (matches->count + 1) * sizeof *grown);
    char *copy = grown ? strdup(item) : NULL;
    if (grown) matches->items = grown;
    if (!copy) return;
    size_t same = 0;
    if (matches->count == 0) {
        same = strlen(copy);
    } else {
        while (same < matches->common && copy[same] == matches->items[0][same]) same++;
    }
    matches->items[matches->count++] = copy;
    matches->common = same;
}

static void match_verbs(const char *word, struct matches *matches)
{
    static const char *const own[] = {"help", "history", "quit"};
    for (size_t i = 0; zk_verb_at(i); i++) {
        if (strncasecmp(zk_verb_at(i)->name, word, strlen(word)) == 0)
            match_add(matches, zk_verb_at(i)->name);
    }
    for (size_t i = 0; i < 3; i++) {
        if (strncmp(own[i], word, strlen(word)) == 0) match_add(matches, own[i]);
    }
}

static void match_paths(struct zk_shell *shell, const char *word, struct matches *matches)
{
    const char *slash = strrchr(word, '/');
    char parent[4096];
    size_t size = (size_t)(slash - word);
    if (size >= sizeof parent) return;
    snprintf(parent, sizeof parent, "%.*s", size ? (int)size : 1, word);
    struct zk_names names;
    if (zk_children(shell->zk, parent, false, &names, NULL) != OK) return;
    for (size_t i = 0; i < names.count; i++) {
        if (strncmp(names.names[i], slash + 1, strlen(slash + 1)) == 0) match_add(matches, names.names[i]);
    }
    zk_names_free(&names);
}

static unsigned char complete(EditLine *edit, int key)
{
    (void)key;
    struct zk_shell *shell = shell_of(edit);
    const LineInfo *line = el_line(edit);
    const char *begin = line->cursor;
    while (begin > line->buffer && begin[-1] != ' ') begin--;
    char word[4096];
    snprintf(word, sizeof word, "%.*s", (int)(line->cursor - begin), begin);
    struct matches matches = {0};
    if (begin == line->buffer) {
        match_verbs(word, &matches);
    } else if (word[0] == '/') {
        match_paths(shell, word, &matches);
    }
    unsigned char answer = CC_ERROR;
    const char *last = strrchr(word, '/');
    size_t typed = begin == line->buffer || !last ? strlen(word) : strlen(last + 1);
    if (matches.count > 0 && matches.common > typed) {
        char *rest = strndup(matches.items[0] + typed, matches.common - typed);
        if (rest && el_insertstr(edit, rest) == 0) answer = CC_REFRESH;
        free(rest);
        if (matches.count == 1 && begin == line->buffer && el_insertstr(edit, " ") == 0) answer = CC_REFRESH;
    } else if (matches.count > 1) {
        putchar('\n');
        for (size_t i = 0; i < matches.count; i++)
            printf("%s%s", matches.items[i], i + 1 < matches.count ? "  " : "\n");
        fflush(stdout);
        answer = CC_REDISPLAY;
    } else if (matches.count == 1 && last && el_insertstr(edit, "/") == 0) {
        answer = CC_REFRESH;
    }
    for (size_t i = 0; i < matches.count; i++) free(matches.items[i]);
    free(matches.items);
    return answer;
}

/* --- */

static char *history_file(void)
{
    const char *home = getenv("HOME");
    char *path = NULL;
    if (!home || asprintf(&path, "%s/.odradek_zk_history", home) < 0) return NULL;
    return path;
}

static void set_up(struct zk_shell *shell)
{
    el_set(shell->edit, EL_CLIENTDATA, shell);
    el_set(shell->edit, EL_EDITOR, "emacs");
    el_set(shell->edit, EL_PROMPT, prompt);
    el_set(shell->edit, EL_SIGNAL, 1);
    el_set(shell->edit, EL_GETCFN, get_character);
    el_set(shell->edit, EL_ADDFN, "complete", "complete a verb or a path", complete);
    el_set(shell->edit, EL_BIND, "^I", "complete", NULL);
    el_set(shell->edit, EL_HIST, history, shell->history);
}

static int run_prompt(struct zk_shell *shell)
{
    int status = EXIT_OK;
    HistEvent event;
    char *path = history_file();
    history(shell->history, &event, H_SETSIZE, HISTORY_SIZE);
    history(shell->history, &event, H_SETUNIQUE, 1);
    if (path) history(shell->history, &event, H_LOAD, path);
    set_up(shell);
    printf("session 0x%llx, timeout %d ms; help lists the verbs, Tab completes\n",
           (unsigned long long)zk_session_id(shell->zk), zk_session_timeout_ms(shell->zk));
    for (;;) {
        int size = 0;
        const char *line = el_gets(shell->edit, &size);
        if (!line || size <= 0) break;
        if (line[strspn(line, " \t\n")]) history(shell->history, &event, H_ENTER, line);
        char *copy = strdup(line);
        bool goes_on = copy && run_line(shell, copy, &status);
        free(copy);
        shell->number++;
        if (!goes_on) break;
    }
    if (path) history(shell->history, &event, H_SAVE, path);
    free(path);
    return EXIT_OK;
}

static int run_lines(struct zk_shell *shell)
{
    int status = EXIT_OK;
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) >= 0 && run_line(shell, line, &status)) continue;
    free(line);
    return status;
}

int zk_shell(struct zk *zk, const struct cli *cli)
{
    struct zk_shell shell = {.zk = zk, .cli = cli};
    if (!isatty(STDIN_FILENO)) return run_lines(&shell);
    setlocale(LC_CTYPE, "");
    shell.history = history_init();
    shell.edit = shell.history ? el_init("odradek", stdin, stdout, stderr) : NULL;
    int status = shell.edit ? run_prompt(&shell) : run_lines(&shell);
    if (shell.edit) el_end(shell.edit);
    if (shell.history) history_end(shell.history);
    return status;
}
