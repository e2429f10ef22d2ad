/* The five shapes of models, each learning a task of its shape: one to one, one to many, many to
 * one, many to many of equal and of different lengths; and without memory at any moment. */
#include "tests/test.h"
#include "tests/counting.h"
#include "unroll/unroll.h"

enum { B = 16, T = 4, V = 4, E = 6, H = 16, END = 0 };

/* Everything that one of the models may need, and a batch. */
typedef struct task {
    ur_params *ps;
    ur_embedding in;
    ur_cell *rnn, *back;
    ur_linear_layer out;
    ur_attention look;
    ur_bridge bridge;
    ur_decoder decoder;
    ur_transformer blocks;
    int lengths[B];
    int32_t x[T][B], y[T + 1][B], fed[T + 1][B];
} task;

/* Symbols 1 .. V - 1 in rows of 1 .. T steps. */
static void draw(task *p)
{
    for (int b = 0; b < B; b++) {
        p->lengths[b] = 1 + (int)(test_uniform() * T);
        for (int t = 0; t < T; t++)
            p->x[t][b] = 1 + (int32_t)(test_uniform() * (V - 1));
    }
}

static ur_node embedded(task *p, ur_graph *g)
{
    return ur_embed(p->in, ur_ints(g, p->x[0], T, B));
}

/* The labels and what a decoder is fed: y after END, and END after y. */
static ur_node labels(task *p, ur_graph *g, int steps)
{
    for (int b = 0; b < B; b++)
        for (int t = 0; t < steps; t++)
            p->fed[t][b] = t ? (p->y[t - 1][b] < 0 ? END : p->y[t - 1][b]) : END;
    return ur_ints(g, p->y[0], steps, B);
}

/* One to one: the next symbol of a cycle. */
static ur_node one_to_one(task *p, ur_graph *g)
{
    ur_node s[1];
    for (int b = 0; b < B; b++)
        p->y[0][b] = (p->x[0][b] + 1) % V;
    ur_cell_zero_states(g, p->rnn, B, s);
    ur_node h = ur_cell_apply(p->rnn, -1, ur_embed(p->in, ur_ints(g, p->x[0], B)), s);
    return ur_cross_entropy(ur_linear(p->out, h), ur_ints(g, p->y[0], B));
}

/* One to many: count down from the symbol that is the first state, to the end. */
static ur_node one_to_many(task *p, ur_graph *g)
{
    ur_node s[1], x = ur_embed(p->in, ur_ints(g, p->x[0], B));
    for (int b = 0; b < B; b++)
        for (int t = 0; t < T; t++)
            p->y[t][b] = p->x[0][b] - t >= 0 ? p->x[0][b] - t : UR_IGNORE;
    ur_node y = labels(p, g, T);
    ur_bridge_states(p->bridge, &x, s);
    return ur_cross_entropy(ur_teach(p->decoder, ur_ints(g, p->fed[0], T, B), NULL, s,
                                     .ratio = 0.8), y);
}

/* Many to one: the largest symbol of a row. */
static ur_node many_to_one(task *p, ur_graph *g)
{
    for (int b = 0; b < B; b++)
        for (int t = p->y[0][b] = 0; t < p->lengths[b]; t++)
            p->y[0][b] = p->x[t][b] > p->y[0][b] ? p->x[t][b] : p->y[0][b];
    ur_node h = ur_unroll_lengths(p->rnn, embedded(p, g), p->lengths, NULL);
    return ur_cross_entropy(ur_linear(p->out, ur_pool_max(h, p->lengths)),
                            ur_ints(g, p->y[0], B));
}

/* Many to many: whether this symbol comes again, for which one must read ahead. */
static ur_node come_again(task *p, ur_graph *g)
{
    for (int b = 0; b < B; b++)
        for (int t = 0; t < T; t++) {
            p->y[t][b] = t < p->lengths[b] ? 0 : UR_IGNORE;
            for (int u = t + 1; u < p->lengths[b]; u++)
                p->y[t][b] |= p->x[u][b] == p->x[t][b];
        }
    return ur_ints(g, p->y[0], T, B);
}

static ur_node as_many(task *p, ur_graph *g)
{
    ur_node h = ur_bidirectional(p->rnn, p->back, embedded(p, g), p->lengths, UR_MERGE_SUM, NULL);
    return ur_cross_entropy(ur_linear(p->out, h), come_again(p, g));
}

/* The same by attention of the sequence to itself. */
static ur_node as_many_by_attention(task *p, ur_graph *g)
{
    ur_node h = ur_transform(p->blocks, ur_add_sinusoid(embedded(p, g), 0), p->lengths);
    return ur_cross_entropy(ur_linear(p->decoder.out, h), come_again(p, g));
}

/* Many to many of another length: the row without its first symbol, and the end. */
static ur_node many_to_other(task *p, ur_graph *g)
{
    int steps[B];
    for (int b = 0; b < B; b++) {
        steps[b] = p->lengths[b];
        for (int t = 0; t < T; t++)
            p->y[t][b] = t < steps[b] - 1 ? p->x[t + 1][b] : t == steps[b] - 1 ? END : UR_IGNORE;
    }
    ur_node s[1], y = labels(p, g, T);
    ur_cell_zero_states(g, p->rnn, B, s);
    ur_node h = ur_unroll_lengths(p->rnn, embedded(p, g), p->lengths, s);
    ur_decoder on = ur_decoder_on(p->decoder, ur_memory_new(p->look, h, p->lengths), NULL);
    return ur_cross_entropy(ur_teach(on, ur_ints(g, p->fed[0], T, B), steps, s, .ratio = 1), y);
}

typedef struct shape {
    ur_node (*loss_of)(task *p, ur_graph *g);
    enum { PLAIN, ATTENDS, BLOCKS } kind;
} shape;

static void begin(task *p, int kind)
{
    const bool attends = kind == ATTENDS;
    *p = (task){ .ps = ur_params_new(UR_F32, 1) };
    ur_params *ps = p->ps;
    if (kind == BLOCKS) {
        p->in = ur_embedding_new(ps, "in", V, E);
        p->blocks = ur_transformer_encoder_new(ps, "blocks", E, 2, .heads = 2);
        p->decoder.out = ur_linear_new(ps, "out", E, V);
        return;
    }
    p->in = ur_embedding_new(ps, "in", V, E);
    p->rnn = ur_gru(ps, "rnn", E, H);
    p->back = ur_gru(ps, "back", E, H);
    p->out = ur_linear_new(ps, "out", H, V);
    p->look = ur_attention_new(ps, "look", UR_SCORE_GENERAL, H, H, 0);
    ur_cell *d = ur_gru(ps, "d", attends ? E + H : E, H);
    p->bridge = ur_bridge_new(ps, "bridge", 1, (int[]){ E }, d);
    p->decoder = (ur_decoder){ ur_embedding_new(ps, "to", V, E),
                               attends ? ur_attention_cell(d, p->look) : d,
                               ur_linear_new(ps, "next", attends ? 2 * H : H, V) };
}

static void learns(shape shape, int steps)
{
    static task p;
    begin(&p, shape.kind);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_optim *opt = ur_optim_new(p.ps, ur_adam(2e-2));
    double first = 0, last = 0;
    for (int step = 0; step < steps; step++) {
        ur_clear(g);
        draw(&p);
        ur_node loss = ur_backward(shape.loss_of(&p, g));
        if (!CHECK(ur_run(g)) || !CHECK(ur_step(opt)))
            break;
        first += step < 5 ? ur_value(loss) / 5 : 0;
        last += step >= steps - 5 ? ur_value(loss) / 5 : 0;
    }
    CHECK_STR(ur_error(g), NULL);
    CHECK_STR(ur_error(p.ps), NULL);
    if (!CHECK(last < first / 5))
        printf("  the loss was %g and became %g\n", first, last);
    ur_optim_free(opt);
    ur_graph_free(g);
    ur_params_free(p.ps);
}

static const shape shapes[] = {
    { one_to_one, PLAIN }, { one_to_many, PLAIN }, { many_to_one, PLAIN }, { as_many, PLAIN },
    { as_many_by_attention, BLOCKS }, { many_to_other, ATTENDS },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

TEST(one_to_one) { learns(shapes[0], 60); }
TEST(one_to_many) { learns(shapes[1], 100); }
TEST(many_to_one) { learns(shapes[2], 100); }
TEST(as_many) { learns(shapes[3], 150); }
TEST(as_many_by_attention) { learns(shapes[4], 500); }
TEST(many_to_other) { learns(shapes[5], 200); }

/* No memory at whatever moment: an error, no crash, nothing left behind. */
TEST(without_memory)
{
    static task p;
    for (int k = 0; k < SHAPES; k++)
        for (long call = 1, failed = 1; failed; call += call < 40 ? 1 : 11) {
            counting_begin(call);
            begin(&p, shapes[k].kind);
            ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
            draw(&p);
            if (g)
                ur_backward(shapes[k].loss_of(&p, g));
            bool ok = ur_run(g);
            failed = counting.failed;
            CHECK(ok || failed);
            ur_graph_free(g);
            ur_params_free(p.ps);
            CHECK_INT(counting.blocks, 0);
            counting_end();
        }
}

TEST_MAIN(T(one_to_one), T(one_to_many), T(many_to_one), T(as_many), T(as_many_by_attention),
          T(many_to_other), T(without_memory))
