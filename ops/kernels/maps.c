/* The kernels of the elementwise table (ops/maps.h): each row's formula is compiled here on vectors
 * a, b and c. Arrays are walked by whole vectors and one partial vector at the end, which are the
 * same arithmetic, so an element's result does not depend on where in an array it stands.
 */
#include "ops/kernels/math.h"
#include "ops/kernels/normal.h"
#include "ops/kernels/set.h"
#include "ops/kernels/trig.h"

#define MAP1(name, value, ...)                                                                     \
    void KERNEL(map_##name)(size_t n, void *y_, const void *a_, const void *b_, const void *c_)    \
    {                                                                                              \
        T *y = y_;                                                                                 \
        const T *pa = a_;                                                                          \
        size_t i = 0;                                                                              \
        (void)b_;                                                                                  \
        (void)c_;                                                                                  \
        for (; i + W <= n; i += W) {                                                               \
            const V a = v_load(pa + i);                                                            \
            v_store(y + i, value);                                                                 \
        }                                                                                          \
        if (i < n) {                                                                               \
            const V a = v_load_n(pa + i, n - i);                                                   \
            v_store_n(y + i, value, n - i);                                                        \
        }                                                                                          \
    }

#define MAP2(name, value, ...)                                                                     \
    void KERNEL(map_##name)(size_t n, void *y_, const void *a_, const void *b_, const void *c_)    \
    {                                                                                              \
        T *y = y_;                                                                                 \
        const T *pa = a_, *pb = b_;                                                                \
        size_t i = 0;                                                                              \
        (void)c_;                                                                                  \
        for (; i + W <= n; i += W) {                                                               \
            const V a = v_load(pa + i), b = v_load(pb + i);                                        \
            v_store(y + i, value);                                                                 \
        }                                                                                          \
        if (i < n) {                                                                               \
            const V a = v_load_n(pa + i, n - i), b = v_load_n(pb + i, n - i);                      \
            v_store_n(y + i, value, n - i);                                                        \
        }                                                                                          \
    }

#define MAP3(name, value, ...)                                                                     \
    void KERNEL(map_##name)(size_t n, void *y_, const void *a_, const void *b_, const void *c_)    \
    {                                                                                              \
        T *y = y_;                                                                                 \
        const T *pa = a_, *pb = b_, *pc = c_;                                                      \
        size_t i = 0;                                                                              \
        for (; i + W <= n; i += W) {                                                               \
            const V a = v_load(pa + i), b = v_load(pb + i), c = v_load(pc + i);                    \
            v_store(y + i, value);                                                                 \
        }                                                                                          \
        if (i < n) {                                                                               \
            const V a = v_load_n(pa + i, n - i), b = v_load_n(pb + i, n - i);                      \
            const V c = v_load_n(pc + i, n - i);                                                   \
            v_store_n(y + i, value, n - i);                                                        \
        }                                                                                          \
    }

UR__MAPS(MAP1, MAP2, MAP3, MAP1, MAP2, MAP3)
