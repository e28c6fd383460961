/* crc32c.h: the two checksums of Kafka's files: CRC-32C (Castagnoli) over batches and producer snapshots,
 * CRC-32 (IEEE, as gzip) over messages of magic 0 and 1. Both start from 0 and chain: crc32c(crc32c(0, a), b)
 * is that of a followed by b. By ISA-L, which picks the CPU's instructions. */
#pragma once
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t size);
uint32_t crc32_legacy(uint32_t crc, const void *data, size_t size);
