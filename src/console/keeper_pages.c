#include "console/keeper_pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "console/serve.h"
#include "keeper/admin.h"
#include "keeper/backup.h"

struct keeper_pages {
    struct keeper *keeper;
    char *command_url; /* without a slash at its end */
    struct serve *serve;
    bool admits_forwarded_for;
    struct serve_call *backup; /* who waits for a snapshot or a restore */
};

static bool is_get(const struct serve_request *request)
{
    return strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
}

static void answer_not_allowed(struct serve_answer *answer)
{
    answer->status = 405;
    answer->type = NULL;
}

static void answer_not_found(struct serve_answer *answer, const char *what)
{
    answer->status = 404;
    text_addf(&answer->body, "not found; there is %s\n", what);
}

static void add_links(const char *url, struct text *out)
{
    const char *name;
    for (size_t i = 0; (name = keeper_admin_name(i)); i++)
        text_addf(out, "<a href=\"%s/%s\">%s</a>\n<br/>\n", url, name, name);
}

/* --- a snapshot, and back --- */

static void backup_say(struct backup_answer *from, struct serve_answer *answer)
{
    answer->status = from->status;
    answer->type = from->file ? "application/octet-stream" : "application/json";
    answer->body = from->body;
    answer->file = from->file;
    answer->file_size = from->size;
    if (from->size < 0) return;
    struct serve_header *headers = answer->headers;
    headers[0].name = "last_zxid";
    snprintf(headers[0].value, sizeof headers[0].value, "0x%llx", (unsigned long long)from->zxid);
    headers[1].name = "snapshot_size";
    snprintf(headers[1].value, sizeof headers[1].value, "%lld", (long long)from->size);
}

static void backup_done(void *context, struct backup_answer *from)
{
    struct keeper_pages *pages = context;
    struct serve_answer answer = {0};
    struct serve_call *call = pages->backup;
    pages->backup = NULL;
    backup_say(from, &answer);
    serve_answer_later(call, &answer);
}

static void restore_take(void *context, struct slice bytes)
{
    const struct keeper_pages *pages = context;
    backup_take(pages->keeper, bytes);
}

static void restore_end(void *context)
{
    const struct keeper_pages *pages = context;
    backup_end(pages->keeper);
}

static void backup_gone(void *context)
{
    struct keeper_pages *pages = context;
    pages->backup = NULL;
    backup_forget(pages->keeper);
}

/* Behind a proxy: the first of "client, proxy, proxy". */
static void find_host(const struct keeper_pages *pages, const struct serve_request *request, char *out,
                      size_t size)
{
    const char *list = pages->admits_forwarded_for ? serve_header(request, "X-Forwarded-For") : NULL;
    if (!list) {
        serve_peer(request, out, size);
        return;
    }
    struct slice first = {(const uint8_t *)list, strcspn(list, ",")};
    while (first.size > 0 && first.data[0] == ' ') first.data++, first.size--;
    while (first.size > 0 && first.data[first.size - 1] == ' ') first.size--;
    slice_text(first, out, size);
}

static void answer_backup(struct keeper_pages *pages, const struct serve_request *request, struct slice name,
                          bool is_restore, struct serve_answer *answer)
{
    char host[64];
    const char *streaming = serve_query(request, "streaming");
    find_host(pages, request, host, sizeof host);
    struct backup_request asked = {.name = name,
                                   .authorization = serve_header(request, "Authorization"),
                                   .host = host,
                                   .is_restore = is_restore,
                                   .streams = !streaming || strcasecmp(streaming, "true") == 0};
    struct backup_answer refusal = {0};
    if (!backup_begin(pages->keeper, &asked, backup_done, pages, &refusal)) {
        backup_say(&refusal, answer);
        return;
    }
    pages->backup = answer->call;
    answer->is_later = true;
    answer->task = (struct serve_task){.gone = backup_gone, .context = pages};
    if (!is_restore) return;
    answer->task.take = restore_take;
    answer->task.end = restore_end;
}

static void answer_admin(void *context, const struct serve_request *request, struct serve_answer *answer)
{
    struct keeper_pages *pages = context;
    size_t size = strlen(pages->command_url);
    const char *rest = request->path + size;
    bool is_restore = false;
    bool is_ours = strncmp(request->path, pages->command_url, size) == 0 && (*rest == 0 || *rest == '/');
    bool is_backup = is_ours && *rest == '/' && backup_knows(slice_of(rest + 1), &is_restore);
    if (is_restore ? strcmp(request->method, "POST") != 0 : !is_get(request)) {
        answer_not_allowed(answer);
    } else if (is_backup) {
        answer_backup(pages, request, slice_of(rest + 1), is_restore, answer);
    } else if (!is_ours) {
        answer_not_found(answer, pages->command_url);
    } else if (rest[0] == 0 || rest[1] == 0) {
        answer->type = "text/html; charset=utf-8";
        add_links(pages->command_url, &answer->body);
    } else {
        answer->type = "application/json";
        keeper_admin(pages->keeper, slice_of(rest + 1), serve_query(request, "traceMask"), &answer->body);
    }
}

static void answer_metrics(void *context, const struct serve_request *request, struct serve_answer *answer)
{
    const struct keeper_pages *pages = context;
    if (!is_get(request)) {
        answer_not_allowed(answer);
    } else if (strcmp(request->path, "/metrics") != 0) {
        answer_not_found(answer, "/metrics");
    } else {
        answer->type = "text/plain; version=0.0.4; charset=utf-8";
        keeper_metrics(pages->keeper, &answer->body);
    }
}

enum error keeper_pages_open(struct loop *loop, const struct keeper_pages_options *options,
                             struct keeper_pages **pages)
{
    struct keeper_pages *made = calloc(1, sizeof *made);
    struct slice url = slice_of(options->command_url ? options->command_url : "/commands");
    while (url.size > 0 && url.data[url.size - 1] == '/') url.size--;
    if (made) made->command_url = slice_dup(url);
    if (!made || !made->command_url) {
        free(made);
        return ERR_NOMEM;
    }
    made->keeper = options->keeper;
    made->admits_forwarded_for = options->admits_forwarded_for;
    struct serve_options serve = {
        .host = options->host,
        .port = options->port,
        .answer = options->kind == KEEPER_PAGES_ADMIN ? answer_admin : answer_metrics,
        .context = made,
    };
    enum error err = serve_open(loop, &serve, &made->serve);
    if (err != OK) {
        free(made->command_url);
        free(made);
        return err;
    }
    *pages = made;
    return OK;
}

uint16_t keeper_pages_port(const struct keeper_pages *pages)
{
    return serve_port(pages->serve);
}

void keeper_pages_close(struct keeper_pages **pages)
{
    struct keeper_pages *closing = *pages;
    *pages = NULL;
    if (!closing) return;
    serve_close(&closing->serve);
    free(closing->command_url);
    free(closing);
}
