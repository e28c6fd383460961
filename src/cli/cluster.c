/* cluster.c: odradek cluster describe. */
#include "cli/admin.h"

int cli_cluster_describe(struct cli *cli)
{
    static const struct cli_column columns[] = {{"BROKER", "id"},
                                                {"HOST", "host"},
                                                {"PORT", "port"},
                                                {"RACK", "rack"},
                                                {"CONTROLLER", "controller"},
                                                {0}};
    struct admin *admin = NULL;
    int status = admin_open(cli, &admin);
    if (status != EXIT_OK) return status;
    const struct metadata_response *metadata = NULL;
    enum error err = admin_metadata(admin, NULL, 0, &metadata);
    if (err != OK) {
        admin_close(&admin);
        return admin_exit(err);
    }
    struct cli_result result;
    cli_result_begin(&result, cli, "ClusterDescribe");
    for (int32_t i = 0; i < metadata->brokers.count; i++) {
        const struct metadata_response_metadata_response_broker *broker = &metadata->brokers.items[i];
        cli_result_add(&result, json_pack("{s:i, s:o, s:i, s:o, s:b, s:o}", "id", (int)broker->node_id,
                                          "host", cli_json_text(broker->host), "port", (int)broker->port,
                                          "rack", cli_json_text(broker->rack), "controller",
                                          broker->node_id == metadata->controller_id, "cluster",
                                          cli_json_text(metadata->cluster_id)));
    }
    status = cli_result_end(&result, columns, "no brokers");
    admin_close(&admin);
    return status;
}
