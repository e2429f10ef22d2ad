/* The threads of the pool: graphs side by side, a pool that is busy, failures, forks and
 * floating-point modes. Parts may be as small as they come here (ur__part_work). */
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "graph/run/pool.h"
#include "graph/run/run.h"
#include "ops/internal.h"
#include "tests/bits.h"

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

/* Inference on a store that others read at the same time: fresh tapes, and replays of one. */
typedef struct reader {
    ur_embedding embed;
    ur_cell *rnn;
    ur_linear_layer linear;
    int threads;
    bytes out;
} reader;

static void *infer(void *at)
{
    enum { T = 4, B = 9 };
    reader *r = at;
    int32_t id[T * B];
    ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
    ur_set_threads(g, r->threads);
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < T * B; k++)
            id[k] = (3 * k + i) % 11;
        ur_clear(g);
        ur_node y = ur_unroll(r->rnn, ur_embed(r->embed, ur_ints(g, id, T, B)), NULL);
        y = ur_softmax(ur_linear(r->linear, y));
        keep_node(&r->out, y);
        r->out.failed += !ur_rerun(g);
        keep_node(&r->out, y);
    }
    ur_graph_free(g);
    return NULL;
}

TEST(inference_on_one_store)
{
    enum { N = 3 };
    pthread_t id[N];
    ur_params *ps = ur_params_new(UR_F32, 3);       /* sealed by whichever is first */
    reader r[N + 1] = { { .threads = 1 }, { .threads = 2 }, { .threads = 4 }, { .threads = 1 } };
    r[N].embed = ur_embedding_new(ps, "embed", 11, 67);
    r[N].rnn = ur_lstm(ps, "rnn", 67, 67);
    r[N].linear = ur_linear_new(ps, "out", 67, 11);
    for (int i = 0; i < N; i++) {
        r[i].embed = r[N].embed, r[i].rnn = r[N].rnn, r[i].linear = r[N].linear;
        REQUIRE(pthread_create(&id[i], NULL, infer, &r[i]) == 0);
    }
    for (int i = 0; i < N; i++)
        pthread_join(id[i], NULL);
    infer(&r[N]);
    CHECK_INT(r[N].out.failed, 0);
    for (int i = 0; i < N; i++)
        compare(&r[N].out, &r[i].out);
    free(r[N].out.p);
    ur_params_free(ps);
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

/* A host that takes a core away for 3 ms ten times a second costs less than a thread does, which
 * comes back after a longer stall. */
TEST(threads_are_kept_where_stalls_are_rare)
{
    const double ms = 1e6;
    ur__patience p = { 0 };
    double now = 5000 * ms;
    CHECK(!ur__gives_way(&p, 3 * ms, 2, now));
    for (int i = 0; i < 100; i++)
        CHECK(!ur__gives_way(&p, 3 * ms, 2, now += 100 * ms));
    CHECK(ur__gives_way(&p, 40 * ms, 2, now += 100 * ms));
    CHECK_NEAR(p.again_at, now + 4 * ms, 1);
    now = p.again_at;
    for (int i = 0; i < 100; i++)
        CHECK(!ur__gives_way(&p, 3 * ms, 2, now += 100 * ms));
}

/* Another program that has one of two cores half the time, 4 ms at a time: after a while both
 * threads are used for a few milliseconds in a quarter of a second. */
TEST(threads_give_way_to_other_programs)
{
    const double ms = 1e6, end = 15000 * ms;
    ur__patience p = { 0 };
    double now = 5000 * ms, shared = 0;
    while (now < end) {
        const double from = now;
        do
            now += 8 * ms;
        while (now < end && !ur__gives_way(&p, 4 * ms, 2, now));
        shared += now - from;
        now = p.again_at;
    }
    CHECK(shared < 1000 * ms);
    CHECK(p.while_ns == 256 * ms);
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
    T(graphs_on_several_threads), T(inference_on_one_store), T(a_pool_that_is_busy),
    T(each_part_runs_once), T(the_first_failure_is_told),
    T(an_op_without_pieces_stays_on_its_thread), T(one_mode_on_every_thread),
    T(threads_are_kept_where_stalls_are_rare), T(threads_give_way_to_other_programs),
    T(a_forked_child_runs),
};

int main(int argc, char **argv)
{
    ur__part_work = 1;
    ur__pool_cores = 16;
    return test_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
