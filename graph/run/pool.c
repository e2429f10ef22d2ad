/* The pool of threads: fork and join by one word a thread.
 *
 * A thread has a seat with a word that says how far its part of the job is: OPEN, TAKEN, DONE,
 * beside the number of the job. The caller opens the seats, runs part 0, takes what is still open,
 * and waits for the rest. A part is taken by compare-and-swap, so that one that its own thread has
 * not begun is run by who is free first: a job never waits for a thread that does not run.
 *
 * It does wait for one that has begun and lost its core to another program, for a whole slice of
 * time: a stall. When that takes more of the time than the thread is worth, one less is used for a
 * while, which grows as long as that goes on; its parts are FREE for the others. A machine whose
 * host takes a core away now and then has stalls, too, and keeps its threads. There are never more
 * threads at it than cores.
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
#include <unistd.h>
#include "graph/internal.h"
#include "graph/run/pool.h"

enum { IDLE, OPEN, FREE, TAKEN, DONE, NEXT = 8 };       /* of a seat's word; NEXT: the next job */

enum {
    SPIN_NS = 30 * 1000,
    SLEEP_NS = 100 * 1000,
    LOOKS = 16,                 /* between two looks at the clock */
    STALL_NS = 200 * 1000,      /* besides what a part is expected to take */
    WINDOW_NS = 100 * 1000 * 1000,      /* in which stalls are compared with the time */
    SHORTEST_NS = 4 * 1000 * 1000, LONGEST_NS = 256 * 1000 * 1000,
};

int ur__pool_cores;

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
    int active, most;           /* threads that are used now, and that may be */
    ur__patience patience;
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

/* Sleeps until woken, unless the word has the state by now. */
static void sleep_for(atomic_uint *word, unsigned state, sleeper *s)
{
    pthread_mutex_lock(&s->mutex);
    atomic_store(&s->sleeps, true);
    if (atomic_load(word) % NEXT != state)
        pthread_cond_wait(&s->woken, &s->mutex);
    atomic_store(&s->sleeps, false);
    pthread_mutex_unlock(&s->mutex);
}

/* Waits until a word is in the given state; returns for how long, or 0 when it was hardly at all.
 * Who has been woken too late, because another was faster, spins again: more of the same is likely
 * to come. */
static double await(atomic_uint *word, unsigned state, sleeper *s)
{
    double start = 0, spin = 0, now = 0;
    for (int looks = 1; atomic_load_explicit(word, memory_order_acquire) % NEXT != state; looks++) {
        rest();
        if (looks % LOOKS != 0)
            continue;
        now = ur__now_ns();
        start = start > 0 ? start : now;
        spin = spin > 0 ? spin : now;
        if (now - spin >= SLEEP_NS) {
            sleep_for(word, state, s);
            now = ur__now_ns();
            spin = 0;
        } else if (now - spin >= SPIN_NS) {
            sched_yield();
        }
    }
    return now - start;
}

/* ---------------------------------------------------------------------------------------- parts */

/* Runs the part of seat k in the job of that number, unless another has taken it. */
static bool run_open(int k, unsigned number)
{
    seat *s = &pool.seat[k];
    unsigned word = atomic_load_explicit(&s->word, memory_order_relaxed);
    if ((word != number + OPEN && word != number + FREE) ||
        !atomic_compare_exchange_strong(&s->word, &word, number + TAKEN))
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
        await(&s->word, OPEN, &s->owner);
        unsigned open = atomic_load_explicit(&s->word, memory_order_relaxed), number = open - OPEN;
        if (open % NEXT != OPEN ||
            !atomic_compare_exchange_strong(&s->word, &open, number + TAKEN))
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

/* One of `active` threads is worth its share of the time. Fewer are used for longer each time,
 * unless the last one is long ago. */
bool ur__gives_way(ur__patience *p, double stall_ns, int active, double now)
{
    const double ago = now - p->stalled_at, span = now - p->again_at;
    p->stalled = (ago < WINDOW_NS ? 1 - ago / WINDOW_NS : 0) * p->stalled + stall_ns;
    p->stalled_at = now;
    if (p->stalled * (active + 1) <= (span < WINDOW_NS ? span : WINDOW_NS))
        return false;
    p->while_ns = span < 8 * p->while_ns ? 2 * p->while_ns : SHORTEST_NS;
    p->while_ns = p->while_ns < LONGEST_NS ? p->while_ns : LONGEST_NS;
    p->again_at = now + p->while_ns;
    p->stalled = 0;
    return true;
}

void ur__pool_run(int parts, ur__part *run, void *job, double expected_ns)
{
    const unsigned number = pool.number += NEXT;
    if (pool.active < pool.most && ur__now_ns() > pool.patience.again_at)
        pool.active++;
    const int active = parts < pool.active ? parts : pool.active;
    for (int k = 1; k < parts; k++) {
        seat *s = &pool.seat[k];
        s->parts = parts;
        s->run = run;
        s->job = job;
        atomic_store(&s->word, number + (k < active ? OPEN : FREE));
    }
    for (int k = 1; k < active; k++)
        wake(&pool.seat[k].owner);
    run(job, 0, parts);
    for (int k = parts - 1; k > 0; k--)
        run_open(k, number);
    double waited = 0;
    for (int k = 1; k < parts; k++)
        waited += await(&pool.seat[k].word, DONE, &pool.caller);
    if (waited > expected_ns + STALL_NS && active > 1 &&
        ur__gives_way(&pool.patience, waited, active, ur__now_ns()))
        pool.active--;
}

/* ---------------------------------------------------------------------------- taking and giving */

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

/* The cores that this process may run on. */
static int cores(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
#endif
#if defined(_SC_NPROCESSORS_ONLN)
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (n > 0)
        return n < UR__MOST_THREADS ? (int)n : UR__MOST_THREADS;
#endif
    return UR__MOST_THREADS;
}

static void set_up(void)
{
    if (!ur__pool_cores)
        ur__pool_cores = cores();
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
    if (wanted < 2)
        return 1;
    pthread_once(&once, set_up);
    wanted = wanted < ur__pool_cores ? wanted : ur__pool_cores;
    wanted = wanted < UR__MOST_THREADS ? wanted : UR__MOST_THREADS;
    if (wanted < 2 || atomic_exchange(&pool.taken, true))
        return 1;
    if (pool.threads < wanted)
        start_threads(wanted);
    if (pool.threads < 2) {
        atomic_store(&pool.taken, false);
        return 1;
    }
    fegetenv(&pool.mode);
    pool.run++;
    wanted = wanted < pool.threads ? wanted : pool.threads;
    if (pool.active >= pool.most || pool.active > wanted)
        pool.active = wanted;
    pool.most = wanted;
    return wanted;
}

void ur__pool_give(int got)
{
    if (got > 1)
        atomic_store(&pool.taken, false);
}
