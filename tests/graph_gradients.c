/* Gradients as requests of a graph: nodes again, added up in the stores, row by row for tables. */
#include "tests/test.h"
#include "unroll/unroll.h"

TEST(gradients_are_nodes)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node x = ur_input(g, ((double[]){ 0.5, -1, 2 }), 3);
    ur_node y = ur_sum(ur_mul(ur_square(x), x)), dx, ddx, none;
    REQUIRE(ur_grad(&y, NULL, 1, &x, 1, &dx));              /* 3 x^2 */
    ur_node s = ur_sum(ur_mul(dx, x));                      /* 3 x^3 */
    REQUIRE(ur_grad(&s, NULL, 1, &x, 1, &ddx));             /* 9 x^2 */
    ur_node apart = ur_input(g, ((double[]){ 1 }), 1);
    REQUIRE(ur_grad(&y, NULL, 1, &apart, 1, &none));
    double v[3];
    REQUIRE(ur_read(dx, v, 3));
    CHECK_NEAR(v[2], 12, 1e-14);
    REQUIRE(ur_read(ddx, v, 3));
    CHECK_NEAR(v[0], 2.25, 1e-14);
    CHECK_NEAR(v[2], 36, 1e-14);
    CHECK_NEAR(ur_value(none), 0, 0);
    ur_graph_free(g);
}

TEST(gradient_through_an_earlier_section)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node x = ur_input(g, ((double[]){ 3 }), 1), dx, ddx;
    ur_node y = ur_mul(ur_square(x), x);
    REQUIRE(ur_grad(&y, NULL, 1, &x, 1, &dx));
    CHECK_NEAR(ur_value(dx), 27, 1e-12);
    REQUIRE(ur_grad(&dx, NULL, 1, &x, 1, &ddx));
    CHECK_NEAR(ur_value(ddx), 18, 1e-12);
    CHECK(!ur_error(g));
    ur_graph_free(g);
}

TEST(detach_stops_gradients)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_node w = ur_param(ps, "w", ur_constant(2), 1);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node x = ur_use(g, w);
    ur_backward(ur_sum(ur_mul(x, ur_detach(ur_square(x)))));
    REQUIRE(ur_run(g));
    CHECK_NEAR(*(double *)ur_param_gradient(w), 4, 0);
    ur_clear(g);
    ur_backward(ur_sum(ur_detach(ur_square(ur_use(g, w)))));
    CHECK_HAS(ur_error(g), "depends on no parameter");
    ur_graph_free(g);
    ur_params_free(ps);
}

/* The first backward after an update overwrites, further ones add, what a tape lacks is zero. */
TEST(gradient_stamps)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_node a = ur_param(ps, "a", ur_constant(2), 1), b = ur_param(ps, "b", ur_constant(3), 1);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    for (int round = 0; round < 2; round++) {
        ur_clear(g);
        ur_backward(ur_sum(ur_mul(ur_use(g, a), b)));
        REQUIRE(ur_run(g));
        CHECK(ur_gradient_ready(ps));
        CHECK_NEAR(*(double *)ur_param_gradient(a), 3, 0);
        CHECK_NEAR(*(double *)ur_param_gradient(b), 2, 0);
        REQUIRE(ur_rerun(g));
        CHECK_NEAR(*(double *)ur_param_gradient(a), 6, 0);
        ur_gradient_used(ps);
        ur_clear(g);
        ur_backward(ur_sum(ur_square(ur_use(g, a))));
        REQUIRE(ur_run(g));
        CHECK_NEAR(*(double *)ur_param_gradient(a), 4, 0);
        CHECK_NEAR(*(double *)ur_param_gradient(b), 0, 0);
        ur_gradient_used(ps);
    }
    CHECK_INT(ur_stats(g).plans_made, 2);
    ur_freeze(a, true);
    ur_clear(g);
    ur_backward(ur_sum(ur_mul(ur_use(g, a), b)));
    REQUIRE(ur_run(g));
    CHECK_NEAR(*(double *)ur_param_gradient(a), 0, 0);
    CHECK_NEAR(*(double *)ur_param_gradient(b), 2, 0);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* The gradient of a table lists the rows that it touched, and zeroes no others. */
TEST(sparse_rows)
{
    ur_params *ps = ur_params_new(UR_F64, 3);
    ur_node E = ur_param(ps, "E", ur_constant(1), 100, 2);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    const double *d = ur_gradients(ps);
    size_t n;
    for (int round = 0; round < 3; round++) {
        ur_clear(g);
        int32_t id[4] = { 70 + round, 3, 70 + round, 99 };
        ur_node x = ur_gather(E, ur_ints(g, id, 2, 2)), y = ur_gather(E, ur_ints(g, id + 3, 1));
        ur_node loss = ur_add(ur_sum(x), ur_sum(y));
        if (round == 2)                                     /* and as a matrix: dense */
            loss = ur_add(loss, ur_sum(ur_square(ur_use(g, E))));
        ur_backward(loss);
        REQUIRE(ur_run(g));
        const int32_t *rows = ur_param_rows(E, &n);
        if (round < 2) {
            REQUIRE(rows && n == 3);
            CHECK_INT(rows[0], 3);
            CHECK_INT(rows[1], 70 + round);
            CHECK_NEAR(d[2 * 99], 2, 0);
            CHECK_NEAR(d[2 * (70 + round)], 2, 0);
            CHECK_NEAR(d[2 * 70 + 1], round ? 0 : 2, 0);
            REQUIRE(ur_rerun(g));                           /* adds */
            CHECK_NEAR(d[2 * 99], 4, 0);
        } else {
            CHECK(!rows);
            CHECK_NEAR(d[0], 2, 0);
            CHECK_NEAR(d[2 * 99], 4, 0);
        }
        ur_gradient_used(ps);
    }
    ur_clear(g);
    ur_backward(ur_sum(ur_gather(E, ur_ints(g, ((int32_t[]){ 5, 100 }), 2))));
    CHECK(!ur_run(g));
    CHECK_HAS(ur_error(g), "100");
    CHECK(!ur_gradient_ready(ps));
    ur_error_reset(g);
    ur_clear(g);
    ur_backward(ur_sum(ur_gather(E, ur_ints(g, ((int32_t[]){ 7 }), 1))));
    REQUIRE(ur_run(g));
    double sum = 0;
    for (int i = 0; i < 200; i++)
        sum += d[i];
    CHECK_NEAR(sum, 2, 0);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* Two stores whose gradients hold something old. */
static void old_gradients(ur_params *ps[2], double old)
{
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < ur_block_elements(ps[k]); i++)
            ((double *)ur_gradients(ps[k]))[i] = old;
        ur_gradients_changed(ps[k]);
        ur_gradient_used(ps[k]);
    }
}

/* A store is ready when a loss that was run depends on it as recorded: also where the derivative is
 * zero whatever the values are; not where a product of its parameter is merely computed together
 * with one that the loss depends on. */
TEST(readiness_is_decided_as_recorded)
{
    ur_params *ps[2] = { ur_params_new(UR_F64, 3), ur_params_new(UR_F64, 4) };
    ur_node W = ur_param(ps[0], "W", ur_constant(2), 3, 2);
    ur_node u[2] = { ur_param(ps[0], "u", ur_constant(1), 1, 3),
                     ur_param(ps[1], "u", ur_constant(1), 1, 3) };
    const double *d[2] = { ur_gradients(ps[0]), ur_gradients(ps[1]) };
    for (int round = 0; round < 8; round++) {
        const bool batch = round & 1, derivative = round & 2, both = round & 4;
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        REQUIRE(ur_rewrite(g, "batch", batch));
        old_gradients(ps, 7);
        ur_node x[2], y[2], none, loss;
        for (int k = 0; k < 2; k++) {
            x[k] = derivative ? ur_input(g, ((double[]){ 1, 2, 3 }), 1, 3) : ur_use(g, u[k]);
            y[k] = ur_square(ur_matmul(x[k], W));
        }
        if (derivative) {
            REQUIRE(ur_grad(&y[0], NULL, 1, &x[1], 1, &none));
            loss = ur_shift(ur_sum(none), 0.5);
        } else {
            loss = ur_sum(y[0]);
        }
        if (both)
            ur_backward(ur_sum(ur_square(ur_use(g, u[1]))));
        ur_backward(loss);
        REQUIRE(ur_run(g));
        CHECK(ur_gradient_ready(ps[0]));
        CHECK(ur_gradient_ready(ps[1]) == both);
        for (int i = 0; i < 3; i++)
            CHECK_NEAR(d[1][i], both ? 2 : 7, 0);
        for (int i = 0; i < 6; i++)                         /* of W: 2 u (u W) */
            CHECK_NEAR(((double *)ur_param_gradient(W))[i], derivative ? 0 : 12, 0);
        ur_graph_free(g);
    }
    ur_params_free(ps[0]);
    ur_params_free(ps[1]);
}

TEST_MAIN(T(gradients_are_nodes), T(gradient_through_an_earlier_section), T(detach_stops_gradients),
          T(gradient_stamps), T(sparse_rows), T(readiness_is_decided_as_recorded))
