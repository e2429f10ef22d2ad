/* values.h: what the tests of operations share. A block after ON_EACH_GRAPH() runs on four graphs:
 * double and float, with all rewrites of the planner and with none. Values go in and come out as
 * doubles; `unit` is the rounding unit of the graph. */
#ifndef UNROLL_TESTS_VALUES_H
#define UNROLL_TESTS_VALUES_H

#include <stdlib.h>
#include "test.h"
#include "unroll/unroll.h"

static ur_graph *g;
static double unit;

/* The graph number k; false after the last. An error that is left over is a failure. */
static inline bool values_graph(int k)
{
    static const char *const rewrites[] = { "kmerge", "fuse", "views", "accumulate", "pack" };
    if (g && ur_error(g))
        CHECK_STR(ur_error(g), NULL);
    ur_graph_free(g);
    g = NULL;
    if (k == 4)
        return false;
    g = ur_graph_new(k & 1 ? UR_F32 : UR_F64, UR_TRAIN);
    unit = k & 1 ? 0x1p-24 : 0x1p-53;
    for (int i = 0; g && k >= 2 && i < 5; i++)
        ur_rewrite(g, rewrites[i], false);
    return CHECK(g != NULL);
}
#define ON_EACH_GRAPH() for (int graph_ = 0; values_graph(graph_); graph_++)

enum { VALUES = 4096, BUFFERS = 16 };

/* A leaf with the given values; NULL for random ones in [-1, 1). */
#define LEAF(x, ...) values_leaf(x, UR__DIMS(__VA_ARGS__))
static inline ur_node values_leaf(const double *x, int rank, const int *dim)
{
    static double d[VALUES];
    static float f[VALUES];
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= (size_t)dim[i];
    for (size_t i = 0; i < n && i < VALUES; i++)
        f[i] = (float)(d[i] = x ? x[i] : 2 * test_uniform() - 1);
    return ur_input_at(NULL, g, ur_precision(g) == UR_F64 ? (void *)d : (void *)f, rank, dim);
}

/* All values of a node, in one of a few buffers; NaN when they cannot be had. */
static inline const double *values_of(ur_node x)
{
    static double ring[BUFFERS][VALUES];
    static float f[VALUES];
    static int next;
    double *d = ring[next++ % BUFFERS];
    const size_t n = ur_count(x);
    bool ok = n <= VALUES;
    if (ok && ur_type_of(x) == UR_F64) {
        ok = ur_read(x, d, n);
    } else if (ok) {
        ok = ur_read(x, f, n);
        for (size_t i = 0; i < n; i++)
            d[i] = ur_type_of(x) == UR_I32 ? ((int32_t *)(void *)f)[i] : f[i];
    }
    for (size_t i = 0; !ok && i < VALUES; i++)
        d[i] = NAN;
    if (!ok && g && ur_error(g))
        CHECK_STR(ur_error(g), NULL);
    return d;
}

/* d <seed, y> / dx; seed nil for ones. */
static inline ur_node values_grad(ur_node y, ur_node seed, ur_node x)
{
    ur_node dx = { NULL, 0, 0 };
    ur_grad(&y, seed.owner ? &seed : NULL, 1, &x, 1, &dx);
    return dx;
}

/* Each value of x within `units` rounding units of the expected one, relative to max(1, |it|). */
#define CHECK_VALUES(x, expected, units) values_check(TEST_AT, #x, x, expected, units)
static inline void values_check(const char *file, int line, const char *text, ur_node x,
                                const double *expected, double units)
{
    const double *v = values_of(x);
    for (size_t i = 0; i < ur_count(x); i++) {
        double off = fabs(v[i] - expected[i]), scale = fmax(1, fabs(expected[i]));
        bool ok = off <= units * unit * scale || v[i] == expected[i] ||
                  (isnan(v[i]) && isnan(expected[i]));
        if (test_failed(file, line, ok))
            printf("%s[%zu] is %.17g, not %.17g: off by %.3g units\n", text, i, v[i], expected[i],
                   off / scale / unit);
    }
}

/* The shape of x in a text: "[2,3]". */
static inline const char *values_shape(ur_node x)
{
    static char text[80];
    ur_shape s = ur_shape_of(x);
    int n = snprintf(text, sizeof text, "[");
    for (int i = 0; i < s.rank; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, i ? ",%d" : "%d", s.dim[i]);
    snprintf(text + n, sizeof text - (size_t)n, "]");
    return s.rank < 0 ? "none" : text;
}

#endif
