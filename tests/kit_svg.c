/* The examples kit: plots and heat maps, as SVG that a browser reads whatever the data are. */
#include "examples/kit/kit.h"

#include "tests/child.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A small check of XML: tags close in order, no bare '<' or '&'. */
static bool well_formed(const char *s)
{
    char open[32][32];
    int depth = 0, elements = 0;
    s = strstr(s, "?>");
    for (bool quoted = false, inside = false; s && *s; s++) {
        if ((*s == '&' && s[1] != '#') || (*s == '<' && inside))
            return false;
        quoted ^= inside && *s == '"';
        if (*s == '<') {
            char name[32] = "";
            inside = true;
            bool closing = s[1] == '/';
            if (sscanf(s + 1 + closing, "%31[a-z]", name) != 1 || depth == 32)
                return false;
            if (closing && (depth == 0 || strcmp(open[--depth], name) != 0))
                return false;
            if (!closing)
                strcpy(open[depth++], name);
        } else if (*s == '>' && inside && !quoted) {
            depth -= s[-1] == '/'; /* an element without content */
            inside = false;
            elements++;
        }
    }
    return s && depth == 0 && elements > 1;
}

static const char *draw(const kit_plot *plot)
{
    CHECK(kit_svg_lines(in_folder("plot.svg"), plot));
    const char *svg = content(in_folder("plot.svg"));
    CHECK(well_formed(svg));
    CHECK(!strstr(svg, "nan") && !strstr(svg, "inf"));
    return svg;
}

TEST(plot_has_its_parts)
{
    double x[] = { 0, 1, 2, 3, 4 }, y[] = { 4.2, 3.1, NAN, 1.9, 1.6 };
    const char *svg = draw(&(kit_plot){
        "a <b> & \"c\"", "update", "loss \x01\xff", false,
        (kit_series[]){ { "train]]>", x, y, 5 }, { "valid", x, y, 2 } }, 2 });
    CHECK_HAS(svg, "viewBox=\"0 0 800 480\"");
    CHECK_HAS(svg, ">a &#60;b&#62; &#38; &#34;c&#34;</text>");
    CHECK_HAS(svg, ">train]]&#62;</text>");
    CHECK_HAS(svg, ">loss \xef\xbf\xbd\xef\xbf\xbd</text>");
    CHECK_HAS(svg, ">4.5</text>"); /* the y axis goes from 1.5 to 4.5 in steps of 0.5 */
    CHECK_HAS(svg, ">1.5</text>");
    CHECK(!strstr(svg, ">1.0</text>"));
    CHECK_INT(count(svg, "<circle"), 6);
    const char *line = strstr(svg, "stroke-width=\"1.8\"");
    REQUIRE(line);
    line = strstr(line, " d=\"");
    CHECK_INT(strcspn(line, "L") < strcspn(line + 5, "M"), 1);
    char first[512];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(line + 4, "\""), line + 4);
    CHECK_INT(count(first, "M"), 2); /* the gap */
    CHECK_INT(count(first, "L"), 2);
}

TEST(plot_of_odd_data)
{
    double x[] = { 0, 1, 2 }, same[] = { 2, 2, 2 }, bad[] = { NAN, INFINITY, -INFINITY };
    double huge[] = { 1e308, -1e308, 1 }, tiny[] = { 1e-320, 2e-320, 0 }, zero[] = { 0, 0, 0 };
    double close[] = { 1, 1 + 1e-15, 1 - 1e-15 }, minus[] = { -1, 0, 5 }, ten[] = { 10, 10, 10 };
    double wide[] = { 1e-290, 1, 1e290 };
    const double *data[] = { same, bad, huge, tiny, zero, close, minus, wide, ten };
    for (size_t i = 0; i < 2 * sizeof data / sizeof data[0]; i++) {
        kit_series one = { NULL, x, data[i / 2], 3 };
        draw(&(kit_plot){ NULL, NULL, NULL, i % 2, &one, 1 });
    }
    CHECK_HAS(draw(&(kit_plot){ "t", "x", "y", true, NULL, 0 }), "no data");
    CHECK_HAS(draw(&(kit_plot){ "t", "x", "y", false, (kit_series[]){ { "a", x, bad, 3 } }, 1 }),
              "no data");
    kit_series many[40];
    for (int i = 0; i < 40; i++)
        many[i] = (kit_series){ "a long name for a series", x, wide, 3 };
    CHECK_INT(count(draw(&(kit_plot){ "t", "x", "y", true, many, 40 }), ">10<tspan"), 10);
}

TEST(plot_thins_but_keeps_peaks)
{
    enum { N = 50000 };
    static double x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = i, y[i] = test_uniform();
    y[33333] = 10; /* the top of the y axis, at the height of 48 */
    kit_series noise = { "a", x, y, N };
    const char *svg = draw(&(kit_plot){ "t", "x", NULL, false, &noise, 1 });
    CHECK(strlen(svg) < 60000);
    CHECK_HAS(svg, " 48.0L");
}

static void plot_to_nowhere(void)
{
    exit(kit_svg_lines(in_folder("none/plot.svg"), &(kit_plot){ .title = "t" }) ? 0 : 2);
}

TEST(plot_failure_is_reported)
{
    run_child(plot_to_nowhere);
    CHECK_INT(child.status, 2);
    CHECK_HAS(child.err, "its folder does not exist");
}

TEST(heat_map_has_its_parts)
{
    static const char *const rows[] = { "la", "table" }, *const columns[] = { "a<b", "the", "." };
    static const double value[] = { 0, 0.25, 1, NAN, -1, 7 };
    kit_heat heat = { "Looks", 2, 3, rows, columns, value };
    CHECK(kit_svg_heat(in_folder("heat.svg"), &heat));
    const char *svg = content(in_folder("heat.svg"));
    CHECK_HAS(svg, ">Looks</text>");
    CHECK_HAS(svg, ">a&#60;b</text>");
    CHECK_HAS(svg, ">table</text>");
    CHECK_INT(count(svg, "fill-opacity=\"0.250\""), 1);
    CHECK_INT(count(svg, "fill-opacity=\"0.000\""), 3); /* what is no number from 0 to 1 */
    CHECK_INT(count(svg, "fill-opacity=\"1.000\""), 2);
    CHECK_HAS(svg, "</svg>\n");
}

TEST_MAIN(T(plot_has_its_parts), T(plot_of_odd_data), T(plot_thins_but_keeps_peaks),
          T(plot_failure_is_reported), T(heat_map_has_its_parts))
