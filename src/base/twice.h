/* twice.h: what of a request's names or numbers is there more than once: in n log n, for requests are as long as clients like. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"

/* For each of `names` whether it is there more than once; NULL without memory. Null slices count as no name. */
const bool *find_twice(struct arena *arena, const struct slice *names, size_t count);
/* Whether any number is; also true without memory. */
bool has_twice(struct arena *arena, const int32_t *numbers, size_t count);
