/* Attention with heads and transformer blocks: equal to PyTorch's (the numbers in
 * reference/attention.h), gradients, padding, what is refused. */
#include "tests/test.h"
#include "tests/passes.h"
#include "tests/reference/attention.h"
#include "unroll/unroll.h"

/* ------------------------------------------------------------------------------------ reference */

/* The next rows x columns numbers of PyTorch's, a matrix [out,in], into ours, [in,out]. */
static const double *take(const double *from, ur_node W, int rows, int columns)
{
    double *w = ur_param_values(W);
    const int width = ur_dim(W, -1);
    for (int o = 0; o < rows; o++)
        for (int i = 0; i < columns; i++)
            w[i * width + o] = *from++;
    return from;
}

static const double *take_linear(const double *from, ur_linear_layer l)
{
    const int I = ur_dim(l.W, 0), O = ur_dim(l.W, 1);
    return take(take(from, l.W, O, I), l.b, O, 1);
}

static const double *take_heads(const double *from, ur_multi_head m)
{
    const ur_linear_layer in[] = { m.q, m.k, m.v };
    for (int k = 0; k < 3; k++)
        from = take(from, in[k].W, D, D);
    for (int k = 0; k < 3; k++)
        from = take(from, in[k].b, D, 1);
    return take_linear(from, m.out);
}

static const double *take_norm(const double *from, ur_layer_norm n)
{
    return take(take(from, n.gain, D, 1), n.bias, D, 1);
}

static const double *take_block(const double *from, const ur_transformer_block *b)
{
    from = take_heads(from, b->self);
    if (b->cross.heads)
        from = take_heads(from, b->cross);
    from = take_linear(take_linear(from, b->up), b->down);
    from = take_norm(from, b->n1);
    if (b->cross.heads)
        from = take_norm(from, b->n2);
    return take_norm(from, b->n3);
}

static const double *compare(const char *what, ur_node y, const double *expected)
{
    double got[D * D * 3];
    const size_t n = ur_count(y);
    if (CHECK(n <= D * D * 3) && CHECK(ur_read(y, got, n)))
        for (size_t i = 0; i < n; i++)
            if (!CHECK_NEAR(got[i], expected[i], 1e-12))
                printf("  %s, element %zu\n", what, i);
    return expected + n;
}

/* What one of the lists is about. */
typedef struct subject {
    const char *name;
    const double *numbers;
    size_t count;
    int kind;                   /* as below */
    bool post;
} subject;
enum { SELF, CAUSAL, CROSS, ENCODER, DECODER };
#define LIST(name, kind, post)                                                                     \
    { #name, torch_##name, sizeof torch_##name / sizeof(double), kind, post }
static const subject subjects[] = {
    LIST(self, SELF, false), LIST(causal, CAUSAL, false), LIST(cross, CROSS, false),
    LIST(encoder_pre, ENCODER, false), LIST(encoder_post, ENCODER, true),
    LIST(decoder_pre, DECODER, false), LIST(decoder_post, DECODER, true),
};

static ur_node apply(const subject *u, const ur_transformer_block *b, ur_node x, ur_node m)
{
    ur_memory memory;
    switch (u->kind) {
    case SELF:
        return ur_self_attention(b->self, x, lengths, .causal = false);
    case CAUSAL:
        return ur_self_attention(b->self, x, NULL, .causal = true);
    case CROSS:
        memory = ur_heads_memory(b->self, m, memory_lengths);
        return ur_heads_attend(b->self, memory, x, .causal = false);
    case ENCODER:
        return ur_block_apply(b, x, lengths, NULL);
    default:
        memory = ur_heads_memory(b->cross, m, memory_lengths);
        return ur_block_apply(b, x, lengths, &memory);
    }
}

/* The gradients of three matrices [in,out] are one of PyTorch's, [3 out,in]. */
static void compare_in_proj(const char *what, ur_multi_head m, const double *expected)
{
    const ur_linear_layer in[] = { m.q, m.k, m.v };
    for (int k = 0; k < 3; k++) {
        const double *d = ur_param_gradient(in[k].W);
        for (int o = 0; o < D; o++)
            for (int i = 0; i < D; i++)
                if (!CHECK_NEAR(d[i * D + o], *expected++, 1e-12))
                    printf("  %s, gradient of matrix %d\n", what, k);
    }
}

static void compare_with_torch(const subject *u)
{
    ur_params *ps = ur_params_new(UR_F64, 5);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    const bool block = u->kind >= ENCODER;
    const ur_transformer_options o = { .heads = HEADS, .inner = F, .post_norm = u->post,
                                       .relu = u->post == (u->kind == ENCODER) };
    ur_transformer_block b = { .how = o };
    if (block)
        b = u->kind == ENCODER ? ur_encoder_block_with(ps, "b", D, &o)
                               : ur_decoder_block_with(ps, "b", D, &o);
    else
        b.self = ur_multi_head_new(ps, "b", D, HEADS);
    const double *from = block ? take_block(u->numbers, &b) : take_heads(u->numbers, b.self);
    ur_params_changed(ps);
    ur_node in[2] = { ur_input(g, from, T, B, D), ur_input(g, from + T * B * D, S, B, D) }, d[2];
    from += (T + S) * B * D;
    double weight[T * B * D];
    for (int i = 0; i < T * B * D; i++)
        weight[i] = 1 + 0.1 * i;
    ur_node y = ur_within(apply(u, &b, in[0], in[1]), lengths);
    ur_node loss = ur_backward(ur_sum(ur_mul(y, ur_input(g, weight, T, B, D))));
    ur_grad(&loss, NULL, 1, in, 2, d);
    CHECK(ur_run(g));
    CHECK_STR(ur_error(g), NULL);
    from = compare(u->name, y, from);
    from = compare(u->name, d[0], from);
    from = compare(u->name, d[1], from);
    compare_in_proj(u->name, b.self, from);
    CHECK_INT(from + 3 * D * D - u->numbers, u->count);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(equal_to_torch)
{
    for (size_t k = 0; k < sizeof subjects / sizeof *subjects; k++)
        compare_with_torch(&subjects[k]);
}

/* ------------------------------------------------------------------------------------ gradients */

enum { ROWS = 3, MOST = 5 };
static const int ragged[ROWS] = { 5, 0, 2 }, m_ragged[ROWS] = { 2, 3, 0 };

typedef struct model {
    ur_transformer encoder, decoder;
    ur_positions positions;
    const int *lengths, *m_lengths;
} model;

static model make_model(ur_params *ps, bool post)
{
    return (model){
        .encoder = ur_transformer_encoder_new(ps, "enc", D, 2, .heads = 2, .inner = 3,
                                              .post_norm = post, .dropout = 0.2, .causal = post),
        .decoder = ur_transformer_decoder_new(ps, "dec", D, 1, .heads = 4, .post_norm = post),
        .positions = ur_positions_new(ps, "at", MOST, D),
    };
}

/* The biases of keys move no weight, since they add the same to all scores of a query: a gradient
 * of rounding errors. So they get a term of their own, beside which these are small. */
static ur_node key_biases(ur_graph *g, const model *m)
{
    ur_node b[4] = { m->encoder.blocks[0].self.k.b, m->encoder.blocks[1].self.k.b,
                     m->decoder.blocks[0].self.k.b, m->decoder.blocks[0].cross.k.b };
    for (int i = 0; i < 4; i++)
        b[i] = ur_square(ur_shift(ur_use(g, b[i]), 1));
    return ur_concat_n(b, 4, 0);
}

/* x [T], memory [S] -> what the decoder makes of both, the encoder of the memory, and
 * one layer of both as they are. */
static void translate(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const model *m = ctx;
    const ur_multi_head *raw = &m->decoder.blocks[0].cross;
    out[2] = key_biases(g, m);
    out[3] = ur_heads_attend(*raw, ur_heads_memory(*raw, in[1], m->m_lengths),
                             ur_within(in[0], m->lengths), .dropout = 0.1);
    out[1] = ur_transform(m->encoder, ur_add_positions(m->positions, in[1], 0), m->m_lengths);
    out[0] = ur_transform_memory(m->decoder, ur_add_sinusoid(in[0], 2), m->lengths, out[1],
                                 m->m_lengths);
}

/* Both places of the normalisation at 1, 2 and 5 steps, of equal rows and of ragged ones. */
TEST(gradients)
{
    static const struct { int T; int lengths[ROWS]; } cases[] = {
        { 1, { 1, 0, 1 } }, { 2, { 1, 0, 2 } }, { MOST, { 5, 0, 2 } },
    };
    for (int k = 0; k < 3 * 2 * 2; k++) {
        const int steps = cases[k % 3].T;
        ur_params *ps = ur_params_new(UR_F64, 5);
        model m = make_model(ps, k / 3 % 2);
        if (k / 6)
            m.lengths = cases[k % 3].lengths, m.m_lengths = m_ragged;
        ur_check_options o = { .in = { ur_in("x", steps, ROWS, D), ur_in("m", 3, ROWS, D) },
                               .outputs = 4, .ctx = &m, .order = steps == 2 ? 2 : 1,
                               .elements = steps == 2 ? 24 : 64 };
        passes("transformer", ur_check_with(translate, &o));
        ur_params_free(ps);
    }
}

/* The weights themselves, and a mask of one's own. */
static void weights(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const ur_multi_head *h = ctx;
    ur_node mask = ur_input(g, ((double[]){ 1, 0, 1, 1, 1, 0, 0, 0, 0 }), 3, 3);
    out[0] = ur_self_attention(*h, in[0], NULL, .mask = mask, .weights = &out[1]);
    out[2] = ur_square(ur_shift(ur_use(g, h->k.b), 1));     /* as above */
}

TEST(masks_and_weights)
{
    ur_params *ps = ur_params_new(UR_F64, 5);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_multi_head h = ur_multi_head_new(ps, "h", D, 2);
    passes("weights", ur_check(weights, .in = { ur_in("x", 3, 2, D) }, .outputs = 3, .ctx = &h,
                               .order = 2));
    double x[3 * D], a[2 * 9];
    for (int i = 0; i < 3 * D; i++)
        x[i] = test_uniform();
    ur_node in = ur_input(g, x, 3, 1, D), out[3];
    weights(g, &in, out, &h);
    CHECK(ur_read(out[1], a, 2 * 9));
    for (int i = 0; i < 2; i++) {
        CHECK_NEAR(a[i * 9 + 1], 0, 0);
        CHECK_NEAR(a[i * 9] + a[i * 9 + 2], 1, 1e-15);
        CHECK_NEAR(a[i * 9 + 3] + a[i * 9 + 4], 1, 1e-15);
        CHECK_NEAR(a[i * 9 + 6] + a[i * 9 + 7] + a[i * 9 + 8], 0, 0);   /* looks at nothing */
    }
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ----------------------------------------------------------------------------- what is not seen */

/* Runs the model in float; NaN in the padding where `padded`. */
static bool run(ur_graph *g, const model *m, ur_params *ps, bool padded, float *y, float *d,
                float *gradient)
{
    static float x[2][MOST * ROWS * D];
    const int *n[2] = { m->lengths, m->m_lengths }, steps[2] = { MOST, 3 };
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < steps[k] * ROWS * D; i++) {
            float drawn = padded ? x[k][i] : (float)test_uniform();
            x[k][i] = padded && i / D / ROWS >= n[k][i / D % ROWS] ? NAN : drawn;
        }
    ur_clear(g);
    ur_set_run_number(g, 0);
    ur_node in[2] = { ur_input(g, x[0], MOST, ROWS, D), ur_input(g, x[1], 3, ROWS, D) };
    ur_node out[4], by[2];
    translate(g, in, out, (void *)m);
    ur_node seen = ur_add(ur_shift(out[0], 1), out[3]);
    ur_node loss = ur_backward(ur_sum(ur_square(seen)));
    ur_grad(&loss, NULL, 1, in, 2, by);
    bool ok = CHECK(ur_run(g)) && CHECK_STR(ur_error(g), NULL) &&
              ur_read(out[0], y, MOST * ROWS * D) && ur_read(by[0], d, MOST * ROWS * D) &&
              ur_read(by[1], d + MOST * ROWS * D, 3 * ROWS * D);
    memcpy(gradient, ur_gradients(ps), ur_block_elements(ps) * sizeof *gradient);
    ur_gradient_used(ps);
    return ok;
}

TEST(padding_never_matters)
{
    enum { VALUES = MOST * ROWS * D, INPUTS = VALUES + 3 * ROWS * D };
    for (int post = 0; post < 2; post++) {
        ur_params *ps = ur_params_new(UR_F32, 5);
        ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
        model m = make_model(ps, post);
        m.lengths = ragged, m.m_lengths = m_ragged;
        static float y[2][VALUES], d[2][INPUTS], gradient[2][2000];
        const size_t n = ur_block_elements(ps);
        REQUIRE(n <= 2000);
        for (int k = 0; k < 2; k++)
            REQUIRE(run(g, &m, ps, k, y[k], d[k], gradient[k]));
        CHECK_MEM(y[0], y[1], sizeof y[0]);
        CHECK_MEM(d[0], d[1], sizeof d[0]);
        CHECK_MEM(gradient[0], gradient[1], n * sizeof **gradient);
        for (size_t i = 0; i < n; i++)
            CHECK(isfinite(gradient[1][i]));
        for (int i = 0; i < VALUES; i++)
            CHECK(i / D / ROWS < ragged[i / D % ROWS] || (y[1][i] == 0 && d[1][i] == 0));
        ur_graph_free(g);
        ur_params_free(ps);
    }
}

/* A causal stack: a step does not depend on later ones, so a longer text begins like a shorter. */
TEST(causal_steps_do_not_look_ahead)
{
    ur_params *ps = ur_params_new(UR_F64, 5);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_transformer lm = ur_transformer_encoder_new(ps, "lm", D, 2, .heads = 2, .causal = true);
    double x[MOST * D], whole[MOST * D], part[MOST * D];
    for (int i = 0; i < MOST * D; i++)
        x[i] = test_uniform();
    CHECK(ur_read(ur_transform(lm, ur_input(g, x, MOST, 1, D), NULL), whole, MOST * D));
    for (int n = 1; n < MOST; n++) {
        CHECK(ur_read(ur_transform(lm, ur_input(g, x, n, 1, D), NULL), part, (size_t)(n * D)));
        for (int i = 0; i < n * D; i++)
            CHECK_NEAR(part[i], whole[i], 1e-13);
    }
    /* one step at a time on the keys of all so far: the last queries of a longer memory */
    ur_multi_head h = lm.blocks[0].self;
    ur_node all = ur_input(g, x, MOST, 1, D), last = ur_slice(all, 0, MOST - 2, UR_END);
    ur_node y = ur_self_attention(h, all, NULL, .causal = true);
    ur_node z = ur_heads_attend(h, ur_heads_memory(h, all, NULL), last, .causal = true);
    CHECK(ur_read(y, whole, MOST * D) && ur_read(z, part, 2 * D));
    for (int i = 0; i < 2 * D; i++)
        CHECK_NEAR(part[i], whole[(MOST - 2) * D + i], 1e-14);
    ur_graph_free(g);
    ur_params_free(ps);
}

/* ------------------------------------------------------------------------------------ positions */

TEST(positions)
{
    ur_params *ps = ur_params_new(UR_F32, 5);
    ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
    ur_positions p = ur_positions_new(ps, "p", 6, 5);
    float y[2 * 3 * 5], z[2 * 3 * 5];
    ur_node x = ur_zeros(g, 2, 3, 5);
    CHECK(ur_read(ur_add_sinusoid(x, 7), y, 30) && ur_read(ur_add_positions(p, x, 4), z, 30));
    const float *P = ur_param_values(p.P);
    for (int i = 0; i < 30; i++) {
        const int t = i / 15, j = i % 5;
        const double angle = (7 + t) / pow(10000, 2 * (j / 2) / 5.0);
        CHECK_NEAR(y[i], j % 2 ? cos(angle) : sin(angle), 1e-7);
        CHECK_NEAR(z[i], P[(4 + t) * 5 + j], 0);
    }
    ur_graph_free(g);
    ur_params_free(ps);
}

/* --------------------------------------------------------------------------------------- errors */

TEST(errors_of_transformers)
{
    ur_params *ps = ur_params_new(UR_F64, 5);
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_transformer dec = ur_transformer_decoder_new(ps, "dec", D, 1, .heads = 2);
    ur_multi_head h = ur_multi_head_new(ps, "h", D, 2);
    ur_positions p = ur_positions_new(ps, "p", 6, D);
    ur_node x;
#define FAILS(call, text)                                                                          \
    do {                                                                                           \
        x = ur_zeros(g, 3, 2, D);                                                                  \
        CHECK(ur_is_nil(call));                                                                    \
        CHECK_HAS(ur_error(g), text);                                                              \
        ur_error_reset(g);                                                                         \
        ur_clear(g);                                                                               \
    } while (0)
    FAILS(ur_transform(dec, x, NULL), "block_apply: a decoder's block needs a memory");
    FAILS(ur_add_positions(p, x, 4), "positions: x is [3,2,4] from step 4 on, but there are "
                                     "positions [6,4]");
    FAILS(ur_add_sinusoid(x, -1), "from step -1 on, but a sequence is [T,B,D], from step 0 on");
    FAILS(ur_self_attention(h, ur_concat(x, x), NULL, .causal = true),
          "multi_head: ur_concat(x, x) is [3,2,8], but a sequence is [T,B,4]");
    FAILS(ur_heads_attend(h, ur_heads_memory(h, ur_slice(x, 1, 0, 1), NULL), x, .causal = false),
          "multi_head: x is [3,2,4], but the memory has 1 rows of 3 steps");
    FAILS(ur_heads_attend(h, (ur_memory){ .mask = UR_NIL }, x, .causal = false),
          "multi_head: x is [3,2,4], but the memory is nil");
    ur_multi_head bad = ur_multi_head_new(ps, "bad", D, 3);
    CHECK_STR(ur_error(ps), "multi_head bad: 4 features are not shared by 3 heads");
    FAILS(ur_self_attention(bad, x, NULL, .causal = true), "multi_head: the layer could not be "
                                                           "made");
    ur_error_reset(ps);
    ur_transformer none = ur_transformer_encoder_new(ps, "none", D, 0, .heads = 1);
    CHECK_STR(ur_error(ps), "transformer none: 0 layers, at least 1 is needed");
    FAILS(ur_transform(none, x, NULL), "transform: the stack could not be made");
#undef FAILS
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST_MAIN(T(equal_to_torch), T(gradients), T(masks_and_weights), T(padding_never_matters),
          T(causal_steps_do_not_look_ahead), T(positions), T(errors_of_transformers))
