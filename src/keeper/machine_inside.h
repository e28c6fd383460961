/* machine_inside.h: what the machine's files share. */
#pragma once
#include "keeper/machine.h"

/* One entry at work. */
struct apply {
    struct machine *machine;
    const struct entry *entry;
    int64_t zxid;
    uint32_t order; /* of creation within this zxid */
    bool made_ephemeral;
};

/* machine.c */
void apply_event(struct apply *apply, enum event_type type, struct slice path, uint32_t acl,
                 uint32_t parent_acl);
/* Takes out a znode without children, at `path`: its event, itself, its share of a quota. */
void apply_removal(struct apply *apply, struct znode *node, struct slice path);

/* machine_session.c */
void machine_sessions_free(struct machine *machine);
struct session *machine_session_add(struct machine *machine, const struct session *fields);
/* Its ephemerals are gone already. */
void machine_session_remove(struct machine *machine, struct session *session);
uint64_t session_digest(const struct session *session);
/* Did its client attach elsewhere since this was sent? */
bool session_has_moved(const struct session *session, const struct entry *entry);
enum error apply_create_session(struct apply *apply);
enum error apply_close_session(struct apply *apply);
enum error apply_attach(struct apply *apply);

/* machine_config.c */
enum error apply_reconfig(struct apply *apply, struct text *out);
/* The leader says of itself who the members are, and nothing changes by it: the first time, as ZooKeeper's servers know theirs from the
 * beginning, and when it is known. */
bool reconfig_takes_no_zxid(const struct apply *apply);

/* machine_snapshot.c */
void machine_saver_free(struct machine *machine);
