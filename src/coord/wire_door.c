/* wire_door.c: the door to an ensemble over TCP: ZooKeeper's frames, each with its length before it.
 *
 *     zookeeper.connect = a:2181,b:2181,[::1]:2182/kafka      members in random order at first, then round and round
 *
 * Session file: the line "odradek coord session 1", then the session id and its password in hex, a line each. It is written
 * without fsync: it serves the process that comes after a kill; after a power cut the session has long timed out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/list.h"
#include "base/text.h"
#include "base/vec.h"
#include "coord/coord.h"
#include "loop/disk.h"
#include "loop/loop.h"
#include "loop/stream.h"
#include "loop/tls.h"

enum {
    DEFAULT_PORT = 2181,
    FIRST_BUFFER = 4096,
    MAX_FRAME = 64 << 20,
    MAX_MEMBERS = 256,
    CONNECT_TIMEOUT_MS = 6000
};

#define SESSION_MAGIC "odradek coord session "

struct member {
    char *host;
    uint16_t port;
};

struct wire_door {
    struct coord *coord;
    struct loop *loop;
    struct disk *disk;
    char *session_path; /* NULL = none */
    struct member *members;
    size_t member_count, member_capacity, next_member, last_member;
    struct tls_context *tls; /* NULL = in the clear */
    bool checks_host;
    int32_t connect_timeout_ms;

    struct connecting *connecting;
    struct stream *stream;
    struct loop_timer timer, failed; /* failed: a connect that could not even begin */
    enum error failed_err;
    uint8_t *buffer; /* what came and is not yet a whole frame */
    size_t used, capacity;
    uint64_t connection; /* counts them: a callback may have replaced the one it was about */
};

static void close_connection(struct wire_door *door)
{
    if (door->connecting) stream_connect_cancel(&door->connecting);
    if (door->stream) stream_close(&door->stream);
    loop_timer_stop(door->loop, &door->failed);
    door->connection++;
    free(door->buffer);
    door->buffer = NULL;
    door->used = door->capacity = 0;
}

static void hand_over_frames(struct wire_door *door)
{
    uint64_t connection = door->connection;
    size_t at = 0;
    while (door->used - at >= 4) {
        uint32_t size = get_be32(door->buffer + at);
        if (size > MAX_FRAME) {
            close_connection(door);
            coord_door_closed(door->coord, ERR_TOO_LARGE);
            return;
        }
        if (door->used - at - 4 < size) break;
        coord_door_message(door->coord, (struct slice){door->buffer + at + 4, size});
        if (door->connection != connection) return;
        at += 4 + size;
    }
    if (at == 0) return;
    memmove(door->buffer, door->buffer + at, door->used - at);
    door->used -= at;
}

/* Room for the frame that has begun, or for a little more. */
static bool make_room(struct wire_door *door)
{
    size_t wanted = FIRST_BUFFER;
    if (door->used >= 4) wanted = 4 + (size_t)get_be32(door->buffer);
    if (wanted <= door->used) wanted = door->used + FIRST_BUFFER;
    /* Memory grows as bytes come, not as a length promises. */
    if (wanted > door->used * 2 + FIRST_BUFFER) wanted = door->used * 2 + FIRST_BUFFER;
    return vec_grow((void **)&door->buffer, &door->capacity, wanted, 1);
}

static void on_readable(void *context)
{
    struct wire_door *door = context;
    uint64_t connection = door->connection;
    while (door->connection == connection) {
        size_t got;
        enum error err = make_room(door) ? OK : ERR_NOMEM;
        if (err == OK)
            err = stream_read(door->stream, door->buffer + door->used, door->capacity - door->used, &got);
        if (err == ERR_AGAIN) return;
        if (err != OK) {
            close_connection(door);
            coord_door_closed(door->coord, err);
            return;
        }
        door->used += got;
        hand_over_frames(door);
    }
}

static void on_closed(void *context, enum error err)
{
    struct wire_door *door = context;
    close_connection(door);
    coord_door_closed(door->coord, err);
}

static const struct stream_events wire_events = {.on_readable = on_readable, .on_closed = on_closed};

static void on_connected(void *context, enum error err, struct stream *stream)
{
    struct wire_door *door = context;
    door->connecting = NULL;
    if (err != OK) {
        coord_door_closed(door->coord, err);
        return;
    }
    const struct tls_start start = {.host = door->members[door->last_member].host,
                                    .checks_host = door->checks_host};
    if (door->tls) err = stream_start_tls(stream, door->tls, &start);
    if (err != OK) {
        stream_close(&stream);
        coord_door_closed(door->coord, err);
        return;
    }
    door->stream = stream;
    stream_set_events(stream, &wire_events, door);
    stream_set_reading(stream, true);
    coord_door_opened(door->coord);
}

static void on_failed(struct loop_timer *timer)
{
    struct wire_door *door = CONTAINER_OF(timer, struct wire_door, failed);
    coord_door_closed(door->coord, door->failed_err);
}

static void door_open(void *context)
{
    struct wire_door *door = context;
    const struct member *member = &door->members[door->next_member];
    door->last_member = door->next_member;
    door->next_member = (door->next_member + 1) % door->member_count;
    door->failed_err = stream_connect(door->loop, member->host, member->port, door->connect_timeout_ms,
                                      on_connected, door, &door->connecting);
    if (door->failed_err != OK) loop_timer_start(door->loop, &door->failed, 0);
}

static void door_send(void *context, struct bytes *message)
{
    struct wire_door *door = context;
    struct bytes *length = bytes_new(4);
    enum error err = length && door->stream ? OK : ERR_NOMEM;
    if (err == OK) {
        put_be32(length->data, (uint32_t)message->size);
        length->size = 4;
        size_t size = message->size;
        err = stream_write(door->stream, length, 0, 4);
        length = NULL;
        if (err == OK) {
            err = stream_write(door->stream, message, 0, size);
            message = NULL;
        }
    }
    bytes_release(&length);
    bytes_release(&message);
    if (err == OK || !door->stream) return;
    /* A frame is missing: nothing after it would be understood. */
    stream_close(&door->stream);
    door->connection++;
    door->failed_err = err;
    loop_timer_start(door->loop, &door->failed, 0);
}

static void door_close(void *context)
{
    close_connection(context);
}

static int64_t door_now_ms(void *context)
{
    return loop_now_ms(((struct wire_door *)context)->loop);
}

static void on_timer(struct loop_timer *timer)
{
    coord_door_tick(CONTAINER_OF(timer, struct wire_door, timer)->coord);
}

static void door_wake_at(void *context, int64_t due_ms)
{
    struct wire_door *door = context;
    if (due_ms == INT64_MAX)
        loop_timer_stop(door->loop, &door->timer);
    else
        loop_timer_start(door->loop, &door->timer, due_ms - loop_now_ms(door->loop));
}

static void door_random(void *context, void *out, size_t size)
{
    loop_random(((struct wire_door *)context)->loop, out, size);
}

/* --- the session file --- */

static enum error write_session(struct wire_door *door, int64_t session_id, const uint8_t password[16])
{
    struct text content = {0}, path = {0};
    text_addf(&content, SESSION_MAGIC "1\n%016llx\n", (unsigned long long)session_id);
    for (int i = 0; i < 16; i++) text_addf(&content, "%02x", password[i]);
    text_addc(&content, '\n');
    text_addf(&path, "%s.tmp", door->session_path);
    struct file *file = NULL;
    enum error err = content.failed || path.failed ? ERR_NOMEM : OK;
    if (err == OK) err = file_open(door->disk, path.data, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);
    if (err == OK) err = file_pwrite(file, content.data, content.size, 0);
    file_release(&file);
    if (err == OK) err = disk_rename(door->disk, path.data, door->session_path);
    text_free(&content);
    text_free(&path);
    return err;
}

static void door_remember(void *context, int64_t session_id, const uint8_t password[16])
{
    struct wire_door *door = context;
    if (!door->session_path) return;
    enum error err =
        session_id ? write_session(door, session_id, password) : disk_unlink(door->disk, door->session_path);
    if (err != OK && err != ERR_NOT_FOUND)
        diag_warn("could not write \"%s\", a restart may have to wait for our session to time out: %s",
                  door->session_path, error_text(err));
}

static bool parse_session(struct slice content, int64_t *session_id, uint8_t password[16])
{
    unsigned long long id;
    int at = 0;
    char text[128];
    slice_text(content, text, sizeof text);
    if (sscanf(text, SESSION_MAGIC "1 %16llx %n", &id, &at) != 1 || at == 0 || id == 0) return false;
    for (int i = 0; i < 16; i++) {
        unsigned byte;
        if (sscanf(text + at + 2 * i, "%2x", &byte) != 1) return false;
        password[i] = (uint8_t)byte;
    }
    *session_id = (int64_t)id;
    return true;
}

static void read_session(struct wire_door *door, int64_t *session_id, uint8_t password[16])
{
    *session_id = 0;
    if (!door->session_path) return;
    struct bytes *content = NULL;
    enum error err = disk_read_file(door->disk, door->session_path, 128, &content);
    if (err == ERR_NOT_FOUND) return;
    if (err != OK || !parse_session(bytes_slice(content), session_id, password))
        diag_warn("\"%s\" does not tell the session of our last life: %s", door->session_path,
                  error_text(err == OK ? ERR_CORRUPT : err));
    bytes_release(&content);
}

/* --- life --- */

static void door_free(void *context)
{
    struct wire_door *door = context;
    close_connection(door);
    loop_timer_stop(door->loop, &door->timer);
    for (size_t i = 0; i < door->member_count; i++) free(door->members[i].host);
    free(door->members);
    tls_context_release(&door->tls);
    free(door->session_path);
    free(door);
}

/* "host", "host:port", "[v6]:port", or a bare IPv6 address. */
static enum error add_member(struct wire_door *door, struct slice text)
{
    if (door->member_count == MAX_MEMBERS) return ERR_LIMIT;
    struct slice host = text, port = SLICE_NULL;
    const uint8_t *first_colon = memchr(text.data, ':', text.size);
    if (text.size > 0 && text.data[0] == '[') {
        const uint8_t *close = memchr(text.data, ']', text.size);
        if (!close) return ERR_CONFIG;
        host = (struct slice){text.data + 1, (size_t)(close - text.data - 1)};
        size_t rest = (size_t)(text.data + text.size - close - 1);
        if (rest > 0 && close[1] != ':') return ERR_CONFIG;
        if (rest > 0) port = (struct slice){close + 2, rest - 1};
    } else if (first_colon &&
               !memchr(first_colon + 1, ':', text.size - (size_t)(first_colon + 1 - text.data))) {
        host.size = (size_t)(first_colon - text.data);
        port = (struct slice){first_colon + 1, text.size - host.size - 1};
    }
    int64_t number = DEFAULT_PORT;
    if (host.size == 0 || (port.data && !slice_to_int64(port, 1, 65535, &number))) return ERR_CONFIG;
    if (!VEC_RESERVE(door->members, door->member_count, door->member_capacity)) return ERR_NOMEM;
    struct member member = {slice_dup(host), (uint16_t)number};
    if (!member.host) return ERR_NOMEM;
    door->members[door->member_count++] = member;
    return OK;
}

static enum error parse_connect(struct wire_door *door, const char *connect, const char **chroot)
{
    const char *slash = strchr(connect, '/');
    size_t left = slash ? (size_t)(slash - connect) : strlen(connect);
    if (slash) *chroot = slash;
    const char *at = connect;
    for (;;) {
        const char *comma = memchr(at, ',', left);
        size_t size = comma ? (size_t)(comma - at) : left;
        size_t skip = 0;
        while (skip < size && at[skip] == ' ') skip++;
        size_t end = size;
        while (end > skip && at[end - 1] == ' ') end--;
        enum error err = add_member(door, (struct slice){(const uint8_t *)at + skip, end - skip});
        if (err != OK || !comma) return err;
        left -= size + 1;
        at = comma + 1;
    }
}

static void shuffle_members(struct wire_door *door)
{
    for (size_t i = door->member_count; i > 1; i--) {
        uint32_t draw;
        loop_random(door->loop, &draw, sizeof draw);
        struct member *a = &door->members[i - 1], *b = &door->members[draw % i];
        struct member kept = *a;
        *a = *b;
        *b = kept;
    }
}

enum error coord_open_wire(struct loop *loop, struct disk *disk, const char *connect,
                           const char *session_path, const struct coord_options *options,
                           struct coord **coord)
{
    struct wire_door *door = calloc(1, sizeof *door);
    if (!door) return ERR_NOMEM;
    *door = (struct wire_door){.loop = loop, .disk = disk, .timer.run = on_timer, .failed.run = on_failed};
    struct coord_options own = *options;
    door->connect_timeout_ms = own.connect_timeout_ms > 0 ? own.connect_timeout_ms : CONNECT_TIMEOUT_MS;
    door->tls = own.tls ? tls_context_retain(own.tls) : NULL;
    door->checks_host = own.checks_host;
    enum error err = parse_connect(door, connect, &own.chroot);
    if (err == OK && session_path) {
        door->session_path = strdup(session_path);
        if (!door->session_path) err = ERR_NOMEM;
    }
    if (err == OK) {
        static const struct coord_door table = {door_open,    door_send,   door_close,    door_now_ms,
                                                door_wake_at, door_random, door_remember, door_free};
        int64_t old_id;
        uint8_t old_password[16] = {0};
        shuffle_members(door);
        read_session(door, &old_id, old_password);
        err = coord_new(&table, door, &own, old_id, old_password, &door->coord);
    }
    if (err == OK)
        *coord = door->coord;
    else
        door_free(door);
    return err;
}
