/* alone.c: a log of one in the directory that a member of several left, with its promises still there (PREFIXvote): its server lines
 * are gone, by intent or by mistake.
 *
 *     read      whom the newest membership in the files names                      on recovery's worker
 *     ask       all of them at once are dialled, ANSWER_MS is the limit             on the loop
 *     refuse    one accepts: the ensemble lives, and a second service must not begin
 *     go on     nobody does: recovery runs again, and convert.c makes the files those of a log of one
 *
 * That somebody listens is all that counts, nothing is said to it. The address of this very member is dialled, too: whoever listens there goes
 * on in its place. The promises stay where they are, so that the directory is not taken for a member's again (ensemble_seed.c).
 */
#include "quorum/alone.h"

#include <stdlib.h>

#include "base/diag.h"
#include "base/text.h"
#include "loop/stream.h"
#include "quorum/frames.h"
#include "quorum/inside.h"
#include "quorum/membership.h"

enum { ANSWER_MS = 500, SEATS_MAX = 2 * QUORUM_MEMBERS_MAX };

struct ask {
    struct quorum *quorum;
    const struct seat *seat;
    struct connecting *connecting; /* NULL: it was answered */
};

struct alone {
    struct membership members; /* the newest there is; none: the files hold nothing at all */
    bool is_asked;             /* and nobody answered */
    struct ask asks[SEATS_MAX];
    int waiting;
};

/* --- read --- */

static enum error note(struct alone *alone, uint64_t index, struct slice bytes)
{
    struct membership members;
    if (alone->members.count > 0 && index < alone->members.index) return OK;
    enum error err = membership_decode(bytes, &members);
    if (err != OK) return err;
    members.index = index;
    membership_free(&alone->members);
    alone->members = members;
    return OK;
}

static enum error on_members(void *context, struct slice chunk)
{
    if (chunk.size < 8) return ERR_CORRUPT;
    return note(context, get_be64(chunk.data), (struct slice){chunk.data + 8, chunk.size - 8});
}

static enum error on_chunk(void *context, struct slice chunk)
{
    return OK;
}

static enum error read_snapshot(const struct quorum *quorum, struct alone *alone, const char *kind,
                                uint64_t name_index)
{
    char path[QUORUM_PATH_SIZE];
    uint64_t index, term;
    uint32_t format;
    int64_t position;
    if (!quorum_path(path, quorum->dir, quorum->prefix, kind, name_index)) return ERR_TOO_LARGE;
    return quorum_snapshot_read(quorum->disk, path, &index, &term, &format, on_members, on_chunk, alone,
                                &position);
}

/* As far as it can be read: what is wrong with it is said when its data is. */
static enum error read_log(const struct quorum *quorum, struct alone *alone, uint64_t first)
{
    char path[QUORUM_PATH_SIZE];
    struct quorum_scan scan = {0};
    struct quorum_record record;
    if (!quorum_path(path, quorum->log_dir, quorum->prefix, "log", first)) return ERR_TOO_LARGE;
    enum error err = OK, unread = quorum_scan_open(quorum->disk, path, first, &scan);
    for (uint64_t expected = first; unread == OK && err == OK; expected++) {
        if (quorum_scan_next(&scan, expected, &record, &unread) != QUORUM_SCAN_RECORD) break;
        if (record.kind == ENTRY_CHANGE) err = note(alone, record.index, record.entry);
    }
    quorum_scan_close(&scan);
    return err;
}

/* The last one only, where the others are older. */
static enum error read_files(const struct quorum *quorum, struct alone *alone, const char *dir,
                             const char *kind)
{
    uint64_t *indexes;
    size_t count;
    bool is_log = kind[0] == 'l';
    enum error err = quorum_files_list(quorum->disk, dir, quorum->prefix, kind, &indexes, &count);
    if (err != OK) return err;
    for (size_t i = is_log || count == 0 ? 0 : count - 1; i < count && err == OK; i++) {
        err = is_log ? read_log(quorum, alone, indexes[i]) : read_snapshot(quorum, alone, kind, indexes[i]);
    }
    free(indexes);
    return err;
}

enum error alone_read(struct quorum *quorum)
{
    struct alone *alone = calloc(1, sizeof *alone);
    if (!alone) return ERR_NOMEM;
    enum error err = read_files(quorum, alone, quorum->dir, "snapshot");
    if (err == OK) err = read_files(quorum, alone, quorum->dir, "install");
    if (err == OK) err = read_files(quorum, alone, quorum->log_dir, "log");
    quorum->alone = alone;
    if (err != OK)
        diag_error("cannot read in \"%s\" which ensemble it belongs to: %s", quorum->dir, error_text(err));
    return err;
}

bool alone_is_sure(const struct quorum *quorum)
{
    return quorum->alone && quorum->alone->is_asked;
}

/* --- ask --- */

static void hang_up(struct alone *alone)
{
    for (int i = 0; i < alone->members.count; i++) stream_connect_cancel(&alone->asks[i].connecting);
}

static void on_answer(void *context, enum error err, struct stream *stream)
{
    struct ask *ask = context;
    struct quorum *quorum = ask->quorum;
    struct alone *alone = quorum->alone;
    ask->connecting = NULL;
    alone->waiting--;
    if (err == OK) {
        stream_close(&stream);
        hang_up(alone);
        diag_error("what is in \"%s\" belongs to a member of an ensemble that is alive: it answers at %s:%u. "
                   "Are server lines missing? To let it stand alone all the same, remove \"%s/%svote\"",
                   quorum->dir, ask->seat->host, ask->seat->port, quorum->dir, quorum->prefix);
        quorum_alone_answered(quorum, ERR_CONFIG);
    } else if (alone->waiting == 0) {
        alone->is_asked = true;
        quorum_alone_answered(quorum, OK);
    }
}

void alone_ask(struct quorum *quorum)
{
    struct alone *alone = quorum->alone;
    for (int i = 0; i < alone->members.count; i++) {
        struct ask *ask = &alone->asks[i];
        *ask = (struct ask){.quorum = quorum, .seat = &alone->members.seats[i]};
        enum error err = stream_connect(quorum->loop, ask->seat->host, ask->seat->port, ANSWER_MS, on_answer,
                                        ask, &ask->connecting);
        if (err != OK) { /* ours is the fault, so it says nothing of them */
            hang_up(alone);
            diag_error("cannot ask whether the ensemble that \"%s\" belongs to is alive: %s", quorum->dir,
                       error_text(err));
            quorum_alone_answered(quorum, err);
            return;
        }
        alone->waiting++;
    }
    if (alone->waiting > 0) return;
    alone->is_asked = true;
    quorum_alone_answered(quorum, OK);
}

/* --- go on --- */

void alone_tell(const struct quorum *quorum)
{
    struct text members = {0};
    for (int i = 0; i < quorum->alone->members.count; i++) {
        const struct seat *seat = &quorum->alone->members.seats[i];
        text_addf(&members, "%s%s:%u", i > 0 ? ", " : "", seat->host, seat->port);
    }
    diag_warn("what is in \"%s\" belonged to a member of the ensemble %s, of which nobody answers: it stands "
              "alone from now on, with what it has, and is no member any more. If server lines are missing: "
              "stop it, give it its lines and an empty directory, and it gets everything from the others",
              quorum->dir, members.failed || members.size == 0 ? "" : members.data);
    text_free(&members);
}

void alone_free(struct quorum *quorum)
{
    struct alone *alone = quorum->alone;
    quorum->alone = NULL;
    if (!alone) return;
    hang_up(alone);
    membership_free(&alone->members);
    free(alone);
}
