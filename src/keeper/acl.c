#include "keeper/acl.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>

#include "base/vec.h"
#include "keeper/jute.h"

enum { ACL_ITEM_MIN = 12, ACL_LIST_MAX = 1 << 20 };

/* --- the cache --- */

static const uint8_t open_list[] = {0,   0,   0,   1, 0, 0, 0, 31,  0,   0,   0,   5,   'w', 'o',
                                    'r', 'l', 'd', 0, 0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'};

void acl_cache_init(struct acl_cache *cache)
{
    *cache = (struct acl_cache){0};
    uint32_t first = acl_intern(cache, (struct slice){open_list, sizeof open_list});
    assert(first == ACL_OPEN);
}

void acl_cache_free(struct acl_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++) free(cache->lists[i].bytes);
    free(cache->lists);
    map_free(&cache->by_bytes);
    *cache = (struct acl_cache){0};
}

uint32_t acl_intern(struct acl_cache *cache, struct slice bytes)
{
    uintptr_t known = (uintptr_t)map_get(&cache->by_bytes, bytes);
    if (known) {
        cache->lists[known - 1].references++;
        return (uint32_t)(known - 1);
    }
    uint32_t index = cache->first_free ? cache->first_free - 1 : (uint32_t)cache->count;
    if (cache->first_free) {
        cache->first_free = cache->lists[index].next_free;
    } else {
        bool has_room = VEC_RESERVE(cache->lists, cache->count, cache->capacity);
        assert(has_room);
        cache->count++;
    }
    uint8_t *copy = malloc(bytes.size);
    assert(copy);
    memcpy(copy, bytes.data, bytes.size);
    cache->lists[index] = (struct acl_list){.bytes = copy, .size = (uint32_t)bytes.size, .references = 1};
    enum error err = map_put(&cache->by_bytes, bytes, (void *)(uintptr_t)(index + 1));
    assert(err == OK);
    return index;
}

void acl_retain(struct acl_cache *cache, uint32_t acl)
{
    assert(acl < cache->count && cache->lists[acl].bytes);
    cache->lists[acl].references++;
}

void acl_release(struct acl_cache *cache, uint32_t acl)
{
    assert(acl < cache->count && cache->lists[acl].references > 0);
    struct acl_list *list = &cache->lists[acl];
    if (--list->references > 0 || acl == ACL_OPEN) return;
    map_remove(&cache->by_bytes, (struct slice){list->bytes, list->size});
    free(list->bytes);
    *list = (struct acl_list){.next_free = cache->first_free};
    cache->first_free = acl + 1;
}

struct slice acl_bytes(const struct acl_cache *cache, uint32_t acl)
{
    assert(acl < cache->count && cache->lists[acl].bytes);
    return (struct slice){cache->lists[acl].bytes, cache->lists[acl].size};
}

/* --- auth ids --- */

static bool take_short(struct slice bytes, size_t *at, struct slice *part)
{
    if (bytes.size - *at < 2) return false;
    size_t size = get_be16(bytes.data + *at);
    if (bytes.size - *at - 2 < size) return false;
    *part = (struct slice){bytes.data + *at + 2, size};
    *at += 2 + size;
    return true;
}

bool auth_next(const struct auth_ids *ids, size_t *at, struct auth_id *id)
{
    if (*at == 0) *at = 2; /* behind the count */
    if (ids->bytes.size < *at || *at == ids->bytes.size) return false;
    return take_short(ids->bytes, at, &id->scheme) && take_short(ids->bytes, at, &id->id);
}

bool auth_has_scheme(const struct auth_ids *ids, const char *scheme)
{
    struct auth_id id;
    for (size_t at = 0; auth_next(ids, &at, &id);) {
        if (slice_is(id.scheme, scheme)) return true;
    }
    return false;
}

bool auth_add(struct text *ids, struct slice scheme, struct slice id)
{
    if (ids->size == 0) text_add_be16(ids, 0);
    struct auth_ids known = {text_slice(ids)};
    struct auth_id each;
    for (size_t at = 0; auth_next(&known, &at, &each);) {
        if (slice_equal(each.scheme, scheme) && slice_equal(each.id, id)) return false;
    }
    if (scheme.size > UINT16_MAX || id.size > UINT16_MAX || ids->size > UINT16_MAX) return false;
    text_add_be16(ids, (uint16_t)scheme.size);
    text_add(ids, scheme);
    text_add_be16(ids, (uint16_t)id.size);
    text_add(ids, id);
    if (ids->failed) return false;
    put_be16(ids->data, (uint16_t)(get_be16(ids->data) + 1));
    return true;
}

bool auth_measure(struct slice bytes, size_t *size)
{
    if (bytes.size < 2) return false;
    size_t at = 2;
    for (unsigned left = get_be16(bytes.data); left > 0; left--) {
        struct slice part;
        if (!take_short(bytes, &at, &part) || !take_short(bytes, &at, &part)) return false;
    }
    *size = at;
    return true;
}

/* --- schemes --- */

static int parse_number(struct slice s, int max)
{
    int64_t value;
    return slice_to_int64(s, 0, max, &value) ? (int)value : -1;
}

/* An IPv4 or IPv6 address as 4 or 16 bytes; 0 when it is neither. */
static size_t address_bytes(struct slice text, uint8_t out[16])
{
    if (!memchr(text.data, ':', text.size)) {
        size_t at = 0;
        for (int i = 0; i < 4; i++) {
            const uint8_t *dot = memchr(text.data + at, '.', text.size - at);
            size_t end = dot ? (size_t)(dot - text.data) : text.size;
            if ((dot != NULL) != (i < 3)) return 0;
            int value = parse_number((struct slice){text.data + at, end - at}, 255);
            if (value < 0) return 0;
            out[i] = (uint8_t)value;
            at = end + 1;
        }
        return 4;
    }
    char copy[INET6_ADDRSTRLEN];
    if (text.size >= sizeof copy) return 0;
    slice_text(text, copy, sizeof copy);
    return inet_pton(AF_INET6, copy, out) == 1 ? 16 : 0;
}

/* "address" or "address/bits"; the number of address bytes, 0 when invalid. */
static size_t ip_rule(struct slice id, uint8_t address[16], int *bits)
{
    if (id.size == 0) return 0;
    const uint8_t *slash = memchr(id.data, '/', id.size);
    struct slice host = {id.data, slash ? (size_t)(slash - id.data) : id.size};
    if (host.size == 0) return 0;
    size_t size = address_bytes(host, address);
    *bits = (int)size * 8;
    if (size == 0 || !slash) return size;
    *bits = parse_number((struct slice){slash + 1, id.size - host.size - 1}, (int)size * 8);
    return *bits < 0 ? 0 : size;
}

static bool ip_matches(struct slice rule, struct slice peer)
{
    uint8_t want[16], have[16];
    int bits;
    size_t size = ip_rule(rule, want, &bits);
    if (size == 0 || peer.size == 0 || address_bytes(peer, have) != size) return false;
    for (int i = 0; i < bits; i++) {
        uint8_t mask = (uint8_t)(0x80 >> i % 8);
        if ((want[i / 8] & mask) != (have[i / 8] & mask)) return false;
    }
    return true;
}

/* Exactly two parts around ':'; empty ones at the end do not count, as Java splits. */
static bool digest_is_valid(struct slice id)
{
    while (id.size > 0 && id.data[id.size - 1] == ':') id.size--;
    int colons = 0;
    for (size_t i = 0; i < id.size; i++) colons += id.data[i] == ':';
    return colons == 1;
}

/* A name, or a principal of Kerberos: service[/host]@REALM. */
static bool principal_is_valid(struct slice id)
{
    size_t ats = 0, slashes = 0;
    for (size_t i = 0; i < id.size; i++) {
        ats += id.data[i] == '@';
        slashes += id.data[i] == '/';
        if (ats > 0 && id.data[i] == '/') return false;
    }
    return ats == 0 || (ats == 1 && slashes <= 1);
}

/* The attributes Java's names may have, and numbers with dots. */
static bool attribute_is_known(struct slice name)
{
    static const char *const known[] = {"CN",          "C",           "L",          "S",       "ST",
                                        "O",           "OU",          "T",          "IP",      "STREET",
                                        "DC",          "DNQUALIFIER", "DNQ",        "SURNAME", "GIVENNAME",
                                        "INITIALS",    "UID",         "GENERATION", "EMAIL",   "EMAILADDRESS",
                                        "SERIALNUMBER"};
    while (name.size > 0 && name.data[0] == ' ') name.data++, name.size--;
    while (name.size > 0 && name.data[name.size - 1] == ' ') name.size--;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (name.size == strlen(known[i]) && strncasecmp((const char *)name.data, known[i], name.size) == 0)
            return true;
    }
    bool is_named_number = name.size > 4 && strncasecmp((const char *)name.data, "OID.", 4) == 0;
    if (is_named_number) name.data += 4, name.size -= 4;
    bool has_dot = false;
    for (size_t i = 0; i < name.size; i++) {
        bool is_dot = name.data[i] == '.';
        bool is_between = i > 0 && i + 1 < name.size && name.data[i - 1] != '.';
        if (is_dot ? !is_between : name.data[i] < '0' || name.data[i] > '9') return false;
        has_dot |= is_dot;
    }
    return has_dot;
}

/* A distinguished name (RFC 2253): ATTRIBUTE=value between commas, semicolons or plus signs that are not quoted. The empty one is one, too. */
static bool subject_is_valid(struct slice id)
{
    bool is_quoted = false, has_value = false;
    size_t begin = 0;
    for (size_t i = 0; i < id.size; i++) {
        uint8_t byte = id.data[i];
        if (byte == '=' && !has_value) {
            has_value = true;
            if (!attribute_is_known((struct slice){id.data + begin, i - begin})) return false;
        } else if (byte == '\\' && has_value) {
            if (++i == id.size) return false;
        } else if (byte == '"' && has_value) {
            is_quoted = !is_quoted;
        } else if (!is_quoted && (byte == ',' || byte == ';' || byte == '+')) {
            if (!has_value) return false;
            has_value = false;
            begin = i + 1;
        }
    }
    return id.size == 0 || (has_value && !is_quoted);
}

static bool id_is_valid(struct slice scheme, struct slice id, int schemes)
{
    uint8_t address[16];
    int bits;
    if (!id.data) return false;
    if (slice_is(scheme, "digest")) return digest_is_valid(id);
    if (slice_is(scheme, "ip")) return ip_rule(id, address, &bits) != 0;
    if (slice_is(scheme, "x509")) return (schemes & ACL_X509) && subject_is_valid(id);
    if (slice_is(scheme, "sasl")) return (schemes & ACL_SASL) && principal_is_valid(id);
    return false;
}

/* Of somebody, not of an address. */
static bool scheme_authenticates(struct slice scheme, int schemes)
{
    if (slice_is(scheme, "x509")) return schemes & ACL_X509;
    if (slice_is(scheme, "sasl")) return schemes & ACL_SASL;
    return slice_is(scheme, "digest");
}

/* --- lists --- */

struct acl_item {
    int32_t perms;
    struct slice scheme, id;
};

static struct acl_item item_take(struct jute *in)
{
    struct acl_item item = {.perms = jute_int(in)};
    item.scheme = jute_bytes(in);
    item.id = jute_bytes(in);
    return item;
}

struct slice acl_take(struct jute *in)
{
    size_t begin = in->at;
    int32_t count = jute_count(in, ACL_ITEM_MIN);
    for (int32_t i = 0; i < count && !in->is_bad; i++) item_take(in);
    if (in->is_bad) return SLICE_NULL;
    return (struct slice){in->data + begin, in->at - begin};
}

bool acl_permits(struct slice list, int perm, const struct auth_ids *ids)
{
    struct jute in = jute_of(list);
    int32_t count = jute_count(&in, ACL_ITEM_MIN);
    if (count <= 0 || auth_has_scheme(ids, "super")) return true;
    for (int32_t i = 0; i < count && !in.is_bad; i++) {
        struct acl_item item = item_take(&in);
        if (!(item.perms & perm)) continue;
        if (slice_is(item.scheme, "world") && slice_is(item.id, "anyone")) return true;
        struct auth_id each;
        for (size_t at = 0; auth_next(ids, &at, &each);) {
            if (!slice_equal(each.scheme, item.scheme)) continue;
            bool matches =
                slice_is(item.scheme, "ip") ? ip_matches(item.id, each.id) : slice_equal(item.id, each.id);
            if (matches) return true;
        }
    }
    return false;
}

/* A list under construction. Long ones are looked up in a map, for a client may send a hundred thousand entries. */
struct acl_builder {
    struct text *out;
    int32_t count;
    struct map seen;
};

static void builder_add(struct acl_builder *builder, int32_t perms, struct slice scheme, struct slice id)
{
    struct text *out = builder->out;
    size_t begin = out->size;
    text_add_be32(out, (uint32_t)perms);
    jute_add_bytes(out, scheme);
    jute_add_bytes(out, id);
    assert(!out->failed);
    struct slice item = {(const uint8_t *)out->data + begin, out->size - begin};
    if (map_get(&builder->seen, item)) {
        out->size = begin;
        return;
    }
    enum error err = map_put(&builder->seen, item, out);
    assert(err == OK);
    builder->count++;
}

static enum error acl_fix_item(struct acl_builder *builder, const struct acl_item *item,
                               const struct auth_ids *ids, int schemes)
{
    if (!item->scheme.data) return ERR_ZK_INVALID_ACL;
    bool looks_at_id = slice_is(item->scheme, "world") || slice_is(item->scheme, "digest") ||
                       slice_is(item->scheme, "ip") ||
                       ((schemes & ACL_SASL) && slice_is(item->scheme, "sasl"));
    if (looks_at_id && !item->id.data) return ERR_ZK_MARSHALLING; /* Java trips over it */
    if (slice_is(item->scheme, "auth")) {
        bool is_authenticated = false;
        struct auth_id each;
        for (size_t at = 0; auth_next(ids, &at, &each);) {
            if (!scheme_authenticates(each.scheme, schemes)) continue;
            is_authenticated = true;
            builder_add(builder, item->perms, each.scheme, each.id);
        }
        return is_authenticated ? OK : ERR_ZK_INVALID_ACL;
    }
    bool is_world = slice_is(item->scheme, "world") && slice_is(item->id, "anyone");
    if (!is_world && !id_is_valid(item->scheme, item->id, schemes)) return ERR_ZK_INVALID_ACL;
    builder_add(builder, item->perms, item->scheme, item->id);
    return OK;
}

enum error acl_fix(struct slice sent, const struct auth_ids *ids, int schemes, struct text *out)
{
    struct jute in = jute_of(sent);
    int32_t count = jute_count(&in, ACL_ITEM_MIN);
    if (in.is_bad) return ERR_ZK_MARSHALLING;
    if (count <= 0) return ERR_ZK_INVALID_ACL;
    text_reset(out);
    if (slice_equal(sent, (struct slice){open_list, sizeof open_list})) { /* what nearly everybody sends */
        text_add(out, sent);
        return OK;
    }
    text_add_be32(out, 0);
    struct acl_builder builder = {.out = out};
    enum error err = OK;
    for (int32_t i = 0; i < count && err == OK; i++) {
        struct acl_item item = item_take(&in);
        err = in.is_bad ? ERR_ZK_MARSHALLING : acl_fix_item(&builder, &item, ids, schemes);
        if (err == OK && out->size > ACL_LIST_MAX) err = ERR_ZK_INVALID_ACL;
    }
    if (err == OK) put_be32(out->data, (uint32_t)builder.count);
    map_free(&builder.seen);
    return err;
}

void acl_mask(struct slice list, struct text *out)
{
    struct jute in = jute_of(list);
    int32_t count = jute_count(&in, ACL_ITEM_MIN);
    text_add_be32(out, (uint32_t)count);
    for (int32_t i = 0; i < count; i++) {
        struct acl_item item = item_take(&in);
        text_add_be32(out, (uint32_t)item.perms);
        jute_add_bytes(out, item.scheme);
        const uint8_t *colon = item.id.size ? memchr(item.id.data, ':', item.id.size) : NULL;
        if (slice_is(item.scheme, "digest") && colon) {
            size_t user = (size_t)(colon - item.id.data);
            text_add_be32(out, (uint32_t)user + 2);
            text_add(out, (struct slice){item.id.data, user});
            text_addz(out, ":x");
        } else {
            jute_add_bytes(out, item.id);
        }
    }
}
