#include "node/own_controller.h"

#include <stdlib.h>

#include "controller/controller.h"
#include "metadata/controller_link.h"
#include "settings/settings.h"

struct errand {
    struct controller_call call;
    struct controller_link_local *asked;
};

static void done(struct controller_call *call)
{
    struct errand *errand = call->context;
    struct controller_link_local *asked = errand->asked;
    asked->err = call->err;
    free(errand);
    asked->done(asked);
}

static void ask(void *context, struct controller_link_local *asked)
{
    struct own_controller *own = context;
    struct errand *errand = own->controller ? calloc(1, sizeof *errand) : NULL;
    if (!errand) {
        asked->err = own->controller ? ERR_NOMEM : ERR_NOT_CONTROLLER;
        asked->done(asked);
        return;
    }
    errand->asked = asked;
    errand->call = (struct controller_call){.api_key = asked->api_key,
                                            .version = asked->version,
                                            .request = asked->request,
                                            .arena = asked->arena,
                                            .response = asked->response,
                                            .done = done,
                                            .context = errand};
    controller_submit(own->controller, &errand->call);
}

enum error own_controller_link(struct own_controller *own, struct loop *control, struct metadata *metadata,
                               int32_t broker_id, const struct settings *settings,
                               struct controller_link **link)
{
    struct controller_link_options options = {
        .loop = control,
        .metadata = metadata,
        .broker_id = broker_id,
        .listener = settings_inter_broker_listener(settings)->name,
        .timeout_ms = settings_long(settings, SETTING_CONTROLLER_SOCKET_TIMEOUT_MS),
        .local = ask,
        .context = own};
    return controller_link_new(&options, link);
}
