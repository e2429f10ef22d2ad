/* Drawing a line of each form: values that fit each other are looked for among the last ones, and
 * leaves, weights and ids are made where a form needs its own. */
#include "tests/tape_draw.h"

int draw_pick(drawing *d, int n)
{
    d->state = ur__mix(d->state, 1);
    return n > 1 ? (int)(d->state % (uint64_t)n) : 0;
}

int draw_size(drawing *d)
{
    static const int small[] = { 1, 2, 3, 5, 7 }, wide[] = { 1, 3, 16, 31, 67 };
    if (d->empty && draw_pick(d, 12) == 0)
        return 0;
    return d->wide ? wide[draw_pick(d, 5)] : small[draw_pick(d, 5)];
}

int draw_put(drawing *d, tape_line l)
{
    tape *t = d->t;
    if (t->n == TAPE_LINES)
        return -1;
    for (int i = 0; i < l.n_in; i++)
        if (l.in[i] < 0)
            return -1;
    t->line[t->n] = l;
    ur_node x = tape_line_recorded(&d->r, t, t->n, d->v);
    if (ur_error(d->r.g) || ur_error(d->r.ps) || ur_is_nil(x) ||
        ur_count(x) > (d->wide || d->tall ? ROOM_WIDE : ROOM_SMALL)) {
        ur_error_reset(d->r.g);
        ur_error_reset(d->r.ps);
        return -1;
    }
    d->v[t->n] = x;
    t->line[t->n].shape = ur_shape_of(x);
    t->line[t->n].ints = ur_type_of(x) == UR_I32;
    t->line[t->n].grows = (d->r.g->tape.node[x.id].flags & UR__GROWS) != 0;
    return t->n++;
}

int draw_one(drawing *d, int form, int x, int a, int b, int c)
{
    return draw_put(d, (tape_line){ .form = form, .n_in = 1, .in = { x }, .n = { a, b, c } });
}

int draw_two(drawing *d, int form, int x, int y, int a, int b)
{
    return draw_put(d, (tape_line){ .form = form, .n_in = 2, .in = { x, y }, .n = { a, b } });
}

int draw_leaf(drawing *d, int how, int below, int rank, const int *dim)
{
    tape_line l = { .form = FORM_leaf, .n = { how, ++d->keys }, .shape.rank = rank };
    if (how == TAPE_IDS)
        l.n[1] = d->keys * TAPE_BELOW + below;
    if (how == TAPE_IDS && (below < 1 || below >= TAPE_BELOW))
        return -1;
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= (size_t)(l.shape.dim[i] = dim[i]);
    return how == TAPE_APART && count > ROOM_APART ? -1 : draw_put(d, l);
}

int draw_weight(drawing *d, int rank, const int *dim)
{
    tape_line l = { .form = FORM_weight, .n = { ++d->keys }, .shape.rank = rank };
    for (int i = 0; i < rank; i++)
        l.shape.dim[i] = dim[i];
    return draw_put(d, l);
}

/* Of the last ones mostly, so that chains grow long. */
int draw_any(drawing *d)
{
    for (int tries = 0; tries < 50; tries++) {
        int last = draw_pick(d, 3) && d->t->n > 8 ? 8 : d->t->n;
        int i = d->t->n - 1 - draw_pick(d, last);
        const tape_line *l = &d->t->line[i];
        if (!l->ints && l->form != FORM_backward && l->form != FORM_state_out)
            return i;
    }
    return 0;
}

static int of_rank(drawing *d, int least)
{
    for (int tries = 0; tries < 20; tries++) {
        int x = draw_any(d);
        if (draw_shape(d, x)->rank >= least)
            return x;
    }
    return -1;
}

static bool fits(const ur_shape *a, const ur_shape *b, int but, bool broadcasts)
{
    bool ok = broadcasts || a->rank == b->rank;
    for (int k = 1; ok && k <= a->rank && k <= b->rank; k++) {
        int i = a->dim[a->rank - k], j = b->dim[b->rank - k];
        ok = i == j || a->rank - k == but || (broadcasts && (i == 1 || j == 1));
    }
    return ok;
}

/* Another value of x's shape but for axis `but`, or that broadcasts with it; or x itself. */
static int like(drawing *d, int x, int but, bool broadcasts)
{
    for (int tries = 0; tries < 12; tries++) {
        int y = draw_any(d);
        if (fits(draw_shape(d, x), draw_shape(d, y), but, broadcasts))
            return y;
    }
    return x;
}

/* A weight with k rows (transposed: columns), used before or new. */
static int weight_for(drawing *d, int k, bool transposed)
{
    for (int i = 0; i < d->t->n && draw_pick(d, 4); i++) {
        const tape_line *l = &d->t->line[i];
        if (l->form == FORM_weight && l->shape.rank == 2 && l->shape.dim[transposed] == k)
            return i;
    }
    int n = draw_size(d);
    return k > 0 && n > 0 ? draw_weight(d, 2, transposed ? (int[]){ n, k } : (int[]){ k, n }) : -1;
}

/* ----------------------------------------------------------------------------- the ways to draw */

static int draw_apart(drawing *d, int form, bool pair, bool axis)
{
    int dim[3] = { 1 + draw_pick(d, 5), 1 + draw_pick(d, 7), 1 + draw_pick(d, 4) };
    int rank = axis + draw_pick(d, 3);
    int x = draw_leaf(d, TAPE_APART, 0, rank, dim);
    if (!pair)
        return draw_one(d, form, x, draw_pick(d, rank), 0, 0);
    if (rank && form != FORM_absolute_loss && form != FORM_huber_each && draw_pick(d, 3) == 0)
        dim[draw_pick(d, rank)] = 1;
    return draw_two(d, form, x, draw_leaf(d, TAPE_APART, 0, rank, dim), 0, 0);
}

static int draw_mask(drawing *d, int form)
{
    int y = draw_any(d);
    ur_shape s = *draw_shape(d, y);
    if (s.rank && draw_pick(d, 3) == 0)
        s.dim[draw_pick(d, s.rank)] = 1;
    return draw_two(d, form, draw_leaf(d, TAPE_APART, 0, s.rank, s.dim), y, 0, 0);
}

static int draw_product(drawing *d, int form)
{
    int x = of_rank(d, 2), ta = draw_pick(d, 4) == 0, tb = draw_pick(d, 2);
    if (x < 0)
        return -1;
    ur_shape s = *draw_shape(d, x);
    int k = s.dim[s.rank - 1 - ta];
    if (form == FORM_affine) {
        int W = weight_for(d, s.dim[s.rank - 1], false);
        int b = W < 0 ? -1 : draw_weight(d, 1, &draw_shape(d, W)->dim[1]);
        return draw_put(d, (tape_line){ .form = form, .n_in = 3, .in = { x, W, b } });
    }
    if (form == FORM_matmul && draw_pick(d, 5) == 0)         /* the weight on the left */
        return draw_two(d, form, weight_for(d, s.dim[s.rank - 2], false), x, true, false);
    if (form == FORM_matmul)
        return draw_two(d, form, x, weight_for(d, k, tb), ta, tb);
    if (draw_pick(d, 3) == 0)
        return draw_two(d, form, x, x, ta, !ta);
    int N = draw_size(d), batch = draw_pick(d, 2) ? 1 : 3;
    if (s.rank > 2 && draw_pick(d, 2))
        batch = s.dim[s.rank - 3];
    int y = draw_leaf(d, TAPE_GIVEN, 0, 3, (int[]){ batch, tb ? N : k, tb ? k : N });
    return draw_pick(d, 4) ? draw_two(d, form, x, y, ta, tb) : draw_two(d, form, y, x, !tb, !ta);
}

static int draw_labels(drawing *d, int form)
{
    int x = of_rank(d, 1);
    if (x < 0)
        return -1;
    ur_shape s = *draw_shape(d, x);
    int V = s.dim[s.rank - 1], y = draw_leaf(d, TAPE_IDS, V, s.rank - 1, s.dim);
    if (V < 2 || ur_count(d->v[x]) == 0)
        return -1;
    if (form != FORM_ce_weights)
        return draw_two(d, form, x, y, 0, 0);
    int w = draw_one(d, FORM_exp, draw_leaf(d, TAPE_GIVEN, 0, 1, &V), 0, 0, 0);
    return draw_put(d, (tape_line){ .form = form, .n_in = 3, .in = { x, y, w } });
}

static int draw_ids(drawing *d, int form)
{
    int rank = draw_pick(d, 3), dim[3] = { 1 + draw_pick(d, 9), 1 + draw_pick(d, 3), 2 };
    int x = of_rank(d, form == FORM_one_hot_times ? 2 : 1);
    int below = x < 0 ? 0 : draw_shape(d, x)->dim[0];
    if (form == FORM_one_hot || form == FORM_cast)
        return draw_one(d, form, draw_leaf(d, TAPE_IDS, 5, rank, dim), 5, 0, 0);
    if (form == FORM_scatter_add && x >= 0) {
        const ur_shape s = *draw_shape(d, x);
        int n = 1 + draw_pick(d, 40);
        return draw_two(d, form, x, draw_leaf(d, TAPE_IDS, n, s.rank - 1, s.dim), n, 0);
    }
    if (draw_pick(d, 3) == 0 && form == FORM_gather) {       /* a table that is a parameter */
        below = draw_pick(d, 2) ? 3 : 97;
        x = draw_weight(d, 2, (int[]){ below, 1 + draw_pick(d, 5) });
    }
    int y = draw_leaf(d, TAPE_IDS, below, rank + (form != FORM_gather), dim);
    return draw_two(d, form, x, y, below, 0);
}

static int draw_several(drawing *d, int form)
{
    int x = of_rank(d, form == FORM_concat_n);
    if (x < 0)
        return -1;
    int rank = draw_shape(d, x)->rank, axis = draw_pick(d, rank + (form == FORM_stack_n));
    tape_line l = { .form = form, .n_in = 1 + draw_pick(d, 4), .in = { x }, .n = { axis } };
    for (int i = 1; i < l.n_in; i++)
        l.in[i] = draw_pick(d, 3) ? like(d, x, form == FORM_concat_n ? axis : -1, false)
                             : draw_one(d, FORM_tanh, x, 0, 0, 0);
    return draw_put(d, l);
}

static int draw_grown(drawing *d, int form)
{
    int x = draw_any(d), to[3];
    const ur_shape *s = draw_shape(d, x);
    for (int i = 0, k = s->rank - 3; i < 3; i++, k++)
        to[i] = k < 0 || s->dim[k] == 1 ? 1 + draw_pick(d, 4) : s->dim[k];
    return draw_one(d, form, x, to[0], to[1], to[2]);
}

/* Gradients of one or two values for one to three. */
static int draw_gradient(drawing *d, int form)
{
    tape_line l = { .form = form };
    int ys = 1 + (draw_pick(d, 4) == 0), xs = 1 + draw_pick(d, 3), seeds = draw_pick(d, 3) ? 0 : ys;
    for (int i = 0; i < ys; i++)
        l.in[i] = draw_any(d);
    for (int i = 0; i < seeds; i++) {
        const ur_shape s = *draw_shape(d, l.in[i]);
        l.in[ys + i] = draw_leaf(d, TAPE_GIVEN, 0, s.rank, s.dim);
    }
    for (int i = 0; i < xs; i++)
        l.in[ys + seeds + i] = draw_pick(d, 2) && d->n_remarked
                             ? d->remarked[draw_pick(d, d->n_remarked)]
                             : draw_pick(d, 2) ? draw_pick(d, d->t->n) : draw_any(d);
    l.n_in = ys + seeds + xs;
    l.n[0] = ys;
    l.n[1] = seeds;
    l.n[2] = draw_pick(d, xs);
    return draw_put(d, l);
}

static int draw_axes(drawing *d, int form, int least)
{
    int x = of_rank(d, least);
    if (x < 0)
        return -1;
    const ur_shape *s = draw_shape(d, x);
    int a = draw_pick(d, s->rank), b = (a + 1 + draw_pick(d, s->rank - 1)) % s->rank, n = s->dim[a];
    if (form == FORM_slice || form == FORM_index) {
        int from = draw_pick(d, n);
        return draw_one(d, form, x, a, from, from + 1 + draw_pick(d, n - from));
    }
    if (form == FORM_reverse_some) {
        int T = s->dim[0] + 1;
        tape_line l = { .form = form, .n_in = 1, .in = { x } };
        for (int i = 0; i < 4; i++)
            l.n[i] = draw_pick(d, T);
        return s->dim[1] > 4 ? -1 : draw_put(d, l);
    }
    if (least > 1)
        return draw_one(d, form, x, a, b, 3 - a - b);
    return draw_one(d, form, x, a, draw_pick(d, 6), draw_pick(d, 6));
}

/* How forms are drawn: the second column of the table. */
#define ONE(d, f)    draw_one(d, f, draw_any(d), 1 + draw_pick(d, 3), 0, 0)
#define SUM(d, f)    draw_sum(d, f, draw_any(d))
#define NEVER(d, f)  -1
#define PAIR(d, f)   draw_pair(d, f)
#define APART(d, f)  draw_apart(d, f, false, false)
#define APARTN(d, f) draw_apart(d, f, false, true)
#define APART2(d, f) draw_apart(d, f, true, false)
#define MASK(d, f)   draw_mask(d, f)
#define WEIGHT(d, f) draw_product(d, f)
#define AFFINE(d, f) draw_product(d, f)
#define MATRIX(d, f) draw_product(d, f)
#define AXIS(d, f)   draw_axes(d, f, 1)
#define SOME(d, f)   draw_some(d, f)
#define AXES(d, f)   draw_axes(d, f, 2)
#define RANK3(d, f)  draw_axes(d, f, 3)
#define CUT(d, f)    draw_axes(d, f, 1)
#define LENGTH(d, f) draw_axes(d, f, 2)
#define LABELS(d, f) draw_labels(d, f)
#define LABELW(d, f) draw_labels(d, f)
#define LIKE(d, f)   draw_several(d, f)
#define SAME(d, f)   draw_several(d, f)
#define GROW(d, f)   draw_grown(d, f)
#define IDS(d, f)    draw_ids(d, f)
#define NEWIDS(d, f) draw_ids(d, f)
#define ROWS(d, f)   draw_ids(d, f)
#define ONEHOT(d, f) draw_ids(d, f)
#define NOISE(d, f)  draw_put(d, (tape_line){ .form = f, .n = { draw_size(d), draw_size(d) } })
#define GRAD(d, f)   draw_gradient(d, f)

static int draw_sum(drawing *d, int form, int x)
{
    return draw_one(d, form, x, (int)ur_count(d->v[x]) + 8, 0, 0);
}

static int draw_pair(drawing *d, int form)
{
    int x = draw_any(d);
    return draw_two(d, form, x, like(d, x, -1, true), 0, 0);
}

/* The mean and the largest of nothing are no numbers. */
static int draw_some(drawing *d, int form)
{
    int x = of_rank(d, 1);
    if (x < 0 || !ur_count(d->v[x]))
        return -1;
    return draw_one(d, form, x, draw_pick(d, draw_shape(d, x)->rank), 0, 0);
}

int draw_form(drawing *d, int form)
{
    switch (form) {
#define FORM(name, how, ...) case FORM_##name: return how(d, FORM_##name);
    TAPE_FORMS(FORM)
#undef FORM
    }
    return -1;
}
