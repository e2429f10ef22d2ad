/* Sine and cosine. x = n pi/2 + r + low with |r| <= pi/4, by subtracting n times the parts of
 * pi/2, all but the last so short that their products with n are exact (W. J. Cody and W. Waite,
 * "Software Manual for the Elementary Functions", 1980); `low` is what rounding the last
 * difference lost. Arguments too large for that go to the C library. Errors: see math.h.
 */
#ifndef UR_KERNELS_TRIG_H
#define UR_KERNELS_TRIG_H

#include "ops/kernels/math.h"

/* sin(r) = r + r^3 P(r^2), cos(r) = 1 - r^2/2 + r^4 Q(r^2) */
#if UR_BITS == 32
    #define TRIG_LIMIT 8192.0f          /* n has at most 13 bits */
static const T half_pi[] = { 0x1.92p+0, 0x1.fb8p-12, -0x1.5ep-23, 0x1.0b4611a626331p-34 };
static const T sin_poly[] = { -0.166666552, 0.00833218917, -0.000195182845 };
static const T cos_poly[] = { 0.0416666456, -0.00138873095, 2.44323273e-05 };
#else
    #define TRIG_LIMIT 1048576.0        /* n has at most 20 bits */
static const T half_pi[] = { 0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2e037073p-69 };
static const T sin_poly[] = {
    -0.16666666666666666, 0.0083333333333333228, -0.00019841269841254784, 2.7557319214056917e-06,
    -2.5052104879746761e-08, 1.6058362892020762e-10, -7.5785265409629135e-13,
};
static const T cos_poly[] = {
    0.041666666666666595, -0.0013888888888873041, 2.4801587288841831e-05, -2.755731417634689e-07,
    2.0875700428783948e-09, -1.1358514534962468e-11,
};
#endif

/* sin(a + quadrant pi/2) for 0 <= a <= TRIG_LIMIT, with the sign bit of `sign` added to it. */
INLINE V v_sin_quadrant(V a, int quadrant, V sign)
{
    const V shifted = a * (T)0.63661977236758134 + ROUNDER;
    const V n = shifted - ROUNDER;
    const I q = v_bits(shifted) + quadrant;
    const int last = (int)(sizeof half_pi / sizeof half_pi[0]) - 1;
    V t = a;
    UNROLL
    for (int i = 0; i < last - 1; i++)
        t = t - n * half_pi[i];         /* exact */
    const V u = t - n * half_pi[last - 1];
    const V rest_u = ((t - u) - n * half_pi[last - 1]) - n * half_pi[last];
    const V r = u + rest_u, low = (u - r) + rest_u;
    const V z = r * r, half = z * (T)0.5, rest = 1 - half;
    const V s = r + (r * z * POLY(z, sin_poly) + low);
    const V c = rest + (((1 - rest) - half) + (z * z * POLY(z, cos_poly) - r * low));
    const V y = v_sel((q & 1) != 0, c, s);
    const U flip = ((U)q & 2) << (sizeof(T) * 8 - 2);
    return v_of_bits((I)((U)v_bits(y) ^ flip ^ ((U)v_bits(sign) & (U)v_bits(v_set((T)-0.0)))));
}

INLINE V v_sin(V x)
{
    V y;
    if (v_any(v_abs(x) > TRIG_LIMIT))
        V_BY_LANES(y, x, sin);
    else
        y = v_sin_quadrant(v_abs(x), 0, x);
    return y;
}

INLINE V v_cos(V x)
{
    V y;
    if (v_any(v_abs(x) > TRIG_LIMIT))
        V_BY_LANES(y, x, cos);
    else
        y = v_sin_quadrant(v_abs(x), 1, v_set(0));
    return y;
}

#endif
