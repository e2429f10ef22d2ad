/* arrays.h: arrays of either precision for the tests of the kernels. `single` is the precision
 * under test, by which set(), get(), put() and at() go. Arrays end at a page that may not be
 * touched, so that reading or writing past an end stops the test; give_back() frees them all.
 */
#ifndef UNROLL_TESTS_ARRAYS_H
#define UNROLL_TESTS_ARRAYS_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "ops/kernels/kernels.h"
#include "tests/test.h"

static bool single;                     /* the precision under test */

static inline const ur__kernel_set *set(void)
{
    const ur__kernels *k = ur__kernels_get();
    return single ? &k->f32 : &k->f64;
}

static inline size_t size(void)
{
    return single ? sizeof(float) : sizeof(double);
}

static inline double epsilon(void)
{
    return single ? 0x1p-24 : 0x1p-53;
}

static inline double get(const void *p, size_t i)
{
    return single ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static inline void put(void *p, size_t i, double v)
{
    if (single)
        ((float *)p)[i] = (float)v;
    else
        ((double *)p)[i] = v;
}

/* Element i of an array. */
static inline void *at(const void *p, ptrdiff_t i)
{
    return (char *)(uintptr_t)p + i * (ptrdiff_t)size();
}

/* Arrays whose last byte is followed by a forbidden page; all are given back together. */
static struct { char *base; size_t bytes; } fences[64];
static int fence_count;

static inline void *fenced_bytes(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t whole = (bytes + page - 1) / page * page + page;
    const int zero = open("/dev/zero", O_RDWR);
    char *p = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    close(zero);
    if (p == MAP_FAILED || fence_count == 64 || mprotect(p + whole, page, PROT_NONE) != 0) {
        printf("no memory for a test\n");
        exit(1);
    }
    fences[fence_count].base = p;
    fences[fence_count++].bytes = whole + page;
    return p + whole - bytes;
}

static inline void *fenced(size_t n)
{
    return fenced_bytes(n * size());
}

static inline void give_back(void)
{
    while (fence_count > 0) {
        fence_count--;
        munmap(fences[fence_count].base, fences[fence_count].bytes);
    }
}

static inline void *random_array(size_t n)
{
    void *p = fenced(n);
    for (size_t i = 0; i < n; i++)
        put(p, i, 2 * test_uniform() - 1);
    return p;
}

static inline size_t random_below(size_t n)
{
    return (size_t)(test_uniform() * (double)n);
}

static inline void *copy_of(const void *p, size_t n)
{
    void *c = fenced(n);
    memcpy(c, p, n * size());
    return c;
}

#endif
