/* The pool of threads: fork and join by one word a thread.
 *
 * A thread has a seat with a word that says how far its part of the job is: OPEN, TAKEN, DONE,
 * beside the number of the job. The caller opens the seats, runs part 0, takes what is still open,
 * and waits for the rest. A part is taken by compare-and-swap, so that one that its own thread has
 * not begun is run by who is free first: a job never waits for a thread that does not run.
 *
 * Who waits spins at first, because most jobs take a few microseconds and follow each other at
 * once; then yields, in case the other is not running for want of a core; then sleeps. Sleepers and
 * those who wake them follow Dekker: each writes its own word, then reads the other's, all in one
 * total order (the default of C11's atomics), so that one of them sees the other.
 *
 * A part runs in the floating-point environment of the caller, so that rounding and denormals do
 * not depend on the thread. */
#define _GNU_SOURCE             /* sched_getaffinity */
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include "graph/internal.h"
#include "graph/run/pool.h"

enum { IDLE, OPEN, TAKEN, DONE, NEXT };         /* of a seat's word; NEXT is one job further */

enum {
    SPIN_NS = 30 * 1000,
    SLEEP_NS = 100 * 1000,
    LOOKS = 16,                 /* between two looks at the clock */
};

/* Who waits, and can be woken. */
typedef struct sleeper {
    atomic_bool sleeps;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
} sleeper;

/* What changes hands with every job fills one line of the cache. */
typedef struct seat {
    _Alignas(64) atomic_uint word;
    int parts;
    ur__part *run;
    void *job;
    _Alignas(64) sleeper owner;
} seat;

static struct {
    atomic_bool taken;
    int threads;                /* that were started, the caller's counted */
    unsigned number;            /* of the job */
    _Alignas(64) unsigned run;  /* counts takers, so that threads know when to change the mode */
    fenv_t mode;                /* of the one who has taken the pool */
    sleeper caller;
    seat seat[UR__MOST_THREADS];        /* the first is not used */
} pool = { .threads = 1 };

static pthread_once_t once = PTHREAD_ONCE_INIT;

/* -------------------------------------------------------------------------------------- waiting */

static void rest(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("yield");
#endif
}

static void sleeper_init(sleeper *s)
{
    atomic_init(&s->sleeps, false);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->woken, NULL);
}

static void wake(sleeper *s)
{
    if (!atomic_load(&s->sleeps))
        return;
    pthread_mutex_lock(&s->mutex);
    pthread_cond_signal(&s->woken);
    pthread_mutex_unlock(&s->mutex);
}

/* Waits until a word is in the given state; returns the word. */
static unsigned await(atomic_uint *word, unsigned state, sleeper *s)
{
    unsigned now;
    double start = 0;
    for (int looks = 0; (now = atomic_load_explicit(word, memory_order_acquire)) % NEXT != state;
         looks++) {
        rest();
        if (looks % LOOKS != 0)
            continue;
        double time = ur__now_ns();
        start = start > 0 ? start : time;
        if (time - start < SPIN_NS)
            continue;
        sched_yield();
        if (time - start < SLEEP_NS)
            continue;
        pthread_mutex_lock(&s->mutex);
        atomic_store(&s->sleeps, true);
        while (atomic_load(word) % NEXT != state)
            pthread_cond_wait(&s->woken, &s->mutex);
        atomic_store(&s->sleeps, false);
        pthread_mutex_unlock(&s->mutex);
    }
    return now;
}

/* ---------------------------------------------------------------------------------------- parts */

/* Runs the part of seat k in the job of that number, unless another has taken it. */
static bool run_open(int k, unsigned number)
{
    seat *s = &pool.seat[k];
    unsigned open = number + OPEN;
    if (atomic_load_explicit(&s->word, memory_order_relaxed) != open ||
        !atomic_compare_exchange_strong(&s->word, &open, number + TAKEN))
        return false;
    s->run(s->job, k, s->parts);
    atomic_store(&s->word, number + DONE);
    return true;
}

static void *work(void *at)
{
    seat *s = at;
    const int own = (int)(s - pool.seat);
    for (unsigned mode = 0;;) {
        unsigned open = await(&s->word, OPEN, &s->owner), number = open - OPEN;
        if (!atomic_compare_exchange_strong(&s->word, &open, number + TAKEN))
            continue;
        const int parts = s->parts;
        if (mode != pool.run)
            fesetenv(&pool.mode);
        mode = pool.run;
        s->run(s->job, own, parts);
        atomic_store(&s->word, number + DONE);
        wake(&pool.caller);
        for (int k = parts - 1; k > 0; k--)
            if (run_open(k, number))
                wake(&pool.caller);
    }
    return NULL;
}

void ur__pool_run(int parts, ur__part *run, void *job)
{
    const unsigned number = pool.number += NEXT;
    for (int k = 1; k < parts; k++) {
        seat *s = &pool.seat[k];
        s->parts = parts;
        s->run = run;
        s->job = job;
        atomic_store(&s->word, number + OPEN);
    }
    for (int k = 1; k < parts; k++)
        wake(&pool.seat[k].owner);
    run(job, 0, parts);
    for (int k = parts - 1; k > 0; k--)
        run_open(k, number);
    for (int k = 1; k < parts; k++)
        await(&pool.seat[k].word, DONE, &pool.caller);
}

/* ----------------------------------------------------------------------------- taking and giving */

/* A child of fork has this thread only: its pool is new. */
static void begin_anew(void)
{
    pool.threads = 1;
    sleeper_init(&pool.caller);
    for (int k = 0; k < UR__MOST_THREADS; k++) {
        atomic_init(&pool.seat[k].word, IDLE);
        sleeper_init(&pool.seat[k].owner);
    }
    atomic_store(&pool.taken, false);
}

static void set_up(void)
{
    sleeper_init(&pool.caller);
    for (int k = 0; k < UR__MOST_THREADS; k++)
        sleeper_init(&pool.seat[k].owner);
    pthread_atfork(NULL, NULL, begin_anew);
}

/* Threads that nobody joins, so that they do not hold the process when it ends, and that take no
 * signals, which are for the program's own. */
static void start_threads(int wanted)
{
    pthread_attr_t detached;
    sigset_t all, old;
    if (pthread_attr_init(&detached) != 0)
        return;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_t id;
    while (pool.threads < wanted &&
           pthread_create(&id, &detached, work, &pool.seat[pool.threads]) == 0)
        pool.threads++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&detached);
}

int ur__pool_take(int wanted)
{
    if (wanted > UR__MOST_THREADS)
        wanted = UR__MOST_THREADS;
    if (wanted < 2 || atomic_exchange(&pool.taken, true))
        return 1;
    pthread_once(&once, set_up);
    if (pool.threads < wanted)
        start_threads(wanted);
    if (pool.threads < 2) {
        atomic_store(&pool.taken, false);
        return 1;
    }
    fegetenv(&pool.mode);
    pool.run++;
    return wanted < pool.threads ? wanted : pool.threads;
}

void ur__pool_give(int got)
{
    if (got > 1)
        atomic_store(&pool.taken, false);
}
