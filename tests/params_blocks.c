/* Stores of parameters: blocks of values and gradients, lack of memory, threads. */
#include <pthread.h>
#include "graph/internal.h"
#include "tests/counting.h"
#include "tests/test.h"

static bool zeros(const void *p, size_t bytes)
{
    const char *c = p;
    for (size_t i = 0; i < bytes; i++)
        if (c[i])
            return false;
    return true;
}

TEST(one_block_with_zeros_between)
{
    static const int sizes[] = { 1, 15, 16, 17, 0, 31, 8, 9 };
    for (int type = UR_F32; type <= UR_F64; type++) {
        size_t width = ur__type_size(type), total = 0;
        ur_params *ps = ur_params_new((ur_type)type, 5);
        for (int i = 0; i < 8; i++)
            ur_param(ps, ur_namef(ps, "p%d", i), ur_constant(3), sizes[i]);
        char *values = ur_values(ps), *gradients = ur_gradients(ps);
        REQUIRE(values && gradients);
        CHECK(ps->sealed);
        CHECK(ur_values(ps) == values && ur_gradients(ps) == gradients);
        for (int i = 0; i < 8; i++) {
            ur_node W = ur_params_at(ps, i);
            char *v = ur_param_values(W), *g = ur_param_gradient(W);
            CHECK_INT((uintptr_t)v % 64, 0);
            CHECK_INT(v - values, g - gradients);
            CHECK_INT(v - values, total);
            size_t used = (size_t)sizes[i] * width, padded = (used + 63) / 64 * 64;
            for (int k = 0; k < sizes[i]; k++)
                CHECK_NEAR(type == UR_F64 ? ((double *)(void *)v)[k] : ((float *)(void *)v)[k], 3,
                           0);
            CHECK(zeros(v + used, padded - used));
            total += padded;
        }
        CHECK_INT(ps->padded * width, total);
        CHECK(zeros(gradients, total));
        ur_params_free(ps);
    }
    ur_params *empty = ur_params_new(UR_F32, 0);
    CHECK(ur_values(empty) != NULL && ur_gradients(empty) != NULL);
    CHECK_STR(ur_error(empty), NULL);
    ur_params_free(empty);
}

/* Large parameters do not lie at equal distances, and whoever copies a block has all of them. */
TEST(between_large_parameters_are_gaps)
{
    enum { N = 9, SIZE = 2048 };
    ur_params *ps = ur_params_new(UR_F32, 5);
    for (int i = 0; i < N; i++)
        ur_param(ps, ur_namef(ps, "p%d", i), ur_constant(1 + i), SIZE);
    const float *values = ur_values(ps), *end = values;
    ptrdiff_t distance[N] = { 0 }, other = 0;
    REQUIRE(values && ur_gradients(ps));
    for (int i = 0; i < N; i++) {
        const float *v = ur_param_values(ur_params_at(ps, i));
        CHECK(v >= end && v < end + 8 * 16);
        CHECK(zeros(end, (size_t)(v - end) * sizeof *v));
        CHECK(v[0] == 1 + i && v[SIZE - 1] == 1 + i);
        distance[i] = v - end;
        other += distance[i] != distance[0];
        end = v + SIZE;
    }
    CHECK(other > N / 2);
    CHECK_INT(end - values, ur_block_elements(ps));
    CHECK_INT(ur_params_elements(ps), N * SIZE);
    CHECK(zeros(ur_gradients(ps), ur_block_elements(ps) * sizeof(float)));
    ur_params_free(ps);
}

TEST(a_gap_too_is_counted_in_what_is_too_large)
{
    for (int n = 0; n < 8; n++) {
        ur_params *ps = ur_params_new(UR_F64, 5);
        for (int i = 0; i < n; i++)
            ur_param(ps, ur_namef(ps, "p%d", i), ur_constant(0), 1);
        ps->padded = PTRDIFF_MAX / 64 - 7;          /* as if they were that large */
        CHECK(ur_is_nil(ur_param(ps, "last", ur_constant(0), 4096)));
        CHECK_HAS(ur_error(ps), "\"last\" is [4096], too large beside the others");
        ur_params_free(ps);
    }
}

TEST(a_frozen_parameter_has_no_gradient)
{
    ur_params *ps = ur_params_new(UR_F32, 5);
    ur_node W = ur_param(ps, "W", ur_constant(3), 4), b = ur_param(ps, "b", ur_constant(1), 4);
    float *g = ur_param_gradient(W), *gb = ur_param_gradient(b);
    REQUIRE(g && gb);
    CHECK(!ur_is_frozen(W));
    for (int i = 0; i < 4; i++)
        g[i] = gb[i] = 7;
    ur_gradients_changed(ps);
    CHECK(ps->param[0].dirty);
    ur_freeze(W, true);
    CHECK(ur_is_frozen(W) && !ur_is_frozen(b));
    CHECK(zeros(g, 16));
    CHECK(!ps->param[0].dirty);
    CHECK_NEAR(gb[3], 7, 0);
    ur_freeze(W, false);
    CHECK(!ur_is_frozen(W));
    ur_freeze((ur_node){ 0 }, true);
    CHECK(!ur_is_frozen((ur_node){ 0 }));
    CHECK(ur_param_name((ur_node){ 0 }) == NULL && ur_param_values((ur_node){ 0 }) == NULL);
    ur_params_free(ps);
}

/* An optimiser's moments need no gradients, so they pay for none. */
TEST(frozen_stores_have_no_gradient_block)
{
    ur_params *ps = ur_params_new(UR_F32, 5);
    ur_node W = ur_param(ps, "W", ur_constant(3), 4), b = ur_param(ps, "b", ur_constant(1), 4);
    ur_freeze(W, true);
    ur_freeze(b, true);
    REQUIRE(ur_values(ps) != NULL);
    CHECK(ps->gradients.p == NULL);
    ur_freeze(b, false);
    CHECK(ps->gradients.p != NULL && zeros(ps->gradients.p, 128));
    ur_params_free(ps);
    ps = ur_params_new(UR_F32, 5);
    W = ur_param(ps, "W", ur_constant(3), 4);
    ur_freeze(W, true);
    REQUIRE(ur_values(ps) != NULL);
    CHECK(ps->gradients.p == NULL);
    float *g = ur_param_gradient(W);    /* or asked for */
    CHECK(g && zeros(g, 16));
    ur_params_free(ps);
    ps = ur_params_new(UR_F32, 5);
    W = ur_param(ps, "W", ur_constant(3), 4);
    ur__params_ref(ps);                 /* a graph might have recorded it before it was frozen */
    ur_freeze(W, true);
    REQUIRE(ur_values(ps) != NULL);
    CHECK(ps->gradients.p != NULL);
    ur__params_unref(ps);
    ur_params_free(ps);
}

TEST(memory_of_the_store)
{
    counting_begin(0);
    ur_params *ps = ur_params_new(UR_F32, 5);
    char *p = ur_params_alloc(ps, 100000);
    REQUIRE(p != NULL);
    CHECK(zeros(p, 100000));
    const char *name = ur_namef(ps, "%s.%d.%0300d", "lstm", 3, 7);
    CHECK_INT(strlen(name), 7 + 300);
    CHECK_HAS(name, "lstm.3.000");
    CHECK(ur_params_alloc(ps, SIZE_MAX) == NULL);
    CHECK_STR(ur_error(ps), "out of memory");
    ur_error_reset(ps);
    /* a graph holds the store beyond its user */
    ur__params_ref(ps);
    ur_params_free(ps);
    CHECK_STR(name + 304, "007");
    CHECK(counting.blocks > 0);
    ur__params_unref(ps);
    CHECK_INT(counting.blocks, 0);
    CHECK_INT(counting.wrong, 0);
    counting_end();
}

/* ------------------------------------------------------------------------------ want of memory */

static bool sealed_with_room(ur_params *ps)
{
    return ur_values(ps) && ur_gradients(ps);
}

/* Builds a store as a user would who resets the error and tries each call until it works. */
static long stubborn_errors;

static void build(ur_params *ps)
{
    enum { N = 40 };
    for (int i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "layer%d", i);
        while (ur_is_nil(ur_param(ps, name, i % 2 ? ur_orthogonal(1) : ur_he_normal(), 6, 7))) {
            CHECK_STR(ur_error(ps), "out of memory");
            CHECK_INT(ur_params_count(ps), i);
            CHECK(ur_is_nil(ur_find(ps, name)));
            ur_error_reset(ps);
            if (++stubborn_errors > 1)
                return;
        }
    }
    while (!sealed_with_room(ps)) {
        CHECK_STR(ur_error(ps), "out of memory");
        CHECK(!ps->sealed);
        ur_error_reset(ps);
        if (++stubborn_errors > 1)
            return;
    }
}

TEST(a_failing_allocation_is_an_ordinary_error)
{
    counting_begin(0);
    ur_params *whole = ur_params_new(UR_F32, 9);
    build(whole);
    long calls = counting.calls;
    CHECK(calls > 10);
    size_t bytes = whole->padded * sizeof(float);
    for (long n = 1; n <= calls; n++) {
        size_t begin = counting.bytes;
        long blocks = counting.blocks;
        counting.fail_at = counting.calls + n;
        counting.failed = stubborn_errors = 0;
        ur_params *ps = ur_params_new(UR_F32, 9);
        if (!ps)
            ps = ur_params_new(UR_F32, 9), stubborn_errors++;
        REQUIRE(ps != NULL);
        build(ps);
        CHECK_INT(counting.failed, 1);
        CHECK_INT(stubborn_errors, 1);
        REQUIRE(ps->sealed);
        CHECK_MEM(ps->values.p, whole->values.p, bytes);
        CHECK(zeros(ps->gradients.p, bytes));
        ur_params_free(ps);
        CHECK_INT(counting.bytes, begin);
        CHECK_INT(counting.blocks, blocks);
    }
    ur_params_free(whole);
    CHECK_INT(counting.blocks, 0);
    CHECK_INT(counting.wrong, 0);
    counting_end();
}

/* What a failed sealing had made was of the wrong size for a store that grew since. */
TEST(a_store_grows_after_a_failed_sealing)
{
    for (int n = 1; n <= 3; n++) {      /* the values, the gradients, the work of orthogonal */
        counting_begin(0);
        ur_params *ps = ur_params_new(UR_F64, 9);
        ur_param(ps, "W", ur_orthogonal(1), 4, 4);
        counting.fail_at = counting.calls + n;
        CHECK(ur_values(ps) == NULL);
        CHECK_STR(ur_error(ps), "out of memory");
        ur_error_reset(ps);
        ur_node b = ur_param(ps, "b", ur_constant(1), 1000);
        double *v = ur_param_values(b), *g = ur_param_gradient(b);
        REQUIRE(v && g);
        CHECK(ps->values.bytes >= 8 * ps->padded && ps->gradients.bytes >= 8 * ps->padded);
        CHECK_NEAR(v[999], 1, 0);
        ur_params_free(ps);
        CHECK_INT(counting.blocks, 0);
        counting_end();
    }
}

TEST(unfreezing_without_memory)
{
    counting_begin(0);
    ur_params *ps = ur_params_new(UR_F32, 9);
    ur_node W = ur_param(ps, "W", ur_constant(1), 4);
    ur_freeze(W, true);
    REQUIRE(ur_values(ps) != NULL);
    counting.fail_at = counting.calls + 1;
    ur_freeze(W, false);
    CHECK_STR(ur_error(ps), "out of memory");
    CHECK(ur_is_frozen(W));
    ur_error_reset(ps);
    ur_freeze(W, false);
    CHECK(!ur_is_frozen(W) && ps->gradients.p != NULL);
    ur_params_free(ps);
    CHECK_INT(counting.blocks, 0);
    counting_end();
}

/* ------------------------------------------------------------------------------------- threads */

static void *use(void *store)
{
    for (int i = 0; i < 1000; i++) {
        ur__params_ref(store);
        ur__params_unref(store);
    }
    return ur_values(store);
}

TEST(threads_seal_a_store_once)
{
    for (int turn = 0; turn < 20; turn++) {
        ur_params *ps = ur_params_new(UR_F32, 9);
        ur_node W = ur_param(ps, "W", ur_orthogonal(1), 30, 30);
        pthread_t thread[4];
        void *values[4];
        for (int i = 0; i < 4; i++)
            REQUIRE(pthread_create(&thread[i], NULL, use, ps) == 0);
        for (int i = 0; i < 4; i++)
            pthread_join(thread[i], &values[i]);
        for (int i = 0; i < 4; i++)
            CHECK(values[i] == ur_param_values(W));
        CHECK_INT(ps->references, 1);
        ur_params_free(ps);
    }
}

TEST_MAIN(T(one_block_with_zeros_between), T(between_large_parameters_are_gaps),
          T(a_gap_too_is_counted_in_what_is_too_large), T(a_frozen_parameter_has_no_gradient),
          T(frozen_stores_have_no_gradient_block), T(memory_of_the_store),
          T(a_failing_allocation_is_an_ordinary_error), T(a_store_grows_after_a_failed_sealing),
          T(unfreezing_without_memory), T(threads_seal_a_store_once))
