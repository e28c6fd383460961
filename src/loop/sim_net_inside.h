/* sim_net_inside.h: what sim_net.c and sim_dial.c share: both ends of a simulated connection and what is between them. */
#pragma once
#include "loop/pieces.h"
#include "loop/sim_inside.h"

enum { RETRY_US = 200000 /* of a segment or connect that meets a cut */ };

struct segment {
    struct segment *next;
    int64_t arrives_us;
    bool is_end; /* FIN */
    size_t size, read;
    uint8_t data[];
};

struct pipe {
    struct connection *connection;
    int from;                     /* which end writes it */
    struct segment *first, *last; /* oldest first */
    struct segment *flying;       /* the first not yet arrived; NULL = none */
    size_t bytes;                 /* all of them, unread */
    int64_t last_arrival_us;
    sim_event arrival;
    sim_event reset; /* of the end this pipe leads to */
    bool has_ended;  /* the FIN has arrived */
};

struct connection {
    struct sim *sim;
    struct list in_world;
    struct stream *ends[2]; /* NULL = closed */
    struct sim_machine *machines[2];
    struct address addresses[2];
    struct pipe pipes[2];
};

struct stream {
    struct sim *sim;
    struct loop *loop;
    struct sim_machine *machine;
    struct connection *connection; /* NULL once dead */
    int side;
    struct list in_world, in_ready, in_flush, in_backlog;
    struct stream_events events;
    void *context;
    struct piece_queue queue;
    enum error ended;
    bool is_reading, is_blocked, is_full, is_finishing, is_shut, is_peer_done, is_told, was_reset;
    bool is_in_callback, is_closed; /* closed within its own callback: freed after it */
    bool is_detached, is_lingering;
    sim_event linger;
};

struct listener {
    struct sim *sim;
    struct loop *loop;
    struct sim_machine *machine;
    struct list in_world, in_accepting, backlog;
    void (*on_accept)(void *context, struct stream *stream);
    void *context;
    uint16_t port;
    bool is_paused, is_dead, is_accepting, is_closed;
};

struct connecting {
    struct sim *sim;
    struct loop *loop;
    struct sim_machine *machine;
    struct list in_world, in_answered;
    sim_event step;
    char *host;
    uint16_t port;
    int64_t deadline_us;
    bool has_answer;
    enum error err;
    struct stream *stream; /* when answered OK */
    void (*on_connected)(void *context, enum error err, struct stream *stream);
    void *context;
};

/* One way between two machines, this time. */
int64_t net_delay_us(struct sim *sim, const struct sim_machine *a, const struct sim_machine *b);
/* A connection between a connecting machine and a listening loop: both ends are there, the far one in no backlog yet. */
void net_open(struct connecting *connecting, struct listener *listener, struct stream **near,
              struct stream **far);
/* sim_dial.c's part of net_die and net_free. */
void dial_die(struct sim_machine *machine);
void dial_free(struct sim *sim);
