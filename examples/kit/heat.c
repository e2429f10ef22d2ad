/* heat.c: tables of numbers as an SVG picture: the larger, the darker. */
#include "examples/kit/page.h"

#include <math.h>

enum { CELL = 34, TITLE = 56, EDGE = 24, MOST = 24 };

static int longest(const char *const names[], int n)
{
    int most = 0;
    for (int i = 0; i < n; i++) {
        int length = kit_characters(names[i]);
        most = length > most ? length : most;
    }
    return most < MOST ? most : MOST;
}

static void put_names(FILE *f, const kit_heat *h, double left, double top)
{
    fprintf(f, "<g fill=\"#222222\">\n");
    for (int c = 0; c < h->columns; c++) { /* slanted: columns are narrower than words */
        kit_put(f, "<text transform=\"translate(@ @) rotate(-60)\">",
                     (double[]){ left + CELL * (c + 0.6), top - 8 });
        kit_put_text(f, h->column_names[c], MOST);
        fprintf(f, "</text>\n");
    }
    for (int r = 0; r < h->rows; r++) {
        kit_put(f, "<text x=\"@\" y=\"@\" text-anchor=\"end\">",
                     (double[]){ left - 9, top + CELL * (r + 0.5) + 4.5 });
        kit_put_text(f, h->row_names[r], MOST);
        fprintf(f, "</text>\n");
    }
    fprintf(f, "</g>\n");
}

static void draw(FILE *f, const void *what)
{
    const kit_heat *h = what;
    const double slant = 7.2 * longest(h->column_names, h->columns);
    const double left = EDGE + 9 + 7.4 * longest(h->row_names, h->rows);
    const double top = TITLE + 0.87 * slant, right = left + CELL * h->columns;
    const double title = EDGE + 9.5 * kit_characters(h->title), tail = right + 0.5 * slant;
    kit_open_page(f, h->title, (int)fmax(title, tail) + EDGE, (int)top + CELL * h->rows + EDGE);
    kit_put(f, "<text x=\"@\" y=\"30\" font-size=\"17\" font-weight=\"bold\" fill=\"#222222\">",
                 (double[]){ EDGE });
    kit_put_text(f, h->title, 1000);
    fprintf(f, "</text>\n");
    put_names(f, h, left, top);
    fprintf(f, "<g fill=\"#0072b2\">\n");
    for (int i = 0; i < h->rows * h->columns; i++) {
        const double v = h->value[i];
        const double x = left + CELL * (i % h->columns), y = top + CELL * (i / h->columns);
        char text[64];
        fprintf(f, "<rect width=\"%d\" height=\"%d\" fill-opacity=\"%s\"", CELL - 1, CELL - 1,
                kit_number(text, "%.3f", v > 0 ? fmin(v, 1) : 0));
        kit_put(f, " x=\"@\" y=\"@\"/>\n", (double[]){ x, y });
    }
    fprintf(f, "</g>\n");
    kit_put(f, "<path d=\"M@ @H@V@H@Z\" fill=\"none\" stroke=\"#888888\"/>\n</svg>\n",
                 (double[]){ left - 1, top - 1, right, top + CELL * h->rows, left - 1 });
}

bool kit_svg_heat(const char *path, const kit_heat *heat)
{
    return kit_write_page(path, draw, heat);
}
