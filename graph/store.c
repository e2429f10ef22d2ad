/* Stores of parameters: their life, and after sealing one block of values and one of gradients, in
 * which every parameter begins at a multiple of 64 bytes.
 *
 * The gaps between parameters hold zeros in both blocks, so whoever walks a whole block (an
 * optimiser, a norm, a sum over machines) need not know where a parameter ends. A store whose
 * parameters are all frozen when it is sealed, as an optimiser's moments may be, has no block of
 * gradients until one is asked for. */
#include <pthread.h>
#include "graph/internal.h"

enum { LINE = 64 };

/* Sealing and references: the two things that threads with a graph each may do to one store. */
static pthread_mutex_t shared = PTHREAD_MUTEX_INITIALIZER;

ur_params *ur_params_new(ur_type type, uint64_t seed)
{
    ur_params *ps = ur__realloc(NULL, 0, sizeof *ps);
    if (!ps)
        return NULL;
    memset(ps, 0, sizeof *ps);
    ps->owner.what = UR__STORE;
    ps->owner.generation = 1;
    ps->type = type;
    ps->seed = seed;
    ps->version = 1;
    ps->references = 1;
    if (type != UR_F32 && type != UR_F64) {
        ps->type = UR_F32;
        ur__fail(&ps->owner, "params_new: a store holds UR_F32 or UR_F64, not type %d", (int)type);
    }
    return ps;
}

void ur__params_ref(ur_params *ps)
{
    pthread_mutex_lock(&shared);
    ps->references++;
    pthread_mutex_unlock(&shared);
}

void ur__params_unref(ur_params *ps)
{
    pthread_mutex_lock(&shared);
    bool last = --ps->references == 0;
    pthread_mutex_unlock(&shared);
    if (!last)
        return;
    ur__realloc(ps->param, ps->cap * sizeof *ps->param, 0);
    ur__realloc(ps->index, ps->index_cap * sizeof *ps->index, 0);
    ur__block_free(&ps->values);
    ur__block_free(&ps->gradients);
    ur__bump_free(&ps->memory);
    ur__realloc(ps, sizeof *ps, 0);
}

void ur_params_free(ur_params *ps)
{
    if (ps)
        ur__params_unref(ps);
}

/* -------------------------------------------------------------------------------------- sealing */

/* Bytes from the beginning of a block. */
static size_t offset_of(const ur_params *ps, const ur__param *p)
{
    return p->offset * ur__type_size((int)ps->type);
}

static size_t block_bytes(const ur_params *ps)
{
    size_t bytes = ps->padded * ur__type_size((int)ps->type);
    return bytes ? bytes : LINE;        /* an empty store has blocks too */
}

static bool all_frozen(const ur_params *ps)
{
    for (size_t i = 0; i < ps->n; i++)
        if (!ps->param[i].frozen)
            return false;
    return ps->n > 0;
}

/* Makes a block of zeros where there is none yet. */
static bool make_block(const ur_params *ps, ur__block *b)
{
    return b->p || ur__block_zeros(b, block_bytes(ps));
}

/* Whether nearly all of a block is written at once: biases are zeros, but small. */
static bool all_drawn(const ur_params *ps)
{
    size_t drawn = 0;
    for (size_t i = 0; i < ps->n; i++)
        drawn += ur__zero_initial(&ps->param[i]) ? 0 : ps->param[i].count;
    return drawn > ps->padded / 8 * 7;
}

/* A graph that uses the store may have recorded a parameter before it was frozen. */
static bool make_and_draw(ur_params *ps)
{
    bool gradients = !all_frozen(ps) || ps->references > 1;
    bool ok = make_block(ps, &ps->values) && (!gradients || make_block(ps, &ps->gradients));
    if (ok)
        ur__block_settle(&ps->values, ps->values.bytes, all_drawn(ps));
    for (size_t i = 0; ok && i < ps->n; i++)
        ok = ur__draw_initial(ps, &ps->param[i], ps->values.p + offset_of(ps, &ps->param[i]));
    if (!ok) {
        ur__block_free(&ps->values);
        ur__block_free(&ps->gradients);
    }
    return ok;
}

void ur__params_settle(ur_params *ps)
{
    ur__block_settle(&ps->values, ps->values.bytes, false);
    ur__block_settle(&ps->gradients, ps->gradients.bytes, false);
}

/* A store with an error is not sealed: parameters are missing, and can be added after a reset. */
bool ur__seal(ur_params *ps)
{
    pthread_mutex_lock(&shared);
    bool try = !ps->sealed && !ps->owner.failed;
    if (try)
        ps->sealed = make_and_draw(ps);
    bool sealed = ps->sealed;
    pthread_mutex_unlock(&shared);
    return sealed || (try && ur__out_of_memory(&ps->owner));
}

/* --------------------------------------------------------------------------------------- access */

int ur_params_count(const ur_params *ps)
{
    return ps ? (int)ps->n : 0;
}

size_t ur_params_elements(const ur_params *ps)
{
    return ps ? ps->elements : 0;
}

size_t ur_block_elements(const ur_params *ps)
{
    return ps ? ps->padded : 0;
}

ur_type ur_params_type(const ur_params *ps)
{
    return ps ? ps->type : UR_F32;
}

ur_node ur_params_at(ur_params *ps, int k)
{
    if (!ps || k < 0 || (size_t)k >= ps->n)
        return (ur_node){ ps, 0, 0 };
    return (ur_node){ ps, (uint32_t)k, ps->owner.generation };
}

/* The parameter that a node is, in its store or as a leaf of a graph; NULL when it is none. */
static ur__param *param_of(ur_node W, ur_params **ps)
{
    if (!ur__live(W))
        return NULL;
    if (((ur__owner *)W.owner)->what == UR__STORE) {
        *ps = W.owner;
        return &(*ps)->param[W.id];
    }
    ur_graph *g = ur__graph(W);
    const ur__node *x = ur__at(g, W.id);
    if (x->op != &ur__op_param && x->op != &ur__op_import)
        return NULL;
    const int64_t *attr = &g->into->attr[x->attr];
    *ps = g->slot[attr[0]].store;
    return &(*ps)->param[attr[1]];
}

const char *ur_param_name(ur_node W)
{
    ur_params *ps;
    const ur__param *p = param_of(W, &ps);
    return p ? p->name : NULL;
}

void *ur_param_values(ur_node W)
{
    ur_params *ps;
    const ur__param *p = param_of(W, &ps);
    return p && ur__seal(ps) ? ps->values.p + offset_of(ps, p) : NULL;
}

void *ur_param_gradient(ur_node W)
{
    ur_params *ps;
    const ur__param *p = param_of(W, &ps);
    char *gradients = p ? ur_gradients(ps) : NULL;
    return gradients ? gradients + offset_of(ps, p) : NULL;
}

void *ur_values(ur_params *ps)
{
    return ps && ur__seal(ps) ? ps->values.p : NULL;
}

void *ur_gradients(ur_params *ps)
{
    if (!ps || !ur__seal(ps))
        return NULL;
    if (!make_block(ps, &ps->gradients))
        ur__out_of_memory(&ps->owner);
    return ps->gradients.p;
}

/* The gradient of a frozen parameter is zero, in the block too. */
void ur_freeze(ur_node W, bool frozen)
{
    ur_params *ps;
    ur__param *p = param_of(W, &ps);
    if (!p || p->frozen == frozen)
        return;
    if (ps->sealed && !frozen && !make_block(ps, &ps->gradients)) {
        ur__out_of_memory(&ps->owner);
        return;
    }
    p->frozen = frozen;
    if (frozen && ps->gradients.p) {
        memset(ps->gradients.p + offset_of(ps, p), 0, p->count * ur__type_size((int)ps->type));
        p->dirty = false;
    }
}

bool ur_is_frozen(ur_node W)
{
    ur_params *ps;
    const ur__param *p = param_of(W, &ps);
    return p && p->frozen;
}

/* --------------------------------------------------------------------------------------- stamps */

void ur_params_changed(ur_params *ps)
{
    if (ps)
        ps->version++;
}

void ur_gradients_changed(ur_params *ps)
{
    if (!ps)
        return;
    for (size_t i = 0; i < ps->n; i++)
        ps->param[i].dirty = true, ps->param[i].sparse = false;
    ps->ready = true;
}

bool ur_gradient_ready(const ur_params *ps)
{
    return ps && ps->ready;
}

void ur_gradient_used(ur_params *ps)
{
    if (ps)
        ps->ready = false;
}
