/* The yardsticks of every benchmark, on one thread: the machine's sustained rate of float
 * multiply-adds, and the rate at which it reads memory.
 *
 * Multiply-adds: registers only, as many independent chains as hide the latency, with the vectors
 * of the best instruction set that the machine has, or that UR_ISA names. Compilers fold or split
 * simple forms of such a loop, so the instruction is spelled out; the baseline has none and
 * multiplies and adds.
 */
#ifndef UNROLL_TESTS_BENCH_PEAK_H
#define UNROLL_TESTS_BENCH_PEAK_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { PEAK_CHAINS = 12, PEAK_STEPS = 20000 };

#define PEAK_FUSED(x) __asm__("vfmadd213ps %2, %1, %0" : "+v"(x) : "v"(f), "v"(s))
#define PEAK_SPLIT(x) x = x * f + s

/* Runs PEAK_STEPS multiply-adds on each chain; `bytes` is the size of a vector. */
#define PEAK_LOOP(name, attribute, bytes, STEP)                                                    \
    attribute static void name(void)                                                               \
    {                                                                                              \
        typedef float vector __attribute__((vector_size(bytes)));                                  \
        volatile float factor = 0.999f, summand = 0.001f, sink;                                    \
        const vector f = factor - (vector){ 0 }, s = summand - (vector){ 0 };                      \
        vector a = s, b = a + s, c = b + s, d = c + s, e = d + s, g = e + s, h = g + s, i = h + s, \
               j = i + s, k = j + s, l = k + s, m = l + s;                                         \
        for (int step = 0; step < PEAK_STEPS; step++) {                                            \
            STEP(a); STEP(b); STEP(c); STEP(d); STEP(e); STEP(g);                                  \
            STEP(h); STEP(i); STEP(j); STEP(k); STEP(l); STEP(m);                                  \
        }                                                                                          \
        a = (a + b + c + d) + (e + g + h + i) + (j + k + l + m);                                   \
        sink = a[0];                                                                               \
        (void)sink;                                                                                \
    }

#ifdef __x86_64__
PEAK_LOOP(peak_avx512, __attribute__((target("avx512f,fma"))), 64, PEAK_FUSED)
PEAK_LOOP(peak_avx2, __attribute__((target("avx2,fma"))), 32, PEAK_FUSED)
#endif
PEAK_LOOP(peak_baseline, , 16, PEAK_SPLIT)

/* Flops of a multiply-add on a whole vector of floats. */
static inline double peak_width(void)
{
    double width = 8;
#ifdef __x86_64__
    const char *isa = getenv("UR_ISA");
    const bool any = !isa || !*isa;
    if (__builtin_cpu_supports("avx512f") && (any || strcmp(isa, "avx512") == 0))
        width = 32;
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             (any || strcmp(isa, "avx2") == 0))
        width = 16;
#endif
    return width;
}

/* GFLOP/s of f32 over that many seconds. */
static inline double peak_gflops(double seconds)
{
    void (*loop)(void) = peak_baseline;
#ifdef __x86_64__
    if (peak_width() == 32)
        loop = peak_avx512;
    else if (peak_width() == 16)
        loop = peak_avx2;
#endif
    const double start = now();
    double rounds = 0, spent;
    do {
        loop();
        rounds++;
        spent = now() - start;
    } while (spent < seconds);
    return rounds * PEAK_CHAINS * PEAK_STEPS * peak_width() / spent * 1e-9;
}

/* Reads n bytes, a multiple of 512, once; the sums keep the compiler from leaving it out. */
#define PEAK_READ(name, attribute, bytes)                                                          \
    attribute static void name(const void *from, size_t n)                                         \
    {                                                                                              \
        typedef unsigned vector __attribute__((vector_size(bytes)));                               \
        volatile unsigned sink;                                                                    \
        const vector *x = from, *end = x + n / sizeof *x;                                          \
        vector a = { 0 }, b = a, c = a, d = a, e = a, f = a, g = a, h = a;                         \
        for (; x < end; x += 8) {                                                                  \
            a += x[0], b += x[1], c += x[2], d += x[3];                                            \
            e += x[4], f += x[5], g += x[6], h += x[7];                                            \
        }                                                                                          \
        a += b + c + d + e + f + g + h;                                                            \
        sink = a[0];                                                                               \
        (void)sink;                                                                                \
    }

#ifdef __x86_64__
PEAK_READ(peak_read_avx512, __attribute__((target("avx512f"))), 64)
PEAK_READ(peak_read_avx2, __attribute__((target("avx2"))), 32)
#endif
PEAK_READ(peak_read_baseline, , 16)

/* The same with the widest vectors that may be used; `from` is aligned to 64 bytes. */
static inline void peak_read(const void *from, size_t n)
{
#ifdef __x86_64__
    if (peak_width() == 32) {
        peak_read_avx512(from, n);
        return;
    }
    if (peak_width() == 16) {
        peak_read_avx2(from, n);
        return;
    }
#endif
    peak_read_baseline(from, n);
}

#endif
