/* Decoding of CTC: against the enumeration of all labellings, against a plain search over whole
 * prefixes, at every width; odd numbers, arguments and memory. */
#include <stdlib.h>
#include "tests/counting.h"
#include "tests/ctc_paths.h"

/* The best of all labellings of n steps by enumeration: returns its length. */
static int best_labelling(const double *log_p, int n, int B, int b, int blank, int *best,
                          double *most)
{
    double occupied[PATHS_T][V];
    int length = 0;
    *most = -1;
    for (int n_y = 0; n_y <= n; n_y++) {
        int y[PATHS_T + 1] = { 0 };
        do {
            bool legal = true;
            for (int i = 0; i < n_y; i++)
                legal = legal && y[i] != blank;
            if (!legal)
                continue;
            double p = enumerate_paths(log_p, n, B, b, blank, y, n_y, occupied);
            if (p > *most) {
                *most = p;
                length = n_y;
                memcpy(best, y, sizeof *y * (size_t)n_y);
            }
        } while (next_sequence(y, n_y, V));
    }
    return length;
}

TEST(a_wide_beam_finds_the_best_labelling)
{
    enum { N = PATHS_T * 2 * V };
    for (int trial = 0; trial < 30; trial++) {
        double log_p[N], most, found, path;
        float narrow[N];
        const int n = trial % (PATHS_T + 1), blank = trial % V, b = trial % 2;
        int best[PATHS_T], out[PATHS_T], line[PATHS_T];
        fill(log_p, N, 1 + trial % 3);
        for (int i = 0; i < N; i += V) {
            double Z = exp(log_p[i]) + exp(log_p[i + 1]) + exp(log_p[i + 2]);
            for (int k = 0; k < V; k++)
                narrow[i + k] = (float)(log_p[i + k] -= log(Z));
        }
        const int length = best_labelling(log_p, n, 2, b, blank, best, &most);
        ur_ctc_output o = { UR_F64, log_p, PATHS_T, 2, V, blank };
        CHECK_INT(ur_ctc_beam(&o, b, n, 100, out, &found), length);
        CHECK_MEM(out, best, sizeof *out * (size_t)length);
        CHECK_NEAR(found, log(most), 1e-10);
        /* a narrow one finds no more, and at least the best path's labelling with width 1 */
        CHECK(ur_ctc_beam(&o, b, n, 2, out, &found) >= 0);
        CHECK(found <= log(most) + 1e-10);
        const int left = ur_ctc_best_path(&o, b, n, line, &path);
        double occupied[PATHS_T][V];
        CHECK(left >= 0 && path <= log(most) + 1e-10);
        CHECK(path <= log(enumerate_paths(log_p, n, 2, b, blank, line, left, occupied)) + 1e-10);
        o.type = UR_F32, o.log_p = narrow;
        CHECK_INT(ur_ctc_beam(&o, b, n, 100, out, &found), length);
        CHECK_NEAR(found, log(most), 1e-5);
    }
}

TEST(the_best_path)
{
    /* 1 1 - 1 2 2 -> 1 1 2 */
    static const int path[6] = { 1, 1, 0, 1, 2, 2 };
    double log_p[6 * V], total;
    int out[6];
    for (int t = 0; t < 6; t++)
        for (int k = 0; k < V; k++)
            log_p[t * V + k] = log(k == path[t] ? 0.8 : 0.1);
    ur_ctc_output o = { UR_F64, log_p, 6, 1, V, 0 };
    CHECK_INT(ur_ctc_best_path(&o, 0, 6, out, &total), 3);
    CHECK_MEM(out, ((int[]){ 1, 1, 2 }), 3 * sizeof *out);
    CHECK_NEAR(total, 6 * log(0.8), 1e-14);
    CHECK_INT(ur_ctc_best_path(&o, 0, 2, out, NULL), 1);
    CHECK_INT(ur_ctc_best_path(&o, 0, 0, out, &total), 0);
    CHECK_NEAR(total, 0, 0);
    CHECK_INT(ur_ctc_beam(&o, 0, 6, 10, out, NULL), 3);
    log_p[1] = NAN;
    CHECK(ur_ctc_beam(&o, 0, 6, 10, out, &total) >= 0 && isfinite(total));
    CHECK_INT(ur_ctc_best_path(&o, 1, 6, out, NULL), -1);
    CHECK_INT(ur_ctc_best_path(&o, 0, 7, out, NULL), -1);
    CHECK_INT(ur_ctc_beam(&o, 0, 6, 0, out, NULL), -1);
    o.blank = V;
    CHECK_INT(ur_ctc_beam(&o, 0, 6, 4, out, NULL), -1);
}

/* The same search by comparing whole prefixes, which knows of no tree: O(width^2 V^2) a step. */
enum { SHORT = 12, MOST = 8 };
typedef struct named {
    int n, label[SHORT];
    double blank, other;        /* probabilities of paths that end in a blank, in a label */
} named;

static named *entry_of(named *list, int *n, const int *label, int length)
{
    for (int i = 0; i < *n; i++)
        if (list[i].n == length &&
            memcmp(list[i].label, label, sizeof *label * (size_t)length) == 0)
            return &list[i];
    named fresh = { .n = length };
    memcpy(fresh.label, label, sizeof *label * (size_t)length);
    list[*n] = fresh;
    return &list[(*n)++];
}

static int more_likely(const void *a, const void *b)
{
    const double p = ((const named *)a)->blank + ((const named *)a)->other;
    const double q = ((const named *)b)->blank + ((const named *)b)->other;
    return (p < q) - (p > q);
}

static named plain_search(const double *log_p, int width)
{
    static named beam[MOST * (V + 1)], next[MOST * (V + 1)];
    int n = 1;
    beam[0] = (named){ .blank = 1 };
    for (int t = 0; t < SHORT; t++) {
        int m = 0;
        for (int i = 0; i < n; i++)
            for (int k = 0; k < V; k++) {
                const double p = exp(log_p[t * V + k]);
                named *from = &beam[i], *to;
                const int last = from->n ? from->label[from->n - 1] : -1;
                int longer[SHORT + 1];
                memcpy(longer, from->label, sizeof from->label);
                longer[from->n] = k;
                if (k == 0) {
                    entry_of(next, &m, from->label, from->n)->blank += p * (from->blank +
                                                                            from->other);
                    continue;
                }
                if (k == last)
                    entry_of(next, &m, from->label, from->n)->other += p * from->other;
                to = entry_of(next, &m, longer, from->n + 1);
                to->other += p * (from->blank + (k == last ? 0 : from->other));
            }
        qsort(next, (size_t)m, sizeof *next, more_likely);
        n = m < width ? m : width;
        memcpy(beam, next, sizeof *beam * (size_t)n);
    }
    return beam[0];
}

/* Narrow beams, where prefixes drop out and come again. */
TEST(a_narrow_beam_is_the_plain_search)
{
    for (int trial = 0; trial < 200; trial++) {
        double log_p[SHORT * V], found;
        int out[SHORT];
        const int width = 1 + trial % MOST;
        fill(log_p, SHORT * V, 1 + trial % 3);
        for (int i = 0; i < SHORT * V; i += V) {
            double Z = exp(log_p[i]) + exp(log_p[i + 1]) + exp(log_p[i + 2]);
            for (int k = 0; k < V; k++)
                log_p[i + k] -= log(Z);
        }
        const named best = plain_search(log_p, width);
        ur_ctc_output o = { UR_F64, log_p, SHORT, 1, V, 0 };
        CHECK_INT(ur_ctc_beam(&o, 0, SHORT, width, out, &found), best.n);
        CHECK_MEM(out, best.label, sizeof *out * (size_t)best.n);
        CHECK_NEAR(found, log(best.blank + best.other), 1e-10);
    }
}

/* A long search, against the sum over all paths of the labelling found, of which the beam can only
 * miss a part. */
TEST(beams_of_all_widths)
{
    enum { LONG = 60, SYMBOLS = 6, N = LONG * SYMBOLS };
    double x[N], log_p[N], before = -INFINITY;
    int out[LONG];
    fill(x, N, 8);
    for (int width = 1; width <= 4096; width *= 4) {
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        ur_node in = ur_input(g, x, LONG, 1, SYMBOLS);
        CHECK(ur_read(ur_log_softmax(in), log_p, N));
        ur_ctc_output o = { UR_F64, log_p, LONG, 1, SYMBOLS, 0 };
        double found;
        const int n = ur_ctc_beam(&o, 0, LONG, width, out, &found);
        REQUIRE(n > 0);
        const double exact = -ur_value(ur_ctc_loss(in, out, &n, NULL, 0));
        CHECK(found <= exact + 1e-9);
        CHECK(exact >= before - 1e-9 || width < 16);
        if (width == 4096)
            CHECK_NEAR(found, exact, 0.1);
        before = exact;
        ur_graph_free(g);
    }
}

TEST(search_without_memory)
{
    static const double log_p[4 * V];
    ur_ctc_output o = { UR_F64, log_p, 4, 1, V, 0 };
    int out[4];
    for (long call = 1; ; call++) {
        counting_begin(call);
        const int n = ur_ctc_beam(&o, 0, 4, 300, out, NULL);
        const long failed = counting.failed;
        CHECK(failed ? n == -1 : n >= 0);
        CHECK_INT(counting.blocks, 0);
        counting_end();
        if (!failed)
            break;
    }
}

TEST_MAIN(T(a_wide_beam_finds_the_best_labelling), T(a_narrow_beam_is_the_plain_search),
          T(the_best_path), T(beams_of_all_widths), T(search_without_memory))
