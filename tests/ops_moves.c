/* Operations that move numbers about, against index arithmetic: on numbers and on int32. */
#include "values.h"

/* 0, 1, 2, ...: each element is its own place. */
static ur_node counting(int rank, const int *dim)
{
    static double x[VALUES];
    for (int i = 0; i < VALUES; i++)
        x[i] = i;
    return values_leaf(x, rank, dim);
}
#define COUNTING(...) counting(UR__DIMS(__VA_ARGS__))

TEST(reshape_and_permute)
{
    ON_EACH_GRAPH() {
        ur_node x = COUNTING(2, 3, 4, 5);
        ur_node y = ur_permute(x, 3, 0, 2, 1);
        const double *v = values_of(y);
        CHECK_STR(values_shape(y), "[5,2,4,3]");
        for (int a = 0, k = 0; a < 5; a++)
            for (int b = 0; b < 2; b++)
                for (int c = 0; c < 4; c++)
                    for (int d = 0; d < 3; d++, k++)
                        CHECK_NEAR(v[k], ((b * 3 + d) * 4 + c) * 5 + a, 0);
        CHECK_STR(values_shape(ur_transpose(x)), "[2,3,5,4]");
        CHECK_STR(values_shape(ur_swap_axes(x, 0, -1)), "[5,3,4,2]");
        CHECK_VALUES(ur_transpose(COUNTING(2, 3)), ((double[]){ 0, 3, 1, 4, 2, 5 }), 0);
        CHECK_STR(values_shape(ur_transpose(LEAF(NULL, 0, 3))), "[3,0]");
        ur_node z = ur_reshape(ur_reshape(x, -1, 8), 3, 5, -1, 1);
        CHECK_STR(values_shape(z), "[3,5,8,1]");
        CHECK_NEAR(values_of(z)[77], 77, 0);
        CHECK_STR(values_shape(ur_reshape_at(NULL, COUNTING(1, 1), 0, NULL)), "[]");
    }
}

/* Blocks of transposes beyond one vector, and larger than the blocks of the kernel. */
TEST(transpose_of_odd_sizes)
{
    ON_EACH_GRAPH()
        for (int rows = 1; rows < 70; rows += 17)
            for (int cols = 1; cols < 40; cols += 19) {
                const double *v = values_of(ur_transpose(COUNTING(rows, cols)));
                int wrong = 0;
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < cols; c++)
                        wrong += v[c * rows + r] != r * cols + c;
                CHECK_INT(wrong, 0);
            }
}

TEST(slices)
{
    ON_EACH_GRAPH() {
        ur_node x = COUNTING(3, 4), out[2];
        CHECK_VALUES(ur_slice(x, 0, 1, UR_END), ((double[]){ 4, 5, 6, 7, 8, 9, 10, 11 }), 0);
        CHECK_VALUES(ur_slice(x, 0, -1, UR_END), ((double[]){ 8, 9, 10, 11 }), 0);
        CHECK_VALUES(ur_slice(x, -1, 1, -1), ((double[]){ 1, 2, 5, 6, 9, 10 }), 0);
        CHECK_STR(values_shape(ur_slice(x, 1, 2, 2)), "[3,0]");
        CHECK_VALUES(ur_index(x, 0, 2), ((double[]){ 8, 9, 10, 11 }), 0);
        CHECK_VALUES(ur_index(x, 1, -1), ((double[]){ 3, 7, 11 }), 0);
        CHECK_STR(values_shape(ur_index(COUNTING(2, 3, 4), 1, 0)), "[2,4]");
        REQUIRE(ur_split(x, 1, 2, out));
        CHECK_VALUES(out[0], ((double[]){ 0, 1, 4, 5, 8, 9 }), 0);
        CHECK_VALUES(out[1], ((double[]){ 2, 3, 6, 7, 10, 11 }), 0);
        ur_node y = ur_slice(COUNTING(2, 2), 0, 0, 2);
        CHECK_VALUES(ur_pad(y, 0, 1, 0), ((double[]){ 0, 0, 0, 1, 2, 3 }), 0);
        CHECK_VALUES(ur_pad(y, 1, 1, 2), ((double[]){ 0, 0, 1, 0, 0, 0, 2, 3, 0, 0 }), 0);
        CHECK_VALUES(values_grad(ur_index(x, 0, 1), UR_NIL, x),
                     ((double[]){ 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0 }), 0);
        CHECK_VALUES(values_grad(ur_slice(x, 1, 1, 3), UR_NIL, x),
                     ((double[]){ 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0 }), 0);
    }
}

TEST(concat_and_stack)
{
    ON_EACH_GRAPH() {
        ur_node a = COUNTING(2, 2), b = ur_neg(COUNTING(2, 1));
        CHECK_VALUES(ur_concat(a, b), ((double[]){ 0, 1, 0, 2, 3, -1 }), 0);
        ur_node three[] = { a, ur_neg(a), ur_scale(a, 2) };
        CHECK_VALUES(ur_concat_n(three, 3, 0),
                     ((double[]){ 0, 1, 2, 3, 0, -1, -2, -3, 0, 2, 4, 6 }), 0);
        CHECK_STR(values_shape(ur_stack(three, 3)), "[3,2,2]");
        CHECK_VALUES(ur_stack(three, 3),
                     ((double[]){ 0, 1, 2, 3, 0, -1, -2, -3, 0, 2, 4, 6 }), 0);
        CHECK_VALUES(ur_stack_n(three, 3, -1),
                     ((double[]){ 0, 0, 0, 1, -1, 2, 2, -2, 4, 3, -3, 6 }), 0);
        CHECK_VALUES(ur_stack_n(three, 2, 1), ((double[]){ 0, 1, 0, -1, 2, 3, -2, -3 }), 0);
        CHECK_VALUES(ur_concat(a, LEAF(NULL, 2, 0)), ((double[]){ 0, 1, 2, 3 }), 0);
        ur_node s[] = { ur_scalar(g, 1), ur_scalar(g, 2) };
        CHECK_VALUES(ur_stack(s, 2), ((double[]){ 1, 2 }), 0);
        ur_node y = ur_mul(ur_concat(b, a), COUNTING(2, 3));
        CHECK_VALUES(values_grad(y, UR_NIL, a), ((double[]){ 1, 2, 4, 5 }), 0);
        CHECK_VALUES(values_grad(y, UR_NIL, b), ((double[]){ 0, 3 }), 0);
        /* the same operand twice, and steps of a sequence put back together */
        CHECK_VALUES(values_grad(ur_mul(ur_concat(a, a), COUNTING(2, 4)), UR_NIL, a),
                     ((double[]){ 2, 4, 10, 12 }), 0);
        ur_node x = COUNTING(4, 2, 3), steps[4];
        for (int t = 0; t < 4; t++)
            steps[t] = ur_index(x, 0, t);
        CHECK_VALUES(ur_sub(ur_stack(steps, 4), x), (double[24]){ 0 }, 0);
        CHECK_VALUES(values_grad(ur_mul(ur_stack(steps, 4), x), UR_NIL, x),
                     values_of(ur_scale(x, 2)), 0);
    }
}

TEST(reverse)
{
    ON_EACH_GRAPH() {
        ur_node x = COUNTING(3, 2);
        CHECK_VALUES(ur_reverse(x, 0), ((double[]){ 4, 5, 2, 3, 0, 1 }), 0);
        CHECK_VALUES(ur_reverse(x, -1), ((double[]){ 1, 0, 3, 2, 5, 4 }), 0);
        const int lengths[] = { 2, 3 };
        CHECK_VALUES(ur_reverse_lengths(x, lengths), ((double[]){ 2, 5, 0, 3, 4, 1 }), 0);
        CHECK_VALUES(ur_reverse_lengths(x, ((int[]){ 0, 1 })), ((double[]){ 0, 1, 2, 3, 4, 5 }), 0);
        ur_node y = ur_mul(ur_reverse_lengths(x, lengths), x);
        CHECK_VALUES(values_grad(y, UR_NIL, x), ((double[]){ 4, 10, 0, 6, 8, 2 }), 0);
    }
}

TEST(broadcast_repeat_tile)
{
    ON_EACH_GRAPH() {
        ur_node x = COUNTING(2, 1, 2), y = ur_broadcast_to(x, 2, 2, 3, 2);
        CHECK_VALUES(y, ((double[]){ 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3,
                                     0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3 }), 0);
        CHECK_VALUES(values_grad(y, UR_NIL, x), ((double[]){ 6, 6, 6, 6 }), 0);
        CHECK_VALUES(ur_broadcast_to(ur_scalar(g, 7), 2, 2), ((double[]){ 7, 7, 7, 7 }), 0);
        CHECK_VALUES(ur_broadcast_to(COUNTING(3, 1), 3, 2), ((double[]){ 0, 0, 1, 1, 2, 2 }), 0);
        CHECK_VALUES(ur_repeat(COUNTING(2, 2), 0, 2), ((double[]){ 0, 1, 0, 1, 2, 3, 2, 3 }), 0);
        CHECK_VALUES(ur_repeat(COUNTING(2, 2), 1, 2), ((double[]){ 0, 0, 1, 1, 2, 2, 3, 3 }), 0);
        CHECK_VALUES(ur_tile(COUNTING(2, 2), 0, 2), ((double[]){ 0, 1, 2, 3, 0, 1, 2, 3 }), 0);
        CHECK_VALUES(ur_tile(COUNTING(2, 2), -1, 2), ((double[]){ 0, 1, 0, 1, 2, 3, 2, 3 }), 0);
        CHECK_STR(values_shape(ur_tile(COUNTING(2, 2), 1, 0)), "[2,0]");
        CHECK_STR(values_shape(ur_repeat(COUNTING(1, 2, 1, 2, 1, 2), 3, 4)), "[1,2,1,8,1,2]");
    }
}

TEST(gather_and_scatter)
{
    const int32_t id[] = { 2, 0, 2, 1 };
    ON_EACH_GRAPH() {
        ur_node table = COUNTING(4, 2), ids = ur_ints(g, id, 2, 2);
        ur_node y = ur_gather(table, ids);
        CHECK_STR(values_shape(y), "[2,2,2]");
        CHECK_VALUES(y, ((double[]){ 4, 5, 0, 1, 4, 5, 2, 3 }), 0);
        CHECK_VALUES(ur_scatter_add(y, ids, 4), ((double[]){ 0, 1, 2, 3, 8, 10, 0, 0 }), 0);
        CHECK_VALUES(ur_scatter_add(ur_scalar(g, 3), ur_ints_at(NULL, g, id, 0, NULL), 3),
                     ((double[]){ 0, 0, 3 }), 0);
        CHECK_VALUES(ur_gather(COUNTING(4), ids), ((double[]){ 2, 0, 2, 1 }), 0);
        CHECK_VALUES(ur_one_hot(ids, 3), ((double[]){ 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0 }), 0);
        CHECK_VALUES(ur_cast(ids), ((double[]){ 2, 0, 2, 1 }), 0);
        CHECK_STR(values_shape(ur_gather(table, ur_ints(g, NULL, 0))), "[0,2]");
    }
}

/* one_hot(ids) W = gather(W, ids), in value and in every gradient. */
TEST(one_hot_times_W_is_gather)
{
    int32_t id[35];
    for (int i = 0; i < 35; i++)
        id[i] = (int32_t)(11 * test_uniform());
    ON_EACH_GRAPH() {
        ur_node W = LEAF(NULL, 11, 6), ids = ur_ints(g, id, 5, 7), seed = LEAF(NULL, 5, 7, 6);
        ur_node a = ur_gather(W, ids), b = ur_matmul(ur_one_hot(ids, 11), W);
        CHECK_VALUES(a, values_of(b), 0);
        CHECK_VALUES(values_grad(a, seed, W), values_of(values_grad(b, seed, W)), 8);
        ur_node y = ur_square(a), z = ur_square(b);
        ur_node dy = values_grad(y, seed, W), dz = values_grad(z, seed, W);
        CHECK_VALUES(dy, values_of(dz), 16);
        CHECK_VALUES(values_grad(ur_square(dy), UR_NIL, W),
                     values_of(values_grad(ur_square(dz), UR_NIL, W)), 256);
    }
}

TEST(ids_out_of_range)
{
    static const int32_t id[] = { 1, 3, 0, -1 };
    for (int k = 0; k < 6; k++) {
        g = ur_graph_new(UR_F32, UR_TRAIN);
        ur_node x = LEAF(NULL, 3, 2), ids = ur_ints(g, id + k % 2 * 2, 2);
        ur_node y = k < 2 ? ur_gather(x, ids) : k < 4 ? ur_one_hot(ids, 3)
                    : ur_scatter_add(LEAF(NULL, 2, 2), ids, 3);
        CHECK(isnan(ur_value(ur_sum(y))));
        CHECK_HAS(ur_error(g), k % 2 ? "id -1 at position 1" : "id 3 at position 1");
        CHECK_HAS(ur_error(g), "ops_moves.c");
        ur_graph_free(g);
        g = NULL;
    }
}

/* Ids and labels are cut, joined and turned like numbers. */
TEST(moves_of_int32)
{
    const int32_t id[] = { 0, 1, 2, 3, 4, 5 };
    ON_EACH_GRAPH() {
        ur_node x = ur_ints(g, id, 3, 2), steps[3];
        for (int t = 0; t < 3; t++)
            steps[t] = ur_index(x, 0, t);
        CHECK_INT(ur_type_of(steps[0]), UR_I32);
        CHECK_VALUES(steps[1], ((double[]){ 2, 3 }), 0);
        CHECK_VALUES(ur_stack(steps, 3), ((double[]){ 0, 1, 2, 3, 4, 5 }), 0);
        CHECK_VALUES(ur_slice(x, 1, 1, 2), ((double[]){ 1, 3, 5 }), 0);
        CHECK_VALUES(ur_concat(x, x), ((double[]){ 0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5 }), 0);
        CHECK_VALUES(ur_transpose(x), ((double[]){ 0, 2, 4, 1, 3, 5 }), 0);
        CHECK_VALUES(ur_reverse(x, 0), ((double[]){ 4, 5, 2, 3, 0, 1 }), 0);
        CHECK_VALUES(ur_reverse_lengths(x, ((int[]){ 1, 2 })), ((double[]){ 0, 3, 2, 1, 4, 5 }), 0);
        CHECK_VALUES(ur_pad(ur_reshape(x, 6), 0, 1, 1), ((double[]){ 0, 0, 1, 2, 3, 4, 5, 0 }), 0);
        CHECK_VALUES(ur_broadcast_to(ur_slice(x, 0, 2, 3), 2, 2), ((double[]){ 4, 5, 4, 5 }), 0);
        CHECK_VALUES(ur_gather(x, ur_ints(g, ((int32_t[]){ 2, 0 }), 2)),
                     ((double[]){ 4, 5, 0, 1 }), 0);
    }
}

TEST_MAIN(T(reshape_and_permute), T(transpose_of_odd_sizes), T(slices), T(concat_and_stack),
          T(reverse), T(broadcast_repeat_tile), T(gather_and_scatter),
          T(one_hot_times_W_is_gather), T(ids_out_of_range), T(moves_of_int32))
