/* tree_check.c: is there one history that all answers are true of? See tree_history.h.
 *
 * First every change that anybody was told of, at which zxid, to which path; then path by path through changes and facts in order.
 * Where something must have changed that nobody was told of, a write without an answer, or the end of an ephemeral's session, must
 * be there to explain it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tree_check.h"

/* --- changes --- */

static void add_change(struct check *check, struct change change)
{
    GROW(check->changes, check->change_count, check->change_capacity);
    check->changes[check->change_count++] = change;
}

static void change_of_fact(struct check *check, const struct tree_fact *fact)
{
    struct change change = {.path = fact->path, .zxid = fact->zxid, .owner = -1, .version = -1};
    switch (fact->kind) {
    case FACT_CREATED: break;
    case FACT_CHANGED: change.kind = CHANGE_SET; break;
    case FACT_DELETED: change.kind = CHANGE_DELETE; break;
    case FACT_IS:
        change.zxid = fact->czxid;
        change.owner = fact->owner;
        change.version = 0;
        if (fact->version == 0) {
            change.value = fact->value;
        } else {
            add_change(check,
                       (struct change){fact->path, CHANGE_SET, fact->mzxid, -1, fact->version, fact->value});
        }
        if (fact->czxid > fact->mzxid || fact->mzxid > fact->zxid ||
            (fact->version == 0 && fact->czxid != fact->mzxid)) {
            tree_history_fail(check->history,
                              "%s has a strange stat at %" PRIx64 ": czxid %" PRIx64 ", mzxid %" PRIx64
                              ", version %d",
                              name_of(check, fact->path), (uint64_t)fact->zxid, (uint64_t)fact->czxid,
                              (uint64_t)fact->mzxid, fact->version);
        }
        break;
    default: return;
    }
    add_change(check, change);
}

static void change_of_write(struct check *check, uint64_t serial)
{
    const struct tree_write *write = &check->history->writes[serial - 1];
    if (write->state != WRITE_DONE || write->path == TREE_NO_PATH) return;
    struct change change = {
        .path = write->path, .zxid = write->zxid, .owner = -1, .version = -1, .value = serial};
    switch (write->kind) {
    case WRITE_CREATE:
    case WRITE_CREATE_NEXT:
        change.owner = write->is_ephemeral ? check->history->sessions[write->session].id : 0;
        change.version = 0;
        break;
    case WRITE_PAIR: /* fallthrough */
    case WRITE_SET:
        change.kind = CHANGE_SET;
        if (write->version >= 0) change.version = write->version + 1;
        break;
    case WRITE_DELETE:
        change.kind = CHANGE_DELETE;
        change.value = 0;
        break;
    default: return;
    }
    add_change(check, change);
}

static int by_path_and_zxid(const void *a, const void *b)
{
    const struct change *left = a, *right = b;
    if (left->path != right->path) return left->path < right->path ? -1 : 1;
    if (left->zxid != right->zxid) return left->zxid < right->zxid ? -1 : 1;
    return 0;
}

/* Both tell of the same change: what one does not know the other may. */
static void merge(struct check *check, struct change *kept, const struct change *other)
{
    bool is_same = kept->kind == other->kind &&
                   (kept->value == 0 || other->value == 0 || kept->value == other->value) &&
                   (kept->version < 0 || other->version < 0 || kept->version == other->version) &&
                   (kept->owner == -1 || other->owner == -1 || kept->owner == other->owner);
    if (!is_same) {
        tree_history_fail(check->history,
                          "%s was told to have changed twice at %" PRIx64 ": kind %d and %d, value %" PRIu64
                          " and %" PRIu64 ", version %d and %d, owner %" PRIx64 " and %" PRIx64,
                          name_of(check, kept->path), (uint64_t)kept->zxid, (int)kept->kind, (int)other->kind,
                          kept->value, other->value, kept->version, other->version, (uint64_t)kept->owner,
                          (uint64_t)other->owner);
    }
    if (kept->value == 0) kept->value = other->value;
    if (kept->version < 0) kept->version = other->version;
    if (kept->owner == -1) kept->owner = other->owner;
}

static void sort_changes(struct check *check)
{
    if (check->change_count == 0) return;
    qsort(check->changes, check->change_count, sizeof *check->changes, by_path_and_zxid);
    size_t kept = 0;
    for (size_t i = 1; i < check->change_count; i++) {
        struct change *last = &check->changes[kept], *next = &check->changes[i];
        if (last->path == next->path && last->zxid == next->zxid)
            merge(check, last, next);
        else
            check->changes[++kept] = *next;
    }
    check->change_count = kept + 1;
}

/* The write that a change's value names: could it have done that? */
static void match_write(struct check *check, const struct change *change)
{
    struct tree_history *history = check->history;
    const char *name = name_of(check, change->path);
    if (change->value == 0) return;
    if (change->value > history->write_count) {
        tree_history_fail(history, "%s has a value that nobody wrote: %" PRIu64, name, change->value);
        return;
    }
    struct tree_write *write = &history->writes[change->value - 1];
    int part = write->kind == WRITE_PAIR && change->path == write->other_path;
    bool is_create = write->kind == WRITE_CREATE || write->kind == WRITE_CREATE_NEXT;
    bool is_set = write->kind == WRITE_SET || write->kind == WRITE_PAIR;
    bool is_right = change->kind == CHANGE_CREATE ? is_create : is_set;
    if (write->kind == WRITE_CREATE_NEXT && write->state != WRITE_DONE)
        is_right = is_right && write->path == history->paths[change->path].parent;
    else
        is_right = is_right && (part || write->path == change->path);
    if (!is_right) {
        tree_history_fail(history, "%s has the value of write %" PRIu64 ", which was not for it", name,
                          change->value);
    } else if (write->happened[part] && write->happened[part] != change->zxid) {
        tree_history_fail(history, "write %" PRIu64 " to %s happened twice, at %" PRIx64 " and %" PRIx64,
                          change->value, name, (uint64_t)write->happened[part], (uint64_t)change->zxid);
    } else if (write->state == WRITE_REFUSED) {
        tree_history_fail(history, "write %" PRIu64 " to %s was refused and happened at %" PRIx64,
                          change->value, name, (uint64_t)change->zxid);
    } else if (write->state == WRITE_DONE && write->zxid != change->zxid) {
        tree_history_fail(history, "write %" PRIu64 " to %s was done at %" PRIx64 " and seen as of %" PRIx64,
                          change->value, name, (uint64_t)write->zxid, (uint64_t)change->zxid);
    } else if (change->zxid <= write->sent_zxid) {
        tree_history_fail(history,
                          "write %" PRIu64 " to %s happened at %" PRIx64 ", before it was sent (%" PRIx64 ")",
                          change->value, name, (uint64_t)change->zxid, (uint64_t)write->sent_zxid);
    } else if (change->zxid > write->void_after) {
        tree_history_fail(history,
                          "write %" PRIu64 " to %s of a connection that was given up happened at %" PRIx64
                          ", after %" PRIx64 " was seen by its session elsewhere",
                          change->value, name, (uint64_t)change->zxid, (uint64_t)write->void_after);
    } else if (is_set && write->version >= 0 && change->version >= 0 &&
               change->version != write->version + 1) {
        tree_history_fail(history, "write %" PRIu64 " to %s asked for version %d and made %d", change->value,
                          name, write->version, change->version);
    } else if (change->kind == CHANGE_CREATE && change->owner != -1 &&
               change->owner != (write->is_ephemeral ? history->sessions[write->session].id : 0)) {
        tree_history_fail(history, "%s of write %" PRIu64 " belongs to %" PRIx64, name, change->value,
                          (uint64_t)change->owner);
    }
    write->happened[part] = change->zxid;
}

/* A multi happens whole. */
static void complete_pairs(struct check *check)
{
    const struct tree_history *history = check->history;
    for (size_t i = 0; i < history->write_count; i++) {
        const struct tree_write *write = &history->writes[i];
        int64_t zxid = write->happened[0] ? write->happened[0] : write->happened[1];
        if (write->kind != WRITE_PAIR || zxid == 0) continue;
        add_change(check, (struct change){write->path, CHANGE_SET, zxid, -1, -1, i + 1});
        add_change(check, (struct change){write->other_path, CHANGE_SET, zxid, -1, -1, i + 1});
    }
}

static void gather_changes(struct check *check)
{
    struct tree_history *history = check->history;
    for (size_t i = 0; i < history->fact_count; i++) change_of_fact(check, &history->facts[i]);
    for (size_t i = 0; i < history->write_count; i++) change_of_write(check, i + 1);
    for (int round = 0; round < 2 && !has_fault(check); round++) {
        if (round) complete_pairs(check);
        sort_changes(check);
        for (size_t i = 0; i < check->change_count && !has_fault(check); i++)
            match_write(check, &check->changes[i]);
    }
    check->first_change = calloc(history->path_count + 1, sizeof *check->first_change);
    if (!check->first_change) abort();
    size_t at = 0;
    for (size_t path = 0; path <= history->path_count; path++) {
        while (at < check->change_count && check->changes[at].path < (int)path) at++;
        check->first_change[path] = at;
    }
}

/* --- facts --- */

static int facts_in_order(const void *a, const void *b)
{
    const struct tree_fact *left = a, *right = b;
    if (left->path != right->path) return left->path < right->path ? -1 : 1;
    if (left->zxid != right->zxid) return left->zxid < right->zxid ? -1 : 1;
    return 0;
}

static void add_fact(struct check *check, const struct tree_fact *fact)
{
    GROW(check->facts, check->fact_count, check->fact_capacity);
    check->facts[check->fact_count++] = *fact;
}

/* Who is listed is there, who is not is not. */
static void spread_children(struct check *check, const struct tree_fact *fact, bool *is_listed)
{
    const struct tree_history *history = check->history;
    const int *listed = history->listed + fact->first;
    for (size_t i = 0; i < fact->count; i++) is_listed[listed[i]] = true;
    for (size_t path = 0; path < history->path_count; path++) {
        if (history->paths[path].parent != fact->path) continue;
        struct tree_fact one = {.kind = is_listed[path] ? FACT_THERE : FACT_ABSENT,
                                .zxid = fact->zxid,
                                .path = (int)path,
                                .line = fact->line};
        add_fact(check, &one);
    }
    for (size_t i = 0; i < fact->count; i++) is_listed[listed[i]] = false;
}

static void gather_facts(struct check *check)
{
    const struct tree_history *history = check->history;
    bool *is_listed = calloc(history->path_count + 1, sizeof *is_listed);
    if (!is_listed) abort();
    for (size_t i = 0; i < history->fact_count; i++) {
        const struct tree_fact *fact = &history->facts[i];
        if (fact->kind == FACT_CHILDREN)
            spread_children(check, fact, is_listed);
        else if (fact->kind <= FACT_NOT_VERSION)
            add_fact(check, fact);
    }
    free(is_listed);
    if (check->fact_count) qsort(check->facts, check->fact_count, sizeof *check->facts, facts_in_order);
}

/* --- what may explain a change nobody was told of --- */

static int open_writes(const struct check *check, int path, enum change_kind kind, int64_t after,
                       int64_t until)
{
    const struct tree_history *history = check->history;
    int count = 0;
    for (size_t i = 0; i < history->write_count; i++) {
        const struct tree_write *write = &history->writes[i];
        if (write->state != WRITE_LOST && write->state != WRITE_SENT) continue;
        if (write->sent_zxid >= until || write->void_after <= after) continue;
        bool is_it = false;
        switch (write->kind) {
        case WRITE_CREATE: is_it = kind == CHANGE_CREATE && write->path == path && !write->happened[0]; break;
        case WRITE_CREATE_NEXT:
            is_it =
                kind == CHANGE_CREATE && write->path == history->paths[path].parent && !write->happened[0];
            break;
        case WRITE_SET: is_it = kind == CHANGE_SET && write->path == path && !write->happened[0]; break;
        case WRITE_PAIR:
            is_it = kind == CHANGE_SET && (write->path == path || write->other_path == path) &&
                    !write->happened[0] && !write->happened[1];
            break;
        case WRITE_DELETE: is_it = kind == CHANGE_DELETE && write->path == path; break;
        default: break;
        }
        count += is_it;
    }
    return count;
}

static bool was_deleted_by_answer(const struct check *check, int path, int64_t zxid)
{
    const struct tree_history *history = check->history;
    for (size_t i = 0; i < history->write_count; i++) {
        const struct tree_write *write = &history->writes[i];
        if (write->kind == WRITE_DELETE && write->state == WRITE_DONE && write->path == path &&
            write->zxid == zxid)
            return true;
    }
    return false;
}

/* --- sessions --- */

static int find_session(const struct check *check, int64_t id)
{
    for (size_t i = 0; i < check->history->session_count; i++) {
        if (check->history->sessions[i].id == id) return (int)i;
    }
    return -1;
}

static void lived(struct check *check, int64_t owner, int64_t zxid)
{
    int session = owner > 0 ? find_session(check, owner) : -1;
    if (session >= 0 && check->spans[session].after < zxid) check->spans[session].after = zxid;
}

static void ended(struct check *check, int64_t owner, int path, int64_t after, int64_t until)
{
    int session = find_session(check, owner);
    if (session < 0) {
        tree_history_fail(check->history, "%s belonged to session %" PRIx64 ", which nobody was given",
                          name_of(check, path), (uint64_t)owner);
        return;
    }
    struct span *span = &check->spans[session];
    if (span->after < after) span->after = after;
    if (span->until > until) {
        span->until = until;
        span->path = name_of(check, path);
    }
}

static void check_sessions(struct check *check)
{
    struct tree_history *history = check->history;
    for (size_t i = 0; i < history->session_count; i++) {
        const struct tree_session *session = &history->sessions[i];
        const struct span *span = &check->spans[i];
        uint64_t id = (uint64_t)session->id;
        if (span->after >= span->until) {
            tree_history_fail(history,
                              "session %" PRIx64 " ended by %" PRIx64
                              " (%s), but an ephemeral of its was there at %" PRIx64,
                              id, (uint64_t)span->until, span->path, (uint64_t)span->after);
        } else if (session->is_alive_at_end && span->until != INT64_MAX) {
            tree_history_fail(history, "session %" PRIx64 " lives, but its %s was gone at %" PRIx64, id,
                              span->path, (uint64_t)span->until);
        } else if (session->state == SESSION_CLOSED &&
                   (span->after >= session->closed_zxid || span->until < session->closed_zxid)) {
            tree_history_fail(history,
                              "session %" PRIx64 " was closed at %" PRIx64
                              ", but its ephemerals went after %" PRIx64 ", by %" PRIx64 " (%s)",
                              id, (uint64_t)session->closed_zxid, (uint64_t)span->after,
                              (uint64_t)span->until, span->path ? span->path : "-");
        } else if (session->state != SESSION_CLOSED && session->seen_zxid >= span->until) {
            tree_history_fail(
                history, "session %" PRIx64 " had an answer at %" PRIx64 ", but its %s was gone at %" PRIx64,
                id, (uint64_t)session->seen_zxid, span->path, (uint64_t)span->until);
        }
    }
}

/* --- a path from its first change to the last fact --- */

struct walk {
    struct check *check;
    int path;
    /* known: czxid, mzxid and version are; else something nobody was told of made it */
    bool is_there, is_known;
    int64_t czxid, mzxid, owner;
    int64_t last_zxid, version_zxid; /* the last of which anything is known, and the version */
    int32_t version;                 /* -1 = not known */
    int hidden_sets;
};

/* It is gone by `until`, and nobody was told of what took it. */
static void hidden_end(struct walk *walk, int64_t until, bool is_exact)
{
    struct check *check = walk->check;
    int64_t after = is_exact ? until - 1 : walk->last_zxid;
    bool may_be_write = open_writes(check, walk->path, CHANGE_DELETE, walk->last_zxid, until) > 0;
    bool is_unknown = walk->owner == -1 && check->history->paths[walk->path].may_be_ephemeral;
    if (walk->owner > 0 && !may_be_write) {
        ended(check, walk->owner, walk->path, after, until);
    } else if (walk->owner <= 0 && !may_be_write && !is_unknown) {
        tree_history_fail(check->history,
                          "%s was there at %" PRIx64 " and gone at %" PRIx64 ", though nobody deleted it",
                          name_of(check, walk->path), (uint64_t)walk->last_zxid, (uint64_t)until);
    }
    walk->is_there = false;
}

static void hidden_birth(struct walk *walk, int64_t until)
{
    if (open_writes(walk->check, walk->path, CHANGE_CREATE, walk->last_zxid, until) == 0) {
        tree_history_fail(walk->check->history,
                          "%s is there at %" PRIx64 ", though nobody made it since %" PRIx64,
                          name_of(walk->check, walk->path), (uint64_t)until, (uint64_t)walk->last_zxid);
    }
    walk->is_there = true;
    walk->is_known = false;
    walk->owner = -1;
    walk->version = -1;
}

static void walk_set(struct walk *walk, const struct change *change)
{
    struct check *check = walk->check;
    if (!walk->is_there) hidden_birth(walk, change->zxid);
    if (walk->version >= 0 && change->version >= 0) {
        int hidden = change->version - walk->version - 1;
        if (hidden < 0) {
            tree_history_fail(check->history, "%s went from version %d to %d at %" PRIx64,
                              name_of(check, walk->path), walk->version, change->version,
                              (uint64_t)change->zxid);
        }
        walk->hidden_sets += hidden;
    }
    walk->version = change->version >= 0 ? change->version : walk->version >= 0 ? walk->version + 1 : -1;
    walk->mzxid = change->zxid;
    /* How many there were is not told: then the next that is told says it. */
    if (change->version < 0) walk->version = -1;
}

static void walk_change(struct walk *walk, const struct change *change)
{
    struct check *check = walk->check;
    switch (change->kind) {
    case CHANGE_CREATE:
        if (walk->is_there) hidden_end(walk, change->zxid - 1, false);
        walk->is_there = walk->is_known = true;
        walk->czxid = walk->mzxid = change->zxid;
        walk->owner = change->owner;
        walk->version = 0;
        lived(check, change->owner, change->zxid);
        break;
    case CHANGE_SET: walk_set(walk, change); break;
    case CHANGE_DELETE:
        if (!walk->is_there) hidden_birth(walk, change->zxid);
        if (was_deleted_by_answer(check, walk->path, change->zxid))
            walk->is_there = false;
        else if (walk->owner == -1)
            walk->is_there = false; /* whose it was nobody was told */
        else
            hidden_end(walk, change->zxid, true);
        break;
    }
    walk->last_zxid = walk->version_zxid = change->zxid;
}

static void walk_fact(struct walk *walk, const struct tree_fact *fact)
{
    struct check *check = walk->check;
    const char *name = name_of(check, walk->path);
    const struct tree_line *line = &check->history->lines[fact->line];
    switch (fact->kind) {
    case FACT_IS:
        if (!walk->is_there || (walk->is_known && walk->czxid != fact->czxid) || walk->mzxid != fact->mzxid) {
            tree_history_fail(check->history,
                              "guest %d was told by member %d that %s at %" PRIx64
                              " is that of czxid %" PRIx64 ", mzxid %" PRIx64 ", but %s%" PRIx64 ", %" PRIx64
                              " is true",
                              line->guest, line->member, name, (uint64_t)fact->zxid, (uint64_t)fact->czxid,
                              (uint64_t)fact->mzxid, walk->is_there ? "" : "its absence, after ",
                              (uint64_t)walk->czxid, (uint64_t)walk->mzxid);
        }
        lived(check, fact->owner, fact->zxid);
        walk->version_zxid = fact->zxid;
        break;
    case FACT_THERE:
        if (!walk->is_there) hidden_birth(walk, fact->zxid);
        /* The same, unless somebody may have made it anew that nobody heard of. */
        if (open_writes(check, walk->path, CHANGE_CREATE, walk->version_zxid, fact->zxid) == 0)
            lived(check, walk->owner, fact->zxid);
        break;
    case FACT_ABSENT:
        if (walk->is_there) hidden_end(walk, fact->zxid, false);
        break;
    case FACT_NOT_VERSION:
        if (walk->is_there && walk->version == fact->version && walk->version >= 0 &&
            open_writes(check, walk->path, CHANGE_SET, walk->version_zxid, fact->zxid) == 0 &&
            open_writes(check, walk->path, CHANGE_DELETE, walk->version_zxid, fact->zxid) == 0 &&
            walk->owner <= 0) {
            tree_history_fail(check->history,
                              "guest %d was told by member %d that %s at %" PRIx64
                              " has not version %d, but it has",
                              line->guest, line->member, name, (uint64_t)fact->zxid, fact->version);
        }
        return; /* says nothing of what is there */
    default: return;
    }
    if (walk->last_zxid < fact->zxid) walk->last_zxid = fact->zxid;
}

static void walk_path(struct check *check, int path, size_t *fact)
{
    struct walk walk = {.check = check, .path = path, .version = -1, .owner = -1};
    size_t change = check->first_change[path], end = check->first_change[path + 1];
    while (!has_fault(check)) {
        bool has_fact = *fact < check->fact_count && check->facts[*fact].path == path;
        bool has_change = change < end;
        if (!has_fact && !has_change) break;
        if (has_change && (!has_fact || check->changes[change].zxid <= check->facts[*fact].zxid))
            walk_change(&walk, &check->changes[change++]);
        else
            walk_fact(&walk, &check->facts[(*fact)++]);
    }
    if (walk.hidden_sets > open_writes(check, path, CHANGE_SET, 0, INT64_MAX)) {
        tree_history_fail(check->history, "%s was set %d times more than anybody may have",
                          name_of(check, path),
                          walk.hidden_sets - open_writes(check, path, CHANGE_SET, 0, INT64_MAX));
    }
}

/* --- names in sequence --- */

static void check_sequence(struct check *check, int parent)
{
    const struct tree_history *history = check->history;
    size_t count = 0;
    const struct change **births = calloc(check->change_count + 1, sizeof *births);
    if (!births) abort();
    for (size_t i = 0; i < check->change_count; i++) {
        const struct change *change = &check->changes[i];
        if (change->kind != CHANGE_CREATE || history->paths[change->path].parent != parent) continue;
        births[count++] = change;
    }
    for (size_t i = 1; i < count; i++) { /* by path; the paths are as they became known: nearly in order */
        const struct change *moved = births[i];
        size_t at = i;
        for (; at > 0 && births[at - 1]->zxid > moved->zxid; at--) births[at] = births[at - 1];
        births[at] = moved;
    }
    for (size_t i = 1; i < count; i++) {
        const char *before = name_of(check, births[i - 1]->path), *after = name_of(check, births[i]->path);
        size_t size = strlen(before), other = strlen(after);
        if (size < 10 || other < 10 || strcmp(before + size - 10, after + other - 10) < 0) continue;
        tree_history_fail(check->history, "%s was made at %" PRIx64 " after %s at %" PRIx64, after,
                          (uint64_t)births[i]->zxid, before, (uint64_t)births[i - 1]->zxid);
    }
    free(births);
}

/* --- what is known of a path, in words --- */

static void say_changes(const struct check *check, int path, void (*line)(void *context, const char *text),
                        void *context)
{
    static const char *const kinds[] = {"created", "set", "deleted"};
    char words[300];
    for (size_t i = check->first_change[path]; i < check->first_change[path + 1]; i++) {
        const struct change *change = &check->changes[i];
        snprintf(words, sizeof words, "%s %s at %" PRIx64 ": value %" PRIu64 ", version %d, owner %" PRIx64,
                 name_of(check, path), kinds[change->kind], (uint64_t)change->zxid, change->value,
                 change->version, (uint64_t)change->owner);
        line(context, words);
    }
}

static void say_facts(const struct check *check, int path, void (*line)(void *context, const char *text),
                      void *context)
{
    static const char *const kinds[] = {"is", "is there", "is absent", "has not that version"};
    char words[300];
    for (size_t i = 0; i < check->fact_count; i++) {
        const struct tree_fact *fact = &check->facts[i];
        if (fact->path != path) continue;
        snprintf(words, sizeof words,
                 "at %" PRIx64 " %s %s: czxid %" PRIx64 ", mzxid %" PRIx64 ", version %d, owner %" PRIx64
                 " (guest %d by member %d)",
                 (uint64_t)fact->zxid, name_of(check, path), kinds[fact->kind], (uint64_t)fact->czxid,
                 (uint64_t)fact->mzxid, fact->version, (uint64_t)fact->owner,
                 check->history->lines[fact->line].guest, check->history->lines[fact->line].member);
        line(context, words);
    }
}

static void say_writes(const struct check *check, int path, void (*line)(void *context, const char *text),
                       void *context)
{
    static const char *const kinds[] = {"create", "create in", "set", "delete", "pair", "close"};
    static const char *const states[] = {"not answered", "done", "refused", "lost"};
    char words[300];
    for (size_t i = 0; i < check->history->write_count; i++) {
        const struct tree_write *write = &check->history->writes[i];
        bool is_parent = path >= 0 && write->path == check->history->paths[path].parent && write->path >= 0;
        if (write->path != path && write->other_path != path && !is_parent) continue;
        snprintf(words, sizeof words,
                 "write %zu: %s %s, version %d, sent after %" PRIx64 " at %" PRId64 ", %s at %" PRIx64
                 ", void after %" PRIx64,
                 i + 1, kinds[write->kind], name_of(check, write->path), write->version,
                 (uint64_t)write->sent_zxid, write->sent_ms, states[write->state], (uint64_t)write->zxid,
                 (uint64_t)write->void_after);
        line(context, words);
    }
}

static void say_fault(const struct check *check, void (*line)(void *context, const char *text), void *context)
{
    /* The first path that the fault names. */
    for (size_t path = 0; path < check->history->path_count; path++) {
        const char *name = name_of(check, (int)path), *at = strstr(check->history->fault.data, name);
        if (!at || (at[strlen(name)] != ' ' && at[strlen(name)] != ',' && at[strlen(name)] != ')' &&
                    at[strlen(name)]))
            continue;
        say_changes(check, (int)path, line, context);
        say_facts(check, (int)path, line, context);
        say_writes(check, (int)path, line, context);
        return;
    }
}

/* --- all of it --- */

void tree_history_check(struct tree_history *history, void (*line)(void *context, const char *text),
                        void *context)
{
    struct check check = {.history = history};
    if (tree_history_has_fault(history)) return;
    check.spans = calloc(history->session_count + 1, sizeof *check.spans);
    if (!check.spans) abort();
    for (size_t i = 0; i < history->session_count; i++) check.spans[i].until = INT64_MAX;
    gather_changes(&check);
    gather_facts(&check);
    size_t fact = 0;
    for (size_t path = 0; path < history->path_count && !has_fault(&check); path++) {
        walk_path(&check, (int)path, &fact);
        check_sequence(&check, (int)path);
    }
    if (!has_fault(&check)) check_sessions(&check);
    if (!has_fault(&check)) check_watches(&check);
    if (has_fault(&check) && line) say_fault(&check, line, context);
    free(check.changes);
    free(check.first_change);
    free(check.facts);
    free(check.spans);
}
