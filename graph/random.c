/* Random numbers from a counter: Philox4x32-10 of J. Salmon, M. Moraes, R. Dror and D. Shaw,
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A round is two products of 64 bits
 *
 *     c0' = hi(M1 c2) ^ c1 ^ k0      c1' = lo(M1 c2)
 *     c2' = hi(M0 c0) ^ c3 ^ k1      c3' = lo(M0 c0)          and then k0 += W0, k1 += W1
 *
 * so that element e of a stream is a function of (key, e): no state to carry, the same numbers for
 * any partition of the work.
 *
 * The counter is { block, plane }: of the four words of a block in plane 0, word j is the upper
 * half of element 4 block + j; plane 1 holds the lower halves. A float takes the upper half alone,
 * a double both, so that a float is the double of the same stream cut to its length (a normal one:
 * to about 1e-5), and models of either precision see the same noise.
 *
 * Normal ones are made in pairs after G. Box and M. Muller, 1958: of u in (0, 1] and v in [0, 1),
 *     sqrt(-2 log u) cos(2 pi v)  and  sqrt(-2 log u) sin(2 pi v). */
#include <math.h>
#include "graph/internal.h"

enum { ROUNDS = 10, ELEMENTS = 4 * UR__PHILOX_BLOCKS };

void ur__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++, k0 += UR__PHILOX_W0, k1 += UR__PHILOX_W1) {
        uint64_t p0 = (uint64_t)UR__PHILOX_M0 * c0, p1 = (uint64_t)UR__PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Elements of a stream from one whose number is a multiple of 4, as many as fit: uniform in [0, 1),
 * multiples of 2^-53 or, without the lower halves, of 2^-32. */
static void uniform_piece(uint64_t key, uint64_t first, bool fine, double u[ELEMENTS])
{
    uint32_t upper[ELEMENTS], lower[ELEMENTS];
    const ur__kernel_set *k = &ur__kernels_get()->f32;
    k->philox(key, first / 4, 0, upper);
    if (!fine) {
        for (int i = 0; i < ELEMENTS; i++)
            u[i] = upper[i] * 0x1p-32;
        return;
    }
    k->philox(key, first / 4, 1, lower);
    for (int i = 0; i < ELEMENTS; i++)
        u[i] = (double)(((uint64_t)upper[i] << 21) | (lower[i] >> 11)) * 0x1p-53;
}

static void normal_piece(uint64_t key, uint64_t first, bool fine, double z[ELEMENTS])
{
    const double two_pi = 6.283185307179586;
    uniform_piece(key, first, fine, z);
    for (int i = 0; i < ELEMENTS; i += 2) {
        double r = sqrt(-2 * log(1 - z[i])), angle = two_pi * z[i + 1];
        z[i] = r * cos(angle);
        z[i + 1] = r * sin(angle);
    }
}

void ur__random_uniform(uint64_t key, uint64_t first, size_t n, ur_type type, void *out)
{
    double u[ELEMENTS];
    uint64_t begin = first & ~UINT64_C(3);
    for (size_t done = 0, skip = first & 3; done < n; skip = 0, begin += ELEMENTS) {
        uniform_piece(key, begin, type == UR_F64, u);
        for (size_t i = skip; i < ELEMENTS && done < n; i++, done++)
            if (type == UR_F64)
                ((double *)out)[done] = u[i];
            else    /* 24 bits, cut: rounding could give 1 */
                ((float *)out)[done] = (float)((uint32_t)(u[i] * 0x1p24) * 0x1p-24);
    }
}

void ur__random_normal(uint64_t key, uint64_t first, size_t n, ur_type type, void *out)
{
    double z[ELEMENTS];
    uint64_t begin = first & ~UINT64_C(3);
    for (size_t done = 0, skip = first & 3; done < n; skip = 0, begin += ELEMENTS) {
        normal_piece(key, begin, type == UR_F64, z);
        for (size_t i = skip; i < ELEMENTS && done < n; i++, done++)
            if (type == UR_F64)
                ((double *)out)[done] = z[i];
            else
                ((float *)out)[done] = (float)z[i];
    }
}

/* The multiplier keeps (h, word) and (word, h) apart; what follows is the finaliser of splitmix64
 * (G. Steele, D. Lea and C. Flood, OOPSLA 2014), a bijection in which every bit of the input
 * changes half of the output's. */
uint64_t ur__mix(uint64_t h, uint64_t word)
{
    uint64_t z = h * UINT64_C(0x9E3779B97F4A7C15) + word + 1;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* FNV-1a (G. Fowler, L. Noll and K.-P. Vo), mixed, since its upper bits are weak on short texts. */
uint64_t ur__hash_text(const char *text)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001B3);
    return ur__mix(h, 0);
}
