#include "cli/move.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    ELECT_LEADERS = 43,
    ALTER_PARTITION_REASSIGNMENTS = 45,
    BATCH = 1000,
    ANSWER_MS = 30000,
    POLL_MS = 500,
    EXIT_INTERRUPTED = 130,
};

void move_bar(int64_t done, int64_t whole, char out[13])
{
    int filled = whole > 0 ? (int)((double)done * 10 / (double)whole) : 0;
    if (filled > 10) filled = 10;
    for (int i = 0; i < 10; i++) out[1 + i] = i < filled ? '#' : '.';
    out[0] = '[';
    out[11] = ']';
    out[12] = 0;
}

void move_bytes_text(int64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1023.95 && unit < 5; unit++) value /= 1024;
    if (bytes < 0) {
        snprintf(out, size, "?");
    } else {
        snprintf(out, size, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    }
}

void move_time_text(int64_t ms, char *out, size_t size)
{
    double seconds = (double)ms / 1000;
    if (ms < 0) {
        snprintf(out, size, "?");
    } else if (seconds < 90) {
        snprintf(out, size, "%.0f s", seconds);
    } else if (seconds < 5400) {
        snprintf(out, size, "%.0f min", seconds / 60);
    } else {
        snprintf(out, size, "%.1f h", seconds / 3600);
    }
}

/* --- reassignments --- */

static int16_t alter_code(const void *response)
{
    return ((const struct alter_partition_reassignments_response *)response)->error_code;
}

static void fail_partition(struct cli_result *result, struct slice topic, int32_t index, int16_t code,
                           struct slice message)
{
    char name[300];
    snprintf(name, sizeof name, "%.*s-%d", SLICE_ARG(topic), (int)index);
    cli_result_fail(result, name, error_from_kafka(code), message);
}

/* One topic entry for each run of partitions of it. */
static enum error build(struct arena *arena, const struct move *moves, size_t count,
                        struct alter_partition_reassignments_request *request)
{
    typedef struct alter_partition_reassignments_request_reassignable_topic topic_entry;
    typedef struct alter_partition_reassignments_request_reassignable_partition partition_entry;
    request->timeout_ms = ANSWER_MS;
    request->topics.items = arena_zalloc(arena, (count + 1) * sizeof(topic_entry));
    partition_entry *partitions = arena_zalloc(arena, (count + 1) * sizeof *partitions);
    if (!request->topics.items || !partitions) return ERR_NOMEM;
    for (size_t m = 0; m < count; m++) {
        topic_entry *last = request->topics.count ? &request->topics.items[request->topics.count - 1] : NULL;
        if (!last || !slice_equal(last->name, moves[m].topic)) {
            last = &request->topics.items[request->topics.count++];
            last->name = moves[m].topic;
            last->partitions.items = &partitions[m];
        }
        last->partitions.count++;
        partitions[m].partition_index = moves[m].index;
        partitions[m].replicas.items = (int32_t *)moves[m].to.items;
        partitions[m].replicas.count = moves[m].to.items ? moves[m].to.count : -1;
    }
    return OK;
}

static void submit_batch(struct admin *admin, const struct move *moves, size_t count,
                         struct cli_result *result, size_t *accepted)
{
    struct alter_partition_reassignments_request request;
    message_init(&alter_partition_reassignments_request_type, &request);
    const void *answer = NULL;
    enum error err = build(admin_arena(admin), moves, count, &request);
    if (err == OK) {
        err = admin_ask_controller(admin, ALTER_PARTITION_REASSIGNMENTS, -1, &request, alter_code, &answer);
    }
    const struct alter_partition_reassignments_response *response = answer;
    if (err == OK) err = error_from_kafka(response->error_code);
    if (err != OK) {
        cli_result_fail(result, "AlterPartitionReassignments", err,
                        response ? response->error_message : SLICE_NULL);
        return;
    }
    for (int32_t t = 0; t < response->responses.count; t++) {
        for (int32_t p = 0; p < response->responses.items[t].partitions.count; p++) {
            const struct alter_partition_reassignments_response_reassignable_partition_response *one =
                &response->responses.items[t].partitions.items[p];
            if (one->error_code == 0) {
                ++*accepted;
            } else {
                fail_partition(result, response->responses.items[t].name, one->partition_index,
                               one->error_code, one->error_message);
            }
        }
    }
}

void move_submit(struct admin *admin, const struct move *moves, size_t count, struct cli_result *result,
                 size_t *accepted)
{
    *accepted = 0;
    for (size_t at = 0; at < count; at += BATCH)
        submit_batch(admin, moves + at, count - at < BATCH ? count - at : BATCH, result, accepted);
}

/* --- elections --- */

/* A broker that is not the controller says so for each partition. */
static int16_t elect_code(const void *answer)
{
    const struct elect_leaders_response *response = answer;
    if (response->error_code != 0) return response->error_code;
    if (response->replica_election_results.count == 0) return 0;
    if (response->replica_election_results.items[0].partition_result.count == 0) return 0;
    return response->replica_election_results.items[0].partition_result.items[0].error_code;
}

static void elect_batch(struct admin *admin, int8_t type, const struct election *elections, size_t count,
                        struct cli_result *result, size_t *held)
{
    struct elect_leaders_request request;
    message_init(&elect_leaders_request_type, &request);
    request.election_type = type;
    request.timeout_ms = ANSWER_MS;
    request.topic_partitions.count = 0;
    request.topic_partitions.items =
        arena_zalloc(admin_arena(admin), (count + 1) * sizeof *request.topic_partitions.items);
    int32_t *indexes = arena_array(admin_arena(admin), count + 1, sizeof *indexes);
    if (!request.topic_partitions.items || !indexes) {
        cli_result_fail(result, "ElectLeaders", ERR_NOMEM, SLICE_NULL);
        return;
    }
    for (size_t e = 0; e < count; e++) {
        struct elect_leaders_request_topic_partitions *last =
            request.topic_partitions.count
                ? &request.topic_partitions.items[request.topic_partitions.count - 1]
                : NULL;
        if (!last || !slice_equal(last->topic, elections[e].topic)) {
            last = &request.topic_partitions.items[request.topic_partitions.count++];
            last->topic = elections[e].topic;
            last->partitions.items = &indexes[e];
        }
        last->partitions.count++;
        indexes[e] = elections[e].index;
    }
    const void *answer = NULL;
    enum error err = admin_ask_controller(admin, ELECT_LEADERS, -1, &request, elect_code, &answer);
    const struct elect_leaders_response *response = answer;
    if (err == OK) err = error_from_kafka(response->error_code);
    if (err != OK) {
        cli_result_fail(result, "ElectLeaders", err, SLICE_NULL);
        return;
    }
    for (int32_t t = 0; t < response->replica_election_results.count; t++) {
        const struct elect_leaders_response_replica_election_result *topic =
            &response->replica_election_results.items[t];
        for (int32_t p = 0; p < topic->partition_result.count; p++) {
            const struct elect_leaders_response_partition_result *one = &topic->partition_result.items[p];
            if (one->error_code == 0) ++*held;
            if (one->error_code == 0 || error_from_kafka(one->error_code) == ERR_ELECTION_NOT_NEEDED)
                continue;
            fail_partition(result, topic->topic, one->partition_id, one->error_code, one->error_message);
        }
    }
}

void move_elect(struct admin *admin, int8_t type, const struct election *elections, size_t count,
                struct cli_result *result, size_t *held)
{
    *held = 0;
    for (size_t at = 0; at < count; at += BATCH)
        elect_batch(admin, type, elections + at, count - at < BATCH ? count - at : BATCH, result, held);
}

/* --- waiting --- */

struct watch {
    size_t most;        /* partitions seen moving at once */
    int64_t begin_ms;   /* the first look, for the rate */
    int64_t begin_left; /* bytes left to copy then */
    bool is_shown;
};

static void show(struct watch *watch, const struct view *view)
{
    struct view_progress progress = view_progress(view);
    int64_t left = progress.bytes - progress.done;
    if (view->moving_count > watch->most) watch->most = view->moving_count;
    if (watch->begin_ms == 0) {
        watch->begin_ms = view->at_ms;
        watch->begin_left = left;
    }
    int64_t copied = watch->begin_left - left, took_ms = view->at_ms - watch->begin_ms;
    if (!isatty(STDERR_FILENO)) return;
    char bar[13], bytes[32], rate[32], time[32];
    int64_t estimate_ms =
        copied > 0 && took_ms > 0 ? (int64_t)((double)left * (double)took_ms / (double)copied) : -1;
    move_bar((int64_t)(watch->most - view->moving_count) * 1000 +
                 (progress.bytes ? progress.done * 1000 / progress.bytes : 0),
             (int64_t)watch->most * 1000, bar);
    move_bytes_text(left, bytes, sizeof bytes);
    move_bytes_text(copied > 0 && took_ms > 0 ? copied * 1000 / took_ms : -1, rate, sizeof rate);
    move_time_text(estimate_ms, time, sizeof time);
    fprintf(stderr, "\r\033[K%s %zu of %zu partitions to go, %s to copy, %s/s, %s", bar, view->moving_count,
            watch->most, bytes, rate, time);
    fflush(stderr);
    watch->is_shown = true;
}

int move_wait(struct admin *admin, const struct cli *cli)
{
    (void)cli;
    struct watch watch = {0};
    int status = EXIT_OK;
    for (;;) {
        admin_forget(admin);
        struct view view;
        enum error err = view_read(admin, VIEW_MOVING_SIZES, &view);
        bool is_known = err == OK && view.has_moves;
        if (is_known && view.moving_count == 0) break;
        if (is_known) show(&watch, &view);
        if (!is_known && !admin_is_interrupted(admin)) (void)!admin_refresh(admin);
        if (!admin_wait(admin, POLL_MS)) {
            status = EXIT_INTERRUPTED;
            break;
        }
    }
    if (watch.is_shown) fprintf(stderr, "\r\033[K");
    if (status != EXIT_OK) {
        cli_complain("interrupted: the cluster goes on by itself; see `odradek cluster reassignments`, stop "
                     "it with --cancel, "
                     "or start this again to wait for it");
    }
    return status;
}
