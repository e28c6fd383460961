/* settings_test.c: what is said of server.properties, values and where they came from, topics, descriptions. */
#include "settings/bench.h"

static void tables_are_sorted_and_their_defaults_fit(void **state)
{
    (void)state;
    const struct setting_table *tables[] = {broker_setting_table(), topic_setting_table(),
                                            zoo_setting_table()};
    for (size_t t = 0; t < 3; t++) {
        struct arena arena;
        arena_init(&arena, 0);
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct setting_spec *spec = &tables[t]->specs[i];
            if (i > 0) assert_true(strcmp(tables[t]->specs[i - 1].name, spec->name) < 0);
            assert_int_equal(setting_find(tables[t], slice_of(spec->name)), i);
            struct text why = {0};
            struct setting_value value;
            if (setting_parse(spec, slice_of(spec->default_text), &arena, &value, &why) != OK)
                fail_msg("%s", spec->name);
            assert_true(strlen(spec->doc) > 10 && spec->doc[strlen(spec->doc) - 1] == '.');
            assert_int_equal(setting_find(tables[t], SLICE("no.such.key")), -1);
            text_free(&why);
        }
        arena_free(&arena);
    }
    /* As many as Apache 4.3.1 has, those that only 3.9 has, and ours. */
    assert_int_equal(SETTING_COUNT, 360 + 46 + 11);
    assert_int_equal(TOPIC_SETTING_COUNT, 34 + 3);
}

/* A file, and all that is said of it, line by line. */
static void files_and_what_is_said_of_them(void **state)
{
    (void)state;
    static const struct {
        const char *file, *said;
    } rows[] = {
        {"", ""},
        {"# nothing\n! but\n\n   # comments\n", ""},
        {"num.partitions=3\n", ""},
        {"num.partitions=many\n", "f:1: num.partitions: \"many\" is not a whole number of this size; a whole "
                                  "number of at least 1 would be right\n"},
        {"\n\nnum.partitions=0\n",
         "f:3: num.partitions: \"0\" is too small; a whole number of at least 1 would be right\n"},
        {"keeper.client.port=70000\n",
         "f:1: keeper.client.port: \"70000\" is too large; a whole number from 0 to 65535 would be right\n"},
        {"num.partitions=99999999999\n",
         "f:1: num.partitions: \"99999999999\" is not a whole number of this size; a "
         "whole number of at least 1 would be right\n"},
        {"auto.create.topics.enable=yes\n",
         "f:1: auto.create.topics.enable: \"yes\" is neither true nor false, one of which would be right\n"},
        {"log.cleaner.min.cleanable.ratio=1.5\n",
         "f:1: log.cleaner.min.cleanable.ratio: \"1.5\" is too large; a number from 0 to 1 would be right\n"},
        {"log.cleanup.policy=delete,shred\n",
         "f:1: log.cleanup.policy: \"shred\" is not known here; delete or compact would be right\n"},
        {"log.message.timestamp.type=createtime\n",
         "f:1: log.message.timestamp.type: \"createtime\" is not known "
         "here; CreateTime or LogAppendTime would be right\n"},
        {"log.retention.hoours=1\nsome.plugin.key=1\n",
         "f:1: log.retention.hoours: unknown and ignored; log.retention.hours would be right, perhaps\n"
         "f:2: some.plugin.key: unknown and ignored\n"},
        {"num.partitions=1\nnum.partitions=2\n",
         "f:2: num.partitions: set before, in line 1; this one counts\n"},
        {"background.threads=3\n",
         "f:1: background.threads: has no effect here: Threads for background work; lanes "
         "of workers are sized by themselves here.\n"},
        {"super.users=User:a\nport=9092\n",
         "f:1: super.users: has no effect without an authorizer\n"
         "f:2: port: is no key since Kafka 3.0; listeners=PLAINTEXT://HOST:PORT would be right\n"},
        {"authorizer.class.name=kafka.security.authorizer.AclAuthorizer\n",
         "f:1: authorizer.class.name: refused, for it would be ignored: The class that decides who may do "
         "what; none "
         "means everybody may do everything. Without the key the node starts\n"},
        {"authorizer.class.name=\nssl.client.auth=none\n", ""},
        {"ssl.client.auth=required\n", "f:1: ssl.client.auth: refused, for it would be ignored: Whether SSL "
                                       "clients must show a certificate. Without "
                                       "the key, or with none, the node starts\n"},
        {"delegation.token.secret.key=hush\n",
         "f:1: delegation.token.secret.key: refused, for it would be ignored: The "
         "secret delegation tokens are made from. Without the key the node starts\n"},
        {"zookeeper.set.acl=true\nzookeeper.ssl.client.enable=false\n",
         "f:1: zookeeper.set.acl: refused, for it would be ignored: Protects znodes with ACLs; they would be "
         "open to "
         "everybody here. Without the key, or with false, the node starts\n"},
        {"inter.broker.protocol.version=2.8\n",
         "f:1: inter.broker.protocol.version: \"2.8\" is not known here; 3.9-IV0 or 3.9 would be right\n"},
        {"listeners=SSL://:9093\n", "f:1: listeners: refused: listener SSL is SSL, which is not spoken here "
                                    "yet; PLAINTEXT would be right\n"
                                    "f: inter.broker.listener.name: not set, and no listener is called "
                                    "PLAINTEXT; the name of an advertised "
                                    "listener would be right\n"},
        {"listeners=PLAINTEXT://:9092,INTERNAL://:9093\n",
         "f:1: listeners: listener INTERNAL has no security protocol; "
         "listener.security.protocol.map=INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT would be right\n"},
        {"listeners=PLAINTEXT://:9092,PLAINTEXT://:9093\n",
         "f:1: listeners: two listeners are called PLAINTEXT; each a name of its own would be right\n"},
        {"listeners=A://:9092,B://127.0.0.1:9092\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT\n"
         "inter.broker.listener.name=A\n",
         "f:1: listeners: A and B share port 9092; each a port of its own would be right\n"},
        {"listeners=localhost:9092\n",
         "f:1: listeners: \"localhost:9092\" is not a listener; PLAINTEXT://127.0.0.1:9092 "
         "would be right\n"},
        {"advertised.listeners=PLAINTEXT://0.0.0.0:9092\n",
         "f:1: advertised.listeners: nobody can dial 0.0.0.0; a name or address of this machine would be "
         "right\n"},
        {"advertised.listeners=OTHER://h:9092\n",
         "f:1: advertised.listeners: listeners has no OTHER; one of its names would be right\n"
         "f: inter.broker.listener.name: not set, and no listener is called PLAINTEXT; the name of an "
         "advertised "
         "listener would be right\n"},
        {"inter.broker.listener.name=NOPE\n", "f:1: inter.broker.listener.name: NOPE is not among the "
                                              "advertised listeners; one of them would be right\n"},
        {"listener.security.protocol.map=A:PLAIN\n",
         "f:1: listener.security.protocol.map: \"A:PLAIN\" is not NAME:PROTOCOL; PLAINTEXT, SSL, "
         "SASL_PLAINTEXT and "
         "SASL_SSL are the protocols\n"
         "f: listeners: listener PLAINTEXT has no security protocol; "
         "listener.security.protocol.map=INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT would be right\n"},
        {"listener.name.internal.ssl.client.auth=required\nlistener.name.a.scram-sha-256.sasl.jaas.config=x\n"
         "listener.name.a.nothing=1\n",
         "f:1: listener.name.internal.ssl.client.auth: refused, for it would be ignored: Whether SSL clients "
         "must show "
         "a certificate. Without the key, or with none, the node starts\n"
         "f:2: listener.name.a.scram-sha-256.sasl.jaas.config: has no effect here: no key can be set for one "
         "listener "
         "alone yet\n"
         "f:3: listener.name.a.nothing: unknown and ignored\n"},
        {"process.roles=controller\nnode.id=1\n", "f:1: process.roles: a KRaft controller alone has no work "
                                                  "here; broker, or broker,controller, would be right\n"},
        {"process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093\n"
         "controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n",
         "f:1: process.roles: a KRaft file: node.id is the broker id, controller listeners are not opened\n"},
        {"process.roles=broker\nnode.id=2\ncontroller.quorum.voters=1@a:9093,x\n",
         "f:3: controller.quorum.voters: names node 1, but a KRaft quorum of other nodes is not spoken here; "
         "only this "
         "node, or zookeeper.connect, would be right\n"
         "f:3: controller.quorum.voters: \"x\" is not a voter; ID@HOST:PORT would be right\n"
         "f:1: process.roles: a KRaft file: node.id is the broker id, controller listeners are not opened\n"},
        {"process.roles=broker\nnode.id=2\ncontroller.quorum.bootstrap.servers=a:9093\n",
         "f:3: controller.quorum.bootstrap.servers: names other nodes, but a KRaft quorum is not spoken "
         "here; only this "
         "node, with process.roles=broker,controller, or zookeeper.connect, would be right\n"
         "f:1: process.roles: a KRaft file: node.id is the broker id, controller listeners are not opened\n"},
        {"node.id=1\nbroker.id=2\n",
         "f:1: node.id: 1 is not broker.id, 2; one of them, or both alike, would be right\n"},
        {"broker.id=2000\n",
         "f:1: broker.id: 2000 is above reserved.broker.max.id, 1000, where generated ids are; a "
         "smaller one would be right\n"},
        {"zookeeper.connect=a:2181,b/kafka\n", ""},
        {"zookeeper.connect=a:b,c\n", "f:1: zookeeper.connect: \"a:b,c\" is not a list of servers; "
                                      "host:2181,host2:2181/chroot would be right\n"},
        {"zookeeper.connect=[::1]:2181\nkeeper.client.port=0\n",
         "f:2: keeper.client.port: has no effect here: zookeeper.connect says another ensemble\n"},
        {"log.retention.hours=0\nlog.dirs=/a,/b,/a\nmetrics.listener=9644\n",
         "f:1: log.retention.hours: 0 would delete records at once; -1 (for ever) or at least 1 would be "
         "right\n"
         "f:3: metrics.listener: \"9644\" is not an address; 127.0.0.1:9644 would be right\n"
         "f:2: log.dirs: names \"/a\" twice\n"},
        {"group.min.session.timeout.ms=9000000\n",
         "f:1: group.min.session.timeout.ms: 9000000 is more than group.max.session.timeout.ms, 1800000\n"},
        {"broker.rack=${env:NOPE}\nbroker.id=${vault:x}\n",
         "f:1: broker.rack: the environment has no variable NOPE; set it, or write the value\n"
         "f:2: broker.id: ${vault:...} has no provider here; env, file or dir would be right\n"},
        {"broker.rack=\\u12G4\nnum.partitions=x\n",
         "f:1: \\u without four hexadecimal digits; \\\\u would be a backslash and a u\n"
         "f:2: num.partitions: \"x\" is not a whole number of this size; a whole number of at least 1 would "
         "be right\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct settings_sources sources = {
            .name = "f", .text = slice_of(rows[i].file), .environment = environment, .read_file = read_file};
        struct settings *settings = NULL;
        enum error err = settings_load(&sources, &settings);
        assert_non_null(settings);
        struct text said = {0};
        const struct problems *problems = settings_problems(settings);
        size_t errors = 0;
        for (size_t p = 0; p < problems->count; p++) {
            problem_print(&problems->items[p], &said);
            text_addc(&said, '\n');
            errors += problem_is_error(&problems->items[p]);
        }
        assert_string_equal(said.data ? said.data : "", rows[i].said);
        assert_int_equal(err, errors ? ERR_CONFIG : OK);
        text_free(&said);
        settings_free(&settings);
        assert_null(settings);
    }
}

static void values_and_where_they_came_from(void **state)
{
    (void)state;
    const char *overrides[] = {"num.partitions=5", "broker.rack=r=2"};
    struct settings *settings = load("num.partitions: 3\n"
                                     "  log.dirs = /a , /b,\\\n      /c\n"
                                     "auto.create.topics.enable FALSE\n"
                                     "default.replication.factor=+1\n"
                                     "log.cleaner.min.cleanable.ratio=.25\n"
                                     "offset.metadata.max.bytes=${env:PARTS}0\n"
                                     "offsets.topic.num.partitions=${file:/etc/secrets:parts}\n"
                                     "max.connections=${dir:/run/secrets:parts}\n"
                                     "inter.broker.listener.name=\\u0050LAINTEXT\n"
                                     "zookeeper.connect=zk:2181/${plain}\n",
                                     overrides, 2, OK);
    assert_int_equal(settings_long(settings, SETTING_NUM_PARTITIONS), 5);
    assert_string_equal(settings_text(settings, SETTING_BROKER_RACK), "r=2");
    struct setting_list dirs = settings_log_dirs(settings);
    assert_int_equal(dirs.count, 3);
    assert_true(slice_is(dirs.items[0], "/a") && slice_is(dirs.items[1], "/b") &&
                slice_is(dirs.items[2], "/c"));
    assert_string_equal(settings_text(settings, SETTING_LOG_DIRS), "/a,/b,/c");
    assert_false(settings_bool(settings, SETTING_AUTO_CREATE_TOPICS_ENABLE));
    assert_string_equal(settings_text(settings, SETTING_AUTO_CREATE_TOPICS_ENABLE), "false");
    assert_string_equal(settings_text(settings, SETTING_DEFAULT_REPLICATION_FACTOR), "1");
    assert_true(settings_double(settings, SETTING_LOG_CLEANER_MIN_CLEANABLE_RATIO) == 0.25);
    assert_int_equal(settings_long(settings, SETTING_OFFSET_METADATA_MAX_BYTES), 120);
    assert_int_equal(settings_long(settings, SETTING_OFFSETS_TOPIC_NUM_PARTITIONS), 7);
    assert_int_equal(settings_long(settings, SETTING_MAX_CONNECTIONS), 9);
    assert_string_equal(settings_text(settings, SETTING_INTER_BROKER_LISTENER_NAME), "PLAINTEXT");
    assert_string_equal(settings_text(settings, SETTING_ZOOKEEPER_CONNECT), "zk:2181/${plain}");
    assert_true(settings_is_null(settings, SETTING_LOG_RETENTION_MS));
    assert_int_equal(settings_long(settings, SETTING_LOG_RETENTION_HOURS), 168);
    assert_false(settings_is_set(settings, SETTING_LOG_RETENTION_HOURS));
    assert_int_equal(settings_broker_id(settings), -1);

    static const struct {
        enum setting key;
        const char *origin;
    } origins[] = {{SETTING_NUM_PARTITIONS, "--override"},
                   {SETTING_LOG_DIRS, "f:2"},
                   {SETTING_AUTO_CREATE_TOPICS_ENABLE, "f:4"},
                   {SETTING_MIN_INSYNC_REPLICAS, "default"}};
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        struct text origin = {0};
        settings_origin(settings, origins[i].key, &origin);
        assert_string_equal(origin.data, origins[i].origin);
        text_free(&origin);
    }
    assert_int_equal(settings_replication_factor(settings, SETTING_OFFSETS_TOPIC_REPLICATION_FACTOR, 1), 1);
    assert_int_equal(settings_replication_factor(settings, SETTING_OFFSETS_TOPIC_REPLICATION_FACTOR, 5), 3);
    settings_free(&settings);

    const char *given[] = {"offsets.topic.replication.factor=2"};
    settings = load("", given, 1, OK);
    assert_int_equal(settings_replication_factor(settings, SETTING_OFFSETS_TOPIC_REPLICATION_FACTOR, 1), 2);
    settings_free(&settings);
    const char *broken[] = {"num.partitions"};
    settings = load("", broken, 1, ERR_CONFIG);
    settings_free(&settings);
}

static void no_file_is_the_development_default(void **state)
{
    (void)state;
    struct settings *settings = load(NULL, NULL, 0, OK);
    size_t count;
    const struct listener_setting *listeners = settings_listeners(settings, &count);
    assert_int_equal(count, 1);
    assert_true(slice_is(listeners[0].host, "127.0.0.1"));
    assert_int_equal(listeners[0].port, 9092);
    assert_true(slice_is(settings_log_dirs(settings).items[0], "./odradek-data"));
    assert_string_equal(settings_text(settings, SETTING_METRICS_LISTENER), "127.0.0.1:9644");
    assert_int_equal(settings_long(settings, SETTING_KEEPER_CLIENT_PORT), 2181);
    assert_false(settings_is_set(settings, SETTING_KEEPER_CLIENT_PORT));
    assert_int_equal(settings_problems(settings)->count, 0);
    settings_free(&settings);
    settings = load("", NULL, 0, OK);
    assert_true(slice_is(settings_log_dirs(settings).items[0], "/tmp/kafka-logs"));
    assert_true(settings_is_null(settings, SETTING_METRICS_LISTENER));
    settings_free(&settings);
}

static void listeners_know_what_they_tell(void **state)
{
    (void)state;
    struct settings *settings =
        load("listeners=internal://[::1]:9092,EXTERNAL://0.0.0.0:0,LOCAL://:9094\n"
             "advertised.listeners=EXTERNAL://${env:HOST}:443,INTERNAL://[fe80::1]:19092\n"
             "listener.security.protocol.map=INTERNAL:PLAINTEXT, external:plaintext,LOCAL:PLAINTEXT\n"
             "inter.broker.listener.name=INTERNAL\n",
             NULL, 0, OK);
    size_t count;
    const struct listener_setting *listeners = settings_listeners(settings, &count);
    assert_int_equal(count, 3);
    assert_true(slice_is(listeners[0].name, "INTERNAL") && slice_is(listeners[0].host, "::1"));
    assert_true(listeners[0].is_inter_broker && listeners[0].is_advertised);
    assert_true(slice_is(listeners[0].advertised_host, "fe80::1"));
    assert_int_equal(listeners[0].advertised_port, 19092);
    assert_true(slice_is(listeners[1].advertised_host, "example.org"));
    assert_int_equal(listeners[1].port, 0);
    assert_int_equal(listeners[1].advertised_port, 443);
    assert_false(listeners[1].is_inter_broker);
    assert_false(listeners[2].is_advertised);
    assert_int_equal(listeners[2].host.size, 0);
    settings_free(&settings);

    /* Controllers may have a way of their own. */
    const char *control = "listeners=PLAINTEXT://:9092,CONTROL://:9093\ncontrol.plane.listener.name=control\n"
                          "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROL:PLAINTEXT\n";
    settings = load(control, NULL, 0, OK);
    assert_true(slice_is(settings_inter_broker_listener(settings)->name, "PLAINTEXT"));
    assert_true(slice_is(settings_control_plane_listener(settings)->name, "CONTROL"));
    settings_free(&settings);
    settings = load("listeners=PLAINTEXT://:9092\ncontrol.plane.listener.name=NONE\n", NULL, 0, ERR_CONFIG);
    settings_free(&settings);
    settings =
        load("listeners=PLAINTEXT://:9092\ncontrol.plane.listener.name=PLAINTEXT\n", NULL, 0, ERR_CONFIG);
    settings_free(&settings);
    settings = load("listeners=PLAINTEXT://:9092\n", NULL, 0, OK);
    assert_true(slice_is(settings_control_plane_listener(settings)->name, "PLAINTEXT"));
    settings_free(&settings);

    /* No name given, but only one can be meant. */
    settings = load("listeners=A://:9092\nlistener.security.protocol.map=A:PLAINTEXT\n", NULL, 0, OK);
    listeners = settings_listeners(settings, &count);
    assert_true(count == 1 && listeners[0].is_inter_broker);
    settings_free(&settings);
}

static void dynamic_layers_lie_over_the_file(void **state)
{
    (void)state;
    struct settings *settings = load("log.retention.ms=1000\nmessage.max.bytes=100\n", NULL, 0, OK);
    struct setting_pair all[] = {{SLICE("log.retention.ms"), SLICE("2000")},
                                 {SLICE("min.insync.replicas"), SLICE("2")},
                                 {SLICE("num.partitions"), SLICE("9")},
                                 {SLICE("ssl.protocol"), SLICE("TLSv1.2")},
                                 {SLICE("message.max.bytes"), SLICE("lots")}};
    struct setting_pair one[] = {{SLICE("log.retention.ms"), SLICE("3000")}, {SLICE("nonsense"), SLICE("1")}};
    struct settings *changed;
    assert_int_equal(settings_with_dynamic(settings, one, 2, all, 5, &changed), OK);
    assert_int_equal(settings_long(changed, SETTING_LOG_RETENTION_MS), 3000);
    assert_int_equal(settings_source(changed, SETTING_LOG_RETENTION_MS), SOURCE_DYNAMIC_BROKER);
    assert_int_equal(settings_long(changed, SETTING_MIN_INSYNC_REPLICAS), 2);
    assert_int_equal(settings_source(changed, SETTING_MIN_INSYNC_REPLICAS), SOURCE_DYNAMIC_DEFAULT);
    assert_int_equal(settings_long(changed, SETTING_NUM_PARTITIONS), 1);
    assert_int_equal(settings_long(changed, SETTING_MESSAGE_MAX_BYTES), 100);
    assert_int_equal(settings_problems(changed)->count, 4);
    settings_free(&settings); /* the file's values outlive it */
    assert_int_equal(settings_long(changed, SETTING_MESSAGE_MAX_BYTES), 100);

    struct settings *again;
    assert_int_equal(settings_with_dynamic(changed, NULL, 0, NULL, 0, &again), OK);
    settings_free(&changed);
    assert_int_equal(settings_long(again, SETTING_LOG_RETENTION_MS), 1000);
    assert_int_equal(settings_source(again, SETTING_LOG_RETENTION_MS), SOURCE_STATIC);

    static const struct {
        const char *key, *value;
        bool is_default_entity;
        enum error want;
    } rows[] = {
        {"log.retention.ms", "5", true, OK},
        {"log.retention.ms", "-5", true, ERR_INVALID_CONFIG},
        {"num.partitions", "5", true, ERR_INVALID_REQUEST},
        {"no.such.key", "5", false, ERR_INVALID_REQUEST},
        {"ssl.protocol", "TLSv1.3", true, ERR_INVALID_REQUEST},
        {"ssl.protocol", "TLSv1.3", false, OK},
        {"ssl.client.auth", "required", false, ERR_INVALID_CONFIG},
        {"message.max.bytes", "", false, ERR_INVALID_CONFIG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct setting_pair pair = {slice_of(rows[i].key), slice_of(rows[i].value)};
        struct text why = {0};
        assert_int_equal(broker_overrides_check(again, rows[i].is_default_entity, &pair, 1, &why),
                         rows[i].want);
        assert_int_equal(why.size > 0, rows[i].want != OK);
        text_free(&why);
    }
    settings_free(&again);
}

static void topics_take_from_the_broker_what_they_do_not_say(void **state)
{
    (void)state;
    struct topic_config config;
    topic_config_resolve(NULL, NULL, 0, &config);
    assert_int_equal(config.retention_ms, 604800000);
    assert_int_equal(config.segment_bytes, 1 << 30);
    assert_int_equal(config.max_message_bytes, 1048588);
    assert_int_equal(config.compression, TOPIC_COMPRESSION_PRODUCER);
    assert_true(config.is_cleaned_by_delete && !config.is_cleaned_by_compact);
    assert_true(config.flush_messages == INT64_MAX && config.flush_ms == INT64_MAX);
    assert_int_equal(config.timestamp_after_max_ms, 3600000);
    assert_true(config.min_cleanable_dirty_ratio == 0.5);

    /* The older key of record times counts where the newer ones stand at their defaults. */
    struct setting_pair times[] = {{SLICE("message.timestamp.difference.max.ms"), SLICE("1000")},
                                   {SLICE("message.timestamp.before.max.ms"), SLICE("5000")}};
    topic_config_resolve(NULL, times, 1, &config);
    assert_true(config.timestamp_before_max_ms == 1000 && config.timestamp_after_max_ms == 1000);
    topic_config_resolve(NULL, times, 2, &config);
    assert_true(config.timestamp_before_max_ms == 5000 && config.timestamp_after_max_ms == 1000);

    struct settings *settings =
        load("log.retention.minutes=2\nlog.roll.hours=3\nlog.cleanup.policy=compact\n"
             "log.flush.scheduler.interval.ms=77\nlog.message.timestamp.type=LogAppendTime\n",
             NULL, 0, OK);
    topic_config_resolve(settings, NULL, 0, &config);
    assert_int_equal(config.retention_ms, 120000);
    assert_int_equal(config.segment_ms, 3 * 3600000);
    assert_int_equal(config.flush_ms, 77);
    assert_true(config.is_cleaned_by_compact && !config.is_cleaned_by_delete && config.is_append_time);
    struct setting_pair overrides[] = {{SLICE("retention.ms"), SLICE("-1")},
                                       {SLICE("cleanup.policy"), SLICE("delete, compact")},
                                       {SLICE("compression.type"), SLICE("zstd")},
                                       {SLICE("segment.ms"), SLICE("broken")},
                                       {SLICE("unknown"), SLICE("1")},
                                       {SLICE("flush.messages"), SLICE_NULL}};
    topic_config_resolve(settings, overrides, 6, &config);
    assert_int_equal(config.retention_ms, -1);
    assert_int_equal(config.compression, 4);
    assert_int_equal(config.segment_ms, 3 * 3600000);
    assert_true(config.is_cleaned_by_compact && config.is_cleaned_by_delete);
    settings_free(&settings);
    settings = load("log.retention.hours=-1\nlog.retention.ms=9\n", NULL, 0, OK);
    topic_config_resolve(settings, NULL, 0, &config);
    assert_int_equal(config.retention_ms, 9);
    settings_free(&settings);
    settings = load("log.retention.hours=-1\n", NULL, 0, OK);
    topic_config_resolve(settings, NULL, 0, &config);
    assert_int_equal(config.retention_ms, -1);
    struct text text = {0};
    bool is_null;
    assert_true(topic_setting_default(settings, SLICE("retention.ms"), &text, &is_null));
    assert_string_equal(text.data, "-1");
    assert_false(topic_setting_default(settings, SLICE("nope"), &text, &is_null));
    text_free(&text);
    settings_free(&settings);
}

static void topics_refuse_what_has_no_sense(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *why; /* NULL: right */
    } rows[] = {
        {"retention.ms", "1000", NULL},
        {"retention.ms", "-1", NULL},
        {"retention.ms", "-2",
         "retention.ms: \"-2\" is too small; a whole number of at least -1 would be right"},
        {"retention.ms", "soon",
         "retention.ms: \"soon\" is not a whole number; a whole number of at least -1 would be right"},
        {"retentoin.ms", "1", "retentoin.ms: unknown; retention.ms would be right, perhaps"},
        {"cleanup.policy", "compact,delete", NULL},
        {"cleanup.policy", "burn",
         "cleanup.policy: \"burn\" is not known here; delete or compact would be right"},
        {"min.insync.replicas", "0",
         "min.insync.replicas: \"0\" is too small; a whole number of at least 1 would be right"},
        {"compression.type", "gzip", NULL},
        {"compression.gzip.level", "-1", NULL},
        {"compression.gzip.level", "0",
         "compression.gzip.level: \"0\" is not known here; -1, 1, 2, 3, 4, 5, 6, 7, 8 or 9 would be right"},
        {"compression.type", "GZIP",
         "compression.type: \"GZIP\" is not known here; producer, uncompressed, gzip, snappy, lz4 or zstd "
         "would be right"},
        {"min.cleanable.dirty.ratio", "2",
         "min.cleanable.dirty.ratio: \"2\" is too large; a number from 0 to 1 would be right"},
        {"remote.storage.enable", "false", NULL},
        {"remote.storage.enable", "true",
         "remote.storage.enable: refused, for it would be ignored: Keeps old segments in tiered storage; "
         "there is none "
         "here. Without the key, or with false, the node starts"},
        {"leader.replication.throttled.replicas", "*", NULL},
        {"leader.replication.throttled.replicas", "0:1,2:3", NULL},
        {"leader.replication.throttled.replicas", "0-1",
         "leader.replication.throttled.replicas: is not a list of replicas; *, or 0:101,1:102 "
         "(partition:broker), would "
         "be right"},
        {"max.compaction.lag.ms", "5", NULL},
        {"message.downconversion.enable", "true", NULL},
    };
    struct settings *settings = load("", NULL, 0, OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct setting_pair pair = {slice_of(rows[i].key), slice_of(rows[i].value)};
        struct text why = {0};
        enum error err = topic_overrides_check(settings, &pair, 1, &why);
        assert_int_equal(err, rows[i].why ? ERR_INVALID_CONFIG : OK);
        assert_string_equal(why.data ? why.data : "", rows[i].why ? rows[i].why : "");
        text_free(&why);
    }
    struct setting_pair lags[] = {{SLICE("max.compaction.lag.ms"), SLICE("5")},
                                  {SLICE("min.compaction.lag.ms"), SLICE("6")}};
    struct text why = {0};
    assert_int_equal(topic_overrides_check(settings, lags, 2, &why), ERR_INVALID_CONFIG);
    text_free(&why);
    settings_free(&settings);
}

struct described {
    const char *name;
    struct setting_description found;
    size_t count;
};

static void remember(void *context, const struct setting_description *description)
{
    struct described *described = context;
    described->count++;
    if (strcmp(description->name, described->name) == 0) described->found = *description;
}

static void descriptions_name_every_source(void **state)
{
    (void)state;
    struct settings *file = load(
        "log.retention.hours=24\nsasl.jaas.config=hush\nadvertised.listeners=PLAINTEXT://h:1\n", NULL, 0, OK);
    struct setting_pair all = {SLICE("log.retention.ms"), SLICE("2000")};
    struct settings *settings;
    assert_int_equal(settings_with_dynamic(file, NULL, 0, &all, 1, &settings), OK);
    settings_free(&file);
    struct arena arena;
    arena_init(&arena, 0);

    struct described d = {.name = "retention.ms"};
    struct setting_pair own = {SLICE("retention.ms"), SLICE("5")};
    assert_int_equal(settings_describe_topic(settings, &own, 1, &arena, remember, &d), OK);
    assert_int_equal(d.count, TOPIC_SETTING_COUNT);
    assert_string_equal(d.found.value, "5");
    assert_int_equal(d.found.source, SOURCE_TOPIC);
    static const struct setting_synonym want[] = {{"retention.ms", "5", SOURCE_TOPIC},
                                                  {"log.retention.ms", "2000", SOURCE_DYNAMIC_DEFAULT},
                                                  {"log.retention.hours", "24", SOURCE_STATIC},
                                                  {"log.retention.hours", "168", SOURCE_DEFAULT}};
    assert_int_equal(d.found.synonym_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(d.found.synonyms[i].name, want[i].name);
        assert_string_equal(d.found.synonyms[i].value, want[i].value);
        assert_int_equal(d.found.synonyms[i].source, want[i].source);
    }
    d = (struct described){.name = "segment.ms"};
    assert_int_equal(settings_describe_topic(settings, NULL, 0, &arena, remember, &d), OK);
    assert_string_equal(d.found.value, "604800000");
    assert_int_equal(d.found.source, SOURCE_DEFAULT);
    d = (struct described){.name = "local.retention.ms"};
    assert_int_equal(settings_describe_topic(settings, NULL, 0, &arena, remember, &d), OK);
    assert_string_equal(d.found.value, "-2");

    d = (struct described){.name = "sasl.jaas.config"};
    assert_int_equal(settings_describe_broker(settings, &arena, remember, &d), OK);
    assert_int_equal(d.count, SETTING_COUNT);
    assert_null(d.found.value);
    assert_true(d.found.is_sensitive && !d.found.is_read_only);
    assert_int_equal(d.found.source, SOURCE_STATIC);
    assert_int_equal(d.found.synonym_count, 1);
    assert_null(d.found.synonyms[0].value);
    d = (struct described){.name = "advertised.listeners"};
    assert_int_equal(settings_describe_broker(settings, &arena, remember, &d), OK);
    assert_string_equal(d.found.value, "PLAINTEXT://h:1");
    assert_true(d.found.is_read_only);
    assert_int_equal(d.found.type, SETTING_LIST);
    d = (struct described){.name = "log.retention.ms"};
    assert_int_equal(settings_describe_broker(settings, &arena, remember, &d), OK);
    assert_int_equal(d.found.synonym_count, 3);
    arena_free(&arena);
    settings_free(&settings);
}

static void committed_reference(struct text *page)
{
    char path[512];
    snprintf(path, sizeof path, "%s/docs/settings.md", getenv("SOURCE_ROOT"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char piece[4096];
    for (size_t got; (got = fread(piece, 1, sizeof piece, file)) > 0;)
        text_add(page, (struct slice){(const uint8_t *)piece, got});
    fclose(file);
    assert_false(page->failed);
}

static void the_reference_and_the_check(void **state)
{
    (void)state;
    struct text page = {0};
    settings_reference(&page);
    assert_non_null(strstr(page.data, "| `num.partitions` | INT | 1 | 1 .. | restart |  | "));
    assert_non_null(strstr(page.data, "| `tickTime` |"));
    struct text there = {0};
    committed_reference(&there);
    assert_string_equal(there.data, page.data); /* odradek config reference > docs/settings.md */
    text_free(&there);
    text_free(&page);
    assert_int_equal(settings_check("/etc/zoo.cfg", SLICE("tickTime=2000\n"), NULL, 0, &page), ERR_CONFIG);
    assert_string_equal(
        page.data, "/etc/zoo.cfg: dataDir: not set; dataDir=/var/lib/zookeeper, for one, would be right\n");
    text_reset(&page);
    assert_int_equal(
        settings_check("server.properties", SLICE("log.dirs=/a\nnum.partition=4\n"), NULL, 0, &page), OK);
    assert_string_equal(page.data,
                        "server.properties:2: num.partition: unknown and ignored; num.partitions would be "
                        "right, perhaps\n");
    text_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_sorted_and_their_defaults_fit),
        cmocka_unit_test(files_and_what_is_said_of_them),
        cmocka_unit_test(values_and_where_they_came_from),
        cmocka_unit_test(no_file_is_the_development_default),
        cmocka_unit_test(listeners_know_what_they_tell),
        cmocka_unit_test(dynamic_layers_lie_over_the_file),
        cmocka_unit_test(topics_take_from_the_broker_what_they_do_not_say),
        cmocka_unit_test(topics_refuse_what_has_no_sense),
        cmocka_unit_test(descriptions_name_every_source),
        cmocka_unit_test(the_reference_and_the_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
