/* create_partitions.c: more partitions for topics that are there (CreatePartitions). Source: facts/cluster.md 3.8. */
#include "base/twice.h"
#include "broker/admin.h"
#include "broker/handlers.h"
#include "wire/messages.h"

typedef struct create_partitions_request_create_partitions_topic topic_asked;
typedef struct create_partitions_response_create_partitions_topic_result topic_answer;

struct create_partitions {
    struct create_partitions_request passed;
    int32_t *places; /* of each passed topic in `response` */
    struct create_partitions_response response, answer;
};

static void created(struct controller_call *call)
{
    struct request *request = call->context;
    struct create_partitions *work = request->work;
    struct admin_verdict whole = admin_call_verdict(call);
    for (int32_t i = 0; i < work->passed.topics.count; i++) {
        topic_answer *topic = &work->response.results.items[work->places[i]];
        bool is_answered = call->err == OK;
        topic->error_code =
            is_answered ? work->answer.results.items[i].error_code : error_kafka_code(whole.err);
        topic->error_message = is_answered ? work->answer.results.items[i].error_message : whole.message;
    }
    request_answer(request, &work->response);
}

static struct admin_verdict judge(const struct request *request, const topic_asked *topic, bool is_twice)
{
    if (is_twice) return admin_refuse(ERR_INVALID_REQUEST, "the request names this topic more than once");
    if (!request_may(request, ACL_ALTER, ACL_TOPIC, topic->name)) {
        return admin_refuse(ERR_TOPIC_AUTHORIZATION_FAILED, "not authorized to alter this topic");
    }
    return ADMIN_OK;
}

void handle_create_partitions(struct request *request, void *body)
{
    const struct create_partitions_request *asked = body;
    size_t count = asked->topics.count > 0 ? (size_t)asked->topics.count : 0;
    struct create_partitions *work = request_alloc(request, 1, sizeof *work);
    topic_answer *answers = request_alloc(request, count, sizeof *answers);
    topic_asked *passed = request_alloc(request, count, sizeof *passed);
    int32_t *places = request_alloc(request, count, sizeof *places);
    struct slice *names = request_alloc(request, count, sizeof *names);
    for (size_t i = 0; names && i < count; i++) names[i] = asked->topics.items[i].name;
    const bool *is_twice = names ? find_twice(&request->arena, names, count) : NULL;
    if (!work || !answers || !passed || !places || !is_twice) {
        request_close(request);
        return;
    }
    request->work = work;
    work->places = places;
    work->passed = *asked;
    work->passed.topics.items = passed;
    work->passed.topics.count = 0;
    create_partitions_response_init(&work->response);
    work->response.results.items = answers;
    work->response.results.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        create_partitions_response_create_partitions_topic_result_init(&answers[i]);
        struct admin_verdict verdict = judge(request, &asked->topics.items[i], is_twice[i]);
        answers[i].name = asked->topics.items[i].name;
        answers[i].error_code = error_kafka_code(verdict.err);
        answers[i].error_message = verdict.message;
        if (verdict.err != OK) continue;
        places[work->passed.topics.count] = (int32_t)i;
        passed[work->passed.topics.count++] = asked->topics.items[i];
    }
    if (work->passed.topics.count == 0) {
        request_answer(request, &work->response);
    } else if (!admin_submit(request, request->version, &work->passed, &work->answer, created)) {
        request_close(request);
    }
}
