/* The examples kit: runs. One that is stopped anywhere ends, when it is resumed, as one that was
 * not. */
#include "examples/kit/run.h"

#include "tests/resumed.h"

enum { EPOCH = 4, GOAL = 14, SIZE = 3 };

static kit_option options[] = { KIT_TRAINING };

/* At which update or which validation the signal comes; 0: at none. */
static int stop_update, stop_validation;

typedef struct {
    kit_run run;
    ur_node w;
    int validations;
} learner;

static double update(void *ctx, int64_t position)
{
    learner *l = ctx;
    ur_graph *g = l->run.graph;
    const int *order = kit_run_order(&l->run, EPOCH);
    if (l->run.done + 1 == stop_update)
        kit_interrupted = 1;
    ur_clear(g);
    ur_node target = ur_add(ur_noise_normal(g, 1, SIZE), ur_scalar(g, order[position]));
    return kit_run_learn(&l->run, ur_squared_loss(ur_use(g, l->w), target));
}

static bool validate(void *ctx, double *loss)
{
    learner *l = ctx;
    ur_graph *g = l->run.scoring;
    if (++l->validations == stop_validation)
        kit_interrupted = 1;
    ur_clear(g);
    *loss = kit_value(g, ur_sum(ur_square(ur_use(g, l->w))));
    return !kit_interrupted;
}

static void train(void)
{
    learner l = { 0 };
    kit_run_prepare("test 1", options, sizeof options / sizeof *options, NULL, NULL, 1);
    ur_params *ps = kit_run_params();
    l.w = ur_param(ps, "w", ur_normal_with(0, 1), SIZE);
    l.run = (kit_run){ .params = ps, .update = update, .validate = validate, .ctx = &l,
                       .per_epoch = EPOCH, .items = 1, .unit = "things" };
    kit_run_open(&l.run);
    bool done = kit_run_train(&l.run);
    if (done != !kit_interrupted)
        kit_die("the run says that it was %s", done ? "finished" : "stopped");
    kit_run_close(&l.run);
    printf("%d validations\n", l.validations);
    exit(kit_finish());
}

static char a[128], b[128], log_a[128], log_b[128];

static void run(const char *resume, const char *save, const char *log, int64_t updates)
{
    kit_settings.resume = resume, kit_settings.save = save, kit_settings.log = log;
    kit_settings.updates = updates, kit_settings.threads = 1;
    run_child(train);
}

/* Stops a run there, takes it up, and compares it with the whole one. */
static void check_stopped(int at_update, int at_validation)
{
    unlink(log_b);
    stop_update = at_update, stop_validation = at_validation;
    run(NULL, b, log_b, GOAL);
    CHECK_INT(child.status, KIT_INTERRUPTED);
    CHECK_HAS(child.err, "--resume takes it up");
    stop_update = stop_validation = 0;
    run(b, b, log_b, GOAL);
    if (!CHECK_INT(child.status, 0) || !check_same_saved(a, b) || !check_same_logs(log_a, log_b))
        printf("  stopped at update %d or validation %d: %s\n", at_update, at_validation,
               child.err);
}

static void whole_run(int64_t updates)
{
    snprintf(a, sizeof a, "%s", in_folder("a.st")), snprintf(b, sizeof b, "%s", in_folder("b.st"));
    snprintf(log_a, sizeof log_a, "%s", in_folder("a.log"));
    snprintf(log_b, sizeof log_b, "%s", in_folder("b.log"));
    stop_update = stop_validation = 0;
    run(NULL, a, log_a, updates);
    CHECK_INT(child.status, 0);
}

TEST(a_run_stops_at_any_update)
{
    whole_run(GOAL);
    for (int u = 1; u <= GOAL; u++) /* 4, 8, 12: before the validation of an epoch */
        check_stopped(u, 0);
}

TEST(a_run_stops_in_any_validation)
{
    whole_run(GOAL);
    for (int v = 1; v <= 1 + GOAL / EPOCH; v++) /* the last one follows the goal */
        check_stopped(0, v);
}

/* What was finished stays as it is, and is measured: once, at an epoch's end or elsewhere. */
TEST(a_finished_run_is_measured_again)
{
    for (int updates = 2 * EPOCH; updates <= 2 * EPOCH + 1; updates++) {
        whole_run(updates);
        CHECK_STR(child.out, updates % EPOCH ? "3 validations\n" : "2 validations\n");
        run(a, b, log_b, updates);
        CHECK_STR(child.out, "1 validations\n");
        CHECK_HAS(child.err, "already; --epochs or --updates sets a later goal");
        check_same_saved(a, b);
    }
}

/* Training is not lost with its log: the model is saved, the exit status tells. */
TEST(a_run_ends_without_its_log)
{
    whole_run(GOAL);
    run(NULL, b, "/dev/full", GOAL);
    CHECK_INT(child.status, 2);
    CHECK_STR(child.out, "4 validations\n");
    CHECK_INT(count(child.err, "cannot write the log '/dev/full': No space left on device; it ends "
                               "here, but the run goes on\n"), 1);
    check_same_saved(a, b);
    run(b, b, log_b, GOAL);
    CHECK_INT(child.status, 0);
}

TEST(orders_are_those_of_the_epoch)
{
    kit_run r = { 0 };
    int first[9], times[9] = { 0 };
    const int *order = kit_run_order(&r, 9);
    for (int i = 0; i < 9; i++)
        times[first[i] = order[i]]++;
    for (int i = 0; i < 9; i++)
        CHECK_INT(times[i], 1);
    CHECK(kit_run_order(&r, 9) == order);
    r.epoch = 1;
    CHECK(memcmp(kit_run_order(&r, 9), first, sizeof first) != 0);
    r.epoch = 0;
    CHECK_MEM(kit_run_order(&r, 9), first, sizeof first);
    kit_run_close(&r);
}

static const char *kind;

static void new_cell(void)
{
    ur_params *ps = kit_run_params();
    ur_cell *cell = kit_cell(ps, kind, "rnn", 2, 3);
    printf("%s %d %d\n", cell->name, cell->inputs, cell->n_states);
    ur_params_free(ps);
}

TEST(cells_have_names)
{
    static const struct { const char *kind; int states; } table[] = {
        { "elman", 1 }, { "irnn", 1 }, { "lstm", 2 }, { "gru", 1 }, { "gru_reset_after", 1 },
    };
    char said[32];
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        kind = table[k].kind;
        run_child(new_cell);
        snprintf(said, sizeof said, "rnn 2 %d\n", table[k].states);
        CHECK_STR(child.out, said);
    }
    kind = "lstn";
    run_child(new_cell);
    CHECK_INT(child.status, 2);
    CHECK_HAS(child.err, "there is no cell 'lstn'");
}

TEST_MAIN(T(a_run_stops_at_any_update), T(a_run_stops_in_any_validation),
          T(a_finished_run_is_measured_again), T(a_run_ends_without_its_log),
          T(orders_are_those_of_the_epoch), T(cells_have_names))
