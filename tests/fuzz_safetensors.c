/* A fuzzer for the reader and writer of safetensors files. It is no part of the build; by hand, in
 * the root of the tree, with clang and a build folder `build`:
 *
 *     clang -std=c11 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
 *         -D_POSIX_C_SOURCE=200809L -I. -Ibuild tests/fuzz_safetensors.c graph/safetensors*.c \
 *         graph/json.c graph/memory.c -lm -o build/fuzz_safetensors
 *     mkdir -p build/fuzz && build/fuzz_safetensors -max_len=2048 -max_total_time=60 build/fuzz
 *
 * The first byte of an input chooses how the rest becomes a file: odd, as it is; even, the next two
 * bytes are the length of a header, in front of which its 8 bytes are put. What opens must be
 * consistent, is read in every way, and written anew, opened again and compared. A failure of any
 * of this stops the program. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "graph/json.h"
#include "graph/safetensors.h"

enum { MOST = 1 << 16 };

static char path[64], again[64], why[300];

static void must(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s; %s\n", what, why);
    abort();
}

static void clean_up(void)
{
    unlink(path);
    unlink(again);
}

/* What is in the tensor, as it is and converted. */
static void read_in_every_way(const ur__st_file *f, const ur__st_tensor *t, void *own)
{
    static double other[MOST];
    must(t->count <= 8 * MOST && t->bytes <= MOST, "a tensor larger than the file");
    must(ur__st_find(f, t->name) == t, "a tensor is not found");
    must(ur__st_read(f, t, t->dtype, own, (size_t)t->count, why, sizeof why), "own kind");
    for (int as = 0; as < UR__ST_DTYPES; as++)
        if (t->count <= MOST)
            ur__st_read(f, t, (ur__st_dtype)as, other, (size_t)t->count, why, sizeof why);
}

/* Writes what f holds to another file and compares that with f. */
static void write_again(const ur__st_file *f, const ur__st_out *out)
{
    static double a[MOST], b[MOST];
    ur__st_file g;
    for (size_t i = 0; i < f->n; i++)
        if (f->tensors[i].rank > UR__ST_RANK)
            return;
    must(ur__st_write(again, out, f->n, f->pairs, f->n_pairs, why, sizeof why), "writing");
    must(ur__st_open(&g, again, why, sizeof why), "opening what was written");
    must(g.n == f->n && g.n_pairs == f->n_pairs, "another number of tensors or pairs");
    for (size_t i = 0; i < f->n_pairs; i++)
        must(!strcmp(f->pairs[i].key, g.pairs[i].key) && !strcmp(f->pairs[i].value,
             g.pairs[i].value), "another pair");
    for (size_t i = 0; i < f->n; i++) {
        const ur__st_tensor *t = &f->tensors[i], *u = &g.tensors[i];
        must(!strcmp(t->name, u->name) && t->dtype == u->dtype && t->rank == u->rank
             && (!t->rank || !memcmp(t->dim, u->dim, (size_t)t->rank * sizeof *t->dim)),
             "another tensor");
        must(ur__st_read(f, t, t->dtype, a, (size_t)t->count, why, sizeof why)
             && ur__st_read(&g, u, u->dtype, b, (size_t)u->count, why, sizeof why)
             && !memcmp(a, b, (size_t)t->bytes), "other values");
    }
    ur__st_close(&g);
}

static void put_file(const uint8_t *data, size_t size)
{
    uint8_t length[8] = { 0 };
    FILE *file = fopen(path, "wb");
    must(file != NULL, path);
    if (size > 2 && !(data[0] & 1)) {
        length[0] = data[1];
        length[1] = data[2];
        fwrite(length, 1, 8, file);
        data += 2;
        size -= 2;
    }
    if (size > 0)
        fwrite(data + 1, 1, size - 1, file);
    must(fclose(file) == 0, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ur__st_file f;
    if (!*path) {
        const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(path, sizeof path, "%s/fuzz-%ld.a", folder, (long)getpid());
        snprintf(again, sizeof again, "%s/fuzz-%ld.b", folder, (long)getpid());
        atexit(clean_up);
    }
    put_file(data, size);
    memset(why, 0, sizeof why);
    if (!ur__st_open(&f, path, why, sizeof why)) {
        must(!strncmp(why, "cannot read '", 13) && !strpbrk(why, "\n\r\t\x1b"), "not one line");
        return 0;
    }
    ur__st_out *out = calloc(f.n + 1, sizeof *out);
    uint8_t *values = malloc(MOST), *end = values;
    must(out && values, "no memory");
    for (size_t i = 0; i < f.n; i++) {
        const ur__st_tensor *t = &f.tensors[i];
        read_in_every_way(&f, t, end);
        out[i] = (ur__st_out){ t->name, t->dtype, t->rank, { 0 }, end };
        for (int k = 0; k < t->rank && k < UR__ST_RANK; k++)
            out[i].dim[k] = t->dim[k];
        end += t->bytes;
    }
    write_again(&f, out);
    free(out);
    free(values);
    ur__st_close(&f);
    return 0;
}
