/* text.c: messages, numbers that ignore the locale, whole files read and replaced, interrupts.
 *
 * A file is replaced in four steps: write a new file in the same folder, fsync it, rename it over
 * the old one, fsync the folder. POSIX (IEEE Std 1003.1-2008, rename) promises that at every moment
 * the name stands for the complete old file or the complete new one. */
#include "examples/kit/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t kit_interrupted;
char kit_program[64];

static void print_message(const char *format, va_list args)
{
    char line[1024];
    int n = snprintf(line, sizeof line, "%s%s", kit_program, *kit_program ? ": " : "");
    vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    for (char *c = line; *c; c++) /* a path may hold a newline, but a message is one line */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    kit_progress_wipe();
    fflush(stdout); /* what was printed before the message stands before it */
    fprintf(stderr, "%s\n", line);
}

void kit_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_message(format, args);
    va_end(args);
}

_Noreturn void kit_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_message(format, args);
    va_end(args);
    exit(2);
}

/* ---- Numbers ---- */

/* Replaces the first `from` in s, whose buffer holds `size` bytes, by `to`. */
static void swap_point(char *s, size_t size, const char *from, const char *to)
{
    char *at = strstr(s, from);
    size_t nf = strlen(from), nt = strlen(to);
    if (!at || strcmp(from, to) == 0 || strlen(s) - nf + nt >= size)
        return;
    memmove(at + nt, at + nf, strlen(at + nf) + 1);
    memcpy(at, to, nt);
}

const char *kit_number(char out[static 64], const char *format, double value)
{
    snprintf(out, 64, format, value);
    swap_point(out, 64, localeconv()->decimal_point, ".");
    return out;
}

bool kit_parse(const char *text, double *value)
{
    char copy[512], *end;
    size_t n = strlen(text);
    if (n == 0 || n > sizeof copy - 16 || strspn(text, "0123456789+-.eE") != n)
        return false;
    memcpy(copy, text, n + 1);
    swap_point(copy, sizeof copy, ".", localeconv()->decimal_point);
    *value = strtod(copy, &end);
    return end != copy && *end == 0;
}

size_t kit_utf8(const char *s)
{
    /* RFC 3629, section 4: the second byte's range excludes overlong forms and surrogates. */
    const unsigned char *c = (const unsigned char *)s;
    size_t n = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    unsigned lo = c[0] == 0xe0 ? 0xa0 : c[0] == 0xf0 ? 0x90 : 0x80;
    unsigned hi = c[0] == 0xed ? 0x9f : c[0] == 0xf4 ? 0x8f : 0xbf;
    if (c[0] > 0xf4 || (n > 1 && (c[1] < lo || c[1] > hi)))
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    return c[0] ? n : 0;
}

double kit_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Reading ---- */

static bool read_failed(const char *path, const char *why)
{
    kit_warn("cannot read '%s': %s", path, why);
    return false;
}

/* Reads to the end of what may be a pipe; the buffer doubles, so a file costs one spare byte. */
static bool read_all(int fd, const char *path, size_t guess, char **bytes, size_t *n)
{
    size_t room = guess + 2, used = 0;
    char *buffer = malloc(room);
    for (;;) {
        if (buffer && used + 1 == room) {
            char *larger = room <= SIZE_MAX / 2 ? realloc(buffer, room *= 2) : NULL;
            if (!larger)
                free(buffer);
            buffer = larger;
        }
        if (!buffer)
            return read_failed(path, "it does not fit in memory");
        ssize_t got = read(fd, buffer + used, room - 1 - used);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR) {
            free(buffer);
            return read_failed(path, strerror(errno));
        }
        used += got > 0 ? (size_t)got : 0;
    }
    if (used == 0) {
        free(buffer);
        return read_failed(path, "the file is empty");
    }
    buffer[used] = 0;
    *bytes = buffer, *n = used;
    return true;
}

bool kit_read_file(const char *path, char **bytes, size_t *n)
{
    struct stat st;
    *bytes = NULL, *n = 0;
    if (!path || !*path)
        return read_failed("", "no file name was given");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return read_failed(path, errno == ENOENT ? "there is no such file" : strerror(errno));
    bool ok = false;
    if (fstat(fd, &st) != 0)
        read_failed(path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        read_failed(path, "it is a directory, not a file");
    else if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
        read_failed(path, "it is a device, not a file");
    else if ((uintmax_t)st.st_size > SIZE_MAX / 4)
        read_failed(path, "it does not fit in memory");
    else
        ok = read_all(fd, path, (size_t)st.st_size, bytes, n);
    close(fd);
    return ok;
}

/* ---- Writing ---- */

typedef struct {
    const char *path;      /* as the user gave it, for messages */
    char *target, *beside; /* links resolved, and the new file; both NULL for a device or pipe */
    int fd;
} aside;

/* Prints the reason, removes the new file, and frees; the answer is false. */
static bool give_up(aside *a, const char *why)
{
    kit_warn("cannot write '%s': %s", a->path, why);
    if (a->fd >= 0)
        close(a->fd);
    if (a->beside && a->fd >= 0)
        unlink(a->beside);
    free(a->target);
    free(a->beside);
    return false;
}

/* The path that `path` leads to by links, which need not exist; the caller's to free, or NULL. */
static char *follow_links(const char *path)
{
    char *at = strdup(path), link[4096];
    for (int i = 0; at && i < 40; i++) {
        struct stat st;
        if (lstat(at, &st) != 0 || !S_ISLNK(st.st_mode))
            return at;
        ssize_t n = readlink(at, link, sizeof link - 1);
        if (n < 0)
            break;
        link[n] = 0;
        char *slash = strrchr(at, '/'); /* a relative link starts from the folder that holds it */
        size_t folder = *link != '/' && slash ? (size_t)(slash - at) + 1 : 0;
        char *next = malloc(folder + (size_t)n + 1);
        if (next) {
            memcpy(next, at, folder);
            memcpy(next + folder, link, (size_t)n + 1);
        }
        free(at);
        at = next;
    }
    if (at)
        errno = ELOOP;
    free(at);
    return NULL;
}

static bool open_beside(aside *a, const struct stat *old)
{
    size_t size = strlen(a->target) + 48;
    a->beside = malloc(size);
    if (!a->beside)
        return give_up(a, "out of memory");
    /* A name can be taken by a file that a killed program with our number left behind. */
    for (int i = 0; a->fd < 0 && i < 100; i++) {
        snprintf(a->beside, size, "%s.%ld-%d.tmp", a->target, (long)getpid(), i);
        a->fd = open(a->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (a->fd < 0 && errno != EEXIST)
            break;
    }
    if (a->fd < 0)
        return give_up(a, errno == ENOENT ? "its folder does not exist" : strerror(errno));
    if (old && fchmod(a->fd, old->st_mode & 0777) != 0)
        return give_up(a, strerror(errno));
    return true;
}

static bool open_aside(aside *a, const char *path)
{
    struct stat st;
    *a = (aside){ .path = path, .fd = -1 };
    if (!*path)
        return give_up(a, "the file name is empty");
    bool exists = stat(path, &st) == 0;
    if (!exists && errno != ENOENT)
        return give_up(a, strerror(errno));
    if (exists && S_ISDIR(st.st_mode))
        return give_up(a, "it is a directory");
    if (exists && access(path, W_OK) != 0) /* rename needs no such right, but the owner means it */
        return give_up(a, strerror(errno));
    if (!exists || S_ISREG(st.st_mode)) {
        a->target = follow_links(path);
        return a->target ? open_beside(a, exists ? &st : NULL) : give_up(a, strerror(errno));
    }
    /* O_NONBLOCK: a pipe that nobody reads is an error and not a wait. */
    a->fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (a->fd < 0)
        return give_up(a, errno == ENXIO ? "nobody reads from this pipe" : strerror(errno));
    fcntl(a->fd, F_SETFL, 0);
    return true;
}

/* Makes the new name last: best effort, since some file systems cannot sync a folder. */
static void sync_folder(char *target)
{
    char *slash = strrchr(target, '/');
    if (slash)
        slash[slash == target] = 0;
    int fd = open(slash ? target : ".", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

bool kit_write_aside(const char *path, const void *bytes, size_t n)
{
    aside a;
    if (!open_aside(&a, path))
        return false;
    for (size_t done = 0; done < n;) {
        ssize_t put = write(a.fd, (const char *)bytes + done, n - done);
        if (put < 0 && errno != EINTR)
            return give_up(&a, strerror(errno));
        done += put > 0 ? (size_t)put : 0;
    }
    if (a.beside && fsync(a.fd) != 0)
        return give_up(&a, strerror(errno));
    int closed = close(a.fd);
    if (closed != 0 || (a.beside && rename(a.beside, a.target) != 0)) {
        int why = errno;
        if (a.beside)
            unlink(a.beside);
        a.fd = -1;
        return give_up(&a, strerror(why));
    }
    if (a.beside)
        sync_folder(a.target);
    free(a.target);
    free(a.beside);
    return true;
}

bool kit_check_writable(const char *path)
{
    aside a;
    if (!path)
        return true;
    if (!open_aside(&a, path))
        return false;
    close(a.fd);
    if (a.beside)
        unlink(a.beside);
    free(a.target);
    free(a.beside);
    return true;
}

static bool same_file(const char *a, const char *b)
{
    struct stat sa, sb;
    if (!a || !b)
        return false;
    return strcmp(a, b) == 0 || (stat(a, &sa) == 0 && stat(b, &sb) == 0 && S_ISREG(sa.st_mode)
                                 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino);
}

void kit_distinct_files(const char *const paths[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (same_file(paths[i], paths[k]))
                kit_die("'%s' is given twice, for different purposes", paths[i]);
}

char *kit_path_with(const char *path, const char *word)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    size_t stem = dot ? (size_t)(dot - path) : strlen(path);
    size_t size = strlen(path) + strlen(word) + 2;
    char *result = malloc(size);
    if (!result)
        kit_die("out of memory");
    snprintf(result, size, "%.*s-%s%s", (int)stem, path, word, path + stem);
    return result;
}

/* ---- Interrupts ---- */

static void on_interrupt(int number)
{
    (void)number;
    kit_interrupted = 1;
    signal(SIGINT, SIG_DFL); /* the second one is for those who cannot wait */
    signal(SIGTERM, SIG_DFL);
}

void kit_catch_interrupt(void)
{
    struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}
