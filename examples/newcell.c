/* newcell.c: a cell that the library does not have, written as a user would: the equation in C, its
 * parameters, and nothing else. Gradients, unrolling, batching and states come from the library.
 *
 * The cell is the recurrent network with multiplicative integration: where Elman's adds what comes
 * from the input and what comes from the state, this one also multiplies them, unit by unit.
 *
 *     u = x U      w = h W      h' = tanh(a * u * w + p * u + q * w + b)
 *
 * Y. Wu, S. Zhang, Y. Zhang, Y. Bengio, R. Salakhutdinov, "On multiplicative integration with
 * recurrent neural networks", NIPS 2016.
 *
 * The program proves the cell's gradients, draws the unrolled cell, and then trains it on a task
 * made for products: parity. After every bit of a string it is to tell whether the ones so far are
 * odd in number. Elman's cell can be trained beside it: --cell elman. */
#include "examples/kit/run.h"

#include <string.h>

/* ---- The cell -------------------------------------------------------------------------------- */

typedef struct {
    ur_cell cell;               /* first: what the library knows of any cell */
    ur_node U, W, a, p, q, b;
} product_cell;

/* One step for the rows of x [B,I]; the state s[0] [B,H] is replaced by its successor. */
static ur_node product_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const product_cell *c = (const product_cell *)cell;
    ur_node u = ur_matmul(x, c->U), w = ur_matmul(s[0], c->W);
    ur_node both = ur_mul(c->a, ur_mul(u, w));
    ur_node each = ur_add(ur_mul(c->p, u), ur_mul(c->q, w));
    return s[0] = ur_tanh(ur_add(ur_add(both, each), c->b));
}

static ur_cell *product_cell_new(ur_params *ps, const char *name, int I, int H)
{
    product_cell *c = ur_cell_new(ps, name, sizeof *c, product_step, I, H, 1, (int[]){ H });
    c->U = ur_param(ps, ur_namef(ps, "%s.U", name), ur_xavier(), I, H);
    c->W = ur_param(ps, ur_namef(ps, "%s.W", name), ur_orthogonal(1), H, H);
    c->a = ur_param(ps, ur_namef(ps, "%s.a", name), ur_constant(1), H);
    c->p = ur_param(ps, ur_namef(ps, "%s.p", name), ur_constant(0.5), H);
    c->q = ur_param(ps, ur_namef(ps, "%s.q", name), ur_constant(0.5), H);
    c->b = ur_param(ps, ur_namef(ps, "%s.b", name), ur_constant(0), H);
    return &c->cell;
}

/* ---- Its proof and its drawing --------------------------------------------------------------- */

/* Compares every gradient of the cell, unrolled, with differences of its values, in double. */
static void prove(ur_cell *cell)
{
    ur_report r = ur_check_cell(cell, .T = 3, .B = 2, .order = 2);
    if (r.status == UR_CHECK_ERROR)
        kit_die("the gradients of the cell cannot be checked: %s", r.why);
    if (r.status != UR_CHECK_PASSED) {
        ur_report_print(&r, stderr);
        kit_die("the gradients of the cell are wrong: %s", r.why);
    }
    printf("gradients: %zu numbers of %d tensors checked, first and second order; largest error "
           "%.1e\n", r.checked, r.n_rows / 2, r.worst < 0 ? 0 : r.row[r.worst].error);
    ur_report_free(&r);
}

static void draw(const ur_cell *cell, const char *path)
{
    ur_graph *g = kit_run_graph(UR_INFER);
    ur_unroll(cell, ur_named(ur_input(g, NULL, 2, 1, cell->inputs), "x"), NULL);
    kit_write_dot(path, g);
    ur_graph_free(g);
}

/* ---- Options --------------------------------------------------------------------------------- */

static const char *kind = "product", *dot;
static int hidden = 8, length = 20, batch = 32;

static kit_option options[] = {
    KIT_SAVED(KIT_MODEL, "cell", &kind, "product|elman", "NAME", "the new cell, or Elman's"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of the cell"),
    KIT_SAVED(KIT_FIXED, "length", &length, "[1,100000]", "T", "bits of a string"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "strings of an update"),
    KIT_OPTION("dot", &dot, NULL, "FILE", "draws two steps of the cell there, for Graphviz"),
    KIT_TRAINING,
};

/* ---- Task, model, training ------------------------------------------------------------------- */

enum { EPOCH = 50 };            /* updates, after which new strings are looked at */

typedef struct {
    kit_run run;
    ur_cell *rnn;
    ur_linear_layer out;
    double accuracy;            /* of the last validation */
} learner;

/* Records B new strings of T bits; the loss, and the logits z [T,B,1] and their targets. */
static ur_node record(const learner *l, ur_graph *g, uint64_t random, int T, int B, ur_node *z,
                      const double **odd)
{
    size_t n = (size_t)T * (size_t)B;
    ur_clear(g);
    double *x = ur_graph_alloc(g, n * sizeof *x), *y = ur_graph_alloc(g, n * sizeof *y);
    kit_need(g);
    for (size_t i = 0; i < n; i++) {        /* i - B: the same string, a step earlier */
        x[i] = kit_below(&random, 2);
        y[i] = i < (size_t)B ? x[i] : x[i] != y[i - (size_t)B];
    }
    *z = ur_linear(l->out, ur_unroll(l->rnn, ur_input(g, kit_numbers(g, x, n), T, B, 1), NULL));
    *odd = y;
    return ur_binary_cross_entropy(*z, ur_input(g, kit_numbers(g, y, n), T, B, 1));
}

static double update(void *ctx, int64_t position)
{
    learner *l = ctx;
    ur_node z;
    const double *odd;
    uint64_t random = kit_settings.seed << 32 ^ (uint64_t)l->run.done;
    (void)position;
    ur_node loss = record(l, l->run.graph, kit_random(&random), length, batch, &z, &odd);
    return kit_run_learn(&l->run, loss);
}

/* The loss on a hundred strings five times as long as those that are learned. */
static bool validate(void *ctx, double *loss)
{
    enum { ROWS = 100 };
    learner *l = ctx;
    ur_graph *g = l->run.scoring;
    ur_node z;
    const double *odd;
    *loss = kit_value(g, record(l, g, ~(uint64_t)0, 5 * length, ROWS, &z, &odd));
    ur_node truth = ur_input(g, kit_numbers(g, odd, ur_count(z)), 5 * length, ROWS, 1);
    l->accuracy = kit_value(g, ur_mean(ur_equal(ur_greater(z, ur_scalar(g, 0)), truth)));
    return true;
}

int main(int argc, char **argv)
{
    learner l = { 0 };
    kit_settings.epochs = 20, kit_settings.lr = 1e-2, kit_settings.clip = 1;
    kit_args(&(kit_usage){ "A cell of one's own: proves it, draws it, trains it on parity.",
                           "newcell --dot newcell.dot\nnewcell --cell elman",
                           NULL, options, sizeof options / sizeof *options }, argc, argv);
    kit_run_prepare("newcell 1", options, sizeof options / sizeof *options, NULL, NULL, 1);
    kit_catch_interrupt();
    printf("synthetic task: the parity of %d random bits; without knowing it: loss 0.693\n",
           length);
    ur_params *ps = kit_run_params();
    l.rnn = strcmp(kind, "elman") == 0 ? ur_elman(ps, "elman", 1, hidden)
                                       : product_cell_new(ps, "product", 1, hidden);
    l.out = ur_linear_new(ps, "out", hidden, 1);
    kit_need(ps);
    prove(l.rnn);
    if (dot)
        draw(l.rnn, dot);
    l.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &l,
                       .per_epoch = EPOCH, .items = batch, .unit = "strings" };
    kit_run_open(&l.run);
    bool done = kit_run_train(&l.run);
    kit_run_plot("parity", (const kit_run *[]){ &l.run }, 1);
    if (done)
        kit_run_table("cell", &kind, (const kit_run *[]){ &l.run }, 1);
    if (done && l.run.done > 0)
        printf("right after each of %d bits: %.2f %%\n", 5 * length, 100 * l.accuracy);
    kit_run_close(&l.run);
    return kit_finish();
}
