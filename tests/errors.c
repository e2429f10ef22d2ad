/* The table of error texts: what a program reads when it has made a mistake, the whole line, with
 * the program's own file and line number in front. Each row is a real misuse. */
#include <unistd.h>
#include "tests/test.h"
#include "unroll/unroll.h"

/* What the rows use. */
static ur_graph *g, *other;
static ur_params *ps;
static ur_node x;               /* [2,7] */
static int line;                /* of the mistake */

/* In front of the mistake: HERE ur_matmul(x, W); */
#define HERE line = __LINE__,

static ur_node param(const char *name, int rows, int columns)
{
    return ur_param(ps, name, ur_constant(1), rows, columns);
}

/* ----------------------------------------------------------------------------------- operands */

static void inner_sizes(void)
{
    ur_node W = param("lstm.Wf", 3, 16);
    HERE ur_matmul(x, W);
}

static void nil_operand(void)
{
    ur_node c = { 0 };
    HERE ur_mul(x, c);
}

static void stale_operand(void)
{
    ur_node h = ur_tanh(x);
    ur_clear(g);
    x = ur_zeros(g, 2, 7);
    HERE ur_add(x, h);
}

static void operands_of_two_graphs(void)
{
    ur_node y = ur_zeros(other, 2, 7);
    HERE ur_add(x, y);
}

static void parameters_without_a_graph(void)
{
    ur_node W = param("W", 3, 4), V = param("V", 4, 2);
    HERE ur_matmul(W, V);
}

static void sizes_that_do_not_broadcast(void)
{
    ur_node mask = ur_zeros(g, 2);
    HERE ur_mul(x, mask);
}

static void three_that_do_not_broadcast(void)
{
    ur_node mask = ur_zeros(g, 2, 1), y = ur_zeros(g, 3, 7);
    HERE ur_where(mask, x, y);
}

static void ids_among_numbers(void)
{
    ur_node ids = ur_ints(g, NULL, 2, 7);
    HERE ur_sub(x, ids);
}

static void bias_of_another_size(void)
{
    ur_node W = param("out.W", 7, 5), b = ur_param(ps, "out.b", ur_constant(0), 7);
    HERE ur_affine(x, W, b);
}

static void axis_too_far(void)
{
    HERE ur_sum_over(x, 2);
}

static void slice_too_long(void)
{
    HERE ur_slice(x, 0, 1, 3);
}

static void reshape_to_fewer(void)
{
    HERE ur_reshape(x, 3, 4);
}

static void negative_size(void)
{
    int T = -3;
    HERE ur_zeros(g, T, 7);
}

/* ------------------------------------------------------------------------------------- losses */

static void losses_of_unequal_shapes(void)
{
    ur_node y = ur_zeros(g, 2), target = ur_zeros(g, 2, 1);
    HERE ur_squared_loss(y, target);
}

static void labels_of_another_shape(void)
{
    ur_node labels = ur_ints(g, NULL, 7);
    HERE ur_cross_entropy(x, labels);
}

static void labels_that_are_numbers(void)
{
    ur_node labels = ur_zeros(g, 2);
    HERE ur_cross_entropy(x, labels);
}

/* -------------------------------------------------------------------------------- in the run */

static void id_out_of_range(void)
{
    ur_embedding embed = ur_embedding_new(ps, "embed", 11, 4);
    ur_node ids = ur_ints(g, ((int32_t[]){ 3, 11 }), 2);
    ur_scope_begin(g, "encoder", 5);
    HERE ur_keep(ur_embed(embed, ids));
    ur_scope_end(g);
    ur_run(g);
}

static void label_out_of_range(void)
{
    ur_node labels = ur_ints(g, ((int32_t[]){ 6, -1 }), 2);
    HERE ur_cross_entropy(x, labels);
    ur_run(g);
}

static void nothing_to_sample(void)
{
    float logits[] = { 0, 1, -INFINITY, -INFINITY };
    ur_node l = ur_input(g, logits, 2, 2);
    HERE ur_sample(l, 1, 0, 1);
    ur_run(g);
}

static void not_a_number(void)
{
    ur_watch(g, true);
    ur_scope_begin(g, "decoder", 2);
    HERE ur_keep(ur_log(ur_shift(x, -1)));
    ur_scope_end(g);
    ur_run(g);
}

/* ---------------------------------------------------------------------------------- gradients */

static void loss_of_many_numbers(void)
{
    ur_node W = param("W", 7, 3), y = ur_matmul(x, W);
    HERE ur_backward(y);
}

static void loss_without_parameters(void)
{
    ur_node loss = ur_sum(ur_square(x));
    HERE ur_backward(loss);
}

static void stale_loss(void)
{
    ur_node loss = ur_sum(x);
    ur_clear(g);
    HERE ur_backward(loss);
}

static void seed_of_another_shape(void)
{
    ur_node y = ur_sum_over(x, 0), seed = ur_zeros(g, 2), dx;
    HERE ur_grad(&y, &seed, 1, &x, 1, &dx);
}

static void gradient_for_nil(void)
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

static void rule_of_another_shape(void)
{
    ur_node dx;
    ur_scope_begin(g, "net", -1);
    HERE ur_grad((ur_node[]){ ur_apply(&cube, x) }, NULL, 1, &x, 1, &dx);
    ur_scope_end(g);
    ur_run(g);
}

static void op_without_a_rule(void)
{
    static ur_op blank;
    blank = cube;
    blank.rule = NULL;
    HERE ur_apply(&blank, x);
}

static void operands_too_many(void)
{
    HERE ur_apply(&cube, x, x);
}

/* -------------------------------------------------------------------------------- parameters */

static void name_given_twice(void)
{
    param("lstm.Wf", 3, 16);
    HERE ur_param(ps, "lstm.Wf", ur_xavier(), 5, 16);
}

static void parameter_after_sealing(void)
{
    param("W", 3, 4);
    ur_values(ps);
    HERE ur_param(ps, "late", ur_xavier(), 5, 16);
}

static void orthogonal_vector(void)
{
    HERE ur_param(ps, "b", ur_orthogonal(1), 5);
}

/* ------------------------------------------------------------------------- cells and sequences */

/* A user's cell, f = sigmoid(x Wf), whose matrix has the rows of another one. */
typedef struct slip {
    ur_cell cell;
    ur_node Wf;
} slip;

static ur_node slip_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const slip *p = (const slip *)cell;
    HERE s[0] = ur_sigmoid(ur_matmul(x, p->Wf));
    return s[0];
}

static ur_cell *slip_new(const char *name)
{
    slip *p = ur_cell_new(ps, name, sizeof *p, slip_step, 7, 16, 1, (int[]){ 16 });
    p->Wf = param(ur_namef(ps, "%s.Wf", name), 3, 16);
    return &p->cell;
}

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
static void cell_with_a_wrong_shape(void)
{
    ur_backward(score(slip_new("lstm"), ur_zeros(g, 4, 2, 7)));
    ur_run(g);
}

static void cell_inside_another_scope(void)
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

static void output_of_another_size(void)
{
    ur_cell *cell = ur_cell_new(ps, "echo", sizeof *cell, echo_step, 2, 3, 1, (int[]){ 3 });
    ur_node sequence = ur_zeros(g, 4, 2, 2);
    HERE ur_unroll(cell, sequence, NULL);
}

static void features_of_another_size(void)
{
    ur_cell *rnn = ur_lstm(ps, "lstm", 5, 3);
    ur_node sequence = ur_zeros(g, 4, 2, 7);
    HERE ur_unroll(rnn, sequence, NULL);
}

static void lengths_beyond_the_sequence(void)
{
    ur_cell *rnn = ur_gru(ps, "gru", 7, 3);
    ur_node sequence = ur_zeros(g, 4, 2, 7);
    HERE ur_unroll_lengths(rnn, sequence, ((int[]){ 4, 5 }), NULL);
}

/* -------------------------------------------------------------------------------------- states */

static void state_of_another_batch(void)
{
    ur_cell *rnn = ur_elman(ps, "elman", 7, 3);
    ur_params *st = ur_cell_states(rnn, 4);
    ur_node s[1];
    ur_state_in(g, st, s);
    ur_node h = ur_zeros(g, 2, 3);
    HERE ur_state_out(st, &h);
    ur_params_free(st);
}

static void states_of_another_precision(void)
{
    ur_params *st = ur_params_new(UR_F64, 0);
    ur_param(st, "h", ur_constant(0), 2, 3);
    ur_node s[1];
    HERE ur_state_in(g, st, s);
    ur_params_free(st);
}

static void state_that_is_nil(void)
{
    ur_cell *rnn = ur_lstm(ps, "lstm", 7, 3);
    ur_params *st = ur_cell_states(rnn, 2);
    ur_node s[2];
    ur_state_in(g, st, s);
    s[1] = (ur_node){ 0 };
    HERE ur_state_out(st, s);
    ur_params_free(st);
}

static void row_that_is_not_there(void)
{
    param("rnn.state0", 4, 3);
    ur_state_reset(ps, 4);
}

/* ------------------------------------------------------------------------- values, files, steps */

static void value_that_is_gone(void)
{
    ur_node h;
    HERE h = ur_tanh(x);
    ur_keep(ur_sum(h));
    ur_run(g);
    ur_set(x, (float[14]){ 1 });
    ur_data(h);
}

static void read_of_a_stale_node(void)
{
    ur_clear(g);
    ur_value(x);
}

static void read_of_another_count(void)
{
    float out[7];
    ur_read(x, out, 7);
}

static void value_of_many_numbers(void)
{
    ur_value(x);
}

static void set_of_a_result(void)
{
    ur_set(ur_tanh(x), NULL);
}

static void step_without_a_gradient(void)
{
    param("W", 3, 4);
    ur_optim *opt = ur_optim_new(ps, ur_sgd(0.1));
    ur_step(opt);
    ur_optim_free(opt);
}

static void group_of_none(void)
{
    param("W", 3, 4);
    ur_optim *opt = ur_optim_new(ps, ur_sgd(0.1));
    ur_group(opt, "lstm.*", 1, 0);
    ur_optim_free(opt);
}

static void load_of_another_shape(void)
{
    ur_params *saved = ur_params_new(UR_F32, 1);
    ur_param(saved, "lstm.Wf", ur_constant(0), 7, 16);
    ur_save("errors.st", &saved, 1, NULL, 0);
    ur_params_free(saved);
    param("lstm.Wf", 3, 16);
    ur_load("errors.st", &ps, 1, true, NULL);
    unlink("errors.st");
}

static void load_of_nothing(void)
{
    param("lstm.Wf", 3, 16);
    ur_load("errors.st", &ps, 1, true, NULL);
}

/* @ stands for "errors.c" and the line of the mistake. */
#define ROW(name, text) { #name, name, text }
static const struct {
    const char *name;
    void (*misuse)(void);
    const char *text;
} table[] = {
    ROW(inner_sizes, "@: matmul: x is [2,7] but lstm.Wf is [3,16]: inner sizes 7 and 3 differ"),
    ROW(nil_operand, "@: mul: c is nil"),
    ROW(stale_operand, "@: add: h is of a tape that was cleared since"),
    ROW(operands_of_two_graphs,
        "@: add: operands of two graphs: x is [2,7] of one, y is [2,7] of the other"),
    ROW(parameters_without_a_graph,
        "@: matmul: operands are parameters alone: bring one to a graph by ur_use"),
    ROW(sizes_that_do_not_broadcast,
        "@: mul: x is [2,7] but mask is [2]: sizes 7 and 2 of axis 1 from the end differ"),
    ROW(three_that_do_not_broadcast,
        "@: where: mask is [2,1], x is [2,7] and y is [3,7]: sizes 2 and 3 of axis 2 from the "
        "end differ"),
    ROW(ids_among_numbers,
        "@: sub: ids is int32 [2,7], but numbers are needed: ur_cast makes them of int32"),
    ROW(bias_of_another_size,
        "@: affine: out.W is [7,5] but out.b is [7]: the bias needs the shape [5]"),
    ROW(axis_too_far, "@: sum: x is [2,7], so there is no axis 2"),
    ROW(slice_too_long, "@: slice: x is [2,7], which has no part 1:3 on axis 0"),
    ROW(reshape_to_fewer, "@: reshape: x is [2,7], whose 14 elements do not fill [3,4]"),
    ROW(negative_size, "@: zeros: [-3,7] has the negative size -3"),
    ROW(losses_of_unequal_shapes,
        "@: squared_loss: y is [2] but target is [2,1]: a loss does not broadcast, its shapes "
        "must be equal"),
    ROW(labels_of_another_shape,
        "@: cross_entropy: x is [2,7] but labels is int32 [7]: labels have the shape of the "
        "logits without their last axis"),
    ROW(labels_that_are_numbers,
        "@: cross_entropy: labels is [2], but int32 is needed: ur_ints makes such nodes"),
    ROW(id_out_of_range,
        "@: gather: id 11 at position 1, but ids are from 0 to 10 here (in encoder, t=5)"),
    ROW(label_out_of_range,
        "@: cross_entropy: label -1 at position 1 is neither in 0:7 nor the ignored -100"),
    ROW(nothing_to_sample, "@: sample: row 1 of the logits is -inf throughout"),
    ROW(not_a_number,
        "@: log: the result is not finite: the first such value of the run (in decoder, t=2)"),
    ROW(loss_of_many_numbers,
        "@: backward: y is [2,3], but a loss is one number: take its sum or mean"),
    ROW(loss_without_parameters,
        "@: backward: the loss depends on no parameter that is trainable in this graph's "
        "precision"),
    ROW(stale_loss, "@: backward: loss is of a tape that was cleared since"),
    ROW(seed_of_another_shape, "@: grad: y 0 is [7] but its seed is [2]"),
    ROW(gradient_for_nil, "@: grad: x 1 is nil"),
    ROW(rule_of_another_shape,
        "@: cube: the gradient rule gave [] for operand 0, which is [2,7] (in net)"),
    ROW(op_without_a_rule, "@: cube: the op has neither a gradient rule nor the mark UR_FLAT"),
    ROW(operands_too_many, "@: cube: takes 1 operand, not 2"),
    ROW(name_given_twice,
        "@: param: there is a parameter \"lstm.Wf\" already, [3,16]; give this one another name"),
    ROW(parameter_after_sealing,
        "@: param: \"late\" comes too late: the store was sealed by its first run, read or save; "
        "add parameters before"),
    ROW(orthogonal_vector,
        "@: param: \"b\" is [5] but its initialiser needs a matrix, inputs by outputs"),
    ROW(cell_with_a_wrong_shape,
        "@: matmul: x is [2,7] but lstm.Wf is [3,16]: inner sizes 7 and 3 differ (in lstm, t=0)"),
    ROW(cell_inside_another_scope,
        "@: matmul: x is [2,7] but bottom.Wf is [3,16]: inner sizes 7 and 3 differ (in encoder, "
        "bottom, t=0)"),
    ROW(output_of_another_size,
        "@: unroll: cell echo returned [2,2] at t=0, but declares an output of [2,3]"),
    ROW(features_of_another_size,
        "@: unroll: sequence is [4,2,7], but cell lstm takes 5 features, not 7"),
    ROW(lengths_beyond_the_sequence,
        "@: unroll: lengths[1] is 5, not between 0 and the 4 steps of x"),
    ROW(state_of_another_batch, "@: state_out: elman.state0 is [4,3] but the new value is [2,3]"),
    ROW(states_of_another_precision, "@: state_in: the states are UR_F64 but the graph is UR_F32"),
    ROW(state_that_is_nil, "@: state_out: the new value of lstm.state1 is nil"),
    ROW(row_that_is_not_there, "state_reset: there is no row 4: rnn.state0 is [4,3]"),
    ROW(value_that_is_gone,
        "@: tanh: the value was not kept and what it depends on has changed since: call ur_keep "
        "before the run"),
    ROW(read_of_a_stale_node, "read: the node is of a tape that was cleared since"),
    ROW(read_of_another_count, "read: node 0 (input) is [2,7], but 7 elements are asked for"),
    ROW(value_of_many_numbers, "value: node 0 (input) is [2,7], but a value is one number"),
    ROW(set_of_a_result,
        "set: node 1 (tanh) is [2,7], but only leaves can be set, made by ur_input, ur_ints, "
        "ur_zeros or ur_scalar"),
    ROW(step_without_a_gradient,
        "step: there is no fresh gradient: since the last step no ur_backward was part of a "
        "successful ur_run"),
    ROW(group_of_none, "group: no parameter is called \"lstm.*\""),
    ROW(load_of_another_shape,
        "load: cannot read 'errors.st': 'lstm.Wf' is [7,16] in the file but [3,16] in the store"),
    ROW(load_of_nothing, "load: cannot read 'errors.st': there is no such file"),
};

static struct {
    int calls;
    const void *where;
    char text[700];
} hooked;

static void hook(void *user, const void *graph_or_store, const char *text)
{
    (void)user;
    hooked.calls++;
    hooked.where = graph_or_store;
    snprintf(hooked.text, sizeof hooked.text, "%s", text);
}

/* The whole line, told once, to the graph or the store that it belongs to; it stays, and who has it
 * does nothing any more. */
static void check_row(size_t k)
{
    char text[700];
    if (table[k].text[0] == '@')
        snprintf(text, sizeof text, "errors.c:%d%s", line, table[k].text + 1);
    else
        snprintf(text, sizeof text, "%s", table[k].text);
    const void *where = ur_error(g) ? (const void *)g : ps;
    if (!CHECK_STR(ur_error(where), text) || !CHECK(!ur_error(g) || !ur_error(ps)))
        printf("  in row %s\n", table[k].name);
    CHECK_INT(hooked.calls, 1);
    CHECK(hooked.where == where);
    CHECK_STR(hooked.text, text);
    if (where != g)
        return;
    ur_clear(g);
    CHECK(ur_is_nil(ur_zeros(g, 2)));
    CHECK(!ur_run(g) && !ur_rerun(g));
    CHECK_STR(ur_error(g), text);
    ur_error_reset(g);
    CHECK_NEAR(ur_value(ur_sum(ur_shift(ur_zeros(g, 3), 1))), 3, 0);
}

TEST(texts_are_these)
{
    ur_set_error_hook(hook, NULL);
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        g = ur_graph_new(UR_F32, UR_TRAIN);
        other = ur_graph_new(UR_F32, UR_TRAIN);
        ps = ur_params_new(UR_F32, 1);
        x = ur_zeros(g, 2, 7);
        hooked.calls = 0;
        table[k].misuse();
        check_row(k);
        CHECK(!ur_error(other));
        ur_graph_free(g);
        ur_graph_free(other);
        ur_params_free(ps);
    }
    ur_set_error_hook(NULL, NULL);
}

TEST_MAIN(T(texts_are_these))
