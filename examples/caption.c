/* caption.c: pictures that the program draws, shapes of some colour and size in noise, and networks
 * of three shapes that look at them.
 *
 *     caption    one to many     a picture to a sentence that describes it, word by word; the
 *                                decoder looks at one place or another (Xu et al. 2015)
 *     shape      one to one      a picture to what is in it
 *     motion     many to one     frames of a moving shape to how it moves
 *
 * A picture has 3 x 3 places. The same two layers look at each (a convolution in steps as wide as
 * its window), another one puts together what they saw:
 *
 *     p_k = relu(relu(place_k U + a) V + b)    f = relu([p_1 .. p_9] W + c)
 *
 * The decoder starts from f and attends to p_k + q_k, where q_k is learnt and says which place it
 * is, by additive scores (Bahdanau et al. 2015):
 *
 *     score_k = v . tanh(h A + (p_k + q_k) B + d)
 *
 * No picture comes twice: positions, sizes, colours and backgrounds are continuous, and noise is
 * added. Figures are those of pictures that were not learned. */
#include "examples/kit/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *task = "caption";
static int hidden = 128, features = 128, batch = 32, things = 2, tested = 1000;
static double noise = 0.05;

static kit_option options[] = {
    KIT_SAVED(KIT_MODEL, "task", &task, "caption|shape|motion", "NAME", "what to learn"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of the recurrent cell"),
    KIT_SAVED(KIT_MODEL, "features", &features, "[1,65536]", "N", "numbers a picture becomes"),
    KIT_SAVED(KIT_FIXED, "things", &things, "[1,3]", "N", "in a picture to describe, at most"),
    KIT_SAVED(KIT_FIXED, "noise", &noise, "[0,10]", "X", "its standard deviation"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,4096]", "N", "pictures of an update"),
    KIT_OPTION("tested", &tested, "[1,1000000]", "N", "pictures to test with in the end"),
    KIT_TRAINING,
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data ----------------------------------------------------------------------------------- */

enum { PLACES = 9, WIDE = 12, SIDE = 3 * WIDE, PLACE = 3 * WIDE * WIDE, PICTURE = PLACES * PLACE,
       FRAMES = 8, THINGS = 3, UPDATES = 200, VALIDATED = 128 };

/* The words of a description; ids of a kind follow each other. */
static const char *const word[] = {
    "<end>", "a", "and", "at", "small", "big", "red", "green", "blue", "yellow",
    "circle", "square", "triangle", "cross", "top", "middle", "bottom", "left", "centre", "right",
};
enum { END, A, AND, AT, SIZE, COLOUR = SIZE + 2, SHAPE = COLOUR + 4, ROW = SHAPE + 4,
       COLUMN = ROW + 3, WORDS = COLUMN + 3, SHAPES = 4, STEPS = 8 * THINGS };

static const char *const motion[] = { "left", "right", "up", "down", "grows", "shrinks",
                                      "clockwise", "anticlockwise" };
enum { MOTIONS = sizeof motion / sizeof *motion };

static double between(uint64_t *random, double lo, double hi)
{
    return lo + (hi - lo) * kit_uniform(random);
}

/* Whether a point is inside of a shape around the origin, of radius 1. */
static bool inside(int shape, double x, double y)
{
    double across = fabs(x), up = fabs(y);
    return shape == 0 ? x * x + y * y <= 1
           : shape == 1 ? across <= 0.85 && up <= 0.85
           : shape == 2 ? y <= 0.8 && across <= 0.55 * (y + 1)
                        : across <= 1 && up <= 1 && (across <= 0.3 || up <= 0.3);
}

/* Paints a shape: the share of a pixel that it covers is that of 3 x 3 points. */
static void paint(double *picture, int shape, const double rgb[3], double cx, double cy, double r)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int place = y / WIDE * 3 + x / WIDE, covered = 0;
            double *pixel = picture + place * PLACE + (y % WIDE * WIDE + x % WIDE) * 3;
            if (fabs(x + 0.5 - cx) > r + 1 || fabs(y + 0.5 - cy) > r + 1)
                continue;
            for (int k = 0; k < 9; k++)
                covered += inside(shape, (x + (k % 3 + 0.5) / 3 - cx) / r,
                                  (y + (k / 3 + 0.5) / 3 - cy) / r);
            for (int c = 0; c < 3; c++)
                pixel[c] += covered / 9.0 * (rgb[c] - pixel[c]);
        }
}

static void clean(double *picture, uint64_t *random)
{
    double grey = between(random, 0, 0.3);
    for (int i = 0; i < PICTURE; i++)
        picture[i] = grey;
}

/* Adds noise, and brings values to a mean near 0 and a variance near 1. */
static void develop(double *picture, uint64_t *random)
{
    for (int i = 0; i < PICTURE; i++)
        picture[i] = 4 * (picture[i] + noise * kit_normal(random) - 0.3);
}

static void mix(double rgb[3], int colour, uint64_t *random)
{
    static const double pure[4][3] = { { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 }, { 1, 1, 0 } };
    for (int c = 0; c < 3; c++)
        rgb[c] = fabs(pure[colour][c] - between(random, 0, 0.25));
}

/* A picture of `n` things in different places, and its description from the top left on. */
static void draw_still(double *picture, int n, int32_t description[], uint64_t *random)
{
    int at[PLACES] = { 0 }, used = 0;
    for (int k = 0, p; k < n; k += at[p = kit_below(random, PLACES)] == 0, at[p] = 1)
        ;
    clean(picture, random);
    for (int p = 0; p < PLACES; p++) {
        int size = kit_below(random, 2), colour = kit_below(random, 4);
        int shape = kit_below(random, SHAPES);
        double rgb[3], r = size == 0 ? between(random, 2.8, 3.3) : between(random, 4.4, 5);
        if (at[p] == 0)
            continue;
        mix(rgb, colour, random);
        paint(picture, shape, rgb, (p % 3 + 0.5) * WIDE + between(random, -1, 1),
              (p / 3 + 0.5) * WIDE + between(random, -1, 1), r);
        const int32_t says[] = { AND, A, SIZE + size, COLOUR + colour, SHAPE + shape, AT,
                                 ROW + p / 3, COLUMN + p % 3 };
        for (int k = used == 0; k < 8; k++)
            description[used++] = says[k];
    }
    description[used++] = END;
    while (used < STEPS)
        description[used++] = UR_IGNORE;
    develop(picture, random);
}

/* Frames `stride` numbers apart of a thing that moves in some way. Returns which. */
static int draw_moving(double *frames, size_t stride, uint64_t *random)
{
    static const int dx[MOTIONS] = { -1, 1 }, dy[MOTIONS] = { 0, 0, -1, 1 };
    int how = kit_below(random, MOTIONS), shape = kit_below(random, SHAPES);
    double rgb[3], x = between(random, 15, 21), y = between(random, 15, 21), speed = 1.5;
    double r = between(random, 3.5, 5), angle = between(random, 0, 6.3);
    mix(rgb, kit_below(random, 4), random);
    for (int t = 0; t < FRAMES; t++) {
        double past = speed * (t - (FRAMES - 1) / 2.0), turn = angle + (how == 6 ? t : -t) * 0.6;
        double round = how >= 6 ? 4 : 0, more = how == 4 ? 0.3 : how == 5 ? -0.3 : 0;
        double *frame = frames + (size_t)t * stride;
        clean(frame, random);
        paint(frame, shape, rgb, x + dx[how] * past + round * cos(turn),
              y + dy[how] * past + round * sin(turn), r + more * past);
        develop(frame, random);
    }
    return how;
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    ur_linear_layer place[2], whole, out;
    ur_cell *rnn;
    ur_positions positions;
    ur_attention attention;
    ur_decoder decoder;
    ur_bridge bridge;
    kit_run run;
    int32_t *answer, *fed;                  /* of a batch: words or a class; words told */
} model;

static bool describing(void)
{
    return strcmp(task, "caption") == 0;
}

static int frames(void)
{
    return strcmp(task, "motion") == 0 ? FRAMES : 1;
}

static void build(model *m, ur_params *ps)
{
    m->place[0] = ur_linear_with(ps, "place", PLACE, features, ur_he(), ur_constant(0));
    m->place[1] = ur_linear_with(ps, "place2", features, features, ur_he(), ur_constant(0));
    m->whole = ur_linear_with(ps, "whole", PLACES * features, features, ur_he(), ur_constant(0));
    if (describing()) {
        m->positions = ur_positions_new(ps, "positions", PLACES, features);
        m->attention = ur_attention_new(ps, "look", UR_SCORE_ADDITIVE, hidden, features, hidden);
        m->rnn = ur_gru(ps, "words", 2 * features, hidden);
        m->decoder.embed = ur_embedding_new(ps, "word", WORDS, features);
        m->decoder.cell = ur_attention_cell(m->rnn, m->attention);
        m->decoder.out = ur_linear_new(ps, "out", hidden + features, WORDS);
        m->bridge = ur_bridge_new(ps, "bridge", 1, (int[]){ features }, m->rnn);
    } else if (frames() > 1) {
        m->rnn = ur_gru(ps, "frames", features, hidden);
        m->out = ur_linear_new(ps, "out", hidden, MOTIONS);
    } else {
        m->out = ur_linear_new(ps, "out", features, SHAPES);
    }
    kit_need(ps);
    m->answer = kit_zeros((size_t)batch * STEPS, sizeof *m->answer);
    m->fed = kit_zeros((size_t)batch * STEPS, sizeof *m->fed);
}

/* Draws a batch of pictures, or of films, [frames, B, ...], and its answers, [STEPS, B] or [B]. */
static ur_node draw(model *m, ur_graph *g, uint64_t *random)
{
    size_t n = (size_t)frames() * (size_t)batch * PICTURE;
    double *picture = ur_graph_alloc(g, n * sizeof *picture);
    int32_t says[STEPS];
    kit_need(g);
    for (int b = 0; b < batch; b++) {
        double *here = picture + b * PICTURE;
        if (frames() > 1) {
            m->answer[b] = draw_moving(here, (size_t)batch * PICTURE, random);
            continue;
        }
        draw_still(here, describing() ? 1 + kit_below(random, things) : 1, says, random);
        m->answer[b] = says[3] - SHAPE;
        for (int t = 0; t < STEPS && describing(); t++) {
            m->answer[t * batch + b] = says[t];
            m->fed[t * batch + b] = t == 0 || says[t - 1] < 0 ? END : says[t - 1];
        }
    }
    return ur_input(g, kit_numbers(g, picture, n), frames(), batch, PLACES, PLACE);
}

/* Draws a batch and records it: logits [STEPS, B, words] or [B, classes]. A decoder reads the true
 * words as it learns, and its own ones afterwards. */
static ur_node record(model *m, ur_graph *g, bool told, uint64_t *random, ur_node *loss)
{
    ur_node s[1], logits, labels;
    ur_clear(g);
    ur_node p = ur_relu(ur_linear(m->place[0], draw(m, g, random)));
    p = ur_relu(ur_linear(m->place[1], p));                 /* [frames, B, places, features] */
    ur_node all = ur_reshape(p, frames(), batch, PLACES * features);
    ur_node f = ur_relu(ur_linear(m->whole, all)), first = ur_index(f, 0, 0);
    if (describing()) {
        p = ur_add_positions(m->positions, ur_swap_axes(ur_index(p, 0, 0), 0, 1), 0);
        ur_decoder d = ur_decoder_on(m->decoder, ur_memory_new(m->attention, p, NULL), NULL);
        ur_bridge_states(m->bridge, &first, s);
        logits = ur_teach(d, ur_ints(g, m->fed, STEPS, batch), NULL, s, .ratio = told ? 1 : 0);
        labels = ur_ints(g, m->answer, STEPS, batch);
    } else {
        logits = ur_linear(m->out, frames() > 1 ? ur_pool_last(ur_unroll(m->rnn, f, NULL), NULL)
                                                : first);
        labels = ur_ints(g, m->answer, batch);
    }
    *loss = ur_cross_entropy(logits, labels);
    return logits;
}

/* ---- Training ------------------------------------------------------------------------------- */

/* Learns a batch, drawn by the number of the update; see kit_run. */
static double update(void *ctx, int64_t position)
{
    model *m = ctx;
    ur_node loss;
    uint64_t random = kit_settings.seed;
    (void)position;
    random = kit_random(&random) + (uint64_t)m->run.done;
    record(m, m->run.graph, true, &random, &loss);
    return kit_run_learn(&m->run, loss);
}

/* The mean loss of pictures that are not learned. */
static bool validate(void *ctx, double *mean)
{
    model *m = ctx;
    uint64_t random = ~kit_settings.seed;
    double total = 0;
    int batches = (VALIDATED + batch - 1) / batch;
    for (int k = 0; k < batches && !kit_interrupted; k++) {
        ur_node loss;
        record(m, m->run.scoring, true, &random, &loss);
        total += kit_value(m->run.scoring, loss);
    }
    *mean = total / batches;
    return !kit_interrupted;
}

/* ---- The program ---------------------------------------------------------------------------- */

/* Row b of a batch of answers in words. */
static void say(const char *who, const int32_t answer[], int b)
{
    printf("%-6s", who);
    if (!describing())
        printf(" %s", frames() > 1 ? motion[answer[b]] : word[SHAPE + answer[b]]);
    for (int t = 0; describing() && t < STEPS && answer[t * batch + b] != END; t++)
        printf(" %s", word[answer[t * batch + b]]);
    printf("\n");
}

/* Whether two answers are the same up to their end. */
static bool same(const int32_t a[], const int32_t y[], int b)
{
    for (int t = 0; t < (describing() ? STEPS : 1); t++) {
        if (a[t * batch + b] != y[t * batch + b])
            return false;
        if (describing() && a[t * batch + b] == END)
            return true;
    }
    return true;
}

static void report(model *m)
{
    ur_graph *g = m->run.scoring;
    size_t n = (size_t)batch * (describing() ? STEPS : 1);
    int32_t *answer = kit_zeros(n, sizeof *answer);
    uint64_t random = ~kit_settings.seed + 1;
    int right = 0;
    char share[64];
    for (int k = 0; k < tested && !kit_interrupted; k++) {
        int b = k % batch;
        if (b == 0) {
            ur_node loss, best = ur_argmax(record(m, g, false, &random, &loss), -1);
            if (!ur_read(best, answer, n))
                kit_need(g);
        }
        right += same(m->answer, answer, b);
        if (k < 3 || (k < batch && !same(m->answer, answer, b)))
            say("drawn", m->answer, b), say("seen", answer, b);
    }
    kit_number(share, "%.2f", 100.0 * right / tested);
    printf("%d of %d answers right, %s%%\n", right, tested, share);
    free(answer);
}

int main(int argc, char **argv)
{
    static model m;
    kit_settings.epochs = 20;
    kit_args(&(kit_usage){
        "Learns to describe pictures in words, to name a shape, or to tell how it moves.",
        "caption --save caption.safetensors --plot caption.svg\n"
        "caption --task shape --epochs 10\n"
        "caption --task motion --epochs 5",
        NULL, options, OPTIONS }, argc, argv);
    kit_catch_interrupt();
    kit_run_prepare("caption 1", options, OPTIONS, NULL, NULL, 1);
    printf("caption: synthetic pictures, from seed %" PRIu64 "\n", kit_settings.seed);
    ur_params *ps = kit_run_params();
    build(&m, ps);
    m.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &m,
                       .per_epoch = UPDATES, .items = batch, .unit = "pictures" };
    kit_run_open(&m.run);
    kit_run_cosine(m.run.optim, UPDATES, 0.01);
    if (kit_run_train(&m.run))
        report(&m);
    kit_run_plot(task, (const kit_run *[]){ &m.run }, 1);
    kit_run_close(&m.run);
    free(m.answer), free(m.fed);
    return kit_finish();
}
