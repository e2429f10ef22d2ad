/* random.c: numbers for synthetic tasks and the order of examples. SplitMix64 (G. Steele, D. Lea,
 * C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). */
#include "examples/kit/kit.h"

#include <math.h>

uint64_t kit_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double kit_uniform(uint64_t *state)
{
    return (double)(kit_random(state) >> 11) * 0x1p-53;
}

double kit_normal(uint64_t *state)
{
    double radius = sqrt(-2 * log(1 - kit_uniform(state)));
    return radius * cos(6.283185307179586 * kit_uniform(state));
}

int kit_below(uint64_t *state, int n)
{
    return (int)(kit_uniform(state) * n);
}

void kit_order(int order[], int n, uint64_t seed, int64_t epoch)
{
    uint64_t state = seed, random = kit_random(&state) + (uint64_t)epoch;
    for (int i = 0; i < n; i++) {
        int k = kit_below(&random, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
}
