/* child.h: for tests that look at a piece of code from outside: what it prints, how it ends, which
 * files it leaves. Everything lies in a new folder under /tmp, which is removed at exit. */
#ifndef UNROLL_TESTS_CHILD_H
#define UNROLL_TESTS_CHILD_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char child_folder[] = "/tmp/unroll-test-XXXXXX";

/* How run_child's child ended (its exit status or -1, the signal that killed it or 0), and what it
 * wrote to stdout and stderr. */
static struct { int status, killed_by; char out[16384], err[16384]; } child;

static pid_t child_parent; /* a child that calls exit() removes nothing */

static inline void remove_folder(void)
{
    char command[64];
    if (getpid() != child_parent)
        return;
    snprintf(command, sizeof command, "rm -rf '%s'", child_folder);
    if (system(command) != 0)
        fprintf(stderr, "%s was left behind\n", child_folder);
}

/* The path of a file in the test's folder; valid during the next fifteen calls. */
static inline const char *in_folder(const char *name)
{
    static char path[16][128];
    static int turn;
    static bool made;
    if (!made) {
        made = true;
        if (!mkdtemp(child_folder))
            perror(child_folder), exit(1);
        child_parent = getpid();
        atexit(remove_folder);
    }
    turn = (turn + 1) % 16;
    snprintf(path[turn], sizeof path[0], "%s/%.80s", child_folder, name);
    return path[turn];
}

/* A file's content, ended by 0, or "" where it cannot be read; valid until the next call. */
static inline const char *content(const char *path)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = 0;
    return text;
}

static inline void fill(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        perror(path), exit(1);
}

/* How often `part` occurs in s. */
static inline int count(const char *s, const char *part)
{
    int n = 0;
    for (; (s = strstr(s, part)) != NULL; s += strlen(part))
        n++;
    return n;
}

/* Runs body() in a child process, which then exits with status 0, and fills in `child`. */
static inline void run_child(void (*body)(void))
{
    static char out[128], err[128]; /* in_folder's paths last for a while only */
    if (!*out) {
        snprintf(out, sizeof out, "%s", in_folder("stdout"));
        snprintf(err, sizeof err, "%s", in_folder("stderr"));
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen(out, "w", stdout) || !freopen(err, "w", stderr))
            _exit(99);
        body();
        fflush(NULL);
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    child.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    child.killed_by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    snprintf(child.out, sizeof child.out, "%.16000s", content(out));
    snprintf(child.err, sizeof child.err, "%.16000s", content(err));
    unlink(out);
    unlink(err);
}

#endif
