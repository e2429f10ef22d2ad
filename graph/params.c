/* Stores of parameters: names, and after sealing one block of values and one of gradients, in which
 * every parameter begins at a multiple of 64 bytes.
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

/* --------------------------------------------------------------------------------------- names */

/* The slot of the index where a name is, or would be. The index is never full. */
static size_t slot_of_name(const ur_params *ps, const char *name)
{
    size_t mask = ps->index_cap - 1, k = (size_t)ur__hash_text(name) & mask;
    while (ps->index[k] && strcmp(ps->param[ps->index[k] - 1].name, name) != 0)
        k = (k + 1) & mask;
    return k;
}

static bool grow_index(ur_params *ps)
{
    size_t cap = ps->index_cap ? 2 * ps->index_cap : 32;
    uint32_t *index = ur__realloc(NULL, 0, cap * sizeof *index);
    if (!index)
        return ur__out_of_memory(&ps->owner);
    memset(index, 0, cap * sizeof *index);
    ur__realloc(ps->index, ps->index_cap * sizeof *index, 0);
    ps->index = index;
    ps->index_cap = cap;
    for (size_t i = 0; i < ps->n; i++)
        ps->index[slot_of_name(ps, ps->param[i].name)] = (uint32_t)i + 1;
    return true;
}

ur_node ur_find(ur_params *ps, const char *name)
{
    uint32_t number = ps && name && ps->index_cap ? ps->index[slot_of_name(ps, name)] : 0;
    return ur_params_at(ps, (int)number - 1);
}

void *ur_params_alloc(ur_params *ps, size_t bytes)
{
    void *p = ps ? ur__bump_alloc(&ps->memory, bytes) : NULL;
    if (!p && ps)
        ur__out_of_memory(&ps->owner);
    return p;
}

const char *ur_namef(ur_params *ps, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *name = n >= 0 ? ur_params_alloc(ps, (size_t)n + 1) : NULL;
    if (!name)
        return "";      /* no parameter may have this name, so nothing is built on it */
    va_start(args, format);
    vsnprintf(name, (size_t)n + 1, format, args);
    va_end(args);
    return name;
}

/* ------------------------------------------------------------------------------------- creation */

/* Shape and element count; false with the reason in `why`. */
static bool shape_from(int rank, const int *dim, ur_type type, ur_shape *s, size_t *count,
                       char *why, size_t why_size)
{
    if (rank < 0 || rank > UR_MAX_RANK) {
        snprintf(why, why_size, "has %d sizes, at most %d are possible", rank, UR_MAX_RANK);
        return false;
    }
    *s = (ur_shape){ .rank = rank };
    size_t most = PTRDIFF_MAX / 2 / ur__type_size((int)type);
    *count = 1;
    for (int i = 0; i < rank; i++) {
        s->dim[i] = dim[i];
        if (dim[i] < 0) {
            snprintf(why, why_size, "has %d as size %d, which is negative", dim[i], i + 1);
            return false;
        }
        if (dim[i] && *count > most / (size_t)dim[i]) {
            snprintf(why, why_size, "is too large for this machine's addresses");
            return false;
        }
        *count *= (size_t)dim[i];
    }
    return true;
}

/* Checks what the caller says; fills shape and count. */
static bool accept(ur_params *ps, ur_at at, const char *name, ur__param *p, int rank,
                   const int *dim)
{
    const char *place = ur__place(at);
    char why[100];
    if (!name || !*name)
        return ur__fail(&ps->owner, "%sparam: a parameter needs a name", place);
    if (strcmp(name, "__metadata__") == 0)      /* a reserved key of the format it is saved in */
        return ur__fail(&ps->owner, "%sparam: the name \"%s\" is reserved for saved files, "
                        "give this parameter another", place, name);
    ur_node old = ur_find(ps, name);
    if (ur__live(old))
        return ur__fail(&ps->owner, "%sparam: there is a parameter \"%.200s\" already, %s; "
                        "give this one another name", place, name,
                        ur_shape_text(ur_shape_of(old)));
    if (ps->sealed)
        return ur__fail(&ps->owner, "%sparam: \"%.200s\" comes too late: the store was sealed by "
                        "its first run, read or save; add parameters before", place, name);
    if (!shape_from(rank, dim, ps->type, &p->shape, &p->count, why, sizeof why))
        return ur__fail(&ps->owner, "%sparam: \"%.200s\" %s", place, name, why);
    const char *fault = ur__init_fault(&p->init, &p->shape);
    if (fault)
        return ur__fail(&ps->owner, "%sparam: \"%.200s\" is %s but %s", place, name,
                        ur_shape_text(p->shape), fault);
    return true;
}

/* Elements to leave free in front of a parameter. The weights of a cell's gates are read in turn at
 * every step, and would lie at equal distances, which some machines take for a walk with that
 * stride: what they then fetch in advance nobody wants, and reading takes half as long again. A few
 * lines more or less from one large parameter to the next do away with it. */
static size_t gap_before(const ur_params *ps, size_t count)
{
    enum { LARGE = 4096, LINES = 8 };
    const size_t size = ur__type_size((int)ps->type);
    return count * size < LARGE ? 0 : ur__mix(1, ps->n) % LINES * LINE / size;
}

ur_node ur_param_at(ur_at at, ur_params *ps, const char *name, ur_init init, int rank,
                    const int *dim)
{
    ur_node nil = { ps, 0, 0 };
    ur__param p = { .init = init };
    if (!ps || ps->owner.failed || !accept(ps, at, name, &p, rank, dim))
        return nil;
    size_t per_line = LINE / ur__type_size((int)ps->type);
    const size_t gap = gap_before(ps, p.count);
    size_t padded = p.count / per_line * per_line + (p.count % per_line ? per_line : 0);
    if (ps->n >= INT32_MAX || padded > PTRDIFF_MAX / LINE - ps->padded - gap) {
        ur__fail(&ps->owner, "%sparam: \"%.200s\" is %s, too large beside the others",
                 ur__place(at), name, ur_shape_text(p.shape));
        return nil;
    }
    if (2 * (ps->n + 1) > ps->index_cap && !grow_index(ps))
        return nil;
    size_t length = strlen(name) + 1;
    char *copy = ur_params_alloc(ps, length);
    if (!copy)
        return nil;
    if (!ur__reserve(&ps->param, &ps->cap, ps->n + 1, sizeof p)) {
        ur__out_of_memory(&ps->owner);
        return nil;
    }
    p.name = memcpy(copy, name, length);
    p.offset = ps->padded + gap;
    ps->index[slot_of_name(ps, name)] = (uint32_t)ps->n + 1;
    ps->param[ps->n++] = p;
    ps->elements += p.count;
    ps->padded += gap + padded;
    return ur_params_at(ps, (int)ps->n - 1);
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

/* A graph that uses the store may have recorded a parameter before it was frozen. */
static bool make_and_draw(ur_params *ps)
{
    bool gradients = !all_frozen(ps) || ps->references > 1;
    bool ok = make_block(ps, &ps->values) && (!gradients || make_block(ps, &ps->gradients));
    for (size_t i = 0; ok && i < ps->n; i++)
        ok = ur__draw_initial(ps, &ps->param[i], ps->values.p + offset_of(ps, &ps->param[i]));
    if (!ok) {
        ur__block_free(&ps->values);
        ur__block_free(&ps->gradients);
    }
    return ok;
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
