/* ctc_paths.h: for the tests of CTC: the probability of a labelling by enumeration of all paths. */
#ifndef UNROLL_TESTS_CTC_PATHS_H
#define UNROLL_TESTS_CTC_PATHS_H

#include "tests/chains.h"

enum { PATHS_T = 5, V = 3 };

/* What is left of a path: its number of labels. */
static inline int collapse(const int *path, int n, int blank, int *out)
{
    int left = 0;
    for (int t = 0; t < n; t++)
        if (path[t] != blank && (t == 0 || path[t] != path[t - 1]))
            out[left++] = path[t];
    return left;
}

/* Probability of labels y[n_y] in row b, of each symbol at each step together with them. */
static inline double enumerate_paths(const double *log_p, int n, int B, int b, int blank,
                                     const int *y, int n_y, double occupied[][V])
{
    int path[PATHS_T + 1] = { 0 }, left[PATHS_T];
    double total = 0;
    memset(occupied, 0, PATHS_T * sizeof *occupied);
    do {
        if (collapse(path, n, blank, left) != n_y || memcmp(left, y, sizeof *y * (size_t)n_y) != 0)
            continue;
        double p = 1;
        for (int t = 0; t < n; t++)
            p *= exp(log_p[(t * B + b) * V + path[t]]);
        total += p;
        for (int t = 0; t < n; t++)
            occupied[t][path[t]] += p;
    } while (next_sequence(path, n, V));
    return total;
}

#endif
