/* score.h: how good sequences are that a program made: BLEU of translations, edit distance. Both
 * leave the program by kit_die when memory runs out. */
#ifndef UNROLL_EXAMPLES_SCORE_H
#define UNROLL_EXAMPLES_SCORE_H

#include <stddef.h>
#include <stdint.h>

/* Corpus BLEU with n-grams up to 4, as sacrebleu computes it with --tokenize none --force: words
 * are what stands between white space; matches of an n-gram are clipped by the most that one
 * reference has; a precision without matches is smoothed (mteval: 1/2, 1/4, ... of a match); of the
 * references the one of nearest length counts for the brevity penalty, the shorter one of two.
 * Starts from zeros. */
enum { KIT_BLEU = 4 };
typedef struct {
    int64_t match[KIT_BLEU], total[KIT_BLEU];   /* of n-grams, n = 1 .. 4 */
    int64_t words, reference_words;
} kit_bleu;
void kit_bleu_add(kit_bleu *b, const char *text, const char *const references[], size_t n);
/* From 0 to 100. */
double kit_bleu_score(const kit_bleu *b);

/* The least number of insertions, deletions and replacements that make b of a. Letter error rate:
 * the sum of distances over the sum of true lengths. */
size_t kit_edit_distance(const int32_t *a, size_t n, const int32_t *b, size_t m);

#endif
