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
#include "examples/kit/run.h"

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

typedef struct {
    const char *word, *tag;             /* NULL: the sentence ends */
} token;

/* One of the three files. */
typedef struct {
    char *text;
    token *tokens;
    int n, words;
    ur_dataset *set;                    /* x: numbers of word forms; y: tags */
    ur_batches *batches;
} part;

enum { TRAIN, DEV, TEST, PARTS };
static const char *const names[PARTS] = { "train.tsv", "dev.tsv", "test.tsv" };

/* What the model is to know of a form, as a word is written. */
typedef struct {
    int32_t word, letter[LONGEST];
    int n;
} form;

typedef struct {
    ur_params *text;                    /* memory of the data */
    part part[PARTS];
    ur_vocab *forms, *tags, *words, *letters;
    form *form;
    int *number;                        /* of each form among the distinct ones of a batch, or -1 */
    int32_t *ids, *place, *spell;       /* a batch: words; their forms; letters of these */
    int *distinct, *lengths, n_distinct, longest;
    double *name;                       /* 1 for a word that is part of one */
    bool names;                         /* the task */
    int propn;                          /* the tag of a name */
    ur_params *params;                  /* the model */
    ur_embedding word, letter;
    ur_cell *onward, *backward, *spell_onward, *spell_backward;
    ur_linear_layer out;
    ur_chain chain;
    ur_graph *scoring;
    kit_run run;
} tagger;

static void add_token(part *p, const char *word, const char *tag)
{
    p->tokens = kit_grow(p->tokens, (size_t)p->n, sizeof *p->tokens);
    p->tokens[p->n++] = (token){ word, tag };
    p->words += word != NULL;
}

static void parse(part *p, const char *path)
{
    int number = 0;
    for (char *rest = p->text, *line; (line = kit_next_line(&rest)) != NULL;) {
        char *tab = strchr(line, '\t');
        number++;
        if (*line && (!tab || tab == line || !tab[1]))
            kit_die("'%s' line %d: a word, a tab and a tag are wanted", path, number);
        if (tab)
            *tab = 0;
        add_token(p, *line ? line : NULL, tab ? tab + 1 : NULL);
    }
    add_token(p, NULL, NULL);
    if (p->words == 0)
        kit_die("'%s' has no words", path);
}

/* Without --data: a tiny language, in which endings tell what made-up words are. */
static char *made_up(uint64_t seed, int sentences)
{
    enum { ROOM = 200 };
    static const char *const pattern[] = { "DNVR.", "PVDN.", "DJNV.", "PVPR." };
    static const char *const part[] = { "ba", "do", "ki", "lu", "mo", "ne", "ra", "su", "ti" };
    static const char kinds[] = "D.PNVJR";
    static const char *const ending[] = { "the", ".", "", "ness", "ed", "ous", "ly" };
    static const char *const tag[] = { "DET", "PUNCT", "PROPN", "NOUN", "VERB", "ADJ", "ADV" };
    char *text = kit_zeros((size_t)sentences, ROOM), *at = text;
    for (int i = 0; i < sentences; i++) {
        for (const char *c = pattern[kit_below(&seed, 4)]; *c; c++) {
            char *word = at;
            for (int k = 0; k < 3 && *c != 'D' && *c != '.'; k++)
                at += sprintf(at, "%s", part[kit_below(&seed, 9)]);
            if (*c == 'P')
                *word = (char)(*word - 'a' + 'A');
            long kind = strchr(kinds, *c) - kinds;
            at += sprintf(at, "%s\t%s\n", ending[kind], tag[kind]);
        }
        *at++ = '\n';
    }
    return text;
}

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
    for (int k = 0; k < PARTS; k++)
        for (const token *t = m->part[k].tokens; t < m->part[k].tokens + m->part[k].n; t++) {
            if (!t->word)
                continue;
            ur_count_symbol(forms, t->word, strlen(t->word));
            if (k != TRAIN)
                continue;
            ur_count_symbol(tags, t->tag, strlen(t->tag));
            ur_count_symbol(low, lower(t->word), strlen(lower(t->word)));
            ur_count_tokens(chars, UR_CHARS, t->word, strlen(t->word));
        }
    m->forms = ur_vocab_new(m->text, forms, UR_WITH_UNK, 1, 0); /* words "<pad>" and the like */
    m->tags = ur_vocab_new(m->text, tags, 0, 1, 0);
    m->words = ur_vocab_new(m->text, low, UR_WITH_UNK, 2, 0);
    m->letters = ur_vocab_new(m->text, chars, UR_WITH_UNK, 2, 0);
    kit_need(m->text);
    m->propn = ur_vocab_id(m->tags, "PROPN", 5);
    if (m->names && m->propn < 0)
        kit_die("--task names: no word of %s has the tag PROPN", names[TRAIN]);
    m->form = kit_zeros((size_t)m->forms->size, sizeof *m->form);
    for (int i = 0; i < m->forms->size; i++) {
        form *f = &m->form[i];
        ur_token s = ur_vocab_symbol(m->forms, i);
        f->word = ur_vocab_id(m->words, lower(s.text), strlen(lower(s.text)));
        f->n = (int)ur_vocab_encode(m->letters, UR_CHARS, s.text, s.n, f->letter, LONGEST);
        f->n = f->n < LONGEST ? f->n : LONGEST;
    }
}

static int read_buckets(int limit[], int room)
{
    int n = 0;
    for (const char *s = buckets; *s; n++) {
        char *end;
        long value = strtol(s, &end, 10);
        if (end == s || (*end && *end != ',') || value < 1 || value > 1000000 || n == room
            || (n > 0 && value <= limit[n - 1]))
            kit_die("--buckets '%s': up to %d ascending numbers are wanted, such as 10,20,50,100",
                    buckets, room);
        limit[n] = (int)value;
        s = *end ? end + 1 : end;
    }
    return n;
}

/* Sentences as numbers, and batches of them. */
static void encode(tagger *m, int k)
{
    part *p = &m->part[k];
    int32_t *x = kit_zeros((size_t)p->n, sizeof *x), *y = kit_zeros((size_t)p->n, sizeof *y);
    int n = 0, limit[32], limits = read_buckets(limit, 32);
    p->set = ur_dataset_new(m->text);
    for (const token *t = p->tokens; t < p->tokens + p->n; t++) {
        if (t->word) {
            x[n] = ur_vocab_id(m->forms, t->word, strlen(t->word));
            y[n] = ur_vocab_id(m->tags, t->tag, strlen(t->tag));
            if (y[n++] < 0)
                kit_die("%s: the tag '%s' of '%s' does not occur in %s", names[k], t->tag, t->word,
                        names[TRAIN]);
        } else if (n > 0) {
            ur_dataset_add(p->set, x, (size_t)n, y, (size_t)n, 0);
            m->longest = n > m->longest ? n : m->longest;
            n = 0;
        }
    }
    p->batches = ur_batches_new(p->set, &(ur_batch_options){
        .rows = batch, .buckets = limit, .n_buckets = limits, .in_order = k != TRAIN,
        .seed = kit_settings.seed, .pad_y = UR_IGNORE });
    kit_need(m->text);
    free(x), free(y);
}

static void read_data(tagger *m)
{
    m->text = ur_params_new(UR_F32, 0);
    kit_need(m->text);
    for (int k = 0; k < PARTS; k++) {
        char *path = data ? kit_path_in(data, names[k]) : NULL;
        size_t n;
        if (!data)
            m->part[k].text = made_up(kit_settings.seed * PARTS + (uint64_t)k, k ? 100 : 500);
        else if (!kit_read_file(path, &m->part[k].text, &n))
            exit(2);
        parse(&m->part[k], path ? path : names[k]);
        free(path);
    }
    make_vocabularies(m);
    for (int k = 0; k < PARTS; k++)
        encode(m, k);
    size_t room = (size_t)m->longest * (size_t)batch;
    m->number = kit_zeros((size_t)m->forms->size, sizeof *m->number);
    memset(m->number, -1, (size_t)m->forms->size * sizeof *m->number);
    m->ids = kit_zeros(room, sizeof *m->ids), m->place = kit_zeros(room, sizeof *m->place);
    m->spell = kit_zeros(room * LONGEST, sizeof *m->spell);
    m->distinct = kit_zeros(room, sizeof *m->distinct);
    m->lengths = kit_zeros(room, sizeof *m->lengths);
    m->name = kit_zeros(room, sizeof *m->name);
}

/* ---- The model ------------------------------------------------------------------------------ */

static void build(tagger *m)
{
    ur_params *ps = m->params = ur_params_new(kit_run_type(), kit_settings.seed);
    int I = words + 2 * spelling;
    kit_need(ps);
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

/* Numbers the distinct forms of a batch, and writes their letters side by side. `random` forgets
 * words, or is NULL. */
static int spell(tagger *m, const ur_batch *b, uint64_t *random)
{
    int longest = 0;
    m->n_distinct = 0;
    for (int i = 0; i < b->T * b->B; i++) {
        int f = b->x[i];
        m->ids[i] = m->place[i] = 0;
        if (i / b->B >= b->x_lengths[i % b->B])
            continue;
        if (m->number[f] < 0) {
            m->number[f] = m->n_distinct;
            m->distinct[m->n_distinct++] = f;
            longest = m->form[f].n > longest ? m->form[f].n : longest;
        }
        m->place[i] = m->number[f];
        m->ids[i] = random && kit_uniform(random) < forget ? m->words->unk : m->form[f].word;
    }
    for (int k = 0; k < m->n_distinct; k++) {
        const form *f = &m->form[m->distinct[k]];
        m->number[m->distinct[k]] = -1;
        m->lengths[k] = f->n;
        for (int t = 0; t < longest; t++)
            m->spell[t * m->n_distinct + k] = t < f->n ? f->letter[t] : 0;
    }
    return longest;
}

/* The scores [T,B,labels] of a batch. */
static ur_node scores(tagger *m, ur_graph *g, const ur_batch *b, uint64_t *random)
{
    int longest = spell(m, b, random), W = m->n_distinct;
    ur_node s[4];
    ur_clear(g);
    ur_cell_zero_states(g, m->spell_onward, W, s);
    ur_cell_zero_states(g, m->spell_backward, W, s + 2);
    ur_node c = ur_embed(m->letter, ur_ints(g, m->spell, longest, W));
    ur_bidirectional(m->spell_onward, m->spell_backward, c, m->lengths, UR_MERGE_CONCAT, s);
    ur_node spelled = ur_gather(ur_concat(s[0], s[2]), ur_ints(g, m->place, b->T, b->B));
    ur_node x = ur_concat(ur_embed(m->word, ur_ints(g, m->ids, b->T, b->B)), spelled);
    ur_node h = ur_bidirectional(m->onward, m->backward, ur_dropout(x, dropout), b->x_lengths,
                                 UR_MERGE_CONCAT, NULL);
    return ur_linear(m->out, ur_dropout(h, dropout));
}

/* The loss of all words of a batch. */
static ur_node total(tagger *m, ur_node z, const ur_batch *b)
{
    ur_graph *g = ur_graph_of(z);
    size_t n = ur_count(z);
    if (crf)
        return ur_crf_loss_with(m->chain, z, ur_ints(g, b->y, b->T, b->B), b->x_lengths, UR_TOTAL);
    if (!m->names)
        return ur_cross_entropy_with(z, ur_ints(g, b->y, b->T, b->B), UR_IGNORE, 0, UR_NIL,
                                     UR_TOTAL);
    for (size_t i = 0; i < n; i++)
        m->name[i] = b->y[i] == m->propn;
    ur_node t = ur_input(g, kit_numbers(g, m->name, n), b->T, b->B, 1);
    return ur_sum(ur_within(ur_binary_cross_entropy_each(z, t), b->x_lengths));
}

/* The labels [T,B] that the model gives: tags, or 1 for names. */
static ur_node best(const tagger *m, ur_node z, const ur_batch *b)
{
    if (crf)
        return ur_chain_best(m->chain, z, b->x_lengths, NULL);
    return ur_argmax(m->names ? ur_concat(ur_zeros(ur_graph_of(z), b->T, b->B, 1), z) : z, 2);
}

/* ---- Training and measuring ----------------------------------------------------------------- */

static int words_of(const ur_batch *b)
{
    int n = 0;
    for (int i = 0; i < b->B; i++)
        n += b->x_lengths[i];
    return n;
}

static double update(void *ctx, int64_t position)
{
    tagger *m = ctx;
    uint64_t random = kit_settings.seed << 32 ^ (uint64_t)m->run.done;
    ur_batch b;
    kit_run_batch(&m->run, m->part[TRAIN].batches, position, &b);
    random = kit_random(&random);
    ur_node z = scores(m, m->run.graph, &b, &random);
    ur_node loss = ur_backward(ur_scale(total(m, z, &b), 1.0 / words_of(&b)));
    if (!ur_run(m->run.graph))
        kit_need(m->run.graph);
    if (!ur_step(m->run.optim))
        kit_need(m->params);
    return ur_value(loss);
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
    ur_batch b;
    *s = (score){ 0 };
    while (ur_next_batch(p->batches, &b)) {
        ur_node z = scores(m, m->scoring, &b, NULL), label = best(m, z, &b);
        ur_node loss = total(m, z, &b);
        size_t n = (size_t)b.T * (size_t)b.B;
        if (!ur_read(label, m->ids, n))
            kit_need(m->scoring);
        s->loss += ur_value(loss);
        s->words += words_of(&b);
        for (size_t i = 0; i < n; i++) {
            if (b.y[i] == UR_IGNORE)
                continue;
            bool name = b.y[i] == m->propn;
            s->right += m->ids[i] == (m->names ? name : b.y[i]);
            s->found += name && m->ids[i] == 1, s->real += name, s->guessed += m->ids[i] == 1;
        }
        for (int row = 0; row < b.B && to_show > 0; row++, to_show--)
            tell_sentence(m, &b, row, m->ids);
        if (kit_interrupted)
            return false;
    }
    return true;
}

static bool validate(void *ctx, double *mean)
{
    tagger *m = ctx;
    score s;
    ur_batches_seek(m->part[DEV].batches, (ur_batches_state){ 0 });
    if (!measure(m, &m->part[DEV], 0, &s))
        return false;
    *mean = s.loss / s.words;
    kit_progress_show(&m->run.bar, "right %", 100 * s.right / s.words);
    return true;
}

static void tell(tagger *m, int k, int to_show)
{
    score s;
    ur_batches_seek(m->part[k].batches, (ur_batches_state){ 0 });
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
    m->scoring = kit_run_graph(UR_INFER);
    r->graph = kit_run_graph(UR_TRAIN), r->params = m->params;
    r->update = update, r->validate = validate, r->ctx = m;
    r->per_epoch = ur_batches_count(p->batches);
    r->items = p->words / r->per_epoch, r->unit = "words";
    r->optim = kit_run_optim(m->params);
    kit_run_cosine(r->optim, r->per_epoch, 0.02);
    kit_pairs_set(&r->facts, "data", "%d %d %d words, %d forms", p->words, m->part[DEV].words,
                  m->part[TEST].words, m->forms->size);
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
    if (!data)
        printf("no --data: sentences of a tiny made-up (synthetic) language\n");
    kit_run_prepare("tagger 1", options, OPTIONS, data, NULL, 1);
    kit_catch_interrupt();
    read_data(&m);
    bool done = train(&m);
    if (done)
        tell(&m, DEV, 0), tell(&m, TEST, show);
    ur_graph_free(m.run.graph);
    ur_graph_free(m.scoring);
    ur_optim_free(m.run.optim);
    kit_run_free(&m.run);
    ur_params_free(m.params);
    ur_params_free(m.text);
    for (int k = 0; k < PARTS; k++)
        free(m.part[k].text), free(m.part[k].tokens);
    free(m.form), free(m.number), free(m.ids), free(m.place), free(m.spell);
    free(m.distinct), free(m.lengths), free(m.name);
    if (fflush(stdout) != 0 || ferror(stdout))
        kit_die("cannot write to the standard output");
    return done ? 0 : KIT_INTERRUPTED;
}
