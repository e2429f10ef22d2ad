/* saved.c: what a saved run says of itself: pairs of texts, most of them options and their values.
 *
 * A number is written with as many digits as it takes to read the same number again: 17 for a
 * double (David W. Matula, "In-and-out conversions", CACM 11, 1968). */
#include "examples/kit/kit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static char *copied(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        kit_die("out of memory");
    return copy;
}

void kit_pairs_set(kit_pairs *p, const char *key, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char **larger = realloc(p->text, (2 * (size_t)p->n + 2) * sizeof *larger);
    char *value = malloc((size_t)n + 1);
    if (!larger || !value)
        kit_die("out of memory");
    vsnprintf(value, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    p->text = larger;
    p->text[2 * p->n] = copied(key);
    p->text[2 * p->n + 1] = value;
    p->n++;
}

void kit_pairs_options(kit_pairs *p, const kit_option *options, size_t n)
{
    char number[64];
    for (size_t i = 0; i < n; i++) {
        const kit_option *o = &options[i];
        if (o->keeping == KIT_UNSAVED)
            continue;
        switch (o->kind) {
        case KIT_INT: kit_pairs_set(p, o->name, "%d", *(int *)o->variable); break;
        case KIT_INT64: kit_pairs_set(p, o->name, "%" PRId64, *(int64_t *)o->variable); break;
        case KIT_UINT64: kit_pairs_set(p, o->name, "%" PRIu64, *(uint64_t *)o->variable); break;
        case KIT_DOUBLE:
            kit_pairs_set(p, o->name, "%s", kit_number(number, "%.17g", *(double *)o->variable));
            break;
        case KIT_TEXT:
            if (*(const char **)o->variable)
                kit_pairs_set(p, o->name, "%s", *(const char **)o->variable);
            break;
        case KIT_FLAG: kit_pairs_set(p, o->name, "%d", *(bool *)o->variable); break;
        }
    }
}

void kit_pairs_free(kit_pairs *p)
{
    for (int i = 0; i < 2 * p->n; i++)
        free(p->text[i]);
    free(p->text);
    *p = (kit_pairs){ 0 };
}

/* Whether the option's variable already has the value that `text` spells. */
static bool has_value(const kit_option *o, const char *text)
{
    kit_pairs now = { 0 };
    kit_pairs_options(&now, o, 1);
    double a = 0, b = 1;
    bool same = now.n == 1 && strcmp(now.text[1], text) == 0;
    same = same || (o->kind == KIT_DOUBLE && kit_parse(now.text[1], &a) && kit_parse(text, &b)
                    && a == b);
    kit_pairs_free(&now);
    return same;
}

/* Text that an option points to as long as the program runs, as the command line's does. */
static const char *lasting(const char *text)
{
    static struct kept { struct kept *next; char text[]; } *all;
    struct kept *k = malloc(sizeof *k + strlen(text) + 1);
    if (!k)
        kit_die("out of memory");
    strcpy(k->text, text);
    k->next = all;
    all = k;
    return k->text;
}

void kit_restore(const kit_option *o, const char *text, const char *path)
{
    if (!o->given)
        kit_option_set(o, o->kind == KIT_TEXT ? lasting(text) : text, path);
    else if (o->keeping >= KIT_FIXED && !has_value(o, text))
        kit_die("--%s cannot change: '%s' was trained with --%s %s", o->name, path, o->name, text);
}

void kit_curve_add(kit_curve *c, double x, double y)
{
    if (c->n == c->room) {
        c->room = c->room ? 2 * c->room : 64;
        c->x = realloc(c->x, c->room * sizeof *c->x);
        c->y = realloc(c->y, c->room * sizeof *c->y);
        if (!c->x || !c->y)
            kit_die("out of memory");
    }
    c->x[c->n] = x;
    c->y[c->n++] = y;
}
