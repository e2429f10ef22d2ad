/* The products of ops/kernels against plain loops in double over random shapes, and their
 * independence of how rows and columns are split, bit for bit. tests/run repeats this under every
 * instruction set.
 */
#include <stdlib.h>
#include "tests/arrays.h"
#include "tests/test.h"

enum { FENCE = 64 };

/* 64-byte aligned, one for each precision, with a fence behind its last byte. */
static char *scratch(void)
{
    static char *of[2];
    char **block = &of[single];
    if (!*block) {
        *block = malloc(set()->gemm_scratch + 64 + FENCE);
        *block += 64 - (uintptr_t)*block % 64;
        memset(*block + set()->gemm_scratch, 0x5a, FENCE);
    }
    return *block;
}

static void check_scratch(void)
{
    const char *fence = scratch() + set()->gemm_scratch;
    for (int i = 0; i < FENCE; i++)
        if (!CHECK(fence[i] == 0x5a))
            break;
}

enum { MOST_SEGMENTS = 40 };

typedef struct product {
    ptrdiff_t m, n, segments;
    ur__segment s[MOST_SEGMENTS], plain[MOST_SEGMENTS]; /* plain: before B was packed */
} product;

/* A matrix of r x c elements in a layout: by rows, by columns, spread, or by rows 4096 bytes apart.
 * Strides as found. */
static const void *random_matrix(ptrdiff_t r, ptrdiff_t c, int layout, ptrdiff_t *s_r,
                                 ptrdiff_t *s_c)
{
    const ptrdiff_t gap = (ptrdiff_t)random_below(3);
    const ptrdiff_t page = 4096 / (ptrdiff_t)size();
    *s_r = layout == 0 ? c + gap : layout == 1 ? 1 : layout == 2 ? 2 * c + gap : page;
    *s_c = layout == 1 ? r + gap : layout == 2 ? 2 : 1;
    const ptrdiff_t n = r > 0 && c > 0 ? (r - 1) * *s_r + (c - 1) * *s_c + 1 : 0;
    return random_array((size_t)n);
}

static void random_segment(product *p, ptrdiff_t i, ptrdiff_t k)
{
    ur__segment *s = &p->s[i];
    s->k = k;
    s->a = random_matrix(p->m, k, (int)random_below(9) / 4, &s->a_m, &s->a_k);
    s->b = random_matrix(k, p->n, (int)random_below(9) / 4, &s->b_k, &s->b_n);
    p->plain[i] = *s;
}

static void pack_segment(product *p, ptrdiff_t i)
{
    ur__segment *s = &p->s[i];
    const size_t bytes = set()->packed_size(s->k, p->n);
    void *panels = fenced_bytes((bytes + 63) / 64 * 64);
    set()->pack(s->k, p->n, s->b, s->b_k, s->b_n, panels);
    s->b = panels;
    s->b_k = s->b_n = 0;
}

static void random_product(product *p)
{
    static const ptrdiff_t edges[] = { 1, 2, 3, 4, 5, 7, 13, 14, 15, 16, 17, 29, 31, 32, 33, 47, 64,
                                       65, 66, 97 };
    static const ptrdiff_t inner[] = { 0, 1, 2, 3, 5, 8, 16, 17, 64, 100, 255, 256, 257, 300 };
    const int packed = (int)random_below(3);    /* none, all, some */
    p->m = edges[random_below(20)];
    p->n = edges[random_below(20)];
    p->segments = (ptrdiff_t)random_below(5);
    const bool thin = random_below(6) == 0;
    if (thin)
        p->segments = MOST_SEGMENTS / 2;
    for (ptrdiff_t i = 0; i < p->segments; i++) {
        random_segment(p, i, thin ? inner[random_below(6)] : inner[random_below(14)]);
        if (packed == 1 || (packed == 2 && random_below(2)))
            pack_segment(p, i);
    }
}

/* Checks C against loops in double: each element's error by the sum of the terms' magnitudes. */
static void check_product(const product *p, const void *c, ptrdiff_t ldc, const void *before)
{
    double worst = 0, got = 0, want = 0;
    for (ptrdiff_t i = 0; i < p->m; i++) {
        for (ptrdiff_t j = 0; j < p->n; j++) {
            double sum = before ? get(before, (size_t)(i * ldc + j)) : 0, size_of = fabs(sum);
            double terms = 2;
            for (ptrdiff_t q = 0; q < p->segments; q++) {
                const ur__segment *s = &p->plain[q];
                for (ptrdiff_t k = 0; k < s->k; k++) {
                    const double t = get(at(s->a, i * s->a_m + k * s->a_k), 0)
                                   * get(at(s->b, k * s->b_k + j * s->b_n), 0);
                    sum += t;
                    size_of += fabs(t);
                }
                terms += (double)s->k;
            }
            const double y = get(c, (size_t)(i * ldc + j));
            const double off = fabs(y - sum) / (sqrt(terms) * 2 * epsilon() * (size_of + 1e-300));
            if (!(off <= worst)) {
                worst = off;
                got = y;
                want = sum;
            }
        }
    }
    if (!CHECK(worst <= 1))
        printf("  %zu-byte m %td n %td segments %td: %.17g, should be %.17g\n", size(), p->m, p->n,
               p->segments, got, want);
}

/* The same product with rows and columns cut at random places (columns between panels). */
static void run_split(const product *p, bool accumulate, void *c, ptrdiff_t ldc)
{
    const ptrdiff_t panel = (ptrdiff_t)(set()->packed_size(1, 1) / size());
    for (ptrdiff_t i = 0, m; i < p->m; i += m) {
        m = 1 + (ptrdiff_t)random_below((size_t)(p->m - i));
        for (ptrdiff_t j = 0, n; j < p->n; j += n) {
            ur__segment s[MOST_SEGMENTS];
            n = panel * (1 + (ptrdiff_t)random_below(3));
            if (n > p->n - j)
                n = p->n - j;
            for (ptrdiff_t q = 0; q < p->segments; q++) {
                s[q] = p->s[q];
                s[q].a = at(s[q].a, i * s[q].a_m);
                if (s[q].b_k || s[q].b_n)
                    s[q].b = at(s[q].b, j * s[q].b_n);
                else
                    s[q].b = (const char *)s[q].b + set()->packed_size(s[q].k, j);
            }
            set()->gemm(m, n, s, p->segments, accumulate, at(c, i * ldc + j), ldc, scratch());
        }
    }
}

static void try_product(void)
{
    product p = { 0 };
    random_product(&p);
    const ptrdiff_t ldc = p.n + (ptrdiff_t)random_below(3);
    const size_t n = (size_t)((p.m - 1) * ldc + p.n);
    const bool accumulate = random_below(2);
    void *before = random_array(n), *c = copy_of(before, n), *split = copy_of(before, n);
    void *unpacked = copy_of(before, n);
    set()->gemm(p.m, p.n, p.s, p.segments, accumulate, c, ldc, scratch());
    check_product(&p, c, ldc, accumulate ? before : NULL);
    for (ptrdiff_t i = 0; i + 1 < p.m; i++)     /* what lies between rows stays */
        for (ptrdiff_t j = p.n; j < ldc; j++)
            CHECK(get(c, (size_t)(i * ldc + j)) == get(before, (size_t)(i * ldc + j)));
    run_split(&p, accumulate, split, ldc);
    CHECK_MEM(c, split, n * size());
    set()->gemm(p.m, p.n, p.plain, p.segments, accumulate, unpacked, ldc, scratch());
    CHECK_MEM(c, unpacked, n * size());
    give_back();
}

TEST(products)
{
    for (int i = 0; i < 1200; i++) {
        single = i % 2;
        try_product();
    }
}

/* Sizes that need several blocks of rows and columns, and thousands of thin segments. */
TEST(large_products)
{
    static const struct { ptrdiff_t m, n, k; int a, b; bool pack; } shapes[] = {
        { 600, 40, 300, 0, 0, true }, { 300, 70, 520, 1, 0, false }, { 40, 1100, 30, 0, 1, false },
        { 3, 1100, 270, 0, 0, false }, { 520, 1040, 20, 1, 1, false }, { 1, 700, 513, 0, 0, true },
        { 544, 560, 250, 0, 1, false }, { 300, 150, 509, 3, 0, true }, { 61, 99, 260, 3, 1, false },
    };
    for (int i = 0; i < 2 * (int)(sizeof shapes / sizeof *shapes); i++) {
        product p = { .m = shapes[i / 2].m, .n = shapes[i / 2].n, .segments = 1 };
        ur__segment *s = &p.s[0];
        single = i % 2;
        s->k = shapes[i / 2].k;
        s->a = random_matrix(p.m, s->k, shapes[i / 2].a, &s->a_m, &s->a_k);
        s->b = random_matrix(s->k, p.n, shapes[i / 2].b, &s->b_k, &s->b_n);
        p.plain[0] = *s;
        if (shapes[i / 2].pack)
            pack_segment(&p, 0);
        void *c = fenced((size_t)(p.m * p.n)), *split = fenced((size_t)(p.m * p.n));
        set()->gemm(p.m, p.n, p.s, 1, false, c, p.n, scratch());
        check_product(&p, c, p.n, NULL);
        run_split(&p, false, split, p.n);
        CHECK_MEM(c, split, (size_t)(p.m * p.n) * size());
        check_scratch();
        give_back();
    }
}

/* A weight's gradient over many steps equals one product over the steps laid end to end. */
TEST(thin_segments)
{
    enum { M = 37, N = 45, STEPS = 3000, B = 3 };
    static ur__segment s[STEPS];
    for (int i = 0; i < 2; i++) {
        single = i;
        const char *x = random_array((size_t)STEPS * B * M);
        const char *g = random_array((size_t)STEPS * B * N);
        void *c = fenced(M * N), *whole = fenced(M * N);
        for (int t = 0; t < STEPS; t++)
            s[t] = (ur__segment){ at(x, t * B * M), at(g, t * B * N), 1, M, N, 1, B };
        set()->gemm(M, N, s, STEPS, false, c, N, scratch());
        s[0].k = (ptrdiff_t)STEPS * B;
        set()->gemm(M, N, s, 1, false, whole, N, scratch());
        CHECK_MEM(c, whole, M * N * size());
        double sum = 0;
        for (size_t t = 0; t < (size_t)STEPS * B; t++)
            sum += get(x, t * M + 5) * get(g, t * N + 7);
        CHECK_NEAR(get(c, 5 * N + 7), sum, 2000 * epsilon());
        give_back();
    }
}

TEST(empty_products)
{
    for (int i = 0; i < 2; i++) {
        single = i;
        void *c = random_array(12), *before = copy_of(c, 12);
        const ur__segment none = { NULL, NULL, 1, 1, 1, 1, 0 };
        set()->gemm(3, 4, NULL, 0, true, c, 4, scratch());
        set()->gemm(3, 4, &none, 1, true, c, 4, scratch());
        set()->gemm(0, 4, &none, 1, false, c, 4, scratch());
        set()->gemm(3, 0, &none, 1, false, c, 4, scratch());
        CHECK_MEM(c, before, 12 * size());
        set()->gemm(3, 4, &none, 1, false, c, 4, scratch());
        for (size_t k = 0; k < 12; k++)
            CHECK(get(c, k) == 0);
        CHECK_INT(set()->packed_size(0, 100), 0);
        CHECK_INT(set()->packed_size(100, 0), 0);
        give_back();
    }
}

/* A product of few rows, cut at random places of rows and columns. */
static void thin_split(const product *p, bool accumulate, void *c, ptrdiff_t ldc)
{
    for (ptrdiff_t i = 0, m; i < p->m; i += m) {
        m = 1 + (ptrdiff_t)random_below((size_t)(p->m - i));
        for (ptrdiff_t j = 0, n; j < p->n; j += n) {
            ur__segment s[MOST_SEGMENTS];
            n = 1 + (ptrdiff_t)random_below((size_t)(p->n - j));
            for (ptrdiff_t q = 0; q < p->segments; q++) {
                s[q] = p->s[q];
                s[q].a = at(s[q].a, i * s[q].a_m);
                s[q].b = at(s[q].b, j * s[q].b_n);
            }
            set()->thin(m, n, s, p->segments, random_below(2), accumulate,
                        at(c, i * ldc + j), ldc);
        }
    }
}

static void try_thin(ptrdiff_t m, ptrdiff_t n, ptrdiff_t most_k)
{
    product p = { .m = m, .n = n, .segments = 1 + (ptrdiff_t)random_below(4) };
    for (ptrdiff_t i = 0; i < p.segments; i++) {
        ur__segment *s = &p.s[i];
        const int layout = (int)random_below(2);        /* rows or columns in place */
        s->k = (ptrdiff_t)random_below((size_t)most_k + 1);
        s->a = random_matrix(m, s->k, layout ? 0 : (int)random_below(3), &s->a_m, &s->a_k);
        s->b = random_matrix(s->k, n, layout, &s->b_k, &s->b_n);
        p.plain[i] = *s;
    }
    const ptrdiff_t ldc = n + (ptrdiff_t)random_below(3);
    const size_t size_of_c = (size_t)((m - 1) * ldc + n);
    const bool accumulate = random_below(2);
    void *before = random_array(size_of_c), *c = copy_of(before, size_of_c);
    void *split = copy_of(before, size_of_c);
    set()->thin(m, n, p.s, p.segments, false, accumulate, c, ldc);
    check_product(&p, c, ldc, accumulate ? before : NULL);
    for (ptrdiff_t i = 0; i + 1 < m; i++)
        for (ptrdiff_t j = n; j < ldc; j++)
            CHECK(get(c, (size_t)(i * ldc + j)) == get(before, (size_t)(i * ldc + j)));
    thin_split(&p, accumulate, split, ldc);
    CHECK_MEM(c, split, size_of_c * size());
    give_back();
}

TEST(thin_products)
{
    static const ptrdiff_t inner[] = { 1, 7, 13, 31, 64, 101, 128, 257, 523 };
    for (int i = 0; i < 1200; i++) {
        single = i % 2;
        try_thin(1 + i / 2 % 6, 1 + (ptrdiff_t)random_below(150), inner[random_below(9)]);
    }
    for (int i = 0; i < 12; i++) {              /* longer than what stays in the first cache */
        single = i % 2;
        try_thin(1 + i / 2 % 2, 1000 + (ptrdiff_t)random_below(200), 40);
    }
}

TEST(empty_thin_products)
{
    for (int i = 0; i < 2; i++) {
        single = i;
        void *c = random_array(12), *before = copy_of(c, 12);
        const ur__segment none = { NULL, NULL, 1, 1, 1, 1, 0 };
        set()->thin(3, 4, NULL, 0, false, true, c, 4);
        set()->thin(3, 4, &none, 1, false, true, c, 4);
        set()->thin(0, 4, &none, 1, false, false, c, 4);
        set()->thin(3, 0, &none, 1, false, false, c, 4);
        CHECK_MEM(c, before, 12 * size());
        set()->thin(3, 4, &none, 1, false, false, c, 4);
        for (size_t k = 0; k < 12; k++)
            CHECK(get(c, k) == 0);
        give_back();
    }
}

TEST_MAIN(T(products), T(large_products), T(thin_segments), T(empty_products), T(thin_products),
          T(empty_thin_products))
