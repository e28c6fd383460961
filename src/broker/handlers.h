/* handlers.h: one function for each API, each in the file of its name; api.def has the table. */
#pragma once

struct request;

#define API(name, key, min, max, served_from, may_pipeline, handler)                                         \
    void handler(struct request *request, void *body);
#include "broker/api.def"
#undef API
