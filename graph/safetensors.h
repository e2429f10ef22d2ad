/* safetensors.h: reading and writing the files that models are exchanged in.
 *
 * The format (github.com/huggingface/safetensors, README "Format"):
 *
 *     8 bytes   N, little-endian
 *     N bytes   JSON in UTF-8: { "__metadata__": { "key": "value", .. },
 *                                "name": { "dtype": "F32", "shape": [2, 3],
 *                                          "data_offsets": [begin, end] }, .. }
 *     the rest  the values of all tensors, little-endian, row-major, one behind the other
 *
 * begin and end count bytes from the start of the rest. A shape of [] is a scalar, and a tensor
 * with a zero in its shape has no bytes.
 *
 * Every function that can fail returns false and then puts one line into why[0..why_size), which
 * names the file and the fault; on success `why` stays as it is. Nothing here depends on the rest
 * of the library but for its allocator. One thread at a time may open, write or close; several may
 * find in and read from one open file. */
#ifndef UR_GRAPH_SAFETENSORS_H
#define UR_GRAPH_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory, from memory.c. realloc: new_bytes 0 frees and returns NULL, old NULL allocates; NULL for
 * new_bytes above 0 means that there is no memory and that old is as it was. reserve: makes room
 * for n elements of `size` bytes in an array that grows, of which *cap is the present room. */
void *ur__realloc(void *old, size_t old_bytes, size_t new_bytes);
bool ur__reserve(void *array_pointer, size_t *cap, size_t n, size_t size);

/* The kinds of elements, in the order of the reference writer, which puts the last ones first into
 * a file. F4 and the F6 kinds are packed without gaps. */
typedef enum ur__st_dtype {
    UR__ST_BOOL, UR__ST_F4, UR__ST_F6_E2M3, UR__ST_F6_E3M2, UR__ST_U8, UR__ST_I8, UR__ST_F8_E5M2,
    UR__ST_F8_E4M3, UR__ST_F8_E8M0, UR__ST_F8_E4M3FNUZ, UR__ST_F8_E5M2FNUZ, UR__ST_I16, UR__ST_U16,
    UR__ST_F16, UR__ST_BF16, UR__ST_I32, UR__ST_U32, UR__ST_F32, UR__ST_C64, UR__ST_F64, UR__ST_I64,
    UR__ST_U64, UR__ST_DTYPES
} ur__st_dtype;

const char *ur__st_dtype_name(ur__st_dtype dtype);      /* as files have it: "F32" */

/* A key and its value in a file's metadata. */
typedef struct ur__st_pair { const char *key, *value; } ur__st_pair;

/* ------------------------------------------------------------------------------------- reading */

typedef struct ur__st_tensor {
    const char *name;
    ur__st_dtype dtype;
    int rank;
    const uint64_t *dim;        /* dim[0..rank) */
    uint64_t count;             /* elements: the product of dim */
    uint64_t offset, bytes;     /* where the values begin in the file; their bytes */
} ur__st_tensor;

/* An open file. Tensors are sorted by name and pairs by key, as strcmp compares. All of it is the
 * file's and is gone when it is closed. */
typedef struct ur__st_file {
    const ur__st_tensor *tensors;
    size_t n;
    const ur__st_pair *pairs;
    size_t n_pairs;
    /* private: */
    char *path, *header;
    ur__st_tensor *tensor;
    ur__st_pair *pair;
    uint64_t *dim;
    size_t path_room, header_room, tensor_room, pair_room, dim_room;
    int fd;
} ur__st_file;

/* Opens a file, reads its header and checks all that can be checked without the values. Memory is
 * taken for the header and for what is found in it, never for what it claims. Refused are:
 *   - what is not a regular file, or cannot be opened or read;
 *   - fewer than 8 bytes; a header of more than 100,000,000 bytes, or of more than the file has;
 *   - a header that is not UTF-8, not JSON, or not an object (white space around it is accepted);
 *   - a key that occurs twice; in a tensor: a missing dtype, shape or data_offsets, an unknown
 *     dtype, a number that is not a whole one from 0 to 2^64 - 1. Further keys of a tensor are
 *     skipped, with at most 64 values inside each other;
 *   - metadata other than strings; a name, key or value with a zero character;
 *   - a shape whose elements or bits exceed 2^64 - 1 (multiplied from left to right), or whose bits
 *     do not fill whole bytes;
 *   - a tensor whose bytes are not end - begin; gaps and overlaps between tensors; values that end
 *     before or behind the end of the file;
 *   - lack of memory.
 * After a failure *f is closed. */
bool ur__st_open(ur__st_file *f, const char *path, char *why, size_t why_size);

/* Closes and frees; a closed file or one of zeros is left alone. */
void ur__st_close(ur__st_file *f);

/* The tensor or the metadata of that name; NULL if there is none. */
const ur__st_tensor *ur__st_find(const ur__st_file *f, const char *name);
const char *ur__st_meta(const ur__st_file *f, const char *key);

/* Reads all n elements of a tensor of f to dst, as elements of kind `as` in the machine's byte
 * order. That is the tensor's own kind, whose bits are kept, or
 *     F16, BF16, F32, F64  ->  F32 or F64     to the nearest, ties to even
 * Fails for every other pair; where n is not the tensor's count; where a finite F64 would become an
 * infinite F32; and where the file cannot be read or has been shortened since it was opened.
 * dst then holds anything: who must not lose what was there reads to somewhere else first. */
bool ur__st_read(const ur__st_file *f, const ur__st_tensor *tensor, ur__st_dtype as, void *dst,
                 size_t n, char *why, size_t why_size);

/* ------------------------------------------------------------------------------------- writing */

enum { UR__ST_RANK = 8 };

/* A tensor to write; data may be NULL where there are no elements. */
typedef struct ur__st_out {
    const char *name;
    ur__st_dtype dtype;
    int rank;                   /* 0 to UR__ST_RANK */
    uint64_t dim[UR__ST_RANK];
    const void *data;
} ur__st_out;

/* Writes a file, byte for byte as the reference writer does: metadata first, sorted by key (the
 * reference leaves their order open) and left out if there are none; then the tensors, the last
 * dtype of the list above first and by name within a dtype; a header filled up with spaces, so that
 * every value is aligned to its size.
 *
 * The file is first written beside `path` as <name>.<process>-<n>.tmp, synced, given the old file's
 * permissions and renamed over it, so that at any moment there is either the old file or the new
 * one. A symbolic link is followed and stays. On failure the new file is removed and the old one is
 * as it was; but for a disk that reports an error when the folder is synced after the renaming,
 * which the text then says. Refused are a directory or a device as `path`, a file that one may not
 * write, a name, key or value that is not UTF-8, a name or key that occurs twice, a tensor called
 * "__metadata__", a size that overflows and a header of more than 100,000,000 bytes. */
bool ur__st_write(const char *path, const ur__st_out *tensors, size_t n, const ur__st_pair *pairs,
                  size_t n_pairs, char *why, size_t why_size);

/* ----------------------------------------------------------- shared by the files of safetensors */

enum { UR__ST_HEADER = 100000000 };             /* the longest header, in bytes */

/* Elements and bytes of a shape; NULL, or what is wrong with it. */
const char *ur__st_size(ur__st_dtype dtype, int rank, const uint64_t dim[], uint64_t *count,
                        uint64_t *bytes);

/* Reads n bytes at the place `from`; false where the file ends before them or there is an error,
 * the text of which ur__st_why() then is. */
bool ur__st_bytes(const ur__st_file *f, void *to, size_t n, uint64_t from);
const char *ur__st_why(void);

/* Turns n bytes of elements between the file's byte order and the machine's: nothing to do on a
 * little-endian machine, which ur__st_native tells. */
bool ur__st_native(void);
void ur__st_swap(ur__st_dtype dtype, void *bytes, size_t n);

/* Heapsort: in place, no worse than n log n, whatever an enemy wrote. */
void ur__st_sort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *));

/* A name as messages show it: cut to some 60 bytes. Use: ur__st_shown(name).text as an argument. */
typedef struct ur__st_text { char text[72]; } ur__st_text;
ur__st_text ur__st_shown(const char *name);

/* Fills in why: "cannot <verb> '<path>': <format..>", a single line. Returns false. */
#if defined(__GNUC__)
__attribute__((format(printf, 5, 6)))
#endif
bool ur__st_fail(char *why, size_t why_size, const char *verb, const char *path,
                 const char *format, ...);

#endif
