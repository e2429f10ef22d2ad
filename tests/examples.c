/* The example programs as a user meets them: each learns its synthetic task for a few updates, and
 * the loss falls; each explains itself, and refuses nonsense with one line. */
#include "examples/kit/kit.h"

#include "tests/child.h"
#include "tests/test.h"

/* A program's run in a second or less. `loss`: what stands before each loss that the program
 * prints; NULL where it keeps a log. The last loss is at most `falls` times the first. */
typedef struct {
    const char *name, *arguments, *loss, *prints;
    double falls;
} example;

static const example examples[] = {
    { "adding", "--length 10 --hidden 16 --updates 200", NULL, "synthetic", 0.5 },
    { "copy", "--length 5 --recall 1 --hidden 16 --updates 200", NULL, "synthetic", 0.5 },
    { "hello", "--updates 50", "loss ", "hello", 0.1 },
    { "markov", "--states 8 --updates 40", NULL, "synthetic", 0.95 },
    { "newcell", "--updates 500", NULL, "gradients: 252 numbers of 8 tensors", 0.1 },
    { "vanishing", "--length 20 --updates 200", "mean loss ", "synthetic", 0.5 },
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

static char *words[64];

static void exec_words(void)
{
    execv(words[0], words);
    _exit(98);
}

/* Runs a program with these arguments, split at spaces; its exit status. */
static int run(const char *name, const char *arguments, const char *more)
{
    static char line[1024];
    int n = 0;
    snprintf(line, sizeof line, "%s/examples/%s %s %s", TEST_BUILD, name, arguments, more);
    for (char *w = strtok(line, " "); w && n < 63; w = strtok(NULL, " "))
        words[n++] = w;
    words[n] = NULL;
    run_child(exec_words);
    return child.status;
}

/* The first and the last number that follow `key` in a text; false where there are not two. */
static bool first_and_last(const char *text, const char *key, double *first, double *last)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, key)) != NULL; n++) {
        *last = strtod(at += strlen(key), NULL);
        if (n == 0)
            *first = *last;
    }
    return n > 1;
}

TEST(losses_fall)
{
    for (int k = 0; k < EXAMPLES; k++) {
        const example *e = &examples[k];
        char log[160] = "";
        double first = NAN, last = NAN;
        if (!e->loss)
            snprintf(log, sizeof log, "--threads 1 --log %s", in_folder("log"));
        if (!CHECK_INT(run(e->name, e->arguments, log), 0))
            printf("  %s said: %s", e->name, child.err);
        CHECK_HAS(child.out, e->prints);
        bool found = e->loss ? first_and_last(child.out, e->loss, &first, &last)
                             : first_and_last(content(in_folder("log")), "\"train_loss\": ", &first,
                                              &last);
        if (!CHECK(found) || !CHECK(last >= 0 && last <= e->falls * first))
            printf("  %s: first loss %g, last %g\n", e->name, first, last);
    }
}

TEST(every_program_explains_itself)
{
    for (int k = 0; k < EXAMPLES; k++) {
        CHECK_INT(run(examples[k].name, "--help", ""), 0);
        CHECK_HAS(child.out, "--seed");
        CHECK_INT(run(examples[k].name, "--nonsense", ""), 2);
        CHECK_INT(count(child.err, "\n"), 1);
    }
}

TEST(hello_draws_its_graph)
{
    CHECK_INT(run("hello", "--updates 0 --dot -", ""), 0);
    CHECK_HAS(child.out, "digraph");
    CHECK_HAS(child.out, "t=3");
    CHECK(!strstr(child.out, "t=4") && !strstr(child.out, "loss"));
    CHECK_INT(run("hello", "--word x", ""), 2);
    CHECK_HAS(child.err, "--word has 1 letters");
}

TEST_MAIN(T(losses_fall), T(every_program_explains_itself), T(hello_draws_its_graph))
