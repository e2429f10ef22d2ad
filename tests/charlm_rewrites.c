/* examples/charlm learns the same without any single rewrite of the planner. */
#include "graph/plan/plan.h"
#include "tests/charlm.h"

/* The mean losses over the first updates, as the log has them at every tenth. */
static int losses(const char *log, double out[20])
{
    int n = 0;
    for (const char *s = content(log); *s && n < 20; s = strchr(s, '\n') + 1)
        out[n++] = field(s, "train_loss");
    return n;
}

/* The plan's rewrites change sums in the last digits only; learning does not make more of it. */
TEST(no_rewrite_changes_the_losses)
{
    static const char *const rewrites[] = {
#define X(name) #name,
        UR__REWRITES(X)
#undef X
    };
    const char *text = keep("book"), *log = keep("log");
    const int n_rewrites = (int)(sizeof rewrites / sizeof *rewrites);
    book("book", 6000);
    for (int k = 0; k < 2; k++) {
        const char *precision = k ? "float" : "double";
        const int updates = k ? 20 : 200, lines = updates / 10;
        double want[20] = { 0 }, got[20] = { 0 };
        for (int i = -1; i < n_rewrites; i++) {
            setenv("UR_OFF", i < 0 ? "" : rewrites[i], 1);
            CHARLM("--data %s %s --precision %s --updates %d --log %s", text, tiny, precision,
                   updates, log);
            if (!CHECK(losses(log, i < 0 ? want : got) >= lines))
                break;
            for (int t = 0; t < lines && i >= 0; t++)
                if (!CHECK_NEAR(got[t], want[t], (k ? 1e-5 : 1e-9) * want[t]))
                    printf("  that is without %s, in %s, after %d updates\n", rewrites[i],
                           precision, 10 * (t + 1));
        }
    }
    unsetenv("UR_OFF");
}

TEST_MAIN(T(no_rewrite_changes_the_losses))
