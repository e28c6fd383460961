/* find_coordinator.c: which broker coordinates a group: the leader of its partition of __consumer_offsets (KIP-699).
 *
 * The topic comes to be with the first who asks. Transactions and share groups have no coordinator here yet: who asks for one
 * hears UNSUPPORTED_VERSION, which clients take as final. */
#include "broker/groups.h"
#include "broker/handlers.h"
#include "broker/leaders.h"
#include "broker/request.h"
#include "broker/topic_creation.h"
#include "group/group.h"
#include "wire/messages.h"

typedef struct find_coordinator_response_coordinator coordinator_answer;

enum { KEY_GROUP = 0, KEY_TRANSACTION = 1, KEY_SHARE = 2 };

static coordinator_answer failure(struct slice key, enum error err, const char *message)
{
    return (coordinator_answer){.key = key,
                                .node_id = -1,
                                .host = SLICE(""),
                                .port = -1,
                                .error_code = error_kafka_code(err),
                                .error_message = slice_of(message)};
}

static coordinator_answer look_up(struct request *request, int8_t key_type, struct slice key)
{
    if (key_type == KEY_TRANSACTION || (key_type == KEY_SHARE && request->version >= 6)) {
        return failure(key, ERR_UNSUPPORTED_VERSION, "this broker coordinates classic groups only");
    }
    if (key_type != KEY_GROUP) return failure(key, ERR_INVALID_REQUEST, "no such type of coordinator");
    if (!request_may(request, ACL_DESCRIBE, ACL_GROUP, key)) {
        return failure(key, ERR_GROUP_AUTHORIZATION_FAILED, NULL);
    }
    const struct image *image = request_image(request);
    int32_t index = group_partition_of(request_broker(request)->parts.groups, key);
    const struct image_partition *partition = index >= 0 ? image_partition(image, GROUPS_TOPIC, index) : NULL;
    coordinator_answer found = {.key = key, .error_message = request->version >= 4 ? SLICE("") : SLICE_NULL};
    struct slice rack;
    if (!partition || !leader_endpoint(request, image, partition->leader, &found.host, &found.port, &rack)) {
        return failure(key, ERR_COORDINATOR_NOT_AVAILABLE, NULL);
    }
    found.node_id = partition->leader;
    return found;
}

static void answer(struct request *request)
{
    const struct find_coordinator_request *asked = request->work;
    struct find_coordinator_response response;
    find_coordinator_response_init(&response);
    int8_t key_type = request->version >= 1 ? asked->key_type : KEY_GROUP;
    if (request->version < 4) {
        coordinator_answer found = look_up(request, key_type, asked->key);
        response.error_code = found.error_code;
        response.error_message = found.error_message;
        response.node_id = found.node_id;
        response.host = found.host;
        response.port = found.port;
        request_answer(request, &response);
        return;
    }
    size_t count = asked->coordinator_keys.count > 0 ? (size_t)asked->coordinator_keys.count : 0;
    response.coordinators.items = request_alloc(request, count, sizeof *response.coordinators.items);
    if (!response.coordinators.items) {
        request_close(request);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        response.coordinators.items[i] = look_up(request, key_type, asked->coordinator_keys.items[i]);
    }
    response.coordinators.count = (int32_t)count;
    request_answer(request, &response);
}

void handle_find_coordinator(struct request *request, void *body)
{
    const struct find_coordinator_request *asked = body;
    request->work = body;
    int8_t key_type = request->version >= 1 ? asked->key_type : KEY_GROUP;
    bool is_missing = key_type == KEY_GROUP && !image_topic(request_image(request), GROUPS_TOPIC);
    struct slice *name = is_missing ? request_alloc(request, 1, sizeof *name) : NULL;
    if (name) {
        *name = GROUPS_TOPIC;
        if (topics_create(request, name, 1, answer)) return;
    }
    answer(request);
}
