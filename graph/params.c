/* Adding parameters to a store: names, shapes, and places in the store's blocks. */
#include "graph/internal.h"

enum { LINE = 64 };

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
    if (ps->n >= INT32_MAX || gap + padded > PTRDIFF_MAX / LINE - ps->padded) {
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
