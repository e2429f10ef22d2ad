/* Drawing a tape: leaves, then lines of random forms with recurrences among them, gradients of
 * inner values and what is made of them, then what is asked of the whole. (The order in which C
 * evaluates arguments is the compiler's: another one may draw other tapes from the same seeds.) */
#include "tests/tape_draw.h"

/* One of the first leaves. */
static void draw_start(drawing *d)
{
    for (int i = 0; i < 3; i++) {
        int dim[3] = { draw_size(d), draw_size(d), draw_size(d) };
        draw_leaf(d, TAPE_GIVEN, 0, d->wide || draw_pick(d, 4) ? 2 : 3, dim);
    }
    draw_weight(d, 2, (int[]){ 1 + draw_pick(d, 7), 1 + draw_pick(d, 5) });
    while (draw_pick(d, 2) && d->states < TAPE_STATES) {
        tape_line l = { .form = FORM_state, .n = { d->states }, .shape = { 2, { 3, 5 } } };
        d->states += draw_put(d, l) >= 0;
    }
    if (draw_pick(d, 4) == 0)
        draw_put(d, (tape_line){ .form = FORM_zeros, .n = { draw_size(d), draw_size(d) } });
    draw_put(d, (tape_line){ .form = FORM_number, .n = { draw_pick(d, 16) - 8 } });
}

/* ---------------------------------------------------------------------------------- recurrences */

enum { STEPS = 6, GATES = 4, SOURCES = 6 };

typedef struct cell {
    int T, B, I, H, gates, kind;
    int source, x, ids, table;              /* where x_t comes from */
    int W[GATES], U[GATES], b[GATES];       /* U[0] >= 0: x U + h W, not [h, x] W */
    bool x_first;
} cell;

/* A sequence, the rows of a table by ids (all at once, by step, or by new ids each step), or one x
 * for all steps. */
static int step_input(drawing *d, cell *c, int t)
{
    switch (c->source) {
    case 0: return draw_one(d, FORM_index, c->x, 0, t, 0);
    case 1: return draw_one(d, FORM_slice, c->x, 0, t * c->B, (t + 1) * c->B);
    case 2: return draw_two(d, FORM_gather, c->table, draw_one(d, FORM_ids_index, c->ids, t, 0, 0),
                            0, 0);
    case 3: {
        int V = c->table < 0 ? 0 : draw_shape(d, c->table)->dim[0];
        return draw_two(d, FORM_gather, c->table, draw_leaf(d, TAPE_IDS, V, 1, &c->B), 0, 0);
    }
    default: return c->x;
    }
}

static void draw_inputs(drawing *d, cell *c)
{
    c->source = draw_pick(d, SOURCES);
    if (c->source == 0)
        c->x = draw_leaf(d, TAPE_GIVEN, 0, 3, (int[]){ c->T, c->B, c->I });
    else if (c->source == 1)
        c->x = draw_leaf(d, TAPE_GIVEN, 0, 2, (int[]){ c->T * c->B, c->I });
    else if (c->source == 5)
        c->x = draw_leaf(d, TAPE_GIVEN, 0, 2, (int[]){ c->B, c->I });
    else {
        int V = draw_pick(d, 2) ? 2 + draw_pick(d, 4) : 97;
        c->table = draw_weight(d, 2, (int[]){ V, c->I });
        c->ids = draw_leaf(d, TAPE_IDS, V, 2, (int[]){ c->T, c->B });
        c->x = draw_two(d, FORM_gather, c->table, c->ids, 0, 0);
        c->source = c->source == 4 ? 0 : c->source;
    }
}

static void draw_weights(drawing *d, cell *c)
{
    bool apart = draw_pick(d, 4) == 0;
    for (int k = 0; k < c->gates; k++) {
        c->W[k] = draw_weight(d, 2, (int[]){ apart ? c->H : c->H + c->I, c->H });
        c->U[k] = apart ? draw_weight(d, 2, (int[]){ c->I, c->H }) : -1;
        c->b[k] = draw_weight(d, 1, &c->H);
    }
}

static void remark(drawing *d, int line)
{
    if (line >= 0)
        d->remarked[d->n_remarked < REMARKED ? d->n_remarked++ : draw_pick(d, REMARKED)] = line;
}

/* The k-th gate before its sigmoid, of hx = [h, x]. */
static int gate(drawing *d, const cell *c, int k, int h, int x, int hx)
{
    if (c->U[k] < 0)
        return draw_put(d, (tape_line){ .form = FORM_cell_affine, .n_in = 3,
                                        .in = { hx, c->W[k], c->b[k] } });
    int xU = draw_put(d, (tape_line){ .form = FORM_cell_affine, .n_in = 3,
                                      .in = { x, c->U[k], c->b[k] } });
    return draw_two(d, FORM_add, xU, draw_two(d, FORM_matmul, h, c->W[k], 0, 0), 0, 0);
}

/* Kinds by the number of gates: elman; f and n; r, z and n, with [r*h, x]; i, f, g and o. */
static int step(drawing *d, const cell *c, int *h, int *memory, int x)
{
    int hx = c->x_first ? draw_two(d, FORM_concat, x, *h, 0, 0)
                        : draw_two(d, FORM_concat, *h, x, 0, 0);
    int pre[GATES], s[GATES], rh;
    for (int k = 0; k < c->gates; k++) {
        int left = *h, both = hx;
        if (c->gates == 3 && k == 2) {
            rh = draw_two(d, FORM_mul, s[0], *h, 0, 0);
            left = rh;
            both = c->x_first ? draw_two(d, FORM_concat, x, rh, 0, 0)
                              : draw_two(d, FORM_concat, rh, x, 0, 0);
        }
        pre[k] = gate(d, c, k, left, x, both);
        s[k] = draw_one(d, k == (c->gates == 4 ? 2 : c->gates - 1) ? FORM_tanh : FORM_sigmoid,
                        pre[k], 0, 0, 0);
    }
    if (draw_pick(d, 3) == 0) {
        remark(d, hx);
        remark(d, x);
        remark(d, pre[draw_pick(d, c->gates)]);
    }
    if (c->gates == 4) {
        *memory = draw_two(d, FORM_add, draw_two(d, FORM_mul, s[1], *memory, 0, 0),
                           draw_two(d, FORM_mul, s[0], s[2], 0, 0), 0, 0);
        return *h = draw_two(d, FORM_mul, s[3], *memory, 0, 0);
    }
    if (c->gates == 1)
        return *h = s[0];
    int z = s[c->gates - 2], n = s[c->gates - 1];
    int keep = draw_two(d, FORM_mul, draw_one(d, FORM_one_minus, z, 0, 0, 0), *h, 0, 0);
    return *h = draw_two(d, FORM_add, keep, draw_two(d, FORM_mul, z, n, 0, 0), 0, 0);
}

/* A recurrent net; at times a second one over its outputs, or backwards over the same inputs. */
static void draw_recurrence(drawing *d)
{
    static const int small[] = { 1, 2, 3, 5 }, wide[] = { 16, 31, 33, 67 };
    const int *of = d->wide ? wide : small;
    cell c = { .T = 1 + draw_pick(d, STEPS), .I = of[draw_pick(d, 4)], .H = of[draw_pick(d, 4)],
               .B = d->tall ? 131 + 126 * draw_pick(d, 2) : of[draw_pick(d, 3)],
               .gates = 1 + draw_pick(d, GATES), .x_first = draw_pick(d, 4) == 0 };
    int zero = draw_leaf(d, TAPE_GIVEN, 0, 2, (int[]){ c.B, c.H }), h = zero, memory = zero;
    tape_line out = { .n_in = c.T };
    int x[STEPS];
    draw_inputs(d, &c);
    draw_weights(d, &c);
    for (int t = 0; t < c.T; t++)
        out.in[t] = step(d, &c, &h, &memory, x[t] = step_input(d, &c, t));
    out.form = draw_pick(d, 3) ? FORM_stack_n : FORM_concat_n;
    if (draw_pick(d, 4))
        draw_put(d, out);
    if (draw_pick(d, 3))
        return;
    bool back = draw_pick(d, 2);
    if (!back) {
        c.I = c.H;
        memcpy(x, out.in, sizeof x);
    }
    h = memory = zero;
    if (!back || draw_pick(d, 2))
        draw_weights(d, &c);
    for (int t = 0; t < c.T; t++)
        out.in[t] = step(d, &c, &h, &memory, x[back ? c.T - 1 - t : t]);
    draw_put(d, out);
}

/* ------------------------------------------------------------------------------------ the whole */

/* A loss of one to three values, and the request for its gradient. */
static void draw_loss(drawing *d)
{
    int loss = -1;
    for (int i = 1 + draw_pick(d, 3); i > 0; i--) {
        int x = draw_any(d);
        for (int tries = 0; tries < 8 && !d->t->line[x].grows; tries++)
            x = draw_any(d);
        x = draw_one(d, draw_pick(d, 3) ? FORM_sin : FORM_tanh, x, 0, 0, 0);
        if (x >= 0)
            x = draw_one(d, draw_pick(d, 2) ? FORM_sum : FORM_mean, x,
                         (int)ur_count(d->v[x]) + 8, 0, 0);
        loss = loss < 0 || x < 0 ? x : draw_two(d, FORM_add, loss, x, 0, 0);
    }
    if (loss < 0 || draw_one(d, FORM_backward, loss, 0, 0, 0) < 0)
        return;
    d->t->line[loss].seen = true;
}

static void draw_states(drawing *d)
{
    for (int k = 0; k < d->states; k++) {
        int x = draw_any(d), s = -1;
        for (int i = 0; i < d->t->n && s < 0; i++)
            if (d->t->line[i].form == FORM_state && d->t->line[i].n[0] == k)
                s = i;
        x = draw_one(d, FORM_sum, x, (int)ur_count(d->v[x]) + 8, 0, 0);
        s = draw_two(d, FORM_mix, x, s, 0, 0);
        if (s >= 0)
            draw_one(d, FORM_state_out, s, k, 0, 0);
    }
}

static void draw_seen(drawing *d)
{
    bool sections = draw_pick(d, 4) == 0;
    for (int i = 0; i < d->t->n; i++) {
        tape_line *l = &d->t->line[i];
        bool value = l->form != FORM_backward && l->form != FORM_state_out && !l->ints;
        l->seen |= value && (l->form == FORM_grad || draw_pick(d, 8) == 0);
        l->read = value && sections && draw_pick(d, 20) == 0;
    }
}

void tape_draw(tape *t, uint64_t seed)
{
    drawing d = { .t = t, .state = seed };
    d.r = (tape_run){ .g = ur_graph_new(UR_F64, UR_TRAIN), .ps = ur_params_new(UR_F64, 5),
                      .type = UR_F64 };
    for (int k = 0; k < TAPE_STATES; k++)
        d.r.st[k] = ur_params_new(UR_F64, 6);
    t->n = 0;
    d.wide = draw_pick(&d, 8) == 0;
    d.tall = !d.wide && draw_pick(&d, 10) == 0;
    d.empty = draw_pick(&d, 8) == 0;
    draw_start(&d);
    for (int steps = 3 + draw_pick(&d, 25); steps > 0; steps--)
        if (draw_pick(&d, d.tall ? 4 : 6))
            draw_form(&d, draw_pick(&d, TAPE_N_FORMS));
        else
            draw_recurrence(&d);
    for (int steps = draw_pick(&d, 3); steps > 0; steps--) {
        draw_form(&d, FORM_grad);
        for (int more = draw_pick(&d, 4); more > 0; more--)
            draw_form(&d, draw_pick(&d, TAPE_N_FORMS));
    }
    for (int losses = 1 + draw_pick(&d, 3); losses > 0; losses--)
        draw_loss(&d);
    draw_states(&d);
    draw_seen(&d);
    tape_sweep(t);
    ur_graph_free(d.r.g);
    ur_params_free(d.r.ps);
    for (int k = 0; k < TAPE_STATES; k++)
        ur_params_free(d.r.st[k]);
}
