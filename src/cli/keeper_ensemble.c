#include "cli/keeper_ensemble.h"

#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "cli/cli.h"
#include "loop/disk.h"

enum { FILE_MAX = 1 << 20, MYID_MAX = 64, PATIENCE_MAX_MS = 2000 };

enum error ensemble_load(struct disk *disk, struct slice text, const char *name,
                         const struct zoo_beside *beside, struct zoo_config *config)
{
    enum error err = zoo_config_load_beside(text, name, beside, config);
    const char *path = err == OK ? zoo_text(config, ZOO_DYNAMIC_CONFIG_FILE) : NULL;
    if (!path || !path[0]) return err;
    struct bytes *file = NULL;
    err = disk_read_file(disk, path, FILE_MAX, &file);
    if (err != OK) {
        cli_complain("%s: dynamicConfigFile: %s: %s", name, path, error_text(err));
        return err;
    }
    struct text whole = {0};
    text_add(&whole, text);
    text_addc(&whole, '\n');
    text_add(&whole, bytes_slice(file));
    bytes_release(&file);
    zoo_config_free(config);
    if (whole.failed) {
        *config = (struct zoo_config){0};
        err = ERR_NOMEM;
    } else {
        err = zoo_config_load_beside(text_slice(&whole), name, beside, config);
    }
    text_free(&whole);
    return err;
}

static enum error read_myid(struct disk *disk, const char *data_dir, int32_t *id)
{
    struct text path = {0};
    struct bytes *file = NULL;
    text_addf(&path, "%s/myid", data_dir);
    enum error err = path.failed ? ERR_NOMEM : disk_read_file(disk, path.data, MYID_MAX, &file);
    int64_t number = 0;
    if (err != OK) {
        diag_error("\"%s\" could not be read: %s; it holds this server's number, the N of its server.N line",
                   path.failed ? "myid" : path.data, error_text(err));
    } else {
        struct slice digits = bytes_slice(file);
        while (digits.size > 0 && strchr(" \t\r\n", digits.data[digits.size - 1])) digits.size--;
        if (!slice_to_int64(digits, 0, 254, &number)) {
            diag_error("\"%s\" holds no number from 0 to 254, the N of this server's server.N line",
                       path.data);
            err = ERR_CONFIG;
        }
    }
    *id = quorum_member_of_number(number);
    bytes_release(&file);
    text_free(&path);
    return err;
}

static void take_client_port(struct zoo_config *config, int32_t id)
{
    for (size_t i = 0; i < config->server_count; i++) {
        const struct zoo_server *server = &config->servers[i];
        if (quorum_member_of_number(server->id) != id || server->client_port == 0 ||
            config->line[ZOO_CLIENT_PORT] > 0)
            continue;
        struct slice host = arena_copy(&config->arena, server->client_host);
        config->client_port = server->client_port;
        if (host.data) config->client_host = (const char *)host.data;
    }
}

static void check_part(const struct zoo_config *config, const struct keeper_server *own)
{
    bool wants_observer = strcmp(zoo_text(config, ZOO_PEER_TYPE), "observer") == 0;
    bool differs = wants_observer != own->is_observer && config->line[ZOO_PEER_TYPE] > 0;
    if (!differs) return;
    diag_warn("peerType=%s, but our server line says %s, which counts", zoo_text(config, ZOO_PEER_TYPE),
              own->is_observer ? "observer" : "participant");
}

enum error ensemble_configure(struct disk *disk, struct zoo_config *config, struct keeper_servers *servers,
                              struct keeper_config *keeper)
{
    int32_t id;
    enum error err = read_myid(disk, config->data_dir, &id);
    if (err != OK) return err;
    take_client_port(config, id);
    struct text why = {0};
    err = keeper_servers_of_zoo(servers, config, id, &why);
    if (err != OK) diag_error("the ensemble: %s", why.size > 0 ? why.data : error_text(err));
    text_free(&why);
    if (err != OK) return err;
    check_part(config, keeper_servers_find(servers, id));
    keeper->server_id = id;
    keeper->servers = servers->items;
    keeper->server_count = servers->count;
    keeper->listens_on_all_ips = zoo_bool(config, ZOO_QUORUM_LISTEN_ON_ALL_IPS);
    int64_t limit_ms = zoo_number(config, ZOO_SYNC_LIMIT) * config->tick_ms;
    if (limit_ms > 0 && limit_ms < PATIENCE_MAX_MS) keeper->patience_ms = (int32_t)limit_ms;
    return OK;
}
