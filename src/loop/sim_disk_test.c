/* sim_disk_test.c: what crashes, failed syncs and full disks leave of files and names. */
#include "loop/sim_bench.h"

enum { PAGE = 4096, SECTOR = 512 };

/* --- what a crash leaves of a file --- */

enum { FILE_PAGES = 12, FILE_BYTES = FILE_PAGES * PAGE };

struct tally {
    int kept, lost, torn, shorter, zeros;
};

/* Every version a sector had since the last sync may be there; of a synced one only that. */
static void a_crash_keeps_what_was_synced(void **state)
{
    (void)state;
    struct tally tally = {0};
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct sim *sim = new_sim(seed);
        struct sim_machine *machine = new_machine(sim, "m");
        struct disk *disk = sim_machine_disk(machine);
        struct random *random = sim_random(sim);
        struct file *file;
        assert_int_equal(file_open(disk, "/f", FILE_WRITE | FILE_CREATE, &file), OK);
        assert_int_equal(disk_sync_dir(disk, "/"), OK);

        /* versions[v] is the whole file after v writes since the last sync; [0] is the synced one. */
        static uint8_t versions[10][FILE_BYTES];
        memset(versions, 0, sizeof versions);
        int count = 1, synced_size = 0, size = 0;
        for (int write = 0; write < 8; write++) {
            static uint8_t chunk[3 * PAGE];
            int at = (int)random_below(random, FILE_BYTES - 3 * PAGE),
                length = 1 + (int)random_below(random, 3 * PAGE);
            memset(chunk, 1 + write, sizeof chunk);
            assert_int_equal(file_pwrite(file, chunk, (size_t)length, at), OK);
            memcpy(versions[count], versions[count - 1], FILE_BYTES);
            memset(versions[count] + at, 1 + write, (size_t)length);
            count++;
            if (at + length > size) size = at + length;
            if (random_below(random, 4) == 0) {
                assert_int_equal(file_sync(file), OK);
                memcpy(versions[0], versions[count - 1], FILE_BYTES);
                count = 1;
                synced_size = size;
            }
        }
        sim_machine_crash(machine);
        file_release(&file);

        struct bytes *left;
        disk = sim_machine_disk(machine);
        assert_int_equal(disk_read_file(disk, "/f", FILE_BYTES, &left), OK);
        assert_in_range(left->size, synced_size, size);
        tally.shorter += left->size < (size_t)size;
        bool has_new = false, has_old = false;
        for (size_t at = 0; at < left->size; at += SECTOR) {
            size_t part = left->size - at < SECTOR ? left->size - at : SECTOR;
            int match = -1;
            for (int v = 0; v < count; v++) {
                if (memcmp(left->data + at, versions[v] + at, part) == 0) match = v;
            }
            if (match < 0) fail_msg("seed %d: a sector that nobody wrote at %zu", (int)seed, at);
            if (memcmp(versions[0] + at, versions[count - 1] + at, part) == 0) continue;
            bool is_new = memcmp(left->data + at, versions[count - 1] + at, part) == 0;
            has_new |= is_new;
            has_old |= !is_new;
            if (at % PAGE && at + SECTOR <= left->size) { /* differs from its neighbour within the page? */
                bool was_new =
                    memcmp(left->data + at - SECTOR, versions[count - 1] + at - SECTOR, SECTOR) == 0;
                bool was_changed =
                    memcmp(versions[0] + at - SECTOR, versions[count - 1] + at - SECTOR, SECTOR) != 0;
                tally.torn += was_changed && was_new != is_new;
            }
            tally.zeros += at >= (size_t)synced_size && left->data[at] == 0 && versions[count - 1][at] != 0;
        }
        tally.kept += has_new;
        tally.lost += has_old;
        bytes_release(&left);
        sim_free(sim);
    }
    /* And each of these happens. */
    assert_true(tally.kept > 20 && tally.lost > 20 && tally.torn > 20 && tally.shorter > 20 &&
                tally.zeros > 5);
}

/* A cut (truncate) that was not synced may be undone, but never half: what was below it stays. */
static void a_crash_keeps_or_undoes_a_cut(void **state)
{
    (void)state;
    int kept = 0, undone = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct sim *sim = new_sim(seed);
        struct sim_machine *machine = new_machine(sim, "m");
        struct disk *disk = sim_machine_disk(machine);
        struct file *file;
        static uint8_t old[5 * PAGE], new[2 * PAGE];
        memset(old, 1, sizeof old);
        memset(new, 2, sizeof new);
        assert_int_equal(file_open(disk, "/f", FILE_WRITE | FILE_CREATE, &file), OK);
        assert_int_equal(disk_sync_dir(disk, "/"), OK);
        assert_int_equal(file_pwrite(file, old, sizeof old, 0), OK);
        assert_int_equal(file_sync(file), OK);
        int64_t cut = (int64_t)random_below(sim_random(sim), sizeof old);
        bool is_rewritten = random_below(sim_random(sim), 2);
        assert_int_equal(file_truncate(file, cut), OK);
        if (is_rewritten) assert_int_equal(file_pwrite(file, new, sizeof new, cut), OK);
        file_release(&file);
        sim_machine_crash(machine);
        struct bytes *left;
        assert_int_equal(disk_read_file(sim_machine_disk(machine), "/f", 8 * PAGE, &left), OK);
        for (int64_t at = 0; at < cut; at++) assert_int_equal(left->data[at], 1);
        assert_true((int64_t)left->size >= cut);
        bool is_undone =
            left->size == sizeof old && left->data[sizeof old - 1] == 1 && cut < (int64_t)sizeof old - PAGE;
        for (size_t at = (size_t)cut; at < left->size; at++) {
            int byte = left->data[at];
            /* Old bytes beyond the cut are there only where it was undone: then from the next page on all of them. */
            if (is_undone && at / PAGE > (size_t)cut / PAGE) assert_int_equal(byte, 1);
            if (!is_undone && at >= (size_t)cut && left->size != sizeof old) assert_int_not_equal(byte, 1);
        }
        undone += is_undone;
        kept += left->size == (size_t)cut;
        bytes_release(&left);
        sim_free(sim);
    }
    assert_true(kept > 10 && undone > 10);
}

/* A failed sync: the cache shows the bytes, a later sync says OK, and yet they are gone. */
static void a_failed_sync_is_final(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = new_sim(seed);
        struct sim_machine *machine = new_machine(sim, "m");
        struct disk *disk = sim_machine_disk(machine);
        struct file *file;
        assert_int_equal(file_open(disk, "/f", FILE_WRITE | FILE_CREATE, &file), OK);
        assert_int_equal(disk_sync_dir(disk, "/"), OK);
        assert_int_equal(file_pwrite(file, "old", 3, 0), OK);
        assert_int_equal(file_sync(file), OK);
        assert_int_equal(file_pwrite(file, "new", 3, 0), OK);
        sim_disk_fail_sync(machine, 1);
        assert_int_equal(file_sync(file), ERR_IO);
        assert_int_equal(file_sync(file), OK); /* why one must not try again */
        struct bytes *content;
        assert_int_equal(disk_read_file(disk, "/f", 10, &content), OK);
        assert_true(slice_is(bytes_slice(content), "new"));
        bytes_release(&content);
        sim_machine_crash(machine);
        assert_int_equal(disk_read_file(sim_machine_disk(machine), "/f", 10, &content), OK);
        assert_true(slice_is(bytes_slice(content), "old"));
        bytes_release(&content);
        file_release(&file);
        sim_free(sim);
    }
}

/* --- what a crash leaves of names --- */

static void names_survive_in_order(void **state)
{
    (void)state;
    int seen[7] = {0};
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct sim *sim = new_sim(seed);
        struct sim_machine *machine = new_machine(sim, "m");
        struct disk *disk = sim_machine_disk(machine);
        assert_int_equal(disk_mkdir(disk, "/d"), OK);
        assert_int_equal(disk_sync_dir(disk, "/"), OK);
        char path[32];
        int synced = (int)random_below(sim_random(sim), 4);
        for (int i = 0; i < 6; i++) {
            struct file *file;
            snprintf(path, sizeof path, "/d/f%d", i);
            assert_int_equal(file_open(disk, path, FILE_WRITE | FILE_CREATE, &file), OK);
            assert_int_equal(file_pwrite(file, path, 5, 0), OK);
            assert_int_equal(file_sync(file), OK); /* saves the bytes, not the name */
            file_release(&file);
            if (i + 1 == synced) assert_int_equal(disk_sync_dir(disk, "/d"), OK);
        }
        sim_machine_crash(machine);
        disk = sim_machine_disk(machine);
        struct disk_entry *entries;
        size_t count;
        assert_int_equal(disk_list(disk, "/d", &entries, &count), OK);
        assert_in_range(count, synced, 6);
        for (size_t i = 0; i < count; i++) { /* a prefix */
            snprintf(path, sizeof path, "f%zu", i);
            assert_string_equal(entries[i].name, path);
        }
        disk_list_free(entries, count);
        seen[count]++;
        sim_free(sim);
    }
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[6] > 0);
}

/* A rename, also between directories: one name or the other, never both, never none. */
static void a_rename_is_whole(void **state)
{
    (void)state;
    int at_old = 0, at_new = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct sim *sim = new_sim(seed);
        struct sim_machine *machine = new_machine(sim, "m");
        struct disk *disk = sim_machine_disk(machine);
        assert_int_equal(disk_mkdir(disk, "/a"), OK);
        assert_int_equal(disk_mkdir(disk, "/b"), OK);
        assert_int_equal(disk_sync_dir(disk, "/"), OK);
        assert_int_equal(disk_write_file_atomic(disk, "/a/x", SLICE("content")), OK);
        /* Something in b first, which the rename then depends on. */
        assert_int_equal(disk_mkdir(disk, "/b/before"), OK);
        assert_int_equal(disk_rename(disk, "/a/x", "/b/y"), OK);
        int synced = (int)(seed % 3); /* 0 none, 1 one side, 2 the other: either is enough */
        if (synced) assert_int_equal(disk_sync_dir(disk, synced == 1 ? "/a" : "/b"), OK);
        sim_machine_crash(machine);
        disk = sim_machine_disk(machine);
        bool has_old = disk_exists(disk, "/a/x"), has_new = disk_exists(disk, "/b/y");
        assert_true(has_old != has_new);
        if (synced) assert_true(has_new);
        if (has_new) assert_true(disk_exists(disk, "/b/before"));
        at_old += has_old;
        at_new += has_new;
        struct bytes *content;
        assert_int_equal(disk_read_file(disk, has_new ? "/b/y" : "/a/x", 100, &content), OK);
        assert_true(slice_is(bytes_slice(content), "content"));
        bytes_release(&content);
        sim_free(sim);
    }
    assert_true(at_old > 10 && at_new > 10);
}

/* Power goes at each step of writing a checkpoint: afterwards it is the old one or the new one, and the new one for sure
 * once the call had said OK. */
static void a_checkpoint_is_old_or_new_at_every_crash(void **state)
{
    (void)state;
    int old = 0, new = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        for (int step = 1; step <= 7; step++) {
            struct sim *sim = new_sim(seed);
            struct sim_machine *machine = new_machine(sim, "m");
            struct disk *disk = sim_machine_disk(machine);
            assert_int_equal(disk_write_file_atomic(disk, "/checkpoint", SLICE("the old version")), OK);
            sim_machine_crash_at_write(machine, step);
            enum error err = disk_write_file_atomic(disk, "/checkpoint", SLICE("the new one"));
            assert_int_equal(sim_machine_crashes(machine), err != OK);
            if (err == OK) {
                sim_machine_crash_at_write(machine, 0);
                sim_machine_crash(machine);
            } else {
                assert_int_equal(err, ERR_IO);
                assert_false(disk_exists(disk, "/checkpoint")); /* nobody is at home on the old disk */
            }
            struct bytes *content;
            assert_int_equal(disk_read_file(sim_machine_disk(machine), "/checkpoint", 100, &content), OK);
            bool is_new = slice_is(bytes_slice(content), "the new one");
            if (err == OK) assert_true(is_new);
            if (!is_new) assert_true(slice_is(bytes_slice(content), "the old version"));
            old += !is_new;
            new += err != OK &&is_new;
            bytes_release(&content);
            sim_free(sim);
        }
    }
    assert_true(old > 20 && new > 0);
}

static void a_killed_process_loses_no_write(void **state)
{
    (void)state;
    struct sim *sim = new_sim(1);
    struct sim_machine *machine = new_machine(sim, "m");
    struct disk *disk = sim_machine_disk(machine);
    struct file *file;
    assert_int_equal(file_open(disk, "/f", FILE_WRITE | FILE_CREATE, &file), OK);
    assert_int_equal(file_pwrite(file, "abc", 3, 100000), OK);
    struct disk_lock *lock, *again;
    assert_int_equal(disk_lock(disk, "/.lock", &lock), OK);
    sim_machine_kill(machine);
    size_t got;
    char back[4];
    assert_int_equal(file_pread(file, back, 3, 100000, &got), ERR_IO);
    assert_int_equal(file_pwrite(file, "x", 1, 0), ERR_IO);
    struct disk *alive = sim_machine_disk(machine);
    struct bytes *content;
    assert_int_equal(disk_read_file(alive, "/f", 1 << 20, &content), OK);
    assert_int_equal(content->size, 100003);
    bytes_release(&content);
    assert_int_equal(disk_lock(alive, "/.lock", &again), OK); /* locks go with their process */
    disk_unlock(&lock);
    disk_unlock(&again);
    file_release(&file);
    sim_free(sim);
}

static void a_full_disk_takes_a_part_and_says_so(void **state)
{
    (void)state;
    struct sim *sim = new_sim(1);
    struct sim_machine *machine = new_machine(sim, "m");
    struct disk *disk = sim_machine_disk(machine);
    struct file *file, *other;
    static uint8_t chunk[20000];
    assert_int_equal(file_open(disk, "/f", FILE_WRITE | FILE_CREATE, &file), OK);
    assert_int_equal(file_pwrite(file, chunk, 10000, 0), OK);
    sim_disk_full(machine, true);
    int partial = 0;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(file_pwrite(file, chunk, 20000, 10000), ERR_DISK_FULL);
        int64_t size;
        assert_int_equal(file_size(file, &size), OK);
        assert_in_range(size, 10000, 29999);
        partial += size > 10000;
        assert_int_equal(file_truncate(file, 10000), OK); /* cut back */
    }
    assert_true(partial > 0);
    assert_int_equal(file_pwrite(file, chunk, 10000, 0), OK); /* what is there may be overwritten */
    assert_int_equal(file_open(disk, "/g", FILE_WRITE | FILE_CREATE, &other), ERR_DISK_FULL);
    int64_t free_bytes, total_bytes;
    assert_int_equal(disk_space(disk, "/", &free_bytes, &total_bytes), OK);
    assert_int_equal(free_bytes, 0);
    sim_disk_full(machine, false);
    assert_int_equal(file_pwrite(file, chunk, 20000, 10000), OK);

    assert_int_equal(file_sync(file), OK);
    assert_int_equal(disk_sync_dir(disk, "/"), OK);
    assert_int_equal(sim_disk_rot(machine, "/f", 12345, 0x10), OK);
    uint8_t byte;
    size_t got;
    assert_int_equal(file_pread(file, &byte, 1, 12345, &got), OK);
    assert_int_equal(byte, 0x10);
    file_release(&file);
    sim_machine_crash(machine);
    struct bytes *content;
    assert_int_equal(disk_read_file(sim_machine_disk(machine), "/f", 1 << 20, &content), OK);
    assert_int_equal(content->data[12345], 0x10);
    bytes_release(&content);
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_keeps_what_was_synced),
        cmocka_unit_test(a_crash_keeps_or_undoes_a_cut),
        cmocka_unit_test(a_failed_sync_is_final),
        cmocka_unit_test(names_survive_in_order),
        cmocka_unit_test(a_rename_is_whole),
        cmocka_unit_test(a_checkpoint_is_old_or_new_at_every_crash),
        cmocka_unit_test(a_killed_process_loses_no_write),
        cmocka_unit_test(a_full_disk_takes_a_part_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
