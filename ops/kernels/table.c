/* The table of one compilation. */
#include "ops/kernels/set.h"

void KERNEL(kernel_set)(ur__kernel_set *set)
{
    *set = (ur__kernel_set){
#define ENTRY(name, ...) [UR__MAP_##name] = KERNEL(map_##name),
        .map = { UR__MAPS(ENTRY, ENTRY, ENTRY, ENTRY, ENTRY, ENTRY) },
#undef ENTRY
        .gemm = KERNEL(gemm), .gemm_scratch = KERNEL(gemm_scratch), .thin = KERNEL(thin),
        .pack = KERNEL(pack), .packed_size = KERNEL(packed_size),
        .sum = KERNEL(sum), .max = KERNEL(max), .logsumexp = KERNEL(logsumexp),
        .argmax = KERNEL(argmax),
        .softmax = KERNEL(softmax), .log_softmax = KERNEL(log_softmax),
        .cross_entropy = KERNEL(cross_entropy), .cross_entropy_grad = KERNEL(cross_entropy_grad),
        .add = KERNEL(add), .fill = KERNEL(fill), .copy2 = KERNEL(copy2),
        .philox = KERNEL(philox),
        .sum_squares = KERNEL(sum_squares),
        .sgd = KERNEL(sgd), .momentum = KERNEL(momentum), .adagrad = KERNEL(adagrad),
        .adadelta = KERNEL(adadelta), .rmsprop = KERNEL(rmsprop), .adam = KERNEL(adam),
    };
}
