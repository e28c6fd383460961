#include "client/bootstrap.h"

#include "base/text.h"

static struct slice trim(struct slice s)
{
    while (s.size && (*s.data == ' ' || *s.data == '\t')) s.data++, s.size--;
    while (s.size && (s.data[s.size - 1] == ' ' || s.data[s.size - 1] == '\t')) s.size--;
    return s;
}

static const char *parse_one(struct slice part, uint16_t default_port, struct endpoint *endpoint)
{
    struct slice host = part, port = SLICE_NULL;
    if (part.data[0] == '[') {
        const uint8_t *end = memchr(part.data, ']', part.size);
        if (!end) return "a '[' without its ']'";
        host = (struct slice){part.data + 1, (size_t)(end - part.data - 1)};
        size_t rest = part.size - host.size - 2;
        if (rest > 0 && end[1] != ':') return "after ']' comes ':port'";
        if (rest > 0) port = (struct slice){end + 2, rest - 1};
    } else {
        const uint8_t *colon = memrchr(part.data, ':', part.size);
        if (colon) {
            host.size = (size_t)(colon - part.data);
            port = (struct slice){colon + 1, part.size - host.size - 1};
        }
    }
    int64_t number = default_port;
    if (port.data && !slice_to_int64(port, 1, 65535, &number))
        return "the port is not a number from 1 to 65535";
    if (number == 0) return "the port is missing: host:port";
    if (host.size == 0) return "the host is missing: host:port";
    if (host.size >= sizeof endpoint->host) return "the host name is longer than 255 bytes";
    for (size_t i = 0; i < host.size; i++) {
        if (host.data[i] <= ' ' || host.data[i] == 0x7f)
            return "the host name has a blank or control character";
    }
    slice_text(host, endpoint->host, sizeof endpoint->host);
    endpoint->port = (uint16_t)number;
    return NULL;
}

enum error bootstrap_parse(struct slice text, uint16_t default_port, struct endpoint *endpoints,
                           size_t capacity, size_t *count, const char **why, struct slice *bad)
{
    size_t found = 0;
    while (text.size > 0) {
        const uint8_t *comma = memchr(text.data, ',', text.size);
        size_t size = comma ? (size_t)(comma - text.data) : text.size;
        struct slice part = trim((struct slice){text.data, size});
        text = comma ? (struct slice){comma + 1, text.size - size - 1} : (struct slice){text.data + size, 0};
        if (part.size == 0) continue;
        *bad = part;
        *why = found == capacity ? "too many addresses" : parse_one(part, default_port, &endpoints[found]);
        if (*why) return ERR_CONFIG;
        found++;
    }
    *bad = text;
    *why = "no address given: host:port";
    if (found == 0) return ERR_CONFIG;
    *count = found;
    return OK;
}
