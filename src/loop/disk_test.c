/* disk_test.c: files on a real disk: few descriptors for many files, threads sharing files while descriptors come and go,
 * locks between processes. What both implementations promise is in loop_contract_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "loop/disk.h"
#include "loop/loop.h"

struct world {
    struct descriptors *descriptors;
    struct disk *disk;
    char directory[64];
};

static void world_open(struct world *world, size_t limit)
{
    strcpy(world->directory, "/tmp/odradek-disk-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    world->descriptors = descriptors_new(limit);
    world->disk = disk_new(world->descriptors);
    assert_non_null(world->disk);
}

static void world_close(struct world *world)
{
    assert_int_equal(disk_remove_tree(world->disk, world->directory), OK);
    disk_free(world->disk);
    descriptors_free(world->descriptors);
}

static int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = -3; /* ".", "..", the directory's own */
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

enum { FILES = 2000, LIMIT = 120 };

static void many_files_live_on_few_descriptors(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, LIMIT);
    int before = open_descriptors();
    static struct file *files[FILES];
    char path[128];
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/f%d", world.directory, i);
        assert_int_equal(file_open(world.disk, path, FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &files[i]),
                         OK);
        assert_int_equal(file_pwrite(files[i], &i, sizeof i, 0), OK);
    }
    assert_in_range(open_descriptors() - before, 1, LIMIT - 32);
    struct random random;
    random_seed(&random, 3);
    for (int step = 0; step < 5000; step++) {
        int i = (int)random_below(&random, FILES), read = -1;
        size_t got;
        assert_int_equal(file_pread(files[i], &read, sizeof read, 0, &got), OK);
        assert_int_equal(got, sizeof read);
        assert_int_equal(read, i);
        assert_in_range(open_descriptors() - before, 1, LIMIT - 32);
    }
    for (int i = 0; i < FILES; i++) file_release(&files[i]);
    assert_int_equal(open_descriptors(), before);
    world_close(&world);
}

static void a_closed_file_follows_its_new_name(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 48); /* 16 for files */
    struct file *files[60];
    char path[128], moved[128];
    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof path, "%s/f%d", world.directory, i);
        assert_int_equal(file_open(world.disk, path, FILE_WRITE | FILE_CREATE, &files[i]), OK);
        assert_int_equal(file_pwrite(files[i], &i, sizeof i, 8), OK);
    }
    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof path, "%s/f%d", world.directory, i);
        snprintf(moved, sizeof moved, "%s/f%d.deleted", world.directory, i);
        assert_int_equal(disk_rename(world.disk, path, moved), OK);
        file_renamed(files[i], moved);
        assert_string_equal(file_path(files[i]), moved);
    }
    for (int i = 0; i < 60; i++) {
        int read = -1;
        size_t got;
        assert_int_equal(file_pread(files[i], &read, sizeof read, 8, &got), OK);
        assert_int_equal(read, i);
        file_release(&files[i]);
    }
    world_close(&world);
}

/* Threads read and write the same files, far more of them than descriptors. Each file holds its own number at every
 * position of every thread, so a descriptor that changed hands under a reader shows. */
enum { THREADS = 3, SHARED = 64, STEPS = 3000 };

struct visitor {
    struct file **files;
    int index, wrong;
};

static void *visit(void *argument)
{
    struct visitor *visitor = argument;
    struct random random;
    random_seed(&random, (uint64_t)visitor->index);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)random_below(&random, SHARED), read = -1;
        size_t got = 0;
        int64_t mine = (int64_t)sizeof read * visitor->index;
        if (random_below(&random, 4) == 0 && file_pwrite(visitor->files[i], &i, sizeof i, mine) != OK)
            visitor->wrong++;
        if (file_pread(visitor->files[i], &read, sizeof read, mine, &got) != OK) visitor->wrong++;
        if (got != sizeof read || read != i) visitor->wrong++;
        if (random_below(&random, 500) == 0 && file_sync(visitor->files[i]) != OK) visitor->wrong++;
    }
    return NULL;
}

static void threads_share_files_while_descriptors_come_and_go(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 48);
    struct file *files[SHARED];
    char path[128];
    for (int i = 0; i < SHARED; i++) {
        snprintf(path, sizeof path, "%s/f%d", world.directory, i);
        assert_int_equal(file_open(world.disk, path, FILE_WRITE | FILE_CREATE, &files[i]), OK);
        int all[THREADS];
        for (int k = 0; k < THREADS; k++) all[k] = i;
        assert_int_equal(file_pwrite(files[i], all, sizeof all, 0), OK);
    }
    struct visitor visitors[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        visitors[i] = (struct visitor){files, i, 0};
        pthread_create(&threads[i], NULL, visit, &visitors[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(visitors[i].wrong, 0);
    }
    for (int i = 0; i < SHARED; i++) file_release(&files[i]);
    world_close(&world);
}

static void lazy_files_tell_at_their_first_use(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 0);
    int before = open_descriptors();
    char path[128];
    snprintf(path, sizeof path, "%s/absent", world.directory);
    struct file *file;
    assert_int_equal(file_open(world.disk, path, FILE_LAZY, &file), OK);
    assert_int_equal(open_descriptors(), before);
    int64_t size;
    assert_int_equal(file_size(file, &size), ERR_NOT_FOUND);
    file_release(&file);
    world_close(&world);
}

static void a_lock_holds_against_other_processes(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 0);
    char path[128];
    snprintf(path, sizeof path, "%s/.lock", world.directory);
    struct disk_lock *lock, *second;
    assert_int_equal(disk_lock(world.disk, path, &lock), OK);
    assert_int_equal(disk_lock(world.disk, path, &second), ERR_BUSY);
    for (int is_held = 1; is_held >= 0; is_held--) {
        if (!is_held) disk_unlock(&lock);
        pid_t child = fork();
        if (child == 0) {
            struct disk_lock *theirs;
            enum error err = disk_lock(disk_new(descriptors_new(0)), path, &theirs);
            _exit(err == OK ? 10 : err == ERR_BUSY ? 11 : 12);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(WEXITSTATUS(status), is_held ? 11 : 10);
    }
    assert_int_equal(disk_lock(world.disk, path, &lock), OK);
    disk_unlock(&lock);
    world_close(&world);
}

static void what_was_just_written_is_in_memory(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, 0);
    char path[128];
    snprintf(path, sizeof path, "%s/hot", world.directory);
    struct file *file;
    assert_int_equal(file_open(world.disk, path, FILE_WRITE | FILE_CREATE, &file), OK);
    static uint8_t content[200000], back[200000];
    memset(content, 7, sizeof content);
    assert_int_equal(file_pwrite(file, content, sizeof content, 0), OK);
    size_t got;
    assert_int_equal(file_pread_cached(file, back, sizeof back, 0, &got), OK);
    assert_int_equal(got, sizeof back);
    assert_memory_equal(content, back, sizeof back);
    assert_int_equal(file_pread_cached(file, back, sizeof back, 199990, &got), OK);
    assert_int_equal(got, 10);
    assert_true(file_is_cached(file, 0, sizeof content));
    assert_true(file_is_cached(file, 199999, 1));
    file_release(&file);
    int64_t free_bytes = -1, total_bytes = -1;
    assert_int_equal(disk_space(world.disk, world.directory, &free_bytes, &total_bytes), OK);
    assert_true(free_bytes > 0 && total_bytes >= free_bytes);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_files_live_on_few_descriptors),
        cmocka_unit_test(a_closed_file_follows_its_new_name),
        cmocka_unit_test(threads_share_files_while_descriptors_come_and_go),
        cmocka_unit_test(lazy_files_tell_at_their_first_use),
        cmocka_unit_test(a_lock_holds_against_other_processes),
        cmocka_unit_test(what_was_just_written_is_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
