/* The cells of the benchmark: those of the library, two that are a user's here, so that such a cell
 * is measured too, and all of them once more as one writes them by hand where no planner merges the
 * gates.
 *
 * Textbook, [h, x] being the two side by side:
 *
 *     lstm_peephole   i = sigmoid([h,x] Wi + bi + pi*c)     f = sigmoid([h,x] Wf + bf + pf*c)
 *                     c' = f*c + i*tanh([h,x] Wg + bg)      o = sigmoid([h,x] Wo + bo + po*c')
 *                     h' = o*tanh(c')         F. A. Gers and J. Schmidhuber, IJCNN 2000
 *     mgu             f = sigmoid([h,x] Wf + bf)            n = tanh([f*h,x] Wn + bn)
 *                     h' = (1-f)*h + f*n      G.-B. Zhou et al., Int. J. Autom. Comput. 13, 2016
 */
#include <string.h>
#include "examples/kit/kit.h"
#include "tests/bench/bench.h"

enum { MOST_GATES = 4 };

typedef struct cell {
    ur_cell cell;
    const char *kind;
    ur_node W[MOST_GATES], b[MOST_GATES];
    ur_node p[3];                           /* peepholes of i, f, o */
} cell;

/* ---- Textbook ---- */

static ur_node peephole_step(const ur_cell *base, ur_node x, ur_node s[])
{
    const cell *q = (const cell *)base;
    const ur_node *W = q->W, *b = q->b, *p = q->p;
    ur_node h = s[0], c = s[1], hx = ur_concat(h, x);
    ur_node i = ur_sigmoid(ur_add(ur_affine(hx, W[0], b[0]), ur_mul(p[0], c)));
    ur_node f = ur_sigmoid(ur_add(ur_affine(hx, W[1], b[1]), ur_mul(p[1], c)));
    ur_node g = ur_tanh(ur_affine(hx, W[2], b[2]));
    s[1] = ur_add(ur_mul(f, c), ur_mul(i, g));
    ur_node o = ur_sigmoid(ur_add(ur_affine(hx, W[3], b[3]), ur_mul(p[2], s[1])));
    return s[0] = ur_mul(o, ur_tanh(s[1]));
}

static ur_node mgu_step(const ur_cell *base, ur_node x, ur_node s[])
{
    const cell *q = (const cell *)base;
    ur_node h = s[0];
    ur_node f = ur_sigmoid(ur_affine(ur_concat(h, x), q->W[0], q->b[0]));
    ur_node n = ur_tanh(ur_affine(ur_concat(ur_mul(f, h), x), q->W[1], q->b[1]));
    return s[0] = ur_add(ur_mul(ur_one_minus(f), h), ur_mul(f, n));
}

/* ---- By hand: what follows the products, the same in both forms ---- */

/* a: the sums of the gates i, f, g, o. */
static ur_node lstm_rest(const cell *q, const ur_node a[], ur_node s[])
{
    const bool peep = strcmp(q->kind, "lstm_peephole") == 0;
    ur_node c = s[1];
    ur_node i = ur_sigmoid(peep ? ur_add(a[0], ur_mul(q->p[0], c)) : a[0]);
    ur_node f = ur_sigmoid(peep ? ur_add(a[1], ur_mul(q->p[1], c)) : a[1]);
    s[1] = ur_add(ur_mul(f, c), ur_mul(i, ur_tanh(a[2])));
    ur_node o = ur_sigmoid(peep ? ur_add(a[3], ur_mul(q->p[2], s[1])) : a[3]);
    return s[0] = ur_mul(o, ur_tanh(s[1]));
}

/* z h + (1-z) n, where z belongs to the old state in one of the two. */
static ur_node gru_rest(const cell *q, ur_node z, ur_node n, ur_node h)
{
    if (strcmp(q->kind, "gru") == 0)
        return ur_add(ur_mul(ur_one_minus(z), h), ur_mul(z, n));
    return ur_add(ur_mul(ur_one_minus(z), n), ur_mul(z, h));
}

/* ---- By hand: one weight on [h, x] ---- */

static ur_node lstm_merged(const ur_cell *base, ur_node x, ur_node s[])
{
    const cell *q = (const cell *)base;
    ur_node a[4];
    ur_split(ur_affine(ur_concat(s[0], x), q->W[0], q->b[0]), 1, 4, a);
    return lstm_rest(q, a, s);
}

static ur_node gru_merged(const ur_cell *base, ur_node x, ur_node s[])
{
    const cell *q = (const cell *)base;
    const ur_node *W = q->W, *b = q->b;
    ur_node h = s[0], a[2], n;
    ur_split(ur_sigmoid(ur_affine(ur_concat(h, x), W[0], b[0])), 1, 2, a);
    if (strcmp(q->kind, "gru") == 0)
        n = ur_affine(ur_concat(ur_mul(a[0], h), x), W[1], b[1]);
    else
        n = ur_add(ur_affine(x, W[2], b[2]), ur_mul(a[0], ur_affine(h, W[1], b[1])));
    return s[0] = gru_rest(q, a[1], ur_tanh(n), h);
}

static ur_node elman_merged(const ur_cell *base, ur_node x, ur_node s[])
{
    const cell *q = (const cell *)base;
    return s[0] = ur_tanh(ur_affine(ur_concat(s[0], x), q->W[0], q->b[0]));
}

/* ---- By hand: x is x W + b already ---- */

static ur_node lstm_batched(const ur_cell *base, ur_node x, ur_node s[])
{
    const cell *q = (const cell *)base;
    ur_node a[4];
    ur_split(ur_add(x, ur_matmul(s[0], q->W[0])), 1, 4, a);
    return lstm_rest(q, a, s);
}

static ur_node gru_batched(const ur_cell *base, ur_node x, ur_node s[])
{
    const cell *q = (const cell *)base;
    const int H = q->cell.outputs;
    ur_node h = s[0], rz[2], n;
    if (strcmp(q->kind, "gru") == 0) {
        ur_split(ur_sigmoid(ur_add(ur_slice(x, 1, 0, 2 * H), ur_matmul(h, q->W[0]))), 1, 2, rz);
        n = ur_add(ur_slice(x, 1, 2 * H, UR_END), ur_matmul(ur_mul(rz[0], h), q->W[1]));
    } else {
        ur_node u = ur_affine(h, q->W[0], q->b[0]);
        ur_split(ur_sigmoid(ur_add(ur_slice(x, 1, 0, 2 * H), ur_slice(u, 1, 0, 2 * H))), 1, 2, rz);
        n = ur_add(ur_slice(x, 1, 2 * H, UR_END),
                   ur_mul(rz[0], ur_slice(u, 1, 2 * H, UR_END)));
    }
    return s[0] = gru_rest(q, rz[1], ur_tanh(n), h);
}

static ur_node elman_batched(const ur_cell *base, ur_node x, ur_node s[])
{
    const cell *q = (const cell *)base;
    return s[0] = ur_tanh(ur_add(x, ur_matmul(s[0], q->W[0])));
}

static ur_node mgu_batched(const ur_cell *base, ur_node x, ur_node s[])
{
    const cell *q = (const cell *)base;
    ur_node h = s[0], a[2];
    ur_split(x, 1, 2, a);
    ur_node f = ur_sigmoid(ur_add(a[0], ur_matmul(h, q->W[0])));
    ur_node n = ur_tanh(ur_add(a[1], ur_matmul(ur_mul(f, h), q->W[1])));
    return s[0] = ur_add(ur_mul(ur_one_minus(f), h), ur_mul(f, n));
}

/* ---- Making them ---- */

/* What a parameter of a cell acts on. */
enum { NOTHING, ON_X, ON_H, ON_BOTH };

/* The weights of a cell: what each acts on, and how many gates it makes. */
static const struct plan {
    const char *kind;
    bench_form form;
    ur_cell_step *step;
    struct { int on, gates; bool bias; } W[MOST_GATES];
} plans[] = {
    { "lstm_peephole", TEXTBOOK, peephole_step,
      { { ON_BOTH, 1, true }, { ON_BOTH, 1, true }, { ON_BOTH, 1, true }, { ON_BOTH, 1, true } } },
    { "mgu", TEXTBOOK, mgu_step, { { ON_BOTH, 1, true }, { ON_BOTH, 1, true } } },
    { "lstm", MERGED, lstm_merged, { { ON_BOTH, 4, true } } },
    { "lstm_peephole", MERGED, lstm_merged, { { ON_BOTH, 4, true } } },
    { "gru", MERGED, gru_merged, { { ON_BOTH, 2, true }, { ON_BOTH, 1, true } } },
    { "gru_reset_after", MERGED, gru_merged,
      { { ON_BOTH, 2, true }, { ON_H, 1, true }, { ON_X, 1, true } } },
    /* Its gates have no left operand in common: there is nothing to merge. */
    { "mgu", MERGED, mgu_step, { { ON_BOTH, 1, true }, { ON_BOTH, 1, true } } },
    { "elman", MERGED, elman_merged, { { ON_BOTH, 1, true } } },
    { "lstm", BATCHED, lstm_batched, { { ON_H, 4, false } } },
    { "lstm_peephole", BATCHED, lstm_batched, { { ON_H, 4, false } } },
    { "gru", BATCHED, gru_batched, { { ON_H, 2, false }, { ON_H, 1, false } } },
    { "gru_reset_after", BATCHED, gru_batched, { { ON_H, 3, true } } },
    { "mgu", BATCHED, mgu_batched, { { ON_H, 1, false }, { ON_H, 1, false } } },
    { "elman", BATCHED, elman_batched, { { ON_H, 1, false } } },
};

static ur_cell *own_cell(ur_params *ps, const struct plan *plan, const char *name, int I, int H)
{
    const bool lstm = strncmp(plan->kind, "lstm", 4) == 0;
    cell *q = ur_cell_new(ps, name, sizeof *q, plan->step, I, H, lstm ? 2 : 1, (int[]){ H, H });
    q->kind = plan->kind;
    for (int k = 0; k < MOST_GATES && plan->W[k].on; k++) {
        const int on = plan->W[k].on, columns = plan->W[k].gates * H;
        const int rows = (on & ON_X ? I : 0) + (on & ON_H ? H : 0);
        q->W[k] = ur_param(ps, ur_namef(ps, "%s.W%d", name, k), bench_init(), rows, columns);
        if (plan->W[k].bias)
            q->b[k] = ur_param(ps, ur_namef(ps, "%s.b%d", name, k), bench_init(), columns);
    }
    for (int k = 0; k < 3 && strcmp(plan->kind, "lstm_peephole") == 0; k++)
        q->p[k] = ur_param(ps, ur_namef(ps, "%s.p%d", name, k), bench_init(), H);
    return &q->cell;
}

static ur_cell *library_cell(ur_params *ps, const char *kind, const char *name, int I, int H)
{
    const ur_init u = bench_init();
    const ur_cell_options o = { .W = u, .U = u, .b = u, .forget = u, .d = u };
    return strcmp(kind, "lstm") == 0  ? ur_lstm_with(ps, name, I, H, &o)
           : strcmp(kind, "gru") == 0 ? ur_gru_with(ps, name, I, H, &o)
           : strcmp(kind, "elman") == 0
               ? ur_elman_with(ps, name, I, H, &o)
               : ur_gru_reset_after_with(ps, name, I, H, &o);
}

ur_cell *bench_cell(ur_params *ps, const char *kind, bench_form form, const char *name, int I,
                    int H)
{
    if (form != MERGED && form != BATCHED)
        form = TEXTBOOK;
    for (size_t k = 0; k < sizeof plans / sizeof *plans; k++)
        if (plans[k].form == form && strcmp(plans[k].kind, kind) == 0)
            return own_cell(ps, &plans[k], name, I, H);
    return library_cell(ps, kind, name, I, H);
}
