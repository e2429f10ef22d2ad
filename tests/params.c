/* Stores of parameters: names, refusals, stamps, rows of states. */
#include "graph/internal.h"
#include "tests/test.h"

TEST(parameters_are_found_by_name_and_number)
{
    ur_params *ps = ur_params_new(UR_F32, 1);
    REQUIRE(ps != NULL);
    CHECK_INT(ur_params_count(ps), 0);
    CHECK(ur_is_nil(ur_find(ps, "W")));
    size_t elements = 0;
    for (int i = 0; i < 1000; i++) {
        ur_node W = ur_param(ps, ur_namef(ps, "layer%d.W", i), ur_xavier(), 2, i % 5);
        CHECK(!ur_is_nil(W));
        elements += 2 * (size_t)(i % 5);
    }
    CHECK_INT(ur_params_count(ps), 1000);
    CHECK_INT(ur_params_elements(ps), elements);
    CHECK_INT(ur_params_type(ps), UR_F32);
    for (int i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "layer%d.W", i);
        ur_node W = ur_find(ps, name);
        CHECK_INT(W.id, i);
        CHECK_STR(ur_param_name(W), name);
        CHECK_INT(ur_params_at(ps, i).id, i);
        CHECK_INT(ur_shape_of(W).rank, 2);
        CHECK_INT(ur_dim(W, 1), i % 5);
    }
    CHECK(ur_is_nil(ur_find(ps, "layer1000.W")));
    CHECK(ur_is_nil(ur_params_at(ps, -1)) && ur_is_nil(ur_params_at(ps, 1000)));
    CHECK_STR(ur_error(ps), NULL);
    ur_params_free(ps);
    ur_params_free(NULL);
}

#define PLACE "some/folder/cell.c:41:name"

static ur_node add(ur_params *ps, const char *name, ur_init init, int rank, const int *dim)
{
    return ur_param_at(PLACE, ps, name, init, rank, dim);
}

/* Every refusal: its text, and that it leaves the store as it was. */
TEST(refused_parameters)
{
    static const struct {
        const char *name, *text;
        ur_init init;
        int rank, dim[8];
    } bad[] = {
        { "W", "cell.c:41: param: there is a parameter \"W\" already, [3,16]; "
               "give this one another name", { 0 }, 1, { 5 } },
        { "", "cell.c:41: param: a parameter needs a name", { 0 }, 1, { 5 } },
        { NULL, "cell.c:41: param: a parameter needs a name", { 0 }, 1, { 5 } },
        { "__metadata__", "cell.c:41: param: the name \"__metadata__\" is reserved for saved "
                          "files, give this parameter another", { 0 }, 1, { 5 } },
        { "U", "cell.c:41: param: \"U\" has -4 as size 2, which is negative", { 0 }, 2, { 3, -4 } },
        { "U", "cell.c:41: param: \"U\" has 7 sizes, at most 6 are possible", { 0 }, 7,
          { 1, 1, 1, 1, 1, 1, 1 } },
        { "U", "cell.c:41: param: \"U\" is too large for this machine's addresses", { 0 }, 4,
          { INT32_MAX, INT32_MAX, INT32_MAX, 2 } },
        { "U", "cell.c:41: param: \"U\" is [5] but its initialiser is none of ur_constant, "
               "ur_xavier and so on", { -1, 0, 0 }, 1, { 5 } },
    };
    ur_params *ps = ur_params_new(UR_F64, 1);
    REQUIRE(ps != NULL);
    ur_param(ps, "W", ur_xavier(), 3, 16);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(ur_is_nil(add(ps, bad[i].name, bad[i].init, bad[i].rank, bad[i].dim)));
        CHECK_STR(ur_error(ps), bad[i].text);
        CHECK_INT(ur_params_count(ps), 1);
        /* the first error sticks, and the store does nothing more */
        CHECK(ur_is_nil(ur_param(ps, "b", ur_constant(0), 16)));
        CHECK_STR(ur_error(ps), bad[i].text);
        CHECK(ur_values(ps) == NULL);
        ur_error_reset(ps);
    }
    ur_params_free(ps);
}

TEST(refused_initialisers)
{
    static const struct { ur_init init; const char *text; int rank; } bad[] = {
        { { 4, 0, 0 }, "is [5] but its initialiser needs a matrix, inputs by outputs", 1 },
        { { 1, 2, 1 }, "is [5,5] but the range of its uniform initialiser ends before it begins",
          2 },
        { { 2, 0, -1 }, "is [5,5] but the deviation of its normal initialiser is negative", 2 },
        { { 1, 0, INFINITY }, "is [5,5] but its initialiser has a number that is not finite", 2 },
        { { 8, NAN, 0 }, "is [5,5] but its initialiser has a number that is not finite", 2 },
    };
    ur_params *ps = ur_params_new(UR_F64, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(ur_is_nil(add(ps, "U", bad[i].init, bad[i].rank, (int[]){ 5, 5 })));
        CHECK_HAS(ur_error(ps), bad[i].text);
        ur_error_reset(ps);
    }
    ur_params_free(ps);
}

TEST(refused_stores)
{
    ur_params *ps = ur_params_new(UR_F64, 1);
    CHECK(!ur_is_nil(ur_param(ps, "b", ur_constant(2), 16)));
    REQUIRE(ur_values(ps) != NULL);
    CHECK(ur_is_nil(add(ps, "late", ur_constant(0), 1, (int[]){ 5 })));
    CHECK_STR(ur_error(ps), "cell.c:41: param: \"late\" comes too late: the store was sealed by "
              "its first run, read or save; add parameters before");
    CHECK(ur_values(ps) != NULL);       /* what is there can still be read */
    CHECK_NEAR(((double *)ur_param_values(ur_find(ps, "b")))[15], 2, 0);
    ur_params_free(ps);

    ps = ur_params_new(UR_I32, 1);
    CHECK_STR(ur_error(ps), "params_new: a store holds UR_F32 or UR_F64, not type 2");
    ur_params_free(ps);
    CHECK_HAS(ur_error(NULL), "no graph or store");
    CHECK(ur_is_nil(ur_param(NULL, "W", ur_constant(0), 5)));
    CHECK(ur_values(NULL) == NULL && ur_params_count(NULL) == 0);
}

static long hooked;
static const void *hooked_owner;

static void hook(void *user, const void *owner, const char *text)
{
    hooked++;
    hooked_owner = owner;
    snprintf(user, 100, "%s", text);
}

TEST(the_hook_sees_the_first_error_alone)
{
    char text[100] = "";
    hooked = 0;
    ur_set_error_hook(hook, text);
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_param(ps, "W", ur_constant(0), -1);
    ur_param(ps, "W", ur_constant(0), -2);
    CHECK_INT(hooked, 1);
    CHECK(hooked_owner == ps);
    CHECK_STR(text, ur_error(ps));
    CHECK_HAS(text, "params.c:");
    CHECK_HAS(text, "-1");
    ur_set_error_hook(NULL, NULL);
    ur_params_free(ps);
}

TEST(stamps)
{
    ur_params *ps = ur_params_new(UR_F32, 5);
    ur_param(ps, "W", ur_constant(3), 4);
    uint64_t version = ps->version;
    CHECK(version > 0);
    ur_params_changed(ps);
    CHECK(ps->version > version);
    CHECK(!ur_gradient_ready(ps));
    ur_gradients_changed(ps);
    CHECK(ur_gradient_ready(ps));
    ur_gradient_used(ps);
    CHECK(!ur_gradient_ready(ps));
    ur_params_free(ps);
}

TEST(rows_of_states_are_reset)
{
    ur_params *st = ur_params_new(UR_F64, 0);
    ur_node h = ur_param(st, "lstm.h", ur_constant(1), 3, 4);
    ur_node c = ur_param(st, "lstm.c", ur_constant(2), 3, 2, 5);
    double *hv = ur_param_values(h), *cv = ur_param_values(c);
    uint64_t version = st->version;
    CHECK(ur_state_reset(st, 1));
    CHECK(st->version > version);
    for (int i = 0; i < 12; i++)
        CHECK_NEAR(hv[i], i / 4 == 1 ? 0 : 1, 0);
    for (int i = 0; i < 30; i++)
        CHECK_NEAR(cv[i], i / 10 == 1 ? 0 : 2, 0);
    CHECK(!ur_state_reset(st, 3));
    CHECK_STR(ur_error(st), "state_reset: there is no row 3: lstm.h is [3,4]");
    CHECK(!ur_state_reset(st, 0));      /* the error sticks */
    CHECK_NEAR(hv[0], 1, 0);
    ur_error_reset(st);
    CHECK(!ur_state_reset(st, -2));
    CHECK_STR(ur_error(st), "state_reset: row -2: rows count from 0, and -1 means all");
    ur_error_reset(st);
    CHECK(ur_state_reset(st, -1));
    for (int i = 0; i < 30; i++)
        CHECK_NEAR(i < 12 ? hv[i] : 0, 0, 0), CHECK_NEAR(cv[i], 0, 0);
    ur_params_free(st);
}

TEST_MAIN(T(parameters_are_found_by_name_and_number), T(refused_parameters),
          T(refused_initialisers), T(refused_stores),
          T(the_hook_sees_the_first_error_alone), T(stamps), T(rows_of_states_are_reset))
