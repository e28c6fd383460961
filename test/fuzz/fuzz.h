/* fuzz.h: what every target of libFuzzer has. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* What must hold whatever the bytes are. */
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) __builtin_trap();                                                                  \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
