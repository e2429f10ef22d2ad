/* adding.c: the adding problem, the classic test of long memory (Hochreiter and Schmidhuber, Neural
 * Computation 9, 1997). A sequence of T steps has two inputs a step: a number drawn from [0, 1],
 * and a mark that is 1 at two steps, one in either half, and 0 elsewhere. After the last step the
 * network is to give the sum of the two marked numbers.
 *
 *     h_t, s_t = cell(x_t, s_t-1)      y = h_T W + b      loss = mean (y - sum)^2
 *
 * Who always answers 1 has a loss of 1/6, the variance of the sum of two such numbers: 0.167. To do
 * better, something must last from the marks to the end. Every update draws new sequences.
 *
 * The gates of lstm and gru start so that their units forget after 2 to T steps (kit_chrono); where
 * an lstm starts as usual it takes many more updates. */
#include "examples/kit/run.h"

#include <string.h>

/* ---- Options --------------------------------------------------------------------------------- */

static const char *cell = "lstm", *start = "chrono";
static int length = 200, hidden = 64, batch = 32, report = 100;

static kit_option options[] = {
    KIT_SAVED(KIT_MODEL, "cell", &cell, "elman|irnn|gru|lstm", "NAME", "kind of cell"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of the cell"),
    KIT_SAVED(KIT_FIXED, "length", &length, "[2,100000]", "T", "steps of a sequence"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "sequences of an update"),
    KIT_SAVED(KIT_FIXED, "start", &start, "chrono|plain", "NAME",
              "lstm, gru: whether biases of gates start for a memory of T steps"),
    KIT_SAVED(KIT_FIXED, "report", &report, "[1,1000000]", "N",
              "updates of an epoch; sequences apart are looked at after each"),
    KIT_TRAINING,
};

/* ---- Data ------------------------------------------------------------------------------------ */

/* Sequence b of a batch of B: x [T,B,2], y [B,1]. */
static void draw(uint64_t *random, int b, int B, double x[], double y[])
{
    int mark[2] = { kit_below(random, length / 2),
                    length / 2 + kit_below(random, length - length / 2) };
    for (int t = 0; t < length; t++) {
        double *now = x + ((size_t)t * (size_t)B + (size_t)b) * 2;
        now[0] = kit_uniform(random);
        now[1] = t == mark[0] || t == mark[1];
        y[b] += now[0] * now[1];
    }
}

/* ---- Model ----------------------------------------------------------------------------------- */

typedef struct {
    kit_run run;
    ur_cell *rnn;
    ur_linear_layer out;
} adder;

/* The loss on B new sequences. */
static ur_node record(const adder *a, ur_graph *g, uint64_t random, int B)
{
    ur_clear(g);
    size_t n = (size_t)length * (size_t)B * 2;
    double *x = ur_graph_alloc(g, n * sizeof *x), *y = ur_graph_alloc(g, (size_t)B * sizeof *y);
    kit_need(g);
    for (int b = 0; b < B; b++)
        draw(&random, b, B, x, y);
    ur_node h = ur_unroll(a->rnn, ur_input(g, kit_numbers(g, x, n), length, B, 2), NULL);
    ur_node sum = ur_input(g, kit_numbers(g, y, (size_t)B), B, 1);
    return ur_squared_loss(ur_linear(a->out, ur_index(h, 0, -1)), sum);
}

/* ---- Training -------------------------------------------------------------------------------- */

static double update(void *ctx, int64_t position)
{
    adder *a = ctx;
    uint64_t random = kit_settings.seed << 32 ^ (uint64_t)a->run.done;
    (void)position;
    return kit_run_learn(&a->run, record(a, a->run.graph, kit_random(&random), batch));
}

/* The mean loss of a thousand sequences, the same ones every time. */
static bool validate(void *ctx, double *mean)
{
    enum { BATCHES = 10, ROWS = 100 };
    adder *a = ctx;
    *mean = 0;
    for (int i = 0; i < BATCHES && !kit_interrupted; i++) {
        uint64_t random = ~(uint64_t)i;
        ur_node loss = record(a, a->run.scoring, kit_random(&random), ROWS);
        *mean += kit_value(a->run.scoring, loss) / BATCHES;
    }
    return !kit_interrupted;
}

int main(int argc, char **argv)
{
    adder a = { 0 };
    kit_settings.lr = 5e-3, kit_settings.clip = 1, kit_settings.epochs = 12;
    kit_args(&(kit_usage){ "Learns to add two marked numbers of a long sequence.",
                           "adding --length 400 --epochs 20\n"
                           "adding --length 200 --cell elman --plot elman.svg",
                           NULL, options, sizeof options / sizeof *options }, argc, argv);
    kit_run_prepare("adding 1", options, sizeof options / sizeof *options, NULL, NULL, 1);
    kit_catch_interrupt();
    printf("synthetic task: the adding problem, T = %d; always answering 1: loss 0.1667\n", length);
    ur_params *ps = kit_run_params();
    a.rnn = kit_cell(ps, cell, "cell", 2, hidden);
    a.out = ur_linear_new(ps, "out", hidden, 1);
    kit_need(ps);
    if (strcmp(start, "chrono") == 0)
        kit_chrono(ps, a.rnn, length, kit_settings.seed);
    a.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &a,
                       .per_epoch = report, .items = batch, .unit = "sequences" };
    kit_run_open(&a.run);
    bool done = kit_run_train(&a.run);
    kit_run_plot("adding problem", (const kit_run *[]){ &a.run }, 1);
    if (done)
        kit_run_table("cell", &cell, (const kit_run *[]){ &a.run }, 1);
    kit_run_close(&a.run);
    return kit_finish();
}
