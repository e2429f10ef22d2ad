/* Rates of the kernels on one thread: products at the shapes of recurrent networks as fractions of
 * the machine's sustained multiply-add rate, and elementary functions in ns and cycles an element.
 *
 *     kernels [PART OF A NAME]        UR_ISA picks the instruction set
 *
 * Measurements alternate with the yardstick, and the best of several counts: other work on the
 * machine only ever takes away.
 */
#include <stdio.h>
#include <stdlib.h>
#include "ops/kernels/kernels.h"
#include "tests/bench/peak.h"

enum { ROUNDS = 30, COLD_BYTES = 12 << 20 };   /* more than a second cache has */
static const double slice = 0.012;      /* seconds a measurement */

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return p;
}

static void *random_array(size_t n, int bits)
{
    void *p = aligned(n * (size_t)bits / 8);
    for (size_t i = 0; i < n; i++) {
        const double v = rand() / (RAND_MAX + 1.0) - 0.5;
        if (bits == 32)
            ((float *)p)[i] = (float)v;
        else
            ((double *)p)[i] = v;
    }
    return p;
}

typedef struct shape {
    const char *name;
    ptrdiff_t m, n, k, segments;        /* k: of one segment */
    enum { PACKED, COLD, ROWS, TRANSPOSED } b; /* COLD: packed, many in turn */
    int a_by_columns;
} shape;

static const shape shapes[] = {
    { "recurrent 12x256x128", 12, 256, 128, 1, PACKED, 0 },
    { "recurrent 20x512x128", 20, 512, 128, 1, PACKED, 0 },
    { "recurrent 32x512x128", 32, 512, 128, 1, PACKED, 0 },
    { "recurrent 32x1024x256", 32, 1024, 256, 1, PACKED, 0 },
    { "recurrent 50x480x240", 50, 480, 240, 1, PACKED, 0 },
    { "recurrent 64x1024x256", 64, 1024, 256, 1, PACKED, 0 },
    { "recurrent 64x1024x512 [h,x]", 64, 1024, 256, 2, PACKED, 0 },
    { "recurrent 64x2048x512", 64, 2048, 512, 1, PACKED, 0 },
    { "recurrent 8x512x128", 8, 512, 128, 1, PACKED, 0 },
    { "recurrent 4x1024x256", 4, 1024, 256, 1, PACKED, 0 },
    { "recurrent 2x1024x256", 2, 1024, 256, 1, PACKED, 0 },
    { "recurrent 1x1024x256", 1, 1024, 256, 1, PACKED, 0 },
    { "recurrent 1x256x128", 1, 256, 128, 1, PACKED, 0 },
    { "tiny 1x64x32", 1, 64, 32, 1, PACKED, 0 },
    { "tiny 4x16x16", 4, 16, 16, 1, PACKED, 0 },
    { "cold 20x650x650", 20, 650, 650, 1, COLD, 0 },
    { "cold 64x512x512", 64, 512, 512, 1, COLD, 0 },
    { "cold 64x512x2048", 64, 512, 512, 4, COLD, 0 },
    { "cold 896x8000x1024", 896, 8000, 1024, 1, COLD, 0 },
    { "rows 64x1024x256", 64, 1024, 256, 1, ROWS, 0 },
    { "rows 12x1024x256", 12, 1024, 256, 1, ROWS, 0 },
    { "rows 4x1024x256", 4, 1024, 256, 1, ROWS, 0 },
    { "rows 1x1024x256", 1, 1024, 256, 1, ROWS, 0 },
    { "transposed 64x1024x256", 64, 1024, 256, 1, TRANSPOSED, 0 },
    { "dW 512x256, 64 of 64", 512, 256, 64, 64, ROWS, 1 },
    { "dW 512x1024, 64 of 64", 512, 1024, 64, 64, ROWS, 1 },
    { "dW 128x512, 512 of 8", 128, 512, 8, 512, ROWS, 1 },
    { "dW 128x512, 4096 of 1", 128, 512, 1, 4096, ROWS, 1 },
    { "dW 32x64, 512 of 4", 32, 64, 4, 512, ROWS, 1 },
    { "dW 12x48, 512 of 1", 12, 48, 1, 512, ROWS, 1 },
    { "x W 4096x1024x256", 4096, 1024, 256, 1, PACKED, 0 },
    { "x W 256x1024x256", 256, 1024, 256, 1, PACKED, 0 },
    { "dX 4096x256x1024", 4096, 256, 1024, 1, PACKED, 0 },
    { "dX 256x256x1024", 256, 256, 1024, 1, PACKED, 0 },
    { "logits 4096x65x256", 4096, 65, 256, 1, PACKED, 0 },
    { "dlogits W 4096x256x65", 4096, 256, 65, 1, PACKED, 0 },
    { "scores 64x64x64", 64, 64, 64, 1, TRANSPOSED, 0 },
    { "large 1024x1024x1024", 1024, 1024, 1024, 1, ROWS, 0 },
};

/* Best GFLOP/s of the product; *peak gets the best yardstick measured in between. */
static double product_rate(const shape *s, int bits, double *peak)
{
    const ur__kernels *kernels = ur__kernels_get();
    const ur__kernel_set *set = bits == 32 ? &kernels->f32 : &kernels->f64;
    const size_t size = (size_t)bits / 8;
    const ptrdiff_t k = s->k * s->segments, rows = k + s->segments - 1;
    char *a = random_array((size_t)(s->m * rows), bits);
    char *b = random_array((size_t)(rows * s->n), bits);
    char *c = random_array((size_t)(s->m * s->n), bits), *scratch = aligned(set->gemm_scratch);
    const size_t panels = set->packed_size(s->k, s->n), all = panels * (size_t)s->segments;
    const size_t copies = s->b == COLD ? 1 + COLD_BYTES / all : 1;
    char *packed = aligned(copies * all);
    ur__segment *list = aligned(sizeof *list * (size_t)s->segments);
    for (ptrdiff_t i = 0; i < s->segments; i++) {
        ur__segment *t = &list[i];
        t->k = s->k;
        const ptrdiff_t first = i * (s->k + 1); /* a gap: segments that touch are merged */
        t->a = a + first * (s->a_by_columns ? s->m : 1) * (ptrdiff_t)size;
        t->a_m = s->a_by_columns ? 1 : rows;
        t->a_k = s->a_by_columns ? s->m : 1;
        t->b = b + first * (s->b == TRANSPOSED ? 1 : s->n) * (ptrdiff_t)size;
        t->b_k = s->b == TRANSPOSED ? 1 : s->n;
        t->b_n = s->b == TRANSPOSED ? rows : 1;
        if (s->b == PACKED || s->b == COLD) {
            char *to = packed + (size_t)i * panels;
            for (size_t q = 0; q < copies; q++)
                set->pack(s->k, s->n, t->b, t->b_k, t->b_n, to + q * all);
            t->b = to;
            t->b_k = t->b_n = 0;
        }
    }
    size_t copy = 0;
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start, spent, runs = 0;
        const double p = peak_gflops(slice);
        *peak = p > *peak ? p : *peak;
        start = now();
        do {
            for (int i = 0; i < 4; i++, runs++) {
                set->gemm(s->m, s->n, list, s->segments, false, c, s->n, scratch);
                copy = (copy + 1) % copies;
                for (ptrdiff_t q = 0; copies > 1 && q < s->segments; q++)
                    list[q].b = packed + copy * all + (size_t)q * panels;
            }
            spent = now() - start;
        } while (spent < slice);
        const double rate = 2e-9 * (double)(s->m * s->n * k) * runs / spent;
        best = rate > best ? rate : best;
    }
    free(a), free(b), free(c), free(scratch), free(packed), free(list);
    return best;
}

static const struct { const char *name; int map; double low, high; } functions[] = {
    { "exp", UR__MAP_exp, -5, 5 }, { "log", UR__MAP_log, 0.1, 10 },
    { "tanh", UR__MAP_tanh, -3, 3 }, { "sigmoid", UR__MAP_sigmoid, -5, 5 },
    { "softplus", UR__MAP_softplus, -5, 5 }, { "sin", UR__MAP_sin, -9, 9 },
    { "normal_cdf", UR__MAP_normal_cdf, -4, 4 }, { "sqrt", UR__MAP_sqrt, 0, 9 },
    { "relu", UR__MAP_relu, -4, 4 }, { "add", UR__MAP_add, -4, 4 },
};

/* Best ns an element on 1024 elements, which stay in the first cache. */
static double map_time(ur__map_kernel *map, int bits, double low, double high)
{
    enum { N = 1024 };
    static double x[N], y[N];
    for (int i = 0; i < N; i++) {
        const double v = low + (high - low) * (rand() / (RAND_MAX + 1.0));
        if (bits == 32)
            ((float *)x)[i] = (float)v;
        else
            x[i] = v;
    }
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now(), spent, runs = 0;
        do {
            for (int i = 0; i < 100; i++, runs++)
                map(N, y, x, x, x);
            spent = now() - start;
        } while (spent < slice / 2);
        best = spent / runs / N < best ? spent / runs / N : best;
    }
    return best * 1e9;
}

int main(int argc, char **argv)
{
    const ur__kernels *kernels = ur__kernels_get();
    const char *part = argc > 1 ? argv[1] : "";
    double sustained = peak_gflops(1.2);
    printf("%s: %.1f GFLOP/s of multiply-adds in float, over 1.2 s\n", kernels->isa, sustained);
    for (int bits = 32; bits <= 64; bits += 32) {
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            double peak = 0;
            if (!strstr(shapes[i].name, part))
                continue;
            const double rate = product_rate(&shapes[i], bits, &peak);
            peak *= 32.0 / bits;
            printf("f%d  %-30s %7.1f GFLOP/s  %5.3f of %.1f\n", bits, shapes[i].name, rate,
                   rate / peak, peak);
            fflush(stdout);
        }
    }
    for (int bits = 32; bits <= 64; bits += 32) {
        for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
            const ur__kernel_set *set = bits == 32 ? &kernels->f32 : &kernels->f64;
            if (!strstr(functions[i].name, part))
                continue;
            const double ns = map_time(set->map[functions[i].map], bits, functions[i].low,
                                       functions[i].high);
            /* Two multiply-adds a cycle are what every recent x86 core does. */
            printf("f%d  %-12s %7.3f ns  %6.2f cycles an element\n", bits, functions[i].name, ns,
                   ns * sustained / (2 * peak_width()));
        }
    }
    return 0;
}
