/* Every cell, unrolled over 1, 2 and 5 steps of 1 and 3 rows, against differences of its values:
 * x, initial states and parameters, through every output and the last states, to the second order.
 * Then whole models, as they are trained. */
#include "tests/test.h"
#include "graph/internal.h"
#include "unroll/unroll.h"

enum { I = 3, H = 4, V = 7 };

static bool passes(const char *name, int T, int B, ur_report r)
{
    bool ok = CHECK_INT(r.status, UR_CHECK_PASSED);
    if (!ok) {
        printf("  %s, T %d, B %d:\n", name, T, B);
        ur_report_print(&r, stdout);
    }
    CHECK_INT(r.kinks, 0);
    ur_report_free(&r);
    return ok;
}

/* ---------------------------------------------------------------------------------------- cells */

/* A user's cell: the minimal gated unit.    Zhou et al. 2016
 *     f = sigmoid([h,x] W + b)    n = tanh([f*h, x] U + d)    h' = h + f*(n - h) */
typedef struct mgu {
    ur_cell cell;
    ur_node W, b, U, d;
} mgu;

static ur_node mgu_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const mgu *p = (const mgu *)cell;
    ur_node h = s[0];
    ur_node f = ur_sigmoid(ur_affine(ur_concat(h, x), p->W, p->b));
    ur_node n = ur_tanh(ur_affine(ur_concat(ur_mul(f, h), x), p->U, p->d));
    return s[0] = ur_add(h, ur_mul(f, ur_sub(n, h)));
}

static ur_cell *new_mgu(ur_params *ps)
{
    mgu *p = ur_cell_new(ps, "mgu", sizeof *p, mgu_step, I, H, 1, (int[]){ H });
    p->W = ur_param(ps, "mgu.W", ur_xavier(), H + I, H);
    p->b = ur_param(ps, "mgu.b", ur_uniform_between(-1, 1), H);
    p->U = ur_param(ps, "mgu.U", ur_xavier(), H + I, H);
    p->d = ur_param(ps, "mgu.d", ur_uniform_between(-1, 1), H);
    return &p->cell;
}

static ur_cell *new_elman(ur_params *ps) { return ur_elman(ps, "elman", I, H); }
static ur_cell *new_relu(ur_params *ps) { return ur_elman_relu(ps, "relu", I, H); }
static ur_cell *new_lstm(ur_params *ps) { return ur_lstm(ps, "lstm", I, H); }
static ur_cell *new_gru(ur_params *ps) { return ur_gru(ps, "gru", I, H); }
static ur_cell *new_gru2(ur_params *ps) { return ur_gru_reset_after(ps, "gru2", I, H); }
static ur_cell *new_drop(ur_params *ps) { return ur_dropout_cell(new_lstm(ps), 0.3); }
static ur_cell *new_mask(ur_params *ps) { return ur_dropout_cell_sequence(new_lstm(ps), 0.3); }

static ur_cell *new_stack(ur_params *ps)
{
    ur_cell *cells[] = { ur_lstm(ps, "low", I, H), ur_gru(ps, "high", H, 2) };
    return ur_stacked("stack", cells, 2, 0.2);
}

typedef ur_cell *maker(ur_params *ps);

static void check_cell(maker *make)
{
    static const int steps[] = { 1, 2, 5 }, rows[] = { 1, 3 };
    for (int type = UR_F32; type <= UR_F64; type++) {
        ur_params *ps = ur_params_new((ur_type)type, 3);
        ur_cell *cell = make(ps);
        if (!CHECK(ur_cell_usable(cell)))
            printf("  %s\n", ur_error(ps));
        for (int t = 0; t < 3; t++)
            for (int b = 0; b < 2; b++)
                passes(cell->name, steps[t], rows[b],
                       ur_check_cell(cell, .T = steps[t], .B = rows[b], .order = 2));
        ur_params_free(ps);
    }
}

TEST(elman) { check_cell(new_elman); }
TEST(elman_relu) { check_cell(new_relu); }
TEST(lstm) { check_cell(new_lstm); }
TEST(gru) { check_cell(new_gru); }
TEST(gru_reset_after) { check_cell(new_gru2); }
TEST(mgu_of_a_user) { check_cell(new_mgu); }
TEST(dropout_cell) { check_cell(new_drop); }
TEST(dropout_cell_sequence) { check_cell(new_mask); }
TEST(stack) { check_cell(new_stack); }

/* All that the one-line form looks at: x, both states, the eight parameters; through c too, without
 * which the last output gate alone would reach Wi at T = 1. */
TEST(one_line_form)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_cell *rnn = ur_lstm(ps, "lstm", I, H);
    ur_report r = ur_check_cell(rnn, .T = 3, .B = 2);
    static const char *const names[] = {
        "x", "s0", "s1", "lstm.Wi", "lstm.bi", "lstm.Wf", "lstm.bf", "lstm.Wg", "lstm.bg",
        "lstm.Wo", "lstm.bo",
    };
    const size_t elements[] = { 18, 8, 8, 28, 4, 28, 4, 28, 4, 28, 4 };
    CHECK_INT(r.n_rows, 11);
    for (size_t n = 0; n < 11; n++) {
        int found = 0;
        for (int k = 0; k < r.n_rows; k++)
            if (strcmp(r.row[k].tensor, names[n]) == 0) {
                found++;
                CHECK_INT(r.row[k].checked, elements[n]);
            }
        if (!CHECK_INT(found, 1))
            printf("  %s\n", names[n]);
    }
    passes("lstm", 3, 2, r);
    ur_params_free(ps);
}

TEST(cells_that_are_none)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_cell *bad = ur_lstm(ps, "lstm", 0, H);
    ur_report r = ur_check_cell(bad, .T = 1);
    CHECK_INT(r.status, UR_CHECK_ERROR);
    CHECK_HAS(r.why, "the cell could not be made: cell lstm: 0 inputs");
    ur_report_free(&r);
    r = ur_check_cell(NULL, .T = 1);
    CHECK_INT(r.status, UR_CHECK_ERROR);
    CHECK_HAS(r.why, "the cell could not be made: it is nil");
    ur_report_free(&r);
    ur_params_free(ps);
}

/* A fault deep in a cell: the gradient of every tanh, or of every matrix product, off by 1e-4. */
static ur_node fault(void *user, const ur_op *op, int operand, ur_node to, ur_node given)
{
    (void)operand, (void)to;
    return strcmp(op->name, user) == 0 ? ur_scale(given, 1.0001) : given;
}

TEST(faults_in_a_cell_are_caught)
{
    static const char *const ops[] = { "tanh", "sigmoid", "matmul", "mul", "concat" };
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_cell *rnn = ur_lstm(ps, "lstm", I, H);
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        ur__fault_hook = fault;
        ur__fault_user = (void *)ops[k];
        ur_report r = ur_check_cell(rnn, .T = 2, .B = 1);
        ur__fault_hook = NULL;
        if (!CHECK_INT(r.status, UR_CHECK_WRONG))
            printf("  %s\n", ops[k]);
        ur_report_free(&r);
    }
    ur_params_free(ps);
}

/* --------------------------------------------------------------------------------------- models */

typedef struct model {
    ur_embedding emb;
    ur_cell *rnn;
    ur_linear_layer out;
    const int *lengths;
} model;

static model make_model(ur_params *ps)
{
    model m = { .emb = ur_embedding_new(ps, "emb", V, I) };
    m.rnn = new_stack(ps);
    m.out = ur_linear_new(ps, "out", 2, V);
    return m;
}

/* ids and labels [T,B] -> the loss that a language model is trained with. */
static void language_model(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const model *m = ctx;
    (void)g;
    ur_node h = m->lengths ? ur_unroll_lengths(m->rnn, ur_embed(m->emb, in[0]), m->lengths, NULL)
                           : ur_unroll(m->rnn, ur_embed(m->emb, in[0]), NULL);
    out[0] = ur_cross_entropy(ur_linear(m->out, h), in[1]);
}

TEST(language_models)
{
    static const int lengths[] = { 4, 0, 2 };
    ur_params *ps = ur_params_new(UR_F32, 5);
    model m = make_model(ps);
    for (int k = 0; k < 2; k++) {
        m.lengths = k ? lengths : NULL;
        passes(k ? "with lengths" : "model", 4, 3,
               ur_check(language_model, .in = { ur_in_ints("ids", V, 4, 3),
                                                ur_in_ints("labels", V, 4, 3) },
                        .ctx = &m, .order = 2));
    }
    ur_params_free(ps);
}

/* All states and outputs of rows of different lengths. */
static void all_states(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const model *m = ctx;
    (void)g;
    out[0] = in[1], out[1] = in[2];
    out[4] = ur_unroll_states(m->rnn, in[0], m->lengths, out, out + 2);
}

TEST(all_states_with_lengths)
{
    static const int lengths[] = { 1, 3, 0, 2 };
    ur_params *ps = ur_params_new(UR_F64, 5);
    model m = { .rnn = ur_lstm(ps, "lstm", I, H), .lengths = lengths };
    passes("states", 3, 4, ur_check(all_states, .in = { ur_in("x", 3, 4, I), ur_in("h", 4, H),
                                                        ur_in("c", 4, H) },
                                    .outputs = 5, .ctx = &m, .order = 2));
    ur_params_free(ps);
}

TEST_MAIN(T(elman), T(elman_relu), T(lstm), T(gru), T(gru_reset_after), T(mgu_of_a_user),
          T(dropout_cell), T(dropout_cell_sequence), T(stack), T(one_line_form),
          T(cells_that_are_none), T(faults_in_a_cell_are_caught), T(language_models),
          T(all_states_with_lengths))
