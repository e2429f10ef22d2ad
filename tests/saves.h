/* saves.h: what the tests of saving and loading share. */
#ifndef UNROLL_TESTS_SAVES_H
#define UNROLL_TESTS_SAVES_H

#include "graph/internal.h"
#include "graph/safetensors.h"
#include "tests/child.h"
#include "tests/test.h"
#include "unroll/unroll.h"

/* Parameters of every rank, one of them empty; in a file, those of two kinds alternate. */
static inline ur_params *of_all_ranks(ur_type type, uint64_t seed, const char *kind)
{
    ur_params *ps = ur_params_new(type, seed);
    const ur_init u = ur_uniform_between(-1, 1);
    static const int dim[6] = { 3, 2, 1, 4, 2, 2 }, empty[2] = { 0, 5 };
    for (int rank = 6; rank >= 0; rank--)
        ur_param_at(NULL, ps, ur_namef(ps, "r%d.%s", rank, kind), u, rank, dim);
    ur_param_at(NULL, ps, ur_namef(ps, "empty.%s", kind), u, 2, empty);
    return ps;
}

static inline size_t bytes_of(ur_node W)
{
    return ur_count(W) * ur__type_size((int)ur_type_of(W));
}

static inline void same_values(ur_params *a, ur_params *b)
{
    REQUIRE(CHECK_INT(ur_params_count(a), ur_params_count(b)));
    for (int k = 0; k < ur_params_count(a); k++) {
        ur_node W = ur_params_at(a, k), V = ur_params_at(b, k);
        CHECK_STR(ur_param_name(W), ur_param_name(V));
        CHECK_MEM(ur_param_values(W), ur_param_values(V), bytes_of(W));
    }
}

/* The error of a store, which is taken away so that the next can be seen. */
static inline const char *said(ur_params *ps)
{
    static char text[700];
    snprintf(text, sizeof text, "%s", ur_error(ps) ? ur_error(ps) : "nothing");
    CHECK(!strchr(text, '\n'));
    ur_error_reset(ps);
    return text;
}

static inline ur_params *with_names(uint64_t seed, const char *const names[], int n)
{
    ur_params *ps = ur_params_new(UR_F32, seed);
    for (int k = 0; k < n; k++)
        ur_param(ps, names[k], ur_uniform_between(-1, 1), 3, 2);
    return ps;
}

#endif
