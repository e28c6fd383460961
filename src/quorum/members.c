/* members.c: what quorum.h says of several members, for a log of one. */
#include "quorum/inside.h"

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
