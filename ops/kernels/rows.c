/* Softmax over rows and its cross-entropy with integer labels, by
 *
 *     m = max_v x_v,   s = sum_v exp(x_v - m),   softmax = exp(x - m) / s,
 *     log softmax = (x - m) - log s
 *
 * A row of -inf has no distribution: its softmax is 0 and its log softmax -inf by convention, so
 * that a fully masked row neither contributes nor spreads NaN.
 */
#include "ops/kernels/rows.h"
#include "ops/kernels/set.h"

/* log s, where s = 0 (a row of -inf) counts as 1: the row then stays -inf. */
static T log_of_sum(T s)
{
    return s == 0 ? 0 : LIBM(log)(s);
}

void KERNEL(softmax)(size_t rows, size_t n, const void *x_, void *y_)
{
    const T *x = x_;
    T *y = y_;
    for (; rows > 0; rows--, x += n, y += n) {
        const T s = row_exp(x, n, row_shift(row_max(x, n)), y);
        const T scale = s == 0 ? 0 : 1 / s;
        size_t i = 0;
        for (; i + W <= n; i += W)
            v_store(y + i, v_load(y + i) * scale);
        if (i < n)
            v_store_n(y + i, v_load_n(y + i, n - i) * scale, n - i);
    }
}

void KERNEL(log_softmax)(size_t rows, size_t n, const void *x_, void *y_)
{
    const T *x = x_;
    T *y = y_;
    for (; rows > 0; rows--, x += n, y += n) {
        const T m = row_shift(row_max(x, n)), log_s = log_of_sum(row_exp(x, n, m, NULL));
        size_t i = 0;
        for (; i + W <= n; i += W)
            v_store(y + i, (v_load(x + i) - m) - log_s);
        if (i < n)
            v_store_n(y + i, (v_load_n(x + i, n - i) - m) - log_s, n - i);
    }
}

void KERNEL(cross_entropy)(size_t rows, size_t n, const void *x_, const int32_t *label,
                           const void *weight, double eps, int32_t ignore, void *y_)
{
    const T *x = x_, *w = weight;
    T *y = y_;
    for (; rows > 0; rows--, x += n, label++, y++) {
        *y = 0;
        if (*label == ignore)
            continue;
        const T m = row_shift(row_max(x, n)), log_s = log_of_sum(row_exp(x, n, m, NULL));
        /* A term whose factor is 0 is left out: its logarithm may be -inf. */
        if (eps < 1)
            *y += (T)(1 - eps) * ((x[*label] - m) - log_s);
        if (eps > 0)
            *y += (T)eps * (row_sum(x, n, m) / (T)n - log_s);
        *y *= w ? -w[*label] : -1;
    }
}

void KERNEL(cross_entropy_grad)(size_t rows, size_t n, const void *x_, const int32_t *label,
                                const void *weight, double eps, int32_t ignore, const void *g_,
                                void *dx_)
{
    const T *x = x_, *w = weight, *g = g_;
    const T others = (T)(eps / (double)n), own = (T)(1 - eps + eps / (double)n);
    T *dx = dx_;
    for (; rows > 0; rows--, x += n, dx += n, label++, g++) {
        if (*label == ignore) {
            memset(dx, 0, n * sizeof(T));
            continue;
        }
        const T s = row_exp(x, n, row_shift(row_max(x, n)), dx);
        const T scale = s == 0 ? 0 : 1 / s, factor = w ? *g * w[*label] : *g;
        const T at_label = factor * (dx[*label] * scale - own);
        size_t i = 0;
        for (; i + W <= n; i += W)
            v_store(dx + i, (v_load(dx + i) * scale - others) * factor);
        if (i < n)
            v_store_n(dx + i, (v_load_n(dx + i, n - i) * scale - others) * factor, n - i);
        dx[*label] = at_label;
    }
}
