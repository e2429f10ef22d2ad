/* Memory: one function that all of the library's memory comes from, growing arrays, bump
 * allocators and aligned blocks on top of it. Every function leaves what it was given as it was
 * when there is no memory, so that an error of this kind is like any other.
 *
 * 64 bytes: a cache line, and the width of the widest vectors. */
#if defined(__linux__)
#define _DEFAULT_SOURCE         /* madvise */
#include <sys/mman.h>
#if defined(MADV_HUGEPAGE) && !defined(MADV_COLLAPSE)
#define MADV_COLLAPSE 25        /* since Linux 6.1; older headers do not know it */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  /* since Linux 5.14 */
#endif
#endif
#include <stdatomic.h>
#include <stdlib.h>
#include "graph/internal.h"

enum { LINE = 64, PIECE = 16 };

static ur_allocator *user_allocate;
static void *user_data;

void ur_set_allocator(ur_allocator *allocate, void *user)
{
    user_allocate = allocate;
    user_data = user;
}

void *ur__realloc(void *old, size_t old_bytes, size_t new_bytes)
{
    if (!old && !new_bytes)
        return NULL;
    if (user_allocate)
        return user_allocate(user_data, old, old_bytes, new_bytes);
    if (new_bytes)
        return realloc(old, new_bytes);
    free(old);
    return NULL;
}

/* Elements that a growing array is to have room for; 0 when there cannot be so many. */
static size_t next_cap(size_t cap, size_t n, size_t size)
{
    size_t most = PTRDIFF_MAX / size;
    size_t wanted = cap < 8 ? 8 : cap > most / 2 ? most : 2 * cap;
    wanted = wanted < n ? n : wanted;
    return wanted > most ? 0 : wanted;
}

bool ur__reserve(void *array_pointer, size_t *cap, size_t n, size_t size)
{
    if (n <= *cap)
        return true;
    const size_t wanted = next_cap(*cap, n, size);
    void *array;        /* the array's pointer has a type of its own: copied, not cast */
    memcpy(&array, array_pointer, sizeof array);
    if (!wanted || !(array = ur__realloc(array, *cap * size, wanted * size)))
        return false;
    memcpy(array_pointer, &array, sizeof array);
    *cap = wanted;
    return true;
}

static char *align(void *p, size_t to)
{
    return (char *)p + (-(uintptr_t)p & (to - 1));
}

/* --------------------------------------------------------------------------------------- bump */

struct ur__chunk {
    ur__chunk *next;
    char *data;         /* aligned */
    size_t room;
};

/* Bytes of a chunk as it was allocated. */
static size_t chunk_bytes(const ur__chunk *c)
{
    return sizeof *c + LINE - 1 + c->room;
}

/* The chunk to go on in when the present one is full: one of those kept by a reset, moved here, or
 * a new one. A new one is as large as all so far, up to a megabyte, so there are few. */
static ur__chunk *next_chunk(ur__bump *b, size_t bytes)
{
    enum { LEAST = 4096, MOST = 1 << 20 };
    ur__chunk **here = b->now ? &b->now->next : &b->first, **link = here, *c;
    while ((c = *link) != NULL && c->room < bytes)
        link = &c->next;
    if (c) {
        *link = c->next;
    } else {
        size_t room = b->bytes < LEAST ? LEAST : b->bytes > MOST ? MOST : b->bytes;
        room &= ~(size_t)(LINE - 1);
        room = bytes > room ? bytes : room;
        c = ur__realloc(NULL, 0, sizeof *c + LINE - 1 + room);
        if (!c)
            return NULL;
        c->data = align(c + 1, LINE);
        c->room = room;
        b->bytes += chunk_bytes(c);
    }
    c->next = *here;
    *here = c;
    b->next = c->data;
    b->room = c->room;
    return b->now = c;
}

void *ur__bump_take_next(ur__bump *b, size_t bytes)
{
    if (bytes > PTRDIFF_MAX / 2)
        return NULL;
    bytes = bytes ? (bytes + PIECE - 1) & ~(size_t)(PIECE - 1) : PIECE;
    return bytes <= b->room || next_chunk(b, bytes) ? ur__bump_take(b, bytes) : NULL;
}

void *ur__bump_alloc(ur__bump *b, size_t bytes)
{
    void *p = ur__bump_take(b, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

bool ur__bump_grow(ur__bump *b, void *array_pointer, size_t *cap, size_t n, size_t size)
{
    const size_t wanted = next_cap(*cap, n, size);
    void *old, *array;
    if (!wanted || !(array = ur__bump_take(b, wanted * size)))
        return false;
    memcpy(&old, array_pointer, sizeof old);
    if (*cap)
        memcpy(array, old, *cap * size);
    memcpy(array_pointer, &array, sizeof array);
    *cap = wanted;
    return true;
}

void ur__bump_reset(ur__bump *b)
{
    b->now = NULL;      /* the next piece enters the first chunk that is large enough */
    b->room = 0;
}

void ur__bump_give(ur__bump *b, ur__bump *to)
{
    ur__chunk **rest = b->now ? &b->now->next : &b->first, **end = rest;
    for (; *end; end = &(*end)->next) {
        b->bytes -= chunk_bytes(*end);
        to->bytes += chunk_bytes(*end);
    }
    if (end == rest)
        return;
    *end = to->first;
    to->first = *rest;
    *rest = NULL;
}

void ur__bump_lend(ur__bump *b, const ur__block *block)
{
    ur__chunk *c = (ur__chunk *)block->p;
    if (block->bytes < sizeof *c + LINE)
        return;
    c->data = align(c + 1, LINE);
    c->room = (size_t)(block->p + block->bytes - c->data) & ~(size_t)(PIECE - 1);
    c->next = b->first;
    b->first = c;
    ur__bump_reset(b);
}

void ur__bump_return(ur__bump *b, const ur__block *block)
{
    for (ur__chunk **link = &b->first; *link; link = &(*link)->next)
        if ((char *)*link == block->p) {
            *link = (*link)->next;
            break;
        }
    ur__bump_reset(b);
}

void ur__bump_free(ur__bump *b)
{
    for (ur__chunk *c = b->first, *next; c; c = next) {
        next = c->next;
        ur__realloc(c, chunk_bytes(c), 0);
    }
    *b = (ur__bump){ 0 };
}

/* -------------------------------------------------------------------------------------- blocks */

/* Large blocks are walked from end to end in every run; with pages of 2 MB that is up to a tenth
 * faster. But such a page can take the system several milliseconds, most of all where a virtual
 * machine has lent its free ones to its host, and a program of a few steps would do little else.
 * So a block has large pages from the beginning only as long as the system has them at hand. The
 * rest begins with ordinary pages, and what is in use of it moves to large ones as it proves to
 * last: from an age of START_NS on, for a tenth of its age, so that the five blocks of a training
 * loop take less than half of the time together. A block begins where a large page does, as far as
 * that costs addresses and no memory: a user's allocator is not asked for more. */
#if defined(__linux__) && defined(MADV_HUGEPAGE)
enum { LARGE = 2 << 20 };
#else
enum { LARGE = LINE };
#endif

static size_t alignment(size_t bytes)
{
    return user_allocate || bytes < (size_t)LARGE ? LINE : LARGE;
}

static void take_block(ur__block *b, void *raw, size_t bytes)
{
    *b = (ur__block){ .p = align(raw, alignment(bytes)), .raw = raw, .bytes = bytes };
    b->born_ns = bytes < (size_t)LARGE ? 0 : ur__now_ns();
}

#if defined(__linux__) && defined(MADV_HUGEPAGE)
/* Whether a large page was not at hand. */
static atomic_bool large_are_slow;

/* Where the system does not move a page now it is asked to do so when it has time; one that was
 * never written is not there yet, and comes when it is. */
static void make_large(char *page, bool write)
{
    if (madvise(page, LARGE, MADV_COLLAPSE) != 0 &&
        madvise(page, LARGE, MADV_HUGEPAGE) == 0 && write)
        madvise(page, LARGE, MADV_POPULATE_WRITE);
}

void ur__block_settle(ur__block *b, size_t used, bool all)
{
    const double START_NS = 2e8, SHARE = 0.1, AT_HAND_NS = 1e6;
    const size_t before = -(uintptr_t)b->p & (LARGE - 1);       /* the first large page */
    while (before + b->large + LARGE <= used) {
        const double begin = ur__now_ns(), age = begin - b->born_ns;
        if (age < START_NS ? atomic_load(&large_are_slow)
                           : b->settling_ns > SHARE * (age - START_NS))
            return;
        make_large(b->p + before + b->large, all);
        const double taken = ur__now_ns() - begin;
        if (taken > AT_HAND_NS)
            atomic_store(&large_are_slow, true);
        b->large += LARGE;
        b->settling_ns += taken;
    }
}
#else
void ur__block_settle(ur__block *b, size_t used, bool all)
{
    (void)b, (void)used, (void)all;
}
#endif

void ur__ahead(void *p, size_t bytes)
{
#if defined(__linux__)
    enum { PAGE = 4096, LEAST = 4 * PAGE };
    char *const end = (char *)p + bytes, *const begin = align(p, PAGE);
    if (bytes >= LEAST)
        madvise(begin, (size_t)(end - begin), MADV_POPULATE_WRITE);
#else
    (void)p, (void)bytes;
#endif
}

/* A new block of `bytes`, or of `more` if there is memory for it. */
static bool new_block(ur__block *b, size_t bytes, size_t more)
{
    if (bytes > PTRDIFF_MAX - LARGE)
        return false;
    size_t room = more < bytes ? bytes : more;
    void *raw = ur__realloc(NULL, 0, room + alignment(room));
    if (!raw && room > bytes) {
        room = bytes;
        raw = ur__realloc(NULL, 0, room + alignment(room));
    }
    if (!raw)
        return false;
    take_block(b, raw, room);
    return true;
}

/* Memory that comes straight from the system is zero, and costs nothing until it is written. */
bool ur__block_zeros(ur__block *b, size_t bytes)
{
    if (user_allocate) {
        if (!new_block(b, bytes, 0))
            return false;
        memset(b->p, 0, b->bytes);
        return true;
    }
    void *raw = bytes <= PTRDIFF_MAX - LARGE ? calloc(1, bytes + alignment(bytes)) : NULL;
    if (!raw)
        return false;
    take_block(b, raw, bytes);
    return true;
}

/* Exact at first, by half at least from then on: a block that grows often is copied seldom. */
bool ur__block_grow(ur__block *b, size_t bytes)
{
    ur__block old = *b;
    if (bytes <= b->bytes && b->raw)
        return true;
    if (!new_block(b, bytes, b->bytes + b->bytes / 2))
        return false;
    if (old.bytes)
        memcpy(b->p, old.p, old.bytes);
    ur__block_free(&old);
    return true;
}

/* By an eighth, since nothing is copied and the old block is gone before the new one is there. */
bool ur__block_renew(ur__block *b, size_t bytes)
{
    const size_t more = b->bytes + b->bytes / 8;
    if (bytes <= b->bytes && b->raw)
        return true;
    ur__block_free(b);
    return new_block(b, bytes, more);
}

void ur__block_reserve(ur__block *b, size_t bytes)
{
    if (!user_allocate)
        ur__block_renew(b, bytes);
}

void ur__block_free(ur__block *b)
{
    if (b->raw)
        ur__realloc(b->raw, b->bytes + alignment(b->bytes), 0);
    *b = (ur__block){ 0 };
}
