/* translate.c: English to French. A network reads a sentence both ways, another one writes its
 * translation word by word and looks back, before each, at the words that it has to do with.
 *
 *     m_s = [forward(E[x_s], ..), backward(E[x_s], ..)]         h_0 = tanh([last states] W + b)
 *     h_t = gru([r F[y_t], a_t-1], h_t-1)                       a_0 = 0, r^2 = columns of F
 *     w   = softmax_s(v . tanh(h_t Q + m_s K + k))              how much of m_s is looked at
 *     c   = sum_s w_s m_s
 *     a_t = tanh([c, h_t] A)           p(y_t+1) = softmax(a_t F' + b)
 *
 * D. Bahdanau, K. Cho, Y. Bengio, "Neural machine translation by jointly learning to align and
 * translate", ICLR 2015; the feeding of a_t is that of M.-T. Luong, H. Pham, C. Manning, EMNLP
 * 2015; the vectors F of words are the same coming in and going out (O. Press, L. Wolf, EACL 2017).
 * Translations are found by beam search, and measured by BLEU against all that the data has for a
 * source. Case is kept, punctuation split off, elisions too: l' homme. */
#include "examples/kit/corpus.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Options -------------------------------------------------------------------------------- */

static const char *data, *load, *heat, *output;
static int hidden = 256, embed = 256, batch = 64, beam = 5, least = 2, longest = 40;
static double dropout = 0.3, smoothing = 0.1, alpha = 1;

static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FOLDER",
               "with train.tsv, valid.tsv and test.tsv: English, a tab, French in a line"),
    KIT_SAVED(KIT_FIXED, "least", &least, "[1,1000000]", "N", "what occurs less often is <unk>"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of each cell"),
    KIT_SAVED(KIT_MODEL, "embed", &embed, "[1,65536]", "N", "numbers of a word"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "pairs that an update learns"),
    KIT_SAVED(KIT_KEPT, "dropout", &dropout, "[0,1)", "P",
              "share of what passes between layers that becomes zero"),
    KIT_SAVED(KIT_KEPT, "smoothing", &smoothing, "[0,1]", "P",
              "share of the probability that labels give to all words"),
    KIT_TRAINING,
    KIT_OPTION("load", &load, NULL, "FILE",
               "trains nothing: translates with a saved model, and measures it, given --data"),
    KIT_OPTION("beam", &beam, "[1,1000]", "K", "width of the search; 1: greedy"),
    KIT_OPTION("alpha", &alpha, "[0,10]", "X", "of its length penalty ((5 + n) / 6)^X"),
    KIT_OPTION("longest", &longest, "[1,1000]", "N", "words of a translation at most"),
    KIT_OPTION("heat", &heat, NULL, "FILE.svg",
               "draws what a translation looked at: that of the first sentence"),
    KIT_OPTION("output", &output, NULL, "FILE.tsv",
               "writes the test's sources, translations and references there, in words"),
};
enum { OPTIONS = sizeof options / sizeof *options };
static const char format[] = "translate 1";

/* ---- Data ----------------------------------------------------------------------------------- */

/* One of the three files, or so many sentences of a small language. */
static void read_pairs(kit_table *t, const char *name, int synthetic)
{
    uint64_t seed = kit_settings.seed + (uint64_t)synthetic;
    kit_read_table(t, data, name, data ? NULL : kit_made_up_pairs(synthetic, seed), false,
                   "a sentence, a tab and its translation");
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    kit_run run;
    ur_batches *train, *valid;
    kit_language english, french;           /* vocabularies, and what their tokens are */
    ur_embedding from, to;
    ur_cell *forward, *backward, *inner, *decoder;
    ur_attention attention;
    ur_bridge bridge;
    ur_node bias;
    ur_graph *decoding;
} model;

static void build(model *m)
{
    ur_params *ps = m->run.params;
    const double k = 1 / sqrt(embed);
    m->from = ur_embedding_new(ps, "from", m->english.vocab->size, embed);
    m->to = ur_embedding_with(ps, "to", m->french.vocab->size, embed, ur_uniform_between(-k, k));
    m->forward = ur_gru_reset_after(ps, "forward", embed, hidden);
    m->backward = ur_gru_reset_after(ps, "backward", embed, hidden);
    m->attention = ur_attention_new(ps, "look", UR_SCORE_ADDITIVE, hidden, 2 * hidden, hidden);
    m->inner = ur_gru_reset_after(ps, "decoder", 2 * embed, hidden);
    m->decoder = ur_input_feeding(m->inner, "feed", m->attention, embed);
    m->bridge = ur_bridge_new(ps, "bridge", 2, (int[]){ hidden, hidden }, m->inner);
    m->bias = ur_param(ps, "out.b", ur_constant(0), m->french.vocab->size);
    m->run.scoring = kit_run_graph(UR_INFER);
    m->decoding = kit_run_graph(UR_INFER);
    kit_need(ps);
}

/* The sentences x of a batch as what is looked at [S,B,2H], and the decoder's first states. */
static ur_node encode(const model *m, ur_graph *g, const ur_batch *b, ur_node s[2])
{
    ur_node e[2];
    ur_cell_zero_states(g, m->forward, b->B, e);
    ur_cell_zero_states(g, m->backward, b->B, e + 1);
    ur_node x = ur_dropout(ur_embed(m->from, ur_ints(g, b->x, b->T, b->B)), dropout);
    x = ur_bidirectional(m->forward, m->backward, x, b->x_lengths, UR_MERGE_CONCAT, e);
    ur_bridge_states(m->bridge, e, s);
    s[1] = ur_zeros(g, b->B, embed);
    return ur_dropout(x, dropout);
}

/* The decoder over words [T,B], or one step [B], on what an encoder made. */
static ur_node decode(const model *m, ur_node x, const int lengths[], ur_node words, ur_node s[2],
                      ur_node weights[])
{
    ur_memory memory = ur_memory_new(m->attention, x, lengths);
    const ur_cell *cell = ur_on_memory(m->decoder, memory, weights);
    ur_node y = ur_dropout(ur_scale(ur_embed(m->to, words), sqrt(embed)), dropout);
    ur_node a = ur_shape_of(words).rank == 1 ? ur_cell_apply(cell, -1, y, s)
                                             : ur_unroll(cell, y, s);
    return ur_add(ur_matmul_with(ur_dropout(a, dropout), m->to.E, false, true), m->bias);
}

/* ---- Training ------------------------------------------------------------------------------- */

/* Pairs in batches of which all have the same length, that of the longer side: little padding, and
 * few kinds of tapes. */
static ur_batches *batches_of(const model *m, ur_params *memory, const kit_row pairs[], int n,
                              int rows, bool in_order)
{
    enum { BUCKETS = 64 };
    int buckets[BUCKETS];
    for (int k = 0; k < BUCKETS; k++)
        buckets[k] = k + 1;
    ur_dataset *set = kit_parallel(memory, pairs, n, m->english, m->french);
    ur_batches *all = ur_batches_new(set, &(ur_batch_options){
        .rows = rows, .buckets = buckets, .n_buckets = BUCKETS, .seed = kit_settings.seed,
        .in_order = in_order, .pad_x = m->english.vocab->pad, .pad_y = m->french.vocab->pad });
    kit_need(memory);
    return all;
}

/* The mean loss of a word: the decoder is told what to write, y without its last word, and is to
 * say the next ones, y without its first. */
static ur_node loss_of(const model *m, ur_graph *g, const ur_batch *b, double smoothed)
{
    ur_node s[2], x = encode(m, g, b, s);
    ur_node words = ur_ints(g, b->y, b->U - 1, b->B);
    ur_node next = ur_ints(g, b->y + b->B, b->U - 1, b->B);
    ur_node z = decode(m, x, b->x_lengths, words, s, NULL);
    return ur_cross_entropy_with(z, next, m->french.vocab->pad, smoothed, UR_NIL, UR_MEAN);
}

static double update(void *ctx, int64_t position)
{
    model *m = ctx;
    ur_batch b;
    kit_run_batch(&m->run, m->train, position, &b);
    ur_clear(m->run.graph);
    return kit_run_learn(&m->run, loss_of(m, m->run.graph, &b, smoothing));
}

static bool validate(void *ctx, double *mean)
{
    model *m = ctx;
    ur_graph *g = m->run.scoring;
    ur_batch b;
    double total = 0, words = 0;
    ur_batches_seek(m->valid, (ur_batches_state){ 0 });
    while (ur_next_batch(m->valid, &b)) {
        int n = kit_steps(b.y_lengths, b.B) - b.B;
        ur_clear(g);
        total += n * kit_value(g, loss_of(m, g, &b, 0));
        words += n;
        if (kit_interrupted)
            return false;
    }
    *mean = total / words;
    return true;
}

/* ---- Translating ---------------------------------------------------------------------------- */

typedef struct {
    const model *m;
    const ur_batch *b;
    const void *encoded;                    /* numbers [S,B,2H] */
    int *lengths;                           /* of the beams: each sentence's, --beam times */
} looked_at;

/* One step of all beams; see ur_beam_search. */
static ur_node step(void *ctx, ur_node symbols, ur_node s[])
{
    const looked_at *l = ctx;
    ur_node x = ur_input(ur_graph_of(symbols), l->encoded, l->b->T, l->b->B, 2 * hidden);
    return decode(l->m, ur_repeat(x, 1, beam), l->lengths, symbols, s, NULL);
}

/* Translates a batch, into out[] by the numbers of its items. */
static void translate_batch(const model *m, ur_params *memory, const ur_batch *b,
                            const char *out[])
{
    ur_params *encoder = ur_cell_states(m->decoder, b->B);
    ur_params *beams = ur_cell_states(m->decoder, b->B * beam);
    ur_hypothesis *best = ur_params_alloc(memory, (size_t)b->B * sizeof *best);
    looked_at l = { m, b, NULL, ur_params_alloc(memory, (size_t)(b->B * beam) * sizeof(int)) };
    ur_node s[2];
    kit_need(memory);
    for (int i = 0; i < b->B * beam; i++)
        l.lengths[i] = b->x_lengths[i / beam];
    ur_clear(m->run.scoring);
    ur_node x = ur_keep(encode(m, m->run.scoring, b, s));
    ur_state_out(encoder, s);
    if (!ur_run(m->run.scoring) || !(l.encoded = ur_data(x)))
        kit_need(m->run.scoring);
    ur_state_spread(encoder, beams);
    kit_need(beams);
    ur_beam_options o = { .width = beam, .best = 1, .longest = longest, .alpha = alpha,
                          .start = m->french.vocab->sos, .end = m->french.vocab->eos };
    if (!ur_beam_search(m->decoding, step, &l, beams, b->B, &o, best))
        kit_need(m->decoding);
    for (int i = 0; i < b->B; i++)
        out[b->items[i]] = kit_words_of(memory, m->french.vocab, best[i].symbols, best[i].n);
    ur_params_free(encoder), ur_params_free(beams);
}

/* Translates n sentences, in the store's memory. Only some at Ctrl-C. */
static const char **translate(const model *m, ur_params *memory, const char *const sentences[],
                              int n)
{
    kit_row *rows = ur_params_alloc(memory, (size_t)n * sizeof *rows);
    const char **out = ur_params_alloc(memory, (size_t)n * sizeof *out);
    ur_batch b;
    kit_need(memory);
    for (int k = 0; k < n; k++)
        rows[k].left = sentences[k];
    ur_batches *all = batches_of(m, memory, rows, n, 32, true);
    while (!kit_interrupted && ur_next_batch(all, &b))
        translate_batch(m, memory, &b, out);
    return out;
}

/* ---- What came of it ------------------------------------------------------------------------ */

/* The BLEU of the test's English sentences, each translated once, against all their pairs. */
static void measure(const model *m, kit_table *test)
{
    enum { SHOWN = 3 };
    double begin = kit_now();
    int n, *first = kit_group_rows(test, &n);
    ur_params *memory = ur_params_new(UR_F32, 0);
    const char **english = ur_params_alloc(memory, (size_t)n * sizeof *english);
    kit_need(memory);
    for (int k = 0; k < n; k++)
        english[k] = test->rows[first[k]].left;
    const char **made = translate(m, memory, english, n);
    for (int k = n / SHOWN / 2; !kit_interrupted && k < n; k += n / SHOWN + 1)
        printf("%s\n    %s\n    (%s)\n", english[k], made[k],
               kit_spaced(memory, UR_ELIDED, test->rows[first[k]].right));
    if (!kit_interrupted)
        printf("BLEU %.2f of %d test sentences, beam %d, in %.0f s\n",
               kit_bleu_of(test, first, n, UR_ELIDED, made, output), n, beam, kit_now() - begin);
    ur_params_free(memory);
    free(first);
}

/* Draws how much the decoder looked at which word when it wrote a translation. */
static void draw_heat(const model *m, ur_params *memory, const char *sentence, const char *made)
{
    ur_graph *g = m->run.scoring;
    ur_batch b;
    ur_node s[2];
    ur_dataset *pair = kit_parallel(memory, &(kit_row){ sentence, made }, 1, m->english,
                                    (kit_language){ m->french.vocab, UR_SPACED });
    ur_next_batch(ur_batches_new(pair, &(ur_batch_options){ .rows = 1 }), &b);
    kit_need(memory);
    const int S = b.T, T = b.U - 1;
    const char **rows = ur_params_alloc(memory, (size_t)T * sizeof *rows);
    const char **columns = ur_params_alloc(memory, (size_t)S * sizeof *columns);
    ur_node *weights = ur_params_alloc(memory, (size_t)T * sizeof *weights);
    double *value = ur_params_alloc(memory, (size_t)(T * S) * sizeof *value);
    kit_need(memory);
    ur_clear(g);
    decode(m, encode(m, g, &b, s), b.x_lengths, ur_ints(g, b.y, T, 1), s, weights);
    for (int t = 0; t < T; t++) {
        kit_values(weights[t], value + t * S);
        rows[t] = ur_vocab_symbol(m->french.vocab, b.y[t + 1]).text;
    }
    kit_need(g);
    for (int k = 0; k < S; k++)
        columns[k] = ur_vocab_symbol(m->english.vocab, b.x[k]).text;
    if (!kit_svg_heat(heat, &(kit_heat){ "What a translation looks at", T, S, rows, columns,
                                         value }))
        exit(2);
}

/* Translates what the command line has. */
static void translate_arguments(const model *m, const char *const sentences[], int n)
{
    ur_params *memory = ur_params_new(UR_F32, 0);
    const char **made = translate(m, memory, sentences, n);
    for (int k = 0; k < n && !kit_interrupted; k++)
        printf("%s\n    %s\n", sentences[k], made[k]);
    if (heat && !kit_interrupted)
        draw_heat(m, memory, sentences[0], made[0]);
    ur_params_free(memory);
}

/* ---- The program ---------------------------------------------------------------------------- */

static void load_model(model *m)
{
    kit_saved_model(load, format, options, OPTIONS);
    m->english.vocab = ur_vocab_load(m->run.params, load, "source");
    m->french.vocab = ur_vocab_load(m->run.params, load, "target");
    kit_need(m->run.params);
    build(m);
    kit_load_params(load, m->run.params);
}

/* Trains with a rate that rises for 200 updates and then falls along half a cosine, to 2 %. */
static void train(model *m)
{
    kit_table learned = { 0 }, valid = { 0 };
    ur_params *ps = m->run.params, *memory = ur_params_new(UR_F32, 0);
    kit_run *r = &m->run;
    read_pairs(&learned, "train.tsv", 3000);
    read_pairs(&valid, "valid.tsv", 200);
    m->english.vocab = kit_vocab(ps, &learned, KIT_LEFT, m->english.kind,
                                 UR_WITH_PAD | UR_WITH_UNK, least);
    m->french.vocab = kit_vocab(ps, &learned, KIT_RIGHT, m->french.kind,
                                UR_WITH_PAD | UR_WITH_UNK | UR_WITH_SOS | UR_WITH_EOS, least);
    build(m);
    m->train = batches_of(m, memory, learned.rows, learned.n, batch, false);
    m->valid = batches_of(m, memory, valid.rows, valid.n, batch, true);
    r->update = update, r->validate = validate, r->ctx = m;
    r->per_epoch = ur_batches_count(m->train), r->items = batch, r->unit = "pairs";
    kit_run_open(r);
    double goal = 1 + (double)kit_run_goal(r->per_epoch);
    ur_set_schedule(r->optim, ur_schedule_cosine(fmin(200, goal / 10), goal, 0.02));
    kit_pairs_set(&r->facts, "data", "%s; %s", learned.print, valid.print);
    kit_pairs_set(&r->facts, "source", "%s", ur_vocab_text(ps, m->english.vocab));
    kit_pairs_set(&r->facts, "target", "%s", ur_vocab_text(ps, m->french.vocab));
    kit_need(ps);
    kit_run_train(r);
    kit_run_plot("Nats a word", (const kit_run *[]){ r }, 1);
    printf("%zu parameters, %d English and %d French words\n", ur_params_elements(ps),
           m->english.vocab->size, m->french.vocab->size);
    kit_table_free(&learned), kit_table_free(&valid);
    ur_params_free(memory);
}

static void check_options(char *const sentences[], int n)
{
    if (load)
        kit_refuse_training();
    for (int k = 0; k < n; k++)
        if (sentences[k][strspn(sentences[k], " \t\r\n")] == 0)
            kit_die("sentence %d has no words", k + 1);
    if (load && n == 0 && !data)
        kit_die("--load needs sentences to translate, or --data to be measured on");
    if (heat && n == 0)
        kit_die("--heat needs a sentence to translate");
    kit_distinct_files((const char *[]){ heat, output, load, kit_settings.log, kit_settings.plot,
                                         kit_settings.save }, 6);
    if (!kit_check_writable(heat) || !kit_check_writable(output))
        exit(2);
}

int main(int argc, char **argv)
{
    static model m;
    kit_table test = { 0 };
    kit_settings.lr = 2e-3, kit_settings.epochs = 15;
    int sentences = kit_args(&(kit_usage){
        "Learns to translate English to French, and measures it by BLEU.",
        "translate --data tatoeba --save fr.safetensors --plot fr.svg\n"
        "translate --load fr.safetensors 'Where is my red book?' --heat book.svg\n"
        "translate --load fr.safetensors --data tatoeba --beam 10 --output test.tsv",
        "SENTENCE...", options, OPTIONS }, argc, argv);
    kit_catch_interrupt();
    check_options(argv + 1, sentences);
    if (!load)
        kit_run_prepare(format, options, OPTIONS, NULL, NULL, 1);
    m.run.params = kit_run_params();
    m.english.kind = UR_WORDS, m.french.kind = UR_ELIDED;
    if (!load)
        kit_say_made_up(data, "sentences of two small languages");
    if (data || !load)
        read_pairs(&test, "test.tsv", 300);
    if (load)
        load_model(&m);
    else
        train(&m);
    if (!kit_interrupted && test.n > 0)
        measure(&m, &test);
    if (!kit_interrupted && sentences > 0)
        translate_arguments(&m, (const char *const *)argv + 1, sentences);
    ur_graph_free(m.decoding);
    kit_run_close(&m.run);
    kit_table_free(&test);
    return kit_finish();
}
