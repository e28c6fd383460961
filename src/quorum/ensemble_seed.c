/* ensemble_seed.c: data that is there before there is an ensemble.
 *
 *   - An import: every founder has the same snapshot of entry 1 and no log. It gets the founders for its membership, and its sum is part of
 *     what founders compare.
 *   - A keeper that stood alone, and whose operator now names others. Its files become those of a member (convert.c) in which it alone has a
 *     seat and the others are owed theirs, so whoever leads takes them in, as it does with a member whose disk was lost. It does not
 *     begin, or serve, until a majority of the list is there and has nothing; who has data, or was given another list, holds it
 *     up, and so nobody's data is ever given up for another's. The number of its cluster is drawn here already, so that a second one that grew by
 *     itself is a stranger for ever.
 */
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "quorum/ensemble.h"
#include "quorum/offline.h"
#include "wire/crc32c.h"

/* A membership as the first chunk of a snapshot (files.h), `index` being that of its entry. Free *chunk's data. */
static enum error members_chunk(const struct membership *membership, uint64_t index, struct slice *chunk)
{
    uint8_t *bytes;
    size_t size;
    enum error err = membership_encode(membership, &bytes, &size);
    if (err != OK) return err;
    uint8_t *made = malloc(8 + size);
    if (made) {
        put_be64(made, index);
        memcpy(made + 8, bytes, size);
    }
    free(bytes);
    *chunk = (struct slice){made, 8 + size};
    return made ? OK : ERR_NOMEM;
}

/* The snapshot `from` becomes `to`, with this membership. */
static enum error seat(struct ensemble *ensemble, uint64_t from, uint64_t to,
                       const struct membership *membership)
{
    struct quorum *quorum = ensemble->quorum;
    struct slice members;
    enum error err = members_chunk(membership, 1, &members);
    if (err == OK) {
        err = quorum_offline_seat(quorum->disk, quorum->dir, quorum->prefix, from, to, members);
        free((void *)members.data);
    }
    if (err != OK)
        diag_error("could not make the snapshot in \"%s\" the members': %s", quorum->dir, error_text(err));
    return err;
}

/* --- an import --- */

/* The number of a cluster that begins with an import: who has another import is a stranger for ever, also when it comes late, where
 * its log would seem to fit. */
static uint64_t seed_cluster(uint32_t seed_crc)
{
    return (uint64_t)seed_crc << 32 | 0x5eed;
}

static enum error seat_seed(struct ensemble *ensemble, uint64_t from, uint32_t seed_crc)
{
    struct membership seated = ensemble->founders; /* a loan */
    seated.cluster = seed_cluster(seed_crc);
    return seat(ensemble, from, QUORUM_SEATED_INDEX, &seated);
}

static enum error sum_chunk(void *context, struct slice chunk)
{
    uint32_t *crc = context;
    *crc = crc32c(*crc, chunk.data, chunk.size);
    return OK;
}

/* The sum of the machine's chunks. */
static enum error sum_seed(const struct quorum *quorum, uint32_t *crc)
{
    char path[QUORUM_PATH_SIZE];
    uint64_t index, term;
    uint32_t format;
    int64_t position = 0;
    *crc = 0;
    if (!quorum_path(path, quorum->dir, quorum->prefix, "snapshot", 1)) return ERR_TOO_LARGE;
    enum error err =
        quorum_snapshot_read(quorum->disk, path, &index, &term, &format, NULL, sum_chunk, crc, &position);
    if (err != OK)
        diag_error("cannot use snapshot \"%s\": %s at byte %lld", path, error_text(err), (long long)position);
    return err;
}

/* --- a keeper that stood alone --- */

/* Its own seat, and what the others are owed. */
static enum error growth_membership(const struct ensemble *ensemble, uint64_t cluster,
                                    struct membership *membership)
{
    struct membership made = {.cluster = cluster};
    enum error err = OK;
    for (int i = 0; i < ensemble->founders.count && err == OK; i++) {
        struct seat each = ensemble->founders.seats[i];
        if (each.id != ensemble->id) {
            each.is_owed = true;
            each.incarnation = each.role;
            each.role = SEAT_SPARE;
        }
        err = membership_add(&made, &each);
    }
    if (err == OK)
        *membership = made;
    else
        membership_free(&made);
    return err;
}

static enum error grow(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    bool is_other;
    enum error err = quorum_is_other_kind(quorum, &is_other);
    if (err != OK || !is_other || !quorum->machine.save) return err;
    if (membership_seat(&ensemble->founders, ensemble->id)->role != SEAT_VOTER) {
        diag_error(
            "what is in \"%s\" belongs to a keeper that stood alone: it can become a voting member of an "
            "ensemble, not an observer",
            quorum->dir);
        return ERR_CONFIG;
    }
    bool was_member = ensemble->vote.is_founder || ensemble->vote.voted_for || ensemble->vote.term > 0;
    if (ensemble->has_vote && was_member) {
        diag_error(
            "what is in \"%s\" belongs to a keeper that stands alone, but \"%s\" to a member of an "
            "ensemble, which it was before. To let it come back to that as a new member, empty the "
            "directory: what it wrote alone is nobody else's. To let an ensemble begin with what it has, "
            "remove the file",
            quorum->dir, ensemble->vote_path);
        return ERR_CONFIG;
    }
    struct membership membership;
    struct slice members = SLICE_NULL;
    if (!ensemble->has_vote) err = ensemble_vote_make(ensemble);
    if (err == OK) err = growth_membership(ensemble, ensemble->vote.incarnation, &membership);
    if (err != OK) return err;
    err = members_chunk(&membership, 1, &members);
    if (err == OK) err = quorum_convert(quorum, QUORUM_SEATED_INDEX, members);
    free((void *)members.data);
    membership_free(&membership);
    if (err == OK)
        diag_info("what is in \"%s\" belonged to a keeper that stood alone: the ensemble begins with it",
                  quorum->dir);
    return err;
}

/* Nothing began yet: whoever has founded says so in its vote, and is named by its incarnation soon after. */
static enum error growth_check(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    const struct seat *own = membership_seat(&ensemble->committed, ensemble->id);
    ensemble->is_growing = quorum->snapshot_index >= QUORUM_SEATED_INDEX && ensemble->past_count == 0 &&
                           own && own->role == SEAT_VOTER && own->incarnation == 0 &&
                           ensemble->committed.cluster && !ensemble->vote.is_founder;
    if (!ensemble->is_growing) return OK;
    struct membership wanted;
    struct slice is = SLICE_NULL, shall_be = SLICE_NULL;
    enum error err = growth_membership(ensemble, ensemble->committed.cluster, &wanted);
    if (err != OK) return err;
    wanted.index = 1;
    err = members_chunk(&ensemble->committed, 1, &is);
    if (err == OK) err = members_chunk(&wanted, 1, &shall_be);
    bool is_same = err == OK && slice_equal(is, shall_be);
    if (err == OK && !is_same) /* the list was corrected */
        err = seat(ensemble, quorum->snapshot_index, quorum->snapshot_index, &wanted);
    if (err == OK && !is_same) {
        membership_free(&ensemble->committed);
        ensemble->committed = wanted;
    } else {
        membership_free(&wanted);
    }
    free((void *)is.data);
    free((void *)shall_be.data);
    return err;
}

void ensemble_rival_note(struct ensemble *ensemble, int32_t id)
{
    if (id && id != ensemble->rival)
        diag_warn("this member and member %d each have data, or were given different lists: the ensemble can "
                  "begin with the data of one of them only. Stop the other, empty its directory, and start "
                  "it again",
                  quorum_member_number(id));
    ensemble->rival = id;
}

/* --- recovery's two questions --- */

enum error ensemble_seed_take(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    uint64_t *snapshots = NULL, *logs = NULL;
    size_t snapshot_count = 0, log_count = 0;
    enum error err =
        quorum_files_list(quorum->disk, quorum->dir, quorum->prefix, "snapshot", &snapshots, &snapshot_count);
    if (err == OK)
        err = quorum_files_list(quorum->disk, quorum->log_dir, quorum->prefix, "log", &logs, &log_count);
    bool is_import = err == OK && snapshot_count == 1 && snapshots[0] == 1 && log_count == 0;
    free(snapshots);
    free(logs);
    uint32_t crc = 0;
    if (is_import) err = sum_seed(quorum, &crc);
    if (is_import && err == OK) return seat_seed(ensemble, 1, crc);
    return err == OK ? grow(ensemble) : err;
}

enum error ensemble_seed_check(struct ensemble *ensemble)
{
    struct quorum *quorum = ensemble->quorum;
    bool is_first = quorum->snapshot_index == QUORUM_SEATED_INDEX && ensemble->past_count == 0 &&
                    ensemble->snapshot_term == 1 &&
                    ensemble->committed.cluster == seed_cluster(ensemble->seed_crc);
    if (!is_first) return growth_check(ensemble);
    ensemble->is_seeded = true;
    ensemble->founders_hash ^= (uint64_t)ensemble->seed_crc << 32 | ensemble->seed_crc;
    bool is_known = membership_hash(&ensemble->committed) == membership_hash(&ensemble->founders);
    if (is_known || ensemble->vote.is_founder) return OK;
    /* The list was corrected before anything began. */
    membership_free(&ensemble->committed);
    enum error err = membership_copy(&ensemble->founders, &ensemble->committed);
    ensemble->committed.index = 1;
    ensemble->committed.cluster = seed_cluster(ensemble->seed_crc);
    return err == OK ? seat_seed(ensemble, QUORUM_SEATED_INDEX, ensemble->seed_crc) : err;
}
