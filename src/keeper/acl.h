/* acl.h: who may do what to a znode: lists of (permissions, scheme, id), interned, for most znodes share a few.
 *
 * A list is kept as the bytes it has on the wire (a jute vector), already canonical: "auth" expanded, duplicates gone.
 * List 0 is world:anyone with all permissions; it is never freed. Ids of lists are local: they are not part of what
 * members must agree on. Auth ids, what a connection has proved, travel in each log entry as
 * count u16, then scheme and id each as u16 length and bytes.
 * Source: facts/keeper.md 2.6.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/map.h"
#include "base/text.h"

enum acl_perms {
    ACL_READ = 1,
    ACL_WRITE = 2,
    ACL_CREATE = 4,
    ACL_DELETE = 8,
    ACL_ADMIN = 16,
    ACL_ALL = 31,
};

enum { ACL_OPEN = 0 };

struct acl_list {
    uint8_t *bytes; /* NULL: a free place */
    uint32_t size;
    uint32_t next_free;
    int64_t references;
};

struct acl_cache {
    struct acl_list *lists;
    size_t count, capacity;
    uint32_t first_free; /* index + 1; 0 = none */
    struct map by_bytes; /* value: index + 1 */
};

/* List 0 is made. Without memory the process stops, as everywhere in the state machine. */
void acl_cache_init(struct acl_cache *cache);
void acl_cache_free(struct acl_cache *cache);
/* One reference for the caller. */
uint32_t acl_intern(struct acl_cache *cache, struct slice bytes);
void acl_retain(struct acl_cache *cache, uint32_t acl);
void acl_release(struct acl_cache *cache, uint32_t acl);
struct slice acl_bytes(const struct acl_cache *cache, uint32_t acl);

/* --- auth ids --- */
struct auth_ids {
    struct slice bytes; /* as in a log entry */
};
struct auth_id {
    struct slice scheme, id;
};
/* Walks them: for (size_t at = 0; auth_next(&ids, &at, &id);). Malformed bytes end the walk. */
bool auth_next(const struct auth_ids *ids, size_t *at, struct auth_id *id);
bool auth_has_scheme(const struct auth_ids *ids, const char *scheme);
/* Appends one to an encoded list (an empty text becomes a list of one); false when it is there already or too long. */
bool auth_add(struct text *ids, struct slice scheme, struct slice id);
/* The length of the encoded ids at the head of `bytes`; false when they do not fit. */
bool auth_measure(struct slice bytes, size_t *size);

/* May somebody with these ids do `perm` where `list` rules? */
bool acl_permits(struct slice list, int perm, const struct auth_ids *ids);

/* Schemes that an ACL may name besides world, auth, digest and ip: those of the authentication providers that are configured. */
enum acl_schemes { ACL_X509 = 1, ACL_SASL = 2 };
/* What a client sent, made canonical into `out`. ERR_ZK_INVALID_ACL, or ERR_ZK_MARSHALLING when it cannot be read. */
MUST_USE enum error acl_fix(struct slice sent, const struct auth_ids *ids, int schemes, struct text *out);
/* The list as one without ADMIN may see it: digest ids without their hash. */
void acl_mask(struct slice list, struct text *out);
/* Reads over one ACL vector; false when malformed. */
struct jute;
struct slice acl_take(struct jute *in);
