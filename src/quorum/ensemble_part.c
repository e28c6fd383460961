/* ensemble_part.c: quorum.h for a member among several. */
#include <stdlib.h>

#include "base/vec.h"
#include "quorum/ensemble.h"

bool quorum_can_have_members(void)
{
    return true;
}

void quorum_standing(const struct quorum *quorum, struct quorum_standing *standing)
{
    *standing = quorum->ensemble ? quorum->ensemble->standing
                                 : (struct quorum_standing){QUORUM_LEADING, 0, quorum->term};
}

enum error quorum_send(struct quorum *quorum, int32_t to, const struct slice *parts, int count)
{
    if (!quorum->ensemble || quorum->state != QUORUM_OPEN || quorum->is_closing || to < 1 || to >= PEERS)
        return ERR_CLOSED;
    return peer_parcel(&quorum->ensemble->peers[to], parts, count);
}

static int by_number(const void *a, const void *b)
{
    const struct quorum_member *one = a, *other = b;
    return quorum_member_number(one->id) - quorum_member_number(other->id);
}

const struct quorum_member *quorum_members(const struct quorum *quorum, int *count, uint64_t *index)
{
    *count = 0;
    *index = 0;
    struct ensemble *ensemble = quorum->ensemble;
    if (!ensemble) return NULL;
    if (!ensemble->told) ensemble->told = calloc(QUORUM_MEMBERS_MAX, sizeof *ensemble->told);
    if (!ensemble->told) return NULL;
    const struct membership *membership = &ensemble->committed;
    for (int i = 0; i < membership->count && *count < QUORUM_MEMBERS_MAX; i++) {
        const struct seat *seat = &membership->seats[i];
        if (seat->is_leaving) continue;
        if (seat->is_owed ? membership_seat(&ensemble->committed, seat->id) != NULL
                          : seat->role == SEAT_SPARE)
            continue;
        bool votes = seat->is_owed ? seat->incarnation == SEAT_VOTER : seat->role == SEAT_VOTER;
        ensemble->told[(*count)++] = (struct quorum_member){seat->id, votes ? QUORUM_VOTER : QUORUM_OBSERVER,
                                                            seat->host, seat->port, seat->about};
    }
    qsort(ensemble->told, (size_t)*count, sizeof *ensemble->told, by_number);
    *index = membership->index;
    return ensemble->told;
}

bool quorum_is_leaving(const struct quorum *quorum, int32_t id)
{
    const struct seat *seat = quorum->ensemble ? membership_seat(&quorum->ensemble->committed, id) : NULL;
    return seat && seat->is_leaving;
}

int32_t ensemble_nearest_voter(struct ensemble *ensemble)
{
    const struct membership *membership = ensemble_membership(ensemble);
    int32_t nearest = 0;
    uint64_t furthest = 0;
    for (int i = 0; i < membership->count; i++) {
        const struct seat *seat = &membership->seats[i];
        if (seat->role != SEAT_VOTER || seat->is_leaving || seat->id == ensemble->id ||
            !ensemble->peers[seat->id].is_up)
            continue;
        uint64_t match = consensus_match_index(ensemble->core, seat->id);
        if (nearest == 0 || match > furthest) {
            nearest = seat->id;
            furthest = match;
        }
    }
    return nearest;
}

enum error quorum_transfer(struct quorum *quorum, int32_t to)
{
    struct ensemble *ensemble = quorum->ensemble;
    if (!ensemble) return ERR_UNSUPPORTED;
    if (quorum->state != QUORUM_OPEN || ensemble->standing.office != QUORUM_LEADING) return ERR_NOT_LEADER;
    if (consensus_is_transferring(ensemble->core)) return ERR_BUSY;
    if (to == 0) to = ensemble_nearest_voter(ensemble);
    if (to < 1 || to >= PEERS || !ensemble->peers[to].is_up)
        return ERR_NOT_FOUND; /* its office would be a pause */
    struct consensus_effects effects;
    enum error err = consensus_transfer(ensemble->core, ensemble_now_ms(ensemble), to, &effects);
    if (err == ERR_NOT_FOUND || err == ERR_NOT_LEADER) return err;
    return ensemble_take(ensemble, err, &effects) ? OK : ERR_IO;
}

enum error ensemble_append(struct ensemble *ensemble, const struct slice *parts, int count, size_t size,
                           uint64_t *index)
{
    struct quorum *quorum = ensemble->quorum;
    const struct quorum_standing *standing = &ensemble->standing;
    bool leads = standing->office == QUORUM_LEADING && consensus_state(ensemble->core) == CONSENSUS_LEADER &&
                 consensus_term(ensemble->core) == standing->term;
    if (!leads) return ERR_NOT_LEADER;
    if (ensemble->pending_bytes > 0 && ensemble->pending_bytes + (int64_t)size > quorum->max_pending_bytes) {
        quorum->wants_room = true;
        return ERR_AGAIN;
    }
    enum error err = entries_append(&ensemble->entries, standing->term, ENTRY_COMMAND, parts, count);
    if (err != OK) return err;
    ensemble->pending_bytes += (int64_t)size;
    *index = ++quorum->last_index;
    ensemble_turn_soon(ensemble);
    return OK;
}
