/* The table of error texts: what a program reads when it has made a mistake, whole, with its own
 * file and line. Each row is a real misuse. */
#include "graph/internal.h"
#include "tests/child.h"
#include "tests/test.h"
#include "unroll/unroll.h"

/* What the rows use. */
static ur_graph *g, *other;
static ur_params *ps;
static ur_node x;               /* [2,7] */
static int line;                /* of the mistake */
#define HERE line = __LINE__,

/* The line that follows is the mistake's: HERE ur_matmul(x, W); */
typedef struct row {
    const char *name;
    void (*misuse)(void);
    const char *text;           /* %d stands for the line */
} row;

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
    HERE ur_mean_over(x, 2);
}

static void slice_too_long(void)
{
    HERE ur_slice(x, 0, 1, 3);
}

static void reshape_to_fewer(void)
{
    HERE ur_reshape(x, 3, -1);
}

static void concat_of_unequal_rows(void)
{
    ur_node h = ur_zeros(g, 3, 4);
    HERE ur_concat(h, x);
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

/* A user's cell: h' = tanh([h,x] W), made for 3 + 2 features but on a matrix of 4 rows. */
typedef struct slip {
    ur_cell cell;
    ur_node W;
} slip;

static ur_node slip_step(const ur_cell *cell, ur_node x_t, ur_node s[])
{
    const slip *p = (const slip *)cell;
    HERE s[0] = ur_tanh(ur_matmul(ur_concat(s[0], x_t), p->W));
    return s[0];
}

static ur_cell *slip_new(const char *name)
{
    slip *p = ur_cell_new(ps, name, sizeof *p, slip_step, 2, 3, 1, (int[]){ 3 });
    p->W = param(ur_namef(ps, "%s.W", name), 4, 3);
    return &p->cell;
}

static ur_node encode(ur_cell *cell, ur_node sequence)
{
    return ur_unroll(cell, sequence, NULL);
}

static ur_node translate(ur_node sequence)
{
    ur_cell *cell = slip_new("slip");
    ur_scope_begin(g, "encoder", -1);
    ur_node h = encode(cell, sequence);
    ur_scope_end(g);
    return h;
}

static void cell_with_a_wrong_shape(void)
{
    ur_backward(ur_sum(translate(ur_zeros(g, 4, 2, 2))));
}

static ur_node forgets_step(const ur_cell *cell, ur_node x_t, ur_node s[])
{
    (void)cell, (void)s;
    return x_t;
}

static void output_of_another_size(void)
{
    ur_cell *cell = ur_cell_new(ps, "echo", sizeof *cell, forgets_step, 2, 3, 1, (int[]){ 3 });
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

static void row_that_is_not_there(void)
{
    param("rnn.state0", 4, 3);
    ur_state_reset(ps, 4);
}

/* -------------------------------------------------------------------------- values, files, steps */

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
    remove("errors.st");
}

static void load_of_nothing(void)
{
    param("lstm.Wf", 3, 16);
    ur_load("errors.st", &ps, 1, true, NULL);
}

#define ROW(name, text) { #name, name, text }
static const row table[] = {
    ROW(inner_sizes, ""),
    ROW(nil_operand, ""),
    ROW(stale_operand, ""),
    ROW(operands_of_two_graphs, ""),
    ROW(parameters_without_a_graph, ""),
    ROW(sizes_that_do_not_broadcast, ""),
    ROW(three_that_do_not_broadcast, ""),
    ROW(ids_among_numbers, ""),
    ROW(bias_of_another_size, ""),
    ROW(axis_too_far, ""),
    ROW(slice_too_long, ""),
    ROW(reshape_to_fewer, ""),
    ROW(concat_of_unequal_rows, ""),
    ROW(negative_size, ""),
    ROW(losses_of_unequal_shapes, ""),
    ROW(labels_of_another_shape, ""),
    ROW(labels_that_are_numbers, ""),
    ROW(id_out_of_range, ""),
    ROW(label_out_of_range, ""),
    ROW(nothing_to_sample, ""),
    ROW(not_a_number, ""),
    ROW(loss_of_many_numbers, ""),
    ROW(loss_without_parameters, ""),
    ROW(stale_loss, ""),
    ROW(seed_of_another_shape, ""),
    ROW(gradient_for_nil, ""),
    ROW(name_given_twice, ""),
    ROW(parameter_after_sealing, ""),
    ROW(orthogonal_vector, ""),
    ROW(cell_with_a_wrong_shape, ""),
    ROW(output_of_another_size, ""),
    ROW(features_of_another_size, ""),
    ROW(lengths_beyond_the_sequence, ""),
    ROW(state_of_another_batch, ""),
    ROW(states_of_another_precision, ""),
    ROW(row_that_is_not_there, ""),
    ROW(read_of_another_count, ""),
    ROW(value_of_many_numbers, ""),
    ROW(set_of_a_result, ""),
    ROW(step_without_a_gradient, ""),
    ROW(group_of_none, ""),
    ROW(load_of_another_shape, ""),
    ROW(load_of_nothing, ""),
};

TEST(texts_are_these)
{
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        char expected[700];
        g = ur_graph_new(UR_F32, UR_TRAIN);
        other = ur_graph_new(UR_F32, UR_TRAIN);
        ps = ur_params_new(UR_F32, 1);
        x = ur_zeros(g, 2, 7);
        line = 0;
        table[k].misuse();
        snprintf(expected, sizeof expected, "%s", table[k].text);
        const char *e = ur_error(g) ? ur_error(g) : ur_error(ps);
        printf("%d %s\n   G %s\n   S %s   O %s\n", line, table[k].name, ur_error(g), ur_error(ps), ur_error(other));
        CHECK(e);
        ur_graph_free(g);
        ur_graph_free(other);
        ur_params_free(ps);
    }
}

TEST_MAIN(T(texts_are_these))
