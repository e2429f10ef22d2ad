/* copy.c: the copying task, the hardest of the classic tests of memory (Hochreiter and Schmidhuber,
 * Neural Computation 9, 1997; in this form M. Arjovsky, A. Shah, Y. Bengio, "Unitary evolution
 * recurrent neural networks", ICML 2016). The network reads n symbols of S, then nothing for T
 * steps, the last of which is a signal; then it is to say the n symbols, in order:
 *
 *     input     b d a . . . . . . . . . ! . . .        n = 3 symbols, . a blank
 *     output    . . . . . . . . . . . . . b d a
 *
 *     h_t, s_t = cell(x_t, s_t-1)      p(output t) = softmax(h_t W + b)
 *
 * Who remembers nothing says blanks and then guesses: a loss of n ln S / (T + 2n), the mean over
 * all steps. Every update draws new sequences. */
#include "examples/kit/run.h"

#include <math.h>
#include <string.h>

/* ---- Options --------------------------------------------------------------------------------- */

static const char *cell = "gru", *start = "chrono";
static int length = 50, symbols = 8, recall = 5, hidden = 64, batch = 32, report = 100;

static kit_option options[] = {
    KIT_SAVED(KIT_MODEL, "cell", &cell, "elman|irnn|gru|lstm", "NAME", "kind of cell"),
    KIT_SAVED(KIT_FIXED, "start", &start, "chrono|plain", "NAME",
              "lstm, gru: whether biases of gates start for a memory of T steps"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of the cell"),
    KIT_SAVED(KIT_FIXED, "length", &length, "[1,100000]", "T", "steps between the two"),
    KIT_SAVED(KIT_MODEL, "symbols", &symbols, "[2,1000]", "S", "kinds of symbols"),
    KIT_SAVED(KIT_FIXED, "recall", &recall, "[1,1000]", "N", "symbols to remember"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "sequences of an update"),
    KIT_SAVED(KIT_FIXED, "report", &report, "[1,1000000]", "N",
              "updates of an epoch; sequences apart are looked at after each"),
    KIT_TRAINING,
};

/* ---- Data ------------------------------------------------------------------------------------ */

/* Ids: the symbols, then the blank, then the signal, which is no output. */
static int steps(void)
{
    return length + 2 * recall;
}

/* Sequence b of a batch of B: x [steps,B] and y [steps,B]. */
static void draw(uint64_t *random, int b, int B, int32_t *x, int32_t *y)
{
    int32_t blank = symbols, signal = symbols + 1;
    for (int t = 0; t < steps(); t++)
        x[t * B + b] = y[t * B + b] = blank;
    for (int t = 0; t < recall; t++)
        x[t * B + b] = y[(length + recall + t) * B + b] = kit_below(random, symbols);
    x[(length + recall - 1) * B + b] = signal;
}

/* ---- Model ----------------------------------------------------------------------------------- */

typedef struct {
    kit_run run;
    ur_cell *rnn;
    ur_linear_layer out;
    double right;               /* share of the symbols, of the last validation */
} copier;

/* The loss on B new sequences; *right, if wanted, becomes the share of symbols that are said. */
static ur_node record(const copier *c, ur_graph *g, uint64_t random, int B, ur_node *right)
{
    ur_clear(g);
    size_t bytes = (size_t)steps() * (size_t)B * sizeof(int32_t);
    int32_t *x = ur_graph_alloc(g, bytes), *y = ur_graph_alloc(g, bytes);
    kit_need(g);
    for (int b = 0; b < B; b++)
        draw(&random, b, B, x, y);
    ur_node in = ur_one_hot(ur_ints(g, x, steps(), B), symbols + 2);
    ur_node z = ur_linear(c->out, ur_unroll(c->rnn, in, NULL)), label = ur_ints(g, y, steps(), B);
    if (right) {
        ur_node said = ur_slice(ur_argmax(z, -1), 0, -recall, UR_END);
        *right = ur_mean(ur_equal(ur_cast(said), ur_cast(ur_slice(label, 0, -recall, UR_END))));
    }
    return ur_cross_entropy(z, label);
}

/* ---- Training -------------------------------------------------------------------------------- */

static double update(void *ctx, int64_t position)
{
    copier *c = ctx;
    uint64_t random = kit_settings.seed << 32 ^ (uint64_t)c->run.done;
    (void)position;
    return kit_run_learn(&c->run, record(c, c->run.graph, kit_random(&random), batch, NULL));
}

/* A hundred sequences, the same ones every time. */
static bool validate(void *ctx, double *loss)
{
    copier *c = ctx;
    ur_node right;
    *loss = kit_value(c->run.scoring, record(c, c->run.scoring, ~(uint64_t)0, 100, &right));
    c->right = kit_value(c->run.scoring, right);
    return true;
}

int main(int argc, char **argv)
{
    copier c = { 0 };
    kit_settings.lr = 5e-3, kit_settings.clip = 1, kit_settings.epochs = 50;
    kit_args(&(kit_usage){ "Learns to repeat symbols after a long pause.",
                           "copy --length 50\ncopy --length 100 --cell elman --plot elman.svg",
                           NULL, options, sizeof options / sizeof *options }, argc, argv);
    kit_run_prepare("copy 1", options, sizeof options / sizeof *options, NULL, NULL, 1);
    kit_catch_interrupt();
    printf("synthetic task: %d of %d symbols after T = %d steps; without memory: loss %.4f\n",
           recall, symbols, length, recall * log(symbols) / steps());
    ur_params *ps = kit_run_params();
    c.rnn = kit_cell(ps, cell, "cell", symbols + 2, hidden);
    c.out = ur_linear_new(ps, "out", hidden, symbols + 1);
    kit_need(ps);
    if (strcmp(start, "chrono") == 0)
        kit_chrono(ps, c.rnn, steps(), kit_settings.seed);
    c.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &c,
                       .per_epoch = report, .items = batch, .unit = "sequences" };
    kit_run_open(&c.run);
    bool done = kit_run_train(&c.run);
    kit_run_plot("copying task", (const kit_run *[]){ &c.run }, 1);
    if (done)
        kit_run_table("cell", &cell, (const kit_run *[]){ &c.run }, 1);
    if (done && c.run.done > 0)
        printf("symbols remembered: %.1f %%\n", 100 * c.right);
    kit_run_close(&c.run);
    return kit_finish();
}
