/* The pool: the same bits for any number of threads, in values, gradients and updates; runs side by
 * side; failures, forks and floating-point modes. Parts may be as small as they come here
 * (ur__part_work), so that everything is cut wherever it can be. */
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "graph/check_parts.h"
#include "graph/run/run.h"
#include "ops/internal.h"
#include "tests/test.h"
#include "unroll/unroll.h"

static const int counts[] = { 1, 2, 3, 4, 7 };
enum { COUNTS = sizeof counts / sizeof counts[0] };

/* A growing record of bytes, one for each number of threads; what failed on the way, since checks
 * belong to the main thread. */
typedef struct bytes {
    char *p;
    size_t n, cap;
    int failed;
} bytes;

static void keep(bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = 2 * (b->n + n);
        b->p = realloc(b->p, b->cap);
    }
    if (p && n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void keep_node(bytes *b, ur_node x)
{
    const void *p = ur_data(x);
    if (p)
        keep(b, p, ur_count(x) * (ur_type_of(x) == UR_F64 ? 8 : 4));
    else
        b->failed++;
}

/* Two records must be equal; frees the second. */
static void compare(const bytes *a, bytes *b)
{
    CHECK_INT(b->failed, 0);
    if (CHECK_INT(b->n, a->n))
        CHECK_MEM(b->p, a->p, a->n);
    free(b->p);
}

/* Calls f for each number of threads and compares what it kept. */
#define SAME_FOR_ALL(f, ...)                                                                       \
    do {                                                                                           \
        bytes one_ = { NULL, 0, 0, 0 };                                                            \
        f(1, &one_, __VA_ARGS__);                                                                  \
        for (int k_ = 1; k_ < COUNTS; k_++) {                                                      \
            bytes more_ = { NULL, 0, 0, 0 };                                                       \
            f(counts[k_], &more_, __VA_ARGS__);                                                    \
            compare(&one_, &more_);                                                                \
        }                                                                                          \
        free(one_.p);                                                                              \
    } while (0)

/* ------------------------------------------------------------------------------------- training */

typedef struct sizes {
    ur_type type;
    int cell, V, H, B, T;
} sizes;

static ur_cell *new_cell(ur_params *ps, const sizes *s)
{
    return s->cell == 0   ? ur_lstm(ps, "rnn", s->H, s->H)
           : s->cell == 1 ? ur_gru(ps, "rnn", s->H, s->H)
                          : ur_gru_reset_after(ps, "rnn", s->H, s->H);
}

/* Three updates of a character model; all that they leave. */
static void train(int threads, bytes *out, const sizes *s)
{
    ur_params *ps = ur_params_new(s->type, 3);
    ur_embedding embed = ur_embedding_new(ps, "embed", s->V, s->H);
    ur_cell *rnn = new_cell(ps, s);
    ur_linear_layer linear = ur_linear_new(ps, "out", s->H, s->V);
    ur_params *states = ur_cell_states(rnn, s->B);
    ur_optim *opt = ur_optim_new(ps, ur_adam(1e-2));
    ur_graph *g = ur_graph_new(s->type, UR_TRAIN);
    int *x = malloc(sizeof *x * (size_t)(s->T * s->B)), n_states = ur_params_count(states);
    ur_set_threads(g, threads);
    ur_seed(g, 5);
    ur_clip_norm(opt, 0.5);
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < s->T * s->B; i++)
            x[i] = (7 * i + i / 5 + step) % s->V;
        ur_node h[2];
        ur_clear(g);
        ur_state_in(g, states, h);
        ur_node y = ur_unroll(rnn, ur_embed(embed, ur_ints(g, x, s->T, s->B)), h);
        y = ur_dropout(y, 0.1);
        ur_node loss = ur_cross_entropy(ur_linear(linear, y), ur_ints(g, x, s->T, s->B));
        ur_state_out(states, h);
        ur_backward(loss);
        out->failed += !ur_run(g);
        keep_node(out, loss);
        const size_t size = s->type == UR_F64 ? 8 : 4;
        keep(out, ur_gradients(ps), ur_params_elements(ps) * size);
        out->failed += !ur_step(opt);
        keep(out, ur_values(ps), ur_params_elements(ps) * size);
        for (int k = 0; k < n_states; k++)
            keep(out, ur_param_values(ur_params_at(states, k)),
                 ur_count(ur_params_at(states, k)) * size);
    }
    free(x);
    ur_graph_free(g);
    ur_optim_free(opt);
    ur_params_free(states);
    ur_params_free(ps);
}

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
        keep(out, ur_values(ps), ur_params_elements(ps) * 4);
        double squares = 0, norm = ur_gradient_norm(opt);
        for (size_t i = 0; i < ur_params_elements(ps); i++)
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

/* -------------------------------------------------------------------------- runs side by side */

typedef struct beside {
    bytes out;
    int threads, runs;
} beside;

static void *run_beside(void *at)
{
    beside *b = at;
    for (int i = 0; i < b->runs; i++) {
        b->out.n = 0;
        train(b->threads, &b->out, &(sizes){ UR_F32, 0, 11, 33, 17, 4 });
    }
    return NULL;
}

/* Whoever has the pool, the numbers are the same; more threads than any machine here has cores. */
TEST(graphs_on_several_threads)
{
    pthread_t id[3];
    beside b[4] = { { .threads = 4, .runs = 6 }, { .threads = 2, .runs = 6 },
                    { .threads = 16, .runs = 6 }, { .threads = 1, .runs = 1 } };
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_create(&id[i], NULL, run_beside, &b[i]) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(id[i], NULL);
    run_beside(&b[3]);
    for (int i = 0; i < 3; i++)
        compare(&b[3].out, &b[i].out);
    free(b[3].out.p);
}

TEST(a_pool_that_is_busy)
{
    bytes alone = { NULL, 0, 0, 0 }, busy = { NULL, 0, 0, 0 };
    const sizes s = { UR_F32, 0, 11, 33, 17, 4 };
    train(1, &alone, &s);
    const int got = ur__pool_take(3);
    CHECK_INT(got, 3);
    CHECK_INT(ur__pool_take(2), 1);
    train(4, &busy, &s);
    ur__pool_give(got);
    compare(&alone, &busy);
    CHECK_INT(ur__pool_take(1), 1);
    CHECK_INT(ur__pool_take(2), 2);
    ur__pool_give(2);
    free(alone.p);
}

static void count_parts(void *job, int part, int parts)
{
    int *seen = job;
    seen[part] += parts;
}

/* Each part of each job runs once, also after the threads have gone to sleep. */
TEST(each_part_runs_once)
{
    int seen[7] = { 0 };
    const int got = ur__pool_take(7);
    REQUIRE(got == 7);
    for (int i = 0; i < 3000; i++) {
        if (i % 1000 == 0)
            nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
        ur__pool_run(2 + i % 6, count_parts, seen, 100);
    }
    ur__pool_give(got);
    CHECK_INT(seen[0], 500 * (2 + 3 + 4 + 5 + 6 + 7));
    for (int part = 1; part < 7; part++) {
        int expected = 0;
        for (int parts = part + 1; parts <= 7; parts++)
            expected += parts > 1 ? 500 * parts : 0;
        CHECK_INT(seen[part], expected);
    }
}

/* ----------------------------------------------------------------------------------- failures */

/* The first id that is wrong is named, of the first step that has one, by whatever thread. */
TEST(the_first_failure_is_told)
{
    enum { N = 200 };
    int32_t first[N] = { 0 }, second[N] = { 0 };
    char text[COUNTS][200];
    first[41] = 9, first[42] = -1, first[187] = 77;
    second[3] = 50;
    for (int k = 0; k < COUNTS; k++) {
        ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
        ur_set_threads(g, counts[k]);
        ur_node table = ur_zeros(g, 5, 8);
        ur_node a = ur_gather(table, ur_ints(g, first, N));
        ur_node b = ur_gather(table, ur_ints(g, second, N));
        ur_add(a, b);
        CHECK(!ur_run(g));
        snprintf(text[k], sizeof text[k], "%s", ur_error(g) ? ur_error(g) : "");
        CHECK_STR(text[k], text[0]);
        ur_error_reset(g);
        ur_clear(g);
        ur_scatter_add(ur_zeros(g, N, 40), ur_ints(g, first, N), 5);
        CHECK(!ur_run(g));
        CHECK_HAS(ur_error(g), "id 9 at position 41");
        ur_error_reset(g);
        ur_clear(g);                            /* and the graph goes on */
        CHECK_NEAR(ur_value(ur_sum(ur_gather(ur_zeros(g, 5, 8), ur_ints(g, (int32_t[N]){ 1 }, N)))),
                   0, 0);
        ur_graph_free(g);
    }
    CHECK_HAS(text[0], "id 9 at position 41");
}

/* ------------------------------------------------------------------------ an op of a user's own */

static pthread_t ran_on;

static bool twice_shape(ur_shaping *s)
{
    s->out = s->in[0];
    return true;
}

static void twice_compute(const ur_compute *c)
{
    static size_t count;        /* as careless as an op may be */
    count = ur__elements(&c->shape);
    ran_on = pthread_self();
    for (size_t i = 0; i < count; i++)
        ((float *)c->out)[i] = 2 * ((const float *)c->in[0])[i];
}

static const ur_op twice = { .name = "twice", .kind = UR_OPAQUE, .n_in = 1, .shape = twice_shape,
                             .compute = twice_compute, .flags = UR_FLAT };

TEST(an_op_without_pieces_stays_on_its_thread)
{
    ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
    ur_set_threads(g, 4);
    ur_node x = ur_zeros(g, 3, 50), y[6], sum = x;
    for (int i = 0; i < 6; i++)
        sum = ur_add(sum, y[i] = ur_apply(&twice, ur_exp(ur_shift(x, 0.1 * i))));
    for (int i = 0; i < 6; i++) {
        const float *v = ur_data(y[i]);
        REQUIRE(v != NULL);
        CHECK(pthread_equal(ran_on, pthread_self()));
        CHECK_NEAR(v[149], 2 * exp(0.1 * i), 1e-5);
    }
    ur_graph_free(g);
}

/* ------------------------------------------------------------------------------ modes and forks */

/* Parts that wait for each other, two seconds at most, so that each is on a thread of its own. */
enum { MEET = 3 };
typedef struct meeting {
    atomic_int here;
    int round[MEET];            /* the rounding mode of each */
} meeting;

static void meet(void *job, int part, int parts)
{
    meeting *m = job;
    m->round[part] = fegetround();
    atomic_fetch_add(&m->here, 1);
    const double start = ur__now_ns();
    while (atomic_load(&m->here) < parts && ur__now_ns() - start < 2e9)
        sched_yield();
}

/* Whether all threads come, and round in the caller's way. After a stall there may be fewer. */
static bool all_meet(int mode)
{
    bool met = false;
    for (int tries = 0; !met && tries < 5; tries++) {
        meeting m = { .here = 0 };
        const int got = ur__pool_take(MEET);
        if (got != MEET)
            return false;
        const double start = ur__now_ns();
        ur__pool_run(MEET, meet, &m, 1e9);
        met = ur__now_ns() - start < 2e9;
        ur__pool_give(got);
        for (int k = 0; k < MEET; k++)
            if (m.round[k] != mode)
                return false;
    }
    return met;
}

/* Threads round as the caller does, who has his own mode back. */
TEST(one_mode_on_every_thread)
{
    CHECK(all_meet(FE_TONEAREST));
    fesetround(FE_DOWNWARD);
    CHECK(all_meet(FE_DOWNWARD));
    fesetround(FE_TONEAREST);
    CHECK(all_meet(FE_TONEAREST));
    bytes up[2] = { { NULL, 0, 0, 0 } }, nearest[2] = { { NULL, 0, 0, 0 } };
    const sizes s = { UR_F32, 0, 11, 33, 17, 4 };
    for (int k = 0; k < 2; k++) {
        train(k ? 4 : 1, &nearest[k], &s);
        fesetround(FE_UPWARD);
        train(k ? 4 : 1, &up[k], &s);
        CHECK_INT(fegetround(), FE_UPWARD);
        fesetround(FE_TONEAREST);
    }
    CHECK(memcmp(up[0].p, nearest[0].p, up[0].n) != 0);
    compare(&up[0], &up[1]);
    compare(&nearest[0], &nearest[1]);
    free(up[0].p);
    free(nearest[0].p);
}

/* A child has none of the threads, and makes its own. */
TEST(a_forked_child_runs)
{
    const sizes s = { UR_F32, 0, 11, 33, 17, 4 };
    bytes before = { NULL, 0, 0, 0 }, after = { NULL, 0, 0, 0 };
    train(4, &before, &s);
    const int got = ur__pool_take(4);           /* as if another thread were at it */
    pid_t id = fork();
    if (id == 0) {
        bytes b = { NULL, 0, 0, 0 };
        alarm(60);
        train(4, &b, &s);
        _exit(!all_meet(FE_TONEAREST)               ? 2
              : b.n == before.n && memcmp(b.p, before.p, b.n) == 0 ? 0 : 1);
    }
    ur__pool_give(got);
    int status = -1;
    REQUIRE(id > 0 && waitpid(id, &status, 0) == id);
    CHECK_INT(status, 0);
    train(4, &after, &s);
    compare(&before, &after);
    free(before.p);
}

static const test_case tests[] = {
    T(training_has_the_same_bits), T(tables_have_the_same_bits),
    T(large_training_has_the_same_bits),
    T(every_op_has_the_same_bits), T(odd_sizes_have_the_same_bits), T(graphs_on_several_threads),
    T(a_pool_that_is_busy), T(each_part_runs_once), T(the_first_failure_is_told),
    T(an_op_without_pieces_stays_on_its_thread), T(one_mode_on_every_thread),
    T(a_forked_child_runs),
};

int main(int argc, char **argv)
{
    ur__part_work = 1;
    ur__pool_cores = 16;
    return test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
