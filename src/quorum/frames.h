/* frames.h: what members say to each other.
 *
 *     size u32 | kind u8 | body                     big-endian; size counts kind and body
 *
 *     HELLO            "odrq-lnk" version u16 flags u16 | from i32 to i32 | incarnation u64 cluster u64 founders u64
 *     ENTRIES          term u64 previous index u64 previous term u64 commit u64 | flags u8 count u32 |
 *                      count x (kind and size u32, term u64, bytes)
 *     ENTRIES_RESULT   term u64 rejected u64 last index u64
 *     VOTE             term u64 last index u64 last term u64 flags u8
 *     VOTE_RESULT      term u64 flags u8
 *     TIMEOUT_NOW      term u64 last index u64 last term u64
 *     SNAPSHOT         term u64 index u64 last term u64 size u64         then CHUNKs, which make up the file
 *     CHUNK            position u64, bytes
 *     FOUNDED          nothing: the sender has founded the quorum since its hello
 *     PING             nothing: is somebody there?
 *     MESSAGE          the machine's bytes
 *
 * HELLO comes first on each side and never again. Decoded views point into the frame. Nothing is trusted before its length was
 * checked against the frame, and a frame's size against what its kind may have.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

enum {
    LINK_VERSION = 1,
    FRAME_HEAD_SIZE = 5,
    FRAME_HELLO_BODY = 44,
    FRAME_ENTRIES_BODY = 37, /* before its entries */
    FRAME_ENTRY_HEAD = 12,
    FRAME_CHUNK_MAX = 256 << 10,
};

enum frame_kind {
    FRAME_HELLO = 1,
    FRAME_ENTRIES,
    FRAME_ENTRIES_RESULT,
    FRAME_VOTE,
    FRAME_VOTE_RESULT,
    FRAME_TIMEOUT_NOW,
    FRAME_SNAPSHOT,
    FRAME_CHUNK,
    FRAME_FOUNDED,
    FRAME_PING,
    FRAME_MESSAGE,
    FRAME_KIND_END
};

enum entry_kind { ENTRY_COMMAND, ENTRY_BARRIER, ENTRY_CHANGE, ENTRY_KIND_END };

struct frame_hello {
    int32_t from, to;
    uint64_t incarnation;
    uint64_t cluster;  /* 0: knows none */
    uint64_t founders; /* membership_hash of the founders it was given */
    bool is_blank;     /* has nothing but what founders begin with: no vote, no entry but the founders' */
    bool is_founder;   /* has founded the quorum */
};

struct frame_entries {
    uint64_t term, previous_index, previous_term, commit;
    bool is_quiet; /* only tells of a commit: wants no answer */
    uint32_t count;
    struct slice entries; /* encoded; frame_entry_take */
};

struct frame_entry {
    enum entry_kind kind;
    uint64_t term;
    struct slice bytes;
};

struct frame_entries_result {
    uint64_t term, rejected, last_index; /* rejected 0: accepted */
};

struct frame_vote {
    uint64_t term, last_index, last_term;
    bool is_pre_vote, is_transfer;
};

struct frame_vote_result {
    uint64_t term;
    bool is_granted, is_pre_vote;
};

struct frame_timeout_now {
    uint64_t term, last_index, last_term;
};

struct frame_snapshot {
    uint64_t term, index, last_term, size;
};

struct frame_chunk {
    uint64_t position;
    struct slice bytes;
};

struct frame {
    enum frame_kind kind;
    union {
        struct frame_hello hello;
        struct frame_entries entries;
        struct frame_entries_result entries_result;
        struct frame_vote vote;
        struct frame_vote_result vote_result;
        struct frame_timeout_now timeout_now;
        struct frame_snapshot snapshot;
        struct frame_chunk chunk;
        struct slice message;
    };
};

/* The size field of a frame's head: what follows it, or 0 when no frame of this kind can be so large or so small. */
size_t frame_size(const uint8_t head[FRAME_HEAD_SIZE]);
/* kind and body, as many bytes as frame_size said. ERR_CORRUPT; ERR_UNSUPPORTED_VERSION for a hello of a later version. */
MUST_USE enum error frame_decode(struct slice bytes, struct frame *frame);
/* The next of the entries of a decoded frame: their heads were checked, so this cannot fail. */
void frame_entry_take(struct slice *entries, struct frame_entry *entry);

/* Everything but entries, chunks and messages, which their senders lay out: the bytes with head, into `out`. */
enum { FRAME_SMALL_MAX = 64 };
size_t frame_encode(const struct frame *frame, uint8_t out[FRAME_SMALL_MAX]);
/* The heads of the others: what goes before entries, a chunk's bytes, a message. body_size: of what follows. */
size_t frame_entries_head(const struct frame_entries *entries, size_t body_size,
                          uint8_t out[FRAME_SMALL_MAX]);
void frame_entry_head(const struct frame_entry *entry, uint8_t out[FRAME_ENTRY_HEAD]);
size_t frame_chunk_head(uint64_t position, size_t body_size, uint8_t out[FRAME_SMALL_MAX]);
size_t frame_message_head(size_t body_size, uint8_t out[FRAME_SMALL_MAX]);
