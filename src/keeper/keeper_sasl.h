/* keeper_sasl.h: the users of SASL, as zoo.cfg names them: the JAAS file of java.security.auth.login.config, its section
 * sasl.serverconfig, and SASLAuthenticationProvider.superPassword for the user "super". Reads the file; called before the loop runs.
 */
#pragma once
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"
#include "security/sasl_digest.h"

struct disk;
struct zoo_config;

/* *is_on: clients may authenticate. Without a file, or in a file without the section that nobody asked for by name, they may
 * not. Errors: *why (appended to) names the file and the line. */
MUST_USE enum error keeper_sasl_users(const struct zoo_config *config, struct disk *disk,
                                      struct sasl_users *users, bool *is_on, struct text *why);
