#include "base/random.h"

#include <assert.h>
#include <string.h>

void random_seed(struct random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) { /* splitmix64, as the generator's authors advise */
        uint64_t z = seed += 0x9e3779b97f4a7c15ULL;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
        random->state[i] = z ^ z >> 31;
    }
}

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

uint64_t random_next(struct random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    assert(bound > 0);
    return (uint64_t)((unsigned __int128)random_next(random) * bound >> 64);
}

void random_fill(struct random *random, void *out, size_t size)
{
    uint8_t *p = out;
    while (size > 0) {
        uint64_t word = random_next(random);
        size_t part = size < 8 ? size : 8;
        memcpy(p, &word, part);
        p += part;
        size -= part;
    }
}
