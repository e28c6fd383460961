/* jaas_fuzz: any bytes as a JAAS file, and its users' passwords asked for. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "security/sasl_digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice file = {data, size};
    static const char *const sections[] = {"Server", "Client"};
    for (int i = 0; i < 2; i++) {
        struct sasl_users users = {0};
        struct text why = {0};
        enum error err = sasl_users_read(file, sections[i], &users, &why);
        CHECK(err == OK || err == ERR_CONFIG || err == ERR_NOT_FOUND || err == ERR_NOMEM);
        CHECK(err == OK || why.size > 0 || err == ERR_NOMEM);
        for (size_t u = 0; u < users.count; u++) {
            const char *password = sasl_users_password(&users, users.items[u].name);
            CHECK(password && strcmp(password, users.items[u].password) == 0);
        }
        sasl_users_free(&users);
        text_reset(&why);
        struct sasl_login login;
        enum error login_err = sasl_login_read(file, sections[i], &login, &why);
        CHECK(login_err == OK ? login.username && login.password : !login.username && !login.password);
        CHECK(login_err == OK || why.size > 0 || login_err == ERR_NOMEM);
        CHECK(login_err == err || (login_err == ERR_CONFIG && err == OK));
        sasl_login_free(&login);
        text_free(&why);
    }
    return 0;
}
