/* speech.c: from sound to letters that nobody has marked in it, by connectionist temporal
 * classification (Graves et al. 2006). The program speaks an alphabet of its own: a letter is a
 * chord of two tones, an utterance a string of them with short pauses. Lengths, loudness, pitch and
 * pauses vary, and there is noise. What is given to learn from is the sound and its letters, not
 * where they are.
 *
 *     e_tk = ln energy of frame t near frequency k          Goertzel 1958
 *     h = both directions of a recurrent cell over e        y_t = softmax(h_t V + b)
 *     p(letters) = sum over all paths that merge to them of prod_t y_t[path_t]
 *
 * A path says a letter or nothing (the blank) in every frame. Each utterance is heard once and
 * never again; figures are those of utterances that were not learned. */
#include "examples/kit/run.h"
#include "examples/kit/score.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *cell = "gru";
static int hidden = 48, batch = 16, letters = 8, beam = 8, tested = 500;
static double noise = 0.5;

static kit_option options[] = {
    KIT_SAVED(KIT_MODEL, "cell", &cell, "elman|lstm|gru", "NAME", "kind of cell"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of each direction"),
    KIT_SAVED(KIT_FIXED, "letters", &letters, "[1,16]", "N", "that an utterance has at most"),
    KIT_SAVED(KIT_FIXED, "noise", &noise, "[0,100]", "X",
              "its standard deviation; tones have amplitudes from 0.5 to 1"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,4096]", "N", "utterances of an update"),
    KIT_OPTION("tested", &tested, "[1,1000000]", "N", "utterances to test with in the end"),
    KIT_OPTION("beam", &beam, "[1,1000]", "N", "prefixes that beam search goes on with"),
    KIT_TRAINING,
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data ----------------------------------------------------------------------------------- */

enum { RATE = 8000, HOP = 80, WINDOW = 160, BANDS = 24, ALPHABET = 16, BLANK = ALPHABET,
       MOST_LETTERS = 16, MOST_FRAMES = 350, UPDATES = 100, VALIDATED = 64 };

typedef struct {
    int n, label[MOST_LETTERS];
    int frames;
    double band[MOST_FRAMES][BANDS];
} utterance;

static const double low[] = { 400, 470, 550, 650 }, high[] = { 900, 1060, 1250, 1470 };

static double between(uint64_t *random, double lo, double hi)
{
    return lo + (hi - lo) * kit_uniform(random);
}

/* Adds a letter's chord to sound, n samples long. */
static void sing(double *sound, int n, int letter, uint64_t *random)
{
    const double pi = acos(-1), chord[] = { low[letter / 4], high[letter % 4] };
    for (int k = 0; k < 2; k++) {
        double loud = between(random, 0.5, 1), phase = between(random, 0, 2 * pi);
        double step = 2 * pi * chord[k] * between(random, 0.97, 1.03) / RATE;
        for (int i = 0; i < n; i++) {
            int edge = i < n - i ? i : n - i; /* swells and fades within 10 ms */
            sound[i] += loud * (edge < RATE / 100 ? edge / (RATE / 100.0) : 1) *
                        sin(phase + step * i);
        }
    }
}

/* Speaks some letters; returns the number of samples. */
static int speak(double *sound, utterance *u, uint64_t *random)
{
    int at = (int)between(random, 0, 0.05 * RATE);
    u->n = 1 + kit_below(random, letters);
    for (int k = 0; k < u->n; k++) {
        int n = (int)between(random, 0.05 * RATE, 0.12 * RATE);
        u->label[k] = kit_below(random, ALPHABET);
        sing(sound + at, n, u->label[k], random);
        at += n + (int)between(random, 0.02 * RATE, 0.06 * RATE);
    }
    return at + WINDOW;
}

/* The logarithm of a frame's energy near each of the frequencies, from 300 to 1800 Hz. */
static void listen(const double frame[WINDOW], double band[BANDS])
{
    const double pi = acos(-1);
    static double hann[WINDOW];
    for (int i = 0; i < WINDOW && hann[WINDOW / 2] == 0; i++)
        hann[i] = 0.5 - 0.5 * cos(2 * pi * i / WINDOW);
    for (int k = 0; k < BANDS; k++) {
        double c = 2 * cos(2 * pi * 300 * pow(6, k / (BANDS - 1.0)) / RATE), s1 = 0, s2 = 0;
        for (int i = 0; i < WINDOW; i++) {
            double s = hann[i] * frame[i] + c * s1 - s2;
            s2 = s1, s1 = s;
        }
        band[k] = (log((s1 * s1 + s2 * s2 - c * s1 * s2) / WINDOW + 1e-3) - 1) / 2;
    }
}

static void draw(utterance *u, uint64_t *random)
{
    static double sound[MOST_FRAMES * HOP + WINDOW];
    memset(sound, 0, sizeof sound);
    int n = speak(sound, u, random);
    for (int i = 0; i < n; i++)
        sound[i] += noise * kit_normal(random);
    u->frames = 0;
    for (int at = 0; at + WINDOW <= n; at += HOP)
        listen(sound + at, u->band[u->frames++]);
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    kit_run run;
    ur_cell *forward, *backward;
    ur_linear_layer out;
    utterance *heard;                       /* a batch of them */
    int *lengths, *label, *n_label;
} model;

static void build(model *m, ur_params *ps)
{
    m->forward = kit_cell(ps, cell, "forward", BANDS, hidden);
    m->backward = kit_cell(ps, cell, "backward", BANDS, hidden);
    m->out = ur_linear_new(ps, "out", 2 * hidden, ALPHABET + 1);
    kit_need(ps);
    m->heard = kit_zeros((size_t)batch, sizeof *m->heard);
    m->lengths = kit_zeros((size_t)batch, sizeof *m->lengths);
    m->n_label = kit_zeros((size_t)batch, sizeof *m->n_label);
    m->label = kit_zeros((size_t)batch, MOST_LETTERS * sizeof *m->label);
}

/* Draws a batch and records it: logits [T, B, letters and blank], and the loss of each row. */
static ur_node record(model *m, ur_graph *g, uint64_t *random, ur_node *loss)
{
    int T = 0, labels = 0;
    for (int b = 0; b < batch; b++) {
        utterance *u = &m->heard[b];
        draw(u, random);
        memcpy(m->label + labels, u->label, (size_t)u->n * sizeof *u->label);
        labels += m->n_label[b] = u->n;
        m->lengths[b] = u->frames;
        T = u->frames > T ? u->frames : T;
    }
    ur_clear(g);
    size_t n = (size_t)T * (size_t)batch * BANDS;
    double *x = ur_graph_alloc(g, n * sizeof *x);
    kit_need(g);
    for (int b = 0; b < batch; b++)
        for (int t = 0; t < m->lengths[b]; t++)
            memcpy(x + (t * batch + b) * BANDS, m->heard[b].band[t], BANDS * sizeof *x);
    ur_node bands = ur_input(g, kit_numbers(g, x, n), T, batch, BANDS);
    ur_node h = ur_bidirectional(m->forward, m->backward, bands, m->lengths, UR_MERGE_CONCAT, NULL);
    ur_node logits = ur_linear(m->out, h);
    *loss = ur_ctc_loss(logits, m->label, m->n_label, m->lengths, BLANK);
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
    record(m, m->run.graph, &random, &loss);
    return kit_run_learn(&m->run, loss);
}

/* Letters of a way to decode that are wrong, and all of them. */
typedef struct {
    size_t wrong, all;
} errors;

static void say(const char *who, const int label[], int n)
{
    printf("%-8s", who);
    for (int k = 0; k < n; k++)
        putchar('a' + label[k]);
    putchar('\n');
}

/* Decodes the first rows of a batch in two ways: by the best path, and by the best letters, all of
 * whose paths count. The first of them are shown. */
static void decode(const model *m, ur_node logits, int rows, int shown, errors by[2])
{
    ur_node log_p = ur_keep(ur_log_softmax(logits));
    int label[MOST_FRAMES];
    if (!ur_run(ur_graph_of(logits)))
        kit_need(ur_graph_of(logits));
    ur_ctc_output o = { kit_run_type(), ur_data(log_p), ur_dim(logits, 0), batch, ALPHABET + 1,
                        BLANK };
    for (int b = 0; b < rows; b++) {
        const utterance *u = &m->heard[b];
        if (b < shown)
            say("said", u->label, u->n);
        for (int k = 0; k < 2; k++) {
            int n = k == 0 ? ur_ctc_best_path(&o, b, u->frames, label, NULL)
                           : ur_ctc_beam(&o, b, u->frames, beam, label, NULL);
            if (n < 0)
                kit_die("out of memory");
            if (b < shown)
                say(k == 0 ? "greedy" : "beam", label, n);
            by[k].wrong += kit_edit_distance(u->label, (size_t)u->n, label, (size_t)n);
            by[k].all += (size_t)u->n;
        }
    }
}

/* The mean loss of utterances that are not learned. */
static bool validate(void *ctx, double *mean)
{
    model *m = ctx;
    uint64_t random = ~kit_settings.seed;
    double total = 0;
    int batches = (VALIDATED + batch - 1) / batch;
    for (int k = 0; k < batches; k++) {
        ur_node loss;
        if (kit_interrupted)
            return false;
        record(m, m->run.scoring, &random, &loss);
        total += kit_value(m->run.scoring, loss);
    }
    *mean = total / batches;
    return true;
}

/* ---- The program ---------------------------------------------------------------------------- */

static void report(model *m)
{
    errors by[2] = { 0 };
    uint64_t random = ~kit_settings.seed + 1;
    char share[64];
    for (int k = 0; k < tested && !kit_interrupted; k += batch) {
        ur_node loss, logits = record(m, m->run.scoring, &random, &loss);
        decode(m, logits, tested - k < batch ? tested - k : batch, k == 0 ? 3 : 0, by);
    }
    for (int k = 0; k < 2 && !kit_interrupted; k++) {
        kit_number(share, "%.2f", 100 * (double)by[k].wrong / (double)by[k].all);
        printf("%s: %zu of %zu letters wrong, %s%%\n", k == 0 ? "greedy" : "beam", by[k].wrong,
               by[k].all, share);
    }
}

int main(int argc, char **argv)
{
    static model m;
    kit_settings.epochs = 10;
    kit_args(&(kit_usage){
        "Learns to hear letters in noisy sound by CTC, without being told where they are.",
        "speech --save speech.safetensors --plot speech.svg\n"
        "speech --noise 1 --cell lstm --hidden 64\n"
        "speech --resume speech.safetensors --beam 50 --tested 2000",
        NULL, options, OPTIONS }, argc, argv);
    kit_catch_interrupt();
    kit_run_prepare("speech 1", options, OPTIONS, NULL, NULL, 1);
    printf("speech: synthetic sound, from seed %" PRIu64 "\n", kit_settings.seed);
    ur_params *ps = kit_run_params();
    build(&m, ps);
    m.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &m,
                       .per_epoch = UPDATES, .items = batch, .unit = "utterances" };
    kit_run_open(&m.run);
    if (kit_run_train(&m.run))
        report(&m);
    kit_run_plot("CTC", (const kit_run *[]){ &m.run }, 1);
    kit_run_close(&m.run);
    free(m.heard), free(m.lengths), free(m.label), free(m.n_label);
    return kit_finish();
}
