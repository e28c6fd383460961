/* groups.c: the classic group protocol's requests, handed to the group coordinator (group/group.h), which does the work.
 *
 * Each handler is the same: authorize, call, answer with what the coordinator built in the request's arena. */
#include "broker/groups.h"

#include "base/arena.h"
#include "base/diag.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "coord/coord.h"
#include "group/group.h"
#include "metadata/znodes.h"
#include "replica/replicas.h"
#include "wire/messages.h"

#define GROUPS_ZNODE "/brokers/topics/__consumer_offsets"
enum { GROUPS_ZNODE_BYTES = 64 << 20 };

struct group_work {
    struct group_call call;
    struct request *request;
    enum acl_operation operation; /* on the group */
    enum acl_operation topic_operation;
};

static enum error check_group(struct group_call *call, struct slice group_id)
{
    const struct group_work *work = call->context;
    bool may = request_may(work->request, work->operation, ACL_GROUP, group_id);
    return may ? OK : ERR_GROUP_AUTHORIZATION_FAILED;
}

static enum error find_topic(struct group_call *call, bool by_id, struct group_topic *topic)
{
    const struct group_work *work = call->context;
    const struct image *image = request_image(work->request);
    const struct image_topic *known =
        by_id ? image_topic_by_id(image, &topic->id) : image_topic(image, topic->name);
    if (by_id) {
        if (!known) return ERR_UNKNOWN_TOPIC_ID;
        topic->name = arena_copy(call->arena, known->name);
        if (!topic->name.data) return ERR_UNKNOWN_SERVER_ERROR;
    }
    if (!request_may(work->request, work->topic_operation, ACL_TOPIC, topic->name)) {
        return ERR_TOPIC_AUTHORIZATION_FAILED;
    }
    if (!known) return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    topic->id = known->id;
    topic->partition_count = known->partition_count;
    return OK;
}

static void done(struct group_call *call)
{
    struct group_work *work = call->context;
    if (call->response)
        request_answer(work->request, call->response);
    else
        request_close(work->request);
}

static struct group_work *work_new(struct request *request, enum acl_operation operation,
                                   enum acl_operation topic_operation)
{
    struct group_work *work = request_alloc(request, 1, sizeof *work);
    struct slice host = arena_printf(&request->arena, "/%.*s", SLICE_ARG(request->security.host));
    if (!work || !host.data) {
        request_close(request);
        return NULL;
    }
    work->request = request;
    work->operation = operation;
    work->topic_operation = topic_operation;
    work->call = (struct group_call){.loop = request->home->loop,
                                     .arena = &request->arena,
                                     .version = request->version,
                                     .client_id = request->client_id,
                                     .client_host = host,
                                     .done = done,
                                     .check_group = check_group,
                                     .find_topic = find_topic,
                                     .context = work};
    return work;
}

static struct group_coordinators *coordinators(const struct request *request)
{
    return request_broker(request)->parts.groups;
}

void handle_join_group(struct request *request, void *body)
{
    struct group_work *work = work_new(request, ACL_READ, ACL_READ);
    if (work) group_join(coordinators(request), &work->call, body);
}

void handle_sync_group(struct request *request, void *body)
{
    struct group_work *work = work_new(request, ACL_READ, ACL_READ);
    if (work) group_sync(coordinators(request), &work->call, body);
}

void handle_heartbeat(struct request *request, void *body)
{
    struct group_work *work = work_new(request, ACL_READ, ACL_READ);
    if (work) group_heartbeat(coordinators(request), &work->call, body);
}

void handle_leave_group(struct request *request, void *body)
{
    struct group_work *work = work_new(request, ACL_READ, ACL_READ);
    if (work) group_leave(coordinators(request), &work->call, body);
}

void handle_offset_commit(struct request *request, void *body)
{
    struct group_work *work = work_new(request, ACL_READ, ACL_READ);
    if (work) group_offset_commit(coordinators(request), &work->call, body);
}

void handle_offset_fetch(struct request *request, void *body)
{
    struct group_work *work = work_new(request, ACL_DESCRIBE, ACL_DESCRIBE);
    if (work) group_offset_fetch(coordinators(request), &work->call, body);
}

void handle_offset_delete(struct request *request, void *body)
{
    struct group_work *work = work_new(request, ACL_DELETE, ACL_READ);
    if (work) group_offset_delete(coordinators(request), &work->call, body);
}

static void described(struct group_call *call)
{
    struct group_work *work = call->context;
    struct request *request = work->request;
    struct describe_groups_response *response = call->response;
    for (int32_t i = 0; response && i < response->groups.count; i++) {
        struct describe_groups_response_described_group *group = &response->groups.items[i];
        if (group->error_code != 0) continue;
        group->authorized_operations = authorized_operations(&request->security, ACL_GROUP, group->group_id);
    }
    done(call);
}

void handle_describe_groups(struct request *request, void *body)
{
    const struct describe_groups_request *asked = body;
    struct group_work *work = work_new(request, ACL_DESCRIBE, ACL_DESCRIBE);
    if (!work) return;
    if (request->version >= 3 && asked->include_authorized_operations) work->call.done = described;
    group_describe(coordinators(request), &work->call, body);
}

void handle_list_groups(struct request *request, void *body)
{
    struct group_work *work = work_new(request, ACL_DESCRIBE, ACL_DESCRIBE);
    if (work) group_list(coordinators(request), &work->call, body);
}

void handle_delete_groups(struct request *request, void *body)
{
    struct group_work *work = work_new(request, ACL_DELETE, ACL_DELETE);
    if (work) group_delete(coordinators(request), &work->call, body);
}

/* --- partitions of __consumer_offsets --- */

static void led(void *context, struct partition *partition)
{
    struct broker *broker = context;
    if (!slice_equal(partition_topic(partition), GROUPS_TOPIC)) return;
    enum error err = group_partition_led(broker->parts.groups, partition);
    if (err != OK) {
        diag_error("could not coordinate groups of __consumer_offsets-%d: %s", partition_index(partition),
                   error_text(err));
    }
}

static void resigned(void *context, struct partition *partition)
{
    struct broker *broker = context;
    if (!slice_equal(partition_topic(partition), GROUPS_TOPIC)) return;
    group_partition_resigned(broker->parts.groups, partition_index(partition));
}

void groups_attach(struct broker *broker)
{
    broker->group_roles = (struct role_listener){.led = led, .resigned = resigned, .context = broker};
    replicas_listen(broker->parts.replicas, &broker->group_roles);
}

/* Control loop. */
static void count_read(void *context, const struct coord_reply *reply)
{
    struct broker *broker = context;
    broker->is_group_count_asked = false;
    if (reply->err != OK) return; /* the next image asks again */
    struct arena arena;
    arena_init(&arena, GROUPS_ZNODE_BYTES);
    struct topic_assignment assignment;
    struct znode_fault fault;
    enum error err = znode_topic_decode(SLICE(GROUPS_ZNODE), reply->data, &arena, &assignment, &fault);
    if (err != OK) {
        diag_error("groups cannot be told apart: %s", err == ERR_CORRUPT ? fault.text : error_text(err));
    } else {
        broker->group_topic = broker->asked_group_topic;
        err = group_partitions_set(broker->parts.groups, (int32_t)assignment.partition_count);
        if (err != OK)
            diag_error("__consumer_offsets has another number of partitions than before, %zu: %s",
                       assignment.partition_count, error_text(err));
    }
    arena_free(&arena);
}

/* The image may show a part of the topic: partitions whose replicas were all away when it was made are announced later. Which
 * partition a group belongs to must not depend on that, so the znode is asked. */
void groups_on_image(struct broker *broker, const struct image *image)
{
    const struct image_topic *topic = image_topic(image, GROUPS_TOPIC);
    bool is_known = topic && !uuid_is_zero(&topic->id) && uuid_equal(&topic->id, &broker->group_topic);
    if (!topic || is_known || !broker->parts.groups || broker->is_group_count_asked) return;
    broker->is_group_count_asked = true;
    broker->asked_group_topic = topic->id;
    coord_get(broker->parts.coord, SLICE(GROUPS_ZNODE), count_read, broker);
}
