/* C = (accumulate ? C : 0) + sum over s of A_s B_s for a few rows of C, in one thread.
 *
 * Such a product uses every number of B once or twice, so its time is that of reading B, and a
 * copy of B in another order would cost as much as it could save. B is read where it is:
 *
 *     rows     (b_n = 1)   c_j += a_k b_kj    k by k: the row of C stays in registers, or near
 *     columns  (b_k = 1)   c_j += a . b_j     column by column: the row of A stays in registers
 *
 * Both read B from end to end, by instructions each of which moves along in short strides. That is
 * what a cache foresees: a walk down a panel of the same numbers takes half as long again.
 *
 * A recurrence reads the same B in every step, and of a B that is larger than the first cache the
 * end is still there when the next step comes to it: a walk by rows that is turned begins at that
 * end, and its sums are formed such that the order does not matter.
 *
 * Bits: an element of the first kind is, for each segment, three chains of multiply-adds: of the
 * first END numbers along K, the last END, and those between. One of the second is a chain in every
 * lane, through segments as long as each other, and then the lanes as a tree.
 * Neither depends on which other elements are computed, or how many.
 */
#include "ops/kernels/set.h"
#include "ops/kernels/transpose.h"

enum {
#if !defined UR_SCALAR && V_BYTES == 64
    ROWS = 4,                           /* of C at a time: 32 registers */
#else
    ROWS = 2,                           /* 16 registers */
#endif
    WIDEST = 8,                         /* vectors of C or A that are kept in registers */
    NEAR = 64,                          /* vectors of C that stay in the first cache beside B */
    END = 64,                           /* rows of B at an end of a walk */
};

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

/* Vector k of N, the last of which has `lanes` elements. */
INLINE V load_of(int N, size_t lanes, const T *p, int k)
{
    return k < N - 1 || lanes == W ? v_load(p + k * W) : v_load_n(p + k * W, lanes);
}

INLINE void store_of(int N, size_t lanes, T *p, int k, V x)
{
    if (k < N - 1 || lanes == W)
        v_store(p + k * W, x);
    else
        v_store_n(p + k * W, x, lanes);
}

/* What a chain is added to: (add ? C : 0) + ((chain + end) + middle), where these are not NULL. */
typedef struct rest {
    const T *end, *middle;              /* rows lie WIDEST vectors apart */
    bool add;
} rest;

/* A chain over K for R rows of C, as far as N vectors. */
INLINE void rows_of(const int R, const int N, size_t lanes, ptrdiff_t K, const T *a, ptrdiff_t a_m,
                    ptrdiff_t a_k, const T *b, ptrdiff_t b_k, const rest *to, T *c, ptrdiff_t ldc)
{
    V sum[ROWS][WIDEST];
    UNROLL
    for (int i = 0; i < R; i++) {
        UNROLL
        for (int j = 0; j < N; j++)
            sum[i][j] = v_set(0);
    }
    for (ptrdiff_t k = 0; k < K; k++, a += a_k, b += b_k) {
        V x[ROWS];
        UNROLL
        for (int i = 0; i < R; i++)
            x[i] = v_set(a[i * a_m]);
        UNROLL
        for (int j = 0; j < N; j++) {
            const V y = load_of(N, lanes, b, j);
            UNROLL
            for (int i = 0; i < R; i++)
                sum[i][j] += x[i] * y;
        }
    }
    UNROLL
    for (int i = 0; i < R; i++) {
        UNROLL
        for (int j = 0; j < N; j++) {
            V y = sum[i][j];
            y += to->end ? load_of(N, lanes, to->end + i * WIDEST * W, j) : v_set(0);
            y += to->middle ? load_of(N, lanes, to->middle + i * WIDEST * W, j) : v_set(0);
            y += to->add ? load_of(N, lanes, c + i * ldc, j) : v_set(0);
            store_of(N, lanes, c + i * ldc, j, y);
        }
    }
}

/* One row of C, longer than the registers: C += A B. */
static void near_row(ptrdiff_t n, ptrdiff_t K, const T *a, ptrdiff_t a_k, const T *b, ptrdiff_t b_k,
                     T *c)
{
    for (ptrdiff_t k = 0; k < K; k++, a += a_k, b += b_k) {
        const V x = v_set(*a);
        ptrdiff_t j = 0;
        for (; n - j >= 4 * W; j += 4 * W) {
            UNROLL
            for (int u = 0; u < 4; u++)
                v_store(c + j + u * W, v_load(c + j + u * W) + x * v_load(b + j + u * W));
        }
        for (; n - j >= W; j += W)
            v_store(c + j, v_load(c + j) + x * v_load(b + j));
        if (j < n) {
            const size_t lanes = (size_t)(n - j);
            v_store_n(c + j, v_load_n(c + j, lanes) + x * v_load_n(b + j, lanes), lanes);
        }
    }
}

/* A row of at most W columns of C: what the lanes of x add up to. */
static void add_lanes(ptrdiff_t columns, V x[W], bool add, T *c)
{
    const size_t lanes = (size_t)least(columns, W);
    for (size_t j = lanes; j < W; j++)
        x[j] = v_set(0);
    const V y = v_lane_sums(x);
    store_of(1, lanes, c, 0, add ? load_of(1, lanes, c, 0) + y : y);
}

/* Column j of the sums goes on with N vectors. */
INLINE void column(const int R, const int N, size_t lanes, V x[][WIDEST], const T *b, V sum[][W],
                   int j)
{
    UNROLL
    for (int k = 0; k < N; k++) {
        const V y = load_of(N, lanes, b, k);
        UNROLL
        for (int i = 0; i < R; i++)
            sum[i][j] += x[i][k] * y;
    }
}

/* Up to W columns of R rows of C, where rows of A are N vectors: all segments. W columns of one row
 * stay in registers from segment to segment. */
INLINE void block_of(const int R, const int N, size_t lanes, const ptrdiff_t columns,
                     const ur__segment *s, const ur__segment *end, ptrdiff_t row, ptrdiff_t at,
                     bool add, T *c, ptrdiff_t ldc)
{
    V sum[ROWS][W];
    UNROLL
    for (int i = 0; i < R; i++) {
        UNROLL
        for (int j = 0; j < (int)W; j++)
            sum[i][j] = v_set(0);
    }
    for (const ur__segment *t = s; t < end; t++) {
        const T *a = (const T *)t->a + row * t->a_m, *b = (const T *)t->b + at * t->b_n;
        V x[ROWS][WIDEST];
        UNROLL
        for (int i = 0; i < R; i++) {
            UNROLL
            for (int k = 0; k < N; k++)
                x[i][k] = load_of(N, lanes, a + i * t->a_m, k);
        }
        if (R == 1 && columns == W) {
            UNROLL
            for (int j = 0; j < (int)W; j++, b += t->b_n)
                column(R, N, lanes, x, b, sum, j);
        } else {
            for (int j = 0; j < columns; j++, b += t->b_n)
                column(R, N, lanes, x, b, sum, j);
        }
    }
    for (int i = 0; i < R; i++)
        add_lanes(columns, sum[i], add, c + i * ldc + at);
}

INLINE void columns_of(const int R, const int N, size_t lanes, ptrdiff_t n, const ur__segment *s,
                       const ur__segment *end, ptrdiff_t row, bool add, T *c, ptrdiff_t ldc)
{
    ptrdiff_t at = 0;
    for (; n - at >= (ptrdiff_t)W; at += W)
        block_of(R, N, lanes, W, s, end, row, at, add, c, ldc);
    if (n > at)
        block_of(R, N, lanes, n - at, s, end, row, at, add, c, ldc);
}

/* The same where they are longer than the registers. */
INLINE void long_columns_of(const int R, ptrdiff_t n, const ur__segment *s, const ur__segment *end,
                            ptrdiff_t row, bool add, T *c, ptrdiff_t ldc)
{
    for (ptrdiff_t at = 0; at < n; at += W) {
        const ptrdiff_t columns = least(n - at, W);
        V sum[ROWS][W];
        for (int i = 0; i < R; i++)
            for (ptrdiff_t j = 0; j < columns; j++)
                sum[i][j] = v_set(0);
        for (const ur__segment *t = s; t < end; t++) {
            const T *a = (const T *)t->a + row * t->a_m, *b = (const T *)t->b + at * t->b_n;
            for (ptrdiff_t j = 0; j < columns; j++, b += t->b_n) {
                for (ptrdiff_t k = 0; k < t->k; k += W) {
                    const size_t lanes = (size_t)least(t->k - k, W);
                    const V y = load_of(1, lanes, b + k, 0);
                    UNROLL
                    for (int i = 0; i < R; i++)
                        sum[i][j] += load_of(1, lanes, a + i * t->a_m + k, 0) * y;
                }
            }
        }
        for (int i = 0; i < R; i++)
            add_lanes(columns, sum[i], add, c + i * ldc + at);
    }
}

typedef void rows_function(size_t lanes, ptrdiff_t K, const T *a, ptrdiff_t a_m, ptrdiff_t a_k,
                           const T *b, ptrdiff_t b_k, const rest *to, T *c, ptrdiff_t ldc);
typedef void columns_function(size_t lanes, ptrdiff_t n, const ur__segment *s,
                              const ur__segment *end, ptrdiff_t row, bool add, T *c,
                              ptrdiff_t ldc);
typedef void long_function(ptrdiff_t n, const ur__segment *s, const ur__segment *end,
                           ptrdiff_t row, bool add, T *c, ptrdiff_t ldc);

#define OF(R, N)                                                                                   \
    static void rows_##R##_##N(size_t lanes, ptrdiff_t K, const T *a, ptrdiff_t a_m,               \
                               ptrdiff_t a_k, const T *b, ptrdiff_t b_k, const rest *to, T *c,     \
                               ptrdiff_t ldc)                                                      \
    {                                                                                              \
        rows_of(R, N, lanes, K, a, a_m, a_k, b, b_k, to, c, ldc);                                  \
    }                                                                                              \
    static void columns_##R##_##N(size_t lanes, ptrdiff_t n, const ur__segment *s,                 \
                                  const ur__segment *end, ptrdiff_t row, bool add, T *c,           \
                                  ptrdiff_t ldc)                                                   \
    {                                                                                              \
        columns_of(R, N, lanes, n, s, end, row, add, c, ldc);                                      \
    }
#define OF_LONG(R)                                                                                 \
    static void long_columns_##R(ptrdiff_t n, const ur__segment *s, const ur__segment *end,        \
                                 ptrdiff_t row, bool add, T *c, ptrdiff_t ldc)                     \
    {                                                                                              \
        long_columns_of(R, n, s, end, row, add, c, ldc);                                           \
    }
#define TO_4(F, R) F(R, 1) F(R, 2) F(R, 3) F(R, 4)
#define TO_8(F, R) TO_4(F, R) F(R, 5) F(R, 6) F(R, 7) F(R, 8)
#define OF_ROWS(R, N) [N] = rows_##R##_##N,
#define OF_COLUMNS(R, N) [N] = columns_##R##_##N,

/* Of R rows, up to most[R] vectors. */
TO_8(OF, 1) OF_LONG(1) OF_LONG(2)
#if !defined UR_SCALAR && V_BYTES == 64
TO_8(OF, 2) TO_4(OF, 3) TO_4(OF, 4) OF_LONG(3) OF_LONG(4)
static const ptrdiff_t most[ROWS + 1] = { 0, 8, 8, 4, 4 };
static rows_function *const rows_functions[ROWS + 1][WIDEST + 1] = {
    [1] = { TO_8(OF_ROWS, 1) }, [2] = { TO_8(OF_ROWS, 2) }, [3] = { TO_4(OF_ROWS, 3) },
    [4] = { TO_4(OF_ROWS, 4) },
};
static columns_function *const columns_functions[ROWS + 1][WIDEST + 1] = {
    [1] = { TO_8(OF_COLUMNS, 1) }, [2] = { TO_8(OF_COLUMNS, 2) }, [3] = { TO_4(OF_COLUMNS, 3) },
    [4] = { TO_4(OF_COLUMNS, 4) },
};
static long_function *const long_columns[ROWS + 1] = {
    NULL, long_columns_1, long_columns_2, long_columns_3, long_columns_4,
};
#else
TO_4(OF, 2)
static const ptrdiff_t most[ROWS + 1] = { 0, 8, 4 };
static rows_function *const rows_functions[ROWS + 1][WIDEST + 1] = {
    [1] = { TO_8(OF_ROWS, 1) }, [2] = { TO_4(OF_ROWS, 2) },
};
static columns_function *const columns_functions[ROWS + 1][WIDEST + 1] = {
    [1] = { TO_8(OF_COLUMNS, 1) }, [2] = { TO_4(OF_COLUMNS, 2) },
};
static long_function *const long_columns[ROWS + 1] = { NULL, long_columns_1, long_columns_2 };
#endif

/* Elements of the last of the vectors that n elements are. */
static size_t last_lanes(ptrdiff_t n)
{
    return (size_t)((n - 1) % W + 1);
}

/* The numbers along K from `from` on. */
static void chain(ptrdiff_t m, ptrdiff_t width, const ur__segment *s, const T *a, const T *b,
                  ptrdiff_t from, ptrdiff_t K, const rest *to, T *c, ptrdiff_t ldc)
{
    rows_functions[m][(width + W - 1) / W](last_lanes(width), K, a + from * s->a_k, s->a_m, s->a_k,
                                           b + from * s->b_k, s->b_k, to, c, ldc);
}

/* Columns that fit in registers: one end, the middle, the other end. */
static void short_rows(ptrdiff_t m, ptrdiff_t width, const ur__segment *s, const T *a, const T *b,
                       bool turned, bool add, T *c, ptrdiff_t ldc)
{
    T end[ROWS * WIDEST * W], middle[ROWS * WIDEST * W];
    const ptrdiff_t head = least(s->k, END), tail = least(s->k - head, END);
    const ptrdiff_t between = s->k - head - tail, last = s->k - tail;
    const rest only = { NULL, NULL, false };
    const rest all = { tail ? end : NULL, between ? middle : NULL, add };
    if (tail)
        chain(m, width, s, a, b, turned ? last : 0, turned ? tail : head, &only, end, WIDEST * W);
    if (between)
        chain(m, width, s, a, b, head, between, &only, middle, WIDEST * W);
    if (tail && !turned)
        chain(m, width, s, a, b, last, tail, &all, c, ldc);
    else
        chain(m, width, s, a, b, 0, head, &all, c, ldc);
}

/* Columns that do not. */
static void near_rows(ptrdiff_t width, const ur__segment *s, const T *a, const T *b, bool add, T *c)
{
    T sum[3][NEAR * W];
    const ptrdiff_t head = least(s->k, END), tail = least(s->k - head, END);
    const ptrdiff_t from[] = { s->k - tail, 0, head }, n[] = { tail, head, s->k - head - tail };
    for (int i = 0; i < 3; i++) {
        memset(sum[i], 0, (size_t)width * sizeof(T));
        near_row(width, n[i], a + from[i] * s->a_k, s->a_k, b + from[i] * s->b_k, s->b_k, sum[i]);
    }
    for (ptrdiff_t j = 0; j < width; j++)
        c[j] = ((sum[0][j] + sum[1][j]) + sum[2][j]) + (add ? c[j] : 0);
}

static void by_rows(ptrdiff_t m, ptrdiff_t n, const ur__segment *s, const T *a, bool turned,
                    bool add, T *c, ptrdiff_t ldc)
{
    const bool near = m == 1 && n > most[1] * W;
    for (ptrdiff_t j = 0, width; j < n; j += width) {
        const T *b = (const T *)s->b + j;
        width = least(n - j, near ? NEAR * W : most[m] * W);
        if (near)
            near_rows(width, s, a, b, add, c + j);
        else
            short_rows(m, width, s, a, b, turned, add, c + j, ldc);
    }
}

/* Segments whose rows of A have one length. */
static void by_columns(ptrdiff_t m, ptrdiff_t n, const ur__segment *s, const ur__segment *end,
                       ptrdiff_t row, bool add, T *c, ptrdiff_t ldc)
{
    if (s->k > most[m] * W)
        long_columns[m](n, s, end, row, add, c, ldc);
    else
        columns_functions[m][(s->k + W - 1) / W](last_lanes(s->k), n, s, end, row, add, c, ldc);
}

/* Behind the segments from s on that are by columns, as s is, and whose K is as long. */
static const ur__segment *alike(const ur__segment *s, const ur__segment *end)
{
    const ur__segment *t = s + 1;
    while (t < end && s->b_n != 1 && t->b_n != 1 && t->k == s->k)
        t++;
    return t;
}

void KERNEL(thin)(ptrdiff_t m, ptrdiff_t n, const ur__segment *s, ptrdiff_t n_segments, bool turned,
                  bool accumulate, void *c, ptrdiff_t ldc)
{
    const ur__segment *const end = s + n_segments;
    for (ptrdiff_t row = 0, rows; row < m && n > 0; row += rows) {
        T *to = (T *)c + row * ldc;
        bool add = accumulate;
        rows = least(m - row, ROWS);
        for (const ur__segment *t = s, *next; t < end; t = next) {
            next = alike(t, end);
            if (t->k <= 0)
                continue;
            if (t->b_n == 1)
                by_rows(rows, n, t, (const T *)t->a + row * t->a_m, turned, add, to, ldc);
            else
                by_columns(rows, n, t, next, row, add, to, ldc);
            add = true;
        }
        for (ptrdiff_t i = 0; !add && i < rows; i++)
            memset(to + i * ldc, 0, (size_t)n * sizeof(T));
    }
}
