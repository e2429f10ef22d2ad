/* Vectors of one precision: what every kernel source is written in.
 *
 * Each kernel source is compiled once for every instruction set and precision, with
 *     -DUR_ISA=avx512|avx2|baseline   the suffix of its symbols
 *     -DUR_BITS=32|64                 float or double
 *     -DUR_SCALAR                     (optional) no compiler extension, vectors of one element
 * so that one text with T, V, M and I serves all of them:
 *     T   the element type            V   a vector of W elements
 *     M   the result of a comparison of two V (lanes of all ones or zeros; int when scalar)
 *     I   the bits of a V as signed integers
 * Comparisons and + - * / work on V directly; a * b + c, written as one expression, becomes a fused
 * multiply-add where the instruction set has one (by -ffp-contract: `fast` with gcc; `on` with
 * clang, whose `fast` fuses by basic block, so that equal sums in two loops could round apart).
 *
 * Intrinsics appear in this file only, where neither gcc 12 nor clang 14 makes the instruction from
 * portable code: partial loads and stores, limits that let NaN pass, scaling by a power of two,
 * products of 32 by 32 bits, floats made doubles.
 */
#ifndef UR_KERNELS_VEC_H
#define UR_KERNELS_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UR__GLUE(name, bits, isa) ur__##name##_f##bits##_##isa
#define UR__GLUE_EXPANDED(name, bits, isa) UR__GLUE(name, bits, isa)
/* The symbol of a kernel in this precision and instruction set, as ur__gemm_f32_avx2. */
#define KERNEL(name) UR__GLUE_EXPANDED(name, UR_BITS, UR_ISA)

#if UR_BITS == 32
typedef float T;
typedef int32_t T_int;
#else
typedef double T;
typedef int64_t T_int;
#endif

#ifdef UR_SCALAR
    #define INLINE static inline
    #define UNROLL
enum { W = 1 };
typedef T V;
typedef int M;
typedef T_int I;
#else
    #define INLINE static inline __attribute__((always_inline))
    #ifdef __clang__
        #define UNROLL _Pragma("clang loop unroll(full)")
    #else
        #define UNROLL _Pragma("GCC unroll 32")
    #endif
    #if defined __AVX512F__ && defined __AVX512DQ__ && defined __AVX512VL__
        #define V_BYTES 64
    #elif defined __AVX2__
        #define V_BYTES 32
    #else
        #define V_BYTES 16
    #endif
    #if V_BYTES > 16
        #include <immintrin.h>
    #elif defined __SSE2__
        #include <emmintrin.h>
    #endif
    #if UR_BITS == 32
        #define MM512(name) _mm512_##name##_ps
        #define MM256(name) _mm256_##name##_ps
        #define MM512_TYPE __m512
        #define MM256_TYPE __m256
        #define MM512_FIRST(n) ((__mmask16)((1u << (n)) - 1))
    #else
        #define MM512(name) _mm512_##name##_pd
        #define MM256(name) _mm256_##name##_pd
        #define MM512_TYPE __m512d
        #define MM256_TYPE __m256d
        #define MM512_FIRST(n) ((__mmask8)((1u << (n)) - 1))
    #endif
enum { W = V_BYTES / sizeof(T) };
typedef T V __attribute__((vector_size(V_BYTES)));
typedef T_int I __attribute__((vector_size(V_BYTES)));
typedef I M;
#endif

INLINE V v_load(const T *p)
{
    V a;
    memcpy(&a, p, sizeof a);
    return a;
}

INLINE void v_store(T *p, V a)
{
    memcpy(p, &a, sizeof a);
}

INLINE V v_set(T s)
{
#ifdef UR_SCALAR
    return s;
#else
    return s - (V){ 0 };            /* not 0 + s, which would turn -0 into 0 */
#endif
}

#define ONE v_set(1)

/* A hint that p[ahead] will be read soon; it need not exist. */
INLINE void prefetch(const T *p, ptrdiff_t ahead)
{
#ifdef UR_SCALAR
    (void)p;
    (void)ahead;
#else
    __builtin_prefetch((const void *)((uintptr_t)p + (uintptr_t)ahead * sizeof(T)), 0, 2);
#endif
}

INLINE I v_bits(V a)
{
    I i;
    memcpy(&i, &a, sizeof i);
    return i;
}

INLINE V v_of_bits(I i)
{
    V a;
    memcpy(&a, &i, sizeof a);
    return a;
}

/* m ? x : y by lanes; NaN in the lane that is not chosen has no effect. */
INLINE V v_sel(M m, V x, V y)
{
#ifdef UR_SCALAR
    return m ? x : y;
#else
    return (V)((m & (I)x) | (~m & (I)y));
#endif
}

#if !defined UR_SCALAR && V_BYTES == 32
/* All ones in the first n lanes. */
INLINE I v_first(size_t n)
{
    #if UR_BITS == 32
    const I lane = { 0, 1, 2, 3, 4, 5, 6, 7 };
    #else
    const I lane = { 0, 1, 2, 3 };
    #endif
    return lane < (T_int)n;
}
#endif

/* The first n lanes from p, 0 <= n <= W, the others `fill`. Reads nothing beyond p[n - 1]. */
INLINE V v_load_fill(const T *p, size_t n, T fill)
{
#if !defined UR_SCALAR && V_BYTES == 64
    return (V)MM512(mask_loadu)((MM512_TYPE)v_set(fill), MM512_FIRST(n), p);
#elif !defined UR_SCALAR && V_BYTES == 32
    return v_sel(v_first(n), (V)MM256(maskload)(p, (__m256i)v_first(n)), v_set(fill));
#else
    T lane[W];
    for (size_t i = 0; i < W; i++)
        lane[i] = i < n ? p[i] : fill;
    return v_load(lane);
#endif
}

INLINE V v_load_n(const T *p, size_t n)
{
    return v_load_fill(p, n, 0);
}

/* A vector of doubles, from elements of either precision. */
#ifdef UR_SCALAR
enum { DOUBLES = 1 };
typedef double D;

INLINE D v_load_doubles(const T *p)
{
    return (double)*p;
}
#else
enum { DOUBLES = V_BYTES / sizeof(double) };
typedef double D __attribute__((vector_size(V_BYTES)));

INLINE D v_load_doubles(const T *p)
{
#if V_BYTES == 64 && UR_BITS == 32
    return (D)_mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif V_BYTES == 32 && UR_BITS == 32
    return (D)_mm256_cvtps_pd(_mm_loadu_ps(p));
#else
    typedef T narrow __attribute__((vector_size(DOUBLES * sizeof(T))));
    narrow a;
    memcpy(&a, p, sizeof a);
    return __builtin_convertvector(a, D);
#endif
}
#endif

/* The first n lanes to p, 0 <= n <= W. */
INLINE void v_store_n(T *p, V a, size_t n)
{
#if !defined UR_SCALAR && V_BYTES == 64
    MM512(mask_storeu)(p, MM512_FIRST(n), (MM512_TYPE)a);
#elif !defined UR_SCALAR && V_BYTES == 32
    MM256(maskstore)(p, (__m256i)v_first(n), (MM256_TYPE)a);
#else
    T lane[W];
    v_store(lane, a);
    for (size_t i = 0; i < n; i++)
        p[i] = lane[i];
#endif
}

/* 1 where m holds, else 0. */
INLINE V v_bit(M m)
{
#ifdef UR_SCALAR
    return (T)(m != 0);
#else
    return (V)(m & (I)ONE);
#endif
}

/* NaN where a is NaN, else 0. */
INLINE V v_nan(V a)
{
    return v_sel(a != a, a, v_set(0));
}

INLINE V v_abs(V a)
{
    return v_of_bits(v_bits(a) & ~((I)v_bits(v_set((T)-0.0))));
}

/* The sign bit of s put on a >= 0. */
INLINE V v_signed(V a, V s)
{
    return v_of_bits(v_bits(a) | (v_bits(s) & v_bits(v_set((T)-0.0))));
}

/* x within a limit; NaN stays NaN. */
INLINE V v_at_most(V x, T limit)
{
#if !defined UR_SCALAR && V_BYTES == 64
    return (V)MM512(min)((MM512_TYPE)v_set(limit), (MM512_TYPE)x);
#elif !defined UR_SCALAR && V_BYTES == 32
    return (V)MM256(min)((MM256_TYPE)v_set(limit), (MM256_TYPE)x);
#else
    return v_sel(x > limit, v_set(limit), x);
#endif
}

INLINE V v_at_least(V x, T limit)
{
#if !defined UR_SCALAR && V_BYTES == 64
    return (V)MM512(max)((MM512_TYPE)v_set(limit), (MM512_TYPE)x);
#elif !defined UR_SCALAR && V_BYTES == 32
    return (V)MM256(max)((MM256_TYPE)v_set(limit), (MM256_TYPE)x);
#else
    return v_sel(x < limit, v_set(limit), x);
#endif
}

/* Smaller and larger; a NaN in either operand is the result, ties give a. */
INLINE V v_min(V a, V b)
{
    return v_sel((a <= b) | (a != a), a, b);
}

INLINE V v_max(V a, V b)
{
    return v_sel((a >= b) | (a != a), a, b);
}

/* The products, of 64 bits, of b and the lower halves of a. */
#ifdef UR_SCALAR
typedef uint64_t U64;
#else
typedef uint64_t U64 __attribute__((vector_size(V_BYTES)));
#endif
INLINE U64 u64_product(U64 a, uint32_t b)
{
#if !defined UR_SCALAR && V_BYTES == 64
    return (U64)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif !defined UR_SCALAR && V_BYTES == 32
    return (U64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif !defined UR_SCALAR && defined __SSE2__
    return (U64)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#else
    return (a & UINT32_MAX) * b;
#endif
}

/* True if m holds in any lane. */
INLINE int v_any(M m)
{
#ifdef UR_SCALAR
    return m;
#else
    uint64_t word[V_BYTES / 8], any = 0;
    memcpy(word, &m, sizeof m);
    for (int i = 0; i < V_BYTES / 8; i++)
        any |= word[i];
    return any != 0;
#endif
}

/* CROSSED(a, h): lane i is lane i xor h of a. HALVINGS(f): f(h) for h = W/2 down to 1, after which,
 * if f combines a with CROSSED(a, h), lane 0 has all lanes in it, as a tree. */
#ifndef UR_SCALAR
    #define CROSSED2(h, i) (i) ^ (h), (i + 1) ^ (h)
    #define CROSSED4(h, i) CROSSED2(h, i), CROSSED2(h, i + 2)
    #define CROSSED8(h, i) CROSSED4(h, i), CROSSED4(h, i + 4)
    #if V_BYTES * 8 / UR_BITS == 16
        #define CROSSED(a, h)                                                                      \
            __builtin_shufflevector(a, a, CROSSED8(h, 0), CROSSED8(h, 8))
        #define HALVINGS(f) (f(8), f(4), f(2), f(1))
    #elif V_BYTES * 8 / UR_BITS == 8
        #define CROSSED(a, h) __builtin_shufflevector(a, a, CROSSED8(h, 0))
        #define HALVINGS(f) (f(4), f(2), f(1))
    #elif V_BYTES * 8 / UR_BITS == 4
        #define CROSSED(a, h) __builtin_shufflevector(a, a, CROSSED4(h, 0))
        #define HALVINGS(f) (f(2), f(1))
    #else
        #define CROSSED(a, h) __builtin_shufflevector(a, a, CROSSED2(h, 0))
        #define HALVINGS(f) (f(1))
    #endif
#endif

/* Sum of the lanes, as a tree. */
INLINE T v_sum(V a)
{
#ifdef UR_SCALAR
    return a;
#else
    #define ADD(h) a += CROSSED(a, h)
    HALVINGS(ADD);
    #undef ADD
    return a[0];
#endif
}

/* The largest lane, NaN if any is. */
INLINE T v_largest(V a)
{
#ifdef UR_SCALAR
    return a;
#else
    #define LARGER(h) a = v_max(a, CROSSED(a, h))
    HALVINGS(LARGER);
    #undef LARGER
    return a[0];
#endif
}

#endif
