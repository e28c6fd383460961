/* broker_state.h: what a broker is made of. For broker/ alone; others see broker.h.
 *
 * Owner    struct broker is made and freed on the control loop; the fields a request reads never change after start but by
 *          message, and then in struct broker_loop. struct broker_loop belongs to its loop.
 */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "broker/broker.h"
#include "broker/budget.h"
#include "broker/frame_memory.h"
#include "loop/loop.h"
#include "loop/stream.h"
#include "metadata/metadata.h"
#include "metrics/metrics.h"
#include "replica/replicas.h"

struct request;
struct channel;
struct fetch_sessions;
struct producer_ids;
struct loop_end;

/* One line of api.def. */
struct api_row {
    int16_t key;
    const char *name;
    int16_t min_version, max_version; /* as advertised */
    int16_t served_from;              /* below it the connection is closed although it is advertised */
    bool may_pipeline;                /* may start while earlier ones of its kind wait */
    void (*handler)(struct request *request, void *body);
    const struct api *api;
};

struct broker_loop {
    struct broker *broker;
    struct loop *loop;
    size_t index;
    struct metadata_view *view;
    const struct settings *settings; /* the current ones */

    struct list channels; /* least recently active first */
    size_t channel_count;
    struct list begun;   /* those with a frame begun, least recent progress first */
    struct list starved; /* channels that wait for the budget, in order */
    struct loop_message fed;
    bool is_fed_posted; /* atomic */
    struct loop_timer sweep;
    struct frame_memory frames;
    bool is_frame_memory_quiet;
    uint8_t *scratch; /* what a turn reads of a connection that has no frame begun */
    struct request *free_requests;
    size_t free_request_count;

    struct fetch_sessions *sessions;
    struct producer_ids *producer_ids;
    bool is_ended; /* a channel that arrives now is closed */
    struct loop_timer ending;
    struct loop_end *end;
};

struct broker_listener {
    struct broker *broker;
    struct listener *listener;
    struct slice name; /* "PLAINTEXT" */
    struct slice advertised_host;
    uint16_t advertised_port;
    int16_t security_protocol;
    bool is_inter_broker;
};

struct api_metrics {
    struct counter *requests;
    struct histogram *total, *queue, *local;
};

struct broker {
    struct broker_options options;
    struct broker_parts parts;
    struct broker_loop *loops;
    struct broker_listener *listeners;
    size_t listener_count;
    struct broker_endpoint *endpoints;
    size_t endpoint_count;
    struct budget budget;
    int64_t starved_channels;  /* atomic: how many wait for the budget */
    size_t next_home;          /* when connections are spread */
    int64_t connection_count;  /* atomic */
    struct map connections_of; /* address text to a count as pointer; control loop */
    bool is_paused, is_closing, is_listening_to_metadata;
    size_t loops_to_close;
    int32_t grace_ms;
    int64_t accepting_since_us; /* monotonic; set before any connection is there */
    void (*on_closed)(void *context);
    void *on_closed_context;
    const struct settings *settings;
    struct settings *owned_settings; /* with dynamic layers; NULL while there are none */
    struct text list_default;        /* the controller's last question for one */

    struct api_row *apis; /* by index of api.def */
    size_t api_count;
    struct api_row **api_by_key;
    size_t api_by_key_count;
    struct api_metrics *api_metrics; /* by index of api.def */
    struct {
        struct counter *bytes_in, *bytes_out, *messages_in, *produce_requests, *fetch_requests,
            *failed_produce, *failed_fetch, *connections_accepted, *connections_refused, *frames_refused;
    } counters;
    struct metadata_listener on_image;
    struct role_listener group_roles;
    /* whose number of partitions is known, and is being asked for */
    struct uuid group_topic, asked_group_topic;
    bool is_group_count_asked;
    int64_t session_count; /* atomic: fetch sessions, of all loops */
};

#define REQUEST_READ_AHEAD 64

MUST_USE enum error broker_apis_init(struct broker *broker);
/* Control loop: configurations may have changed. */
void broker_on_image(struct broker *broker, const struct image *old, const struct image *image);
MUST_USE enum error producer_ids_new(struct broker_loop *home);
void producer_ids_free(struct broker_loop *home);

/* Control loop: a connection of this address is gone. */
void broker_connection_left(struct broker *broker, const struct address *peer);
/* NULL: we do not serve this API. */
const struct api_row *broker_api(const struct broker *broker, int16_t key);
