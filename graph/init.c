/* Initial values. With n_in and n_out the sizes of a matrix y = x W:
 *
 *     xavier      U(+-sqrt(6/(n_in+n_out))), N(0, 2/(n_in+n_out))     X. Glorot, Y. Bengio, 2010
 *     he          U(+-sqrt(6/n_in)), N(0, 2/n_in)           K. He, X. Zhang, S. Ren, J. Sun, 2015
 *     orthogonal  Q of a normal matrix Q R                A. Saxe, J. McClelland, S. Ganguli, 2014
 *     identity                                                Q. Le, N. Jaitly, G. Hinton, 2015
 *
 * Element e of a parameter is element e of the stream (seed of the store, name of the parameter),
 * a double; a store of floats holds those numbers rounded. */
#include <math.h>
#include "graph/internal.h"

enum {
    CONSTANT, UNIFORM, NORMAL, UNIFORM_TWICE, XAVIER, XAVIER_NORMAL, HE, HE_NORMAL, ORTHOGONAL,
    IDENTITY, HOW_MANY
};

ur_init ur_constant(double value)
{
    return (ur_init){ CONSTANT, value, 0 };
}

ur_init ur_uniform_between(double lo, double hi)
{
    return (ur_init){ UNIFORM, lo, hi };
}

ur_init ur_normal_with(double mean, double deviation)
{
    return (ur_init){ NORMAL, mean, deviation };
}

ur_init ur_uniform_twice(double a)
{
    return (ur_init){ UNIFORM_TWICE, a, 0 };
}

ur_init ur_xavier(void)
{
    return (ur_init){ XAVIER, 0, 0 };
}

ur_init ur_xavier_normal(void)
{
    return (ur_init){ XAVIER_NORMAL, 0, 0 };
}

ur_init ur_he(void)
{
    return (ur_init){ HE, 0, 0 };
}

ur_init ur_he_normal(void)
{
    return (ur_init){ HE_NORMAL, 0, 0 };
}

ur_init ur_orthogonal(double gain)
{
    return (ur_init){ ORTHOGONAL, gain, 0 };
}

ur_init ur_identity(double gain)
{
    return (ur_init){ IDENTITY, gain, 0 };
}

const char *ur__init_fault(const ur_init *init, const ur_shape *s)
{
    bool finite = isfinite(init->a) && isfinite(init->b);
    if (init->how < 0 || init->how >= HOW_MANY)
        return "its initialiser is none of ur_constant, ur_xavier and so on";
    if (init->how >= XAVIER && s->rank < 2)
        return "its initialiser needs a matrix, inputs by outputs";
    if (init->how != CONSTANT && !finite)
        return "its initialiser has a number that is not finite";
    if (init->how == UNIFORM && init->a > init->b)
        return "the range of its uniform initialiser ends before it begins";
    if (init->how == UNIFORM && !isfinite(init->b - init->a))
        return "the range of its uniform initialiser is too wide";
    if (init->how == NORMAL && init->b < 0)
        return "the deviation of its normal initialiser is negative";
    return NULL;
}

/* ----------------------------------------------------------------------------------- orthogonal */

/* Eight sums, which a compiler can hold in vectors, in an order that is fixed. */
static double dot(size_t n, const double *a, const double *b)
{
    double s[8] = { 0 };
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++)
            s[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        s[i % 8] += a[i] * b[i];
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

/* a -= (2 <v, a>) v: the reflection by the unit vector v. */
static void reflect(size_t n, const double *v, double *a)
{
    double s = 2 * dot(n, v, a);
    for (size_t i = 0; i < n; i++)
        a[i] -= s * v[i];
}

/* Makes m normal vectors a[k][0..n), m <= n, into orthonormal ones: Q of the QR decomposition by
 * Householder's reflections, Q = H_0 H_1 ... H_(m-1). Column k of Q is multiplied by the sign of
 * R_kk, without which Q is not uniform among the orthogonal matrices (F. Mezzadri, "How to generate
 * random matrices from the classical compact groups", Notices of the AMS 54, 2007). */
static void orthonormalise(size_t m, size_t n, double *a, double *sign)
{
    for (size_t k = 0; k < m; k++) {
        double *v = a + k * n + k, norm = sqrt(dot(n - k, v, v));
        /* H v = -sign(v_0) |v| e_0, which is R_kk e_0. */
        sign[k] = v[0] < 0 ? 1 : -1;
        v[0] -= sign[k] * norm;
        double length = sqrt(dot(n - k, v, v));
        for (size_t i = 0; length > 0 && i < n - k; i++)
            v[i] /= length;
        for (size_t j = k + 1; j < m; j++)
            reflect(n - k, v, a + j * n + k);
    }
    /* Column j of Q is H_0 ... H_j e_j: later reflections leave e_j alone. From the last to the
     * first, so that a column's own reflection is read before the column replaces it; those below
     * are still in place. */
    for (size_t j = m; j-- > 0;) {
        double *q = a + j * n, own = q[j];
        for (size_t i = j; i < n; i++)
            q[i] *= -2 * own * sign[j];
        q[j] += sign[j];
        memset(q, 0, j * sizeof *q);
        for (size_t k = j; k-- > 0;)
            reflect(n - k, a + k * n + k, q + k);
    }
}

static void put(void *values, ur_type type, size_t i, double x)
{
    if (type == UR_F64)
        ((double *)values)[i] = x;
    else
        ((float *)values)[i] = (float)x;
}

/* The shorter side's vectors are orthonormal: rows of a wide matrix, columns of a tall one. */
static bool draw_orthogonal(uint64_t key, size_t rows, size_t columns, double gain, ur_type type,
                            void *values)
{
    bool wide = rows < columns;
    size_t m = wide ? rows : columns, n = wide ? columns : rows;
    size_t bytes = (m * n + m) * sizeof(double);
    double *a = ur__realloc(NULL, 0, bytes);
    if (!a)
        return false;
    ur__random_normal(key, 0, m * n, UR_F64, a);
    orthonormalise(m, n, a, a + m * n);
    for (size_t k = 0; k < m; k++)
        for (size_t i = 0; i < n; i++)
            put(values, type, wide ? k * n + i : i * m + k, gain * a[k * n + i]);
    ur__realloc(a, bytes, 0);
    return true;
}

/* ---------------------------------------------------------------------------------------- draws */

/* values = a + b x for x of the stream: uniform in [0, 1), normal, or the sum of two uniform. */
static void draw(uint64_t key, int how, double a, double b, size_t count, ur_type type,
                 void *values)
{
    enum { PIECE = 256 };
    double x[PIECE], second[PIECE];
    for (size_t done = 0; done < count; done += PIECE) {
        size_t n = count - done < PIECE ? count - done : PIECE;
        if (how == NORMAL)
            ur__random_normal(key, done, n, UR_F64, x);
        else
            ur__random_uniform(key, done, n, UR_F64, x);
        if (how == UNIFORM_TWICE)
            ur__random_uniform(ur__mix(key, 1), done, n, UR_F64, second);
        for (size_t i = 0; i < n; i++)
            put(values, type, done + i, a + b * (how == UNIFORM_TWICE ? x[i] + second[i] : x[i]));
    }
}

bool ur__zero_initial(const ur__param *p)
{
    return p->count == 0 || (p->init.how == CONSTANT && p->init.a == 0 && !signbit(p->init.a));
}

bool ur__draw_initial(const ur_params *ps, const ur__param *p, void *values)
{
    if (ur__zero_initial(p))
        return true;            /* zeros are there; untouched they take no memory yet */
    uint64_t key = ur__mix(ps->seed, ur__hash_text(p->name));
    double a = p->init.a, b = p->init.b;
    size_t columns = p->shape.rank ? (size_t)p->shape.dim[p->shape.rank - 1] : 1;
    size_t rows = p->count / columns;
    double in = (double)rows, out = (double)columns, width;
    ur_type type = ps->type;
    switch (p->init.how) {
    case UNIFORM:
        draw(key, UNIFORM, a, b - a, p->count, type, values);
        return true;
    case UNIFORM_TWICE:
        draw(key, UNIFORM_TWICE, -2 * a, 2 * a, p->count, type, values);
        return true;
    case XAVIER:
    case HE:
        width = sqrt(6 / (p->init.how == HE ? in : in + out));
        draw(key, UNIFORM, -width, 2 * width, p->count, type, values);
        return true;
    case NORMAL:
        draw(key, NORMAL, a, b, p->count, type, values);
        return true;
    case XAVIER_NORMAL:
    case HE_NORMAL:
        width = sqrt(2 / (p->init.how == HE_NORMAL ? in : in + out));
        draw(key, NORMAL, 0, width, p->count, type, values);
        return true;
    case ORTHOGONAL:
        return draw_orthogonal(key, rows, columns, a, type, values);
    default:
        for (size_t i = 0; i < p->count; i++)
            put(values, type, i,
                p->init.how == CONSTANT || i / columns == i % columns ? a : 0);
        return true;
    }
}
