#include "keeper/keeper_sasl.h"

#include "loop/disk.h"
#include "settings/zoo_config.h"

enum { FILE_MAX = 1 << 20 };

enum error keeper_sasl_users(const struct zoo_config *config, struct disk *disk, struct sasl_users *users,
                             bool *is_on, struct text *why)
{
    *users = (struct sasl_users){0};
    *is_on = false;
    const char *path = zoo_text(config, ZOO_JAVA_SECURITY_AUTH_LOGIN_CONFIG);
    if (!path || !path[0]) return OK;
    struct bytes *file = NULL;
    text_addf(why, "%s: ", path);
    enum error err = disk_read_file(disk, path, FILE_MAX, &file);
    if (err != OK) {
        text_addz(why, error_text(err));
        return err;
    }
    err = sasl_users_read(bytes_slice(file), zoo_text(config, ZOO_SASL_SERVERCONFIG), users, why);
    bytes_release(&file);
    if (err == ERR_NOT_FOUND && config->line[ZOO_SASL_SERVERCONFIG] == 0) return OK;
    const char *super = zoo_text(config, ZOO_SASL_AUTHENTICATION_PROVIDER_SUPER_PASSWORD);
    if (err == OK && super) err = sasl_users_set(users, SLICE("super"), slice_of(super));
    if (err != OK) sasl_users_free(users);
    *is_on = err == OK;
    return err;
}
