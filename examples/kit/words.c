/* words.c: sentences as text with spaces, and the BLEU of many. */
#include "examples/kit/corpus.h"
#include "examples/kit/score.h"

#include <stdlib.h>
#include <string.h>

/* Moves a text into a store. */
static const char *keep(ur_params *ps, kit_memory *m)
{
    char *text = kit_memory_close(m), *kept = ur_params_alloc(ps, m->n + 1);
    kit_need(ps);
    memcpy(kept, text, m->n);
    free(text);
    return kept;
}

const char *kit_words_of(ur_params *ps, const ur_vocab *v, const int32_t ids[], int n)
{
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    for (int i = 0; i < n; i++)
        fprintf(f, "%s%s", i ? " " : "", ur_vocab_symbol(v, ids[i]).text);
    return keep(ps, &m);
}

const char *kit_spaced(ur_params *ps, ur_token_kind kind, const char *text)
{
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    const char *space = "";
    ur_tokens it = ur_tokens_of(kind, text, strlen(text));
    for (ur_token t; ur_next_token(&it, &t); space = " ")
        fprintf(f, "%s%.*s", space, (int)t.n, t.text);
    return keep(ps, &m);
}

double kit_bleu_of(const kit_table *t, const int first[], int n, ur_token_kind kind,
                   const char *const made[], const char *output)
{
    ur_params *memory = ur_params_new(UR_F32, 0);
    const char **reference = ur_params_alloc(memory, (size_t)t->n * sizeof *reference);
    kit_bleu b = { 0 };
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    kit_need(memory);
    for (int k = 0; k < n; k++) {
        fprintf(f, "%s\t%s", t->rows[first[k]].left, made[k]);
        for (int i = first[k]; i < first[k + 1]; i++) {
            reference[i] = kit_spaced(memory, kind, t->rows[i].right);
            fprintf(f, "\t%s", reference[i]);
        }
        fprintf(f, "\n");
        kit_bleu_add(&b, made[k], reference + first[k], (size_t)(first[k + 1] - first[k]));
    }
    char *text = kit_memory_close(&m);
    if (output && !kit_write_aside(output, text, m.n))
        exit(2);
    free(text);
    ur_params_free(memory);
    return kit_bleu_score(&b);
}
