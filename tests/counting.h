/* counting.h: an allocator for tests. It counts, fails a chosen call, and checks that what is given
 * back has the size that the library says it has.
 *
 *     counting_begin(0);                  no call fails; counting_begin(n): the n-th one does
 *     ...
 *     counting_end();                     the C library's allocator again
 *     CHECK_INT(counting.blocks, 0);      nothing was left behind
 *     CHECK_INT(counting.wrong, 0);
 */
#ifndef UNROLL_TESTS_COUNTING_H
#define UNROLL_TESTS_COUNTING_H

#include <stdlib.h>
#include <string.h>
#include "graph/graph.h"

static struct {
    long calls, fail_at, failed; /* calls that ask for memory; the one to fail, from 1, or 0 */
    long blocks, wrong;          /* alive now; sizes given back that are not those asked for */
    size_t bytes, most;          /* alive now, and the most at a time */
} counting;

enum { COUNTING_HEAD = 64 };     /* holds the size, keeps the alignment of malloc */

static inline void *counting_allocate(void *user, void *old, size_t old_bytes, size_t new_bytes)
{
    (void)user;
    char *base = old ? (char *)old - COUNTING_HEAD : NULL;
    size_t had = 0;
    if (base)
        memcpy(&had, base, sizeof had);
    counting.wrong += base && had != old_bytes;
    char *new = NULL;
    if (new_bytes) {
        if (++counting.calls == counting.fail_at) {
            counting.failed++;
            return NULL;
        }
        /* Always another place, filled: who keeps an old pointer, or reads what it has not
         * written, is found out. */
        new = malloc(COUNTING_HEAD + new_bytes);
        if (!new)
            return NULL;
        memcpy(new, &new_bytes, sizeof new_bytes);
        memset(new + COUNTING_HEAD, 0xA5, new_bytes);
        if (base)
            memcpy(new + COUNTING_HEAD, old, had < new_bytes ? had : new_bytes);
        counting.blocks++;
        counting.bytes += new_bytes;
        if (counting.bytes > counting.most)
            counting.most = counting.bytes;
    }
    if (base) {
        counting.blocks--;
        counting.bytes -= had;
        free(base);
    }
    return new ? new + COUNTING_HEAD : NULL;
}

static inline void counting_begin(long fail_at)
{
    memset(&counting, 0, sizeof counting);
    counting.fail_at = fail_at;
    ur_set_allocator(counting_allocate, NULL);
}

static inline void counting_end(void)
{
    ur_set_allocator(NULL, NULL);
}

#endif
