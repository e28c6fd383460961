/* message_fuzz: the message decoder against any bytes. The first three bytes choose type and version; what decodes
 * and can be encoded must decode again to the same bytes, in the size that was foretold. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "wire/message_table.h"
#include "wire/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    const struct message_type *type = message_types[get_be16(data) % message_type_count];
    int versions = type->max_version - type->min_version + 1;
    int16_t version = (int16_t)(type->min_version + data[2] % versions);

    struct arena arena;
    arena_init(&arena, 16 << 20);
    void *message = malloc(message_struct_size(type) + 1);
    size_t consumed = 0;
    struct decode_fault fault = {{0}};
    enum error err =
        message_decode(type, version, (struct slice){data + 3, size - 3}, &arena, message, &consumed, &fault);
    if (err != OK) {
        CHECK(fault.text[0] != 0 && memchr(fault.text, 0, sizeof fault.text));
    } else {
        CHECK(consumed <= size - 3);
        struct text json = {0};
        message_print(type, version, message, &json);
        CHECK(json.size >= 2);
        text_free(&json);

        size_t encoded_size = message_size(type, version, message);
        if (encoded_size != SIZE_MAX) {
            uint8_t *encoded = malloc(encoded_size + 1), *again = malloc(encoded_size + 1);
            CHECK(message_encode(type, version, message, encoded, NULL) == encoded_size);
            struct arena other;
            arena_init(&other, 0);
            CHECK(message_decode(type, version, (struct slice){encoded, encoded_size}, &other, message,
                                 &consumed, &fault) == OK);
            CHECK(consumed == encoded_size);
            CHECK(message_size(type, version, message) == encoded_size);
            CHECK(message_encode(type, version, message, again, NULL) == encoded_size);
            CHECK(memcmp(encoded, again, encoded_size) == 0);
            arena_free(&other);
            free(encoded);
            free(again);
        }
    }
    free(message);
    arena_free(&arena);
    return 0;
}
