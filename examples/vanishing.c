/* vanishing.c: how much of a gradient arrives, and how far back. A loss L looks at the last state
 * of a recurrent network; the program prints and draws
 *
 *     |dL/ds_t| / |dL/ds_T|      over the distance T - t,       dL/ds_t = dL/ds_T prod ds_i+1/ds_i
 *
 * s the whole state of a cell: h, and for an lstm h and c. Every factor of the product shrinks the
 * gradient or stretches it, so that it vanishes or explodes exponentially (S. Hochreiter 1991;
 * Y. Bengio, P. Simard, P. Frasconi 1994; R. Pascanu, T. Mikolov, Y. Bengio 2013).
 *
 * Four pictures: the cells as they start; other starts; truncation, which cuts the product off; and
 * clipping, by which a network whose gradients explode learns all the same. Numbers are doubles,
 * since floats end at 1e-45. */
#include "examples/kit/run.h"

#include <math.h>
#include <stdlib.h>

enum { INPUTS = 4, MOST_STATES = 2, MOST_SUBJECTS = 8 };

static const char *plot;
static int length = 100, hidden = 32, batch = 16, updates = 1000;
static double lr = 0.03, clip = 1;
static uint64_t seed = 1;

static kit_option options[] = {
    KIT_OPTION("length", &length, "[1,10000]", "T", "the largest distance"),
    KIT_OPTION("hidden", &hidden, "[1,4096]", "N", "units of a cell"),
    KIT_OPTION("batch", &batch, "[1,4096]", "N", "random sequences to average over"),
    KIT_OPTION("updates", &updates, "[1,100000]", "N", "updates with and without clipping"),
    KIT_OPTION("lr", &lr, "(0,1e30]", "X", "their learning rate (of plain gradient descent)"),
    KIT_OPTION("clip", &clip, "(0,inf)", "X", "norm to which they are clipped"),
    KIT_OPTION("seed", &seed, NULL, "N", "seed of all random numbers"),
    KIT_OPTION("plot", &plot, NULL, "FILE.svg", "draws the cells there, the other three pictures "
               "beside it as FILE-start.svg, FILE-truncation.svg and FILE-clipping.svg"),
};

/* ---- The cells, and how they start ----------------------------------------------------------- */

static ur_cell *tanh_cell(ur_params *ps, double gain)
{
    ur_cell_options o = ur_cell_defaults(hidden);
    if (gain > 0)
        o.W = ur_orthogonal(gain);
    return ur_elman_with(ps, "tanh", INPUTS, hidden, &o);
}

static ur_cell *relu_cell(ur_params *ps, double gain)
{
    ur_cell_options o = ur_cell_defaults(hidden);
    if (gain > 0)
        o.W = ur_identity(gain), o.b = ur_constant(0);
    return ur_elman_relu_with(ps, "relu", INPUTS, hidden, &o);
}

static ur_cell *lstm_cell(ur_params *ps, double forget)
{
    ur_cell_options o = ur_cell_defaults(hidden);
    o.forget = ur_constant(forget);
    return ur_lstm_with(ps, "lstm", INPUTS, hidden, &o);
}

static ur_cell *gru_cell(ur_params *ps, double unused)
{
    (void)unused;
    return ur_gru(ps, "gru", INPUTS, hidden);
}

typedef struct {
    const char *name;
    ur_cell *(*make)(ur_params *ps, double start);
    double start;               /* 0: as the library does */
    int truncation;             /* steps after which states are cut off from those before, or 0 */
} subject;

static const subject cells[] = {
    { "tanh", tanh_cell, 0, 0 }, { "relu", relu_cell, 0, 0 }, { "relu, W=1", relu_cell, 1, 0 },
    { "lstm", lstm_cell, 1, 0 }, { "gru", gru_cell, 0, 0 },
};
static const subject starts[] = {
    { "tanh |W|=1", tanh_cell, 1, 0 }, { "tanh |W|=2", tanh_cell, 2, 0 },
    { "relu W=0.9", relu_cell, 0.9, 0 }, { "relu W=1.1", relu_cell, 1.1, 0 },
    { "lstm bf=0", lstm_cell, 0, 0 }, { "lstm bf=3", lstm_cell, 3, 0 },
    { "lstm bf=6", lstm_cell, 6, 0 },
};
static const subject truncated[] = {
    { "all steps", relu_cell, 1, 0 }, { "50 steps", relu_cell, 1, 50 },
    { "20 steps", relu_cell, 1, 20 }, { "5 steps", relu_cell, 1, 5 },
};

/* ---- Distance by distance -------------------------------------------------------------------- */

static ur_node noise(ur_graph *g, int rank, const int dim[])
{
    return ur_noise_normal_at(NULL, g, 1, rank, dim);
}

/* The norm of dL/ds_t into norm[distance], from 0 to length, relative to the first one. */
static void measure(const subject *who, double norm[])
{
    ur_params *ps = ur_params_new(UR_F64, seed);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    kit_need(ps), kit_need(g);
    ur_seed(g, seed);
    ur_cell *cell = who->make(ps, who->start);
    kit_need(ps);
    int n = cell->n_states, all = (length + 1) * n;
    ur_node s[MOST_STATES], *state = ur_graph_alloc(g, (size_t)all * sizeof *state);
    ur_node *gradient = ur_graph_alloc(g, (size_t)all * sizeof *gradient), L = UR_NIL;
    double *sum = ur_graph_alloc(g, (size_t)(length + 1) * sizeof *sum);
    kit_need(g);
    ur_cell_zero_states(g, cell, batch, s);
    for (int t = 0; t <= length; t++) {
        for (int k = 0; k < n && who->truncation && (length - t + 1) % who->truncation == 0; k++)
            s[k] = ur_detach(s[k]);
        ur_cell_apply(cell, t, noise(g, 2, (int[]){ batch, INPUTS }), s);
        for (int k = 0; k < n; k++)
            state[t * n + k] = s[k];
    }
    for (int k = 0; k < n; k++) {       /* L = sum of w s_T, w random */
        ur_node part = ur_sum(ur_mul(s[k], noise(g, 2, (int[]){ batch, hidden })));
        L = k == 0 ? part : ur_add(L, part);
    }
    ur_grad(&L, NULL, 1, state, all, gradient);
    for (int i = 0; i < all; i++)
        gradient[i] = ur_sum(ur_square(gradient[i]));
    if (!ur_run(g))
        kit_need(g);
    for (int i = 0; i < all; i++)
        sum[length - i / n] += ur_value(gradient[i]);
    for (int d = 0; d <= length; d++)
        norm[d] = sqrt(sum[d] / sum[0]);
    ur_graph_free(g);
    ur_params_free(ps);
}

static void draw(const char *word, const kit_plot *p)
{
    char *path = word && plot ? kit_path_with(plot, word) : NULL;
    if (plot && !kit_svg_lines(path ? path : plot, p))
        exit(2);
    free(path);
}

static void compare(const char *title, const char *word, const subject *who, int n)
{
    static const int shown[] = { 0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000 };
    size_t points = (size_t)length + 1;
    double *x = kit_zeros(points, sizeof *x), *y = kit_zeros((size_t)n * points, sizeof *y);
    kit_series lines[MOST_SUBJECTS];
    printf("\n%s\ndistance", title);
    for (int i = 0; i < n; i++) {
        measure(&who[i], y + (size_t)i * points);
        lines[i] = (kit_series){ who[i].name, x, y + (size_t)i * points, points };
        printf(" %10s", who[i].name);
    }
    for (size_t d = 0; d < points; d++)
        x[d] = (double)d;
    for (size_t k = 0; k < sizeof shown / sizeof *shown && shown[k] <= length; k++) {
        printf("\n%8d", shown[k]);
        for (int i = 0; i < n; i++)
            printf(" %10.1e", lines[i].y[shown[k]]);
    }
    printf("\n");
    draw(word, &(kit_plot){ title, "distance", "norm of dL/ds", true, lines, (size_t)n });
    free(x), free(y);
}

/* ---- Clipping -------------------------------------------------------------------------------- */

/* Trains a network whose gradients explode to tell the first of twenty inputs: relu, W = 1.2. The
 * losses and the norms of the gradients, before clipping, of every update. */
static void train(double max_norm, double loss[], double norm[])
{
    enum { STEPS = 20 };
    ur_params *ps = ur_params_new(UR_F64, seed);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    kit_need(ps), kit_need(g);
    ur_seed(g, seed);
    ur_cell *cell = relu_cell(ps, 1.2);
    ur_linear_layer out = ur_linear_new(ps, "out", hidden, INPUTS);
    kit_need(ps);
    ur_optim *optim = ur_optim_new(ps, ur_sgd(lr));
    kit_need(ps);
    ur_clip_norm(optim, max_norm);
    for (int u = 0; u < updates && !kit_interrupted; u++) {
        ur_clear(g);
        ur_node x = noise(g, 3, (int[]){ STEPS, batch, INPUTS });
        ur_node h = ur_index(ur_unroll(cell, x, NULL), 0, -1);
        ur_node E = ur_squared_loss(ur_linear(out, h), ur_index(x, 0, 0));
        ur_backward(E);
        if (!ur_run(g))
            kit_need(g);
        if (!ur_step(optim))
            kit_need(ps);
        loss[u] = ur_value(E), norm[u] = ur_gradient_norm(optim);
    }
    ur_optim_free(optim);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* "diverged" for what is no number any more. */
static const char *figure(char out[static 64], double value)
{
    return isfinite(value) ? kit_number(out, "%.3g", value) : "diverged";
}

static double mean(const double x[], int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    return sum / n;
}

static void compare_clipping(void)
{
    int tenth = updates >= 10 ? updates / 10 : 1;
    char text[4][64];
    double *x = kit_zeros(5 * (size_t)updates, sizeof *x), *y[4];
    for (int k = 0; k < 4; k++)
        y[k] = x + (size_t)(k + 1) * (size_t)updates;
    train(0, y[0], y[1]);
    train(clip, y[2], y[3]);
    printf("\nlearning with relu, W = 1.2, which explodes\n%8s %23s %23s\n", "", "as it is",
           "clipped");
    printf("%8s %11s %11s %11s %11s\n", "update", "loss", "gradient", "loss", "gradient");
    for (int u = 0; u < updates; u++) {
        x[u] = u + 1;
        if (u < 3 || (u + 1) % tenth == 0)
            printf("%8d %11s %11s %11s %11s\n", u + 1, figure(text[0], y[0][u]),
                   figure(text[1], y[1][u]), figure(text[2], y[2][u]), figure(text[3], y[3][u]));
    }
    printf("clipped: mean loss %.3f of the first tenth, mean loss %.3f of the last\n",
           mean(y[2], tenth), mean(y[2] + updates - tenth, tenth));
    for (int u = 0; u < updates; u++)       /* a line that leaves the picture at its top */
        if (!(y[0][u] < 1e4))
            y[0][u] = u > 0 && y[0][u - 1] < 1e4 ? 1e4 : NAN;
    kit_series lines[] = { { "loss as it is", x, y[0], (size_t)updates },
                           { "loss clipped", x, y[2], (size_t)updates } };
    draw("clipping", &(kit_plot){ "clipping", "update", "loss", true, lines, 2 });
    free(x);
}

int main(int argc, char **argv)
{
    kit_args(&(kit_usage){ "Shows how gradients vanish and explode on their way back in time.",
                           "vanishing --plot vanishing.svg", NULL, options,
                           sizeof options / sizeof *options }, argc, argv);
    kit_catch_interrupt();
    if (!kit_check_writable(plot))
        return 2;
    printf("synthetic task: %d random sequences of %d steps, %d units\n", batch, length, hidden);
    compare("cells as they start", NULL, cells, sizeof cells / sizeof *cells);
    if (!kit_interrupted)
        compare("other starts", "start", starts, sizeof starts / sizeof *starts);
    if (!kit_interrupted)
        compare("truncation (relu, W=1)", "truncation", truncated,
                sizeof truncated / sizeof *truncated);
    if (!kit_interrupted)
        compare_clipping();
    return kit_finish();
}
