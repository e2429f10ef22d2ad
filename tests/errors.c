/* Error texts of graphs: what a program reads when it has made a mistake while it records,
 * differentiates or runs. */
#include "tests/errors_cell.h"

/* ----------------------------------------------------------------------------------- operands */

MISTAKE(inner_sizes, "@: matmul: x is [2,7] but lstm.Wf is [3,16]: inner sizes 7 and 3 differ")
{
    ur_node W = param("lstm.Wf", 3, 16);
    HERE ur_matmul(x, W);
}

MISTAKE(nil_operand, "@: mul: c is nil")
{
    ur_node c = { 0 };
    HERE ur_mul(x, c);
}

MISTAKE(stale_operand, "@: add: h is of a tape that was cleared since")
{
    ur_node h = ur_tanh(x);
    ur_clear(g);
    x = ur_zeros(g, 2, 7);
    HERE ur_add(x, h);
}

MISTAKE(operands_of_two_graphs,
    "@: add: operands of two graphs: x is [2,7] of one, y is [2,7] of the other")
{
    ur_node y = ur_zeros(other, 2, 7);
    HERE ur_add(x, y);
}

MISTAKE(parameters_without_a_graph,
    "@: matmul: operands are parameters alone: bring one to a graph by ur_use")
{
    ur_node W = param("W", 3, 4), V = param("V", 4, 2);
    HERE ur_matmul(W, V);
}

MISTAKE(sizes_that_do_not_broadcast,
    "@: mul: x is [2,7] but mask is [2]: sizes 7 and 2 of axis 1 from the end differ")
{
    ur_node mask = ur_zeros(g, 2);
    HERE ur_mul(x, mask);
}

MISTAKE(three_that_do_not_broadcast,
    "@: where: mask is [2,1], x is [2,7] and y is [3,7]: sizes 2 and 3 of axis 2 from the end "
    "differ")
{
    ur_node mask = ur_zeros(g, 2, 1), y = ur_zeros(g, 3, 7);
    HERE ur_where(mask, x, y);
}

MISTAKE(ids_among_numbers,
    "@: sub: ids is int32 [2,7], but numbers are needed: ur_cast makes them of int32")
{
    ur_node ids = ur_ints(g, NULL, 2, 7);
    HERE ur_sub(x, ids);
}

MISTAKE(bias_of_another_size,
    "@: affine: out.W is [7,5] but out.b is [7]: the bias needs the shape [5]")
{
    ur_node W = param("out.W", 7, 5), b = ur_param(ps, "out.b", ur_constant(0), 7);
    HERE ur_affine(x, W, b);
}

MISTAKE(axis_too_far, "@: sum: x is [2,7], so there is no axis 2")
{
    HERE ur_sum_over(x, 2);
}

MISTAKE(slice_too_long, "@: slice: x is [2,7], which has no part 1:3 on axis 0")
{
    HERE ur_slice(x, 0, 1, 3);
}

MISTAKE(reshape_to_fewer, "@: reshape: x is [2,7], whose 14 elements do not fill [3,4]")
{
    HERE ur_reshape(x, 3, 4);
}

MISTAKE(negative_size, "@: zeros: [-3,7] has the negative size -3")
{
    int T = -3;
    HERE ur_zeros(g, T, 7);
}

/* ------------------------------------------------------------------------------------- losses */

MISTAKE(losses_of_unequal_shapes,
    "@: squared_loss: y is [2] but target is [2,1]: a loss does not broadcast, its shapes must be "
    "equal")
{
    ur_node y = ur_zeros(g, 2), target = ur_zeros(g, 2, 1);
    HERE ur_squared_loss(y, target);
}

MISTAKE(labels_of_another_shape,
    "@: cross_entropy: x is [2,7] but labels is int32 [7]: labels have the shape of the logits "
    "without their last axis")
{
    ur_node labels = ur_ints(g, NULL, 7);
    HERE ur_cross_entropy(x, labels);
}

MISTAKE(labels_that_are_numbers,
    "@: cross_entropy: labels is [2], but int32 is needed: ur_ints makes such nodes")
{
    ur_node labels = ur_zeros(g, 2);
    HERE ur_cross_entropy(x, labels);
}

/* -------------------------------------------------------------------------------- in the run */

MISTAKE(id_out_of_range,
    "@: gather: id 11 at position 1, but ids are from 0 to 10 here (in encoder, t=5)")
{
    ur_embedding embed = ur_embedding_new(ps, "embed", 11, 4);
    ur_node ids = ur_ints(g, ((int32_t[]){ 3, 11 }), 2);
    ur_scope_begin(g, "encoder", 5);
    HERE ur_keep(ur_embed(embed, ids));
    ur_scope_end(g);
    ur_run(g);
}

MISTAKE(label_out_of_range,
    "@: cross_entropy: label -1 at position 1 is neither in 0:7 nor the ignored -100")
{
    ur_node labels = ur_ints(g, ((int32_t[]){ 6, -1 }), 2);
    HERE ur_cross_entropy(x, labels);
    ur_run(g);
}

MISTAKE(nothing_to_sample, "@: sample: row 1 of the logits is -inf throughout")
{
    float logits[] = { 0, 1, -INFINITY, -INFINITY };
    ur_node l = ur_input(g, logits, 2, 2);
    HERE ur_sample(l, 1, 0, 1);
    ur_run(g);
}

MISTAKE(not_a_number,
    "@: log: the result is not finite: the first such value of the run (in decoder, t=2)")
{
    ur_watch(g, true);
    ur_scope_begin(g, "decoder", 2);
    HERE ur_keep(ur_log(ur_shift(x, -1)));
    ur_scope_end(g);
    ur_run(g);
}

/* ---------------------------------------------------------------------------------- gradients */

MISTAKE(loss_of_many_numbers,
    "@: backward: y is [2,3], but a loss is one number: take its sum or mean")
{
    ur_node W = param("W", 7, 3), y = ur_matmul(x, W);
    HERE ur_backward(y);
}

MISTAKE(loss_without_parameters,
    "@: backward: the loss depends on no parameter that is trainable in this graph's precision")
{
    ur_node loss = ur_sum(ur_square(x));
    HERE ur_backward(loss);
}

MISTAKE(stale_loss, "@: backward: loss is of a tape that was cleared since")
{
    ur_node loss = ur_sum(x);
    ur_clear(g);
    HERE ur_backward(loss);
}

MISTAKE(seed_of_another_shape, "@: grad: y 0 is [7] but its seed is [2]")
{
    ur_node y = ur_sum_over(x, 0), seed = ur_zeros(g, 2), dx;
    HERE ur_grad(&y, &seed, 1, &x, 1, &dx);
}

MISTAKE(gradient_for_nil, "@: grad: x 1 is nil")
{
    ur_node y = ur_sum(x), xs[2] = { x, { 0 } }, out[2];
    HERE ur_grad(&y, NULL, 1, xs, 2, out);
}

/* y = x^3, whose rule forgets that the operand may have more than one element. */
static void cube_rule(ur_rule *r)
{
    ur_give(r, 0, ur_sum(ur_mul(r->g, ur_square(r->in[0]))));
}

static void cube_compute(const ur_compute *c)
{
    const float *a = c->in[0];
    float *y = c->out;
    for (int i = 0; i < c->shape.dim[0] * c->shape.dim[1]; i++)
        y[i] = a[i] * a[i] * a[i];
}

static bool same_shape(ur_shaping *s)
{
    s->out = s->in[0];
    return true;
}

static ur_node cube_sample(ur_draw *d, int which)
{
    (void)which;
    return ur_draw_input(d, -1, 1, 2, 7);
}

static ur_op cube = {
    .name = "cube", .kind = UR_OPAQUE, .n_in = 1, .shape = same_shape, .compute = cube_compute,
    .rule = cube_rule, .sample = cube_sample,
};

MISTAKE(rule_of_another_shape,
    "@: cube: the gradient rule gave [] for operand 0, which is [2,7] (in net)")
{
    ur_node dx;
    ur_scope_begin(g, "net", -1);
    HERE ur_grad((ur_node[]){ ur_apply(&cube, x) }, NULL, 1, &x, 1, &dx);
    ur_scope_end(g);
    ur_run(g);
}

MISTAKE(op_without_a_rule, "@: cube: the op has neither a gradient rule nor the mark UR_FLAT")
{
    static ur_op blank;
    blank = cube;
    blank.rule = NULL;
    HERE ur_apply(&blank, x);
}

MISTAKE(operands_too_many, "@: cube: takes 1 operand, not 2")
{
    HERE ur_apply(&cube, x, x);
}

/* ------------------------------------------------------------------------- cells and sequences */

static ur_node encode(ur_cell *cell, ur_node sequence)
{
    return ur_unroll(cell, sequence, NULL);
}

static ur_node score(ur_cell *cell, ur_node sequence)
{
    ur_node h = encode(cell, sequence);
    return ur_sum(ur_square(h));
}

/* score, encode, ur_unroll, and then the mistake; what follows it does nothing. */
MISTAKE(cell_with_a_wrong_shape,
    "cell.c:41: matmul: x is [2,7] but lstm.Wf is [3,16]: inner sizes 7 and 3 differ "
    "(in lstm, t=0)")
{
    ur_backward(score(slip_new("lstm"), ur_zeros(g, 4, 2, 7)));
    ur_run(g);
}

MISTAKE(cell_inside_another_scope,
    "cell.c:41: matmul: x is [2,7] but bottom.Wf is [3,16]: inner sizes 7 and 3 differ "
    "(in encoder, bottom, t=0)")
{
    ur_scope_begin(g, "encoder", -1);
    encode(slip_new("bottom"), ur_zeros(g, 4, 2, 7));
    ur_scope_end(g);
}

static ur_node echo_step(const ur_cell *cell, ur_node x_t, ur_node s[])
{
    (void)cell, (void)s;
    return x_t;
}

MISTAKE(output_of_another_size,
    "@: unroll: cell echo returned [2,2] at t=0, but declares an output of [2,3]")
{
    ur_cell *cell = ur_cell_new(ps, "echo", sizeof *cell, echo_step, 2, 3, 1, (int[]){ 3 });
    ur_node sequence = ur_zeros(g, 4, 2, 2);
    HERE ur_unroll(cell, sequence, NULL);
}

MISTAKE(features_of_another_size,
    "@: unroll: sequence is [4,2,7], but cell lstm takes 5 features, not 7")
{
    ur_cell *rnn = ur_lstm(ps, "lstm", 5, 3);
    ur_node sequence = ur_zeros(g, 4, 2, 7);
    HERE ur_unroll(rnn, sequence, NULL);
}

MISTAKE(lengths_beyond_the_sequence,
    "@: unroll: lengths[1] is 5, not between 0 and the 4 steps of x")
{
    ur_cell *rnn = ur_gru(ps, "gru", 7, 3);
    ur_node sequence = ur_zeros(g, 4, 2, 7);
    HERE ur_unroll_lengths(rnn, sequence, ((int[]){ 4, 5 }), NULL);
}

/* ----------------------------------------------------------------------- functions of one's own */

static ur_node twice_at(ur_at at, ur_node a, ur_node b)
{
    if (ur_dim(a, -1) != 2 * ur_dim(b, -1))
        return ur_fail(ur_graph_of(a), at, "twice", "%s and %s, not half of it",
                       ur_called(a, at, 0), ur_called(b, at, 1)), UR_NIL;
    return ur_concat_at(at, b, b);
}
#define twice(a, b) twice_at(UR_AT(#a ", " #b), a, b)

MISTAKE(error_of_ones_own,
    "@: twice: x is [2,7] and half is nil, not half of it (in decoder, t=3)")
{
    ur_node half = UR_NIL;
    ur_scope_begin(g, "decoder", 3);
    HERE twice(x, half);
    ur_scope_end(g);
}

/* ----------------------------------------------------------------------------- nobody's errors */

TEST(nil_has_no_graph_to_tell)
{
    ur_set_error_hook(hook, NULL);
    hooked.calls = 0;
    g = ur_graph_new(UR_F32, UR_TRAIN);
    ps = ur_params_new(UR_F32, 1);
    ur_node h = { 0 }, W = param("W", 3, 4);
    ur_node y = ur_sum(ur_add(ur_tanh(h), ur_matmul(h, W)));
    CHECK(ur_is_nil(y) && !y.owner && ur_is_nil(ur_backward(y)));
    CHECK(isnan(ur_value(y)) && ur_data(y) == NULL && ur_run(g));
    CHECK(!ur_error(g) && !ur_error(ps));
    CHECK_INT(hooked.calls, 0);
    ur_set_error_hook(NULL, NULL);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(inner_sizes), T(nil_operand), T(stale_operand), T(operands_of_two_graphs),
          T(parameters_without_a_graph), T(sizes_that_do_not_broadcast),
          T(three_that_do_not_broadcast), T(ids_among_numbers), T(bias_of_another_size),
          T(axis_too_far), T(slice_too_long), T(reshape_to_fewer), T(negative_size),
          T(losses_of_unequal_shapes), T(labels_of_another_shape), T(labels_that_are_numbers),
          T(id_out_of_range), T(label_out_of_range), T(nothing_to_sample), T(not_a_number),
          T(loss_of_many_numbers), T(loss_without_parameters), T(stale_loss),
          T(seed_of_another_shape), T(gradient_for_nil), T(rule_of_another_shape),
          T(op_without_a_rule), T(operands_too_many), T(cell_with_a_wrong_shape),
          T(cell_inside_another_scope), T(output_of_another_size), T(features_of_another_size),
          T(lengths_beyond_the_sequence),
          T(error_of_ones_own), T(nil_has_no_graph_to_tell))
