#include "quorum/membership.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum {
    MEMBERSHIP_FORMAT = 1,
    OWED = 1000,
    SEATS_MAX = 2 * QUORUM_MEMBERS_MAX,
    SEAT_TEXT_MAX = 2 * QUORUM_MEMBER_TEXT_MAX + 64
};

static void put_le64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++) out[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get_le64(const uint8_t *from)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value |= (uint64_t)from[i] << 8 * i;
    return value;
}

void membership_free(struct membership *membership)
{
    for (int i = 0; i < membership->count; i++) {
        free(membership->seats[i].host);
        free(membership->seats[i].about);
    }
    *membership = (struct membership){0};
}

static bool is_host(const char *host)
{
    size_t size = host ? strlen(host) : 0;
    if (size == 0 || size > QUORUM_MEMBER_TEXT_MAX) return false;
    for (size_t i = 0; i < size; i++) {
        if ((uint8_t)host[i] <= ' ') return false;
    }
    return true;
}

static int32_t number_of(const struct seat *seat)
{
    return seat->is_owed ? OWED + seat->id : seat->id;
}

enum error membership_add(struct membership *membership, const struct seat *seat)
{
    if (membership->count == SEATS_MAX) return ERR_LIMIT;
    const char *about = seat->about ? seat->about : "";
    if (seat->id < 1 || seat->id > QUORUM_MEMBER_ZERO || seat->port == 0 || !is_host(seat->host) ||
        strlen(about) > QUORUM_MEMBER_TEXT_MAX || (seat->is_owed && seat->role != SEAT_SPARE) ||
        (seat->is_leaving && seat->role != SEAT_STANDBY)) {
        return ERR_CONFIG;
    }
    if (seat->is_owed ? membership_owed(membership, seat->id) : membership_seat(membership, seat->id))
        return ERR_CONFIG;
    struct seat added = *seat;
    added.host = slice_dup(slice_of(seat->host));
    added.about = slice_dup(slice_of(about));
    if (!added.host || !added.about) {
        free(added.host);
        free(added.about);
        return ERR_NOMEM;
    }
    int at = membership->count++;
    for (; at > 0 && number_of(&membership->seats[at - 1]) > number_of(&added); at--) {
        membership->seats[at] = membership->seats[at - 1];
    }
    membership->seats[at] = added;
    return OK;
}

void membership_remove(struct membership *membership, const struct seat *seat)
{
    int at = (int)(seat - membership->seats);
    assert(at >= 0 && at < membership->count);
    free(membership->seats[at].host);
    free(membership->seats[at].about);
    membership->count--;
    for (; at < membership->count; at++) membership->seats[at] = membership->seats[at + 1];
}

enum error membership_copy(const struct membership *from, struct membership *to)
{
    struct membership copy = {.cluster = from->cluster, .index = from->index};
    enum error err = OK;
    for (int i = 0; i < from->count && err == OK; i++) err = membership_add(&copy, &from->seats[i]);
    if (err == OK) *to = copy;
    if (err != OK) membership_free(&copy);
    return err;
}

enum error membership_of(const struct quorum_member *members, int count, struct membership *membership)
{
    struct membership made = {0};
    enum error err = count <= QUORUM_MEMBERS_MAX ? OK : ERR_CONFIG;
    for (int i = 0; i < count && err == OK; i++) {
        const struct quorum_member *member = &members[i];
        struct seat seat = {.id = member->id,
                            .role = member->part == QUORUM_OBSERVER ? SEAT_STANDBY : SEAT_VOTER,
                            .port = member->port,
                            .host = (char *)member->host,
                            .about = (char *)member->about};
        err = membership_add(&made, &seat);
    }
    if (err == OK && membership_voters(&made) == 0) err = ERR_CONFIG;
    if (err == OK) *membership = made;
    if (err != OK) membership_free(&made);
    return err;
}

enum error membership_encode(const struct membership *membership, uint8_t **out, size_t *size)
{
    uint8_t *bytes = calloc(1, 17 + (size_t)membership->count * (SEAT_TEXT_MAX + 10));
    if (!bytes) return ERR_NOMEM;
    size_t at = 0;
    bytes[at++] = MEMBERSHIP_FORMAT;
    put_le64(bytes + at, (uint64_t)membership->count);
    at += 8;
    for (int i = 0; i < membership->count; i++) {
        const struct seat *seat = &membership->seats[i];
        put_le64(bytes + at, (uint64_t)number_of(seat));
        at += 8;
        int written = snprintf((char *)bytes + at, SEAT_TEXT_MAX, "%d %016" PRIx64 " %016" PRIx64 " %u %s %s",
                               (int)(seat->is_leaving ? -seat->id : seat->id), seat->incarnation,
                               membership->cluster, seat->port, seat->host, seat->about);
        assert(written > 0 && written < SEAT_TEXT_MAX);
        at += (size_t)written + 1;
        bytes[at++] = (uint8_t)seat->role;
    }
    *out = bytes;
    *size = (at + 7) & ~(size_t)7;
    return OK;
}

/* Up to the next space; false when there is none. */
static bool word_take(struct slice *text, struct slice *word)
{
    const uint8_t *space = text->size ? memchr(text->data, ' ', text->size) : NULL;
    if (!space) return false;
    *word = (struct slice){text->data, (size_t)(space - text->data)};
    text->size -= word->size + 1;
    text->data = space + 1;
    return true;
}

static bool hex_take(struct slice *text, uint64_t *value)
{
    struct slice word;
    if (!word_take(text, &word) || word.size != 16) return false;
    *value = 0;
    for (size_t i = 0; i < 16; i++) {
        uint8_t c = word.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return false;
        *value = *value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

static enum error seat_take(struct slice text, uint64_t id, uint8_t role, struct membership *membership)
{
    struct slice word;
    int64_t number, port;
    struct seat seat = {.role = role, .is_owed = id > OWED};
    if (seat.is_owed) id -= OWED;
    if (role > SEAT_SPARE || id < 1 || id > QUORUM_MEMBER_ZERO) return ERR_CORRUPT;
    seat.id = (int32_t)id;
    if (!word_take(&text, &word) || !slice_to_int64(word, -QUORUM_MEMBER_ZERO, QUORUM_MEMBER_ZERO, &number))
        return ERR_CORRUPT;
    seat.is_leaving = number < 0;
    if (number != (seat.is_leaving ? -seat.id : seat.id)) return ERR_CORRUPT;
    uint64_t cluster;
    if (!hex_take(&text, &seat.incarnation) || !hex_take(&text, &cluster)) return ERR_CORRUPT;
    if (membership->count > 0 && cluster != membership->cluster) return ERR_CORRUPT;
    membership->cluster = cluster;
    if (!word_take(&text, &word) || !slice_to_int64(word, 1, 65535, &port)) return ERR_CORRUPT;
    seat.port = (uint16_t)port;
    if (!word_take(&text, &word)) return ERR_CORRUPT;
    seat.host = slice_dup(word);
    seat.about = slice_dup(text);
    enum error err = seat.host && seat.about ? membership_add(membership, &seat) : ERR_NOMEM;
    free(seat.host);
    free(seat.about);
    return err == ERR_CONFIG ? ERR_CORRUPT : err;
}

enum error membership_decode(struct slice bytes, struct membership *membership)
{
    if (bytes.size < 9 || bytes.data[0] != MEMBERSHIP_FORMAT) return ERR_CORRUPT;
    uint64_t count = get_le64(bytes.data + 1);
    if (count == 0 || count > SEATS_MAX) return ERR_CORRUPT;
    struct membership decoded = {0};
    enum error err = OK;
    size_t at = 9;
    for (uint64_t i = 0; i < count && err == OK; i++) {
        if (bytes.size - at < 8) {
            err = ERR_CORRUPT;
            break;
        }
        uint64_t id = get_le64(bytes.data + at);
        at += 8;
        const uint8_t *text = bytes.data + at;
        const uint8_t *end = bytes.size > at ? memchr(text, 0, bytes.size - at) : NULL;
        /* Its role follows the zero. */
        if (!end || (size_t)(end - bytes.data) + 1 >= bytes.size) {
            err = ERR_CORRUPT;
            break;
        }
        at = (size_t)(end - bytes.data) + 2;
        err = seat_take((struct slice){text, (size_t)(end - text)}, id, end[1], &decoded);
    }
    if (err == OK) *membership = decoded;
    if (err != OK) membership_free(&decoded);
    return err;
}

struct seat *membership_seat(struct membership *membership, int32_t id)
{
    for (int i = 0; i < membership->count; i++) {
        if (membership->seats[i].id == id && !membership->seats[i].is_owed) return &membership->seats[i];
    }
    return NULL;
}

struct seat *membership_owed(struct membership *membership, int32_t id)
{
    for (int i = 0; i < membership->count; i++) {
        if (membership->seats[i].id == id && membership->seats[i].is_owed) return &membership->seats[i];
    }
    return NULL;
}

int membership_voters(const struct membership *membership)
{
    int voters = 0;
    for (int i = 0; i < membership->count; i++) voters += membership->seats[i].role == SEAT_VOTER;
    return voters;
}

uint64_t membership_hash(const struct membership *membership)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (int i = 0; i < membership->count; i++) {
        const struct seat *seat = &membership->seats[i];
        char text[QUORUM_MEMBER_TEXT_MAX + 64];
        int size = snprintf(text, sizeof text, "%d %d %u %s\n", (int)seat->id, (int)seat->role, seat->port,
                            seat->host);
        for (int j = 0; j < size && j < (int)sizeof text; j++)
            hash = (hash ^ (uint8_t)text[j]) * 1099511628211u;
    }
    return hash ? hash : 1;
}
