/* admin.h: questions to a cluster, one at a time, waiting for each answer: what the admin commands are made of.
 *
 * Memory of answers lives until admin_close. Errors are said on standard error by admin_open; admin_ask returns them.
 */
#pragma once
#include "cli/cli.h"
#include "wire/message.h"
#include "wire/messages.h"

struct admin;

enum { NODE_ANY = -1, NODE_CONTROLLER = -2 };

/* Tries the bootstrap addresses one after another. EXIT_OK, or EXIT_UNREACHABLE after saying why for each. */
int admin_open(const struct cli *cli, struct admin **admin);
void admin_close(struct admin **admin);

/* Asks node (a broker id, NODE_ANY or NODE_CONTROLLER). *response is the struct of the API's response. A NOT_CONTROLLER
 * answer is the caller's to see. max_version -1: the highest both know. */
MUST_USE enum error admin_ask(struct admin *admin, int32_t node, int16_t api_key, int16_t max_version,
                              const void *request, const void **response);
/* The same, and on an error says what was asked of whom. */
MUST_USE enum error admin_ask_loud(struct admin *admin, int32_t node, int16_t api_key, const void *request,
                                   const void **response);
/* The same of whoever is the controller: on NOT_CONTROLLER (as code_of reads it from an answer) and on a lost connection it
 * is looked for again, for two seconds or as long as admin_stay allows. OK with an answer that still says NOT_CONTROLLER. */
MUST_USE enum error admin_ask_controller(struct admin *admin, int16_t api_key, int16_t max_version,
                                         const void *request, int16_t (*code_of)(const void *response),
                                         const void **response);
/* Learns brokers and controller anew, from any broker that answers. */
MUST_USE enum error admin_refresh(struct admin *admin);
/* Metadata of these topics (count -1: all), without creating any. */
MUST_USE enum error admin_metadata(struct admin *admin, const char *const *topics, int32_t count,
                                   const struct metadata_response **response);
/* The broker that coordinates this group; EXIT_OK or an exit code after saying why. */
int admin_coordinator(struct admin *admin, const char *group, int32_t *node);
/* Offsets of many partitions, each asked of its leader. timestamp -1 = end, -2 = start, else ms. Answers -1 where unknown. */
struct partition_offset {
    struct slice topic;
    int32_t partition, leader;
    int64_t timestamp;
    int64_t offset; /* filled */
    enum error err; /* filled */
};
void admin_offsets(struct admin *admin, struct partition_offset *offsets, size_t count);
struct arena *admin_arena(struct admin *admin);

/* --- for commands that stay: watching, waiting until something is done --- */
/* SIGINT and SIGTERM end waiting instead of the process; the controller is looked for that long. */
MUST_USE enum error admin_stay(struct admin *admin, int64_t patience_ms);
/* Who takes longer than this to answer is not waited for, unless --timeout says otherwise. */
void admin_hurry(struct admin *admin, int64_t answer_ms);
/* False when it was interrupted. */
bool admin_wait(struct admin *admin, int64_t ms);
bool admin_is_interrupted(const struct admin *admin);
int64_t admin_now_ms(struct admin *admin);
/* All answers so far are gone. */
void admin_forget(struct admin *admin);
/* Exit code for an error of the connection or of a whole request. */
int admin_exit(enum error err);
