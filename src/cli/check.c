/* check.c: odradek config check|show|reference: all problems of a server.properties or zoo.cfg at once; what a file
 * comes to, and where each value is from; every key there is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "settings/settings.h"

enum { MOST = 16 * 1024 * 1024 };

int cli_config_check(struct cli *cli)
{
    const char *path = cli->argv[0];
    FILE *file = fopen(path, "rb");
    if (!file) {
        cli_complain("%s: %s", path, strerror(errno));
        return EXIT_USAGE;
    }
    struct text text = {0}, report = {0};
    char part[65536];
    size_t got;
    while ((got = fread(part, 1, sizeof part, file)) > 0 && text.size < MOST) {
        text_add(&text, (struct slice){(uint8_t *)part, got});
    }
    fclose(file);
    enum error err = settings_check(path, text_slice(&text), NULL, 0, &report);
    if (report.size > 0) fwrite(report.data, 1, report.size, stdout);
    text_free(&text);
    text_free(&report);
    return err == OK ? EXIT_OK : EXIT_USAGE;
}

int cli_config_show(struct cli *cli)
{
    static const struct cli_column columns[] = {{"KEY", "key"}, {"VALUE", "value"}, {"FROM", "from"}, {0}};
    struct settings *settings = NULL;
    const char *overrides[256];
    size_t count = 0;
    const char *text;
    while (count < 256 && (text = cli_text_at(cli, "override", count))) overrides[count++] = text;
    enum error err = settings_load_file(cli->argc ? cli->argv[0] : NULL, overrides, count, &settings);
    if (!settings) {
        cli_complain("%s: %s", cli->argc ? cli->argv[0] : "default", error_text(err));
        return EXIT_USAGE;
    }
    struct cli_result result;
    cli_result_begin(&result, cli, "ConfigShow");
    const struct setting_table *table = broker_setting_table();
    for (size_t i = 0; i < table->count; i++) {
        if (table->specs[i].is_internal) continue;
        if (!cli_flag(cli, "all") && !settings_is_set(settings, (enum setting)i)) continue;
        struct text from = {0};
        settings_origin(settings, (enum setting)i, &from);
        bool is_secret = table->specs[i].type == SETTING_PASSWORD;
        const char *value = settings_text(settings, (enum setting)i);
        json_t *shown = value ? cli_json_text(is_secret ? SLICE("(hidden)") : slice_of(value)) : json_null();
        cli_result_add(&result, json_pack("{s:s, s:o, s:o}", "key", table->specs[i].name, "value", shown,
                                          "from", cli_json_text(text_slice(&from))));
        text_free(&from);
    }
    settings_free(&settings);
    return cli_result_end(&result, columns, "nothing is set; --all shows the defaults");
}

int cli_config_reference(struct cli *cli)
{
    (void)cli;
    struct text out = {0};
    settings_reference(&out);
    bool is_whole = !out.failed && fwrite(out.data, 1, out.size, stdout) == out.size;
    text_free(&out);
    return is_whole ? EXIT_OK : EXIT_ITEM_FAILED;
}
