/* How time and memory grow with the length of a sequence: the forward and backward pass of a
 * character LSTM (B 8, H 64, V 65), without the update, at T = 64 and T = 4096 in turns on one
 * thread.
 *
 *     growth [ROUNDS]        the best of each over the rounds (7 normally), and the ratios a
 * token */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "unroll/unroll.h"

enum { B = 8, H = 64, V = 65, SHORT = 64, LONG = 4096 };

typedef struct run {
    int T;
    ur_params *ps, *states;
    ur_embedding embed;
    ur_cell *rnn;
    ur_linear_layer out;
    ur_graph *g;
    int32_t *x, *y;
    double best;                /* seconds */
} run;

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static run make(int T)
{
    run r = { .T = T, .ps = ur_params_new(UR_F32, 1), .best = 1e9 };
    r.embed = ur_embedding_new(r.ps, "embed", V, H);
    r.rnn = ur_lstm(r.ps, "lstm", H, H);
    r.out = ur_linear_new(r.ps, "out", H, V);
    r.states = ur_cell_states(r.rnn, B);
    r.g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_set_threads(r.g, 1);
    r.x = malloc(sizeof *r.x * (size_t)(T * B));
    r.y = malloc(sizeof *r.y * (size_t)(T * B));
    for (int i = 0; r.x && r.y && i < T * B; i++) {
        r.x[i] = i * 31 % V;
        r.y[i] = (i * 31 + 7) % V;
    }
    return r;
}

/* Records and runs; only the run is timed. */
static bool step(run *r)
{
    ur_node s[2];
    ur_clear(r->g);
    ur_state_in(r->g, r->states, s);
    ur_node h = ur_unroll(r->rnn, ur_embed(r->embed, ur_ints(r->g, r->x, r->T, B)), s);
    ur_node loss = ur_cross_entropy(ur_linear(r->out, h), ur_ints(r->g, r->y, r->T, B));
    ur_state_out(r->states, s);
    ur_backward(loss);
    double start = now();
    if (!ur_run(r->g))
        return fprintf(stderr, "growth: %s\n", ur_error(r->g)) < 0;
    double seconds = now() - start;
    ur_gradient_used(r->ps);
    r->best = seconds < r->best ? seconds : r->best;
    return true;
}

static double bytes(const run *r)
{
    return (double)ur_stats(r->g).arena_bytes / (r->T * B);
}

static void drop(run *r)
{
    ur_graph_free(r->g);
    ur_params_free(r->states);
    ur_params_free(r->ps);
    free(r->x);
    free(r->y);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 7;
    run a = make(SHORT), b = make(LONG);
    bool ok = a.x && a.y && b.x && b.y;
    for (int k = 0; ok && k < rounds; k++) {
        for (int i = 0; ok && i < 16; i++)
            ok = step(&a);
        ok = ok && step(&b);
    }
    if (ok) {
        double at = a.best / (SHORT * B) * 1e9, bt = b.best / (LONG * B) * 1e9;
        printf("T %4d: %7.1f ns and %6.0f arena bytes a token\n", SHORT, at, bytes(&a));
        printf("T %4d: %7.1f ns and %6.0f arena bytes a token\n", LONG, bt, bytes(&b));
        printf("ratio:  %7.2f in time, %.2f in bytes\n", bt / at, bytes(&b) / bytes(&a));
    }
    drop(&a);
    drop(&b);
    return !ok;
}
