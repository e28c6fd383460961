/* wire.c: odradek wire recode|decode. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"
#include "wire/recode.h"

int cli_wire_recode(struct cli *cli)
{
    bool is_rpc = strcmp(cli->argv[0], "rpc") == 0;
    if (!is_rpc && strcmp(cli->argv[0], "msg") != 0) {
        cli_complain("wire recode %s: it is rpc or msg", cli->argv[0]);
        return EXIT_USAGE;
    }
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    struct text out = {0};
    while ((size = getline(&line, &capacity, stdin)) >= 0) {
        while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r')) line[--size] = 0;
        text_reset(&out);
        if (is_rpc) {
            recode_rpc_line(line, &out);
        } else {
            recode_msg_line(line, &out);
        }
        text_addc(&out, '\n');
        if (out.failed || fwrite(out.data, 1, out.size, stdout) != out.size) break;
    }
    free(line);
    text_free(&out);
    if (fflush(stdout) != 0) return EXIT_ITEM_FAILED;
    return EXIT_OK;
}

int cli_wire_decode(struct cli *cli)
{
    int64_t key = -1, version = -1;
    if (!cli_number(cli, "api", 0, INT16_MAX, &key) || !cli_number(cli, "version", 0, INT16_MAX, &version))
        return EXIT_USAGE;
    if (key < 0 || version < 0) {
        cli_complain("which message is it? --api N --version N [--response]");
        return EXIT_USAGE;
    }
    struct text hex = {0}, raw = {0}, json = {0};
    char part[65536];
    size_t got;
    while ((got = fread(part, 1, sizeof part, stdin)) > 0)
        text_add(&hex, (struct slice){(uint8_t *)part, got});
    struct slice trimmed = text_slice(&hex);
    while (trimmed.size && strchr(" \t\r\n", trimmed.data[trimmed.size - 1])) trimmed.size--;
    int status = EXIT_ITEM_FAILED;
    if (!hex_parse(trimmed, &raw)) {
        cli_complain("standard input is not hex digits");
    } else {
        struct decode_fault fault = {""};
        size_t consumed = 0;
        enum error err = decode_frame((int16_t)key, (int16_t)version, cli_flag(cli, "response"),
                                      text_slice(&raw), &json, &consumed, &fault);
        if (err != OK) {
            cli_complain("%s%s%s", fault.text, fault.text[0] ? ": " : "", error_text(err));
        } else {
            puts(json.data);
            if (consumed < raw.size) cli_complain("%zu bytes follow the body", raw.size - consumed);
            status = EXIT_OK;
        }
    }
    text_free(&hex);
    text_free(&raw);
    text_free(&json);
    return status;
}
