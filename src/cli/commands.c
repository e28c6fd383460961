/* commands.c: the table of commands, from which parsing and help are made. */
#include "cli/commands.h"

#define END                                                                                                  \
    {                                                                                                        \
        0                                                                                                    \
    }

static const struct cli_option server_options[] = {
    {"override", 0, "KEY=VALUE", "set a key over what the file says; may be repeated"},
    {"ready-fd", 0, "N", "also write a byte to this descriptor when ready"},
    {"loops", 0, "N", "event loops (default: one for each core; work moves to a second one only under load)"},
    {"spread", 0, NULL, "give every loop work from the start, loaded or not"},
    END,
};
static const struct cli_option import_options[] = {
    {"from", 0, "DIR", "Apache's dataDir, or the version-2 in it"},
    {"log-dir", 0, "DIR", "Apache's dataLogDir, when it had one"},
    {"to", 0, "DIR", "the keeper's dataDir"},
    {"force", 0, NULL, "take what can be read, in spite of damage, gaps, or another digest"},
    END,
};
static const struct cli_option export_options[] = {
    {"from", 0, "DIR", "the keeper's dataDir"},
    {"to", 0, "DIR", "a dataDir for Apache; a version-2 is made in it"},
    END,
};
static const struct cli_option keeper_options[] = {
    {"override", 0, "KEY=VALUE", "set a key over what the file says; may be repeated"},
    {"ready-fd", 0, "N", "also write a byte to this descriptor when ready"},
    END,
};
static const struct cli_option zkserver_options[] = {
    {"config", 0, "DIR", "where zoo.cfg is (default: $ZOOCFGDIR, or conf)"},
    {"ready-fd", 0, "N", "also write a byte to this descriptor when ready"},
    END,
};
#define ZKSERVER_DETAILS                                                                                     \
    "A file without a slash is looked for in --config DIR, $ZOOCFGDIR or conf, then here; none is "          \
    "zoo.cfg.\n"                                                                                             \
    "-Dzookeeper.KEY=VALUE in SERVER_JVMFLAGS and JVMFLAGS, ZOO_LOG_DIR and ZOOPIDFILE count as in "         \
    "zkServer.sh."
static const struct cli_option zk_options[] = {
    {"server", 's', "HOST:PORT,.../CHROOT",
     "where the ensemble is (ODRADEK_ZK_SERVER; default localhost:2181)"},
    {"auth", 'a', "SCHEME:AUTH", "prove who you are: digest:USER:PASSWORD; may be repeated"},
    {"session-timeout", 0, "DURATION", "of the session (default 30s)"},
    {"client-configuration", 0, "FILE", "TLS: client.secure, ssl.* as ZooKeeper's clients have them"},
    END,
};
static const struct cli_option decode_options[] = {
    {"api", 0, "N", "key of the API, e.g. 0 for Produce"},
    {"version", 0, "N", "version of the message"},
    {"response", 0, NULL, "it is a response, not a request"},
    END,
};
static const struct cli_option dump_options[] = {
    {"deep", 'd', NULL, "records too, not only batches"},
    END,
};
static const struct cli_option list_options[] = {
    {"internal", 0, NULL, "internal topics too"},
    END,
};
static const struct cli_option create_options[] = {
    {"partitions", 'p', "N", "partitions (default: the broker's num.partitions)"},
    {"replication-factor", 'r', "N", "replicas of each (default: the broker's default.replication.factor)"},
    {"replicas", 0, "N", "the same"},
    {"assignment", 0, "1:2:3,2:3:1", "the brokers of each partition, its preferred leader first"},
    {"config", 'c', "KEY=VALUE", "a configuration of the topic; may be repeated"},
    {"retention", 0, "DURATION", "short for -c retention.ms: 7d, 12h, 30m"},
    {"segment", 0, "SIZE", "short for -c segment.bytes: 512MiB"},
    {"if-not-exists", 0, NULL, "an existing topic is fine"},
    {"dry-run", 0, NULL, "only let the broker check it"},
    END,
};
static const struct cli_option yes_options[] = {
    {"yes", 'y', NULL, "do not ask"},
    END,
};
static const struct cli_option grow_options[] = {
    {"partitions", 'p', "N", "partitions it shall have in all"},
    {"dry-run", 0, NULL, "only let the broker check it"},
    END,
};
static const struct cli_option alter_options[] = {
    {"config", 'c', "KEY=VALUE", "set a configuration; may be repeated"},
    {"unset", 0, "KEY", "back to the default; may be repeated"},
    {"partitions", 'p', "N", "partitions it shall have in all (as topic grow)"},
    {"dry-run", 0, NULL, "of --partitions: only let the broker check it"},
    END,
};
static const struct cli_option describe_options[] = {
    {"trouble", 0, NULL, "only partitions without a leader, or with replicas offline or out of sync"},
    END,
};
static const struct cli_option status_options[] = {
    {"watch", 'w', NULL, "stay, and show it again and again"},
    {"interval", 0, "DURATION", "how often (default 1s)"},
    {"check", 0, NULL, "exit 1 unless all is well"},
    END,
};
static const struct cli_option balance_options[] = {
    {"execute", 0, NULL, "do it (default: only show the plan)"},
    {"throttle", 0, "BYTES", "copy at most this much a second in and out of each broker: 50MB, 10MiB"},
    {"leaders-only", 0, NULL, "change only who leads; nothing is copied"},
    {"no-wait", 0, NULL, "leave when the controller has it"},
    {"dry-run", 0, NULL, "only show the plan, which is the default"},
    END,
};
static const struct cli_option drain_options[] = {
    {"leaders-only", 0, NULL, "only leaders, as before a restart; nothing is copied"},
    {"throttle", 0, "BYTES", "copy at most this much a second in and out of each broker"},
    {"no-wait", 0, NULL, "leave when the controller has it"},
    {"yes", 'y', NULL, "do not ask"},
    {"dry-run", 0, NULL, "only show the plan"},
    END,
};
static const struct cli_option undrain_options[] = {
    {"throttle", 0, "BYTES", "copy at most this much a second in and out of each broker"},
    {"no-wait", 0, NULL, "leave when the controller has it"},
    {"yes", 'y', NULL, "do not ask"},
    {"dry-run", 0, NULL, "only show the plan"},
    END,
};
static const struct cli_option reassign_options[] = {
    {"assignment", 0, "1:2:3,2:3:1", "the brokers of each partition, its preferred leader first"},
    {"replication-factor", 'r', "N", "more or fewer replicas; where they go is planned"},
    {"throttle", 0, "BYTES", "copy at most this much a second in and out of each broker"},
    {"no-wait", 0, NULL, "leave when the controller has it"},
    {"yes", 'y', NULL, "do not ask"},
    {"dry-run", 0, NULL, "only show the plan"},
    END,
};
static const struct cli_option elect_options[] = {
    {"preferred", 0, NULL, "the first of the replicas shall lead (default)"},
    {"unclean", 0, NULL,
     "where none leads, let a replica that is out of sync: acknowledged records may be lost"},
    {"topic", 't', "TOPIC[:P,P]", "only these partitions; may be repeated"},
    {"yes", 'y', NULL, "do not ask"},
    {"dry-run", 0, NULL, "only show which"},
    END,
};
static const struct cli_option reassignments_options[] = {
    {"topic", 't', "TOPIC[:P,P]", "only these partitions; may be repeated"},
    {"cancel", 0, NULL, "stop them: replicas stay, or go back to, where they were"},
    {"yes", 'y', NULL, "do not ask"},
    {"dry-run", 0, NULL, "only show which"},
    END,
};
static const struct cli_option produce_options[] = {
    {"partition", 'p', "N", "always this partition"},
    {"key", 'k', "KEY", "the same key for all records"},
    {"key-separator", 'K', "TEXT", "each line is KEY TEXT VALUE; \\t is a tab"},
    {"header", 'H', "NAME=VALUE", "a header for all records; may be repeated"},
    {"input", 'i', "FORMAT", "lines (default) or jsonl, as consume -o jsonl writes it"},
    {"file", 'f', "FILE", "read this file instead of standard input"},
    {"whole", 'w', NULL, "the input is one record, not lines"},
    {"acks", 0, "0|1|all", "who must have it before it counts (default all)"},
    {"compression", 'z', "CODEC", "none, gzip, snappy, lz4 or zstd"},
    {"null", 0, NULL, "empty values are tombstones (null)"},
    {"set", 'X', "KEY=VALUE", "a librdkafka property; may be repeated"},
    {"quiet", 'q', NULL, "no progress, no summary"},
    END,
};
static const struct cli_option consume_options[] = {
    {"partition", 'p', "N", "only this partition"},
    {"from", 0, "OFFSET", "start (default), end, N, -N (the last N of each partition), @TIME, @-1h"},
    {"group", 'g', "GROUP", "as a member of this group: partitions shared, offsets committed"},
    {"follow", 'f', NULL, "go on at the end instead of stopping there"},
    {"count", 'n', "N", "stop after N records"},
    {"keys", 'k', NULL, "KEY TAB VALUE"},
    {"key-separator", 'K', "TEXT", "with this between key and value (implies -k)"},
    {"headers", 'H', NULL, "headers before the value"},
    {"offsets", 0, NULL, "TOPIC [PARTITION] OFFSET before each record"},
    {"set", 'X', "KEY=VALUE", "a librdkafka property; may be repeated"},
    {"quiet", 'q', NULL, "no progress, no summary"},
    END,
};
static const struct cli_option seek_options[] = {
    {"topic", 't', "TOPIC[:P,P]", "which partitions (default: all the group has committed); may be repeated"},
    {"to", 0, "OFFSET", "start, end, N, @TIME, @-1h"},
    {"yes", 'y', NULL, "do not ask"},
    {"dry-run", 0, NULL, "only show the plan"},
    END,
};
static const struct cli_option config_options[] = {
    {"topic", 't', "NAME", "the configuration of a topic"},
    {"broker", 0, "ID", "of one broker"},
    {"brokers", 0, NULL, "the default of all brokers"},
    {"all", 'a', NULL, "defaults too, not only what somebody set"},
    END,
};

static const struct cli_option show_options[] = {
    {"override", 0, "KEY=VALUE", "set a key over what the file says; may be repeated"},
    {"all", 'a', NULL, "defaults too"},
    END,
};

static const struct cli_command commands[] = {
    {"server", NULL, "[server.properties]", 0, 1, cli_server,
     "run a broker, with a keeper inside unless told of another", server_options,
     "Without a file: a development broker on 127.0.0.1:9092, data in ./odradek-data.\n"
     "SIGTERM stops it cleanly. Example:\n"
     "  odradek server --override log.dirs=/var/lib/odradek --override num.partitions=4"},
    {"keeper", "import", "", 0, 0, cli_keeper_import, "take over an Apache ZooKeeper's data directory",
     import_options,
     "Apache's files stay as they are; stop its server first. The newest snapshot and the log after it are "
     "read, and\n"
     "held against the digests in them. Clients come back to their sessions.\n"
     "  odradek keeper import --from /var/lib/zookeeper --to /var/lib/odradek\n"
     "A keeper alone does so by itself at its first start, in a dataDir that holds Apache's version-2."},
    {"keeper", "export", "", 0, 0, cli_keeper_export,
     "write a stopped keeper's state as a data directory of Apache's", export_options,
     "  odradek keeper export --from /var/lib/odradek --to /var/lib/zookeeper"},
    {"keeper", NULL, "[zoo.cfg]", 0, 1, cli_keeper, "run a keeper alone: ZooKeeper's protocol, its zoo.cfg",
     keeper_options,
     "Without a file: on 127.0.0.1:2181, data in ./odradek-keeper. SIGTERM stops it, SIGHUP opens "
     "auditlog.file anew.\n"
     "docs/keeper.md has four-letter words, admin server, metrics and audit log."},
    {"zkserver", "start", "[zoo.cfg]", 0, 1, cli_zkserver_start,
     "a keeper in the background, as zkServer.sh starts it", zkserver_options, ZKSERVER_DETAILS},
    {"zkserver", "start-foreground", "[zoo.cfg]", 0, 1, cli_zkserver_start_foreground,
     "a keeper, as zkServer.sh starts it", zkserver_options, ZKSERVER_DETAILS},
    {"zkserver", "stop", "[zoo.cfg]", 0, 1, cli_zkserver_stop, "stop the one that start started",
     zkserver_options, ZKSERVER_DETAILS},
    {"zkserver", "restart", "[zoo.cfg]", 0, 1, cli_zkserver_restart, "stop, then start", zkserver_options,
     ZKSERVER_DETAILS},
    {"zkserver", "status", "[zoo.cfg]", 0, 1, cli_zkserver_status, "does it serve, and as what",
     zkserver_options, ZKSERVER_DETAILS},
    {"zkserver", "version", "", 0, 1, cli_zkserver_version, "which ZooKeeper it is", zkserver_options, NULL},
    {"zkserver", "print-cmd", "[zoo.cfg]", 0, 1, cli_zkserver_print_cmd, "the command that start would run",
     zkserver_options, NULL},
    {"zk", NULL, "[VERB [ARGS...]]", 0, -1, cli_zk,
     "look at and change what any ZooKeeper holds; without a verb, a shell", zk_options,
     "Verbs and their options are zkCli's, and some more; odradek zk help lists them. -o FORMAT may stand "
     "before or behind the verb.\n"
     "  odradek zk --server zk1:2181,zk2:2181/kafka ls -R /brokers\n"
     "  odradek zk --auth digest:me:secret get -s /mine\n"
     "  odradek zk watch /config -o jsonl\n"
     "  odradek zk diff old:2181/kafka new:2181/kafka",
     true},
    {"topic", "list", "", 0, 0, cli_topic_list, "all topics", list_options, NULL},
    {"topic", "describe", "[NAME...]", 0, -1, cli_topic_describe, "partitions, leaders, replicas, offsets",
     describe_options, NULL},
    {"topic", "create", "NAME...", 1, -1, cli_topic_create, "create topics", create_options,
     "  odradek topic create orders -p 6 --retention 7d"},
    {"topic", "delete", "NAME...", 1, -1, cli_topic_delete, "delete topics and their data", yes_options,
     NULL},
    {"topic", "grow", "NAME", 1, 1, cli_topic_grow, "add partitions", grow_options, NULL},
    {"topic", "alter", "NAME", 1, 1, cli_topic_alter,
     "change a topic's configuration or number of partitions", alter_options, NULL},
    {"topic", "reassign", "NAME", 1, 1, cli_topic_reassign, "move its replicas to other brokers",
     reassign_options,
     "  odradek topic reassign orders --assignment 1:2:3,2:3:1 --throttle 50MB\n"
     "  odradek topic reassign orders --replication-factor 3"},
    {"produce", NULL, "TOPIC", 1, 1, cli_produce, "write lines as records", produce_options,
     "The partition is the one asked for; else by the key's hash, as Java does; else one after another by "
     "time slices.\n"
     "  tail -F access.log | odradek produce activity -K ' '\n"
     "  odradek consume -o jsonl a | odradek produce -i jsonl b     (lossless)"},
    {"consume", NULL, "TOPIC", 1, 1, cli_consume, "read records", consume_options,
     "Stops at the end of what was there, unless -f. In a pipe nothing but records is written.\n"
     "  odradek consume orders --from -10\n"
     "  odradek consume orders -g billing -f -o jsonl"},
    {"group", "list", "", 0, 0, cli_group_list, "all groups and their states", NULL, NULL},
    {"group", "describe", "NAME...", 1, -1, cli_group_describe, "members and what each was assigned", NULL,
     NULL},
    {"group", "lag", "NAME...", 1, -1, cli_group_lag, "committed offsets against the ends", NULL, NULL},
    {"group", "seek", "NAME", 1, 1, cli_group_seek, "set committed offsets of an idle group", seek_options,
     NULL},
    {"group", "delete", "NAME...", 1, -1, cli_group_delete, "forget groups and their offsets", yes_options,
     NULL},
    {"config", "get", "[KEY...]", 0, -1, cli_config_get, "show configuration", config_options, NULL},
    {"config", "set", "KEY=VALUE...", 1, -1, cli_config_set, "change configuration, effective at once",
     config_options, "  odradek config set -t orders retention.ms=86400000"},
    {"config", "unset", "KEY...", 1, -1, cli_config_unset, "back to the default", config_options, NULL},
    {"config", "check", "FILE", 1, 1, cli_config_check,
     "check a server.properties or zoo.cfg, all errors at once", NULL, NULL},
    {"config", "show", "[FILE]", 0, 1, cli_config_show,
     "what a server.properties comes to, and where each value is from", show_options, NULL},
    {"config", "reference", "", 0, 0, cli_config_reference, "every key: type, default, meaning, effect here",
     NULL, NULL},
    {"cluster", "describe", "", 0, 0, cli_cluster_describe, "brokers, controller, cluster id", NULL, NULL},
    {"cluster", "status", "", 0, 0, cli_cluster_status, "health on one page; with --watch, as it changes",
     status_options, NULL},
    {"cluster", "balance", "", 0, 0, cli_cluster_balance,
     "spread replicas and leaders evenly over brokers and racks", balance_options,
     "Shows what it would move and how many bytes, and changes nothing without --execute. The cluster keeps "
     "the work:\n"
     "interrupted and started again, it finds what is under way, waits for it, and takes the throttle off.\n"
     "  odradek cluster balance\n"
     "  odradek cluster balance --execute --throttle 50MB"},
    {"cluster", "elect", "", 0, 0, cli_cluster_elect, "elect leaders", elect_options,
     "  odradek cluster elect -t orders:0,4"},
    {"cluster", "reassignments", "", 0, 0, cli_cluster_reassignments,
     "what is being moved; --cancel stops it", reassignments_options, NULL},
    {"broker", "list", "", 0, 0, cli_broker_list, "brokers, partitions led and held, disks", NULL, NULL},
    {"broker", "drain", "ID", 1, 1, cli_broker_drain, "move leaders, then replicas away from a broker",
     drain_options,
     "Leaders go at once, replicas as they are copied. Before a restart leaders are enough:\n"
     "  odradek broker drain 2 --leaders-only -y; ...; odradek broker undrain 2 -y"},
    {"broker", "undrain", "ID", 1, 1, cli_broker_undrain, "give a broker its share of replicas and leaders",
     undrain_options, NULL},
    {"log", "dump", "PATH...", 1, -1, cli_log_dump, "show what log directories or files hold", dump_options,
     NULL},
    {"log", "verify", "DIR...", 1, -1, cli_log_verify, "check log directories, say what is wrong where", NULL,
     NULL},
    {"wire", "recode", "rpc|msg", 1, 1, cli_wire_recode,
     "decode and encode again messages read as lines of hex", NULL,
     "rpc: lines `apiKey apiVersion request|response hex`; msg: lines `SchemaName version - hex`."},
    {"wire", "decode", "", 0, 0, cli_wire_decode, "show a frame (hex on standard input) as JSON",
     decode_options, NULL},
    {"version", NULL, "", 0, 0, cli_version, "print the version", NULL, NULL},
};

const struct cli_command *cli_command_at(size_t index)
{
    return index < sizeof commands / sizeof *commands ? &commands[index] : NULL;
}

const struct cli_option *cli_common_options(void)
{
    static const struct cli_option common[] = {
        {"bootstrap", 'b', "HOST:PORT,...",
         "where the brokers are (ODRADEK_BOOTSTRAP; default localhost:9092)"},
        {"output", 'o', "FORMAT", "table, json, jsonl, tsv or name"},
        {"timeout", 0, "DURATION", "give up after this long (default 2s to connect, 30s for an answer)"},
        {"log-level", 0, "LEVEL", "error, warn, info or debug"},
        {"help", 'h', NULL, "this text"},
        END,
    };
    return common;
}
