/* Reductions over the middle axis of x[o][r][i], and the sum of squares.
 *
 * Order of additions. Where ldx > 1, eight neighbours along r are added as a tree and the trees in
 * order of r, which needs one pass over x and keeps the running sums in y. Where ldx is 1, eight
 * vectors of running sums are kept, then added as a tree. Neither depends on anything but r, and
 * the error grows with r / 8 at most.
 */
#include "ops/kernels/rows.h"
#include "ops/kernels/set.h"

/* Whole vectors, or the last lanes of an array. */
INLINE V load(const T *p, size_t lanes)
{
    return lanes == W ? v_load(p) : v_load_n(p, lanes);
}

INLINE void store(T *p, V a, size_t lanes)
{
    if (lanes == W)
        v_store(p, a);
    else
        v_store_n(p, a, lanes);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

INLINE V plus(V a, V b)
{
    return a + b;
}

/* y[i] = op over r of x[r][i], ldx > 1; `none` is the result for r = 0. */
INLINE void reduce_columns(V op(V, V), T none, size_t r, size_t i, const T *x, size_t ldx, T *y)
{
    for (size_t k = 0; r == 0 && k < i; k++)
        y[k] = none;
    for (size_t row = 0; row < r; row += 8) {
        const size_t rows = least(r - row, 8);
        const T *p = x + row * ldx;
        for (size_t k = 0; k < i; k += W) {
            const size_t lanes = least(i - k, W);
            V a = load(p + k, lanes);
            if (rows == 8) {
                const V b = op(a, load(p + ldx + k, lanes));
                const V c = op(load(p + 2 * ldx + k, lanes), load(p + 3 * ldx + k, lanes));
                const V d = op(load(p + 4 * ldx + k, lanes), load(p + 5 * ldx + k, lanes));
                const V e = op(load(p + 6 * ldx + k, lanes), load(p + 7 * ldx + k, lanes));
                a = op(op(b, c), op(d, e));
            } else {
                for (size_t q = 1; q < rows; q++)
                    a = op(a, load(p + q * ldx + k, lanes));
            }
            store(y + k, row ? op(load(y + k, lanes), a) : a, lanes);
        }
    }
}

void KERNEL(sum)(size_t o, size_t r, size_t i, const void *x_, size_t ldx, void *y_)
{
    const T *x = x_;
    T *y = y_;
    for (; o > 0; o--, x += r * ldx, y += i) {
        if (ldx == 1)
            *y = row_sum(x, r, 0);
        else
            reduce_columns(plus, 0, r, i, x, ldx, y);
    }
}

void KERNEL(max)(size_t o, size_t r, size_t i, const void *x_, size_t ldx, void *y_)
{
    const T *x = x_;
    T *y = y_;
    for (; o > 0; o--, x += r * ldx, y += i) {
        if (ldx == 1)
            *y = row_max(x, r);
        else
            reduce_columns(v_max, -(T)INFINITY, r, i, x, ldx, y);
    }
}

/* The largest, or 0 in place of what is not finite: subtracting it is then always safe, and what
 * is not finite reaches the result through the exponentials. */
INLINE V finite_or_0(V m)
{
    return v_sel(v_abs(m) < (T)INFINITY, m, v_set(0));
}

/* y[k] = log sum over r of exp(x[r][k]) for W columns or the last few. */
INLINE void logsumexp_columns(size_t r, const T *x, size_t ldx, T *y, size_t lanes)
{
    V m = v_set(-(T)INFINITY), s[8];
    for (size_t row = 0; row < r; row++)
        m = v_max(m, load(x + row * ldx, lanes));
    m = finite_or_0(m);
    UNROLL
    for (int q = 0; q < 8; q++)
        s[q] = v_set(0);
    size_t row = 0;
    for (; row + 8 <= r; row += 8) {
        UNROLL
        for (int q = 0; q < 8; q++)
            s[q] += v_exp(load(x + (row + (size_t)q) * ldx, lanes) - m);
    }
    for (; row < r; row++)
        s[0] += v_exp(load(x + row * ldx, lanes) - m);
    const V total = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    store(y, v_log(total) + m, lanes);
}

void KERNEL(logsumexp)(size_t o, size_t r, size_t i, const void *x_, size_t ldx, void *y_)
{
    const T *x = x_;
    T *y = y_;
    for (; o > 0; o--, x += r * ldx, y += i) {
        if (ldx == 1) {
            const T m = row_shift(row_max(x, r));
            *y = m + LIBM(log)(row_exp(x, r, m, NULL));
            continue;
        }
        for (size_t k = 0; k < i; k += W)
            logsumexp_columns(r, x + k, ldx, y + k, least(i - k, W));
    }
}

/* First index of the largest in x[0], x[stride], ... */
static int32_t argmax(size_t r, size_t stride, const T *x)
{
    T best = x[0];
    int32_t at = 0;
    for (size_t row = 1; row < r && best == best; row++) {
        const T v = x[row * stride];
        if (v > best || v != v) {
            best = v;
            at = (int32_t)row;
        }
    }
    return at;
}

/* First index of the value m, or of NaN if m is NaN, in x[0 .. n - 1], which hold it. */
static int32_t find(const T *x, size_t n, T m)
{
    size_t at = 0;
    while (at + W <= n && !v_any(m == m ? v_load(x + at) == m : v_load(x + at) != v_load(x + at)))
        at += W;
    while (m == m ? x[at] != m : x[at] == x[at])
        at++;
    return (int32_t)at;
}

void KERNEL(argmax)(size_t o, size_t r, size_t i, const void *x_, size_t ldx, int32_t *y)
{
    const T *x = x_;
    for (; o > 0; o--, x += r * ldx, y += i) {
        if (ldx == 1)
            *y = find(x, r, row_max(x, r));
        for (size_t k = 0; ldx > 1 && k < i; k++)
            y[k] = argmax(r, ldx, x + k);
    }
}

double KERNEL(sum_squares)(size_t n, const void *x_)
{
    const T *x = x_;
    const D zero = { 0 };
    D s[8];
    size_t i = 0;
    UNROLL
    for (int q = 0; q < 8; q++)
        s[q] = zero;
    for (; i + 8 * DOUBLES <= n; i += 8 * DOUBLES) {
        UNROLL
        for (int q = 0; q < 8; q++) {
            const D a = v_load_doubles(x + i + q * DOUBLES);
            s[q] += a * a;
        }
    }
    const D d = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    double lane[DOUBLES], sum = 0;
    memcpy(lane, &d, sizeof d);
    for (int q = 0; q < DOUBLES; q++)
        sum += lane[q];
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}
