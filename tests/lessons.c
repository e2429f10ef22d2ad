/* What rules made of some operands is repeated without asking them (graph/plan/repeat.c): the same
 * nodes, and so the same plan and the same bits, as where all are asked, which a fault that is none
 * sees to. */
#include "tests/test.h"
#include "graph/check_parts.h"
#include "ops/internal.h"

static ur_node as_it_is(void *user, const ur_op *op, int operand, ur_node to, ur_node given)
{
    (void)op, (void)operand, (void)to;
    ++*(int *)user;
    return given;
}

enum { STEPS = 6, ROWS = 8, WIDTH = 5, FEW = 3, PARAMS = 5,
       WEIGHTS = (ROWS + WIDTH + 2) * WIDTH + FEW };

/* Steps that are alike but for sizes, places, and operands that are one node. */
static ur_node loss_of_steps(ur_node all, ur_node W, ur_node b)
{
    ur_node sum = UR_NIL;
    for (int t = 0; t < STEPS; t++) {
        ur_node x = ur_slice(ur_index(all, 0, t), 0, 0, 3 + t % 3), y = ur_affine(x, W, b);
        ur_node z = t % 2 ? ur_mul(y, y) : ur_mul(ur_tanh(y), y);
        ur_node s = ur_sum(ur_mul(ur_sigmoid(ur_matmul(W, W)), W));
        ur_node J = ur_add(ur_sum(ur_square(ur_add(z, ur_slice(y, 0, t % 2, t % 2 + 1)))), s);
        sum = t ? ur_add(sum, J) : J;
    }
    return sum;
}

/* Two sets of rows plus b. The gradient of a bias [n] is then a sum of two [1,n], while for one of
 * as many rows all are alike. */
static ur_node loss_of_biased(ur_node all, ur_node b)
{
    ur_node x = ur_slice(all, 2, 0, ur_dim(b, -1)), y = ur_tanh(ur_add(ur_index(x, 0, 0), b));
    return ur_sum(ur_square(ur_mul(y, ur_add(ur_index(x, 0, 1), b))));
}

/* The gradients of a loss, and of the sum of their squares, with respect to all parameters; and the
 * plan of that. The sweep for the latter meets the sums for "short", "long" and "rows" in turn. */
static void differentiate(ur_params *ps, double out[2 * WEIGHTS], char *plan, size_t room)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_node w[PARAMS], d[PARAMS], dd[PARAMS], all = ur_noise_normal(g, 1, STEPS, ROWS, WIDTH);
    for (int k = 0; k < PARAMS; k++)
        w[k] = ur_use(g, ur_find(ps, (const char *[]){ "short", "long", "rows", "W", "b" }[k]));
    ur_node J = loss_of_steps(all, w[3], w[4]);
    for (int k = 0; k < 3; k++)
        J = ur_add(J, loss_of_biased(all, w[k]));
    CHECK(ur_grad(&J, NULL, 1, w, PARAMS, d));
    J = ur_sum(ur_square(d[0]));
    for (int k = 1; k < PARAMS; k++)
        J = ur_add(J, ur_sum(ur_square(d[k])));
    CHECK(ur_grad(&J, NULL, 1, w, PARAMS, dd) && ur_run(g));
    CHECK_STR(ur_error(g), NULL);
    for (int k = 0; k < PARAMS; out += ur_count(w[k++]))
        CHECK(ur_read(d[k], out, ur_count(w[k])) && ur_read(dd[k], out + WEIGHTS, ur_count(w[k])));
    FILE *f = fmemopen(plan, room, "w");
    REQUIRE(f != NULL);
    CHECK(ur_print_plan(g, f));
    CHECK_INT(fclose(f), 0);
    ur_graph_free(g);
}

TEST(repeated_rules)
{
    static double repeated[2 * WEIGHTS], asked[2 * WEIGHTS];
    static char plan[16384], plan_asked[16384];
    const ur_init start = ur_uniform_between(-0.5, 0.5);
    int rules = 0;
    ur_params *ps = ur_params_new(UR_F64, 5);
    ur_param(ps, "short", start, FEW);
    ur_param(ps, "long", start, WIDTH);
    ur_param(ps, "rows", start, ROWS, WIDTH);
    ur_param(ps, "W", start, WIDTH, WIDTH);
    ur_param(ps, "b", start, WIDTH);
    differentiate(ps, repeated, plan, sizeof plan);
    ur__fault_hook = as_it_is;
    ur__fault_user = &rules;
    differentiate(ps, asked, plan_asked, sizeof plan_asked);
    ur__fault_hook = NULL;
    ur__fault_user = NULL;
    CHECK(rules > 100);
    CHECK_STR(plan, plan_asked);
    for (int i = 0; i < 2 * WEIGHTS; i++) {
        CHECK_NEAR(repeated[i], asked[i], 0);
        CHECK(asked[i] != 0);
    }
    ur_params_free(ps);
}

TEST_MAIN(T(repeated_rules))
