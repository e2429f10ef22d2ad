/* names.c: from which language is a surname? A recurrent network reads its characters one by one,
 * in both directions, and one vector of the whole name tells: many to one.
 *
 *     y_t = [h_t, k_t], both directions over E[character t]      p(language) = softmax(v W + b),
 *                                                                v = max_t y_t
 *
 * A tenth of the names, drawn by the seed, is never learned; top-1 is the share of these whose
 * likeliest language is right. Settings are to be chosen without them: --tune leaves them out and
 * holds back a second tenth in their place. A batch has names of one length only, so that nothing
 * is padded and a tape's structure comes again. */
#include "examples/kit/run.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/* ---- Options -------------------------------------------------------------------------------- */

static const char *data, *name;
static int hidden = 128, embed = 32, batch = 64;
static double dropout = 0.3;
static bool tune;

static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FOLDER", "of files LANGUAGE.txt, a name a line"),
    KIT_SAVED(KIT_FIXED, "hidden", &hidden, "[1,65536]", "N", "units of an lstm, one a direction"),
    KIT_SAVED(KIT_FIXED, "embed", &embed, "[1,65536]", "N", "numbers that a character becomes"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "names that an update learns"),
    KIT_SAVED(KIT_KEPT, "dropout", &dropout, "[0,1)", "P", "share of inputs and v that becomes 0"),
    KIT_SAVED(KIT_FIXED, "tune", &tune, NULL, NULL,
              "leaves out the names held back, and measures with others: to choose settings"),
    KIT_TRAINING,
    KIT_OPTION("name", &name, NULL, "TEXT", "a name to tell the likeliest languages of"),
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Data ----------------------------------------------------------------------------------- */

enum { MOST_LANGUAGES = 100, LONGEST = 20 }; /* longer names share a bucket, and are padded */

static struct {
    char *language[MOST_LANGUAGES];
    int languages, n, learned, *label;
    char **name;
    ur_params *memory;                  /* of vocabulary, sets and batches */
    ur_vocab *vocab;
    ur_batches *train, *test;
} all;

static char *copy(const char *text)
{
    char *p = kit_zeros(strlen(text) + 1, 1);
    return strcpy(p, text);
}

static void add_name(const char *text)
{
    all.name = kit_grow(all.name, (size_t)all.n, sizeof *all.name);
    all.label = kit_grow(all.label, (size_t)all.n, sizeof *all.label);
    all.name[all.n] = copy(text);
    all.label[all.n++] = all.languages - 1;
}

static int is_text(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && strcmp(d->d_name + n - 4, ".txt") == 0;
}

static void read_names(void)
{
    struct dirent **files;
    int n_files = scandir(data, &files, is_text, alphasort);
    if (n_files < 2 || n_files > MOST_LANGUAGES)
        kit_die("'%s' is no folder with 2 to %d files LANGUAGE.txt", data, MOST_LANGUAGES);
    for (int k = 0; k < n_files; k++) {
        char *text, *path = kit_path_in(data, files[k]->d_name);
        size_t n;
        if (!kit_read_file(path, &text, &n))
            exit(2);
        files[k]->d_name[strlen(files[k]->d_name) - 4] = 0;
        all.language[all.languages++] = copy(files[k]->d_name);
        for (char *rest = text, *line; (line = kit_next_line(&rest)) != NULL;)
            if (*line)
                add_name(line);
        free(text);
        free(path);
        free(files[k]);
    }
    free(files);
}

/* Without --data: six languages, each of a dozen syllables and an ending of its own. */
static void make_names(uint64_t seed)
{
    static const char *const ending[] = { "ov", "ini", "sen", "aki", "ez", "oglu" };
    for (int k = 0; k < 6; k++) {
        char syllable[12][3] = { "" };
        for (int i = 0; i < 12; i++) {
            syllable[i][1] = "aeiou"[kit_below(&seed, 5)];
            syllable[i][0] = (char)('a' + kit_below(&seed, 26));
        }
        all.language[all.languages++] = copy(ending[k]);
        for (int i = 0; i < 120; i++) {
            char text[32] = "";
            for (int j = 1 + kit_below(&seed, 3); j >= 0; j--)
                strcat(text, syllable[kit_below(&seed, 12)]);
            add_name(strcat(text, kit_below(&seed, 2) ? ending[k] : ""));
        }
    }
}

static ur_batches *make_batches(const int which[], int n, bool in_order)
{
    static int lengths[LONGEST];
    int32_t ids[256];
    ur_dataset *d = ur_dataset_new(all.memory);
    for (int i = 0; i < n; i++) {
        const char *text = all.name[which[i]];
        size_t size = ur_vocab_encode(all.vocab, UR_CHARS, text, strlen(text), ids, 256);
        ur_dataset_add(d, ids, size < 256 ? size : 256, NULL, 0, all.label[which[i]]);
    }
    for (int k = 0; k < LONGEST; k++)
        lengths[k] = k + 1;
    return ur_batches_new(d, &(ur_batch_options){
        .rows = batch, .buckets = lengths, .n_buckets = LONGEST, .in_order = in_order,
        .seed = kit_settings.seed });
}

/* The vocabulary has the characters of the names to learn; others are <unk>. */
static void split_names(void)
{
    int *order = kit_zeros((size_t)all.n, sizeof *order), held = all.n / 10;
    int test = tune ? held : 0, train = test + held; /* where both begin in that order */
    if (held < 1)
        kit_die("'%s' has %d names, too few to hold back a tenth", data, all.n);
    all.memory = ur_params_new(UR_F32, 0);
    ur_counter *count = ur_counter_new(all.memory);
    kit_order(order, all.n, kit_settings.seed, 0);
    for (int i = train; i < all.n; i++)
        ur_count_tokens(count, UR_CHARS, all.name[order[i]], strlen(all.name[order[i]]));
    all.vocab = ur_vocab_new(all.memory, count, UR_WITH_UNK, 1, 0);
    all.test = make_batches(order + test, held, true);
    all.learned = all.n - train;
    all.train = make_batches(order + train, all.learned, false);
    kit_need(all.memory);
    free(order);
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    ur_embedding embed;
    ur_cell *forward, *backward;
    ur_linear_layer out;
    double top1;
    kit_run run;
} model;

static void build(model *m, ur_params *ps)
{
    m->embed = ur_embedding_new(ps, "embed", all.vocab->size, embed);
    m->forward = ur_lstm(ps, "forward", embed, hidden);
    m->backward = ur_lstm(ps, "backward", embed, hidden);
    m->out = ur_linear_new(ps, "out", 2 * hidden, all.languages);
    kit_need(ps);
}

/* [B, languages] from the characters ids [T,B] of B names. */
static ur_node logits(const model *m, ur_node ids, const int lengths[])
{
    ur_node x = ur_dropout(ur_embed(m->embed, ids), dropout / 2);
    ur_node y = ur_bidirectional(m->forward, m->backward, x, lengths, UR_MERGE_CONCAT, NULL);
    return ur_linear(m->out, ur_dropout(ur_pool_max(y, lengths), dropout));
}

/* ---- Training and measuring ----------------------------------------------------------------- */

static double update(void *ctx, int64_t position)
{
    model *m = ctx;
    ur_graph *g = m->run.graph;
    ur_batch b;
    kit_run_batch(&m->run, all.train, position, &b);
    ur_clear(g);
    ur_node z = logits(m, ur_ints(g, b.x, b.T, b.B), b.x_lengths);
    return kit_run_learn(&m->run, ur_cross_entropy(z, ur_ints(g, b.labels, b.B)));
}

/* Loss and top-1 of the names that are never learned. */
static bool validate(void *ctx, double *mean)
{
    model *m = ctx;
    ur_graph *g = m->run.scoring;
    ur_batch b;
    int n = 0, right = 0;
    double sum = 0;
    while (ur_next_batch(all.test, &b)) {
        ur_clear(g);
        ur_node z = logits(m, ur_ints(g, b.x, b.T, b.B), b.x_lengths);
        ur_node best = ur_argmax(z, -1);
        sum += ur_value(ur_cross_entropy(z, ur_ints(g, b.labels, b.B))) * b.B;
        const int32_t *language = ur_data(best);
        for (int i = 0; i < b.B && language; i++)
            right += language[i] == b.labels[i];
        n += b.B;
        kit_need(g);
    }
    *mean = sum / n;
    m->top1 = 100.0 * right / n;
    kit_progress_show(&m->run.bar, "top-1", m->top1);
    return !kit_interrupted;
}

/* The three likeliest languages of a name. */
static void tell(const model *m, const char *text)
{
    int32_t ids[256];
    double p[MOST_LANGUAGES];
    char number[64];
    ur_graph *g = m->run.scoring;
    size_t n = ur_vocab_encode(all.vocab, UR_CHARS, text, strlen(text), ids, 256);
    ur_clear(g);
    ur_node x = ur_ints(g, ids, (int)(n < 256 ? n : 256), 1);
    kit_values(ur_softmax(logits(m, x, NULL)), p);
    kit_need(g);
    printf("%s:", text);
    for (int i = 0; i < 3 && i < all.languages; i++) {
        int best = 0;
        for (int k = 0; k < all.languages; k++)
            best = p[k] > p[best] ? k : best;
        printf(" %s %s %%", all.language[best], kit_number(number, "%.1f", 100 * p[best]));
        p[best] = -1;
    }
    putchar('\n');
}

/* ---- The program ---------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    static model m;
    char number[64];
    kit_settings.epochs = 10, kit_settings.lr = 3e-3;
    kit_args(&(kit_usage){
        "Learns to tell the language of a surname.",
        "names --data names --name Janowski\nnames --data names --seed 2 --plot names.svg",
        NULL, options, OPTIONS }, argc, argv);
    kit_run_prepare("names 1", options, OPTIONS, NULL, NULL, 1);
    if (name && !*name)
        kit_die("--name is empty");
    kit_catch_interrupt();
    kit_say_made_up(data, "names of six languages");
    data ? read_names() : make_names(kit_settings.seed);
    split_names();
    ur_params *ps = kit_run_params();
    build(&m, ps);
    int64_t batches = ur_batches_count(all.train);
    m.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &m,
                       .per_epoch = batches, .items = all.learned / batches, .unit = "names" };
    kit_run_open(&m.run);
    kit_pairs_set(&m.run.facts, "data", "%d names of %d languages", all.n, all.languages);
    kit_run_cosine(m.run.optim, batches, 0.05);
    if (kit_run_train(&m.run)) {
        kit_run_plot("Languages of names", (const kit_run *[]){ &m.run }, 1);
        printf("top-1 of the names held back: %s %%\n", kit_number(number, "%.1f", m.top1));
        if (name)
            tell(&m, name);
    }
    kit_run_close(&m.run);
    ur_params_free(all.memory);
    return kit_finish();
}
