/* README.md keeps its word: the programs in it compile (tests/readme.awk takes them out), run, and
 * print what they should; its table lists the operations that there are. */
#include "tests/test.h"
#include "tests/child.h"

#include <ctype.h>
#include <stdlib.h>

int readme_main_1(void);
int readme_main_2(void);

static void cell(void)
{
    exit(readme_main_1());
}

static void op(void)
{
    exit(readme_main_2());
}

TEST(cell_is_proven_and_learns)
{
    run_child(cell);
    CHECK_INT(child.status, 0);
    CHECK_STR(child.err, "");
    CHECK_HAS(child.out, "mgu.W");
    CHECK_HAS(child.out, "mgu.d");
    CHECK_HAS(child.out, "passed");
    const char *last = strstr(child.out, "update 600: loss ");
    REQUIRE(last != NULL);
    CHECK(atof(last + strlen("update 600: loss ")) < 0.01); /* the variance of x is 1/3 */
}

TEST(op_is_proven)
{
    run_child(op);
    CHECK_INT(child.status, 0);
    CHECK_STR(child.err, "");
    CHECK_HAS(child.out, "passed");
    CHECK_HAS(child.out, "swish(1) = 0.731059\n");
}

/* Every operation that ops.h defines a macro for has its place in the table, and no other has. */
TEST(table_lists_the_operations)
{
    static char readme[1 << 17];
    char name[80], quoted[90];
    int n = 0, listed = 0;
    size_t length = strlen(content(TEST_ROOT "/README.md"));
    REQUIRE(length < sizeof readme);
    memcpy(readme, content(TEST_ROOT "/README.md"), length + 1);
    const char *table = strstr(readme, "\n| operation |");
    REQUIRE(table != NULL);
    const char *ops = content(TEST_ROOT "/ops/ops.h"), *end = strstr(table, "\n\n");
    for (const char *s = ops; (s = strstr(s, "\n#define ur_")) != NULL; s++) {
        size_t k = strcspn(s + 9, "(");
        snprintf(name, sizeof name, "%.*s", (int)k, s + 9);
        snprintf(quoted, sizeof quoted, "`%s`", name);
        const char *at = strstr(table, quoted);
        if (!CHECK(at && at < end))
            printf("  that is %s\n", name);
        n++;
    }
    for (const char *s = table; (s = strstr(s, "`ur_")) != NULL && s < end; s++) {
        snprintf(name, sizeof name, "\n#define %.*s(", (int)strcspn(s + 1, "`"), s + 1);
        if (!CHECK_HAS(ops, name))
            printf("  the table has an operation too many\n");
        listed++;
    }
    CHECK_INT(listed, n);
    CHECK(n > 80);
}

/* The folders and files that it sends the reader to exist. */
TEST(named_files_exist)
{
    static char readme[1 << 17];
    snprintf(readme, sizeof readme, "%.100000s", content(TEST_ROOT "/README.md"));
    int n = 0;
    for (char *s = readme; (s = strchr(s, '`')) != NULL; s++) {
        char path[256];
        size_t k = strcspn(++s, "`");
        bool file = k > 2 && k < 60 && memchr(s, '/', k) && !memchr(s, ' ', k) && islower(*s)
                    && strncmp(s, "build/", 6) != 0;
        if (file) {
            snprintf(path, sizeof path, "%s/%.*s", TEST_ROOT, (int)k, s);
            n++;
            if (!CHECK_INT(access(path, F_OK), 0))
                printf("  that is %s\n", path);
        }
        s += k;
    }
    CHECK(n >= 10);
}

TEST_MAIN(T(cell_is_proven_and_learns), T(op_is_proven), T(table_lists_the_operations),
          T(named_files_exist))
