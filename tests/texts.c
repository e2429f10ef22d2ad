/* The pieces of an error's line: place, operands by name with shapes, scope. */
#include "graph/internal.h"
#include "tests/counting.h"
#include "tests/test.h"

static const char *argument(ur_at at, int k)
{
    static char text[4][100];
    static int turn;
    char *out = text[turn++ % 4];
    ur__argument(at, k, out, sizeof text[0]);
    return out;
}

TEST(arguments_are_split_at_their_commas)
{
    static const struct { const char *at, *argument[4]; } known[] = {
        { "cell.c:41:x, W", { "x", "W", "", "" } },
        { "cell.c:41:", { "", "", "", "" } },
        { "cell.c:41:  a ,b  ,  c d", { "a", "b", "c d", "" } },
        { "cell.c:41:f(x, y), g[i, j], {1, 2}", { "f(x, y)", "g[i, j]", "{1, 2}", "" } },
        { "cell.c:41:f(g(x, (y)), h[{1,2}]), z", { "f(g(x, (y)), h[{1,2}])", "z", "", "" } },
        { "cell.c:41:(ur_node[]){ a, b }, 2", { "(ur_node[]){ a, b }", "2", "", "" } },
        { "cell.c:41:find(ps, \"a,)\"), ')', x", { "find(ps, \"a,)\")", "')'", "x", "" } },
        { "cell.c:41:\"\\\",\", ',', '\\''", { "\"\\\",\"", "','", "'\\''", "" } },
        { "a/b:c/cell.c:41:a ? b : c, d", { "a ? b : c", "d", "", "" } },
        { "cell.c:41:a, , c", { "a", "", "c", "" } },
        { "not a place", { "", "", "", "" } },
        { "cell.c:x", { "", "", "", "" } },
        { "", { "", "", "", "" } },
        { NULL, { "", "", "", "" } },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        for (int k = 0; k < 4; k++)
            CHECK_STR(argument(known[i].at, k), known[i].argument[k]);
    char few[4];
    ur__argument("c:1:longer", 0, few, sizeof few);
    CHECK_STR(few, "lon");
#define PLACE_OF(...) UR_AT(#__VA_ARGS__)
    CHECK_STR(argument(PLACE_OF(max(1, 2), "a, b"), 1), "\"a, b\"");
}

TEST(places_are_base_names)
{
    CHECK_STR(ur__place("../some/folder/cell.c:41:x, W"), "cell.c:41: ");
    CHECK_STR(ur__place("cell.c:41:"), "cell.c:41: ");
    CHECK_STR(ur__place("C:\\folder\\cell.c:41:a:3:b"), "cell.c:41: ");
    CHECK_STR(ur__place("nowhere"), "");
    CHECK_STR(ur__place(NULL), "");
    CHECK_HAS(ur__place(UR_AT("x")), "texts.c:");
}

TEST(shapes)
{
    CHECK_STR(ur_shape_text((ur_shape){ 0, { 0 } }), "[]");
    CHECK_STR(ur_shape_text((ur_shape){ 2, { 2, 7 } }), "[2,7]");
    const char *text[12];
    for (int i = 0; i < 12; i++)        /* a dozen last together */
        text[i] = ur_shape_text((ur_shape){ 1, { i } });
    CHECK_STR(text[0], "[0]");
    int m = INT32_MAX;
    CHECK_STR(ur_shape_text((ur_shape){ 6, { m, m, m, m, m, m } }),
              "[2147483647,2147483647,2147483647,2147483647,2147483647,2147483647]");
}

/* ----------------------------------------------------------------------------------- operands */

static bool product_shape(ur_shaping *s)
{
    const ur_shape *a = &s->in[0], *b = &s->in[1];
    for (int k = 0; k < 2; k++)
        if (s->type_in[k] == UR_I32)
            return ur_refuse(s, k ? "%1: not an int32 product" : "%0: not an int32 product");
    if (a->rank != 2 || b->rank != 2)
        return ur_refuse(s, "%0 but %1: 100%% matrices are needed");
    if (a->dim[1] != b->dim[0])
        return ur_refuse(s, "%0 but %1: inner sizes %d and %d differ", a->dim[1], b->dim[0]);
    s->out = (ur_shape){ 2, { a->dim[0], b->dim[1] } };
    return true;
}

static void no_compute(const ur_compute *c)
{
    (void)c;
}

static const ur_op product_op = {
    .name = "product", .kind = UR_OPAQUE, .n_in = 2, .shape = product_shape, .compute = no_compute,
    .flags = UR_FLAT,
};

/* What a macro of ops.h looks like, at a place of our own. */
static ur_node product_at(ur_at at, ur_node a, ur_node b)
{
    return ur_record(at, &product_op, (ur_node[]){ a, b }, 2, NULL, 0);
}
#define product(a, b) product_at("some/cell.c:41:" #a ", " #b, a, b)

/* The graph's error, which is taken away so that the next can be seen. */
static const char *said(ur_graph *g)
{
    static char text[700];
    snprintf(text, sizeof text, "%s", ur_error(g) ? ur_error(g) : "nothing");
    ur_error_reset(g);
    return text;
}

TEST(operands_have_names_and_shapes)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_params *ps = ur_params_new(UR_F32, 1);
    REQUIRE(g && ps);
    ur_node W = ur_param(ps, "lstm.Wf", ur_constant(0), 3, 16), x = ur_zeros(g, 2, 7);
    ur_node used = ur_use(g, W);

    CHECK(ur_is_nil(product(x, W)));
    CHECK_STR(said(g), "cell.c:41: product: x is [2,7] but lstm.Wf is [3,16]: "
              "inner sizes 7 and 3 differ");
    product(x, used);                   /* a parameter has its own name as a leaf too */
    CHECK_HAS(said(g), "but lstm.Wf is [3,16]: ");
    product_at(NULL, x, x);
    CHECK_STR(said(g), "product: node 0 (input) is [2,7] but node 0 (input) is [2,7]: "
              "inner sizes 7 and 2 differ");
    ur_node y = product(ur_zeros(g, 2, 3), W);
    product(y, x);
    CHECK_HAS(said(g), "product: y is [2,16] but x is [2,7]: ");
    ur_node a_name_that_is_far_too_long_to_be_read_well = x;
    product(a_name_that_is_far_too_long_to_be_read_well, x);
    CHECK_HAS(said(g), "product: node 0 (input) is [2,7] but x is [2,7]: ");

    ur_named(x, "first");
    ur_named(x, "100% x");              /* the last one counts; no format in it */
    product(x, x);
    CHECK_HAS(said(g), "product: 100% x is [2,7] but 100% x is [2,7]: inner");

    product(ur_scalar(g, 1), ur_zeros(g, 4));
    CHECK_HAS(said(g), "ur_scalar(g, 1) is a scalar but ur_zeros(g, 4) is [4]: 100% matrices are");
    ur_node ids = ur_ints(g, NULL, 2, 7);
    product(W, ids);
    CHECK_HAS(said(g), "product: ids is int32 [2,7]: not an int32 product");
    ur_node nothing = { 0 };
    product(x, nothing);
    CHECK_STR(said(g), "cell.c:41: product: nothing is nil");
    CHECK_STR(ur_called(nothing, "cell.c:41:x, nothing", 1), "nothing is nil");
    CHECK_STR(ur_called(W, NULL, 0), "lstm.Wf is [3,16]");
    CHECK_STR(ur_called(ur_ints_at(NULL, g, NULL, 0, NULL), "cell.c:41:k", 0),
              "k is an int32 scalar");
    ur_graph_free(g);
    ur_params_free(ps);
}

/* affine(x, W, b) = product(product(x, W), b), which passes its caller's place on. */
static ur_node affine_at(ur_at at, ur_node x, ur_node W, ur_node b)
{
    return product_at(at, product_at(at, x, W), b);
}

TEST(parts_of_composites_do_not_borrow_names)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_params *ps = ur_params_new(UR_F32, 1);
    REQUIRE(g && ps);
    ur_node W = ur_param(ps, "W", ur_constant(0), 3, 16);
    ur_node b = ur_param(ps, "b", ur_constant(0), 5, 5);
    ur_node x = ur_zeros(g, 2, 3);
    affine_at("cell.c:7:x, W, b", x, W, b);
    CHECK_STR(said(g), "cell.c:7: product: node 2 (product) is [2,16] but b is [5,5]: "
              "inner sizes 16 and 5 differ");
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(scopes_are_told_from_the_outside_in)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    REQUIRE(g != NULL);
    ur_node x = ur_zeros(g, 2, 7);
    CHECK_STR(ur__scope_text(g, 0), "");
    ur_scope_begin(g, "net", -1);
    ur_scope_begin(g, "lstm", 3);
    CHECK_STR(ur__scope_text(g, g->scope), "net, lstm, t=3");
    product(x, x);
    CHECK_STR(said(g), "cell.c:41: product: x is [2,7] but x is [2,7]: inner sizes 7 and 2 differ "
              "(in net, lstm, t=3)");
    ur_scope_end(g);
    ur_scope_begin(g, "", 0);
    CHECK_STR(ur__scope_text(g, g->scope), "net, t=0");
    ur_scope_end(g);
    for (int i = 0; i < 200; i++)
        ur_scope_begin(g, "deeper", i);
    const char *deep = ur__scope_text(g, g->scope);
    CHECK(strncmp(deep, "..., deeper, t=", 15) == 0);
    CHECK_HAS(deep, ", deeper, t=198, deeper, t=199");
    CHECK(strlen(deep) < 400);
    char name[1000] = { 0 };
    memset(name, 'n', sizeof name - 1);
    ur_scope_begin(g, name, 0);
    CHECK(strlen(ur__scope_text(g, g->scope)) < 400);
    ur_graph_free(g);
}

/* While a rule runs: the rule's line, then what it differentiates. */
TEST(errors_in_rules_name_both_lines)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    REQUIRE(g != NULL);
    ur_scope_begin(g, "gru", 1);
    ur__origin origin = { .at = "cell.c:9:x", .scope = g->scope };
    ur_scope_end(g);
    g->rule_of = &origin;
    ur__fail_at(g, "src/swish.c:30:g", "mul", "it is %s", "wrong");
    CHECK_STR(said(g), "swish.c:30: mul: it is wrong (in gru, t=1, the gradient of cell.c:9)");
    ur__fail_at(g, NULL, "swish", "no rule");
    CHECK_STR(said(g), "cell.c:9: swish: no rule (in gru, t=1)");
    origin.scope = 0;
    ur__fail_at(g, "swish.c:30:g", "mul", "wrong");
    CHECK_STR(said(g), "swish.c:30: mul: wrong (in the gradient of cell.c:9)");
    g->rule_of = NULL;
    ur_graph_free(g);
}

TEST(long_texts_are_cut_and_keep_their_scope)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    REQUIRE(g != NULL);
    char big[3000] = { 0 };
    memset(big, 'x', sizeof big - 1);
    ur_scope_begin(g, "net", 5);
    ur__fail_at(g, "cell.c:41:", "op", "%s", big);
    const char *text = said(g);
    CHECK_INT(strlen(text), sizeof g->owner.error - 1);
    CHECK(strncmp(text, "cell.c:41: op: xxx", 18) == 0);
    CHECK_STR(text + strlen(text) - 17, "xxx (in net, t=5)");
    ur__fail(&g->owner, "%s", big);
    CHECK_INT(strlen(said(g)), sizeof g->owner.error - 1);
    ur__fail_at(g, big, big, "%s", big);
    CHECK(strlen(said(g)) < sizeof g->owner.error);
    ur_graph_free(g);
}

TEST(the_first_error_sticks)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    REQUIRE(g != NULL);
    CHECK_STR(ur_error(g), NULL);
    CHECK(!ur__fail(&g->owner, "first"));
    CHECK(!ur__fail(&g->owner, "second"));
    CHECK(!ur__fail_at(g, NULL, "op", "third"));
    CHECK_STR(ur_error(g), "first");
    ur_clear(g);
    CHECK_STR(ur_error(g), "first");
    ur_error_reset(g);
    CHECK_STR(ur_error(g), NULL);
    ur_error_reset(NULL);
    ur_graph_free(g);
}

TEST_MAIN(T(arguments_are_split_at_their_commas), T(places_are_base_names), T(shapes),
          T(operands_have_names_and_shapes), T(parts_of_composites_do_not_borrow_names),
          T(scopes_are_told_from_the_outside_in), T(errors_in_rules_name_both_lines),
          T(long_texts_are_cut_and_keep_their_scope), T(the_first_error_sticks))
