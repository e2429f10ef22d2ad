/* progress.c: one line that says how far a run is, how well it goes and how long it will take.
 *
 * The line is a list of pieces, each in a full and a brief form and with a rank. In a terminal too
 * narrow for the full pieces and a bar all become brief; then the pieces of the highest rank are
 * left out one after another, then the bar. Time left is (steps to do) x (time so far) / (steps so
 * far), over the steps of this run, so that pauses for validation count. The rate is smoothed. */
#include "examples/kit/kit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool line_open; /* a line without newline stands on the terminal */

enum { FULL, BRIEF, FORMS };
enum { BAR_LEAST = 8, BAR_MOST = 30, PIECES = KIT_FIGURES + 5 };

typedef struct {
    char text[FORMS][80];
    int rank; /* the highest is left out first */
} piece;

typedef struct {
    piece piece[PIECES];
    int n;
} line;

static void add(line *l, int rank, const char *full, const char *brief)
{
    piece *p = &l->piece[l->n++];
    p->rank = rank;
    snprintf(p->text[FULL], sizeof p->text[FULL], "%s", full);
    snprintf(p->text[BRIEF], sizeof p->text[BRIEF], "%s", brief);
}

/* About four digits; a loss of 1.570 does not become 1.57, which would make the line jump. */
static const char *short_number(char out[static 64], double v)
{
    double a = fabs(v);
    const char *format = a == 0 || (a >= 0.01 && a < 10) ? "%.3f" : a < 0.01 ? "%.1e"
                         : a < 100 ? "%.2f" : a < 1000 ? "%.1f" : a < 1e6 ? "%.0f" : "%.3g";
    return kit_number(out, format, v);
}

static void span_text(char *out, size_t size, double seconds)
{
    if (!(seconds < 1e9)) {
        snprintf(out, size, "ages");
        return;
    }
    long s = (long)(seconds + 0.5);
    if (s < 3600)
        snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
    else if (s < 100 * 3600L)
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, size, "%ld days", s / 86400);
}

static void add_counts(line *l, const kit_progress *p, bool plain)
{
    char full[80], brief[80];
    if (p->epochs > 0) {
        long epoch = p->epoch < p->epochs ? p->epoch : p->epochs; /* a loop's end is one beyond */
        snprintf(full, sizeof full, "epoch %ld/%ld", epoch, p->epochs);
        add(l, 4, full, full + strlen("epoch "));
    }
    if (plain || p->epochs <= 0) {
        snprintf(full, sizeof full, p->steps > 0 ? "step %ld/%ld" : "step %ld", p->step, p->steps);
        snprintf(brief, sizeof brief, "%s", full + strlen("step "));
        add(l, 5, full, brief);
    }
}

static void add_rate(line *l, const kit_progress *p)
{
    char full[80], brief[80], number[64];
    double elapsed = p->now - p->started - p->idle;
    double rate = p->finished && elapsed > 0 ? (p->items - p->first_items) / elapsed : p->rate;
    if (!p->unit || !(rate > 0) || !(rate < 1e15))
        return;
    kit_number(number, rate < 10 ? "%.1f" : "%.0f", rate);
    snprintf(full, sizeof full, "%s %s/s", number, p->unit);
    bool big = rate >= 1e6;
    kit_number(number, rate < 10 ? "%.1f" : rate < 1e4 ? "%.0f" : "%.1f",
               rate < 1e4 ? rate : big ? rate * 1e-6 : rate * 1e-3);
    snprintf(brief, sizeof brief, "%s%s %s/s", number, rate < 1e4 ? "" : big ? "M" : "k", p->unit);
    add(l, 6, full, brief);
}

static void add_time(line *l, const kit_progress *p)
{
    char span[40], full[80];
    double elapsed = p->now - p->started;
    long done = p->step - p->first_step;
    if (p->finished)
        span_text(span, sizeof span, elapsed);
    else if (p->steps > p->step && done > 0)
        span_text(span, sizeof span, elapsed / (double)done * (double)(p->steps - p->step));
    else
        return;
    snprintf(full, sizeof full, p->finished ? "took %s" : "%s left", span);
    add(l, 2, full, full);
}

static line pieces_of(const kit_progress *p, bool plain)
{
    line l = { .n = 0 };
    char full[80], number[64];
    if (p->steps > 0) {
        double part = (double)p->step / (double)p->steps;
        part = part < 0 ? 0 : part > 1 ? 1 : part;
        snprintf(full, sizeof full, "%3d%%", (int)(100 * part));
        add(&l, 20, full, full + strspn(full, " ")); /* the bar says it too */
    }
    add_counts(&l, p, plain);
    for (int i = 0; i < KIT_FIGURES && p->figures[i].name; i++) {
        const char *value = short_number(number, p->figures[i].value);
        snprintf(full, sizeof full, "%.40s %.30s", p->figures[i].name, value);
        add(&l, i == 0 ? 1 : 7 + i, full, full); /* the first figure is the last to go */
    }
    add_rate(&l, p);
    add_time(&l, p);
    return l;
}

static int length(const line *l, int form)
{
    int gap = form == FULL ? 2 : 1, sum = -gap;
    for (int i = 0; i < l->n; i++)
        sum += gap + (int)strlen(l->piece[i].text[form]);
    return l->n ? sum : 0;
}

static void drop_least(line *l)
{
    int worst = 0;
    for (int i = 1; i < l->n; i++)
        if (l->piece[i].rank > l->piece[worst].rank)
            worst = i;
    l->n--;
    memmove(&l->piece[worst], &l->piece[worst + 1], (size_t)(l->n - worst) * sizeof l->piece[0]);
}

void kit_progress_text(const kit_progress *p, int width, char *out, size_t size)
{
    bool plain = width <= 0, barred = !plain && p->steps > 0;
    line l = pieces_of(p, plain);
    int form = FULL, bar = 0, used = 0;
    int room = width - (width > 40 ? 3 : 1); /* a terminal echoes ^C behind the line */
    if (barred && length(&l, FULL) + 4 + BAR_LEAST > room)
        form = BRIEF;
    bar = barred ? BAR_LEAST + (form == FULL ? 4 : 3) : 0; /* with brackets and the gap */
    while (!plain && l.n > 0 && length(&l, form) + bar > room) {
        if (bar > 0 && l.n <= 2)
            bar = 0;
        else
            drop_least(&l);
    }
    if (bar > 0) {
        int left = room - length(&l, form) - (form == FULL ? 4 : 3);
        bar = left < BAR_MOST ? left : BAR_MOST;
        double part = (double)p->step / (double)p->steps;
        int full = part <= 0 ? 0 : part >= 1 ? bar : (int)(part * bar);
        char cells[BAR_MOST + 1];
        memset(cells, '#', (size_t)full);
        memset(cells + full, '-', (size_t)(bar - full));
        used = snprintf(out, size, "[%.*s]", bar, cells);
    } else if (size > 0) {
        out[0] = 0;
    }
    for (int i = 0; i < l.n && used >= 0 && (size_t)used < size; i++)
        used += snprintf(out + used, size - (size_t)used, "%s%s",
                         used == 0 ? "" : form == FULL ? "  " : " ", l.piece[i].text[form]);
}

/* ---- Drawing ---- */

static int terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void draw(kit_progress *p)
{
    char text[1024];
    kit_progress_text(p, p->terminal ? terminal_width() : 0, text, sizeof text);
    fprintf(stderr, p->terminal ? "\r%s\x1b[K" : "%s\n", text);
    line_open = p->terminal;
    p->drawn = p->now, p->drawn_step = p->step;
}

void kit_progress_wipe(void)
{
    if (line_open)
        fputs("\r\x1b[K", stderr);
    line_open = false;
}

void kit_progress_start(kit_progress *p)
{
    const char *term = getenv("TERM");
    p->terminal = isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
    p->started = p->now = p->drawn = p->marked = kit_now();
    p->first_items = p->marked_items = p->items;
    p->first_step = p->drawn_step = p->step;
    p->rate = p->idle = 0;
    p->finished = false;
}

void kit_progress_show(kit_progress *p, const char *name, double value)
{
    for (int i = 0; i < KIT_FIGURES; i++) {
        if (p->figures[i].name && strcmp(p->figures[i].name, name) != 0)
            continue;
        p->figures[i].name = name, p->figures[i].value = value;
        return;
    }
}

/* Takes the time; the rate is that of the last second or more, averaged with what it was. */
static void measure(kit_progress *p)
{
    p->now = kit_now();
    double span = p->now - p->marked, latest = span > 0 ? (p->items - p->marked_items) / span : 0;
    if (p->marked == p->started && span < 1) {
        p->rate = latest;
    } else if (span >= 1) {
        p->rate = p->marked == p->started ? latest : 0.6 * p->rate + 0.4 * latest;
        p->marked = p->now, p->marked_items = p->items;
    }
}

void kit_progress_update(kit_progress *p)
{
    measure(p);
    if (p->now - p->drawn >= (p->terminal ? 0.1 : 5))
        draw(p);
}

void kit_progress_epoch(kit_progress *p)
{
    measure(p);
    draw(p);
}

void kit_progress_pause(kit_progress *p, double seconds)
{
    p->marked += seconds;
    p->idle += seconds;
}

void kit_progress_finish(kit_progress *p)
{
    char span[40];
    p->now = kit_now();
    p->finished = true;
    if (p->terminal || p->drawn_step != p->step) {
        draw(p);
    } else { /* the line of an epoch's end has said the rest */
        span_text(span, sizeof span, p->now - p->started);
        fprintf(stderr, "took %s\n", span);
    }
    if (p->terminal)
        fputc('\n', stderr);
    line_open = false;
}
