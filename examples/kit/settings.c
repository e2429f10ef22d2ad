/* settings.c: what a training run is told by the command line, and what a file must hold so that it
 * can be taken up again: as tensors the parameters, the optimiser's moments, the carried states and
 * the points of the plot; as texts the options, the place in the data, the running sums, and the
 * number that random numbers are drawn by. */
#include "examples/kit/run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kit_settings kit_settings = {
    .optim = "adam", .precision = "float", .lr = 2e-3, .clip = 5, .epochs = 5, .seed = 1,
};
static struct kit_settings *const set = &kit_settings;

static struct {
    const char *format;
    const kit_option *options;
    size_t n_options;
} prepared;
size_t kit_runs;

void kit_need(const void *graph_or_store)
{
    if (!graph_or_store)
        kit_die("out of memory");
    if (ur_error(graph_or_store))
        kit_die("%s", ur_error(graph_or_store));
}

ur_type kit_run_type(void)
{
    return strcmp(set->precision, "double") == 0 ? UR_F64 : UR_F32;
}

ur_params *kit_run_params(void)
{
    ur_params *ps = ur_params_new(kit_run_type(), set->seed);
    kit_need(ps);
    return ps;
}

ur_graph *kit_run_graph(int mode)
{
    ur_graph *g = ur_graph_new(kit_run_type(), mode);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    kit_need(g);
    ur_seed(g, set->seed);
    ur_set_threads(g, set->threads > 0 ? set->threads : cores > 0 ? (int)cores : 1);
    return g;
}

const void *kit_numbers(ur_graph *g, const double x[], size_t n)
{
    if (ur_precision(g) == UR_F64)
        return x;
    float *y = ur_graph_alloc(g, n * sizeof *y);
    kit_need(g);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)x[i];
    return y;
}

double kit_value(ur_graph *g, ur_node x)
{
    double value = ur_value(x);
    kit_need(g);
    return value;
}

void kit_values(ur_node x, double *out)
{
    const void *data = ur_data(x);
    size_t n = data ? ur_count(x) : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = ur_type_of(x) == UR_F64 ? ((const double *)data)[i] : ((const float *)data)[i];
}

ur_method kit_run_method(void)
{
    const char *name = set->optim;
    ur_method m = strcmp(name, "adagrad") == 0 ? ur_adagrad(set->lr)
                  : strcmp(name, "adadelta") == 0 ? ur_adadelta(set->lr)
                  : strcmp(name, "rmsprop") == 0 ? ur_rmsprop(set->lr)
                  : strcmp(name, "adam") == 0 ? ur_adam(set->lr)
                  : strcmp(name, "adamw") == 0 ? ur_adamw(set->lr) : ur_sgd(set->lr);
    m.nesterov = strcmp(name, "nesterov") == 0;
    if (m.nesterov || strcmp(name, "momentum") == 0)
        m.momentum = 0.9;
    return m;
}

ur_optim *kit_run_optim_with(ur_params *ps, ur_method method)
{
    ur_optim *optim = ur_optim_new(ps, method);
    kit_need(ps);
    kit_need(optim ? ps : NULL);
    ur_clip_norm(optim, set->clip);
    return optim;
}

ur_optim *kit_run_optim(ur_params *ps)
{
    return kit_run_optim_with(ps, kit_run_method());
}

int64_t kit_run_goal(int64_t per_epoch)
{
    bool by_updates = kit_given(&set->updates) || (set->updates > 0 && !kit_given(&set->epochs));
    return by_updates ? set->updates : set->epochs * per_epoch;
}

void kit_run_cosine(ur_optim *optim, int64_t per_epoch, double least)
{
    int64_t goal = kit_run_goal(per_epoch);
    ur_set_schedule(optim, ur_schedule_cosine(0, goal > 0 ? (double)goal : 1, least));
}

/* ---- Settings ---- */

enum { LONGEST_VALUE = 16 << 20 };

const char *kit_saved(const char *path, const char *key)
{
    static char *text;
    static size_t room;
    char why[512];
    while (!text || !ur_load_metadata(path, key, text, room, why, sizeof why)) {
        if (room >= LONGEST_VALUE) /* a value that has no room fails like one that is not there */
            kit_die("%s", why);
        room = text ? 16 * room : 4096;
        text = realloc(text, room);
        if (!text)
            kit_die("out of memory");
    }
    return text;
}

static void restore(const char *path, const char *format, const kit_option *options, size_t n,
                    kit_keeping least)
{
    const char *found = kit_saved(path, "format");
    if (strcmp(found, format) != 0)
        kit_die("'%s' holds '%s', but '%s' is wanted", path, found, format);
    bool another_goal = kit_given(&set->epochs) || kit_given(&set->updates);
    for (size_t k = 0; k < n; k++) {
        const void *variable = options[k].variable;
        if (another_goal && (variable == &set->epochs || variable == &set->updates))
            continue;
        if (options[k].keeping >= least)
            kit_restore(&options[k], kit_saved(path, options[k].name), path);
    }
}

void kit_saved_model(const char *path, const char *format, const kit_option *options, size_t n)
{
    restore(path, format, options, n, KIT_MODEL);
}

void kit_load_params(const char *path, ur_params *ps)
{
    ur_load_report report;
    if (!ur_load(path, &ps, 1, false, &report))
        kit_need(ps);
    if (report.missing > 0)
        kit_die("'%s' lacks %s", path, report.missing_names);
}

void kit_refuse_training(void)
{
    const void *const of_training[] = { &set->save, &set->resume, &set->log, &set->plot,
                                        &set->epochs, &set->updates };
    for (size_t k = 0; k < sizeof of_training / sizeof *of_training; k++)
        if (kit_given(of_training[k]))
            kit_die("--load trains nothing; to train on, use --resume in its place");
}

void kit_run_prepare(const char *format, kit_option *options, size_t n_options, const char *data,
                     const char *const names[], size_t n)
{
    if (kit_given(&set->epochs) && kit_given(&set->updates))
        kit_die("--epochs and --updates both say how long to train: give one of them");
    if (set->resume && n > 1)
        kit_die("--resume takes up one run, not %zu", n);
    if (set->resume)
        restore(set->resume, format, options, n_options, KIT_KEPT);
    kit_distinct_files((const char *[]){ data, set->log, set->plot, set->save }, 4);
    kit_distinct_files((const char *[]){ data, set->log, set->plot, set->resume }, 4);
    for (size_t k = 0; k < n && set->save; k++) {
        char *path = n > 1 ? kit_path_with(set->save, names[k]) : NULL;
        if (!kit_check_writable(path ? path : set->save))
            exit(2);
        free(path);
    }
    if (!kit_check_writable(set->plot))
        exit(2);
    prepared.format = format, prepared.options = options, prepared.n_options = n_options;
    kit_runs = n;
}

void kit_say_made_up(const char *data, const char *which)
{
    if (!data)
        printf("no --data: synthetic %s, of --seed %" PRIu64 "\n", which, set->seed);
}

/* ---- Saving and resuming ---- */

enum { FIGURES = 15 };

/* The numbers of a run that a file holds beside its tensors, as options are held. */
typedef struct {
    kit_option row[FIGURES];
    uint64_t random;                /* number of the graph's next run */
    int64_t trained, validated;     /* points of the curves */
} figures;

static void list_figures(figures *f, kit_run *r)
{
#define ROW(name, variable, allowed) KIT_SAVED(KIT_KEPT, name, variable, allowed, NULL, NULL)
    const kit_option rows[FIGURES] = {
        ROW("at.update", &r->done, "[0,inf)"), ROW("at.epoch", &r->epoch, "[0,inf)"),
        ROW("at.position", &r->position, "[0,inf)"), ROW("at.logged", &r->logged, "[0,inf)"),
        ROW("at.random", &f->random, NULL), ROW("at.loss", &r->loss, NULL),
        ROW("at.seconds", &r->seconds, NULL), ROW("at.recent", &r->recent, NULL),
        ROW("at.busy", &r->busy, NULL), ROW("at.elapsed", &r->elapsed, NULL),
        ROW("at.norm", &r->norm, NULL),
        ROW("at.train_loss", &r->train_loss, NULL), ROW("at.valid_loss", &r->valid_loss, NULL),
        ROW("plot.trained", &f->trained, "[0,1000000000]"),
        ROW("plot.validated", &f->validated, "[0,1000000000]"),
    };
#undef ROW
    memcpy(f->row, rows, sizeof rows);
}

/* A store for the points of the plot: x in row 0, y in row 1. */
static ur_params *new_points(const figures *f)
{
    ur_params *ps = ur_params_new(UR_F64, 0);
    kit_need(ps);
    ur_param(ps, "plot.training", ur_constant(0), 2, (int)f->trained);
    ur_param(ps, "plot.validation", ur_constant(0), 2, (int)f->validated);
    kit_need(ps);
    return ps;
}

static int list_stores(const kit_run *r, ur_params *points, ur_params *stores[4])
{
    stores[0] = r->params, stores[1] = ur_optim_state(r->optim), stores[2] = points;
    stores[3] = r->states;
    return r->states ? 4 : 3;
}

void kit_run_save(kit_run *r)
{
    const kit_curve *curves[] = { &r->trained, &r->validated };
    kit_pairs pairs = { 0 };
    figures f;
    if (!set->save)
        return;
    list_figures(&f, r);
    f.random = ur_run_number(r->graph);
    f.trained = (int64_t)r->trained.n, f.validated = (int64_t)r->validated.n;
    kit_pairs_set(&pairs, "format", "%s", prepared.format);
    for (int i = 0; i < r->facts.n; i++)
        kit_pairs_set(&pairs, r->facts.text[2 * i], "%s", r->facts.text[2 * i + 1]);
    kit_pairs_options(&pairs, prepared.options, prepared.n_options);
    kit_pairs_options(&pairs, f.row, FIGURES);
    ur_params *points = new_points(&f), *stores[4];
    for (int k = 0; k < 2; k++) {
        double *values = ur_param_values(ur_params_at(points, k));
        for (size_t i = 0; i < curves[k]->n; i++)
            values[i] = curves[k]->x[i], values[curves[k]->n + i] = curves[k]->y[i];
    }
    int n = list_stores(r, points, stores);
    char *path = kit_runs > 1 ? kit_path_with(set->save, r->name) : NULL;
    if (!ur_save(path ? path : set->save, stores, n, (const char *const *)pairs.text, pairs.n))
        kit_need(r->params);
    free(path);
    ur_params_free(points);
    kit_pairs_free(&pairs);
}

void kit_run_resume(kit_run *r)
{
    const char *path = set->resume;
    kit_curve *curves[] = { &r->trained, &r->validated };
    figures f;
    for (int i = 0; i < r->facts.n; i++)
        if (strcmp(kit_saved(path, r->facts.text[2 * i]), r->facts.text[2 * i + 1]) != 0)
            kit_die("'%s' cannot be resumed: it was trained with another %s", path,
                    r->facts.text[2 * i]);
    list_figures(&f, r);
    for (size_t k = 0; k < FIGURES; k++)
        kit_restore(&f.row[k], kit_saved(path, f.row[k].name), path);
    if (r->position > r->per_epoch)
        kit_die("'%s' cannot be resumed: it is at update %" PRId64 " of an epoch of %" PRId64, path,
                r->position, r->per_epoch);
    ur_params *points = new_points(&f), *stores[4];
    int n = list_stores(r, points, stores);
    if (!ur_load(path, stores, n, true, NULL))
        kit_need(r->params);
    for (int k = 0; k < 2; k++) {
        size_t count = (size_t)ur_dim(ur_params_at(points, k), 1);
        const double *values = ur_param_values(ur_params_at(points, k));
        for (size_t i = 0; i < count; i++)
            kit_curve_add(curves[k], values[i], values[count + i]);
    }
    ur_params_free(points);
    ur_set_run_number(r->graph, f.random);
    if (kit_given(&set->lr))
        ur_set_lr(r->optim, set->lr);
}
