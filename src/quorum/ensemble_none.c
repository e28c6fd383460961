/* ensemble_none.c: quorum.h without the Raft library: a log of one, which is all that quorum_open then makes. */
#include <assert.h>

#include "quorum/ensemble.h"

bool quorum_can_have_members(void)
{
    return false;
}

void quorum_standing(const struct quorum *quorum, struct quorum_standing *standing)
{
    *standing = (struct quorum_standing){QUORUM_LEADING, 0, quorum->term};
}

enum error quorum_send(struct quorum *quorum, int32_t to, const struct slice *parts, int count)
{
    return ERR_CLOSED;
}

bool quorum_is_leaving(const struct quorum *quorum, int32_t id)
{
    return false;
}

const struct quorum_member *quorum_members(const struct quorum *quorum, int *count, uint64_t *index)
{
    *count = 0;
    *index = 0;
    return NULL;
}

enum error quorum_change(struct quorum *quorum, const struct quorum_member *members, int count,
                         void (*done)(void *context, enum error err), void *context)
{
    return ERR_UNSUPPORTED;
}

enum error quorum_transfer(struct quorum *quorum, int32_t to)
{
    return ERR_UNSUPPORTED;
}

/* --- nobody gets here: quorum_open has refused --- */

enum error quorum_ensemble_new(struct quorum *quorum, const struct quorum_config *config,
                               struct ensemble **ensemble)
{
    return ERR_UNSUPPORTED;
}

void quorum_ensemble_free(struct ensemble **ensemble)
{
    assert(!*ensemble);
}

enum error ensemble_recover_begin(struct ensemble *ensemble)
{
    return ERR_UNSUPPORTED;
}

void ensemble_recover_chunk(struct ensemble *ensemble, struct slice chunk)
{
}

enum error ensemble_recover_members(struct ensemble *ensemble, struct slice chunk)
{
    return ERR_UNSUPPORTED;
}

enum error ensemble_recover_record(struct ensemble *ensemble, const struct quorum_record *record,
                                   uint64_t file_first, int64_t position)
{
    return ERR_UNSUPPORTED;
}

enum error ensemble_recover_end(struct ensemble *ensemble)
{
    return ERR_UNSUPPORTED;
}

enum error ensemble_begin(struct ensemble *ensemble)
{
    return ERR_UNSUPPORTED;
}

void ensemble_close(struct ensemble *ensemble)
{
}

bool ensemble_is_busy(const struct ensemble *ensemble)
{
    return false;
}

void ensemble_failed(struct ensemble *ensemble)
{
}

void ensemble_unwritten(struct ensemble *ensemble)
{
}

void ensemble_written(struct ensemble *ensemble)
{
}

enum error ensemble_append(struct ensemble *ensemble, const struct slice *parts, int count, size_t size,
                           uint64_t *index)
{
    return ERR_UNSUPPORTED;
}

enum error ensemble_snapshot_begin(struct ensemble *ensemble)
{
    return ERR_UNSUPPORTED;
}

void ensemble_snapshot_done(struct ensemble *ensemble)
{
}

bool ensemble_sends_snapshot(const struct ensemble *ensemble, uint64_t index)
{
    return false;
}
