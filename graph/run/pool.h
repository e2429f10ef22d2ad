/* pool.h: the threads of the process, which take the parts of one job after another.
 *
 * There is one pool a process. Its threads are started by the first who wants them and live as long
 * as the process. Who takes the pool has it until he gives it back; meanwhile others get no more
 * than their own thread, so nobody waits for anybody. A job is cut into parts by the caller and
 * which thread runs a part means nothing: results must depend on the parts alone. */
#ifndef UR_POOL_H
#define UR_POOL_H

#include <stdbool.h>

enum { UR__MOST_THREADS = 64 };

/* The cores of the machine, found at the first use; tests say there are more. */
extern int ur__pool_cores;

/* Part number `part` of `parts` of a job. */
typedef void ur__part(void *job, int part, int parts);

/* Takes the pool for a caller who wants so many threads. Returns how many parts a job may have: at
 * most `wanted`, or the cores there are; 1 when another has the pool or there are no threads, and
 * then it is not taken. */
int ur__pool_take(int wanted);
/* Gives it back; `got` is what ur__pool_take returned. */
void ur__pool_give(int got);

/* Runs all parts, one of them at least on this thread, and returns when they are done. Part i is
 * run by the same thread every time, unless that thread is late. A part is expected to take so many
 * nanoseconds, about: who takes far longer has lost its core. The pool is taken, and parts are no
 * more than it said. */
void ur__pool_run(int parts, ur__part *run, void *job, double expected_ns);

/* What is known of stalls; times are of one clock, in nanoseconds, and all 0 at first. */
typedef struct ur__patience {
    double stalled, stalled_at; /* time lost, of late; the end of the last stall */
    double while_ns, again_at;  /* how long a thread less is used, and until when */
} ur__patience;

/* A stall of so long has ended, now. Whether a thread less of `active` ones is better until
 * again_at: where another program has a core half the time, but not where the host of a virtual
 * machine takes one away now and then. */
bool ur__gives_way(ur__patience *p, double stall_ns, int active, double now);

#endif
