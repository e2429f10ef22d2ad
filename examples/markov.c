/* markov.c: what stood before recurrent networks, on the same text and the same split as charlm,
 * measured in the same way: nats a character of the last tenth of the file.
 *
 * A Markov chain of order k knows the last k characters and nothing before:
 *     p(x_t | x_1 .. x_t-1) = p(x_t | x_t-k .. x_t-1),    counted, with Witten-Bell smoothing.
 *
 * A hidden Markov model has one of K states at each step, which is never seen:
 *     alpha_1[k] = pi[k] E[k,x_1]     alpha_t[k] = (sum_j alpha_t-1[j] A[j,k]) E[k,x_t]
 *     p(x_1 .. x_t) = sum_k alpha_t[k]
 * It is a recurrent network, too, whose state alpha is linear in the one before. It learns by the
 * gradient of ln p, as they do (P. Baldi and Y. Chauvin, Neural Computation 6, 1994). */
#include "examples/kit/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Options --------------------------------------------------------------------------------- */

static const char *data;
static int order = 6, states = 32, batch = 32, steps = 64, sample;

static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FILE", "text to learn, of any bytes; without it a tiny "
               "language is made up"),
    KIT_OPTION("order", &order, "[0,7]", "K", "Markov chains of orders 0 to K are counted"),
    KIT_SAVED(KIT_MODEL, "states", &states, "[1,1024]", "K", "of the hidden Markov model"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "streams that the text is cut into"),
    KIT_SAVED(KIT_FIXED, "steps", &steps, "[1,1000000]", "T",
              "bytes of each stream that an update learns"),
    KIT_OPTION("sample", &sample, "[0,1000000]", "N", "bytes that each chain writes"),
    KIT_TRAINING,
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data ------------------------------------------------------------------------------------ */

typedef struct {
    kit_text text;
    ur_streams streams;         /* of what is learned */
    kit_run run;
    ur_hmm hmm;
    int32_t *x, *y;             /* a segment */
} markov;

static void read_data(markov *m)
{
    kit_text_of(&m->text, data, kit_settings.seed);
    size_t tokens = (size_t)batch * (size_t)steps;
    if (m->text.n < 20 || m->text.cut < tokens + 1)
        kit_die("'%s' has %zu bytes, too few for --batch %d and --steps %d",
                data ? data : "the text", m->text.n, batch, steps);
    m->streams = ur_streams_of(m->text.ids, m->text.cut, batch, steps);
    m->x = kit_zeros(tokens, sizeof *m->x), m->y = kit_zeros(tokens, sizeof *m->y);
}

static void tell(const char *model, double parameters, double nats)
{
    printf("%-22s %12.4g %10.4f %11.4f\n", model, parameters, nats, nats / log(2));
    fflush(stdout);
}

/* ---- Markov chains --------------------------------------------------------------------------- */

static void write_on(const markov *m, const ur_ngram *chain)
{
    int32_t *ids = kit_zeros((size_t)sample, sizeof *ids);
    if (ur_ngram_generate(chain, kit_settings.seed, ids, 0, (size_t)sample))
        for (int i = 0; i < sample; i++)
            putchar(m->text.vocabulary.byte[ids[i]]);
    printf("\n\n");
    free(ids);
}

/* The first byte of the validation text is given, as it is in charlm. */
static void count(const markov *m, int k)
{
    ur_params *ps = ur_params_new(UR_F64, kit_settings.seed);
    kit_need(ps);
    ur_ngram *chain = ur_ngram_new(ps, k + 1, m->text.vocabulary.size);
    const int32_t *valid = m->text.ids + m->text.cut;
    size_t n = m->text.n - m->text.cut;
    char name[32];
    snprintf(name, sizeof name, "Markov, order %d", k);
    ur_ngram_add(chain, m->text.ids, m->text.cut);
    double log_p = ur_ngram_text_log_p(chain, valid, n) - ur_ngram_log_p(chain, NULL, 0, valid[0]);
    kit_need(ps);
    tell(name, (m->text.vocabulary.size - 1) * pow(m->text.vocabulary.size, k),
         -log_p / (double)(n - 1));
    if (sample > 0)
        write_on(m, chain);
    ur_params_free(ps);
}

/* ---- The hidden Markov model ----------------------------------------------------------------- */

static double update(void *ctx, int64_t position)
{
    markov *m = ctx;
    ur_streams_segment(&m->streams, (size_t)position, m->x, m->y);
    ur_clear(m->run.graph);
    ur_node ids = ur_ints(m->run.graph, m->x, steps, batch);
    return kit_run_learn(&m->run, ur_hmm_loss(m->hmm, ids, NULL));
}

/* p[rows][n]: the softmax of each row of a parameter, transposed to p[n][rows] if wanted. */
static double *probabilities(ur_node W, int rows, int n, bool transposed)
{
    double *p = kit_zeros((size_t)rows * (size_t)n, sizeof *p);
    const void *values = ur_param_values(W);
    if (!values)
        kit_die("out of memory");
    for (int r = 0; r < rows; r++) {
        double sum = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int k = 0; k < n; k++) {
                int from = r * n + k, to = transposed ? k * rows + r : from;
                if (pass == 0)
                    p[to] = exp(kit_run_type() == UR_F64 ? ((const double *)values)[from]
                                                         : (double)((const float *)values)[from]);
                if (pass == 0)
                    sum += p[to];
                else
                    p[to] /= sum;
            }
    }
    return p;
}

/* The forward algorithm over the validation text, in one piece: alpha is scaled to sum 1 at every
 * step, and the logarithms of the scales add up to ln p. */
static bool validate(void *ctx, double *mean)
{
    markov *m = ctx;
    int K = states, V = m->text.vocabulary.size;
    double *pi = probabilities(m->hmm.start, 1, K, false), log_p = 0;
    double *A = probabilities(m->hmm.transitions, K, K, false);
    double *E = probabilities(m->hmm.emissions, K, V, true);            /* [V][K] */
    double *alpha = kit_zeros(2 * (size_t)K, sizeof *alpha), *next = alpha + K;
    memcpy(next, pi, (size_t)K * sizeof *pi);
    for (size_t i = m->text.cut; i < m->text.n && !kit_interrupted; i++) {
        const double *e = E + (size_t)m->text.ids[i] * (size_t)K;
        double sum = 0;
        for (int k = 0; k < K; k++)
            sum += next[k] *= e[k];
        log_p += i == m->text.cut ? 0 : log(sum);        /* the first byte is given */
        for (int k = 0; k < K; k++)
            alpha[k] = next[k] / sum, next[k] = 0;
        for (int j = 0; j < K; j++)
            for (int k = 0; k < K; k++)
                next[k] += alpha[j] * A[j * K + k];
    }
    *mean = -log_p / (double)(m->text.n - m->text.cut - 1);
    free(pi), free(A), free(E), free(alpha);
    return !kit_interrupted;
}

static void train(markov *m)
{
    char name[48];
    ur_params *ps = kit_run_params();
    m->hmm = ur_hmm_new(ps, "hmm", states, m->text.vocabulary.size);
    kit_need(ps);
    m->run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = m,
                        .per_epoch = (int64_t)m->streams.segments,
                        .items = (int64_t)batch * steps, .unit = "chars", .bits = "bits/char" };
    kit_run_open(&m->run);
    kit_pairs_set(&m->run.facts, "text", "%s", m->text.print);
    bool done = kit_run_train(&m->run);
    snprintf(name, sizeof name, "hidden Markov, %d", states);
    if (done && m->run.done > 0)
        tell(name, (double)ur_params_elements(ps), m->run.valid_loss);
    kit_run_plot("hidden Markov model", (const kit_run *[]){ &m->run }, 1);
    kit_run_close(&m->run);
}

int main(int argc, char **argv)
{
    markov m = { 0 };
    kit_settings.lr = 2e-2;
    kit_args(&(kit_usage){ "Markov chains and a hidden Markov model of a text, to compare with.",
                           "markov --data book.txt\nmarkov --data book.txt --order 3 --sample 300",
                           NULL, options, OPTIONS }, argc, argv);
    kit_run_prepare("markov 1", options, OPTIONS, data, NULL, 1);
    kit_say_made_up(data, "text of a tiny language");
    kit_catch_interrupt();
    read_data(&m);
    printf("%-22s %12s %10s %11s\n", "model", "parameters", "nats/char", "bits/char");
    tell("uniform", 0, log(m.text.vocabulary.size));
    for (int k = 0; k <= order && !kit_interrupted; k++)
        count(&m, k);
    train(&m);
    free(m.text.ids), free(m.x), free(m.y);
    return kit_finish();
}
