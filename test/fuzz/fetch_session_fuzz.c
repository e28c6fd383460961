/* fetch_session_fuzz: any requests of any readers to the sessions of two loops. The input is a script:
 *
 *     u8 what, then
 *       0-4  a request: u8 traits (ids, follower, which epoch, how many partitions), u8 session, a byte for each partition
 *       5    the answer of a running request ends     6    a connection moves: its session goes to the other loop
 *       7    time goes by
 *
 * Held against a model too plain to be wrong: an array of sessions, each an array of what is asked for. */
#include <stdlib.h>
#include <string.h>

#include "broker/fetch_session.h"
#include "fuzz.h"
#include "loop/sim.h"
#include "wire/messages.h"

enum { SLOTS = 4, LOOPS = 2, TOPICS = 4, INDEXES = 16, ASKED_MAX = 15, RUNNING_MAX = 8, KNOWN_MAX = 64 };
enum { NOT_ASKED = -1 };

struct model_session {
    struct fetch_session *session;
    int32_t id, next_epoch;
    int loop; /* whose; -1: it is gone */
    bool is_follower, uses_ids;
    int64_t last_used_ms;
    uint64_t last_used; /* a count: the order of uses */
    int64_t offsets[TOPICS * INDEXES];
};

struct world {
    struct sim *sim;
    struct loop *loop;
    struct fetch_sessions *sessions[LOOPS];
    int64_t used;
    uint64_t uses;
    int64_t next_offset;
    struct model_session known[KNOWN_MAX];
    size_t known_count;
    struct fetch_session *running[RUNNING_MAX];
    size_t running_count;
};

struct script {
    const uint8_t *data;
    size_t size;
};

static uint8_t next(struct script *script)
{
    if (script->size == 0) return 0;
    script->size--;
    return *script->data++;
}

/* --- the request --- */

struct asking {
    struct fetch_request request;
    struct fetch_request_fetch_topic topics[ASKED_MAX];
    struct fetch_request_fetch_partition partitions[ASKED_MAX];
    struct fetch_request_forgotten_topic forgotten[ASKED_MAX];
    int32_t forgotten_indexes[ASKED_MAX];
    int asked_places[ASKED_MAX], forgotten_places[ASKED_MAX];
};

static void name_topic(int topic, struct slice *name, struct uuid *id)
{
    static const char *const names[TOPICS] = {"", "a", "orders", "orders-2"};
    *name = slice_of(names[topic]);
    *id = (struct uuid){{(uint8_t)topic}};
}

static void ask(struct world *world, struct asking *asking, int count, struct script *script)
{
    struct fetch_request *request = &asking->request;
    fetch_request_init(request);
    request->topics.items = asking->topics;
    request->topics.count = 0;
    request->forgotten_topics_data.items = asking->forgotten;
    request->forgotten_topics_data.count = 0;
    for (int i = 0; i < count; i++) {
        uint8_t byte = next(script);
        int topic = byte >> 5 & 3, index = byte & (INDEXES - 1), place = topic * INDEXES + index;
        if (byte & 0x80) {
            int at = request->forgotten_topics_data.count++;
            asking->forgotten_places[at] = place;
            asking->forgotten_indexes[at] = index;
            fetch_request_forgotten_topic_init(&asking->forgotten[at]);
            name_topic(topic, &asking->forgotten[at].topic, &asking->forgotten[at].topic_id);
            asking->forgotten[at].partitions.items = &asking->forgotten_indexes[at];
            asking->forgotten[at].partitions.count = 1;
            continue;
        }
        int at = request->topics.count++;
        asking->asked_places[at] = place;
        fetch_request_fetch_partition_init(&asking->partitions[at]);
        asking->partitions[at].partition = index;
        asking->partitions[at].fetch_offset = world->next_offset++;
        fetch_request_fetch_topic_init(&asking->topics[at]);
        name_topic(topic, &asking->topics[at].topic, &asking->topics[at].topic_id);
        asking->topics[at].partitions.items = &asking->partitions[at];
        asking->topics[at].partitions.count = 1;
    }
}

/* --- the model --- */

static int model_used(const struct world *world)
{
    int used = 0;
    for (size_t i = 0; i < world->known_count; i++) used += world->known[i].loop >= 0;
    return used;
}

static struct model_session *model_find(struct world *world, int loop, int32_t id)
{
    for (size_t i = 0; i < world->known_count; i++)
        if (world->known[i].loop == loop && world->known[i].id == id) return &world->known[i];
    return NULL;
}

static bool is_used_before(const struct model_session *a, const struct model_session *b)
{
    return a->last_used_ms != b->last_used_ms ? a->last_used_ms < b->last_used_ms
                                              : a->last_used < b->last_used;
}

/* Who gives up its slot: of those on this loop the one used longest ago that was idle or, to a follower, is a consumer's. */
static struct model_session *model_victim(struct world *world, int loop, bool is_follower)
{
    struct model_session *victim = NULL;
    for (size_t i = 0; i < world->known_count; i++) {
        struct model_session *m = &world->known[i];
        if (m->loop != loop) continue;
        bool is_idle = sim_now_ms(world->sim) - m->last_used_ms >= FETCH_SESSION_IDLE_MS;
        if (!is_idle && (!is_follower || m->is_follower)) continue;
        if (!victim || is_used_before(m, victim)) victim = m;
    }
    return victim;
}

static void model_take(struct world *world, struct model_session *m, const struct asking *asking)
{
    const struct fetch_request *request = &asking->request;
    for (int32_t i = 0; i < request->topics.count; i++)
        m->offsets[asking->asked_places[i]] = asking->partitions[i].fetch_offset;
    m->last_used_ms = sim_now_ms(world->sim);
    m->last_used = ++world->uses;
}

/* What the session holds is what the model says, in whatever order. */
static void compare(const struct model_session *m)
{
    const struct fetch_session *session = m->session;
    size_t listed = 0, wanted = 0;
    LIST_EACH(&session->partitions, item)
    {
        const struct session_partition *p = CONTAINER_OF(item, struct session_partition, link);
        int topic = 0;
        for (; topic < TOPICS; topic++) {
            struct slice name;
            struct uuid id;
            name_topic(topic, &name, &id);
            if (uuid_equal(&id, &p->topic_id)) break;
        }
        CHECK(topic < TOPICS && p->index >= 0 && p->index < INDEXES && !p->is_forgotten);
        CHECK(m->offsets[topic * INDEXES + p->index] == p->fetch_offset);
        listed++;
    }
    for (int i = 0; i < TOPICS * INDEXES; i++) wanted += m->offsets[i] != NOT_ASKED;
    CHECK(listed == wanted && session->by_key.count == wanted);
    CHECK(session->next_epoch == m->next_epoch && session->uses_ids == m->uses_ids && !session->is_gone);
}

/* --- what readers do --- */

static void full_request(struct world *world, int loop, const struct asking *asking, bool uses_ids,
                         bool is_follower)
{
    const struct fetch_request *request = &asking->request;
    struct model_session *named = model_find(world, loop, request->session_id);
    if (named) named->loop = -1;
    bool wants = request->session_epoch == FETCH_EPOCH_INITIAL;
    struct model_session *victim =
        wants && model_used(world) == SLOTS ? model_victim(world, loop, is_follower) : NULL;
    bool gets = wants && (model_used(world) < SLOTS || victim);
    if (victim) victim->loop = -1;

    struct fetch_session *session = NULL;
    bool is_increment = true;
    CHECK(fetch_session_begin(world->sessions[loop], world->loop, request, uses_ids, is_follower, &session,
                              &is_increment) == OK);
    CHECK(!is_increment && (session != NULL) == gets);
    if (!gets) return;
    struct model_session *m = &world->known[world->known_count++];
    *m = (struct model_session){.session = session,
                                .id = session->id,
                                .next_epoch = 1,
                                .loop = loop,
                                .is_follower = is_follower,
                                .uses_ids = uses_ids};
    for (int i = 0; i < TOPICS * INDEXES; i++) m->offsets[i] = NOT_ASKED;
    model_take(world, m, asking);
    compare(m);
    world->running[world->running_count++] = session;
}

static bool is_running(const struct world *world, const struct fetch_session *session)
{
    for (size_t i = 0; i < world->running_count; i++)
        if (world->running[i] == session) return true;
    return false;
}

/* Nothing is asked for any more. */
static bool model_is_empty(const struct model_session *m)
{
    for (int i = 0; i < TOPICS * INDEXES; i++)
        if (m->offsets[i] != NOT_ASKED) return false;
    return true;
}

static void increment(struct world *world, int loop, const struct asking *asking, bool uses_ids)
{
    const struct fetch_request *request = &asking->request;
    struct model_session *m = model_find(world, loop, request->session_id);
    enum error want = OK;
    if (!m)
        want = ERR_FETCH_SESSION_ID_NOT_FOUND;
    else if (m->next_epoch != request->session_epoch)
        want = ERR_INVALID_FETCH_SESSION_EPOCH;
    else if (m->uses_ids != uses_ids)
        want = ERR_FETCH_SESSION_TOPIC_ID_ERROR;
    struct fetch_session *session = NULL;
    bool is_increment = false;
    CHECK(fetch_session_begin(world->sessions[loop], world->loop, request, uses_ids, false, &session,
                              &is_increment) == want);
    CHECK(is_increment == (session != NULL));
    if (want != OK) {
        CHECK(!session);
        return;
    }
    model_take(world, m, asking);
    for (int32_t i = 0; i < request->forgotten_topics_data.count; i++)
        m->offsets[asking->forgotten_places[i]] = NOT_ASKED;
    if (model_is_empty(m) && !is_running(world, m->session)) { /* it ends, unless an answer still needs it */
        CHECK(!session);
        m->loop = -1;
        return;
    }
    CHECK(session == m->session);
    m->next_epoch++;
    compare(m);
    world->running[world->running_count++] = session;
}

static void request(struct world *world, struct script *script)
{
    uint8_t traits = next(script), which = next(script);
    bool uses_ids = traits & 1, is_follower = traits & 2;
    int loop = which >> 7;
    struct model_session *m = world->known_count > 0 ? &world->known[which % world->known_count] : NULL;
    struct asking asking;
    ask(world, &asking, traits >> 4, script);
    asking.request.session_id = m && (which & 0x40) == 0 ? m->id : FETCH_NO_SESSION;
    switch (traits >> 2 & 3) {
    case 0: asking.request.session_epoch = FETCH_EPOCH_INITIAL; break;
    case 1: asking.request.session_epoch = FETCH_EPOCH_FINAL; break;
    case 2: asking.request.session_epoch = m ? m->next_epoch : 1; break;
    case 3: asking.request.session_epoch = which; break;
    }
    if (asking.request.session_epoch == FETCH_EPOCH_INITIAL ||
        asking.request.session_epoch == FETCH_EPOCH_FINAL)
        full_request(world, loop, &asking, uses_ids, is_follower);
    else
        increment(world, loop, &asking, uses_ids);
}

/* The answer names each partition that its byte says, forgotten ones too, as an answer under way does. */
static void end_answer(struct world *world, struct script *script)
{
    if (world->running_count == 0) return;
    size_t at = next(script) % world->running_count;
    struct fetch_session *session = world->running[at];
    for (int turns = next(script) & 3; turns > 0; turns--) {
        struct list *from = turns & 1 ? &session->partitions : &session->forgotten;
        if (!list_empty(from))
            fetch_session_answered(session, CONTAINER_OF(from->next, struct session_partition, link));
    }
    fetch_session_release(&session);
    world->running[at] = world->running[--world->running_count];
}

static void move(struct world *world, struct script *script)
{
    if (world->known_count == 0) return;
    struct model_session *m = &world->known[next(script) % world->known_count];
    if (m->loop < 0) return;
    struct fetch_session *taken = fetch_sessions_take(world->sessions[m->loop], m->id);
    CHECK(taken == (is_running(world, m->session) ? NULL : m->session));
    if (!taken) return;
    int to = !m->loop;
    m->loop = model_find(world, to, m->id) ? -1 : to;
    m->last_used = ++world->uses;
    fetch_sessions_give(world->sessions[to], taken);
}

static void check_counts(const struct world *world)
{
    size_t counts[LOOPS] = {0};
    for (size_t i = 0; i < world->known_count; i++)
        if (world->known[i].loop >= 0) counts[world->known[i].loop]++;
    for (int i = 0; i < LOOPS; i++) CHECK(fetch_sessions_count(world->sessions[i]) == counts[i]);
    CHECK(world->used == model_used(world) && world->used <= SLOTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {data, size};
    struct world world = {0};
    struct sim_machine *machine = NULL;
    CHECK(sim_new(1, &world.sim) == OK && sim_machine_new(world.sim, "10.0.0.1", &machine) == OK);
    CHECK(sim_loop_new(machine, &world.loop) == OK);
    for (int i = 0; i < LOOPS; i++) CHECK(fetch_sessions_new(&world.used, SLOTS, &world.sessions[i]) == OK);
    while (script.size > 0 && world.known_count < KNOWN_MAX) {
        uint8_t what = next(&script) % 8;
        if (what < 5 && world.running_count < RUNNING_MAX) request(&world, &script);
        if (what == 5 || (what < 5 && world.running_count == RUNNING_MAX)) end_answer(&world, &script);
        if (what == 6) move(&world, &script);
        if (what == 7) sim_run_ms(world.sim, next(&script) * 1000);
        check_counts(&world);
    }
    for (int i = 0; i < LOOPS; i++) fetch_sessions_free(&world.sessions[i]);
    CHECK(world.used == 0);
    while (world.running_count > 0) fetch_session_release(&world.running[--world.running_count]);
    loop_free(world.loop);
    sim_free(world.sim);
    return 0;
}
