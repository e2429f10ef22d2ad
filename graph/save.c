/* Saving and loading: parameters of several stores in one safetensors file (safetensors.h).
 *
 * In a file names are all that there is, so they must tell the parameters of all stores apart. Both
 * directions therefore work on one list of parameters sorted by name; the tensors of a file are
 * sorted too, and one walk along both finds what belongs together, what is missing and what is
 * extra. A load reads everything into memory of its own first: values change when nothing can fail
 * any more. */
#include "graph/internal.h"
#include "graph/safetensors.h"

typedef struct item {
    ur_params *ps;
    const ur__param *p;
    int store;                      /* number of ps, for texts */
    const ur__st_tensor *tensor;    /* load: what it is read from; NULL where the file lacks it */
    char *fresh;                    /* load: its new values */
} item;
_Static_assert(sizeof(item) <= sizeof(ur__st_tensor), "the largest that ur__st_sort takes");

typedef struct job {
    const char *op, *verb, *path;
    ur_params *const *stores;
    int n_stores;
    item *item;                     /* sorted by name */
    size_t n;
    char why[560];
} job;

#define FAIL(j, ...) (ur__st_fail((j)->why, sizeof (j)->why, (j)->verb, (j)->path, __VA_ARGS__), \
                      fail(j))

/* The error that j->why tells. */
static bool fail(const job *j)
{
    return ur__fail(&j->stores[0]->owner, "%s: %s", j->op, j->why);
}

static bool out_of_memory(const job *j)
{
    return ur__out_of_memory(&j->stores[0]->owner);
}

static ur__st_dtype dtype_of(const ur_params *ps)
{
    return ps->type == UR_F64 ? UR__ST_F64 : UR__ST_F32;
}

/* ------------------------------------------------------------------------------------- the list */

static int by_name(const void *a, const void *b)
{
    const item *x = a, *y = b;
    int order = strcmp(x->p->name, y->p->name);
    return order ? order : x->store - y->store;
}

static bool stores_are_sound(job *j)
{
    if (!j->path)
        return ur__fail(&j->stores[0]->owner, "%s: there is no path", j->op);
    for (int i = 1; i < j->n_stores; i++) {
        if (!j->stores[i])
            return FAIL(j, "store %d is NULL", i);
        if (j->stores[i]->owner.failed)
            return FAIL(j, "store %d has failed: %s", i, j->stores[i]->owner.error);
    }
    return true;
}

/* Lists the parameters of all stores; false where two have one name. */
static bool list_items(job *j)
{
    size_t n = 0;
    for (int i = 0; i < j->n_stores; i++)
        n += j->stores[i]->n;
    if (!n)
        return true;
    j->item = ur__realloc(NULL, 0, n * sizeof *j->item);
    if (!j->item)
        return out_of_memory(j);
    j->n = n;
    n = 0;
    for (int i = 0; i < j->n_stores; i++)
        for (size_t k = 0; k < j->stores[i]->n; k++)
            j->item[n++] = (item){ .ps = j->stores[i], .p = &j->stores[i]->param[k], .store = i };
    ur__st_sort(j->item, n, sizeof *j->item, by_name);
    for (size_t k = 1; k < n; k++) {
        const item *a = &j->item[k - 1], *b = &j->item[k];
        if (strcmp(a->p->name, b->p->name) == 0)
            return FAIL(j, "stores %d and %d both have a parameter '%s', but in one file names "
                        "are unique", a->store, b->store, ur__st_shown(a->p->name).text);
    }
    return true;
}

static bool begin(job *j)
{
    return j->n_stores > 0 && j->stores && j->stores[0] && !j->stores[0]->owner.failed &&
           stores_are_sound(j) && list_items(j);
}

static void end(job *j)
{
    ur__realloc(j->item, j->n * sizeof *j->item, 0);
}

static bool seal_all(job *j)
{
    for (int i = 0; i < j->n_stores; i++)
        if (!ur__seal(j->stores[i]))
            return i ? FAIL(j, "store %d has failed: %s", i, j->stores[i]->owner.error) : false;
    return true;
}

static char *values_of(const item *x)
{
    return x->ps->values.p + x->p->offset * ur__type_size((int)x->ps->type);
}

/* --------------------------------------------------------------------------------------- saving */

static ur__st_out tensor_of(const item *x)
{
    ur__st_out t = { .name = x->p->name, .dtype = dtype_of(x->ps), .rank = x->p->shape.rank,
                     .data = values_of(x) };
    for (int i = 0; i < t.rank; i++)
        t.dim[i] = (uint64_t)x->p->shape.dim[i];
    return t;
}

static bool write_file(job *j, ur__st_out *tensors, ur__st_pair *pairs,
                       const char *const metadata[], size_t n_pairs)
{
    for (size_t k = 0; k < j->n; k++)
        tensors[k] = tensor_of(&j->item[k]);
    for (size_t k = 0; k < n_pairs; k++) {
        pairs[k] = (ur__st_pair){ metadata[2 * k], metadata[2 * k + 1] };
        if (!pairs[k].key || !pairs[k].value)
            return FAIL(j, "metadata pair %zu lacks its %s", k, pairs[k].key ? "value" : "key");
    }
    return ur__st_write(j->path, tensors, j->n, pairs, n_pairs, j->why, sizeof j->why) || fail(j);
}

bool ur_save(const char *path, ur_params *const stores[], int n_stores,
             const char *const metadata[], int n_pairs)
{
    job j = { .op = "save", .verb = "write", .path = path, .stores = stores,
              .n_stores = n_stores };
    size_t m = metadata && n_pairs > 0 ? (size_t)n_pairs : 0;
    bool ok = begin(&j) && seal_all(&j);
    if (ok) {       /* one more of each: no size is zero */
        size_t tensor_bytes = (j.n + 1) * sizeof(ur__st_out);
        size_t pair_bytes = (m + 1) * sizeof(ur__st_pair);
        ur__st_out *tensors = ur__realloc(NULL, 0, tensor_bytes);
        ur__st_pair *pairs = ur__realloc(NULL, 0, pair_bytes);
        ok = tensors && pairs ? write_file(&j, tensors, pairs, metadata, m) : out_of_memory(&j);
        if (tensors)
            ur__realloc(tensors, tensor_bytes, 0);
        if (pairs)
            ur__realloc(pairs, pair_bytes, 0);
    }
    end(&j);
    return ok;
}

/* -------------------------------------------------------------------------------------- loading */

/* Appends a name to a list, in which "..." stands for those that had no room. */
static void add_name(char *list, size_t size, int before, const char *name)
{
    size_t n = strlen(list), room = size - n;
    if (n >= 3 && strcmp(list + n - 3, "...") == 0)
        return;
    bool fits = strlen(name) + 6 <= room;       /* a space, the name, room for " ..." */
    snprintf(list + n, room, "%s%s", before ? " " : "", fits ? name : "...");
}

static bool same_shape(const ur__st_tensor *t, const ur_shape *s)
{
    bool same = t->rank == s->rank;
    for (int i = 0; same && i < t->rank; i++)
        same = t->dim[i] == (uint64_t)s->dim[i];
    return same;
}

static bool wrong_shape(job *j, const item *x)
{
    char is[160] = "[";
    size_t n = 1;
    for (int i = 0; i < x->tensor->rank && n < sizeof is; i++)
        n += (size_t)snprintf(is + n, sizeof is - n, "%s%llu", i ? "," : "",
                              (unsigned long long)x->tensor->dim[i]);
    return FAIL(j, "'%s' is %s] in the file but %s in the store", ur__st_shown(x->p->name).text, is,
                ur_shape_text(x->p->shape));
}

/* Walks along both lists, fills in the tensors and the report. */
static bool match(job *j, const ur__st_file *f, ur_load_report *r)
{
    size_t k = 0, t = 0;
    while (k < j->n || t < f->n) {
        item *x = k < j->n ? &j->item[k] : NULL;
        const ur__st_tensor *tensor = t < f->n ? &f->tensors[t] : NULL;
        int order = !x ? 1 : !tensor ? -1 : strcmp(x->p->name, tensor->name);
        k += order <= 0, t += order >= 0;
        if (order < 0) {
            add_name(r->missing_names, sizeof r->missing_names, r->missing++, x->p->name);
        } else if (order > 0) {
            add_name(r->extra_names, sizeof r->extra_names, r->extra++, tensor->name);
        } else {
            x->tensor = tensor;
            r->loaded++;
            if (!same_shape(tensor, &x->p->shape))
                return wrong_shape(j, x);
        }
    }
    return true;
}

/* A strict load wants the file to hold what the stores hold. */
static bool complete(job *j, const ur_load_report *r)
{
    if (!r->missing && !r->extra)
        return true;
    if (!r->extra)
        return FAIL(j, "it lacks %d of %zu parameters: %s", r->missing, j->n, r->missing_names);
    if (!r->missing)
        return FAIL(j, "tensors that are no parameters: %d, %s", r->extra, r->extra_names);
    return FAIL(j, "it lacks %d of %zu parameters: %s; tensors that are no parameters: %d, %s",
                r->missing, j->n, r->missing_names, r->extra, r->extra_names);
}

/* Bytes of a parameter's new values: whole doubles, so that each begins aligned. */
static size_t fresh_bytes(const item *x)
{
    return x->tensor ? (x->p->count * ur__type_size((int)x->ps->type) + 7) / 8 * 8 : 0;
}

static bool read_all(job *j, const ur__st_file *f, char *fresh)
{
    for (size_t k = 0; k < j->n; k++) {
        item *x = &j->item[k];
        x->fresh = fresh;
        fresh += fresh_bytes(x);
        if (x->tensor && !ur__st_read(f, x->tensor, dtype_of(x->ps), x->fresh, x->p->count, j->why,
                                      sizeof j->why))
            return fail(j);
    }
    return true;
}

/* From here on nothing fails. */
static void commit(const job *j)
{
    for (size_t k = 0; k < j->n; k++) {
        const item *x = &j->item[k];
        if (x->tensor)
            memcpy(values_of(x), x->fresh, x->p->count * ur__type_size((int)x->ps->type));
    }
    for (int i = 0; i < j->n_stores; i++)
        ur_params_changed(j->stores[i]);
}

static bool load(job *j, bool strict, ur_load_report *r)
{
    ur__st_file f;
    if (!ur__st_open(&f, j->path, j->why, sizeof j->why))
        return fail(j);
    bool ok = match(j, &f, r) && (!strict || complete(j, r));
    if (ok) {
        size_t bytes = 8;
        for (size_t k = 0; k < j->n; k++)
            bytes += fresh_bytes(&j->item[k]);
        char *fresh = ur__realloc(NULL, 0, bytes);
        ok = fresh ? read_all(j, &f, fresh) && seal_all(j) : out_of_memory(j);
        if (ok)
            commit(j);
        if (fresh)
            ur__realloc(fresh, bytes, 0);
    }
    ur__st_close(&f);
    return ok;
}

bool ur_load(const char *path, ur_params *const stores[], int n_stores, bool strict,
             ur_load_report *report)
{
    ur_load_report r = { 0 };
    job j = { .op = "load", .verb = "read", .path = path, .stores = stores, .n_stores = n_stores };
    bool ok = begin(&j) && load(&j, strict, &r);
    end(&j);
    if (!ok)
        r.loaded = 0;
    if (report)
        *report = r;
    return ok;
}

bool ur_load_metadata(const char *path, const char *key, char *out, size_t size, char *why,
                      size_t why_size)
{
    ur__st_file f;
    if (!path || !key)
        return ur__st_fail(why, why_size, "read", path ? path : "", "there is no %s",
                           path ? "key" : "path");
    if (!ur__st_open(&f, path, why, why_size))
        return false;
    const char *value = ur__st_meta(&f, key);
    size_t length = value ? strlen(value) : 0;
    bool ok = value && length < size;
    if (ok)
        memcpy(out, value, length + 1);
    else if (!value)
        ur__st_fail(why, why_size, "read", path, "it has no metadata '%s'", ur__st_shown(key).text);
    else
        ur__st_fail(why, why_size, "read", path, "metadata '%s' has %zu bytes, but there is room "
                    "for %zu", ur__st_shown(key).text, length, size ? size - 1 : 0);
    ur__st_close(&f);
    return ok;
}
