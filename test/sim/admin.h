/* admin.h: one simulated client that makes topics: those the producers write to, first thing, and others that come and go.
 *
 * What CreateTopics and DeleteTopics acknowledge is told to the history; the reader looks for it in the end.
 */
#pragma once
#include "world.h"

struct admin;

struct admin *admin_new(struct world *world);
void admin_free(struct admin **admin);
/* Begins nothing new. */
void admin_finish(struct admin *admin);
/* The producers' topics are there and nothing is under way. */
bool admin_is_idle(const struct admin *admin);
