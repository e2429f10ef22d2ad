/* run.c: the loop around the updates of an epoch: figures, log, plot, validation, when to save. */
#include "examples/kit/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 10, SAVING_SECONDS = 300 };

static kit_log log_file; /* of all runs of the program */

/* ---- The log and the plot ---- */

static void log_line(kit_run *r, bool valid)
{
    char rate[64];
    double items = (double)(r->position * r->items);
    snprintf(rate, sizeof rate, "%s_per_s", r->unit);
    kit_log_begin(&log_file);
    if (r->name)
        kit_log_text(&log_file, "model", r->name);
    kit_log_int(&log_file, "update", r->done);
    kit_log_int(&log_file, "epoch", r->epoch + 1);
    kit_log_double(&log_file, "train_loss", r->loss / (double)r->position);
    if (valid)
        kit_log_double(&log_file, "valid_loss", r->valid_loss);
    kit_log_double(&log_file, rate, items / r->seconds);
    kit_log_double(&log_file, "grad_norm", r->norm < 0 ? (double)NAN : r->norm);
    kit_log_double(&log_file, "seconds", r->elapsed);
    kit_log_end(&log_file);
}

/* A line and a point, of all updates since the last one. */
static void mark(kit_run *r, bool valid)
{
    if (r->done > r->logged)
        kit_curve_add(&r->trained, (double)r->done, r->recent / (double)(r->done - r->logged));
    if (valid)
        kit_curve_add(&r->validated, (double)r->done, r->valid_loss);
    r->recent = 0;
    r->logged = r->done;
    log_line(r, valid);
}

void kit_run_plot(const char *title, const kit_run *const runs[], size_t n)
{
    if (!kit_settings.plot)
        return;
    kit_series *series = calloc(2 * n, sizeof *series);
    char (*text)[80] = calloc(2 * n, sizeof *text);
    if (!series || !text)
        kit_die("out of memory");
    for (size_t i = 0; i < 2 * n; i++) {
        const kit_run *r = runs[i / 2];
        const kit_curve *curve = i % 2 ? &r->validated : &r->trained;
        snprintf(text[i], sizeof text[i], "%.60s%s%s", r->name ? r->name : "", r->name ? " " : "",
                 i % 2 ? "validation" : "training");
        series[i] = (kit_series){ text[i], curve->x, curve->y, curve->n };
    }
    kit_plot plot = { title, "update", "loss", false, series, 2 * n };
    if (!kit_svg_lines(kit_settings.plot, &plot))
        exit(2);
    free(series);
    free(text);
}

void kit_run_table(const char *what, const char *const names[], const kit_run *const runs[],
                   size_t n)
{
    char rate[40];
    snprintf(rate, sizeof rate, "%s/s", runs[0]->unit);
    printf("%-16s %11s %9s %9s %11s", what, "parameters", rate, "training", "validation");
    printf(runs[0]->bits ? " %10s\n" : "\n", runs[0]->bits);
    for (size_t i = 0; i < n; i++) {
        const kit_run *r = runs[i];
        const double value[] = { r->train_loss, r->valid_loss, r->valid_loss / log(2) };
        char rate_text[64], loss[3][64] = { "-", "-", "-" };
        kit_number(rate_text, "%.0f", r->busy > 0 ? (double)(r->done * r->items) / r->busy : 0);
        for (int k = 0; k < 3 && r->done > 0; k++)
            kit_number(loss[k], "%.4f", value[k]);
        printf("%-16s %11zu %9s %9s %11s", names[i], ur_params_elements(r->params), rate_text,
               loss[0], loss[1]);
        printf(r->bits ? " %10s\n" : "\n", loss[2]);
    }
}

/* ---- The loop ---- */

static void one_update(kit_run *r)
{
    double begin = kit_now();
    double loss = r->update(r->ctx, r->position);
    if (!isfinite(loss))
        kit_die("the loss of update %" PRId64 " is not finite: a smaller learning rate or clipping "
                "may help", r->done + 1);
    double seconds = kit_now() - begin;
    r->seconds += seconds, r->busy += seconds, r->elapsed += seconds;
    r->loss += loss, r->recent += loss;
    r->done++, r->position++;
    r->norm = isfinite(ur_gradient_norm(r->optim)) ? ur_gradient_norm(r->optim) : -1;
    r->bar.epoch = r->epoch + 1, r->bar.step = r->done;
    r->bar.items = (double)r->done * (double)r->items;
    loss = r->recent / (double)(r->done - r->logged);
    kit_progress_show(&r->bar, "loss", loss);
    if (r->bits)
        kit_progress_show(&r->bar, r->bits, loss / log(2));
    kit_progress_show(&r->bar, "grad", ur_gradient_norm(r->optim));
    kit_progress_update(&r->bar);
    if (r->done % LINE == 0 && r->position < r->per_epoch)
        mark(r, false);
}

/* Measures; false at Ctrl-C. */
static bool measure(kit_run *r)
{
    double begin = kit_now();
    if (!r->validate(r->ctx, &r->valid_loss))
        return false;
    if (!isfinite(r->valid_loss))
        kit_die("the validation loss is not finite after update %" PRId64, r->done);
    double seconds = kit_now() - begin;
    r->elapsed += seconds;
    kit_progress_pause(&r->bar, seconds);
    if (r->position > 0)
        r->train_loss = r->loss / (double)r->position;
    kit_progress_show(&r->bar, "valid", r->valid_loss);
    return true;
}

static void end_epoch(kit_run *r)
{
    mark(r, true);
    kit_progress_epoch(&r->bar);
    r->epoch++;
    r->position = 0;
    r->loss = r->seconds = 0;
    if (r->states)
        ur_state_reset(r->states, -1);
}

/* Takes up a saved run, opens the log, and returns the updates to make in all. */
static int64_t begin(kit_run *r)
{
    const struct kit_settings *set = &kit_settings;
    if (set->resume)
        kit_run_resume(r);
    int64_t goal = kit_run_goal(r->per_epoch);
    if (r->done > 0 && r->done >= goal && r->position < r->per_epoch)
        kit_warn("'%s' is at update %" PRId64 " already; --epochs or --updates sets a later goal",
                 set->resume, r->done);
    if (set->resume && !kit_log_rewind(set->log, "update", r->logged))
        exit(2);
    if (!log_file.path && !kit_log_open(&log_file, set->log, set->resume != NULL))
        exit(2);
    r->bar = (kit_progress){ .unit = r->unit, .steps = (long)goal, .step = (long)r->done,
                             .epochs = (long)((goal + r->per_epoch - 1) / r->per_epoch),
                             .epoch = (long)r->epoch + 1,
                             .items = (double)r->done * (double)r->items };
    return goal;
}

/* Says how it ended. */
static void conclude(kit_run *r)
{
    if (kit_interrupted)
        kit_progress_wipe();
    else
        kit_progress_finish(&r->bar);
    if (ur_skipped(r->optim) > 0)
        kit_warn("%" PRIu64 " updates were skipped, since their gradients were not finite",
                 ur_skipped(r->optim));
    if (kit_interrupted && kit_settings.save)
        kit_warn("stopped at update %" PRId64 " and saved it; --resume takes it up", r->done);
    else if (kit_interrupted)
        kit_warn("stopped at update %" PRId64 "; without --save it is lost", r->done);
}

bool kit_run_train(kit_run *r)
{
    int64_t goal = begin(r);
    double saved = kit_now();
    bool changed = true, measured = false;
    kit_progress_start(&r->bar);
    while (!kit_interrupted && (r->done < goal || r->position == r->per_epoch)) {
        changed = true;
        if (r->position < r->per_epoch)
            one_update(r);
        else if ((measured = measure(r)))
            end_epoch(r);
        if (r->position == 0 || kit_now() - saved > SAVING_SECONDS) {
            kit_run_save(r);
            changed = false;
            saved = kit_now();
        }
    }
    if (changed)
        kit_run_save(r);
    /* This measure is no part of what was saved: a run with a later goal does not make it. A run
     * that is resumed when it has ended measures again, for what programs tell besides the loss. */
    bool again = r->position == 0 && r->done > 0 && !measured;
    if (!kit_interrupted && (r->position > 0 || again) && measure(r) && !again) {
        kit_curve_add(&r->validated, (double)r->done, r->valid_loss);
        log_line(r, true);
    }
    conclude(r);
    return !kit_interrupted;
}

void kit_run_batch(const kit_run *r, ur_batches *all, int64_t position, ur_batch *b)
{
    ur_batches_state now = ur_batches_tell(all), at = { now.seed, r->epoch, position };
    if (now.epoch != at.epoch || now.position != at.position)
        ur_batches_seek(all, at);
    if (!ur_next_batch(all, b))
        kit_die("the data has no batch %" PRId64 " in epoch %" PRId64, position + 1, r->epoch + 1);
}

int kit_steps(const int lengths[], int B)
{
    int n = 0;
    for (int b = 0; b < B; b++)
        n += lengths[b];
    return n;
}

const int *kit_run_order(kit_run *r, int n)
{
    if (!r->order || r->ordered != r->epoch) {
        free(r->order);
        r->order = kit_zeros((size_t)n, sizeof *r->order);
        kit_order(r->order, n, kit_settings.seed, r->ordered = r->epoch);
    }
    return r->order;
}

double kit_run_learn(kit_run *r, ur_node loss)
{
    ur_backward(loss);
    if (!ur_run(r->graph))
        kit_need(r->graph);
    if (!ur_step(r->optim))
        kit_need(r->params);
    return ur_value(loss);
}

void kit_run_open(kit_run *r)
{
    r->graph = r->graph ? r->graph : kit_run_graph(UR_TRAIN);
    r->scoring = r->scoring ? r->scoring : kit_run_graph(UR_INFER);
    r->optim = r->optim ? r->optim : kit_run_optim(r->params);
}

void kit_run_end(kit_run *r)
{
    ur_graph_free(r->graph);
    ur_graph_free(r->scoring);
    ur_optim_free(r->optim);
    ur_params_free(r->states);
    r->graph = r->scoring = NULL, r->optim = NULL, r->states = NULL;
}

void kit_run_close(kit_run *r)
{
    kit_run_end(r);
    ur_params_free(r->params);
    free(r->order);
    free(r->trained.x);
    free(r->trained.y);
    free(r->validated.x);
    free(r->validated.y);
    kit_pairs_free(&r->facts);
}

int kit_finish(void)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        kit_die("cannot write to the standard output");
    const bool logged = kit_log_close(&log_file);
    return kit_interrupted ? KIT_INTERRUPTED : logged ? 0 : 2;
}
