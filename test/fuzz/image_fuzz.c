/* image_fuzz: UpdateMetadata after UpdateMetadata as any bytes, each making an image of the one before. The input is
 *
 *     records: u8 version, u16 size, the request's body
 *
 * A request that is refused leaves no image. Every image agrees with itself: order, counts, names and ids find the same topics,
 * brokers rise; and what an older image said it says still when newer ones came from it. */
#include <stdlib.h>

#include "base/map.h"
#include "fuzz.h"
#include "metadata/image.h"
#include "wire/messages.h"

enum { IMAGES_MAX = 16, FIRST_VERSION = 5, VERSION_COUNT = 4 };

static uint64_t mix(uint64_t sum, const void *data, size_t size)
{
    return sum * 31 + (size > 0 ? hash_bytes(data, size) : 7);
}

static uint64_t mix_number(uint64_t sum, int64_t number)
{
    return mix(sum, &number, sizeof number);
}

static uint64_t mix_ids(uint64_t sum, const int32_t *items, int32_t count)
{
    CHECK(count >= 0);
    return mix(mix_number(sum, count), items, (size_t)count * sizeof *items);
}

static uint64_t walk_topics(const struct image *image, uint64_t sum)
{
    size_t topics = 0;
    int64_t partitions = 0;
    const struct image_topic *before = NULL;
    for (const struct image_topic *t = image_next_topic(image, SLICE_NULL, false); t;
         before = t, t = image_next_topic(image, t->name, true)) {
        CHECK(!before || slice_compare(before->name, t->name) < 0);
        CHECK(image_topic(image, t->name) == t);
        CHECK(uuid_is_zero(&t->id) || image_topic_by_id(image, &t->id) == t);
        sum = mix(mix(sum, t->name.data, t->name.size), t->id.bytes, sizeof t->id.bytes);
        int64_t known = 0;
        for (int32_t i = 0; i < t->partition_count; i++) {
            const struct image_partition *p = image_topic_partition(t, i);
            if (!p) continue;
            CHECK(p->index == i && p->leader != IMAGE_LEADER_DELETED);
            known++;
            sum = mix_number(mix_number(mix_number(sum, p->leader), p->leader_epoch), p->controller_epoch);
            sum = mix_number(mix_number(sum, p->zk_version), i);
            sum = mix_ids(sum, p->replicas, p->replica_count);
            sum = mix_ids(sum, p->isr, p->isr_count);
            sum = mix_ids(sum, p->offline, p->offline_count);
        }
        CHECK(known > 0);
        partitions += known;
        topics++;
    }
    CHECK(topics == image_topic_count(image) && partitions == image_partition_count(image));
    return sum;
}

static uint64_t walk_brokers(const struct image *image, uint64_t sum)
{
    for (size_t i = 0; i < image_broker_count(image); i++) {
        const struct image_broker *broker = image_broker_at(image, i);
        CHECK(i == 0 || image_broker_at(image, i - 1)->id < broker->id);
        CHECK(image_broker(image, broker->id) == broker);
        sum = mix(mix_number(sum, broker->id), broker->rack.data, broker->rack.size);
        for (int32_t e = 0; e < broker->endpoint_count; e++) {
            const struct image_endpoint *endpoint = &broker->endpoints[e];
            CHECK(image_broker_endpoint(broker, endpoint->listener) != NULL);
            sum = mix(mix(sum, endpoint->host.data, endpoint->host.size), endpoint->listener.data,
                      endpoint->listener.size);
            sum = mix_number(mix_number(sum, endpoint->port), endpoint->security_protocol);
        }
    }
    return sum;
}

static uint64_t walk(const struct image *image)
{
    uint64_t sum = mix_number(image_version(image), image_controller_id(image));
    sum = mix_number(sum, image_controller_epoch(image));
    return walk_brokers(image, walk_topics(image, sum));
}

/* The image after this request; NULL when it is refused. */
static struct image *update(const struct image *old, int16_t version, struct slice body)
{
    struct arena arena;
    arena_init(&arena, 16 << 20);
    struct update_metadata_request request;
    struct image *image = NULL;
    if (update_metadata_request_decode(version, body, &arena, &request, NULL, NULL) == OK) {
        struct image_builder *builder = NULL;
        CHECK(image_builder_new(old, &builder) == OK);
        enum error err = image_builder_update(builder, &request);
        if (err == OK)
            image = image_builder_finish(&builder);
        else
            image_builder_drop(&builder);
        CHECK(err == OK || err == ERR_CORRUPT);
    }
    arena_free(&arena); /* the image keeps nothing of the request */
    return image;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image *images[IMAGES_MAX];
    uint64_t sums[IMAGES_MAX];
    size_t count = 0;
    while (size >= 3 && count < IMAGES_MAX) {
        int16_t version = (int16_t)(FIRST_VERSION + data[0] % VERSION_COUNT);
        size_t body = get_be16(data + 1);
        data += 3;
        size -= 3;
        if (body > size) body = size;
        struct image *next =
            update(count > 0 ? images[count - 1] : NULL, version, (struct slice){data, body});
        data += body;
        size -= body;
        if (!next) continue;
        CHECK(image_version(next) == (count > 0 ? image_version(images[count - 1]) + 1 : 1));
        images[count] = next;
        sums[count++] = walk(next);
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(walk(images[i]) == sums[i]);
        image_release(&images[i]);
    }
    return 0;
}
