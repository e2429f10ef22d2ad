/* examples/charlm trains, stops and resumes, generates. */
#include "tests/charlm.h"

#include <ctype.h>

/* ---- Logs and saved runs ---- */

/* The log without what depends on the clock. */
static const char *timeless(const char *path, char *out, size_t size)
{
    size_t n = 0;
    for (const char *s = content(path); *s && n + 1 < size; s++) {
        bool clock = strncmp(s, "\"chars_per_s\": ", 15) == 0
                     || strncmp(s, "\"seconds\": ", 11) == 0;
        while (clock && *s && *s != ',' && *s != '}')
            s++;
        out[n++] = *s;
    }
    out[n] = 0;
    return out;
}

/* Two saved runs hold the same: all bytes of the tensors, all texts but those that hold times. */
static void check_same_run(const char *a, const char *b)
{
    static const char *const texts[] = {
        "format", "cell", "hidden", "layers", "embed", "batch", "steps", "optim", "lr", "clip",
        "precision", "seed", "dropout", "text", "vocabulary", "at.update", "at.epoch",
        "at.position", "at.logged", "at.random", "at.loss", "at.recent", "at.train_loss",
        "at.valid_loss",
        "plot.trained", "plot.validated",
    };
    char *bytes[2] = { NULL, NULL };
    const char *path[2] = { a, b };
    size_t n[2], head[2];
    for (int k = 0; k < 2; k++) {
        if (!CHECK(kit_read_file(path[k], &bytes[k], &n[k])) || !CHECK(n[k] > 8))
            return;
        uint64_t size = 0;
        memcpy(&size, bytes[k], 8); /* tests run on little-endian machines */
        head[k] = 8 + (size_t)size;
    }
    if (CHECK_INT(n[0] - head[0], n[1] - head[1]))
        CHECK_MEM(bytes[0] + head[0], bytes[1] + head[1], n[0] - head[0]);
    free(bytes[0]);
    free(bytes[1]);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char value[2][4096] = { "none", "nothing" }, why[256];
        for (int k = 0; k < 2; k++)
            CHECK(ur_load_metadata(path[k], texts[i], value[k], sizeof value[k], why, sizeof why));
        if (!CHECK_STR(value[0], value[1]))
            printf("  that is of %s\n", texts[i]);
    }
}

static void check_same_log(const char *a, const char *b)
{
    static char text[2][200000];
    CHECK_STR(timeless(a, text[0], sizeof text[0]), timeless(b, text[1], sizeof text[1]));
    CHECK(*text[0] != 0);
}

/* ---- Learning ---- */

TEST(help_explains_every_option)
{
    static const char *const names[] = {
        "data", "cell", "hidden", "layers", "embed", "batch", "steps", "epochs", "updates", "lr",
        "optim", "clip", "dropout", "seed", "threads", "save", "resume", "load", "log", "plot",
        "sample", "prime", "temperature", "top-k", "top-p", "precision", "complete", "beam",
    };
    CHECK_INT(charlm("--help"), 0);
    CHECK_STR(child.err, "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char option[40];
        snprintf(option, sizeof option, "\n  --%s ", names[i]);
        CHECK_HAS(child.out, option);
    }
}

TEST(learns_and_says_so)
{
    const char *text = keep("book"), *log = keep("log"), *plot = keep("plot.svg");
    book("book", 6000);
    CHARLM("--data %s %s --epochs 4 --lr 1e-2 --log %s --plot %s --sample 50", text, tiny, log,
           plot);
    /* 5400 letters of training: 4 streams of 1349, segments of 8: 168 updates an epoch. */
    double first = NAN, last_valid = 10, updates = 0;
    int lines = 0, epochs = 0;
    for (const char *s = content(log); *s; s = strchr(s, '\n') + 1, lines++) {
        double valid = field(s, "valid_loss");
        if (lines == 0)
            first = field(s, "train_loss");
        CHECK(field(s, "update") > updates);
        updates = field(s, "update");
        CHECK(field(s, "epoch") == ceil(updates / 168));
        CHECK(field(s, "chars_per_s") > 0 && field(s, "seconds") > 0 && field(s, "grad_norm") > 0);
        CHECK(isnan(valid) == (fmod(updates, 168) != 0));
        if (isnan(valid))
            continue;
        CHECK(valid < last_valid);
        last_valid = valid;
        epochs++;
    }
    CHECK_INT(updates, 4 * 168);
    CHECK_INT(epochs, 4);
    CHECK_INT(lines, 67 + 4); /* every tenth, and four ends of epochs; 10 divides none of them */
    CHECK(first > 2.4 && first < 4);
    CHECK(last_valid < 0.75); /* ln 18, of as many letters, is 2.89 */
    CHECK_HAS(content(plot), "</svg>");
    CHECK_HAS(content(plot), "validation");
    CHECK_HAS(child.out, "parameters");
    CHECK_HAS(child.out, "\nlstm ");
    CHECK_HAS(child.err, "took");
}

/* What the protocol says, once more and plainly: the mean losses of two epochs. */
static void reference(const int32_t *id, size_t n, int V, double train[2], double valid[2])
{
    enum { B = 4, T = 8, H = 12 };
    ur_params *ps = ur_params_new(UR_F32, 1);
    ur_embedding embed = ur_embedding_new(ps, "embed", V, 6);
    ur_cell *rnn = ur_lstm(ps, "lstm0", 6, H);
    ur_linear_layer out = ur_linear_new(ps, "out", H, V);
    ur_params *states = ur_cell_states(rnn, B);
    ur_optim *opt = ur_optim_new(ps, ur_adam(1e-2));
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    ur_clip_norm(opt, 0.2);
    size_t cut = n * 9 / 10, length = (cut - 1) / B, m = n - cut - 1;
    static int32_t x[1000], y[1000];
    for (int epoch = 0; epoch < 2; epoch++) {
        int count = 0;
        ur_state_reset(states, -1);
        train[epoch] = 0;
        for (size_t i = 0; i + T <= length; i += T, count++) {
            ur_node s[2];
            for (size_t k = 0; k < B * T; k++)
                x[k] = id[k % B * length + i + k / B], y[k] = id[k % B * length + i + k / B + 1];
            ur_clear(g);
            ur_state_in(g, states, s);
            ur_node h = ur_unroll(rnn, ur_embed(embed, ur_ints(g, x, T, B)), s);
            ur_node loss = ur_cross_entropy(ur_linear(out, h), ur_ints(g, y, T, B));
            ur_state_out(states, s);
            ur_backward(loss);
            CHECK(ur_run(g) && ur_step(opt));
            train[epoch] += ur_value(loss);
        }
        train[epoch] /= count;
        for (size_t k = 0; k < m; k++)
            x[k] = id[cut + k], y[k] = id[cut + k + 1];
        ur_clear(g);
        ur_node h = ur_unroll(rnn, ur_embed(embed, ur_ints(g, x, (int)m, 1)), NULL);
        valid[epoch] = ur_value(ur_cross_entropy(ur_linear(out, h), ur_ints(g, y, (int)m, 1)));
    }
    ur_graph_free(g);
    ur_optim_free(opt);
    ur_params_free(states);
    ur_params_free(ps);
}

TEST(protocol_is_followed)
{
    const char *path = keep("book"), *log = keep("log");
    double train[2] = { 0, 0 }, valid[2] = { 0, 0 };
    int epoch = 0;
    kit_text text;
    book("book", 7003); /* 700 letters to validate: two whole pieces of charlm's, and a part */
    REQUIRE(kit_read_text(path, &text));
    reference(text.ids, text.n, text.vocabulary.size, train, valid);
    free(text.ids);
    CHARLM("--data %s %s --epochs 2 --lr 1e-2 --clip 0.2 --log %s", path, tiny, log);
    for (const char *s = content(log); *s && epoch < 2; s = strchr(s, '\n') + 1) {
        if (isnan(field(s, "valid_loss")))
            continue;
        CHECK_NEAR(field(s, "train_loss"), train[epoch], 2e-5);
        CHECK_NEAR(field(s, "valid_loss"), valid[epoch], 2e-5);
        epoch++;
    }
    CHECK_INT(epoch, 2);
}

TEST(every_optimiser_learns)
{
    static const char *const how[] = { "sgd --lr 0.5", "momentum --lr 0.1", "nesterov --lr 0.1",
                                       "adagrad --lr 0.05", "adadelta --lr 1", "rmsprop --lr 3e-3",
                                       "adam --lr 5e-3", "adamw --lr 5e-3" };
    const char *text = keep("book"), *log = keep("log");
    book("book", 3000);
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        CHARLM("--data %s %s --epochs 3 --log %s --optim %s", text, tiny, log, how[i]);
        const char *last = content(log), *first = last;
        for (const char *s = last; *s; s = strchr(s, '\n') + 1)
            last = s;
        if (!CHECK(field(last, "valid_loss") < 0.9 * field(first, "train_loss")))
            printf("  with %s: %g, then %g\n", how[i], field(first, "train_loss"),
                   field(last, "valid_loss"));
    }
}

TEST(threads_do_not_change_a_bit)
{
    const char *text = keep("book"), *a = keep("a.safetensors"), *b = keep("b.safetensors");
    book("book", 2000);
    static const char sizes[] = "--hidden 40 --embed 24 --batch 8 --steps 8 --updates 12";
    CHARLM("--data %s %s --threads 1 --save %s", text, sizes, a);
    CHARLM("--data %s %s --threads 3 --save %s", text, sizes, b);
    check_same_run(a, b);
}

/* ---- Stopping and resuming ---- */

/* Starts it, sends the signal once its log has `lines` lines, and returns how it ended. */
static int signalled(int number, const char *log, int lines, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    split(format, args);
    va_end(args);
    unlink(log);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(in_folder("noise"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        exec_command();
    }
    int status = 0;
    while (count(content(log), "\n") < lines && waitpid(pid, &status, WNOHANG) == 0)
        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    kill(pid, number);
    waitpid(pid, &status, 0);
    return status;
}

static void check_resumed(const char *options, int stop, int goal)
{
    const char *text = keep("book"), *a = keep("a.st"), *b = keep("b.st");
    const char *log_a = keep("a.log"), *log_b = keep("b.log");
    CHARLM("--data %s %s %s --updates %d --save %s --log %s", text, tiny, options, goal, a, log_a);
    CHARLM("--data %s %s %s --updates %d --save %s --log %s", text, tiny, options, stop, b, log_b);
    CHARLM("--data %s --resume %s --threads 1 --updates %d --save %s --log %s", text, b, goal, b,
           log_b);
    check_same_run(a, b);
    check_same_log(log_a, log_b);
}

TEST(resumed_run_ends_with_the_same_bits)
{
    book("book", 1200); /* 33 updates an epoch */
    check_resumed("--cell lstm --layers 2 --dropout 0.3", 17, 45);
    check_resumed("--cell gru --optim rmsprop", 20, 50);        /* at a line of the log */
    check_resumed("--cell elman --optim momentum", 33, 70);     /* at an epoch's end */
    check_resumed("--cell gru_reset_after --optim adagrad --seed 9", 65, 66);
}

TEST(resumed_run_keeps_its_options)
{
    const char *text = keep("book"), *run = keep("run.st");
    char value[64], why[256];
    book("book", 1200);
    CHARLM("--data %s %s --layers 2 --clip 0.5 --lr 0.125 --updates 5 --save %s", text, tiny, run);
    CHARLM("--data %s --resume %s --updates 9 --lr 0.25 --save %s", text, run, run);
    CHECK(ur_load_metadata(run, "lr", value, sizeof value, why, sizeof why));
    CHECK_STR(value, "0.25");
    CHECK(ur_load_metadata(run, "clip", value, sizeof value, why, sizeof why));
    CHECK_STR(value, "0.5");
    CHECK(ur_load_metadata(run, "layers", value, sizeof value, why, sizeof why));
    CHECK_STR(value, "2");
    CHARLM("--data %s --resume %s --save %s", text, run, run);
    CHECK_HAS(child.err, "is at update 9 already");
}

TEST(interrupt_saves_and_leaves)
{
    const char *text = keep("book"), *a = keep("a.st"), *b = keep("b.st");
    const char *log_a = keep("a.log"), *log_b = keep("b.log");
    char value[64] = "", why[256];
    book("book", 30000); /* 843 updates an epoch, so that the signal comes within one */
    int status = signalled(SIGINT, log_b, 4, "--data %s %s --dropout 0.1 --updates 100000000 "
                           "--save %s --log %s", text, tiny, b, log_b);
    REQUIRE(CHECK(WIFEXITED(status)) && CHECK_INT(WEXITSTATUS(status), 130));
    CHECK_HAS(content(in_folder("noise")), "--resume takes it up");
    CHECK(ur_load_metadata(b, "at.update", value, sizeof value, why, sizeof why));
    int stop = atoi(value);
    CHECK(stop >= 30);
    CHARLM("--data %s --resume %s --updates %d --save %s --log %s", text, b, stop + 40, b, log_b);
    CHARLM("--data %s %s --dropout 0.1 --updates %d --save %s --log %s", text, tiny, stop + 40, a,
           log_a);
    check_same_run(a, b);
    check_same_log(log_a, log_b);
    status = signalled(SIGINT, log_b, 1, "--data %s %s --epochs 1000000 --log %s", text, tiny,
                       log_b);
    REQUIRE(CHECK(WIFEXITED(status)) && CHECK_INT(WEXITSTATUS(status), 130));
    CHECK_HAS(content(in_folder("noise")), "without --save it is lost");
}

TEST(killed_run_goes_on_from_its_last_epoch)
{
    const char *text = keep("book"), *a = keep("a.st"), *b = keep("b.st");
    const char *log_a = keep("a.log"), *log_b = keep("b.log");
    book("book", 1200);
    int status = signalled(SIGKILL, log_b, 9, "--data %s %s --updates 100000000 --save %s --log %s",
                           text, tiny, b, log_b);
    REQUIRE(CHECK(WIFSIGNALED(status)));
    char value[64] = "", why[256];
    CHECK(ur_load_metadata(b, "at.update", value, sizeof value, why, sizeof why));
    int goal = atoi(value) + 40;
    CHECK(goal >= 33 + 40);
    CHARLM("--data %s --resume %s --updates %d --save %s --log %s", text, b, goal, b, log_b);
    CHARLM("--data %s %s --updates %d --save %s --log %s", text, tiny, goal, a, log_a);
    check_same_run(a, b);
    check_same_log(log_a, log_b);
}

/* ---- Generating ---- */

/* Completions are whole lines of the grammar, the likeliest first, and no sampled one. */
TEST(query_is_completed)
{
    const char *run = keep("run.st");
    book("book", 5000);
    CHARLM("--data %s %s --epochs 6 --lr 1e-2 --save %s", keep("book"), tiny, run);
    CHARLM("--load %s --complete a --beam 6", run);
    double before = 0;
    int lines = 0;
    for (const char *s = child.out; *s; s = strchr(s, '\n') + 1, lines++) {
        double p = strtod(s, NULL);
        CHECK(p <= before);
        before = p;
    }
    CHECK_INT(lines, 6);
    CHECK_INT(charlm("--load %s --complete X", run), 2);
    CHECK_HAS(child.err, "--complete: byte 88 ('X') does not occur");
    CHECK_INT(charlm("--load %s --complete=", run), 2);
    CHECK_HAS(child.err, "--complete needs at least one byte");
}

TEST(loaded_model_generates)
{
    const char *text = keep("book"), *run = keep("run.st");
    static char first[16384];
    book("book", 3000);
    CHARLM("--data %s %s --epochs 3 --lr 1e-2 --save %s --sample 40", text, tiny, run);
    const char *trained = strstr(child.out, "\n\n");
    REQUIRE(trained != NULL);
    CHECK_INT(strlen(trained), 2 + 40 + 1);
    snprintf(first, sizeof first, "%.40s", trained + 2);
    CHARLM("--load %s --sample 40", run);
    CHECK_STR(child.out, first); /* the same seed, the same bytes */
    CHECK_STR(child.err, "");
    CHARLM("--load %s --sample 300 --seed 2", run);
    CHECK_INT(strlen(child.out), 300);
    CHECK(strncmp(child.out, first, 40) != 0);
    for (const char *c = child.out; *c; c++)
        CHECK(islower((unsigned char)*c) || strchr(" .\n", *c));
    CHARLM("--load %s --sample 100 --prime cat --temperature 0", run);
    snprintf(first, sizeof first, "%s", child.out);
    CHECK(strncmp(first, "cat", 3) == 0);
    CHECK_INT(strlen(first), 103);
    CHARLM("--load %s --sample 100 --prime cat --top-k 1 --seed 7", run);
    CHECK_STR(child.out, first); /* the likeliest, both ways */
    CHARLM("--load %s --sample 100 --prime cat --top-p 1e-6 --seed 8", run);
    CHECK_STR(child.out, first);
}

TEST(all_cells_are_compared)
{
    static const char *const kinds[] = { "elman", "lstm", "gru", "gru_reset_after" };
    const char *text = keep("book"), *run = keep("each.st"), *log = keep("log");
    const char *plot = keep("plot.svg");
    char name[64];
    book("book", 2000);
    CHARLM("--data %s %s --cell all --epochs 1 --save %s --log %s --plot %s --sample 10", text,
           tiny, run, log, plot);
    for (int k = 0; k < 4; k++) {
        snprintf(name, sizeof name, "\n%s ", kinds[k]);
        CHECK_HAS(child.out, name);
        snprintf(name, sizeof name, "\n%s:\n", kinds[k]);
        CHECK_HAS(child.out, name);
        snprintf(name, sizeof name, "%s validation", kinds[k]);
        CHECK_HAS(content(plot), name);
        snprintf(name, sizeof name, "\"model\": \"%s\"", kinds[k]);
        CHECK_HAS(content(log), name);
    }
    /* embedding 18x6, the cell, 12x18+18: elman 18x12+12, lstm 4 and gru 3 times that */
    CHECK_HAS(child.out, "\nelman                    570 ");
    CHECK_HAS(child.out, "\nlstm                    1254 ");
    CHECK_HAS(child.out, "\ngru                     1026 ");
    CHARLM("--load %s --sample 5", in_folder("each-gru.st"));
    CHECK_INT(access(run, F_OK), -1);
}

TEST_MAIN(T(help_explains_every_option), T(learns_and_says_so), T(protocol_is_followed),
          T(every_optimiser_learns), T(threads_do_not_change_a_bit),
          T(resumed_run_ends_with_the_same_bits), T(resumed_run_keeps_its_options),
          T(interrupt_saves_and_leaves), T(killed_run_goes_on_from_its_last_epoch),
          T(query_is_completed), T(loaded_model_generates), T(all_cells_are_compared))
