/* args.c: the command line, read by a table of options, and --help, printed from the same table.
 *
 * A misspelt name is answered with the nearest one by edit distance: the least number of characters
 * inserted, removed or replaced (V. I. Levenshtein, Soviet Physics Doklady 10, 1966, 707-710),
 * computed row by row (R. A. Wagner, M. J. Fischer, Journal of the ACM 21, 1974, 168-173). */
#include "examples/kit/kit.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const kit_usage *in_use;

/* ---- Intervals ---- */

typedef struct { double lo, hi; bool lo_open, hi_open; } interval;

/* Reads "[a,b]" with '(' or ')' for an open end; a fault in it is the program's own. */
static interval interval_of(const kit_option *o)
{
    interval r = { -INFINITY, INFINITY, true, true };
    const char *s = o->allowed, *comma = s ? strchr(s, ',') : NULL;
    size_t n = s ? strlen(s) : 0;
    if (!s)
        return r;
    bool ok = comma && n < 60 && strchr("[(", s[0]) && strchr("])", s[n - 1]);
    char lo[64] = "", hi[64] = "";
    if (ok) {
        memcpy(lo, s + 1, (size_t)(comma - s) - 1);
        memcpy(hi, comma + 1, (size_t)(s + n - comma) - 2);
        r.lo_open = s[0] == '(', r.hi_open = s[n - 1] == ')';
        ok = (strcmp(lo, "-inf") == 0 || kit_parse(lo, &r.lo))
             && (strcmp(hi, "inf") == 0 || kit_parse(hi, &r.hi)) && r.lo < r.hi;
    }
    if (!ok)
        kit_die("--%s: this program states the malformed interval '%s'", o->name, s);
    return r;
}

/* "from 1 to 64", "above 0", "at least 0 and below 1", or "" for an interval without ends. */
static const char *describe(char out[static 200], interval r)
{
    char lo[64], hi[64];
    kit_number(lo, "%.15g", r.lo);
    kit_number(hi, "%.15g", r.hi);
    bool has_lo = isfinite(r.lo), has_hi = isfinite(r.hi);
    if (has_lo && has_hi && !r.lo_open && !r.hi_open)
        snprintf(out, 200, "from %s to %s", lo, hi);
    else
        snprintf(out, 200, "%s%s%s%s%s", has_lo ? (r.lo_open ? "above " : "at least ") : "",
                 has_lo ? lo : "", has_lo && has_hi ? " and " : "",
                 has_hi ? (r.hi_open ? "below " : "at most ") : "", has_hi ? hi : "");
    return out;
}

/* ---- Values ---- */

static const char *from_file; /* where the text stood that is no argument, or NULL */

/* How messages call an option: "--lr", or "'m.safetensors': lr" of a value that a file holds. */
static const char *label(const kit_option *o)
{
    static char text[512];
    snprintf(text, sizeof text, from_file ? "'%.400s': %s" : "%s--%s",
             from_file ? from_file : "", o->name);
    return text;
}

static void check_interval(const kit_option *o, const char *text, double value)
{
    char words[200];
    interval r = interval_of(o);
    if (value < r.lo || value > r.hi || (r.lo_open && value == r.lo && isfinite(r.lo))
        || (r.hi_open && value == r.hi && isfinite(r.hi)))
        kit_die("%s: %s must be %s", label(o), text, describe(words, r));
}

static void set_double(const kit_option *o, const char *text)
{
    double value;
    if (!kit_parse(text, &value))
        kit_die("%s: '%s' is not a number", label(o), text);
    check_interval(o, text, value);
    if (!isfinite(value))
        kit_die("%s: %s is beyond the largest number", label(o), text);
    *(double *)o->variable = value;
}

static void set_whole(const kit_option *o, const char *text)
{
    double rough = 0;
    const char *digits = text + (*text == '-' || *text == '+');
    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        kit_die("%s: '%s' is not a whole number", label(o), text);
    if (!kit_parse(text, &rough))
        rough = *text == '-' ? -INFINITY : INFINITY; /* hundreds of digits */
    check_interval(o, text, rough);
    errno = 0;
    if (o->kind == KIT_UINT64) {
        uintmax_t value = strtoumax(digits, NULL, 10);
        if (*text == '-' && value > 0)
            kit_die("%s: %s must be at least 0", label(o), text);
        if (errno == ERANGE || value > UINT64_MAX)
            kit_die("%s: %s must be at most %" PRIu64, label(o), text, UINT64_MAX);
        *(uint64_t *)o->variable = value;
        return;
    }
    int64_t lo = o->kind == KIT_INT ? INT_MIN : INT64_MIN;
    int64_t hi = o->kind == KIT_INT ? INT_MAX : INT64_MAX;
    intmax_t value = strtoimax(text, NULL, 10); /* the nearest end where it overflows */
    if (value < lo || (errno == ERANGE && value < 0))
        kit_die("%s: %s must be at least %" PRId64, label(o), text, lo);
    if (value > hi || (errno == ERANGE && value > 0))
        kit_die("%s: %s must be at most %" PRId64, label(o), text, hi);
    if (o->kind == KIT_INT)
        *(int *)o->variable = (int)value;
    else
        *(int64_t *)o->variable = value;
}

/* Copies the list "a|b|c" with ", " between the words, as it is shown. */
static const char *list_words(char *out, size_t size, const char *words)
{
    size_t n = 0;
    for (; *words && n + 3 < size; words++) {
        out[n++] = *words == '|' ? ',' : *words;
        if (*words == '|')
            out[n++] = ' ';
    }
    out[n] = 0;
    return out;
}

static void set_text(const kit_option *o, const char *text)
{
    char list[512];
    size_t n = strlen(text);
    bool ok = !o->allowed;
    for (const char *w = o->allowed; w && !ok; w = strchr(w, '|') ? strchr(w, '|') + 1 : NULL)
        ok = n > 0 && strncmp(w, text, n) == 0 && (w[n] == '|' || w[n] == 0);
    if (!ok)
        kit_die("%s: '%s' is not one of %s", label(o), text,
                list_words(list, sizeof list, o->allowed));
    *(const char **)o->variable = text;
}

void kit_option_set(const kit_option *o, const char *text, const char *from)
{
    from_file = from;
    switch (o->kind) {
    case KIT_INT:
    case KIT_INT64:
    case KIT_UINT64: set_whole(o, text); break;
    case KIT_DOUBLE: set_double(o, text); break;
    case KIT_TEXT: set_text(o, text); break;
    case KIT_FLAG: *(bool *)o->variable = strcmp(text, "0") != 0; break;
    }
}

static void set_value(kit_option *o, const char *text)
{
    kit_option_set(o, text, NULL);
    o->given = true;
}

/* ---- Names ---- */

enum { NAME = 64 };

static int edit_distance(const char *a, const char *b)
{
    int row[NAME];
    int na = (int)strlen(a), nb = (int)strlen(b);
    if (na >= NAME || nb >= NAME)
        return NAME;
    for (int j = 0; j <= nb; j++)
        row[j] = j;
    for (int i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[nb];
}

static _Noreturn void unknown_option(const kit_usage *u, const char *arg)
{
    const char *start = arg + strspn(arg, "-"), *nearest = NULL;
    char name[NAME];
    size_t n = strcspn(start, "=");
    n = n < NAME - 1 ? n : NAME - 1;
    memcpy(name, start, n);
    name[n] = 0;
    int best = 2 + (int)n / 4; /* farther than that is no misspelling */
    for (size_t i = 0; i <= u->n_options && n > 0; i++) {
        const char *other = i < u->n_options ? u->options[i].name : "help";
        int d = strncmp(name, other, n) == 0 ? 0 : edit_distance(name, other);
        if (d < best)
            best = d, nearest = other;
    }
    int shown = (int)strcspn(arg, "=");
    if (nearest)
        kit_die("unknown option %.*s; did you mean --%s?", shown, arg, nearest);
    kit_die("unknown option %.*s; --help lists the options", shown, arg);
}

/* ---- Help ---- */

enum { COLUMNS = 80 };

/* Prints words, broken at spaces, in the columns from `indent` to COLUMNS. */
static void print_wrapped(const char *text, int indent)
{
    int at = indent;
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > indent && at + 1 + n > COLUMNS)
            printf("\n%*s", indent, ""), at = indent;
        else if (at > indent)
            putchar(' '), at++;
        printf("%.*s", n, text);
        at += n, text += n;
        text += strspn(text, " ");
    }
    putchar('\n');
}

/* The variable's value as text, or NULL where there is nothing worth showing. */
static const char *default_text(const kit_option *o, char out[static 64])
{
    switch (o->kind) {
    case KIT_INT: snprintf(out, 64, "%d", *(int *)o->variable); return out;
    case KIT_INT64: snprintf(out, 64, "%" PRId64, *(int64_t *)o->variable); return out;
    case KIT_UINT64: snprintf(out, 64, "%" PRIu64, *(uint64_t *)o->variable); return out;
    case KIT_DOUBLE: return kit_number(out, "%.9g", *(double *)o->variable);
    case KIT_TEXT: return *(const char **)o->variable;
    case KIT_FLAG: break;
    }
    return NULL;
}

static void print_option(const kit_option *o, int indent)
{
    char text[1200], range[200] = "", list[512], value[64];
    const char *initial = default_text(o, value), *bounds = range;
    if (o->kind == KIT_TEXT && o->allowed)
        bounds = list_words(list, sizeof list, o->allowed);
    else if (o->kind != KIT_TEXT && o->kind != KIT_FLAG)
        describe(range, interval_of(o));
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s", o->help, *bounds || initial ? " (" : "",
             bounds, *bounds && initial ? "; " : "", initial ? "default " : "",
             initial ? initial : "", *bounds || initial ? ")" : "");
    int n = printf("  --%s%s%s", o->name, o->metavar ? " " : "", o->metavar ? o->metavar : "");
    if (n + 2 > indent)
        printf("\n%*s", indent, "");
    else
        printf("%*s", indent - n, "");
    print_wrapped(text, indent);
}

static _Noreturn void print_help(const kit_usage *u)
{
    static const kit_option help = { .name = "help", .kind = KIT_FLAG, .help = "prints this text" };
    int indent = 12;
    for (size_t i = 0; i < u->n_options; i++) {
        const kit_option *o = &u->options[i];
        int n = (int)(strlen(o->name) + (o->metavar ? strlen(o->metavar) + 1 : 0)) + 6;
        indent = n > indent && n <= 28 ? n : indent;
    }
    printf("usage: %s [options]%s%s\n", kit_program, u->operands ? " " : "",
           u->operands ? u->operands : "");
    print_wrapped(u->about, 0);
    printf("\noptions:\n");
    for (size_t i = 0; i < u->n_options; i++)
        print_option(&u->options[i], indent);
    print_option(&help, indent);
    if (u->examples)
        printf("\nexamples:\n");
    for (const char *s = u->examples; s && *s;) {
        int n = (int)strcspn(s, "\n");
        printf("  %.*s\n", n, s);
        s += n + (s[n] == '\n');
    }
    exit(0);
}

/* ---- The command line ---- */

/* Takes the option at argv[i], with its value; returns the index of the last argument taken. */
static int take_option(const kit_usage *u, int argc, char **argv, int i)
{
    const char *arg = argv[i], *name = arg + 2, *equals = strchr(arg, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    kit_option *o = NULL;
    for (size_t k = 0; arg[1] == '-' && k < u->n_options && !o; k++)
        if (strncmp(u->options[k].name, name, n) == 0 && u->options[k].name[n] == 0)
            o = &u->options[k];
    if (!o)
        unknown_option(u, arg);
    if (o->kind == KIT_FLAG) {
        if (equals)
            kit_die("--%s takes no value, but was given '%s'", o->name, equals + 1);
        set_value(o, "");
        return i;
    }
    if (equals) {
        set_value(o, equals + 1);
        return i;
    }
    if (i + 1 >= argc || strcmp(argv[i + 1], "--") == 0)
        kit_die("--%s needs a value: --%s %s", o->name, o->name, o->metavar ? o->metavar : "VALUE");
    if (strncmp(argv[i + 1], "--", 2) == 0)
        kit_die("--%s needs a value before %s (one that starts with '--' is written --%s=VALUE)",
                o->name, argv[i + 1], o->name);
    set_value(o, argv[i + 1]);
    return i + 1;
}

int kit_args(const kit_usage *usage, int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    snprintf(kit_program, sizeof kit_program, "%s", slash ? slash + 1 : argc > 0 ? argv[0] : "");
    in_use = usage;
    for (size_t i = 0; i < usage->n_options; i++)
        usage->options[i].given = false;
    /* Before any variable is set, so that the defaults shown are the defaults. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || (argc == 2 && strcmp(argv[i], "-h") == 0))
            print_help(usage);
    int operands = 0;
    bool only_operands = false;
    for (int i = 1; i < argc; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (!only_operands && argv[i][0] == '-' && argv[i][1] != 0)
            i = take_option(usage, argc, argv, i);
        else if (usage->operands)
            argv[++operands] = argv[i];
        else
            kit_die("'%s' is not an option; --help lists the options", argv[i]);
    }
    return operands;
}

bool kit_given(const void *variable)
{
    for (size_t i = 0; in_use && i < in_use->n_options; i++)
        if (in_use->options[i].variable == variable)
            return in_use->options[i].given;
    return false;
}

int kit_ascending(const char *name, const char *text, int out[], int room)
{
    int n = 0;
    for (const char *s = text; *s; n++) {
        char *end;
        long value = strtol(s, &end, 10);
        if (end == s || (*end && *end != ',') || value < 1 || value > 1000000 || n == room
            || (n > 0 && value <= out[n - 1]))
            kit_die("--%s '%s': up to %d ascending numbers are wanted, such as 10,20,50", name,
                    text, room);
        out[n] = (int)value;
        s = *end ? end + 1 : end;
    }
    return n;
}
