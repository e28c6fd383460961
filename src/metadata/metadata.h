/* metadata.h: this broker's view of the cluster: the current image, who is told of a new one, and what keeps it current.
 *
 *   UpdateMetadata (from whichever broker is controller)  --.
 *   /config/... and /config/changes, /feature, by watches  --+-->  metadata_publish  -->  each loop's view
 *
 * Threads  a struct metadata belongs to one loop, the control loop: the one of the coord and the controller. Other loops
 *          each open a view; a view's image changes only between two turns of its loop, by a message.
 * Order    what the control loop posts to a loop after publishing, listeners included, arrives there after the image.
 * Source   facts/cluster.md 1.5, 4.2, 4.4.
 */
#pragma once
#include "metadata/image.h"
#include "metadata/znodes.h"

struct coord;
struct loop;
struct metadata;
struct metadata_view;
struct update_metadata_request;

/* `home` is the control loop; NULL in tests without loops (then no view may be opened). */
MUST_USE enum error metadata_new(struct loop *home, struct slice cluster_id, struct metadata **metadata);
/* On the control loop, after every view was closed. */
void metadata_free(struct metadata **metadata);

/* Control loop only. The current image, a loan until the callback returns. */
const struct image *metadata_image(const struct metadata *metadata);
/* Control loop only: takes over the reference, tells listeners and views. */
void metadata_publish(struct metadata *metadata, struct image *image);

/* Told on the control loop, within metadata_publish, in the order they were added. The caller owns the listener. */
struct metadata_listener {
    void (*on_image)(void *context, const struct image *old, const struct image *image);
    void *context;
    struct metadata_listener *next; /* the metadata's */
};
void metadata_listen(struct metadata *metadata, struct metadata_listener *listener);
void metadata_unlisten(struct metadata *metadata, struct metadata_listener *listener);

/* --- one for each loop --- */
/* On the control loop, before `loop` runs or for the control loop itself. on_image (may be NULL) is called on `loop` after
 * each change, with both images alive. Several changes may come as one. */
MUST_USE enum error metadata_view_open(struct metadata *metadata, struct loop *loop,
                                       void (*on_image)(void *context, const struct image *old,
                                                        const struct image *image),
                                       void *context, struct metadata_view **view);
/* On the control loop, with the view's loop stopped or being the control loop. */
void metadata_view_close(struct metadata *metadata, struct metadata_view **view);
/* On the view's loop: never NULL, a loan until this turn ends. Whoever waits retains it, or asks again. */
const struct image *metadata_view_image(const struct metadata_view *view);

/* UpdateMetadata's Type: topics that it does not name are no more. */
enum { METADATA_UPDATE_FULL = 2 };

/* --- obeying the controller --- */
/* The broker epoch of our registration; -1 until known. */
void metadata_set_broker_epoch(struct metadata *metadata, int64_t broker_epoch);
int64_t metadata_broker_epoch(const struct metadata *metadata);
/* For LeaderAndIsr, StopReplica and UpdateMetadata alike: ERR_STALE_BROKER_EPOCH (meant for an earlier life of ours),
 * ERR_STALE_CONTROLLER_EPOCH (from a deposed controller); else remembers the epoch. broker_epoch -1 is not checked. */
MUST_USE enum error metadata_obey(struct metadata *metadata, int32_t controller_epoch, int64_t broker_epoch);
/* Was this topic deleted, not long ago? Its id is never used again, so what still tells of it is late. */
bool metadata_is_gone(const struct metadata *metadata, const struct uuid *id);
/* metadata_obey, then the new image. The first that tells a registration of topics is the whole truth: others go. The error goes into UpdateMetadataResponse. */
MUST_USE enum error metadata_apply_update(struct metadata *metadata,
                                          const struct update_metadata_request *request);

/* --- configs and features, kept current by watches --- */
struct config_watch;

/* Reads every entity below /config, listens to /config/changes and /feature, and publishes what it finds; again after each new
 * session. on_loaded(context) comes once, when the first reading is in the image. */
MUST_USE enum error config_watch_new(struct coord *coord, struct metadata *metadata,
                                     int64_t (*wall_ms)(void *context), void (*on_loaded)(void *context),
                                     void *context, struct config_watch **watch);
void config_watch_free(struct config_watch **watch);
/* Sees to it that the configs of these topics are in the image, then calls done (perhaps before it returns): before a
 * LeaderAndIsr creates logs, for creating a topic posts no change notice. `names` are copied. */
void config_watch_need_topics(struct config_watch *watch, const struct slice *names, size_t count,
                              void (*done)(void *context), void *context);
