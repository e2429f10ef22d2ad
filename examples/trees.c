/* trees.c: the value of nested expressions, by a Tree-LSTM (Tai, Socher and Manning 2015): a
 * network that has the shape of its example. Every expression is recorded as a graph of its own,
 * node by node from the leaves up, and the tape of an update, some dozens of trees, never comes
 * again.
 *
 *     arithmetic    ((7 - 2) * 4)      digits, + - *, modulo --modulus; a binary Tree-LSTM, which
 *                                      can tell its left child from its right one
 *     logic         xor(1, not(0), 1)  0 and 1, not, and, or and xor of two to four; a child-sum
 *                                      Tree-LSTM, which takes any number of children
 *
 * A node's input is its digit or operator; at every node the network says the value of what lies
 * below:  h, c = tree(x, children)   p(value) = softmax(h V + b). It learns trees up to a height of
 * --height and is then asked about trees that are deeper by --deeper. Expressions are held out by
 * a hash of their text: one in eight is never learned. */
#include "examples/kit/run.h"

#include <inttypes.h>
#include <string.h>

static const char *task = "arithmetic";
static int hidden = 128, embed = 16, batch = 32, height = 4, deeper = 3, modulus = 10;

static kit_option options[] = {
    KIT_SAVED(KIT_MODEL, "task", &task, "arithmetic|logic", "NAME", "kind of expressions"),
    KIT_SAVED(KIT_MODEL, "modulus", &modulus, "[2,10]", "N", "of the arithmetic, and its digits"),
    KIT_SAVED(KIT_FIXED, "height", &height, "[1,8]", "N", "of the trees that are learned"),
    KIT_OPTION("deeper", &deeper, "[0,8]", "N", "levels more that the deepest trees asked have"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of a node"),
    KIT_SAVED(KIT_MODEL, "embed", &embed, "[1,65536]", "N", "numbers that a symbol is embedded as"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,4096]", "N", "trees of an update"),
    KIT_TRAINING,
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data ----------------------------------------------------------------------------------- */

enum { CHILDREN = 4, NODES = 1024, TEXT = 16 * NODES, HEIGHTS = 17, UPDATES = 200, TESTED = 500 };

typedef struct {
    int symbol;                             /* a digit, or the number of digits + an operator */
    int n, child[CHILDREN];
    int value, height;
} node;

typedef struct {
    node node[NODES + CHILDREN * HEIGHTS];  /* children before their parents, the root last */
    int n, begun;                           /* nodes that are there, and with their parents */
    char text[TEXT];
    int used;
} expression;

static const char *const operators[2][4] = { { " + ", " - ", " * " },
                                             { "and", "or", "xor", "not" } };

static bool logic(void)
{
    return strcmp(task, "logic") == 0;
}

static int digits(void)
{
    return logic() ? 2 : modulus;
}

static int evaluate(int operator, const int v[], int n)
{
    int sum = 0;
    if (!logic())
        return ((operator == 0 ? v[0] + v[1] : operator == 1 ? v[0] - v[1] : v[0] * v[1])
                + modulus) % modulus;
    for (int k = 0; k < n; k++)
        sum += v[k];
    return operator == 0 ? sum == n : operator == 1 ? sum > 0 : operator == 2 ? sum % 2 : !sum;
}

static void say(expression *e, const char *text)
{
    e->used += snprintf(e->text + e->used, (size_t)(TEXT - e->used), "%s", text);
}

/* Adds a tree of at most this height to e. Returns its root. */
static int grow(expression *e, int most, uint64_t *random)
{
    node q = { .symbol = kit_below(random, digits()) };
    e->begun++;
    if (most == 0 || e->begun >= NODES || kit_uniform(random) < 0.15) {
        say(e, (char[]){ (char)('0' + q.symbol), 0 });
        q.value = q.symbol;
    } else {
        int operator = kit_below(random, logic() ? 4 : 3), v[CHILDREN];
        const char *name = operators[logic()][operator];
        q.symbol = digits() + operator;
        q.n = !logic() ? 2 : operator == 3 ? 1 : 2 + kit_below(random, CHILDREN - 1);
        say(e, logic() ? name : "");
        for (int k = 0; k < q.n; k++) {
            say(e, k == 0 ? "(" : logic() ? ", " : name);
            const node *c = &e->node[q.child[k] = grow(e, most - 1, random)];
            v[k] = c->value;
            q.height = c->height >= q.height ? c->height + 1 : q.height;
        }
        say(e, ")");
        q.value = evaluate(operator, v, q.n);
    }
    e->node[e->n] = q;
    return e->n++;
}

/* An expression of those held out, or of the others, which are learned. */
static void draw(expression *e, bool held_out, int most, uint64_t *random)
{
    for (bool other = true; other;) {
        uint64_t hash = 0;
        e->n = e->begun = e->used = 0;
        grow(e, most, random);
        for (const char *c = e->text; *c; c++)
            hash ^= (unsigned char)*c, hash = kit_random(&hash);
        other = (hash % 8 == 0) != held_out;
    }
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    kit_run run;
    ur_embedding embed;
    ur_tree_lstm tree;
    ur_linear_layer out;
    expression e;                           /* the one under way */
} model;

static void build(model *m, ur_params *ps)
{
    m->embed = ur_embedding_new(ps, "embed", digits() + 4, embed);
    m->tree = logic() ? ur_tree_lstm_child_sum(ps, "tree", embed, hidden)
                      : ur_tree_lstm_binary(ps, "tree", embed, hidden);
    m->out = ur_linear_new(ps, "out", hidden, digits());
    kit_need(ps);
}

/* Records e node by node: their states h, side by side [n, H], and their values, int32 [n]. */
static ur_node record(const model *m, ur_graph *g, const expression *e, ur_node *values)
{
    ur_tree_state *state = ur_graph_alloc(g, (size_t)e->n * sizeof *state);
    ur_node *h = ur_graph_alloc(g, (size_t)e->n * sizeof *h);
    int32_t *value = ur_graph_alloc(g, (size_t)e->n * sizeof *value);
    if (!state || !h || !value)
        kit_need(g);
    for (int k = 0; k < e->n; k++) {
        const node *q = &e->node[k];
        ur_tree_state children[CHILDREN];
        for (int j = 0; j < q->n; j++)
            children[j] = state[q->child[j]];
        ur_node x = ur_embed(m->embed, ur_ints(g, (int32_t[]){ q->symbol }, 1));
        state[k] = ur_tree_lstm_node(&m->tree, x, children, q->n);
        h[k] = state[k].h;
        value[k] = q->value;
    }
    *values = ur_ints(g, value, e->n);
    return ur_concat_n(h, e->n, 0);
}

/* Says what it takes all nodes of e for; returns the sum of their losses. */
static double ask(model *m, const expression *e, int32_t guess[])
{
    ur_graph *g = m->run.scoring;
    ur_node values;
    ur_clear(g);
    ur_node logits = ur_linear(m->out, record(m, g, e, &values));
    ur_node best = ur_argmax(logits, -1), loss = ur_cross_entropy(logits, values);
    if (!ur_read(best, guess, (size_t)e->n))
        kit_need(g);
    return kit_value(g, loss) * e->n;
}

/* ---- Training ------------------------------------------------------------------------------- */

/* Learns --batch trees, drawn by the number of the update; see kit_run. */
static double update(void *ctx, int64_t position)
{
    model *m = ctx;
    ur_graph *g = m->run.graph;
    (void)position;
    uint64_t random = kit_settings.seed;
    random = kit_random(&random) + (uint64_t)m->run.done;
    ur_clear(g);
    ur_node *h = ur_graph_alloc(g, (size_t)batch * sizeof *h);
    ur_node *values = ur_graph_alloc(g, (size_t)batch * sizeof *values);
    if (!h || !values)
        kit_need(g);
    for (int b = 0; b < batch; b++) {
        draw(&m->e, false, height, &random);
        h[b] = record(m, g, &m->e, &values[b]);
    }
    ur_node logits = ur_linear(m->out, ur_concat_n(h, batch, 0));
    return kit_run_learn(&m->run, ur_cross_entropy(logits, ur_concat_n(values, batch, 0)));
}

/* The mean loss of a node of held-out trees up to this height; false at Ctrl-C. Adds up how many
 * nodes of each height there are, and how many of them are right. */
static bool examine(model *m, int trees, int most, double *mean, int right[], int all[])
{
    static int32_t guess[NODES + CHILDREN * HEIGHTS];
    uint64_t random = ~kit_settings.seed;
    double total = 0, nodes = 0;
    for (int k = 0; k < trees; k++) {
        if (kit_interrupted)
            return false;
        draw(&m->e, true, most, &random);
        total += ask(m, &m->e, guess);
        nodes += m->e.n;
        for (int i = 0; i < m->e.n; i++) {
            all[m->e.node[i].height]++;
            right[m->e.node[i].height] += guess[i] == m->e.node[i].value;
        }
    }
    *mean = total / nodes;
    return true;
}

static bool validate(void *ctx, double *mean)
{
    int right[HEIGHTS], all[HEIGHTS];
    return examine(ctx, 100, height, mean, right, all);
}

/* ---- The program ---------------------------------------------------------------------------- */

static void report(model *m)
{
    int right[HEIGHTS] = { 0 }, all[HEIGHTS] = { 0 }, sum_right = 0, sum_all = 0;
    double mean;
    char share[64];
    if (!examine(m, TESTED, height + deeper, &mean, right, all))
        return;
    printf("held-out expressions up to height %d; up to height %d were learned\n"
           "%8s %8s %8s %8s\n", height + deeper, height, "height", "nodes", "right", "up to it");
    for (int k = 0; k <= height + deeper && all[k] > 0; k++) {
        sum_right += right[k], sum_all += all[k];
        printf("%8d %8d", k, all[k]);
        printf(" %7s%%", kit_number(share, "%.2f", 100.0 * right[k] / all[k]));
        printf(" %7s%%\n", kit_number(share, "%.2f", 100.0 * sum_right / sum_all));
    }
}

int main(int argc, char **argv)
{
    static model m;
    kit_settings.epochs = 25;
    kit_args(&(kit_usage){
        "Learns the value of nested expressions with a Tree-LSTM, a new graph for each.",
        "trees --save trees.safetensors\n"
        "trees --task logic --height 3 --epochs 5\n"
        "trees --resume trees.safetensors --epochs 30 --deeper 5",
        NULL, options, OPTIONS }, argc, argv);
    kit_catch_interrupt();
    kit_run_prepare("trees 1", options, OPTIONS, NULL, NULL, 1);
    printf("trees: synthetic expressions, from seed %" PRIu64 "\n", kit_settings.seed);
    ur_params *ps = kit_run_params();
    build(&m, ps);
    m.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &m,
                       .per_epoch = UPDATES, .items = batch, .unit = "trees" };
    kit_run_open(&m.run);
    if (kit_run_train(&m.run))
        report(&m);
    kit_run_plot(task, (const kit_run *[]){ &m.run }, 1);
    kit_run_close(&m.run);
    return kit_finish();
}
