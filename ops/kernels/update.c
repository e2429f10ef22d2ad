/* One pass of an optimiser over a flat block: x the parameters, g their gradient, m[] the moments.
 *
 * Every method sees the gradient prepared:
 *     g' = min(max(scale * g, -bound), bound) + decay * x
 * so that averaging, clipping and weight decay cost no pass of their own, and g itself stays the
 * exact gradient. Loops are plain C, which compilers turn into vectors: nothing in them depends on
 * a neighbour. The formulas are those of optim/, file by file.
 */
#include <math.h>
#include "ops/kernels/set.h"

#if UR_BITS == 32
    #define ROOT sqrtf
#else
    #define ROOT sqrt
#endif

/* The part of ur__update that prepares, in this precision. */
typedef struct prepare {
    T scale, bound, decay;
} prepare;

INLINE prepare preparation(const ur__update *u)
{
    return (prepare){ (T)u->scale, (T)u->bound, (T)u->decay };
}

INLINE T prepared(prepare p, T g, T x)
{
    g *= p.scale;
    g = g > p.bound ? p.bound : g;
    g = g < -p.bound ? -p.bound : g;
    return g + p.decay * x;
}

void KERNEL(sgd)(size_t n, const ur__update *u, void *x_, const void *g_, void *const m_[])
{
    T *restrict x = x_;
    const T *restrict g = g_;
    const prepare p = preparation(u);
    const T rate = (T)u->rate;
    (void)m_;
    for (size_t i = 0; i < n; i++)
        x[i] -= rate * prepared(p, g[i], x[i]);
}

/* m = a m + b g',  x -= rate (c g' + d m) */
void KERNEL(momentum)(size_t n, const ur__update *u, void *x_, const void *g_, void *const m_[])
{
    T *restrict x = x_, *restrict m = m_[0];
    const T *restrict g = g_;
    const prepare p = preparation(u);
    const T rate = (T)u->rate, a = (T)u->a, b = (T)u->b, c = (T)u->c, d = (T)u->d;
    for (size_t i = 0; i < n; i++) {
        const T s = prepared(p, g[i], x[i]);
        m[i] = a * m[i] + b * s;
        x[i] -= rate * (c * s + d * m[i]);
    }
}

/* v += g'^2,  x -= rate g' / (sqrt(v) + eps) */
void KERNEL(adagrad)(size_t n, const ur__update *u, void *x_, const void *g_, void *const m_[])
{
    T *restrict x = x_, *restrict v = m_[0];
    const T *restrict g = g_;
    const prepare p = preparation(u);
    const T rate = (T)u->rate, eps = (T)u->eps;
    for (size_t i = 0; i < n; i++) {
        const T s = prepared(p, g[i], x[i]);
        v[i] += s * s;
        x[i] -= rate * s / (ROOT(v[i]) + eps);
    }
}

/* v = a v + b g'^2,  d = sqrt(w + eps) / sqrt(v + eps) g',  w = a w + b d^2,  x -= rate d */
void KERNEL(adadelta)(size_t n, const ur__update *u, void *x_, const void *g_, void *const m_[])
{
    T *restrict x = x_, *restrict v = m_[0], *restrict w = m_[1];
    const T *restrict g = g_;
    const prepare p = preparation(u);
    const T rate = (T)u->rate, eps = (T)u->eps, a = (T)u->a, b = (T)u->b;
    for (size_t i = 0; i < n; i++) {
        const T s = prepared(p, g[i], x[i]);
        v[i] = a * v[i] + b * (s * s);
        const T d = ROOT((w[i] + eps) / (v[i] + eps)) * s;
        w[i] = a * w[i] + b * (d * d);
        x[i] -= rate * d;
    }
}

/* v = a v + b g'^2, and where centred (m_[1]) e = e + b (g' - e), v - e^2 in the place of v;
 * s = g' / (sqrt(v) + eps);  x -= rate s, or with momentum (m_[2]) w = c w + s, x -= rate w */
INLINE void rmsprop(bool centred, bool momentum, size_t n, const ur__update *u, T *restrict x,
                    const T *restrict g, T *restrict v, T *restrict e, T *restrict w)
{
    const prepare p = preparation(u);
    const T rate = (T)u->rate, eps = (T)u->eps, a = (T)u->a, b = (T)u->b, c = (T)u->c;
    for (size_t i = 0; i < n; i++) {
        const T s = prepared(p, g[i], x[i]);
        T square = v[i] = a * v[i] + b * (s * s);
        if (centred) {
            e[i] += b * (s - e[i]);
            square -= e[i] * e[i];
            square = square > 0 ? square : 0;   /* rounding may leave less */
        }
        T step = s / (ROOT(square) + eps);
        if (momentum)
            step = w[i] = c * w[i] + step;
        x[i] -= rate * step;
    }
}

void KERNEL(rmsprop)(size_t n, const ur__update *u, void *x, const void *g, void *const m[])
{
    if (m[1] && m[2])
        rmsprop(true, true, n, u, x, g, m[0], m[1], m[2]);
    else if (m[1])
        rmsprop(true, false, n, u, x, g, m[0], m[1], NULL);
    else if (m[2])
        rmsprop(false, true, n, u, x, g, m[0], NULL, m[2]);
    else
        rmsprop(false, false, n, u, x, g, m[0], NULL, NULL);
}

/* m = m + a (g' - m),  v = b v + c g'^2,  x = shrink x - rate m / (d sqrt(v) + eps) */
void KERNEL(adam)(size_t n, const ur__update *u, void *x_, const void *g_, void *const m_[])
{
    T *restrict x = x_, *restrict m = m_[0], *restrict v = m_[1];
    const T *restrict g = g_;
    const prepare p = preparation(u);
    const T rate = (T)u->rate, eps = (T)u->eps, shrink = (T)u->shrink;
    const T a = (T)u->a, b = (T)u->b, c = (T)u->c, d = (T)u->d;
    for (size_t i = 0; i < n; i++) {
        const T s = prepared(p, g[i], x[i]);
        m[i] += a * (s - m[i]);
        v[i] = b * v[i] + c * (s * s);
        x[i] = shrink * x[i] - rate * m[i] / (d * ROOT(v[i]) + eps);
    }
}
