/* Opening a safetensors file: the header is read, parsed and believed only after these checks.
 *
 *     8 + N <= size of the file,  N <= 100,000,000
 *     bytes(tensor) = ceil(bits(dtype) * product(shape) / 8) = end - begin, without a remainder
 *     sorted by (begin, end):  begin[0] = 0,  begin[k+1] = end[k],  8 + N + end[last] = size
 *
 * The last line leaves no byte of the file without an owner and none with two, so that the work and
 * memory a file can cause are bounded by its size. The rules are those of the reference reader
 * (huggingface/safetensors, safetensors/src/tensor.rs), and keys must differ besides. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "graph/json.h"
#include "graph/safetensors.h"

typedef struct reader {
    ur__st_file *f;
    ur__json json;
    uint64_t size;              /* of the file */
    size_t header, dims;        /* bytes of the header; dimensions of all tensors so far */
    bool has_metadata;
    char *why;
    size_t why_size;
} reader;

#define FAIL(r, ...) ur__st_fail((r)->why, (r)->why_size, "read", (r)->f->path, __VA_ARGS__)

static bool out_of_memory(const reader *r)
{
    return FAIL(r, "out of memory");
}

/* The parser has stopped; says where and why. */
static bool bad_json(const reader *r)
{
    size_t at = (size_t)(r->json.at - r->json.begin);
    return FAIL(r, "its header is malformed at byte %zu of %zu: %s", at, r->header,
                r->json.fault);
}

/* ---- The parts of the header ---- */

static bool add_dim(reader *r, uint64_t dim)
{
    if (!ur__reserve(&r->f->dim, &r->f->dim_room, r->dims + 1, sizeof dim))
        return out_of_memory(r);
    r->f->dim[r->dims++] = dim;
    return true;
}

static bool read_shape(reader *r, ur__st_tensor *t)
{
    uint64_t dim;
    if (!ur__json_need(&r->json, '['))
        return bad_json(r);
    if (ur__json_next(&r->json, ']'))
        return true;
    do {
        if (!ur__json_integer(&r->json, &dim))
            return bad_json(r);
        if (!add_dim(r, dim))
            return false;
        t->rank++;
    } while (ur__json_next(&r->json, ','));
    return ur__json_need(&r->json, ']') || bad_json(r);
}

static bool read_dtype(reader *r, ur__st_tensor *t)
{
    const char *dtype;
    if (!ur__json_string(&r->json, &dtype))
        return bad_json(r);
    int k = 0;
    while (k < UR__ST_DTYPES && strcmp(dtype, ur__st_dtype_name((ur__st_dtype)k)) != 0)
        k++;
    t->dtype = (ur__st_dtype)k;
    return k < UR__ST_DTYPES || FAIL(r, "tensor '%s' has the unknown dtype '%s'",
                                     ur__st_shown(t->name).text, ur__st_shown(dtype).text);
}

/* One key of a tensor; what has been found so far is kept in bits of `seen`. */
static bool read_field(reader *r, ur__st_tensor *t, unsigned *seen)
{
    static const char *const name[] = { "dtype", "shape", "data_offsets" };
    ur__json *j = &r->json;
    const char *key;
    uint64_t end;
    unsigned k = 0;
    if (!ur__json_string(j, &key) || !ur__json_need(j, ':'))
        return bad_json(r);
    while (k < 3 && strcmp(key, name[k]) != 0)
        k++;
    if (k < 3 && *seen & 1u << k)
        return FAIL(r, "tensor '%s' has two keys '%s'", ur__st_shown(t->name).text, key);
    *seen |= 1u << k;
    switch (k) {
    case 0:
        return read_dtype(r, t);
    case 1:
        return read_shape(r, t);
    case 2:
        if (!ur__json_need(j, '[') || !ur__json_integer(j, &t->offset) || !ur__json_need(j, ',')
            || !ur__json_integer(j, &end) || !ur__json_need(j, ']'))
            return bad_json(r);
        t->bytes = end - t->offset;
        return end >= t->offset || FAIL(r, "tensor '%s' ends before it begins: data_offsets [%"
                                        PRIu64 ",%" PRIu64 "]", ur__st_shown(t->name).text,
                                        t->offset, end);
    default:
        return ur__json_skip(j) || bad_json(r);
    }
}

static bool read_tensor(reader *r, const char *name)
{
    ur__st_file *f = r->f;
    if (!ur__reserve(&f->tensor, &f->tensor_room, f->n + 1, sizeof *f->tensor))
        return out_of_memory(r);
    ur__st_tensor *t = &f->tensor[f->n++];
    *t = (ur__st_tensor){ .name = name };
    unsigned seen = 0;
    if (!ur__json_need(&r->json, '{'))
        return bad_json(r);
    if (!ur__json_next(&r->json, '}')) {
        do {
            if (!read_field(r, t, &seen))
                return false;
        } while (ur__json_next(&r->json, ','));
        if (!ur__json_need(&r->json, '}'))
            return bad_json(r);
    }
    if ((seen & 7) != 7)
        return FAIL(r, "tensor '%s' has no %s", ur__st_shown(name).text,
                    !(seen & 1) ? "dtype" : !(seen & 2) ? "shape" : "data_offsets");
    return true;
}

static bool read_metadata(reader *r)
{
    ur__st_file *f = r->f;
    if (r->has_metadata)
        return FAIL(r, "it has two keys '__metadata__'");
    r->has_metadata = true;
    if (!ur__json_need(&r->json, '{'))
        return bad_json(r);
    if (ur__json_next(&r->json, '}'))
        return true;
    do {
        if (!ur__reserve(&f->pair, &f->pair_room, f->n_pairs + 1, sizeof *f->pair))
            return out_of_memory(r);
        ur__st_pair *p = &f->pair[f->n_pairs];
        if (!ur__json_string(&r->json, &p->key) || !ur__json_need(&r->json, ':')
            || !ur__json_string(&r->json, &p->value))
            return bad_json(r);
        f->n_pairs++;
    } while (ur__json_next(&r->json, ','));
    return ur__json_need(&r->json, '}') || bad_json(r);
}

static bool read_all(reader *r)
{
    ur__json *j = &r->json;
    const char *name;
    if (!ur__json_start(j, r->f->header, r->header) || !ur__json_need(j, '{'))
        return bad_json(r);
    if (!ur__json_next(j, '}')) {
        do {
            if (!ur__json_string(j, &name) || !ur__json_need(j, ':'))
                return bad_json(r);
            if (!(strcmp(name, "__metadata__") == 0 ? read_metadata(r) : read_tensor(r, name)))
                return false;
        } while (ur__json_next(j, ','));
        if (!ur__json_need(j, '}'))
            return bad_json(r);
    }
    return ur__json_done(j) || bad_json(r);
}

/* ---- Checks over all tensors ---- */

static int by_offset(const void *a, const void *b)
{
    const ur__st_tensor *s = a, *t = b;
    if (s->offset != t->offset)
        return s->offset < t->offset ? -1 : 1;
    return s->bytes < t->bytes ? -1 : s->bytes > t->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const ur__st_tensor *)a)->name, ((const ur__st_tensor *)b)->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const ur__st_pair *)a)->key, ((const ur__st_pair *)b)->key);
}

/* Every tensor is as long as its shape says and begins where the one before ends, and the last one
 * ends with the file. */
static bool check_places(reader *r)
{
    ur__st_file *f = r->f;
    const uint64_t begin = 8 + (uint64_t)r->header;
    uint64_t end = 0;
    ur__st_sort(f->tensor, f->n, sizeof *f->tensor, by_offset);
    for (size_t i = 0; i < f->n; i++) {
        ur__st_tensor *t = &f->tensor[i];
        uint64_t need;
        if (t->offset != end)
            return FAIL(r, "tensor '%s' begins at byte %" PRIu64 " of the values and not at %"
                        PRIu64 ", %s", ur__st_shown(t->name).text, t->offset, end,
                        i == 0 ? "their start" : "the end of the one before");
        const char *bad = ur__st_size(t->dtype, t->rank, t->dim, &t->count, &need);
        if (bad)
            return FAIL(r, "tensor '%s': %s", ur__st_shown(t->name).text, bad);
        if (need != t->bytes)
            return FAIL(r, "tensor '%s' needs %" PRIu64 " bytes by its shape and dtype but its "
                        "data_offsets give it %" PRIu64, ur__st_shown(t->name).text, need,
                        t->bytes);
        end += t->bytes;        /* the end it was read from: no overflow */
        t->offset += begin;     /* may wrap, but only where the next check fails */
    }
    if (end != r->size - begin)
        return FAIL(r, "its values should be %" PRIu64 " bytes but are %" PRIu64 ": it was cut off "
                    "or something was added", end, r->size - begin);
    return true;
}

static bool sort_names(reader *r)
{
    ur__st_file *f = r->f;
    ur__st_sort(f->tensor, f->n, sizeof *f->tensor, by_name);
    for (size_t i = 1; i < f->n; i++)
        if (by_name(&f->tensor[i - 1], &f->tensor[i]) == 0)
            return FAIL(r, "two tensors are called '%s'", ur__st_shown(f->tensor[i].name).text);
    ur__st_sort(f->pair, f->n_pairs, sizeof *f->pair, by_key);
    for (size_t i = 1; i < f->n_pairs; i++)
        if (by_key(&f->pair[i - 1], &f->pair[i]) == 0)
            return FAIL(r, "two keys of its metadata are '%s'", ur__st_shown(f->pair[i].key).text);
    return true;
}

/* ---- Opening ---- */

static bool open_file(reader *r)
{
    ur__st_file *f = r->f;
    struct stat st;
    /* O_NONBLOCK: a pipe that nobody writes to is an error and not a wait. */
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0 || fstat(f->fd, &st) != 0)
        return FAIL(r, "%s", errno == ENOENT ? "there is no such file" : strerror(errno));
    if (!S_ISREG(st.st_mode))
        return FAIL(r, S_ISDIR(st.st_mode) ? "it is a directory" : "it is no regular file");
    r->size = (uint64_t)st.st_size;
    return true;
}

static bool read_header(reader *r)
{
    ur__st_file *f = r->f;
    unsigned char bytes[8];
    uint64_t n = 0;
    if (r->size < 8)
        return FAIL(r, "it has %" PRIu64 " bytes, not even the 8 of the header's length", r->size);
    if (!ur__st_bytes(f, bytes, 8, 0))
        return FAIL(r, "%s", ur__st_why());
    for (int i = 8; i-- > 0;)
        n = n << 8 | bytes[i];
    if (n > UR__ST_HEADER)
        return FAIL(r, "its header would be %" PRIu64 " bytes, of which %d are allowed: it is no "
                    "safetensors file", n, UR__ST_HEADER);
    if (n > r->size - 8)
        return FAIL(r, "its header should be %" PRIu64 " bytes, but only %" PRIu64 " follow", n,
                    r->size - 8);
    r->header = (size_t)n;
    f->header = ur__realloc(NULL, 0, r->header + 1);
    if (!f->header)
        return out_of_memory(r);
    f->header_room = r->header + 1;
    return ur__st_bytes(f, f->header, r->header, 8) || FAIL(r, "%s", ur__st_why());
}

/* Tensors and dimensions were read in the same order; the array of the latter is now complete. */
static void link_dims(ur__st_file *f)
{
    size_t first = 0;
    for (size_t i = 0; i < f->n; i++) {
        f->tensor[i].dim = f->dim ? f->dim + first : NULL;
        first += (size_t)f->tensor[i].rank;
    }
}

bool ur__st_open(ur__st_file *f, const char *path, char *why, size_t why_size)
{
    reader r = { .f = f, .why = why, .why_size = why_size };
    *f = (ur__st_file){ .fd = -1 };
    size_t room = strlen(path) + 1;
    f->path = ur__realloc(NULL, 0, room);
    if (!f->path)
        return ur__st_fail(why, why_size, "read", path, "out of memory");
    f->path_room = room;
    memcpy(f->path, path, room);
    if (open_file(&r) && read_header(&r) && read_all(&r)) {
        link_dims(f);
        if (check_places(&r) && sort_names(&r)) {
            f->tensors = f->tensor;
            f->pairs = f->pair;
            return true;
        }
    }
    ur__st_close(f);
    return false;
}

void ur__st_close(ur__st_file *f)
{
    if (!f->path)
        return;
    if (f->fd >= 0)
        close(f->fd);
    ur__realloc(f->path, f->path_room, 0);
    ur__realloc(f->header, f->header_room, 0);
    ur__realloc(f->tensor, f->tensor_room * sizeof *f->tensor, 0);
    ur__realloc(f->pair, f->pair_room * sizeof *f->pair, 0);
    ur__realloc(f->dim, f->dim_room * sizeof *f->dim, 0);
    *f = (ur__st_file){ .fd = -1 };
}

const ur__st_tensor *ur__st_find(const ur__st_file *f, const char *name)
{
    size_t low = 0, high = f->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, f->tensors[middle].name);
        if (order == 0)
            return &f->tensors[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *ur__st_meta(const ur__st_file *f, const char *key)
{
    ur__st_pair wanted = { key, NULL };
    const ur__st_pair *p = f->n_pairs
        ? bsearch(&wanted, f->pairs, f->n_pairs, sizeof wanted, by_key) : NULL;
    return p ? p->value : NULL;
}
