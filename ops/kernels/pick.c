/* Which instruction set to use: the best one that was built (UR_HAVE_... of the build) and that
 * this machine runs, or the one that the environment variable UR_ISA names. Decided once.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "ops/kernels/kernels.h"

#define DECLARE(isa)                                                                               \
    void ur__kernel_set_f32_##isa(ur__kernel_set *set);                                            \
    void ur__kernel_set_f64_##isa(ur__kernel_set *set);

DECLARE(baseline)

static bool always(void)
{
    return true;
}

#ifdef UR_HAVE_AVX2
DECLARE(avx2)

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#ifdef UR_HAVE_AVX512
DECLARE(avx512)

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#define CHOICE(isa, runs) { #isa, runs, ur__kernel_set_f32_##isa, ur__kernel_set_f64_##isa }

static const struct {
    const char *name;
    bool (*runs)(void);
    void (*f32)(ur__kernel_set *set);
    void (*f64)(ur__kernel_set *set);
} choices[] = {                         /* best first */
#ifdef UR_HAVE_AVX512
    CHOICE(avx512, has_avx512),
#endif
#ifdef UR_HAVE_AVX2
    CHOICE(avx2, has_avx2),
#endif
    CHOICE(baseline, always),
};

static ur__kernels picked;
static char names[64];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void pick(void)
{
    const char *wish = getenv("UR_ISA");
    const size_t count = sizeof choices / sizeof choices[0];
    size_t best = count, wished = count;
    for (size_t i = 0; i < count; i++) {
        if (!choices[i].runs())
            continue;
        if (best == count)
            best = i;
        else
            strcat(names, " ");
        strcat(names, choices[i].name);
        if (wish && strcmp(wish, choices[i].name) == 0)
            wished = i;
    }
    if (wished < count)
        best = wished;
    picked.isa = choices[best].name;
    choices[best].f32(&picked.f32);
    choices[best].f64(&picked.f64);
}

const ur__kernels *ur__kernels_get(void)
{
    pthread_once(&once, pick);
    return &picked;
}

const char *ur__isa_list(void)
{
    pthread_once(&once, pick);
    return names;
}
