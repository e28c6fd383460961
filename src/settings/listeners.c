#include "settings/listeners.h"

#include <string.h>

#include "settings/inside.h"

static const char *const PROTOCOLS[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};

const char *security_protocol_text(enum security_protocol protocol)
{
    return PROTOCOLS[protocol];
}

bool security_protocol_parse(struct slice text, enum security_protocol *protocol)
{
    for (int i = 0; i < 4; i++) {
        if (!slice_is(text, PROTOCOLS[i])) continue;
        *protocol = (enum security_protocol)i;
        return true;
    }
    return false;
}

static struct slice upper(struct arena *arena, struct slice s)
{
    struct slice copy = arena_copy(arena, s);
    if (!copy.data) return copy;
    uint8_t *at = (uint8_t *)(uintptr_t)copy.data;
    for (size_t i = 0; i < copy.size; i++) {
        if (at[i] >= 'a' && at[i] <= 'z') at[i] = (uint8_t)(at[i] - 'a' + 'A');
    }
    return copy;
}

/* NAME://host:port */
static bool endpoint_parse(struct slice text, struct slice *name, struct slice *host, uint16_t *port)
{
    const uint8_t *mark = memmem(text.data, text.size, "://", 3);
    if (!mark || mark == text.data) return false;
    *name = (struct slice){text.data, (size_t)(mark - text.data)};
    for (size_t i = 0; i < name->size; i++) {
        uint8_t c = name->data[i];
        bool is_right = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                        c == '_' || c == '-' || c == '.';
        if (!is_right) return false;
    }
    return host_port_parse((struct slice){mark + 3, text.size - name->size - 3}, host, port);
}

static bool list_has_name(struct setting_list list, struct slice name, struct arena *arena)
{
    for (size_t i = 0; i < list.count; i++) {
        if (slice_equal(upper(arena, list.items[i]), name)) return true;
    }
    return false;
}

static bool is_everywhere(struct slice host)
{
    return host.size == 0 || slice_is(host, "0.0.0.0") || slice_is(host, "::");
}

static const char *MAP_EXAMPLE =
    "listener.security.protocol.map=INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT would be right";

/* The protocol of a listener by the map. 1 found, 0 not in it. */
static bool map_lookup(struct settings *settings, struct slice name, enum security_protocol *protocol)
{
    const char *text = settings_text(settings, SETTING_LISTENER_SECURITY_PROTOCOL_MAP);
    struct arena *arena = &settings->base->arena;
    bool is_found = false;
    for (struct slice rest = slice_of(text); rest.size > 0;) {
        const uint8_t *comma = memchr(rest.data, ',', rest.size);
        struct slice pair = {rest.data, comma ? (size_t)(comma - rest.data) : rest.size};
        rest.data += pair.size + (comma != NULL);
        rest.size -= pair.size + (comma != NULL);
        while (pair.size > 0 && *pair.data <= ' ') pair = (struct slice){pair.data + 1, pair.size - 1};
        while (pair.size > 0 && pair.data[pair.size - 1] <= ' ') pair.size--;
        const uint8_t *colon = pair.size ? memrchr(pair.data, ':', pair.size) : NULL;
        if (!colon) continue;
        struct slice key = {pair.data, (size_t)(colon - pair.data)},
                     value = {colon + 1, pair.size - key.size - 1};
        if (!slice_equal(upper(arena, key), name)) continue;
        is_found = security_protocol_parse(upper(arena, value), protocol);
    }
    return is_found;
}

/* Each pair of the map has a sense; said once, whoever uses it. */
static void map_check(struct settings *settings)
{
    struct slice rest = slice_of(settings_text(settings, SETTING_LISTENER_SECURITY_PROTOCOL_MAP));
    while (rest.data && rest.size > 0) {
        const uint8_t *comma = memchr(rest.data, ',', rest.size);
        struct slice pair = {rest.data, comma ? (size_t)(comma - rest.data) : rest.size};
        rest.data += pair.size + (comma != NULL);
        rest.size -= pair.size + (comma != NULL);
        while (pair.size > 0 && *pair.data <= ' ') pair = (struct slice){pair.data + 1, pair.size - 1};
        while (pair.size > 0 && pair.data[pair.size - 1] <= ' ') pair.size--;
        if (pair.size == 0) continue;
        const uint8_t *colon = memrchr(pair.data, ':', pair.size);
        enum security_protocol protocol;
        struct slice value =
            colon ? (struct slice){colon + 1, pair.size - (size_t)(colon - pair.data) - 1} : SLICE("");
        if (colon && colon != pair.data &&
            security_protocol_parse(upper(&settings->base->arena, value), &protocol))
            continue;
        settings_error(
            settings, SETTING_LISTENER_SECURITY_PROTOCOL_MAP,
            "\"%.*s\" is not NAME:PROTOCOL; PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL are the protocols",
            SLICE_ARG(pair));
    }
}

static struct listener_setting *listener_named(struct listener_setting *listeners, size_t count,
                                               struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equal(listeners[i].name, name)) return &listeners[i];
    }
    return NULL;
}

static void listener_add(struct settings *settings, struct slice text, struct setting_list controllers,
                         struct listener_setting *listeners, size_t *count)
{
    struct arena *arena = &settings->base->arena;
    struct listener_setting added = {.is_advertised = true};
    struct slice name;
    if (!endpoint_parse(text, &name, &added.host, &added.port)) {
        settings_error(settings, SETTING_LISTENERS,
                       "\"%.*s\" is not a listener; PLAINTEXT://127.0.0.1:9092 would be right",
                       SLICE_ARG(text));
        return;
    }
    added.name = upper(arena, name);
    if (list_has_name(controllers, added.name, arena)) return; /* a KRaft controller's */
    if (listener_named(listeners, *count, added.name)) {
        settings_error(settings, SETTING_LISTENERS,
                       "two listeners are called %.*s; each a name of its own would be right",
                       SLICE_ARG(added.name));
        return;
    }
    for (size_t i = 0; i < *count; i++) {
        bool may_clash = is_everywhere(added.host) || is_everywhere(listeners[i].host) ||
                         slice_equal(added.host, listeners[i].host);
        if (added.port == 0 || added.port != listeners[i].port || !may_clash) continue;
        settings_error(settings, SETTING_LISTENERS,
                       "%.*s and %.*s share port %d; each a port of its own would be right",
                       SLICE_ARG(listeners[i].name), SLICE_ARG(added.name), added.port);
    }
    if (!map_lookup(settings, added.name, &added.protocol)) {
        settings_error(settings, SETTING_LISTENERS, "listener %.*s has no security protocol; %s",
                       SLICE_ARG(added.name), MAP_EXAMPLE);
        added.protocol = PROTOCOL_PLAINTEXT;
    } else if (added.protocol != PROTOCOL_PLAINTEXT) {
        settings_error(settings, SETTING_LISTENERS,
                       "refused: listener %.*s is %s, which is not spoken here yet; PLAINTEXT would be right",
                       SLICE_ARG(added.name), security_protocol_text(added.protocol));
    }
    added.advertised_host = is_everywhere(added.host) ? SLICE("") : added.host;
    added.advertised_port = added.port;
    listeners[(*count)++] = added;
}

static void advertised_apply(struct settings *settings, struct setting_list controllers,
                             struct listener_setting *listeners, size_t count)
{
    if (settings_is_null(settings, SETTING_ADVERTISED_LISTENERS)) return;
    struct setting_list list = settings_list(settings, SETTING_ADVERTISED_LISTENERS);
    if (list.count == 0) return; /* an empty value is as good as none */
    struct arena *arena = &settings->base->arena;
    for (size_t i = 0; i < count; i++) listeners[i].is_advertised = false;
    for (size_t i = 0; i < list.count; i++) {
        struct slice name, host;
        uint16_t port;
        if (!endpoint_parse(list.items[i], &name, &host, &port)) {
            settings_error(settings, SETTING_ADVERTISED_LISTENERS,
                           "\"%.*s\" is not a listener; PLAINTEXT://broker1.example.com:9092 would be right",
                           SLICE_ARG(list.items[i]));
            continue;
        }
        name = upper(arena, name);
        if (list_has_name(controllers, name, arena)) continue;
        struct listener_setting *listener = listener_named(listeners, count, name);
        if (!listener) {
            settings_error(settings, SETTING_ADVERTISED_LISTENERS,
                           "listeners has no %.*s; one of its names would be right", SLICE_ARG(name));
            continue;
        }
        if (listener->is_advertised) {
            settings_error(settings, SETTING_ADVERTISED_LISTENERS,
                           "%.*s stands here twice; once would be right", SLICE_ARG(name));
        }
        if (host.size > 0 && is_everywhere(host)) {
            settings_error(settings, SETTING_ADVERTISED_LISTENERS,
                           "nobody can dial %.*s; a name or address of this machine would be right",
                           SLICE_ARG(host));
        }
        listener->is_advertised = true;
        listener->advertised_host = host;
        listener->advertised_port = port;
    }
}

static void inter_broker_find(struct settings *settings, struct listener_setting *listeners, size_t count)
{
    struct arena *arena = &settings->base->arena;
    const char *name = settings_text(settings, SETTING_INTER_BROKER_LISTENER_NAME);
    bool is_named = name && name[0];
    if (is_named && settings_is_set(settings, SETTING_SECURITY_INTER_BROKER_PROTOCOL)) {
        settings_error(settings, SETTING_INTER_BROKER_LISTENER_NAME,
                       "set beside security.inter.broker.protocol; one of them would be right");
    }
    const char *protocol = settings_text(settings, SETTING_SECURITY_INTER_BROKER_PROTOCOL);
    struct listener_setting *found =
        listener_named(listeners, count, upper(arena, slice_of(is_named ? name : protocol)));
    if (!found && !is_named) {
        /* Apache wants one of the protocol's name. Where only one can be meant, it is meant. */
        size_t matching = 0;
        for (size_t i = 0; i < count; i++) {
            if (strcmp(security_protocol_text(listeners[i].protocol), protocol) != 0 ||
                !listeners[i].is_advertised)
                continue;
            found = &listeners[i];
            matching++;
        }
        if (matching > 1) found = NULL;
    }
    if (!found || !found->is_advertised) {
        if (is_named) {
            settings_error(settings, SETTING_INTER_BROKER_LISTENER_NAME,
                           "%s is not among the advertised listeners; one of them would be right", name);
        } else if (count > 0) {
            settings_error(
                settings, SETTING_INTER_BROKER_LISTENER_NAME,
                "not set, and no listener is called %s; the name of an advertised listener would be right",
                protocol);
        }
        return;
    }
    found->is_inter_broker = true;
}

/* The controller of other brokers comes in here, ours goes out to theirs. */
static void control_plane_find(struct settings *settings, struct listener_setting *listeners, size_t count)
{
    const char *name = settings_text(settings, SETTING_CONTROL_PLANE_LISTENER_NAME);
    if (!name || !name[0]) return;
    struct listener_setting *found =
        listener_named(listeners, count, upper(&settings->base->arena, slice_of(name)));
    if (!found || !found->is_advertised)
        settings_error(settings, SETTING_CONTROL_PLANE_LISTENER_NAME,
                       "%s is not among the advertised listeners; one of them would be right", name);
    else if (found->is_inter_broker)
        settings_error(settings, SETTING_CONTROL_PLANE_LISTENER_NAME,
                       "%s is the inter-broker listener, which data goes over; another one would be right",
                       name);
    else
        found->is_control_plane = true;
}

enum error listeners_make(struct settings *settings)
{
    struct settings_base *base = settings->base;
    struct setting_list list = settings_list(settings, SETTING_LISTENERS), controllers = {0};
    if (base->is_kraft) controllers = settings_list(settings, SETTING_CONTROLLER_LISTENER_NAMES);
    struct listener_setting *listeners = arena_array(&base->arena, list.count + 1, sizeof *listeners);
    if (!listeners) return ERR_NOMEM;
    size_t count = 0;
    map_check(settings);
    for (size_t i = 0; i < list.count; i++)
        listener_add(settings, list.items[i], controllers, listeners, &count);
    if (count == 0 && settings->problems.error_count == 0) {
        settings_error(settings, SETTING_LISTENERS,
                       "no listener is left for clients; PLAINTEXT://:9092 would be right");
    }
    advertised_apply(settings, controllers, listeners, count);
    inter_broker_find(settings, listeners, count);
    control_plane_find(settings, listeners, count);
    base->listeners = listeners;
    base->listener_count = count;
    return OK;
}
