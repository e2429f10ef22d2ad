/* fit.c: least squares by the normal equations, solved by Gaussian elimination with pivots. */
#include "examples/kit/kit.h"

#include <math.h>
#include <stdlib.h>

/* Solves A w = b for A [n][n+1], whose last column is b; a column without pivot gets 0. */
static void solve(double *A, int n, double w[])
{
    int row = n + 1;
    for (int i = 0; i < n; i++) {
        int p = i;
        for (int r = i + 1; r < n; r++)
            p = fabs(A[r * row + i]) > fabs(A[p * row + i]) ? r : p;
        for (int j = 0; j <= n; j++) {
            double a = A[i * row + j];
            A[i * row + j] = A[p * row + j], A[p * row + j] = a;
        }
        for (int r = 0; r < n; r++) {
            double pivot = A[i * row + i];
            double factor = r == i || pivot == 0 ? 0 : A[r * row + i] / pivot;
            for (int j = i; j <= n; j++)
                A[r * row + j] -= factor * A[i * row + j];
        }
    }
    for (int i = 0; i < n; i++)
        w[i] = A[i * row + i] != 0 ? A[i * row + n] / A[i * row + i] : 0;
}

void kit_autoregression(const double x[], int n, int lags, double w[])
{
    int terms = lags + 1, row = terms + 1;
    double *A = kit_zeros((size_t)(terms * row), sizeof *A);
    double *a = kit_zeros((size_t)row, sizeof *a);
    for (int t = lags; t < n; t++) {
        a[0] = 1;
        for (int k = 1; k <= lags; k++)
            a[k] = x[t - k];
        a[terms] = x[t];
        for (int i = 0; i < terms; i++)
            for (int j = 0; j <= terms; j++)
                A[i * row + j] += a[i] * a[j];
    }
    solve(A, terms, w);
    free(A);
    free(a);
}
