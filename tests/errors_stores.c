/* Error texts of stores, and of what goes in and out: parameters, states, values, files, steps. */
#include <unistd.h>
#include "tests/errors.h"

/* -------------------------------------------------------------------------------- parameters */

MISTAKE(name_given_twice,
    "@: param: there is a parameter \"lstm.Wf\" already, [3,16]; give this one another name")
{
    param("lstm.Wf", 3, 16);
    HERE ur_param(ps, "lstm.Wf", ur_xavier(), 5, 16);
}

MISTAKE(parameter_after_sealing,
    "@: param: \"late\" comes too late: the store was sealed by its first run, read or save; add "
    "parameters before")
{
    param("W", 3, 4);
    ur_values(ps);
    HERE ur_param(ps, "late", ur_xavier(), 5, 16);
}

MISTAKE(orthogonal_vector,
    "@: param: \"b\" is [5] but its initialiser needs a matrix, inputs by outputs")
{
    HERE ur_param(ps, "b", ur_orthogonal(1), 5);
}

MISTAKE(error_of_ones_own, "@: pair: left is [3,16], of which there are to be two")
{
    ur_node left = param("left", 3, 16);
    HERE ur_fail(ps, UR_AT("left"), "pair", "left is %s, of which there are to be two",
                 ur_shape_text(ur_shape_of(left)));
}

MISTAKE(error_without_a_place, "cell lstm: 0 gates")
{
    CHECK(!ur_fail(ps, NULL, NULL, "cell %s: %d gates", "lstm", 0));
    CHECK(!ur_fail(ps, NULL, NULL, "%s", "a second one"));
    CHECK(!ur_fail(NULL, NULL, NULL, "%s", "nobody's"));
}

/* -------------------------------------------------------------------------------------- states */

MISTAKE(state_of_another_batch, "@: state_out: elman.state0 is [4,3] but the new value is [2,3]")
{
    ur_cell *rnn = ur_elman(ps, "elman", 7, 3);
    ur_params *st = ur_cell_states(rnn, 4);
    ur_node s[1];
    ur_state_in(g, st, s);
    ur_node h = ur_zeros(g, 2, 3);
    HERE ur_state_out(st, &h);
    ur_params_free(st);
}

MISTAKE(states_of_another_precision, "@: state_in: the states are UR_F64 but the graph is UR_F32")
{
    ur_params *st = ur_params_new(UR_F64, 0);
    ur_param(st, "h", ur_constant(0), 2, 3);
    ur_node s[1];
    HERE ur_state_in(g, st, s);
    ur_params_free(st);
}

MISTAKE(state_that_is_nil, "@: state_out: the new value of lstm.state1 is nil")
{
    ur_cell *rnn = ur_lstm(ps, "lstm", 7, 3);
    ur_params *st = ur_cell_states(rnn, 2);
    ur_node s[2];
    ur_state_in(g, st, s);
    s[1] = (ur_node){ 0 };
    HERE ur_state_out(st, s);
    ur_params_free(st);
}

MISTAKE(row_that_is_not_there, "state_reset: there is no row 4: rnn.state0 is [4,3]")
{
    param("rnn.state0", 4, 3);
    ur_state_reset(ps, 4);
}

/* ------------------------------------------------------------------------- values, files, steps */

MISTAKE(value_that_is_gone,
    "@: tanh: the value was not kept and what it depends on has changed since: call ur_keep "
    "before the run")
{
    ur_node h;
    HERE h = ur_tanh(x);
    ur_keep(ur_sum(h));
    ur_run(g);
    ur_set(x, (float[14]){ 1 });
    ur_data(h);
}

MISTAKE(read_of_a_stale_node, "read: the node is of a tape that was cleared since")
{
    ur_clear(g);
    ur_value(x);
}

MISTAKE(read_of_another_count, "read: node 0 (input) is [2,7], but 7 elements are asked for")
{
    float out[7];
    ur_read(x, out, 7);
}

MISTAKE(value_of_many_numbers, "value: node 0 (input) is [2,7], but a value is one number")
{
    ur_value(x);
}

MISTAKE(set_of_a_result,
    "set: node 1 (tanh) is [2,7], but only leaves can be set, made by ur_input, ur_ints, ur_zeros "
    "or ur_scalar")
{
    ur_set(ur_tanh(x), NULL);
}

MISTAKE(set_to_nothing, "set: node 0 (input) is [2,7], but the data is NULL")
{
    ur_set(x, NULL);
}

MISTAKE(step_without_a_gradient,
    "step: there is no fresh gradient: since the last step no ur_backward was part of a "
    "successful ur_run")
{
    param("W", 3, 4);
    ur_optim *opt = ur_optim_new(ps, ur_sgd(0.1));
    ur_step(opt);
    ur_optim_free(opt);
}

MISTAKE(group_of_none, "group: no parameter is called \"lstm.*\"")
{
    param("W", 3, 4);
    ur_optim *opt = ur_optim_new(ps, ur_sgd(0.1));
    ur_group(opt, "lstm.*", 1, 0);
    ur_optim_free(opt);
}

MISTAKE(load_of_another_shape,
    "load: cannot read 'errors.st': 'lstm.Wf' is [7,16] in the file but [3,16] in the store")
{
    ur_params *saved = ur_params_new(UR_F32, 1);
    ur_param(saved, "lstm.Wf", ur_constant(0), 7, 16);
    ur_save("errors.st", &saved, 1, NULL, 0);
    ur_params_free(saved);
    param("lstm.Wf", 3, 16);
    ur_load("errors.st", &ps, 1, true, NULL);
    unlink("errors.st");
}

MISTAKE(load_of_nothing, "load: cannot read 'errors.st': there is no such file")
{
    param("lstm.Wf", 3, 16);
    ur_load("errors.st", &ps, 1, true, NULL);
}

TEST_MAIN(T(name_given_twice), T(parameter_after_sealing), T(orthogonal_vector),
          T(error_of_ones_own), T(error_without_a_place), T(state_of_another_batch),
          T(states_of_another_precision), T(state_that_is_nil), T(row_that_is_not_there),
          T(value_that_is_gone), T(read_of_a_stale_node), T(read_of_another_count),
          T(value_of_many_numbers), T(set_of_a_result), T(set_to_nothing),
          T(step_without_a_gradient),
          T(group_of_none), T(load_of_another_shape), T(load_of_nothing))
