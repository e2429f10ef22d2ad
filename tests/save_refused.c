/* Saving and loading stores: what is refused, and that a refusal changes nothing. */
#include "tests/counting.h"
#include "tests/saves.h"

static char why[600];

/* ------------------------------------------------------------------------- what is refused */

static void write_tensors(const char *path, const ur__st_out *t, size_t n)
{
    if (!CHECK(ur__st_write(path, t, n, NULL, 0, why, sizeof why)))
        puts(why);
}

/* Two stores; the load fails with the text behind "load: cannot read 'path': ", nothing changes. */
static void refuses(int line, const char *path, bool strict, const char *text)
{
    ur_params *ps[2] = { ur_params_new(UR_F32, 5), ur_params_new(UR_F64, 6) };
    ur_node W[2];
    for (int i = 0; i < 2; i++)
        W[i] = ur_param(ps[i], i ? "second" : "first", ur_uniform_between(-1, 1), 3, 2);
    char before[2][48], expected[700];
    for (int i = 0; i < 2; i++)
        memcpy(before[i], ur_param_values(W[i]), bytes_of(W[i]));
    snprintf(expected, sizeof expected, "load: cannot read '%s': %s", path, text);
    bool loaded = ur_load(path, ps, 2, strict, NULL);
    const char *e = said(ps[0]);
    if (test_failed(__FILE__, line, !loaded && strcmp(e, expected) == 0))
        printf("said\n    %s\nnot\n    %s\n", e, expected);
    CHECK(!ur_error(ps[1]));
    for (int i = 0; i < 2; i++) {
        CHECK_MEM(ur_param_values(W[i]), before[i], bytes_of(W[i]));
        ur_params_free(ps[i]);
    }
}
#define REFUSES(path, strict, text) refuses(__LINE__, path, strict, text)

TEST(refused_loads_change_nothing)
{
    static const float f32[6] = { 1, 2, 3, 4, 5, 6 };
    static const double f64[6] = { 1, 2, 3, 4, 1e39, 6 };
    static const int32_t i32[6] = { 1, 2, 3, 4, 5, 6 };
    const ur__st_out first = { "first", UR__ST_F32, 2, { 3, 2 }, f32 };
    const ur__st_out second = { "second", UR__ST_F64, 2, { 3, 2 }, f64 };
    char path[128];
    snprintf(path, sizeof path, "%s", in_folder("bad.st"));

    write_tensors(path, (ur__st_out[]){ first, { "second", UR__ST_F64, 2, { 2, 3 }, f64 } }, 2);
    REFUSES(path, true, "'second' is [2,3] in the file but [3,2] in the store");
    REFUSES(path, false, "'second' is [2,3] in the file but [3,2] in the store");
    write_tensors(path, (ur__st_out[]){ first, { "second", UR__ST_F64, 1, { 6 }, f64 } }, 2);
    REFUSES(path, false, "'second' is [6] in the file but [3,2] in the store");
    write_tensors(path, (ur__st_out[]){ first, { "second", UR__ST_F64, 0, { 0 }, f64 } }, 2);
    REFUSES(path, false, "'second' is [] in the file but [3,2] in the store");
    write_tensors(path, (ur__st_out[]){ first, { "second", UR__ST_F64, 8,
                                                { 1, 1, 1, 1, 1, 1, 3, 2 }, f64 } }, 2);
    REFUSES(path, false, "'second' is [1,1,1,1,1,1,3,2] in the file but [3,2] in the store");
    write_tensors(path, (ur__st_out[]){ { "first", UR__ST_F64, 2, { 3, 2 }, f64 }, second }, 2);
    REFUSES(path, true, "tensor 'first': element 4 is too large for F32");
    write_tensors(path, (ur__st_out[]){ first, { "second", UR__ST_I32, 2, { 3, 2 }, i32 } }, 2);
    REFUSES(path, false, "tensor 'second' is I32, which cannot be read as F64");
    write_tensors(path, &first, 1);
    REFUSES(path, true, "it lacks 1 of 2 parameters: second");

    write_tensors(path, (ur__st_out[]){ first, second }, 2);
    REQUIRE(CHECK_INT(truncate(path, 200), 0));
    REFUSES(path, true, "its values should be 72 bytes but are 64: it was cut off or something "
                        "was added");
    REQUIRE(CHECK_INT(truncate(path, 5), 0));
    REFUSES(path, true, "it has 5 bytes, not even the 8 of the header's length");
    unlink(path);
    REFUSES(path, true, "there is no such file");
    REFUSES(in_folder(""), true, "it is a directory");
}

TEST(names_are_unique_across_stores)
{
    static const char *const names[] = { "c", "lstm.W", "b" }, *const other[] = { "a", "lstm.W" };
    ur_params *ps[3] = { with_names(1, names, 3), with_names(2, names, 1),
                         with_names(3, other, 2) };
    char path[128], text[300];
    snprintf(path, sizeof path, "%s", in_folder("unique.st"));
    fill(path, "what was there");
    static const struct { int store[3]; const char *text; } table[] = {
        { { 0, 2, 2 }, "stores 0 and 1 both have a parameter 'lstm.W', but in one file names are "
                       "unique" },
        { { 2, 1, 0 }, "stores 1 and 2 both have a parameter 'c', but in one file names are "
                       "unique" },
        { { 0, 0, 1 }, "stores 0 and 1 both have a parameter 'b', but in one file names are "
                       "unique" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        ur_params *list[3];
        for (int k = 0; k < 3; k++)
            list[k] = ps[table[i].store[k]];
        int n = i == 1 ? 3 : 2;
        CHECK(!ur_save(path, list, n, NULL, 0));
        snprintf(text, sizeof text, "save: cannot write '%s': %s", path, table[i].text);
        CHECK_STR(said(list[0]), text);
        CHECK_STR(content(path), "what was there");
        CHECK(!ur_load(path, list, n, false, NULL));
        snprintf(text, sizeof text, "load: cannot read '%s': %s", path, table[i].text);
        CHECK_STR(said(list[0]), text);
    }
    for (int i = 0; i < 3; i++)
        ur_params_free(ps[i]);
}

TEST(stores_with_errors_are_not_saved)
{
    ur_params *ps[2] = { ur_params_new(UR_F32, 1), ur_params_new(UR_F32, 1) };
    ur_param(ps[0], "a", ur_constant(1), 2);
    ur_param(ps[1], "b", ur_constant(1), 2);
    ur_param(ps[1], "b", ur_constant(1), 2);
    char path[128], text[300];
    snprintf(path, sizeof path, "%s", in_folder("failed.st"));
    CHECK(!ur_save(path, ps, 2, NULL, 0));
    snprintf(text, sizeof text, "save: cannot write '%s': store 1 has failed: %s", path,
             ur_error(ps[1]));
    CHECK_STR(said(ps[0]), text);
    CHECK(!ur_load(path, (ur_params *[]){ ps[0], NULL }, 2, true, NULL));
    snprintf(text, sizeof text, "load: cannot read '%s': store 1 is NULL", path);
    CHECK_STR(said(ps[0]), text);
    ur_params *turned[2] = { ps[1], ps[0] };
    CHECK(!ur_save(path, turned, 2, NULL, 0));      /* its own error stays */
    CHECK_HAS(ur_error(ps[1]), "there is a parameter \"b\" already");
    CHECK(!ur_error(ps[0]));
    CHECK(access(path, F_OK) != 0);

    CHECK(!ur_save(path, NULL, 1, NULL, 0));        /* no store could say why */
    CHECK(!ur_save(path, ps, 0, NULL, 0));
    CHECK(!ur_load(path, (ur_params *[]){ NULL }, 1, true, NULL));
    CHECK(!ur_save(NULL, ps, 1, NULL, 0));
    CHECK_STR(said(ps[0]), "save: there is no path");
    CHECK(!ur_load(NULL, ps, 1, true, NULL));
    CHECK_STR(said(ps[0]), "load: there is no path");
    ur_params_free(ps[0]);
    ur_params_free(ps[1]);
}

/* ---------------------------------------------------------------------------------- old files */

TEST(an_old_file_is_kept_or_replaced)
{
    static const char *const names[] = { "W" };
    ur_params *ps = with_names(1, names, 1);
    char path[128], text[300];
    snprintf(path, sizeof path, "%s", in_folder("old.st"));
    static const struct { const char *metadata[4], *text; } table[] = {
        { { "k", "1", "k", "2" }, "two keys of the metadata are 'k'" },
        { { "k", "1", "\xff", "2" }, "the metadata under '\xff' are not UTF-8" },
        { { "k", "1", "j", "\xc3" }, "the metadata under 'j' are not UTF-8" },
        { { "k", "1", NULL, "2" }, "metadata pair 1 lacks its key" },
        { { "k", NULL, "j", "2" }, "metadata pair 0 lacks its value" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        fill(path, "what was there");
        CHECK(!ur_save(path, &ps, 1, table[i].metadata, 2));
        snprintf(text, sizeof text, "save: cannot write '%s': %s", path, table[i].text);
        CHECK_STR(said(ps), text);
        CHECK_STR(content(path), "what was there");
    }
    CHECK(ur_save(path, &ps, 1, NULL, 0));
    CHECK(strcmp(content(path), "what was there") != 0);
    CHECK(ur_load(path, &ps, 1, true, NULL));

    char nowhere[128];
    snprintf(nowhere, sizeof nowhere, "%s", in_folder("no/such.st"));
    CHECK(!ur_save(nowhere, &ps, 1, NULL, 0));
    snprintf(text, sizeof text, "save: cannot write '%s': its folder does not exist", nowhere);
    CHECK_STR(said(ps), text);
    snprintf(nowhere, sizeof nowhere, "%s", in_folder(""));
    CHECK(!ur_save(nowhere, &ps, 1, NULL, 0));
    snprintf(text, sizeof text, "save: cannot write '%s': it is a directory", nowhere);
    CHECK_STR(said(ps), text);
    ur_params_free(ps);
}

/* ------------------------------------------------------------------------------- out of memory */

/* The n-th request for memory fails; false when there were fewer. */
static bool starved(long n, const char *path, bool saving, const char *was)
{
    ur_params *ps[2] = { of_all_ranks(UR_F32, 7, "single"), of_all_ranks(UR_F64, 8, "double") };
    ur_params *copy[2] = { of_all_ranks(UR_F32, 7, "single"), of_all_ranks(UR_F64, 8, "double") };
    counting.calls = 0;
    counting.fail_at = n;
    counting.failed = 0;
    bool ok = saving ? ur_save(path, ps, 2, (const char *const[]){ "a", "b" }, 1)
                     : ur_load(path, ps, 2, true, NULL);
    bool failed = counting.failed;
    counting.fail_at = 0;
    CHECK_INT(ok, !failed);
    if (failed) {
        CHECK_HAS(said(ps[0]), "out of memory");
        ur_error_reset(ps[1]);
        for (int i = 0; i < 2; i++)
            same_values(ps[i], copy[i]);
        CHECK_MEM(content(path), was, 4000);
    }
    for (int i = 0; i < 2; i++)
        ur_params_free(ps[i]), ur_params_free(copy[i]);
    return failed;
}

TEST(without_memory_nothing_is_changed)
{
    char path[128], was[4000];
    snprintf(path, sizeof path, "%s", in_folder("memory.st"));
    ur_params *ps[2] = { of_all_ranks(UR_F32, 1, "single"), of_all_ranks(UR_F64, 2, "double") };
    CHECK(ur_save(path, ps, 2, NULL, 0));
    memcpy(was, content(path), sizeof was);
    ur_params_free(ps[0]);
    ur_params_free(ps[1]);
    for (int saving = 0; saving < 2; saving++) {
        counting_begin(0);
        long n = 1;
        while (n < 200 && starved(n, path, saving, was))
            n++;
        CHECK(n > 5 && n < 200);
        CHECK_INT(counting.blocks, 0);
        CHECK_INT(counting.wrong, 0);
        counting_end();
    }
}

TEST_MAIN(T(refused_loads_change_nothing), T(names_are_unique_across_stores),
          T(stores_with_errors_are_not_saved), T(an_old_file_is_kept_or_replaced),
          T(without_memory_nothing_is_changed))
