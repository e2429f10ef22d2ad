/* tagger.c: a label for every word of a sentence, from all of the sentence and from the letters of
 * the word.
 *
 *     spelled(w) = [last state of an LSTM over the letters, of another one backwards]
 *     x_t = [E[word t], spelled(word t)]
 *     h_t = forward(x_t, h_t-1)  k_t = backward(x_t, k_t+1)  p(label t) = softmax([h_t,k_t] W + b)
 *
 * W. Ling et al., "Finding function in form", EMNLP 2015; G. Lample et al., "Neural architectures
 * for named entity recognition", NAACL 2016, with --crf: the scores go into a linear-chain CRF,
 * which weighs whole labellings. A word that occurs once in the training data is <unk>, and so is
 * now and then any other, so that the network learns to tell words by their letters.
 *
 * --task names asks something else of every word: is it part of a name (a PROPN)? One number a
 * word, a sigmoid, binary cross-entropy.
 *
 * Sentences of like length share a batch (--buckets); what lies beyond a sentence's end takes no
 * part. A word is spelled once a batch, however often it occurs there. */
#include "examples/kit/corpus.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Options -------------------------------------------------------------------------------- */

static const char *data, *task = "tags", *buckets = "10,20,50,100";
static int words = 100, letters = 25, spelling = 50, hidden = 128, batch = 32, show;
static double dropout = 0.4, forget = 0.1;
static bool crf;

static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FOLDER", "with train.tsv, dev.tsv and test.tsv: a word, a tab "
               "and its tag a line, an empty line after a sentence; without it a tiny language is "
               "made up"),
    KIT_SAVED(KIT_FIXED, "task", &task, "tags|names", "NAME", "a tag a word; or: is it of a name?"),
    KIT_SAVED(KIT_FIXED, "crf", &crf, NULL, NULL, "weighs whole labellings by a CRF"),
    KIT_SAVED(KIT_FIXED, "words", &words, "[1,65536]", "N", "numbers that a word is embedded as"),
    KIT_SAVED(KIT_FIXED, "letters", &letters, "[1,65536]", "N", "the same of a letter"),
    KIT_SAVED(KIT_FIXED, "spelling", &spelling, "[1,65536]", "N", "units of each LSTM of letters"),
    KIT_SAVED(KIT_FIXED, "hidden", &hidden, "[1,65536]", "N", "units of each LSTM of words"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "sentences of an update"),
    KIT_SAVED(KIT_FIXED, "buckets", &buckets, NULL, "N,N,..",
              "a batch has sentences of up to the first, or the second, .. number of words"),
    KIT_SAVED(KIT_KEPT, "dropout", &dropout, "[0,1)", "P", "share of features that become zero"),
    KIT_SAVED(KIT_KEPT, "forget", &forget, "[0,1)", "P", "share of words that become <unk>"),
    KIT_TRAINING,
    KIT_OPTION("show", &show, "[0,1000000]", "N", "prints the first N test sentences as tagged"),
};
enum { OPTIONS = sizeof options / sizeof *options, LONGEST = 24 }; /* letters of a word looked at */

/* ---- Data ----------------------------------------------------------------------------------- */

enum { TRAIN, DEV, TEST, PARTS };
static const char *const names[PARTS] = { "train.tsv", "dev.tsv", "test.tsv" };

/* One of the three files. */
typedef struct {
    kit_table table;                    /* words and tags, an empty row after each sentence */
    ur_batches *batches;                /* x: numbers of word forms; y: of tags */
} part;

typedef struct {
    kit_run run;
    bool names;                         /* the task */
    int propn;                          /* the tag of a name */
    ur_params *text;                    /* memory of the data */
    part part[PARTS];
    ur_vocab *forms, *tags, *words, *letters;
    ur_embedding word, letter;
    ur_cell *onward, *backward, *spell_onward, *spell_backward;
    ur_linear_layer out;
    ur_chain chain;
} tagger;

static const char *lower(const char *word)
{
    static char out[256];
    snprintf(out, sizeof out, "%s", word);
    for (char *c = out; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return out;
}

static void make_vocabularies(tagger *m)
{
    ur_counter *forms = ur_counter_new(m->text), *tags = ur_counter_new(m->text);
    ur_counter *low = ur_counter_new(m->text), *chars = ur_counter_new(m->text);
    for (int k = 0; k < PARTS; k++) {
        const kit_table *t = &m->part[k].table;
        for (const kit_row *r = t->rows; r < t->rows + t->n; r++) {
            if (!r->left)
                continue;
            ur_count_symbol(forms, r->left, strlen(r->left));
            if (k != TRAIN)
                continue;
            ur_count_symbol(tags, r->right, strlen(r->right));
            ur_count_symbol(low, lower(r->left), strlen(lower(r->left)));
            ur_count_tokens(chars, UR_CHARS, r->left, strlen(r->left));
        }
    }
    m->forms = ur_vocab_new(m->text, forms, UR_WITH_UNK, 1, 0); /* words "<pad>" and the like */
    m->tags = ur_vocab_new(m->text, tags, 0, 1, 0);
    m->words = ur_vocab_new(m->text, low, UR_WITH_UNK, 2, 0);
    m->letters = ur_vocab_new(m->text, chars, UR_WITH_UNK, 2, 0);
    kit_need(m->text);
    m->propn = ur_vocab_id(m->tags, "PROPN", 5);
    if (m->names && m->propn < 0)
        kit_die("--task names: no word of %s has the tag PROPN", names[TRAIN]);
}

static void read_data(tagger *m)
{
    m->text = ur_params_new(UR_F32, 0);
    kit_need(m->text);
    int limit[32], limits = kit_ascending("buckets", buckets, limit, 32);
    for (int k = 0; k < PARTS; k++) {
        uint64_t seed = kit_settings.seed * PARTS + (uint64_t)k;
        char *made_up = data ? NULL : kit_made_up_tags(k ? 100 : 500, seed);
        kit_read_table(&m->part[k].table, data, names[k], made_up, true, "a word, a tab and a tag");
    }
    make_vocabularies(m);
    for (int k = 0; k < PARTS; k++) {
        ur_dataset *set = kit_tagged(m->text, &m->part[k].table, m->forms, m->tags);
        m->part[k].batches = ur_batches_new(set, &(ur_batch_options){
            .rows = batch, .buckets = limit, .n_buckets = limits, .in_order = k != TRAIN,
            .seed = kit_settings.seed, .pad_y = UR_IGNORE });
    }
    kit_need(m->text);
}

/* ---- The model ------------------------------------------------------------------------------ */

static void build(tagger *m)
{
    ur_params *ps = m->run.params = kit_run_params();
    int I = words + 2 * spelling;
    m->word = ur_embedding_with(ps, "word", m->words->size, words, ur_normal_with(0, 0.1));
    m->letter = ur_embedding_with(ps, "letter", m->letters->size, letters, ur_normal_with(0, 0.5));
    m->spell_onward = ur_lstm(ps, "spell.onward", letters, spelling);
    m->spell_backward = ur_lstm(ps, "spell.backward", letters, spelling);
    m->onward = ur_lstm(ps, "onward", I, hidden);
    m->backward = ur_lstm(ps, "backward", I, hidden);
    m->out = ur_linear_new(ps, "out", 2 * hidden, m->names ? 1 : m->tags->size);
    if (crf)
        m->chain = ur_crf_new(ps, "crf", m->tags->size);
    kit_need(ps);
}

/* A form as the model knows it. */
typedef struct {
    int32_t word, letter[LONGEST];
    int n;
} form;

static form form_of(const tagger *m, int id)
{
    ur_token s = ur_vocab_symbol(m->forms, id);
    form f = { .word = ur_vocab_id(m->words, lower(s.text), strlen(lower(s.text))) };
    f.n = (int)ur_vocab_encode(m->letters, UR_CHARS, s.text, s.n, f.letter, LONGEST);
    f.n = f.n < LONGEST ? f.n : LONGEST;
    return f;
}

/* The words of a batch [T,B], and their n forms, each once, as letters side by side [T,n]. */
typedef struct {
    int32_t *word, *form, *letter;
    int n, T, *lengths;
} spelled;

/* Lists them, in memory of the tape. `random` forgets words, or is NULL. */
static spelled spell(tagger *m, ur_graph *g, const ur_batch *b, uint64_t *random)
{
    const size_t room = (size_t)b->T * (size_t)b->B;
    spelled s = { .word = ur_graph_alloc(g, room * sizeof *s.word),
                  .form = ur_graph_alloc(g, room * sizeof *s.form),
                  .letter = ur_graph_alloc(g, room * LONGEST * sizeof *s.letter),
                  .lengths = ur_graph_alloc(g, room * sizeof *s.lengths) };
    form *forms = ur_graph_alloc(g, room * sizeof *forms);
    int *number = ur_graph_alloc(g, (size_t)m->forms->size * sizeof *number); /* from 1 on */
    kit_need(g);
    for (int i = 0; i < b->T * b->B; i++) {
        int *k = &number[b->x[i]];
        if (i / b->B >= b->x_lengths[i % b->B])
            continue;
        if (*k == 0) {
            forms[s.n] = form_of(m, b->x[i]);
            s.lengths[s.n] = forms[s.n].n;
            s.T = forms[s.n].n > s.T ? forms[s.n].n : s.T;
            *k = ++s.n;
        }
        s.form[i] = *k - 1;
        s.word[i] = random && kit_uniform(random) < forget ? m->words->unk : forms[*k - 1].word;
    }
    for (int k = 0; k < s.n; k++)
        for (int t = 0; t < forms[k].n; t++)
            s.letter[t * s.n + k] = forms[k].letter[t];
    return s;
}

/* The scores [T,B,labels] of a batch. */
static ur_node scores(tagger *m, ur_graph *g, const ur_batch *b, uint64_t *random)
{
    ur_node s[4];
    ur_clear(g);
    spelled all = spell(m, g, b, random);
    ur_cell_zero_states(g, m->spell_onward, all.n, s);
    ur_cell_zero_states(g, m->spell_backward, all.n, s + 2);
    ur_node c = ur_embed(m->letter, ur_ints(g, all.letter, all.T, all.n));
    ur_bidirectional(m->spell_onward, m->spell_backward, c, all.lengths, UR_MERGE_CONCAT, s);
    ur_node by_letters = ur_gather(ur_concat(s[0], s[2]), ur_ints(g, all.form, b->T, b->B));
    ur_node x = ur_concat(ur_embed(m->word, ur_ints(g, all.word, b->T, b->B)), by_letters);
    ur_node h = ur_bidirectional(m->onward, m->backward, ur_dropout(x, dropout), b->x_lengths,
                                 UR_MERGE_CONCAT, NULL);
    return ur_linear(m->out, ur_dropout(h, dropout));
}

/* The loss of all words of a batch. */
static ur_node total(tagger *m, ur_node z, const ur_batch *b)
{
    ur_graph *g = ur_graph_of(z);
    ur_node tags = ur_ints(g, b->y, b->T, b->B);
    if (crf)
        return ur_crf_loss_with(m->chain, z, tags, b->x_lengths, UR_TOTAL);
    if (!m->names)
        return ur_cross_entropy_with(z, tags, UR_IGNORE, 0, UR_NIL, UR_TOTAL);
    ur_node name = ur_reshape(ur_equal(ur_cast(tags), ur_scalar(g, m->propn)), b->T, b->B, 1);
    return ur_sum(ur_within(ur_binary_cross_entropy_each(z, name), b->x_lengths));
}

/* The labels [T,B] that the model gives: tags, or 1 for names. */
static ur_node best(const tagger *m, ur_node z, const ur_batch *b)
{
    if (crf)
        return ur_chain_best(m->chain, z, b->x_lengths, NULL);
    return ur_argmax(m->names ? ur_concat(ur_zeros(ur_graph_of(z), b->T, b->B, 1), z) : z, 2);
}

/* ---- Training and measuring ----------------------------------------------------------------- */

static double update(void *ctx, int64_t position)
{
    tagger *m = ctx;
    uint64_t random = kit_settings.seed << 32 ^ (uint64_t)m->run.done;
    ur_batch b;
    kit_run_batch(&m->run, m->part[TRAIN].batches, position, &b);
    random = kit_random(&random);
    ur_node z = scores(m, m->run.graph, &b, &random);
    return kit_run_learn(&m->run, ur_scale(total(m, z, &b), 1.0 / kit_steps(b.x_lengths, b.B)));
}

/* What came of a part of the data. */
typedef struct {
    double loss, right, found, guessed, real;   /* nats; words; names found, guessed and there */
    int words;
} score;

static void tell_sentence(const tagger *m, const ur_batch *b, int row, const int32_t *label)
{
    for (int t = 0; t < b->x_lengths[row]; t++) {
        int i = t * b->B + row;
        bool right = m->names ? (b->y[i] == m->propn) == (label[i] == 1) : b->y[i] == label[i];
        printf("%s%s/%s%s", t ? " " : "", ur_vocab_symbol(m->forms, b->x[i]).text,
               m->names ? label[i] ? "name" : "-" : ur_vocab_symbol(m->tags, label[i]).text,
               right ? "" : "(!)");
    }
    putchar('\n');
}

/* False at Ctrl-C. */
static bool measure(tagger *m, const part *p, int to_show, score *s)
{
    ur_graph *g = m->run.scoring;
    ur_batch b;
    *s = (score){ 0 };
    ur_batches_seek(p->batches, (ur_batches_state){ 0 });
    while (ur_next_batch(p->batches, &b)) {
        ur_node z = scores(m, g, &b, NULL), labels = ur_keep(best(m, z, &b));
        s->loss += kit_value(g, total(m, z, &b));
        s->words += kit_steps(b.x_lengths, b.B);
        const int32_t *label = ur_data(labels);
        kit_need(g);
        for (int i = 0; i < b.T * b.B; i++) {
            if (b.y[i] == UR_IGNORE)
                continue;
            bool name = b.y[i] == m->propn;
            s->right += label[i] == (m->names ? name : b.y[i]);
            s->found += name && label[i] == 1, s->real += name, s->guessed += label[i] == 1;
        }
        for (int row = 0; row < b.B && to_show > 0; row++, to_show--)
            tell_sentence(m, &b, row, label);
        if (kit_interrupted)
            return false;
    }
    return true;
}

static bool validate(void *ctx, double *mean)
{
    tagger *m = ctx;
    score s;
    if (!measure(m, &m->part[DEV], 0, &s))
        return false;
    *mean = s.loss / s.words;
    kit_progress_show(&m->run.bar, "right %", 100 * s.right / s.words);
    return true;
}

static void tell(tagger *m, int k, int to_show)
{
    score s;
    if (!measure(m, &m->part[k], to_show, &s))
        return;
    printf("%s: %.2f %% of %d words right", names[k], 100 * s.right / s.words, s.words);
    if (m->names)
        printf("; names: precision %.2f %%, recall %.2f %%", 100 * s.found / fmax(s.guessed, 1),
               100 * s.found / fmax(s.real, 1));
    printf("\n");
}

/* ---- The program ---------------------------------------------------------------------------- */

static bool train(tagger *m)
{
    kit_run *r = &m->run;
    const part *p = &m->part[TRAIN];
    build(m);
    r->update = update, r->validate = validate, r->ctx = m;
    r->per_epoch = ur_batches_count(p->batches);
    r->items = p->table.filled / r->per_epoch, r->unit = "words";
    kit_run_open(r);
    kit_run_cosine(r->optim, r->per_epoch, 0.02);
    kit_pairs_set(&r->facts, "data", "%d %d %d words, %d forms", p->table.filled,
                  m->part[DEV].table.filled, m->part[TEST].table.filled, m->forms->size);
    bool done = kit_run_train(r);
    kit_run_plot(data, (const kit_run *[]){ r }, 1);
    if (done)
        kit_run_table("model", (const char *[]){ crf ? "tagger, crf" : "tagger" },
                      (const kit_run *[]){ r }, 1);
    return done;
}

int main(int argc, char **argv)
{
    static tagger m;
    kit_settings.epochs = 7, kit_settings.lr = 3e-3;
    kit_args(&(kit_usage){
        "Tags the words of sentences: parts of speech, or names.",
        "tagger --data ud-ewt --crf --show 5\ntagger --data ud-ewt --task names",
        NULL, options, OPTIONS }, argc, argv);
    m.names = strcmp(task, "names") == 0;
    if (m.names && crf)
        kit_die("--crf weighs labellings by tags; --task names has none");
    kit_run_prepare("tagger 1", options, OPTIONS, data, NULL, 1);
    kit_say_made_up(data, "sentences of a tiny language");
    kit_catch_interrupt();
    read_data(&m);
    if (train(&m))
        tell(&m, DEV, 0), tell(&m, TEST, show);
    kit_run_close(&m.run);
    ur_params_free(m.text);
    for (int k = 0; k < PARTS; k++)
        kit_table_free(&m.part[k].table);
    return kit_finish();
}
