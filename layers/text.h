/* text.h: from bytes to batches of ids: tokens, vocabularies, data sets, batches.
 *
 *     ur_params *text = ur_params_new(UR_F32, 0);             // memory: what follows lives in it
 *     ur_counter *count = ur_counter_new(text);
 *     ur_count_tokens(count, UR_WORDS, bytes, n);
 *     ur_vocab *v = ur_vocab_new(ps, count, UR_WITH_PAD | UR_WITH_UNK, 2, 20000);
 *
 *     ur_dataset *d = ur_dataset_new(text);
 *     for (each line)
 *         ur_dataset_add(d, ids, ur_vocab_encode(v, UR_WORDS, line, n, ids, ROOM), NULL, 0, label);
 *     ur_batches *all = ur_batches_new(d, &(ur_batch_options){ .rows = 32, .seed = 1 });
 *     ur_batch b;
 *     for (int epoch = 0; epoch < 10; epoch++)
 *         while (ur_next_batch(all, &b)) {
 *             ur_clear(g);
 *             ur_node x = ur_embed(emb, ur_ints(g, b.x, b.T, b.B));
 *             ur_node h = ur_unroll_lengths(rnn, x, b.x_lengths, s);
 *             ...
 *
 * Memory. Every object lives in the store that it was made for, is freed with it, and is never
 * moved or freed alone. What fails (out of memory, arguments that make no sense) becomes an error
 * of that store (ur_error), and the call returns false or NULL; NULL objects are taken by every
 * function, which then does nothing. A vocabulary belongs into the store of its model; counters,
 * which are needed no longer than it takes to make one, and data into others.
 */
#ifndef UR_TEXT_H
#define UR_TEXT_H

#include "unroll/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --------------------------------------------------------------------------------------- tokens */

/* Bytes of a text that the program owns; not ended by 0. text NULL: none. */
typedef struct ur_token {
    const char *text;
    size_t n;
} ur_token;

/* What a token is. The text is UTF-8 (RFC 3629); a byte that is no part of a well-formed character
 * is a character by itself, and so is the byte 0. No locale has an influence.
 *     UR_CHARS     each character
 *     UR_SPACED    what stands between white space
 *     UR_WORDS     the same, with runs of letters and digits apart from all else, of which each
 *                  character is a token. An apostrophe (' or U+2019) between two letters or digits
 *                  belongs to the word: don't
 *     UR_ELIDED    as UR_WORDS, but such an apostrophe ends a word: l' homme
 * White space is that of ASCII and U+0085, U+00A0, U+1680, U+2000-200A, U+2028, U+2029, U+202F,
 * U+205F, U+3000. Letters are those of ASCII, ª, µ, º, and the characters from U+00C0 on without
 * × and ÷, U+2000-2BFF (punctuation, currencies, arrows, signs), U+2E00-2E7F, U+3000-303F,
 * U+FE10-FE6F, U+FF00-FF0F, and U+1F000-1FAFF (pictures). */
typedef enum ur_token_kind { UR_CHARS, UR_SPACED, UR_WORDS, UR_ELIDED } ur_token_kind;

/* Walks over the tokens of a text, without memory:
 *     ur_tokens it = ur_tokens_of(UR_WORDS, text, n);
 *     for (ur_token t; ur_next_token(&it, &t);)
 *         printf("%.*s\n", (int)t.n, t.text); */
typedef struct ur_tokens {
    ur_token_kind kind;
    const char *at, *end;
} ur_tokens;
UR_API ur_tokens ur_tokens_of(ur_token_kind kind, const char *text, size_t n);
UR_API bool ur_next_token(ur_tokens *it, ur_token *token);

/* ----------------------------------------------------------------------------------- vocabulary */

/* Symbols that stand for no text: <pad> fills up a batch, <unk> stands for what the vocabulary does
 * not have, <sos> and <eos> begin and end a sequence. */
enum { UR_WITH_PAD = 1, UR_WITH_UNK = 2, UR_WITH_SOS = 4, UR_WITH_EOS = 8 };

/* Counts symbols, which are any bytes but not none. A special symbol spelled out in a text, as
 * "<unk>" in the Penn Treebank's, is not counted. */
typedef struct ur_counter ur_counter;
UR_API ur_counter *ur_counter_new(ur_params *ps);
UR_API bool ur_count_symbol(ur_counter *c, const char *symbol, size_t n);
UR_API bool ur_count_tokens(ur_counter *c, ur_token_kind kind, const char *text, size_t n);

/* Symbols and their ids, 0 .. size-1. First the specials there are, in the order pad, unk, sos,
 * eos; then the others by count, largest first, equal ones by their bytes. Ids of absent specials
 * are -1. */
typedef struct ur_vocab {
    int size;
    int pad, unk, sos, eos;
    const struct ur_vocab_table *table;
} ur_vocab;

/* All symbols counted at least `least` times, the most frequent ones of them when there would be
 * more than `most` with the specials (0: no limit). */
UR_API ur_vocab *ur_vocab_new(ur_params *ps, const ur_counter *c, int specials, int64_t least,
                              int most);

/* The id of a symbol, in constant time. One that the vocabulary lacks has that of <unk>, or -1
 * where there is none. The specials go by their names: "<pad>" is v->pad. */
UR_API int ur_vocab_id(const ur_vocab *v, const char *symbol, size_t n);
/* The symbol of an id, which also ends with a 0; {NULL, 0} for an id out of range. */
UR_API ur_token ur_vocab_symbol(const ur_vocab *v, int id);
/* The ids of a text's tokens, of which at most `room` are written. Returns how many there are.
 * Tokens without an id are -1. */
UR_API size_t ur_vocab_encode(const ur_vocab *v, ur_token_kind kind, const char *text, size_t n,
                              int32_t ids[], size_t room);

/* A vocabulary is saved with the model as one metadata text (ur_save), which is UTF-8:
 *     first line     "vocabulary 1 <size>"
 *     a line each    the symbols in the order of ids, specials by their names, each ended by \n;
 *                    control characters, backslashes and malformed bytes as \0a, in hexadecimal
 * Returns the text, which lives in ps, or NULL. */
UR_API const char *ur_vocab_text(ur_params *ps, const ur_vocab *v);
/* And back. NULL, with an error of the store in one line, for any other text, or one with a symbol
 * twice. */
UR_API ur_vocab *ur_vocab_parse(ur_params *ps, const char *text);
/* The same from the metadata `key` of a file. */
UR_API ur_vocab *ur_vocab_load(ur_params *ps, const char *path, const char *key);

/* ----------------------------------------------------------------------------------- data sets */

/* Sequences of ids, each with a target: another sequence, a label, both or none. */
typedef struct ur_dataset ur_dataset;
UR_API ur_dataset *ur_dataset_new(ur_params *ps);
/* Adds a copy of x[n] with y[m] and a label. Lengths may be 0; y NULL is m = 0. False on error:
 * without memory, or with more than 2^31 - 1 items. */
UR_API bool ur_dataset_add(ur_dataset *d, const int32_t *x, size_t n, const int32_t *y, size_t m,
                           int32_t label);
UR_API int ur_dataset_size(const ur_dataset *d);

/* ------------------------------------------------------------------------------------- batches */

/* How a data set is cut into batches. The length of an item is that of the longer one of x and y.
 *
 *     buckets     ascending lengths, n_buckets of them. A batch holds items of one bucket alone:
 *                 the first whose length is not below the item's; the longer ones share a last one
 *     rows        items in a batch, at most; 0: no limit but `tokens`
 *     tokens      steps times rows of a batch, at most, padding included, 0: no limit but `rows`.
 *                 An item longer than that is a batch by itself. Without buckets, items are ordered
 *                 by length, and items of like length meet
 *     full        steps of a batch are the bucket's length, not that of the longest item, so that
 *                 there are few different shapes, and few plans
 *     in_order    items and batches as they were added (by bucket or length where there are such),
 *                 every epoch the same; else both are shuffled, each epoch anew
 *     seed        of the shuffling: epoch k of seed s is the same order at all times
 *     pad_x       what lies in x beyond an item's length: <pad> where there is one
 *     pad_y       the same for y: UR_IGNORE of ops.h makes losses pass over it */
typedef struct ur_batch_options {
    int rows, tokens;
    const int *buckets;
    int n_buckets;
    bool full, in_order;
    uint64_t seed;
    int32_t pad_x, pad_y;
} ur_batch_options;

/* A batch, in memory of the ur_batches that lasts until the next one. */
typedef struct ur_batch {
    int B;                      /* items */
    int T, U;                   /* steps of x and of y */
    const int32_t *x, *y;       /* [T, B] and [U, B] */
    const int *x_lengths;       /* [B] each */
    const int *y_lengths;
    const int32_t *labels;
    const int *items;           /* numbers of the items, in the order they were added */
} ur_batch;

/* The place of a program in its data: batches of `epoch` that were given out. What a program saves
 * and sets again goes on with the batch that would have come next. `seed` is that of the options
 * until it is set otherwise. */
typedef struct ur_batches_state {
    uint64_t seed;
    int64_t epoch, position;
} ur_batches_state;

typedef struct ur_batches ur_batches;
/* All memory that the batches need is taken here. The data set must not grow afterwards. NULL, with
 * an error of its store: rows and tokens both 0 or one negative, buckets not ascending or below 0,
 * `full` without buckets. */
UR_API ur_batches *ur_batches_new(ur_dataset *d, const ur_batch_options *o);
/* The next batch of the epoch; every item is in one batch of each. False at its end, and then the
 * next call begins the next epoch. False, too, always, for NULL. */
UR_API bool ur_next_batch(ur_batches *all, ur_batch *b);
/* Batches of the present epoch. */
UR_API int64_t ur_batches_count(const ur_batches *all);
UR_API ur_batches_state ur_batches_tell(const ur_batches *all);
/* False when the epoch has no such position: it is in 0 .. count. */
UR_API bool ur_batches_seek(ur_batches *all, ur_batches_state state);

/* ------------------------------------------------------------------------------------- streams */

/* n ids cut into `rows` contiguous streams of equal length, the rest dropped, that are read side by
 * side in segments of `steps`: `length` ids of a stream, `segments` of an epoch. The state that a
 * network carries from one segment to the next always belongs to the text just before. The ids stay
 * the program's. No segments where rows or steps are below 1 or the ids too few. */
typedef struct ur_streams {
    const int32_t *ids;
    size_t length, segments;
    int rows, steps;
} ur_streams;
UR_API ur_streams ur_streams_of(const int32_t *ids, size_t n, int rows, int steps);
/* Segment k < segments as x [steps, rows], and the ids that follow them, y [steps, rows]. */
UR_API void ur_streams_segment(const ur_streams *s, size_t k, int32_t *x, int32_t *y);

#ifdef __cplusplus
}
#endif

#endif
