/* internal.h: what the files of optim/ share. */
#ifndef UR_OPTIM_INTERNAL_H
#define UR_OPTIM_INTERNAL_H

#include "graph/internal.h"
#include "graph/run/pool.h"
#include "unroll/optim.h"

enum { UR__MOMENTS = 3 };

/* A method: which moments it keeps (NULL for none), its kernel, and the kernel's numbers for step
 * number t >= 1. u->rate and u->decay arrive as the step's rate and the group's weight decay, and
 * are changed where the formula says so. */
struct ur__method {
    const char *name;
    bool needs_eps;
    bool starts;                /* moments begin at the setting `start`, else at 0 */
    void (*moments)(const ur_method *m, const char *names[UR__MOMENTS]);
    ur__update_kernel *(*kernel)(const ur_method *m, const ur__kernel_set *k);
    void (*numbers)(const ur_method *m, double t, ur__update *u);
    /* Whether a zero gradient changes nothing (without weight decay), so that of an embedding only
     * the rows that a gradient touched need be walked; NULL: never. */
    bool (*idle)(const ur_method *m);
};

typedef struct ur__group {
    double lr_factor, weight_decay;
} ur__group;

/* Everything that changes from step to step and must survive in a file; see ur_optim_state. */
typedef struct ur__counters {
    double steps, skipped, lr, factor, best, bad, cooldown;
} ur__counters;
enum { UR__COUNTERS = sizeof(ur__counters) / sizeof(double) };

/* What one thread at a time works on: up to UR__STRETCH elements of a parameter from `begin` on.
 * They are the same for any number of threads, and so is the order in which their squares are
 * added. */
enum { UR__STRETCH = 8192 };
typedef struct ur__stretch {
    size_t param, begin, n;
    double squares;
} ur__stretch;

struct ur_optim {
    ur_params *ps, *state;
    ur__stretch *stretch;
    size_t n_stretches;
    ur_method method;
    ur__group common;
    const ur__group **group;    /* of each parameter */
    ptrdiff_t moment[UR__MOMENTS];      /* number in `state` of a moment's first parameter, or -1 */
    size_t counters;            /* first byte of the counters in the block of `state` */
    double scale, max_norm, max_value, norm;
    ur_schedule schedule;
};

ur__counters ur__read_counters(const ur_optim *opt);
void ur__write_counters(ur_optim *opt, const ur__counters *c);

/* The next run of neighbouring rows in an embedding's list, from *i on; false after the last. */
bool ur__row_run(const ur__param *p, size_t *i, size_t *begin, size_t *count);

/* Calls f for each stretch, from several threads where the graph that made the gradient had
 * them. */
void ur__each_stretch(ur_optim *opt, void (*f)(void *job, ur__stretch *s), void *job);

/* sqrt(sum g^2) over parameters that are not frozen. */
double ur__norm(ur_optim *opt);
/* The factor that brings a norm down to the most that is allowed; max_norm 0 for no limit. */
double ur__clip_factor(double norm, double max_norm);

/* Byte at which parameter k begins in its store's blocks. */
static inline size_t ur__begin(const ur_params *ps, size_t k)
{
    return ps->param[k].offset * ur__type_size((int)ps->type);
}

static inline const ur__kernel_set *ur__set_for(ur_type type)
{
    const ur__kernels *k = ur__kernels_get();
    return type == UR_F64 ? &k->f64 : &k->f32;
}

#endif
