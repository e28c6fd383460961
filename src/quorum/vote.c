#include "quorum/vote.h"

#include <stdlib.h>
#include <string.h>

#include "loop/disk.h"
#include "quorum/quorum.h"
#include "wire/crc32c.h"

static const char vote_magic[8] = "odrq-vot";

enum { FLAG_FOUNDER = 1 };

static uint32_t slot_crc(const uint8_t *slot)
{
    return crc32c(crc32c(0, slot, 12), slot + 16, VOTE_SLOT_SIZE - 16);
}

void vote_slot_encode(const struct vote *vote, uint64_t number, uint8_t out[VOTE_SLOT_SIZE])
{
    memcpy(out, vote_magic, 8);
    put_be32(out + 8, VOTE_FORMAT);
    put_be64(out + 16, number);
    put_be64(out + 24, vote->term);
    put_be32(out + 32, (uint32_t)vote->voted_for);
    put_be32(out + 36, vote->is_founder ? FLAG_FOUNDER : 0);
    put_be64(out + 40, vote->incarnation);
    put_be32(out + 12, slot_crc(out));
}

enum error vote_slot_decode(struct slice slot, struct vote *vote, uint64_t *number)
{
    if (slot.size < VOTE_SLOT_SIZE) return ERR_TRUNCATED;
    const uint8_t *bytes = slot.data;
    if (memcmp(bytes, vote_magic, 8) != 0) return ERR_CORRUPT;
    if (get_be32(bytes + 8) > VOTE_FORMAT) return ERR_UNSUPPORTED_VERSION;
    if (get_be32(bytes + 12) != slot_crc(bytes)) return ERR_CORRUPT;
    struct vote read = {.term = get_be64(bytes + 24),
                        .voted_for = (int32_t)get_be32(bytes + 32),
                        .is_founder = get_be32(bytes + 36) & FLAG_FOUNDER,
                        .incarnation = get_be64(bytes + 40)};
    if (read.voted_for < 0 || read.voted_for > QUORUM_MEMBER_ZERO || read.incarnation == 0)
        return ERR_CORRUPT;
    *vote = read;
    *number = get_be64(bytes + 16);
    return OK;
}

enum error vote_open(struct disk *disk, const char *path, struct vote_file *file, struct vote *vote)
{
    if (!disk_exists(disk, path)) return ERR_NOT_FOUND;
    struct vote_file opened = {0};
    enum error err = file_open(disk, path, FILE_WRITE, &opened.file), found = ERR_CORRUPT;
    for (int i = 0; i < 2 && err == OK; i++) {
        uint8_t slot[VOTE_SLOT_SIZE];
        size_t got = 0;
        err = file_pread(opened.file, slot, sizeof slot, (int64_t)i * VOTE_SLOT_STEP, &got);
        if (err != OK) break;
        struct vote read;
        uint64_t number;
        enum error slot_err = vote_slot_decode((struct slice){slot, got}, &read, &number);
        if (slot_err == ERR_UNSUPPORTED_VERSION) err = slot_err;
        if (slot_err != OK || (found == OK && number < opened.number)) continue;
        found = OK;
        opened.number = number;
        *vote = read;
    }
    if (err == OK) err = found;
    if (err == OK) *file = opened;
    if (err != OK) vote_close(&opened);
    return err;
}

enum error vote_create(struct disk *disk, const char *path, const struct vote *vote, struct vote_file *file)
{
    struct vote_file made = {.number = 2};
    uint8_t *both = calloc(1, VOTE_SLOT_STEP + VOTE_SLOT_SIZE);
    if (!both) return ERR_NOMEM;
    vote_slot_encode(vote, 2, both);
    vote_slot_encode(vote, 1, both + VOTE_SLOT_STEP);
    enum error err =
        disk_write_file_atomic(disk, path, (struct slice){both, VOTE_SLOT_STEP + VOTE_SLOT_SIZE});
    free(both);
    if (err == OK) err = file_open(disk, path, FILE_WRITE, &made.file);
    if (err == OK) *file = made;
    return err;
}

enum error vote_write(struct vote_file *file, const struct vote *vote)
{
    uint8_t slot[VOTE_SLOT_SIZE];
    uint64_t number = file->number + 1;
    vote_slot_encode(vote, number, slot);
    enum error err = file_pwrite(file->file, slot, sizeof slot, number % 2 ? VOTE_SLOT_STEP : 0);
    if (err == OK) err = file_sync(file->file);
    if (err == OK) file->number = number;
    return err;
}

void vote_close(struct vote_file *file)
{
    file_release(&file->file);
    *file = (struct vote_file){0};
}
