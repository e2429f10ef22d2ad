/* chains.h: for the tests of structured.h: batches whose padding is poison, and chains by
 * enumeration of all labellings. */
#ifndef UNROLL_TESTS_CHAINS_H
#define UNROLL_TESTS_CHAINS_H

#include "tests/test.h"
#include "unroll/unroll.h"

enum { STEPS = 5, ROWS = 4, LABELS = 3 };
static const int ragged[ROWS] = { 3, 0, 5, 1 };

/* Steps that gradients are checked at, and lengths of such rows. */
static const struct { int T, n[ROWS]; } checked[] = {
    { 1, { 1, 0, 1, 0 } }, { 2, { 1, 0, 2, 2 } }, { 5, { 3, 0, 5, 1 } },
};

static inline void fill(double *x, int n, double scale)
{
    for (int i = 0; i < n; i++)
        x[i] = scale * (2 * test_uniform() - 1);
}

static inline bool ran(ur_graph *g)
{
    bool ok = ur_run(g);
    return CHECK_STR(ur_error(g), NULL) && CHECK(ok);
}

static inline bool passes(const char *name, ur_report r)
{
    bool ok = CHECK_INT(r.status, UR_CHECK_PASSED);
    if (!ok) {
        printf("  %s:\n", name);
        ur_report_print(&r, stdout);
    }
    CHECK_INT(r.kinks, 0);
    ur_report_free(&r);
    return ok;
}

/* The next of `base`^n sequences y[n]; false after the last. */
static inline bool next_sequence(int *y, int n, int base)
{
    int i = 0;
    while (i < n && ++y[i] == base)
        y[i++] = 0;
    return i < n;
}

/* A chain's numbers. */
typedef struct numbers {
    double start[LABELS], transitions[LABELS][LABELS], end[LABELS];
    double x[STEPS][ROWS][LABELS];
} numbers;

/* What all labellings of row b of length n add up to: ln Z, the probabilities of labels and the
 * expected transitions, the best labelling. */
typedef struct totals {
    double log_sum, label[STEPS][LABELS], step[LABELS][LABELS], first[LABELS], last[LABELS];
    double best;
    int path[STEPS];
} totals;

static inline double score_of(const numbers *m, int b, int n, const int *y)
{
    double s = 0;
    for (int t = 0; t < n; t++)
        s += (t ? m->transitions[y[t - 1]][y[t]] : m->start[y[t]]) + m->x[t][b][y[t]];
    return n ? s + m->end[y[n - 1]] : 0;
}

static inline totals enumerate(const numbers *m, int b, int n)
{
    totals r = { .best = -INFINITY };
    double Z = 0;
    for (int pass = 0; pass < 2; pass++) {
        int y[STEPS] = { 0 };
        do {
            const double s = score_of(m, b, n, y), p = pass ? exp(s) / Z : 0;
            Z += pass ? 0 : exp(s);
            for (int t = 0; t < n; t++)
                r.label[t][y[t]] += p;
            for (int t = 1; t < n; t++)
                r.step[y[t - 1]][y[t]] += p;
            if (n)
                r.first[y[0]] += p, r.last[y[n - 1]] += p;
            if (s > r.best) {
                r.best = s;
                memcpy(r.path, y, sizeof y);
            }
        } while (next_sequence(y, n, LABELS));
    }
    r.log_sum = log(Z);
    return r;
}

#endif
