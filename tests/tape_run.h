/* tape_run.h: what a recording of the property test uses besides operations.
 *
 *     static void record(tape_run *r, const void *ctx) { ... tape_leaf(r, ...) ... tape_see(...) }
 *
 * It takes its leaves, parameters and states from here, and says what is to be compared. This and
 * tape_compare.h are part of the programs that the test prints, so only the public API is used. */
#ifndef UNROLL_TESTS_TAPE_RUN_H
#define UNROLL_TESTS_TAPE_RUN_H

#include <stdlib.h>
#include <string.h>
#include "unroll/unroll.h"

/* y = x sigmoid(x): an op of the user's own. */
UR_MAP_OP(tape_swish, x / (1 + exp(-x)), -3, 3,
          ur_mul(g, ur_add(ur_sigmoid(x), ur_mul(y, ur_one_minus(ur_sigmoid(x))))))

enum { TAPE_LEAVES = 256, TAPE_SEEN = 64, TAPE_STATES = 2 };
enum { TAPE_GIVEN, TAPE_APART, TAPE_IDS };      /* what the numbers of a leaf are */
enum { TAPE_BELOW = 4096 };                     /* key of ids: k * TAPE_BELOW + their bound */

typedef struct tape_run {
    ur_graph *g;
    ur_params *ps, *st[TAPE_STATES];
    ur_type type;
    bool reference;             /* node by node: operands of what is seen are kept, too */
    bool dry;                   /* recorded for its stores alone: nothing is read */
    int version;                /* of the data in the leaves */
    struct { ur_node x; int how, key; } leaf[TAPE_LEAVES];
    int n_leaves;
    struct { ur_node x[8]; int line, n; size_t summed; } seen[TAPE_SEEN];
    int n_seen;
} tape_run;

typedef void tape_record(tape_run *r, const void *ctx);

/* --------------------------------------------------------------------------------------- leaves */

/* Element i of a leaf: in [-1, 1), the same in both precisions; or apart from all other elements of
 * the leaf, from those of the leaves with the next keys, and from 0; or an id below the key's
 * remainder. */
static inline double tape_number(const tape_run *r, int how, int key, size_t i)
{
    if (how == TAPE_APART)
        return ((double)((i * 37 + (size_t)r->version * 11) % 4099) - 2049.5) / 1024
               + (key & 7) / 16384.0;
    uint64_t z = ((uint64_t)key << 40) + ((uint64_t)r->version << 32) + i;
    z = (z + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return how == TAPE_IDS ? (double)(z % (uint64_t)(key % TAPE_BELOW))
                           : (double)(z % 2048) / 1024 - 1;
}

static inline void tape_fill(const tape_run *r, ur_node x, int how, int key)
{
    size_t n = ur_count(x);
    double *d = malloc((n + 1) * sizeof *d);
    float *f = (float *)d;
    int32_t *k = (int32_t *)d;
    for (size_t i = 0; d && i < n; i++) {
        double v = tape_number(r, how, key, i);
        if (how == TAPE_IDS)
            k[i] = (int32_t)v;
        else if (r->type == UR_F64)
            d[i] = v;
        else
            f[i] = (float)v;
    }
    ur_set(x, d);
    free(d);
}

/* A leaf with the numbers of a key. */
static inline ur_node tape_leaf(tape_run *r, int how, int key, int rank, const int *dim)
{
    ur_node x = how == TAPE_IDS ? ur_ints_at(NULL, r->g, NULL, rank, dim)
                                : ur_input_at(NULL, r->g, NULL, rank, dim);
    tape_fill(r, x, how, key);
    if (r->n_leaves < TAPE_LEAVES) {
        r->leaf[r->n_leaves].x = x;
        r->leaf[r->n_leaves].how = how;
        r->leaf[r->n_leaves++].key = key;
    }
    return x;
}

/* The parameter "p<k>". All are asked for before anything is run; their values come later. */
static inline ur_node tape_weight(tape_run *r, int k, int rank, const int *dim)
{
    const char *name = ur_namef(r->ps, "p%d", k);
    ur_node W = ur_find(r->ps, name);
    if (ur_is_nil(W))
        W = ur_param_at(NULL, r->ps, name, ur_constant(0), rank, dim);
    return ur_use(r->g, W);
}

/* The carried state k, in a store of its own. */
static inline ur_node tape_state(tape_run *r, int k, int rank, const int *dim)
{
    ur_node s = { NULL, 0, 0 };
    if (ur_params_count(r->st[k]) == 0)
        ur_param_at(NULL, r->st[k], "s", ur_constant(0), rank, dim);
    ur_state_in(r->g, r->st[k], &s);
    return s;
}

static inline void tape_state_out(tape_run *r, int k, ur_node x)
{
    ur_state_out(r->st[k], &x);
}

/* ---------------------------------------------------------------------------- gradients, values */

/* x[0] is to be compared; x[1] .. x[n - 1] are its operands, whose magnitude counts, too. */
static inline ur_node tape_see(tape_run *r, int line, int n, const ur_node x[])
{
    for (int i = 0; i < n; i++)
        if (i == 0 || (r->reference && ur_type_of(x[i]) != UR_I32))
            ur_keep(x[i]);
    if (r->n_seen < TAPE_SEEN) {
        r->seen[r->n_seen].line = line;
        r->seen[r->n_seen].n = n;
        r->seen[r->n_seen].summed = 0;
        memcpy(r->seen[r->n_seen++].x, x, (size_t)n * sizeof *x);
    }
    return x[0];
}

/* Reads x while the tape is being recorded: what there is of it is run. */
static inline void tape_read(tape_run *r, ur_node x)
{
    if (!r->dry)
        ur_data(x);
}

/* x[0 .. n) are the ys, then their seeds, if any, then the xs. Result number k; all are seen. */
static inline ur_node tape_grad(tape_run *r, int line, const ur_node x[], int n, int ys,
                                int seeds, int k)
{
    ur_node out[8] = { { NULL, 0, 0 } };
    int xs = n - ys - seeds;
    if (xs < 1 || !ur_grad(x, seeds ? x + ys : NULL, ys, x + ys + seeds, xs, out))
        return (ur_node){ NULL, 0, 0 };
    for (int j = 0; j < xs; j++) {
        tape_see(r, line, 2, (ur_node[]){ out[j], x[ys + seeds + j] });
        r->seen[r->n_seen - 1].summed = ur_count(x[0]);
    }
    return out[k % xs];
}

#endif
