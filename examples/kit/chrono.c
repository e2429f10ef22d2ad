/* chrono.c: biases of gates for a memory of up to T steps. A forget gate of bias ln(n - 1) lets a
 * memory decay over n steps; units get n uniform in [2, T]. The input gate of an lstm gets the
 * opposite bias, so that what flows in is what flows out; so does z of a gru, which is both.
 * C. Tallec and Y. Ollivier, "Can recurrent neural networks warp time?", ICLR 2018. */
#include "examples/kit/run.h"

#include <math.h>

/* W[k] = value, where there is such a parameter. */
static void put(ur_node W, int k, double value)
{
    void *values = ur_is_nil(W) ? NULL : ur_param_values(W);
    if (values && ur_type_of(W) == UR_F64)
        ((double *)values)[k] = value;
    else if (values)
        ((float *)values)[k] = (float)value;
}

void kit_chrono(ur_params *ps, const ur_cell *cell, int T, uint64_t seed)
{
    ur_node bf = ur_find(ps, ur_namef(ps, "%s.bf", cell->name));
    ur_node bi = ur_find(ps, ur_namef(ps, "%s.bi", cell->name));
    ur_node bz = ur_find(ps, ur_namef(ps, "%s.bz", cell->name));
    kit_need(ps);
    for (int k = 0; k < cell->outputs; k++) {
        double bias = log(1 + (T - 2) * kit_uniform(&seed));
        put(bf, k, bias), put(bi, k, -bias), put(bz, k, -bias);
    }
    ur_params_changed(ps);
    kit_need(ps);
}
