/* The example programs as a user meets them: each learns its synthetic task for a few updates, and
 * the loss falls; each explains itself, and refuses nonsense with one line. */
#include "examples/kit/kit.h"

#include "tests/resumed.h"

#include <signal.h>
#include <sys/stat.h>
#include <time.h>

/* A program's run in a second or less. `loss`: what stands before each loss that the program
 * prints; NULL where it keeps a log. The last loss is at most `falls` times the first. Without data
 * the first line says that the task is synthetic. */
typedef struct {
    const char *name, *arguments, *loss, *prints;
    double falls;
} example;

static const example examples[] = {
    { "adding", "--length 10 --hidden 16 --updates 200", NULL, "synthetic", 0.5 },
    { "calculator", "--updates 60 --hidden 32 --lr 0.01 --tested 64 --digits 2 1+2", NULL, "1+2=",
      0.9 },
    { "caption", "--updates 30 --features 24 --hidden 24 --batch 8 --lr 0.01 --tested 8", NULL,
      "answers right", 0.9 },
    { "caption", "--task shape --updates 100 --features 64 --batch 8 --lr 0.01 --noise 0 "
      "--tested 8", NULL, "answers right", 0.9 },
    { "caption", "--task motion --updates 60 --features 64 --hidden 64 --batch 8 --lr 0.01 "
      "--tested 4", NULL, "answers right", 0.98 },
    { "copy", "--length 5 --recall 1 --hidden 16 --updates 200", NULL, "synthetic", 0.5 },
    { "dna", "--folds 2 --seeds 1 --updates 25 --lr 2e-2 --threads 1", "loss ", "synthetic", 0.8 },
    { "forecast", "--epochs 4 --hidden 8", NULL, "AR(12)", 0.97 },
    { "forecast", "--task circle --window 4 --updates 60 --lr 1e-2", NULL, "synthetic", 0.7 },
    { "hello", "--updates 50", "loss ", "says: hello", 0.1 },
    { "markov", "--states 8 --updates 40", NULL, "synthetic", 0.95 },
    { "music", "--hidden 32 --updates 30", NULL, "synthetic", 0.5 },
    { "names", "--hidden 16 --epochs 3 --lr 1e-2", NULL, "synthetic", 0.8 },
    { "newcell", "--updates 500", NULL, "gradients: 252 numbers of 8 tensors", 0.1 },
    { "sentiment", "--model window --folds 1 --updates 60 --lr 1e-2 --embed 32 --hidden 32", NULL,
      "synthetic", 0.8 },
    { "sentiment", "--model bow --folds 1 --updates 120 --lr 3e-2 --embed 32", NULL, "bow, mean",
      0.9 },
    { "sentiment", "--folds 1 --updates 60 --lr 1e-2 --embed 32 --hidden 32", NULL, "bilstm, mean",
      0.9 },
    { "speech", "--updates 20 --hidden 16 --batch 4 --letters 2 --lr 0.01 --tested 4", NULL,
      "letters wrong", 0.8 },
    { "tagger", "--updates 60 --lr 1e-2 --words 8 --letters 8 --spelling 8 --hidden 8", NULL,
      "test.tsv: ", 0.8 },
    { "tagger", "--updates 30 --lr 1e-2 --words 8 --letters 8 --spelling 8 --hidden 8 --crf "
      "--buckets 3,5", NULL, "tagger, crf", 0.9 },
    { "tagger", "--updates 60 --lr 1e-2 --words 8 --letters 8 --spelling 8 --hidden 8 --task names "
      "--show 1", NULL, "recall", 0.9 },
    { "transformer", "--updates 60 --width 16 --layers 2 --block 16 --lr 1e-2 --sample 20", NULL,
      "transformer  ", 0.9 },
    { "trees", "--updates 60 --hidden 32 --lr 0.01", NULL, "held-out expressions", 0.8 },
    { "trees", "--task logic --updates 60 --hidden 32 --lr 0.01", NULL, "held-out expressions",
      0.6 },
    { "translate", "--hidden 24 --embed 24 --updates 150 --lr 1e-2 The_cat", NULL, "BLEU", 0.6 },
    { "vanishing", "--length 20 --updates 200", "mean loss ", "synthetic", 0.5 },
    { "wordlm", "--hidden 24 --batch 8 --steps 16 --updates 150 --lr 1e-2 --tied "
                "--neighbours cat --sample 2 the_cat", NULL, "nearest to cat:", 0.7 },
    { "wordlm", "--hidden 24 --batch 8 --steps 16 --updates 240 --uniform 0.1 --optim sgd --lr 1 "
                "--decay 0.5 --after 1 --sum", NULL, "validation perplexity", 0.8 },
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

static char *words[64];

static void exec_words(void)
{
    execv(words[0], words);
    _exit(98);
}

static void split(const char *name, const char *arguments, const char *more)
{
    static char line[1024];
    int n = 0;
    snprintf(line, sizeof line, "%s/examples/%s %s %s", TEST_BUILD, name, arguments, more);
    for (char *w = strtok(line, " "); w && n < 63; w = strtok(NULL, " "))
        words[n++] = w;
    words[n] = NULL;
}

/* Runs a program with these arguments, split at spaces; its exit status. */
static int run(const char *name, const char *arguments, const char *more)
{
    split(name, arguments, more);
    run_child(exec_words);
    return child.status;
}

/* Starts it and sends it Ctrl-C once it has begun its log; its exit status. */
static int stop(const char *name, const char *arguments, const char *more, const char *log)
{
    int status = 0;
    split(name, arguments, more);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(99);
        exec_words();
    }
    while (!*content(log) && waitpid(pid, &status, WNOHANG) == 0)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    kill(pid, SIGINT);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
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
        const char *said = strstr(child.out, "synthetic"), *line = strchr(child.out, '\n');
        if (!CHECK(strcmp(e->name, "hello") == 0 || (said && said < line)))
            printf("  %s does not begin by saying that its task is made up\n", e->name);
        bool found = e->loss ? first_and_last(child.out, e->loss, &first, &last)
                             : first_and_last(content(in_folder("log")), "\"train_loss\": ", &first,
                                              &last);
        if (!CHECK(found) || !CHECK(last >= 0 && last <= e->falls * first))
            printf("  %s: first loss %g, last %g\n", e->name, first, last);
    }
}

/* Cuts seconds and rates out of what a program printed: those of BLEU, and of a table's row. */
static char *without_times(char *out)
{
    char *head = strstr(out, "/s "), *row = head ? strchr(head, '\n') : NULL;
    blank(out, ", in ", 's');
    if (row && strlen(row) > 40)
        memset(row + 29, ' ', 10);
    return out;
}

/* Programs that train, and tasks that take some dozens of their logs' lines. */
TEST(stopped_runs_are_resumed_to_the_same_end)
{
    static const struct { const char *name, *arguments; } runs[] = {
        { "adding", "--length 10 --hidden 16 --updates 1200" },
        { "calculator", "--updates 500 --hidden 16 --digits 2 --tested 16" },
        { "forecast", "--epochs 20 --hidden 8 --dropout 0.1" },
        { "markov", "--states 8 --updates 400" },
        { "music", "--hidden 16 --updates 150" },
        { "newcell", "--updates 600" },
        { "sentiment", "--folds 1 --updates 200 --embed 32 --hidden 32 --model window" },
        { "speech", "--updates 100 --hidden 16 --batch 4 --letters 2 --tested 4" },
        { "tagger", "--updates 200 --words 8 --letters 8 --spelling 8 --hidden 8" },
        { "transformer", "--updates 300 --width 16 --layers 1 --block 16 --dropout 0.1" },
        { "translate", "--updates 200 --hidden 16 --embed 16 --lr 1e-2 --beam 1" },
        { "trees", "--updates 60 --hidden 16" },
        { "wordlm", "--updates 400 --hidden 16 --batch 8 --steps 16 --decay 0.5 --sample 2" },
    };
#ifdef SANITIZED
    enum { STEP = 5 };          /* adding, newcell and translate */
#else
    enum { STEP = 1 };
#endif
    char a[400], b[400], log_a[128], log_b[128], out[16384];
    for (size_t k = 0; k < sizeof runs / sizeof *runs; k += STEP) {
        const char *name = runs[k].name, *arguments = runs[k].arguments;
        snprintf(log_a, sizeof log_a, "%s", in_folder("a.log"));
        snprintf(log_b, sizeof log_b, "%s", in_folder("b.log"));
        snprintf(a, sizeof a, "--threads 1 --save %s --log %s", in_folder("a.st"), log_a);
        snprintf(b, sizeof b, "--threads 1 --save %s --log %s", in_folder("b.st"), log_b);
        CHECK_INT(run(name, arguments, a), 0);
        snprintf(out, sizeof out, "%s", child.out);
        unlink(log_b);
        int status = stop(name, arguments, b, log_b);
        CHECK(status == 130 || status == 0); /* it was faster than the signal */
        snprintf(b + strlen(b), sizeof b - strlen(b), " --resume %s", in_folder("b.st"));
        if (!CHECK_INT(run(name, arguments, b), 0)
            || !check_same_saved(in_folder("a.st"), in_folder("b.st"))
            || !check_same_logs(log_a, log_b))
            printf("  that is %s: %s\n", name, child.err);
        CHECK_STR(without_times(out), without_times(child.out));
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

/* The picture of the lecture: what is left of a gradient after 20 steps, and beyond a cut. */
TEST(vanishing_shows_what_arrives)
{
    double tanh_, relu, identity, lstm, gru, all, far, cut, near;
    CHECK_INT(run("vanishing", "--length 20 --updates 2 --batch 4", ""), 0);
    const char *row = strstr(child.out, "\n      20 "), *cuts = strstr(child.out, "\ntruncation");
    REQUIRE(row && cuts && (cuts = strstr(cuts, "\n      20 ")));
    REQUIRE(sscanf(row, "%*d %lf %lf %lf %lf %lf", &tanh_, &relu, &identity, &lstm, &gru) == 5);
    CHECK(relu > 0 && relu < tanh_ && tanh_ < 1e-4 && tanh_ < gru && gru < lstm);
    CHECK(lstm < identity && identity > 0.1);
    REQUIRE(sscanf(cuts, "%*d %lf %lf %lf %lf", &all, &far, &cut, &near) == 4);
    CHECK(all == identity && far == all && cut == 0 && near == 0);
}

/* Words of the made-up language, in an order that it has and in one that it has not. */
TEST(wordlm_scores_sentences)
{
    double good, bad;
    split("wordlm", "--hidden 24 --batch 8 --steps 16 --updates 150 --lr 1e-2 --threads 1", "");
    int n = 0;
    while (words[n])
        n++;
    words[n] = (char[]){ "the cat sees a dog ." };
    words[n + 1] = (char[]){ "dog . a sees cat the" };
    words[n + 2] = NULL;
    run_child(exec_words);
    CHECK_INT(child.status, 0);
    const char *a = strstr(child.out, ": the cat sees a dog ."), *b = strstr(child.out, ": dog .");
    REQUIRE(a && b && first_and_last(child.out, "a word, perplexity ", &good, &bad));
    CHECK(good > 1 && good < 10 && bad > 10 * good);
}

/* What there is to look at besides losses. */
TEST(programs_draw)
{
    static const struct { const char *name, *arguments, *files[4], *shows; } pictures[] = {
        { "forecast", "--epochs 1 --hidden 2 --picture", { "a.svg" }, "</svg>" },
        { "forecast", "--task circle --window 4 --updates 2 --picture", { "b.svg" }, "</svg>" },
        { "newcell", "--updates 2 --dot", { "c.dot" }, "digraph" },
        { "translate", "--hidden 8 --embed 8 --updates 2 The_cat --heat", { "d.svg" }, "</svg>" },
        { "vanishing", "--length 5 --updates 2 --batch 2 --plot",
          { "e.svg", "e-start.svg", "e-truncation.svg", "e-clipping.svg" }, "</svg>" },
    };
    for (size_t k = 0; k < sizeof pictures / sizeof *pictures; k++) {
        CHECK_INT(run(pictures[k].name, pictures[k].arguments, in_folder(pictures[k].files[0])), 0);
        for (int i = 0; i < 4 && pictures[k].files[i]; i++)
            CHECK_HAS(content(in_folder(pictures[k].files[i])), pictures[k].shows);
    }
}

/* Data as the programs want them, and with one thing wrong. */
TEST(data_are_read_or_refused)
{
    static const struct {
        const char *program, *file, *good, *bad, *says;
    } files[] = {
        { "dna --folds 2 --seeds 1 --updates 1", "dna.txt", "+,A,\tacgt\n-,B,\tttGt\n+,C,acga\n",
          "+,A,acgt\n-,B,acg\n", "line 2 has 3 bases, but the first has 4" },
        { "forecast --window 2 --horizon 2 --batch 1 --updates 1", "series.csv",
          "m,v\n1,3\n2,5\n3,4\n4,6\n5,5\n6,8\n7,6\n8,9\n9,7\n10,8\n11,9\n12,8\n13,9\n14,7\n"
          "15,8\n16,9\n17,9\n18,8\n19,7\n20,6\n", "m,v\n1,x\n", "line 2: 'x' is no number" },
        { "forecast --window 2 --horizon 2 --batch 1 --updates 1", "series.csv", NULL, "m,v\n1,3\n",
          "series.csv' holds 1 numbers, but --window 2, --horizon 2 and --batch 1 need 19" },
        { "forecast --updates 1", "series.csv", NULL, "m,v\n1,3\n2,-1e999\n",
          "series.csv' line 3: the number -1e999 is out of range: at most 1e30 from zero" },
        { "forecast --window 1 --horizon 1 --batch 1 --updates 1", "series.csv", NULL,
          "m,v\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n.1\n",
          "series.csv' holds the same number again and again" },
    };
    char data[160];
    for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
        snprintf(data, sizeof data, "--threads 1 --data %s", in_folder(files[k].file));
        if (files[k].good) {
            fill(in_folder(files[k].file), files[k].good);
            if (!CHECK_INT(run(files[k].program, data, ""), 0))
                printf("  %s said: %s", files[k].program, child.err);
            CHECK(!strstr(child.out, "synthetic"));
        }
        fill(in_folder(files[k].file), files[k].bad);
        CHECK_INT(run(files[k].program, data, ""), 2);
        CHECK_INT(count(child.err, "\n"), 1);
        CHECK_HAS(child.err, files[k].says);
    }
    CHECK_INT(run("forecast", "--window 2000", ""), 2);
    CHECK_HAS(child.err, "the made-up series' holds 1200 numbers, but --window 2000");
}

TEST(music_reads_chorales_and_writes_midi)
{
    static const char *const parts[] = { "train", "valid", "test" };
    char arguments[500], name[64];
    for (int k = 0; k < 3; k++) {
        snprintf(name, sizeof name, "JSB_Chorales.%s.txt", parts[k]);
        fill(in_folder(name), "60 64\n.\n62 65\n\n60 64 67\n");
    }
    snprintf(arguments, sizeof arguments,
             "--threads 1 --updates 2 --hidden 4 --data %s --midi %s --frames 3",
             child_folder, in_folder("a.mid"));
    CHECK_INT(run("music", arguments, ""), 0);
    CHECK_HAS(child.out, "nats a frame: validation ");
    CHECK(memcmp(content(in_folder("a.mid")), "MThd\0\0\0\6\0\0\0\1", 12) == 0);
    fill(in_folder(name), "60 64\n60 5\n");
    CHECK_INT(run("music", arguments, ""), 2);
    CHECK_HAS(child.err, "line 2: '5' is no MIDI note from 21 to 108");
}

TEST(names_reads_a_folder)
{
    char folder[130], arguments[400];
    snprintf(folder, sizeof folder, "%s", in_folder("names"));
    CHECK_INT(mkdir(folder, 0700), 0);
    snprintf(arguments, sizeof arguments, "--threads 1 --updates 1 --hidden 2 --name Ua --data %s",
             folder);
    CHECK_INT(run("names", arguments, ""), 2);
    CHECK_HAS(child.err, "is no folder with 2 to 100 files LANGUAGE.txt");
    fill(in_folder("names/One.txt"), "Aba\nUbu\n\nA rather long name, with a comma\nBu\nE\n");
    fill(in_folder("names/Two.txt"), "Lil\nLol\nLal\nLul\nLel\nLi\n");
    CHECK_INT(run("names", arguments, ""), 0);
    CHECK_HAS(child.out, "\nUa: ");
}

TEST(autoregression_finds_its_weights)
{
    double x[60] = { 1, -2 }, w[3];
    for (int t = 2; t < 60; t++)
        x[t] = 0.5 + 0.6 * x[t - 1] - 0.9 * x[t - 2];
    kit_autoregression(x, 60, 2, w);
    CHECK_NEAR(w[0], 0.5, 1e-10);
    CHECK_NEAR(w[1], 0.6, 1e-10);
    CHECK_NEAR(w[2], -0.9, 1e-10);
}

TEST(midi_holds_keys_and_ends_them)
{
    unsigned char notes[3 * 128] = { 0 };
    notes[60] = notes[128 + 60] = notes[128 + 64] = 1;
    static const unsigned char events[] = {
        0, 0xff, 0x51, 3, 0x07, 0xa1, 0x20,                 /* 500,000 microseconds a beat */
        0, 0x90, 60, 80, 96, 0x90, 64, 80, 96, 0x80, 60, 80, 0, 0x80, 64, 80, 0, 0xff, 0x2f, 0 };
    CHECK(kit_midi(in_folder("b.mid"), notes, 3, 120));
    const char *file = content(in_folder("b.mid"));
    CHECK_INT((unsigned char)file[21], (int)sizeof events);
    CHECK(memcmp(file + 22, events, sizeof events) == 0);
}

TEST_MAIN(T(losses_fall), T(stopped_runs_are_resumed_to_the_same_end),
          T(every_program_explains_itself), T(hello_draws_its_graph),
          T(vanishing_shows_what_arrives), T(wordlm_scores_sentences), T(programs_draw),
          T(data_are_read_or_refused), T(music_reads_chorales_and_writes_midi),
          T(names_reads_a_folder), T(autoregression_finds_its_weights),
          T(midi_holds_keys_and_ends_them))
