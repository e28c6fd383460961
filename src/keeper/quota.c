#include "keeper/quota.h"

#include <assert.h>
#include <stdlib.h>

#include "base/text.h"

enum { FIGURES_MAX = 16 };

#define LIMITS SLICE("zookeeper_limits")
#define STATS SLICE("zookeeper_stats")

/* Named numbers, as they stand in limits and stats. Names are loans from the znode's data. */
struct figures {
    struct {
        struct slice name;
        int64_t value;
    } items[FIGURES_MAX];
    size_t count;
};

static int64_t *figure(struct figures *figures, struct slice name)
{
    for (size_t i = 0; i < figures->count; i++) {
        if (slice_equal(figures->items[i].name, name)) return &figures->items[i].value;
    }
    return NULL;
}

static int64_t figure_get(struct figures *figures, const char *name)
{
    const int64_t *value = figure(figures, slice_of(name));
    return value ? *value : -1;
}

static bool figure_set(struct figures *figures, struct slice name, int64_t value)
{
    int64_t *known = figure(figures, name);
    if (known) {
        *known = value;
        return true;
    }
    if (figures->count == FIGURES_MAX) return false;
    figures->items[figures->count].name = name;
    figures->items[figures->count++].value = value;
    return true;
}

static struct slice take_until(struct slice *rest, const char *marks)
{
    size_t size = 0;
    while (size < rest->size && !strchr(marks, rest->data[size])) size++;
    struct slice taken = {rest->data, size};
    rest->data += size;
    rest->size -= size;
    return taken;
}

/* "name=value" parts between commas and semicolons. An empty value is -1; what comes behind a second '=' is not looked at. */
static bool figures_parse(struct slice text, struct figures *figures)
{
    *figures = (struct figures){0};
    if (!text.data) return false;
    while (text.size > 0) {
        struct slice part = take_until(&text, ",;");
        while (text.size > 0 && strchr(",;", text.data[0])) text.data++, text.size--;
        struct slice name = take_until(&part, "=");
        if (part.size < 2) return false; /* no '=', or nothing behind it */
        part.data++, part.size--;
        struct slice digits = take_until(&part, "=");
        if (digits.size == 0 && part.size < 2) return false;
        int64_t value = -1;
        if (digits.size > 1 && digits.data[0] == '+') digits.data++, digits.size--;
        if (digits.size > 0 && !slice_to_int64(digits, INT64_MIN, INT64_MAX, &value)) return false;
        if (!figure_set(figures, name, value)) return false;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct slice *x = a, *y = b; /* the name is an item's first field */
    size_t size = x->size < y->size ? x->size : y->size;
    int order = size ? memcmp(x->data, y->data, size) : 0;
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* count and bytes first, for old readers; the '=' makes those overlook the rest. */
static void figures_print(struct figures *figures, struct text *out)
{
    text_addf(out, "count=%lld,bytes=%lld", (long long)figure_get(figures, "count"),
              (long long)figure_get(figures, "bytes"));
    qsort(figures->items, figures->count, sizeof figures->items[0], by_name);
    bool is_first = true;
    for (size_t i = 0; i < figures->count; i++) {
        struct slice name = figures->items[i].name;
        if (slice_is(name, "count") || slice_is(name, "bytes")) continue;
        if (is_first) text_addc(out, '=');
        is_first = false;
        text_addc(out, ';');
        text_add(out, name);
        text_addf(out, "=%lld", (long long)figures->items[i].value);
    }
}

struct znode *quota_of(const struct tree *tree, struct slice path)
{
    struct znode *at = tree->quotas, *found = NULL;
    if (!at || znode_child_count(tree, at) == 0) return NULL;
    while (path.size > 0 && at) {
        path.data++, path.size--; /* the '/' */
        at = tree_child(tree, at, take_until(&path, "/"));
        if (at && tree_child(tree, at, LIMITS)) found = at;
    }
    return found;
}

enum error quota_check(const struct tree *tree, const struct znode *quota, int64_t bytes_more,
                       int64_t count_more, bool *is_over)
{
    const struct znode *limits = tree_child(tree, quota, LIMITS), *stats = tree_child(tree, quota, STATS);
    struct figures may, has;
    *is_over = false;
    if (!limits) return OK;
    if (!figures_parse(znode_data(tree, limits), &may)) return ERR_ZK_MARSHALLING;
    int64_t count_hard = figure_get(&may, "countHardLimit"), bytes_hard = figure_get(&may, "byteHardLimit");
    int64_t count_max = count_hard > -1 ? count_hard : figure_get(&may, "count");
    int64_t bytes_max = bytes_hard > -1 ? bytes_hard : figure_get(&may, "bytes");
    bool counts = count_more != 0 && count_max > -1, weighs = bytes_more != 0 && bytes_max > -1;
    if (!stats || (!counts && !weighs)) return OK;
    if (!figures_parse(znode_data(tree, stats), &has)) return ERR_ZK_MARSHALLING;
    bool is_full = counts && figure_get(&has, "count") + count_more > count_max;
    bool is_heavy = weighs && figure_get(&has, "bytes") + bytes_more > bytes_max;
    *is_over = is_full || is_heavy;
    bool is_refused = (is_full && count_hard > -1) || (is_heavy && bytes_hard > -1);
    return is_refused ? ERR_ZK_QUOTA_EXCEEDED : OK;
}

static void stats_write(struct tree *tree, struct znode *stats, struct figures *figures)
{
    struct text data = {0};
    figures_print(figures, &data);
    assert(!data.failed);
    tree_keep_data(tree, stats, text_slice(&data));
    text_free(&data);
}

void quota_add(struct tree *tree, struct slice path, int64_t bytes_more, int64_t count_more)
{
    struct znode *quota = quota_of(tree, path);
    struct znode *stats = quota ? tree_child(tree, quota, STATS) : NULL;
    struct figures figures;
    /* What a client wrote there and is no figures stays as it is. */
    if (!stats || !figures_parse(znode_data(tree, stats), &figures)) return;
    uint64_t count = (uint64_t)figure_get(&figures, "count") + (uint64_t)count_more;
    uint64_t bytes = (uint64_t)figure_get(&figures, "bytes") + (uint64_t)bytes_more;
    if (!figure_set(&figures, SLICE("count"), (int64_t)count)) return;
    if (!figure_set(&figures, SLICE("bytes"), (int64_t)bytes)) return;
    stats_write(tree, stats, &figures);
}

/* The znode that `quota`, below /zookeeper/quota, stands for; NULL when there is none. */
static const struct znode *ruled(const struct tree *tree, const struct znode *quota)
{
    if (quota == tree->quotas) return tree->root;
    const struct znode *parent = ruled(tree, znode_parent(tree, quota));
    return parent ? tree_child(tree, parent, znode_name(quota)) : NULL;
}

static bool is_below(const struct tree *tree, const struct znode *node, const struct znode *ancestor)
{
    while (node && node != ancestor) node = znode_parent(tree, node);
    return node != NULL;
}

void quota_made(struct tree *tree, struct znode *node)
{
    struct znode *quota = znode_parent(tree, node);
    if (!tree->quotas || !slice_equal(znode_name(node), STATS) || !is_below(tree, quota, tree->quotas))
        return;
    if (quota == tree->quotas) return; /* the root has none */
    const struct znode *top = ruled(tree, quota);
    struct figures figures = {0};
    int64_t bytes = 0, count = 0;
    for (const struct znode *at = top; at;) {
        count++;
        bytes += znode_data_size(at);
        at = znode_next_below(tree, top, at);
    }
    bool has_room =
        figure_set(&figures, SLICE("count"), count) && figure_set(&figures, SLICE("bytes"), bytes);
    assert(has_room);
    stats_write(tree, node, &figures);
}
