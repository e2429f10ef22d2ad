/* A program of a user's own, built against the installed library by tests/install/run: two
 * operations and a cell that the library does not have, gradient-checked and trained through
 * public headers alone. The first line is the version; the exit status is 0 only if everything
 * held. */
#include <math.h>
#include <stdio.h>
#include <unroll/unroll.h>

/* y = x / sqrt(1 + x^2),  y' = (1 + x^2)^(-3/2) = (y / x)^3, written without the division */
UR_MAP_OP(isru, x / sqrt(1 + x * x), -2, 2,
          ur_mul(g, ur_pow(ur_shift(ur_square(x), 1), -1.5)))

/* The outer product of the rows: a [B,m], b [B,n] -> y [B,m,n]. */
static bool outer_shape(ur_shaping *s)
{
    if (s->in[0].rank != 2 || s->in[1].rank != 2 || s->in[0].dim[0] != s->in[1].dim[0])
        return ur_refuse(s, "%0 but %1: two matrices of as many rows are needed");
    s->out = (ur_shape){ 3, { s->in[0].dim[0], s->in[0].dim[1], s->in[1].dim[1] } };
    return true;
}

#define OUTER(T) \
    do { \
        const T *a = c->in[0], *b = c->in[1]; \
        T *y = c->out; \
        for (int r = 0; r < B; r++) \
            for (int i = 0; i < m; i++) \
                for (int j = 0; j < n; j++) \
                    *y++ = a[r * m + i] * b[r * n + j]; \
    } while (0)

static void outer_compute(const ur_compute *c)
{
    const int B = c->shape.dim[0], m = c->shape.dim[1], n = c->shape.dim[2];
    if (c->type == UR_F64)
        OUTER(double);
    else
        OUTER(float);
}

/* da_i = sum_j g_ij b_j,  db_j = sum_i g_ij a_i */
static void outer_rule(ur_rule *r)
{
    ur_shape s = ur_shape_of(r->y);
    const int B = s.dim[0], m = s.dim[1], n = s.dim[2];
    if (ur_wants(r, 0))
        ur_give(r, 0, ur_reshape(ur_matmul(r->g, ur_reshape(r->in[1], B, n, 1)), B, m));
    if (ur_wants(r, 1))
        ur_give(r, 1, ur_reshape(ur_matmul(ur_reshape(r->in[0], B, 1, m), r->g), B, n));
}

static ur_node outer_sample(ur_draw *d, int which);

static const ur_op outer = {
    .name = "outer", .kind = UR_OPAQUE, .n_in = 2, .shape = outer_shape,
    .compute = outer_compute, .rule = outer_rule, .sample = outer_sample,
};

static ur_node outer_sample(ur_draw *d, int which)
{
    if (which > 0)
        return (ur_node){ 0 };
    ur_node a = ur_draw_input(d, -1, 1, 2, 3), b = ur_draw_input(d, -1, 1, 2, 4);
    return ur_apply(&outer, a, b);
}

/* h' = isru([h,x] W + b) + h scaled by its own outer product's mean */
typedef struct mine {
    ur_cell cell;
    ur_node W, b;
} mine;

static ur_node mine_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const mine *p = (const mine *)cell;
    ur_node h = s[0], k = ur_mean_over(ur_apply(&outer, h, x), 2);
    ur_node n = ur_affine(ur_concat(h, x), p->W, p->b);
    return s[0] = ur_add(ur_apply(&isru, n), ur_mul(h, k));
}

static ur_cell *mine_new(ur_params *ps, const char *name, int I, int H)
{
    mine *p = ur_cell_new(ps, name, sizeof *p, mine_step, I, H, 1, (int[]){ H });
    p->W = ur_param(ps, ur_namef(ps, "%s.W", name), ur_xavier(), H + I, H);
    p->b = ur_param(ps, ur_namef(ps, "%s.b", name), ur_constant(0), H);
    return &p->cell;
}

static int proven(const char *what, ur_report r)
{
    int ok = r.status == UR_CHECK_PASSED;
    if (!ok) {
        printf("%s: the gradient check failed\n", what);
        ur_report_print(&r, stdout);
    }
    ur_report_free(&r);
    return ok;
}

/* Tells at the end of a sequence of 3 what came first; the loss must fall to a third. */
static int learns(ur_params *ps, const ur_cell *rnn, ur_linear_layer out)
{
    enum { T = 3, B = 16 };
    ur_optim *opt = ur_optim_new(ps, ur_adam(1e-2));
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    double first = 0, last = 0;
    for (int i = 0; i < 300; i++) {
        ur_clear(g);
        ur_node x = ur_noise_uniform(g, -1, 1, T, B, 1), h = ur_unroll(rnn, x, NULL);
        ur_node y = ur_linear(out, ur_index(h, 0, T - 1));
        ur_node loss = ur_squared_loss(y, ur_index(x, 0, 0));
        ur_backward(loss);
        if (!ur_run(g) || !ur_step(opt)) {
            printf("%s\n", ur_error(g) ? ur_error(g) : ur_error(ps));
            return 0;
        }
        last = ur_value(loss);
        first = i == 0 ? last : first;
    }
    if (!(last < first / 3))
        printf("the loss went from %g to %g only\n", first, last);
    ur_optim_free(opt);
    ur_graph_free(g);
    return last < first / 3;
}

int main(void)
{
    puts(ur_version());
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_cell *rnn = mine_new(ps, "mine", 1, 8);
    ur_linear_layer out = ur_linear_new(ps, "out", 8, 1);    /* before the first run */
    int ok = proven("isru", ur_check_op(&isru, 2)) && proven("outer", ur_check_op(&outer, 2)) &&
             proven("mine", ur_check_cell(rnn, .T = 3, .B = 2, .order = 2)) && learns(ps, rnn, out);
    ur_params_free(ps);
    return ok ? 0 : 1;
}
