/* tagged.c: sentences whose words have labels, from a table with gaps. */
#include "examples/kit/run.h"

#include <stdlib.h>
#include <string.h>

ur_dataset *kit_tagged(ur_params *ps, const kit_table *t, const ur_vocab *words,
                       const ur_vocab *tags)
{
    ur_dataset *set = ur_dataset_new(ps);
    int32_t *x = kit_zeros((size_t)t->n, sizeof *x), *y = kit_zeros((size_t)t->n, sizeof *y);
    size_t n = 0;
    for (const kit_row *r = t->rows; r < t->rows + t->n; r++) {
        if (r->left) {
            x[n] = ur_vocab_id(words, r->left, strlen(r->left));
            y[n] = ur_vocab_id(tags, r->right, strlen(r->right));
            if (y[n++] < 0)
                kit_die("the label '%s' of '%s' does not occur in the training data", r->right,
                        r->left);
        } else if (n > 0) {
            ur_dataset_add(set, x, n, y, n, 0);
            n = 0;
        }
    }
    kit_need(ps);
    free(x);
    free(y);
    return set;
}
