/* calculator.c: sums as text. An encoder reads "347+58" character by character, its last states are
 * all that a decoder knows when it writes "405": sequence to sequence learning (Sutskever, Vinyals
 * and Le 2014), on sums as in W. Zaremba and I. Sutskever, "Learning to execute", 2014.
 *
 *     s = 0;  s = encoder(E[x_t], s) for all t      s = decoder(F[y_t-1], s)
 *                                                   p(y_t) = softmax(h_t V + b)
 *
 * The sum is read backwards, "85+743", so that the digits that count first are read last and near
 * to where they are written; --forwards shows what it is worth. Numbers have 1 to --digits digits,
 * each length as often, so that there are easy sums to begin with. One pair of numbers in eight is
 * held out by a hash, a + b together with b + a; figures are those of held-out sums. */
#include "examples/kit/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *cell = "gru";
static int hidden = 128, embed = 32, batch = 64, digits = 3, tested = 2000;
static bool forwards;

static kit_option options[] = {
    KIT_SAVED(KIT_MODEL, "cell", &cell, "elman|lstm|gru", "NAME", "kind of cell"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of encoder and decoder"),
    KIT_SAVED(KIT_MODEL, "embed", &embed, "[1,65536]", "N", "numbers a character is embedded as"),
    KIT_SAVED(KIT_MODEL, "digits", &digits, "[1,8]", "N", "of a number, at most"),
    KIT_SAVED(KIT_MODEL, "forwards", &forwards, NULL, NULL, "reads sums as they are written"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,4096]", "N", "sums of an update"),
    KIT_OPTION("tested", &tested, "[1,1000000]", "N", "sums of each length to test in the end"),
    KIT_TRAINING,
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data ----------------------------------------------------------------------------------- */

/* A space fills up the sum in front, begins the answer and ends it. */
enum { SYMBOLS = 12, SPACE = 11, MOST_DIGITS = 8, UPDATES = 500, VALIDATED = 1024 };
static const char symbol[] = "0123456789+ ";

typedef struct {
    int64_t a, b;
} sum;

static int sum_length(void)
{
    return 2 * digits + 1;
}

static int answer_length(void)
{
    return digits + 2;
}

static int64_t number(int length, uint64_t *random)
{
    int64_t value = 0;
    for (int k = 0; k < length; k++)
        value = 10 * value + (k == 0 && length > 1 ? 1 + kit_below(random, 9)
                                                   : kit_below(random, 10));
    return value;
}

/* A sum of those held out, or of the others; of any lengths, or of one where it is not 0. */
static sum draw(bool held_out, int length, uint64_t *random)
{
    for (;;) {
        sum q = { number(length ? length : 1 + kit_below(random, digits), random),
                  number(length ? length : 1 + kit_below(random, digits), random) };
        uint64_t pair = (uint64_t)(q.a * q.b) * 0x9e3779b97f4a7c15u + (uint64_t)(q.a + q.b);
        if ((kit_random(&pair) % 8 == 0) == held_out)
            return q;
    }
}

/* Writes column b of x [T,B], the sum with spaces in front, of y [U,B], the answer and a space, and
 * of fed [U,B], a space and the answer. */
static void spell(sum q, int b, int32_t *x, int32_t *y, int32_t *fed)
{
    char text[4 * MOST_DIGITS];
    int T = sum_length(), U = answer_length();
    int n = snprintf(text, sizeof text, "%" PRId64 "+%" PRId64, q.a, q.b);
    for (int t = 0; t < T; t++) {
        int k = forwards ? n - T + t : T - 1 - t;
        x[t * batch + b] = k < 0 || k >= n ? SPACE : (int32_t)(strchr(symbol, text[k]) - symbol);
    }
    n = snprintf(text, sizeof text, "%" PRId64, q.a + q.b);
    for (int u = 0; u < U; u++) {
        y[u * batch + b] = u < n ? text[u] - '0' : u == n ? SPACE : UR_IGNORE;
        fed[u * batch + b] = u > 0 && u <= n ? text[u - 1] - '0' : SPACE;
    }
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    kit_run run;
    ur_embedding embed;
    ur_cell *encoder;
    ur_decoder decoder;
    sum *asked;                             /* a batch, and as ids */
    int32_t *x, *y, *fed;
} model;

static void build(model *m, ur_params *ps)
{
    m->embed = ur_embedding_new(ps, "read", SYMBOLS, embed);
    m->encoder = kit_cell(ps, cell, "encoder", embed, hidden);
    m->decoder.embed = ur_embedding_new(ps, "written", SYMBOLS, embed);
    m->decoder.cell = kit_cell(ps, cell, "decoder", embed, hidden);
    m->decoder.out = ur_linear_new(ps, "out", hidden, SYMBOLS);
    kit_need(ps);
    m->asked = kit_zeros((size_t)batch, sizeof *m->asked);
    m->x = kit_zeros((size_t)(batch * sum_length()), sizeof *m->x);
    m->y = kit_zeros((size_t)(batch * answer_length()), sizeof *m->y);
    m->fed = kit_zeros((size_t)(batch * answer_length()), sizeof *m->fed);
}

/* Records the batch of m->asked: logits [U, B, symbols]. The decoder reads the true digits where it
 * is told, its own ones else. */
static ur_node record(model *m, ur_graph *g, bool told, ur_node *loss)
{
    ur_node s[2];
    for (int b = 0; b < batch; b++)
        spell(m->asked[b], b, m->x, m->y, m->fed);
    ur_clear(g);
    ur_cell_zero_states(g, m->encoder, batch, s);
    ur_unroll(m->encoder, ur_embed(m->embed, ur_ints(g, m->x, sum_length(), batch)), s);
    ur_node logits = ur_teach(m->decoder, ur_ints(g, m->fed, answer_length(), batch), NULL, s,
                              .ratio = told ? 1 : 0);
    *loss = ur_cross_entropy(logits, ur_ints(g, m->y, answer_length(), batch));
    return logits;
}

/* The answers to the batch of m->asked; -1 for what is no number. */
static void answer(model *m, int64_t answers[])
{
    size_t n = (size_t)(batch * answer_length());
    int32_t *id = kit_zeros(n, sizeof *id);
    ur_node loss, best = ur_argmax(record(m, m->run.scoring, false, &loss), -1);
    if (!ur_read(best, id, n))
        kit_need(m->run.scoring);
    for (int b = 0; b < batch; b++) {
        answers[b] = -1;
        for (int u = 0; u < answer_length() && id[u * batch + b] < 10; u++)
            answers[b] = (u == 0 ? 0 : 10 * answers[b]) + id[u * batch + b];
    }
    free(id);
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
    for (int b = 0; b < batch; b++)
        m->asked[b] = draw(false, 0, &random);
    record(m, m->run.graph, true, &loss);
    return kit_run_learn(&m->run, loss);
}

/* The mean loss of sums that are held out, of numbers of full length. */
static bool validate(void *ctx, double *mean)
{
    model *m = ctx;
    uint64_t random = ~kit_settings.seed;
    double total = 0;
    int batches = (VALIDATED + batch - 1) / batch;
    for (int k = 0; k < batches && !kit_interrupted; k++) {
        ur_node loss;
        for (int b = 0; b < batch; b++)
            m->asked[b] = draw(true, digits, &random);
        record(m, m->run.scoring, true, &loss);
        total += kit_value(m->run.scoring, loss);
    }
    *mean = total / batches;
    return !kit_interrupted;
}

/* ---- The program ---------------------------------------------------------------------------- */

/* How many of the held-out sums are right to the last digit, by length of the numbers. */
static void report(model *m)
{
    int64_t *answers = kit_zeros((size_t)batch, sizeof *answers);
    uint64_t random = ~kit_settings.seed + 1;
    char share[64];
    for (int length = 1; length <= digits && !kit_interrupted; length++) {
        int right = 0;
        for (int k = 0; k < tested; k++) {
            int b = k % batch;
            for (int i = 0; i < batch && b == 0; i++)
                m->asked[i] = draw(true, length, &random);
            if (b == 0)
                answer(m, answers);
            right += answers[b] == m->asked[b].a + m->asked[b].b;
        }
        kit_number(share, "%.2f", 100.0 * right / tested);
        printf("numbers of %d digit%s: %s%% of %d held-out sums right, as %" PRId64 "+%" PRId64
               "=%" PRId64 "\n", length, length > 1 ? "s" : "", share, tested, m->asked[0].a,
               m->asked[0].b, answers[0]);
    }
    free(answers);
}

static sum parse(const char *text)
{
    char a[MOST_DIGITS + 1] = "", b[MOST_DIGITS + 1] = "";
    int end = 0;
    if (sscanf(text, "%8[0-9]+%8[0-9]%n", a, b, &end) != 2 || text[end] != 0
        || strlen(a) > (size_t)digits || strlen(b) > (size_t)digits)
        kit_die("'%s' is no sum of two numbers of 1 to %d digits, as 12+345", text, digits);
    return (sum){ atoll(a), atoll(b) };
}

static void calculate(model *m, char *const sums[], int n)
{
    int64_t *answers = kit_zeros((size_t)batch, sizeof *answers);
    for (int k = 0; k < n; k++) {
        m->asked[0] = parse(sums[k]);
        answer(m, answers);
        printf("%s=%" PRId64 "\n", sums[k], answers[0]);
    }
    free(answers);
}

int main(int argc, char **argv)
{
    static model m;
    kit_settings.epochs = 30, kit_settings.lr = 4e-3;
    int n = kit_args(&(kit_usage){
        "Learns to add numbers that it reads and writes as text.",
        "calculator --save sums.safetensors --plot sums.svg\n"
        "calculator --resume sums.safetensors 12+345 999+1",
        "SUM...", options, OPTIONS }, argc, argv);
    kit_catch_interrupt();
    kit_run_prepare("calculator 1", options, OPTIONS, NULL, NULL, 1);
    printf("calculator: synthetic sums, from seed %" PRIu64 "\n", kit_settings.seed);
    for (int k = 0; k < n; k++)
        parse(argv[1 + k]);
    ur_params *ps = kit_run_params();
    build(&m, ps);
    m.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &m,
                       .per_epoch = UPDATES, .items = batch, .unit = "sums" };
    kit_run_open(&m.run);
    kit_run_cosine(m.run.optim, UPDATES, 0.01);
    if (kit_run_train(&m.run)) {
        report(&m);
        calculate(&m, argv + 1, n);
    }
    kit_run_plot("sums", (const kit_run *[]){ &m.run }, 1);
    kit_run_close(&m.run);
    free(m.asked), free(m.x), free(m.y), free(m.fed);
    return kit_finish();
}
