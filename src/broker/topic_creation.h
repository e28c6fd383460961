/* topic_creation.h: topics that come to be because somebody used them: auto.create.topics.enable, and the internal ones.
 * The request waits, at most TOPIC_CREATION_WAIT_MS, until this broker's image shows them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "broker/request.h"

enum { TOPIC_CREATION_WAIT_MS = 3000 };

/* Asks for these topics, internal ones with their own partition counts and settings; then step(request) on its home loop,
 * whether they were made or not: look at the image again. False without memory: nothing was begun. Call on the home loop;
 * `names` must be in the request's memory. */
bool topics_create(struct request *request, const struct slice *names, size_t count,
                   void (*step)(struct request *request));
