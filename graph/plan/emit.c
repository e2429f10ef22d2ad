/* Emission: units in order of execution become steps with locations. */
#include "graph/plan/emit.h"

bool ur__more_steps(ur__work *w)
{
    ur__plan *p = w->p;
    const size_t cap = w->step_cap ? 2 * w->step_cap : 2 * (size_t)w->n_units + 64;
    ur__step *step = ur__bump_take(&w->g->scratch, cap * sizeof *step);
    if (!step)
        return ur__out_of_memory(&w->g->owner);
    if (p->n_steps)
        memcpy(step, p->step, p->n_steps * sizeof *step);
    p->step = step;
    w->step_cap = cap;
    return true;
}

/* The parameter whose gradient table lies at y, if the plan writes nothing else to it than rows. */
static uint32_t table_at(const ur__work *w, ur__loc y)
{
    if (y.region < UR__VALUES)
        return 0;
    uint32_t slot = ((uint32_t)y.region - UR__VALUES) / 2;
    const ur_params *ps = w->g->slot[slot].store;
    for (size_t k = 0; k < ps->n; k++)
        if (ps->param[k].offset * ur__type_size((int)ps->type) == y.offset)
            return w->p->deposits[slot][k] == UR__BY_ROWS ? (uint32_t)k + 1 : 0;
    return 0;
}

static bool emit_zero(ur__work *w, uint32_t node, ur__loc y, int write, uint32_t slot)
{
    if (write == UR__ADD)               /* what an earlier request deposited stays */
        return true;
    ur__zero *z = ur__bump_take(&w->p->memory, sizeof *z);
    if (!ur__add_step(w, UR__ZERO, node, z))
        return false;
    *z = (ur__zero){ .y = y, .write = write, .slot = slot,
                     .table = write == UR__BY_STAMP ? table_at(w, y) : 0,
                     .bytes = ur__shape_at(w, node)->count *
                              ur__type_size(w->t->node[node].type) };
    return true;
}

static bool emit_scatter(ur__work *w, uint32_t scatter, ur__loc y)
{
    const uint32_t *in = ur__in(w, scatter);
    ur__scatter *s = ur__bump_take(&w->p->memory, sizeof *s);
    if (!ur__add_step(w, UR__SCATTER, scatter, s))
        return false;
    const ur__shape *out = ur__shape_at(w, scatter);
    size_t rows = (size_t)out->s.dim[0];
    *s = (ur__scatter){ .x = ur__where(w, in[0]), .ids = ur__where(w, in[1]), .y = y,
                        .n = ur__shape_at(w, in[1])->count, .rows = rows,
                        .width = rows ? out->count / rows : 0, .type = w->t->node[scatter].type,
                        .table = table_at(w, y) };
    s->slot = s->table ? ((uint32_t)y.region - UR__VALUES) / 2 : 0;
    return true;
}

static bool emit_pad(ur__work *w, uint32_t id)
{
    ur__loc y = ur__where(w, id);
    return emit_zero(w, id, y, UR__OVER, 0) &&
           ur__emit_padded(w, id, id, ur__pad_place(w, id, y), UR__OVER, 0);
}

/* Whether a gradient is nothing but scattered rows. */
static bool only_rows(const ur__work *w, uint32_t id)
{
    if (w->role[id] == R_SCATTER)
        return true;
    if (w->role[id] != R_ACCUMULATE)
        return false;
    for (uint32_t i = 0; i < w->t->node[id].n_in; i++) {
        uint32_t u = ur__in(w, id)[i];
        if ((w->role[u] != R_ABSORBED && w->role[u] != R_ROWS) ||
            w->t->node[u].op->kind != UR_SCATTER)
            return false;
    }
    return true;
}

/* How a deposit writes id's value: a second write to the gradient of a parameter adds. */
static int deposit_mode(ur__work *w, uint32_t deposit, uint32_t id, uint32_t *slot)
{
    const int64_t *a = ur__attr(w, deposit);
    uint8_t *seen = &w->p->deposits[a[0]][a[1]];
    *slot = (uint32_t)a[0];
    int mode = *seen ? UR__ADD : UR__BY_STAMP;
    ur_params *ps = w->g->slot[a[0]].store;
    bool rows = !*seen && only_rows(w, id) && ur__rows_prepare(ps, &ps->param[a[1]]);
    *seen = rows ? UR__BY_ROWS : UR__WHOLE;
    return mode;
}

/* How the memory of id is written. Parts that tile a gradient are written as the first of them. */
static int write_mode(ur__work *w, ur__loc y, uint32_t id, uint32_t *slot)
{
    *slot = 0;
    if (y.region < UR__VALUES)
        return w->stored[id] == UR__SEEDED ? UR__ADD : UR__OVER;
    id = ur__root(w, id);
    uint32_t deposit = w->user[id];
    if (!w->mode[id])
        w->mode[id] = (uint8_t)(1 + deposit_mode(w, deposit, id, slot));
    *slot = (uint32_t)ur__attr(w, deposit)[0];
    return w->mode[id] - 1;
}

/* Rows of a sum of nothing else: the first ones find zeros. */
static bool emit_rows(ur__work *w, uint32_t id)
{
    uint32_t sum = w->root[id], slot;
    ur__loc y = ur__where(w, sum);
    bool first = !w->begun[sum];
    w->begun[sum] = 1;
    int write = write_mode(w, y, sum, &slot);
    return (!first || emit_zero(w, sum, y, write, slot)) && emit_scatter(w, id, y);
}

/* Some terms of a sum of products: the first ones write it, later ones add. */
static bool emit_chunk(ur__work *w, uint32_t leader)
{
    uint32_t sum = w->root[leader], slot, *product;
    size_t n = 1;
    for (uint32_t u = w->next[leader]; u != UINT32_MAX; u = w->next[u])
        n++;
    if (!(product = ur__bump_take(&w->g->scratch, n * sizeof *product)))
        return ur__out_of_memory(&w->g->owner);
    n = 0;
    for (uint32_t u = leader; u != UINT32_MAX; u = w->next[u])
        product[n++] = u;
    bool first = !w->begun[sum];
    w->begun[sum] = 1;
    int write = write_mode(w, ur__where(w, sum), sum, &slot);
    return ur__emit_contraction(w, leader, product, n, first ? write : UR__ADD, slot);
}

/* Whether u lies where the sum id is computed, so that the others add to it. */
static bool is_seed(const ur__work *w, uint32_t id, uint32_t u)
{
    return w->stored[id] == UR__SEEDED && w->role[u] != R_ABSORBED &&
           ur__root(w, u) == ur__root(w, id) &&
           ur__where(w, u).offset == ur__where(w, id).offset;
}

/* Adds the terms of a sum that are no products. */
static bool emit_others(ur__work *w, uint32_t id, ur__loc y)
{
    const ur__node *x = &w->t->node[id];
    const uint32_t *in = ur__in(w, id);
    ptrdiff_t step[UR_MAX_RANK];
    bool ok = true;
    ur__natural_strides(&ur__shape_at(w, id)->s, step);
    for (uint32_t i = 0; ok && i < x->n_in; i++) {
        const uint32_t u = in[i];
        const ur_kind kind = w->t->node[u].op->kind;
        if (w->role[u] == R_PART || is_seed(w, id, u)) {
            continue;
        } else if (w->role[u] != R_ABSORBED) {
            ok = ur__emit_part(w, id, u, y, step, UR__ADD, 0);
        } else if (kind == UR_PAD) {
            ur__loc to = ur__pad_place(w, u, y);
            ok = ur__lies_in(w, ur__in(w, u)[0], id, to) ||
                 ur__emit_padded(w, id, u, to, UR__ADD, 0);
        } else if (kind == UR_SCATTER) {
            ok = emit_scatter(w, u, y);
        } else if (!ur__plain_product(w, u)) {
            ok = ur__emit_contraction(w, id, &u, 1, UR__ADD, 0);
        }
    }
    return ok;
}

static bool emit_accumulate(ur__work *w, uint32_t id)
{
    if (w->stored[id] == UR__GATHERED || w->stored[id] == UR__CHUNKED)
        return true;
    const ur__node *x = &w->t->node[id];
    const uint32_t *in = ur__in(w, id);
    uint32_t slot, *product = ur__bump_take(&w->g->scratch, x->n_in * sizeof *product);
    ur__loc y = ur__where(w, id);
    int write = write_mode(w, y, id, &slot);
    size_t n = 0;
    if (!product)
        return ur__out_of_memory(&w->g->owner);
    for (uint32_t i = 0; i < x->n_in; i++)
        if (w->role[in[i]] == R_ABSORBED && ur__plain_product(w, in[i]))
            product[n++] = in[i];
    bool tiled = w->stored[id] == UR__TILED;
    bool ok = n ? ur__emit_contraction(w, id, product, n, write, slot)
                : tiled || emit_zero(w, id, y, write, slot);
    return ok && (n == x->n_in || emit_others(w, id, y));
}

/* A gradient that was not made in the store is moved there. */
static bool emit_deposit(ur__work *w, uint32_t id)
{
    uint32_t d = ur__in(w, id)[0], slot;
    ur__loc x = ur__where(w, d);
    const int64_t *a = ur__attr(w, id);
    const ur_params *ps = w->g->slot[a[0]].store;
    ur__loc y = { UR__VALUES + 2 * (uint32_t)a[0] + 1,
                  ps->param[a[1]].offset * ur__type_size((int)ps->type) };
    if (x.region == y.region && x.offset == y.offset)
        return true;
    int write = deposit_mode(w, id, d, &slot);
    ptrdiff_t step[UR_MAX_RANK];
    ur__natural_strides(&ur__shape_at(w, d)->s, step);
    return ur__emit_part(w, d, d, y, step, write, slot);
}

static bool emit_unit(ur__work *w, uint32_t id)
{
    uint32_t slot;
    switch (w->role[id]) {
    case R_MAP:
    case R_SUM_MAP:
        return ur__emit_program(w, id);
    case R_CONTRACTION: {
        int write = write_mode(w, ur__where(w, id), id, &slot);
        return ur__emit_contraction(w, id, &id, 1, write, slot);
    }
    case R_ACCUMULATE:
        return emit_accumulate(w, id);
    case R_SCATTER: {
        ur__loc y = ur__where(w, id);
        int write = write_mode(w, y, id, &slot);
        return emit_zero(w, id, y, write, slot) && emit_scatter(w, id, y);
    }
    case R_SLICE:
        return ur__emit_slice(w, id);
    case R_PAD:
        return emit_pad(w, id);
    case R_PART: {
        ur__loc to = ur__pad_place(w, id, ur__where(w, w->root[id]));
        int write = write_mode(w, to, id, &slot);
        return ur__emit_padded(w, id, id, to, write, slot);
    }
    case R_ROWS:
        return emit_rows(w, id);
    case R_CHUNK:
        return emit_chunk(w, id);
    case R_CONCAT:
        return ur__emit_concat(w, id);
    case R_CALL:
        return ur__emit_call(w, id);
    case R_EFFECT:
        return w->t->node[id].op != &ur__op_deposit || emit_deposit(w, id);
    default:
        return true;
    }
}

/* Goals that lie in other memory are copied out at the end; states are committed after success. */
static bool emit_results(ur__work *w)
{
    ur__plan *p = w->p;
    for (size_t i = 0; i < p->n_kept; i++) {
        uint32_t id = w->map[p->kept[i].id];
        ur__loc x = ur__where(w, id), y = p->kept[i].loc;
        ptrdiff_t step[UR_MAX_RANK];
        ur__natural_strides(&ur__shape_at(w, id)->s, step);
        if ((x.region != y.region || x.offset != y.offset) &&
            !ur__emit_part(w, id, id, y, step, UR__OVER, 0))
            return false;
    }
    p->commit = ur__bump_alloc(&p->memory, (w->n_effects + 1) * sizeof *p->commit);
    if (!p->commit)
        return ur__out_of_memory(&w->g->owner);
    for (uint32_t k = 0; k < w->n_effects; k++)
        if (w->t->node[w->effect[k]].op == &ur__op_state_out) {
            uint32_t id = w->effect[k];
            const int64_t *a = ur__attr(w, id);
            p->commit[p->n_commits++] = (ur__commit){ ur__where(w, ur__in(w, id)[0]),
                                                      (uint32_t)a[0], (uint32_t)a[1] };
        }
    return true;
}

bool ur__pass_emit(ur__work *w)
{
    ur__plan *p = w->p;
    w->g->plannings++;
    p->n_deposit_slots = w->g->n_slots;
    p->deposits = ur__bump_alloc(&p->memory, (w->g->n_slots + 1) * sizeof *p->deposits);
    if (!p->deposits)
        return ur__out_of_memory(&w->g->owner);
    for (size_t s = 0; s < p->n_deposit_slots; s++)
        if (w->owed[s] &&
            !(p->deposits[s] = ur__bump_alloc(&p->memory, w->g->slot[s].store->n)))
            return ur__out_of_memory(&w->g->owner);
    ur__find_thick(w);
    for (uint32_t pos = 0, level = UINT32_MAX; pos < w->n_units; pos++) {
        const uint32_t id = w->order[pos];
        if (w->level[id] != level)
            w->level_begin = p->n_steps;
        level = w->level[id];
        if (!emit_unit(w, id))
            return false;
    }
    return emit_results(w);
}
