/* What the operations refuse, and in which words: the line that a user gets for each mistake. */
#include "tests/test.h"
#include "unroll/unroll.h"

static ur_graph *g;
static ur_params *ps;

/* The text behind "ops_texts.c:123: " of what an expression refuses; it returned nil. */
static void refuses(int line, ur_node y, const char *text)
{
    const char *e = ur_error(g), *said = e ? strstr(e, ": ") : NULL;
    if (test_failed(__FILE__, line, ur_is_nil(y) && said && strcmp(said + 2, text) == 0))
        printf("said\n    %s\nnot ...\n    %s\n", e ? e : "nothing", text);
    if (e)
        CHECK_HAS(e, "ops_texts.c:");
    ur_error_reset(g);
}
#define REFUSES(expression, text) refuses(__LINE__, expression, text)

static void begin(void)
{
    g = ur_graph_new(UR_F32, UR_TRAIN);
    ps = ur_params_new(UR_F32, 1);
}

static void end(void)
{
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(products)
{
    begin();
    ur_node x = ur_zeros(g, 2, 7), W = ur_param(ps, "lstm.Wf", ur_constant(0), 3, 16);
    ur_node V = ur_param(ps, "V", ur_constant(0), 7, 4), b = ur_param(ps, "b", ur_constant(0), 5);
    ur_node ids = ur_ints(g, NULL, 2, 7);
    REFUSES(ur_matmul(x, W),
            "matmul: x is [2,7] but lstm.Wf is [3,16]: inner sizes 7 and 3 differ");
    REFUSES(ur_matmul_with(x, W, false, true),
            "matmul: x is [2,7] but lstm.Wf is [3,16], transposed: inner sizes 7 and 16 differ");
    REFUSES(ur_matmul_with(x, V, true, false),
            "matmul: x is [2,7], transposed, but V is [7,4]: inner sizes 2 and 7 differ");
    REFUSES(ur_matmul_with(x, W, true, true), "matmul: x is [2,7] but lstm.Wf is [3,16], both "
            "transposed: inner sizes 2 and 16 differ");
    REFUSES(ur_matmul(x, b), "matmul: x is [2,7] and b is [5], but a matrix has at least rank 2");
    REFUSES(ur_matmul(ids, V),
            "matmul: ids is int32 [2,7], but numbers are needed: ur_cast makes them of int32");
    ur_node y = ur_zeros(g, 3, 7, 2), z = ur_zeros(g, 2, 2, 7);
    REFUSES(ur_matmul(y, z), "matmul: y is [3,7,2] but z is [2,2,7]: leading sizes 3 and 2 differ");
    REFUSES(ur_affine(x, V, b),
            "affine: V is [7,4] but b is [5]: the bias needs the shape [4]");
    REFUSES(ur_affine(x, W, b),
            "matmul: x is [2,7] but lstm.Wf is [3,16]: inner sizes 7 and 3 differ");
    end();
}

TEST(elementwise_and_reductions)
{
    begin();
    ur_node x = ur_zeros(g, 2, 7), y = ur_zeros(g, 7, 2), ids = ur_ints(g, NULL, 2, 7);
    ur_node none = ur_zeros(g, 2, 0), s = ur_scalar(g, 1);
    REFUSES(ur_add(x, y),
            "add: x is [2,7] but y is [7,2]: sizes 2 and 7 of axis 2 from the end differ");
    REFUSES(ur_sum_over(x, 2), "sum: x is [2,7], so there is no axis 2");
    REFUSES(ur_sum_over(x, -3), "sum: x is [2,7], so there is no axis -3");
    REFUSES(ur_max_keep(x, 0, -2), "max: x is [2,7], and axis -2 is given twice");
    REFUSES(ur_mean_over(x, 5), "sum: x is [2,7], so there is no axis 5");
    REFUSES(ur_logsumexp(ids),
            "logsumexp: ids is int32 [2,7], but numbers are needed: ur_cast makes them of int32");
    REFUSES(ur_argmax(none, 1), "argmax: none is [2,0], and axis 1 has no maximum");
    REFUSES(ur_argmax(x, 2), "argmax: x is [2,7], so there is no axis 2");
    REFUSES(ur_cumsum(x, -4), "cumsum: x is [2,7], so there is no axis -4");
    REFUSES(ur_softmax(s), "softmax: s is a scalar, but the softmax is over an axis");
    end();
}

TEST(losses)
{
    begin();
    ur_node x = ur_zeros(g, 2, 7), y = ur_zeros(g, 2), z = ur_zeros(g, 2, 1);
    ur_node c = ur_ints(g, NULL, 2), d = ur_ints(g, NULL, 3), w = ur_zeros(g, 5);
    REFUSES(ur_cross_entropy(x, d), "cross_entropy: x is [2,7] but d is int32 [3]: labels have the "
            "shape of the logits without their last axis");
    REFUSES(ur_cross_entropy(x, y),
            "cross_entropy: y is [2], but int32 is needed: ur_ints makes such nodes");
    REFUSES(ur_cross_entropy_with(x, c, UR_IGNORE, 0, w, UR_MEAN),
            "cross_entropy: x is [2,7] but w is [5]: each class needs a weight");
    REFUSES(ur_cross_entropy_with(x, c, UR_IGNORE, 1, UR_NIL, UR_MEAN),
            "cross_entropy: the smoothing 1 is not in [0, 1)");
    REFUSES(ur_squared_loss(y, z), "squared_loss: y is [2] but z is [2,1]: a loss does not "
            "broadcast, its shapes must be equal");
    REFUSES(ur_binary_cross_entropy_each(x, y), "binary_cross_entropy: x is [2,7] but y is [2]: a "
            "loss does not broadcast, its shapes must be equal");
    REFUSES(ur_huber_loss(y, y, 0), "huber_loss: delta is 0, but must be above 0");
    end();
}

TEST(shapes)
{
    begin();
    ur_node x = ur_zeros(g, 2, 6), out[4], y = ur_zeros(g, 3, 6), ids = ur_ints(g, NULL, 2, 6);
    ur_node six = ur_zeros(g, 1, 1, 1, 1, 1, 2);
    REFUSES(ur_reshape(x, 5, 2), "reshape: x is [2,6], whose 12 elements do not fill [5,2]");
    REFUSES(ur_reshape(x, -1, 5),
            "reshape: x is [2,6], whose 12 elements do not fill the sizes asked for");
    REFUSES(ur_reshape(x, -1, -1),
            "reshape: x is [2,6], but size -1 of axis 1 is asked for (one -1 is allowed)");
    REFUSES(ur_reshape(x, 1, 1, 1, 1, 1, 1, 12), "reshape: rank 7, but ranks go from 0 to 6");
    REFUSES(ur_permute(x, 0, 0), "permute: x is [2,6]: the order must name each of its axes once");
    REFUSES(ur_swap_axes(x, 0, 2), "permute: x is [2,6], so there is no axis 2");
    REFUSES(ur_transpose(ur_scalar(g, 1)),
            "permute: ur_scalar(g, 1) is a scalar, so there is no axis -1");
    REFUSES(ur_slice(x, 1, 4, 8), "slice: x is [2,6], which has no part 4:8 on axis 1");
    REFUSES(ur_index(x, 0, 2), "index: x is [2,6], which has no position 2 on axis 0");
    REFUSES(ur_pad(x, 0, -1, 2),
            "pad: x is [2,6], but -1 zeros before and 2 after it are asked for");
    CHECK(!ur_split(x, 1, 4, out));
    REFUSES(out[0] = (ur_node){ 0 },
            "split: x is [2,6], whose axis 1 does not have 4 equal parts");
    REFUSES(ur_concat(x, y), "concat: x is [2,6] but y is [3,6]: shapes and types are equal but "
            "along axis 1");
    REFUSES(ur_concat(x, ids), "concat: x is [2,6] but ids is int32 [2,6]: shapes and types are "
            "equal but along axis 1");
    ur_node three[] = { x, x, y };
    REFUSES(ur_stack(three, 3), "stack: node 0 (input) is [2,6] but operand 2 is [3,6]: shapes and "
            "types are equal");
    REFUSES(ur_stack(&six, 1), "stack: node 3 (input) is [1,1,1,1,1,2], and the result would have "
            "rank 7, more than 6");
    REFUSES(ur_broadcast_to(x, 2, 3),
            "broadcast_to: x is [2,6], which does not broadcast to [2,3]");
    REFUSES(ur_repeat(x, 2, 2), "repeat: x is [2,6], so there is no axis 2");
    REFUSES(ur_tile(x, 0, -1), "tile: x is [2,6], and -1 copies along axis 0 are asked for");
    REFUSES(ur_reverse_lengths(x, ((int[]){ 1, 2, 3, 0, 0, 0 })),
            "reverse_lengths: x is [2,6], but length 3 of row 2 is not in 0:2");
    end();
}

TEST(ids_and_random)
{
    begin();
    ur_node x = ur_zeros(g, 2, 6), ids = ur_ints(g, NULL, 3), none = ur_zeros(g, 2, 0);
    REFUSES(ur_gather(x, x), "gather: x is [2,6], but int32 is needed: ur_ints makes such nodes");
    REFUSES(ur_gather(ur_scalar(g, 1), ids),
            "gather: ur_scalar(g, 1) is a scalar, but a table has rows: at least rank 1");
    REFUSES(ur_scatter_add(x, ids, 4),
            "scatter_add: x is [2,6] but ids is int32 [3]: each id needs a row");
    REFUSES(ur_one_hot(ids, -1), "one_hot: the result would have an axis of size -1");
    REFUSES(ur_one_hot(x, 3), "one_hot: x is [2,6], but int32 is needed: ur_ints makes such nodes");
    REFUSES(ur_cast(x), "cast: x is [2,6], but int32 is needed: ur_ints makes such nodes");
    REFUSES(ur_dropout(x, -0.5), "dropout: the rate -0.5 is not in [0, 1]");
    REFUSES(ur_bernoulli(g, 2, 3), "bernoulli: the probability 2 is not in [0, 1]");
    REFUSES(ur_noise_normal(g, 1, -2), "noise_normal: the result would have an axis of size -2");
    REFUSES(ur_sample(none, 1, 0, 1), "sample: none is [2,0], which leaves nothing to draw from");
    REFUSES(ur_sample(x, 1, 0, 1.5), "sample: top_p is 1.5, but must be in (0, 1]");
    end();
}

TEST_MAIN(T(products), T(elementwise_and_reductions), T(losses), T(shapes), T(ids_and_random))
