/* Copies: fill, add, and a matrix between two layouts. A transpose goes through squares of W x W
 * elements in registers, so that both sides are touched by whole vectors.
 */
#include "ops/kernels/set.h"
#include "ops/kernels/transpose.h"

void KERNEL(add)(size_t n, const void *x_, void *y_)
{
    const T *x = x_;
    T *y = y_;
    size_t i = 0;
    for (; i + W <= n; i += W)
        v_store(y + i, v_load(y + i) + v_load(x + i));
    if (i < n)
        v_store_n(y + i, v_load_n(y + i, n - i) + v_load_n(x + i, n - i), n - i);
}

void KERNEL(fill)(size_t n, double value, void *y_)
{
    T *y = y_;
    size_t i = 0;
    for (; i + W <= n; i += W)
        v_store(y + i, v_set((T)value));
    for (; i < n; i++)
        y[i] = (T)value;
}

/* y[r][c] = x[c][r] for W or fewer rows and columns. */
static void transpose_square(size_t rows, size_t cols, const T *x, ptrdiff_t x_c, T *y,
                             ptrdiff_t ldy)
{
    V v[W];
    for (size_t c = 0; c < W; c++) {
        const T *p = x + (ptrdiff_t)(c < cols ? c : 0) * x_c;
        v[c] = rows == W ? v_load(p) : v_load_n(p, rows);
    }
    v_transpose(v);
    for (size_t r = 0; r < rows; r++, y += ldy) {
        if (cols == W)
            v_store(y, v[r]);
        else
            v_store_n(y, v[r], cols);
    }
}

void KERNEL(copy2)(size_t rows, size_t cols, const void *x_, ptrdiff_t x_r, ptrdiff_t x_c,
                   void *y_, ptrdiff_t ldy)
{
    const T *x = x_;
    T *y = y_;
    if (x_c == 1 && x_r == (ptrdiff_t)cols && ldy == x_r) {
        if (rows && cols)
            memcpy(y, x, rows * cols * sizeof(T));
    } else if (x_c == 1 && cols > 1) {
        for (; rows > 0; rows--, x += x_r, y += ldy)
            memcpy(y, x, cols * sizeof(T));
    } else if (x_r == 1 && cols > 1) {
        for (size_t r = 0; r < rows; r += W)
            for (size_t c = 0; c < cols; c += W)
                transpose_square(rows - r < W ? rows - r : W, cols - c < W ? cols - c : W,
                                 x + r + (ptrdiff_t)c * x_c, x_c, y + (ptrdiff_t)r * ldy + c, ldy);
    } else {
        for (; rows > 0; rows--, x += x_r, y += ldy)
            for (size_t c = 0; c < cols; c++)
                y[c] = x[(ptrdiff_t)c * x_c];
    }
}
