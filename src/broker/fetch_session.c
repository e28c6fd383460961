#include "broker/fetch_session.h"

#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "wire/messages.h"

struct fetch_sessions {
    struct list all; /* least recently used first */
    struct map by_id;
    size_t count;
    int64_t *used;
    int64_t slots;
};

enum { KEY_MAX = 4 + 32768 };

enum error fetch_sessions_new(int64_t *used, int64_t slots, struct fetch_sessions **sessions)
{
    struct fetch_sessions *made = calloc(1, sizeof *made);
    if (!made) return ERR_NOMEM;
    list_init(&made->all);
    made->used = used;
    made->slots = slots;
    *sessions = made;
    return OK;
}

static void free_partitions(struct list *partitions)
{
    LIST_EACH(partitions, item)
    {
        list_remove(item);
        free(CONTAINER_OF(item, struct session_partition, link));
    }
}

static void session_free(struct fetch_session *session)
{
    free_partitions(&session->partitions);
    free_partitions(&session->forgotten);
    map_free(&session->by_key);
    free(session);
}

void fetch_session_release(struct fetch_session **session)
{
    struct fetch_session *held = *session;
    *session = NULL;
    if (held && --held->references == 0) session_free(held);
}

static void session_remove(struct fetch_sessions *sessions, struct fetch_session *session)
{
    if (session->is_gone) return;
    session->is_gone = true;
    list_remove(&session->link);
    map_remove_number(&sessions->by_id, (uint64_t)session->id);
    sessions->count--;
    __atomic_fetch_sub(sessions->used, 1, __ATOMIC_RELAXED);
    fetch_session_release(&session);
}

struct fetch_session *fetch_sessions_take(struct fetch_sessions *sessions, int32_t id)
{
    struct fetch_session *session = map_get_number(&sessions->by_id, (uint64_t)(uint32_t)id);
    if (!session || session->references > 1) return NULL;
    list_remove(&session->link);
    map_remove_number(&sessions->by_id, (uint64_t)id);
    sessions->count--;
    return session;
}

void fetch_sessions_give(struct fetch_sessions *sessions, struct fetch_session *session)
{
    bool is_taken = map_get_number(&sessions->by_id, (uint64_t)session->id) != NULL;
    if (is_taken || map_put_number(&sessions->by_id, (uint64_t)session->id, session) != OK) {
        session->is_gone = true;
        __atomic_fetch_sub(sessions->used, 1, __ATOMIC_RELAXED);
        fetch_session_release(&session);
        return;
    }
    /* Where its last use puts it: who looks for an idle one stops at the first that is not. */
    struct list *after = sessions->all.prev;
    while (after != &sessions->all &&
           CONTAINER_OF(after, struct fetch_session, link)->last_used_ms > session->last_used_ms)
        after = after->prev;
    list_push_front(after, &session->link);
    sessions->count++;
}

void fetch_sessions_free(struct fetch_sessions **sessions)
{
    if (!*sessions) return;
    while (!list_empty(&(*sessions)->all)) {
        session_remove(*sessions, CONTAINER_OF((*sessions)->all.next, struct fetch_session, link));
    }
    map_free(&(*sessions)->by_id);
    free(*sessions);
    *sessions = NULL;
}

size_t fetch_sessions_count(const struct fetch_sessions *sessions)
{
    return sessions->count;
}

/* --- partitions of a session --- */

static struct slice key_of(uint8_t *out, bool uses_ids, struct slice topic, const struct uuid *id,
                           int32_t index)
{
    put_be32(out, (uint32_t)index);
    if (uses_ids) {
        memcpy(out + 4, id->bytes, 16);
        return (struct slice){out, 20};
    }
    size_t size = topic.size < KEY_MAX - 4 ? topic.size : KEY_MAX - 4;
    if (size > 0) memcpy(out + 4, topic.data, size);
    return (struct slice){out, 4 + size};
}

static void take(struct session_partition *partition, const struct fetch_request_fetch_partition *asked)
{
    partition->fetch_offset = asked->fetch_offset;
    partition->follower_log_start_offset = asked->log_start_offset;
    partition->max_bytes = asked->partition_max_bytes;
    partition->current_leader_epoch = asked->current_leader_epoch;
    partition->last_fetched_epoch = asked->last_fetched_epoch;
}

static enum error add(struct fetch_session *session, const struct fetch_request_fetch_topic *topic,
                      const struct fetch_request_fetch_partition *asked, uint8_t *room)
{
    struct slice key = key_of(room, session->uses_ids, topic->topic, &topic->topic_id, asked->partition);
    struct session_partition *partition = map_get(&session->by_key, key);
    if (!partition) {
        partition = calloc(1, sizeof *partition + topic->topic.size);
        if (!partition) return ERR_NOMEM;
        enum error err = map_put(&session->by_key, key, partition);
        if (err != OK) {
            free(partition);
            return err;
        }
        partition->topic_id = topic->topic_id;
        partition->index = asked->partition;
        partition->topic_size = topic->topic.size;
        if (topic->topic.size > 0) memcpy(partition->topic, topic->topic.data, topic->topic.size);
        partition->high_watermark = partition->log_start_offset = -1;
        partition->must_answer = true;
        list_push_back(&session->partitions, &partition->link);
    }
    take(partition, asked);
    return OK;
}

static enum error add_all(struct fetch_session *session, const struct fetch_request *request)
{
    uint8_t *room = malloc(KEY_MAX);
    if (!room) return ERR_NOMEM;
    enum error err = OK;
    for (int32_t t = 0; t < request->topics.count && err == OK; t++) {
        const struct fetch_request_fetch_topic *topic = &request->topics.items[t];
        for (int32_t i = 0; i < topic->partitions.count && err == OK; i++) {
            err = add(session, topic, &topic->partitions.items[i], room);
        }
    }
    free(room);
    return err;
}

static void forget(struct fetch_session *session, const struct fetch_request *request)
{
    if (request->forgotten_topics_data.count <= 0) return;
    uint8_t *room = malloc(KEY_MAX);
    if (!room) return; /* it is answered once more than asked for */
    for (int32_t t = 0; t < request->forgotten_topics_data.count; t++) {
        const struct fetch_request_forgotten_topic *topic = &request->forgotten_topics_data.items[t];
        for (int32_t i = 0; i < topic->partitions.count; i++) {
            struct session_partition *partition =
                map_remove(&session->by_key, key_of(room, session->uses_ids, topic->topic, &topic->topic_id,
                                                    topic->partitions.items[i]));
            if (!partition) continue;
            partition->is_forgotten = true;
            list_remove(&partition->link);
            list_push_back(&session->forgotten, &partition->link);
        }
    }
    free(room);
}

void fetch_session_answered(struct fetch_session *session, struct session_partition *partition)
{
    if (partition->is_forgotten) return;
    list_remove(&partition->link);
    list_push_back(&session->partitions, &partition->link);
}

/* --- sessions --- */

/* A slot for one more: a free one, or one that its holder must give up. */
static bool take_slot(struct fetch_sessions *sessions, bool is_follower, int64_t now_ms)
{
    if (__atomic_add_fetch(sessions->used, 1, __ATOMIC_RELAXED) <= sessions->slots) return true;
    struct fetch_session *victim = NULL;
    LIST_EACH(&sessions->all, item)
    {
        struct fetch_session *session = CONTAINER_OF(item, struct fetch_session, link);
        bool is_idle = now_ms - session->last_used_ms >= FETCH_SESSION_IDLE_MS;
        if (!is_idle && !is_follower) break; /* those that follow were used later */
        if (is_idle || !session->is_follower) {
            victim = session;
            break;
        }
    }
    if (!victim) {
        __atomic_fetch_sub(sessions->used, 1, __ATOMIC_RELAXED);
        return false;
    }
    session_remove(sessions, victim);
    return true;
}

/* A session for this full request; NULL when there is no slot or memory. */
static struct fetch_session *session_new(struct fetch_sessions *sessions, struct loop *loop,
                                         const struct fetch_request *request, bool uses_ids, bool is_follower)
{
    int64_t now_ms = loop_now_ms(loop);
    if (!take_slot(sessions, is_follower, now_ms)) return NULL;
    struct fetch_session *session = calloc(1, sizeof *session);
    int32_t id = 0;
    while (session && (id <= 0 || map_get_number(&sessions->by_id, (uint64_t)id))) {
        loop_random(loop, &id, sizeof id);
        id &= INT32_MAX;
    }
    if (session) {
        list_init(&session->partitions);
        list_init(&session->forgotten);
        list_init(&session->link);
        session->id = id;
        session->next_epoch = 1;
        session->references = 1; /* the table's */
        session->uses_ids = uses_ids;
        session->is_follower = is_follower;
        session->last_used_ms = now_ms;
        if (add_all(session, request) == OK &&
            map_put_number(&sessions->by_id, (uint64_t)id, session) == OK) {
            list_push_back(&sessions->all, &session->link);
            sessions->count++;
            return session;
        }
        session_free(session);
    }
    __atomic_fetch_sub(sessions->used, 1, __ATOMIC_RELAXED);
    return NULL;
}

static enum error increment(struct fetch_sessions *sessions, struct loop *loop,
                            const struct fetch_request *request, bool uses_ids, struct fetch_session **found)
{
    struct fetch_session *session = map_get_number(&sessions->by_id, (uint64_t)(uint32_t)request->session_id);
    if (!session) return ERR_FETCH_SESSION_ID_NOT_FOUND;
    if (session->next_epoch != request->session_epoch) return ERR_INVALID_FETCH_SESSION_EPOCH;
    /* An empty increment of a session says nothing about names or ids. */
    if (session->uses_ids != uses_ids) return ERR_FETCH_SESSION_TOPIC_ID_ERROR;
    if (session->references == 1) free_partitions(&session->forgotten);
    enum error err = add_all(session, request);
    if (err != OK) return err;
    forget(session, request);
    if (session->by_key.count == 0 && session->references == 1) { /* nothing left to tell of: it ends */
        session_remove(sessions, session);
        return OK;
    }
    session->next_epoch = session->next_epoch == INT32_MAX ? 1 : session->next_epoch + 1;
    session->last_used_ms = loop_now_ms(loop);
    list_remove(&session->link);
    list_push_back(&sessions->all, &session->link);
    *found = session;
    return OK;
}

enum error fetch_session_begin(struct fetch_sessions *sessions, struct loop *loop,
                               const struct fetch_request *request, bool uses_ids, bool is_follower,
                               struct fetch_session **session, bool *is_increment)
{
    *is_increment = false;
    *session = NULL;
    struct fetch_session *found = NULL;
    if (request->session_epoch == FETCH_EPOCH_FINAL || request->session_epoch == FETCH_EPOCH_INITIAL) {
        if (request->session_id != FETCH_NO_SESSION) {
            struct fetch_session *old =
                map_get_number(&sessions->by_id, (uint64_t)(uint32_t)request->session_id);
            if (old) session_remove(sessions, old);
        }
        if (request->session_epoch == FETCH_EPOCH_INITIAL) {
            found = session_new(sessions, loop, request, uses_ids, is_follower);
        }
    } else {
        enum error err = increment(sessions, loop, request, uses_ids, &found);
        if (err != OK) return err;
        *is_increment = found != NULL;
    }
    if (found) found->references++;
    *session = found;
    return OK;
}
