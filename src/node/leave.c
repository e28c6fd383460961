#include "node/leave.h"

#include "base/diag.h"
#include "metadata/metadata.h"
#include "settings/settings.h"

enum { API_CONTROLLED_SHUTDOWN = 7, VERSION = 3 };

static void try_once(struct loop_timer *timer);

static void finish(struct leave *leave)
{
    leave->is_under_way = false;
    leave->done(leave->context);
}

static void answered(struct controller_link_call *call, enum error err, int16_t version, const void *response)
{
    struct leave *leave = CONTAINER_OF(call, struct leave, call);
    const struct controlled_shutdown_response *answer = response;
    (void)version;
    if (err == OK) err = error_from_kafka(answer->error_code);
    int32_t left = err == OK ? answer->remaining_partitions.count : 0;
    /* Where no other broker is there is nobody to take anything over, however often we ask. */
    bool is_alone = image_broker_count(metadata_image(leave->metadata)) <= 1;
    if (err == OK && left > 0)
        diag_warn("%d partitions have no other replica in sync that could lead them", left);
    else if (err != OK)
        diag_warn("could not hand over before stopping: %s", error_text(err));
    bool is_over = (err == OK && (left <= 0 || is_alone)) || err == ERR_CLOSED;
    if (is_over || ++leave->tries >= leave->max_tries)
        finish(leave);
    else
        loop_timer_start(leave->loop, &leave->timer, leave->backoff_ms);
}

static void try_once(struct loop_timer *timer)
{
    struct leave *leave = CONTAINER_OF(timer, struct leave, timer);
    controlled_shutdown_request_init(&leave->request);
    leave->request.broker_id = leave->broker_id;
    leave->request.broker_epoch = metadata_broker_epoch(leave->metadata);
    leave->call = (struct controller_link_call){.api_key = API_CONTROLLED_SHUTDOWN,
                                                .max_version = VERSION,
                                                .request = &leave->request,
                                                .give_up_ms = loop_now_ms(leave->loop) + leave->timeout_ms,
                                                .done = answered};
    controller_link_send(leave->link, &leave->call);
}

void leave_begin(struct leave *leave, const struct settings *settings)
{
    leave->max_tries = settings_long(settings, SETTING_CONTROLLED_SHUTDOWN_MAX_RETRIES);
    leave->backoff_ms = settings_long(settings, SETTING_CONTROLLED_SHUTDOWN_RETRY_BACKOFF_MS);
    leave->timeout_ms = settings_long(settings, SETTING_CONTROLLER_SOCKET_TIMEOUT_MS);
    leave->tries = 0;
    leave->is_under_way = true;
    leave->timer = (struct loop_timer){.run = try_once};
    loop_timer_start(leave->loop, &leave->timer, 0);
}

void leave_give_up(struct leave *leave, const char *why)
{
    if (!leave->is_under_way) return;
    diag_warn("could not hand over before stopping: %s", why);
    if (loop_timer_running(&leave->timer))
        loop_timer_stop(leave->loop, &leave->timer);
    else
        controller_link_cancel(leave->link, &leave->call);
    finish(leave);
}
