/* Stores in a file: one tensor a parameter, under the parameter's name, and metadata as strings.
 *
 * A load reads everything to the side first and copies only when all of it was right, so that a
 * file with a fault changes nothing. */
#include "graph/internal.h"
#include "graph/safetensors.h"

enum { WHY = 500 };

static size_t bytes_of(const ur_params *ps, const ur__param *p)
{
    return p->count * ur__type_size((int)ps->type);
}

static ur__st_dtype dtype_of(const ur_params *ps)
{
    return ps->type == UR_F64 ? UR__ST_F64 : UR__ST_F32;
}

static size_t total(ur_params *const stores[], int n)
{
    size_t count = 0;
    for (int i = 0; i < n; i++)
        count += stores[i]->n;
    return count;
}

/* Stores that can be saved or loaded: without errors, sealed. */
static bool usable(const char *what, ur_params *const stores[], int n)
{
    if (n < 1 || !stores || !stores[0])
        return false;
    for (int i = 0; i < n; i++) {
        if (!stores[i])
            return ur__fail(&stores[0]->owner, "%s: store %d is NULL", what, i);
        if (stores[i]->owner.failed || !ur__seal(stores[i]))
            return i == 0 ? false : ur__fail(&stores[0]->owner, "%s: store %d has failed: %s",
                                             what, i, stores[i]->owner.error);
    }
    return true;
}

bool ur_save(const char *path, ur_params *const stores[], int n_stores,
             const char *const metadata[], int n_pairs)
{
    if (!usable("save", stores, n_stores))
        return false;
    size_t n = total(stores, n_stores), k = 0, pairs = (size_t)(n_pairs > 0 ? n_pairs : 0);
    size_t out_bytes = (n + 1) * sizeof(ur__st_out), pair_bytes = (pairs + 1) * sizeof(ur__st_pair);
    ur__st_out *out = ur__realloc(NULL, 0, out_bytes);
    ur__st_pair *pair = ur__realloc(NULL, 0, pair_bytes);
    char why[WHY] = "";
    bool ok = out && pair;
    if (!ok)
        ur__out_of_memory(&stores[0]->owner);
    for (size_t i = 0; ok && i < pairs; i++)
        pair[i] = (ur__st_pair){ metadata[2 * i], metadata[2 * i + 1] };
    for (int i = 0; ok && i < n_stores; i++)
        for (size_t j = 0; j < stores[i]->n; j++, k++) {
            const ur__param *p = &stores[i]->param[j];
            out[k] = (ur__st_out){ .name = p->name, .dtype = dtype_of(stores[i]),
                                   .rank = p->shape.rank,
                                   .data = stores[i]->values.p +
                                           p->offset * ur__type_size((int)stores[i]->type) };
            for (int d = 0; d < p->shape.rank; d++)
                out[k].dim[d] = (uint64_t)p->shape.dim[d];
        }
    if (ok && !ur__st_write(path, out, n, pair, pairs, why, sizeof why))
        ok = ur__fail(&stores[0]->owner, "%s", why);
    ur__realloc(out, out_bytes, 0);
    ur__realloc(pair, pair_bytes, 0);
    return ok;
}

/* ----------------------------------------------------------------------------------------- loads */

static void note(char *list, size_t size, const char *name)
{
    size_t used = strlen(list);
    if (used + 1 < size)
        snprintf(list + used, size - used, "%s%s", used ? " " : "", name);
}

static bool shape_fits(const ur__param *p, const ur__st_tensor *t)
{
    bool fits = p->shape.rank == t->rank;
    for (int d = 0; fits && d < t->rank; d++)
        fits = (uint64_t)p->shape.dim[d] == t->dim[d];
    return fits;
}

static bool refuse_shape(ur_params *first, const char *path, const ur__param *p,
                         const ur__st_tensor *t)
{
    char text[200] = "[";
    size_t used = 1;
    for (int d = 0; d < t->rank && used < sizeof text - 24; d++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%llu", d ? "," : "",
                                 (unsigned long long)t->dim[d]);
    snprintf(text + used, sizeof text - used, "]");
    return ur__fail(&first->owner, "load: %s: %s is %s, but the store's is %s", path,
                    ur__st_shown(p->name).text, text, ur__shape_text(p->shape));
}

/* Whether a file's tensor is a parameter of one of the stores. */
static bool known(ur_params *const stores[], int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!ur_is_nil(ur_find(stores[i], name)))
            return true;
    return false;
}

/* What is missing and what is extra; the bytes of what can be read. */
static bool compare(const ur__st_file *f, const char *path, ur_params *const stores[], int n,
                    bool strict, ur_load_report *r, size_t *bytes)
{
    for (int i = 0; i < n; i++)
        for (size_t j = 0; j < stores[i]->n; j++) {
            const ur__param *p = &stores[i]->param[j];
            const ur__st_tensor *t = ur__st_find(f, p->name);
            if (!t) {
                r->missing++;
                note(r->missing_names, sizeof r->missing_names, p->name);
            } else if (!shape_fits(p, t)) {
                return refuse_shape(stores[0], path, p, t);
            } else {
                r->loaded++;
                *bytes += (bytes_of(stores[i], p) + 7) / 8 * 8;
            }
        }
    for (size_t k = 0; k < f->n; k++)
        if (!known(stores, n, f->tensors[k].name)) {
            r->extra++;
            note(r->extra_names, sizeof r->extra_names, f->tensors[k].name);
        }
    if (!strict || (!r->missing && !r->extra))
        return true;
    return ur__fail(&stores[0]->owner, "load: %s: %d parameters are missing%s%.120s and %d tensors "
                    "are extra%s%.120s", path, r->missing, r->missing ? ": " : "",
                    r->missing_names, r->extra, r->extra ? ": " : "", r->extra_names);
}

/* Reads all to the side (copy false), or copies from there. */
static bool transfer(const ur__st_file *f, ur_params *const stores[], int n, char *side, bool copy)
{
    char why[WHY] = "";
    for (int i = 0; i < n; i++)
        for (size_t j = 0; j < stores[i]->n; j++) {
            const ur__param *p = &stores[i]->param[j];
            const ur__st_tensor *t = ur__st_find(f, p->name);
            if (!t)
                continue;
            if (copy)
                memcpy(stores[i]->values.p + p->offset * ur__type_size((int)stores[i]->type), side,
                       bytes_of(stores[i], p));
            else if (!ur__st_read(f, t, dtype_of(stores[i]), side, p->count, why, sizeof why))
                return ur__fail(&stores[0]->owner, "%s", why);
            side += (bytes_of(stores[i], p) + 7) / 8 * 8;
        }
    return true;
}

bool ur_load(const char *path, ur_params *const stores[], int n_stores, bool strict,
             ur_load_report *report)
{
    ur_load_report none, *r = report ? report : &none;
    memset(r, 0, sizeof *r);
    if (!usable("load", stores, n_stores))
        return false;
    ur__st_file f = { 0 };
    char why[WHY] = "";
    if (!ur__st_open(&f, path, why, sizeof why))
        return ur__fail(&stores[0]->owner, "%s", why);
    size_t bytes = 8;
    char *side = NULL;
    bool ok = compare(&f, path, stores, n_stores, strict, r, &bytes);
    if (ok && !(side = ur__realloc(NULL, 0, bytes)))
        ok = ur__out_of_memory(&stores[0]->owner);
    ok = ok && transfer(&f, stores, n_stores, side, false);
    if (ok) {
        transfer(&f, stores, n_stores, side, true);
        for (int i = 0; i < n_stores; i++)
            ur_params_changed(stores[i]);
    }
    if (side)
        ur__realloc(side, bytes, 0);
    ur__st_close(&f);
    return ok;
}

bool ur_load_metadata(const char *path, const char *key, char *out, size_t size, char *why,
                      size_t why_size)
{
    ur__st_file f = { 0 };
    if (!ur__st_open(&f, path, why, why_size))
        return false;
    const char *value = ur__st_meta(&f, key);
    bool ok = value && strlen(value) < size;
    if (ok)
        memcpy(out, value, strlen(value) + 1);
    else
        snprintf(why, why_size, "%s: %s metadata \"%s\"%s", path, value ? "the" : "there is no",
                 key, value ? " is too long" : "");
    ur__st_close(&f);
    return ok;
}
