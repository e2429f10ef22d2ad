/* corpus.c: tables of sentences as ids. */
#include "examples/kit/corpus.h"

#include <stdlib.h>
#include <string.h>

ur_vocab *kit_vocab(ur_params *ps, const kit_table *t, kit_column column, ur_token_kind kind,
                    int specials, int64_t least)
{
    ur_params *counts = ur_params_new(UR_F32, 0);
    ur_counter *counter = ur_counter_new(counts);
    for (int i = 0; i < t->n; i++) {
        const char *text = column == KIT_LEFT ? t->rows[i].left : t->rows[i].right;
        if (text)
            ur_count_tokens(counter, kind, text, strlen(text));
    }
    kit_need(counts);
    ur_vocab *v = ur_vocab_new(ps, counter, specials, least, 0);
    ur_params_free(counts);
    kit_need(ps);
    return v;
}

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

ur_dataset *kit_parallel(ur_params *ps, const kit_row rows[], int n, kit_language left,
                         kit_language right)
{
    ur_dataset *set = ur_dataset_new(ps);
    int32_t *x = NULL, *y = NULL;
    size_t room = 0;
    for (int i = 0; i < n; i++) {
        const kit_row *r = &rows[i];
        size_t bytes = strlen(r->left), others = r->right ? strlen(r->right) : 0, k = 0;
        if (bytes + others + 2 > room) {    /* there are no more tokens than bytes */
            room = 2 * (bytes + others + 2);
            free(x), free(y);
            x = kit_zeros(room, sizeof *x), y = kit_zeros(room, sizeof *y);
        }
        size_t words = ur_vocab_encode(left.vocab, left.kind, r->left, bytes, x, room);
        if (words == 0)
            kit_die("a sentence has no words: '%.40s'", r->left);
        if (r->right) {
            y[0] = right.vocab->sos;
            k = 1 + ur_vocab_encode(right.vocab, right.kind, r->right, others, y + 1, room - 2);
            y[k++] = right.vocab->eos;
        }
        ur_dataset_add(set, x, words, y, k, 0);
    }
    kit_need(ps);
    free(x), free(y);
    return set;
}
