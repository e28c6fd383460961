/* zkserver.c: odradek zkserver: zkServer.sh's verbs, words and exit codes, for scripts that call those.
 *
 *     exec odradek zkserver "$@"          is a whole zkServer.sh
 *
 * Standard output and error have what zkServer.sh puts there. The pid is in $ZOOPIDFILE, or zookeeper_server.pid in dataDir; what the
 * server says goes to zookeeper-$USER-server-HOST.out in $ZOO_LOG_DIR, or in dataDir. Unlike the script's, our start waits for the
 * server to serve, and our stop for it to be gone. Source: facts/keeper.md 3.5. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/keeper.h"
#include "keeper/keeper.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/stream.h"

enum { START_WAIT_MS = 60000, STOP_WAIT_MS = 30000, ANSWER_WAIT_MS = 5000, PROPERTIES_MAX = 64 };

/* What a verb works on. */
struct site {
    struct text config_path, pid_path, out_path;
    struct text flags; /* SERVER_JVMFLAGS and JVMFLAGS, cut into words */
    const char *properties[PROPERTIES_MAX];
    struct zoo_beside beside;
    struct zoo_config config;
    bool has_config;
};

static void site_free(struct site *site)
{
    text_free(&site->config_path);
    text_free(&site->pid_path);
    text_free(&site->out_path);
    text_free(&site->flags);
    if (site->has_config) zoo_config_free(&site->config);
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

/* --- what the environment and the file say --- */

/* -Dzookeeper.KEY=VALUE and the keys that are read without ZooKeeper's name in front. */
static bool is_property(const char *word)
{
    static const char *const prefixes[] = {"-Dzookeeper.", "-Djute.maxbuffer=", "-Dreadonlymode.enabled=",
                                           "-Dznode.container.", "-Djava.security.auth.login.config="};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strncmp(word, prefixes[i], strlen(prefixes[i])) == 0) return true;
    }
    return false;
}

static void add_property(struct site *site, const char *property)
{
    if (site->beside.property_count < PROPERTIES_MAX)
        site->properties[site->beside.property_count++] = property;
}

static void read_flags(struct site *site)
{
    static const char *const names[] = {"SERVER_JVMFLAGS", "JVMFLAGS"};
    if (env("ZOO_LOG_DIR")) text_addf(&site->flags, "-Dzookeeper.log.dir=%s\n", env("ZOO_LOG_DIR"));
    for (int i = 0; i < 2; i++) {
        const char *flags = env(names[i]);
        for (size_t at = 0; flags && flags[at]; at++)
            text_addc(&site->flags, strchr(" \t", flags[at]) ? '\n' : flags[at]);
        text_addc(&site->flags, '\n');
    }
    if (site->flags.failed) return;
    for (char *rest = site->flags.data, *word; (word = strsep(&rest, "\n"));) {
        if (is_property(word)) add_property(site, word + 2);
    }
    site->beside.properties = site->properties;
}

static void find_config(const struct cli *cli, struct text *path)
{
    const char *given = cli->argc ? cli->argv[0] : env("ZOOCFG") ? env("ZOOCFG") : "zoo.cfg";
    const char *dir = cli_text(cli, "config");
    if (!dir) dir = env("ZOOCFGDIR");
    bool is_asked_for = dir != NULL;
    if (!dir) dir = "conf";
    if (!strchr(given, '/')) text_addf(path, "%s/%s", dir, given);
    bool is_there = path->size > 0 && access(path->data, R_OK) == 0;
    if (is_there || (is_asked_for && path->size > 0 && access(given, R_OK) != 0)) return;
    text_reset(path);
    text_addz(path, given);
}

static void find_files(struct site *site)
{
    const char *data_dir = site->config.data_dir ? site->config.data_dir : ".";
    const char *log_dir = env("ZOO_LOG_DIR") ? env("ZOO_LOG_DIR") : data_dir;
    char host[256] = "localhost";
    if (gethostname(host, sizeof host - 1) != 0) slice_text(SLICE("localhost"), host, sizeof host);
    if (env("ZOOPIDFILE")) {
        text_addz(&site->pid_path, env("ZOOPIDFILE"));
    } else {
        text_addf(&site->pid_path, "%s/zookeeper_server.pid", data_dir);
    }
    text_addf(&site->out_path, "%s/zookeeper-%s-server-%s.out", log_dir, env("USER") ? env("USER") : "",
              host);
}

/* Says itself what is wrong; then the status to exit with, else EXIT_OK. */
static int site_open(const struct cli *cli, struct site *site)
{
    *site = (struct site){0};
    read_flags(site);
    find_config(cli, &site->config_path);
    if (site->config_path.failed || site->flags.failed) return EXIT_ITEM_FAILED;
    fprintf(stderr, "Using config: %s\n", site->config_path.data);
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = descriptors ? disk_new(descriptors) : NULL;
    struct bytes *file = NULL;
    enum error err = disk ? disk_read_file(disk, site->config_path.data, 1 << 20, &file) : ERR_NOMEM;
    if (err == OK) {
        site->has_config = true; /* what is wrong in it the server says, when it starts */
        err = zoo_config_load_beside(bytes_slice(file), site->config_path.data, &site->beside, &site->config);
        if (err == ERR_CONFIG) err = OK;
    }
    if (err == OK) {
        find_files(site);
    } else {
        cli_complain("%s: %s", site->config_path.data, error_text(err));
    }
    bytes_release(&file);
    if (disk) disk_free(disk);
    if (descriptors) descriptors_free(descriptors);
    return err == OK ? EXIT_OK : EXIT_ITEM_FAILED;
}

/* --- processes --- */

static void sleep_ms(int64_t ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
    }
}

/* 0: there is none, or the file holds no pid. */
static pid_t pid_read(const struct site *site)
{
    char digits[32] = "";
    FILE *file = fopen(site->pid_path.data, "r");
    if (!file) return 0;
    if (!fgets(digits, sizeof digits, file)) digits[0] = 0;
    fclose(file);
    digits[strcspn(digits, " \r\n")] = 0;
    int64_t pid = 0;
    return slice_to_int64(slice_of(digits), 1, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

static bool pid_write(const struct site *site, pid_t pid)
{
    FILE *file = fopen(site->pid_path.data, "w");
    if (!file) return false;
    bool is_written = fprintf(file, "%d", (int)pid) > 0;
    return fclose(file) == 0 && is_written;
}

static bool is_alive(pid_t pid)
{
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

static bool make_directories(const struct site *site)
{
    struct descriptors *descriptors = descriptors_new(0);
    struct disk *disk = descriptors ? disk_new(descriptors) : NULL;
    const struct text *paths[] = {&site->pid_path, &site->out_path};
    bool is_done = disk != NULL;
    for (int i = 0; i < 2 && is_done; i++) {
        char *dir = slice_dup(text_slice(paths[i])), *slash = dir ? strrchr(dir, '/') : NULL;
        if (slash && slash != dir) {
            *slash = 0;
            enum error err = disk_mkdir(disk, dir);
            if (err != OK) cli_complain("%s: %s", dir, error_text(err));
            is_done = err == OK;
        }
        free(dir);
    }
    if (disk) disk_free(disk);
    if (descriptors) descriptors_free(descriptors);
    return is_done;
}

/* In the child: becomes the server. */
static void become_server(const struct site *site, int ready_fd)
{
    int out = open(site->out_path.data, O_WRONLY | O_CREAT | O_TRUNC, 0644),
        null = open("/dev/null", O_RDONLY);
    char ready[16];
    snprintf(ready, sizeof ready, "%d", ready_fd);
    setsid();
    signal(SIGHUP, SIG_DFL);
    if (out < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0) {
        _exit(EXIT_ITEM_FAILED);
    }
    close(out);
    close(null);
    execl("/proc/self/exe", "odradek", "zkserver", "start-foreground", site->config_path.data, "--ready-fd",
          ready, (char *)NULL);
    _exit(EXIT_ITEM_FAILED);
}

/* It serves, or it listens as a member of an ensemble (true); or it ended. One that recovers for long is left to it. */
static bool has_started(pid_t pid, int ready_fd)
{
    struct pollfd waiting = {.fd = ready_fd, .events = POLLIN};
    char byte;
    int found;
    do {
        found = poll(&waiting, 1, START_WAIT_MS);
    } while (found < 0 && errno == EINTR);
    if (found > 0 && read(ready_fd, &byte, 1) == 1) return true;
    return found == 0 && waitpid(pid, NULL, WNOHANG) == 0;
}

static int start(const struct site *site)
{
    printf("Starting zookeeper ... ");
    fflush(stdout);
    pid_t running = pid_read(site);
    if (is_alive(running)) {
        printf("already running as process %d.\n", (int)running);
        return EXIT_ITEM_FAILED;
    }
    int ready[2];
    if (!make_directories(site) || pipe(ready) != 0) {
        printf("SERVER DID NOT START\n");
        return EXIT_ITEM_FAILED;
    }
    pid_t child = fork();
    if (child == 0) {
        close(ready[0]);
        become_server(site, ready[1]);
    }
    close(ready[1]);
    const char *said = "STARTED";
    if (child < 0) {
        said = "SERVER DID NOT START";
    } else if (!pid_write(site, child)) {
        said = "FAILED TO WRITE PID";
    } else if (!has_started(child, ready[0])) {
        said = "FAILED TO START";
    }
    close(ready[0]);
    printf("%s\n", said);
    if (strcmp(said, "FAILED TO START") == 0) fprintf(stderr, "see %s\n", site->out_path.data);
    return strcmp(said, "STARTED") == 0 ? EXIT_OK : EXIT_ITEM_FAILED;
}

static void stop(const struct site *site)
{
    printf("Stopping zookeeper ... ");
    fflush(stdout);
    if (access(site->pid_path.data, F_OK) != 0) {
        printf("no zookeeper to stop (could not find file %s)\n", site->pid_path.data);
        return;
    }
    pid_t pid = pid_read(site);
    if (pid > 0 && kill(pid, SIGTERM) != 0)
        cli_complain("could not stop process %d: %s", (int)pid, strerror(errno));
    unlink(site->pid_path.data);
    for (int waited_ms = 0; is_alive(pid) && waited_ms < STOP_WAIT_MS; waited_ms += 20) sleep_ms(20);
    if (is_alive(pid)) cli_complain("process %d is still there after %d s", (int)pid, STOP_WAIT_MS / 1000);
    printf("STOPPED\n");
}

/* --- asking it --- */

struct question {
    struct loop *loop;
    struct connecting *connecting;
    struct stream *stream;
    struct loop_timer timer;
    struct text answer;
};

static void on_readable(void *context)
{
    struct question *question = context;
    uint8_t bytes[4096];
    size_t got;
    enum error err;
    while ((err = stream_read(question->stream, bytes, sizeof bytes, &got)) == OK)
        text_add(&question->answer, (struct slice){bytes, got});
    if (err != ERR_AGAIN) loop_stop(question->loop);
}

static void on_closed(void *context, enum error err)
{
    struct question *question = context;
    loop_stop(question->loop);
}

static void on_connected(void *context, enum error err, struct stream *stream)
{
    static const struct stream_events events = {.on_readable = on_readable, .on_closed = on_closed};
    struct question *question = context;
    question->connecting = NULL;
    if (err != OK) {
        loop_stop(question->loop);
        return;
    }
    question->stream = stream;
    stream_set_events(stream, &events, question);
    stream_set_reading(stream, true);
    struct bytes *word = bytes_new(4);
    if (word) {
        memcpy(word->data, "srvr", 4);
        word->size = 4;
        if (stream_write(stream, word, 0, 4) == OK) return;
    }
    loop_stop(question->loop);
}

static void on_late(struct loop_timer *timer)
{
    loop_stop(((struct question *)((char *)timer - offsetof(struct question, timer)))->loop);
}

/* What srvr answers; empty when nobody does. */
static void ask(const char *host, uint16_t port, struct text *answer)
{
    struct descriptors *descriptors = descriptors_new(0);
    struct question question = {.timer.run = on_late};
    enum error err = descriptors ? loop_new(descriptors, &question.loop) : ERR_NOMEM;
    if (err == OK) {
        err = stream_connect(question.loop, host, port, ANSWER_WAIT_MS, on_connected, &question,
                             &question.connecting);
        loop_timer_start(question.loop, &question.timer, ANSWER_WAIT_MS);
        if (err == OK) loop_run(question.loop);
        loop_timer_stop(question.loop, &question.timer);
        stream_connect_cancel(&question.connecting);
        if (question.stream) stream_close(&question.stream);
        loop_free(question.loop);
    }
    if (descriptors) descriptors_free(descriptors);
    *answer = question.answer;
}

static int status(const struct site *site)
{
    const struct zoo_config *config = &site->config;
    if (config->client_port == 0) {
        printf("Client port not found. Looking for secureClientPort in the static config.\n");
        int64_t secure = zoo_number(config, ZOO_SECURE_CLIENT_PORT);
        if (secure == 0) {
            printf("Unable to find either secure or unsecure client port in any configs. Terminating.\n");
            return EXIT_ITEM_FAILED;
        }
        printf("Client port found: %d. Client address: localhost. Client SSL: true.\n", (int)secure);
        cli_complain("srvr is not asked over TLS here; process %d is %s", (int)pid_read(site),
                     is_alive(pid_read(site)) ? "running" : "not running");
        return EXIT_ITEM_FAILED;
    }
    const char *host = config->client_host[0] ? config->client_host : "localhost";
    printf("Client port found: %u. Client address: %s. Client SSL: false.\n", config->client_port, host);
    if (strcmp(host, "0.0.0.0") == 0) host = "127.0.0.1";
    struct text answer = {0};
    ask(host, config->client_port, &answer);
    const char *mode = answer.data ? strstr(answer.data, "Mode: ") : NULL;
    if (mode) {
        printf("%.*s\n", (int)strcspn(mode, "\n"), mode);
    } else {
        printf("Error contacting service. It is probably not running.\n");
    }
    text_free(&answer);
    return mode ? EXIT_OK : EXIT_ITEM_FAILED;
}

/* --- the verbs --- */

static int on_site(struct cli *cli, int (*verb)(const struct site *site))
{
    struct site site;
    int exit_status = site_open(cli, &site);
    if (exit_status == EXIT_OK) exit_status = verb(&site);
    site_free(&site);
    return exit_status;
}

static int stop_verb(const struct site *site)
{
    stop(site);
    return EXIT_OK;
}

static int restart_verb(const struct site *site)
{
    stop(site);
    return start(site);
}

static int print_cmd_verb(const struct site *site)
{
    char self[4096];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = 0;
    printf("\"%s\" zkserver start-foreground \"%s\" > \"%s\" 2>&1 < /dev/null\n", size > 0 ? self : "odradek",
           site->config_path.data, site->out_path.data);
    return EXIT_OK;
}

int cli_zkserver_start(struct cli *cli)
{
    return on_site(cli, start);
}

int cli_zkserver_stop(struct cli *cli)
{
    return on_site(cli, stop_verb);
}

int cli_zkserver_restart(struct cli *cli)
{
    return on_site(cli, restart_verb);
}

int cli_zkserver_status(struct cli *cli)
{
    return on_site(cli, status);
}

int cli_zkserver_print_cmd(struct cli *cli)
{
    return on_site(cli, print_cmd_verb);
}

int cli_zkserver_start_foreground(struct cli *cli)
{
    struct site site = {0};
    int64_t ready_fd = -1;
    if (!cli_number(cli, "ready-fd", 0, 1 << 20, &ready_fd)) return EXIT_USAGE;
    read_flags(&site);
    find_config(cli, &site.config_path);
    int exit_status = EXIT_ITEM_FAILED;
    if (!site.flags.failed && !site.config_path.failed) {
        fprintf(stderr, "Using config: %s\n", site.config_path.data);
        /* Members are started one after the other, by scripts that wait for each: none can serve before there are enough. */
        exit_status = keeper_main(site.config_path.data, &site.beside, (int)ready_fd, true);
    }
    site_free(&site);
    return exit_status;
}

int cli_zkserver_version(struct cli *cli)
{
    printf("Odradek's ZooKeeper, version %s\n", KEEPER_VERSION);
    return EXIT_OK;
}
