/* The symbols of one compilation (an instruction set and a precision) from which table.c makes a
 * ur__kernel_set. See kernels.h for what they do.
 */
#ifndef UR_KERNELS_SET_H
#define UR_KERNELS_SET_H

#include "ops/kernels/kernels.h"
#include "ops/kernels/vec.h"

#define DECLARE_MAP(name, ...) ur__map_kernel KERNEL(map_##name);
UR__MAPS(DECLARE_MAP, DECLARE_MAP, DECLARE_MAP, DECLARE_MAP, DECLARE_MAP, DECLARE_MAP)
#undef DECLARE_MAP

extern const size_t KERNEL(gemm_scratch);
void KERNEL(gemm)(ptrdiff_t m, ptrdiff_t n, const ur__segment *s, ptrdiff_t n_segments,
                  bool accumulate, void *c, ptrdiff_t ldc, void *scratch);
void KERNEL(thin)(ptrdiff_t m, ptrdiff_t n, const ur__segment *s, ptrdiff_t n_segments,
                  bool turned, bool accumulate, void *c, ptrdiff_t ldc);
void KERNEL(pack)(ptrdiff_t k, ptrdiff_t n, const void *b, ptrdiff_t b_k, ptrdiff_t b_n, void *dst);
size_t KERNEL(packed_size)(ptrdiff_t k, ptrdiff_t n);

void KERNEL(sum)(size_t o, size_t r, size_t i, const void *x, size_t ldx, void *y);
void KERNEL(max)(size_t o, size_t r, size_t i, const void *x, size_t ldx, void *y);
void KERNEL(logsumexp)(size_t o, size_t r, size_t i, const void *x, size_t ldx, void *y);
void KERNEL(argmax)(size_t o, size_t r, size_t i, const void *x, size_t ldx, int32_t *y);
double KERNEL(sum_squares)(size_t n, const void *x);

void KERNEL(softmax)(size_t rows, size_t n, const void *x, void *y);
void KERNEL(log_softmax)(size_t rows, size_t n, const void *x, void *y);
void KERNEL(cross_entropy)(size_t rows, size_t n, const void *x, const int32_t *label,
                           const void *weight, double eps, int32_t ignore, void *y);
void KERNEL(cross_entropy_grad)(size_t rows, size_t n, const void *x, const int32_t *label,
                                const void *weight, double eps, int32_t ignore, const void *g,
                                void *dx);

void KERNEL(add)(size_t n, const void *x, void *y);
void KERNEL(fill)(size_t n, double value, void *y);
void KERNEL(copy2)(size_t rows, size_t cols, const void *x, ptrdiff_t x_r, ptrdiff_t x_c,
                   void *y, ptrdiff_t ldy);

void KERNEL(philox)(uint64_t key, uint64_t first, uint32_t plane, uint32_t *out);

ur__update_kernel KERNEL(sgd), KERNEL(momentum), KERNEL(adagrad), KERNEL(adadelta),
    KERNEL(rmsprop), KERNEL(adam);

/* Writes the whole set of this compilation. */
void KERNEL(kernel_set)(ur__kernel_set *set);

#endif
