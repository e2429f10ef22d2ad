/* corpus.h: for programs that learn from sentences: files of two columns, vocabularies and data
 * sets made of them, made-up languages for programs without a file, and what models make of it all
 * as text again. Functions leave the program by kit_die when something fails. */
#ifndef UNROLL_EXAMPLES_CORPUS_H
#define UNROLL_EXAMPLES_CORPUS_H

#include "examples/kit/run.h"

/* ---- Tables (table.c) --------------------------------------------------------------------- */

/* A text of two columns: in each line a left text, a tab, and a right text. */
typedef struct {
    const char *left, *right;       /* both NULL: an empty line */
} kit_row;
typedef struct {
    kit_row *rows;
    int n, filled;                  /* rows; those that are not empty */
    char *text;                     /* that they point into */
    char print[64];                 /* kit_print_of the text */
} kit_table;

/* Reads folder/name, or, where folder is NULL, `made_up`, which then belongs to the table. With
 * `gaps` lines may be empty, and the last row is; without, none is. Dies where a line is not so,
 * or nothing is there: `wanted` says what a line has to be. Starts from zeros. */
void kit_read_table(kit_table *t, const char *folder, const char *name, char *made_up, bool gaps,
                    const char *wanted);
void kit_table_free(kit_table *t);

/* Orders a table without gaps by its left texts, those with the same one as they were. Group k of
 * *n has the rows from first[k] up to first[k + 1], which is what is returned, to be freed. */
int *kit_group_rows(kit_table *t, int *n);

/* ---- Vocabularies and data sets (corpus.c) ------------------------------------------------ */

/* The tokens of a table's left or right column; else as ur_vocab_new. */
typedef enum { KIT_LEFT, KIT_RIGHT } kit_column;
ur_vocab *kit_vocab(ur_params *ps, const kit_table *t, kit_column column, ur_token_kind kind,
                    int specials, int64_t least);

/* Sentences whose words have labels, of a table with gaps: x has the ids of words, y those of their
 * labels. Dies where a label has none. */
ur_dataset *kit_tagged(ur_params *ps, const kit_table *t, const ur_vocab *words,
                       const ur_vocab *tags);

/* Pairs of sentences: x has the tokens of the left one, y <sos>, those of the right one, and <eos>;
 * where there is no right one, y is empty. Dies where a left one has no tokens. */
typedef struct {
    const ur_vocab *vocab;
    ur_token_kind kind;
} kit_language;
ur_dataset *kit_parallel(ur_params *ps, const kit_row rows[], int n, kit_language left,
                         kit_language right);

/* ---- Words (words.c) ---------------------------------------------------------------------- */

/* Symbols, or the tokens of a text, with spaces in between; in memory of the store. */
const char *kit_words_of(ur_params *ps, const ur_vocab *v, const int32_t ids[], int n);
const char *kit_spaced(ur_params *ps, ur_token_kind kind, const char *text);

/* The BLEU (score.h) of translations made[n] of the left texts of a table, grouped as
 * kit_group_rows says, against all right texts that each has. They are cut into tokens first, as
 * what was made is. Where `output` is not NULL, writes a line for each there: source, translation
 * and references, with tabs in between. */
double kit_bleu_of(const kit_table *t, const int first[], int n, ur_token_kind kind,
                   const char *const made[], const char *output);

/* ---- Models of language (stream.c) -------------------------------------------------------- */

/* The mean loss of a language model over ids[0 .. n), n >= 2, read as one stream from states of
 * zero, with `states` for one row. It is a function of ids [k,1], k <= piece. False at Ctrl-C. */
bool kit_stream_loss(ur_graph *g, ur_params *states, ur_step_logits *logits, void *model,
                     const int32_t *ids, size_t n, int piece, double *mean);

/* ---- Made-up languages (languages.c) ------------------------------------------------------
 * n lines, or sentences, drawn by the seed; to be freed. */

/* "the old cat near the birds sees a dog .": the verb agrees with its subject across what comes in
 * between. */
char *kit_made_up_sentences(int n, uint64_t seed);
/* Praise (label 1) or blame, which now and then a "not" turns into each other. */
char *kit_made_up_opinions(int label, int n, uint64_t seed);
/* A table of words and their tags, which endings tell. */
char *kit_made_up_tags(int n, uint64_t seed);
/* A table of English and French sentences: the French adjective agrees with its noun and comes
 * after it, the verb agrees with its subject. */
char *kit_made_up_pairs(int n, uint64_t seed);

#endif
