/* Writing a safetensors file so that it is there as a whole or not at all.
 *
 *     write a new file in the same folder, fsync it, rename it over the old one, fsync the folder
 *
 * POSIX (IEEE Std 1003.1-2008, rename) promises that the name leads to the old file or to the new
 * one at every moment; the first fsync puts the values on the disk before the name, the second the
 * name itself (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
 *
 * The header is a multiple of 8 bytes long and the widest elements come first, so that all values
 * lie at multiples of their size. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "graph/json.h"
#include "graph/safetensors.h"

enum { PATH_ROOM = 4096, PIECE = 8192 };

typedef struct writer {
    const char *path;
    char *why;
    size_t why_size;
    const ur__st_out **tensors; /* in the order of the file */
    const ur__st_pair **pairs;
    size_t n, n_pairs;
    char *header;               /* with the 8 bytes of its length */
    size_t header_bytes, header_room;
    char target[PATH_ROOM], beside[PATH_ROOM];  /* what is replaced, and by which file */
    int fd;
    unsigned char piece[PIECE]; /* small writes are collected */
    size_t in_piece;
} writer;

#define FAIL(w, ...) ur__st_fail((w)->why, (w)->why_size, "write", (w)->path, __VA_ARGS__)

/* ---- What is to be written ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const ur__st_out *const *)a)->name, (*(const ur__st_out *const *)b)->name);
}

static int by_kind(const void *a, const void *b)
{
    const ur__st_out *s = *(const ur__st_out *const *)a, *t = *(const ur__st_out *const *)b;
    return s->dtype != t->dtype ? (s->dtype > t->dtype ? -1 : 1) : strcmp(s->name, t->name);
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const ur__st_pair *const *)a)->key, (*(const ur__st_pair *const *)b)->key);
}

static bool is_utf8(const char *s)
{
    size_t n = strlen(s);
    return ur__utf8_valid(s, n) == n;
}

static bool check_tensor(const writer *w, const ur__st_out *t)
{
    uint64_t count, bytes;
    if (!is_utf8(t->name))
        return FAIL(w, "the tensor name '%s' is not UTF-8", ur__st_shown(t->name).text);
    if (strcmp(t->name, "__metadata__") == 0)
        return FAIL(w, "no tensor can be called '__metadata__'");
    if ((unsigned)t->dtype >= UR__ST_DTYPES || t->rank < 0 || t->rank > UR__ST_RANK)
        return FAIL(w, "tensor '%s' has dtype number %d and rank %d",
                    ur__st_shown(t->name).text, (int)t->dtype, t->rank);
    const char *bad = ur__st_size(t->dtype, t->rank, t->dim, &count, &bytes);
    if (!bad && bytes > SIZE_MAX)
        bad = "it is larger than the memory";
    return !bad || FAIL(w, "tensor '%s': %s", ur__st_shown(t->name).text, bad);
}

/* Fills and sorts w->tensors and w->pairs. */
static bool put_in_order(writer *w, const ur__st_out *tensors, const ur__st_pair *pairs)
{
    for (size_t i = 0; i < w->n; i++) {
        w->tensors[i] = &tensors[i];
        if (!check_tensor(w, &tensors[i]))
            return false;
    }
    for (size_t i = 0; i < w->n_pairs; i++) {
        w->pairs[i] = &pairs[i];
        if (!is_utf8(pairs[i].key) || !is_utf8(pairs[i].value))
            return FAIL(w, "the metadata under '%s' are not UTF-8",
                        ur__st_shown(pairs[i].key).text);
    }
    ur__st_sort(w->tensors, w->n, sizeof *w->tensors, by_name);
    ur__st_sort(w->pairs, w->n_pairs, sizeof *w->pairs, by_key);
    for (size_t i = 1; i < w->n; i++)
        if (by_name(&w->tensors[i - 1], &w->tensors[i]) == 0)
            return FAIL(w, "two tensors are called '%s'", ur__st_shown(w->tensors[i]->name).text);
    for (size_t i = 1; i < w->n_pairs; i++)
        if (by_key(&w->pairs[i - 1], &w->pairs[i]) == 0)
            return FAIL(w, "two keys of the metadata are '%s'",
                        ur__st_shown(w->pairs[i]->key).text);
    ur__st_sort(w->tensors, w->n, sizeof *w->tensors, by_kind);
    return true;
}

/* ---- The header ---- */

static char *room_for(writer *w, size_t n)
{
    if (n > UR__ST_HEADER || w->header_bytes + n > UR__ST_HEADER + 8) {
        FAIL(w, "its header would exceed %d bytes", UR__ST_HEADER);
        return NULL;
    }
    if (!ur__reserve(&w->header, &w->header_room, w->header_bytes + n, 1)) {
        FAIL(w, "out of memory");
        return NULL;
    }
    w->header_bytes += n;
    return w->header + w->header_bytes - n;
}

static bool add(writer *w, const char *text)
{
    size_t n = strlen(text);
    char *to = room_for(w, n);
    if (to)
        memcpy(to, text, n);
    return to != NULL;
}

static bool add_quoted(writer *w, const char *text)
{
    char *to = room_for(w, ur__json_quote(NULL, text));
    if (to)
        ur__json_quote(to, text);
    return to != NULL;
}

static bool add_number(writer *w, const char *before, uint64_t number)
{
    char text[48];
    snprintf(text, sizeof text, "%s%" PRIu64, before, number);
    return add(w, text);
}

static bool add_tensor(writer *w, const ur__st_out *t, uint64_t *end)
{
    uint64_t count, bytes, begin = *end;
    ur__st_size(t->dtype, t->rank, t->dim, &count, &bytes);
    /* A file's places are off_t, 63 bits; the header's 10^8 bytes are left room for. */
    if (bytes > INT64_MAX - UR__ST_HEADER - 8 - begin)
        return FAIL(w, "it would exceed 2^63 bytes");
    *end = begin + bytes;
    if (!add_quoted(w, t->name) || !add(w, ":{\"dtype\":\"") || !add(w, ur__st_dtype_name(t->dtype))
        || !add(w, "\",\"shape\":["))
        return false;
    for (int i = 0; i < t->rank; i++)
        if (!add_number(w, i ? "," : "", t->dim[i]))
            return false;
    return add_number(w, "],\"data_offsets\":[", begin) && add_number(w, ",", *end) && add(w, "]}");
}

static bool make_header(writer *w)
{
    uint64_t end = 0;
    if (!add(w, "LENGTH..{") || (w->n_pairs && !add(w, "\"__metadata__\":{")))
        return false;
    for (size_t i = 0; i < w->n_pairs; i++)
        if (!add_quoted(w, w->pairs[i]->key) || !add(w, ":")
            || !add_quoted(w, w->pairs[i]->value) || !add(w, i + 1 < w->n_pairs ? "," : "}"))
            return false;
    for (size_t i = 0; i < w->n; i++)
        if ((i + w->n_pairs > 0 && !add(w, ",")) || !add_tensor(w, w->tensors[i], &end))
            return false;
    if (!add(w, "}"))
        return false;
    while (w->header_bytes % 8)
        if (!add(w, " "))
            return false;
    for (size_t i = 0; i < 8; i++)
        w->header[i] = (char)((uint64_t)(w->header_bytes - 8) >> 8 * i & 0xff);
    return true;
}

/* ---- The file ---- */

static bool flush(writer *w, const void *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(w->fd, (const char *)bytes + done, n - done);
        if (put < 0 && errno != EINTR)
            return FAIL(w, "%s", strerror(errno));
        done += put > 0 ? (size_t)put : 0;
    }
    return true;
}

static bool put(writer *w, const void *bytes, size_t n)
{
    if (n > PIECE - w->in_piece) {
        if (!flush(w, w->piece, w->in_piece))
            return false;
        w->in_piece = 0;
    }
    if (n >= PIECE)
        return flush(w, bytes, n);
    memcpy(w->piece + w->in_piece, bytes, n);
    w->in_piece += n;
    return true;
}

static bool put_values(writer *w, const ur__st_out *t)
{
    uint64_t count, bytes;
    ur__st_size(t->dtype, t->rank, t->dim, &count, &bytes);
    const unsigned char *p = t->data;
    size_t n = (size_t)bytes;
    if (ur__st_native())
        return n == 0 || put(w, p, n);
    for (size_t i = 0, k; i < n; i += k) {
        unsigned char turned[512];
        k = n - i < sizeof turned ? n - i : sizeof turned;
        memcpy(turned, p + i, k);
        ur__st_swap(t->dtype, turned, k);
        if (!put(w, turned, k))
            return false;
    }
    return true;
}

/* What `path` leads to at last, for a rename over a link would replace the link. */
static bool follow_links(writer *w)
{
    char link[PATH_ROOM];
    char *at = w->target;
    size_t length = strlen(w->path);
    if (length >= PATH_ROOM)
        return FAIL(w, "%s", strerror(ENAMETOOLONG));
    memcpy(at, w->path, length + 1);
    for (int i = 0; i < 40; i++) {
        ssize_t n = readlink(at, link, sizeof link - 1);
        if (n < 0 && (errno == EINVAL || errno == ENOENT))
            return true;        /* no link; or nothing at all, which open will judge */
        if (n < 0)
            return FAIL(w, "%s", strerror(errno));
        link[n] = 0;
        char *slash = strrchr(at, '/');     /* a relative link starts from its own folder */
        size_t folder = *link != '/' && slash ? (size_t)(slash - at) + 1 : 0;
        if (folder + (size_t)n >= PATH_ROOM)
            return FAIL(w, "%s", strerror(ENAMETOOLONG));
        memcpy(at + folder, link, (size_t)n + 1);
    }
    return FAIL(w, "%s", strerror(ELOOP));
}

/* Opens a new file beside the target; w->beside is empty where that failed. */
static bool open_beside(writer *w)
{
    struct stat old;
    if (!*w->path)
        return FAIL(w, "the file name is empty");
    bool exists = stat(w->path, &old) == 0;
    if (!exists && errno != ENOENT)
        return FAIL(w, "%s", strerror(errno));
    if (exists && !S_ISREG(old.st_mode))
        return FAIL(w, S_ISDIR(old.st_mode) ? "it is a directory" : "it is no regular file");
    if (exists && access(w->path, W_OK) != 0)   /* rename would not ask, but the owner means it */
        return FAIL(w, "%s", strerror(errno));
    if (!follow_links(w))
        return false;
    const char *slash = strrchr(w->target, '/');
    int folder = slash ? (int)(slash - w->target) + 1 : 0;
    /* A killed program with our number may have left a file behind, and threads share a number. The
     * name is cut so that it may be as long as the system allows. */
    for (int i = 0; w->fd < 0 && i < 100; i++) {
        int n = snprintf(w->beside, PATH_ROOM, "%.*s%.200s.%ld-%d.tmp", folder, w->target,
                         w->target + folder, (long)getpid(), i);
        errno = ENAMETOOLONG;
        if (n < 0 || (size_t)n >= PATH_ROOM)
            break;
        w->fd = open(w->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0 && errno != EEXIST)
            break;
    }
    if (w->fd < 0) {
        *w->beside = 0;
        return FAIL(w, "%s", errno == ENOENT ? "its folder does not exist"
                    : strerror(errno));
    }
    if (exists && fchmod(w->fd, old.st_mode & 0777) != 0)
        return FAIL(w, "%s", strerror(errno));
    return true;
}

/* Makes the new name last. Some folders cannot be opened or synced; a failing disk counts. */
static bool sync_folder(writer *w)
{
    char *slash = strrchr(w->target, '/');
    if (slash)
        slash[slash == w->target] = 0;
    int fd = open(slash ? w->target : ".", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    int error = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return error != EIO || FAIL(w, "its folder was not synced, so that the file may be lost if the "
                                "machine stops: %s", strerror(error));
}

static bool write_file(writer *w)
{
    if (!open_beside(w) || !put(w, w->header, w->header_bytes))
        return false;
    for (size_t i = 0; i < w->n; i++)
        if (!put_values(w, w->tensors[i]))
            return false;
    if (!flush(w, w->piece, w->in_piece))
        return false;
    if (fsync(w->fd) != 0)
        return FAIL(w, "%s", strerror(errno));
    int closed = close(w->fd);
    w->fd = -1;
    if (closed != 0 || rename(w->beside, w->target) != 0)
        return FAIL(w, "%s", strerror(errno));
    *w->beside = 0;
    return sync_folder(w);
}

bool ur__st_write(const char *path, const ur__st_out *tensors, size_t n, const ur__st_pair *pairs,
                  size_t n_pairs, char *why, size_t why_size)
{
    writer *w = ur__realloc(NULL, 0, sizeof *w);
    if (!w)
        return ur__st_fail(why, why_size, "write", path, "out of memory");
    *w = (writer){ .path = path, .why = why, .why_size = why_size, .n = n, .n_pairs = n_pairs,
                   .fd = -1 };
    size_t tensor_bytes = n * sizeof *w->tensors, pair_bytes = n_pairs * sizeof *w->pairs;
    w->tensors = ur__realloc(NULL, 0, tensor_bytes);
    w->pairs = ur__realloc(NULL, 0, pair_bytes);
    bool ok = (w->tensors || !n) && (w->pairs || !n_pairs);
    if (!ok)
        FAIL(w, "out of memory");
    ok = ok && put_in_order(w, tensors, pairs) && make_header(w) && write_file(w);
    if (w->fd >= 0)
        close(w->fd);
    if (*w->beside)
        unlink(w->beside);
    ur__realloc(w->tensors, tensor_bytes, 0);
    ur__realloc(w->pairs, pair_bytes, 0);
    ur__realloc(w->header, w->header_room, 0);
    ur__realloc(w, sizeof *w, 0);
    return ok;
}
