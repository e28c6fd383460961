#include "tree_history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

#define GROW(items, count, capacity)                                                                         \
    do {                                                                                                     \
        if (!VEC_RESERVE(items, count, capacity)) abort();                                                   \
    } while (0)

void tree_history_free(struct tree_history *history)
{
    for (size_t i = 0; i < history->line_count; i++) free(history->lines[i].entries);
    map_free(&history->path_by_name);
    free(history->paths);
    free(history->writes);
    free(history->facts);
    free(history->listed);
    free(history->sessions);
    free(history->lines);
    text_free(&history->fault);
    *history = (struct tree_history){0};
}

void tree_history_fail(struct tree_history *history, const char *format, ...)
{
    if (tree_history_has_fault(history)) return;
    char words[1000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    text_addz(&history->fault, words);
}

int tree_history_path(struct tree_history *history, const char *name, int parent)
{
    uintptr_t known = (uintptr_t)map_get(&history->path_by_name, slice_of(name));
    if (known) return (int)known - 1;
    GROW(history->paths, history->path_count, history->path_capacity);
    struct tree_path *path = &history->paths[history->path_count++];
    *path = (struct tree_path){.parent = parent};
    path->may_be_ephemeral = parent >= 0 && history->paths[parent].has_ephemerals;
    snprintf(path->name, sizeof path->name, "%s", name);
    if (map_put(&history->path_by_name, slice_of(name), (void *)(uintptr_t)history->path_count) != OK)
        abort();
    return (int)history->path_count - 1;
}

/* --- writes --- */

uint64_t tree_history_send(struct tree_history *history, const struct tree_write *write)
{
    GROW(history->writes, history->write_count, history->write_capacity);
    struct tree_write *added = &history->writes[history->write_count++];
    if (write->is_ephemeral && write->kind == WRITE_CREATE)
        history->paths[write->path].may_be_ephemeral = true;
    if (write->is_ephemeral && write->kind == WRITE_CREATE_NEXT)
        history->paths[write->path].has_ephemerals = true;
    *added = *write;
    added->state = WRITE_SENT;
    added->sent_zxid = history->seen_zxid;
    added->void_after = INT64_MAX;
    return history->write_count;
}

void tree_history_answered(struct tree_history *history, uint64_t serial, int64_t zxid, bool is_done)
{
    struct tree_write *write = &history->writes[serial - 1];
    write->state = is_done ? WRITE_DONE : WRITE_REFUSED;
    write->zxid = zxid;
    history->counts.writes++;
    if (zxid <= write->sent_zxid) {
        tree_history_fail(history,
                          "write %" PRIu64 " was answered at %" PRIx64 ", but %" PRIx64
                          " had been seen when it was sent",
                          serial, (uint64_t)zxid, (uint64_t)write->sent_zxid);
    }
    if (zxid > write->void_after) {
        tree_history_fail(history,
                          "write %" PRIu64 " of a connection that was given up happened at %" PRIx64
                          ", after %" PRIx64 " was seen by its session elsewhere",
                          serial, (uint64_t)zxid, (uint64_t)write->void_after);
    }
}

void tree_history_lost(struct tree_history *history, uint64_t serial)
{
    struct tree_write *write = &history->writes[serial - 1];
    if (write->state != WRITE_SENT) return;
    write->state = WRITE_LOST;
    history->counts.lost++;
}

void tree_history_void(struct tree_history *history, int line, const uint64_t *serials, size_t count,
                       int64_t zxid)
{
    for (size_t i = 0; i < count; i++) {
        struct tree_write *write = &history->writes[serials[i] - 1];
        if (write->state == WRITE_SENT || write->state == WRITE_LOST) write->void_after = zxid;
    }
}

/* --- facts --- */

void tree_history_tell(struct tree_history *history, const struct tree_fact *fact)
{
    GROW(history->facts, history->fact_count, history->fact_capacity);
    history->facts[history->fact_count++] = *fact;
}

void tree_history_tell_children(struct tree_history *history, int line, int64_t zxid, int parent,
                                const int *children, size_t count)
{
    struct tree_fact fact = {.kind = FACT_CHILDREN,
                             .zxid = zxid,
                             .path = parent,
                             .line = line,
                             .first = history->listed_count,
                             .count = count};
    for (size_t i = 0; i < count; i++) {
        GROW(history->listed, history->listed_count, history->listed_capacity);
        history->listed[history->listed_count++] = children[i];
    }
    tree_history_tell(history, &fact);
}

/* --- sessions and connections --- */

int tree_history_open(struct tree_history *history, int64_t id)
{
    for (size_t i = 0; i < history->session_count; i++) {
        if (history->sessions[i].id == id) {
            tree_history_fail(history, "session %" PRIx64 " was given twice", (uint64_t)id);
            return (int)i;
        }
    }
    GROW(history->sessions, history->session_count, history->session_capacity);
    history->sessions[history->session_count++] = (struct tree_session){.id = id};
    history->counts.sessions++;
    return (int)history->session_count - 1;
}

int tree_history_line(struct tree_history *history, int guest, int member, int session)
{
    GROW(history->lines, history->line_count, history->line_capacity);
    history->lines[history->line_count++] =
        (struct tree_line){.guest = guest, .member = member, .session = session};
    return (int)history->line_count - 1;
}

void tree_history_note(struct tree_history *history, int line, struct line_entry entry)
{
    struct tree_line *noted = &history->lines[line];
    GROW(noted->entries, noted->count, noted->capacity);
    noted->entries[noted->count++] = entry;
}
