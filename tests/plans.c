/* Plans do not depend on addresses: of operations, of memory, of the stack. This program runs
 * itself anew, each time with its heap in another disorder, and each time the same tapes make the
 * same plans, and those the same bits: a bidirectional network over rows of random lengths, and
 * random trees. */
#include <stdlib.h>
#include "tests/child.h"
#include "tests/test.h"
#include "unroll/unroll.h"

enum { T = 12, B = 16, V = 30, I = 16, H = 32, NODES = 60, RUNS = 4 };

static int below(int n)
{
    return (int)(test_uniform() * n);
}

/* Memory of many sizes, half of it given back. */
static void disturb(long seed)
{
    static void *block[500];            /* which keeps the rest in reach */
    const size_t n = sizeof block / sizeof *block;
    srand((unsigned)seed);
    for (size_t i = 0; i < n; i++)
        block[i] = malloc(1 + (size_t)rand() % (i % 10 ? 300 : 100000));
    for (size_t i = 0; i < n; i++)
        if (rand() % 2)
            free(block[i]);
}

static ur_node sequences(ur_graph *g, ur_embedding embed, const ur_cell *forward,
                         const ur_cell *backward)
{
    int lengths[B];
    int32_t ids[T * B];
    for (int i = 0; i < T * B; i++)
        ids[i] = below(V);
    for (int b = 0; b < B; b++)
        lengths[b] = below(T + 1);
    ur_node x = ur_embed(embed, ur_ints(g, ids, T, B));
    ur_node y = ur_bidirectional(forward, backward, x, lengths, UR_MERGE_CONCAT, NULL);
    return ur_mean(ur_square(ur_pool_last(y, lengths)));
}

static ur_node trees(ur_graph *g, const ur_tree_lstm *tree)
{
    static ur_tree_state s[NODES];
    ur_node sum = UR_NIL;
    for (int k = 0; k < NODES; k++) {
        const int children = k < 10 ? 0 : below(4);
        ur_tree_state child[3];
        for (int j = 0; j < children; j++)
            child[j] = s[below(k)];
        ur_node x = children && below(2) ? UR_NIL : ur_noise_normal(g, 1, 1, I);
        s[k] = ur_tree_lstm_node(tree, x, child, children);
        ur_node one = ur_sum(ur_square(s[k].h));
        sum = k ? ur_add(sum, one) : one;
    }
    return sum;
}

/* The plan of a loss and its gradient, and a hash of the bits that come of it. */
static bool tell(FILE *to, ur_graph *g, ur_params *ps, ur_node loss)
{
    ur_backward(loss);
    bool ok = ur_run(g) && ur_print_plan(g, to);
    const unsigned char *bits = ok ? ur_gradients(ps) : NULL;
    uint64_t h = 0;
    for (size_t i = 0; bits && i < ur_block_elements(ps) * sizeof(float); i++)
        h = (h ^ bits[i]) * 0x100000001b3u;
    fprintf(to, "loss %a, gradients %016llx\n", ur_value(loss), (unsigned long long)h);
    ur_clear(g);
    return ok && bits;
}

/* What a process is started for. */
static int tell_plans(const char *path)
{
    ur_params *ps = ur_params_new(UR_F32, 3);
    ur_embedding embed = ur_embedding_new(ps, "embed", V, I);
    ur_cell *forward = ur_lstm(ps, "forward", I, H), *backward = ur_lstm(ps, "backward", I, H);
    ur_tree_lstm sum = ur_tree_lstm_child_sum(ps, "tree", I, H);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    FILE *to = fopen(path, "w");
    bool ok = to != NULL;
    for (int k = 0; k < 3; k++) {
        ok = ok && tell(to, g, ps, sequences(g, embed, forward, backward));
        ok = ok && tell(to, g, ps, trees(g, &sum));
    }
    ok = to && fclose(to) == 0 && ok;
    if (!ok)
        fprintf(stderr, "%s\n", ur_error(g) ? ur_error(g) : "no file");
    ur_graph_free(g);
    ur_params_free(ps);
    return !ok;
}

static char *program, path[128], run[8];

static void run_again(void)
{
    execl(program, program, "--plans", path, run, (char *)NULL);
    perror(program);
    _exit(99);
}

/* The first line in which they differ. */
static bool check_same_lines(const char *a, const char *b)
{
    char line[2][400];
    while (*a && *a == *b) {
        const size_t n = strcspn(a, "\n");
        if (strncmp(a, b, n + 1) != 0)
            break;
        a += n + (a[n] == '\n'), b += n + (b[n] == '\n');
    }
    snprintf(line[0], sizeof line[0], "%.*s", (int)strcspn(a, "\n"), a);
    snprintf(line[1], sizeof line[1], "%.*s", (int)strcspn(b, "\n"), b);
    return CHECK_STR(line[0], line[1]);
}

TEST(plans_are_the_same_in_every_process)
{
    static char first[1 << 20];
    for (int k = 0; k < RUNS; k++) {
        snprintf(path, sizeof path, "%s", in_folder("plans"));
        snprintf(run, sizeof run, "%d", k);
        run_child(run_again);
        if (!CHECK_INT(child.status, 0))
            printf("  %s", child.err);
        const char *now = content(path);
        if (k == 0)
            snprintf(first, sizeof first, "%s", now);
        CHECK(count(now, "plan: ") == 6 && count(now, "gradients ") == 6);
        if (!check_same_lines(first, now))
            printf("  in run %d\n", k);
    }
}

static const test_case tests[] = { T(plans_are_the_same_in_every_process) };

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc != 4 || strcmp(argv[1], "--plans") != 0)
        return test_main(argc, argv, tests, sizeof tests / sizeof *tests);
    disturb(strtol(argv[3], NULL, 10));
    return tell_plans(argv[2]);
}
