/* machine_fuzz: any entries in the keeper's log, and snapshots that are not as they were written. The input is
 *
 *     u8 edits | edits times: u8 chunk, u16 position, u8 value | entries: u8 choice, u16 size, body (or a whole entry)
 *
 * An entry that is refused changes nothing. A snapshot restores to the same state. An edited one is refused, or is a state
 * like any other: it can be read, takes entries, and comes through a snapshot again. */
#include <stdlib.h>

#include "fuzz.h"
#include "keeper/machine.h"

enum { CHUNK_MAX = 64, EDIT_SIZE = 4 };

struct snapshot {
    struct text chunks[CHUNK_MAX];
    size_t count;
};

static void on_chunk(void *context, struct slice chunk)
{
    struct snapshot *snapshot = context;
    CHECK(snapshot->count < CHUNK_MAX);
    text_add(&snapshot->chunks[snapshot->count++], chunk);
}

static void save(struct machine *machine, struct snapshot *snapshot)
{
    machine_snapshot_begin(machine, on_chunk, snapshot);
    while (machine_snapshot_step(machine, 3)) continue;
}

static enum error load(struct machine *machine, const struct snapshot *snapshot)
{
    enum error err = OK;
    machine_init(machine, 1);
    for (size_t i = 0; i < snapshot->count && err == OK; i++)
        err = machine_restore(machine, text_slice(&snapshot->chunks[i]));
    return err == OK ? machine_restored(machine) : err;
}

static void snapshot_free(struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->count; i++) text_free(&snapshot->chunks[i]);
}

static void on_watch(void *context, enum read_watch kind, struct slice path)
{
}

static void feed(struct machine *machine, struct slice in)
{
    static const int8_t ops[] = {1,   2,   5,    7,    13,   14, 15, 16, 19, 20, 21, -10,
                                 -10, -11, -100, -101, -102, 9,  3,  4,  6,  8,  12, 22};
    int64_t session = 0;
    for (uint32_t number = 0; in.size >= 3; number++) {
        uint8_t choice = in.data[0];
        size_t size = get_be16(in.data + 1) % 512;
        in = (struct slice){in.data + 3, in.size - 3};
        if (size > in.size) size = in.size;
        struct slice body = {in.data, size};
        in = (struct slice){in.data + size, in.size - size};
        int32_t op = ops[choice % sizeof ops];
        struct text bytes = {0};
        if (op_is_read(op)) {
            const struct read_request request = {
                .op = op, .session = session, .body = body, .watch = on_watch};
            text_addz(&bytes, "kept");
            enum error err = machine_read(machine, &request, &bytes);
            CHECK(err == OK || bytes.size == 4);
            text_free(&bytes);
            continue;
        }
        if (choice == 0xff) {
            text_add(&bytes, body);
        } else {
            uint8_t header[ENTRY_HEADER_MAX];
            struct entry entry = {.flags = choice >> 6,
                                  .op = op,
                                  .time_ms = number,
                                  .session = session,
                                  .cxid = (int32_t)number,
                                  .origin = choice >> 5 & 3,
                                  .sequence = number,
                                  .attachment = choice >> 7};
            text_add(&bytes, (struct slice){header, entry_header(&entry, header)});
            text_add_be32(&bytes, 0); /* no auth ids */
            text_add(&bytes, body);
        }
        uint64_t digest = machine_digest(machine);
        int64_t zxid = machine->zxid;
        if (machine_apply(machine, text_slice(&bytes)) != OK)
            CHECK(machine->zxid == zxid && machine_digest(machine) == digest);
        else if (machine->outcome.op == OP_CREATE_SESSION && machine->outcome.err == OK)
            session = machine->outcome.session;
        text_free(&bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    size_t edit_count = data[0] % 8;
    if (size < 1 + edit_count * EDIT_SIZE) return 0;
    const uint8_t *edits = data + 1;
    struct slice entries = {edits + edit_count * EDIT_SIZE, size - 1 - edit_count * EDIT_SIZE};

    struct machine machine, copy;
    struct snapshot snapshot = {0}, again = {0};
    machine_init(&machine, 1);
    feed(&machine, entries);
    save(&machine, &snapshot);
    CHECK(load(&copy, &snapshot) == OK);
    CHECK(copy.zxid == machine.zxid && machine_digest(&copy) == machine_digest(&machine));
    machine_free(&copy);
    machine_free(&machine);

    for (size_t i = 0; i < edit_count; i++, edits += EDIT_SIZE) {
        struct text *chunk = &snapshot.chunks[edits[0] % snapshot.count];
        size_t at = get_be16(edits + 1);
        if (at & 0x8000 && chunk->size > 0) /* the end is not there */
            chunk->size = at % chunk->size;
        else if (chunk->size > 0)
            chunk->data[at % chunk->size] = (char)edits[3];
    }
    if (edit_count > 0) {
        if (load(&machine, &snapshot) == OK) {
            feed(&machine, entries);
            save(&machine, &again);
            CHECK(load(&copy, &again) == OK);
            CHECK(machine_digest(&copy) == machine_digest(&machine));
            machine_free(&copy);
        }
        machine_free(&machine);
    }
    snapshot_free(&snapshot);
    snapshot_free(&again);
    return 0;
}
