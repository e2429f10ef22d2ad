/* The list of the built-in operations, for the gradient check, which takes its samples from it, and
 * for whoever documents them. Those of the table first, then one line a file. */
#include "ops/internal.h"

#define EACH(OP)                                                                                   \
    OP(matmul)                                                                                     \
    OP(reduce_sum) OP(reduce_max) OP(reduce_logsumexp) OP(first_max) OP(argmax)                    \
    OP(softmax) OP(log_softmax)                                                                    \
    OP(cross_entropy) OP(cross_entropy_grad) OP(label_weight)                                      \
    OP(reshape) OP(permute)                                                                        \
    OP(slice) OP(pad) OP(index) OP(unindex)                                                        \
    OP(concat) OP(stack)                                                                           \
    OP(reverse) OP(reverse_lengths)                                                                \
    OP(broadcast)                                                                                  \
    OP(gather) OP(scatter) OP(one_hot)                                                             \
    OP(cumsum)                                                                                     \
    OP(cast)                                                                                       \
    OP(bernoulli) OP(noise_uniform) OP(noise_normal)                                               \
    OP(sample)

#define ROW(name, ...) OP(name)

#define OP(name) extern const ur_op ur__op_##name;
UR__MAPS(ROW, ROW, ROW, ROW, ROW, ROW)
EACH(OP)
#undef OP

#define OP(name) &ur__op_##name,
const ur_op *const ur__ops[] = {
    UR__MAPS(ROW, ROW, ROW, ROW, ROW, ROW)
    EACH(OP)
    NULL
};
