#include "console/http.h"

#include <stdlib.h>
#include <string.h>

#include "console/serve.h"
#include "metrics/metrics.h"

struct http {
    struct http_options options;
    struct serve *serve;
};

static void answer(void *context, const struct serve_request *request, struct serve_answer *answer)
{
    const struct http *http = context;
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        answer->status = 405;
        text_addz(&answer->body, "only GET here\n");
    } else if (strcmp(request->path, "/metrics") == 0) {
        answer->type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_write(http->options.metrics, &answer->body);
    } else if (strcmp(request->path, "/healthz") == 0) {
        text_addz(&answer->body, "ok\n");
    } else if (strcmp(request->path, "/readyz") == 0) {
        char why[256] = "not ready";
        bool is_ready =
            !http->options.is_ready || http->options.is_ready(http->options.context, why, sizeof why);
        text_addf(&answer->body, "%s\n", is_ready ? "ready" : why);
        if (!is_ready) answer->status = 503;
    } else {
        answer->status = 404;
        text_addz(&answer->body, "there are /metrics, /healthz and /readyz\n");
    }
}

enum error http_open(struct loop *loop, const struct http_options *options, struct http **http)
{
    struct http *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    made->options = *options;
    struct serve_options serve = {
        .host = options->host, .port = options->port, .answer = answer, .context = made};
    enum error err = serve_open(loop, &serve, &made->serve);
    if (err != OK) {
        free(made);
        return err;
    }
    *http = made;
    return OK;
}

uint16_t http_port(const struct http *http)
{
    return serve_port(http->serve);
}

void http_close(struct http **http)
{
    struct http *closing = *http;
    *http = NULL;
    if (!closing) return;
    serve_close(&closing->serve);
    free(closing);
}
