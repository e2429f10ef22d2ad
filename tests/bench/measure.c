/* Runs a workload and takes its figures. The order: the first step, two more to warm up, then
 * stretches of steps and of the multiply-add loop in turns, so that both see the same machine. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "examples/kit/kit.h"
#include "tests/bench/bench.h"
#include "tests/bench/peak.h"

enum { STRETCHES = 4, SAMPLES = 16384, MOST_THREADS = 256 };
static const double peak_seconds = 0.22;        /* a stretch; there is one more of these */

double bench_now(void)
{
    return now();
}

/* ---- The machine ---- */

static void *peak_thread(void *rate)
{
    *(double *)rate = peak_gflops(*(double *)rate);
    return NULL;
}

/* GFLOP/s of multiply-adds in registers on all of n threads together. */
static double peak_of(int n, double seconds)
{
    pthread_t thread[MOST_THREADS];
    double rate[MOST_THREADS], sum = 0;
    int made = 0;
    while (made < n - 1) {
        rate[made] = seconds;
        if (pthread_create(&thread[made], NULL, peak_thread, &rate[made]) != 0)
            break;
        made++;
    }
    sum = peak_gflops(seconds);
    for (int k = 0; k < made; k++) {
        pthread_join(thread[k], NULL);
        sum += rate[k];
    }
    return sum;
}

typedef struct reading {
    const char *from;
    size_t n;
} reading;

enum { READ_BYTES = 16 << 20, READ_ROUNDS = 20 };

static void *read_thread(void *arg)
{
    const reading *r = arg;
    for (int round = 0; round < READ_ROUNDS; round++)
        peak_read(r->from, r->n);
    return NULL;
}

/* GB/s at which n threads together read 16 MB again and again, each its share. */
static double read_gbs(int n)
{
    pthread_t thread[MOST_THREADS];
    reading part[MOST_THREADS];
    const size_t each = READ_BYTES / (size_t)n / 512 * 512;
    char *data = aligned_alloc(64, READ_BYTES);
    double best = 0;
    if (!data)
        kit_die("out of memory");
    memset(data, 1, READ_BYTES);                /* pages never written would all be one */
    for (int repeat = 0; repeat < 3; repeat++) {
        const double start = now();
        int made = 0;
        for (int k = 0; k < n; k++)
            part[k] = (reading){ data + (size_t)k * each, each };
        while (made < n - 1 && pthread_create(&thread[made], NULL, read_thread, &part[made]) == 0)
            made++;
        for (int k = made; k < n; k++)
            read_thread(&part[k]);
        for (int k = 0; k < made; k++)
            pthread_join(thread[k], NULL);
        const double rate = 1e-9 * READ_ROUNDS * (double)each * n / (now() - start);
        best = rate > best ? rate : best;
    }
    free(data);
    return best;
}

/* The most memory that the process ever had, in MB. */
static double peak_rss(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    double kb = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb / 1024;
}

/* ---- Samples ---- */

/* Of every step, or of the last SAMPLES ones. */
typedef struct samples {
    double ms[SAMPLES], record_ns[SAMPLES], plan_ns[SAMPLES];
    long n;
} samples;

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, long n)
{
    n = n < SAMPLES ? n : SAMPLES;
    qsort(x, (size_t)n, sizeof *x, by_size);
    return n ? x[n / 2] : 0;
}

/* A step; returns the loss. */
static double sample(bench_model *m, samples *s)
{
    const long k = s->n++ % SAMPLES;
    const double start = now(), loss = m->w->family->step(m);
    s->ms[k] = (now() - start) * 1e3;
    const ur_graph_stats stats = ur_stats(m->g);
    s->record_ns[k] = stats.nodes ? stats.record_ns / (double)stats.nodes : 0;
    s->plan_ns[k] = stats.planned_nodes ? stats.plan_ns / (double)stats.planned_nodes : 0;
    return loss;
}

/* ---- A workload ---- */

static void switch_off(ur_graph *g, const char *names)
{
    char list[256];
    snprintf(list, sizeof list, "%s", names ? names : "");
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ","))
        if (!ur_rewrite(g, name, false))
            kit_die("--off: there is no rewrite called '%s'", name);
}

/* Bytes of the arena that a step needs without a budget: of a model of its own in a process of its
 * own, which leaves no traces in the figures. */
static size_t usual_arena(const bench_workload *w, bench_form form, const bench_options *o)
{
    size_t bytes = 0;
    int ends[2];
    if (pipe(ends) != 0)
        kit_die("cannot make a pipe");
    const pid_t child = fork();
    if (child == 0) {
        bench_model *m = w->family->open(w, form);
        switch_off(m->g, o->off);
        w->family->step(m);
        bytes = ur_stats(m->g).arena_bytes;
        _exit(write(ends[1], &bytes, sizeof bytes) == sizeof bytes ? 0 : 1);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0 ||
        read(ends[0], &bytes, sizeof bytes) != sizeof bytes)
        kit_die("a step without a budget failed");
    close(ends[0]);
    close(ends[1]);
    return bytes;
}

/* At least one step, then as many as fit into the time. */
static void stretch(bench_model *m, samples *s, double seconds, bench_result *r)
{
    const double end = now() + seconds;
    do
        r->loss = sample(m, s);
    while (now() < end);
}

static void gather(bench_result *r, bench_model *m, samples *s)
{
    const ur_graph_stats stats = ur_stats(m->g);
    const bench_workload *w = m->w;
    r->steps = s->n;
    r->step_ms = median(s->ms, s->n);
    r->record_ns = median(s->record_ns, s->n);
    r->plan_ns = median(s->plan_ns, s->n);
    r->tokens_per_s = bench_tokens(w) / r->step_ms * 1e3;
    r->gflops = bench_flops(w) / r->step_ms * 1e-6;
    r->rss_mb = peak_rss();
    r->nodes = stats.nodes;
    r->planned_nodes = stats.planned_nodes;
    r->plans_made = stats.plans_made;
    r->arena_mb = (double)stats.arena_bytes / (1 << 20);
}

bench_result bench_measure(const bench_workload *w, bench_form form, const bench_options *o)
{
    static samples s;
    bench_result r = { 0 };
    const double slice = o->seconds > 0 ? peak_seconds : 0;
    const size_t usual = o->budget > 0 ? usual_arena(w, form, o) : 0;
    bench_model *m = w->family->open(w, form);
    ur_set_threads(m->g, o->threads);
    switch_off(m->g, o->off);
    ur_graph_budget(m->g, (size_t)(o->budget * (double)usual));
    r.first_loss = sample(m, &s);
    r.first_step_ms = (now() - o->started) * 1e3;
    for (int k = 0; k < 2 && o->seconds > 0; k++)
        sample(m, &s);
    s.n = 0;
    r.peak_gflops = peak_of(o->threads, slice) / (STRETCHES + 1);
    for (int k = 0; k < STRETCHES; k++) {
        if (k == 0 || o->seconds > 0)
            stretch(m, &s, o->seconds / STRETCHES, &r);
        r.peak_gflops += peak_of(o->threads, slice) / (STRETCHES + 1);
    }
    gather(&r, m, &s);
    if (w->family == &bench_sample) {           /* every weight is read for every symbol */
        r.used_gbs = bench_flops(w) * 2e-6 / r.step_ms;
        r.read_gbs = read_gbs(o->threads);
    }
    w->family->close(m);
    return r;
}
