/* Both directions over batches of different lengths, against each row alone and reversed. */
#include "tests/cells.h"
#include "tests/passes.h"

enum { ROWS = 4, STEPS = 5 };
static const int lengths[ROWS] = { 3, 0, 5, 1 };

/* ----------------------------------------------------------------------------- the backward way */

/* Row b of x[STEPS][ROWS][n] from its own end. */
static void reversed(const double *x, int b, int n, double *out)
{
    for (int t = 0; t < lengths[b]; t++)
        memcpy(out + t * n, x + ((lengths[b] - 1 - t) * ROWS + b) * n, (size_t)n * sizeof *x);
}

/* Outputs, all states and last states of row b are those of the row alone, read from its end. */
static void compare_row(ur_graph *g, const ur_cell *cell, const double *x, const double *h, int b,
                        const double *y, double (*all)[STEPS * ROWS * H],
                        double (*last)[ROWS * H])
{
    const int n = lengths[b];
    double in[STEPS * I], out[STEPS * H], states[STEPS * H];
    ur_clear(g);
    reversed(x, b, I, in);
    ur_node s[2], rows[2];
    for (int k = 0; k < cell->n_states; k++)
        s[k] = ur_input(g, h + b * H, 1, H);
    ur_node alone = ur_unroll_states(cell, ur_input(g, in, n, 1, I), NULL, s, rows);
    REQUIRE(ran(g) && ur_read(alone, out, (size_t)(n * H)));
    for (int k = 0; k < cell->n_states; k++) {
        REQUIRE(ur_read(rows[k], states, (size_t)(n * H)));
        compare(s[k], last[k] + b * H, H, 1e-14);
        for (int t = 0; t < STEPS; t++)
            for (int u = 0; u < H; u++)
                CHECK_NEAR(all[k][(t * ROWS + b) * H + u],
                           t < n ? states[(n - 1 - t) * H + u] : h[b * H + u], 1e-14);
    }
    for (int t = 0; t < STEPS; t++)
        for (int u = 0; u < H; u++)
            CHECK_NEAR(y[(t * ROWS + b) * H + u], t < n ? out[(n - 1 - t) * H + u] : 0, 1e-14);
}

TEST(backward_is_each_row_from_its_own_end)
{
    for (int c = 0; c < CELLS; c++) {
        ur_params *ps = ur_params_new(UR_F64, 7);
        ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
        ur_cell *cell = cells[c].make(ps, cells[c].name, I, H);
        double x[STEPS * ROWS * I], h[ROWS * H], y[STEPS * ROWS * H], last[2][ROWS * H];
        double all[2][STEPS * ROWS * H];
        fill(x, STEPS * ROWS * I);
        fill(h, ROWS * H);
        for (int b = 0; b < ROWS; b++)
            for (int t = lengths[b]; t < STEPS; t++)
                x[(t * ROWS + b) * I] = NAN;
        ur_node s[2], a[2];
        for (int k = 0; k < cell->n_states; k++)
            s[k] = ur_input(g, h, ROWS, H);
        ur_node out = ur_unroll_backward_states(cell, ur_input(g, x, STEPS, ROWS, I), lengths, s,
                                                a);
        REQUIRE(ran(g) && ur_read(out, y, STEPS * ROWS * H));
        for (int k = 0; k < cell->n_states; k++)
            REQUIRE(ur_read(s[k], last[k], ROWS * H) && ur_read(a[k], all[k], STEPS * ROWS * H));
        for (int b = 0; b < ROWS; b++)
            compare_row(g, cell, x, h, b, y, all, last);
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* Without lengths, and with full ones, it is the sequence turned round; a stack too. */
TEST(backward_without_lengths)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *both = ur_stacked("both", (ur_cell *[]){ ur_lstm(ps, "low", I, 3),
                                                      ur_gru(ps, "high", 3, H) }, 2, 0);
    double x[T * B * I], y[T * B * H], all[T * B * H];
    fill(x, T * B * I);
    ur_node in = ur_input(g, x, T, B, I), s[3], r[3], a[3], b[3];
    CHECK(ur_cell_zero_states(g, both, B, s) && ur_cell_zero_states(g, both, B, r));
    ur_node turned = ur_reverse(ur_unroll_states(both, ur_reverse(in, 0), NULL, s, a), 0);
    ur_node back = ur_unroll_backward_states(both, in, NULL, r, b);
    ur_node full = ur_unroll_backward(both, in, ((int[]){ T, T }), NULL);
    ur_node state = ur_reverse(a[2], 0);
    REQUIRE(ran(g) && ur_read(turned, y, T * B * H) && ur_read(state, all, T * B * H));
    compare(back, y, T * B * H, 1e-14);
    compare(full, y, T * B * H, 1e-14);
    compare(b[2], all, T * B * H, 1e-14);
    compare(r[2], all, B * H, 1e-14);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ------------------------------------------------------------------------------------ both ways */

typedef struct pair {
    const ur_cell *forward, *backward;
    const int *lengths;
    ur_merge merge;
} pair;

TEST(merges)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *f = ur_lstm(ps, "f", I, H), *k = ur_gru(ps, "k", I, H);
    double x[STEPS * ROWS * I], y[2][STEPS * ROWS * H], got[STEPS * ROWS * 2 * H];
    fill(x, STEPS * ROWS * I);
    ur_node in = ur_input(g, x, STEPS, ROWS, I), apart[2], s[3], r[3], all[3], m[4];
    CHECK(ur_cell_zero_states(g, f, ROWS, s) && ur_cell_zero_states(g, k, ROWS, s + 2));
    memcpy(r, s, sizeof s);
    CHECK(ur_bidirectional_apart(f, k, in, lengths, s, all, apart));
    for (int i = 0; i < 4; i++)
        m[i] = ur_bidirectional(f, k, in, lengths, (ur_merge)i, i ? NULL : r);
    REQUIRE(ran(g));
    for (int i = 0; i < 2; i++)
        REQUIRE(ur_read(apart[i], y[i], STEPS * ROWS * H));
    REQUIRE(ur_read(m[0], got, STEPS * ROWS * 2 * H));
    for (int i = 0; i < STEPS * ROWS * H; i++) {
        CHECK_NEAR(got[i / H * 2 * H + i % H], y[0][i], 0);
        CHECK_NEAR(got[i / H * 2 * H + H + i % H], y[1][i], 0);
    }
    for (int i = 1; i < 4; i++) {
        REQUIRE(ur_read(m[i], got, STEPS * ROWS * H));
        for (int j = 0; j < STEPS * ROWS * H; j++)
            CHECK_NEAR(got[j], i == 1 ? y[0][j] + y[1][j]
                             : i == 2 ? (y[0][j] + y[1][j]) / 2 : fmax(y[0][j], y[1][j]), 1e-15);
    }
    /* the states are there in both forms: the gru's after the first step of each row */
    double first[ROWS * H];
    REQUIRE(ur_read(s[2], first, ROWS * H));
    compare(r[2], first, ROWS * H, 0);
    for (int i = 0; i < ROWS * H; i++)
        CHECK_NEAR(first[i], lengths[i / H] ? y[1][i] : 0, 1e-15);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* x, three states -> outputs, last states, all states. */
static void both_ways(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const pair *p = ctx;
    ur_node y[2], s[3] = { in[1], in[2], in[3] };
    (void)g;
    out[0] = ur_bidirectional(p->forward, p->backward, in[0], p->lengths, p->merge, s);
    memcpy(out + 1, s, sizeof s);
    memcpy(s, in + 1, sizeof s);
    ur_bidirectional_apart(p->forward, p->backward, in[0], p->lengths, s, out + 4, y);
}

/* Every merge at T = 1, 2, 5, of equal rows and of ragged ones. */
TEST(gradients_of_both_ways)
{
    const struct { int T; const int *n; } cases[] = {
        { 1, NULL }, { 1, (const int[]){ 1, 0, 1, 1 } },
        { 2, NULL }, { 2, (const int[]){ 1, 0, 2, 0 } },
        { STEPS, NULL }, { STEPS, lengths },
    };
    ur_params *ps = ur_params_new(UR_F32, 3);
    pair p = { .forward = ur_lstm(ps, "f", I, H), .backward = ur_gru(ps, "k", I, H) };
    for (int k = 0; k < 6; k++)
        for (int merge = UR_MERGE_CONCAT; merge <= UR_MERGE_MAXIMUM; merge++) {
            p.lengths = cases[k].n;
            p.merge = (ur_merge)merge;
            passes("both ways", ur_check(both_ways, .in = { ur_in("x", cases[k].T, ROWS, I),
                       ur_in("h", ROWS, H), ur_in("c", ROWS, H), ur_in("k", ROWS, H) },
                   .outputs = 7, .ctx = &p, .order = 2));
        }
    ur_params_free(ps);
}

/* Padding of NaN gives the same bits as padding of numbers: values and all gradients. */
TEST(padding_never_matters)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_cell *f = ur_lstm(ps, "f", I, H), *k = ur_gru(ps, "k", I, H);
    static float x[STEPS * ROWS * I], y[2][STEPS * ROWS * 2 * H], d_x[2][STEPS * ROWS * I];
    static float gradient[2][1000];
    const size_t n = ur_block_elements(ps);
    REQUIRE(n <= 1000);
    for (int i = 0; i < STEPS * ROWS * I; i++)
        x[i] = (float)test_uniform();
    for (int padded = 0; padded < 2; padded++) {
        ur_clear(g);
        for (int i = 0; i < STEPS * ROWS * I; i++)
            if (padded && i / I / ROWS >= lengths[i / I % ROWS])
                x[i] = NAN;
        ur_node in = ur_input(g, x, STEPS, ROWS, I), d;
        ur_node out = ur_bidirectional(f, k, in, lengths, UR_MERGE_CONCAT, NULL);
        ur_node loss = ur_backward(ur_sum(ur_square(out)));
        ur_grad(&loss, NULL, 1, &in, 1, &d);
        REQUIRE(ran(g) && ur_read(out, y[padded], STEPS * ROWS * 2 * H) &&
                ur_read(d, d_x[padded], STEPS * ROWS * I));
        memcpy(gradient[padded], ur_gradients(ps), n * sizeof **gradient);
        ur_gradient_used(ps);
    }
    CHECK_MEM(y[0], y[1], sizeof y[0]);
    CHECK_MEM(d_x[0], d_x[1], sizeof d_x[0]);
    CHECK_MEM(gradient[0], gradient[1], n * sizeof **gradient);
    for (size_t i = 0; i < n; i++)
        CHECK(isfinite(gradient[1][i]));
    ur_graph_free(g);
    ur_params_free(ps);
}

/* -------------------------------------------------------------------- rows known by their place */

/* A cell that adds something of its own to each row, and counts steps. */
typedef struct placed { ur_cell cell; ur_node row; } placed;

static ur_node placed_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    s[0] = ur_shift(s[0], 1);
    return ur_add(x, ((const placed *)cell)->row);
}

/* Alone, in a stack and under dropout, in both directions. */
TEST(rows_stay_in_their_places)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    placed *p = ur_cell_new(ps, "p", sizeof *p, placed_step, I, I, 1, (int[]){ 1 });
    p->cell.keeps_rows = true;
    ur_cell *forms[] = { &p->cell, ur_stacked("two", (ur_cell *[]){ &p->cell, &p->cell }, 2, 0.1),
                         ur_dropout_cell(&p->cell, 0.1) };
    double x[STEPS * ROWS * I], y[STEPS * ROWS * I], row[ROWS * I], steps[ROWS];
    fill(x, STEPS * ROWS * I);
    fill(row, ROWS * I);
    for (int k = 0; k < 6; k++) {
        ur_cell *cell = forms[k / 2];
        ur_clear(g);
        p->row = ur_input(g, row, ROWS, I);
        ur_node in = ur_input(g, x, STEPS, ROWS, I), s[2];
        ur_cell_zero_states(g, cell, ROWS, s);
        ur_node out = k % 2 ? ur_unroll_backward(cell, in, lengths, s)
                            : ur_unroll_lengths(cell, in, lengths, s);
        REQUIRE(ran(g) && ur_read(out, y, STEPS * ROWS * I) && ur_read(s[0], steps, ROWS));
        for (int i = 0; i < STEPS * ROWS * I; i++) {
            const int b = i / I % ROWS;
            CHECK_NEAR(y[i], i / I / ROWS < lengths[b] ? x[i] + (1 + (k / 2 == 1)) *
                       row[b * I + i % I] : 0, 1e-14);
            CHECK_NEAR(steps[b], lengths[b], 0);
        }
    }
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ------------------------------------------------------------------------ places within lengths */

static void within(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g;
    out[0] = ur_square(ur_shift(ur_within(in[0], ctx), 1));
}

TEST(places_within_lengths)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    double x[STEPS * ROWS * I], mask[STEPS * ROWS], y[STEPS * ROWS * I], d[STEPS * ROWS * I];
    int32_t id[STEPS * ROWS], left[STEPS * ROWS];
    for (int i = 0; i < STEPS * ROWS; i++) {
        const bool in = i / ROWS < lengths[i % ROWS];
        fill(x + i * I, I);
        x[i * I] = in ? x[i * I] : NAN;
        id[i] = in ? i : INT32_MIN;
    }
    ur_node in = ur_input(g, x, STEPS, ROWS, I), by, m = ur_length_mask(g, STEPS, ROWS, lengths);
    ur_node all = ur_length_mask(g, STEPS, ROWS, NULL), kept = ur_within(in, lengths);
    ur_node ids = ur_ids_within(ur_ints(g, id, STEPS, ROWS), lengths, -9);
    ur_node loss = ur_sum(ur_square(kept)), whole = ur_within(in, NULL);
    ur_grad(&loss, NULL, 1, &in, 1, &by);
    CHECK(whole.id == in.id);
    REQUIRE(ran(g) && ur_read(m, mask, STEPS * ROWS) && ur_read(kept, y, STEPS * ROWS * I) &&
            ur_read(by, d, STEPS * ROWS * I) && ur_read(ids, left, STEPS * ROWS));
    for (int i = 0; i < STEPS * ROWS; i++) {
        const bool here = i / ROWS < lengths[i % ROWS];
        CHECK_NEAR(mask[i], here, 0);
        CHECK_INT(left[i], here ? i : -9);
        for (int k = i * I; k < (i + 1) * I; k++) {
            CHECK_NEAR(y[k], here ? x[k] : 0, 0);
            CHECK_NEAR(d[k], here ? 2 * x[k] : 0, 1e-15);
        }
    }
    REQUIRE(ur_read(all, mask, STEPS * ROWS));
    for (int i = 0; i < STEPS * ROWS; i++)
        CHECK_NEAR(mask[i], 1, 0);
    passes("within", ur_check(within, .in = { ur_in("x", STEPS, ROWS, I) },
                              .ctx = (void *)lengths, .order = 2));
    ur_graph_free(g);
}

/* --------------------------------------------------------------------------------------- errors */

TEST(errors_of_directions)
{
    ur_params *ps = ur_params_new(UR_F64, 7);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_cell *f = ur_lstm(ps, "f", I, H), *k = ur_gru(ps, "k", I, H + 1);
    ur_node x = ur_zeros(g, T, B, I);
    CHECK(ur_is_nil(ur_bidirectional(f, k, x, NULL, UR_MERGE_SUM, NULL)));
    CHECK_HAS(ur_error(g), "bidirectional: cell f has 2 outputs, but k has 3: these are merged ");
    ur_error_reset(g);
    ur_clear(g);
    x = ur_zeros(g, T, B, I);
    CHECK(ur_is_nil(ur_bidirectional(f, f, x, NULL, (ur_merge)9, NULL)));
    CHECK_HAS(ur_error(g), "bidirectional: there is no merge 9");
    ur_error_reset(g);
    ur_clear(g);
    x = ur_zeros(g, T, B, I);
    CHECK_INT(ur_dim(ur_bidirectional(f, k, x, NULL, UR_MERGE_CONCAT, NULL), 2), 2 * H + 1);
    CHECK(ur_is_nil(ur_bidirectional(f, NULL, x, NULL, UR_MERGE_CONCAT, NULL)));
    CHECK_HAS(ur_error(g), "unroll: the cell could not be made");
    ur_error_reset(g);
    ur_clear(g);
    x = ur_zeros(g, T, B, I);
    CHECK(ur_is_nil(ur_within(x, ((int[]){ 1, 5 }))));
    CHECK_HAS(ur_error(g), "length_mask: lengths[1] is 5, not between 0 and the 4 steps");
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(backward_is_each_row_from_its_own_end), T(backward_without_lengths), T(merges),
          T(gradients_of_both_ways), T(padding_never_matters), T(rows_stay_in_their_places),
          T(places_within_lengths), T(errors_of_directions))
