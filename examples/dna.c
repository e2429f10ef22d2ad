/* dna.c: is a stretch of DNA a promoter, where the copying of a gene begins? A recurrent network
 * reads 57 bases in both directions, each with its neighbours, and one vector tells: many to one.
 *
 *     y_t = [h_t, k_t], both directions over the bases t-K .. t+K
 *     p(promoter) = sigmoid(max_t y_t W + b)
 *
 * There are 106 sequences only, so each is asked once, of a network that has learned the 105 others
 * (leave-one-out; G. Towell, J. Shavlik, M. Noordewier, "Refinement of approximate domain theories
 * by knowledge-based neural networks", AAAI 1990). A fold is the same tape with another target left
 * out: it is planned once. */
#include "examples/kit/run.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Options -------------------------------------------------------------------------------- */

static const char *data;
static int hidden = 16, near = 3, seeds = 3, folds, updates = 60;
static double dropout = 0.3;

static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FILE", "of lines +,NAME,SEQUENCE or -,NAME,SEQUENCE"),
    KIT_OPTION("hidden", &hidden, "[1,65536]", "N", "units of a gru, one a direction"),
    KIT_OPTION("near", &near, "[0,100]", "K", "neighbours of a base on each side that are seen"),
    KIT_OPTION("dropout", &dropout, "[0,1)", "P", "share of inputs and outputs that become zero"),
    KIT_OPTION("updates", &updates, "[1,1000000]", "N", "to learn a fold"),
    KIT_OPTION("lr", &kit_settings.lr, "(0,1e30]", "X", "learning rate of adam"),
    KIT_OPTION("folds", &folds, "[0,1000000]", "N", "parts to leave out in turn; 0: one sequence"),
    KIT_OPTION("seeds", &seeds, "[1,1000]", "N", "times to do all of it"),
    KIT_OPTION("seed", &kit_settings.seed, NULL, "N", "the first seed"),
    KIT_OPTION("threads", &kit_settings.threads, "[0,1024]", "N",
               "threads to compute with; 0: one a core"),
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data ----------------------------------------------------------------------------------- */

enum { BASES = 4 };
static const char letters[] = "acgt";

static struct {
    int n, T;
    char **base;                        /* n sequences of T letters */
    int *promoter;                      /* 1 or 0 */
    int *place;                         /* shuffled: sequence i is in fold place[i] % folds */
} set;

static void add(const char *sequence, int promoter)
{
    set.base = kit_grow(set.base, (size_t)set.n, sizeof *set.base);
    set.promoter = kit_grow(set.promoter, (size_t)set.n, sizeof *set.promoter);
    set.base[set.n] = kit_zeros(strlen(sequence) + 1, 1);
    strcpy(set.base[set.n], sequence);
    set.promoter[set.n++] = promoter;
    set.T = (int)strlen(sequence);
}

static void read_sequences(void)
{
    char *text;
    size_t n;
    int number = 0;
    if (!kit_read_file(data, &text, &n))
        exit(2);
    for (char *rest = text, *line; (line = kit_next_line(&rest)) != NULL;) {
        char *comma = strrchr(line, ',');
        number++;
        if (!*line)
            continue;
        if (!comma || (*line != '+' && *line != '-'))
            kit_die("'%s' line %d does not begin with +, or -,", data, number);
        char *sequence = comma + 1 + strspn(comma + 1, " \t");
        for (char *c = sequence; *c; c++)
            if (!strchr(letters, *c = (char)tolower((unsigned char)*c)))
                kit_die("'%s' line %d: '%c' is none of the bases %s", data, number, *c, letters);
        if (!*sequence)
            kit_die("'%s' line %d has no bases behind its last comma", data, number);
        if (set.n > 0 && (int)strlen(sequence) != set.T)
            kit_die("'%s' line %d has %d bases, but the first has %d", data, number,
                    (int)strlen(sequence), set.T);
        add(sequence, *line == '+');
    }
    if (set.n < 2)
        kit_die("'%s' has %d sequences, too few to leave one out", data, set.n);
    free(text);
}

/* Without --data: random bases; half of the sequences have the two boxes of a bacterial promoter,
 * at about their places, with a letter in eight wrong. */
static void make_sequences(uint64_t seed)
{
    for (int i = 0; i < 64; i++) {
        char text[58] = "";
        int at = 12 + kit_below(&seed, 4);
        for (int t = 0; t < 57; t++)
            text[t] = letters[kit_below(&seed, BASES)];
        for (int k = 0; k < 6 && i % 2; k++) {
            if (kit_below(&seed, 8))
                text[at + k] = "ttgaca"[k];
            if (kit_below(&seed, 8))
                text[at + 23 + k] = "tataat"[k];
        }
        add(text, i % 2);
    }
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    ur_params *params;
    ur_cell *forward, *backward;
    ur_linear_layer out;
} model;

static void build(model *m, uint64_t seed)
{
    int I = BASES * (2 * near + 1);
    ur_params *ps = m->params = ur_params_new(UR_F32, seed);
    kit_need(ps);
    m->forward = ur_gru(ps, "forward", I, hidden);
    m->backward = ur_gru(ps, "backward", I, hidden);
    m->out = ur_linear_new(ps, "out", 2 * hidden, 1);
    kit_need(ps);
}

/* The logits [n, 1] of all sequences. */
static ur_node logits(const model *m, ur_graph *g)
{
    int32_t *ids = ur_graph_alloc(g, sizeof *ids * (size_t)(set.T * set.n));
    for (int t = 0; t < set.T && ids; t++)
        for (int b = 0; b < set.n; b++)
            ids[t * set.n + b] = (int32_t)(strchr(letters, set.base[b][t]) - letters);
    ur_node x = ur_one_hot(ur_ints(g, ids, set.T, set.n), BASES);
    x = ur_dropout(ur_window(x, NULL, near, near), dropout / 2);
    ur_node y = ur_bidirectional(m->forward, m->backward, x, NULL, UR_MERGE_CONCAT, NULL);
    return ur_linear(m->out, ur_dropout(ur_pool_max(y, NULL), dropout));
}

/* ---- A fold --------------------------------------------------------------------------------- */

typedef struct {
    int errors, asked;
    double first, last;                 /* sums of losses, of the first and last update of a fold */
} outcome;

static bool left_out(int i, int fold)
{
    return folds > 0 ? set.place[i] % folds == fold : i == fold;
}

static void learn(const model *m, ur_graph *g, int fold, outcome *o)
{
    ur_optim *optim = ur_optim_new(m->params, ur_adam(kit_settings.lr));
    float *y = kit_zeros((size_t)set.n, sizeof *y), *known = kit_zeros((size_t)set.n, sizeof *y);
    int n = 0;
    for (int i = 0; i < set.n; i++) {
        y[i] = (float)set.promoter[i], known[i] = !left_out(i, fold);
        n += known[i] != 0;
    }
    kit_need(optim ? m->params : NULL);
    for (int u = 0; u < updates && !kit_interrupted; u++) {
        ur_clear(g);
        ur_node target = ur_input(g, y, set.n, 1), counts = ur_input(g, known, set.n, 1);
        ur_node each = ur_binary_cross_entropy_each(logits(m, g), target);
        ur_node loss = ur_backward(ur_scale(ur_sum(ur_select(counts, each)), 1.0 / n));
        if (!ur_run(g) || !ur_step(optim))
            kit_need(g);
        kit_need(m->params);
        o->first += u == 0 ? ur_value(loss) : 0;
        o->last += u == updates - 1 ? ur_value(loss) : 0;
    }
    ur_optim_free(optim);
    free(y);
    free(known);
}

static void ask(const model *m, ur_graph *g, int fold, outcome *o)
{
    ur_clear(g);
    const float *z = ur_data(logits(m, g));
    kit_need(g);
    for (int i = 0; i < set.n; i++)
        if (left_out(i, fold)) {
            o->asked++;
            o->errors += (z[i] > 0) != set.promoter[i];
        }
}

/* All folds of a seed, each from the same start. */
static outcome leave_out(uint64_t seed, kit_progress *bar)
{
    model m;
    outcome o = { 0 };
    build(&m, seed);
    ur_graph *g = kit_run_graph(UR_TRAIN), *asking = kit_run_graph(UR_INFER);
    float *values = ur_values(m.params);
    size_t size = ur_block_elements(m.params) * sizeof *values;
    float *start = kit_zeros(size, 1);
    memcpy(start, values, size);
    for (int fold = 0; fold < (folds > 0 ? folds : set.n) && !kit_interrupted; fold++) {
        memcpy(values, start, size);
        ur_params_changed(m.params);
        learn(&m, g, fold, &o);
        ask(&m, asking, fold, &o);
        bar->step++, bar->items++;
        kit_progress_show(bar, "errors", o.errors);
        kit_progress_update(bar);
    }
    ur_graph_free(g);
    ur_graph_free(asking);
    ur_params_free(m.params);
    free(start);
    return o;
}

/* ---- The program ---------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    char text[3][64];
    double errors = 0;
    kit_settings.lr = 1e-2;
    kit_args(&(kit_usage){
        "Learns to tell promoters from other DNA, leaving out one sequence at a time.",
        "dna --data promoters.data\ndna --data promoters.data --folds 10 --seeds 1 --near 3",
        NULL, options, OPTIONS }, argc, argv);
    kit_catch_interrupt();
    kit_say_made_up(data, "DNA, with or without the boxes of a promoter");
    data ? read_sequences() : make_sequences(kit_settings.seed);
    if (folds == 1 || folds > set.n)
        kit_die("--folds %d: from 2 to the %d sequences, or 0", folds, set.n);
    int n = folds > 0 ? folds : set.n;
    set.place = kit_zeros((size_t)set.n, sizeof *set.place);
    kit_order(set.place, set.n, kit_settings.seed, 0);
    kit_progress bar = { .unit = "folds", .steps = (long)n * seeds };
    kit_progress_start(&bar);
    for (int s = 0; s < seeds && !kit_interrupted; s++) {
        outcome o = leave_out(kit_settings.seed + (uint64_t)s, &bar);
        if (kit_interrupted)
            break;
        errors += (double)o.errors / seeds;
        kit_progress_wipe();
        printf("seed %" PRIu64 ": %d errors of %d (loss %s at first, loss %s in the end)\n",
               kit_settings.seed + (uint64_t)s, o.errors, o.asked,
               kit_number(text[0], "%.4f", o.first / n), kit_number(text[1], "%.4f", o.last / n));
        fflush(stdout);
    }
    if (!kit_interrupted) {
        kit_progress_finish(&bar);
        printf("mean of %d: %s errors\n", seeds, kit_number(text[0], "%.2f", errors));
    }
    for (int i = 0; i < set.n; i++)
        free(set.base[i]);
    free(set.base);
    free(set.place);
    free(set.promoter);
    return kit_finish();
}
