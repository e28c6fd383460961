/* keeper.h: the coordination service: znodes, sessions and watches, as ZooKeeper's clients know them.
 *
 *     ZooKeeper clients --> listener --\
 *                                       >-- server (sessions, watches, order) -- quorum (log, snapshots) --
 * machine our own broker --> local door ---/
 *
 * A keeper lives on one loop. It logs each write through quorum/ before it applies and answers it; reads are
 * answered from the tree in the order of their session. Both doors carry the same bytes: ZooKeeper's frames,
 * over the wire with a length before each, through the local door without.
 *
 * Files    plain files `keeper-*` in config.data_dir, never a directory (Apache Kafka's loader dies of a
 * foreign one). Threads  everything here is called on the keeper's loop, and calls back there. Disk work runs
 * on config.lane. Errors   a failed fsync ends writing for good: each open session is cut, later ones are
 * refused, `failed` is called once. The way out is a restart, which recovers what was synced. Source
 * facts/keeper.md.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "keeper/throttle.h"
#include "loop/tls.h"

struct keeper;
struct loop;
struct lane;
struct disk;
struct sasl_users;
struct tls_context;

/* What srvr, envi and others say we are: the ZooKeeper whose behaviour this is, then our own version. */
#define KEEPER_VERSION "3.9.5-odradek-" ODRADEK_VERSION ", built on 2026-11-22 00:00 UTC"

/* In the place of ConnectRequest's protocol version, which is 0 and which ZooKeeper does not look at: a broker of ours. Its
 * session ends a moment after its connection, for its process keeps that as long as it lives. */
enum { KEEPER_BROKER_PROTOCOL = 0x6f64 };

/* A member of an ensemble, as its line in zoo.cfg has it. */
struct keeper_server {
    int32_t id; /* as in quorum/quorum.h: 0 of the line is QUORUM_MEMBER_ZERO */
    bool is_observer;
    const char *host;     /* where the others reach it */
    uint16_t quorum_port; /* all that members say to each other goes there */
    const char
        *line; /* "HOST:PORT:PORT:participant;HOST:PORT", as /zookeeper/config shows it behind "server.ID=" */
};

/* Names and defaults as in zoo.cfg; keeper_config_init sets the defaults. Strings are copied by keeper_open.
 */
struct keeper_config {
    const char *data_dir;                /* must exist or be creatable */
    const char *data_log_dir;            /* dataLogDir; NULL: data_dir */
    int32_t server_id;                   /* an id as above; its number is the top byte of session ids */
    int32_t tick_time_ms;                /* tickTime, 3000 */
    int32_t min_session_timeout_ms;      /* -1: two ticks */
    int32_t max_session_timeout_ms;      /* -1: twenty ticks */
    int32_t max_client_cnxns;            /* per address, 60; 0: no limit */
    int32_t max_cnxns;                   /* in all, 0: no limit */
    int32_t listen_backlog;              /* -1: 50 */
    int32_t jute_max_buffer;             /* longest frame taken, 0xfffff */
    int32_t global_outstanding_limit;    /* writes in flight before sockets are read no more, 1000 */
    int32_t request_throttle_max;        /* the same without a first one of each; 0: no limit */
    int32_t throttled_wait_ms;           /* a write that waited longer for it answers -127; 0: none does */
    struct throttle_config throttle;     /* of sessions that begin or come back; off */
    int32_t sessionless_ms;              /* a connection without a session is closed after this; 10000 */
    int64_t snap_count;                  /* entries between snapshots, 100000 */
    int64_t snap_size_bytes;             /* or bytes of log, whichever comes first; 256 MiB */
    int32_t snap_retain_count;           /* autopurge.snapRetainCount; 2 */
    int64_t purge_interval_ms;           /* autopurge.purgeInterval; 0: after each snapshot */
    int64_t pre_alloc_bytes;             /* preAllocSize: by which the log's file grows; 0: 256 KiB */
    int32_t container_check_ms;          /* znode.container.checkIntervalMs, 60000; also of TTL znodes */
    int32_t container_per_minute;        /* znode.container.maxPerMinute, 10000 */
    int64_t container_never_used_ms;     /* znode.container.maxNeverUsedIntervalMs; 0: they stay */
    int64_t fsync_warning_ms;            /* fsync.warningthresholdms, 1000 */
    bool force_sync;                     /* forceSync, true: fdatasync before an answer */
    bool extended_types;                 /* extendedTypesEnabled, false: TTL znodes answer -6 */
    bool skip_acl;                       /* skipACL, false */
    bool enforce_quota;                  /* enforceQuota, false */
    const char *super_digest;            /* DigestAuthenticationProvider.superDigest, NULL: none */
    const char *x509_super_user;         /* X509AuthenticationProvider.superUser, NULL: none */
    const struct sasl_users *sasl_users; /* whom SASL knows; NULL: no SASL. Outlives the keeper */
    const char *super_users;             /* SASL users to whom ACLs do not apply, one a line; NULL: none */
    bool admits_sasl_failures;           /* allowSaslFailedClients, false */
    const char *enforced_schemes;      /* of one of these, separated by commas, a client must be; NULL: any */
    bool has_x509_acls, has_sasl_acls; /* authProvider.N: what an ACL may name */
    bool knows_ensembles;              /* authProvider.N: the scheme "ensemble" */
    const char *ensemble_names;    /* ensembleAuthName: of these, separated by commas, we are; NULL: of any */
    const char *four_letter_words; /* 4lw.commands.whitelist: "srvr", a comma list, or "*" */
    bool shows_digests;    /* digest.enabled, true: hash tells the tree's digest at every 128th change */
    bool admits_read_only; /* readonlymode.enabled: isro joins the whitelist */
    bool has_admin_snapshot, has_admin_restore; /* admin.snapshot.enabled, admin.restore.enabled; true */
    int32_t admin_interval_ms;                  /* admin.rateLimiterIntervalInMS, 300000 */
    const char *initial_config; /* what the admin command initial_configuration shows, key=value lines */

    /* Alone, in the directory of a member whose ensemble does not answer: goes on with what is there, as ZooKeeper does (quorum.h). Not
     * within a broker: what other brokers of its cluster know is with the other members. */
    bool leaves_silent;

    /* An ensemble. The members are read while the log is empty; from then on they are what the log says. */
    const struct keeper_server *servers;
    size_t server_count;   /* 0: a keeper alone */
    bool reconfig_enabled; /* reconfigEnabled */
    int32_t init_limit,
        sync_limit; /* initLimit, syncLimit: shown by conf, for followers are not timed in ticks here */
    bool listens_on_all_ips;           /* quorumListenOnAllIPs */
    int32_t patience_ms;               /* without a leader, before clients are sent away; 2000 */
    int32_t heartbeat_ms, election_ms; /* 0: what quorum/ finds right */
    struct tls_peers tls; /* sslQuorum, portUnification; the caller keeps it until keeper_open returned */
};

void keeper_config_init(struct keeper_config *config);

struct keeper_events {
    /* Once, after keeper_open returned OK: recovered and serving (then the local door works), or why not (then only
     * keeper_close works). A member of an ensemble is ready when it has a leader. */
    void (*ready)(void *context, enum error err);
    /* At most once: the log failed; `err` is what the disk said. May be NULL. */
    void (*failed)(void *context, enum error err);
    /* Lines of the audit log (audit.h), each ended by a newline, before the answers they are about. NULL: none is kept. */
    void (*audit)(void *context, struct slice lines);
};

/* Begins to recover on `lane` (one worker; its own or one shared with other syncs). An error means nothing
 * was begun. `loop`, `disk`, `lane` and `events` outlive the keeper. Sessions that an earlier process opened
 * through the local door are closed in the log before `ready`. */
MUST_USE enum error keeper_open(const struct keeper_config *config, struct loop *loop, struct disk *disk,
                                struct lane *lane, const struct keeper_events *events, void *context,
                                struct keeper **keeper);

/* A keeper alone: after ready. A member of an ensemble may listen before: until it is ready it answers words. host "" or NULL: all addresses; port 0: any free one. May be called several times. */
MUST_USE enum error keeper_listen(struct keeper *keeper, const char *host, uint16_t port);
/* The same with TLS; with admits_plain a client may also come without. `context` is retained; NULL: no TLS. Clients whose
 * certificate was checked have the id "x509" with its subject. */
MUST_USE enum error keeper_listen_tls(struct keeper *keeper, const char *host, uint16_t port,
                                      struct tls_context *context, bool admits_plain);
/* Of the first listener; 0 when there is none. */
uint16_t keeper_port(const struct keeper *keeper);

/* Cuts clients, lets writes that are on their way to the disk finish, then frees the keeper and calls
 * `closed` (may be NULL) in a later turn of the loop. No other callback comes after this call. Clears the
 * pointer; NULL is fine, and then `closed` is not called. */
void keeper_close(struct keeper **keeper, void (*closed)(void *context), void *context);

/* --- the local door --- */
struct keeper_local;

struct keeper_local_events {
    /* One frame from the keeper: ConnectResponse first, then answers and watch events. A loan. */
    void (*on_frame)(void *context, struct slice frame);
    /* Once: the keeper closed this connection (session expired or refused, log failed, malformed frame). The
     * handle is still to be closed with keeper_local_close. Not called after keeper_local_close or
     * keeper_close. */
    void (*on_closed)(void *context);
};

/* A new connection, without a session yet: the first frame sent is a ConnectRequest. Sessions opened here end
 * with the process. Callbacks never come from within a call of ours but in the same turn's end or a later
 * turn. `events` is copied. ERR_CLOSED after a failure of the log. */
MUST_USE enum error keeper_local_connect(struct keeper *keeper, const struct keeper_local_events *events,
                                         void *context, struct keeper_local **local);
/* The bytes of one frame, as on the wire but without its length; copied. Ignored once the keeper has closed
 * it. */
MUST_USE enum error keeper_local_send(struct keeper_local *local, struct slice frame);
/* The connection is gone; its session lives on until it expires, as with a socket. Clears the pointer; NULL
 * is fine. After keeper_close the handle is gone already and must not be used. */
void keeper_local_close(struct keeper_local **local);

/* --- figures, for metrics --- */
struct keeper_stats {
    int64_t zxid;
    int64_t znode_count, watch_count, ephemeral_count, session_count, connection_count;
    int64_t outstanding, packets_received, packets_sent, approximate_data_bytes;
    int64_t log_syncs, log_bytes; /* since start */
};
void keeper_stats(const struct keeper *keeper, struct keeper_stats *stats);
