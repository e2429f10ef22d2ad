/* hello.c: the smallest recurrent network of the lectures. Its alphabet is h, e, l, o; it reads
 * "hell" and learns to answer "ello": after every letter, the next one.
 *
 *     h_t = tanh(x_t U + h_t-1 W)      y_t = softmax(h_t V)      E = - sum_t ln y_t[next letter]
 *
 * After an l comes an l or an o: only the state h can know which. The loop over t below is the
 * unrolled network; back-propagation through time is the gradient of what the loop recorded. */
#include "examples/kit/run.h"

#include <string.h>

enum { MOST = 64 };     /* letters of the word */

static const char *word = "hello", *dot;
static int hidden = 3, updates = 200;
static double lr = 0.05;
static uint64_t seed = 1;

static kit_option options[] = {
    KIT_OPTION("word", &word, NULL, "WORD", "what to learn"),
    KIT_OPTION("hidden", &hidden, "[1,1024]", "N", "units of the state h"),
    KIT_OPTION("updates", &updates, "[0,1000000]", "N", "updates to make"),
    KIT_OPTION("lr", &lr, "(0,1e30]", "X", "learning rate (of Adam)"),
    KIT_OPTION("seed", &seed, NULL, "N", "seed of the weights"),
    KIT_OPTION("dot", &dot, NULL, "FILE",
               "draws the unrolled graph there, for Graphviz; -: on the standard output, and all "
               "else on the other one"),
};

/* ---- Data: the letters of the word in order of first appearance, a number each --------------- */

static char alphabet[MOST + 1];
static int T, K;                /* steps: every letter but the last; letters of the alphabet */
static int32_t id[MOST];

static void number_letters(void)
{
    size_t n = strlen(word);
    if (n < 2 || n > MOST)
        kit_die("--word has %zu letters, but 2 to %d are wanted", n, MOST);
    for (size_t i = 0; i < n; i++) {
        if (!strchr(alphabet, word[i]))
            alphabet[K++] = word[i];
        id[i] = (int32_t)(strchr(alphabet, word[i]) - alphabet);
    }
    T = (int)n - 1;
}

/* ---- Model ----------------------------------------------------------------------------------- */

static ur_node U, W, V;

static void make(ur_params *ps)
{
    U = ur_param(ps, "U", ur_xavier(), K, hidden);
    W = ur_param(ps, "W", ur_xavier(), hidden, hidden);
    V = ur_param(ps, "V", ur_xavier(), hidden, K);
}

/* One step of the network: the logits [1,K] of the next letter; *h moves on. */
static ur_node step(ur_node x, ur_node *h)
{
    *h = ur_named(ur_tanh(ur_add(ur_matmul(x, U), ur_matmul(*h, W))), "h");
    return ur_named(ur_matmul(*h, V), "z");
}

/* The letter at place t as a row [1,K]: one 1 among zeros. */
static ur_node letter(ur_graph *g, int t)
{
    return ur_one_hot(ur_named(ur_ints(g, &id[t], 1), "letter"), K);
}

/* The whole word: records T steps, keeps what each predicts in y[], and returns the loss E. */
static ur_node unroll(ur_graph *g, ur_node y[])
{
    ur_node h = ur_named(ur_zeros(g, 1, hidden), "h"), E = UR_NIL;
    for (int t = 0; t < T; t++) {
        ur_scope_begin(g, "rnn", t);
        ur_node z = step(letter(g, t), &h);
        ur_node E_t = ur_neg(ur_sum(ur_mul(letter(g, t + 1), ur_log_softmax(z))));
        y[t] = ur_softmax(z);
        E = t == 0 ? E_t : ur_add(E, E_t);
        ur_scope_end(g);
    }
    return ur_named(E, "E");
}

/* ---- Result ---------------------------------------------------------------------------------- */

/* What follows each letter of the word, in per cent. */
static void tell(FILE *to, const ur_node y[])
{
    float p[MOST];
    fprintf(to, "\nafter    then");
    for (int k = 0; k < K; k++)
        fprintf(to, "%6c", alphabet[k]);
    for (int t = 0; t < T; t++) {
        if (!ur_read(y[t], p, (size_t)K))
            kit_need(ur_graph_of(y[t]));
        fprintf(to, "\n%-9.*s %c  ", t + 1, word, word[t + 1]);
        for (int k = 0; k < K; k++)
            fprintf(to, "%5.0f%%", 100 * (double)p[k]);
    }
    fprintf(to, "\n");
}

/* Says the first letter to the network and from then on its own answers. */
static void say(FILE *to, ur_graph *g)
{
    int32_t said;
    fprintf(to, "\nsays: %c", word[0]);
    ur_clear(g);
    ur_node h = ur_zeros(g, 1, hidden), x = letter(g, 0);
    for (int t = 0; t < T; t++) {
        ur_node answer = ur_argmax(step(x, &h), -1);
        if (!ur_read(answer, &said, 1))
            kit_need(g);
        fputc(alphabet[said], to);
        x = ur_one_hot(answer, K);
    }
    fprintf(to, "\n");
}

int main(int argc, char **argv)
{
    kit_args(&(kit_usage){ "Learns to spell a word letter by letter, and draws the network.",
                           "hello\nhello --dot hello.dot\nhello --dot - | dot -Tsvg >hello.svg",
                           NULL, options, sizeof options / sizeof *options }, argc, argv);
    FILE *to = dot && strcmp(dot, "-") == 0 ? stderr : stdout;
    number_letters();
    kit_catch_interrupt();
    ur_params *ps = ur_params_new(UR_F32, seed);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    kit_need(ps), kit_need(g);
    make(ps);
    ur_optim *optim = ur_optim_new(ps, ur_adam(lr));
    kit_need(ps);
    ur_node y[MOST];
    fprintf(to, "alphabet [%s], %d steps, %zu weights\n", alphabet, T, ur_params_elements(ps));
    for (int u = 0; u <= updates && !kit_interrupted; u++) {
        ur_clear(g);
        ur_node E = ur_backward(unroll(g, y));
        if (!ur_run(g))
            kit_need(g);
        if (u % 25 == 0 || u == updates)
            fprintf(to, "update %4d  loss %.4f\n", u, ur_value(E));
        if (u == 0 && dot)
            kit_write_dot(dot, g);
        if (u < updates && !ur_step(optim))
            kit_need(ps);
    }
    tell(to, y);
    say(to, g);
    ur_optim_free(optim);
    ur_graph_free(g);
    ur_params_free(ps);
    return kit_finish();
}
