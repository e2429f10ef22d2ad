/* The examples kit, first half: arguments, numbers, progress and interrupts. What a user sees of
 * them is text, so most tests run a piece in a child process and look at what it printed and how
 * it ended. */
#include "examples/kit/kit.h"

#include "tests/child.h"
#include "tests/test.h"

#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Arguments ---- */

static int hidden;
static int64_t updates;
static uint64_t seed;
static double lr, dropout;
static const char *data, *cell;
static bool quiet;
static kit_option options[] = {
    KIT_OPTION("data", &data, NULL, "FILE", "text to learn"),
    KIT_OPTION("cell", &cell, "elman|lstm|gru", "NAME", "kind of cell"),
    KIT_OPTION("hidden", &hidden, "[1,4096]", "N", "units of a layer"),
    KIT_OPTION("updates", &updates, NULL, "N", "number of updates"),
    KIT_OPTION("seed", &seed, NULL, "N", "seed of all random numbers"),
    KIT_OPTION("lr", &lr, "(0,inf)", "X", "learning rate"),
    KIT_OPTION("dropout", &dropout, "[0,1)", "P", "share of values set to zero between layers"),
    KIT_OPTION("quiet", &quiet, NULL, NULL, "prints less"),
};
static kit_usage usage = { "Learns to write.", "demo --data a.txt\ndemo --help", NULL, options,
                           sizeof options / sizeof *options };
static char *arguments[16];
static int n_arguments, n_operands;

static void parse(void)
{
    n_operands = kit_args(&usage, n_arguments, arguments);
}

/* Splits a command line at spaces and sets all variables to their defaults. */
static void prepare(const char *line)
{
    static char copy[1024];
    hidden = 128, updates = 0, seed = 1, lr = 2e-3, dropout = 0, quiet = false;
    data = NULL, cell = "lstm";
    snprintf(copy, sizeof copy, "/usr/bin/demo %s", line);
    n_arguments = 0;
    for (char *word = strtok(copy, " "); word && n_arguments < 15; word = strtok(NULL, " "))
        arguments[n_arguments++] = word;
    arguments[n_arguments] = NULL;
}

TEST(args_set_every_kind)
{
    prepare("--data a.txt --cell=gru --hidden +12 --updates -9223372036854775808"
            " --seed=18446744073709551615 --lr 1e-3 --quiet");
    parse();
    CHECK_INT(n_operands, 0);
    CHECK_STR(data, "a.txt");
    CHECK_STR(cell, "gru");
    CHECK_INT(hidden, 12);
    CHECK_INT(updates, INT64_MIN);
    CHECK(seed == UINT64_MAX);
    CHECK_NEAR(lr, 1e-3, 0);
    CHECK(quiet && dropout == 0);
    CHECK(kit_given(&lr) && kit_given(&quiet) && !kit_given(&dropout) && !kit_given(&child));
    CHECK_STR(kit_program, "demo");
    prepare("--hidden=1 --hidden 4096 --data=--x=y --lr .5");
    parse();
    CHECK_INT(hidden, 4096);
    CHECK_STR(data, "--x=y");
    CHECK_NEAR(lr, 0.5, 0);
    CHECK(!kit_given(&quiet));
}

TEST(args_collect_operands)
{
    usage.operands = "FILE...";
    prepare("one --hidden 3 - -- --lr");
    parse();
    usage.operands = NULL;
    CHECK_INT(n_operands, 3);
    CHECK_STR(arguments[1], "one");
    CHECK_STR(arguments[2], "-");
    CHECK_STR(arguments[3], "--lr");
    CHECK_INT(hidden, 3);
}

TEST(args_refuse_bad_input_in_one_line)
{
    static const char *const table[][2] = {
        { "--hiden 3", "unknown option --hiden; did you mean --hidden?" },
        { "--drop=3", "unknown option --drop; did you mean --dropout?" },
        { "-seed 3", "unknown option -seed; did you mean --seed?" },
        { "--learning-rate 3", "unknown option --learning-rate; --help lists the options" },
        { "--", "" },
        { "--=3", "unknown option --; --help lists the options" },
        { "book.txt", "'book.txt' is not an option; --help lists the options" },
        { "-- book.txt", "'book.txt' is not an option; --help lists the options" },
        { "--hidden", "--hidden needs a value: --hidden N" },
        { "--hidden --lr 3", "--hidden needs a value before --lr (one that starts with '--' is "
                             "written --hidden=VALUE)" },
        { "--hidden abc", "--hidden: 'abc' is not a whole number" },
        { "--hidden=", "--hidden: '' is not a whole number" },
        { "--hidden 1.5", "--hidden: '1.5' is not a whole number" },
        { "--hidden 0x10", "--hidden: '0x10' is not a whole number" },
        { "--hidden 0", "--hidden: 0 must be from 1 to 4096" },
        { "--hidden 99999999999999999999",
          "--hidden: 99999999999999999999 must be from 1 to 4096" },
        { "--updates 9223372036854775808",
          "--updates: 9223372036854775808 must be at most 9223372036854775807" },
        { "--updates -9223372036854775809",
          "--updates: -9223372036854775809 must be at least -9223372036854775808" },
        { "--seed -1", "--seed: -1 must be at least 0" },
        { "--seed 18446744073709551616",
          "--seed: 18446744073709551616 must be at most 18446744073709551615" },
        { "--lr -1", "--lr: -1 must be above 0" },
        { "--lr 0", "--lr: 0 must be above 0" },
        { "--lr nan", "--lr: 'nan' is not a number" },
        { "--lr inf", "--lr: 'inf' is not a number" },
        { "--lr 1,5", "--lr: '1,5' is not a number" },
        { "--lr 1e", "--lr: '1e' is not a number" },
        { "--lr 1e999", "--lr: 1e999 is beyond the largest number" },
        { "--dropout 1", "--dropout: 1 must be at least 0 and below 1" },
        { "--cell lst", "--cell: 'lst' is not one of elman, lstm, gru" },
        { "--cell=", "--cell: '' is not one of elman, lstm, gru" },
        { "--quiet=1", "--quiet takes no value, but was given '1'" },
        { "--hidden 1\n2", "--hidden: '1?2' is not a whole number" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char expected[256] = "";
        prepare(table[i][0]);
        if (*table[i][1])
            snprintf(expected, sizeof expected, "demo: %s\n", table[i][1]);
        run_child(parse);
        CHECK_STR(child.err, expected);
        CHECK_STR(child.out, "");
        CHECK_INT(child.status, *expected ? 2 : 0);
    }
}

TEST(args_help_lists_options_with_defaults)
{
    prepare("--hidden 7 --lr nonsense --help");
    run_child(parse);
    CHECK_INT(child.status, 0);
    CHECK_STR(child.err, "");
    CHECK_STR(child.out,
              "usage: demo [options]\n"
              "Learns to write.\n\n"
              "options:\n"
              "  --data FILE  text to learn\n"
              "  --cell NAME  kind of cell (elman, lstm, gru; default lstm)\n"
              "  --hidden N   units of a layer (from 1 to 4096; default 128)\n"
              "  --updates N  number of updates (default 0)\n"
              "  --seed N     seed of all random numbers (default 1)\n"
              "  --lr X       learning rate (above 0; default 0.002)\n"
              "  --dropout P  share of values set to zero between layers (at least 0 and below\n"
              "               1; default 0)\n"
              "  --quiet      prints less\n"
              "  --help       prints this text\n\n"
              "examples:\n"
              "  demo --data a.txt\n"
              "  demo --help\n");
    prepare("-h");
    run_child(parse);
    CHECK_INT(child.status, 0);
    CHECK_HAS(child.out, "usage: demo");
}

/* ---- Numbers and text ---- */

TEST(numbers_are_plain_decimals)
{
    static const char *const bad[] = { "", " 1", "1 ", "0x1", "inf", "nan", "1.2.3", "--1", "." };
    double v = 0;
    char text[64];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(!kit_parse(bad[i], &v));
    CHECK(kit_parse("-12.5e-1", &v) && v == -1.25);
    CHECK(kit_parse("1e999", &v) && v == HUGE_VAL);
    CHECK_STR(kit_number(text, "%.2f", -0.125), "-0.12");
}

TEST(numbers_ignore_the_locale)
{
    static const char *const names[] = { "de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "ps_AF" };
    const char *set = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !set; i++)
        set = setlocale(LC_ALL, names[i]);
    if (!set)
        SKIP("no locale with another decimal point is installed");
    double v = 0;
    char text[64];
    bool parsed = kit_parse("2.5", &v), comma = kit_parse("2,5", &v);
    kit_number(text, "%.3f", 3.25);
    setlocale(LC_ALL, "C");
    CHECK(parsed && !comma && v == 2.5);
    CHECK_STR(text, "3.250");
}

TEST(utf8_sequences)
{
    static const struct { const char *s; size_t n; } table[] = {
        { "a", 1 }, { "\xc3\xa9", 2 }, { "\xe2\x82\xac", 3 }, { "\xf0\x9f\x98\x80", 4 }, { "", 0 },
        { "\x80", 0 }, { "\xc0\x80", 0 }, { "\xc3", 0 }, { "\xe0\x80\x80", 0 }, { "\xff", 0 },
        { "\xed\xa0\x80", 0 }, { "\xf4\x90\x80\x80", 0 }, { "\xe2\x82", 0 },
        { "\xf5\x80\x80\x80", 0 },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        CHECK_INT(kit_utf8(table[i].s), table[i].n);
}

/* ---- Progress ---- */

static kit_progress half_way(void)
{
    kit_progress p = { .unit = "chars", .epochs = 5, .steps = 1000, .epoch = 3 };
    kit_progress_start(&p);
    kit_progress_show(&p, "loss", 1.0);
    kit_progress_show(&p, "bits/char", 2.2654);
    kit_progress_show(&p, "grad", 0.83);
    kit_progress_show(&p, "loss", 1.57);
    p.step = 500, p.items = 2e6, p.rate = 41234, p.now = p.started + 67;
    return p;
}

TEST(progress_line_shows_everything)
{
    kit_progress p = half_way();
    char line[512];
    kit_progress_text(&p, 110, line, sizeof line);
    CHECK_STR(line, "[##########-----------]   50%  epoch 3/5  loss 1.570  bits/char 2.265  "
                    "grad 0.830  41234 chars/s  1:07 left");
    kit_progress_text(&p, 80, line, sizeof line);
    CHECK_STR(line, "[####-----] 3/5 loss 1.570 bits/char 2.265 grad 0.830 41.2k chars/s "
                    "1:07 left");
    kit_progress_text(&p, 0, line, sizeof line);
    CHECK_STR(line, " 50%  epoch 3/5  step 500/1000  loss 1.570  bits/char 2.265  grad 0.830  "
                    "41234 chars/s  1:07 left");
    p.finished = true, p.step = 1000;
    kit_progress_text(&p, 0, line, sizeof line);
    CHECK_HAS(line, "29851 chars/s  took 1:07");
}

TEST(progress_never_wraps)
{
    kit_progress p = half_way();
    char line[512];
    for (int width = 1; width <= 200; width++) {
        kit_progress_text(&p, width, line, sizeof line);
        CHECK((int)strlen(line) < width);
        if (width >= 24)
            CHECK_HAS(line, "loss 1.570"); /* the last to go, with the time left */
    }
    kit_progress_text(&p, 110, line, 10);
    CHECK_INT(strlen(line), 9);
}

TEST(progress_knows_nothing)
{
    kit_progress p = { .unit = NULL };
    char line[512];
    kit_progress_start(&p);
    for (int width = 0; width < 200; width += 7) {
        kit_progress_text(&p, width, line, sizeof line);
        CHECK(!strstr(line, "nan") && !strstr(line, "inf") && !strchr(line, '%'));
    }
    p.unit = "words", p.steps = 10, p.step = 12, p.rate = NAN;
    kit_progress_show(&p, "loss", NAN);
    for (int i = 0; i < 20; i++) {
        static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j" };
        kit_progress_show(&p, names[i % 10], 1e300 * (i % 2 ? -1 : 1));
    }
    kit_progress_text(&p, 300, line, sizeof line);
    CHECK_HAS(line, "100%  step 12/10  loss nan  a ");
    CHECK_HAS(line, "]");
    CHECK_INT(count(line, "e+300"), KIT_FIGURES - 1);
}

static void train_briefly(void)
{
    kit_progress p = { .unit = "chars", .epochs = 2, .steps = 2000 };
    kit_progress_start(&p);
    for (p.epoch = 1; p.epoch <= 2; p.epoch++) {
        for (int i = 0; i < 1000; i++) {
            p.step++, p.items += 10;
            kit_progress_show(&p, "loss", 1.0 / (double)p.step);
            kit_progress_update(&p);
        }
        kit_progress_epoch(&p);
        if (p.epoch == 1)
            kit_warn("half of it");
    }
    kit_progress_finish(&p);
}

TEST(progress_is_plain_outside_a_terminal)
{
    run_child(train_briefly);
    CHECK(!strchr(child.err, '\r') && !strchr(child.err, '\x1b'));
    CHECK_HAS(child.err, "epoch 1/2  step 1000/2000  loss 1.0e-03");
    CHECK_HAS(child.err, "\ndemo: half of it\n");
    CHECK_HAS(child.err, "epoch 2/2  step 2000/2000  loss 5.0e-04");
    CHECK_HAS(child.err, "\ntook 0:0");
    CHECK(!strstr(child.err, "epoch 3/2"));
    CHECK_STR(child.out, "");
}

#ifdef TIOCGPTN
TEST(progress_rewrites_one_line_on_a_terminal)
{
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY), number = 0, unlocked = 0;
    struct winsize size = { .ws_col = 60, .ws_row = 24 };
    char name[64], text[65536];
    size_t n = 0;
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) || ioctl(master, TIOCGPTN, &number)
        || ioctl(master, TIOCSWINSZ, &size))
        SKIP("no pseudo terminal");
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    int slave = open(name, O_RDWR | O_NOCTTY);
    if (slave < 0)
        SKIP("no pseudo terminal");
    pid_t pid = fork();
    if (pid == 0) {
        setenv("TERM", "xterm", 1);
        dup2(slave, STDERR_FILENO);
        train_briefly();
        _exit(0);
    }
    close(slave);
    for (ssize_t got = 1; got > 0 && n < sizeof text - 1; n += got > 0 ? (size_t)got : 0)
        got = read(master, text + n, sizeof text - 1 - n);
    text[n] = 0;
    close(master);
    waitpid(pid, NULL, 0);
    CHECK_INT(count(text, "\n"), 2); /* of the warning and of the end */
    CHECK_HAS(text, "\r\x1b[Kdemo: half of it\r\n");
    CHECK_HAS(text, "took");
    for (char *at = strtok(text, "\r\n"); at; at = strtok(NULL, "\r\n"))
        CHECK(strcspn(at, "\x1b") < 60);
}
#else
TEST(progress_rewrites_one_line_on_a_terminal)
{
    SKIP("no way to make a pseudo terminal");
}
#endif

/* ---- Interrupts ---- */

static void interrupt_once(void)
{
    kit_catch_interrupt();
    raise(SIGINT);
    exit(kit_interrupted ? 7 : 8);
}

static void interrupt_twice(void)
{
    kit_catch_interrupt();
    raise(SIGTERM);
    raise(SIGINT);
}

TEST(second_interrupt_kills)
{
    run_child(interrupt_once);
    CHECK_INT(child.status, 7);
    run_child(interrupt_twice);
    CHECK_INT(child.killed_by, SIGINT);
}

TEST_MAIN(T(args_set_every_kind), T(args_collect_operands), T(args_refuse_bad_input_in_one_line),
          T(args_help_lists_options_with_defaults), T(numbers_are_plain_decimals),
          T(numbers_ignore_the_locale), T(utf8_sequences), T(progress_line_shows_everything),
          T(progress_never_wraps), T(progress_knows_nothing),
          T(progress_is_plain_outside_a_terminal), T(progress_rewrites_one_line_on_a_terminal),
          T(second_interrupt_kills))
