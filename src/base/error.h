/* error.h: the one kind of error there is.
 *
 * What can fail returns enum error and writes its results only on success. error.def lists them all with
 * the text an operator reads and the codes that Kafka and ZooKeeper clients hear.
 */
#pragma once
#include <stdint.h>

enum error {
    OK = 0,
#define ERROR(name, text, kafka, zookeeper) ERR_##name,
#include "base/error.def"
#undef ERROR
    ERROR_COUNT
};

#define MUST_USE __attribute__((warn_unused_result))

/* A short English text, never NULL, no full stop. */
const char *error_text(enum error err);
/* The name as Kafka or we spell it, "NOT_LEADER_OR_FOLLOWER"; "NONE" for OK. */
const char *error_name(enum error err);
/* What goes on Kafka's wire: 0 for OK, -1 where Kafka has no word for it. */
int16_t error_kafka_code(enum error err);
/* What goes on ZooKeeper's wire: 0 for OK. */
int32_t error_zk_code(enum error err);
/* And back. A code nobody knows becomes ERR_UNKNOWN_SERVER_ERROR, ERR_ZK_SYSTEM. */
enum error error_from_kafka(int16_t code);
enum error error_from_zk(int32_t code);
/* From errno of a file or socket call. */
enum error error_from_errno(int number);
