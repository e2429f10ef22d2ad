/* emit.h: what the files that append steps share. Bodies are taken from the plan's memory, not
 * zeroed; the steps themselves lie in scratch memory until all are there. */
#ifndef UR_EMIT_H
#define UR_EMIT_H

#include "graph/plan/plan.h"

bool ur__more_steps(ur__work *w);                       /* room for one at least */

/* A body of NULL means that there was no memory for it. */
static inline ur__step *ur__add_step(ur__work *w, ur__what what, uint32_t node, void *body)
{
    if (!body && what != UR__PACK) {
        ur__out_of_memory(&w->g->owner);
        return NULL;
    }
    if (w->p->n_steps == w->step_cap && !ur__more_steps(w))
        return NULL;
    ur__step *s = &w->p->step[w->p->n_steps++];
    *s = (ur__step){ .what = what, .node = node, .body = body };
    return s;
}

bool ur__emit_program(ur__work *w, uint32_t unit);
bool ur__emit_contraction(ur__work *w, uint32_t node, const uint32_t *terms, size_t n_terms,
                          int write, uint32_t slot);
bool ur__emit_call(ur__work *w, uint32_t node);

/* pack.c: says which right operands are worth panels; rows of a product's result, those of a batch
 * apart; whether its right operand is a parameter that the plan changes, so that its panels would
 * serve one run only, and is not worth them. */
enum { UR__FEW_ROWS = 4 };              /* of a product for which nothing is worth a copy */
void ur__find_thick(ur__work *w);
size_t ur__product_rows(const ur__work *w, uint32_t product);
bool ur__panels_pass(const ur__work *w, uint32_t product);
/* Puts a panel in the place of t's right operand, which has n columns, if it is worth one. */
bool ur__pack(ur__work *w, uint32_t product, ur__term *t, ptrdiff_t n);

/* Above 32 bits of an operand's number: what is below is its panel, as it is or transposed. */
static inline uint64_t ur__panel_stamp(bool transposed)
{
    return (uint64_t)(UINT32_MAX - transposed) << 32;
}
/* The steps of a recurrence have the same right operand: its panel is looked for once. */
static inline bool ur__known_panel(const ur__work *w, uint32_t right, bool transposed, ur__term *t)
{
    const uint64_t known = w->number[right];
    if ((known ^ ur__panel_stamp(transposed)) >> 32)
        return false;
    t->b = (ur__loc){ UR__PANELS, w->g->panel[(uint32_t)known].offset };
    t->b_k = t->b_n = 0;
    return true;
}

/* emit_move.c: slices and concats that are no views; x to y, where it has strides y_step; the
 * operand of a pad to its place in y. */
bool ur__emit_slice(ur__work *w, uint32_t node);
bool ur__emit_concat(ur__work *w, uint32_t node);
bool ur__emit_part(ur__work *w, uint32_t node, uint32_t x, ur__loc y, const ptrdiff_t *y_step,
                   int write, uint32_t slot);
bool ur__emit_padded(ur__work *w, uint32_t node, uint32_t pad, ur__loc place, int write,
                     uint32_t slot);
ur__loc ur__pad_place(const ur__work *w, uint32_t pad, ur__loc y);

/* Whether x lies at y already, inside the memory of `of`, so that computing it was writing it. An
 * operand twice can lie in one of its places only. */
static inline bool ur__lies_in(const ur__work *w, uint32_t x, uint32_t of, ur__loc y)
{
    return w->root[x] == of && w->role[x] != R_ALIAS && ur__where(w, x).offset == y.offset;
}

#endif
