/* bench.h: what the files of the benchmark share. bench.c reads the command line, measure.c runs
 * and times a workload, workloads.c is the table of them with their sizes and flops; every family
 * of workloads has a file, whose code is what a user of the library writes.
 *
 * A step is what a training loop does: record anew, forward, loss, backward, clip, update, with
 * other data in the same buffers. All in single precision, parameters drawn from U(-0.08, 0.08).
 * Data are random: uniform ids, each of which tells a little about the next, in a few batches that
 * take turns, so that a model has something to learn and no step has the data of the last. */
#ifndef UNROLL_TESTS_BENCH_BENCH_H
#define UNROLL_TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include "unroll/unroll.h"

/* ---- Forms: how the same model is written ---- */

typedef enum bench_form {
    TEXTBOOK,   /* gates apart on [h, x], trees node by node: what the targets mean */
    MERGED,     /* the gates' weights merged by hand into one, the product sliced */
    BATCHED,    /* x W over the whole sequence first, h W merged; trees level by level */
    RERUN,      /* textbook, recorded once and replayed on new data */
    LENGTHS,    /* textbook, sentences of new lengths in every step */
    FORMS
} bench_form;

const char *bench_form_name(bench_form form);

/* ---- Workloads (workloads.c) ---- */

typedef struct bench_workload bench_workload;
typedef struct bench_model bench_model;

/* The code that a workload runs. */
typedef struct bench_family {
    const char *name;
    unsigned forms;                                     /* bits, 1u << TEXTBOOK and so on */
    bench_model *(*open)(const bench_workload *w, bench_form form);
    double (*step)(bench_model *m);                     /* returns the loss */
    void (*close)(bench_model *m);
    double (*mac)(const bench_workload *w);             /* multiply-adds of a forward step */
} bench_family;

extern const bench_family bench_lm, bench_tag, bench_seq2seq, bench_transformer, bench_tree,
    bench_sample;

/* V symbols, embedded as E numbers; H units in each of `layers` layers of `cell`; B rows of T
 * steps. What the families do not use is 0. */
struct bench_workload {
    const char *name;
    const bench_family *family;
    const char *cell;
    int V, E, H, layers, B, T;
    int S;                      /* seq2seq: words of the source */
    int classes;                /* tag, tree: labels */
    int lo, hi;                 /* tag, tree: the shortest and longest sentence */
    int heads;                  /* transformer */
    bool adam;                  /* else sgd */
    double lr, clip;
    bool sum_t;                 /* the loss that is differentiated: T times the mean */
};

extern const bench_workload bench_workloads[];
extern const int bench_n_workloads;

/* Lengths of the B sentences of `tag`, leaves of the B trees of `tree`: spread over [lo, hi]. */
void bench_lengths(const bench_workload *w, int *length);
/* Tokens of a step: those that are predicted, words without padding, leaves. */
int bench_tokens(const bench_workload *w);
/* Model flops of a step: a multiply-add counts 2, backward twice the forward; products only,
 * nothing that padding or merging adds. */
double bench_flops(const bench_workload *w);
/* Gates of a cell, each of H units. */
int bench_gates(const char *cell);

/* ---- Models (model.c) ---- */

/* What all models have; the first member of a family's own struct. */
struct bench_model {
    const bench_workload *w;
    bench_form form;
    ur_graph *g;
    ur_params *ps, *states;     /* states: NULL where nothing is carried */
    ur_optim *opt;              /* NULL where nothing is trained */
};

/* Zeroed memory; ends the program when there is none. */
void *bench_alloc(size_t n, size_t size);
/* The start of every model: a store and a graph in `bytes` of memory. And the end of its opening:
 * the optimiser; nothing must have failed till then. */
void *bench_model_new(size_t bytes, const bench_workload *w, bench_form form, int mode);
void bench_model_ready(bench_model *m, bool trained);
/* Frees all that, and the model. */
void bench_model_free(bench_model *m);
/* The end of a recorded step: gradients of the loss, run, update. bench_update: the last of them
 * alone, after a run that did or did not succeed. */
void bench_train(bench_model *m, ur_node loss);
void bench_update(bench_model *m, bool ran);

/* U(-0.08, 0.08), for every parameter. */
ur_init bench_init(void);
ur_linear_layer bench_linear(ur_params *ps, const char *name, int I, int O);
ur_embedding bench_embedding(ur_params *ps, const char *name, int V, int E);

/* Cells (cells.c): of a kind as the workloads name them, in a form. In the form BATCHED the inputs
 * of a cell are the products x W + b of bench_gates(kind) * H columns, made beforehand. */
ur_cell *bench_cell(ur_params *ps, const char *kind, bench_form form, const char *name, int I,
                    int H);

/* ---- Data (model.c) ---- */

/* A small generator of random numbers, xorshift64*      Vigna, ACM Trans. Math. Softw. 42, 2016 */
uint32_t bench_random(uint64_t *state, uint32_t below);

/* Batches of `rows` x `columns` ids below V that take turns; down a column each id follows from the
 * one above it up to one of four values. */
typedef struct bench_data {
    int32_t *ids;
    size_t size;
    int turn;
} bench_data;
void bench_data_make(bench_data *d, int rows, int columns, int V, uint64_t seed);
void bench_data_next(bench_data *d, int32_t *to);

/* ---- Measuring (measure.c) ---- */

typedef struct bench_options {
    int threads;
    double seconds;
    const char *off;            /* rewrites to switch off, separated by commas, or NULL */
    double budget;              /* of the memory that a plan needs otherwise; 0 none */
    double started;             /* on bench_now's clock, of the process */
} bench_options;

typedef struct bench_result {
    double step_ms, first_step_ms, tokens_per_s, gflops, peak_gflops, rss_mb;
    double arena_mb;            /* values of a step that do not outlive it */
    double record_ns, plan_ns;  /* a node: of those on the tape, and of the plan's with adjoints */
    double first_loss, loss;
    double read_gbs, used_gbs;  /* sample: bytes of a 16 MB array, and of weights, read a second */
    size_t nodes, planned_nodes, plans_made;
    long steps;
} bench_result;

double bench_now(void);         /* seconds */
bench_result bench_measure(const bench_workload *w, bench_form form, const bench_options *o);

#endif
