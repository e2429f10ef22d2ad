/* Measures the library at the workloads of workloads.c, in tokens, flops, memory, nodes.
 *
 * With several workloads each has a process of its own, so that memory and the time of the first
 * step are its own too. That time counts from main(); loading the program before takes about 1 ms.
 * A workload without the chosen form is left out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "examples/kit/kit.h"
#include "tests/bench/bench.h"

static bool list, json;
static int threads = 1;
static double seconds = 4, budget;
static const char *workload = "all", *form_name = "textbook", *off;

static kit_option options[] = {
    KIT_OPTION("list", &list, NULL, NULL, "prints the workloads with their sizes, and ends"),
    KIT_OPTION("workload", &workload, NULL, "NAME", "workload to run; all: one after the other"),
    KIT_OPTION("threads", &threads, "[1,256]", "N", "threads of the library"),
    KIT_OPTION("seconds", &seconds, "[0,3600]", "S",
               "time to measure; 0: two steps, whose figures say nothing"),
    KIT_OPTION("form", &form_name, "textbook|merged|batched|rerun|lengths", "NAME",
               "how the model is written: textbook (gates apart, trees node by node); merged (the "
               "gates' weights by hand in one); batched (x W for the whole sequence first, trees "
               "level by level); rerun (recorded once); lengths (new ones in every step)"),
    KIT_OPTION("off", &off, NULL, "NAMES", "rewrites to switch off, separated by commas"),
    KIT_OPTION("budget", &budget, "[0,1]", "PART",
               "memory for the values of a step, as a part of what it would take; 0: no limit"),
    KIT_OPTION("json", &json, NULL, NULL, "prints an object a line in place of a table"),
};
enum { OPTIONS = sizeof options / sizeof *options };

/* ---- Output ---- */

static kit_log out;

static void print_workload(const bench_workload *w)
{
    const double mflop = bench_flops(w) * 1e-6;
    if (!json) {
        printf("%-18s %7d tokens %10.1f Mflop a step ", w->name, bench_tokens(w), mflop);
        for (int f = 0; f < FORMS; f++)
            if (w->family->forms >> f & 1)
                printf(" %s", bench_form_name(f));
        putchar('\n');
        return;
    }
    kit_log_begin(&out);
    kit_log_text(&out, "workload", w->name);
    kit_log_text(&out, "family", w->family->name);
    kit_log_text(&out, "cell", w->cell);
    const struct { const char *key; int value; } sizes[] = {
        { "V", w->V }, { "E", w->E }, { "H", w->H }, { "layers", w->layers }, { "B", w->B },
        { "T", w->T }, { "S", w->S }, { "classes", w->classes }, { "lo", w->lo }, { "hi", w->hi },
        { "heads", w->heads }, { "adam", w->adam }, { "sum_t", w->sum_t },
        { "tokens", bench_tokens(w) },
    };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        kit_log_int(&out, sizes[k].key, sizes[k].value);
    kit_log_double(&out, "lr", w->lr);
    kit_log_double(&out, "clip", w->clip);
    kit_log_double(&out, "mflop", mflop);
    kit_log_end(&out);
}

static void print_json(const bench_workload *w, bench_form form, const bench_result *r)
{
    kit_log_begin(&out);
    kit_log_text(&out, "workload", w->name);
    kit_log_text(&out, "form", bench_form_name(form));
    kit_log_int(&out, "threads", threads);
    kit_log_double(&out, "tokens_per_s", r->tokens_per_s);
    kit_log_double(&out, "step_ms", r->step_ms);
    kit_log_double(&out, "gflops", r->gflops);
    kit_log_double(&out, "fma_peak_gflops", r->peak_gflops);
    kit_log_double(&out, "peak_fraction", r->gflops / r->peak_gflops);
    kit_log_double(&out, "rss_mb", r->rss_mb);
    kit_log_double(&out, "arena_mb", r->arena_mb);
    kit_log_int(&out, "nodes", (long long)r->nodes);
    kit_log_int(&out, "planned_nodes", (long long)r->planned_nodes);
    kit_log_int(&out, "plans_made", (long long)r->plans_made);
    kit_log_double(&out, "plan_ns_per_node", r->plan_ns);
    kit_log_double(&out, "record_ns_per_node", r->record_ns);
    kit_log_double(&out, "first_step_ms", r->first_step_ms);
    kit_log_double(&out, "first_loss", r->first_loss);
    kit_log_double(&out, "loss", r->loss);
    kit_log_int(&out, "steps", r->steps);
    if (r->read_gbs > 0) {
        kit_log_double(&out, "read_gb_per_s", r->read_gbs);
        kit_log_double(&out, "used_gb_per_s", r->used_gbs);
    }
    kit_log_end(&out);
}

static void print_head(void)
{
    printf("%d thread%s, form %s\n%-17s %10s %10s %8s %6s %7s %8s %6s %6s %6s %9s %7s\n", threads,
           threads == 1 ? "" : "s", form_name, "workload", "tokens/s", "step ms", "GFLOP/s",
           "peak", "MB", "nodes", "plans", "ns pl.", "ns rec.", "first ms", "loss");
}

static void print_line(const bench_workload *w, const bench_result *r)
{
    printf("%-17s %10.0f %10.3f %8.1f %5.1f%% %7.1f %8zu %6zu %6.1f %6.1f %9.1f %7.4f\n", w->name,
           r->tokens_per_s, r->step_ms, r->gflops, 100 * r->gflops / r->peak_gflops, r->rss_mb,
           r->nodes, r->plans_made, r->plan_ns, r->record_ns, r->first_step_ms, r->loss);
    if (budget > 0)
        printf("%-17s %.1f MB for the values of a step\n", "", r->arena_mb);
    if (r->read_gbs > 0)
        printf("%-17s reads %.1f GB of weights a second; 16 MB alone: %.1f GB\n", "",
               r->used_gbs, r->read_gbs);
}

/* ---- The program ---- */

static bench_form form_of(const char *name)
{
    int f = 0;
    while (strcmp(bench_form_name(f), name) != 0)
        f++;
    return f;
}

static const bench_workload *find(const char *name)
{
    for (int k = 0; k < bench_n_workloads; k++)
        if (strcmp(bench_workloads[k].name, name) == 0)
            return &bench_workloads[k];
    kit_die("--workload: there is no '%s'; --list prints all", name);
}

static void run(const bench_workload *w, bool alone, double started)
{
    const bench_form form = form_of(form_name);
    const bench_options o = { threads, seconds, off, budget, started };
    const bench_result r = bench_measure(w, form, &o);
    if (alone && !json)
        print_head();
    if (json)
        print_json(w, form, &r);
    else
        print_line(w, &r);
    fflush(stdout);
}

/* In a process of its own; false when it failed. */
static bool run_apart(const bench_workload *w)
{
    int status = -1;
    fflush(NULL);
    const double started = bench_now();
    const pid_t child = fork();
    if (child == 0) {
        run(w, false, started);
        exit(0);
    }
    if (child < 0)
        kit_die("cannot start another process");
    waitpid(child, &status, 0);
    return status == 0;
}

int main(int argc, char **argv)
{
    const double started = bench_now();
    bool ok = true;
    kit_args(&(kit_usage){
        "Measures the library at training and running recurrent networks.",
        "bench --workload char-lstm-256 --threads 2\n"
        "bench --workload all --json --form merged",
        NULL, options, OPTIONS }, argc, argv);
    const unsigned form = 1u << form_of(form_name);
    const bench_workload *one = strcmp(workload, "all") == 0 ? NULL : find(workload);
    out = (kit_log){ .file = stdout, .path = "standard output" };
    if (one && !list && !(one->family->forms & form))
        kit_die("--form %s: %s does not have it; --list prints those that it has", form_name,
                one->name);
    if (!one && !list && !json)
        print_head();
    for (int k = 0; k < bench_n_workloads; k++) {
        const bench_workload *w = one ? one : &bench_workloads[k];
        if (list)
            print_workload(w);
        else if (one)
            run(w, true, started);
        else if (w->family->forms & form)
            ok = run_apart(w) && ok;
        if (one)
            break;
    }
    return fflush(stdout) == 0 && ok ? 0 : 1;
}
