/* The standard normal distribution.
 *
 *     density       e^(-x^2/2) / sqrt(2 pi)
 *     distribution  Phi(-z) = e^(-z^2/2) G(t) / (1 + z),  t = (z - k) / (z + k),  for z >= 0
 *
 * The map to t in [-1, 1) makes the slowly varying factor of the tail one polynomial for all z (M.
 * Shepherd and J. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x", Math. Comp.
 * 36, 1981). The rounding error of x^2 would be multiplied by x^2 in the exponential, so x is split
 * and the square carried in two parts: the left tail is right in relative terms down to underflow.
 */
#ifndef UR_KERNELS_NORMAL_H
#define UR_KERNELS_NORMAL_H

#include "ops/kernels/math.h"

#if UR_BITS == 32
    #define NORMAL_LOW_BITS 12          /* cleared, the rest squares exactly */
    #define NORMAL_LIMIT 20.0f          /* e^(-x^2/2) is 0 long before */
    #define CDF_CENTRE 4
static const T cdf_poly[] = {
    0.4720532, -0.0967034698, 0.0139995962, 0.0285999812, -0.0321972705, 0.0179402027,
    -0.00500438223, -0.000303759967, 0.000692858885, -6.05573623e-05, -7.16115755e-05,
};
#else
    #define NORMAL_LOW_BITS 27
    #define NORMAL_LIMIT 40.0
    #define CDF_CENTRE 5
static const T cdf_poly[] = {
    0.46151582985003775, -0.091552281834008931, 0.031030368425962903, 0.010002352385217763,
    -0.026401042966270882, 0.02453696324404249, -0.015170415403186656, 0.0065220006624863158,
    -0.0016760723384754144, 7.7916407052436328e-06, 0.00018233411410623909,
    -5.3607800141078025e-05, -9.8960065568926476e-06, 9.0605476541343405e-06,
    -7.0483587367365119e-08, -1.3090421495794438e-06, 1.2788984060055532e-07,
    1.9861623986829448e-07, -2.5944328552745378e-08, -3.3154947648766669e-08,
    3.0120106723996949e-09, 5.6120520632429615e-09, 1.9817850023075495e-10,
    -6.777609518413137e-10, -1.4834123530847051e-10,
};
#endif

/* e^(-z^2/2) */
INLINE V v_bell(V z)
{
    const V b = v_at_most(v_abs(z), NORMAL_LIMIT);
    const V high = v_of_bits((I)((U)v_bits(b) >> NORMAL_LOW_BITS << NORMAL_LOW_BITS));
    return v_exp_sum(high * high * (T)-0.5, (b - high) * (b + high) * (T)-0.5);
}

INLINE V v_normal_pdf(V x)
{
    return v_bell(x) * (T)0.3989422804014327;
}

INLINE V v_normal_cdf(V x)
{
    const V z = v_at_most(v_abs(x), NORMAL_LIMIT);
    const V t = (z - CDF_CENTRE) / (z + CDF_CENTRE);
    const V tail = v_bell(z) * (POLY(t, cdf_poly) / (1 + z));
    return v_sel(x > 0, 1 - tail, tail);
}

#endif
