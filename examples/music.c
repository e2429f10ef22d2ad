/* music.c: chords in, the next chord out. A recurrent network reads a piece frame by frame and says
 * of each of the 88 keys of a piano how likely it sounds next (N. Boulanger-Lewandowski, Y. Bengio,
 * P. Vincent, "Modeling temporal dependencies in high-dimensional sequences", ICML 2012).
 *
 *     x_0 = begin, x_t = frame t-1      h_t = cell(x_t, h_t-1)      p(key k in frame t) =
 *                                                                   sigmoid(h_t W + b)_k
 *
 * The loss is the negative log likelihood of a frame in nats, summed over its keys. Pieces have
 * different lengths: a batch has those of like length, and what lies beyond a piece's end takes no
 * part. In the end the network goes on from `begin` alone, each frame drawn from its own
 * prediction, and the piece is written as a MIDI file: one to many. */
#include "examples/kit/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Options -------------------------------------------------------------------------------- */

static const char *data, *cell = "lstm", *midi;
static int hidden = 192, batch = 8, frames = 96;
static double dropout = 0.5, temperature = 0.8;

static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FOLDER",
               "with JSB_Chorales.train.txt, .valid.txt and .test.txt: a frame a line, the MIDI "
               "notes that sound, . for silence, an empty line between pieces"),
    KIT_SAVED(KIT_FIXED, "cell", &cell, "elman|lstm|gru", "NAME", "kind of cell"),
    KIT_SAVED(KIT_FIXED, "hidden", &hidden, "[1,65536]", "N", "units of the cell"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "pieces that an update learns"),
    KIT_SAVED(KIT_KEPT, "dropout", &dropout, "[0,1)", "P", "share of outputs that become zero"),
    KIT_TRAINING,
    KIT_OPTION("midi", &midi, NULL, "FILE.mid", "writes a piece of the network's own there"),
    KIT_OPTION("frames", &frames, "[1,100000]", "N", "length of that piece"),
    KIT_OPTION("temperature", &temperature, "(0,inf)", "X",
               "divides its logits: below 1 the piece dares less"),
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data: pieces, and batches of them ------------------------------------------------------ */

enum { KEYS = 88, LOWEST = 21, BEGIN = KEYS, INPUTS = KEYS + 1 }; /* MIDI's 21 is the lowest A */

typedef struct {
    unsigned char (*frame)[KEYS];
    int length;
} piece;

typedef struct {
    piece *pieces;
    int n;
} pieces;

static void add_frame(pieces *all, const unsigned char frame[KEYS], bool first)
{
    if (first) {
        all->pieces = kit_grow(all->pieces, (size_t)all->n, sizeof *all->pieces);
        all->pieces[all->n++] = (piece){ 0 };
    }
    piece *p = &all->pieces[all->n - 1];
    p->frame = kit_grow(p->frame, (size_t)p->length, sizeof *p->frame);
    memcpy(p->frame[p->length++], frame, KEYS);
}

static void read_pieces(pieces *all, const char *name)
{
    char *text, *path = kit_path_in(data, name);
    size_t n;
    bool first = true;
    int number = 0;
    if (!kit_read_file(path, &text, &n))
        exit(2);
    for (char *rest = text, *line; (line = kit_next_line(&rest)) != NULL;) {
        unsigned char frame[KEYS] = { 0 };
        double note;
        bool any = false;
        number++;
        for (char *word = strtok(line, " \t"); word; word = strtok(NULL, " \t")) {
            any = true;
            if (strcmp(word, ".") == 0)
                continue;
            if (!kit_parse(word, &note) || note != floor(note) || note < LOWEST
                || note >= LOWEST + KEYS)
                kit_die("'%s' line %d: '%s' is no MIDI note from %d to %d", path, number, word,
                        LOWEST, LOWEST + KEYS - 1);
            frame[(int)note - LOWEST] = 1;
        }
        if (any)
            add_frame(all, frame, first);
        first = !any;
    }
    if (all->n == 0)
        kit_die("'%s' has no frames", path);
    free(text);
    free(path);
}

/* Without --data: cadences in four voices, in one key, of random length and repetition. */
static void make_pieces(pieces *all, int n, uint64_t seed)
{
    static const int chord[5][4] = { { 48, 64, 67, 72 }, { 53, 65, 69, 72 }, { 55, 62, 67, 71 },
                                     { 57, 64, 69, 72 }, { 50, 65, 69, 74 } };
    static const int follows[5][3] = { { 1, 2, 3 }, { 2, 4, 0 }, { 0, 0, 3 }, { 1, 4, 2 },
                                       { 2, 2, 0 } };
    for (int i = 0; i < n; i++) {
        int length = 12 + kit_below(&seed, 20), at = 0;
        for (int t = 0; t < length; t++) {
            unsigned char frame[KEYS] = { 0 };
            for (int v = 0; v < 4; v++)
                frame[chord[at][v] - LOWEST] = 1;
            add_frame(all, frame, t == 0);
            at = t % 2 ? follows[at][kit_below(&seed, 3)] : at;
        }
    }
}

static int by_length(const void *a, const void *b)
{
    return ((const piece *)a)->length - ((const piece *)b)->length;
}

/* Pieces of like length side by side: batch k of them, [T, B, ...], zeros beyond the ends. */
typedef struct {
    int B, T, frames, *lengths;
    int32_t *x, *y;                     /* [T,B,INPUTS], [T,B,KEYS]; 0 or 1 */
} notes;

static notes make_batch(const pieces *all, int k)
{
    notes b = { .B = all->n - k * batch < batch ? all->n - k * batch : batch };
    const piece *p = all->pieces + k * batch;
    b.T = p[b.B - 1].length; /* the longest */
    size_t rows = (size_t)b.T * (size_t)b.B;
    b.lengths = kit_zeros((size_t)b.B, sizeof *b.lengths);
    b.x = kit_zeros(rows * INPUTS, sizeof *b.x);
    b.y = kit_zeros(rows * KEYS, sizeof *b.y);
    for (int i = 0; i < b.B; i++) {
        b.lengths[i] = p[i].length;
        b.frames += p[i].length;
        b.x[i * INPUTS + BEGIN] = 1;
        for (int t = 0; t < p[i].length; t++) {
            for (int key = 0; key < KEYS; key++) {
                b.y[(t * b.B + i) * KEYS + key] = p[i].frame[t][key];
                if (t + 1 < p[i].length)
                    b.x[((t + 1) * b.B + i) * INPUTS + key] = p[i].frame[t][key];
            }
        }
    }
    return b;
}

/* One of the three files, cut into batches. */
typedef struct {
    notes *batches;
    int n, frames;
} part;

static part cut(pieces *all)
{
    part p = { .n = (all->n + batch - 1) / batch };
    p.batches = kit_zeros((size_t)p.n, sizeof *p.batches);
    qsort(all->pieces, (size_t)all->n, sizeof *all->pieces, by_length);
    for (int k = 0; k < p.n; k++) {
        p.batches[k] = make_batch(all, k);
        p.frames += p.batches[k].frames;
    }
    for (int i = 0; i < all->n; i++)
        free(all->pieces[i].frame);
    free(all->pieces);
    return p;
}

static part part_of(const char *name, int synthetic, uint64_t seed)
{
    pieces all = { 0 };
    if (data)
        read_pieces(&all, name);
    else
        make_pieces(&all, synthetic, seed);
    return cut(&all);
}

static void part_free(part *p)
{
    for (int k = 0; k < p->n; k++) {
        notes *b = &p->batches[k];
        free(b->lengths), free(b->x), free(b->y);
    }
    free(p->batches);
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    kit_run run;
    ur_cell *rnn;
    ur_linear_layer out;
    part train, valid, test;
} model;

static void build(model *m, ur_params *ps)
{
    m->rnn = kit_cell(ps, cell, cell, INPUTS, hidden);
    m->out = ur_linear_new(ps, "out", hidden, KEYS);
    kit_need(ps);
}

static ur_node logits(const model *m, ur_node x, const int lengths[], ur_node s[])
{
    ur_node h = ur_unroll_lengths(m->rnn, x, lengths, s);
    return ur_linear(m->out, ur_dropout(h, dropout));
}

/* The loss of all frames of a batch, in nats. */
static ur_node total(const model *m, ur_graph *g, const notes *b)
{
    ur_node x = ur_cast(ur_ints(g, b->x, b->T, b->B, INPUTS));
    ur_node y = ur_cast(ur_ints(g, b->y, b->T, b->B, KEYS));
    ur_node each = ur_binary_cross_entropy_each(logits(m, x, b->lengths, NULL), y);
    return ur_sum(ur_within(each, b->lengths));
}

/* ---- Training and measuring ----------------------------------------------------------------- */

static double update(void *ctx, int64_t position)
{
    model *m = ctx;
    const notes *b = &m->train.batches[kit_run_order(&m->run, m->train.n)[position]];
    ur_clear(m->run.graph);
    return kit_run_learn(&m->run, ur_scale(total(m, m->run.graph, b), 1.0 / b->frames));
}

/* Nats a frame. False at Ctrl-C. */
static bool measure(model *m, const part *p, double *mean)
{
    ur_graph *g = m->run.scoring;
    double sum = 0;
    for (int k = 0; k < p->n; k++) {
        if (kit_interrupted)
            return false;
        ur_clear(g);
        sum += kit_value(g, total(m, g, &p->batches[k]));
    }
    *mean = sum / p->frames;
    return true;
}

static bool validate(void *ctx, double *mean)
{
    model *m = ctx;
    return measure(m, &m->valid, mean);
}

/* ---- A piece of its own --------------------------------------------------------------------- */

/* A loop of its own over the cell: each key of a frame sounds with the probability that the step
 * gave it, and the frame is the input of the next step. */
static void compose(const model *m)
{
    enum { MIDI_KEYS = 128 };
    unsigned char *piece = kit_zeros((size_t)frames * MIDI_KEYS, 1);
    int32_t *sounds = kit_zeros((size_t)frames * KEYS, sizeof *sounds);
    ur_node *drawn = kit_zeros((size_t)frames, sizeof *drawn), s[2];
    ur_graph *g = kit_run_graph(UR_INFER);
    ur_cell_zero_states(g, m->rnn, 1, s);
    ur_node x = ur_one_hot(ur_ints(g, &(int32_t){ BEGIN }, 1), INPUTS);
    for (int t = 0; t < frames; t++) {
        ur_node z = ur_linear(m->out, ur_cell_apply(m->rnn, t, x, s));
        ur_node off_on[] = { ur_zeros(g, 1, KEYS), ur_scale(z, 1 / temperature) };
        drawn[t] = ur_sample(ur_stack_n(off_on, 2, 2), 1, 0, 1);
        x = ur_concat(ur_cast(drawn[t]), ur_zeros(g, 1, 1));
    }
    if (!ur_read(ur_stack(drawn, frames), sounds, (size_t)frames * KEYS))
        kit_need(g);
    for (int t = 0; t < frames; t++)
        for (int key = 0; key < KEYS; key++)
            piece[t * MIDI_KEYS + LOWEST + key] = (unsigned char)sounds[t * KEYS + key];
    if (!kit_midi(midi, piece, (size_t)frames, 90))
        exit(2);
    ur_graph_free(g);
    free(drawn);
    free(sounds);
    free(piece);
}

/* ---- The program ---------------------------------------------------------------------------- */

static bool train(model *m)
{
    ur_params *ps = kit_run_params();
    build(m, ps);
    m->run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = m,
                        .per_epoch = m->train.n, .items = m->train.frames / m->train.n,
                        .unit = "frames" };
    kit_run_open(&m->run);
    kit_pairs_set(&m->run.facts, "data", "%d %d frames", m->train.frames, m->valid.frames);
    bool done = kit_run_train(&m->run);
    kit_run_plot("Nats a frame", (const kit_run *[]){ &m->run }, 1);
    return done;
}

int main(int argc, char **argv)
{
    static model m;
    char text[2][64];
    double valid, test;
    kit_settings.epochs = 60, kit_settings.lr = 5e-3;
    kit_args(&(kit_usage){
        "Learns pieces of music frame by frame, and writes one of its own.",
        "music --data jsb --midi chorale.mid --plot music.svg\n"
        "music --data jsb --cell gru --lr 2e-3",
        NULL, options, OPTIONS }, argc, argv);
    kit_run_prepare("music 1", options, OPTIONS, NULL, NULL, 1);
    if (!kit_check_writable(midi))
        return 2;
    kit_catch_interrupt();
    kit_say_made_up(data, "cadences in four voices");
    m.train = part_of("JSB_Chorales.train.txt", 64, kit_settings.seed);
    m.valid = part_of("JSB_Chorales.valid.txt", 16, kit_settings.seed + 1000);
    m.test = part_of("JSB_Chorales.test.txt", 16, kit_settings.seed + 2000);
    if (train(&m) && measure(&m, &m.valid, &valid) && measure(&m, &m.test, &test)) {
        printf("nats a frame: validation %s, test %s\n", kit_number(text[0], "%.3f", valid),
               kit_number(text[1], "%.3f", test));
        if (midi)
            compose(&m);
    }
    kit_run_close(&m.run);
    part_free(&m.train), part_free(&m.valid), part_free(&m.test);
    return kit_finish();
}
