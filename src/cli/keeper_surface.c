#include "cli/keeper_surface.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/text.h"
#include "console/keeper_pages.h"
#include "keeper/audit.h"
#include "loop/loop.h"
#include "settings/zoo_config.h"

struct keeper_surface {
    const struct zoo_config *config;
    struct loop *loop;
    struct keeper_pages *admin, *metrics;
    bool has_audit, has_failed; /* has_failed: the audit log could not be written, and that was said */
    int audit_fd;               /* standard error where there is no file */
    struct text audit_path;     /* empty: standard error */
};

static enum error audit_open(struct keeper_surface *surface)
{
    int fd = open(surface->audit_path.data, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0) {
        diag_error("could not open the audit log \"%s\": %s", surface->audit_path.data, strerror(errno));
        return ERR_IO;
    }
    if (surface->audit_fd > STDERR_FILENO) close(surface->audit_fd);
    surface->audit_fd = fd;
    return OK;
}

enum error keeper_surface_new(const struct zoo_config *config, struct loop *loop,
                              struct keeper_surface **result)
{
    struct keeper_surface *surface = calloc(1, sizeof *surface);
    if (!surface) return ERR_NOMEM;
    surface->config = config;
    surface->loop = loop;
    surface->has_audit = zoo_bool(config, ZOO_AUDIT_ENABLE);
    surface->audit_fd = STDERR_FILENO;
    const char *file = zoo_text(config, ZOO_AUDITLOG_FILE), *dir = zoo_text(config, ZOO_LOG_DIR);
    enum error err = OK;
    if (surface->has_audit && file && file[0]) {
        if (dir && dir[0] && file[0] != '/') text_addf(&surface->audit_path, "%s/", dir);
        text_addz(&surface->audit_path, file);
        err = surface->audit_path.failed ? ERR_NOMEM : audit_open(surface);
    }
    *result = surface;
    if (err != OK) keeper_surface_free(result);
    return err;
}

void keeper_surface_free(struct keeper_surface **surface)
{
    struct keeper_surface *held = *surface;
    *surface = NULL;
    if (!held) return;
    keeper_surface_close(held);
    if (held->audit_fd > STDERR_FILENO) close(held->audit_fd);
    text_free(&held->audit_path);
    free(held);
}

static enum error open_metrics(struct keeper_surface *surface, struct keeper *keeper)
{
    struct keeper_pages_options options = {
        .kind = KEEPER_PAGES_METRICS,
        .host = zoo_text(surface->config, ZOO_METRICS_PROVIDER_HTTP_HOST),
        .port = (uint16_t)zoo_number(surface->config, ZOO_METRICS_PROVIDER_HTTP_PORT),
        .keeper = keeper,
    };
    enum error err = keeper_pages_open(surface->loop, &options, &surface->metrics);
    if (err == OK) {
        diag_info("metrics are served on http://%s:%u/metrics", options.host,
                  keeper_pages_port(surface->metrics));
    } else {
        diag_error("could not serve metrics on %s:%u (metricsProvider.httpPort): %s", options.host,
                   options.port, error_text(err));
    }
    return err;
}

static void open_admin(struct keeper_surface *surface, struct keeper *keeper)
{
    struct keeper_pages_options options = {
        .kind = KEEPER_PAGES_ADMIN,
        .host = zoo_text(surface->config, ZOO_ADMIN_SERVER_ADDRESS),
        .port = (uint16_t)zoo_number(surface->config, ZOO_ADMIN_SERVER_PORT),
        .command_url = zoo_text(surface->config, ZOO_ADMIN_COMMAND_URL),
        .admits_forwarded_for = zoo_bool(surface->config, ZOO_IPAUTHENTICATION_PROVIDER_USEXFORWARDEDFOR),
        .keeper = keeper,
    };
    enum error err = keeper_pages_open(surface->loop, &options, &surface->admin);
    if (err == OK) {
        diag_info("the admin server is at http://%s:%u%s", options.host, keeper_pages_port(surface->admin),
                  options.command_url);
    } else {
        diag_warn("no admin server on %s:%u: %s; admin.serverPort chooses another port, "
                  "admin.enableServer=false none",
                  options.host, options.port, error_text(err));
    }
}

enum error keeper_surface_open(struct keeper_surface *surface, struct keeper *keeper)
{
    if (surface->config->serves_metrics) {
        enum error err = open_metrics(surface, keeper);
        if (err != OK) return err;
    }
    if (zoo_bool(surface->config, ZOO_ADMIN_ENABLE_SERVER)) open_admin(surface, keeper);
    return OK;
}

void keeper_surface_close(struct keeper_surface *surface)
{
    keeper_pages_close(&surface->admin);
    keeper_pages_close(&surface->metrics);
}

bool keeper_surface_audits(const struct keeper_surface *surface)
{
    return surface->has_audit;
}

void keeper_surface_audit(struct keeper_surface *surface, struct slice lines)
{
    while (lines.size > 0) {
        ssize_t written = write(surface->audit_fd, lines.data, lines.size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            if (!surface->has_failed)
                diag_error("could not write the audit log: %s; lines are lost", strerror(errno));
            surface->has_failed = true;
            return;
        }
        lines.data += written;
        lines.size -= (size_t)written;
    }
    if (surface->has_failed) diag_info("the audit log is written again");
    surface->has_failed = false;
}

void keeper_surface_audit_server(struct keeper_surface *surface, const char *operation, const char *result)
{
    if (!surface->has_audit) return;
    struct text line = {0};
    audit_server_line(&line, loop_wall_ms(surface->loop), operation, result);
    if (!line.failed) keeper_surface_audit(surface, text_slice(&line));
    text_free(&line);
}

bool keeper_surface_reopen(struct keeper_surface *surface)
{
    if (surface->audit_path.size == 0) return false;
    if (audit_open(surface) == OK) diag_info("opened the audit log \"%s\" anew", surface->audit_path.data);
    return true;
}
