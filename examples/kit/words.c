/* words.c: sentences as ids and as text with spaces, and the BLEU of many. */
#include "examples/kit/corpus.h"
#include "examples/kit/score.h"

#include <stdlib.h>
#include <string.h>

char *kit_words_of(const ur_vocab *v, const int32_t ids[], int n)
{
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    for (int i = 0; i < n; i++)
        fprintf(f, "%s%s", i ? " " : "", ur_vocab_symbol(v, ids[i]).text);
    return kit_memory_close(&m);
}

char *kit_spaced(ur_token_kind kind, const char *text)
{
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    const char *space = "";
    ur_tokens it = ur_tokens_of(kind, text, strlen(text));
    for (ur_token t; ur_next_token(&it, &t); space = " ")
        fprintf(f, "%s%.*s", space, (int)t.n, t.text);
    return kit_memory_close(&m);
}

/* Adds group k to the score, and writes its line. */
static void add_group(kit_bleu *b, const kit_row *rows, int n, ur_token_kind kind, const char *made,
                      FILE *f)
{
    char **reference = kit_zeros((size_t)n, sizeof *reference);
    fprintf(f, "%s\t%s", rows[0].left, made);
    for (int i = 0; i < n; i++) {
        reference[i] = kit_spaced(kind, rows[i].right);
        fprintf(f, "\t%s", reference[i]);
    }
    fprintf(f, "\n");
    kit_bleu_add(b, made, (const char *const *)reference, (size_t)n);
    for (int i = 0; i < n; i++)
        free(reference[i]);
    free(reference);
}

double kit_bleu_of(const kit_table *t, const int first[], int n, ur_token_kind kind,
                   char *const made[], const char *output)
{
    kit_bleu b = { 0 };
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    for (int k = 0; k < n; k++)
        add_group(&b, t->rows + first[k], first[k + 1] - first[k], kind, made[k], f);
    char *text = kit_memory_close(&m);
    if (output && !kit_write_aside(output, text, m.n))
        exit(2);
    free(text);
    return kit_bleu_score(&b);
}
