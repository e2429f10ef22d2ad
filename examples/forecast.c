/* forecast.c: what comes next in a series of numbers. A recurrent network reads a window of the
 * past and tells the months after it: many to one, and from that one vector many steps at once.
 *
 *     h_t = cell(x_t, h_t-1)    (y_1 .. y_H) = guess + h_T W + b    loss: mean (y_k - x_T+k)^2
 *
 * Sunspots: the rolling origin, from every month of the last fifth, which is never learned. The
 * guess is that of a linear autoregression of 12 months, fitted by least squares and applied to its
 * own forecasts; the network learns what it misses (G. P. Zhang, "Time series forecasting using a
 * hybrid ARIMA and neural network model", Neurocomputing 50, 2003). Rivals: the autoregression
 * alone, and persistence, by which the last value stays.
 *
 * Circle: a ball goes round, one way or the other, at a speed of its own. Of one position nobody
 * can tell the next; of a sequence of positions a network can. It is trained on both. */
#include "examples/kit/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Options -------------------------------------------------------------------------------- */

static const char *data, *task = "series", *picture;
static int hidden = 16, batch = 32, window = 48, horizon = 12;
static double dropout;

static kit_option options[] = {
    KIT_SAVED(KIT_FIXED, "task", &task, "series|circle", "NAME", "what to forecast"),
    KIT_OPTION("data", &data, NULL, "FILE.csv",
               "series: a line a month, the last column a number, the first line names"),
    KIT_SAVED(KIT_FIXED, "window", &window, "[1,10000]", "N", "steps of the past that are read"),
    KIT_SAVED(KIT_FIXED, "horizon", &horizon, "[1,1000]", "N", "steps ahead that are told"),
    KIT_SAVED(KIT_FIXED, "hidden", &hidden, "[1,65536]", "N", "units of the lstm"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "windows that an update learns"),
    KIT_SAVED(KIT_KEPT, "dropout", &dropout, "[0,1)", "P", "share of h_T that becomes zero"),
    KIT_TRAINING,
    KIT_OPTION("picture", &picture, NULL, "FILE.svg", "draws the forecasts there"),
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data ----------------------------------------------------------------------------------- */

/* Rows of F numbers, and windows over them: window k ends before row origin[k]. Those below `train`
 * are learned, then up to `valid` measured in between, then up to `all` forecast in the end. */
enum { LAGS = 12, TERMS = LAGS + 1 };
static struct {
    int F, n, train, valid, all, *origin;
    double *row, mean, deviation;       /* rows are scaled: value = mean + deviation row */
    double first;                       /* the year of row 0 */
    double w[TERMS];                    /* the autoregression */
} set = { .deviation = 1 };

/* Without --data: cycles of eleven years or so, of changing height, with noise. */
static void make_series(uint64_t seed)
{
    double phase = 0, height = 80;
    set.n = 1200;
    set.row = kit_zeros((size_t)set.n, sizeof *set.row);
    for (int t = 0; t < set.n; t++) {
        phase += (1 + 0.3 * kit_normal(&seed)) / 132;
        if (phase >= 1)
            phase -= 1, height = 50 + 60 * kit_uniform(&seed);
        double calm = height * pow(sin(3.141592653589793 * phase), 2);
        set.row[t] = fmax(0, calm + (3 + 0.12 * calm) * kit_normal(&seed));
    }
}

/* Of n months, those before the last fifth, and without those that are measured in between. */
static int known(int n) { return (int)(n * INT64_C(4) / 5); }
static int learned(int n) { return (int)fmin(n * 39.0 / 50, known(n) - 1); }

/* Whether n months have windows for everything. */
static bool enough(int n, int first)
{
    return learned(n) - horizon - first + 1 >= batch && known(n) + horizon <= n;
}

/* Every month with a window before it, and the lags of the autoregression, is an origin. */
static void use_series(void)
{
    int test = known(set.n), valid = learned(set.n), needed = set.n;
    int first = window > LAGS ? window : LAGS;
    while (!enough(needed, first))
        needed++;
    if (needed > set.n)
        kit_die("'%s' holds %d numbers, but --window %d, --horizon %d and --batch %d need %d",
                data ? data : "the made-up series", set.n, window, horizon, batch, needed);
    double sum = 0, squares = 0;
    for (int t = 0; t < test; t++)
        sum += set.row[t], squares += set.row[t] * set.row[t];
    set.mean = sum / test;
    set.deviation = sqrt(squares / test - set.mean * set.mean);
    if (!(set.deviation > 1e-7 * fabs(set.mean))) /* what is left of no deviation by rounding */
        kit_die("'%s' holds the same number again and again", data);
    for (int t = 0; t < set.n; t++)
        set.row[t] = (set.row[t] - set.mean) / set.deviation;
    set.F = 1;
    set.origin = kit_zeros((size_t)set.n, sizeof *set.origin);
    for (int o = first; o + horizon <= set.n; o++) {
        set.train += o + horizon <= valid;
        set.valid += o + horizon <= test;
        if (o + horizon <= test || o >= test) /* what is learned ends before what is forecast */
            set.origin[set.all++] = o;
    }
}

static void make_circles(uint64_t seed)
{
    int steps = window + horizon;
    set.F = 2, set.train = 2048, set.valid = 2176, set.all = 2304, set.n = set.all * steps;
    set.row = kit_zeros((size_t)set.n * 2, sizeof *set.row);
    set.origin = kit_zeros((size_t)set.all, sizeof *set.origin);
    for (int k = 0; k < set.all; k++) {
        double angle = 6.283185307179586 * kit_uniform(&seed);
        double speed = 0.1 + 0.3 * kit_uniform(&seed);
        speed = kit_below(&seed, 2) ? speed : -speed;
        for (int t = 0; t < steps; t++, angle += speed) {
            set.row[2 * (k * steps + t)] = cos(angle);
            set.row[2 * (k * steps + t) + 1] = sin(angle);
        }
        set.origin[k] = k * steps + window;
    }
}

/* ---- What is told without a network --------------------------------------------------------- */

/* The steps from row o on by the autoregression; of a ball, that it stays where it was. */
static void guess(int o, double *out)
{
    for (int i = 0; i < horizon * set.F && set.F > 1; i++)
        out[i] = set.row[(o - 1) * set.F + i % set.F];
    if (set.F > 1)
        return;
    for (int h = 0; h < horizon; h++) {
        out[h] = set.w[0];
        for (int k = 1; k <= LAGS; k++)
            out[h] += set.w[k] * (h - k >= 0 ? out[h - k] : set.row[o + h - k]);
    }
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    kit_run run;
    int W, B;                           /* steps that it reads; windows of its arrays */
    ur_cell *rnn;
    ur_linear_layer out;
    double *x, *y;                      /* [W,B,F], [B,H*F] */
} model;

/* Windows which[0 .. B) as x, and as y what the guess misses. */
static void gather(model *m, const int which[], int B)
{
    for (int b = 0; b < B; b++) {
        const double *end = set.row + (size_t)set.origin[which[b]] * (size_t)set.F;
        for (int t = 0; t < m->W; t++)
            memcpy(m->x + (t * B + b) * set.F, end - (m->W - t) * set.F,
                   (size_t)set.F * sizeof *end);
        double *y = m->y + b * horizon * set.F;
        guess(set.origin[which[b]], y);
        for (int i = 0; i < horizon * set.F; i++)
            y[i] = end[i] - y[i];
    }
}

/* *y [B, H*F], what the network adds to the guesses of B windows, and its loss. */
static ur_node loss_of(const model *m, ur_graph *g, int B, ur_node *y)
{
    int F = horizon * set.F;
    size_t n = (size_t)(m->W * B * set.F);
    ur_node x = ur_input(g, kit_numbers(g, m->x, n), m->W, B, set.F);
    ur_node missed = ur_input(g, kit_numbers(g, m->y, (size_t)(B * F)), B, F);
    ur_node h = ur_pool_last(ur_unroll(m->rnn, x, NULL), NULL);
    *y = ur_linear(m->out, ur_dropout(h, dropout));
    return ur_squared_loss(*y, missed);
}

static double update(void *ctx, int64_t position)
{
    model *m = ctx;
    ur_node y;
    gather(m, kit_run_order(&m->run, set.train) + position * batch, batch);
    ur_clear(m->run.graph);
    return kit_run_learn(&m->run, loss_of(m, m->run.graph, batch, &y));
}

/* The forecasts of windows from .. to-1 into out [to - from, H*F], where it is not NULL, and their
 * mean loss. False at Ctrl-C. */
static bool measure(model *m, int from, int to, double *out, double *mean)
{
    int F = horizon * set.F, *which = kit_zeros((size_t)m->B, sizeof *which);
    ur_graph *g = m->run.scoring;
    ur_node y;
    *mean = 0;
    for (int k = from, B; k < to && !kit_interrupted; k += B) {
        B = to - k < m->B ? to - k : m->B;
        for (int b = 0; b < B; b++)
            which[b] = k + b;
        gather(m, which, B);
        ur_clear(g);
        *mean += kit_value(g, loss_of(m, g, B, &y)) * B / (to - from);
        if (out)
            kit_values(y, m->y);
        for (int b = 0; b < B && out; b++) {
            double *at = out + (k - from + b) * F;
            guess(set.origin[k + b], at);
            for (int i = 0; i < F; i++)
                at[i] += m->y[b * F + i];
        }
    }
    free(which);
    return !kit_interrupted;
}

static bool validate(void *ctx, double *mean)
{
    return measure(ctx, set.train, set.valid, NULL, mean);
}

/* Trains a model that reads W steps; `name` where there are several. */
static bool train(model *m, int W, const char *name)
{
    ur_params *ps = kit_run_params();
    m->rnn = ur_lstm(ps, "lstm", set.F, hidden);
    m->out = ur_linear_with(ps, "out", hidden, horizon * set.F, ur_constant(0), ur_constant(0));
    kit_need(ps);
    m->W = W, m->B = batch > 64 ? batch : 64;
    m->x = ur_params_alloc(ps, (size_t)(W * m->B * set.F) * sizeof *m->x); /* freed with ps */
    m->y = ur_params_alloc(ps, (size_t)(m->B * horizon * set.F) * sizeof *m->y);
    kit_need(ps);
    m->run = (kit_run){ .name = name, .params = ps, .update = update, .validate = validate,
                        .ctx = m, .per_epoch = set.train / batch, .items = batch,
                        .unit = "windows" };
    kit_run_open(&m->run);
    kit_pairs_set(&m->run.facts, "rows", "%d", set.n);
    kit_run_cosine(m->run.optim, m->run.per_epoch, 0.01);
    return kit_run_train(&m->run);
}

/* ---- What came of it ------------------------------------------------------------------------ */

/* Root of the mean squared error of the k-th step of all forecasts, in the data's unit. */
static double error(const double *out, int k)
{
    double sum = 0;
    int n = set.all - set.valid;
    for (int i = 0; i < n; i++)
        for (int f = 0; f < set.F; f++) {
            double is = set.row[(set.origin[set.valid + i] + k) * set.F + f];
            sum += pow(out[(i * horizon + k) * set.F + f] - is, 2);
        }
    return sqrt(sum / n) * set.deviation;
}

static void report(const char *names[], double *const outs[], int n)
{
    char text[2][64];
    printf("%-22s %12s %12d\n", "error, steps ahead", "1", horizon);
    for (int i = 0; i < n; i++)
        printf("%-22s %12s %12s\n", names[i], kit_number(text[0], "%.4g", error(outs[i], 0)),
               kit_number(text[1], "%.4g", error(outs[i], horizon - 1)));
}

/* v: n values of x, and then of what is so and what two models say. */
static void draw(const char *title, const char *x_label, const double *v, int n,
                 const char *const models[2])
{
    size_t size = (size_t)n;
    kit_series series[] = { { "as it was", v, v + n, size }, { models[0], v, v + 2 * n, size },
                            { models[1], v, v + 3 * n, size } };
    if (!kit_svg_lines(picture, &(kit_plot){ title, x_label, NULL, false, series, 3 }))
        exit(2);
}

/* The series and its forecasts, each at the month that it is for. */
static void draw_series(const double *network, const double *linear)
{
    int n = set.all - set.valid, k = horizon - 1;
    double *v = kit_zeros((size_t)n * 4, sizeof *v);
    char title[64];
    for (int i = 0; i < n; i++) {
        int o = set.origin[set.valid + i] + k;
        v[i] = set.first + o / 12.0;
        v[n + i] = set.mean + set.deviation * set.row[o];
        v[2 * n + i] = set.mean + set.deviation * network[i * horizon + k];
        v[3 * n + i] = set.mean + set.deviation * linear[i * horizon + k];
    }
    snprintf(title, sizeof title, "Forecasts of %d steps ahead", horizon);
    draw(title, "year", v, n, (const char *[]){ "network", "AR(12)" });
    free(v);
}

static void run_series(void)
{
    static model m;
    double loss;
    int n = set.all - set.valid;
    size_t size = (size_t)(n * horizon);
    double *out[3] = { kit_zeros(size, sizeof **out), kit_zeros(size, sizeof **out),
                       kit_zeros(size, sizeof **out) };
    kit_autoregression(set.row, set.n * 4 / 5, LAGS, set.w);
    for (int i = 0; i < n; i++) {
        int o = set.origin[set.valid + i];
        for (int h = 0; h < horizon; h++)
            out[0][i * horizon + h] = set.row[o - 1];
        guess(o, out[1] + i * horizon);
    }
    if (train(&m, window, NULL) && measure(&m, set.valid, set.all, out[2], &loss)) {
        kit_run_plot("Forecasts", (const kit_run *[]){ &m.run }, 1);
        report((const char *[]){ "persistence", "AR(12)", "network" }, out, 3);
        if (picture)
            draw_series(out[2], out[1]);
    }
    kit_run_close(&m.run);
    for (int i = 0; i < 3; i++)
        free(out[i]);
}

/* The way of one ball from left to right, by steps, and what the models expect. */
static void draw_circle(const double *one, const double *many)
{
    int n = window + horizon, start = set.origin[set.valid] - window;
    double *v = kit_zeros((size_t)n * 4, sizeof *v);
    for (int t = 0; t < n; t++) {
        int ahead = 2 * (t - window);
        v[t] = t - window + 1;
        v[n + t] = set.row[2 * (start + t)];
        v[2 * n + t] = ahead >= 0 ? one[ahead] : NAN;
        v[3 * n + t] = ahead >= 0 ? many[ahead] : NAN;
    }
    draw("The ball's x, seen up to step 0", "step", v, n,
         (const char *[]){ "from one position", "from a sequence" });
    free(v);
}

static const char *const circles[] = { "one", "sequence" };

static void run_circle(void)
{
    static model m[2];
    double loss;
    int n = set.all - set.valid, F = horizon * set.F;
    double *out[3];
    for (int k = 0; k < 3; k++)
        out[k] = kit_zeros((size_t)(n * F), sizeof **out);
    for (int i = 0; i < n; i++)
        guess(set.origin[set.valid + i], out[0] + i * F);
    bool done = true;
    for (int k = 0; k < 2 && done; k++)
        done = train(&m[k], k == 0 ? 1 : window, circles[k])
               && measure(&m[k], set.valid, set.all, out[k + 1], &loss);
    if (done) {
        kit_run_plot("The ball", (const kit_run *[]){ &m[0].run, &m[1].run }, 2);
        report((const char *[]){ "it stays", "from one position", "from a sequence" }, out, 3);
        if (picture)
            draw_circle(out[1], out[2]);
    }
    for (int k = 0; k < 3; k++)
        free(out[k]);
    for (int k = 0; k < 2; k++)
        kit_run_close(&m[k].run);
}

/* ---- The program ---------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    kit_settings.epochs = 30;
    kit_args(&(kit_usage){
        "Forecasts a series of numbers, or where a ball goes that runs in a circle.",
        "forecast --data monthly-sunspots.csv --picture sunspots.svg\n"
        "forecast --task circle --window 6 --picture circle.svg",
        NULL, options, OPTIONS }, argc, argv);
    bool circle = strcmp(task, "circle") == 0;
    if (circle && data)
        kit_die("--task circle makes its own data; --data is for --task series");
    kit_run_prepare("forecast 1", options, OPTIONS, data, circles, circle ? 2 : 1);
    if (!kit_check_writable(picture))
        return 2;
    kit_catch_interrupt();
    if (circle) {
        printf("synthetic task: balls that run in circles, of --seed %" PRIu64 "\n",
               kit_settings.seed);
        make_circles(kit_settings.seed);
        run_circle();
    } else {
        kit_say_made_up(data, "cycles of eleven years");
        if (data)
            set.row = kit_read_months(data, &set.n, &set.first);
        else
            make_series(kit_settings.seed);
        use_series();
        run_series();
    }
    free(set.row);
    free(set.origin);
    return kit_finish();
}
