/* The examples kit, second half: files, the log and plots. Half of it is about what is
 * left behind when something goes wrong: nothing, and the old file as it was. */
#include "examples/kit/kit.h"

#include "tests/child.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names in the test's folder that contain `part`. */
static int count_names(const char *part)
{
    char command[256];
    int n = -1;
    snprintf(command, sizeof command, "ls -A '%s' | grep -c -F -e '%s'", child_folder, part);
    FILE *f = popen(command, "r");
    if (f && fscanf(f, "%d", &n) != 1)
        n = -1;
    if (f)
        pclose(f);
    return n;
}

static const char *path; /* what the child works on */

/* ---- Reading ---- */

static void read_path(void)
{
    char *bytes = (char *)"";
    size_t n = 1;
    if (!kit_read_file(path, &bytes, &n))
        exit(bytes == NULL && n == 0 ? 2 : 3);
}

TEST(read_file_gives_all_bytes)
{
    char *bytes = NULL;
    size_t n = 0;
    FILE *f = fopen(in_folder("bytes"), "w");
    REQUIRE(f);
    for (int i = 0; i < 70000; i++)
        fputc(i % 256, f);
    fclose(f);
    REQUIRE(kit_read_file(in_folder("bytes"), &bytes, &n));
    CHECK_INT(n, 70000);
    CHECK(bytes[n] == 0 && (unsigned char)bytes[255] == 255 && bytes[256] == 0);
    free(bytes);
    fill(in_folder("bytes"), "ten bytes!");
    REQUIRE(kit_read_file(in_folder("bytes"), &bytes, &n));
    CHECK_STR(bytes, "ten bytes!"); /* ended by 0 */
    free(bytes);
    unlink(in_folder("bytes"));
    /* A pipe, whose length nobody knows before its end. */
    char name[64];
    f = popen("printf %0100000d 7", "r");
    REQUIRE(f);
    snprintf(name, sizeof name, "/dev/fd/%d", fileno(f));
    CHECK(kit_read_file(name, &bytes, &n));
    CHECK_INT(n, 100000);
    CHECK(bytes && bytes[n - 1] == '7' && bytes[n] == 0);
    free(bytes);
    pclose(f);
}

TEST(read_file_says_why_not)
{
    fill(in_folder("empty"), "");
    fill(in_folder("locked"), "secret");
    chmod(in_folder("locked"), 0);
    bool root = geteuid() == 0; /* who may read everything */
    const struct { const char *path, *why; } table[] = {
        { NULL, "cannot read '': no file name was given" },
        { in_folder("none"), "there is no such file" },
        { in_folder("a\nb"), "a?b': there is no such file" },
        { in_folder("empty/x"), "Not a directory" },
        { in_folder(""), "it is a directory, not a file" },
        { in_folder("empty"), "the file is empty" },
        { "/dev/null", "it is a device, not a file" },
        { root ? "" : in_folder("locked"), root ? "no file name" : "Permission denied" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        path = table[i].path;
        run_child(read_path);
        CHECK_INT(child.status, 2);
        CHECK_HAS(child.err, table[i].why);
        CHECK_INT(count(child.err, "\n"), 1);
        CHECK_STR(child.out, "");
    }
    unlink(in_folder("empty"));
    unlink(in_folder("locked"));
}

/* ---- Writing ---- */

TEST(write_aside_replaces_the_file)
{
    struct stat st;
    char target[128];
    snprintf(target, sizeof target, "%s", in_folder("model"));
    CHECK(kit_write_aside(target, "first", 5));
    CHECK_STR(content(target), "first");
    chmod(target, 0640);
    CHECK(symlink("model", in_folder("link")) == 0);
    CHECK(kit_write_aside(in_folder("link"), "second one", 10));
    CHECK_STR(content(target), "second one");
    CHECK(lstat(in_folder("link"), &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(stat(target, &st) == 0 && (st.st_mode & 0777) == 0640);
    CHECK(symlink("later", in_folder("dangling")) == 0);
    CHECK(kit_write_aside(in_folder("dangling"), "x", 1));
    CHECK_STR(content(in_folder("later")), "x");
    CHECK(kit_write_aside("/dev/null", "x", 1));
    CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK_INT(count_names(".tmp"), 0);
}

static void write_path(void)
{
    static char big[5000];
    struct rlimit limit = { 1000, 1000 };
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit); /* as good as a full disk */
    exit(kit_write_aside(path, big, sizeof big) ? 0 : 2);
}

static void check_path(void)
{
    exit(kit_check_writable(path) ? 0 : 2);
}

TEST(failed_write_leaves_the_old_file)
{
    char target[128];
    snprintf(target, sizeof target, "%s", in_folder("old"));
    fill(target, "precious");
    path = target;
    run_child(write_path);
    CHECK_INT(child.status, 2);
    CHECK_HAS(child.err, "cannot write '");
    CHECK_INT(count(child.err, "\n"), 1);
    CHECK_STR(content(target), "precious");
    CHECK_INT(count_names(".tmp"), 0);
    path = "/dev/full";
    run_child(write_path);
    CHECK_INT(child.status, 2);
    CHECK_HAS(child.err, "cannot write '/dev/full': No space left on device");
}

TEST(unwritable_outputs_are_refused_beforehand)
{
    CHECK(symlink("round", in_folder("round")) == 0);
    fill(in_folder("file"), "x");
    const struct { const char *path, *why; } table[] = {
        { "", "the file name is empty" },
        { in_folder(""), "it is a directory" },
        { in_folder("none/x"), "its folder does not exist" },
        { in_folder("file/x"), "Not a directory" },
        { in_folder("round"), "Too many levels of symbolic links" },
        { "/proc/unroll-plot.svg", "cannot write '/proc/unroll-plot.svg'" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        path = table[i].path;
        run_child(check_path);
        CHECK_INT(child.status, 2);
        CHECK_HAS(child.err, table[i].why);
        CHECK_INT(count(child.err, "\n"), 1);
    }
    if (geteuid() != 0) { /* root may write everywhere */
        chmod(in_folder("file"), 0444);
        path = in_folder("file");
        run_child(check_path);
        CHECK_INT(child.status, 2);
    }
}

TEST(writable_check_touches_nothing)
{
    struct stat before, after;
    char target[128];
    snprintf(target, sizeof target, "%s", in_folder("kept"));
    fill(target, "precious");
    int names = count_names("");
    REQUIRE(stat(target, &before) == 0);
    CHECK(kit_check_writable(target));
    CHECK(kit_check_writable(in_folder("new")));
    CHECK(kit_check_writable(NULL));
    CHECK(kit_check_writable("/dev/null"));
    CHECK_STR(content(target), "precious");
    REQUIRE(stat(target, &after) == 0);
    CHECK(before.st_ino == after.st_ino && before.st_size == after.st_size
          && before.st_mtim.tv_sec == after.st_mtim.tv_sec
          && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    CHECK_INT(count_names(""), names);
}

/* ---- Log ---- */

TEST(log_lines_are_json)
{
    kit_log log;
    char target[128];
    snprintf(target, sizeof target, "%s", in_folder("log"));
    fill(target, "an older log\n");
    CHECK(kit_log_open(&log, target, false));
    kit_log_begin(&log);
    CHECK(kit_log_end(&log));
    kit_log_begin(&log);
    kit_log_int(&log, "update", -9223372036854775807 - 1);
    kit_log_double(&log, "loss", 0.1);
    kit_log_double(&log, "big", 1.5e300);
    kit_log_double(&log, "nan", NAN);
    kit_log_double(&log, "inf", -INFINITY);
    kit_log_text(&log, "none", NULL);
    kit_log_text(&log, "a\"b\\", "q\" b\\ \n \t \r \x01 \x7f \xc3\xa9 \xff \xe2\x82");
    CHECK(kit_log_end(&log));
    CHECK_STR(content(target),
              "{}\n{\"update\": -9223372036854775808, \"loss\": 0.1, \"big\": 1.5e+300, "
              "\"nan\": null, \"inf\": null, \"none\": null, \"a\\\"b\\\\\": "
              "\"q\\\" b\\\\ \\n \\t \\u000d \\u0001 \\u007f \xc3\xa9 \\ufffd \\ufffd\\ufffd\"}\n");
    CHECK(kit_log_close(&log));
}

TEST(log_goes_on_after_half_a_line)
{
    kit_log log;
    char target[128];
    snprintf(target, sizeof target, "%s", in_folder("resumed"));
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            fill(target, "{\"update\": 1}\n{\"upd");
        CHECK(kit_log_open(&log, target, true));
        kit_log_begin(&log);
        kit_log_int(&log, "update", i + 2);
        CHECK(kit_log_end(&log));
        CHECK(kit_log_close(&log));
    }
    CHECK_STR(content(target), "{\"update\": 1}\n{\"upd\n{\"update\": 2}\n{\"update\": 3}\n"
                               "{\"update\": 4}\n");
}

static void log_to_path(void)
{
    kit_log log;
    bool wrote = true;
    if (!kit_log_open(&log, path, true))
        exit(2);
    for (int i = 0; i < 3; i++) {
        kit_log_begin(&log);
        kit_log_int(&log, "update", i);
        wrote = kit_log_end(&log) && wrote;
    }
    wrote = kit_log_close(&log) && wrote;
    exit(wrote ? 0 : 3);
}

TEST(log_failures_are_said_once)
{
    path = "/dev/full";
    run_child(log_to_path);
    CHECK_INT(child.status, 3);
    CHECK_STR(child.err, "cannot write the log '/dev/full': No space left on device; it ends "
                         "here, but the run goes on\n");
    path = in_folder("");
    run_child(log_to_path);
    CHECK_INT(child.status, 2);
    CHECK_HAS(child.err, "Is a directory");
    path = NULL;
    run_child(log_to_path);
    CHECK_INT(child.status, 0);
    CHECK_STR(child.err, "");
}

/* ---- Plots ---- */

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

static void plot_to_path(void)
{
    exit(kit_svg_lines(path, &(kit_plot){ .title = "t" }) ? 0 : 2);
}

TEST(plot_failure_is_reported)
{
    path = in_folder("none/plot.svg");
    run_child(plot_to_path);
    CHECK_INT(child.status, 2);
    CHECK_HAS(child.err, "its folder does not exist");
}

TEST(heat_map_has_its_parts)
{
    static const char *const rows[] = { "la", "table" }, *const columns[] = { "a<b", "the", "." };
    static const double value[] = { 0, 0.25, 1, NAN, -1, 7 };
    kit_heat heat = { "Looks", 2, 3, rows, columns, value };
    path = in_folder("heat.svg");
    CHECK(kit_svg_heat(path, &heat));
    const char *svg = content(path);
    CHECK_HAS(svg, ">Looks</text>");
    CHECK_HAS(svg, ">a&#60;b</text>");
    CHECK_HAS(svg, ">table</text>");
    CHECK_INT(count(svg, "fill-opacity=\"0.250\""), 1);
    CHECK_INT(count(svg, "fill-opacity=\"0.000\""), 3); /* what is no number from 0 to 1 */
    CHECK_INT(count(svg, "fill-opacity=\"1.000\""), 2);
    CHECK_HAS(svg, "</svg>\n");
}

TEST_MAIN(T(read_file_gives_all_bytes), T(read_file_says_why_not), T(write_aside_replaces_the_file),
          T(failed_write_leaves_the_old_file), T(unwritable_outputs_are_refused_beforehand),
          T(writable_check_touches_nothing), T(log_lines_are_json),
          T(log_goes_on_after_half_a_line), T(log_failures_are_said_once), T(plot_has_its_parts),
          T(plot_of_odd_data), T(plot_thins_but_keeps_peaks), T(plot_failure_is_reported),
          T(heat_map_has_its_parts))
