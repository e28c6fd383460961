/* cli.h: the command line: one table of commands, their options, and what they print.
 *
 * Rules (facts/operators.md 1): standard output carries data only; progress and diagnostics go to standard error;
 * tables on a terminal or by choice, one JSON object with -o json; exit codes as below; unknown words get "did you mean".
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/error.h"

enum cli_exit {
    EXIT_OK = 0,
    EXIT_ITEM_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,
    EXIT_DENIED = 4,
};

struct cli_option {
    const char *name;  /* without dashes */
    char letter;       /* 0 = none */
    const char *value; /* what to call its value in the help; NULL = a flag */
    const char *help;
};

struct cli;
struct cli_command {
    const char *noun, *verb; /* verb NULL: the noun is the whole command */
    const char *args;        /* "NAME..." as the help shows them */
    int min_args, max_args;  /* -1 = any number */
    int (*run)(struct cli *cli);
    const char *summary;
    const struct cli_option *options; /* ended by a zeroed one; NULL = none */
    const char *details;              /* more help, examples; NULL = none */
    bool takes_words; /* after the first argument all words are arguments, whatever they look like */
};

enum cli_output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_TSV, OUTPUT_NAME };

struct cli_value {
    const char *name, *value; /* value "" for a flag */
};

struct cli {
    const struct cli_command *command;
    int argc;
    char **argv; /* arguments that are not options */
    struct cli_value *values;
    size_t value_count, value_capacity;
    enum cli_output output;
    const char *bootstrap; /* from -b, ODRADEK_BOOTSTRAP, KAFKA_BOOTSTRAP_SERVERS or the default */
    int64_t timeout_ms;
    bool is_terminal; /* standard output is one */
};

/* NULL when not given. With `index` the index-th use of an option that may be repeated. */
const char *cli_text(const struct cli *cli, const char *option);
const char *cli_text_at(const struct cli *cli, const char *option, size_t index);
bool cli_flag(const struct cli *cli, const char *option);
/* False, after saying what is wrong, when the value is not a number in the range; *value stays when not given. */
bool cli_number(const struct cli *cli, const char *option, int64_t min, int64_t max, int64_t *value);
/* "7d", "30m", "500ms", "2h30m"; plain numbers are ms. "512MiB", "10k". */
bool cli_parse_duration_ms(const char *text, int64_t *ms);
bool cli_parse_bytes(const char *text, int64_t *bytes);

/* "odradek: ..." on standard error. */
void cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Asks on a terminal; true without asking when --yes was given; false (with advice) when there is no terminal. */
bool cli_confirm(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- results --- */
struct cli_column {
    const char *title, *key; /* key of the item; numbers are aligned to the right */
};

struct cli_result {
    const struct cli *cli;
    const char *kind;
    json_t *items, *errors;
    bool is_denied;
};

void cli_result_begin(struct cli_result *result, const struct cli *cli, const char *kind);
/* Takes over the reference. */
void cli_result_add(struct cli_result *result, json_t *item);
/* An item that failed: shown on standard error in tables, in "errors" in JSON; the command then exits 1 (4 when denied). */
void cli_result_fail(struct cli_result *result, const char *name, enum error err, struct slice message);
/* Prints and frees; the exit code. columns ends with a zeroed one. `empty` is said on standard error when there is nothing
 * to show. */
int cli_result_end(struct cli_result *result, const struct cli_column *columns, const char *empty);
/* Items as an aligned table, for commands that show more than one. */
void cli_table(FILE *out, const json_t *items, const struct cli_column *columns);
/* A string of a slice for items; null stays null. Bytes that are not UTF-8 are replaced. */
json_t *cli_json_text(struct slice s);

/* The commands, one file for each noun. */
int cli_server(struct cli *cli);
int cli_keeper(struct cli *cli);
int cli_keeper_import(struct cli *cli);
int cli_keeper_export(struct cli *cli);
int cli_zkserver_start(struct cli *cli);
int cli_zkserver_start_foreground(struct cli *cli);
int cli_zkserver_stop(struct cli *cli);
int cli_zkserver_restart(struct cli *cli);
int cli_zkserver_status(struct cli *cli);
int cli_zkserver_version(struct cli *cli);
int cli_zkserver_print_cmd(struct cli *cli);
int cli_config_check(struct cli *cli);
int cli_config_reference(struct cli *cli);
int cli_config_show(struct cli *cli);
int cli_wire_recode(struct cli *cli);
int cli_wire_decode(struct cli *cli);
int cli_log_dump(struct cli *cli);
int cli_log_verify(struct cli *cli);
int cli_topic_list(struct cli *cli);
int cli_topic_describe(struct cli *cli);
int cli_topic_create(struct cli *cli);
int cli_topic_delete(struct cli *cli);
int cli_topic_grow(struct cli *cli);
int cli_topic_alter(struct cli *cli);
int cli_produce(struct cli *cli);
int cli_consume(struct cli *cli);
int cli_group_list(struct cli *cli);
int cli_group_describe(struct cli *cli);
int cli_group_lag(struct cli *cli);
int cli_group_seek(struct cli *cli);
int cli_group_delete(struct cli *cli);
int cli_config_get(struct cli *cli);
int cli_config_set(struct cli *cli);
int cli_config_unset(struct cli *cli);
int cli_cluster_describe(struct cli *cli);
int cli_cluster_status(struct cli *cli);
int cli_cluster_balance(struct cli *cli);
int cli_cluster_elect(struct cli *cli);
int cli_cluster_reassignments(struct cli *cli);
int cli_broker_list(struct cli *cli);
int cli_broker_drain(struct cli *cli);
int cli_broker_undrain(struct cli *cli);
int cli_topic_reassign(struct cli *cli);
int cli_zk(struct cli *cli);
int cli_version(struct cli *cli);
