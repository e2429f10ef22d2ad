/* graph.h: the tape of unroll.
 *
 * A program records operations on a graph, asks for gradients, and runs what it has recorded:
 *
 *     #include <unroll/unroll.h>
 *
 *     int main(void)
 *     {
 *         ur_params *ps = ur_params_new(UR_F32, 1);               // parameters, drawn from seed 1
 *         ur_node W = ur_param(ps, "W", ur_xavier(), 3, 2);
 *         ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
 *         float x[] = { 1, 2, 3 };
 *
 *         ur_node y = ur_tanh(ur_matmul(ur_input(g, x, 1, 3), W));    // [1,2]; nothing is computed
 *         ur_node loss = ur_sum(ur_square(y));
 *         ur_backward(loss);                                      // d loss / d W, into the store
 *         if (!ur_run(g))                                         // now it is
 *             fprintf(stderr, "%s\n", ur_error(g));
 *         printf("loss %g\n", ur_value(loss));
 *         ur_graph_free(g);
 *         ur_params_free(ps);
 *     }
 *
 * Four verbs. *Record*: an operation appends a node to the graph's tape; shapes are checked at
 * once, nothing is computed. *Differentiate*: ur_backward and ur_grad append a request. *Plan*: the
 * first run of a tape expands the requests by the rules of the ops, rewrites, schedules and lays
 * out the memory; a tape of the same structure is not planned again. *Run*: kernels over one arena.
 *
 * A training loop clears the graph and records every step anew, in plain C with loops and ifs; in
 * the steady state nothing is allocated and nothing is planned.
 *
 * Errors. No function aborts, prints or returns NULL for a node. The first error sticks in the
 * graph (or the store) that it befell; later operations return an inert node, runs and updates do
 * nothing and return false, parameters keep their values. ur_error gives its text until
 * ur_error_reset. So a program checks once, after ur_run.
 *
 * Threads: one thread at a time uses a graph. Several threads may run inference graphs on one
 * store; gradients and updates of a store belong to one thread. A run may use more by itself
 * (ur_set_threads), in the floating-point mode of its caller. A child of fork can go on.
 */
#ifndef UR_GRAPH_H
#define UR_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define UR_API __attribute__((visibility("default")))
#define UR__PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define UR_API
#define UR__PRINTF(text, first)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, "major.minor.patch". */
UR_API const char *ur_version(void);

/* ---------------------------------------------------------------------------------------- nodes */

typedef struct ur_graph ur_graph;
typedef struct ur_params ur_params;
typedef struct ur_op ur_op;

/* A value on a tape, or a parameter of a store: 16 bytes, passed by value. It is a handle, never a
 * pointer to data; {0} is the nil node. A node of a cleared tape is recognised and refused. */
typedef struct ur_node {
    void *owner;                /* the ur_graph or ur_params it belongs to */
    uint32_t id, generation;
} ur_node;

/* Element types. Nodes are of the graph's precision, or UR_I32 for ids, labels and lengths. */
typedef enum ur_type { UR_F32, UR_F64, UR_I32 } ur_type;

enum { UR_MAX_RANK = 6 };

/* Row-major; rank 0 is a scalar; sizes may be 0. A step is [B, features], a sequence
 * [T, B, features]. */
typedef struct ur_shape {
    int rank;
    int dim[UR_MAX_RANK];
} ur_shape;

/* The shape of a node; rank -1 for nil and for stale nodes. */
UR_API ur_shape ur_shape_of(ur_node x);
/* Size of axis `axis`; negative axes count from the end. -1 when there is no such axis. */
UR_API int ur_dim(ur_node x, int axis);
/* Number of elements; 0 for nil. */
UR_API size_t ur_count(ur_node x);
UR_API ur_type ur_type_of(ur_node x);
UR_API bool ur_is_nil(ur_node x);
/* No node: what a failed call returns, an optional operand left out. */
#define UR_NIL ((ur_node){ NULL, 0, 0 })

/* Operations are macros that hand their place in the caller's file to a function ur_..._at; a plain
 * function of the same name exists as well, for use as a pointer. A place is one string literal,
 * "file:line:arguments"; NULL where it is unknown. */
typedef const char *ur_at;
#define UR__TEXT2(x) #x
#define UR__TEXT(x) UR__TEXT2(x)
#define UR_AT(arguments) (__FILE__ ":" UR__TEXT(__LINE__) ":" arguments)

/* ---------------------------------------------------------------------------------------- graph */

enum { UR_INFER = 0, UR_TRAIN = 1 };

/* A graph whose values are UR_F32 or UR_F64. In UR_INFER dropout is the identity and no activation
 * is kept for gradients. NULL when out of memory. A graph is freed before the stores it used. */
UR_API ur_graph *ur_graph_new(ur_type precision, int mode);
UR_API void ur_graph_free(ur_graph *g);

/* Forgets the tape, keeping memory and plans: the start of a new step. Nodes become stale. */
UR_API void ur_clear(ur_graph *g);

/* Memory that lives until the tape is cleared, zeroed and aligned for anything: for the arrays of
 * nodes of a loop. In the steady state it costs no allocation. NULL, and an error of the graph,
 * when there is none; NULL for a NULL graph. */
UR_API void *ur_graph_alloc(ur_graph *g, size_t bytes);

/* Runs what is outstanding. False when the graph has an error; then no state was written and no
 * gradient counts. */
UR_API bool ur_run(ur_graph *g);
/* Runs the whole tape once more without recording: on inputs changed by ur_set, on states as they
 * are now, with new random numbers. */
UR_API bool ur_rerun(ur_graph *g);

UR_API int ur_mode(const ur_graph *g);                  /* UR_TRAIN or UR_INFER */
UR_API ur_type ur_precision(const ur_graph *g);
/* The graph that a node was recorded on; NULL for a parameter and for nil. */
UR_API ur_graph *ur_graph_of(ur_node x);

/* Random operations draw from (seed, run number, operation, element); both can be set, so that a
 * resumed program goes on with the same numbers. Seed 0 and run 0 at first; every run of a cleared
 * tape and every rerun takes the next number. */
UR_API void ur_seed(ur_graph *g, uint64_t seed);
UR_API uint64_t ur_run_number(const ur_graph *g);
UR_API void ur_set_run_number(ur_graph *g, uint64_t number);

/* Number of threads that runs may use, 1 at first, 0 for one a core; there are never more at it
 * than cores. Results have the same bits for any number. The threads are the caller's and those of
 * one pool that the process shares: a run that finds it in use stays on its own thread. An
 * optimiser's step uses as many as the graph that made the gradient. Operations of a user without
 * `pieces` (op.h) are computed on the caller's thread. */
UR_API void ur_set_threads(ur_graph *g, int n);

/* A watched graph checks before it commits that losses, gradients and carried states are finite;
 * if not, the run fails and the error names the first operation that made a NaN or infinity. */
UR_API void ur_watch(ur_graph *g, bool on);

/* Bytes at most that the cache of plans may hold; 256 MB at first. The least recently used plan
 * leaves; plans that served one tape only have a 64th of the room, and after many new ones in a row
 * none, but more once tapes come again whose plans are gone. */
UR_API void ur_plan_cache_limit(ur_graph *g, size_t bytes);

/* Bytes at most that the values of a run may take that do not outlive it (arena_bytes of ur_stats),
 * 0 at first: no limit. A plan that needs more computes segments of long chains again on the way
 * back instead of keeping them: the same bits in less memory and more time. Where that is not
 * enough, the run fails and the error says how much is needed at least. */
UR_API void ur_graph_budget(ur_graph *g, size_t bytes);

/* Switches a rewrite of the planner off or on by name: "batch", "hoist", "split", "swap", "mmerge",
 * "kmerge", "nmerge", "fuse", "recompute", "chunk", "band", "views", "accumulate", "pack",
 * "segment", "schedule", "memory". Names in the environment variable UR_OFF (separated by commas)
 * are off from the start and must exist. Results stay the same within rounding. False: no such. */
UR_API bool ur_rewrite(ur_graph *g, const char *name, bool on);

typedef struct ur_graph_stats {
    size_t nodes;               /* forward nodes on the tape */
    size_t planned_nodes;       /* with adjoints, of the last plan */
    size_t steps;               /* kernel calls of the last plan */
    size_t arena_bytes;         /* of the last plan */
    size_t plans_made;          /* since the graph was made */
    size_t plans_cached;
    double record_ns, plan_ns;  /* of the last tape and the last planning */
} ur_graph_stats;
UR_API ur_graph_stats ur_stats(const ur_graph *g);

/* ---------------------------------------------------------------------------- inputs and values */

#define UR__DIMS(...) (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), (int[]){ __VA_ARGS__ }

/* A leaf holding a copy of `data`, which is of the graph's precision (float or double), shape the
 * sizes that follow: ur_input(g, x, T, B). data NULL gives zeros. */
#define ur_input(g, data, ...) ur_input_at(UR_AT(#data), g, data, UR__DIMS(__VA_ARGS__))
UR_API ur_node ur_input_at(ur_at at, ur_graph *g, const void *data, int rank, const int *dim);
/* The same for int32 values: token ids, labels, lengths. */
#define ur_ints(g, data, ...) ur_ints_at(UR_AT(#data), g, data, UR__DIMS(__VA_ARGS__))
UR_API ur_node ur_ints_at(ur_at at, ur_graph *g, const int32_t *data, int rank, const int *dim);
/* A rank-0 value. It is data, not structure: another value does not make another plan. */
#define ur_scalar(g, value) ur_scalar_at(UR_AT(#value), g, value)
UR_API ur_node ur_scalar_at(ur_at at, ur_graph *g, double value);
/* Zeros of the given shape. */
#define ur_zeros(g, ...) ur_zeros_at(UR_AT(""), g, UR__DIMS(__VA_ARGS__))
UR_API ur_node ur_zeros_at(ur_at at, ur_graph *g, int rank, const int *dim);

/* Replaces the data of a leaf, for ur_rerun. The count and type are those of the leaf. */
UR_API bool ur_set(ur_node leaf, const void *data);
UR_API bool ur_set_scalar(ur_node leaf, double value);

/* Keeps the value of x after the run. Values nobody used as an operand, losses, requested
 * gradients and values read are kept anyway. Returns x. */
UR_API ur_node ur_keep(ur_node x);

/* A scalar's value as a double, an int32 scalar's as an int; they run what is outstanding.
 * NaN or -1 when there is an error. */
UR_API double ur_value(ur_node x);
UR_API int32_t ur_int(ur_node x);
/* All values, in the type of the node; `n` elements must match. Runs what is outstanding. A value
 * that was not kept is computed again if nothing has changed since, or else refused. */
UR_API bool ur_read(ur_node x, void *out, size_t n);
/* The values in place, or NULL; valid until the next ur_run, ur_rerun, or ur_clear. */
UR_API const void *ur_data(ur_node x);

/* ------------------------------------------------------------------------------------ gradients */

/* Requests the gradient of a scalar loss for every parameter that it depends on and that is not
 * frozen; a run adds it to the stores' gradient blocks. (The first after an update overwrites.)
 * A loss that depends on no parameter is an error. Returns the loss.
 *
 * A loss depends on what it was recorded from, but for what lies behind ur_detach and operations
 * without a derivative; the result of ur_grad depends on all that its ys, seeds and xs depend on.
 * So the gradient may be zero whatever the values are. */
#define ur_backward(loss) ur_backward_at(UR_AT(#loss), loss)
UR_API ur_node ur_backward_at(ur_at at, ur_node loss);

/* Requests the gradients of sum_i <seed_i, y_i> for m nodes or parameters x, as new nodes out[j] of
 * x_j's shape that can be used and differentiated at once. seeds NULL stands for ones; a y
 * that does not depend on x_j gives zeros. False on error. */
#define ur_grad(ys, seeds, n, xs, m, out) ur_grad_at(UR_AT(#ys ", " #xs), ys, seeds, n, xs, m, out)
UR_API bool ur_grad_at(ur_at at, const ur_node ys[], const ur_node seeds[], int n,
                       const ur_node xs[], int m, ur_node out[]);

/* x, through which no gradient flows. */
#define ur_detach(x) ur_detach_at(UR_AT(#x), x)
UR_API ur_node ur_detach_at(ur_at at, ur_node x);

/* ----------------------------------------------------------------------------------- parameters */

/* How a parameter starts. For a matrix [n_in, n_out], y = x W; with leading dimensions they count
 * as further inputs. A value depends on the store's seed, the parameter's name and nothing else. */
typedef struct ur_init {
    int how;
    double a, b;
} ur_init;
UR_API ur_init ur_constant(double value);
UR_API ur_init ur_uniform_between(double lo, double hi);
UR_API ur_init ur_normal_with(double mean, double deviation);
/* The sum of two independent draws from U(-a, a): PyTorch's two biases, b_ih + b_hh, as one. */
UR_API ur_init ur_uniform_twice(double a);
UR_API ur_init ur_xavier(void);         /* U(+-sqrt(6 / (in + out)))     Glorot and Bengio 2010 */
UR_API ur_init ur_xavier_normal(void);  /* N(0, 2 / (in + out)) */
UR_API ur_init ur_he(void);             /* U(+-sqrt(6 / in))             He et al. 2015 */
UR_API ur_init ur_he_normal(void);      /* N(0, 2 / in) */
UR_API ur_init ur_orthogonal(double gain);  /* rows or columns orthonormal   Saxe et al. 2014 */
UR_API ur_init ur_identity(double gain);    /* gain on the main diagonal     Le et al. 2015 */

/* A store of parameters of UR_F32 or UR_F64, which outlives graphs. NULL when out of memory. */
UR_API ur_params *ur_params_new(ur_type type, uint64_t seed);
UR_API void ur_params_free(ur_params *ps);

/* Adds a parameter. Names are unique and the store not yet sealed: it is by its first use in a run,
 * a read or a save, after which all values lie in one block and pointers are fixed. */
#define ur_param(ps, name, init, ...)                                                              \
    ur_param_at(UR_AT(#name), ps, name, init, UR__DIMS(__VA_ARGS__))
UR_API ur_node ur_param_at(ur_at at, ur_params *ps, const char *name, ur_init init, int rank,
                           const int *dim);
/* printf into memory of the store, freed with it: ur_namef(ps, "%s.W", name). */
UR_API const char *ur_namef(ur_params *ps, const char *format, ...) UR__PRINTF(2, 3);
/* Memory freed with the store, zeroed; NULL (and an error on the store) when there is none. */
UR_API void *ur_params_alloc(ur_params *ps, size_t bytes);

UR_API int ur_params_count(const ur_params *ps);                /* parameters */
UR_API size_t ur_params_elements(const ur_params *ps);          /* numbers in all of them */
UR_API ur_node ur_params_at(ur_params *ps, int k);              /* the k-th, in order of creation */
UR_API ur_node ur_find(ur_params *ps, const char *name);        /* nil when there is none */
UR_API const char *ur_param_name(ur_node W);
UR_API void *ur_param_values(ur_node W);        /* in place; changing them: ur_params_changed */
UR_API void *ur_param_gradient(ur_node W);      /* in place */
UR_API void ur_freeze(ur_node W, bool frozen);  /* a frozen one gets no gradient and no update */
UR_API bool ur_is_frozen(ur_node W);
/* The whole blocks, for copies and reductions from outside; sealed by the call. Each has
 * ur_block_elements numbers, more than all parameters have: between those lie zeros. */
UR_API void *ur_values(ur_params *ps);
UR_API void *ur_gradients(ur_params *ps);
UR_API size_t ur_block_elements(const ur_params *ps);
UR_API ur_type ur_params_type(const ur_params *ps);
/* The rows (of axis 0) in which the gradient of an embedding may be non-zero, in order, *n of them;
 * NULL when any row may be. Valid until the next run. */
UR_API const int32_t *ur_param_rows(ur_node W, size_t *n);
/* Says that values were changed from outside (packed copies are renewed), that gradients were. */
UR_API void ur_params_changed(ur_params *ps);
UR_API void ur_gradients_changed(ur_params *ps);
/* Whether a gradient waits for an update: a loss of a successful run with ur_backward depends on a
 * parameter of this store, and parameters on which it does not have gradients of zeros. What an
 * optimiser calls when it has used it. */
UR_API bool ur_gradient_ready(const ur_params *ps);
UR_API void ur_gradient_used(ur_params *ps);

/* Copies a store's value onto g's tape; operations do it by themselves. It is needed where no
 * operand tells the graph. A store of another precision is converted. */
#define ur_use(g, W) ur_use_at(UR_AT(#W), g, W)
UR_API ur_node ur_use_at(ur_at at, ur_graph *g, ur_node W);

/* --------------------------------------------------------------------------------------- states */

/* A carried state is a parameter of a store that is only read and written by runs: it starts with
 * its initial values (zeros, mostly). st holds n of them, s[] receives their leaves. */
#define ur_state_in(g, ps, s) ur_state_in_at(UR_AT(#ps), g, ps, s)
UR_API bool ur_state_in_at(ur_at at, ur_graph *g, ur_params *ps, ur_node s[]);
/* At the end of a successful run the values of s[k] become the store's k-th state. Shapes match. */
#define ur_state_out(ps, s) ur_state_out_at(UR_AT(#s), ps, s)
UR_API bool ur_state_out_at(ur_at at, ur_params *ps, const ur_node s[]);
/* Row b of every state (axis 0) starts again from zero, or all rows with b = -1. */
UR_API bool ur_state_reset(ur_params *ps, int b);

/* --------------------------------------------------------------------------------------- scopes */

/* Errors, plans and drawings say where a node belongs: "in lstm, t=3". t = -1 for no time. */
UR_API void ur_scope_begin(ur_graph *g, const char *name, int t);
UR_API void ur_scope_end(ur_graph *g);
/* Gives a node a name of its own in texts. Returns x. */
UR_API ur_node ur_named(ur_node x, const char *name);

/* --------------------------------------------------------------------------------------- errors */

/* The first error of a graph or a store, or NULL. */
UR_API const char *ur_error(const void *graph_or_store);
UR_API void ur_error_reset(void *graph_or_store);
/* Called with every first error as it happens: a place to stop in. NULL for none. */
typedef void ur_error_hook(void *user, const void *graph_or_store, const char *text);
UR_API void ur_set_error_hook(ur_error_hook *hook, void *user);

/* For functions that record a whole: layers, wrappers of cells, loops of one's own. Makes an error
 * of the graph or the store, unless it has one: printf's text, with the caller's place and `what`
 * in front and, for a graph, the scope behind: "cell.c:41: zip: x is [2,7], but .. (in lstm, t=3)".
 * `at` and `what` may be NULL. Returns false, to be returned; a function whose result is a node
 * returns a nil one then. NULL as graph or store: nothing but the false. */
UR_API bool ur_fail(void *graph_or_store, ur_at at, const char *what, const char *format, ...)
    UR__PRINTF(4, 5);
/* What such texts are made of: "x is [2,7]", a node as the caller calls it in argument k (from 0)
 * of the place, or "x is nil"; and "[2,7]" alone. Valid for the next dozen calls on this thread. */
UR_API const char *ur_called(ur_node x, ur_at at, int k);
UR_API const char *ur_shape_text(ur_shape s);

/* --------------------------------------------------------------------------------------- memory */

/* All memory of the library comes from here: fresh memory when old is NULL, none and a NULL when
 * new_bytes is 0, a moved block else; NULL without touching `old` when there is none. Set it before
 * anything else is used. NULL stands for the C library's. */
typedef void *ur_allocator(void *user, void *old, size_t old_bytes, size_t new_bytes);
UR_API void ur_set_allocator(ur_allocator *allocate, void *user);

/* ------------------------------------------------------------------------------------- printing */

/* What runs, in which order, and out of which nodes. Before that, of every rewrite what it did and
 * what that saves, of one that is off what it would: the plan without it less the plan with it, in
 *     steps, phases   kernel calls; those that run side by side are a phase
 *     flop            2MNK of a product, 1 for each element and operation of elementwise programs
 *     moved           bytes of the operands of all steps, each once
 *     fetched         those of them that are not among the last 2 MB that were moved
 *     arena           bytes, as in ur_stats
 * Plans the tape if needed, and once more for each rewrite. False, too, when out of memory. */
UR_API bool ur_print_plan(ur_graph *g, FILE *to);
/* The tape as Graphviz DOT, clusters by scope and time step. */
UR_API bool ur_print_dot(ur_graph *g, FILE *to);

/* --------------------------------------------------------------------------------------- saving */

/* Writes all parameters of the stores, which are sealed by it, to one safetensors file, with n
 * pairs of metadata: key, value, key, value, ... The file is written beside the old one, synced and
 * renamed, so that at any moment there is the old one or the new one. False, with an error on the
 * first store, when a name occurs twice in the stores, a store has an error, a name, key or value
 * is not UTF-8, a key occurs twice, the file cannot be written, or out of memory. */
UR_API bool ur_save(const char *path, ur_params *const stores[], int n_stores,
                    const char *const metadata[], int n_pairs);

/* What a load found besides: names in order, separated by spaces; "..." stands for those that had
 * no room. After a failure `loaded` is 0, and the others tell of what was seen up to it. */
typedef struct ur_load_report {
    int loaded, missing, extra;
    char missing_names[200], extra_names[200];
} ur_load_report;
/* Reads parameters by name, floats of any precision converted to that of the store. Strict: all of
 * the stores' and no others in the file. Not strict: what is there, which `report` (may be NULL)
 * tells. False, with an error on the first store, when a name occurs twice in the stores, a store
 * has an error, the file is malformed or cannot be read, a tensor has another shape than its
 * parameter or is no float, an F64 is too large for F32, or out of memory. No value of any store is
 * changed then. */
UR_API bool ur_load(const char *path, ur_params *const stores[], int n_stores, bool strict,
                    ur_load_report *report);
/* A metadata value of a file, copied to out[0 .. size). False when the file is malformed or cannot
 * be read, has no such key, or the value with its end does not fit; then `out` stays as it is and
 * `why` receives one line. */
UR_API bool ur_load_metadata(const char *path, const char *key, char *out, size_t size, char *why,
                             size_t why_size);

#ifdef __cplusplus
}
#endif

#endif
