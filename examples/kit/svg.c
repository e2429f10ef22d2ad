/* svg.c: plots as SVG 1.1 (W3C Recommendation, 2011).
 *
 * A plot is a page with two axes. An axis maps values to pixels, linearly or by log10, and has
 * ticks at multiples of 1, 2 or 5 times a power of ten, the choice that needs the fewest digits.
 * What every kind of plot has (axes, grid, texts, legend) stands apart from what lines need.
 * Colours: M. Okabe, K. Ito, "Color Universal Design", 2008, without their yellow, which is faint
 * on white. Beyond seven series the colours come again, dashed. */
#include "examples/kit/page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 800, HEIGHT = 480, COLOURS = 7, TICKS = 64, FEW = 30, MANY = 1500 };
static const double top = 56, bottom = HEIGHT - 58, right = WIDTH - 26;

static const char *const colours[COLOURS] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                              "#e69f00", "#56b4e9", "#000000" };
static const char minus[] = "\xe2\x88\x92";
static const char *const dashes[] = { "none", "7 4", "2 4", "9 3 2 3" };

/* ---- Axes ---- */

typedef struct {
    double lo, hi, from, to; /* the values at the ends, and their pixels */
    bool logarithmic;
    int n_ticks;
    struct { double value; char label[32], power[16]; } ticks[TICKS]; /* label ^ power */
} axis;

/* Beyond 1e300 differences overflow; such values are not data. */
static bool on_axis(const axis *a, double v)
{
    return fabs(v) <= 1e300 && (!a->logarithmic || v >= 1e-300);
}

static double pixel(const axis *a, double v)
{
    double lo = a->logarithmic ? log10(a->lo) : a->lo, hi = a->logarithmic ? log10(a->hi) : a->hi;
    double part = ((a->logarithmic ? log10(v) : v) - lo) / (hi - lo);
    return a->from + part * (a->to - a->from);
}

/* The largest of 1, 2, 5 times a power of ten that is not above v > 0. */
static double round_down(double v)
{
    double power = pow(10, floor(log10(v) + 1e-9)), lead = v / power * (1 + 1e-9);
    return lead >= 5 ? 5 * power : lead >= 2 ? 2 * power : power;
}

static double round_up(double v)
{
    double below = round_down(v), next = round_down(2.5 * below); /* 1 2, 2 5, 5 10 */
    return v <= below * (1 + 1e-9) ? below : next;
}

static void add_tick(axis *a, double value, const char *format, double scale, const char *suffix)
{
    char number[64];
    if (a->n_ticks == TICKS)
        return;
    kit_number(number, value == 0 ? "%.0f" : format, fabs(value / scale));
    a->ticks[a->n_ticks].value = value;
    a->ticks[a->n_ticks].power[0] = 0;
    snprintf(a->ticks[a->n_ticks++].label, sizeof a->ticks[0].label, "%s%.24s%s",
             value < 0 ? minus : "", number, value == 0 ? "" : suffix);
}

/* Makes the range of the data into an axis with about `wanted` ticks. `whole`: no tick between
 * whole numbers; `widen`: the ends move outwards to ticks. */
static void linear_ticks(axis *a, int wanted, bool whole, bool widen)
{
    double size = fmax(fabs(a->lo), fabs(a->hi));
    if (!(a->hi - a->lo > 1e-9 * size) || size == 0) {
        a->lo -= size > 0 ? 0.1 * size : 1;
        a->hi += size > 0 ? 0.1 * size : 1;
    }
    double step = round_up((a->hi - a->lo) / wanted);
    if (whole && step < 1)
        step = 1;
    if (widen) {
        a->lo = step * floor(a->lo / step + 1e-6);
        a->hi = step * ceil(a->hi / step - 1e-6);
    }
    size = fmax(fabs(a->lo), fabs(a->hi));
    int digits = (int)-floor(log10(step) + 1e-9);
    char format[16] = "%.10g";
    double scale = 1;
    const char *suffix = "";
    if (size < 1e9 && (digits <= 5 || size > 0.01)) { /* else 1.5e+12, 2e-07 */
        scale = size >= 1e6 && step >= 1e4 ? 1e6 : size >= 1e4 && step >= 1e2 ? 1e3 : 1;
        suffix = scale == 1e6 ? "M" : scale == 1e3 ? "k" : "";
        digits += scale == 1e6 ? 6 : scale == 1e3 ? 3 : 0;
        snprintf(format, sizeof format, "%%.%df", digits > 0 ? digits : 0);
    }
    double last = floor(a->hi / step + 1e-6), first = ceil(a->lo / step - 1e-6);
    for (double i = first; i <= last && a->n_ticks < TICKS; i++)
        add_tick(a, i * step, format, scale, suffix);
}

/* The same on a logarithmic axis, whose ends always move outwards. */
static void log_ticks(axis *a)
{
    bool flat = a->hi < a->lo * 1.01;
    a->lo = round_down(flat ? a->lo * 0.7 : a->lo);
    a->hi = round_up(flat ? a->hi * 1.4 : a->hi);
    int first = (int)floor(log10(a->lo) + 1e-9), last = (int)floor(log10(a->hi) + 1e-9);
    int every = 1 + (last - first) / 10;
    bool plain = a->lo > 0.9e-4 && a->hi < 1.1e5;
    for (int k = first; k <= last; k++)
        for (int lead = 1; lead <= 5; lead += lead == 2 ? 3 : 1) { /* 1 2 5, */
            double v = lead * pow(10, k);
            if (v < a->lo * (1 - 1e-9) || v > a->hi * (1 + 1e-9)
                || (lead > 1 ? last - first > 2 : (k - first) % every != 0)) /* or whole decades */
                continue;
            bool power = lead == 1 && !plain;
            add_tick(a, power ? 10 : v, "%.5g", 1, "");
            a->ticks[a->n_ticks - 1].value = v;
            if (power)
                snprintf(a->ticks[a->n_ticks - 1].power, sizeof a->ticks[0].power, "%s%d",
                         k < 0 ? minus : "", abs(k));
        }
}

/* ---- Frame: grid, ticks, texts ---- */

static void put_tick_label(FILE *f, const axis *a, int i, double x, double y, const char *anchor)
{
    kit_put(f, "<text x=\"@\" y=\"@\"", (double[]){ x, y });
    fprintf(f, " text-anchor=\"%s\">%s", anchor, a->ticks[i].label);
    if (a->ticks[i].power[0])
        fprintf(f, "<tspan dy=\"-5\" font-size=\"9\">%s</tspan>", a->ticks[i].power);
    fprintf(f, "</text>\n");
}

/* The room that the tick labels of an upright axis need, in pixels. */
static double label_room(const axis *a)
{
    int longest = 0;
    for (int i = 0; i < a->n_ticks; i++) {
        int n = kit_characters(a->ticks[i].label) + kit_characters(a->ticks[i].power);
        longest = n > longest ? n : longest;
    }
    return 7.4 * longest;
}

static void put_frame(FILE *f, const kit_plot *p, const axis *x, const axis *y)
{
    double left = x->from;
    fprintf(f, "<g stroke=\"#e8e8e8\" stroke-width=\"1\">\n");
    for (int i = 0; i < y->n_ticks; i++)
        kit_put(f, "<path d=\"M@ @H@\"/>\n",
                (double[]){ left, pixel(y, y->ticks[i].value), right });
    for (int i = 0; i < x->n_ticks; i++)
        kit_put(f, "<path d=\"M@ @V@\"/>\n",
                (double[]){ pixel(x, x->ticks[i].value), y->to, bottom });
    fprintf(f, "</g>\n<g fill=\"#555555\" font-size=\"12\">\n");
    for (int i = 0; i < y->n_ticks; i++)
        put_tick_label(f, y, i, left - 9, pixel(y, y->ticks[i].value) + 4, "end");
    for (int i = 0; i < x->n_ticks; i++)
        put_tick_label(f, x, i, pixel(x, x->ticks[i].value), bottom + 19, "middle");
    fprintf(f, "</g>\n");
    kit_put(f, "<path d=\"M@ @V@H@\" fill=\"none\" stroke=\"#888888\" stroke-width=\"1\"/>\n",
        (double[]){ left, y->to, bottom, right });
    fprintf(f, "<g fill=\"#222222\">\n");
    kit_put(f, "<text x=\"@\" y=\"30\" font-size=\"17\" font-weight=\"bold\">", (double[]){ left });
    kit_put_text(f, p->title ? p->title : "", 72);
    kit_put(f, "</text>\n<text x=\"@\" y=\"@\" text-anchor=\"middle\">",
        (double[]){ (left + right) / 2, bottom + 44 });
    kit_put_text(f, p->x_label ? p->x_label : "", 95);
    kit_put(f, "</text>\n<text transform=\"translate(22 @) rotate(-90)\" text-anchor=\"middle\">",
        (double[]){ (y->from + y->to) / 2 });
    kit_put_text(f, p->y_label ? p->y_label : "", 55);
    fprintf(f, "</text>\n</g>\n");
}

static void put_pen(FILE *f, size_t series)
{
    size_t dash = series / COLOURS % (sizeof dashes / sizeof dashes[0]);
    fprintf(f, "fill=\"none\" stroke=\"%s\" stroke-dasharray=\"%s\"", colours[series % COLOURS],
            dashes[dash]);
}

/* A row of samples under the title, as many rows as it takes; returns where the plot may begin. */
static double put_legend(FILE *f, const kit_plot *p, double left)
{
    double x = left, y = top;
    if (p->n_series < 2)
        return top - 8;
    for (size_t i = 0; i < p->n_series; i++) {
        const char *name = p->series[i].name ? p->series[i].name : "";
        double width = 50 + 7.2 * fmin(kit_characters(name), 40);
        if (x > left && x + width > right)
            x = left, y += 20;
        fprintf(f, "<path ");
        put_pen(f, i);
        kit_put(f, " stroke-width=\"3\" d=\"M@ @h22\"/>\n<text x=\"@\" y=\"@\" fill=\"#222222\">",
            (double[]){ x, y - 4, x + 29, y });
        kit_put_text(f, name, 40);
        fprintf(f, "</text>\n");
        x += width;
    }
    return y + 16;
}

/* ---- Lines ---- */

typedef struct { double x, y; } point;

typedef struct {
    FILE *f;
    bool down;                 /* a line is being drawn */
    int n;                     /* points in the column of pixels being gathered, */
    int first_low, first_high; /* the number of the lowest and of the highest of them, */
    point first, low, high, last;
} pen;

static void line_to(pen *p, point to)
{
    kit_put(p->f, p->down ? "L@ @" : "M@ @", (double[]){ to.x, to.y });
    p->down = true;
}

/* Of a column of pixels the first, the extremes in their order and the last point make the same
 * picture as all points. */
static void leave_column(pen *p)
{
    bool low_first = p->first_low < p->first_high;
    if (p->n > 0)
        line_to(p, p->first);
    if (p->n > 2) {
        line_to(p, low_first ? p->low : p->high);
        line_to(p, low_first ? p->high : p->low);
    }
    if (p->n > 1)
        line_to(p, p->last);
    p->n = 0;
}

static void add_point(pen *p, point at, bool thin)
{
    if (p->n > 0 && (!thin || floor(at.x) != floor(p->first.x)))
        leave_column(p);
    if (p->n++ == 0) {
        p->first = p->low = p->high = at;
        p->first_low = p->first_high = 1;
    }
    if (at.y < p->low.y)
        p->low = at, p->first_low = p->n;
    if (at.y > p->high.y)
        p->high = at, p->first_high = p->n;
    p->last = at;
}

static bool visible(const kit_series *s, size_t i, const axis *x, const axis *y)
{
    return i < s->n && on_axis(x, s->x[i]) && on_axis(y, s->y[i]);
}

static void put_series(FILE *f, const kit_series *s, size_t index, const axis *x, const axis *y)
{
    pen p = { .f = f };
    fprintf(f, "<path ");
    put_pen(f, index);
    fprintf(f, " stroke-width=\"%s\" stroke-linejoin=\"round\" stroke-linecap=\"round\" d=\"",
            s->n > 300 ? "1.2" : "1.8"); /* noise is drawn finer */
    for (size_t i = 0; i < s->n; i++) {
        if (visible(s, i, x, y))
            add_point(&p, (point){ pixel(x, s->x[i]), pixel(y, s->y[i]) }, s->n > MANY);
        else
            leave_column(&p), p.down = false;
    }
    leave_column(&p);
    fprintf(f, "\"/>\n<g fill=\"%s\">\n", colours[index % COLOURS]);
    for (size_t i = 0; i < s->n; i++) { /* a point alone is no line */
        bool alone = !visible(s, i - 1, x, y) && !visible(s, i + 1, x, y);
        if ((s->n <= FEW || alone) && visible(s, i, x, y))
            kit_put(f, "<circle cx=\"@\" cy=\"@\" r=\"3\"/>\n",
                (double[]){ pixel(x, s->x[i]), pixel(y, s->y[i]) });
    }
    fprintf(f, "</g>\n");
}

/* Starts both axes with the range of all visible points, or 0 to 1 and false if there is none. */
static bool start_axes(const kit_plot *p, axis *x, axis *y, bool *whole)
{
    *x = (axis){ .lo = INFINITY, .hi = -INFINITY, .to = right };
    *y = (axis){ .lo = INFINITY, .hi = -INFINITY, .from = bottom, .logarithmic = p->log_y };
    *whole = true;
    for (size_t k = 0; k < p->n_series; k++)
        for (size_t i = 0; i < p->series[k].n; i++) {
            const kit_series *s = &p->series[k];
            if (!visible(s, i, x, y))
                continue;
            x->lo = fmin(x->lo, s->x[i]), x->hi = fmax(x->hi, s->x[i]);
            y->lo = fmin(y->lo, s->y[i]), y->hi = fmax(y->hi, s->y[i]);
            *whole = *whole && s->x[i] == floor(s->x[i]);
        }
    if (x->lo <= x->hi)
        return true;
    x->lo = y->lo = 0, x->hi = y->hi = 1;
    y->logarithmic = false;
    return false;
}

static void put_lines(FILE *f, const kit_plot *p)
{
    axis x, y;
    bool whole, any = start_axes(p, &x, &y, &whole);
    linear_ticks(&x, 9, whole && any, false);
    if (y.logarithmic)
        log_ticks(&y);
    else
        linear_ticks(&y, 7, false, true);
    x.from = fmax(58, (p->y_label && *p->y_label ? 36 : 14) + label_room(&y) + 9);
    kit_open_page(f, p->title, WIDTH, HEIGHT);
    y.to = put_legend(f, p, x.from);
    y.to = fmin(y.to, bottom - 100); /* the names of dozens of series run into the plot */
    put_frame(f, p, &x, &y);
    if (!any)
        kit_put(f, "<text x=\"@\" y=\"@\" text-anchor=\"middle\" fill=\"#888888\">no data</text>\n",
            (double[]){ (x.from + x.to) / 2, (y.from + y.to) / 2 });
    for (size_t k = 0; k < p->n_series; k++)
        put_series(f, &p->series[k], k, &x, &y);
    fprintf(f, "</svg>\n");
}

static void draw(FILE *f, const void *plot)
{
    put_lines(f, plot);
}

bool kit_svg_lines(const char *path, const kit_plot *plot)
{
    return kit_write_page(path, draw, plot);
}
