/* list.h: doubly linked lists whose links live in the things they list. A zeroed head must be list_init'ed.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
/* Walks a list; the current item may be removed while walking. */
#define LIST_EACH(head, item)                                                                                \
    for (struct list *item = (head)->next, *item##_next = item->next; item != (head);                        \
         item = item##_next, item##_next = item->next)

static inline void list_init(struct list *list)
{
    list->next = list->prev = list;
}
static inline bool list_empty(const struct list *list)
{
    return list->next == list;
}
static inline void list_push_back(struct list *head, struct list *item)
{
    item->prev = head->prev;
    item->next = head;
    head->prev->next = item;
    head->prev = item;
}
static inline void list_push_front(struct list *head, struct list *item)
{
    list_push_back(head->next, item);
}
/* Safe on an item that is in no list but was initialised; leaves it initialised. */
static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}
