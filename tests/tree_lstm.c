/* Tree-LSTMs: every node of random trees against the equations written out unit by unit, gradients
 * against differences, and what a node refuses. */
#include "tests/cells.h"

enum { NODES = 300, MOST = 4 };             /* children of a child-sum node at most */

/* A node by hand, which knows of the library but the names of parameters. */
typedef struct node {
    double x[I], h[H], c[H];
    bool has_x;
    int n, child[MOST];
} node;

static const double *values(const ur_tree_lstm *p, const char *name)
{
    char full[40];
    snprintf(full, sizeof full, "%s.%s", p->name, name);
    return ur_param_values(ur_find(p->params, full));
}

/* x U + h W + b of unit u, h being n blocks of H. */
static double sum(const ur_tree_lstm *p, const node *q, const char *gate, const char *W,
                  const double *h, int n, int u)
{
    char U[4] = { 'U', gate[0] }, b[4] = { 'b', gate[0] };
    return (q->has_x ? dot(q->x, I, values(p, U), 0, u) : 0) +
           (n ? dot(h, n * H, values(p, W), 0, u) : 0) + values(p, b)[u];
}

static void by_hand(const ur_tree_lstm *p, const node all[], node *q)
{
    const int blocks = p->binary ? q->n : q->n > 0;
    double h[MOST * H] = { 0 };
    for (int k = 0; k < q->n; k++)
        for (int u = 0; u < H; u++)
            h[(p->binary ? k * H : 0) + u] += all[q->child[k]].h[u];
    for (int u = 0; u < H; u++) {
        double i = sigmoid(sum(p, q, "i", "Wi", h, blocks, u));
        double g = tanh(sum(p, q, "g", "Wg", h, blocks, u));
        double o = sigmoid(sum(p, q, "o", "Wo", h, blocks, u));
        q->c[u] = i * g;
        for (int k = 0; k < q->n; k++) {
            const node *child = &all[q->child[k]];
            q->c[u] += child->c[u] *
                       sigmoid(p->binary ? sum(p, q, "f", k ? "Wf2" : "Wf1", h, blocks, u)
                                         : sum(p, q, "f", "Wf", child->h, 1, u));
        }
        q->h[u] = o * tanh(q->c[u]);
    }
}

static int below(int n)
{
    return (int)(test_uniform() * n);
}

/* Nodes whose children are any before them: leaves with an input, others with one or without. */
static void grow(node all[], int children)
{
    for (int k = 0; k < NODES; k++) {
        node *q = &all[k];
        fill(q->x, I);
        q->n = k < 10 ? 0 : children == 2 ? 2 * below(2) : below(children + 1);
        q->has_x = q->n == 0 || below(2) == 0;
        for (int j = 0; j < q->n; j++)
            q->child[j] = below(k);
    }
}

static ur_tree_state record(ur_graph *g, const ur_tree_lstm *p, const node *q,
                            const ur_tree_state all[])
{
    ur_tree_state children[MOST];
    for (int j = 0; j < q->n; j++)
        children[j] = all[q->child[j]];
    return ur_tree_lstm_node(p, q->has_x ? ur_input(g, q->x, 1, I) : UR_NIL, children, q->n);
}

static void compare_trees(ur_params *ps, const ur_tree_lstm *p, int children)
{
    static node all[NODES];
    static ur_tree_state s[NODES];
    static ur_node row[2][NODES];
    static double got[2][NODES][H];
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    CHECK_STR(ur_error(ps), NULL);
    grow(all, children);
    for (int k = 0; k < NODES; k++) {
        s[k] = record(g, p, &all[k], s);
        row[0][k] = s[k].h;
        row[1][k] = s[k].c;
    }
    ur_node h = ur_concat_n(row[0], NODES, 0), c = ur_concat_n(row[1], NODES, 0);
    ur_keep(h);
    ur_keep(c);
    REQUIRE(ran(g));
    CHECK(ur_read(h, got[0], NODES * H) && ur_read(c, got[1], NODES * H));
    for (int k = 0; k < NODES; k++) {
        by_hand(p, all, &all[k]);
        for (int u = 0; u < H; u++) {
            CHECK_NEAR(got[0][k][u], all[k].h[u], 1e-13);
            CHECK_NEAR(got[1][k][u], all[k].c[u], 1e-13);
        }
    }
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(binary_nodes_are_their_equations)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_tree_lstm tree = ur_tree_lstm_binary(ps, "tree", I, H);
    CHECK_INT(ur_params_elements(ps), 4 * (I * H + H) + 5 * 2 * H * H);
    compare_trees(ps, &tree, 2);
}

TEST(child_sum_nodes_are_their_equations)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_cell_options o = ur_cell_defaults(H);
    o.forget = ur_constant(1);
    ur_tree_lstm tree = ur_tree_lstm_child_sum_with(ps, "tree", I, H, &o);
    CHECK_NEAR(values(&tree, "bf")[0], 1, 0);
    CHECK_INT(ur_params_elements(ps), 4 * (I * H + H) + 4 * H * H);
    compare_trees(ps, &tree, MOST);
}

/* Many trees recorded node by node are computed in about as many steps as few. */
static size_t steps_of(const ur_tree_lstm *p, ur_embedding words, int trees)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_node root[64];
    for (int n = 0; n < trees; n++) {
        ur_tree_state s[8];
        for (int32_t k = 0; k < 8; k++)
            s[k] = ur_tree_lstm_node(p, ur_embed(words, ur_ints(g, &k, 1)), NULL, 0);
        for (int width = 8; width > 1; width /= 2)
            for (int k = 0; k < width / 2; k++) {
                ur_tree_state both[2] = { s[2 * k], s[2 * k + 1] };
                s[k] = ur_tree_lstm_node(p, UR_NIL, both, 2);
            }
        root[n] = s[0].h;
    }
    ur_backward(ur_sum(ur_square(ur_concat_n(root, trees, 0))));
    CHECK(ran(g));
    size_t steps = ur_stats(g).steps;
    ur_graph_free(g);
    return steps;
}

TEST(nodes_are_computed_together)
{
    for (int k = 0; k < 2; k++) {
        ur_params *ps = ur_params_new(UR_F32, 7);
        ur_tree_lstm tree = k ? ur_tree_lstm_binary(ps, "tree", I, H)
                              : ur_tree_lstm_child_sum(ps, "tree", I, H);
        ur_embedding words = ur_embedding_new(ps, "words", 8, I);
        size_t few = steps_of(&tree, words, 4), many = steps_of(&tree, words, 64);
        if (!CHECK(many <= few + few / 10))
            printf("  %zu steps for 4 trees, %zu for 64\n", few, many);
        ur_params_free(ps);
    }
}

/* ------------------------------------------------------------------------------------ gradients */

/* in: x of two leaves and of the root, h and c of a third child. Everything is an output. */
static void small_tree(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const ur_tree_lstm *p = ctx;
    ur_tree_state a = ur_tree_lstm_node(p, in[0], NULL, 0);
    ur_tree_state both[2] = { a, ur_tree_lstm_node(p, in[1], NULL, 0) };
    ur_tree_state inner = ur_tree_lstm_node(p, UR_NIL, both, 2);
    ur_tree_state top[3] = { inner, { in[3], in[4] }, a };
    ur_tree_state root = ur_tree_lstm_node(p, in[2], top, p->binary ? 2 : 3);
    ur_tree_state one = p->binary ? inner : ur_tree_lstm_node(p, UR_NIL, &root, 1);
    (void)g;
    out[0] = root.h, out[1] = root.c, out[2] = inner.h, out[3] = inner.c, out[4] = one.h;
    out[5] = one.c, out[6] = a.h;
}

TEST(gradients)
{
    for (int k = 0; k < 2; k++)
        for (int rows = 1; rows <= 2; rows++) {
            ur_params *ps = ur_params_new(UR_F32, 5);
            ur_tree_lstm p = k ? ur_tree_lstm_binary(ps, "tree", I, H)
                               : ur_tree_lstm_child_sum(ps, "tree", I, H);
            ur_report r = ur_check(small_tree, .in = { ur_in("a", rows, I), ur_in("b", rows, I),
                                                       ur_in("x", rows, I), ur_in("h", rows, H),
                                                       ur_in("c", rows, H) },
                                   .outputs = 7, .ctx = &p, .order = 2);
            if (!CHECK_INT(r.status, UR_CHECK_PASSED))
                ur_report_print(&r, stdout);
            CHECK_INT(r.n_rows, 2 * (5 + (k ? 13 : 12)));
            CHECK_INT(r.kinks, 0);
            ur_report_free(&r);
            ur_params_free(ps);
        }
}

/* --------------------------------------------------------------------------------------- errors */

TEST(errors)
{
    ur_params *ps = ur_params_new(UR_F64, 5);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_tree_lstm p = ur_tree_lstm_binary(ps, "tree", I, H);
    ur_tree_lstm none = ur_tree_lstm_child_sum(ps, "none", 0, H);
    CHECK_STR(ur_error(ps), "tree_lstm none: 0 inputs, 2 units: sizes are from 1 to 268435456");
    ur_node x = ur_zeros(g, 1, I);
    CHECK(ur_is_nil(ur_tree_lstm_node(&none, x, NULL, 0).h));
    CHECK_HAS(ur_error(g), "tree_lstm: the layer could not be made: tree_lstm none: 0 inputs");
    ur_error_reset(g);
    ur_error_reset(ps);
    CHECK(ur_is_nil(ur_tree_lstm_node(&p, UR_NIL, NULL, 0).h));
    CHECK_HAS(ur_error(ps), "tree_lstm: a node of tree has neither an input nor children");
    CHECK_HAS(ur_error(ps), "tree_lstm.c:");
    ur_error_reset(ps);
#define FAILS(in, children, n, text)                                                               \
    do {                                                                                           \
        ur_tree_state s = ur_tree_lstm_node(&p, in, children, n);                                  \
        CHECK(ur_is_nil(s.h) && ur_is_nil(s.c));                                                   \
        CHECK_HAS(ur_error(g), text);                                                              \
        CHECK_HAS(ur_error(g), "tree_lstm.c:");                                                    \
        ur_error_reset(g);                                                                         \
        ur_clear(g);                                                                               \
        good.h = good.c = ur_zeros(g, 1, H);                                                       \
        more.h = more.c = ur_zeros(g, 3, H);                                                       \
        x = ur_zeros(g, 1, I);                                                                     \
        wide = ur_zeros(g, 1, I + 1);                                                              \
        deep = ur_zeros(g, 1, 1, I);                                                               \
    } while (0)
    ur_tree_state good = { .h = ur_zeros(g, 1, H) }, more = { .h = ur_zeros(g, 3, H) };
    ur_node wide = ur_zeros(g, 1, I + 1), deep = ur_zeros(g, 1, 1, I);
    good.c = good.h, more.c = more.h;
    FAILS(x, ((ur_tree_state[]){ good, good, good }), 3,
          "tree_lstm: 3 children, but a node of tree has none or 2");
    FAILS(x, ((ur_tree_state[]){ good, more }), 2,
          "tree_lstm: h of child 1 is [3,2], but tree carries [1,2] here");
    FAILS(x, ((ur_tree_state[]){ { good.h, UR_NIL }, good }), 2,
          "tree_lstm: c of child 0 is nil, but");
    FAILS(deep, NULL, 0, "tree_lstm: deep is [1,1,3], but tree takes [B,3]");
    FAILS(wide, NULL, 0, "tree_lstm: wide is [1,4], but tree takes [B,3]");
    CHECK(!ur_is_nil(ur_tree_lstm_node(&p, x, ((ur_tree_state[]){ good, good }), 2).h));
    CHECK_STR(ur_error(g), NULL);
#undef FAILS
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(binary_nodes_are_their_equations), T(child_sum_nodes_are_their_equations),
          T(nodes_are_computed_together), T(gradients), T(errors))
