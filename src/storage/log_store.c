#include "storage/log_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/map.h"
#include "base/random.h"
#include "base/vec.h"
#include "storage/log_parts.h"
#include "storage/store_parts.h"

const struct log_store_options *log_store_options_of(const struct log_store *store)
{
    return &store->options;
}

void log_store_options_default(struct log_store_options *options)
{
    *options = (struct log_store_options){
        .recovery_threads_per_dir = 2,
        .recovery_checkpoint_interval_ms = 60000,
        .log_start_checkpoint_interval_ms = 60000,
        .high_watermark_checkpoint_interval_ms = 5000,
        .retention_check_interval_ms = 300000,
        .retention_initial_delay_ms = 30000,
    };
    log_config_default(&options->config);
}

/* --- directories that fail --- */

static void dir_failed(struct loop_message *message)
{
    struct dir_alarm *alarm = CONTAINER_OF(message, struct dir_alarm, message);
    struct log_dir *dir = alarm->dir;
    free(alarm);
    if (!dir) return;
    dir->alarm = NULL;
    struct log_store *store = dir->store;
    if (store->options.on_dir_failed)
        store->options.on_dir_failed(store->options.context, dir->path, dir->failure);
}

/* For the next start, if it comes before the machine's. Failing to leave it is nothing to act upon. */
static void leave_lost_sync(struct log_dir *dir)
{
    char *path = path_join(dir->path, LOST_SYNC_FILE);
    struct file *file = NULL;
    struct slice text = SLICE("odradek lost sync, version 1\n");
    enum error err = path ? file_open(dir->disk, path, FILE_WRITE | FILE_CREATE, &file) : ERR_NOMEM;
    if (err == OK) err = file_pwrite(file, text.data, text.size, 0);
    if (err != OK) diag_warn("could not write \"%s/%s\": %s", dir->path, LOST_SYNC_FILE, error_text(err));
    file_release(&file);
    free(path);
}

void log_dir_fail(struct log_dir *dir, enum error err, const char *what, const char *path)
{
    if (__atomic_exchange_n(&dir->is_failed, 1, __ATOMIC_ACQ_REL)) return;
    dir->failure = err;
    if (dir->lock && err != ERR_DISK_FULL) leave_lost_sync(dir);
    diag_error("could not %s \"%s\": %s; log directory \"%s\" is offline until the next start", what, path,
               error_text(err), dir->path);
    if (dir->store->options.loop)
        loop_post(dir->store->options.loop, &dir->alarm->message);
    else
        dir_failed(&dir->alarm->message);
}

enum error log_dir_spare(struct log_dir *dir, enum error err)
{
    if (err != ERR_DISK_FULL) return err;
    if (!__atomic_exchange_n(&dir->lacks_room, 1, __ATOMIC_RELAXED))
        diag_warn("log directory \"%s\" is full: its logs can be read and deleted, appends wait for room",
                  dir->path);
    return OK;
}

size_t log_store_live_dirs(const struct log_store *store)
{
    size_t live = 0;
    for (size_t i = 0; i < store->dir_count; i++) live += !log_dir_is_failed(&store->dirs[i]);
    return live;
}

/* --- which logs there are --- */

bool log_store_key(struct slice topic, int32_t partition, char key[TOPIC_NAME_MAX + 16])
{
    if (!topic_name_is_valid(topic) || partition < 0) return false;
    snprintf(key, TOPIC_NAME_MAX + 16, "%.*s-%d", SLICE_ARG(topic), (int)partition);
    return true;
}

struct log *log_store_find(struct log_store *store, struct slice topic, int32_t partition)
{
    char key[TOPIC_NAME_MAX + 16];
    if (!log_store_key(topic, partition, key)) return NULL;
    return map_get(&store->logs, slice_of(key));
}

struct log *log_store_next(const struct log_store *store, size_t *position)
{
    struct map_slot *slot = map_next(&store->logs, position);
    return slot ? slot->value : NULL;
}

struct log *log_store_walk(const struct log_store *store, struct store_walk *walk)
{
    struct map_slot *slot = map_next(&store->logs, &walk->log);
    if (!slot) slot = map_next(&store->futures, &walk->future);
    return slot ? slot->value : NULL;
}

size_t log_store_count(const struct log_store *store)
{
    return store->logs.count;
}

/* Where it was begun already (log_load leaves out a log for whose first segment a full disk had no room), else where it is
 * wanted, else where there are fewest; NULL = no directory can be used. */
static struct log_dir *choose_dir(struct log_store *store, const char *name, struct log_dir *wanted)
{
    struct log_dir *emptiest = NULL;
    for (size_t i = 0; i < store->dir_count; i++) {
        struct log_dir *dir = &store->dirs[i];
        if (log_dir_is_failed(dir)) continue;
        char *path = store->dir_count > 1 ? path_join(dir->path, name) : NULL;
        bool is_begun = path && disk_exists(dir->disk, path);
        free(path);
        if (is_begun) return dir;
        if (!emptiest || dir->partition_count < emptiest->partition_count) emptiest = dir;
    }
    return wanted && !log_dir_is_failed(wanted) ? wanted : emptiest;
}

enum error log_store_create(struct log_store *store, struct slice topic, int32_t partition,
                            const struct uuid *topic_id, const struct log_config *config, struct log **log)
{
    char key[TOPIC_NAME_MAX + 16];
    if (!log_store_key(topic, partition, key)) return ERR_INVALID_TOPIC_EXCEPTION;
    if (map_get(&store->logs, slice_of(key))) return ERR_EXISTS;

    struct log_dir *wanted = map_remove(&store->wanted_dirs, slice_of(key));
    struct log_dir *chosen = choose_dir(store, key, wanted);
    if (!chosen) return ERR_KAFKA_STORAGE_ERROR;

    /* A line of the log that had this name until a moment ago would be taken for one of the new log. */
    enum error err = log_store_settle_deleted(store, slice_of(key));
    struct log *made = NULL;
    if (err == OK) err = log_create(chosen, key, topic_id, config, &made);
    if (err == OK) err = map_put(&store->logs, slice_of(key), made);
    if (err != OK) {
        log_free(made);
        if (err == ERR_NOMEM || err == ERR_DISK_FULL || err == ERR_LIMIT) return err;
        log_dir_fail(chosen, err, "create", key);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    chosen->partition_count++;
    *log = made;
    return OK;
}

void log_store_unique(struct log_store *store, uint8_t out[16])
{
    if (store->options.loop)
        loop_random(store->options.loop, out, 16);
    else
        random_fill(&store->random, out, 16);
}

void log_rename_open_files(struct log *log, const char *to)
{
    for (size_t i = 0; i < log->segment_count; i++) {
        struct segment *segment = &log->segments[i];
        char *path = segment_path(to, segment->base_offset, FILE_LOG, "");
        if (path && segment->log_file) file_renamed(segment->log_file, path);
        free(path);
        file_release(&segment->index_file);
    }
}

void log_store_forget(struct log_store *store, const struct log *gone)
{
    struct log_dir *dir = gone->dir;
    dir->partition_count--;
    dir->deleted_mark = dir->checkpoint_made;
    dir->has_deleted = true;
    /* Without memory to remember the name, the lines go at once. */
    if (map_put(&store->deleted, slice_of(gone->name), store) != OK) log_store_checkpoint_now(store);
    /* Its lines in the checkpoints would be taken for those of a later partition of that name. */
    log_store_mark_all(dir);
}

enum error log_store_delete(struct log_store *store, struct log **log)
{
    struct log *gone = *log;
    struct log_dir *dir = gone->dir;
    log_set_home(gone, NULL);
    struct map *logs = gone->future_suffix[0] ? &store->futures : &store->logs;
    if (map_get(logs, slice_of(gone->name)) != gone) return ERR_NOT_FOUND;

    enum error err = OK;
    if (!log_dir_is_failed(dir)) {
        uint8_t unique[16];
        char name[PARTITION_DIR_NAME_MAX + 1];
        log_store_unique(store, unique);
        partition_dir_delete_name(slice_of(gone->name), unique, name);
        char *from = log_path(gone), *to = path_join(dir->path, name);
        err = from && to ? disk_rename(dir->disk, from, to) : ERR_NOMEM;
        if (err == OK) log_rename_open_files(gone, to);
        /* Not synced: many may go at once, the checkpoints that follow sync the directory, and should it come back after a
         * power cut, its topic id tells that it is nobody's. */
        if (err == OK) {
            home_discard_tree(&store->home, dir, to, gone->config.file_delete_delay_ms);
            to = NULL;
        }
        free(from);
        free(to);
        if (err == ERR_NOMEM) return err;
        if (err != OK) log_dir_fail(dir, err, "delete", gone->name);
    }
    map_remove(logs, slice_of(gone->name));
    log_store_forget(store, gone);
    log_free(gone);
    *log = NULL;
    log_store_checkpoint(store);
    return err == OK ? OK : ERR_KAFKA_STORAGE_ERROR;
}

/* --- describing --- */

size_t log_store_dir_count(const struct log_store *store)
{
    return store->dir_count;
}

void log_store_dir(const struct log_store *store, size_t index, struct log_store_dir *described)
{
    assert(index < store->dir_count);
    const struct log_dir *dir = &store->dirs[index];
    *described = (struct log_store_dir){.path = dir->path,
                                        .is_online = !log_dir_is_failed(dir),
                                        .was_clean = dir->was_clean,
                                        .partition_count = dir->partition_count};
    struct store_walk walk = {0};
    const struct log *log;
    while ((log = log_store_walk(store, &walk))) {
        if (log->dir == dir) described->size_bytes += log_size_bytes(log);
    }
}

struct disk *log_store_disk(const struct log_store *store)
{
    return store->options.disk;
}

void log_store_progress(const struct log_store *store, struct log_store_progress *progress)
{
    progress->partitions = __atomic_load_n(&store->progress.partitions, __ATOMIC_RELAXED);
    progress->loaded = __atomic_load_n(&store->progress.loaded, __ATOMIC_RELAXED);
    progress->recovered = __atomic_load_n(&store->progress.recovered, __ATOMIC_RELAXED);
    progress->recovered_bytes = __atomic_load_n(&store->progress.recovered_bytes, __ATOMIC_RELAXED);
}

void log_store_set_broker_epoch(struct log_store *store, int64_t broker_epoch)
{
    store->broker_epoch = broker_epoch;
}

/* --- opening: locks, identity, checkpoints --- */

static enum error read_meta(struct log_dir *dir, struct dir_meta *meta, struct text *why)
{
    char *path = path_join(dir->path, META_PROPERTIES_FILE);
    struct bytes *bytes = NULL;
    enum error err = path ? disk_read_file(dir->disk, path, 1 << 20, &bytes) : ERR_NOMEM;
    if (err == OK) err = meta_properties_read(bytes_slice(bytes), &meta->properties);
    bytes_release(&bytes);
    if (err == ERR_NOT_FOUND) {
        err = OK;
    } else if (err == ERR_CORRUPT || err == ERR_TOO_LARGE) {
        text_addf(
            why,
            "\"%s\" is damaged; put back meta.properties of this log directory, or move the directory away",
            path);
        err = ERR_CONFIG;
    } else if (err == OK) {
        meta->is_there = true;
        if (meta->properties.version > 0) {
            text_addf(why,
                      "\"%s\" has version %d: the directory belongs to a Kafka broker in KRaft mode, or to a "
                      "later version; "
                      "odradek works with directories of ZooKeeper mode (version 0)",
                      path, (int)meta->properties.version);
            err = ERR_UNSUPPORTED;
        }
    }
    free(path);
    return err;
}

static enum error lock_dir(struct log_dir *dir, struct text *why)
{
    char *path = path_join(dir->path, LOCK_FILE);
    enum error err = path ? disk_lock(dir->disk, path, &dir->lock) : ERR_NOMEM;
    free(path);
    if (err == ERR_BUSY) text_addf(why, "another process works in log directory \"%s\"", dir->path);
    return err;
}

/* Makes it, and its name durable, where it is not there yet. */
static enum error make_dir(struct log_dir *dir)
{
    if (disk_exists(dir->disk, dir->path)) return OK;
    enum error err = disk_mkdir(dir->disk, dir->path);
    char *above = slice_dup(slice_of(dir->path));
    char *slash = above ? strrchr(above, '/') : NULL;
    while (err == OK && slash) {
        slash[slash == above ? 1 : 0] = 0;
        err = disk_sync_dir(dir->disk, above);
        slash = strlen(above) > 1 ? strrchr(above, '/') : NULL;
    }
    free(above);
    /* Whether an ancestor that was there all along may be synced is not for us to say. */
    return err == ERR_DENIED ? OK : err;
}

static enum error open_dir(struct log_store *store, size_t i, struct text *why)
{
    struct log_dir *dir = &store->dirs[i];
    enum error err = make_dir(dir);
    if (err == OK) err = lock_dir(dir, why);
    if (err == OK) err = read_meta(dir, &store->metas[i], why);
    if (err == OK) err = dir_checkpoints_read(dir);
    if (err == OK) err = dir_boot_read(dir, store->metas[i].is_there);
    if (err == ERR_BUSY || err == ERR_UNSUPPORTED || err == ERR_CONFIG || err == ERR_NOMEM) return err;
    if (err != OK) log_dir_fail(dir, err, "open", dir->path);
    return OK;
}

/* All that are known must be the same. */
static enum error check_agreement(struct log_store *store, struct text *why)
{
    const struct dir_meta *first = NULL;
    const char *first_path = NULL;
    for (size_t i = 0; i < store->dir_count; i++) {
        const struct dir_meta *meta = &store->metas[i];
        if (!meta->is_there) continue;
        if (!first) {
            first = meta;
            first_path = store->dirs[i].path;
            continue;
        }
        if (strcmp(first->properties.cluster_id, meta->properties.cluster_id) != 0) {
            text_addf(why, "log directory \"%s\" belongs to cluster \"%s\", \"%s\" to \"%s\"", first_path,
                      first->properties.cluster_id, store->dirs[i].path, meta->properties.cluster_id);
            return ERR_CONFIG;
        }
        if (first->properties.broker_id != meta->properties.broker_id) {
            text_addf(why, "log directory \"%s\" belongs to broker %d, \"%s\" to broker %d", first_path,
                      (int)first->properties.broker_id, store->dirs[i].path, (int)meta->properties.broker_id);
            return ERR_CONFIG;
        }
    }
    return OK;
}

static enum error make_lanes(struct log_store *store)
{
    enum error err = OK;
    struct loop *loop = store->options.loop;
    for (size_t i = 0; err == OK && loop && i < store->dir_count; i++) {
        struct log_dir *dir = &store->dirs[i];
        char name[16];
        snprintf(name, sizeof name, "sync %u", (unsigned)(i % 1000));
        err = lane_new(loop, name, 1, &dir->sync_lane);
        snprintf(name, sizeof name, "load %u", (unsigned)(i % 1000));
        int threads = store->options.recovery_threads_per_dir;
        if (err == OK) err = lane_new(loop, name, threads > 0 ? threads : 1, &dir->load_lane);
    }
    return err;
}

void store_free(struct log_store *store, bool machine_is_gone)
{
    struct store_walk walk = {0};
    struct log *log;
    while ((log = log_store_walk(store, &walk))) log_free(log);
    map_free(&store->logs);
    map_free(&store->futures);
    map_free(&store->deleted);
    map_free(&store->wanted_dirs);
    for (size_t i = 0; i < store->dir_count; i++) {
        struct log_dir *dir = &store->dirs[i];
        if (!machine_is_gone) {
            if (dir->sync_lane) lane_free(dir->sync_lane);
            if (dir->load_lane) lane_free(dir->load_lane);
        }
        if (dir->lock) disk_unlock(&dir->lock);
        if (log_dir_is_failed(dir) && dir->alarm)
            dir->alarm->dir = NULL;
        else
            free(dir->alarm);
        dir_checkpoints_free(dir);
        pthread_mutex_destroy(&dir->checkpoint_mutex);
        free(dir->path);
    }
    free(store->dirs);
    free(store->metas);
    free(store);
}

enum error log_store_open(const struct log_store_options *options, struct log_store **store, struct text *why)
{
    assert(options->dir_count > 0);
    struct log_store *opened = calloc(1, sizeof *opened);
    if (!opened) return ERR_NOMEM;
    opened->options = *options;
    opened->broker_epoch = -1;
    opened->dirs = calloc(options->dir_count, sizeof *opened->dirs);
    opened->metas = calloc(options->dir_count, sizeof *opened->metas);
    random_seed(&opened->random, options->random_seed);
    log_home_init(&opened->home, NULL, options->loop);
    enum error err = opened->dirs && opened->metas ? OK : ERR_NOMEM;
    for (size_t i = 0; err == OK && i < options->dir_count; i++) {
        struct log_dir *dir = &opened->dirs[i];
        dir->store = opened;
        dir->disk = options->disk;
        dir->alarm = calloc(1, sizeof *dir->alarm);
        pthread_mutex_init(&dir->checkpoint_mutex, NULL);
        dir->path = slice_dup(slice_of(options->dirs[i]));
        if (dir->alarm) *dir->alarm = (struct dir_alarm){{.run = dir_failed}, dir};
        if (!dir->path || !dir->alarm) err = ERR_NOMEM;
        size_t size = dir->path ? strlen(dir->path) : 0;
        while (size > 1 && dir->path[size - 1] == '/') dir->path[--size] = 0;
        opened->dir_count++;
    }
    if (err == OK) err = make_lanes(opened);
    for (size_t i = 0; err == OK && i < opened->dir_count; i++) err = open_dir(opened, i, why);
    if (err == OK) err = check_agreement(opened, why);
    if (err == OK && log_store_live_dirs(opened) == 0) {
        text_addz(why, "no log directory can be used");
        err = ERR_IO;
    }
    if (err != OK) {
        store_free(opened, false);
        return err;
    }
    *store = opened;
    return OK;
}

void log_store_identity(const struct log_store *store, struct log_store_identity *identity)
{
    *identity = (struct log_store_identity){.broker_id = -1};
    for (size_t i = 0; i < store->dir_count; i++) {
        const struct dir_meta *meta = &store->metas[i];
        if (!meta->is_there) continue;
        identity->is_known = true;
        identity->broker_id = meta->properties.broker_id;
        memcpy(identity->cluster_id, meta->properties.cluster_id, sizeof identity->cluster_id);
        return;
    }
}

static enum error write_meta(struct log_dir *dir, struct dir_meta *meta, const char *cluster_id,
                             int32_t broker_id)
{
    struct meta_properties properties = {.broker_id = broker_id};
    snprintf(properties.cluster_id, sizeof properties.cluster_id, "%s", cluster_id);
    struct text text = {0};
    meta_properties_write(&properties, &text);
    char *path = path_join(dir->path, META_PROPERTIES_FILE);
    enum error err =
        path && !text.failed ? disk_write_file_atomic(dir->disk, path, text_slice(&text)) : ERR_NOMEM;
    free(path);
    text_free(&text);
    if (err == OK) *meta = (struct dir_meta){.is_there = true, .properties = properties};
    return err;
}

enum error log_store_claim(struct log_store *store, const char *cluster_id, int32_t broker_id,
                           struct text *why)
{
    for (size_t i = 0; i < store->dir_count; i++) {
        struct dir_meta *meta = &store->metas[i];
        struct log_dir *dir = &store->dirs[i];
        if (log_dir_is_failed(dir)) continue;
        const struct meta_properties *has = &meta->properties;
        if (meta->is_there && has->cluster_id[0] && strcmp(has->cluster_id, cluster_id) != 0) {
            text_addf(why, "log directory \"%s\" belongs to cluster \"%s\", and this is cluster \"%s\"",
                      dir->path, has->cluster_id, cluster_id);
            return ERR_CONFIG;
        }
        if (meta->is_there && has->broker_id >= 0 && has->broker_id != broker_id) {
            text_addf(why, "log directory \"%s\" belongs to broker %d, and this is broker %d", dir->path,
                      (int)has->broker_id, (int)broker_id);
            return ERR_CONFIG;
        }
        if (meta->is_there && has->cluster_id[0] && has->broker_id >= 0) continue;
        enum error err = write_meta(dir, meta, cluster_id, broker_id);
        if (err == ERR_NOMEM) return err;
        if (err != OK) log_dir_fail(dir, err, "write meta.properties of", dir->path);
    }
    if (log_store_live_dirs(store) > 0) return OK;
    text_addz(why, "no log directory can be used");
    return ERR_IO;
}

void log_store_abandon(struct log_store *store, bool machine_is_gone)
{
    if (!machine_is_gone) {
        assert(store->checkpoint_jobs == 0 && store->home.jobs_in_flight == 0);
        if (store->options.loop) loop_timer_stop(store->options.loop, &store->checkpoint_timer);
        log_home_close(&store->home, NULL, NULL);
    }
    store_free(store, machine_is_gone);
}
