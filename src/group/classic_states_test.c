/* classic_states_test.c: the classic protocol, request by state (facts/coordinators.md 3.3). */
#include "group/classic_cast.h"

static const char *cast_name(const struct cast *cast, const char *who)
{
    if (!who) return NULL;
    if (strcmp(who, "A") == 0) return cast->a;
    if (strcmp(who, "B") == 0) return cast->b;
    if (strcmp(who, "S") == 0) return cast->s;
    return who;
}

enum { WAITS = -100 };
#define NOW 0x7fffffff /* the present generation */

struct row {
    enum { JOIN, SYNC, BEAT, LEAVE, COMMIT } api;
    const char *what, *who, *instance;
    int32_t generation;
    int16_t version;
    int16_t want[SETTINGS]; /* UNKNOWN, EMPTY, PREPARING, COMPLETING, STABLE, DEAD */
    const char *type, *protocols, *metadata;
};

static const struct row rows[] = {
    {JOIN, "new, dynamic, first of two calls", "", NULL, 0, 4, {79, 79, 79, 79, 79, 15}},
    {JOIN, "new, dynamic, of old", "", NULL, 0, 3, {WAITS, WAITS, WAITS, WAITS, WAITS, 15}},
    {JOIN, "new, static", "", "s2", 0, 5, {WAITS, WAITS, WAITS, WAITS, WAITS, 15}},
    {JOIN, "known instance, without its id", "", "s1", 0, 5, {WAITS, WAITS, WAITS, WAITS, 0, 15}},
    {JOIN, "made-up id", "nobody", NULL, 0, 5, {25, 25, 25, 25, 25, 15}},
    {JOIN, "leader again", "A", NULL, 0, 5, {25, 25, WAITS, 0, WAITS, 15}},
    {JOIN, "follower again", "B", NULL, 0, 5, {25, 25, WAITS, 0, 0, 15}},
    {JOIN,
     "follower with other metadata",
     "B",
     NULL,
     0,
     5,
     {25, 25, WAITS, WAITS, WAITS, 15},
     .metadata = "n"},
    {JOIN, "static with id", "S", "s1", 0, 5, {25, 25, WAITS, 0, 0, 15}},
    {JOIN, "instance of another", "A", "s1", 0, 5, {25, 25, 82, 82, 82, 15}},
    {JOIN, "unknown instance", "A", "s9", 0, 5, {25, 25, 25, 25, 25, 15}},
    {JOIN, "no protocol", "", NULL, 0, 4, {23, 23, 23, 23, 23, 15}, .protocols = ""},
    {JOIN, "no protocol in common", "", NULL, 0, 4, {79, 79, 23, 23, 23, 15}, .protocols = "other"},
    {JOIN, "other type", "", NULL, 0, 4, {79, 79, 23, 23, 23, 15}, .type = "connect"},
    {JOIN, "no type", "", NULL, 0, 4, {23, 23, 23, 23, 23, 15}, .type = ""},
    {SYNC, "follower", "B", NULL, NOW, 5, {25, 25, 27, WAITS, 0, 15}},
    {SYNC, "leader", "A", NULL, NOW, 5, {25, 25, 27, 0, 0, 15}},
    {SYNC, "made-up id", "nobody", NULL, NOW, 5, {25, 25, 25, 25, 25, 15}},
    {SYNC, "old generation", "B", NULL, 0, 5, {25, 25, 22, 22, 22, 15}},
    {SYNC, "instance of another", "A", "s1", NOW, 5, {25, 25, 82, 82, 82, 15}},
    {SYNC, "unknown instance", "A", "s9", NOW, 5, {25, 25, 25, 25, 25, 15}},
    {SYNC, "other type", "B", NULL, NOW, 5, {25, 25, 23, 23, 23, 15}, .type = "connect"},
    {SYNC, "other protocol", "B", NULL, NOW, 5, {25, 25, 23, 23, 23, 15}, .protocols = "sticky"},
    {BEAT, "member", "B", NULL, NOW, 4, {25, 25, 27, 0, 0, 15}},
    {BEAT, "static member", "S", "s1", NOW, 4, {25, 25, 27, 0, 0, 15}},
    {BEAT, "made-up id", "nobody", NULL, NOW, 4, {25, 25, 25, 25, 25, 15}},
    {BEAT, "old generation", "B", NULL, 0, 4, {25, 25, 22, 22, 22, 15}},
    {BEAT, "instance of another", "A", "s1", NOW, 4, {25, 25, 82, 82, 82, 15}},
    {BEAT, "unknown instance", "A", "s9", NOW, 4, {25, 25, 25, 25, 25, 15}},
    {LEAVE, "member", "B", NULL, 0, 3, {25, 25, 0, 0, 0, 15}},
    {LEAVE, "member, of old", "B", NULL, 0, 2, {25, 25, 0, 0, 0, 15}},
    {LEAVE, "made-up id", "nobody", NULL, 0, 3, {25, 25, 25, 25, 25, 15}},
    {LEAVE, "static by its instance", "", "s1", 0, 3, {25, 25, 0, 0, 0, 15}},
    {LEAVE, "unknown instance", "", "s9", 0, 3, {25, 25, 25, 25, 25, 15}},
    {LEAVE, "instance of another", "A", "s1", 0, 3, {25, 25, 82, 82, 82, 15}},
    {COMMIT, "member", "B", NULL, NOW, 8, {22, 25, 0, 27, 0, 15}},
    {COMMIT, "member, lately", "B", NULL, NOW, 9, {69, 25, 0, 27, 0, 15}},
    {COMMIT, "static member", "S", "s1", NOW, 8, {22, 25, 0, 27, 0, 15}},
    {COMMIT, "nobody in particular", "", NULL, -1, 8, {0, 0, 25, 25, 25, 15}},
    {COMMIT, "made-up id", "nobody", NULL, NOW, 8, {22, 25, 25, 25, 25, 15}},
    {COMMIT, "old generation", "B", NULL, 0, 8, {22, 25, 22, 22, 22, 15}},
    {COMMIT, "member without generation", "B", NULL, -1, 8, {0, 0, 22, 22, 22, 15}},
    {COMMIT, "instance of another", "A", "s1", NOW, 8, {22, 25, 82, 82, 82, 15}},
};

static struct bed_call *ask_sync(struct cast *cast, const struct row *row, const char *who,
                                 int32_t generation)
{
    struct bed_call *call = bed_call(row->version);
    struct sync_group_request *request = &call->request.sync;
    sync_group_request_init(request);
    request->group_id = SLICE("g");
    request->member_id = slice_of(who);
    request->group_instance_id = slice_of(row->instance);
    request->generation_id = generation;
    request->protocol_type = slice_of(row->type);
    request->protocol_name = slice_of(row->protocols);
    group_shard_sync(&cast->bed.shard, &call->call);
    bed_settle(&cast->bed);
    return call;
}

static int16_t ask(struct cast *cast, const struct row *row)
{
    const char *who = cast_name(cast, row->who);
    int32_t generation = row->generation == NOW ? cast->generation : row->generation;
    struct bed_call *call = NULL;
    int16_t code = WAITS;
    switch (row->api) {
    case JOIN:
        call = bed_join(&cast->bed, row->version,
                        (struct bed_join){.member = who,
                                          .instance = row->instance,
                                          .type = row->type,
                                          .protocols = row->protocols,
                                          .metadata = row->metadata});
        keep(cast, call);
        return call->is_answered ? joined(call)->error_code : code;
    case SYNC:
        call = ask_sync(cast, row, who, generation);
        keep(cast, call);
        return call->is_answered ? synced(call)->error_code : code;
    case BEAT: return bed_heartbeat(&cast->bed, "g", who, row->instance, generation);
    case LEAVE: return bed_leave(&cast->bed, row->version, "g", who, row->instance);
    case COMMIT:
        return bed_commit_now(
            &cast->bed, row->version,
            (struct bed_commit){.member = who, .instance = row->instance, .generation = generation});
    }
    return code;
}

static void each_request_in_each_state(void **unused)
{
    static const char *names[SETTINGS] = {"unknown", "empty", "preparing", "completing", "stable", "dead"};
    int wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int setting = 0; setting < SETTINGS; setting++) {
            struct cast cast;
            cast_open(&cast, (enum setting)setting);
            int16_t code = ask(&cast, &rows[i]);
            if (code != rows[i].want[setting]) {
                print_error("row \"%s\" (api %d), %s: %d, not %d\n", rows[i].what, rows[i].api,
                            names[setting], code, rows[i].want[setting]);
                wrong++;
            }
            cast_close(&cast);
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    diag_set_level(DIAG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_request_in_each_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
