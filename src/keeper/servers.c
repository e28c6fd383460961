#include "keeper/servers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "settings/zoo_config.h"

void keeper_servers_init(struct keeper_servers *servers)
{
    *servers = (struct keeper_servers){0};
    arena_init(&servers->arena, 0);
}

void keeper_servers_free(struct keeper_servers *servers)
{
    arena_free(&servers->arena);
    *servers = (struct keeper_servers){0};
}

static void add_host(struct text *out, struct slice host)
{
    bool is_ipv6 = host.size > 0 && memchr(host.data, ':', host.size);
    text_addz(out, is_ipv6 ? "[" : "");
    text_add(out, host);
    text_addz(out, is_ipv6 ? "]" : "");
}

static void add_client(struct text *out, struct slice host, uint16_t port)
{
    text_addc(out, ';');
    add_host(out, host.size > 0 ? host : SLICE("0.0.0.0"));
    text_addf(out, ":%u", port);
}

bool keeper_server_of(struct arena *arena, const struct zoo_server *parsed, struct keeper_server *server)
{
    struct text line = {0};
    add_host(&line, parsed->host);
    text_addf(&line, ":%u:%u:%s", parsed->quorum_port, parsed->election_port,
              parsed->is_observer ? "observer" : "participant");
    if (parsed->client_port > 0) add_client(&line, parsed->client_host, parsed->client_port);
    *server = (struct keeper_server){.id = quorum_member_of_number(parsed->id),
                                     .is_observer = parsed->is_observer,
                                     .host = (const char *)arena_copy(arena, parsed->host).data,
                                     .quorum_port = parsed->quorum_port,
                                     .line = (const char *)arena_copy(arena, text_slice(&line)).data};
    bool is_made = !line.failed && server->host && server->line;
    text_free(&line);
    return is_made;
}

void keeper_server_print(int32_t id, const char *line, struct text *out)
{
    text_addf(out, "server.%d=%s", quorum_member_number(id), line);
}

static enum error add(struct keeper_servers *servers, const struct zoo_server *parsed, struct text *why)
{
    if (parsed->id < 0 || parsed->id > 254) {
        text_addf(why, "server.%" PRId32 ": members are numbered from 0 to 254", parsed->id);
        return ERR_LIMIT;
    }
    if (keeper_servers_find(servers, quorum_member_of_number(parsed->id))) {
        text_addf(why, "server.%" PRId32 " stands there twice", parsed->id);
        return ERR_CONFIG;
    }
    if (servers->count == QUORUM_MEMBERS_MAX) {
        text_addf(why, "more than %d servers", QUORUM_MEMBERS_MAX);
        return ERR_CONFIG;
    }
    if (!servers->items)
        servers->items = arena_array(&servers->arena, QUORUM_MEMBERS_MAX, sizeof *servers->items);
    if (!servers->items) return ERR_NOMEM;
    if (!keeper_server_of(&servers->arena, parsed, &servers->items[servers->count])) return ERR_NOMEM;
    servers->count++;
    return OK;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trimmed(struct slice s)
{
    while (s.size > 0 && is_blank(s.data[0])) s = (struct slice){s.data + 1, s.size - 1};
    while (s.size > 0 && is_blank(s.data[s.size - 1])) s.size--;
    return s;
}

static enum error add_line(struct keeper_servers *servers, struct slice line, struct text *why)
{
    static const char prefix[] = "server.";
    const size_t prefix_size = sizeof prefix - 1;
    const uint8_t *equals = memchr(line.data, '=', line.size);
    size_t key_size = equals ? (size_t)(equals - line.data) : 0;
    if (key_size > prefix_size && memcmp(line.data, prefix, prefix_size) == 0) {
        int64_t id;
        struct zoo_server parsed;
        struct slice value = {equals + 1, line.size - key_size - 1};
        if (slice_to_int64(trimmed((struct slice){line.data + prefix_size, key_size - prefix_size}), 0,
                           INT32_MAX, &id) &&
            zoo_server_parse(trimmed(value), &parsed)) {
            parsed.id = (int32_t)id;
            return add(servers, &parsed, why);
        }
    } else if (key_size == 7 && memcmp(line.data, "version", 7) == 0) {
        return OK;
    }
    text_addf(why, "\"%.*s\" is not a server; server.1=HOST:2888:3888 would be right",
              line.size < 200 ? (int)line.size : 200, (const char *)line.data);
    return ERR_CONFIG;
}

enum error keeper_servers_parse(struct keeper_servers *servers, struct slice lines, const char *separators,
                                struct text *why)
{
    enum error err = OK;
    for (size_t at = 0; at < lines.size && err == OK;) {
        size_t end = at;
        while (end < lines.size && (lines.data[end] == 0 || !strchr(separators, lines.data[end]))) end++;
        struct slice line = trimmed((struct slice){lines.data + at, end - at});
        if (line.size > 0) err = add_line(servers, line, why);
        at = end + 1;
    }
    return err;
}

const struct keeper_server *keeper_servers_find(const struct keeper_servers *servers, int32_t id)
{
    for (size_t i = 0; i < servers->count; i++) {
        if (servers->items[i].id == id) return &servers->items[i];
    }
    return NULL;
}

void keeper_servers_add_client_port(struct keeper_servers *servers, int32_t id, const char *host,
                                    uint16_t port)
{
    for (size_t i = 0; i < servers->count && port > 0; i++) {
        struct keeper_server *server = &servers->items[i];
        if (server->id != id || strchr(server->line, ';')) continue;
        struct text line = {0};
        text_addz(&line, server->line);
        add_client(&line, slice_of(host), port);
        struct slice copy = line.failed ? SLICE_NULL : arena_copy(&servers->arena, text_slice(&line));
        if (copy.data) server->line = (const char *)copy.data;
        text_free(&line);
    }
}

enum error keeper_servers_of_zoo(struct keeper_servers *servers, const struct zoo_config *config, int32_t id,
                                 struct text *why)
{
    enum error err = OK;
    for (size_t i = 0; i < config->server_count && err == OK; i++)
        err = add(servers, &config->servers[i], why);
    if (err == OK && !keeper_servers_find(servers, id)) {
        text_addf(why, "myid is %d, but there is no server.%d", quorum_member_number(id),
                  quorum_member_number(id));
        err = ERR_CONFIG;
    }
    if (err == OK) keeper_servers_add_client_port(servers, id, config->client_host, config->client_port);
    return err;
}
