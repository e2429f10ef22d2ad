/* run.h: a training run as every example has it: so many updates in so many epochs, watched,
 * logged, plotted, stopped by Ctrl-C, saved, and resumed so that it ends with the same bits as one
 * that was never stopped. This and corpus.h are the parts of the kit that know the library, by its
 * public headers.
 *
 *     static kit_option options[] = {
 *         KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,65536]", "N", "units of a layer"),
 *         ...
 *         KIT_TRAINING,
 *     };
 *     ...
 *     static double update(void *ctx, int64_t position)
 *     {
 *         model *m = ctx;
 *         ur_clear(m->run.graph);
 *         return kit_run_learn(&m->run, ...the loss, recorded on that graph...);
 *     }
 *     ...
 *     kit_args(&usage, argc, argv);
 *     kit_run_prepare("prog 1", options, n_options, NULL, NULL, 1);
 *     ur_params *ps = kit_run_params();
 *     ...
 *     m.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &m,
 *                        .per_epoch = batches, .items = 64, .unit = "words" };
 *     kit_run_open(&m.run);
 *     if (kit_run_train(&m.run))
 *         ...use it, on m.run.scoring...
 *     kit_run_close(&m.run);
 *     return kit_finish();
 *
 * Functions leave the program by kit_die when something fails. */
#ifndef UNROLL_EXAMPLES_RUN_H
#define UNROLL_EXAMPLES_RUN_H

#include "examples/kit/kit.h"
#include "unroll/unroll.h"

/* The exit status after Ctrl-C: that of a shell's command ended by it. */
enum { KIT_INTERRUPTED = 130 };
/* The end of main: dies where the standard output could not be written; returns the exit status: 0,
 * KIT_INTERRUPTED, or 2 where the log could not be written, which was said and stopped nothing. */
int kit_finish(void);

/* ---- Settings (settings.c) ---------------------------------------------------------------- */

/* What every training program can be told, as rows for its options; the values below are their
 * defaults, which a program may change before kit_args. */
extern struct kit_settings {
    const char *optim, *save, *resume, *log, *plot;
    const char *precision;      /* "float" */
    double lr, clip;            /* 2e-3, 5 */
    int64_t epochs, updates;    /* 5, and 0: that many epochs; updates are for the whole run, and
                                   come first unless the command line has --epochs */
    uint64_t seed;              /* 1 */
    int threads;                /* 0: one a core */
} kit_settings;

#define KIT_TRAINING \
    KIT_SAVED(KIT_KEPT, "epochs", &kit_settings.epochs, "[0,1000000000]", "N", \
              "times to go through the data"), \
    KIT_SAVED(KIT_KEPT, "updates", &kit_settings.updates, "[0,1000000000]", "N", \
              "updates to make, in the place of epochs"), \
    KIT_SAVED(KIT_FIXED, "optim", &kit_settings.optim, \
              "sgd|momentum|nesterov|adagrad|adadelta|rmsprop|adam|adamw", "NAME", "optimiser"), \
    KIT_SAVED(KIT_KEPT, "lr", &kit_settings.lr, "(0,1e30]", "X", "learning rate"), \
    KIT_SAVED(KIT_KEPT, "clip", &kit_settings.clip, "[0,inf)", "X", \
              "norm to which gradients are clipped; 0: as they are"), \
    KIT_SAVED(KIT_FIXED, "precision", &kit_settings.precision, "float|double", "NAME", \
              "of the numbers to compute with"), \
    KIT_SAVED(KIT_FIXED, "seed", &kit_settings.seed, NULL, "N", "seed of all random numbers"), \
    KIT_OPTION("threads", &kit_settings.threads, "[0,1024]", "N", \
               "threads to compute with; 0: one a core"), \
    KIT_OPTION("save", &kit_settings.save, NULL, "FILE", \
               "saves the run there after every epoch, at Ctrl-C and in the end (safetensors)"), \
    KIT_OPTION("resume", &kit_settings.resume, NULL, "FILE", \
               "takes up a saved run, with its options"), \
    KIT_OPTION("log", &kit_settings.log, NULL, "FILE", \
               "writes figures there, a JSON object a line"), \
    KIT_OPTION("plot", &kit_settings.plot, NULL, "FILE.svg", "draws the losses there")

/* To be called after kit_args: looks whether the settings agree with each other, restores the
 * options from --resume, checks that all outputs can be written and are not the same file, nor
 * `data`, which may be NULL. n runs are to follow; where n > 1 each has a name and is saved to the
 * path that kit_path_with makes of it. `format` is what a saved file says it is: "charlm 1". */
void kit_run_prepare(const char *format, kit_option *options, size_t n_options, const char *data,
                     const char *const names[], size_t n);

/* A program's first line, where `data` is NULL: that it learns what is made up by the seed, and
 * what that is. To be called after kit_run_prepare, which may restore the seed. */
void kit_say_made_up(const char *data, const char *which);

/* Restores the options of KIT_MODEL from a file of that format, to load a model without its run. */
void kit_saved_model(const char *path, const char *format, const kit_option *options, size_t n);
/* The parameters of such a model. Dies where the file lacks one. */
void kit_load_params(const char *path, ur_params *ps);
/* Dies where the command line sets what is of training alone beside --load. */
void kit_refuse_training(void);
/* What a saved file says under a key; dies if it says nothing. Valid until the next call. */
const char *kit_saved(const char *path, const char *key);

/* Dies with the text of the first error of a graph or a store, if it has one, or if it is NULL. */
void kit_need(const void *graph_or_store);
/* The precision of the settings; a store of it with their seed; a graph of it with their seed and
 * threads. */
ur_type kit_run_type(void);
ur_params *kit_run_params(void);
ur_graph *kit_run_graph(int mode);
/* n numbers as a graph's precision has them, in memory of its tape: for ur_input. */
const void *kit_numbers(ur_graph *g, const double x[], size_t n);
/* A cell by the name of its kind, as an option has it (cell.c): elman, irnn, lstm, gru or
 * gru_reset_after; dies for another. */
ur_cell *kit_cell(ur_params *ps, const char *kind, const char *name, int I, int H);
/* Gives the gates of an lstm or a gru the biases for a memory of up to T >= 2 steps (chrono.c);
 * other cells stay as they are. To be called when all parameters of the store have been made. */
void kit_chrono(ur_params *ps, const ur_cell *cell, int T, uint64_t seed);
/* The value of a node on g, or all its values, as doubles; they run what is outstanding. The first
 * dies with the graph's error. */
double kit_value(ur_graph *g, ur_node x);
void kit_values(ur_node x, double *out);
/* The optimiser of the settings. momentum and nesterov have 0.9. And in two steps, for a program
 * with a recipe of its own: the method, and an optimiser that clips as the settings say. */
ur_optim *kit_run_optim(ur_params *ps);
ur_method kit_run_method(void);
ur_optim *kit_run_optim_with(ur_params *ps, ur_method method);
/* Updates that the settings want in all, for schedules. */
int64_t kit_run_goal(int64_t per_epoch);
/* The rate falls along half a cosine to `least` of it at the end of those updates. */
void kit_run_cosine(ur_optim *optim, int64_t per_epoch, double least);

/* ---- A run (run.c) ------------------------------------------------------------------------ */

typedef struct kit_run {
    /* The program's part. */
    const char *name;               /* of its model, where there are several runs, or NULL */
    kit_pairs facts;                /* further texts to save, which must be the same when the run is
                                       resumed: a vocabulary, a hash of the data */
    ur_graph *graph;                /* of training: its random numbers go on */
    ur_graph *scoring;              /* of validation and use, without dropout */
    ur_params *params, *states;     /* states: carried, zero at an epoch's start; NULL for none */
    ur_optim *optim;
    /* Makes update number `position` of an epoch, from 0, up to ur_step; returns its loss. */
    double (*update)(void *ctx, int64_t position);
    /* Measures the loss on other data. False when it gave up because of kit_interrupted. */
    bool (*validate)(void *ctx, double *loss);
    void *ctx;
    int64_t per_epoch;              /* updates, at least 1 */
    int64_t items;                  /* that an update learns, called `unit` in the plural */
    const char *unit;
    const char *bits;               /* shows the loss in bits as well, by this name, or NULL */

    /* Where it stands: all zeros at the start. */
    int64_t done, epoch, position;  /* updates in all; epochs finished; updates of this epoch */
    int64_t logged;                 /* update of the last line of the log */
    double loss, seconds;           /* sums over the updates of this epoch */
    double recent;                  /* sum of losses since the last line of the log */
    double busy, elapsed;           /* seconds of updates, and with validation, of all epochs */
    double norm;                    /* of the last update's gradient; -1 where it was not finite */
    double train_loss, valid_loss;  /* when last measured */
    kit_curve trained, validated;   /* losses by update */
    kit_progress bar;
    int *order;                     /* kit_run_order's, of epoch `ordered` */
    int64_t ordered;
} kit_run;

/* Makes what the program left NULL: both graphs, and the optimiser for `params`. */
void kit_run_open(kit_run *r);
/* Frees what training took, where other runs follow: graphs, states, optimiser. */
void kit_run_end(kit_run *r);
/* Frees all that a run has: that, if it is there still, `params`, and its figures. */
void kit_run_close(kit_run *r);

/* Trains up to the goal of the settings, from the start or as resumed. Saves at every epoch's end,
 * every five minutes and in the end; measures once more where the end is not that of an epoch, or
 * nothing was left to do. At Ctrl-C it saves, says so, and returns false.
 *
 * A line of the log, at every tenth update and at an epoch's end:
 *     model          the run's name, if it has one
 *     update, epoch  from 1
 *     train_loss     mean over the updates of this epoch so far
 *     valid_loss     on lines that end an epoch or the run
 *     chars_per_s    or whatever the unit is: over the updates of this epoch so far
 *     grad_norm      of this update, before clipping
 *     seconds        since the start, without pauses between a stop and its resumption
 * A resumed run continues the log where the saved run was. */
bool kit_run_train(kit_run *r);

/* Draws training and validation losses of the runs by update, if the settings want a plot. */
void kit_run_plot(const char *title, const kit_run *const runs[], size_t n);
/* Prints the runs as a table: model, parameters, rate, losses. `what` heads the column of names. */
void kit_run_table(const char *what, const char *const names[], const kit_run *const runs[],
                   size_t n);

/* Writes the tape of a graph as Graphviz DOT (draw.c): to a file by kit_write_aside, or, where the
 * path is "-", to the standard output. Dies when it cannot. */
void kit_write_dot(const char *path, ur_graph *g);

/* For `update`, to end with: differentiates the loss that `graph` holds, runs it, and takes a step.
 * Returns its value. */
double kit_run_learn(kit_run *r, ur_node loss);
/* For `update`: the batch at `position` of the epoch, also where the run is taken up there. */
void kit_run_batch(const kit_run *r, ur_batches *all, int64_t position, ur_batch *b);
/* The same for data without batches: the numbers 0 .. n-1 in the order of this epoch. */
const int *kit_run_order(kit_run *r, int n);
/* The sum of the lengths of a batch's rows: the steps that are no padding. */
int kit_steps(const int lengths[], int B);

/* For run.c. */
void kit_run_save(kit_run *r);
void kit_run_resume(kit_run *r);
extern size_t kit_runs;         /* n of kit_run_prepare */

#endif
