/* A cell over a sequence: y_t, s_t = step(x_t, s_t-1).
 *
 * Rows of different lengths. Let the rows be ordered from the longest to the shortest, and n_t be
 * the number of those longer than t: at step t the first n_t rows are live. The live rows of x are
 * gathered once into [sum n_t, inputs], of which step t takes a slice. States shrink with n_t; what
 * is cut off at a step is final. Outputs are gathered back from where they fell, padding from a row
 * of zeros. So padding is never an operand of anything, in the gradient neither, and no work is
 * done for it.
 *
 * The other direction: step t reads the last row but t of each sequence, counted from its own end,
 * and its output goes where x came from. So it is a question of row numbers alone.
 *
 * A cell that knows rows by their place takes every step with all of them; what the steps beyond a
 * row's length made of it is not taken: s = t < n_b ? s' : s.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

typedef struct unrolling {
    ur_at at;
    ur_graph *g;
    const ur_cell *cell;
    ur_node x, *s, *all;
    int T, B;
    bool backward;
    ur_node live_at;            /* [T,B,1], 1 up to the length, for a cell that keeps rows */
    /* lengths */
    const int *length;
    int L, rows;                /* longest; sum of the lengths */
    int *order, *rank;          /* order[r]: row that is r-th; rank: the inverse */
    int *live, *begin;          /* n_t; n_0 + ... + n_(t-1) */
    ur_node *y, *after;         /* outputs of the steps; states after them, [k * T + t] */
    ur_node *before;            /* states before the step */
} unrolling;

static void *scratch(ur_graph *g, size_t n, size_t size)
{
    return ur_graph_alloc(g, n * size);
}

ur_node ur_cell_apply(const ur_cell *cell, int t, ur_node x, ur_node s[])
{
    if (!ur_cell_usable(cell))
        return UR_NIL;
    ur_graph *g = ur_graph_of(x);
    if (!g)
        return cell->step(cell, x, s);
    ur_scope_begin(g, cell->name, t);
    ur_node y = cell->step(cell, x, s);
    ur_scope_end(g);
    return y;
}

/* --------------------------------------------------------------------------------------- checks */

static const char *shape_or_nil(ur_node x)
{
    return ur_is_nil(x) ? "nil" : ur_shape_text(ur_shape_of(x));
}

static bool is_step(ur_node x, int rows, int features)
{
    ur_shape s = ur_shape_of(x);
    return s.rank == 2 && s.dim[0] == rows && s.dim[1] == features;
}

static bool check_operands(const unrolling *u)
{
    const ur_cell *cell = u->cell;
    ur_shape x = ur_shape_of(u->x);
    const char *called = ur_called(u->x, u->at, 0);
    if (x.rank < 0)
        return ur_fail(u->g, u->at, "unroll", "x is nil, or of a tape that was cleared");
    if (x.rank != 3)
        return ur_fail(u->g, u->at, "unroll", "%s, but a sequence is [T,B,features]", called);
    if (ur_type_of(u->x) == UR_I32)
        return ur_fail(u->g, u->at, "unroll", "%s, but cell %s takes numbers: embed ids first",
                       called, cell->name);
    if (x.dim[2] != cell->inputs)
        return ur_fail(u->g, u->at, "unroll", "%s, but cell %s takes %d features, not %d", called,
                       cell->name, cell->inputs, x.dim[2]);
    for (int k = 0; k < cell->n_states; k++)
        if (!is_step(u->s[k], x.dim[1], cell->sizes[k]))
            return ur_fail(u->g, u->at, "unroll", "s[%d] is %s, but cell %s carries [%d,%d]", k,
                           shape_or_nil(u->s[k]), cell->name, x.dim[1], cell->sizes[k]);
    for (int b = 0; u->length && b < x.dim[1]; b++)
        if (u->length[b] < 0 || u->length[b] > x.dim[0])
            return ur_fail(u->g, u->at, "unroll", "lengths[%d] is %d, not between 0 and the %d "
                           "steps of x", b, u->length[b], x.dim[0]);
    return true;
}

/* After a step: what a user's cell gave back has the sizes that it declares. */
static bool check_results(const unrolling *u, int t, int rows, ur_node y)
{
    const ur_cell *cell = u->cell;
    if (ur_error(u->g))
        return false;
    if (!is_step(y, rows, cell->outputs))
        return ur_fail(u->g, u->at, "unroll", "cell %s returned %s at t=%d, but declares an "
                       "output of [%d,%d]", cell->name, shape_or_nil(y), t, rows, cell->outputs);
    for (int k = 0; k < cell->n_states; k++)
        if (!is_step(u->s[k], rows, cell->sizes[k]))
            return ur_fail(u->g, u->at, "unroll", "cell %s left %s in s[%d] at t=%d, but declares "
                           "a state of [%d,%d]", cell->name, shape_or_nil(u->s[k]), k, t, rows,
                           cell->sizes[k]);
    return true;
}

/* -------------------------------------------------------------------------------- equal lengths */

static ur_node unroll(ur_at at, const ur_cell *cell, ur_node x, const int lengths[], ur_node s[],
                      ur_node all[], bool backward);

/* One step on x_t; false when something is wrong. */
static bool step(unrolling *u, int t, int rows, ur_node x_t)
{
    const int n_states = u->cell->n_states;
    ur_node *old = u->before, y;
    for (int k = 0; k < n_states; k++)
        old[k] = u->s[k];
    u->y[t] = y = ur_cell_apply(u->cell, t, x_t, u->s);
    if (!check_results(u, t, rows, y))
        return false;
    for (int k = 0; !ur_is_nil(u->live_at) && k < n_states; k++)
        u->s[k] = ur_where_at(u->at, ur_index_at(u->at, u->live_at, 0, t), u->s[k], old[k]);
    for (int k = 0; u->all && k < n_states; k++)
        u->after[(size_t)k * (size_t)u->T + (size_t)t] = u->s[k];
    return true;
}

static ur_node unroll_even(unrolling *u)
{
    const ur_cell *cell = u->cell;
    for (int i = 0; i < u->T; i++) {
        int t = u->backward ? u->T - 1 - i : i;
        if (!step(u, t, u->B, ur_index_at(u->at, u->x, 0, t)))
            return UR_NIL;
    }
    for (int k = 0; u->all && k < cell->n_states; k++)
        u->all[k] = u->T ? ur_stack_n_at(u->at, u->after + (size_t)k * (size_t)u->T, u->T, 0)
                         : ur_zeros(u->g, 0, u->B, cell->sizes[k]);
    return u->T ? ur_stack_n_at(u->at, u->y, u->T, 0) : ur_zeros(u->g, 0, u->B, cell->outputs);
}

/* The rows stay where they are, and padding is replaced by zeros before anyone sees it. */
static ur_node unroll_in_place(unrolling *u)
{
    u->live_at = ur_length_mask(u->g, u->T, u->B, u->length);
    u->x = ur_select_at(u->at, u->live_at, u->x);
    return ur_select_at(u->at, u->live_at, unroll_even(u));
}

/* Cells on top of each other, one after the other over the whole sequence: what a step of the next
 * one takes in is then there for all steps at once. */
static ur_node unroll_parts(unrolling *u)
{
    const ur_cell *cell = u->cell;
    ur_node y = u->x, *s = u->s, *all = u->all;
    ur_scope_begin(u->g, cell->name, -1);
    for (int l = 0; l < cell->n_parts; l++) {
        y = unroll(u->at, cell->parts[l], y, NULL, s, all, u->backward);
        s += cell->parts[l]->n_states;
        if (all)
            all += cell->parts[l]->n_states;
    }
    ur_scope_end(u->g);
    return y;
}

/* ---------------------------------------------------------------------------- different lengths */

/* Fills order, rank, live, begin, L and rows: a counting sort, stable. */
static bool order_rows(unrolling *u)
{
    u->order = scratch(u->g, (size_t)u->B, sizeof *u->order);
    u->rank = scratch(u->g, (size_t)u->B, sizeof *u->rank);
    u->live = scratch(u->g, (size_t)u->T + 1, sizeof *u->live);
    u->begin = scratch(u->g, (size_t)u->T + 2, sizeof *u->begin);
    int *next = scratch(u->g, (size_t)u->T + 1, sizeof *next);
    if (!u->order || !u->rank || !u->live || !u->begin || !next)
        return false;
    for (int b = 0; b < u->B; b++)
        next[u->length[b]]++;
    /* live[t] counts lengths above t, which is also where those of length t begin. */
    for (int t = u->T, above = 0; t >= 0; t--) {
        u->live[t] = above;
        above += next[t];
        next[t] = u->live[t];
    }
    for (int b = 0; b < u->B; b++) {
        u->rank[b] = next[u->length[b]]++;
        u->order[u->rank[b]] = b;
    }
    int64_t rows = 0;
    for (int t = 0; t <= u->T; t++) {
        u->begin[t] = (int)rows;
        rows += u->live[t];
        u->L = u->live[t] ? t + 1 : u->L;
    }
    u->rows = (int)rows;
    return rows + u->B <= INT32_MAX ||
           ur_fail(u->g, u->at, "unroll", "%lld live rows are too many", (long long)rows);
}

/* Step t of row b is at this place of the row; and the other way about. */
static int place(const unrolling *u, int b, int t)
{
    return u->backward ? u->length[b] - 1 - t : t;
}

/* Row numbers of x as [T B, inputs], in the order of the steps. */
static ur_node live_rows(const unrolling *u)
{
    int32_t *id = scratch(u->g, (size_t)u->rows, sizeof *id);
    for (int t = 0; id && t < u->L; t++)
        for (int r = 0; r < u->live[t]; r++)
            id[u->begin[t] + r] = place(u, u->order[r], t) * u->B + u->order[r];
    return id ? ur_ints_at(u->at, u->g, id, 1, (int[]){ u->rows }) : UR_NIL;
}

/* [T, B] row numbers of what the steps left, which lies packed: of the step itself, and beyond the
 * length of the row `rows` when `padding`, else of the step before, or the initial one. */
static ur_node packed_rows(const unrolling *u, bool padding)
{
    int32_t *id = scratch(u->g, (size_t)u->T * (size_t)u->B, sizeof *id);
    for (int t = 0; id && t < u->T; t++)
        for (int b = 0; b < u->B; b++) {
            int last = t < u->length[b] ? place(u, b, t)
                                        : padding || u->backward ? -1 : u->length[b] - 1;
            id[(size_t)t * (size_t)u->B + (size_t)b] =
                last >= 0 ? u->begin[last] + u->rank[b] : padding ? u->rows : u->rows + u->rank[b];
        }
    return id ? ur_ints_at(u->at, u->g, id, 2, (int[]){ u->T, u->B }) : UR_NIL;
}

static ur_node rows_in_order(const unrolling *u, ur_node x, const int *order)
{
    return ur_gather_at(u->at, x, ur_ints_at(u->at, u->g, order, 1, (int[]){ u->B }));
}

/* Cuts the states down to n rows; the others are final. Pieces are kept from the end of `final`,
 * since the last one to be cut off comes first in the order of rows. */
static void shrink(unrolling *u, int from, int n, ur_node *final, int *n_final)
{
    for (int k = 0; k < u->cell->n_states; k++) {
        final[(size_t)k * (size_t)(u->B + 1) + (size_t)(u->B - *n_final)] =
            ur_slice_at(u->at, u->s[k], 0, n, from);
        if (n)
            u->s[k] = ur_slice_at(u->at, u->s[k], 0, 0, n);
    }
    (*n_final)++;
}

/* The steps, on live rows; then the final states in the caller's order. */
static bool steps(unrolling *u)
{
    const int n_states = u->cell->n_states;
    ur_node *final = scratch(u->g, (size_t)n_states * (size_t)(u->B + 1), sizeof *final);
    ur_node x = ur_gather_at(u->at, ur_reshape_at(u->at, u->x, 2,
                                                  (int[]){ u->T * u->B, u->cell->inputs }),
                             live_rows(u));
    int n_final = 0, rows = u->B;
    if (!final)
        return false;
    for (int t = 0; t < u->L; t++) {
        if (u->live[t] < rows)
            shrink(u, rows, u->live[t], final, &n_final);
        rows = u->live[t];
        if (!step(u, t, rows, ur_slice_at(u->at, x, 0, u->begin[t], u->begin[t] + rows)))
            return false;
    }
    shrink(u, rows, 0, final, &n_final);
    for (int k = 0; k < n_states; k++) {
        ur_node *piece = final + (size_t)k * (size_t)(u->B + 1) + (u->B + 1 - n_final);
        ur_node sorted = n_final > 1 ? ur_concat_n_at(u->at, piece, n_final, 0) : piece[0];
        u->s[k] = rows_in_order(u, sorted, u->rank);
    }
    return true;
}

/* Pieces of rows one after the other, with one more at the end: [rows + its rows, features]. */
static ur_node packed(const unrolling *u, const ur_node *piece, ur_node last)
{
    ur_node *all = scratch(u->g, (size_t)u->L + 1, sizeof *all);
    if (!all)
        return UR_NIL;
    for (int t = 0; t < u->L; t++)
        all[t] = piece[t];
    all[u->L] = last;
    return ur_concat_n_at(u->at, all, u->L + 1, 0);
}

static ur_node unroll_ragged(unrolling *u)
{
    const ur_cell *cell = u->cell;
    ur_node *first = scratch(u->g, (size_t)cell->n_states, sizeof *first);
    if (!first || !order_rows(u))
        return UR_NIL;
    for (int k = 0; k < cell->n_states; k++)
        u->s[k] = first[k] = rows_in_order(u, u->s[k], u->order);
    if (!steps(u))
        return UR_NIL;
    for (int k = 0; u->all && k < cell->n_states; k++)
        u->all[k] = ur_gather_at(u->at, packed(u, u->after + (size_t)k * (size_t)u->T, first[k]),
                                 packed_rows(u, false));
    return ur_gather_at(u->at, packed(u, u->y, ur_zeros(u->g, 1, cell->outputs)),
                        packed_rows(u, true));
}

/* ---------------------------------------------------------------------------------------- entry */

static bool all_live(const unrolling *u)
{
    for (int b = 0; u->length && b < u->B; b++)
        if (u->length[b] != u->T)
            return false;
    return true;
}

/* The graph of the first operand that is on one; the others may be parameters. */
static ur_graph *graph_of(const ur_cell *cell, ur_node x, const ur_node s[])
{
    ur_graph *g = ur_graph_of(x);
    for (int k = 0; !g && s && k < cell->n_states; k++)
        g = ur_graph_of(s[k]);
    return g;
}

static ur_node unroll(ur_at at, const ur_cell *cell, ur_node x, const int lengths[], ur_node s[],
                      ur_node all[], bool backward)
{
    ur_graph *g = ur_cell_usable(cell) ? graph_of(cell, x, s) : ur_graph_of(x);
    for (int k = 0; all && cell && k < cell->n_states; k++)
        all[k] = (ur_node){ g, 0, 0 };
    if (!g || ur_error(g))
        return UR_NIL;
    if (!ur_cell_usable(cell)) {
        ur_fail(g, at, "unroll", "the cell could not be made: %s",
                    cell && ur_error(cell->params) ? ur_error(cell->params) : "out of memory");
        return UR_NIL;
    }
    unrolling u = { .at = at, .g = g, .cell = cell, .x = x, .s = s, .all = all, .length = lengths,
                    .backward = backward };
    if (!s) {
        u.s = scratch(g, (size_t)cell->n_states, sizeof *s);
        if (!u.s || (ur_shape_of(x).rank == 3 &&
                     !ur_cell_zero_states(g, cell, ur_dim(x, 1), u.s)))
            return UR_NIL;
    }
    if (!check_operands(&u))
        return UR_NIL;
    u.x = ur_use_at(at, g, x);
    for (int k = 0; k < cell->n_states; k++)
        u.s[k] = ur_use_at(at, g, u.s[k]);
    u.T = ur_dim(u.x, 0);
    u.B = ur_dim(u.x, 1);
    u.y = scratch(g, (size_t)u.T, sizeof *u.y);
    u.after = scratch(g, all ? (size_t)u.T * (size_t)cell->n_states : 0, sizeof *u.after);
    u.before = scratch(g, (size_t)cell->n_states, sizeof *u.before);
    if (!u.y || !u.after || !u.before)
        return UR_NIL;
    if (!all_live(&u))
        return cell->keeps_rows ? unroll_in_place(&u) : unroll_ragged(&u);
    return cell->n_parts ? unroll_parts(&u) : unroll_even(&u);
}

ur_node ur_unroll_at(ur_at at, const ur_cell *cell, ur_node x, const int lengths[], ur_node s[],
                     ur_node all[])
{
    return unroll(at, cell, x, lengths, s, all, false);
}

ur_node ur_unroll_backward_at(ur_at at, const ur_cell *cell, ur_node x, const int lengths[],
                              ur_node s[], ur_node all[])
{
    return unroll(at, cell, x, lengths, s, all, true);
}

ur_node (ur_unroll)(const ur_cell *cell, ur_node x, ur_node s[])
{
    return ur_unroll_at(NULL, cell, x, NULL, s, NULL);
}

ur_node (ur_unroll_lengths)(const ur_cell *cell, ur_node x, const int lengths[], ur_node s[])
{
    return ur_unroll_at(NULL, cell, x, lengths, s, NULL);
}

ur_node (ur_unroll_states)(const ur_cell *cell, ur_node x, const int lengths[], ur_node s[],
                           ur_node all[])
{
    return ur_unroll_at(NULL, cell, x, lengths, s, all);
}
