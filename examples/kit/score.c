/* score.c: BLEU and edit distance.
 *
 *     BLEU = 100 bp (p1 p2 p3 p4)^(1/4)      p_n = matches / n-grams
 *     bp = exp(1 - r / c) where the c words made are fewer than the r of the references, else 1
 *
 * K. Papineni et al., "BLEU: a method for automatic evaluation of machine translation", ACL 2002;
 * as in M. Post, "A call for clarity in reporting BLEU scores", WMT 2018 (sacrebleu).
 *
 *     d(i,j) = min(d(i-1,j) + 1, d(i,j-1) + 1, d(i-1,j-1) + [a_i != b_j])
 *
 * V. Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals", Soviet
 * Physics Doklady 10 (1966). */
#include "examples/kit/score.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "examples/kit/kit.h"
#include "unroll/text.h"

typedef struct {
    ur_token *word;
    size_t n;
} sentence;

static sentence words_of(const char *text)
{
    const size_t bytes = strlen(text);
    sentence s = { malloc((bytes / 2 + 1) * sizeof *s.word), 0 };
    if (!s.word)
        kit_die("out of memory");
    ur_tokens it = ur_tokens_of(UR_SPACED, text, bytes);
    while (ur_next_token(&it, &s.word[s.n]))
        s.n++;
    return s;
}

/* Whether the n words at a and b are the same. */
static bool same(const ur_token *a, const ur_token *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].n != b[i].n || memcmp(a[i].text, b[i].text, a[i].n) != 0)
            return false;
    return true;
}

/* How often an n-gram occurs among the first `end` words. */
static int64_t count(const sentence *s, size_t end, const ur_token *gram, size_t n)
{
    int64_t times = 0;
    for (size_t i = 0; i + n <= end; i++)
        times += same(s->word + i, gram, n);
    return times;
}

/* The occurrences of s's n-grams that a reference has as well. An occurrence matches when fewer
 * came before it than some reference has. */
static int64_t matches(const sentence *s, const sentence *references, size_t n_references, size_t n)
{
    int64_t sum = 0;
    for (size_t i = 0; i + n <= s->n; i++) {
        const int64_t before = count(s, i + n - 1, s->word + i, n);
        bool found = false;
        for (size_t k = 0; k < n_references && !found; k++)
            found = count(&references[k], references[k].n, s->word + i, n) > before;
        sum += found;
    }
    return sum;
}

static size_t distance(size_t a, size_t b)
{
    return a > b ? a - b : b - a;
}

void kit_bleu_add(kit_bleu *b, const char *text, const char *const references[], size_t n)
{
    sentence s = words_of(text), *reference = malloc((n + 1) * sizeof *reference);
    size_t nearest = 0;
    if (!reference)
        kit_die("out of memory");
    for (size_t k = 0; k < n; k++) {
        reference[k] = words_of(references[k]);
        const size_t length = reference[k].n, off = distance(length, s.n);
        const size_t least = distance(nearest, s.n);
        if (k == 0 || off < least || (off == least && length < nearest))
            nearest = length;
    }
    b->words += (int64_t)s.n;
    b->reference_words += (int64_t)nearest;
    for (size_t g = 1; g <= KIT_BLEU; g++) {
        b->match[g - 1] += matches(&s, reference, n, g);
        b->total[g - 1] += s.n >= g ? (int64_t)(s.n - g + 1) : 0;
    }
    for (size_t k = 0; k < n; k++)
        free(reference[k].word);
    free(reference);
    free(s.word);
}

double kit_bleu_score(const kit_bleu *b)
{
    const double c = (double)b->words, r = (double)b->reference_words;
    double log_sum = 0, smooth = 1;
    if (b->match[0] == 0)       /* then there is no match of any length */
        return 0;
    for (int g = 0; g < KIT_BLEU; g++) {
        if (b->total[g] == 0)
            return 0;
        smooth *= b->match[g] ? 1 : 0.5;
        log_sum += log((b->match[g] ? (double)b->match[g] : smooth) / (double)b->total[g]);
    }
    return 100 * (c < r ? exp(1 - r / c) : 1) * exp(log_sum / KIT_BLEU);
}

size_t kit_edit_distance(const int32_t *a, size_t n, const int32_t *b, size_t m)
{
    size_t *row = malloc((m + 1) * sizeof *row);
    if (!row)
        kit_die("out of memory");
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t above = row[j];
            size_t least = diagonal + (a[i - 1] != b[j - 1]);
            least = above + 1 < least ? above + 1 : least;
            least = row[j - 1] + 1 < least ? row[j - 1] + 1 : least;
            row[j] = least;
            diagonal = above;
        }
    }
    const size_t result = row[m];
    free(row);
    return result;
}
