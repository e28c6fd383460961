/* keeper_client.c HOST:PORT: ZooKeeper's C client (libzookeeper_mt) does what its users do. Prints what must be the same on every ZooKeeper;
 * "restart" asks whoever started this to kill the server, start it again, and answer with a line. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char heard[4096]; /* events, a word each */
static int events;

static void hear(zhandle_t *zk, int type, int state, const char *path, void *context)
{
    (void)zk, (void)state, (void)context;
    if (type == ZOO_SESSION_EVENT) return;
    pthread_mutex_lock(&lock);
    size_t used = strlen(heard);
    snprintf(heard + used, sizeof heard - used, " %d%s", type, path);
    events++;
    pthread_mutex_unlock(&lock);
}

static void silent(zhandle_t *zk, int type, int state, const char *path, void *context)
{
    (void)zk, (void)type, (void)state, (void)path, (void)context;
}

static void hear_until(const char *what, int wanted)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        int now = events;
        pthread_mutex_unlock(&lock);
        if (now >= wanted) break;
        usleep(5000);
    }
    pthread_mutex_lock(&lock);
    printf("%s:%s\n", what, heard);
    heard[0] = 0;
    events = 0;
    pthread_mutex_unlock(&lock);
}

static zhandle_t *open_session(const char *server)
{
    zhandle_t *zk = zookeeper_init(server, silent, 15000, NULL, NULL, 0);
    for (int i = 0; zk && i < 2000 && zoo_state(zk) != ZOO_CONNECTED_STATE; i++) usleep(5000);
    return zk;
}

static void say_stat(const char *what, int rc, const struct Stat *stat)
{
    printf("%s: %d version %d cversion %d aversion %d length %d children %d ephemeral %d\n", what, rc,
           stat->version, stat->cversion, stat->aversion, stat->dataLength, stat->numChildren,
           stat->ephemeralOwner != 0);
}

static void say_children(zhandle_t *zk, const char *path)
{
    struct String_vector names = {0};
    struct Stat stat = {0};
    int rc = zoo_get_children2(zk, path, 0, &names, &stat);
    printf("children of %s: %d, %d of them\n", path, rc, names.count);
    say_stat(path, rc, &stat);
    deallocate_String_vector(&names);
}

static void znodes(zhandle_t *zk)
{
    char path[256] = "", data[256];
    int length = sizeof data;
    struct Stat stat = {0};
    struct ACL_vector *open = &ZOO_OPEN_ACL_UNSAFE;
    printf("create: %d", zoo_create(zk, "/c", "one", 3, open, 0, path, sizeof path));
    printf(" %s\n", path);
    printf("again: %d\n", zoo_create(zk, "/c", "one", 3, open, 0, path, sizeof path));
    printf("no parent: %d\n", zoo_create(zk, "/none/x", "", 0, open, 0, path, sizeof path));
    say_stat("create2", zoo_create2(zk, "/c/two", NULL, -1, open, 0, path, sizeof path, &stat), &stat);
    for (int i = 0; i < 3; i++) {
        int rc = zoo_create(zk, "/c/s-", "", 0, open, ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path);
        printf("sequence: %d %s\n", rc, path);
    }
    int rc = zoo_create(zk, "/c/e-", "", 0, open, ZOO_EPHEMERAL_SEQUENTIAL, path, sizeof path);
    printf("ephemeral: %d %s, ", rc, path);
    printf("its child %d\n", zoo_create(zk, "/c/e-0000000004/x", "", 0, open, 0, NULL, 0));
    rc = zoo_get(zk, "/c/two", 0, data, &length, &stat);
    printf("null: %d %d\n", rc, length);
    say_stat("set", zoo_set2(zk, "/c", "three", 5, 0, &stat), &stat);
    printf("bad version: %d, ", zoo_set(zk, "/c", "", 0, 7));
    printf("delete with children: %d, ", zoo_delete(zk, "/c", -1));
    printf("none: %d\n", zoo_delete(zk, "/none", -1));
    say_children(zk, "/c");
    printf("ttl: %d, ", zoo_create_ttl(zk, "/ttl", "", 0, open, ZOO_PERSISTENT_WITH_TTL, 60000, NULL, 0));
    printf("container: %d\n", zoo_create(zk, "/container", "", 0, open, ZOO_CONTAINER, NULL, 0));
}

static void multis(zhandle_t *zk)
{
    zoo_op_t ops[4];
    zoo_op_result_t results[4];
    char path[64] = "";
    struct Stat stat = {0};
    zoo_create_op_init(&ops[0], "/m", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_set_op_init(&ops[1], "/m", "x", 1, 0, &stat);
    zoo_check_op_init(&ops[2], "/m", 1);
    zoo_delete_op_init(&ops[3], "/m", 1);
    int rc = zoo_multi(zk, 4, ops, results);
    printf("multi: %d %d %d %d %d %s\n", rc, results[0].err, results[1].err, results[2].err, results[3].err,
           path);
    zoo_check_op_init(&ops[2], "/m", 9);
    rc = zoo_multi(zk, 4, ops, results);
    printf("refused: %d %d %d %d %d, ", rc, results[0].err, results[1].err, results[2].err, results[3].err);
    printf("there %d\n", zoo_exists(zk, "/m", 0, &stat));
}

static void acls(zhandle_t *zk, zhandle_t *other)
{
    char data[64];
    int length = sizeof data;
    struct ACL_vector list;
    struct Stat stat;
    printf("auth needed: %d\n", zoo_create(zk, "/mine", "", 0, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    zoo_add_auth(zk, "digest", "user:pass", 9, NULL, NULL);
    printf("mine: %d, ", zoo_create(zk, "/mine", "m", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    printf("other's get: %d, ", zoo_get(other, "/mine", 0, data, &length, &stat));
    zoo_add_auth(other, "digest", "user:pass", 9, NULL, NULL);
    printf("proved %d\n", zoo_get(other, "/mine", 0, data, &length, &stat));
    int rc = zoo_get_acl(zk, "/mine", &list, &stat);
    printf("acl: %d, %d: %d %s %s\n", rc, list.count, list.data[0].perms, list.data[0].id.scheme,
           list.data[0].id.id);
    deallocate_ACL_vector(&list);
}

static void watches(zhandle_t *zk, zhandle_t *other)
{
    struct Stat stat;
    struct String_vector names = {0};
    char data[64];
    int length = sizeof data;
    zoo_create(other, "/w", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_wexists(zk, "/w/new", hear, NULL, &stat);
    zoo_wget(zk, "/w", hear, NULL, data, &length, &stat);
    zoo_wget_children(zk, "/w", hear, NULL, &names);
    deallocate_String_vector(&names);
    zoo_set(other, "/w", "1", 1, -1);
    hear_until("data", 1);
    zoo_create(other, "/w/new", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    hear_until("created", 2);
    zoo_wexists(zk, "/w/new", hear, NULL, &stat);
    printf("removed: %d, ", zoo_remove_watches(zk, "/w/new", ZWATCHTYPE_DATA, hear, NULL, 0));
    printf("none left: %d\n", zoo_remove_watches(zk, "/w/new", ZWATCHTYPE_DATA, hear, NULL, 0));
    /* what is missed while the server is away is told by what is there */
    zoo_wget(zk, "/w", hear, NULL, data, &length, &stat);
    zoo_wexists(zk, "/w/later", hear, NULL, &stat);
    printf("restart\n");
    fflush(stdout);
    char line[64];
    if (!fgets(line, sizeof line, stdin)) exit(1);
    int rc = ZOK;
    for (int i = 0; i < 200 && (rc = zoo_set(other, "/w", "2", 1, 1)) != ZOK && rc != ZBADVERSION; i++)
        usleep(50000);
    for (int i = 0;
         i < 200 && (rc = zoo_create(other, "/w/later", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0)) != ZOK &&
         rc != ZNODEEXISTS;
         i++)
        usleep(50000);
    hear_until("after a restart", 2);
    for (int i = 0; i < 200 && (rc = zoo_exists(zk, "/c/e-0000000004", 0, &stat)) == ZCONNECTIONLOSS; i++)
        usleep(50000);
    printf("the ephemeral is there: %d\n", rc);
}

int main(int argc, char **argv)
{
    zoo_set_debug_level(0);
    zhandle_t *zk = argc > 1 ? open_session(argv[1]) : NULL, *other = zk ? open_session(argv[1]) : NULL;
    if (!other) return 1;
    znodes(zk);
    multis(zk);
    acls(zk, other);
    watches(zk, other);
    zookeeper_close(zk);
    struct Stat stat;
    printf("it went with its session: %d\n", zoo_exists(other, "/c/e-0000000004", 0, &stat));
    zookeeper_close(other);
    printf("end\n");
    return 0;
}
