/* The examples kit: files and the log. Half of it is about what is left behind when something goes
 * wrong: nothing, and the old file as it was. */
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

TEST_MAIN(T(read_file_gives_all_bytes), T(read_file_says_why_not), T(write_aside_replaces_the_file),
          T(failed_write_leaves_the_old_file), T(unwritable_outputs_are_refused_beforehand),
          T(writable_check_touches_nothing), T(log_lines_are_json),
          T(log_goes_on_after_half_a_line), T(log_failures_are_said_once))
