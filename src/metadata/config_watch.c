/* config_watch.c: configs and features, read once and then kept current by the keeper's notices.
 *
 *     new session:  children of /config/changes (armed) -> children of /config/TYPE -> every entity -> one image
 *     a notice:     children of /config/changes (armed) -> each new config_change_N -> its entity -> an image
 *
 * A notice names an entity and carries no value: what is read afterwards is at least as new. Notices run in the order of
 * their numbers, each once in a process's life; a starting process runs those it finds. Who reads a notice older than 15
 * minutes removes it. One that makes no sense is said and skipped (facts/cluster.md 1.5).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/map.h"
#include "base/vec.h"
#include "coord/coord.h"
#include "metadata/metadata.h"

enum { NOTICE_LIFE_MS = 15 * 60 * 1000, MAX_CONFIG = 16 << 20 };
#define CHANGES "/config/changes"
#define PREFIX "config_change_"

/* An entity as read: what will be put into the image. */
struct found {
    enum config_type type;
    char *name;
    struct bytes *data; /* NULL: there is no such znode */
};

struct notice {
    int64_t number;
    char *name;
    int64_t ctime_ms;
    bool is_seen;
};

struct config_watch {
    struct coord *coord;
    struct metadata *metadata;
    int64_t (*wall_ms)(void *context);
    void (*on_loaded)(void *context);
    void *context;
    struct coord_listener listener;

    bool is_loading, is_load_due, is_load_broken, is_scanning, is_scan_due, is_loaded, is_freed;
    size_t load_steps; /* of the load, still to be answered */
    size_t unanswered; /* every request whose callback will come */
    struct found *found;
    size_t found_count, found_capacity;
    struct notice *notices; /* in order of their numbers */
    size_t notice_count, notice_capacity, next_notice;
    int64_t last_number; /* the last one run; -1 */
};

/* A question about one entity, or one type's entities. */
struct question {
    struct config_watch *watch;
    struct need *need;
    enum config_type type;
    char *name;
};

/* Somebody waits for these topics' configs. */
struct need {
    struct config_watch *watch;
    size_t outstanding;
    struct found *found;
    size_t found_count, found_capacity;
    void (*done)(void *context);
    void *context;
};

static void load(struct config_watch *watch);
static void forget_missing(struct config_watch *watch, struct image_builder *builder);
static void scan(struct config_watch *watch);

static void found_free(struct found *found, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(found[i].name);
        bytes_release(&found[i].data);
    }
    free(found);
}

static void notices_free(struct config_watch *watch)
{
    for (size_t i = 0; i < watch->notice_count; i++) free(watch->notices[i].name);
    watch->notice_count = watch->next_notice = 0;
}

/* True while the watch lives on. */
static bool is_alive(struct config_watch *watch)
{
    watch->unanswered--;
    if (!watch->is_freed) return true;
    if (watch->unanswered > 0) return false;
    found_free(watch->found, watch->found_count);
    notices_free(watch);
    free(watch->notices);
    free(watch);
    return false;
}

/* --- into the image --- */

static enum error put_found(struct image_builder *builder, const struct found *found)
{
    struct slice name = slice_of(found->name);
    if (!found->data) return image_builder_config_remove(builder, found->type, name);
    struct arena arena;
    struct znode_fault fault;
    struct config_entry *entries = NULL;
    size_t count = 0;
    char path[400];
    snprintf(path, sizeof path, "/config/%s/%.300s", config_type_name(found->type), found->name);
    arena_init(&arena, MAX_CONFIG);
    enum error err =
        znode_config_decode(slice_of(path), bytes_slice(found->data), &arena, &entries, &count, &fault);
    if (err == ERR_CORRUPT) {
        diag_error("a config is not usable, going on without it: %s", fault.text);
        err = OK;
        count = 0;
    }
    if (err == OK) err = image_builder_config(builder, found->type, name, entries, count);
    arena_free(&arena);
    return err;
}

/* All at once, so that a start with many topics publishes one image. */
static void publish_found(struct config_watch *watch, const struct found *found, size_t count,
                          bool is_everything)
{
    struct image_builder *builder = NULL;
    enum error err =
        count == 0 && !is_everything ? OK : image_builder_new(metadata_image(watch->metadata), &builder);
    if (builder && is_everything) forget_missing(watch, builder);
    for (size_t i = 0; err == OK && i < count; i++) err = put_found(builder, &found[i]);
    if (err != OK) diag_error("could not take over %zu configs: %s", count, error_text(err));
    if (err != OK)
        image_builder_drop(&builder);
    else if (builder)
        metadata_publish(watch->metadata, image_builder_finish(&builder));
}

static bool note_found(struct found **found, size_t *count, size_t *capacity, enum config_type type,
                       const char *name, const struct coord_reply *reply)
{
    struct found one = {.type = type, .name = strdup(name)};
    /* A null config is an empty one. */
    struct slice data = reply->data.data ? reply->data : SLICE("{\"version\":1,\"config\":{}}");
    if (reply->err == OK) one.data = bytes_copy(data.data, data.size);
    bool is_whole = one.name && (one.data || reply->err != OK) &&
                    vec_grow((void **)found, capacity, *count + 1, sizeof one);
    if (!is_whole) {
        free(one.name);
        bytes_release(&one.data);
        diag_error("could not keep the config of \"%s\": %s", name, error_text(ERR_NOMEM));
        return false;
    }
    (*found)[(*count)++] = one;
    return true;
}

/* --- asking --- */

/* Counts in *steps, if it can ask at all. */
static bool ask_entity(struct config_watch *watch, struct need *need, size_t *steps, enum config_type type,
                       const char *name, coord_done *done)
{
    struct question *question = malloc(sizeof *question);
    struct text path = {0}, encoded = {0};
    entity_name_encode(slice_of(name), &encoded);
    text_addf(&path, "/config/%s/", config_type_name(type));
    text_add(&path, text_slice(&encoded));
    char *copy = strdup(name);
    bool is_whole = question && copy && !path.failed && !encoded.failed;
    if (!is_whole) {
        diag_error("could not read the config of \"%s\": %s", name, error_text(ERR_NOMEM));
        free(question);
        free(copy);
    } else {
        *question = (struct question){watch, need, type, copy};
        watch->unanswered++;
        if (steps) ++*steps;
        coord_get(watch->coord, text_slice(&path), done, question);
    }
    text_free(&path);
    text_free(&encoded);
    return is_whole;
}

static void question_free(struct question *question)
{
    free(question->name);
    free(question);
}

/* --- features --- */

static void feature_read(void *context, const struct coord_reply *reply)
{
    struct config_watch *watch = context;
    if (!is_alive(watch)) return;
    struct arena arena;
    struct znode_fault fault;
    struct feature_node node = {0};
    arena_init(&arena, MAX_CONFIG);
    enum error err = reply->err;
    if (err == OK) err = znode_feature_decode(SLICE("/feature"), reply->data, &arena, &node, &fault);
    if (err == ERR_CORRUPT) diag_warn("finalized features are not readable, taken as none: %s", fault.text);
    if (err == OK || err == ERR_CORRUPT || err == ERR_ZK_NO_NODE) {
        bool is_known = err == OK && node.is_enabled;
        struct image_builder *builder = NULL;
        err = image_builder_new(metadata_image(watch->metadata), &builder);
        if (err == OK)
            err = image_builder_features(builder, is_known ? reply->stat.version : -1, node.features,
                                         is_known ? node.count : 0);
        if (err == OK) metadata_publish(watch->metadata, image_builder_finish(&builder));
        image_builder_drop(&builder);
    }
    arena_free(&arena);
}

/* A get of an absent node arms nothing, so exists asks first. */
static void feature_exists(void *context, const struct coord_reply *reply)
{
    struct config_watch *watch = context;
    if (!is_alive(watch) || (reply->err != OK && reply->err != ERR_ZK_NO_NODE)) return;
    watch->unanswered++;
    if (reply->err == OK)
        coord_get(watch->coord, SLICE("/feature"), feature_read, watch);
    else
        feature_read(watch, reply);
}

static void feature_changed(void *context, enum coord_event event, struct slice path)
{
    (void)event;
    (void)path;
    struct config_watch *watch = context;
    watch->unanswered++;
    coord_exists(watch->coord, SLICE("/feature"), feature_exists, watch);
}

/* --- loading everything --- */

/* What the image has and the keeper no longer. Topics lose their configs with their last partition: one that was read since we
 * listed them must not go again. */
static void forget_missing(struct config_watch *watch, struct image_builder *builder)
{
    struct map present = {0};
    enum error err = OK;
    for (size_t i = 0; err == OK && i < watch->found_count; i++) {
        struct found *found = &watch->found[i];
        if (found->type != CONFIG_TOPIC && found->data) err = map_put(&present, slice_of(found->name), found);
    }
    const struct image *image = metadata_image(watch->metadata);
    for (int t = CONFIG_TOPIC + 1; t < CONFIG_TYPE_COUNT; t++) {
        enum config_type type = (enum config_type)t;
        const struct image_config *config = image_next_config(image, type, SLICE(""), false);
        for (; err == OK && config; config = image_next_config(image, type, config->name, true))
            if (!map_get(&present, config->name))
                err = image_builder_config_remove(builder, type, config->name);
    }
    map_free(&present);
    if (err != OK) diag_warn("configs that were removed may still count: %s", error_text(err));
}

static void load_ended(struct config_watch *watch)
{
    watch->is_loading = false;
    bool is_whole = !watch->is_load_broken;
    if (is_whole) publish_found(watch, watch->found, watch->found_count, true);
    found_free(watch->found, watch->found_count);
    watch->found = NULL;
    watch->found_count = watch->found_capacity = 0;
    if (watch->is_load_due)
        load(watch);
    else if (is_whole) {
        bool is_first = !watch->is_loaded;
        watch->is_loaded = true;
        scan(watch);
        if (is_first && watch->on_loaded) watch->on_loaded(watch->context);
    }
}

/* `err` is what the keeper said. A load that lost its session is begun again with the next one. */
static void load_step_done(struct config_watch *watch, enum error err)
{
    if (err == ERR_ZK_SESSION_EXPIRED || err == ERR_CLOSED)
        watch->is_load_broken = true;
    else if (err != OK && err != ERR_ZK_NO_NODE)
        diag_error("could not read a config: %s", error_text(err));
    if (--watch->load_steps == 0) load_ended(watch);
}

static void load_entity(void *context, const struct coord_reply *reply)
{
    struct question *question = context;
    struct config_watch *watch = question->watch;
    bool is_answer = reply->err == OK || reply->err == ERR_ZK_NO_NODE;
    if (is_alive(watch)) {
        if (is_answer)
            note_found(&watch->found, &watch->found_count, &watch->found_capacity, question->type,
                       question->name, reply);
        load_step_done(watch, reply->err);
    }
    question_free(question);
}

static void load_type(void *context, const struct coord_reply *reply)
{
    struct question *question = context;
    struct config_watch *watch = question->watch;
    if (is_alive(watch)) {
        struct arena arena;
        arena_init(&arena, 0);
        for (size_t i = 0; i < reply->child_count; i++) {
            struct slice name;
            if (entity_name_decode(reply->children[i], &arena, &name) == OK)
                ask_entity(watch, NULL, &watch->load_steps, question->type, (const char *)name.data,
                           load_entity);
        }
        arena_free(&arena);
        load_step_done(watch, reply->err);
    }
    question_free(question);
}

/* Anything that fails with the session is asked again by the next one: COORD_NEW_SESSION calls this again. */
static void load(struct config_watch *watch)
{
    watch->is_load_due = watch->is_loading;
    if (watch->is_loading) return;
    watch->is_loading = true;
    watch->is_load_broken = false;
    watch->load_steps = 1; /* ours, so that it ends once */
    feature_changed(watch, COORD_NODE_CHANGED, SLICE_NULL);
    for (int type = 0; type < CONFIG_TYPE_COUNT; type++) {
        struct question *question = calloc(1, sizeof *question);
        if (!question) continue;
        *question = (struct question){.watch = watch, .type = (enum config_type)type};
        char path[32];
        snprintf(path, sizeof path, "/config/%s", config_type_name((enum config_type)type));
        watch->load_steps++;
        watch->unanswered++;
        coord_children(watch->coord, slice_of(path), load_type, question);
    }
    load_step_done(watch, OK);
}

/* --- notices --- */

static void run_next_notice(struct config_watch *watch);

static void scan_ended(struct config_watch *watch)
{
    watch->is_scanning = false;
    if (watch->is_scan_due) scan(watch);
}

static void notice_entity(void *context, const struct coord_reply *reply)
{
    struct question *question = context;
    struct config_watch *watch = question->watch;
    if (is_alive(watch)) {
        if (reply->err == OK || reply->err == ERR_ZK_NO_NODE) {
            struct found *found = NULL;
            size_t count = 0, capacity = 0;
            note_found(&found, &count, &capacity, question->type, question->name, reply);
            publish_found(watch, found, count, false);
            found_free(found, count);
        }
        run_next_notice(watch);
    }
    question_free(question);
}

/* "topics/orders": what comes after the type is the entity's name, percent-encoded. */
static bool ask_noticed(struct config_watch *watch, struct slice entity_path, struct arena *arena)
{
    const uint8_t *slash = memchr(entity_path.data, '/', entity_path.size);
    enum config_type type;
    struct slice name;
    if (!slash ||
        !config_type_parse((struct slice){entity_path.data, (size_t)(slash - entity_path.data)}, &type))
        return false;
    struct slice encoded = {slash + 1, entity_path.size - (size_t)(slash + 1 - entity_path.data)};
    /* Quotas of a user's client ("users/u/clients/c") are another's to read. */
    if (memchr(encoded.data, '/', encoded.size) || entity_name_decode(encoded, arena, &name) != OK ||
        name.size == 0)
        return false;
    return ask_entity(watch, NULL, NULL, type, (const char *)name.data, notice_entity);
}

static void notice_read(void *context, const struct coord_reply *reply)
{
    struct config_watch *watch = context;
    if (!is_alive(watch)) return;
    if (reply->err == ERR_ZK_SESSION_EXPIRED || reply->err == ERR_CLOSED) {
        scan_ended(watch);
        return;
    }
    struct notice *notice = &watch->notices[watch->next_notice++];
    watch->last_number = notice->number;
    notice->ctime_ms = reply->stat.ctime_ms;
    notice->is_seen = reply->err == OK;
    bool is_asked = false;
    if (reply->err == OK) {
        struct arena arena;
        struct znode_fault fault;
        struct slice entity_path;
        char path[128];
        snprintf(path, sizeof path, CHANGES "/%.80s", notice->name);
        arena_init(&arena, MAX_CONFIG);
        enum error err =
            znode_config_change_decode(slice_of(path), reply->data, &arena, &entity_path, &fault);
        if (err == OK)
            is_asked = ask_noticed(watch, entity_path, &arena);
        else
            diag_warn("skipping a notice of a changed config: %s", fault.text);
        arena_free(&arena);
    }
    if (!is_asked) run_next_notice(watch);
}

static void purge_done(void *context, const struct coord_reply *reply)
{
    (void)reply;
    is_alive(context);
}

static void purge(struct config_watch *watch)
{
    int64_t now_ms = watch->wall_ms ? watch->wall_ms(watch->context) : 0;
    for (size_t i = 0; i < watch->notice_count; i++) {
        struct notice *notice = &watch->notices[i];
        if (!notice->is_seen || now_ms - notice->ctime_ms < NOTICE_LIFE_MS) continue;
        char path[128];
        snprintf(path, sizeof path, CHANGES "/%.80s", notice->name);
        watch->unanswered++;
        coord_delete(watch->coord, slice_of(path), COORD_ANY_VERSION, purge_done, watch);
    }
}

static void run_next_notice(struct config_watch *watch)
{
    if (watch->next_notice == watch->notice_count) {
        purge(watch);
        scan_ended(watch);
        return;
    }
    char path[128];
    snprintf(path, sizeof path, CHANGES "/%.80s", watch->notices[watch->next_notice].name);
    watch->unanswered++;
    coord_get(watch->coord, slice_of(path), notice_read, watch);
}

static int by_number(const void *a, const void *b)
{
    const struct notice *left = a, *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

static void scan_listed(void *context, const struct coord_reply *reply)
{
    struct config_watch *watch = context;
    if (!is_alive(watch)) return;
    if (reply->err != OK) {
        scan_ended(watch);
        return;
    }
    notices_free(watch);
    for (size_t i = 0; i < reply->child_count; i++) {
        struct slice name = reply->children[i];
        int64_t number;
        size_t prefix = sizeof PREFIX - 1;
        bool is_notice =
            name.size > prefix && memcmp(name.data, PREFIX, prefix) == 0 &&
            slice_to_int64((struct slice){name.data + prefix, name.size - prefix}, 0, INT32_MAX, &number);
        if (!is_notice || number <= watch->last_number) continue;
        char *copy = slice_dup(name);
        if (!copy || !VEC_RESERVE(watch->notices, watch->notice_count, watch->notice_capacity)) {
            free(copy);
            break;
        }
        watch->notices[watch->notice_count++] = (struct notice){.number = number, .name = copy};
    }
    if (watch->notice_count > 1)
        qsort(watch->notices, watch->notice_count, sizeof *watch->notices, by_number);
    run_next_notice(watch);
}

static void scan(struct config_watch *watch)
{
    watch->is_scan_due = watch->is_scanning || watch->is_loading;
    if (watch->is_scan_due) return;
    watch->is_scanning = true;
    watch->unanswered++;
    coord_children(watch->coord, SLICE(CHANGES), scan_listed, watch);
}

static void changes_changed(void *context, enum coord_event event, struct slice path)
{
    (void)event;
    (void)path;
    scan(context);
}

/* --- needs --- */

static void need_done(struct need *need)
{
    if (--need->outstanding > 0) return;
    if (!need->watch->is_freed) publish_found(need->watch, need->found, need->found_count, false);
    found_free(need->found, need->found_count);
    need->done(need->context);
    free(need);
}

static void need_read(void *context, const struct coord_reply *reply)
{
    struct question *question = context;
    struct need *need = question->need;
    struct config_watch *watch = question->watch;
    bool is_living = !watch->is_freed;
    if (is_living && reply->err == ERR_ZK_SESSION_EXPIRED) {
        ask_entity(watch, need, &need->outstanding, question->type, question->name, need_read);
    } else if (is_living) {
        /* Without an answer the topic has no overrides that we know of; its next notice brings them. */
        struct coord_reply none = {.err = OK};
        const struct coord_reply *said = reply->err == OK ? reply : &none;
        if (reply->err != OK && reply->err != ERR_ZK_NO_NODE)
            diag_error("could not read the config of topic \"%s\": %s", question->name,
                       error_text(reply->err));
        note_found(&need->found, &need->found_count, &need->found_capacity, question->type, question->name,
                   said);
    }
    question_free(question);
    need_done(need);
    is_alive(watch);
}

void config_watch_need_topics(struct config_watch *watch, const struct slice *names, size_t count,
                              void (*done)(void *context), void *context)
{
    const struct image *image = metadata_image(watch->metadata);
    struct need *need = NULL;
    for (size_t i = 0; i < count; i++) {
        if (image_config(image, CONFIG_TOPIC, names[i])) continue;
        if (!need) {
            need = calloc(1, sizeof *need);
            if (!need) break;
            *need = (struct need){.watch = watch, .outstanding = 1, .done = done, .context = context};
        }
        char *name = slice_dup(names[i]);
        if (name) ask_entity(watch, need, &need->outstanding, CONFIG_TOPIC, name, need_read);
        free(name);
    }
    if (need)
        need_done(need);
    else
        done(context);
}

/* --- life --- */

static void on_state(void *context, enum coord_state state)
{
    if (state == COORD_NEW_SESSION) load(context);
}

enum error config_watch_new(struct coord *coord, struct metadata *metadata, int64_t (*wall_ms)(void *context),
                            void (*on_loaded)(void *context), void *context, struct config_watch **watch)
{
    struct config_watch *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    *made = (struct config_watch){.coord = coord,
                                  .metadata = metadata,
                                  .wall_ms = wall_ms,
                                  .on_loaded = on_loaded,
                                  .context = context,
                                  .listener = {on_state, made, NULL},
                                  .last_number = -1};
    enum error err = coord_watch(coord, COORD_WATCH_CHILDREN, SLICE(CHANGES), changes_changed, made);
    if (err == OK) err = coord_watch(coord, COORD_WATCH_NODE, SLICE("/feature"), feature_changed, made);
    if (err != OK) {
        coord_unwatch(coord, COORD_WATCH_CHILDREN, SLICE(CHANGES));
        free(made);
        return err;
    }
    coord_listen(coord, &made->listener);
    *watch = made;
    load(made);
    return OK;
}

void config_watch_free(struct config_watch **watch)
{
    struct config_watch *freed = *watch;
    if (!freed) return;
    *watch = NULL;
    coord_unlisten(freed->coord, &freed->listener);
    coord_unwatch(freed->coord, COORD_WATCH_CHILDREN, SLICE(CHANGES));
    coord_unwatch(freed->coord, COORD_WATCH_NODE, SLICE("/feature"));
    freed->is_freed = true;
    freed->unanswered++;
    is_alive(freed);
}
