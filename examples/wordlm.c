/* wordlm.c: a word language model. It reads sentences, a line each, learns to tell the next word,
 * and then says how likely sentences are that it is given.
 *
 *     x_t = E[word t]    h_t, c_t = lstm(x_t, h_t-1, c_t-1)    p(word t+1) = softmax(h_t W + b)
 *
 * Words that are rare in the text become <unk>; a sentence ends with <eos>, which is also what the
 * next one begins with. p(sentence) is the product of its words' and that of <eos>. With --tied W
 * is E transposed (Press and Wolf 2017).
 *
 * The recipe of Zaremba, Sutskever and Vinyals ("Recurrent neural network regularization", 2014) is
 *     --uniform 0.1 --optim sgd --lr 1 --decay 0.5 --after 4 --clip 5 --sum --epochs 13
 * parameters that start from U(-0.1, 0.1), a rate that is halved with every epoch after the fourth,
 * a loss summed over time; their larger networks have --dropout 0.5, on what passes from layer to
 * layer and never on what passes from step to step. States are carried as in charlm. */
#include "examples/kit/corpus.h"

#include <stdlib.h>
#include <string.h>

/* ---- Options -------------------------------------------------------------------------------- */

static const char *data, *load, *tokens = "words", *neighbours;
static int hidden = 200, layers = 2, batch = 20, steps = 35, most = 10000, sample;
static int64_t least = 2;
static double dropout = 0.2, uniform, decay = 1, after, temperature = 1;
static bool tied, sum;
enum { MOST_LAYERS = 16, NEIGHBOURS = 8 };

static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FILE", "text to learn, a sentence a line"),
    KIT_SAVED(KIT_MODEL, "tokens", &tokens, "words|spaced", "NAME",
              "words: punctuation is split off; spaced: what stands between spaces"),
    KIT_SAVED(KIT_FIXED, "least", &least, "[1,1000000000]", "N",
              "words that occur less often are <unk>"),
    KIT_SAVED(KIT_FIXED, "most", &most, "[3,10000000]", "N", "words of the vocabulary"),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of a layer, and of a word"),
    KIT_SAVED(KIT_MODEL, "layers", &layers, "[1,16]", "N", "layers on top of each other"),
    KIT_SAVED(KIT_MODEL, "tied", &tied, NULL, NULL, "words have one vector, coming in and out"),
    KIT_SAVED(KIT_FIXED, "batch", &batch, "[1,65536]", "N", "streams that the text is cut into"),
    KIT_SAVED(KIT_FIXED, "steps", &steps, "[1,1000000]", "T",
              "words of each stream that an update learns"),
    KIT_SAVED(KIT_KEPT, "dropout", &dropout, "[0,1)", "P",
              "share of what passes between layers that becomes zero"),
    KIT_SAVED(KIT_FIXED, "uniform", &uniform, "[0,inf)", "X",
              "parameters start in [-X, X]; 0: as the library has them"),
    KIT_SAVED(KIT_FIXED, "decay", &decay, "(0,1]", "X",
              "multiplies the learning rate with every epoch"),
    KIT_SAVED(KIT_FIXED, "after", &after, "[0,1000000]", "N", "epochs before the first decay"),
    KIT_SAVED(KIT_FIXED, "sum", &sum, NULL, NULL,
              "gradients are those of the loss summed over --steps, not of its mean"),
    KIT_TRAINING,
    KIT_OPTION("load", &load, NULL, "FILE", "trains nothing, uses a saved model"),
    KIT_OPTION("neighbours", &neighbours, NULL, "WORD", "lists the words with the nearest vectors"),
    KIT_OPTION("sample", &sample, "[0,1000000]", "N", "sentences to write in the end"),
    KIT_OPTION("temperature", &temperature, "[0,inf)", "X",
               "divides the logits of these; 0 stands for the likeliest word"),
};
enum { OPTIONS = sizeof options / sizeof *options };
static const char format[] = "wordlm 1";

/* ---- Data ----------------------------------------------------------------------------------- */

static ur_token_kind kind(void)
{
    return strcmp(tokens, "words") == 0 ? UR_WORDS : UR_SPACED;
}

/* The ids of a text's words, <eos> at the end of each line that has any; there are fewer than two
 * a byte. */
static size_t encode(const ur_vocab *v, const char *text, size_t n, int32_t *ids)
{
    size_t used = 0;
    for (const char *end = text + n, *line = text; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop ? stop : end;
        size_t length = (size_t)(stop - line);
        size_t words = ur_vocab_encode(v, kind(), line, length, ids + used, length);
        used += words;
        if (words > 0)
            ids[used++] = v->eos;
        line = stop + (stop < end);
    }
    return used;
}

/* ---- The model ------------------------------------------------------------------------------ */

typedef struct {
    ur_params *params;
    const ur_vocab *vocab;
    ur_embedding embed;
    ur_cell *rnn;
    ur_linear_layer out;                    /* W is nil where it is E */
} model;

static void build(model *m)
{
    ur_cell *layer[MOST_LAYERS];
    ur_params *ps = m->params;
    const int V = m->vocab->size;
    const bool given = uniform > 0;
    const ur_init u = ur_uniform_between(-uniform, uniform), k = ur_cell_defaults(hidden).W;
    ur_cell_options o = ur_cell_defaults(hidden);
    if (given)
        o.W = o.U = o.b = o.forget = u;
    m->embed = ur_embedding_with(ps, "embed", V, hidden,
                                 given ? u : tied ? k : ur_normal_with(0, 1));
    for (int i = 0; i < layers; i++)
        layer[i] = ur_lstm_with(ps, ur_namef(ps, "lstm%d", i), hidden, hidden, &o);
    m->rnn = ur_stacked("rnn", layer, layers, dropout);
    if (tied)
        m->out.b = ur_param(ps, "out.b", ur_constant(0), V);
    else
        m->out = ur_linear_with(ps, "out", hidden, V, given ? u : k, given ? u : k);
    kit_need(ps);
}

/* The logits of the word that follows each of ids [T, B], or [B] for a single step; the states s[]
 * move on. */
static ur_node logits(const model *m, ur_node ids, const int lengths[], ur_node s[])
{
    ur_node x = ur_dropout(ur_embed(m->embed, ids), dropout);
    ur_node h = ur_shape_of(ids).rank == 1 ? ur_cell_apply(m->rnn, -1, x, s)
                                           : ur_unroll_lengths(m->rnn, x, lengths, s);
    h = ur_dropout(h, dropout);
    return tied ? ur_add(ur_matmul_with(h, m->embed.E, false, true), m->out.b)
                : ur_linear(m->out, h);
}

static ur_node all_logits(void *m, ur_node ids, const int lengths[])
{
    return logits(m, ids, lengths, NULL);
}

static ur_node step_logits(void *m, ur_node ids, ur_node s[])
{
    return logits(m, ids, NULL, s);
}

/* ---- Using it ------------------------------------------------------------------------------- */

static void score(model *m, ur_graph *g, const char *sentence)
{
    size_t room = strlen(sentence) + 1;
    int32_t *ids = kit_zeros(room, sizeof *ids);
    int n = (int)ur_vocab_encode(m->vocab, kind(), sentence, room - 1, ids, room), unknown = 0;
    double p = 0;
    char text[3][64];
    for (int i = 0; i < n; i++)
        unknown += ids[i] == m->vocab->unk;
    if (!ur_log_probability(g, all_logits, m, &(const int32_t *){ ids }, &n, 1, m->vocab->eos,
                            m->vocab->eos, &p))
        kit_need(g);
    printf("%9s nats, %s a word, perplexity %s", kit_number(text[0], "%.2f", p),
           kit_number(text[1], "%.3f", p / (n + 1)),
           kit_number(text[2], "%.1f", ur_perplexity(p, n + 1)));
    printf(unknown > 0 ? ", %d <unk>: %s\n" : "%.0d: %s\n", unknown, sentence);
    free(ids);
}

/* The words whose vectors have the largest cosines with that of --neighbours. */
static void list_neighbours(const model *m, ur_graph *g)
{
    int id = ur_vocab_id(m->vocab, neighbours, strlen(neighbours)), V = m->vocab->size;
    if (id == m->vocab->unk)
        kit_die("--neighbours: '%s' is not in the vocabulary", neighbours);
    ur_clear(g);
    ur_node E = ur_use(g, m->embed.E);
    ur_node unit = ur_div(E, ur_sqrt(ur_sum_keep(ur_square(E), -1)));
    ur_node cosines = ur_matmul_with(unit, ur_slice(unit, 0, id, id + 1), false, true);
    printf("nearest to %s:", neighbours);
    for (int k = 0; k <= NEIGHBOURS && k < V; k++) { /* the largest, then all without that one */
        char text[64];
        double cosine = ur_value(ur_max(cosines));
        int32_t best = ur_int(ur_argmax(ur_reshape(cosines, V), 0));
        kit_need(g);
        if (best != id)
            printf(" %s %s", ur_vocab_symbol(m->vocab, best).text,
                   kit_number(text, "%.2f", cosine));
        ur_node taken = ur_reshape(ur_one_hot(ur_ints(g, &best, 1), V), V, 1);
        cosines = ur_sub(cosines, ur_scale(taken, 3));
    }
    putchar('\n');
}

static void write_sentences(model *m, ur_graph *g)
{
    ur_params *states = ur_cell_states(m->rnn, sample);
    ur_hypothesis *all = kit_zeros((size_t)sample, sizeof *all);
    ur_sample_options o = { .start = m->vocab->eos, .end = m->vocab->eos, .longest = 60,
                            .temperature = temperature };
    kit_need(states);
    if (!ur_decode_sample(g, step_logits, m, states, sample, &o, all))
        kit_need(g);
    for (int k = 0; k < sample; k++)
        puts(kit_words_of(states, m->vocab, all[k].symbols, all[k].n));
    ur_params_free(states);
    free(all);
}

/* What is asked of a model that has learned. */
static void use(model *m, char *sentences[], int n)
{
    ur_graph *g = kit_run_graph(UR_INFER);
    for (int k = 0; k < n; k++)
        score(m, g, sentences[k]);
    if (neighbours)
        list_neighbours(m, g);
    if (sample > 0)
        write_sentences(m, g);
    ur_graph_free(g);
}

/* --load: nothing but that. */
static void load_model(model *m)
{
    kit_saved_model(load, format, options, OPTIONS);
    m->vocab = ur_vocab_load(m->params, load, "vocabulary");
    kit_need(m->params);
    build(m);
    kit_load_params(load, m->params);
}

/* ---- Training ------------------------------------------------------------------------------- */

typedef struct {
    model m;
    kit_run run;
    ur_streams text;
    int32_t *ids, *x, *y;
    const int32_t *valid;                   /* the ids of the validation text */
    size_t n_valid;
    ur_params *scoring_states;              /* those of validation */
} trainer;
enum { PIECE = 32 };

/* Learns a segment; see kit_run. Returns the mean loss of a word, whatever is differentiated. A
 * stream whose segment happens to begin with a sentence goes on from states of zero: so the network
 * learns to begin with them, which is what it has to do when it scores and writes. */
static double update(void *ctx, int64_t position)
{
    trainer *t = ctx;
    ur_graph *g = t->run.graph;
    ur_node s[2 * MOST_LAYERS];
    ur_streams_segment(&t->text, (size_t)position, t->x, t->y);
    for (int b = 0; b < batch; b++)
        if (t->x[b] == t->m.vocab->eos)
            ur_state_reset(t->run.states, b);
    ur_clear(g);
    ur_state_in(g, t->run.states, s);
    ur_node z = logits(&t->m, ur_ints(g, t->x, steps, batch), NULL, s);
    ur_node loss = ur_keep(ur_cross_entropy(z, ur_ints(g, t->y, steps, batch)));
    ur_state_out(t->run.states, s);
    kit_run_learn(&t->run, sum ? ur_scale(loss, steps) : loss);
    return ur_value(loss);
}

/* The mean loss over the validation text, read from start to end. */
static bool validate(void *ctx, double *mean)
{
    trainer *t = ctx;
    return kit_stream_loss(t->run.scoring, t->scoring_states, step_logits, &t->m, t->valid,
                           t->n_valid, PIECE, mean);
}

/* Makes the vocabulary of the first nine tenths, cut at a line's end where there is one, and ids of
 * all: the rest is for validation. */
static void use_text(trainer *t, const char *text, size_t n)
{
    size_t cut = kit_nine_tenths(n);
    const char *end = memchr(text + cut, '\n', n - cut);
    cut = end && end + 1 < text + n ? (size_t)(end + 1 - text) : cut;
    ur_params *counts = ur_params_new(UR_F32, 0);
    ur_counter *c = ur_counter_new(counts);
    ur_count_tokens(c, kind(), text, cut);
    kit_need(counts);
    t->m.vocab = ur_vocab_new(t->m.params, c, UR_WITH_UNK | UR_WITH_EOS, least, most);
    ur_params_free(counts);
    kit_need(t->m.params);
    t->ids = kit_zeros(2 * n + 2, sizeof *t->ids);
    size_t learned = encode(t->m.vocab, text, cut, t->ids);
    size_t others = encode(t->m.vocab, text + cut, n - cut, t->ids + learned);
    t->text = ur_streams_of(t->ids, learned, batch, steps);
    t->valid = t->ids + learned;
    t->n_valid = others > PIECE ? (others - 1) / PIECE * PIECE + 1 : others; /* whole pieces */
    if (t->text.segments == 0 || others < 2)
        kit_die("the text has %zu words and ends of lines to learn, but one update with --batch %d "
                "and --steps %d takes %lld", learned, batch, steps, (long long)batch * steps + 1);
    t->x = kit_zeros((size_t)batch * (size_t)steps, sizeof *t->x);
    t->y = kit_zeros((size_t)batch * (size_t)steps, sizeof *t->y);
}

static bool train(trainer *t, const char *text, size_t n)
{
    char print[64];
    const char *name = "lstm";
    const kit_run *run = &t->run;
    use_text(t, text, n);
    build(&t->m);
    t->scoring_states = ur_cell_states(t->m.rnn, 1);
    kit_need(t->scoring_states);
    t->run = (kit_run){ .params = t->m.params, .states = ur_cell_states(t->m.rnn, batch),
                        .update = update, .validate = validate, .ctx = t,
                        .per_epoch = (int64_t)t->text.segments,
                        .items = (int64_t)batch * steps, .unit = "words" };
    kit_need(t->run.states);
    kit_run_open(&t->run);
    double epoch = (double)t->run.per_epoch;
    ur_set_schedule(t->run.optim, ur_schedule_step(after * epoch, epoch, decay));
    kit_print_of(print, text, n);
    kit_pairs_set(&t->run.facts, "text", "%s", print);
    kit_pairs_set(&t->run.facts, "vocabulary", "%s", ur_vocab_text(t->m.params, t->m.vocab));
    bool done = kit_run_train(&t->run);
    kit_run_plot(data ? data : "a small grammar", &run, 1);
    if (done) {
        kit_run_table("model", &name, &run, 1);
        printf("validation perplexity %s, %d words\n",
               kit_number(print, "%.2f", ur_perplexity(-run->valid_loss, 1)), t->m.vocab->size);
    }
    return done;
}

/* ---- The program ---------------------------------------------------------------------------- */

static void check_options(int sentences)
{
    if (load)
        kit_refuse_training();
    if (load && data)
        kit_die("--load trains nothing: it takes no --data");
    if (load && sentences == 0 && !neighbours && sample == 0)
        kit_die("--load needs sentences to score, --neighbours or --sample");
}

int main(int argc, char **argv)
{
    static trainer t;
    char *text = NULL;
    size_t n = 0;
    bool done = true;
    int sentences = kit_args(&(kit_usage){
        "Learns a text word by word, and says how likely sentences are, or writes some.",
        "wordlm --data book.txt --tied --save book.safetensors --sample 5\n"
        "wordlm --load book.safetensors 'the cats see a dog .' 'the cats sees a dog .'\n"
        "wordlm --load book.safetensors --neighbours king",
        "SENTENCE...", options, OPTIONS }, argc, argv);
    kit_catch_interrupt();
    check_options(sentences);
    t.m.params = t.run.params = kit_run_params();
    if (load) {
        load_model(&t.m);
    } else {
        kit_run_prepare(format, options, OPTIONS, data, NULL, 1);
        kit_say_made_up(data, "sentences of a small grammar");
        if (data && !kit_read_file(data, &text, &n))
            return 2;
        text = data ? text : kit_made_up_sentences(4000, kit_settings.seed);
        n = data ? n : strlen(text);
        done = train(&t, text, n);
    }
    if (done)
        use(&t.m, argv + 1, sentences);
    kit_run_close(&t.run);
    ur_params_free(t.scoring_states);
    free(t.ids), free(t.x), free(t.y), free(text);
    return kit_finish();
}
