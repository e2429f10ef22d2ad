/* examples/charlm as a user meets it: what it prints and writes, how it ends. Texts and networks are
 * tiny; what is compared is bits, not speed. */
#include "examples/kit/kit.h"
#include "unroll/graph.h"

#include "tests/child.h"
#include "tests/test.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>

/* ---- Running it ---- */

static char command[4096], *words[96];

static void exec_command(void)
{
    execv(words[0], words);
    _exit(98);
}

static void split(const char *format, va_list args)
{
    int n = 0;
    static char line[4000];
    vsnprintf(line, sizeof line, format, args);
    snprintf(command, sizeof command, "%s/examples/charlm %s", TEST_BUILD, line);
    for (char *w = strtok(command, " "); w && n < 95; w = strtok(NULL, " "))
        words[n++] = w;
    words[n] = NULL;
}

/* Runs charlm with these arguments, split at spaces; `child` has what it did. Returns its status. */
static int charlm(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    split(format, args);
    va_end(args);
    run_child(exec_command);
    return child.status;
}

/* The same, printing what went wrong where something did. */
#define CHARLM(...) \
    do { \
        if (!CHECK_INT(charlm(__VA_ARGS__), 0)) \
            printf("  it said: %s", child.err); \
    } while (0)

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

/* ---- Texts, files ---- */

/* Writes a text of n letters that a small network soon learns: sentences of a tiny grammar. */
static const char *book(const char *name, int n)
{
    static const char *const who[] = { "the cat", "a dog", "the mouse" };
    static const char *const does[] = { " sees ", " likes ", " hunts " };
    static char text[100000];
    int used = 0;
    while (used < n)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%s%s.\n",
                         who[(int)(3 * test_uniform())], does[(int)(3 * test_uniform())],
                         who[(int)(3 * test_uniform())]);
    text[n] = 0;
    const char *path = in_folder(name);
    fill(path, text);
    return path;
}

static void fill_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        perror(path), exit(1);
}

/* A copy of a name from in_folder, which lasts. */
static const char *keep(const char *name)
{
    static char kept[64][128];
    static int n;
    snprintf(kept[n % 64], sizeof kept[0], "%s", in_folder(name));
    return kept[n++ % 64];
}

static const char tiny[] = "--hidden 12 --embed 6 --batch 4 --steps 8 --threads 1";

/* The value of a number in a line of the log. */
static double field(const char *line, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *at = strstr(line, quoted), *end = strchr(line, '\n');
    return at && (!end || at < end) ? strtod(at + strlen(quoted), NULL) : NAN;
}

/* The log without what depends on the clock. */
static const char *timeless(const char *path, char *out, size_t size)
{
    size_t n = 0;
    for (const char *s = content(path); *s && n + 1 < size; s++) {
        bool clock = strncmp(s, "\"chars_per_s\": ", 15) == 0 || strncmp(s, "\"seconds\": ", 11) == 0;
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
        "seed", "dropout", "text", "vocabulary", "at.update", "at.epoch", "at.position",
        "at.logged", "at.random", "at.loss", "at.recent", "at.train_loss", "at.valid_loss",
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
        "sample", "prime", "temperature", "top-k", "top-p",
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
    CHARLM("--data %s %s --epochs 4 --lr 1e-2 --log %s --plot %s --sample 50", text, tiny, log, plot);
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
    CHECK(last_valid < 0.75); /* log of the letters' number, 17, is 2.83 */
    CHECK_HAS(content(plot), "</svg>");
    CHECK_HAS(content(plot), "validation");
    CHECK_HAS(child.out, "parameters");
    CHECK_HAS(child.out, "\nlstm ");
    CHECK_HAS(child.err, "took");
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
    CHARLM("--data %s --hidden 40 --embed 24 --batch 8 --steps 8 --updates 12 --threads 1 --save %s",
           text, a);
    CHARLM("--data %s --hidden 40 --embed 24 --batch 8 --steps 8 --updates 12 --threads 3 --save %s",
           text, b);
    check_same_run(a, b);
}

/* ---- Stopping and resuming ---- */

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
    book("book", 1200);
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
    status = signalled(SIGINT, log_b, 1, "--data %s %s --epochs 1000000 --log %s", text, tiny, log_b);
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
    const char *text = keep("book"), *run = keep("run.st"), *log = keep("log");
    const char *plot = keep("plot.svg");
    char name[64];
    book("book", 2000);
    CHARLM("--data %s %s --cell all --epochs 1 --save %s --log %s --plot %s --sample 10", text, tiny,
           run, log, plot);
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
    /* embedding 17x6, the cell, 12x17+17: elman 18x12+12, lstm 4 and gru 3 times that */
    CHECK_HAS(child.out, "\nelman                    551 ");
    CHECK_HAS(child.out, "\nlstm                    1235 ");
    CHECK_HAS(child.out, "\ngru                     1007 ");
    CHARLM("--load %s --sample 5", in_folder("run-gru.st"));
    CHECK_INT(access(run, F_OK), -1);
}

/* ---- Odd texts ---- */

TEST(any_bytes_are_text)
{
    const char *text = keep("bytes"), *run = keep("run.st");
    static unsigned char bytes[4096];
    char value[KIT_VOCABULARY_TEXT], why[256];
    for (int i = 0; i < 4096; i++)
        bytes[i] = (unsigned char)(i * 7);
    fill_bytes(text, bytes, sizeof bytes);
    CHARLM("--data %s %s --epochs 1 --save %s --sample 20", text, tiny, run);
    CHECK(ur_load_metadata(run, "vocabulary", value, sizeof value, why, sizeof why));
    CHECK(strncmp(value, "\\00\\01\\02", 9) == 0);
    CHECK_HAS(value, "\\20!\"#$%&'()*");
    CHECK_HAS(value, "Z[\\5c]^_");
    CHARLM("--load %s --sample 100", run);
    memset(bytes, 'a', sizeof bytes);
    fill_bytes(text, bytes, sizeof bytes);
    CHARLM("--data %s %s --epochs 1 --save %s", text, tiny, run);
    CHARLM("--load %s --sample 7", run);
    CHECK_STR(child.out, "aaaaaaa");
}

TEST(shortest_texts)
{
    const char *text = keep("short");
    fill(text, "abcabcabcab");
    CHARLM("--data %s --hidden 3 --embed 2 --batch 1 --steps 1 --updates 3", text);
    CHARLM("--data %s --hidden 3 --embed 2 --batch 3 --steps 2 --epochs 2", text);
    CHARLM("--data %s --hidden 3 --embed 2 --batch 2 --steps 4 --epochs 2", text);
    fill(text, "abcabcabca");
    CHECK_INT(charlm("--data %s --hidden 3 --batch 1 --steps 1 --updates 3", text), 2);
    CHECK_HAS(child.err, "has 10 bytes, but one update with --batch 1 and --steps 1 takes 11\n");
    CHECK_INT(charlm("--data %s --hidden 3 --batch 2 --steps 5 --updates 3", text), 2);
    CHECK_HAS(child.err, "takes 13\n");
    fill(text, "abcabcabcabc");
    CHECK_INT(charlm("--data %s --hidden 3 --batch 2 --steps 5 --updates 3", text), 2);
    fill(text, "abcabcabcabca");
    CHARLM("--data %s --hidden 3 --embed 2 --batch 2 --steps 5 --updates 3", text);
}

/* ---- Bad input ---- */

typedef struct {
    const char *arguments, *says; /* @ stands for the folder */
} refusal;

static const refusal refusals[] = {
    { "", "--data FILE is needed" },
    { "--data @/none", "cannot read '@/none': there is no such file" },
    { "--data @/empty", "cannot read '@/empty': the file is empty" },
    { "--data @", "cannot read '@': it is a directory" },
    { "--data @/short", "has 12 bytes, but one update with --batch 64 and --steps 64 takes 4553" },
    { "--data @/book --save @/no/run.st", "cannot write '@/no/run.st': its folder does not exist" },
    { "--data @/book --save @", "cannot write '@': it is a directory" },
    { "--data @/book --plot @/no/x.svg", "cannot write '@/no/x.svg'" },
    { "--data @/book --batch 2 --steps 2 --log @/no/log", "cannot write the log '@/no/log'" },
    { "--data @/book --hidden 0", "--hidden: 0 must be" },
    { "--data @/book --hidden many", "--hidden: 'many' is not a whole number" },
    { "--data @/book --hidden 1e3", "--hidden: '1e3' is not a whole number" },
    { "--data @/book --lr 0", "--lr: 0 must be above 0" },
    { "--data @/book --lr nan", "--lr: 'nan' is not a number" },
    { "--data @/book --dropout 1", "--dropout: 1 must be" },
    { "--data @/book --clip -1", "--clip: -1 must be" },
    { "--data @/book --batch 99999999999", "--batch: 99999999999 must be" },
    { "--data @/book --seed -1", "--seed: -1 must be" },
    { "--data @/book --temperature -1", "--temperature: -1 must be" },
    { "--data @/book --top-p 0", "--top-p: 0 must be" },
    { "--data @/book --cell lsmt", "--cell: 'lsmt' is not one of elman, lstm" },
    { "--data @/book --optim adm", "--optim: 'adm' is not one of sgd, momentum" },
    { "--data @/book --epochs 1 --updates 1", "--epochs and --updates both" },
    { "--data @/book --hiden 3", "unknown option --hiden; did you mean --hidden?" },
    { "--data @/book extra", "'extra' is not an option" },
    { "--data @/book --save @/book", "'@/book' is given twice" },
    { "--data @/book --log @/link", "is given twice" },
    { "--data @/book --plot @/x.svg --log @/x.svg", "'@/x.svg' is given twice" },
    { "--data @/book --resume @/run.st --log @/run.st", "'@/run.st' is given twice" },
    { "--data @/book --batch 2 --steps 2 --prime A", "--prime: byte 65 ('A') does not occur" },
    { "--data @/book --resume @/none.st", "@/none.st" },
    { "--data @/book --resume @/book", "@/book" },
    { "--data @/book --resume @/run.st --hidden 13", "--hidden cannot change" },
    { "--data @/book --resume @/run.st --steps 9", "--steps cannot change" },
    { "--data @/book --resume @/run.st --optim sgd", "--optim cannot change" },
    { "--data @/book --resume @/run.st --cell all", "--resume takes up one run" },
    { "--data @/other --resume @/run.st", "it was trained with another text" },
    { "--load @/run.st", "--load needs --sample" },
    { "--load @/run.st --sample 5 --data @/book", "--load only generates" },
    { "--load @/run.st --sample 5 --hidden 13", "--hidden cannot change" },
    { "--load @/run.st --sample 5 --prime A", "--prime: byte 65 ('A') does not occur" },
    { "--load @/none.st --sample 5", "@/none.st" },
    { "--load @/book --sample 5", "@/book" },
    { "--load @/cut.st --sample 5", "@/cut.st" },
};

/* Copies text with each @ replaced by the test's folder. */
static const char *placed(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text && n + 1 < size; text++)
        n += *text == '@' ? (size_t)snprintf(out + n, size - n, "%s", child_folder)
                          : (out[n] = *text, 1u);
    out[n < size ? n : size - 1] = 0;
    return out;
}

TEST(bad_input_is_one_clear_line)
{
    char *saved = NULL, *later = NULL;
    size_t n_saved = 0, n_later = 0;
    fill(in_folder("empty"), "");
    fill(in_folder("short"), "too short :)");
    book("book", 6000);
    book("other", 6000);
    CHECK_INT(symlink("book", in_folder("link")), 0);
    const char *run = keep("run.st"), *text = keep("book");
    CHARLM("--data %s %s --updates 3 --save %s", text, tiny, run);
    REQUIRE(kit_read_file(run, &saved, &n_saved));
    fill_bytes(in_folder("cut.st"), saved, n_saved - 5);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char arguments[1024], says[1024];
        placed(refusals[i].arguments, arguments, sizeof arguments);
        placed(refusals[i].says, says, sizeof says);
        bool ok = CHECK_INT(charlm("%s", arguments), 2);
        ok = CHECK_HAS(child.err, says) && ok;
        ok = CHECK(strncmp(child.err, "charlm: ", 8) == 0) && ok;
        ok = CHECK_INT(count(child.err, "\n"), 1) && ok;
        ok = CHECK_STR(child.out, "") && ok;
        if (!ok)
            printf("  that was charlm %s\n", arguments);
    }
    /* None of them has damaged what was saved, nor the text. */
    REQUIRE(kit_read_file(run, &later, &n_later));
    if (CHECK_INT(n_later, n_saved))
        CHECK_MEM(later, saved, n_saved);
    CHECK_INT(strlen(content(text)), 6000);
    free(saved);
    free(later);
}

TEST(diverging_run_ends_and_keeps_what_was_saved)
{
    const char *text = keep("book"), *run = keep("run.st");
    char value[64], why[256];
    book("book", 1200);
    CHARLM("--data %s %s --updates 5 --save %s", text, tiny, run);
    CHECK_INT(charlm("--data %s --resume %s --save %s --optim adam --lr 1e38 --clip 0 --epochs 9",
                     text, run, run), 2);
    CHECK_HAS(child.err, "not finite");
    CHECK(ur_load_metadata(run, "at.update", value, sizeof value, why, sizeof why));
    CHECK_STR(value, "5");
}

/* ---- Its parts in the kit, and the main job ---- */

TEST(streams_are_contiguous)
{
    unsigned char ids[23];
    int32_t x[6], y[6];
    for (int i = 0; i < 23; i++)
        ids[i] = (unsigned char)i;
    kit_streams s = kit_streams_of(ids, 23, 3, 2); /* 22 with a successor: 3 rows of 7 */
    CHECK_INT(s.length, 7);
    CHECK_INT(s.segments, 3);
    kit_streams_segment(&s, 2, x, y);
    CHECK_MEM(x, ((int32_t[]){ 4, 11, 18, 5, 12, 19 }), sizeof x);
    CHECK_MEM(y, ((int32_t[]){ 5, 12, 19, 6, 13, 20 }), sizeof y);
}

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
    const char *path = keep("log");
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

/* The main job of examples/run is too long for a test; that charlm knows its options is not. */
TEST(main_job_is_understood)
{
    static char script[8192];
    int options = 0;
    snprintf(script, sizeof script, "%s", content(TEST_ROOT "/examples/run"));
    char *call = strstr(script, "build/examples/charlm\" ");
    REQUIRE(call != NULL);
    charlm("--help");
    char *end = strstr(call, "|| exit");
    REQUIRE(end != NULL);
    *end = 0;
    for (char *w = strtok(call, " \n\\\""); w; w = strtok(NULL, " \n\\\"")) {
        char option[64];
        if (strncmp(w, "--", 2) != 0)
            continue;
        snprintf(option, sizeof option, "\n  %.40s ", w);
        CHECK_HAS(child.out, option);
        options++;
    }
    CHECK(options >= 15);
}

TEST_MAIN(T(help_explains_every_option), T(learns_and_says_so), T(every_optimiser_learns),
          T(threads_do_not_change_a_bit), T(resumed_run_ends_with_the_same_bits),
          T(resumed_run_keeps_its_options), T(interrupt_saves_and_leaves),
          T(killed_run_goes_on_from_its_last_epoch), T(loaded_model_generates),
          T(all_cells_are_compared), T(any_bytes_are_text), T(shortest_texts),
          T(bad_input_is_one_clear_line), T(diverging_run_ends_and_keeps_what_was_saved),
          T(streams_are_contiguous), T(vocabulary_is_text_and_back), T(log_is_rewound),
          T(main_job_is_understood))
