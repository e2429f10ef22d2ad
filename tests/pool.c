/* The same bits for any number of threads, in values, gradients and updates. Parts may be as small
 * as they come here (ur__part_work), so that everything is cut wherever it can be. What the pool
 * itself does is in pool_threads.c. */
#include <math.h>
#include <stdlib.h>
#include "graph/check_parts.h"
#include "graph/run/run.h"
#include "ops/internal.h"
#include "tests/bits.h"

TEST(training_has_the_same_bits)
{
    static const sizes cases[] = {
        { UR_F32, 0, 11, 67, 29, 5 }, { UR_F64, 0, 11, 35, 13, 4 }, { UR_F32, 1, 65, 45, 31, 4 },
        { UR_F64, 1, 7, 33, 9, 3 },   { UR_F32, 2, 33, 71, 7, 4 },  { UR_F64, 2, 9, 17, 33, 3 },
        { UR_F32, 0, 5, 3, 1, 9 },    { UR_F32, 1, 130, 129, 65, 3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        SAME_FOR_ALL(train, &cases[i]);
}

/* A table of which a step touches some rows, and that is several stretches of an update. */
static void train_table(int threads, bytes *out, const ur_method *method)
{
    enum { V = 401, H = 67, N = 150 };
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_embedding embed = ur_embedding_new(ps, "embed", V, H);
    ur_optim *opt = ur_optim_new(ps, *method);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    int32_t id[N];
    ur_set_threads(g, threads);
    ur_clip_norm(opt, 1);
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < N; i++)
            id[i] = (11 * i + 3 * step) % 59 * 6;
        ur_clear(g);
        ur_backward(ur_sum(ur_tanh(ur_embed(embed, ur_ints(g, id, N)))));
        size_t n;
        out->failed += !ur_run(g) || !ur_param_rows(ur_params_at(ps, 0), &n) || !ur_step(opt);
        keep(out, ur_values(ps), ur_block_elements(ps) * 4);
        double squares = 0, norm = ur_gradient_norm(opt);
        for (size_t i = 0; i < ur_block_elements(ps); i++)
            squares += pow(((const float *)ur_gradients(ps))[i], 2);
        out->failed += !(fabs(norm - sqrt(squares)) < 1e-6 * norm);
        keep(out, &norm, sizeof norm);
    }
    ur_graph_free(g);
    ur_optim_free(opt);
    ur_params_free(ps);
}

TEST(tables_have_the_same_bits)
{
    const ur_method adam = ur_adam(0.1), adagrad = ur_adagrad(0.1);
    SAME_FOR_ALL(train_table, &adam);
    SAME_FOR_ALL(train_table, &adagrad);
}

/* As it is in use: only what is worth it is cut. */
TEST(large_training_has_the_same_bits)
{
    ur__part_work = 1000;
    SAME_FOR_ALL(train, &(sizes){ UR_F32, 0, 65, 131, 61, 4 });
    ur__part_work = 1;
}

/* --------------------------------------------------------------------------------- operations */

/* Every sample of every op, with its gradients where it has any. */
static void run_samples(int threads, bytes *out, const ur_op *op)
{
    for (int which = 0;; which++) {
        ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
        ur_draw d = { 0 };
        ur_node dx[8], x[8];
        int n = 0;
        ur_set_threads(g, threads);
        ur__draw_begin(&d, g, 11);
        ur_node y = ur__draw_sample(&d, op, which);
        bool any = !ur_is_nil(y);
        for (size_t i = 0; any && op->rule && i < d.n && n < 8; i++)
            if (ur_type_of(d.drawn[i].x) != UR_I32)
                x[n++] = d.drawn[i].x;
        if (n > 0)
            out->failed += !ur_grad(&y, NULL, 1, x, n, dx);
        for (int i = 0; i < n; i++)
            keep_node(out, dx[i]);
        if (any)
            keep_node(out, y);
        ur__draw_end(&d);
        ur_graph_free(g);
        if (!any)
            break;
    }
}

TEST(every_op_has_the_same_bits)
{
    for (int k = 0; ur__ops[k]; k++)
        if (ur__ops[k]->sample || ur__ops[k]->kind == UR_MAP)
            SAME_FOR_ALL(run_samples, ur__ops[k]);
}

/* Larger than a vector, a line and a tile, with odd ends. */
static void run_large(int threads, bytes *out, ur_type type)
{
    enum { A = 5, B = 37, C = 83 };
    static double d[A * B * C];
    static float f[A * B * C];
    static int32_t id[A * B];
    for (int i = 0; i < A * B * C; i++)
        f[i] = (float)(d[i] = sin(i) * 3);
    for (int i = 0; i < A * B; i++)
        id[i] = 3 * i % C;
    const void *data = type == UR_F64 ? (void *)d : (void *)f;
    ur_graph *g = ur_graph_new(type, UR_TRAIN);
    ur_set_threads(g, threads);
    ur_node x = ur_input(g, data, A, B, C), ids = ur_ints(g, id, A, B);
    ur_node row = ur_input(g, data, C), table = ur_input(g, data, C, B);
    ur_node both[] = { x, x };
    ur_node y[] = {
        ur_sum(x), ur_sum_over(x, 0), ur_sum_over(x, 1), ur_sum_over(x, 2), ur_sum_over(x, 0, 1),
        ur_max_over(x, 0), ur_max_over(x, 1), ur_max_over(x, 2), ur_logsumexp_over(x, 0),
        ur_logsumexp_over(x, 1), ur_logsumexp_over(x, 2), ur_argmax(x, 0), ur_argmax(x, 1),
        ur_argmax(x, 2), ur_softmax(x), ur_log_softmax(x), ur_cross_entropy(x, ids),
        ur_cross_entropy_with(x, ids, 3, 0.1, row, UR_EACH), ur_gather(table, ids),
        ur_one_hot(ids, C), ur_scatter_add(x, ids, C), ur_cumsum(x, 0), ur_cumsum(x, 1),
        ur_cumsum(x, 2), ur_cast(ids), ur_reverse(x, 0), ur_reverse(x, 1), ur_reverse(x, 2),
        ur_reverse_lengths(x, ((int[B]){ 5, 1, 0, 3 })), ur_permute(x, 2, 0, 1),
        ur_permute(x, 1, 0, 2), ur_permute(x, 0, 2, 1), ur_bernoulli(g, 0.3, A, B, C),
        ur_noise_uniform(g, -1, 1, A, B, C), ur_noise_normal(g, 2, A, B, C),
        ur_sample(x, 0.7, 20, 0.9), ur_matmul(x, table), ur_matmul(x, ur_transpose(x)),
        ur_matmul(ur_transpose(x), x), ur_add(ur_tanh(x), row), ur_concat_n(both, 2, 1),
        ur_pad(x, 1, 3, 2), ur_slice(x, 2, 5, 70), ur_broadcast_to(row, A, B, C),
        ur_mul(ur_sigmoid(x), ur_exp(ur_scale(x, 0.1))), ur_permute(ur_add(x, row), 1, 2, 0),
    };
    const int n = (int)(sizeof y / sizeof y[0]);
    ur_node loss = ur_sum(ur_square(y[0])), dx[3];
    for (int i = 1; i < n; i++)
        if (ur_type_of(y[i]) != UR_I32)
            loss = ur_add(loss, ur_sum(ur_square(y[i])));
    out->failed += !ur_grad(&loss, NULL, 1, ((ur_node[]){ x, row, table }), 3, dx);
    for (int i = 0; i < n; i++)
        ur_keep(y[i]);
    for (int i = 0; i < n; i++)
        keep_node(out, y[i]);
    for (int i = 0; i < 3; i++)
        keep_node(out, dx[i]);
    out->failed += !ur_rerun(g);
    keep_node(out, dx[0]);
    ur_graph_free(g);
}

TEST(odd_sizes_have_the_same_bits)
{
    SAME_FOR_ALL(run_large, UR_F32);
    SAME_FOR_ALL(run_large, UR_F64);
}

static const test_case tests[] = {
    T(training_has_the_same_bits), T(tables_have_the_same_bits),
    T(large_training_has_the_same_bits), T(every_op_has_the_same_bits),
    T(odd_sizes_have_the_same_bits),
};

int main(int argc, char **argv)
{
    ur__part_work = 1;
    ur__pool_cores = 16;
    return test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
