/* kit.h: what every example program needs and the library does not have: arguments, a progress
 * line, a log, plots, and reading and writing files without surprises. It uses libc and POSIX only.
 *
 *     static const char *data, *save, *plot, *log_path;
 *     static int hidden = 128;
 *     static double lr = 2e-3;
 *     static kit_option options[] = {
 *         KIT_OPTION("data", &data, NULL, "FILE", "text to learn"),
 *         KIT_OPTION("hidden", &hidden, "[1,65536]", "N", "units of a layer"),
 *         KIT_OPTION("lr", &lr, "(0,inf)", "X", "learning rate"),
 *         ...
 *     };
 *
 *     int main(int argc, char **argv)
 *     {
 *         kit_args(&(kit_usage){ "Learns to write.", "prog --data book.txt", NULL,
 *                                options, sizeof options / sizeof *options }, argc, argv);
 *         if (!kit_read_file(data, &bytes, &n) || !kit_check_writable(save)
 *             || !kit_check_writable(plot) || !kit_log_open(&log, log_path, false))
 *             return 2;
 *         kit_catch_interrupt();
 *         kit_progress bar = { .unit = "chars", .epochs = epochs, .steps = updates };
 *         kit_progress_start(&bar);
 *         while (!kit_interrupted && ...) {
 *             ...
 *             bar.step++, bar.items += B * T;
 *             kit_progress_show(&bar, "loss", loss);
 *             kit_progress_update(&bar);
 *         }
 *         kit_progress_finish(&bar);
 *     }
 *
 * Conventions. A function that returns bool has, when it returns false, printed one line to stderr
 * that names the file or value and what is wrong with it. The locale has no influence: the programs
 * never call setlocale, and numbers are read and written with '.' even where somebody does.
 * Nothing here is meant for several threads at once. */
#ifndef UNROLL_EXAMPLES_KIT_H
#define UNROLL_EXAMPLES_KIT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define KIT_PRINTF __attribute__((format(printf, 1, 2)))
#else
#define KIT_PRINTF
#endif

/* ---- Messages (text.c) -------------------------------------------------------------------------
 * Both print "prog: message" as one line to stderr, whatever bytes the arguments hold (control
 * characters become '?'), after wiping an open progress line. kit_die then exits with status 2, the
 * status of every refused input. "prog" is kit_program: the last part of argv[0], by kit_args. */
extern char kit_program[64];
void kit_warn(const char *format, ...) KIT_PRINTF;
_Noreturn void kit_die(const char *format, ...) KIT_PRINTF;

/* ---- Arguments (args.c) ------------------------------------------------------------------------
 * A program lists its options in an array of KIT_OPTION rows; the variables hold the defaults. The
 * kind of an option follows from the type of its variable (another type does not compile):
 *
 *     int, int64_t      a whole number in decimal
 *     uint64_t          the same, not negative: seeds, sizes
 *     double            a finite decimal number
 *     const char *      any text, such as a path; it points into argv afterwards
 *     bool              a flag without value, which sets the variable to true
 *
 * `allowed` is for numbers an interval, written as in mathematics: "[1,64]", "(0,inf)", "[0,1)"; a
 * round bracket excludes the bound. For text it is a list of words: "elman|lstm|gru". NULL allows
 * all. `metavar` stands for the value in --help (NULL for a flag), `help` explains the option; both
 * need no word on range and default, which --help adds. */
typedef enum { KIT_INT, KIT_INT64, KIT_UINT64, KIT_DOUBLE, KIT_TEXT, KIT_FLAG } kit_kind;

/* What becomes of an option when a run is saved: nothing; it is kept, and may be changed when the
 * run is resumed; it is fixed for good; or it also belongs to the model, and is fixed wherever that
 * is loaded. Rows of KIT_OPTION are the first kind, of KIT_SAVED(kind, ...) the others. */
typedef enum { KIT_UNSAVED, KIT_KEPT, KIT_FIXED, KIT_MODEL } kit_keeping;

typedef struct {
    const char *name; /* without the dashes */
    kit_kind kind;
    void *variable;
    const char *allowed, *metavar, *help;
    kit_keeping keeping;
    bool given; /* set by kit_args */
} kit_option;

#define KIT_OPTION(name, variable, allowed, metavar, help) \
    KIT_SAVED(KIT_UNSAVED, name, variable, allowed, metavar, help)
#define KIT_SAVED(keeping, name, variable, allowed, metavar, help) \
    { name, _Generic((variable), int *: KIT_INT, int64_t *: KIT_INT64, uint64_t *: KIT_UINT64, \
                     double *: KIT_DOUBLE, const char **: KIT_TEXT, bool *: KIT_FLAG), \
      variable, allowed, metavar, help, keeping, false }

typedef struct {
    const char *about;    /* one line: what the program does */
    const char *examples; /* command lines, separated by '\n', or NULL */
    const char *operands; /* "FILE...", where arguments that are no options are wanted, or NULL */
    kit_option *options;
    size_t n_options;
} kit_usage;

/* Reads the command line: `--name value`, `--name=value`, flags `--name`, and `--` before operands
 * that start with '-'. A value that itself starts with "--" needs the form with '='. The last of
 * several values counts. `--help` anywhere (or -h alone) prints the usage with all options to
 * stdout and exits with status 0. Returns the number of operands, which then are argv[1], argv[2],
 * ... Keeps `usage->options` for kit_given.
 * Anything wrong ends the program by kit_die: an unknown option (the nearest name is proposed), a
 * value that is missing or superfluous, text that is no number, a number outside the interval or
 * beyond the type, a word that is not listed, an operand where usage->operands is NULL. */
int kit_args(const kit_usage *usage, int argc, char **argv);

/* True when the command line set this variable; a program that restores settings from a saved file
 * leaves those alone: kit_given(&hidden). False for a variable that belongs to no option. */
bool kit_given(const void *variable);

/* The numbers of an option that is text, such as "10,20,50": at most `room`, ascending, from 1 to
 * 1,000,000. Returns how many there are; dies where it is anything else. */
int kit_ascending(const char *name, const char *text, int out[], int room);

/* Sets an option's variable from text as the command line does. `from` names the file that the text
 * was read from, for messages, or is NULL. Text is kept, not copied. */
void kit_option_set(const kit_option *o, const char *text, const char *from);

/* ---- Saved settings (saved.c) ------------------------------------------------------------------
 * What a program writes beside its numbers, so that a file says what it is and a run can be taken
 * up again: pairs of texts, most of them options and their values. Positions and running sums are
 * options too, in an array of KIT_OPTION rows that kit_args never sees. */
typedef struct {
    char **text; /* key, value, key, value, ... */
    int n;       /* pairs */
} kit_pairs;

/* Adds a pair; printf makes the value. */
void kit_pairs_set(kit_pairs *p, const char *key, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4), nonnull(3)))
#endif
    ;
/* Adds the name and the present value of each option that is kept; a double exactly, a flag as 0 or
 * 1, a text of NULL not at all. */
void kit_pairs_options(kit_pairs *p, const kit_option *options, size_t n);
void kit_pairs_free(kit_pairs *p);

/* Gives an option the value that the file `path` holds as text, unless the command line has set it.
 * What is fixed must then be the same: dies if it is not, and where the text is no value of the
 * option. */
void kit_restore(const kit_option *o, const char *text, const char *path);

/* Points that a run collects for its plot, and saves with the rest. Starts from zeros; x and y are
 * to be freed; dies when memory runs out. */
typedef struct {
    double *x, *y;
    size_t n, room;
} kit_curve;
void kit_curve_add(kit_curve *c, double x, double y);

/* ---- Progress (progress.c) ---------------------------------------------------------------------
 * Where stderr is a terminal, one line that is rewritten in place, at most ten times a second:
 *
 *     [#####-------]  42%  epoch 3/5  loss 1.612  bits/char 2.326  25431 chars/s  1:07 left
 *
 * It never wraps: in a narrow window it is shortened, and the figures added last are left out
 * first. Elsewhere (a pipe, a file, TERM=dumb) there are plain lines, one every five seconds at
 * most, and one at each epoch's end. Fill in the first group before kit_progress_start, and the
 * second before each kit_progress_update; zeros stand for what is not known and is not shown. */
enum { KIT_FIGURES = 8 };

typedef struct {
    const char *unit;   /* what `items` counts, for the rate: "chars", "words", "pictures" */
    long epochs, steps; /* the whole run's; steps give bar, per cent and time left */

    long epoch, step; /* epochs begun, 1 for the first; steps done, not 0 where a run is resumed */
    double items;     /* units processed so far */

    struct { const char *name; double value; } figures[KIT_FIGURES]; /* set by kit_progress_show */

    double started, now, drawn, marked; /* private from here on */
    double first_items, marked_items, rate, idle;
    long first_step, drawn_step;
    bool terminal, finished;
} kit_progress;

void kit_progress_start(kit_progress *p);

/* Sets a figure of the line, such as "loss", "bits/char", "grad", "accuracy". The first call with a
 * name appoints its place, so begin with what matters most; more than KIT_FIGURES are ignored.
 * `name` is kept, so it should be a string literal. */
void kit_progress_show(kit_progress *p, const char *name, double value);

void kit_progress_update(kit_progress *p); /* after every step: cheap, draws when it is time to */
void kit_progress_epoch(kit_progress *p);  /* at an epoch's end: draws in any case */
void kit_progress_pause(kit_progress *p, double seconds); /* that the rate is not to count */
void kit_progress_finish(kit_progress *p); /* draws the end and the time taken; ends the line */

/* Call it before printing anything else: wipes a progress line that stands unfinished on the
 * terminal; the next update draws it anew, below. kit_warn and kit_die do so by themselves. */
void kit_progress_wipe(void);

/* The line itself without a newline, for a terminal of `width` columns (at most width - 1
 * characters), or the plain line where width is 0. */
void kit_progress_text(const kit_progress *p, int width, char *out, size_t size);

/* ---- Log (log.c) -------------------------------------------------------------------------------
 * One JSON object a line: kit_log_begin, fields in any number, kit_log_end, which writes the line
 * and flushes it. Text is escaped; bytes that are not UTF-8 become U+FFFD. Doubles have nine
 * significant digits; NaN and infinities, which JSON lacks, are written as null. */
typedef struct {
    FILE *file; /* NULL: no log was asked for, or writing failed: the functions do nothing */
    const char *path;
    bool failed;
    int fields; /* of the line so far */
} kit_log;

/* Opens the log, which is emptied first, or, with `append` (a resumed run), continued on a line of
 * its own. A NULL path makes a log that takes everything and writes nothing. `path` is kept. */
bool kit_log_open(kit_log *log, const char *path, bool append);
void kit_log_begin(kit_log *log);
void kit_log_int(kit_log *log, const char *key, long long value);
void kit_log_double(kit_log *log, const char *key, double value);
void kit_log_text(kit_log *log, const char *key, const char *value); /* NULL is written as null */
/* False when a line could not be written, now or earlier (a full disk). The message is printed at
 * the first failure only, and nothing more is written. */
bool kit_log_end(kit_log *log);
bool kit_log_close(kit_log *log); /* false as kit_log_end */

/* Takes back what a run wrote to its log after the point where it was saved, before it is resumed:
 * the file ends with the line whose integer field `key` is `last`, or before the first where it is
 * larger. No file, and a pipe or device, is nothing to do. */
bool kit_log_rewind(const char *path, const char *key, long long last);

/* ---- Plots (svg.c) -----------------------------------------------------------------------------
 * A plot of lines as an SVG file of 800 x 480: title, axes with ticks at 1, 2 or 5 times a power of
 * ten, grid, legend where there is more than one series, colours that colour-blind readers can tell
 * apart (the palette of Okabe and Ito, 2008). A point whose x or y is not finite (with log_y also
 * y <= 0) is a gap in its line. Up to 30 points are also marked by dots. Long series are thinned to
 * what the eye can see, keeping every peak. Names may be any bytes. */
typedef struct {
    const char *name;
    const double *x, *y;
    size_t n;
} kit_series;

typedef struct {
    const char *title, *x_label, *y_label; /* NULL: none */
    bool log_y;
    const kit_series *series;
    size_t n_series;
} kit_plot;

/* Writes the plot by kit_write_aside and fails as that does, or when memory runs out. */
bool kit_svg_lines(const char *path, const kit_plot *plot);

/* Numbers from 0 to 1 as a table of squares, white to blue (heat.c), with names at the left and on
 * top: value[r * columns + c]. Fails as the above. */
typedef struct {
    const char *title;
    int rows, columns;
    const char *const *row_names, *const *column_names;
    const double *value;
} kit_heat;
bool kit_svg_heat(const char *path, const kit_heat *heat);

/* ---- Text as bytes (bytes.c) -------------------------------------------------------------------
 * The bytes that occur in a text, numbered in order of value: id[c] of byte c, -1 where it does not
 * occur. Any bytes are legal text. */
typedef struct {
    int size;
    unsigned char byte[256];
    int id[256];
} kit_vocabulary;

void kit_vocabulary_of(kit_vocabulary *v, const char *text, size_t n);
/* The ids of n bytes; false at one that has none. */
bool kit_vocabulary_encode(const kit_vocabulary *v, const char *text, size_t n, int32_t *ids);

/* The vocabulary as printable text: \0a for a byte that is not a visible ASCII character, or is the
 * backslash. And back; false where the text is none of this kind. */
enum { KIT_VOCABULARY_TEXT = 256 * 3 + 1 };
const char *kit_vocabulary_text(const kit_vocabulary *v, char out[static KIT_VOCABULARY_TEXT]);
bool kit_vocabulary_parse(kit_vocabulary *v, const char *text);

/* What tells texts apart: "1115394 bytes, " and a hash. */
void kit_print_of(char out[static 64], const char *bytes, size_t n);

/* Where the last tenth begins of n: what is before is learned, the rest for validation. */
size_t kit_nine_tenths(size_t n);

/* A text as ids, which are to be freed, and its print. */
typedef struct {
    kit_vocabulary vocabulary;
    int32_t *ids;
    size_t n, cut; /* cut: kit_nine_tenths of n */
    char print[64];
} kit_text;
bool kit_read_text(const char *path, kit_text *text); /* fails as kit_read_file does */
/* A file, or, where path is NULL, 20,000 bytes of a tiny made-up language. Dies where it cannot. */
void kit_text_of(kit_text *text, const char *path, uint64_t seed);

/* ---- Arrays and lines (data.c) -----------------------------------------------------------------
 * Zeros, and room for one element more in an array that has n and grew by this function alone. To
 * be freed; they die when memory runs out. */
void *kit_zeros(size_t n, size_t size);
void *kit_grow(void *array, size_t n, size_t size);
/* Cuts the next line off a text, without its end: *rest, or NULL behind the last one. */
char *kit_next_line(char **rest);
/* "folder/name"; to be freed. */
char *kit_path_in(const char *folder, const char *name);
/* A stream to write a text to, and its end, which returns the text: n bytes and a 0, to be freed.
 * They die when memory runs out. `m` must not move in between. */
typedef struct { char *text; size_t n; FILE *file; } kit_memory;
FILE *kit_memory_open(kit_memory *m);
char *kit_memory_close(kit_memory *m);
/* The last column of a CSV file below its first line, *n numbers, to be freed; in *year the time of
 * the first one, where its line begins with a month as "1749-01", or 0. Dies where it cannot. */
double *kit_read_months(const char *path, int *n, double *year);

/* ---- Random numbers (random.c) -----------------------------------------------------------------
 * For synthetic tasks and the order of examples; the same on every machine. The state is any number
 * to start from. */
uint64_t kit_random(uint64_t *state);
double kit_uniform(uint64_t *state);            /* in [0, 1) */
double kit_normal(uint64_t *state);             /* mean 0, variance 1 */
int kit_below(uint64_t *state, int n);          /* 0 .. n-1; n > 0 */
/* The numbers 0 .. n-1 shuffled, by seed and epoch alone: a resumed run finds its place again. */
void kit_order(int order[], int n, uint64_t seed, int64_t epoch);

/* ---- Least squares (fit.c) ---------------------------------------------------------------------
 * The linear autoregression of a series: w[0 .. lags] that makes
 *     sum_t (x[t] - w[0] - sum_k w[k] x[t-k])^2,  lags <= t < n, smallest. */
void kit_autoregression(const double x[], int n, int lags, double w[]);

/* ---- Music (midi.c) ----------------------------------------------------------------------------
 * Writes a standard MIDI file by kit_write_aside: notes[f * 128 + key] is not 0 where the key
 * sounds in frame f; a key that goes on sounding is held. A frame is a beat, `bpm` a minute. */
bool kit_midi(const char *path, const unsigned char *notes, size_t frames, double bpm);

/* ---- Files, numbers, time, interrupts (text.c) -------------------------------------------------
 * Reads a whole file; *bytes is the caller's to free, and a 0 that *n does not count follows the
 * last byte. Fails, leaving *bytes NULL and *n 0, for a path that is NULL, does not exist, is a
 * directory or a device, may not be read, is empty, or does not fit in memory. */
bool kit_read_file(const char *path, char **bytes, size_t *n);

/* Replaces the file by these bytes, or leaves it as it was: they are written to a new file beside
 * it, synced, and renamed over it. The file keeps its permissions, a link its target's place; a
 * device or pipe is written to directly. */
bool kit_write_aside(const char *path, const void *bytes, size_t n);

/* To be called before a long computation for each file that it will end with: would kit_write_aside
 * work on that path? Nothing existing is touched, nothing is left behind. True for a NULL path. */
bool kit_check_writable(const char *path);

/* Dies where two of n paths lead to the same file, before one is read from that another one would
 * overwrite. NULLs are none. */
void kit_distinct_files(const char *const paths[], size_t n);

/* "a/b.x" with a word: "a/b-word.x". The caller's to free; dies when memory runs out. */
char *kit_path_with(const char *path, const char *word);

/* Numbers with '.' in every locale. kit_number prints by a format with one double, such as "%.3f";
 * kit_parse reads the whole of `text` as a decimal number (no spaces, "inf", "nan", hexadecimals);
 * one beyond the range of double gives +-HUGE_VAL. False, silently, where it is no number. */
const char *kit_number(char out[static 64], const char *format, double value);
bool kit_parse(const char *text, double *value);

/* The length (1 to 4) of the UTF-8 sequence that starts at s, or 0 where there is none. */
size_t kit_utf8(const char *s);

double kit_now(void); /* seconds on a clock that never jumps */

/* After kit_catch_interrupt the first Ctrl-C or SIGTERM only sets kit_interrupted, which a loop
 * looks at to save and leave; the second one ends the program at once. Reads and writes under way
 * are not disturbed. A program started with the signal ignored, as by `&` in a script, hears it. */
extern volatile sig_atomic_t kit_interrupted;
void kit_catch_interrupt(void);

#endif
