/* The benchmark of tests/bench/: every workload in every form makes two steps, whose losses are
 * those of a model that knows nothing yet. Times are not looked at. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include "tests/test.h"
#include "tests/child.h"

/* The large ones take long, more so under sanitizers, which only see the small ones. */
#ifdef SANITIZED
static const double most_mflop = 4000, most_mflop_in_other_forms = 1200;
#else
static const double most_mflop = 1e9, most_mflop_in_other_forms = 14000;
#endif

static char program[1024], *words[32];

static void exec_words(void)
{
    execv(words[0], words);
    _exit(98);
}

/* Runs the benchmark with these arguments, split at spaces; `child` has what it did. */
static int bench(const char *format, ...)
{
    static char line[1024];
    int n = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    snprintf(program, sizeof program, "%s/tests/bench/bench", TEST_BUILD);
    words[n++] = program;
    for (char *w = strtok(line, " "); w && n < 31; w = strtok(NULL, " "))
        words[n++] = w;
    words[n] = NULL;
    run_child(exec_words);
    return child.status;
}

/* The number behind a key of a JSON line; NaN where there is none. */
static double number(const char *line, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *p = strstr(line, quoted);
    char *end = NULL;
    double value = p ? strtod(p + strlen(quoted), &end) : NAN;
    return p && end != p + strlen(quoted) ? value : NAN;
}

/* Calls each(name, line) for every line of `bench --list --json`; returns how many there are. */
static int for_each_workload(void (*each)(const char *name, const char *line))
{
    static char list[sizeof child.out];
    int n = 0;
    if (!CHECK_INT(bench("--list --json"), 0))
        return 0;
    memcpy(list, child.out, sizeof list);
    for (char *line = list, *end; (end = strchr(line, '\n')); line = end + 1, n++) {
        char name[64] = "";
        *end = 0;
        CHECK_INT(sscanf(line, "{\"workload\": \"%63[^\"]\"", name), 1);
        each(name, line);
    }
    return n;
}

static void check_figures(const char *name, const char *form, const char *of)
{
    const double classes = number(of, "classes"), V = number(of, "V");
    if (!CHECK_INT(bench("--workload %s --form %s --threads 2 --seconds 0 --json", name, form), 0))
        printf("  %s, %s, said: %s", name, form, child.err);
    CHECK_INT(count(child.out, "\n"), 1);
    static const char *const positive[] = { "tokens_per_s", "step_ms", "gflops", "fma_peak_gflops",
                                            "peak_fraction", "rss_mb", "nodes", "planned_nodes",
                                            "plans_made", "plan_ns_per_node", "first_step_ms" };
    for (size_t k = 0; k < sizeof positive / sizeof *positive; k++)
        if (!CHECK(number(child.out, positive[k]) > 0))
            printf("  %s of %s\n", positive[k], name);
    CHECK_INT((long long)number(child.out, "steps"), 1);
    if (strcmp(name, "sample-512") == 0)
        return;
    const double expected = log(classes > 0 ? classes : V);
    if (!CHECK_NEAR(number(child.out, "first_loss"), expected, 0.05 * expected) ||
        !CHECK_NEAR(number(child.out, "loss"), expected, 0.05 * expected))
        printf("  loss of %s, %s\n", name, form);
}

static void textbook(const char *name, const char *line)
{
    CHECK(number(line, "tokens") > 0 && number(line, "mflop") > 0);
    if (number(line, "mflop") <= most_mflop)
        check_figures(name, "textbook", line);
}

static void others(const char *name, const char *line)
{
    static const char *const forms[] = { "merged", "batched", "rerun", "lengths" };
    if (number(line, "mflop") > most_mflop_in_other_forms)
        return;
    bench("--list --workload %s", name);
    char list[512];
    snprintf(list, sizeof list, "%.511s", child.out);
    for (size_t k = 0; k < sizeof forms / sizeof *forms; k++)
        if (strstr(list, forms[k]) && (strcmp(forms[k], "rerun") != 0 || number(line, "B") == 1))
            check_figures(name, forms[k], line);
}

TEST(workloads_make_steps)
{
    CHECK(for_each_workload(textbook) >= 17);
}

TEST(other_forms_make_steps)
{
    CHECK(for_each_workload(others) >= 17);
}

TEST(all_of_a_form_one_after_the_other)
{
    CHECK_INT(bench("--form lengths --seconds 0"), 0);
    CHECK_HAS(child.out, "bilstm-tag");
    CHECK_INT(count(child.out, "\n"), 3);
}

TEST(rewrites_are_switched_off)
{
    CHECK_INT(bench("--workload tiny-16 --off fuse,kmerge --seconds 0"), 0);
    CHECK_INT(bench("--workload tiny-16 --off fuse,kmerg --seconds 0"), 2);
    CHECK_STR(child.err, "bench: --off: there is no rewrite called 'kmerg'\n");
}

TEST(budgets_change_no_loss)
{
    CHECK_INT(bench("--workload char-lstm-128 --seconds 0 --json"), 0);
    const double arena = number(child.out, "arena_mb"), loss = number(child.out, "loss");
    CHECK_INT(bench("--workload char-lstm-128 --seconds 0 --json --budget 0.5"), 0);
    CHECK(number(child.out, "arena_mb") <= 0.5 * arena);
    CHECK(number(child.out, "loss") == loss);
}

TEST(bad_arguments_are_refused)
{
    CHECK_INT(bench("--workload tiny"), 2);
    CHECK_STR(child.err, "bench: --workload: there is no 'tiny'; --list prints all\n");
    CHECK_INT(bench("--workload tiny-16 --form lengths"), 2);
    CHECK_STR(child.err, "bench: --form lengths: tiny-16 does not have it; --list prints those "
                         "that it has\n");
    CHECK_INT(bench("--threads 0"), 2);
    CHECK_INT(count(child.err, "\n"), 1);
}

TEST_MAIN(T(workloads_make_steps), T(other_forms_make_steps),
          T(all_of_a_form_one_after_the_other), T(rewrites_are_switched_off),
          T(budgets_change_no_loss), T(bad_arguments_are_refused))
