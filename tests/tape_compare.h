/* tape_compare.h: runs a recording (tape_run.h) in six ways and compares with node by node.
 *
 *     return tape_main(&(tape_case){ .record = record, .type = UR_F64, .all = "fuse,views",
 *                                    .off = "views", .threads = { 1, 2 } });
 */
#ifndef UNROLL_TESTS_TAPE_COMPARE_H
#define UNROLL_TESTS_TAPE_COMPARE_H

#include <math.h>
#include "graph/run/run.h"
#include "tests/tape_run.h"

enum { TAPE_WHY = 400, TAPE_THREADS = 4 };

/* Every plan must give the same bits, be it new, from the cache or run once more; and the other
 * data in the leaves what is recorded with them. Added: no update between two gradients. */
enum { TAPE_NEW, TAPE_CACHED, TAPE_AGAIN, TAPE_DATA, TAPE_DATA_CACHED, TAPE_ADDED, TAPE_ROUNDS };

typedef struct tape_result {
    double *v;
    size_t n, cap;
    struct { size_t begin, count; int line; double scale; } tensor[4 * TAPE_SEEN];
    int n_tensors;
    size_t arena;
    bool repeats;               /* steps of the last plan run again to save memory */
} tape_result;

enum { TAPE_GRADIENT = -1, TAPE_STATE = -2 };   /* lines of gradients of parameters, of states */

static inline bool tape_values(tape_result *out, int type, const void *p, size_t n, int line,
                               double scale)
{
    if (out->n_tensors == 4 * TAPE_SEEN || !p)
        return p != NULL;
    if (out->n + n > out->cap) {
        double *v = realloc(out->v, 2 * (out->n + n) * sizeof *v);
        if (!v)
            return false;
        out->v = v;
        out->cap = 2 * (out->n + n);
    }
    for (size_t i = 0; i < n; i++) {
        double v = type == UR_F64 ? ((const double *)p)[i]
                 : type == UR_F32 ? (double)((const float *)p)[i] : ((const int32_t *)p)[i];
        scale = fabs(v) > scale ? fabs(v) : scale;
        out->v[out->n + i] = v;
    }
    out->tensor[out->n_tensors].begin = out->n;
    out->tensor[out->n_tensors].count = n;
    out->tensor[out->n_tensors].line = line;
    out->tensor[out->n_tensors++].scale = scale;
    out->n += n;
    return true;
}

static inline double tape_largest(const tape_run *r, ur_node x)
{
    const void *p = ur_type_of(x) == UR_I32 ? NULL : ur_data(x);
    double most = 0;
    for (size_t i = 0; p && i < ur_count(x); i++) {
        double v = fabs(r->type == UR_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i]);
        most = v > most ? v : most;
    }
    return most;
}

/* A gradient starts from the loss's own, which is 1, so that is the least scale of gradients. That
 * of n summed values has n such contributions, whose roundings add up like a random walk. */
static inline bool tape_results(tape_run *r, tape_result *out)
{
    out->n = 0;
    out->n_tensors = 0;
    for (int i = 0; i < r->n_seen; i++) {
        ur_node x = r->seen[i].x[0];
        double scale = sqrt((double)r->seen[i].summed);
        for (int k = 1; r->reference && k < r->seen[i].n; k++)
            scale = fmax(scale, tape_largest(r, r->seen[i].x[k]));
        if (!tape_values(out, (int)ur_type_of(x), ur_data(x), ur_count(x), r->seen[i].line, scale))
            return false;
    }
    for (int i = 0; i < ur_params_count(r->ps) && ur_gradient_ready(r->ps); i++) {
        ur_node W = ur_params_at(r->ps, i);
        if (!tape_values(out, (int)r->type, ur_param_gradient(W), ur_count(W), TAPE_GRADIENT, 1))
            return false;
    }
    for (int k = 0; k < TAPE_STATES; k++)
        if (ur_params_count(r->st[k])) {
            ur_node s = ur_params_at(r->st[k], 0);
            if (!tape_values(out, (int)r->type, ur_param_values(s), ur_count(s), TAPE_STATE, 0))
                return false;
        }
    return true;
}

/* --------------------------------------------------------------------------------------- rounds */

/* The values of all of a store, by the version. Matrices neither grow nor shrink what they are
 * multiplied with by much, so that chains of them stay as exact as a sum. */
static inline void tape_store(const tape_run *r, ur_params *ps, int key)
{
    for (int k = 0; k < ur_params_count(ps); k++) {
        ur_node W = ur_params_at(ps, k);
        ur_shape s = ur_shape_of(W);
        double scale = s.rank == 2 && s.dim[0] ? 1 / sqrt(s.dim[0]) : 0.5;
        void *p = ur_param_values(W);
        for (size_t i = 0; p && i < ur_count(W); i++) {
            double v = scale * tape_number(r, TAPE_GIVEN, key + k, i);
            if (r->type == UR_F64)
                ((double *)p)[i] = v;
            else
                ((float *)p)[i] = (float)v;
        }
    }
    ur_params_changed(ps);
}

/* Parameters and states as they start; in the gradients what must not be read, unless this round
 * adds to them. */
static inline void tape_prepare(const tape_run *r, bool adds)
{
    tape_store(r, r->ps, 4000);
    for (int k = 0; k < TAPE_STATES; k++)
        tape_store(r, r->st[k], 3000 + k);
    if (adds || !ur_params_count(r->ps) || !ur_gradients(r->ps))
        return;
    for (int i = 0; i < ur_params_count(r->ps); i++) {
        ur_node W = ur_params_at(r->ps, i);
        memset(ur_param_gradient(W), 0xff, ur_count(W) * (r->type == UR_F64 ? 8 : 4));
    }
    ur_gradients_changed(r->ps);
    ur_gradient_used(r->ps);
}

static inline bool tape_round(tape_run *r, int round, tape_record *record, const void *ctx,
                              tape_result *out)
{
    bool records = round == TAPE_NEW || round == TAPE_CACHED || round == TAPE_DATA_CACHED;
    r->version = round >= TAPE_DATA;
    tape_prepare(r, round == TAPE_ADDED);
    ur_set_run_number(r->g, 5);
    if (records) {
        ur_clear(r->g);
        r->n_leaves = r->n_seen = 0;
        record(r, ctx);
    } else {
        for (int i = 0; i < r->n_leaves; i++)
            tape_fill(r, r->leaf[i].x, r->leaf[i].how, r->leaf[i].key);
    }
    if (!(records ? ur_run(r->g) : ur_rerun(r->g)) || !tape_results(r, out))
        return false;
    out->arena = ur_stats(r->g).arena_bytes;
    out->repeats = r->g->last_plan && r->g->last_plan->merged[UR__BIT_segment];
    return true;
}

typedef struct tape_case {
    tape_record *record;
    const void *ctx;
    ur_type type;
    const char *all, *off;      /* all rewrites, and those that are off: names, commas between */
    int threads[2];             /* two numbers of threads that must not matter */
    bool small;                 /* rewrites are made wherever they can be, worth it or not */
    bool *repeats;              /* receives whether steps ran again within a budget, or NULL */
    double part;                /* of a plan's memory, that another has as its budget; 0 none */
    size_t budget;              /* in bytes */
} tape_case;

/* What the planner and the pool take for worth it; or next to nothing, so that little tapes meet
 * all of it. As many threads as are asked for, whatever machine it is. */
static inline void tape_limits(bool small)
{
    static ur__limits usual;
    static double usual_part;
    if (!usual.thin) {
        usual = ur__limit;
        usual_part = ur__part_work;
    }
    ur__pool_cores = TAPE_THREADS;
    ur__part_work = small ? 1 : usual_part;
    ur__limit = small ? (ur__limits){ .thin = 1, .times = 1, .step_rows = 1000, .chunk_rows = 3,
                                      .band_rows = 4, .block_rows = 3 }
                      : usual;
}

static inline void tape_switch_off(ur_graph *g, const char *names)
{
    char one[32];
    for (size_t n; *names; names += n + (names[n] == ',')) {
        n = strcspn(names, ",");
        snprintf(one, sizeof one, "%.*s", (int)n, names);
        ur_rewrite(g, one, false);
    }
}

/* All rounds on a graph and stores of their own; off NULL: node by node. */
static inline bool tape_rounds(const tape_case *c, const char *off, int threads,
                               tape_result out[TAPE_ROUNDS], char why[TAPE_WHY])
{
    tape_run r = { .g = ur_graph_new(c->type, UR_TRAIN), .ps = ur_params_new(c->type, 5),
                   .type = c->type, .reference = !off };
    for (int k = 0; k < TAPE_STATES; k++)
        r.st[k] = ur_params_new(c->type, 6 + (uint64_t)k);
    ur_set_threads(r.g, threads);
    ur_graph_budget(r.g, c->budget);
    tape_switch_off(r.g, off ? off : c->all);
    r.dry = true;
    c->record(&r, c->ctx);
    r.dry = false;
    int round = 0;
    while (round < TAPE_ROUNDS && tape_round(&r, round, c->record, c->ctx, &out[round]))
        round++;
    if (round < TAPE_ROUNDS) {
        const char *text = ur_error(r.g) ? ur_error(r.g) : ur_error(r.ps);
        snprintf(why, TAPE_WHY, "round %d does not run: %.300s", round, text ? text : "(no error)");
    }
    ur_graph_free(r.g);
    ur_params_free(r.ps);
    for (int k = 0; k < TAPE_STATES; k++)
        ur_params_free(r.st[k]);
    return round == TAPE_ROUNDS;
}

static inline void tape_free(tape_result results[TAPE_ROUNDS])
{
    for (int i = 0; i < TAPE_ROUNDS; i++)
        free(results[i].v);
    memset(results, 0, TAPE_ROUNDS * sizeof *results);
}

/* ------------------------------------------------------------------------------------ comparing */

/* Whether every tensor is within `bound` of `want`, relative to the scale of the tensor. */
static inline bool tape_near(const tape_result *want, const tape_result *got, double bound,
                             const char *what, char why[TAPE_WHY])
{
    if (want->n_tensors != got->n_tensors || want->n != got->n)
        return snprintf(why, TAPE_WHY, "%s: %d tensors of %zu elements, node by node %d of %zu",
                        what, got->n_tensors, got->n, want->n_tensors, want->n) < 0;
    for (int t = 0; t < want->n_tensors; t++)
        for (size_t i = 0; i < want->tensor[t].count; i++) {
            double a = want->v[want->tensor[t].begin + i], b = got->v[want->tensor[t].begin + i];
            if (!(fabs(a - b) <= bound * want->tensor[t].scale) && !(a == b))
                return snprintf(why, TAPE_WHY, "%s: tensor %d (%s %d) [%zu] is %.17g, node by node "
                                "%.17g, scale %.3g", what, t, want->tensor[t].line == TAPE_GRADIENT
                                ? "gradient" : want->tensor[t].line == TAPE_STATE ? "state" : "v",
                                want->tensor[t].line, i, b, a, want->tensor[t].scale) < 0;
        }
    return true;
}

static inline bool tape_equal(const tape_result *a, const tape_result *b, const char *what,
                              char why[TAPE_WHY])
{
    if (a->n == b->n && (!a->n || !memcmp(a->v, b->v, a->n * sizeof *a->v)))
        return true;
    size_t i = 0;
    while (i < a->n && i < b->n && !memcmp(&a->v[i], &b->v[i], sizeof *a->v))
        i++;
    snprintf(why, TAPE_WHY, "%s give other bits: result %zu of %zu is %.17g and %.17g", what, i,
             a->n, i < a->n ? a->v[i] : 0, i < b->n ? b->v[i] : 0);
    return false;
}

static inline double tape_bound(ur_type type)
{
    return type == UR_F64 ? 1e-12 : 1e-5;
}

/* What a refused budget should be at least, or 0: it was refused for something else. */
static inline size_t tape_least(const char *why)
{
    const char *text = strstr(why, " run: budget: the values of a run need at least ");
    const char *bytes = text ? strchr(text, '(') : NULL;
    return bytes ? (size_t)strtoull(bytes + 1, NULL, 10) : 0;
}

/* Whether the same bits come out within a budget, or within what is asked for when it is refused:
 * by each section of a tape by itself. Rewrites that are not worth it may cut sums elsewhere then:
 * those come out the same within rounding. */
static inline bool tape_within(const tape_case *c, const tape_result a[TAPE_ROUNDS],
                               char why[TAPE_WHY])
{
    tape_result b[TAPE_ROUNDS] = { { 0 } };
    tape_case less = *c;
    less.budget = (size_t)(c->part * (double)a[TAPE_NEW].arena);
    if (!less.budget)
        return true;
    bool same = tape_rounds(&less, c->off, c->threads[0], b, why);
    for (size_t least; !same && (least = tape_least(why)) > less.budget;) {
        less.budget = least;
        same = tape_rounds(&less, c->off, c->threads[0], b, why);
    }
    for (int i = 0; same && i < TAPE_ROUNDS; i++) {
        if (c->repeats)
            *c->repeats |= b[i].repeats;
        if (b[i].arena > less.budget)
            same = snprintf(why, TAPE_WHY, "%zu bytes within a budget of %zu", b[i].arena,
                            less.budget) < 0;
        else
            same = c->small ? tape_near(&a[i], &b[i], tape_bound(c->type), "a budget", why)
                            : tape_equal(&a[i], &b[i], "none and a budget", why);
    }
    tape_free(b);
    return same;
}

/* Whether the case gives what node by node gave (tape_rounds with off NULL), and the same bits
 * wherever bits must be the same. */
static inline bool tape_agrees(const tape_case *c, const tape_result want[TAPE_ROUNDS],
                               char why[TAPE_WHY])
{
    static const char *name[] = { "a new plan", "a cached plan", "a plan run again", "other data",
                                  "other data recorded", "a gradient added" };
    tape_result a[TAPE_ROUNDS] = { { 0 } }, b[TAPE_ROUNDS] = { { 0 } };
    tape_limits(c->small);
    bool same = tape_rounds(c, c->off, c->threads[0], a, why) &&
                tape_rounds(c, c->off, c->threads[1], b, why) &&
                tape_equal(&a[TAPE_NEW], &a[TAPE_CACHED], "a new and a cached plan", why) &&
                tape_equal(&a[TAPE_NEW], &a[TAPE_AGAIN], "a new plan and running it again", why) &&
                tape_equal(&a[TAPE_DATA], &a[TAPE_DATA_CACHED], "data set and recorded", why);
    for (int i = 0; same && i < TAPE_ROUNDS; i++) {
        same = tape_near(&want[i], &a[i], tape_bound(c->type), name[i], why);
        same = same && tape_equal(&a[i], &b[i], "two numbers of threads", why);
    }
    same = same && tape_within(c, a, why);
    tape_free(a);
    tape_free(b);
    return same;
}

/* ------------------------------------------------------------------------------- whole programs */

/* Memory that was never written reads as NaN. */
static inline void *tape_memory(void *user, void *old, size_t old_bytes, size_t new_bytes)
{
    (void)user;
    if (!new_bytes)
        return free(old), NULL;
    char *p = realloc(old, new_bytes);
    if (p && new_bytes > old_bytes)
        memset(p + old_bytes, 0xff, new_bytes - old_bytes);
    return p;
}

/* What is said of a case that is as it should be: what was compared. */
static inline void tape_summary(const tape_result want[TAPE_ROUNDS], char text[TAPE_WHY])
{
    double sum = 0;
    for (int k = 0; k < TAPE_ROUNDS; k++)
        for (size_t i = 0; i < want[k].n; i++)
            sum += want[k].v[i];
    snprintf(text, TAPE_WHY, "no difference: %d tensors of %zu elements, their sum %.17g",
             want->n_tensors, want->n, sum);
}

/* 0 when the case is as it should be, else 1 and a line that says what differs. */
static inline int tape_main(const tape_case *c)
{
    static tape_result want[TAPE_ROUNDS];
    char why[TAPE_WHY] = "";
    ur_set_allocator(tape_memory, NULL);
    bool same = tape_rounds(c, NULL, 1, want, why) && tape_agrees(c, want, why);
    if (same)
        tape_summary(want, why);
    printf("%s\n", why);
    tape_free(want);
    return !same;
}

#endif
