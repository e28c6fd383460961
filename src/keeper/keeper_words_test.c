/* keeper_words_test.c: what an operator reads of a keeper, over the simulated network: words, admin commands, metrics and audit lines,
 * in the formats that tools parse. What they are held against here, Apache's server says (test/interop/keeper_operators.py). */
#include "keeper/admin.h"
#include "keeper/backup.h"
#include "keeper/wire_bench.h"

static void on_audit(void *context, struct slice lines)
{
    struct bench *bench = context;
    assert_true(lines.size > 0 && lines.data[lines.size - 1] == '\n');
    text_add(&bench->audit, lines);
}

static struct bench *bench_with(const char *whitelist, bool has_audit, bool admits_read_only)
{
    struct bench *bench = bench_new();
    if (has_audit) bench->events.audit = on_audit;
    bench->config.data_log_dir = "/log";
    bench->config.four_letter_words = whitelist;
    bench->config.max_client_cnxns = 0;
    bench->config.extended_types = true;
    bench->config.admits_read_only = admits_read_only;
    bench->config.initial_config = "dataDir=/keeper\nsnapCount=5\n";
    start(bench);
    return bench;
}

static struct bench *bench_of(const char *whitelist)
{
    return bench_with(whitelist, false, false);
}

/* --- requests of the first client, who stays and has a session --- */

static struct client *session_of(struct bench *bench)
{
    return &bench->clients[0];
}

static struct text request(struct bench *bench, int32_t op)
{
    struct text frame = {0};
    add_header(&frame, ++session_of(bench)->xid, op);
    return frame;
}

/* The code of the answer; 0 when there is none, for the connection was closed. */
static int32_t ask(struct bench *bench, struct text *frame)
{
    struct answer answer = {0};
    send_frame(session_of(bench), frame);
    text_free(frame);
    take_answer(session_of(bench), &answer);
    return answer.err;
}

static int32_t create(struct bench *bench, const char *path, int32_t flags)
{
    struct text frame = request(bench, OP_CREATE);
    add_create_body(&frame, path, flags, 1);
    return ask(bench, &frame);
}

static int32_t set_data(struct bench *bench, const char *path)
{
    struct text frame = request(bench, OP_SET_DATA);
    jute_add_bytes(&frame, slice_of(path));
    jute_add_bytes(&frame, SLICE("y"));
    text_add_be32(&frame, UINT32_MAX);
    return ask(bench, &frame);
}

static int32_t watch(struct bench *bench, int32_t op, const char *path)
{
    struct text frame = request(bench, op);
    jute_add_bytes(&frame, slice_of(path));
    text_addc(&frame, 1);
    return ask(bench, &frame);
}

static void ping(struct bench *bench)
{
    struct text frame = {0};
    add_header(&frame, -2, OP_PING);
    ask(bench, &frame);
}

/* --- what is said --- */

/* The answer to a word; the text is the caller's. */
static struct text word_of(struct bench *bench, const void *word, size_t size)
{
    struct client *client = dial(bench);
    send_raw(client, (struct slice){word, size});
    assert_cut(client);
    struct text said = client->in;
    client->in = (struct text){0};
    hang_up(bench);
    text_addc(&said, 0);
    return said;
}

/* Digits are N, hexadecimal numbers 0xN, so that a whole text can be compared. */
static void blur(struct text *text)
{
    struct text out = {0};
    for (const char *at = text->data; *at;) {
        bool is_hex = at[0] == '0' && at[1] == 'x';
        size_t size = is_hex ? 2 + strspn(at + 2, "0123456789abcdef") : strspn(at, "0123456789");
        if (size > 0) {
            text_addz(&out, is_hex ? "0xN" : "N");
            at += size;
        } else {
            text_addc(&out, *at++);
        }
    }
    text_addc(&out, 0);
    text_free(text);
    *text = out;
}

static void assert_word(struct bench *bench, const char *word, const char *wanted)
{
    struct text said = word_of(bench, word, 4);
    blur(&said);
    if (strcmp(said.data, wanted) != 0) fail_msg("%s: %s\ninstead of: %s", word, said.data, wanted);
    text_free(&said);
}

static struct text command_of(struct bench *bench, const char *name, const char *mask)
{
    struct text said = {0};
    keeper_admin(bench->keeper, slice_of(name), mask, &said);
    text_addc(&said, 0);
    return said;
}

static void assert_command(struct bench *bench, const char *name, const char *wanted)
{
    struct text said = command_of(bench, name, NULL);
    blur(&said);
    if (strcmp(said.data, wanted) != 0) fail_msg("%s: %s\ninstead of: %s", name, said.data, wanted);
    text_free(&said);
}

static void assert_says(const struct text *said, const char *wanted)
{
    if (!strstr(said->data, wanted)) fail_msg("no \"%s\" in: %s", wanted, said->data);
}

/* --- tests --- */

#define VERSION "N.N.N-odradek-N.N.N, built on N-N-N N:N UTC"
#define SERVER                                                                                               \
    "Latency min/avg/max: N/N.N/N\nReceived: N\nSent: N\nConnections: N\nOutstanding: N\nZxid: 0xN\n"        \
    "Mode: standalone\nNode count: N\n"

static void words_look_as_zookeepers(void **state)
{
    struct bench *bench = bench_of("*");
    open_client(bench);
    assert_int_equal(create(bench, "/a", 0), 0);
    assert_int_equal(create(bench, "/e", 1), 0);
    assert_int_equal(watch(bench, OP_EXISTS, "/none"), -101);
    assert_int_equal(watch(bench, OP_GET_DATA, "/a"), 0);
    assert_int_equal(watch(bench, OP_GET_CHILDREN, "/"), 0); /* which wch? do not tell */
    ping(bench);

    assert_word(bench, "ruok", "imok");
    assert_word(bench, "isro", "rw");
    assert_word(bench, "gtmk", "N");
    assert_word(bench, "srvr", "Zookeeper version: " VERSION "\n" SERVER);
    assert_word(bench, "stat",
                "Zookeeper version: " VERSION "\nClients:\n /N.N.N.N:N[N](queued=N,recved=N,sent=N)\n"
                " /N.N.N.N:N[N](queued=N,recved=N,sent=N)\n\n" SERVER);
    assert_word(
        bench, "cons",
        " /N.N.N.N:N[N](queued=N,recved=N,sent=N,sid=0xN,lop=PING,est=N,to=N,lcxid=0xN,lzxid=0xN,lresp=N,"
        "llat=N,minlat=N,avglat=N,maxlat=N)\n /N.N.N.N:N[N](queued=N,recved=N,sent=N)\n\n");
    assert_word(bench, "conf",
                "clientPort=N\nsecureClientPort=-N\ndataDir=/keeper\ndataDirSize=N\ndataLogDir=/log\n"
                "dataLogSize=N\ntickTime=N\nmaxClientCnxns=N\nminSessionTimeout=N\nmaxSessionTimeout=N\n"
                "clientPortListenBacklog=-N\nserverId=N\n");
    assert_word(bench, "dirs", "datadir_size: N\nlogdir_size: N\n");
    assert_word(bench, "wchs", "N connections watching N paths\nTotal watches:N\n");
    assert_word(bench, "wchc", "0xN\n\t/none\n\t/a\n\n");
    assert_word(bench, "hash", "");
    assert_word(bench, "crst", "Connection stats reset.\n");
    assert_word(bench, "cons",
                " /N.N.N.N:N[N](queued=N,recved=N,sent=N,sid=0xN,lop=NA,est=N,to=N,lzxid=0xN,lresp=N,"
                "llat=N,minlat=N,avglat=N,maxlat=N)\n /N.N.N.N:N[N](queued=N,recved=N,sent=N)\n\n");
    assert_word(bench, "srst", "Server stats reset.\n");

    struct text said = word_of(bench, "srvr", 4);
    assert_says(&said, "Latency min/avg/max: 0/0.0/0\nReceived: 1\nSent: 1\nConnections: 2\n");
    assert_says(&said, "Node count: 7\n");
    text_free(&said);
    said = word_of(bench, "wchp", 4);
    assert_says(&said, "/a\n\t0x1");
    assert_says(&said, "/none\n\t0x1");
    text_free(&said);
    said = word_of(bench, "envi", 4);
    assert_says(&said, "Environment:\nzookeeper.version=3.9.5-odradek-");
    assert_says(&said, "\nos.memory.total=");
    text_free(&said);
    bench_free(bench);
}

/* As ZooKeeper's words: whoever watched or had an ephemeral is named when nothing is left of it, but not after it took its last watch away. */
static void who_had_something_is_named(void **state)
{
    struct bench *bench = bench_of("*");
    open_client(bench);
    assert_word(bench, "wchc", "\n");
    assert_int_equal(create(bench, "/a", 0), 0);
    assert_int_equal(create(bench, "/a/e", 1), 0);
    struct text frame = request(bench, OP_DELETE);
    jute_add_bytes(&frame, SLICE("/a/e"));
    text_add_be32(&frame, UINT32_MAX);
    assert_int_equal(ask(bench, &frame), 0);
    assert_int_equal(watch(bench, OP_GET_DATA, "/a"), 0);
    assert_int_equal(set_data(bench, "/a"), 0);
    struct text said = word_of(bench, "dump", 4);
    blur(&said);
    assert_says(&said, "Sessions with Ephemerals (N):\n0xN:\nConnections dump:");
    text_free(&said);
    assert_word(bench, "wchc", "0xN\n\n");
    assert_word(bench, "wchp", "\n");
    said = word_of(bench, "wchs", 4);
    assert_string_equal(said.data, "1 connections watching 0 paths\nTotal watches:0\n");
    text_free(&said);
    assert_command(
        bench, "watches",
        "{\n  \"session_id_to_watched_paths\" : {\n    \"N\" : [ ]\n  },\n  \"command\" : \"watches\",\n"
        "  \"error\" : null\n}");
    assert_int_equal(watch(bench, OP_EXISTS, "/a"), 0);
    frame = request(bench, OP_REMOVE_WATCHES);
    jute_add_bytes(&frame, SLICE("/a"));
    text_add_be32(&frame, 3);
    assert_int_equal(ask(bench, &frame), 0);
    assert_word(bench, "wchc", "\n");
    bench_free(bench);
}

static void dump_groups_by_what_expires_together(void **state)
{
    struct bench *bench = bench_of("dump");
    int64_t session = open_client(bench)->session;
    assert_int_equal(create(bench, "/e", 1), 0);
    struct text said = word_of(bench, "dump", 4);
    char wanted[200];
    snprintf(wanted, sizeof wanted, "ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x%llx:\n\t/e\n",
             (long long)session);
    assert_says(&said, "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at ");
    assert_says(&said, wanted);
    assert_says(&said, "Connections dump:\nConnections Sets (2)/(2):\n1 expire at ");
    snprintf(wanted, sizeof wanted, " sessionId: 0x%llx\n", (long long)session);
    assert_says(&said, wanted);
    assert_says(&said, " sessionId: 0x0\n");
    text_free(&said);
    bench_free(bench);
}

static void a_trace_mask_is_eight_bytes_more(void **state)
{
    struct bench *bench = bench_of(" gtmk ,\tstmk");
    assert_word(bench, "gtmk", "N");
    struct client *client = dial(bench);
    send_raw(client, (struct slice){(const uint8_t *)"stmk\0\0", 6});
    sim_run_ms(bench->sim, 50);
    assert_false(client->is_closed);
    send_raw(client, (struct slice){(const uint8_t *)"\0\0\0\0\1\1", 6});
    assert_true(sim_run_until(bench->sim, has_closed, client, 5000));
    text_addc(&client->in, 0);
    assert_string_equal(client->in.data, "257");
    hang_up(bench);
    struct text said = word_of(bench, "gtmk", 4);
    assert_string_equal(said.data, "257");
    text_free(&said);
    said = command_of(bench, "stmk", "306");
    assert_says(&said, "\"tracemask\" : 306,\n  \"command\" : \"set_trace_mask\",\n  \"error\" : null\n}");
    text_free(&said);
    said = command_of(bench, "stmk", "3x");
    assert_says(&said, "{\n  \"error\" : \"setTraceMask requires long traceMask argument");
    text_free(&said);
    bench_free(bench);
}

static void the_whitelist_is_zookeepers(void **state)
{
    static const struct {
        const char *list, *word;
        bool is_allowed, admits_read_only;
    } rows[] = {
        {"ruok", "srvr", true, false}, /* zkServer.sh depends on it */
        {"", "srvr", true, false},
        {"", "ruok", false, false},
        {"stat, ruok", "ruok", true, false},
        {"ruokstat", "ruok", false, false},
        {"stat,*", "ruok", true, false},
        {" * ", "mntr", true, false},
        {"ruok mntr", "mntr", false, false},
        {"", "isro", false, false},
        {"", "isro", true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench *bench = bench_with(rows[i].list, false, rows[i].admits_read_only);
        struct text said = word_of(bench, rows[i].word, 4);
        char refused[100];
        snprintf(refused, sizeof refused, "%s is not executed because it is not in the whitelist.\n",
                 rows[i].word);
        bool is_refused = strcmp(said.data, refused) == 0;
        assert_int_equal(is_refused, !rows[i].is_allowed);
        text_free(&said);
        bench_free(bench);
    }
}

static void no_words_once_a_session_has_begun(void **state)
{
    struct bench *bench = bench_of("*");
    open_client(bench);
    send_raw(session_of(bench), SLICE("ruok")); /* 1920298859 bytes are to follow: too many */
    assert_true(sim_run_until(bench->sim, has_closed, session_of(bench), 5000));
    struct text said = word_of(bench, "mntr", 4);
    assert_says(&said, "zk_large_requests_rejected\t1\n");
    text_free(&said);
    said = word_of(bench, "lead", 4); /* a command's name, no word */
    assert_string_equal(said.data, "");
    text_free(&said);
    bench_free(bench);
}

static void mntr_counts(void **state)
{
    struct bench *bench = bench_of("*");
    open_client(bench);
    assert_int_equal(create(bench, "/a", 0), 0);
    assert_int_equal(create(bench, "/e", 1), 0);
    assert_int_equal(watch(bench, OP_GET_DATA, "/a"), 0);
    assert_int_equal(watch(bench, OP_GET_CHILDREN, "/"), 0);
    assert_int_equal(create(bench, "/b", 0), 0); /* fires the child watch: its event comes first */
    assert_int_equal(answer_code(session_of(bench), session_of(bench)->xid), 0);
    struct text said = word_of(bench, "mntr", 4);
    static const char *const lines[] = {
        "zk_version\t3.9.5-odradek-",
        "zk_server_state\tstandalone\n",
        "zk_ephemerals_count\t1\n",
        "zk_num_alive_connections\t2\n",
        "zk_znode_count\t8\n",
        "zk_global_sessions\t1\n",
        "zk_watch_count\t1\n",
        "zk_packets_received\t7\n",
        "zk_cnt_updatelatency\t3\n",
        "zk_cnt_readlatency\t2\n",
        "zk_p999_readlatency\t0\n",
        "zk_cnt_fsynctime\t4\n",
        "zk_connection_request_count\t1\n",
        "zk_cnt_node_children_watch_count\t1\n",
        "zk_sum_node_children_watch_count\t1\n",
        "zk_sync_processor_request_queued\t4\n",
        "zk_outstanding_requests\t0\n",
        "zk_connection_drop_probability\t0.0\n",
        "zk_last_client_response_size\t22\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) assert_says(&said, lines[i]);
    /* Every line is a name, a tab and a number, but for the first two. */
    size_t count = 0;
    for (char *at = said.data; *at; at = strchr(at, '\n') + 1, count++) {
        assert_int_equal(strncmp(at, "zk_", 3), 0);
        char *tab = strchr(at, '\t');
        assert_non_null(tab);
        if (count >= 2) assert_int_equal(strcspn(tab + 1, "\n"), strspn(tab + 1, "0123456789.-"));
    }
    assert_true(count > 80);
    text_free(&said);
    assert_word(bench, "srst", "Server stats reset.\n");
    said = word_of(bench, "mntr", 4);
    assert_says(&said, "zk_cnt_updatelatency\t0\n");
    assert_says(&said, "zk_znode_count\t8\n");
    assert_says(&said, "zk_last_client_response_size\t-1\n");
    text_free(&said);
    bench_free(bench);
}

/* It waits for what its old connection has on its way, and is looked at again each time something was applied. */
static void a_client_that_waits_is_counted_once(void **state)
{
    struct bench *bench = bench_of("*");
    struct client *busy = open_client(bench), *moving = open_client(bench);
    assert_int_equal(create(bench, "/a", 0), 0);
    sim_disk_slow(bench->server, 100, 8);
    for (int i = 0; i < 4; i++) {
        send_create(busy, i, i == 0 ? "/0" : "/1", 0, 1);
        sim_run_ms(bench->sim, 30);
    }
    struct client *back = dial(bench);
    assert_int_equal(shake(back, moving->session, moving->password, 0, 10000, true), 37);
    assert_true(back->session == moving->session);
    sim_run_ms(bench->sim, 1000);
    struct text said = word_of(bench, "mntr", 4);
    assert_says(&said, "zk_connection_request_count\t3\n");
    assert_says(&said, "zk_connection_revalidate_count\t1\n");
    text_free(&said);
    bench_free(bench);
}

static void digests_are_told_at_every_128th_change(void **state)
{
    struct bench *bench = bench_of("*");
    open_client(bench);
    assert_int_equal(create(bench, "/a", 0), 0);
    for (int i = 0; i < 254; i++) assert_int_equal(set_data(bench, "/a"), 0);
    struct text said = word_of(bench, "hash", 4);
    assert_int_equal(strncmp(said.data, "80: ", 4), 0);
    assert_says(&said, "\n100: ");
    text_free(&said);
    assert_command(
        bench, "hash",
        "{\n  \"digests\" : [ {\n    \"zxid\" : N,\n    \"digest_version\" : N,\n    \"digest\" : N\n  }, {\n"
        "    \"zxid\" : N,\n    \"digest_version\" : N,\n    \"digest\" : N\n  } ],\n  \"command\" : "
        "\"hash\",\n"
        "  \"error\" : null\n}");
    bench_free(bench);
}

static void admin_commands_look_as_zookeepers(void **state)
{
    struct bench *bench = bench_of("");
    open_client(bench);
    assert_int_equal(create(bench, "/e\"q", 1), 0);
    assert_int_equal(watch(bench, OP_GET_DATA, "/e\"q"), 0);
    assert_command(bench, "ruok", "{\n  \"command\" : \"ruok\",\n  \"error\" : null\n}");
    assert_command(bench, "nosuch",
                   "{\n  \"command\" : \"nosuch\",\n  \"error\" : \"Unknown command: nosuch\"\n}");
    assert_command(bench, "lead",
                   "{\n  \"error\" : \"server is not initialized\",\n  \"command\" : \"leader\"\n}");
    assert_command(
        bench, "conf",
        "{\n  \"client_port\" : N,\n  \"data_dir\" : \"/keeper\",\n  \"data_log_dir\" : \"/log\",\n"
        "  \"tick_time\" : N,\n  \"max_client_cnxns\" : N,\n  \"min_session_timeout\" : N,\n"
        "  \"max_session_timeout\" : N,\n  \"server_id\" : N,\n  \"client_port_listen_backlog\" : -N,\n"
        "  \"command\" : \"configuration\",\n  \"error\" : null\n}");
    assert_command(bench, "dump",
                   "{\n  \"expiry_time_to_session_ids\" : {\n    \"N\" : [ N ]\n  },\n"
                   "  \"session_id_to_ephemeral_paths\" : {\n    \"N\" : [ \"/e\\\"q\" ]\n  },\n"
                   "  \"command\" : \"dump\",\n  \"error\" : null\n}");
    assert_command(bench, "wchp",
                   "{\n  \"path_to_session_ids\" : {\n    \"/e\\\"q\" : [ N ]\n  },\n"
                   "  \"command\" : \"watches_by_path\",\n  \"error\" : null\n}");
    assert_command(bench, "wchc",
                   "{\n  \"session_id_to_watched_paths\" : {\n    \"N\" : [ \"/e\\\"q\" ]\n  },\n"
                   "  \"command\" : \"watches\",\n  \"error\" : null\n}");
    assert_command(bench, "wchs",
                   "{\n  \"num_connections\" : N,\n  \"num_paths\" : N,\n  \"num_total_watches\" : N,\n"
                   "  \"command\" : \"watch_summary\",\n  \"error\" : null\n}");
    assert_command(bench, "obsr",
                   "{\n  \"synced_observers\" : N,\n  \"observers\" : [ ],\n  \"command\" : \"observers\",\n"
                   "  \"error\" : null\n}");
    assert_command(bench, "voting_view",
                   "{\n  \"current_config\" : { },\n  \"command\" : \"voting_view\",\n  \"error\" : null\n}");
    assert_command(
        bench, "lsnp",
        "{\n  \"zxid\" : \"ffffffffffffffff\",\n  \"timestamp\" : -N,\n  \"command\" : \"last_snapshot\",\n"
        "  \"error\" : null\n}");
    assert_command(bench, "icfg",
                   "{\n  \"initial_configuration\" : \"dataDir=/keeper\\nsnapCount=N\\n\",\n"
                   "  \"command\" : \"initial_configuration\",\n  \"error\" : null\n}");
    struct text said = command_of(bench, "stat", NULL);
    assert_says(&said, "  \"server_stats\" : {\n    \"packets_sent\" : ");
    assert_says(&said, "\"connections\" : [ {\n    \"remote_socket_address\" : \"10.0.0.2:");
    assert_says(&said, "  } ],\n  \"secure_connections\" : [ ],\n  \"command\" : \"stats\",\n");
    text_free(&said);
    said = command_of(bench, "mntr", NULL);
    assert_says(&said, "  \"znode_count\" : 6,\n");
    assert_says(&said, "  \"p99_readlatency\" : 0,\n");
    text_free(&said);
    said = command_of(bench, "sysp", NULL);
    assert_says(&said, "  \"zookeeper.snapCount\" : \"5\",\n");
    text_free(&said);
    const char *name;
    bool is_restore;
    for (size_t i = 0; (name = keeper_admin_name(i)); i++) {
        if (backup_knows(slice_of(name), &is_restore))
            continue; /* keeper_backup_test.c asks them, by their own door */
        said = command_of(bench, name, NULL);
        if (strcmp(name, "leader") != 0 && strcmp(name, "set_trace_mask") != 0)
            assert_says(&said, "\"error\" : null\n}");
        text_free(&said);
    }
    bench_free(bench);
}

static void metrics_are_zookeepers(void **state)
{
    struct bench *bench = bench_of("");
    struct text said = {0};
    keeper_metrics(bench->keeper, &said);
    assert_says(&said, "readlatency{quantile=\"0.99\"} NaN\nreadlatency_count 0\nreadlatency_sum 0\n");
    text_free(&said);
    open_client(bench);
    assert_int_equal(create(bench, "/a", 0), 0);
    keeper_metrics(bench->keeper, &said);
    assert_says(&said, "# HELP znode_count znode_count\n# TYPE znode_count gauge\nznode_count 6\n");
    assert_says(&said, "# TYPE bytes_received_count counter\nbytes_received_count ");
    assert_says(&said, "# TYPE updatelatency summary\nupdatelatency{quantile=\"0.5\"} ");
    assert_says(&said, "updatelatency_count 1\n");
    text_free(&said);
    bench_free(bench);
}

/* Lines without what changes: the time, the session, the server's user. */
static void assert_audit(struct bench *bench, const char *wanted)
{
    struct text lines = {0};
    sim_run_ms(bench->sim, 100);
    text_addc(&bench->audit, 0);
    for (char *rest = bench->audit.data, *line; (line = strsep(&rest, "\n")) && *line;) {
        char *at = strstr(line, " audit.Slf4jAuditLogger: ");
        assert_true(at && at - line > 24 && line[19] == ','); /* 2026-11-27 23:21:22,908 INFO */
        text_addz(&lines, strncmp(line + 24, "ERROR", 5) == 0 ? "E " : "I ");
        at += strlen(" audit.Slf4jAuditLogger: ");
        bool is_server = strncmp(at, "session=0x", 10) != 0;
        at = strstr(at, is_server ? "\toperation=" : "\tuser=");
        assert_non_null(at);
        for (at++; *at; at++) text_addc(&lines, *at == '\t' ? '|' : *at);
        text_addc(&lines, '\n');
    }
    text_addc(&lines, 0);
    assert_string_equal(lines.data, wanted);
    text_free(&lines);
    text_reset(&bench->audit);
}

static void audit_lines_say_who_did_what(void **state)
{
    struct bench *bench = bench_with("", true, false);
    open_client(bench);
#define WHO "user=10.0.0.2|ip=10.0.0.2|"
    assert_int_equal(create(bench, "/p", 0), 0);
    assert_int_equal(create(bench, "/p", 0), -110);
    assert_int_equal(create(bench, "/p/s-", 3), 0);
    assert_int_equal(create(bench, "/x\n\ty", 0), -8);
    assert_int_equal(set_data(bench, "/nope"), -101);
    assert_audit(bench, "I " WHO "operation=create|znode=/p|znode_type=persistent|result=success\n"
                        "E " WHO "operation=create|znode=/p|znode_type=persistent|result=failure\n"
                        "I " WHO "operation=create|znode=/p/s-0000000000|znode_type=ephemeral_sequential|"
                        "result=success\n"
                        "E " WHO "operation=create|znode=/x??y|znode_type=persistent|result=failure\n"
                        "E " WHO "operation=setData|znode=/nope|result=failure\n");

    struct text frame = {0};
    add_header(&frame, -4, OP_AUTH);
    text_add_be32(&frame, 0);
    jute_add_bytes(&frame, SLICE("digest"));
    jute_add_bytes(&frame, SLICE("alice:secret"));
    assert_int_equal(ask(bench, &frame), 0);
    frame = request(bench, OP_SET_ACL);
    jute_add_bytes(&frame, SLICE("/p"));
    add_acl(&frame, ACL_READ | ACL_CREATE | ACL_DELETE, "world", "anyone");
    text_add_be32(&frame, UINT32_MAX);
    assert_int_equal(ask(bench, &frame), 0);
    frame = request(bench, OP_DELETE);
    jute_add_bytes(&frame, SLICE("/p"));
    text_add_be32(&frame, UINT32_MAX);
    assert_int_equal(ask(bench, &frame), -111);
#undef WHO
#define WHO "user=10.0.0.2,alice|ip=10.0.0.2|"
    assert_audit(bench, "I " WHO "operation=setAcl|znode=/p|acl=world:anyone:cdr|result=success\n"
                        "E " WHO "operation=delete|znode=/p|result=failure\n");

    static const char *const names[] = {"/m", "/m/q-"};
    for (int is_bad = 0; is_bad < 2; is_bad++) { /* the second time /m is there */
        frame = request(bench, OP_MULTI);
        for (int i = 0; i < 2; i++) {
            text_add_be32(&frame, OP_CREATE2);
            text_addc(&frame, 0);
            text_add_be32(&frame, UINT32_MAX);
            add_create_body(&frame, names[i], i * 2, 1);
        }
        text_add_be32(&frame, OP_CHECK);
        text_addc(&frame, 0);
        text_add_be32(&frame, UINT32_MAX);
        jute_add_bytes(&frame, SLICE("/m"));
        text_add_be32(&frame, 0);
        text_add_be32(&frame, OP_DELETE);
        text_addc(&frame, 0);
        text_add_be32(&frame, UINT32_MAX);
        jute_add_bytes(&frame, SLICE("/m/q-0000000000"));
        text_add_be32(&frame, UINT32_MAX);
        text_add_be32(&frame, UINT32_MAX);
        text_addc(&frame, 1);
        text_add_be32(&frame, UINT32_MAX);
        ask(bench, &frame);
    }
    assert_audit(bench, "I " WHO "operation=create|znode=/m|znode_type=persistent|result=success\n"
                        "I " WHO "operation=create|znode=/m/q-0000000000|znode_type=persistent_sequential|"
                        "result=success\n"
                        "I " WHO "operation=delete|znode=/m/q-0000000000|result=success\n"
                        "E " WHO "operation=multiOperation|result=failure\n");

    frame = request(bench, OP_CLOSE_SESSION);
    ask(bench, &frame);
    assert_audit(bench, "I operation=ephemeralZNodeDeletionOnSessionCloseOrExpire|znode=/p/s-0000000000|"
                        "result=success\n");
    bench_free(bench);
}

static void quiet(void *context, enum diag_level level, const char *message)
{
}

int main(void)
{
    diag_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_look_as_zookeepers),
        cmocka_unit_test(who_had_something_is_named),
        cmocka_unit_test(dump_groups_by_what_expires_together),
        cmocka_unit_test(a_trace_mask_is_eight_bytes_more),
        cmocka_unit_test(the_whitelist_is_zookeepers),
        cmocka_unit_test(no_words_once_a_session_has_begun),
        cmocka_unit_test(mntr_counts),
        cmocka_unit_test(a_client_that_waits_is_counted_once),
        cmocka_unit_test(digests_are_told_at_every_128th_change),
        cmocka_unit_test(admin_commands_look_as_zookeepers),
        cmocka_unit_test(metrics_are_zookeepers),
        cmocka_unit_test(audit_lines_say_who_did_what),
    };
    return cmocka_run_group_tests_name("keeper words", tests, NULL, NULL);
}
