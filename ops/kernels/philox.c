/* Many blocks of Philox4x32-10 (graph/random.c says what it is), which is the same function of its
 * arguments in every compilation. A word is kept in the lower half of a lane of 64 bits, whose
 * upper half may hold anything: that is how vectors multiply 32 bits by 32.
 */
#include "ops/kernels/set.h"

enum { ROUNDS = 10 };

enum { LANES = sizeof(U64) / sizeof(uint64_t), AT_ONCE = 2 };     /* one waits less for the other */

/* The words of LANES blocks, block by block. */
#if defined UR_SCALAR || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
static void put(U64 c0, U64 c1, U64 c2, U64 c3, uint32_t *out)
{
    const U64 c[4] = { c0, c1, c2, c3 };
    uint64_t word[LANES];
    for (int j = 0; j < 4; j++) {
        memcpy(word, &c[j], sizeof word);
        for (int i = 0; i < LANES; i++)
            out[4 * i + j] = (uint32_t)word[i];
    }
}
#else
INLINE void put(U64 c0, U64 c1, U64 c2, U64 c3, uint32_t *out)
{
    const U64 lower = (U64){ 0 } + UINT32_MAX;
    const U64 a = (c0 & lower) | c1 << 32, b = (c2 & lower) | c3 << 32;
    #if V_BYTES == 64
    const U64 first = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    const U64 second = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    #elif V_BYTES == 32
    const U64 first = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const U64 second = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    #else
    const U64 first = __builtin_shufflevector(a, b, 0, 2);
    const U64 second = __builtin_shufflevector(a, b, 1, 3);
    #endif
    memcpy(out, &first, sizeof first);
    memcpy(out + 2 * LANES, &second, sizeof second);
}
#endif

void KERNEL(philox)(uint64_t key, uint64_t first, uint32_t plane, uint32_t *out)
{
    for (int block = 0; block < UR__PHILOX_BLOCKS; block += AT_ONCE * LANES) {
        U64 c0[AT_ONCE], c1[AT_ONCE], c2[AT_ONCE], c3[AT_ONCE];
        uint64_t number[AT_ONCE * LANES];
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        for (int i = 0; i < AT_ONCE * LANES; i++)
            number[i] = first + (uint64_t)(block + i);
        UNROLL
        for (int v = 0; v < AT_ONCE; v++) {
            memcpy(&c0[v], number + v * LANES, sizeof *c0);
            c1[v] = c0[v] >> 32;
            c2[v] = c0[v] - c0[v] + plane;
            c3[v] = c0[v] - c0[v];
        }
        for (int round = 0; round < ROUNDS; round++, k0 += UR__PHILOX_W0, k1 += UR__PHILOX_W1) {
            UNROLL
            for (int v = 0; v < AT_ONCE; v++) {
                const U64 p0 = u64_product(c0[v], UR__PHILOX_M0);
                const U64 p1 = u64_product(c2[v], UR__PHILOX_M1);
                c0[v] = p1 >> 32 ^ c1[v] ^ (uint64_t)k0;
                c1[v] = p1;
                c2[v] = p0 >> 32 ^ c3[v] ^ (uint64_t)k1;
                c3[v] = p0;
            }
        }
        UNROLL
        for (int v = 0; v < AT_ONCE; v++)
            put(c0[v], c1[v], c2[v], c3[v], out + 4 * (block + v * LANES));
    }
}
