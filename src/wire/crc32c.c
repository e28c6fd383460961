#include "wire/crc32c.h"

#include <isa-l/crc.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    /* ISA-L leaves both inversions to its caller, counts in int, and takes a pointer it does not write
     * through. */
    const size_t step_max = 1 << 30;
    uint8_t *at = (uint8_t *)(uintptr_t)data;
    crc = ~crc;
    while (size > 0) {
        size_t step = size < step_max ? size : step_max;
        crc = crc32_iscsi(at, (int)step, crc);
        at += step;
        size -= step;
    }
    return ~crc;
}

uint32_t crc32_legacy(uint32_t crc, const void *data, size_t size)
{
    return size ? crc32_gzip_refl(crc, data, size) : crc;
}
