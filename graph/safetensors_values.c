/* What the values in a safetensors file are, and how they are read.
 *
 *     F32:  1 sign, 8 exponent, 23 fraction bits        F64:  1, 11, 52
 *     BF16: the upper half of an F32                    F16:  1, 5, 10, exponent bias 15
 *
 * (IEEE Std 754-2019, binary16 to binary64.) F16 and BF16 become F32 by moving bits, which is
 * exact, and so is F32 to F64. F64 to F32 rounds to nearest. Bytes are put together by shifts, so
 * that the machine's byte order does not matter. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "graph/safetensors.h"

/* Bits of an element, and the bytes that change order together: C64 is a pair of F32. */
static const struct { const char *name; unsigned bits, unit; } kind[UR__ST_DTYPES] = {
    [UR__ST_BOOL] = { "BOOL", 8, 1 },
    [UR__ST_F4] = { "F4", 4, 1 },
    [UR__ST_F6_E2M3] = { "F6_E2M3", 6, 1 },
    [UR__ST_F6_E3M2] = { "F6_E3M2", 6, 1 },
    [UR__ST_U8] = { "U8", 8, 1 },
    [UR__ST_I8] = { "I8", 8, 1 },
    [UR__ST_F8_E5M2] = { "F8_E5M2", 8, 1 },
    [UR__ST_F8_E4M3] = { "F8_E4M3", 8, 1 },
    [UR__ST_F8_E8M0] = { "F8_E8M0", 8, 1 },
    [UR__ST_F8_E4M3FNUZ] = { "F8_E4M3FNUZ", 8, 1 },
    [UR__ST_F8_E5M2FNUZ] = { "F8_E5M2FNUZ", 8, 1 },
    [UR__ST_I16] = { "I16", 16, 2 },
    [UR__ST_U16] = { "U16", 16, 2 },
    [UR__ST_F16] = { "F16", 16, 2 },
    [UR__ST_BF16] = { "BF16", 16, 2 },
    [UR__ST_I32] = { "I32", 32, 4 },
    [UR__ST_U32] = { "U32", 32, 4 },
    [UR__ST_F32] = { "F32", 32, 4 },
    [UR__ST_C64] = { "C64", 64, 4 },
    [UR__ST_F64] = { "F64", 64, 8 },
    [UR__ST_I64] = { "I64", 64, 8 },
    [UR__ST_U64] = { "U64", 64, 8 },
};

const char *ur__st_dtype_name(ur__st_dtype dtype)
{
    return (unsigned)dtype < UR__ST_DTYPES ? kind[dtype].name : "?";
}

static bool multiply(uint64_t *a, uint64_t b)
{
    if (b && *a > UINT64_MAX / b)
        return false;
    *a *= b;
    return true;
}

const char *ur__st_size(ur__st_dtype dtype, int rank, const uint64_t dim[], uint64_t *count,
                        uint64_t *bytes)
{
    *count = 1;
    for (int i = 0; i < rank; i++)
        if (!multiply(count, dim[i]))
            return "its shape has more than 2^64 - 1 elements";
    *bytes = *count;
    if (!multiply(bytes, kind[dtype].bits))
        return "its shape has more than 2^64 - 1 bits";
    if (*bytes % 8)
        return "its elements do not fill whole bytes";
    *bytes /= 8;
    return NULL;
}

/* ---- Byte order ---- */

bool ur__st_native(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

void ur__st_swap(ur__st_dtype dtype, void *bytes, size_t n)
{
    unsigned char *p = bytes;
    size_t unit = kind[dtype].unit;
    if (ur__st_native() || unit == 1)
        return;
    for (size_t i = 0; i < n; i += unit)
        for (size_t a = i, b = i + unit - 1; a < b; a++, b--) {
            unsigned char c = p[a];
            p[a] = p[b];
            p[b] = c;
        }
}

static uint64_t little_endian(const unsigned char *p, size_t n)
{
    uint64_t u = 0;
    while (n-- > 0)
        u = u << 8 | p[n];
    return u;
}

/* ---- Floating point ---- */

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float half(uint32_t h)
{
    uint32_t sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    if (exponent == 0)  /* zero or subnormal: fraction * 2^-24, which F32 holds exactly */
        return (sign ? -1.0f : 1.0f) * ((float)fraction * 0x1p-24f);
    return float_of(sign | (exponent == 31 ? 255 : exponent + 127 - 15) << 23 | fraction << 13);
}

static double value(ur__st_dtype dtype, const unsigned char *p)
{
    uint64_t bits;
    double x;
    switch (dtype) {
    case UR__ST_F16:
        return half((uint32_t)little_endian(p, 2));
    case UR__ST_BF16:
        return float_of((uint32_t)little_endian(p, 2) << 16);
    case UR__ST_F32:
        return float_of((uint32_t)little_endian(p, 4));
    default:
        bits = little_endian(p, 8);
        memcpy(&x, &bits, sizeof x);
        return x;
    }
}

static bool is_float(ur__st_dtype dtype)
{
    return dtype == UR__ST_F16 || dtype == UR__ST_BF16 || dtype == UR__ST_F32
        || dtype == UR__ST_F64;
}

/* ---- Reading ---- */

bool ur__st_bytes(const ur__st_file *f, void *to, size_t n, uint64_t from)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(f->fd, (char *)to + done, n - done, (off_t)(from + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got < 0 ? errno : 0;
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

const char *ur__st_why(void)
{
    return errno ? strerror(errno) : "it has been cut off since it was opened";
}

#define FAIL(...) ur__st_fail(why, why_size, "read", f->path, __VA_ARGS__)

/* The same kind of float in another width, by pieces that fit in the cache. */
static bool convert(const ur__st_file *f, const ur__st_tensor *t, ur__st_dtype as, void *dst,
                    char *why, size_t why_size)
{
    unsigned char piece[8192];
    const size_t size = kind[t->dtype].bits / 8;
    const uint64_t most = sizeof piece / size;
    /* From here on, halfway to what would follow the largest F32, nearest is infinity. */
    const double limit = 0x1.ffffffp127;
    for (uint64_t i = 0; i < t->count;) {
        size_t k = (size_t)(t->count - i < most ? t->count - i : most);
        if (!ur__st_bytes(f, piece, k * size, t->offset + i * size))
            return FAIL("tensor '%s': %s", ur__st_shown(t->name).text, ur__st_why());
        for (size_t e = 0; e < k; e++, i++) {
            double x = value(t->dtype, piece + e * size);
            if (as == UR__ST_F64)
                ((double *)dst)[i] = x;
            else if (isfinite(x) && fabs(x) >= limit)
                return FAIL("tensor '%s': element %" PRIu64 " is too large for F32",
                            ur__st_shown(t->name).text, i);
            else
                ((float *)dst)[i] = (float)x;
        }
    }
    return true;
}

bool ur__st_read(const ur__st_file *f, const ur__st_tensor *t, ur__st_dtype as, void *dst,
                 size_t n, char *why, size_t why_size)
{
    if (n != t->count)
        return FAIL("tensor '%s' has %" PRIu64 " elements, not %zu", ur__st_shown(t->name).text,
                    t->count, n);
    if (as != t->dtype) {
        if (!is_float(t->dtype) || (as != UR__ST_F32 && as != UR__ST_F64))
            return FAIL("tensor '%s' is %s, which cannot be read as %s",
                        ur__st_shown(t->name).text, ur__st_dtype_name(t->dtype),
                        ur__st_dtype_name(as));
        return convert(f, t, as, dst, why, why_size);
    }
    if (!ur__st_bytes(f, dst, (size_t)t->bytes, t->offset))
        return FAIL("tensor '%s': %s", ur__st_shown(t->name).text, ur__st_why());
    ur__st_swap(t->dtype, dst, (size_t)t->bytes);
    return true;
}

/* ---- Shared with the other files ---- */

static void swap(char *a, char *b, size_t size)
{
    char c[sizeof(ur__st_tensor)];
    memcpy(c, a, size);
    memcpy(a, b, size);
    memcpy(b, c, size);
}

/* Element `top` of the heap a[0..n) may be smaller than its children: moves it down. */
static void sift(char *a, size_t top, size_t n, size_t size,
                 int (*compare)(const void *, const void *))
{
    for (size_t child; (child = 2 * top + 1) < n; top = child) {
        if (child + 1 < n && compare(a + child * size, a + (child + 1) * size) < 0)
            child++;
        if (compare(a + top * size, a + child * size) >= 0)
            return;
        swap(a + top * size, a + child * size, size);
    }
}

void ur__st_sort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    char *a = base;
    size_t sorted = 1;
    while (sorted < n && compare(a + (sorted - 1) * size, a + sorted * size) <= 0)
        sorted++;
    if (sorted >= n)    /* as files mostly are */
        return;
    for (size_t top = n / 2; top-- > 0;)
        sift(a, top, n, size, compare);
    for (size_t end = n; --end > 0;) {
        swap(a, a + end * size, size);
        sift(a, 0, end, size, compare);
    }
}

ur__st_text ur__st_shown(const char *name)
{
    ur__st_text s;
    size_t n = strlen(name), most = 60;
    if (n <= most) {
        memcpy(s.text, name, n + 1);
        return s;
    }
    while (most > 0 && ((unsigned char)name[most] & 0xc0) == 0x80)
        most--;         /* no character is torn */
    memcpy(s.text, name, most);
    memcpy(s.text + most, "...", 4);
    return s;
}

bool ur__st_fail(char *why, size_t why_size, const char *verb, const char *path,
                 const char *format, ...)
{
    if (why_size == 0)
        return false;
    /* Of a long path the end says more, and the reason must not be crowded out. */
    size_t n = strlen(path), from = n > 200 ? n - 200 : 0;
    while (((unsigned char)path[from] & 0xc0) == 0x80)
        from++;
    int k = snprintf(why, why_size, "cannot %s '%s%s': ", verb, from ? "..." : "", path + from);
    if (k >= 0 && (size_t)k < why_size) {
        va_list args;
        va_start(args, format);
        vsnprintf(why + k, why_size - (size_t)k, format, args);
        va_end(args);
    }
    for (char *p = why; *p; p++)    /* names can hold anything, a message is one line */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return false;
}
