/* sentiment.c: is a sentence for or against the film? Many to one: words in, one number out.
 *
 *     bilstm   h_t = forward(x_t, h_t-1)   k_t = backward(x_t, k_t+1)   f = max_t [h_t, k_t]
 *     window   f = max_t relu([x_t-2 .. x_t+2] W + b)         (Y. Kim, EMNLP 2014: five words wide)
 *     bow      f = mean_t x_t                                 what can be told without any order
 *     p(for) = sigmoid(f v + c)           x_t = E[word t], learned from nothing with the rest
 *
 * The data has no test part: ten-fold cross-validation, the measure of B. Pang and L. Lee (ACL
 * 2005) and those after them. The sentences are shuffled and dealt out into ten parts; ten models
 * learn all but one part each, for a fixed number of epochs, and are measured on that one. Words
 * that the nine parts have once only are <unk>. */
#include "examples/kit/corpus.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Options -------------------------------------------------------------------------------- */

enum { PARTS = 10, REACH = 2 };

static const char *data, *kind = "bilstm";
static int embed = 64, hidden = 64, batch = 50, folds = PARTS;
static double dropout = 0.5;

static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FOLDER", "with rt-polarity.neg and rt-polarity.pos, a "
               "sentence a line; without it a tiny language is made up"),
    KIT_SAVED(KIT_MODEL, "model", &kind, "bilstm|bow|window", "NAME", "kind of model"),
    KIT_SAVED(KIT_MODEL, "embed", &embed, "[1,65536]", "N", "numbers that a word is embedded as"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N",
              "units of each LSTM, or of the layer above windows"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "sentences of an update"),
    KIT_SAVED(KIT_KEPT, "dropout", &dropout, "[0,1)", "P", "share of features that become zero"),
    KIT_OPTION("folds", &folds, "[1,10]", "N", "of the ten, to train and measure"),
    KIT_TRAINING,
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data ----------------------------------------------------------------------------------- */

typedef struct {
    const char *text;
    size_t n;
    int label, part;            /* 1: for; 0 .. PARTS-1 */
} sentence;

typedef struct {
    char *text[2];
    sentence *sentences;
    int n;
} corpus;

static void read_data(corpus *c)
{
    static const char *const names[] = { "rt-polarity.neg", "rt-polarity.pos" };
    for (int label = 0; label < 2; label++) {
        char *path = data ? kit_path_in(data, names[label]) : NULL;
        uint64_t seed = 2 * kit_settings.seed + (uint64_t)label;
        int before = c->n;
        size_t n;
        if (!data)
            c->text[label] = kit_made_up_opinions(label, 300, seed);
        else if (!kit_read_file(path, &c->text[label], &n))
            exit(2);
        for (char *rest = c->text[label], *line; (line = kit_next_line(&rest)) != NULL;) {
            if (!*line)
                continue;
            c->sentences = kit_grow(c->sentences, (size_t)c->n, sizeof *c->sentences);
            c->sentences[c->n++] = (sentence){ line, strlen(line), label, 0 };
        }
        if (c->n - before < PARTS)
            kit_die("'%s' has %d sentences, too few for ten parts", path, c->n - before);
        free(path);
    }
    int *order = kit_zeros((size_t)c->n, sizeof *order);
    kit_order(order, c->n, kit_settings.seed, 0);
    for (int i = 0; i < c->n; i++)
        c->sentences[order[i]].part = i % PARTS;
    free(order);
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    ur_params *text;                    /* memory of the data */
    ur_vocab *vocab;
    ur_batches *train, *test;
    ur_embedding embed;
    ur_cell *onward, *backward;
    ur_linear_layer window, out;
    kit_run run;
    double accuracy;                    /* when last measured */
} model;

static void use_data(model *m, const corpus *c, int fold)
{
    ur_params *ps = m->text = ur_params_new(UR_F32, 0);
    ur_counter *count = ur_counter_new(ps);
    ur_dataset *set[2] = { ur_dataset_new(ps), ur_dataset_new(ps) };
    int32_t *ids = NULL;
    size_t room = 0;
    for (int i = 0; i < c->n; i++)
        if (c->sentences[i].part != fold)
            ur_count_tokens(count, UR_SPACED, c->sentences[i].text, c->sentences[i].n);
    m->vocab = ur_vocab_new(ps, count, UR_WITH_UNK, 2, 0);
    for (int i = 0; i < c->n; i++) {
        const sentence *s = &c->sentences[i];
        if (s->n >= room) {             /* a sentence has no more words than letters */
            free(ids);
            ids = kit_zeros(room = 2 * s->n, sizeof *ids);
        }
        size_t n = ur_vocab_encode(m->vocab, UR_SPACED, s->text, s->n, ids, room);
        ur_dataset_add(set[s->part == fold], ids, n, NULL, 0, s->label);
    }
    static const int buckets[] = { 8, 12, 16, 20, 24, 28, 32, 40, 50 };
    ur_batch_options o = { .rows = batch, .buckets = buckets, .seed = kit_settings.seed,
                           .n_buckets = sizeof buckets / sizeof *buckets };
    m->train = ur_batches_new(set[0], &o);
    o.in_order = true;
    m->test = ur_batches_new(set[1], &o);
    kit_need(ps);
    free(ids);
}

static void build(model *m)
{
    ur_params *ps = m->run.params = kit_run_params();
    int features = strcmp(kind, "bilstm") == 0 ? 2 * hidden
                   : strcmp(kind, "window") == 0 ? hidden : embed;
    m->embed = ur_embedding_with(ps, "embed", m->vocab->size, embed, ur_normal_with(0, 0.1));
    if (strcmp(kind, "bilstm") == 0) {
        m->onward = ur_lstm(ps, "onward", embed, hidden);
        m->backward = ur_lstm(ps, "backward", embed, hidden);
    } else if (strcmp(kind, "window") == 0) {
        m->window = ur_linear_new(ps, "window", (2 * REACH + 1) * embed, hidden);
    }
    m->out = ur_linear_new(ps, "out", features, 1);
    kit_need(ps);
}

/* The logits [B,1] of a batch. */
static ur_node logits(const model *m, ur_graph *g, const ur_batch *b)
{
    ur_clear(g);
    ur_node x = ur_dropout(ur_embed(m->embed, ur_ints(g, b->x, b->T, b->B)), dropout), f;
    if (strcmp(kind, "bilstm") == 0) {
        f = ur_pool_max(ur_bidirectional(m->onward, m->backward, x, b->x_lengths, UR_MERGE_CONCAT,
                                         NULL), b->x_lengths);
    } else if (strcmp(kind, "window") == 0) {
        ur_node near = ur_window(x, b->x_lengths, REACH, REACH);
        f = ur_pool_max(ur_relu(ur_linear(m->window, near)), b->x_lengths);
    } else {
        f = ur_bag(x, b->x_lengths, UR_MEAN);
    }
    return ur_linear(m->out, ur_dropout(f, dropout));
}

static ur_node loss_of(ur_node z, const ur_batch *b)
{
    ur_node labels = ur_cast(ur_ints(ur_graph_of(z), b->labels, b->B, 1));
    return ur_binary_cross_entropy(z, labels);
}

/* ---- Training and measuring ----------------------------------------------------------------- */

static double update(void *ctx, int64_t position)
{
    model *m = ctx;
    ur_batch b;
    kit_run_batch(&m->run, m->train, position, &b);
    return kit_run_learn(&m->run, loss_of(logits(m, m->run.graph, &b), &b));
}

static bool validate(void *ctx, double *mean)
{
    model *m = ctx;
    ur_graph *g = m->run.scoring;
    double loss = 0, right = 0;
    int n = 0;
    ur_batches_seek(m->test, (ur_batches_state){ 0 });
    for (ur_batch b; ur_next_batch(m->test, &b); n += b.B) {
        ur_node z = logits(m, g, &b), labels = ur_cast(ur_ints(g, b.labels, b.B, 1));
        ur_node hits = ur_sum(ur_equal(ur_positive(z), labels));
        loss += kit_value(g, loss_of(z, &b)) * b.B;
        right += kit_value(g, hits);
        if (kit_interrupted)
            return false;
    }
    *mean = loss / n;
    m->accuracy = 100 * right / n;
    kit_progress_show(&m->run.bar, "right %", m->accuracy);
    return true;
}

static bool train(model *m, const corpus *c, int fold, const char *name)
{
    kit_run *r = &m->run;
    use_data(m, c, fold);
    build(m);
    r->name = name, r->update = update, r->validate = validate, r->ctx = m;
    r->per_epoch = ur_batches_count(m->train);
    r->items = batch, r->unit = "sentences";
    kit_run_open(r);
    kit_pairs_set(&r->facts, "data", "%d sentences, %d words", c->n, m->vocab->size);
    bool done = kit_run_train(r);
    kit_run_end(r);
    ur_params_free(m->text);
    return done;
}

/* ---- The program ---------------------------------------------------------------------------- */

static void tell(const model m[], int n)
{
    double mean = 0, variance = 0;
    for (int k = 0; k < n; k++) {
        printf("fold %d: %.2f %%\n", k + 1, m[k].accuracy);
        mean += m[k].accuracy / n;
    }
    for (int k = 0; k < n; k++)
        variance += (m[k].accuracy - mean) * (m[k].accuracy - mean) / (n > 1 ? n - 1 : 1);
    printf("%s, mean of %d folds: %.2f %% right", kind, n, mean);
    printf(n > 1 ? ", deviation of a fold %.2f\n" : "\n", sqrt(variance));
}

int main(int argc, char **argv)
{
    static const char *const names[PARTS] = { "fold1", "fold2", "fold3", "fold4", "fold5", "fold6",
                                              "fold7", "fold8", "fold9", "fold10" };
    static model m[PARTS];
    const kit_run *runs[PARTS];
    corpus c = { 0 };
    int done = 0;
    kit_settings.epochs = 3;
    kit_args(&(kit_usage){
        "Tells praise from blame, by ten-fold cross-validation.",
        "sentiment --data rt-polarity\nsentiment --data rt-polarity --model bow --folds 1",
        NULL, options, OPTIONS }, argc, argv);
    kit_run_prepare("sentiment 1", options, OPTIONS, data, names, (size_t)folds);
    kit_say_made_up(data, "praise and blame in a tiny language");
    kit_catch_interrupt();
    read_data(&c);
    while (done < folds && train(&m[done], &c, done, folds > 1 ? names[done] : NULL))
        done++;
    for (int k = 0; k < PARTS; k++)
        runs[k] = &m[k].run;
    kit_run_plot(data, runs, (size_t)(done < folds ? done + 1 : folds));
    if (done > 0)
        tell(m, done);
    for (int k = 0; k < PARTS; k++)
        kit_run_close(&m[k].run);
    free(c.sentences), free(c.text[0]), free(c.text[1]);
    return kit_finish();
}
