#include "history.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

#define PUSH(items, count, capacity)                                                                         \
    (VEC_RESERVE(items, count, capacity) ? memset(&(items)[(count)++], 0, sizeof *(items)) : (abort(), NULL))

/* --- records --- */

static uint8_t filling_byte(struct record_id id, uint32_t at)
{
    return (uint8_t)(id.writer * 31 + id.counter * 7 + at);
}

void record_write(struct text *value, struct record_id id, uint32_t filling)
{
    text_reset(value);
    text_add_be32(value, id.writer);
    text_add_be64(value, id.counter);
    text_add_be32(value, filling);
    for (uint32_t i = 0; i < filling; i++) text_addc(value, (char)filling_byte(id, i));
}

bool record_read(struct slice value, struct record_id *id)
{
    if (!value.data || value.size < RECORD_HEAD) return false;
    struct record_id read = {get_be32(value.data), get_be64(value.data + 4)};
    uint32_t filling = get_be32(value.data + 12);
    if (value.size != RECORD_HEAD + (size_t)filling) return false;
    for (uint32_t i = 0; i < filling; i++) {
        if (value.data[RECORD_HEAD + i] != filling_byte(read, i)) return false;
    }
    *id = read;
    return true;
}

/* --- history --- */

void history_free(struct history *history)
{
    for (size_t i = 0; i < history->partition_count; i++) free(history->partitions[i].slots);
    for (size_t i = 0; i < history->commits_count; i++) free(history->commits[i].items);
    free(history->partitions);
    free(history->writers);
    free(history->commits);
    free(history->claims);
    free(history->topics);
    free(history->producer_ids);
    text_free(&history->fault);
    *history = (struct history){0};
}

void history_fail(struct history *history, const char *format, ...)
{
    if (history_has_fault(history)) return;
    char words[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    text_addz(&history->fault, words);
}

size_t history_add_partition(struct history *history, const char *topic, int32_t index)
{
    struct history_partition *partition =
        PUSH(history->partitions, history->partition_count, history->partition_capacity);
    slice_text(slice_of(topic), partition->topic, sizeof partition->topic);
    partition->index = index;
    return history->partition_count - 1;
}

size_t history_find_partition(const struct history *history, struct slice topic, int32_t index)
{
    for (size_t i = 0; i < history->partition_count; i++) {
        if (history->partitions[i].index == index && slice_is(topic, history->partitions[i].topic)) return i;
    }
    return SIZE_MAX;
}

uint32_t history_add_writer(struct history *history, size_t partition)
{
    struct history_writer *writer = PUSH(history->writers, history->writer_count, history->writer_capacity);
    writer->partition = partition;
    return (uint32_t)history->writer_count - 1;
}

void history_power_cut(struct history *history)
{
    if (history->is_durable) return;
    history->was_lossy = true;
    history->losses++;
    for (size_t i = 0; i < history->partition_count; i++) {
        struct history_partition *partition = &history->partitions[i];
        partition->seen_end = 0;
        for (size_t o = 0; o < partition->count; o++) {
            struct history_slot *slot = &partition->slots[o];
            if (slot->state == SLOT_KNOWN)
                *slot = (struct history_slot){slot->id, history->losses, SLOT_MAYBE};
            if (slot->state == SLOT_ALONE) slot->state = SLOT_UNKNOWN;
        }
    }
    for (size_t i = 0; i < history->commits_count; i++) history->commits[i].is_any = true;
    history->claim_count = 0; /* generations may come again */
}

/* --- records --- */

static bool is_same(struct record_id a, struct record_id b)
{
    return a.writer == b.writer && a.counter == b.counter;
}

/* Room for the offset; NULL when nobody can have written that record here. */
static struct history_slot *slot_for(struct history *history, size_t at, int64_t offset, struct record_id id,
                                     const char *how)
{
    struct history_partition *partition = &history->partitions[at];
    if (id.writer >= history->writer_count || history->writers[id.writer].partition != at ||
        id.counter >= history->writers[id.writer].next) {
        history_fail(history,
                     "%s-%d offset %" PRId64 " %s: record %" PRIu32 ":%" PRIu64 " that nobody wrote here",
                     partition->topic, partition->index, offset, how, id.writer, id.counter);
        return NULL;
    }
    while ((int64_t)partition->count <= offset) {
        PUSH(partition->slots, partition->count, partition->capacity);
    }
    return &partition->slots[offset];
}

/* What one leader had alone is not there: may it be lost? */
static void judge_lost(struct history *history, const struct history_partition *partition, int64_t offset,
                       const struct history_slot *slot, int32_t epoch)
{
    history->counts.lost++;
    if (partition->leader_epoch > epoch) return;
    history_fail(history,
                 "%s-%d offset %" PRId64 ": record %" PRIu32 ":%" PRIu64
                 " was acknowledged in leader epoch %d and is gone without an election",
                 partition->topic, partition->index, offset, slot->id.writer, slot->id.counter, epoch);
}

static void put(struct history *history, size_t at, int64_t offset, struct record_id id, const char *how)
{
    struct history_partition *partition = &history->partitions[at];
    struct history_slot *slot = slot_for(history, at, offset, id, how);
    if (!slot) return;
    bool is_equal = slot->state != SLOT_UNKNOWN && is_same(slot->id, id);
    if (slot->state == SLOT_KNOWN && !is_equal) {
        history_fail(history,
                     "%s-%d offset %" PRId64 " was record %" PRIu32 ":%" PRIu64 " and %s as %" PRIu32
                     ":%" PRIu64,
                     partition->topic, partition->index, offset, slot->id.writer, slot->id.counter, how,
                     id.writer, id.counter);
        return;
    }
    if (slot->state == SLOT_ALONE && !is_equal) judge_lost(history, partition, offset, slot, slot->epoch);
    if (slot->state == SLOT_MAYBE) {
        /* What a power cut leaves is a prefix. */
        size_t from = is_equal ? 0 : (size_t)offset, end = is_equal ? (size_t)offset : partition->count;
        for (size_t o = from; o < end; o++) {
            struct history_slot *other = &partition->slots[o];
            if (other->state != SLOT_MAYBE) continue;
            /* What an earlier loss left open stays so. */
            if (!is_equal)
                other->state = SLOT_UNKNOWN;
            else if (other->epoch == slot->epoch)
                other->state = SLOT_KNOWN;
        }
    }
    slot->id = id;
    slot->state = SLOT_KNOWN;
}

void history_acknowledged(struct history *history, size_t partition, int64_t base_offset,
                          struct record_id first, uint64_t count)
{
    if (base_offset < 0) {
        history_fail(history, "%s-%d: acknowledged at offset %" PRId64, history->partitions[partition].topic,
                     history->partitions[partition].index, base_offset);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        struct record_id id = {first.writer, first.counter + i};
        put(history, partition, base_offset + (int64_t)i, id, "acknowledged");
    }
    history->counts.acknowledged += (int64_t)count;
}

/* A deposed leader may have acknowledged it where there is another already. */
static void put_alone(struct history *history, size_t at, int64_t offset, struct record_id id, int32_t epoch)
{
    struct history_partition *partition = &history->partitions[at];
    struct history_slot *slot = slot_for(history, at, offset, id, "acknowledged by one");
    if (!slot || (slot->state != SLOT_UNKNOWN && is_same(slot->id, id))) return;
    if (slot->state == SLOT_MAYBE) return; /* after a loss: who reads here will know */
    struct history_slot added = {id, epoch, SLOT_ALONE};
    bool is_first = slot->state == SLOT_ALONE && slot->epoch < epoch;
    if (is_first)
        judge_lost(history, partition, offset, slot, slot->epoch);
    else if (slot->state != SLOT_UNKNOWN)
        judge_lost(history, partition, offset, &added, epoch);
    if (is_first || slot->state == SLOT_UNKNOWN) *slot = added;
}

void history_acknowledged_alone(struct history *history, size_t partition, int64_t base_offset,
                                struct record_id first, uint64_t count, int32_t epoch)
{
    if (base_offset < 0) return; /* a leader that could not say where it is */
    for (uint64_t i = 0; i < count; i++) {
        struct record_id id = {first.writer, first.counter + i};
        put_alone(history, partition, base_offset + (int64_t)i, id, epoch);
    }
    history->counts.acknowledged += (int64_t)count;
}

void history_leader(struct history *history, struct slice topic, int32_t index, int32_t epoch)
{
    size_t at = history_find_partition(history, topic, index);
    if (at != SIZE_MAX) history->partitions[at].leader_epoch = epoch;
}

void history_read(struct history *history, size_t partition, int64_t offset, struct record_id id)
{
    put(history, partition, offset, id, "read");
    struct history_partition *read = &history->partitions[partition];
    if (offset >= read->seen_end) read->seen_end = offset + 1;
    history->counts.read++;
}

void history_read_whole(struct history *history, size_t at, int64_t start, const struct record_id *ids,
                        size_t count)
{
    struct history_partition *partition = &history->partitions[at];
    uint64_t *next = calloc(history->writer_count + 1, sizeof *next);
    if (!next) abort();
    if (start > partition->asked_start) {
        history_fail(history, "%s-%d begins at %" PRId64 ", and %" PRId64 " is the most that was asked for",
                     partition->topic, partition->index, start, partition->asked_start);
    }
    for (size_t o = 0; o < count && !history_has_fault(history); o++) {
        int64_t offset = start + (int64_t)o;
        history_read(history, at, offset, ids[o]);
        if (history_has_fault(history)) break;
        if (history->writers[ids[o].writer].is_loose) continue;
        uint64_t *expected = &next[ids[o].writer]; /* 0: of a writer whose first records may be deleted */
        /* A loss makes the broker forget a producer, and who is forgotten may go on anywhere. */
        bool may_skip = history->was_lossy || (start > 0 && *expected == 0);
        bool is_fine = may_skip ? ids[o].counter >= *expected : ids[o].counter == *expected;
        if (!is_fine) {
            history_fail(history,
                         "%s-%d offset %" PRId64 ": record %" PRIu32 ":%" PRIu64
                         " where its writer's %" PRIu64 " was due (%s)",
                         partition->topic, partition->index, offset, ids[o].writer, ids[o].counter, *expected,
                         ids[o].counter < *expected ? "doubled or out of order" : "a gap");
        }
        *expected = ids[o].counter + 1;
    }
    for (size_t o = (size_t)start + count; o < partition->count; o++) {
        struct history_slot *slot = &partition->slots[o];
        if (slot->state == SLOT_KNOWN) {
            history_fail(history,
                         "%s-%d ends at %zu, but record %" PRIu32 ":%" PRIu64
                         " was acknowledged or read at %zu",
                         partition->topic, partition->index, (size_t)start + count, slot->id.writer,
                         slot->id.counter, o);
        }
        if (slot->state == SLOT_ALONE) judge_lost(history, partition, (int64_t)o, slot, slot->epoch);
        slot->state = SLOT_UNKNOWN; /* lost for good */
    }
    free(next);
}

int64_t history_known_end(const struct history *history, size_t at)
{
    const struct history_partition *partition = &history->partitions[at];
    size_t end = partition->count;
    while (end > 0 && partition->slots[end - 1].state != SLOT_KNOWN) end--;
    return (int64_t)end;
}

int64_t history_told_end(const struct history *history, size_t at)
{
    const struct history_partition *partition = &history->partitions[at];
    size_t end = partition->count;
    while (end > 0 && partition->slots[end - 1].state != SLOT_KNOWN &&
           partition->slots[end - 1].state != SLOT_ALONE)
        end--;
    return (int64_t)end;
}

void history_producer_id(struct history *history, int64_t producer_id)
{
    for (size_t i = 0; i < history->producer_id_count; i++) {
        if (history->producer_ids[i] == producer_id) {
            history_fail(history, "producer id %" PRId64 " was handed out twice", producer_id);
        }
    }
    int64_t *added = PUSH(history->producer_ids, history->producer_id_count, history->producer_id_capacity);
    *added = producer_id;
    history->counts.producer_ids++;
}

/* --- groups --- */

void history_claimed(struct history *history, size_t group, int32_t generation, size_t partition,
                     struct slice owner)
{
    for (size_t i = 0; i < history->claim_count; i++) {
        struct history_claim *claim = &history->claims[i];
        if (claim->group != group || claim->generation != generation || claim->partition != partition)
            continue;
        if (!slice_is(owner, claim->owner)) {
            history_fail(history, "group %zu generation %d: %s-%d belongs to %s and to %.*s", group,
                         generation, history->partitions[partition].topic,
                         history->partitions[partition].index, claim->owner, SLICE_ARG(owner));
        }
        return;
    }
    struct history_claim *claim = PUSH(history->claims, history->claim_count, history->claim_capacity);
    *claim = (struct history_claim){.group = group, .generation = generation, .partition = partition};
    slice_text(owner, claim->owner, sizeof claim->owner);
    history->counts.claims++;
}

int32_t history_newest(const struct history *history, size_t group)
{
    int32_t newest = 0;
    for (size_t i = 0; i < history->claim_count; i++) {
        const struct history_claim *claim = &history->claims[i];
        if (claim->group == group && claim->generation > newest) newest = claim->generation;
    }
    return newest;
}

bool history_is_newest(const struct history *history, size_t group, int32_t generation)
{
    return history_newest(history, group) <= generation;
}

static struct history_commits *commits_of(struct history *history, size_t group, size_t partition)
{
    for (size_t i = 0; i < history->commits_count; i++) {
        struct history_commits *commits = &history->commits[i];
        if (commits->group == group && commits->partition == partition) return commits;
    }
    struct history_commits *made = PUSH(history->commits, history->commits_count, history->commits_capacity);
    made->group = group;
    made->partition = partition;
    return made;
}

static void drop_commit(struct history_commits *commits, size_t at)
{
    memmove(&commits->items[at], &commits->items[at + 1], (commits->count - at - 1) * sizeof *commits->items);
    commits->count--;
}

static size_t find_commit(const struct history_commits *commits, uint64_t serial)
{
    size_t i = 0;
    while (i < commits->count && commits->items[i].serial != serial) i++;
    return i;
}

uint64_t history_commit_sent(struct history *history, size_t group, size_t partition, int32_t generation,
                             int64_t offset)
{
    struct history_commits *commits = commits_of(history, group, partition);
    struct history_commit *commit = PUSH(commits->items, commits->count, commits->capacity);
    *commit = (struct history_commit){++history->next_serial, offset, generation, COMMIT_SENT};
    return commit->serial;
}

void history_commit_acked(struct history *history, size_t group, size_t partition, uint64_t serial)
{
    struct history_commits *commits = commits_of(history, group, partition);
    history->counts.commits++;
    size_t at = find_commit(commits, serial);
    if (at == commits->count) return; /* a newer generation's stands already */
    struct history_commit acked = commits->items[at];
    commits->items[at].state = COMMIT_ACKED;
    commits->is_any = false;
    for (size_t i = commits->count; i-- > 0;) {
        struct history_commit *other = &commits->items[i];
        if (other->serial == serial) continue;
        /* What an older generation sent cannot come true after it; of its own, only what has no answer. */
        bool is_over = other->generation < acked.generation ||
                       (other->generation == acked.generation && other->state == COMMIT_ACKED);
        if (is_over) drop_commit(commits, i);
    }
}

void history_commit_failed(struct history *history, size_t group, size_t partition, uint64_t serial,
                           bool is_refused)
{
    struct history_commits *commits = commits_of(history, group, partition);
    size_t at = find_commit(commits, serial);
    if (at == commits->count) return;
    if (is_refused)
        drop_commit(commits, at);
    else
        commits->items[at].state = COMMIT_OPEN;
}

void history_committed(struct history *history, size_t group, size_t partition, int64_t offset)
{
    struct history_commits *commits = commits_of(history, group, partition);
    bool was_acked = false, is_sent = false;
    int64_t acked = -1;
    for (size_t i = 0; i < commits->count; i++) {
        is_sent |= commits->items[i].offset == offset;
        if (commits->items[i].state == COMMIT_ACKED) {
            was_acked = true;
            acked = commits->items[i].offset;
        }
    }
    bool is_true = is_sent || (!was_acked && offset < 0);
    if (!is_true && !commits->is_any) {
        history_fail(
            history, "group %zu: %s-%d is committed at %" PRId64 ", but %" PRId64 " was acknowledged", group,
            history->partitions[partition].topic, history->partitions[partition].index, offset, acked);
        return;
    }
    if (commits->is_any) { /* what is found now is what was left */
        commits->is_any = false;
        for (size_t i = commits->count; i-- > 0;) {
            if (commits->items[i].state == COMMIT_ACKED) drop_commit(commits, i);
        }
        if (offset >= 0) {
            struct history_commit *found = PUSH(commits->items, commits->count, commits->capacity);
            *found = (struct history_commit){++history->next_serial, offset, -1, COMMIT_ACKED};
        }
    }
}

void history_out_of_range(struct history *history, size_t group, size_t partition)
{
    if (!history->was_lossy) {
        history_fail(history, "group %zu: its place in %s-%d is out of range", group,
                     history->partitions[partition].topic, history->partitions[partition].index);
    }
    commits_of(history, group, partition)->is_any = true;
}

/* --- topics --- */

struct history_topic *history_find_topic(struct history *history, struct slice name)
{
    for (size_t i = 0; i < history->topic_count; i++) {
        if (slice_is(name, history->topics[i].name)) return &history->topics[i];
    }
    return NULL;
}

void history_topic_made(struct history *history, struct slice name, struct uuid id, int32_t partitions)
{
    struct history_topic *topic = history_find_topic(history, name);
    if (topic) return;
    topic = PUSH(history->topics, history->topic_count, history->topic_capacity);
    slice_text(name, topic->name, sizeof topic->name);
    topic->id = id;
    topic->partitions = partitions;
    history->counts.topics++;
}
