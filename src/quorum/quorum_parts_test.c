/* quorum_parts_test.c: what members keep and say, piece by piece: memberships, votes, frames, entries in memory. */
#include "base/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/random.h"
#include "loop/sim.h"
#include "quorum/entries.h"
#include "quorum/frames.h"
#include "quorum/membership.h"
#include "quorum/vote.h"

/* --- memberships --- */

static const struct quorum_member three[] = {
    {3, QUORUM_OBSERVER, "c.example", 2890, ""},
    {1, QUORUM_VOTER, "a.example", 2888, "server.1=a.example:2888:3888;2181"},
    {2, QUORUM_VOTER, "::1", 2889, "two words"},
};

static void a_membership_comes_back_as_it_was(void **state)
{
    struct membership made, read;
    assert_int_equal(membership_of(three, 3, &made), OK);
    made.cluster = 0x123456789abcdef0;
    made.seats[1].incarnation = 42;
    made.seats[2].is_leaving = true;
    struct seat owed = made.seats[0];
    owed.is_owed = true;
    owed.role = SEAT_SPARE;
    owed.incarnation = SEAT_VOTER;
    assert_int_equal(membership_add(&made, &owed), OK);
    struct seat leaving_voter = {.id = 4, .role = SEAT_VOTER, .port = 1, .host = "d", .is_leaving = true};
    assert_int_equal(membership_add(&made, &leaving_voter), ERR_CONFIG);
    uint8_t *bytes;
    size_t size;
    assert_int_equal(membership_encode(&made, &bytes, &size), OK);
    assert_int_equal(size % 8, 0);
    assert_int_equal(membership_decode((struct slice){bytes, size}, &read), OK);
    assert_int_equal(read.count, 4);
    assert_true(read.cluster == made.cluster);
    for (int i = 0; i < 4; i++) {
        const struct seat *a = &made.seats[i], *b = &read.seats[i];
        assert_true(a->id == b->id && a->role == b->role && a->port == b->port && a->is_owed == b->is_owed);
        assert_true(a->incarnation == b->incarnation && a->is_leaving == b->is_leaving);
        assert_string_equal(a->host, b->host);
        assert_string_equal(a->about, b->about);
    }
    assert_int_equal(read.seats[0].id, 1); /* in the order of ids, owed ones last */
    assert_true(read.seats[3].is_owed && membership_owed(&read, 1) == &read.seats[3]);
    assert_int_equal(membership_voters(&read), 2);
    assert_true(membership_hash(&made) == membership_hash(&read));
    /* Cut anywhere it is refused, not read beyond. */
    for (size_t cut = 0; cut + 8 < size; cut++) {
        uint8_t *part = malloc(cut ? cut : 1);
        struct membership none;
        memcpy(part, bytes, cut);
        assert_int_not_equal(membership_decode((struct slice){part, cut}, &none), OK);
        free(part);
    }
    free(bytes);
    membership_free(&made);
    membership_free(&read);
}

static void a_membership_that_cannot_be_is_refused(void **state)
{
    const struct quorum_member wrong[][2] = {
        {{1, QUORUM_VOTER, "a", 1, ""}, {1, QUORUM_VOTER, "b", 1, ""}},       /* an id twice */
        {{0, QUORUM_VOTER, "a", 1, ""}, {2, QUORUM_VOTER, "b", 1, ""}},       /* an id out of range */
        {{256, QUORUM_VOTER, "a", 1, ""}, {2, QUORUM_VOTER, "b", 1, ""}},     /* likewise */
        {{1, QUORUM_VOTER, "a b", 1, ""}, {2, QUORUM_VOTER, "b", 1, ""}},     /* a host that is none */
        {{1, QUORUM_VOTER, "", 1, ""}, {2, QUORUM_VOTER, "b", 1, ""}},        /* no host */
        {{1, QUORUM_VOTER, "a", 0, ""}, {2, QUORUM_VOTER, "b", 1, ""}},       /* no port */
        {{1, QUORUM_OBSERVER, "a", 1, ""}, {2, QUORUM_OBSERVER, "b", 1, ""}}, /* nobody votes */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct membership none;
        assert_int_equal(membership_of(wrong[i], 2, &none), ERR_CONFIG);
    }
}

/* --- votes --- */

static void votes_survive_torn_slots(void **state)
{
    int torn = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct sim *sim;
        struct sim_machine *machine;
        assert_int_equal(sim_new(seed, &sim), OK);
        assert_int_equal(sim_machine_new(sim, "10.0.0.1", &machine), OK);
        struct disk *disk = sim_machine_disk(machine);
        struct vote vote = {.term = 1, .incarnation = seed}, read;
        struct vote_file file;
        assert_int_equal(disk_mkdir(disk, "/data"), OK);
        assert_int_equal(disk_sync_dir(disk, "/"), OK);
        assert_int_equal(vote_open(disk, "/data/vote", &file, &read), ERR_NOT_FOUND);
        assert_int_equal(vote_create(disk, "/data/vote", &vote, &file), OK);
        sim_machine_crash_at_write(machine, 1 + (int)random_below(sim_random(sim), 12));
        struct vote promised = vote;
        for (int i = 0; i < 8; i++) {
            vote.term++;
            vote.voted_for = (int32_t)random_below(sim_random(sim), 5);
            vote.is_founder = i % 2;
            if (vote_write(&file, &vote) != OK) break;
            promised = vote;
        }
        vote_close(&file);
        if (sim_machine_crashes(machine) == 0) sim_machine_crash(machine);
        disk = sim_machine_disk(machine);
        assert_int_equal(vote_open(disk, "/data/vote", &file, &read), OK);
        /* What was promised, or what was being promised when the power went. */
        bool is_same = read.term == promised.term && read.voted_for == promised.voted_for;
        assert_true(is_same || (read.term == promised.term + 1 && read.voted_for == vote.voted_for));
        assert_true(read.incarnation == seed);
        torn += !is_same;
        assert_int_equal(vote_write(&file, &vote), OK);
        vote_close(&file);
        sim_free(sim);
    }
    assert_true(torn < 200);
}

static void a_hurt_vote_is_told(void **state)
{
    uint8_t slot[VOTE_SLOT_SIZE];
    struct vote vote = {.term = 7, .voted_for = 3, .incarnation = 9}, read;
    uint64_t number;
    vote_slot_encode(&vote, 5, slot);
    assert_int_equal(vote_slot_decode((struct slice){slot, sizeof slot}, &read, &number), OK);
    assert_true(read.term == 7 && read.voted_for == 3 && read.incarnation == 9 && number == 5);
    for (size_t i = 0; i < sizeof slot; i++) {
        slot[i] ^= 1;
        assert_int_not_equal(vote_slot_decode((struct slice){slot, sizeof slot}, &read, &number), OK);
        slot[i] ^= 1;
    }
    slot[11] = 9;
    assert_int_equal(vote_slot_decode((struct slice){slot, sizeof slot}, &read, &number),
                     ERR_UNSUPPORTED_VERSION);
    assert_int_equal(vote_slot_decode((struct slice){slot, 20}, &read, &number), ERR_TRUNCATED);
}

/* --- frames --- */

static void frame_round(const struct frame *frame, struct frame *read)
{
    uint8_t bytes[FRAME_SMALL_MAX];
    size_t size = frame_encode(frame, bytes);
    assert_int_equal(frame_size(bytes), size - 4);
    assert_int_equal(frame_decode((struct slice){bytes + 4, size - 4}, read), OK);
    assert_int_equal(read->kind, frame->kind);
    struct frame other;
    assert_int_not_equal(frame_decode((struct slice){bytes + 4, size - 5}, &other), OK);
}

static void frames_come_back_as_they_were(void **state)
{
    struct frame frame = {.kind = FRAME_HELLO}, read;
    frame.hello = (struct frame_hello){
        .from = 3, .to = 255, .incarnation = 1, .cluster = 2, .founders = 3, .is_blank = true};
    frame_round(&frame, &read);
    assert_true(read.hello.from == 3 && read.hello.to == 255 && read.hello.founders == 3);
    assert_true(read.hello.is_blank && !read.hello.is_founder);
    frame = (struct frame){.kind = FRAME_VOTE};
    frame.vote = (struct frame_vote){9, 8, 7, true, false};
    frame_round(&frame, &read);
    assert_true(read.vote.term == 9 && read.vote.last_term == 7 && read.vote.is_pre_vote &&
                !read.vote.is_transfer);
    frame = (struct frame){.kind = FRAME_VOTE_RESULT};
    frame.vote_result = (struct frame_vote_result){9, true, false};
    frame_round(&frame, &read);
    assert_true(read.vote_result.is_granted && !read.vote_result.is_pre_vote);
    frame = (struct frame){.kind = FRAME_SNAPSHOT};
    frame.snapshot = (struct frame_snapshot){9, 8, 7, 6};
    frame_round(&frame, &read);
    assert_true(read.snapshot.size == 6);
}

static void entries_in_a_frame_are_checked(void **state)
{
    struct frame_entries head = {
        .term = 5, .previous_index = 10, .previous_term = 3, .commit = 9, .count = 2};
    uint8_t bytes[200];
    struct frame_entry entries[] = {{ENTRY_CHANGE, 4, SLICE("change")}, {ENTRY_COMMAND, 5, SLICE("")}};
    size_t body = 2 * FRAME_ENTRY_HEAD + 6;
    size_t at = frame_entries_head(&head, body, bytes);
    for (int i = 0; i < 2; i++) {
        frame_entry_head(&entries[i], bytes + at);
        at += FRAME_ENTRY_HEAD;
        memcpy(bytes + at, entries[i].bytes.data, entries[i].bytes.size);
        at += entries[i].bytes.size;
    }
    struct frame read;
    struct slice whole = {bytes + 4, at - 4};
    assert_int_equal(frame_size(bytes), at - 4);
    assert_int_equal(frame_decode(whole, &read), OK);
    struct slice left = read.entries.entries;
    struct frame_entry entry;
    frame_entry_take(&left, &entry);
    assert_true(entry.kind == ENTRY_CHANGE && entry.term == 4 && slice_is(entry.bytes, "change"));
    frame_entry_take(&left, &entry);
    assert_true(entry.kind == ENTRY_COMMAND && entry.term == 5 && entry.bytes.size == 0 && left.size == 0);
    /* More entries than there are, fewer, terms that fall, an entry longer than the frame. */
    size_t count_at = FRAME_HEAD_SIZE + 33, first_at = FRAME_HEAD_SIZE + FRAME_ENTRIES_BODY;
    static const uint32_t counts[] = {0, 1, 3, UINT32_MAX};
    for (int i = 0; i < 4; i++) {
        put_be32(bytes + count_at, counts[i]);
        assert_int_equal(frame_decode(whole, &read), ERR_CORRUPT);
    }
    put_be32(bytes + count_at, 2);
    put_be64(bytes + first_at + 4, 6);
    assert_int_equal(frame_decode(whole, &read), ERR_CORRUPT);
    put_be64(bytes + first_at + 4, 4);
    put_be32(bytes + first_at, 0x3fffffff);
    assert_int_equal(frame_decode(whole, &read), ERR_CORRUPT);
    static const uint8_t heads[][FRAME_HEAD_SIZE] = {{0, 0, 0, 0, FRAME_PING},
                                                     {0, 0, 0, 2, FRAME_PING},
                                                     {255, 255, 255, 255, FRAME_CHUNK},
                                                     {0, 0, 0, 5, 0},
                                                     {0, 0, 0, 5, 99}};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) assert_int_equal(frame_size(heads[i]), 0);
}

/* --- entries in memory --- */

static void entries_are_an_array_of_what_was_appended(void **state)
{
    enum { MODEL = 3000 };
    static uint32_t sizes[MODEL];
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct random random;
        random_seed(&random, seed);
        struct entries entries = {0};
        uint64_t first = 1 + random_below(&random, 100), base = first, next = first;
        entries_reset(&entries, first);
        static uint8_t bytes[100000];
        for (int step = 0; step < 600 && next - base < MODEL - 1; step++) {
            uint64_t dice = random_below(&random, 20);
            if (dice == 0 && next > first) {
                next = first + random_below(&random, next - first + 1);
                entries_cut(&entries, next);
            } else if (dice == 1) {
                entries_trim(&entries, first + random_below(&random, next - first + 1),
                             random_below(&random, 100000));
                assert_true(entries.first >= first && entries.first <= next);
                first = entries.first;
            } else {
                uint32_t size = (uint32_t)(random_below(&random, 30) ? random_below(&random, 300)
                                                                     : random_below(&random, 90000));
                memset(bytes, (int)(next & 0xff), size);
                struct slice parts[] = {{bytes, size / 3}, {bytes, size - size / 3}};
                assert_int_equal(entries_append(&entries, next, ENTRY_COMMAND, parts, 2), OK);
                sizes[next - base] = size;
                next++;
            }
            struct frame_entry entry;
            assert_false(entries_get(&entries, first - 1, &entry));
            assert_false(entries_get(&entries, next, &entry));
            for (uint64_t index = first; index < next; index += 1 + random_below(&random, 40)) {
                assert_true(entries_get(&entries, index, &entry));
                assert_true(entry.term == index && entry.bytes.size == sizes[index - base]);
                if (entry.bytes.size) {
                    assert_int_equal(entry.bytes.data[0], index & 0xff);
                    assert_int_equal(entry.bytes.data[entry.bytes.size - 1], index & 0xff);
                }
            }
        }
        entries_reset(&entries, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_membership_comes_back_as_it_was),
        cmocka_unit_test(a_membership_that_cannot_be_is_refused),
        cmocka_unit_test(votes_survive_torn_slots),
        cmocka_unit_test(a_hurt_vote_is_told),
        cmocka_unit_test(frames_come_back_as_they_were),
        cmocka_unit_test(entries_in_a_frame_are_checked),
        cmocka_unit_test(entries_are_an_array_of_what_was_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
