/* check.c: odradek config check|reference: all problems of a server.properties or zoo.cfg at once; every key there is. */
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

int cli_config_reference(struct cli *cli)
{
    (void)cli;
    struct text out = {0};
    settings_reference(&out);
    bool is_whole = !out.failed && fwrite(out.data, 1, out.size, stdout) == out.size;
    text_free(&out);
    return is_whole ? EXIT_OK : EXIT_ITEM_FAILED;
}
