/* listeners.h: where a broker listens, and what it tells others to dial: listeners, advertised.listeners,
 * listener.security.protocol.map, inter.broker.listener.name or security.inter.broker.protocol, process.roles. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* Kafka's numbers. */
enum security_protocol {
    PROTOCOL_PLAINTEXT = 0,
    PROTOCOL_SSL = 1,
    PROTOCOL_SASL_PLAINTEXT = 2,
    PROTOCOL_SASL_SSL = 3,
};

struct listener_setting {
    struct slice name; /* "INTERNAL", upper case */
    enum security_protocol protocol;
    struct slice host;            /* to bind: "" = all addresses; IPv6 without brackets */
    uint16_t port;                /* 0 = any free one */
    struct slice advertised_host; /* "" = this machine's name: nobody said */
    uint16_t advertised_port;     /* 0 = the port bound */
    bool is_advertised;           /* a listener missing in a given advertised.listeners is not */
    bool is_inter_broker;
    bool is_control_plane; /* of control.plane.listener.name */
};

const char *security_protocol_text(enum security_protocol protocol);
bool security_protocol_parse(struct slice text, enum security_protocol *protocol);
