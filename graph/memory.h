/* memory.h: where the library gets its memory, and how it deals it out: arrays that grow, pieces
 * that live until all of them go, aligned blocks. */
#ifndef UR_MEMORY_H
#define UR_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The allocator's three uses in one call; see ur_allocator. */
void *ur__realloc(void *old, size_t old_bytes, size_t new_bytes);

/* Makes room for n elements in a growing array of elements of `size` bytes: doubles. */
bool ur__reserve(void *array_pointer, size_t *cap, size_t n, size_t size);

/* A bump allocator: pieces that live until the whole is reset (chunks kept) or freed. */
typedef struct ur__chunk ur__chunk;
typedef struct ur__bump {
    ur__chunk *first, *now;
    char *next;                 /* where in `now` the next piece begins, */
    size_t room;                /* and how many bytes are left there */
    size_t bytes;               /* held in chunks */
} ur__bump;
/* A piece that does not fit into what is left of the chunk under way. */
void *ur__bump_take_next(ur__bump *b, size_t bytes);
/* 16-byte aligned, zeroed or (take) as they come; NULL without memory. */
void *ur__bump_alloc(ur__bump *b, size_t bytes);
/* ur__reserve for an array among the pieces, which nobody frees. */
bool ur__bump_grow(ur__bump *b, void *array_pointer, size_t *cap, size_t n, size_t size);
static inline bool ur__bump_reserve(ur__bump *b, void *array_pointer, size_t *cap, size_t n,
                                    size_t size)
{
    return n <= *cap || ur__bump_grow(b, array_pointer, cap, n, size);
}
static inline void *ur__bump_take(ur__bump *b, size_t bytes)
{
    if (bytes - 1 >= b->room)   /* none at all, too */
        return ur__bump_take_next(b, bytes);
    const size_t piece = (bytes + 15) & ~(size_t)15;
    char *p = b->next;
    b->next += piece;
    b->room -= piece;
    return p;
}
void ur__bump_reset(ur__bump *b);
/* Hands over the chunks that b has not begun, after a reset all, to another one, likewise reset. */
void ur__bump_give(ur__bump *b, ur__bump *to);
void ur__bump_free(ur__bump *b);

/* A 64-byte aligned block that only grows; contents are kept. */
typedef struct ur__block {
    char *p;                    /* aligned */
    void *raw;
    size_t bytes;
    size_t large;               /* bytes that have settled, and what that took */
    double born_ns, settling_ns;
} ur__block;
bool ur__block_zeros(ur__block *b, size_t bytes);       /* a new one, of zeros */
bool ur__block_grow(ur__block *b, size_t bytes);
bool ur__block_renew(ur__block *b, size_t bytes);       /* what was in it is lost if it grows */
/* The same where memory that is never written costs nothing: not with a user's allocator. */
void ur__block_reserve(ur__block *b, size_t bytes);
/* To be called before a block is used, and now and then while it is: moves its first `used` bytes
 * to large pages, little by little. Contents and addresses stay. all: every page of them is or will
 * be written; else a large page of which nothing was written takes no memory, but others all of
 * it. */
void ur__block_settle(ur__block *b, size_t used, bool all);
/* To be called for what was never written, and is read before it is: the system, which gives memory
 * when it is written, would else give a page of zeros first and then another one. Contents stay.
 * Where the system cannot, nothing happens. */
void ur__ahead(void *p, size_t bytes);
void ur__block_free(ur__block *b);
/* Between the two the pieces of b come from the block first; they end with the return. */
void ur__bump_lend(ur__bump *b, const ur__block *block);
void ur__bump_return(ur__bump *b, const ur__block *block);

#endif
