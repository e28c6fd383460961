/* alone.h: a log of one in the directory that a member of several left (alone.c): is its ensemble alive? */
#pragma once
#include <stdbool.h>

#include "base/error.h"

struct quorum;

/* On a worker: whom to ask, into quorum->alone. Says itself what is wrong. */
MUST_USE enum error alone_read(struct quorum *quorum);
/* They were asked, and nobody answered. */
bool alone_is_sure(const struct quorum *quorum);
/* On the loop: quorum_alone_answered comes, now or later, unless alone_free does. */
void alone_ask(struct quorum *quorum);
/* quorum.c: OK: nobody answered; ERR_CONFIG: somebody did, and that was said. */
void quorum_alone_answered(struct quorum *quorum, enum error err);
/* The files are ours now: to the operator. */
void alone_tell(const struct quorum *quorum);
void alone_free(struct quorum *quorum);
