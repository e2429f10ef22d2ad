/* The examples kit, third part: text as bytes, saved settings, a log that is taken up again. */
#include "examples/kit/run.h"

#include "tests/child.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TEST(vocabulary_is_text_and_back)
{
    static const char *const wrong[] = { "", "ba", "aa", "a\\", "a\\6", "\\0g", "\\FF", "\\61a" };
    kit_vocabulary v, w;
    char bytes[256], text[KIT_VOCABULARY_TEXT];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)(255 - i);
    for (size_t n = 1; n <= 256; n += 5) {
        kit_vocabulary_of(&v, bytes, n);
        CHECK_INT(v.size, n);
        CHECK(kit_vocabulary_parse(&w, kit_vocabulary_text(&v, text)));
        CHECK_INT(w.size, n);
        CHECK_MEM(v.id, w.id, sizeof v.id);
        CHECK_MEM(v.byte, w.byte, n);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!kit_vocabulary_parse(&w, wrong[i]));
}

TEST(log_is_rewound)
{
    char path[128];
    snprintf(path, sizeof path, "%s", in_folder("log"));
    static const char a[] = "{\"epoch\": 9, \"update\": 1}\n", b[] = "{\"update\": 10, \"x\": 1}\n",
                      c[] = "{\"update\": 20}\n", d[] = "{\"update\": 20, \"valid\": 3}\n";
    char all[256], text[256];
    snprintf(all, sizeof all, "%s%s%s%shalf a li", a, b, c, d);
    const struct { long long last; int kept; } table[] = { { 0, 0 }, { 1, 1 }, { 9, 1 }, { 10, 2 },
                                                           { 19, 2 }, { 20, 3 } };
    for (int i = 0; i < 6; i++) {
        fill(path, all);
        CHECK(kit_log_rewind(path, "update", table[i].last));
        snprintf(text, sizeof text, "%s%s%s", table[i].kept > 0 ? a : "",
                 table[i].kept > 1 ? b : "", table[i].kept > 2 ? c : "");
        CHECK_STR(content(path), text);
    }
    fill(path, all);
    CHECK(kit_log_rewind(path, "update", 21));
    CHECK_STR(content(path), all);
    CHECK(kit_log_rewind(in_folder("none"), "update", 21));
    CHECK(kit_log_rewind(NULL, "update", 21));
}

/* ---- Saved settings ---- */

static int hidden;
static int64_t updates;
static uint64_t seed;
static double lr;
static const char *cell, *data;
static bool quiet;
static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FILE", ""),
    KIT_SAVED(KIT_MODEL, "hidden", &hidden, "[1,4096]", "N", ""),
    KIT_SAVED(KIT_FIXED, "cell", &cell, "elman|lstm", "NAME", ""),
    KIT_SAVED(KIT_KEPT, "updates", &updates, NULL, "N", ""),
    KIT_SAVED(KIT_KEPT, "seed", &seed, NULL, "N", ""),
    KIT_SAVED(KIT_KEPT, "lr", &lr, "(0,inf)", "X", ""),
    KIT_SAVED(KIT_KEPT, "quiet", &quiet, NULL, NULL, ""),
};
enum { OPTIONS = sizeof options / sizeof *options };

/* Sets all variables as a command line would that gives none, and then the named one. */
static void prepare(const char *given)
{
    hidden = 128, updates = 0, seed = 1, lr = 2e-3, quiet = false, data = "x", cell = "elman";
    for (int k = 0; k < OPTIONS; k++)
        options[k].given = strcmp(options[k].name, given) == 0;
}

TEST(settings_are_texts_and_back)
{
    kit_pairs p = { 0 };
    prepare("");
    hidden = 7, updates = INT64_MIN, seed = UINT64_MAX, lr = 0.1 + 0.2, quiet = true, cell = "lstm";
    kit_pairs_set(&p, "format", "%s %d", "demo", 1);
    kit_pairs_options(&p, options, OPTIONS);
    REQUIRE(CHECK_INT(p.n, OPTIONS)); /* one more, but without data */
    CHECK_STR(p.text[1], "demo 1");
    prepare("");
    for (int k = 1; k < OPTIONS; k++) {
        CHECK_STR(p.text[2 * k], options[k].name);
        kit_restore(&options[k], p.text[2 * k + 1], "demo.st");
    }
    kit_pairs_free(&p);
    CHECK_INT(hidden, 7);
    CHECK_INT(updates, INT64_MIN);
    CHECK(seed == UINT64_MAX);
    CHECK_NEAR(lr, 0.1 + 0.2, 0);
    CHECK(quiet);
    CHECK_STR(cell, "lstm");
    CHECK(p.n == 0 && !p.text);
}

static int which;
static const char *text;

static void restore(void)
{
    kit_restore(&options[which], text, "demo.st");
}

TEST(restored_settings_are_checked)
{
    static const struct { int which; const char *given, *text, *error; } table[] = {
        { 1, "", "many", "'demo.st': hidden: 'many' is not a whole number\n" },
        { 1, "", "0", "'demo.st': hidden: 0 must be from 1 to 4096\n" },
        { 2, "", "gru", "'demo.st': cell: 'gru' is not one of elman, lstm\n" },
        { 1, "hidden", "64", "--hidden cannot change: 'demo.st' was trained with --hidden 64\n" },
        { 1, "hidden", "128", "" },
        { 2, "cell", "lstm", "--cell cannot change: 'demo.st' was trained with --cell lstm\n" },
        { 5, "lr", "0.125", "" },
        { 5, "", "nan", "'demo.st': lr: 'nan' is not a number\n" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        prepare(table[i].given);
        which = table[i].which, text = table[i].text;
        run_child(restore);
        CHECK_STR(child.err, table[i].error);
        CHECK_INT(child.status, *table[i].error ? 2 : 0);
    }
    prepare("lr");
    kit_restore(&options[5], "0.125", "demo.st");
    CHECK_NEAR(lr, 2e-3, 0); /* what was given counts */
}

/* ---- Paths ---- */

TEST(paths_take_a_word)
{
    static const char *const table[][2] = {
        { "a/b.x", "a/b-lstm.x" }, { "b", "b-lstm" }, { "a.b/c", "a.b/c-lstm" },
        { ".x", "-lstm.x" },
        { "a.b.c", "a.b-lstm.c" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *path = kit_path_with(table[i][0], "lstm");
        CHECK_STR(path, table[i][1]);
        free(path);
    }
}

static const char *paths[4];

static void distinct(void)
{
    kit_distinct_files(paths, 4);
}

TEST(same_files_are_found)
{
    char a[128], b[128], link[128], none[128];
    snprintf(a, sizeof a, "%s", in_folder("a"));
    snprintf(b, sizeof b, "%s", in_folder("b"));
    snprintf(link, sizeof link, "%s", in_folder("link"));
    snprintf(none, sizeof none, "%s", in_folder("none"));
    fill(a, "x");
    fill(b, "x");
    CHECK_INT(symlink("a", link), 0);
    const char *const table[][4] = { { a, b, none, NULL }, { NULL, NULL, NULL, NULL },
                                     { a, b, NULL, link }, { none, a, none, b } };
    for (int i = 0; i < 4; i++) {
        memcpy(paths, table[i], sizeof paths);
        run_child(distinct);
        CHECK_INT(child.status, i < 2 ? 0 : 2);
        CHECK_INT(count(child.err, "is given twice"), i / 2);
    }
}

TEST(long_texts_are_kept_whole)
{
    static char text[100001];
    kit_pairs p = { 0 };
    memset(text, 'x', sizeof text - 1);
    kit_pairs_set(&p, "long", "%s", text);
    CHECK_INT(strlen(p.text[1]), sizeof text - 1);
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_param(ps, "W", ur_constant(0), 1);
    const char *path = in_folder("long.st");
    CHECK(ur_save(path, &ps, 1, (const char *const *)p.text, 1));
    CHECK_STR(kit_saved(path, "long"), text);
    ur_params_free(ps);
    kit_pairs_free(&p);
}

TEST(curves_grow)
{
    kit_curve c = { 0 };
    for (int i = 0; i < 1000; i++)
        kit_curve_add(&c, i, -i);
    CHECK_INT(c.n, 1000);
    CHECK(c.x[999] == 999 && c.y[999] == -999 && c.x[0] == 0);
    free(c.x);
    free(c.y);
}

TEST_MAIN(T(vocabulary_is_text_and_back), T(log_is_rewound), T(settings_are_texts_and_back),
          T(restored_settings_are_checked), T(paths_take_a_word), T(same_files_are_found),
          T(long_texts_are_kept_whole), T(curves_grow))
