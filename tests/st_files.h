/* st_files.h: for the tests of safetensors files: files of given bytes, one place for the text of
 * errors, and an allocator that counts and fails on demand. */
#ifndef UNROLL_TESTS_ST_FILES_H
#define UNROLL_TESTS_ST_FILES_H

#include <dirent.h>
#include <stdlib.h>
#include "graph/graph.h"
#include "graph/safetensors.h"
#include "tests/child.h"
#include "tests/test.h"

static char why[600];

/* Every error is one line that begins "cannot read '" or so, names the file and gives a reason. */
static inline bool one_line(const char *verb, const char *name)
{
    char start[40];
    snprintf(start, sizeof start, "cannot %s '", verb);
    return CHECK_INT(strncmp(why, start, strlen(start)), 0) && CHECK_HAS(why, name)
        && CHECK_HAS(why, "': ") && CHECK_INT(count(why, "\n"), 0) && CHECK(strlen(why) < 599);
}

static inline const char *file_of(const void *bytes, size_t n)
{
    const char *path = in_folder("file.safetensors");
    unlink(path);   /* some file systems wait for the disk when a file is emptied and refilled */
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0)
        perror(path), exit(1);
    return path;
}

/* A file of a header text, with ' for ", and data bytes of 0, 1, 2, ... */
static inline const char *file_with(const char *text, size_t data)
{
    static unsigned char bytes[1 << 16];
    size_t n = strlen(text);
    if (8 + n + data > sizeof bytes)
        puts("st_files.h: the file is too large"), exit(1);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)n >> 8 * i);
    for (size_t i = 0; i < n; i++)
        bytes[8 + i] = (unsigned char)(text[i] == '\'' ? '"' : text[i]);
    for (size_t i = 0; i < data; i++)
        bytes[8 + n + i] = (unsigned char)i;
    return file_of(bytes, 8 + n + data);
}

static inline bool open_st(ur__st_file *f, const char *path)
{
    snprintf(why, sizeof why, "nothing was said");
    return ur__st_open(f, path, why, sizeof why);
}

static inline bool write_st(const char *path, const ur__st_out *t, size_t n,
                            const ur__st_pair *p, size_t m)
{
    snprintf(why, sizeof why, "nothing was said");
    return ur__st_write(path, t, n, p, m, why, sizeof why);
}

/* How many names in the test's folder hold `part`. */
static inline int count_names(const char *part)
{
    DIR *d = opendir(in_folder(""));
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += strstr(e->d_name, part) != NULL;
    if (d)
        closedir(d);
    return n;
}

/* An allocator that checks the sizes it is told, and has no memory after `left` requests. */
static struct { long left, held; } heap;

static inline void *counting(void *user, void *old, size_t old_bytes, size_t new_bytes)
{
    (void)user;
    size_t *block = old ? (size_t *)old - 2 : NULL;
    if (block && block[0] != old_bytes)
        printf("%zu bytes are called %zu\n", block[0], old_bytes), exit(1);
    if (!new_bytes) {
        heap.held -= old ? (long)old_bytes : 0;
        free(block);
        return NULL;
    }
    if (heap.left-- <= 0)
        return NULL;
    block = realloc(block, new_bytes + 2 * sizeof *block);
    if (!block)
        return NULL;
    heap.held += (long)new_bytes - (old ? (long)old_bytes : 0);
    block[0] = new_bytes;
    return block + 2;
}

#endif
