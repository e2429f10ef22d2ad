/* Elementary functions on vectors: no branch, no table, every lane the same work.
 *
 * Largest errors in units in the last place of the exact result (of the smallest number where that
 * is subnormal), with every instruction set, asserted by tests/ulp.c against long double on a dense
 * sample of the whole range:
 *
 *              exp   log   tanh  sigmoid  softplus  sin, cos  normal_pdf  normal_cdf  sqrt
 *     float    1.0   0.85  1.3   2.2      1.7       0.9       2.1         3.9         0.5
 *     double   1.0   0.85  1.3   2.1      1.7       0.9       2.2         4.4         0.5
 *
 * Infinities, zeros, subnormal numbers and NaN give what the C library gives. All polynomials are
 * minimax fits (Remez exchange), by the reductions described in J.-M. Muller, "Elementary
 * Functions" (3rd ed., 2016), ch. 11.
 */
#ifndef UR_KERNELS_MATH_H
#define UR_KERNELS_MATH_H

#include <math.h>
#include "ops/kernels/vec.h"

#if UR_BITS == 32
typedef uint32_t T_uint;
    #define MANTISSA 23
    #define BIAS 127
    #define ROUNDER 12582912.0f         /* 1.5 * 2^23: adding it rounds to a whole number */
    #define SMALLEST_NORMAL 0x1p-126f
    #define LN2_HIGH 0x1.62e4p-1f       /* 15 bits: times an exponent is exact */
    #define LN2_LOW 0x1.7f7d1cf79abcap-20f
    #define EXP_HIGH 89.5f              /* beyond, the result is infinite or 0 */
    #define EXP_LOW (-104.5f)
#else
typedef uint64_t T_uint;
    #define MANTISSA 52
    #define BIAS 1023
    #define ROUNDER 6755399441055744.0
    #define SMALLEST_NORMAL 0x1p-1022
    #define LN2_HIGH 0x1.62e42fefa38p-1 /* 42 bits */
    #define LN2_LOW 0x1.ef35793c7673p-45
    #define EXP_HIGH 710.5
    #define EXP_LOW (-746.0)
#endif

#ifdef UR_SCALAR
typedef T_uint U;
#else
typedef T_uint U __attribute__((vector_size(V_BYTES)));
#endif

/* c[0] + c[1] x + ... + c[n-1] x^(n-1) */
INLINE V v_poly(V x, const T *c, int n)
{
    V y = v_set(c[n - 1]);
    UNROLL
    for (int i = n - 2; i >= 0; i--)
        y = y * x + v_set(c[i]);
    return y;
}
#define POLY(x, c) v_poly(x, c, (int)(sizeof c / sizeof c[0]))

/* 2^e */
INLINE V v_exp2_int(I e)
{
    return v_of_bits((I)((U)(e + BIAS) << MANTISSA));
}

/* y 2^n rounded once, for the whole number n between twice the exponents of normal numbers, and
 * n + ROUNDER given too: its low bits are n as an integer. */
INLINE V v_scale(V y, V n, V shifted)
{
#if !defined UR_SCALAR && V_BYTES == 64
    (void)shifted;
    return (V)MM512(scalef)((MM512_TYPE)y, (MM512_TYPE)n);
#else
    const I e = v_bits(shifted) - v_bits(v_set(ROUNDER)), half = e >> 1;
    (void)n;
    return y * v_exp2_int(half) * v_exp2_int(e - half);
#endif
}

/* e^r = 1 + r + r^2 P(r) for |r| <= ln(2) / 2 */
static const T exp_poly[] = {
#if UR_BITS == 32
    0.49999994, 0.166665167, 0.0416681059, 0.00836913288, 0.00138365,
#else
    0.5, 0.16666666666666682, 0.041666666666666095, 0.0083333333333169817, 0.001388888888911637,
    0.00019841269896518667, 2.480158692572088e-05, 2.7557234724099751e-06, 2.755758226580127e-07,
    2.5112085844950339e-08, 2.0826590861016564e-09,
#endif
};

/* e^(x + low) for |low| much smaller than 1: x = n ln 2 + r, then 2^n e^r. */
INLINE V v_exp_sum(V x, V low)
{
    const V t = v_at_least(v_at_most(x, EXP_HIGH), EXP_LOW);
    const V shifted = t * (T)1.44269504088896341 + ROUNDER, n = shifted - ROUNDER;
    const V r = ((t - n * LN2_HIGH) - n * LN2_LOW) + low;
    return v_scale(1 + (r + r * r * POLY(r, exp_poly)), n, shifted);
}

INLINE V v_exp(V x)
{
    return v_exp_sum(x, v_set((T)-0.0));    /* which compilers drop; + 0 they may not */
}

/* log(2^k (1 + f)) for sqrt(1/2) <= 1 + f <= sqrt(2), |k| <= 1100. */
#if UR_BITS == 32
/* log(1 + f) = f - f^2/2 + f^3 P(f) */
static const T log_poly[] = {
    0.333333135, -0.250000089, 0.200021192, -0.166679963, 0.142195523, -0.1240559, 0.118881628,
    -0.116756506, 0.0674663782,
};

INLINE V v_log_sum(V k, V f)
{
    const V square = f * f;
    const V tail = f * square * POLY(f, log_poly) + k * LN2_LOW;
    return k * LN2_HIGH + (f - (square * (T)0.5 - tail));
}
#else
/* With s = f / (2 + f), log(1 + f) = 2 atanh(s) = 2s + s R, R = s^2 P(s^2), and 2s = f - s f. */
static const T log_poly[] = {
    0.6666666666666734, 0.39999999999415131, 0.28571428742302357, 0.22222198580887143,
    0.18183563964235225, 0.1531405906862929, 0.14795870359392949,
};

INLINE V v_log_sum(V k, V f)
{
    const V s = f / (2 + f), z = s * s, half = f * f * (T)0.5;
    const V tail = s * (half + z * POLY(z, log_poly)) + k * LN2_LOW;
    return k * LN2_HIGH + (f - (half - tail));
}
#endif

INLINE V v_log(V x)
{
    const M tiny = x < SMALLEST_NORMAL;
    const V scale = v_set((T)((T_uint)1 << MANTISSA));
    const U bits = (U)v_bits(v_sel(tiny, x * scale, x));
    const I e = (I)(bits - (U)v_bits(v_set((T)0.70710678118654752))) >> MANTISSA;
    const V f = v_of_bits((I)(bits - ((U)e << MANTISSA))) - 1;
    const V k = v_of_bits(v_bits(v_set(ROUNDER)) + e) - ROUNDER
              - v_sel(tiny, v_set(MANTISSA), v_set(0));
    const V y = v_sel(x < (T)INFINITY, v_log_sum(k, f), x);
    return v_sel(x > 0, y, v_sel(x == 0, v_set(-(T)INFINITY), v_set((T)NAN)));
}

/* tanh(x) = x + x^3 P(x^2) for |x| < 0.625 */
static const T tanh_poly[] = {
#if UR_BITS == 32
    -0.333332807, 0.133314058, -0.0537365153, 0.0206281673, -0.0056922948,
#else
    -0.33333333333333331, 0.13333333333333156, -0.053968253968127898, 0.021869488531634201,
    -0.0088632354340691544, 0.0035921267277290669, -0.0014558222691031678, 0.00058994910117202896,
    -0.00023877036229408649, 9.5749921013206992e-05, -3.6623657625089284e-05,
    1.1792840660404512e-05, -2.2710495350389434e-06,
#endif
};

/* Beyond 0.625, tanh(x) = 1 - 2 / (e^2x + 1); nearer to zero that would cancel. */
INLINE V v_tanh(V x)
{
    const V a = v_abs(x), z = a * a;
    const V near = a + a * z * POLY(z, tanh_poly);
    const V far = 1 - 2 / (v_exp(a + a) + 1);
    return v_signed(v_sel(a < (T)0.625, near, far), x);
}

/* With e = e^-|x|: 1 / (1 + e) for x >= 0, e / (1 + e) below; nothing overflows. */
INLINE V v_sigmoid(V x)
{
    const V e = v_exp(-v_abs(x));
    return v_sel(x < 0, e, ONE) / (1 + e);
}

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), where 1 + u is halved when that is nearer to 1. */
INLINE V v_softplus(V x)
{
    const V u = v_exp(-v_abs(x));
    const M big = u > (T)0.41421356237309505;
    const V f = v_sel(big, (u - 1) * (T)0.5, u);
    return v_max(x, v_set(0)) + v_log_sum(v_bit(big), f);
}

#if UR_BITS == 32
    #define LIBM(name) name##f
#else
    #define LIBM(name) name
#endif

/* y[i] = f(x[i]) by the C library */
#define V_BY_LANES(y, x, f)                                                                        \
    do {                                                                                           \
        T lane_[W];                                                                                \
        v_store(lane_, x);                                                                         \
        for (int i_ = 0; i_ < W; i_++)                                                             \
            lane_[i_] = LIBM(f)(lane_[i_]);                                                        \
        y = v_load(lane_);                                                                         \
    } while (0)

INLINE V v_sqrt(V x)
{
#ifdef UR_SCALAR
    return LIBM(sqrt)(x);
#else
    V y;
    UNROLL
    for (int i = 0; i < W; i++)
        y[i] = LIBM(sqrt)(x[i]);        /* compilers make one instruction of it */
    return y;
#endif
}

INLINE V v_pow(V x, V y)
{
    T base[W], power[W];
    v_store(base, x);
    v_store(power, y);
    for (int i = 0; i < W; i++)
        base[i] = LIBM(pow)(base[i], power[i]);
    return v_load(base);
}

#endif
