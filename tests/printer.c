/* The plan printer: what a plan costs, what each rewrite did and saves, which is word for word what
 * it would save where it is off; of plans that have run, of later sections, within a budget. */
#include <stdlib.h>
#include "graph/plan/plan.h"
#include "tests/test.h"
#include "unroll/unroll.h"

enum { T = 35, B = 128, FEW = 16, H = 64, V = 60, LEAVES = 8 };

/* The lines of a plan down to the first step: of the whole, then of each rewrite. */
typedef struct printed {
    char text[1 << 14];
} printed;

static bool print(ur_graph *g, printed *to)
{
    FILE *f = tmpfile();
    if (!CHECK(f != NULL))
        return false;
    const bool ok = CHECK(ur_print_plan(g, f)) && CHECK_STR(ur_error(g), NULL);
    rewind(f);
    to->text[fread(to->text, 1, sizeof to->text - 1, f)] = 0;
    fclose(f);
    char *steps = strstr(to->text, "\n     0  ");
    if (steps)
        steps[1] = 0;
    return ok && CHECK(steps != NULL);
}

/* What a plan says of a rewrite; valid until the next call but one. */
static const char *line(const printed *p, const char *rewrite)
{
    static char out[2][400], name[20];
    static int k;
    snprintf(name, sizeof name, "\n  %-11s", rewrite);
    const char *at = strstr(p->text, name);
    k = !k;
    out[k][0] = 0;
    if (at)
        snprintf(out[k], sizeof out[k], "%.*s", (int)strcspn(at + 14, "\n"), at + 14);
    return out[k];
}

/* --------------------------------------------------------------------------------------- tapes */

static ur_node classify(ur_graph *g, ur_params *ps, ur_node x)
{
    static int32_t label[T * B];
    ur_node y = ur_unroll(ur_lstm(ps, "lstm", ur_dim(x, -1), H), x, NULL);
    ur_linear_layer out = ur_linear_new(ps, "out", H, V);
    return ur_mean(ur_cross_entropy(ur_linear(out, y), ur_ints(g, label, T, ur_dim(x, 1))));
}

/* A language model of single letters. */
static ur_node letters(ur_graph *g, ur_params *ps)
{
    static int32_t id[T * B];
    for (int i = 0; i < T * B; i++)
        id[i] = i * 7 % V;
    return classify(g, ps, ur_embed(ur_embedding_new(ps, "embed", V, H), ur_ints(g, id, T, B)));
}

static ur_node numbers(ur_graph *g, ur_params *ps)
{
    return classify(g, ps, ur_zeros(g, T, FEW, H));
}

/* A decay that is written down anew at each step. */
static ur_node decays(ur_graph *g, ur_params *ps)
{
    ur_node W = ur_param(ps, "W", ur_xavier(), H, H), w = ur_param(ps, "w", ur_constant(0), H);
    ur_node h = ur_zeros(g, FEW, H);
    for (int t = 0; t < T; t++)
        h = ur_tanh(ur_matmul(ur_mul(h, ur_sigmoid(ur_use(g, w))), W));
    return ur_mean(ur_square(h));
}

/* A tree of single rows. */
static ur_node tree(ur_graph *g, ur_params *ps)
{
    ur_tree_lstm cell = ur_tree_lstm_child_sum(ps, "tree", H, H);
    ur_tree_state s[LEAVES];
    for (int k = 0; k < LEAVES; k++)
        s[k] = ur_tree_lstm_node(&cell, ur_noise_normal(g, 1, 1, H), NULL, 0);
    for (int n = LEAVES; n > 1; n /= 2)
        for (int k = 0; k < n / 2; k++)
            s[k] = ur_tree_lstm_node(&cell, UR_NIL, s + 2 * k, 2);
    return ur_mean(ur_square(s[0].h));
}

typedef ur_node make_loss(ur_graph *g, ur_params *ps);

/* A graph whose tape has that loss and its gradient; without some rewrite, or NULL. */
typedef struct model {
    ur_params *ps;
    ur_graph *g;
} model;

static model make(make_loss *loss, const char *off)
{
    model m = { ur_params_new(UR_F32, 3), ur_graph_new(UR_F32, UR_TRAIN) };
    CHECK(!off || ur_rewrite(m.g, off, false));
    ur_backward(loss(m.g, m.ps));
    CHECK_STR(ur_error(m.g), NULL);
    return m;
}

static void drop(model *m)
{
    ur_graph_free(m->g);
    ur_params_free(m->ps);
}

/* --------------------------------------------------------------------------------------- tests */

/* y = tanh(x W) and z = sigmoid(y) + x V, by hand. */
TEST(costs_are_what_the_header_says)
{
    enum { ROWS = 8, K = 6, N = 5 };
    static printed p;
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    g->off = UINT32_MAX;
    ur_node x = ur_zeros(g, ROWS, K), W = ur_zeros(g, K, N);
    ur_keep(ur_sigmoid(ur_tanh(ur_matmul(x, W))));
    if (print(g, &p)) {
        /* x and the result once, W three times, four of a result for the maps */
        const int moved = 8 * (ROWS * K + 3 * K * N + 5 * ROWS * N);
        const int fetched = 8 * (ROWS * K + K * N + 3 * ROWS * N);
        char want[200];
        snprintf(want, sizeof want, "3 steps in 3 phases, %d flop, %.1f KB moved, %.1f KB fetched",
                 2 * ROWS * K * N + 2 * ROWS * N, moved / 1024.0, fetched / 1024.0);
        CHECK_HAS(p.text, want);
        snprintf(want, sizeof want, "off; with it: 1 node merged; saves 1 step, 1 phase, "
                 "%d B moved, %d B fetched, ", 2 * 8 * ROWS * N, 8 * ROWS * N);
        CHECK_HAS(line(&p, "fuse"), want);
        CHECK_STR(line(&p, "kmerge"), "off; with it: 0 products merged");
    }
    ur_graph_free(g);
}

/* A rewrite, a tape that meets it, what it saves there. */
static const struct {
    const char *name;
    make_loss *loss;
    const char *did, *saves;
} met[] = {
    { "batch", tree, " nodes merged", " phases" },
    { "hoist", decays, " nodes removed", "flop" },
    { "split", letters, " products split", "flop" },
    { "swap", letters, " products gathered", "flop" },
    { "mmerge", numbers, " products merged", " moved" },
    { "kmerge", letters, " products merged", " moved" },
    { "nmerge", letters, " sums merged", " moved" },
    { "fuse", letters, " nodes merged", " moved" },
    { "recompute", letters, " values computed again", " moved" },
    { "chunk", letters, " chunks made", " fetched" },
    { "band", letters, " steps cut", " fetched" },
    { "views", letters, " values not copied", " moved" },
    { "accumulate", letters, " terms added in place", " moved" },
    { "pack", letters, " panels packed", " moved" },
    { "segment", letters, " steps run again", " arena" },
    { "schedule", letters, " steps merged", " phases" },
    { "memory", letters, " values in the memory of others", " arena" },
};
enum { MET = sizeof met / sizeof *met };

/* "; saves .. UNIT ..", among what is saved and not what it costs. */
static bool saves(const char *said, const char *unit)
{
    const char *from = strstr(said, "; saves "), *to = from ? strstr(from, "; costs ") : NULL;
    const char *at = from ? strstr(from, unit) : NULL;
    return at && (!to || at < to);
}

TEST(every_rewrite_tells_what_it_saves)
{
    static printed with, without;
    CHECK_INT(MET, UR__N_REWRITES);
    for (int k = 0; k < MET; k++) {
        const bool segment = strcmp(met[k].name, "segment") == 0;
        model m = make(met[k].loss, NULL), n = make(met[k].loss, met[k].name);
        if (!print(m.g, &with))
            return;
        if (segment) {
            CHECK_STR(line(&with, "segment"), "0 steps run again");
            ur_graph_budget(m.g, ur_stats(m.g).arena_bytes * 2 / 3);
            print(m.g, &with);
        }
        const char *said = line(&with, met[k].name);
        CHECK(strtol(said, NULL, 10) > 0);
        CHECK_HAS(said, met[k].did);
        if (!CHECK(saves(said, met[k].saves)))
            printf("  %s: %s\n", met[k].name, said);
        if (!segment && print(n.g, &without)) {
            char want[400];
            snprintf(want, sizeof want, "off; with it: %s", said);
            CHECK_STR(line(&without, met[k].name), want);
        }
        drop(&m);
        drop(&n);
    }
}

/* Within a budget the other rewrites save what they save without. */
TEST(a_budget_is_told_of_apart)
{
    static printed usual, tight;
    model m = make(letters, NULL);
    if (print(m.g, &usual)) {
        ur_graph_budget(m.g, ur_stats(m.g).arena_bytes * 2 / 3);
        if (print(m.g, &tight))
            for (int k = 0; k < MET; k++)
                if (strcmp(met[k].name, "segment") != 0)
                    CHECK_STR(line(&tight, met[k].name), line(&usual, met[k].name));
        CHECK(strcmp(usual.text, tight.text) != 0);
    }
    drop(&m);
}

/* Three sections: before and after the last one has run, with values that have changed since, and
 * without a rewrite. */
static void sections(const char *off, printed *before, printed *after)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_cell *cell = ur_gru(ps, "gru", 4, 4);
    float five[4] = { 5, 5, 5, 5 };
    CHECK(!off || ur_rewrite(g, off, false));
    ur_node x = ur_zeros(g, 3, 2, 4), y = ur_unroll(cell, x, NULL), z = ur_zeros(g, 4);
    CHECK(ur_run(g));
    y = ur_tanh(ur_sigmoid(ur_mul(ur_unroll(cell, y, NULL), z)));
    CHECK(ur_run(g));
    ur_node loss = ur_backward(ur_sum(ur_square(ur_sigmoid(ur_unroll(cell, y, NULL)))));
    print(g, before);
    CHECK(ur_run(g));
    print(g, after);
    CHECK_STR(after->text, before->text);
    const double value = ur_value(loss);
    const ur_graph_stats stats = ur_stats(g);
    const size_t panels = g->n_panels;
    CHECK(ur_set(z, five));
    ur_params_changed(ps);
    print(g, after);
    CHECK_STR(after->text, before->text);
    CHECK_INT(ur_stats(g).plans_made, stats.plans_made);
    CHECK_INT(g->n_panels, panels);
    CHECK(ur_set(z, (float[4]){ 0 }) && ur_rerun(g));
    CHECK_NEAR(ur_value(loss), value, 0);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(later_sections_are_told_of_like_the_first)
{
    static const char *const names[] = { "kmerge", "fuse", "views", "accumulate", "memory" };
    static printed with[2], without[2];
    sections(NULL, &with[0], &with[1]);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char want[400];
        sections(names[k], &without[0], &without[1]);
        snprintf(want, sizeof want, "off; with it: %s", line(&with[1], names[k]));
        CHECK_HAS(want, "; saves ");
        CHECK_STR(line(&without[1], names[k]), want);
    }
}

TEST_MAIN(T(costs_are_what_the_header_says), T(every_rewrite_tells_what_it_saves),
          T(a_budget_is_told_of_apart), T(later_sections_are_told_of_like_the_first))
