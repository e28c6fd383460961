/* link_fuzz.c: what another member sends, and what lies in a vote file and in CHANGE entries. The first byte chooses. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "quorum/frames.h"
#include "quorum/membership.h"
#include "quorum/vote.h"

static void frames(struct slice bytes)
{
    while (bytes.size >= FRAME_HEAD_SIZE) {
        size_t size = frame_size(bytes.data);
        if (size == 0 || size > bytes.size - 4) return;
        struct frame frame;
        if (frame_decode((struct slice){bytes.data + 4, size}, &frame) == OK && frame.kind == FRAME_ENTRIES) {
            struct slice left = frame.entries.entries;
            for (uint32_t i = 0; i < frame.entries.count; i++) {
                struct frame_entry entry;
                frame_entry_take(&left, &entry);
                if (entry.kind >= ENTRY_KIND_END || entry.term == 0) abort();
                struct membership membership;
                if (entry.kind == ENTRY_CHANGE && membership_decode(entry.bytes, &membership) == OK)
                    membership_free(&membership);
            }
            if (left.size != 0) abort();
        }
        bytes.data += 4 + size;
        bytes.size -= 4 + size;
    }
}

/* What is taken is written as it was read. */
static void memberships(struct slice bytes)
{
    struct membership membership, again;
    if (membership_decode(bytes, &membership) != OK) return;
    uint8_t *written;
    size_t size;
    if (membership_encode(&membership, &written, &size) != OK) abort();
    if (membership_decode((struct slice){written, size}, &again) != OK || again.count != membership.count)
        abort();
    if (membership_hash(&again) != membership_hash(&membership)) abort();
    free(written);
    membership_free(&membership);
    membership_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct slice bytes = {data + 1, size - 1};
    struct vote vote;
    uint64_t number;
    switch (data[0] % 3) {
    case 0: frames(bytes); break;
    case 1: memberships(bytes); break;
    default:
        if (vote_slot_decode(bytes, &vote, &number) == OK && (vote.voted_for < 0 || vote.incarnation == 0))
            abort();
    }
    return 0;
}
