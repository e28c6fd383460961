#include "quorum/frames.h"

#include <assert.h>
#include <string.h>

#include "quorum/files.h"
#include "quorum/quorum.h"

static const char hello_magic[8] = "odrq-lnk";

enum {
    FLAG_BLANK = 1,
    FLAG_FOUNDER = 2,
    FLAG_QUIET = 1,
    FLAG_PRE_VOTE = 1,
    FLAG_TRANSFER = 2,
    FLAG_GRANTED = 2
};

/* Of a body: the least, and the most. An entry may be as large as the log takes. */
static const struct {
    size_t least, most;
} bodies[FRAME_KIND_END] = {
    [FRAME_HELLO] = {FRAME_HELLO_BODY, FRAME_HELLO_BODY + 4096}, /* later versions may say more */
    [FRAME_ENTRIES] = {FRAME_ENTRIES_BODY, FRAME_ENTRIES_BODY + FRAME_ENTRY_HEAD + QUORUM_ENTRY_MAX},
    [FRAME_ENTRIES_RESULT] = {24, 24},
    [FRAME_VOTE] = {25, 25},
    [FRAME_VOTE_RESULT] = {9, 9},
    [FRAME_TIMEOUT_NOW] = {24, 24},
    [FRAME_SNAPSHOT] = {32, 32},
    [FRAME_CHUNK] = {9, 8 + FRAME_CHUNK_MAX},
    [FRAME_FOUNDED] = {0, 0},
    [FRAME_PING] = {0, 0},
    [FRAME_MESSAGE] = {0, QUORUM_MESSAGE_BYTES_MAX},
};

size_t frame_size(const uint8_t head[FRAME_HEAD_SIZE])
{
    size_t size = get_be32(head);
    uint8_t kind = head[4];
    if (kind < FRAME_HELLO || kind >= FRAME_KIND_END || size < 1) return 0;
    return size - 1 < bodies[kind].least || size - 1 > bodies[kind].most ? 0 : size;
}

static enum error hello_decode(const uint8_t *body, size_t size, struct frame_hello *hello)
{
    if (memcmp(body, hello_magic, 8) != 0) return ERR_CORRUPT;
    if (get_be16(body + 8) > LINK_VERSION) return ERR_UNSUPPORTED_VERSION;
    if (size != FRAME_HELLO_BODY) return ERR_CORRUPT;
    *hello = (struct frame_hello){.is_blank = get_be16(body + 10) & FLAG_BLANK,
                                  .is_founder = get_be16(body + 10) & FLAG_FOUNDER,
                                  .from = (int32_t)get_be32(body + 12),
                                  .to = (int32_t)get_be32(body + 16),
                                  .incarnation = get_be64(body + 20),
                                  .cluster = get_be64(body + 28),
                                  .founders = get_be64(body + 36)};
    bool is_right = hello->from >= 1 && hello->from <= QUORUM_MEMBER_ZERO && hello->to >= 1 &&
                    hello->to <= QUORUM_MEMBER_ZERO;
    return is_right && hello->incarnation != 0 ? OK : ERR_CORRUPT;
}

static enum error entries_decode(const uint8_t *body, size_t size, struct frame_entries *entries)
{
    *entries = (struct frame_entries){.term = get_be64(body),
                                      .previous_index = get_be64(body + 8),
                                      .previous_term = get_be64(body + 16),
                                      .commit = get_be64(body + 24),
                                      .is_quiet = body[32] & FLAG_QUIET,
                                      .count = get_be32(body + 33),
                                      .entries = {body + FRAME_ENTRIES_BODY, size - FRAME_ENTRIES_BODY}};
    /* An index of the last possible size must not wrap; a term of 0 is nobody's. */
    if (entries->term == 0 || entries->previous_index > INT64_MAX - UINT32_MAX) return ERR_CORRUPT;
    if ((entries->previous_index == 0) != (entries->previous_term == 0)) return ERR_CORRUPT;
    if (entries->previous_term > entries->term) return ERR_CORRUPT;
    if (entries->is_quiet && entries->count > 0) return ERR_CORRUPT;
    uint64_t term = entries->previous_term;
    size_t at = 0;
    for (uint32_t i = 0; i < entries->count; i++) {
        if (entries->entries.size - at < FRAME_ENTRY_HEAD) return ERR_CORRUPT;
        const uint8_t *head = entries->entries.data + at;
        uint32_t word = get_be32(head);
        size_t entry_size = word & 0x3fffffff;
        uint64_t entry_term = get_be64(head + 4);
        at += FRAME_ENTRY_HEAD;
        if (word >> 30 >= ENTRY_KIND_END || entry_size > entries->entries.size - at) return ERR_CORRUPT;
        if (entry_term < term || entry_term > entries->term || entry_term == 0) return ERR_CORRUPT;
        term = entry_term;
        at += entry_size;
    }
    return at == entries->entries.size ? OK : ERR_CORRUPT;
}

enum error frame_decode(struct slice bytes, struct frame *frame)
{
    if (bytes.size < 1 || bytes.data[0] < FRAME_HELLO || bytes.data[0] >= FRAME_KIND_END) return ERR_CORRUPT;
    enum frame_kind kind = bytes.data[0];
    const uint8_t *body = bytes.data + 1;
    size_t size = bytes.size - 1;
    if (size < bodies[kind].least || size > bodies[kind].most) return ERR_CORRUPT;
    *frame = (struct frame){.kind = kind};
    enum error err = OK;
    switch (kind) {
    case FRAME_HELLO: err = hello_decode(body, size, &frame->hello); break;
    case FRAME_ENTRIES: err = entries_decode(body, size, &frame->entries); break;
    case FRAME_ENTRIES_RESULT:
        frame->entries_result =
            (struct frame_entries_result){get_be64(body), get_be64(body + 8), get_be64(body + 16)};
        break;
    case FRAME_VOTE:
        frame->vote = (struct frame_vote){get_be64(body), get_be64(body + 8), get_be64(body + 16),
                                          body[24] & FLAG_PRE_VOTE, body[24] & FLAG_TRANSFER};
        break;
    case FRAME_VOTE_RESULT:
        frame->vote_result =
            (struct frame_vote_result){get_be64(body), body[8] & FLAG_GRANTED, body[8] & FLAG_PRE_VOTE};
        break;
    case FRAME_TIMEOUT_NOW:
        frame->timeout_now =
            (struct frame_timeout_now){get_be64(body), get_be64(body + 8), get_be64(body + 16)};
        break;
    case FRAME_SNAPSHOT:
        frame->snapshot = (struct frame_snapshot){get_be64(body), get_be64(body + 8), get_be64(body + 16),
                                                  get_be64(body + 24)};
        if (frame->snapshot.index == 0 || frame->snapshot.last_term == 0 || frame->snapshot.size > INT64_MAX)
            err = ERR_CORRUPT;
        break;
    case FRAME_CHUNK: frame->chunk = (struct frame_chunk){get_be64(body), {body + 8, size - 8}}; break;
    case FRAME_MESSAGE: frame->message = (struct slice){body, size}; break;
    default: break;
    }
    return err;
}

void frame_entry_take(struct slice *entries, struct frame_entry *entry)
{
    uint32_t word = get_be32(entries->data);
    size_t size = word & 0x3fffffff;
    *entry = (struct frame_entry){
        (enum entry_kind)(word >> 30), get_be64(entries->data + 4), {entries->data + FRAME_ENTRY_HEAD, size}};
    entries->data += FRAME_ENTRY_HEAD + size;
    entries->size -= FRAME_ENTRY_HEAD + size;
}

static void head_put(uint8_t *out, enum frame_kind kind, size_t body_size)
{
    put_be32(out, (uint32_t)(1 + body_size));
    out[4] = (uint8_t)kind;
}

static size_t three_put(uint8_t *body, uint64_t a, uint64_t b, uint64_t c)
{
    put_be64(body, a);
    put_be64(body + 8, b);
    put_be64(body + 16, c);
    return 24;
}

size_t frame_encode(const struct frame *frame, uint8_t out[FRAME_SMALL_MAX])
{
    uint8_t *body = out + FRAME_HEAD_SIZE;
    size_t size = 0;
    switch (frame->kind) {
    case FRAME_HELLO:
        memcpy(body, hello_magic, 8);
        put_be16(body + 8, LINK_VERSION);
        put_be16(body + 10, (uint16_t)((frame->hello.is_blank ? FLAG_BLANK : 0) |
                                       (frame->hello.is_founder ? FLAG_FOUNDER : 0)));
        put_be32(body + 12, (uint32_t)frame->hello.from);
        put_be32(body + 16, (uint32_t)frame->hello.to);
        three_put(body + 20, frame->hello.incarnation, frame->hello.cluster, frame->hello.founders);
        size = FRAME_HELLO_BODY;
        break;
    case FRAME_ENTRIES_RESULT:
        size = three_put(body, frame->entries_result.term, frame->entries_result.rejected,
                         frame->entries_result.last_index);
        break;
    case FRAME_VOTE:
        size = three_put(body, frame->vote.term, frame->vote.last_index, frame->vote.last_term);
        body[size++] = (uint8_t)((frame->vote.is_pre_vote ? FLAG_PRE_VOTE : 0) |
                                 (frame->vote.is_transfer ? FLAG_TRANSFER : 0));
        break;
    case FRAME_VOTE_RESULT:
        put_be64(body, frame->vote_result.term);
        body[8] = (uint8_t)((frame->vote_result.is_granted ? FLAG_GRANTED : 0) |
                            (frame->vote_result.is_pre_vote ? FLAG_PRE_VOTE : 0));
        size = 9;
        break;
    case FRAME_TIMEOUT_NOW:
        size = three_put(body, frame->timeout_now.term, frame->timeout_now.last_index,
                         frame->timeout_now.last_term);
        break;
    case FRAME_SNAPSHOT:
        size = three_put(body, frame->snapshot.term, frame->snapshot.index, frame->snapshot.last_term);
        put_be64(body + size, frame->snapshot.size);
        size += 8;
        break;
    case FRAME_FOUNDED:
    case FRAME_PING: break;
    default: assert(!"a frame that its sender lays out");
    }
    head_put(out, frame->kind, size);
    return FRAME_HEAD_SIZE + size;
}

size_t frame_entries_head(const struct frame_entries *entries, size_t body_size, uint8_t out[FRAME_SMALL_MAX])
{
    head_put(out, FRAME_ENTRIES, FRAME_ENTRIES_BODY + body_size);
    uint8_t *body = out + FRAME_HEAD_SIZE;
    three_put(body, entries->term, entries->previous_index, entries->previous_term);
    put_be64(body + 24, entries->commit);
    body[32] = entries->is_quiet ? FLAG_QUIET : 0;
    put_be32(body + 33, entries->count);
    return FRAME_HEAD_SIZE + FRAME_ENTRIES_BODY;
}

void frame_entry_head(const struct frame_entry *entry, uint8_t out[FRAME_ENTRY_HEAD])
{
    assert(entry->bytes.size <= 0x3fffffff);
    put_be32(out, (uint32_t)entry->kind << 30 | (uint32_t)entry->bytes.size);
    put_be64(out + 4, entry->term);
}

size_t frame_chunk_head(uint64_t position, size_t body_size, uint8_t out[FRAME_SMALL_MAX])
{
    head_put(out, FRAME_CHUNK, 8 + body_size);
    put_be64(out + FRAME_HEAD_SIZE, position);
    return FRAME_HEAD_SIZE + 8;
}

size_t frame_message_head(size_t body_size, uint8_t out[FRAME_SMALL_MAX])
{
    head_put(out, FRAME_MESSAGE, body_size);
    return FRAME_HEAD_SIZE;
}
