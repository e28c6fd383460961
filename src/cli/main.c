/* main.c: finds the command in the table, parses its options, runs it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/text.h"
#include "base/vec.h"
#include "cli/cli.h"
#include "cli/commands.h"

static const struct {
    const char *alias, *word;
} aliases[] = {{"ls", "list"}, {"show", "describe"}, {"rm", "delete"}, {"t", "topic"}, {"g", "group"}};

static const char *unalias(const char *word)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        if (strcmp(word, aliases[i].alias) == 0) return aliases[i].word;
    }
    return word;
}

/* Edit distance, for "did you mean"; words longer than 31 are never near. */
static size_t distance(const char *a, const char *b)
{
    size_t rows = strlen(a), columns = strlen(b), line[32];
    if (rows > 31 || columns > 31) return 99;
    for (size_t j = 0; j <= columns; j++) line[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = line[0];
        line[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t above = line[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (line[j - 1] + 1 < best) best = line[j - 1] + 1;
            diagonal = above;
            line[j] = best;
        }
    }
    return line[columns];
}

static void print_options(FILE *out, const struct cli_option *options)
{
    for (; options && options->name; options++) {
        char left[64];
        snprintf(left, sizeof left, "%c%c%s --%s%s%s", options->letter ? '-' : ' ',
                 options->letter ? options->letter : ' ', options->letter ? "," : " ", options->name,
                 options->value ? " " : "", options->value ? options->value : "");
        fprintf(out, "  %-34s %s\n", left, options->help);
    }
}

/* "topic create NAME..." */
static const char *words_of(const struct cli_command *command, char words[64])
{
    const char *verb = command->verb ? command->verb : "";
    snprintf(words, 64, "%s%s%s%s%s", command->noun, verb[0] ? " " : "", verb, command->args[0] ? " " : "",
             command->args);
    return words;
}

static void print_summary(FILE *out, const struct cli_command *command)
{
    char words[64];
    fprintf(out, "  %-28s %s\n", words_of(command, words), command->summary);
}

static void print_usage(FILE *out)
{
    fprintf(out, "usage: odradek COMMAND [ARGUMENTS] [OPTIONS]      odradek COMMAND --help\n\n");
    const char *noun = "";
    const struct cli_command *command;
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        if (strcmp(noun, command->noun) != 0) fprintf(out, "%s", i ? "\n" : "");
        noun = command->noun;
        print_summary(out, command);
    }
    fprintf(out, "\noptions of all commands that talk to brokers:\n");
    print_options(out, cli_common_options());
    fprintf(out, "\nls = list, show = describe, rm = delete, t = topic, g = group.\n"
                 "exit: 0 ok, 1 an item failed, 2 usage, 3 unreachable, 4 denied.\n");
}

static void print_help(const struct cli_command *command)
{
    char words[64];
    printf("usage: odradek %s\n\n%s\n", words_of(command, words), command->summary);
    if (command->details) printf("\n%s\n", command->details);
    printf("\noptions:\n");
    print_options(stdout, command->options);
    print_options(stdout, cli_common_options());
}

static void print_verbs(const char *noun)
{
    printf("usage: odradek %s VERB [ARGUMENTS] [OPTIONS]      odradek %s VERB --help\n\n", noun, noun);
    const struct cli_command *command;
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        if (strcmp(command->noun, noun) == 0) print_summary(stdout, command);
    }
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

static int unknown_word(const char *noun, const char *word)
{
    const char *nearest = NULL;
    size_t best = 4;
    bool is_noun_known = false;
    const struct cli_command *command;
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        bool is_same = strcmp(command->noun, noun) == 0;
        is_noun_known = is_noun_known || is_same;
        const char *candidate = is_same && command->verb ? command->verb : NULL;
        if (!word) candidate = command->noun;
        size_t away = candidate ? distance(candidate, word ? word : noun) : 99;
        if (away < best) {
            best = away;
            nearest = candidate;
        }
    }
    if (word && word[0]) {
        fprintf(stderr, "odradek: %s has no verb \"%s\"", noun, word);
    } else if (is_noun_known) {
        fprintf(stderr, "odradek: %s needs a verb:", noun);
        for (size_t i = 0; (command = cli_command_at(i)); i++) {
            if (strcmp(command->noun, noun) == 0) fprintf(stderr, " %s", command->verb);
        }
        nearest = NULL;
    } else {
        fprintf(stderr, "odradek: no command \"%s\"", noun);
    }
    if (nearest) fprintf(stderr, ", did you mean \"%s\"?", nearest);
    fprintf(stderr, "\n");
    return EXIT_USAGE;
}

static const struct cli_command *find_command(int argc, char **argv, int *used)
{
    const char *noun = unalias(argv[1]), *verb = argc > 2 ? argv[2] : "";
    const struct cli_command *command;
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        if (strcmp(command->noun, noun) != 0) continue;
        bool is_meant =
            !command->verb || strcmp(command->verb, verb) == 0 || strcmp(command->verb, unalias(verb)) == 0;
        if (!is_meant) continue;
        *used = command->verb ? 3 : 2;
        return command;
    }
    return NULL;
}

static const struct cli_option *find_option(const struct cli_command *command, const char *name, size_t size,
                                            char letter)
{
    const struct cli_option *tables[] = {command->options, cli_common_options()};
    for (int t = 0; t < 2; t++) {
        for (const struct cli_option *o = tables[t]; o && o->name; o++) {
            if (letter ? o->letter == letter : strlen(o->name) == size && memcmp(o->name, name, size) == 0)
                return o;
        }
    }
    return NULL;
}

static bool add_value(struct cli *cli, const struct cli_option *option, const char *value)
{
    if (!VEC_RESERVE(cli->values, cli->value_count, cli->value_capacity)) return false;
    cli->values[cli->value_count++] = (struct cli_value){option->name, value};
    return true;
}

/* Sorts argv into options and arguments. False after saying what is wrong. */
static bool parse(struct cli *cli, int argc, char **argv)
{
    bool only_arguments = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        bool is_number = word[0] == '-' && word[1] >= '0' && word[1] <= '9';
        if (only_arguments || word[0] != '-' || word[1] == 0 || is_number) {
            cli->argv[cli->argc++] = argv[i];
            only_arguments = only_arguments || cli->command->takes_words;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_arguments = true;
            continue;
        }
        const struct cli_option *option;
        const char *value = NULL;
        if (word[1] == '-') {
            const char *equals = strchr(word, '=');
            size_t size = equals ? (size_t)(equals - word - 2) : strlen(word + 2);
            option = find_option(cli->command, word + 2, size, 0);
            if (equals) value = equals + 1;
        } else {
            option = find_option(cli->command, NULL, 0, word[1]);
            if (option && word[2]) value = word + 2;
            if (option && value && !option->value) option = NULL;
        }
        if (!option) {
            cli_complain("no option \"%s\" here; see odradek %s%s%s --help", word, cli->command->noun,
                         cli->command->verb ? " " : "", cli->command->verb ? cli->command->verb : "");
            return false;
        }
        if (option->value && !value) {
            if (++i == argc) {
                cli_complain("--%s needs a value: %s", option->name, option->value);
                return false;
            }
            value = argv[i];
        }
        if (!option->value && value) {
            cli_complain("--%s takes no value", option->name);
            return false;
        }
        if (!add_value(cli, option, value ? value : "")) return false;
    }
    return true;
}

static bool common(struct cli *cli)
{
    static const char *const outputs[] = {"table", "json", "jsonl", "tsv", "name"};
    const char *output = cli_text(cli, "output");
    cli->output = OUTPUT_TABLE;
    for (int i = 0; output && i < 5; i++) {
        if (strcmp(output, outputs[i]) == 0) {
            cli->output = (enum cli_output)i;
            output = NULL;
        }
    }
    if (output) {
        cli_complain("-o %s: not a format; table, json, jsonl, tsv or name", output);
        return false;
    }
    const char *level_text = cli_text(cli, "log-level");
    enum diag_level level;
    if (level_text && !diag_level_parse(level_text, &level)) {
        cli_complain("--log-level %s: not a level; error, warn, info or debug", level_text);
        return false;
    }
    if (level_text) diag_set_level(level);
    const char *timeout = cli_text(cli, "timeout");
    cli->timeout_ms = 0;
    if (timeout && (!cli_parse_duration_ms(timeout, &cli->timeout_ms) || cli->timeout_ms <= 0)) {
        cli_complain("--timeout %s: not a duration; 500ms, 2s, 1m", timeout);
        return false;
    }
    cli->bootstrap = cli_text(cli, "bootstrap");
    if (!cli->bootstrap) cli->bootstrap = getenv("ODRADEK_BOOTSTRAP");
    if (!cli->bootstrap) cli->bootstrap = getenv("KAFKA_BOOTSTRAP_SERVERS");
    if (!cli->bootstrap) cli->bootstrap = "localhost:9092";
    cli->is_terminal = isatty(STDOUT_FILENO);
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (asks_for_help(argv[1])) {
        print_usage(stdout);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) argv[1] = (char *)"version";
    int used = 0;
    const struct cli_command *command = find_command(argc, argv, &used);
    if (!command) {
        const char *noun = unalias(argv[1]);
        bool has_noun = false;
        const struct cli_command *row;
        for (size_t i = 0; (row = cli_command_at(i)); i++)
            has_noun = has_noun || strcmp(row->noun, noun) == 0;
        if (has_noun && argc > 2 && asks_for_help(argv[2])) {
            print_verbs(noun);
            return EXIT_OK;
        }
        bool has_verb = argc > 2 && argv[2][0] != '-';
        return unknown_word(noun, has_noun ? (has_verb ? argv[2] : "") : NULL);
    }

    struct cli cli = {.command = command, .argv = calloc((size_t)argc + 1, sizeof(char *))};
    int status = EXIT_USAGE;
    if (cli.argv && parse(&cli, argc - used, argv + used)) {
        if (cli_flag(&cli, "help")) {
            print_help(command);
            status = EXIT_OK;
        } else if (cli.argc < command->min_args || (command->max_args >= 0 && cli.argc > command->max_args)) {
            char words[64];
            cli_complain("usage: odradek %s", words_of(command, words));
        } else if (common(&cli)) {
            status = command->run(&cli);
        }
    }
    free(cli.values);
    free(cli.argv);
    return status;
}

int cli_version(struct cli *cli)
{
    (void)cli;
    printf("odradek %s\n", ODRADEK_VERSION);
    return EXIT_OK;
}
