#include "base/error.h"

#include <errno.h>
#include <stddef.h>

struct error_row {
    const char *name, *text;
    int16_t kafka;
    int32_t zk;
};

static const struct error_row rows[ERROR_COUNT] = {
    [OK] = {"NONE", "ok", 0, 0},
#define ERROR(name, text, kafka, zookeeper) [ERR_##name] = {#name, text, kafka, zookeeper},
#include "base/error.def"
#undef ERROR
};

static const struct error_row *row_of(enum error err)
{
    if ((size_t)err < ERROR_COUNT) return &rows[err];
    return &rows[ERR_UNKNOWN_SERVER_ERROR];
}

const char *error_text(enum error err)
{
    return row_of(err)->text;
}

const char *error_name(enum error err)
{
    return row_of(err)->name;
}

int16_t error_kafka_code(enum error err)
{
    return row_of(err)->kafka;
}

int32_t error_zk_code(enum error err)
{
    return row_of(err)->zk;
}

enum error error_from_kafka(int16_t code)
{
    if (code == 0) return OK;
    int first = ERR_UNKNOWN_SERVER_ERROR; /* Kafka's rows follow one another, from code -1, without 0 */
    if (code < 0 || code > rows[ERR_SHARE_SESSION_LIMIT_REACHED].kafka) return ERR_UNKNOWN_SERVER_ERROR;
    return (enum error)(first + code);
}

enum error error_from_zk(int32_t code)
{
    if (code == 0) return OK;
    for (int i = ERR_ZK_SYSTEM; i < ERROR_COUNT; i++) {
        if (rows[i].zk == code) return (enum error)i;
    }
    return ERR_ZK_SYSTEM;
}

enum error error_from_errno(int number)
{
    switch (number) {
    case 0: return OK;
    case ENOMEM: return ERR_NOMEM;
    case ENOSPC:
    case EDQUOT: return ERR_DISK_FULL;
    case ENOENT: return ERR_NOT_FOUND;
    case EEXIST: return ERR_EXISTS;
    case EAGAIN: return ERR_AGAIN;
    case ECONNREFUSED: return ERR_REFUSED;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL: return ERR_UNREACHABLE;
    case ETIMEDOUT: return ERR_TIMED_OUT;
    case ECONNRESET:
    case EPIPE: return ERR_EOF;
    case EADDRINUSE: return ERR_BUSY;
    case EACCES:
    case EPERM: return ERR_DENIED;
    case EMFILE:
    case ENFILE: return ERR_LIMIT;
    default: return ERR_IO;
    }
}
