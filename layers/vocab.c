/* Vocabularies: symbols counted, cut by frequency, numbered, looked up, written and read.
 *
 * Both a counter and a vocabulary are a list of symbols with an index beside it: open addressing
 * over a power of two of places, at most half of them taken, by the hash of the bytes (FNV-1a of
 * G. Fowler, L. Noll and K.-P. Vo). */
#include <stdlib.h>
#include <string.h>
#include "unroll/text.h"

typedef struct symbol {
    const char *text;           /* ends with a 0, may hold others */
    size_t n;
    uint64_t hash;
    int64_t count;
} symbol;

typedef struct list {
    symbol *at;
    size_t n, room;
    uint32_t *index;            /* 1 + number, 0 where free; 2 * room places */
} list;

struct ur_counter {
    ur_params *ps;
    list all;
};

struct ur_vocab_table {
    list all;
};

enum { SPECIALS = 4 };
static const char *const special_name[SPECIALS] = { "<pad>", "<unk>", "<sos>", "<eos>" };

static uint64_t hash_of(const char *text, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

/* The place of a symbol in the index, or the free one where it would be. */
static size_t place_of(const list *l, const char *text, size_t n, uint64_t hash)
{
    const size_t mask = 2 * l->room - 1;
    size_t i = hash & mask;
    for (; l->index[i]; i = (i + 1) & mask) {
        const symbol *s = &l->at[l->index[i] - 1];
        if (s->hash == hash && s->n == n && memcmp(s->text, text, n) == 0)
            break;
    }
    return i;
}

/* Makes a list with room for at least n symbols out of one with less. */
static bool widen(ur_params *ps, list *l, size_t n)
{
    size_t room = l->room ? l->room : 64;
    while (room < n)
        room *= 2;
    if (room == l->room)
        return true;
    if (room > UINT32_MAX / 2)
        return ur_fail(ps, NULL, "vocab", "more than 2^30 symbols");
    list new = { ur_params_alloc(ps, room * sizeof *new.at), l->n, room,
                 ur_params_alloc(ps, 2 * room * sizeof *new.index) };
    if (!new.at || !new.index)
        return false;
    if (l->n)
        memcpy(new.at, l->at, l->n * sizeof *new.at);
    for (size_t i = 0; i < l->n; i++)
        new.index[place_of(&new, new.at[i].text, new.at[i].n, new.at[i].hash)] = (uint32_t)i + 1;
    *l = new;
    return true;
}

/* The symbol's entry, made where there is none; NULL without memory. */
static symbol *enter(ur_params *ps, list *l, const char *text, size_t n)
{
    const uint64_t hash = hash_of(text, n);
    if (!widen(ps, l, l->n + 1))
        return NULL;
    size_t place = place_of(l, text, n, hash);
    if (!l->index[place]) {
        char *copy = ur_params_alloc(ps, n + 1);
        if (!copy)
            return NULL;
        memcpy(copy, text, n);
        l->at[l->n++] = (symbol){ copy, n, hash, 0 };
        l->index[place] = (uint32_t)l->n;
    }
    return &l->at[l->index[place] - 1];
}

static int special_of(const char *text, size_t n)
{
    for (int k = 0; k < SPECIALS; k++)
        if (n == strlen(special_name[k]) && memcmp(text, special_name[k], n) == 0)
            return k;
    return -1;
}

/* ------------------------------------------------------------------------------------- counting */

ur_counter *ur_counter_new(ur_params *ps)
{
    ur_counter *c = ps && !ur_error(ps) ? ur_params_alloc(ps, sizeof *c) : NULL;
    if (c)
        c->ps = ps;
    return c;
}

bool ur_count_symbol(ur_counter *c, const char *text, size_t n)
{
    if (!c || ur_error(c->ps))
        return false;
    if (n == 0)
        return ur_fail(c->ps, NULL, "count_symbol", "a symbol of no bytes");
    if (special_of(text, n) >= 0)
        return true;
    symbol *s = enter(c->ps, &c->all, text, n);
    if (s)
        s->count++;
    return s != NULL;
}

bool ur_count_tokens(ur_counter *c, ur_token_kind kind, const char *text, size_t n)
{
    bool ok = c && !ur_error(c->ps);
    ur_tokens it = ur_tokens_of(kind, text, n);
    for (ur_token t; ok && ur_next_token(&it, &t);)
        ok = ur_count_symbol(c, t.text, t.n);
    return ok;
}

/* --------------------------------------------------------------------------------------- making */

static int by_count(const void *p, const void *q)
{
    const symbol *a = p, *b = q;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    int order = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static int *special_field(ur_vocab *v, int k)
{
    return k == 0 ? &v->pad : k == 1 ? &v->unk : k == 2 ? &v->sos : &v->eos;
}

/* An empty vocabulary with room for n symbols. */
static ur_vocab *empty(ur_params *ps, size_t n, struct ur_vocab_table **table)
{
    ur_vocab *v = ur_params_alloc(ps, sizeof *v);
    *table = ur_params_alloc(ps, sizeof **table);
    if (!v || !*table || !widen(ps, &(*table)->all, n))
        return NULL;
    *v = (ur_vocab){ 0, -1, -1, -1, -1, *table };
    return v;
}

ur_vocab *ur_vocab_new(ur_params *ps, const ur_counter *c, int specials, int64_t least, int most)
{
    if (!ps || ur_error(ps) || !c)
        return NULL;
    int n_specials = 0;
    for (int k = 0; k < SPECIALS; k++)
        n_specials += specials >> k & 1;
    if (specials < 0 || specials >= 1 << SPECIALS || most < 0 || (most && most < n_specials)) {
        ur_fail(ps, NULL, "vocab", "specials %d, at most %d symbols: specials are a sum of "
                "UR_WITH_PAD, UR_WITH_UNK, UR_WITH_SOS, UR_WITH_EOS, and all of them must fit",
                specials, most);
        return NULL;
    }
    struct ur_vocab_table *table;
    symbol *sorted = ur_params_alloc(c->ps, c->all.n * sizeof *sorted);
    size_t n = 0;
    for (size_t i = 0; sorted && i < c->all.n; i++)
        if (c->all.at[i].count >= least)
            sorted[n++] = c->all.at[i];
    ur_vocab *v = sorted ? empty(ps, n + SPECIALS, &table) : NULL;
    if (!v) {
        ur_fail(ps, NULL, "vocab", "out of memory");
        return NULL;
    }
    qsort(sorted, n, sizeof *sorted, by_count);
    if (most && n > (size_t)(most - n_specials))
        n = (size_t)(most - n_specials);
    bool ok = true;
    for (int k = 0; k < SPECIALS; k++)
        if (specials >> k & 1) {
            *special_field(v, k) = v->size++;
            ok = ok && enter(ps, &table->all, special_name[k], strlen(special_name[k]));
        }
    for (size_t i = 0; ok && i < n; i++)
        ok = enter(ps, &table->all, sorted[i].text, sorted[i].n);
    v->size = (int)table->all.n;
    return ok ? v : NULL;
}

/* --------------------------------------------------------------------------------------- asking */

int ur_vocab_id(const ur_vocab *v, const char *text, size_t n)
{
    if (!v)
        return -1;
    const list *l = &v->table->all;
    uint32_t at = l->index[place_of(l, text, n, hash_of(text, n))];
    return at ? (int)at - 1 : v->unk;
}

ur_token ur_vocab_symbol(const ur_vocab *v, int id)
{
    if (!v || id < 0 || id >= v->size)
        return (ur_token){ NULL, 0 };
    const symbol *s = &v->table->all.at[id];
    return (ur_token){ s->text, s->n };
}

size_t ur_vocab_encode(const ur_vocab *v, ur_token_kind kind, const char *text, size_t n,
                       int32_t ids[], size_t room)
{
    size_t count = 0;
    ur_tokens it = ur_tokens_of(kind, text, n);
    for (ur_token t; ur_next_token(&it, &t); count++)
        if (count < room)
            ids[count] = ur_vocab_id(v, t.text, t.n);
    return count;
}

/* ------------------------------------------------------------------------- writing and reading */

static const char hex[] = "0123456789abcdef";

/* Writes a symbol with its newline to `to`, or nowhere where that is NULL; returns the bytes. */
static size_t write_symbol(const symbol *s, char *to)
{
    size_t n = 0;
    ur_tokens it = ur_tokens_of(UR_CHARS, s->text, s->n);
    for (ur_token t; ur_next_token(&it, &t);) {
        const unsigned char c = (unsigned char)*t.text;
        const bool plain = t.n > 1 || (c >= ' ' && c < 0x7f && c != '\\');
        if (to && plain)
            memcpy(to + n, t.text, t.n);
        else if (to)
            to[n] = '\\', to[n + 1] = hex[c >> 4], to[n + 2] = hex[c & 15];
        n += plain ? t.n : 3;
    }
    if (to)
        to[n] = '\n';
    return n + 1;
}

const char *ur_vocab_text(ur_params *ps, const ur_vocab *v)
{
    enum { HEAD = 40 };
    size_t n = HEAD;
    if (!v || !ps || ur_error(ps))
        return NULL;
    for (int i = 0; i < v->size; i++)
        n += write_symbol(&v->table->all.at[i], NULL);
    char *text = ur_params_alloc(ps, n);
    if (!text)
        return NULL;
    char *to = text + snprintf(text, HEAD, "vocabulary 1 %d\n", v->size);
    for (int i = 0; i < v->size; i++)
        to += write_symbol(&v->table->all.at[i], to);
    return text;
}

static int digit(char c)
{
    const char *at = c ? strchr(hex, c) : NULL;
    return at ? (int)(at - hex) : -1;
}

/* Undoes the escapes of the line at *from into `to`, moving on behind its newline. The number of
 * bytes, 0 for a line that is none. */
static size_t read_symbol(const char **from, char *to)
{
    const char *s = *from;
    size_t n = 0;
    for (; *s && *s != '\n'; n++) {
        int high = *s == '\\' ? digit(s[1]) : 0, low = *s == '\\' && high >= 0 ? digit(s[2]) : 0;
        if (high < 0 || low < 0)
            return 0;
        to[n] = *s == '\\' ? (char)(16 * high + low) : *s;
        s += *s == '\\' ? 3 : 1;
    }
    if (*s != '\n')
        return 0;
    *from = s + 1;
    return n;
}

/* Reads a line with the next symbol. */
static bool parse_symbol(ur_params *ps, ur_vocab *v, list *l, const char **text, char *bytes)
{
    const char *line = *text;
    size_t n = read_symbol(text, bytes);
    int shown = (int)strcspn(line, "\n");
    shown = shown < 60 ? shown : 60;
    if (n == 0)
        return ur_fail(ps, NULL, "vocab", "symbol %zu of the vocabulary, '%.*s', is none", l->n,
                       shown, line);
    size_t before = l->n;
    if (!enter(ps, l, bytes, n))
        return false;
    if (l->n == before)
        return ur_fail(ps, NULL, "vocab", "symbol %zu of the vocabulary, '%.*s', is there twice",
                       l->n, shown, line);
    int k = special_of(bytes, n);
    if (k >= 0)
        *special_field(v, k) = (int)before;
    return true;
}

ur_vocab *ur_vocab_parse(ur_params *ps, const char *text)
{
    static const char head[] = "vocabulary 1 ";
    if (!ps || ur_error(ps))
        return NULL;
    const char *s = text && strncmp(text, head, sizeof head - 1) == 0 ? text + sizeof head - 1 : "";
    size_t size = 0, digits = strspn(s, "0123456789");
    for (size_t i = 0; i < digits && i < 10; i++)
        size = 10 * size + (size_t)(s[i] - '0');
    if (digits == 0 || digits > 9 || (digits > 1 && *s == '0') || s[digits] != '\n') {
        ur_fail(ps, NULL, "vocab", "the text is no vocabulary: it does not begin with "
                "'vocabulary 1' and a size");
        return NULL;
    }
    s += digits + 1;
    struct ur_vocab_table *table;
    size_t lines = 0;
    for (const char *c = s; (c = strchr(c, '\n')); c++)
        lines++;
    if (lines != size) {
        ur_fail(ps, NULL, "vocab", "the vocabulary says that it has %zu symbols, but has %zu lines",
                size, lines);
        return NULL;
    }
    char *bytes = ur_params_alloc(ps, strlen(s) + 1);
    ur_vocab *v = bytes ? empty(ps, size, &table) : NULL;
    bool ok = v != NULL;
    while (ok && table->all.n < size)
        ok = parse_symbol(ps, v, &table->all, &s, bytes);
    if (ok && *s)
        ok = ur_fail(ps, NULL, "vocab", "the vocabulary does not end after its last symbol");
    if (ok)
        v->size = (int)size;
    return ok ? v : NULL;
}

/* Room that is enough for any text of the file's metadata: the bytes of its header, which the first
 * eight of the file tell. What is wrong with the file is the reader's to say. */
static size_t header_bytes(const char *path)
{
    unsigned char b[8] = { 0 };
    size_t n = 0;
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (f && fread(b, 1, sizeof b, f) == sizeof b)
        for (int i = 7; i >= 0; i--)
            n = n > SIZE_MAX >> 8 ? SIZE_MAX : n << 8 | b[i];
    if (f)
        fclose(f);
    return n <= 100000000 ? n + 1 : 1;
}

ur_vocab *ur_vocab_load(ur_params *ps, const char *path, const char *key)
{
    char why[400];
    if (!ps || ur_error(ps))
        return NULL;
    size_t room = header_bytes(path);
    char *text = ur_params_alloc(ps, room);
    if (!text)
        return NULL;
    if (!ur_load_metadata(path, key, text, room, why, sizeof why)) {
        ur_fail(ps, NULL, NULL, "%s", why);
        return NULL;
    }
    return ur_vocab_parse(ps, text);
}
