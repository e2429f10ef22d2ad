/* cell.c: the cells that programs let their user choose, by the names of their options. */
#include "examples/kit/run.h"

#include <string.h>

ur_cell *kit_cell(ur_params *ps, const char *kind, const char *name, int I, int H)
{
    static const struct {
        const char *kind;
        ur_cell *(*make)(ur_params *ps, const char *name, int I, int H);
    } table[] = {
        { "elman", ur_elman }, { "irnn", ur_irnn }, { "lstm", ur_lstm }, { "gru", ur_gru },
        { "gru_reset_after", ur_gru_reset_after },
    };
    for (size_t k = 0; k < sizeof table / sizeof *table; k++)
        if (strcmp(table[k].kind, kind) == 0)
            return table[k].make(ps, name, I, H);
    kit_die("there is no cell '%s'", kind);
}
