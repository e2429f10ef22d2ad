/* What the property test prints of a tape that fails is a program: it compiles by the command in
 * its first lines, and finds in the tape what was found here. Shrinking leaves what fails. */
#include "graph/plan/plan.h"
#include "tests/child.h"
#include "tests/tape.h"
#include "tests/test.h"

#define X(name) "," #name
static const char all[] = UR__REWRITES(X);      /* begins with a comma */
#undef X

static bool compiles(const char *name, bool *none)
{
    char command[1000];
    *none = system(TEST_CC " --version >/dev/null 2>&1") != 0;
    if (*none)
        return false;
    snprintf(command, sizeof command, "%s -I'%s' -I'%s' -o '%s' '%s.c' '%s/libunroll-core.a' "
             "-lm -pthread", TEST_CC, TEST_ROOT, TEST_BUILD, name, name, TEST_BUILD);
    return CHECK_INT(system(command), 0);
}

/* Prints, compiles and runs a case. False without a compiler. */
static bool is_a_program(const tape_case *c)
{
    char name[100], want[TAPE_WHY], why[TAPE_WHY] = "", got[TAPE_WHY] = "";
    tape_result results[TAPE_ROUNDS] = { { 0 } };
    bool none = false;
    snprintf(name, sizeof name, "%s", in_folder("printed"));
    FILE *f = fopen(in_folder("printed.c"), "w");
    if (CHECK(f != NULL)) {
        tape_print(c->ctx, c, "why it is printed", f);
        CHECK_INT(fclose(f), 0);
    }
    CHECK(tape_rounds(c, NULL, 1, results, why));
    tape_summary(results, want);
    if (compiles(name, &none) && CHECK((f = popen(name, "r")) != NULL)) {
        CHECK(fgets(got, sizeof got, f) != NULL);
        got[strcspn(got, "\n")] = 0;
        CHECK_INT(pclose(f), 0);
        CHECK_STR(got, want);
    }
    tape_free(results);
    return !none;
}

TEST(a_printed_tape_is_a_program)
{
    static tape t;
    for (int k = 0; k < 2; k++) {
        tape_draw(&t, 4 + (uint64_t)k);
        tape_case c = { .record = tape_recorded, .ctx = &t, .type = k ? UR_F32 : UR_F64,
                        .all = all + 1, .off = k ? "fuse,views" : "", .threads = { 1, 2 },
                        .small = k, .part = 0.5 };
        if (!is_a_program(&c))
            SKIP("no compiler");
    }
}

/* A tape fails as long as it has a layer and kmerge is on. */
static bool has_a_layer(const tape *t, const char *off, void *ctx)
{
    bool has = false;
    for (int i = 0; i < t->n; i++)
        has |= !t->line[i].gone && t->line[i].form == FORM_cell_affine;
    (void)ctx;
    return has && !strstr(off, "kmerge");
}

TEST(what_fails_is_shrunk)
{
    static tape t;
    char off[200] = "";
    int left = 0;
    for (uint64_t seed = 1; seed < 50 && !has_a_layer(&t, off, NULL); seed++)
        tape_draw(&t, seed);
    REQUIRE(has_a_layer(&t, off, NULL));
    tape_shrink(&t, off, all + 1, has_a_layer, NULL);
    CHECK(!strstr(off, "kmerge"));
    CHECK_HAS(off, "batch,hoist,split,swap,mmerge,nmerge,fuse");
    for (int i = 0; i < t.n; i++)
        left += !t.line[i].gone;
    CHECK(left < 12);                           /* x, W, b, the layer, and what reads it */
    tape_case c = { .record = tape_recorded, .ctx = &t, .type = UR_F64, .all = all + 1,
                    .off = off, .threads = { 1, 2 } };
    if (!is_a_program(&c))
        SKIP("no compiler");
}

TEST_MAIN(T(a_printed_tape_is_a_program), T(what_fails_is_shrunk))
