/* config_files_test.c: zoo.cfg and what is said of it, property files as Java reads them, random files. */
#include "settings/bench.h"

#include "base/random.h"
#include "settings/properties.h"

static void zoo_files(void **state)
{
    (void)state;
    static const struct {
        const char *file, *said;
    } rows[] = {
        {"dataDir=/d\n", ""},
        {"clientPort=2181\n", "z: dataDir: not set; dataDir=/var/lib/zookeeper, for one, would be right\n"},
        {"dataDir=/d\nclientPort=2181\nmaxClientCnxns=0\nadmin.enableServer=false\n", ""},
        {"dataDir=/d\ndataLogDir=/"
         "l\nautopurge.purgeInterval=1\nautopurge.snapRetainCount=2\naudit.enable=true\n"
         "audit.impl.class=x.Y\nadmin.forceHttps=true\nadmin.idleTimeout=1\nnio.numWorkerThreads=2\n",
         "z:4: autopurge.snapRetainCount: \"2\" is too small; a whole number of at least 3 would be right\n"
         "z:6: audit.impl.class: refused, for it would be ignored: A Java class that writes the audit log. "
         "Without "
         "the key, or with org.apache.zookeeper.audit.Slf4jAuditLogger, the node starts\n"
         "z:7: admin.forceHttps: refused, for it would be ignored: The admin server with TLS only; it would "
         "be open "
         "here. Without the key, or with false, the node starts\n"
         "z:8: admin.idleTimeout: has no effect here: ms after which an idle admin connection is closed.\n"
         "z:9: nio.numWorkerThreads: has no effect here: ZooKeeper's threads\n"},
        {"dataDir=/d\nmetricsProvider.className=x.Y\n",
         "z:2: metricsProvider.className: has no effect here: a class of one's own; "
         "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider would serve metrics\n"},
        {"dataDir=/d\ntickTime=0\nclientprot=1\nfoo.bar=2\n",
         "z:2: tickTime: \"0\" is too small; a whole number of at least 1 would be right\n"
         "z:3: clientprot: unknown and ignored; clientPort would be right, perhaps\n"
         "z:4: foo.bar: unknown and ignored\n"},
        {"dataDir=/d\nserver.1=a:2888:3888:observer\nserver.2=b:2888:3888:observer;2182\n",
         "z: server.N: observers only; a participant would be right\n"},
        {"dataDir=/d\nstandaloneEnabled=false\n",
         "z:2: standaloneEnabled: forbids a server alone, and there is no server.N line; "
         "server.1=HOST:2888:3888 would be right\n"},
        {"dataDir=/d\nstandaloneEnabled=false\ndynamicConfigFile=/lines\n", ""},
        {"dataDir=/d\nserver.1=a:2888\n",
         "z:2: server.1: is not a server; server.1=HOST:2888:3888 would be right\n"},
        {"dataDir=/d\nauthProvider.1=x.Y\n"
         "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider\n",
         "z:2: authProvider.1: refused, for it would be ignored: another authentication scheme\n"},
        {"dataDir=/d\nsecureClientPort=2182\nssl.keyStore.location=/k\nssl.clientAuth=none\nssl.crl=true\n"
         "ssl.context.supplier.class=x.Y\n",
         "z:5: ssl.crl: refused, for it would be ignored: Asks for revoked certificates, of clients. Without "
         "the "
         "key, or with false, the node starts\n"
         "z:6: ssl.context.supplier.class: has no effect here: a parameter of Java's TLS\n"},
        {"dataDir=/d\nminSessionTimeout=50000\n", "z:2: minSessionTimeout: is more than maxSessionTimeout\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct zoo_config config;
        enum error err = zoo_config_load(slice_of(rows[i].file), "z", &config);
        struct text said = {0};
        for (size_t p = 0; p < config.problems.count; p++) {
            problem_print(&config.problems.items[p], &said);
            text_addc(&said, '\n');
        }
        assert_string_equal(said.data ? said.data : "", rows[i].said);
        assert_int_equal(err, config.problems.error_count ? ERR_CONFIG : OK);
        text_free(&said);
        zoo_config_free(&config);
    }
    struct zoo_config config;
    assert_int_equal(
        zoo_config_load(SLICE("dataDir=/d\ntickTime=3000\nserver.3=[::1]:2888:3888:participant;[::]:2199\n"
                              "zookeeper.extendedTypesEnabled=true\nskipACL=yes\n4lw.commands.whitelist=*\n"),
                        "z", &config),
        OK);
    assert_int_equal(config.min_session_timeout_ms, 6000);
    assert_int_equal(config.max_session_timeout_ms, 60000);
    assert_int_equal(config.server_count, 1);
    assert_int_equal(config.servers[0].id, 3);
    assert_true(slice_is(config.servers[0].host, "::1"));
    assert_int_equal(config.client_port, 2199);
    assert_string_equal(config.client_host, "::");
    assert_string_equal(config.data_log_dir, "/d");
    assert_true(zoo_bool(&config, ZOO_EXTENDED_TYPES_ENABLED) && zoo_bool(&config, ZOO_SKIP_ACL));
    assert_true(zoo_bool(&config, ZOO_FORCE_SYNC));
    assert_string_equal(zoo_text(&config, ZOO_FOUR_LETTER_WORDS), "*");
    zoo_config_free(&config);
}

static void zoo_files_are_not_alone(void **state)
{
    static const char *const properties[] = {"zookeeper.snapCount=7", "zookeeper.skipACL=yes",
                                             "zookeeper.nosuch=1", "zookeeper.maxCnxns"};
    static const char *const overrides[] = {"tickTime=500", "tickTime=600", "dataDir=/o=p"};
    const struct zoo_beside beside = {properties, 4, overrides, 3};
    struct zoo_config config;
    enum error err =
        zoo_config_load_beside(SLICE("dataDir=/d\ntickTime=3000\nsnapCount=9\n"), "z", &beside, &config);
    struct text said = {0};
    for (size_t p = 0; p < config.problems.count; p++) {
        problem_print(&config.problems.items[p], &said);
        text_addc(&said, '\n');
    }
    assert_non_null(strstr(said.data, "-D:3: nosuch: unknown and ignored\n"));
    assert_non_null(strstr(said.data, "-D:4: maxCnxns: "));
    assert_non_null(strstr(said.data, "--override:2: tickTime: set before; this one counts\n"));
    assert_null(strstr(said.data, "z:"));
    assert_int_equal(err, ERR_CONFIG);                        /* maxCnxns is no number */
    assert_int_equal(zoo_number(&config, ZOO_SNAP_COUNT), 9); /* the file's word against Java's */
    assert_int_equal(config.tick_ms, 600);
    assert_string_equal(config.data_dir, "/o=p");
    assert_true(zoo_bool(&config, ZOO_SKIP_ACL));
    text_free(&said);
    zoo_config_free(&config);
}

static void property_files_are_read_as_java_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text, *key, *value;
        int line;
    } rows[] = {
        {"a=b", "a", "b", 1},
        {"  a  =  b  ", "a", "b  ", 1},
        {"a b", "a", "b", 1},
        {"a:b=c", "a", "b=c", 1},
        {"a", "a", "", 1},
        {"a\\ b\\==c\\td", "a b=", "c\td", 1},
        {"a=b\\\n   c\\\r\n\td", "a", "bcd", 1},
        {"# x\\\na=b", "a", "b", 2},
        {"a=b\\\\\nc=d", "a", "b\\", 1},
        {"a=\\u00e9\\ud83d\\ude00\\ud83d!", "a", "\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd!", 1},
        {"\r\r\n\na=b", "a", "b", 4},
        {"a=b\\", "a", "b", 1},
        {"=b", "", "b", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena;
        arena_init(&arena, 0);
        struct properties properties = properties_open(slice_of(rows[i].text));
        struct property property;
        const char *why;
        assert_int_equal(properties_next(&properties, &arena, &property, &why), OK);
        assert_string_equal(property.key.data, rows[i].key);
        assert_string_equal(property.value.data, rows[i].value);
        assert_int_equal(property.line, rows[i].line);
        arena_free(&arena);
    }
}

static void random_files_never_crash(void **state)
{
    (void)state;
    static const char *const words[] = {"listeners",
                                        "=",
                                        "PLAINTEXT://",
                                        ":9092",
                                        ",",
                                        "\n",
                                        "\\",
                                        "\\u00",
                                        "${env:",
                                        "}",
                                        "log.dirs",
                                        "listener.name.",
                                        "process.roles",
                                        "broker",
                                        "server.1",
                                        "::1",
                                        "#",
                                        "advertised.listeners",
                                        "controller.quorum.voters",
                                        "1@a:9093",
                                        " ",
                                        "\t",
                                        "dataDir",
                                        "listener.security.protocol.map",
                                        "A:PLAINTEXT",
                                        "zookeeper.connect",
                                        "/",
                                        "-1",
                                        "${file:/etc/secrets:parts}",
                                        "num.partitions",
                                        "99999999999999999999",
                                        "\r",
                                        "[",
                                        "]"};
    struct random random;
    random_seed(&random, 4);
    for (int round = 0; round < 3000; round++) {
        struct text file = {0};
        for (uint64_t n = random_below(&random, 60); n > 0; n--) {
            if (random_below(&random, 8) == 0)
                text_addc(&file, (char)random_next(&random));
            else
                text_addz(&file, words[random_below(&random, sizeof words / sizeof *words)]);
        }
        struct settings_sources sources = {
            .name = "f", .text = text_slice(&file), .environment = environment, .read_file = read_file};
        struct settings *settings = NULL;
        enum error err = settings_load(&sources, &settings);
        assert_true(err == OK || err == ERR_CONFIG);
        assert_int_equal(err == ERR_CONFIG, settings_problems(settings)->error_count > 0);
        if (err == OK) {
            size_t count;
            const struct listener_setting *listeners = settings_listeners(settings, &count);
            assert_true(count > 0);
            size_t inter = 0;
            for (size_t i = 0; i < count; i++) inter += listeners[i].is_inter_broker;
            assert_int_equal(inter, 1);
            assert_true(settings_log_dirs(settings).count > 0);
        }
        settings_free(&settings);
        struct zoo_config config;
        err = zoo_config_load(text_slice(&file), "z", &config);
        assert_true(err == OK || err == ERR_CONFIG);
        zoo_config_free(&config);
        text_free(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zoo_files),
        cmocka_unit_test(zoo_files_are_not_alone),
        cmocka_unit_test(property_files_are_read_as_java_reads_them),
        cmocka_unit_test(random_files_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
