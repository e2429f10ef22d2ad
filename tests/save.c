/* Saving and loading stores: what comes back, whole or in part, and a run that is resumed. */
#include "tests/saves.h"

static char why[600];

/* -------------------------------------------------------------------------------- round trips */

TEST(values_come_back_bit_for_bit)
{
    ur_params *out[2] = { of_all_ranks(UR_F32, 1, "single"), of_all_ranks(UR_F64, 2, "double") };
    ur_params *in[2] = { of_all_ranks(UR_F32, 7, "single"), of_all_ranks(UR_F64, 8, "double") };
    float *x = ur_param_values(ur_find(out[0], "r5.single"));
    double *y = ur_param_values(ur_find(out[1], "r5.double"));
    const uint32_t special[5] = { 0x7fc01234, 0x80000000, 0xff800000, 1, 0xffa00001 };
    const uint64_t special_y[5] = { 0x7ff8000000001234, 0x8000000000000000, 0xfff0000000000000, 1,
                                    0xfff4000000000001 };
    memcpy(x, special, sizeof special);
    memcpy(y, special_y, sizeof special_y);
    ur_params_changed(out[0]);

    const char *path = in_folder("model.st");
    CHECK(ur_save(path, out, 2, NULL, 0));
    uint64_t before = in[0]->version;
    ur_load_report r;
    CHECK(ur_load(path, in, 2, true, &r));
    CHECK_INT(r.loaded, 16);
    CHECK_INT(r.missing + r.extra, 0);
    CHECK_STR(r.missing_names, "");
    CHECK_STR(r.extra_names, "");
    same_values(in[0], out[0]);
    same_values(in[1], out[1]);
    CHECK(in[0]->version > before && in[1]->version > 1);

    /* in whatever order the stores are, and one by one */
    ur_params *swapped[2] = { of_all_ranks(UR_F64, 3, "double"),
                              of_all_ranks(UR_F32, 4, "single") };
    CHECK(ur_load(path, swapped, 2, true, NULL));
    same_values(swapped[1], out[0]);
    CHECK(ur_load(path, &in[1], 1, false, &r));
    CHECK_INT(r.loaded, 8);
    CHECK_INT(r.extra, 8);

    /* a second save of what was loaded is the same file */
    const char *again = in_folder("again.st");
    CHECK(ur_save(again, swapped, 2, NULL, 0));
    char first[4096];
    memcpy(first, content(path), sizeof first);
    CHECK_MEM(first, content(again), sizeof first);
    for (int i = 0; i < 2; i++)
        ur_params_free(in[i]), ur_params_free(out[i]), ur_params_free(swapped[i]);
}

/* What another reader sees. */
TEST(files_hold_names_shapes_and_metadata)
{
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_node W = ur_param(ps, "W", ur_uniform_between(-1, 1), 2, 3);
    ur_param_at(NULL, ps, "s", ur_constant(4.5), 0, NULL);
    const char *const metadata[] = { "cell", "lstm", "note", "tab\tand \"quotes\" \xc3\xa9",
                                     "", "" };
    const char *path = in_folder("model.st");
    CHECK(ur_save(path, &ps, 1, metadata, 3));
    ur__st_file f;
    REQUIRE(CHECK(ur__st_open(&f, path, why, sizeof why)));
    CHECK_INT(f.n, 2);
    CHECK_INT(f.n_pairs, 3);
    const ur__st_tensor *t = ur__st_find(&f, "W");
    CHECK(t && t->dtype == UR__ST_F32 && t->rank == 2 && t->dim[0] == 2 && t->dim[1] == 3);
    float values[6];
    CHECK(t && ur__st_read(&f, t, UR__ST_F32, values, 6, why, sizeof why));
    CHECK_MEM(values, ur_param_values(W), sizeof values);
    t = ur__st_find(&f, "s");
    CHECK(t && t->rank == 0 && t->count == 1);
    CHECK_STR(ur__st_meta(&f, "note"), metadata[3]);
    ur__st_close(&f);
    ur_params_free(ps);
}

TEST(an_empty_store_is_a_file)
{
    ur_params *ps = ur_params_new(UR_F32, 1);
    const char *path = in_folder("none.st");
    ur_load_report r;
    CHECK(ur_save(path, &ps, 1, NULL, 0));
    CHECK(ur_load(path, &ps, 1, true, &r));
    CHECK_INT(r.loaded, 0);
    ur_params_free(ps);
}

TEST(precisions_are_converted)
{
    enum { N = 4 };
    ur_params *d = ur_params_new(UR_F64, 1), *s = ur_params_new(UR_F32, 2);
    ur_node D = ur_param(d, "x", ur_constant(0), N), S = ur_param(s, "x", ur_constant(0), N);
    const double given[N] = { 0.1, -1e-320, 3.4028234e38, 1 + 0x1p-24 };
    memcpy(ur_param_values(D), given, sizeof given);
    const char *path = in_folder("double.st");
    CHECK(ur_save(path, &d, 1, NULL, 0));
    CHECK(ur_load(path, &s, 1, true, NULL));
    const float *got = ur_param_values(S);
    for (int i = 0; i < N; i++)
        CHECK_NEAR(got[i], (float)given[i], 0);

    path = in_folder("single.st");
    CHECK(ur_save(path, &s, 1, NULL, 0));
    CHECK(ur_load(path, &d, 1, true, NULL));
    for (int i = 0; i < N; i++)
        CHECK_NEAR(((double *)ur_param_values(D))[i], (double)got[i], 0);
    ur_params_free(d);
    ur_params_free(s);
}

/* A graph has a packed copy of W, which a load must renew. */
TEST(a_graph_sees_what_was_loaded)
{
    ur_params *a = ur_params_new(UR_F32, 1), *b = ur_params_new(UR_F32, 2);
    ur_param(a, "W", ur_xavier(), 8, 40);
    ur_node W = ur_param(b, "W", ur_xavier(), 8, 40);
    const char *path = in_folder("packed.st");
    CHECK(ur_save(path, &a, 1, NULL, 0));
    ur_graph *g = ur_graph_new(UR_F32, UR_INFER);
    float x[8] = { 1 };
    ur_node y = ur_matmul(ur_input(g, x, 1, 8), W);
    CHECK_NEAR(((const float *)ur_data(y))[39], ((float *)ur_param_values(W))[39], 1e-7);
    CHECK(ur_load(path, &b, 1, true, NULL));
    CHECK(ur_rerun(g));
    CHECK_MEM(ur_param_values(W), ur_param_values(ur_params_at(a, 0)), 8 * 40 * sizeof(float));
    CHECK_NEAR(((const float *)ur_data(y))[39], ((float *)ur_param_values(W))[39], 1e-7);
    ur_graph_free(g);
    ur_params_free(a);
    ur_params_free(b);
}

/* ------------------------------------------------------------------------------------- partial */

TEST(partial_loads_tell_what_was_there)
{
    static const char *const file[] = { "b", "lstm.Wf", "old.W", "a" };
    static const char *const store[] = { "new.b", "a", "lstm.Wf", "lstm.Wo" };
    ur_params *out = with_names(1, file, 4), *in = with_names(2, store, 4);
    ur_params *copy = with_names(2, store, 4);
    char path[128], text[300];
    snprintf(path, sizeof path, "%s", in_folder("part.st"));
    CHECK(ur_save(path, &out, 1, NULL, 0));

    ur_load_report r;
    CHECK(!ur_load(path, &in, 1, true, &r));
    snprintf(text, sizeof text, "load: cannot read '%s': it lacks 2 of 4 parameters: lstm.Wo "
             "new.b; tensors that are no parameters: 2, b old.W", path);
    CHECK_STR(said(in), text);
    CHECK_INT(r.loaded, 0);
    CHECK_STR(r.missing_names, "lstm.Wo new.b");
    same_values(in, copy);

    CHECK(ur_load(path, &in, 1, false, &r));
    CHECK_INT(r.loaded, 2);
    CHECK_INT(r.missing, 2);
    CHECK_INT(r.extra, 2);
    CHECK_STR(r.missing_names, "lstm.Wo new.b");
    CHECK_STR(r.extra_names, "b old.W");
    for (int k = 0; k < 4; k++) {
        ur_node W = ur_find(in, store[k]), from = ur_find(k == 1 || k == 2 ? out : copy, store[k]);
        CHECK_MEM(ur_param_values(W), ur_param_values(from), bytes_of(W));
    }
    ur_params *only[2] = { with_names(3, file, 2), with_names(3, store, 1) };
    CHECK(!ur_load(path, only, 1, true, NULL));
    snprintf(text, sizeof text, "load: cannot read '%s': tensors that are no parameters: 2, a "
             "old.W", path);
    CHECK_STR(said(only[0]), text);
    CHECK(!ur_load(path, (ur_params *[]){ out, only[1] }, 2, true, NULL));
    snprintf(text, sizeof text, "load: cannot read '%s': it lacks 1 of 5 parameters: new.b", path);
    CHECK_STR(said(out), text);
    ur_params_free(only[0]), ur_params_free(only[1]);
    ur_params_free(in), ur_params_free(out), ur_params_free(copy);
}

TEST(long_reports_are_cut_at_a_name)
{
    ur_params *many = ur_params_new(UR_F32, 1), *none = ur_params_new(UR_F32, 1);
    for (int k = 0; k < 60; k++)
        ur_param(many, ur_namef(many, "layer%02d", k), ur_constant(0), 1);
    ur_param(many, ur_namef(many, "z%0500d", 0), ur_constant(0), 1);
    const char *path = in_folder("many.st");
    ur_load_report r;
    CHECK(ur_save(path, &none, 1, NULL, 0));
    CHECK(ur_load(path, &many, 1, false, &r));
    CHECK_INT(r.missing, 61);
    CHECK(strncmp(r.missing_names, "layer00 layer01 ", 16) == 0);
    size_t n = strlen(r.missing_names);
    CHECK(n > 180 && n < sizeof r.missing_names);
    CHECK_STR(r.missing_names + n - 12, " layer23 ...");
    CHECK(!ur_load(path, &many, 1, true, NULL));
    CHECK_HAS(said(many), "it lacks 61 of 61 parameters: layer00 ");
    ur_params_free(many);
    ur_params_free(none);
}

/* ----------------------------------------------------------------------------------- metadata */

TEST(metadata_are_read)
{
    static const char *const names[] = { "W" };
    ur_params *ps = with_names(1, names, 1);
    char path[128], text[300], value[8] = "before";
    snprintf(path, sizeof path, "%s", in_folder("meta.st"));
    CHECK(ur_save(path, &ps, 1, (const char *const[]){ "cell", "lstm", "long", "1234567",
                                                       "longer", "12345678", "empty", "" }, 4));
    snprintf(why, sizeof why, "nothing was said");
    CHECK(ur_load_metadata(path, "cell", value, sizeof value, why, sizeof why));
    CHECK_STR(value, "lstm");
    CHECK(ur_load_metadata(path, "long", value, sizeof value, why, sizeof why));
    CHECK_STR(value, "1234567");
    CHECK(ur_load_metadata(path, "empty", value, 1, NULL, 0));
    CHECK_STR(value, "");
    CHECK_STR(why, "nothing was said");

    snprintf(value, sizeof value, "before");
    CHECK(!ur_load_metadata(path, "longer", value, sizeof value, why, sizeof why));
    snprintf(text, sizeof text, "cannot read '%s': metadata 'longer' has 8 bytes, but there is "
             "room for 7", path);
    CHECK_STR(why, text);
    CHECK(!ur_load_metadata(path, "cells", value, sizeof value, why, sizeof why));
    snprintf(text, sizeof text, "cannot read '%s': it has no metadata 'cells'", path);
    CHECK_STR(why, text);
    CHECK(!ur_load_metadata(path, "cells", value, sizeof value, NULL, 0));
    CHECK(!ur_load_metadata(path, NULL, value, sizeof value, why, sizeof why));
    CHECK_HAS(why, "there is no key");
    CHECK(!ur_load_metadata(NULL, "cell", value, sizeof value, why, sizeof why));
    CHECK_STR(why, "cannot read '': there is no path");
    fill(path, "no model");
    CHECK(!ur_load_metadata(path, "cell", value, sizeof value, why, sizeof why));
    CHECK_HAS(why, "its header would be ");
    CHECK_STR(value, "before");
    ur_params_free(ps);
}

/* ------------------------------------------------------------------------------ a resumed run */

typedef struct trainer {
    ur_params *ps, *st;
    ur_cell *rnn;
    ur_optim *opt;
    ur_graph *g;
} trainer;

static trainer trainer_new(uint64_t seed)
{
    trainer t = { .ps = ur_params_new(UR_F32, seed) };
    t.rnn = ur_gru(t.ps, "gru", 3, 5);
    t.st = ur_cell_states(t.rnn, 2);
    t.opt = ur_optim_new(t.ps, ur_adam(0.01));
    t.g = ur_graph_new(UR_F32, UR_TRAIN);
    return t;
}

static void trainer_free(trainer *t)
{
    ur_graph_free(t->g);
    ur_optim_free(t->opt);
    ur_params_free(t->st);
    ur_params_free(t->ps);
}

static void train(trainer *t, int from, int to)
{
    for (int k = from; k < to; k++) {
        float x[4 * 2 * 3];
        for (int i = 0; i < 24; i++)
            x[i] = (float)((i * 7 + k * 3) % 11) / 11;
        ur_node s[1];
        ur_clear(t->g);
        ur_state_in(t->g, t->st, s);
        ur_node y = ur_unroll(t->rnn, ur_dropout(ur_input(t->g, x, 4, 2, 3), 0.2), s);
        ur_backward(ur_mean(ur_square(ur_shift(y, -0.5))));
        ur_state_out(t->st, s);
        CHECK(ur_run(t->g) && ur_step(t->opt));
    }
}

TEST(a_resumed_run_gives_the_same_bits)
{
    trainer a = trainer_new(1), b = trainer_new(2);
    const char *path = in_folder("run.st");
    train(&a, 0, 5);
    CHECK(ur_save(path, (ur_params *[]){ a.ps, a.st, ur_optim_state(a.opt) }, 3, NULL, 0));
    uint64_t run = ur_run_number(a.g);
    train(&a, 5, 9);
    train(&b, 0, 2);
    CHECK(ur_load(path, (ur_params *[]){ ur_optim_state(b.opt), b.ps, b.st }, 3, true, NULL));
    ur_set_run_number(b.g, run);
    train(&b, 5, 9);
    same_values(a.ps, b.ps);
    same_values(a.st, b.st);
    same_values(ur_optim_state(a.opt), ur_optim_state(b.opt));
    trainer_free(&a);
    trainer_free(&b);
}

TEST_MAIN(T(values_come_back_bit_for_bit), T(files_hold_names_shapes_and_metadata),
          T(an_empty_store_is_a_file), T(precisions_are_converted), T(a_graph_sees_what_was_loaded),
          T(partial_loads_tell_what_was_there), T(long_reports_are_cut_at_a_name),
          T(metadata_are_read), T(a_resumed_run_gives_the_same_bits))
