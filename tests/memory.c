/* The memory functions that everything else stands on. */
#include <stddef.h>
#include "graph/internal.h"
#include "tests/counting.h"
#include "tests/test.h"

/* Ends the counting and checks that everything came back, in the sizes it went out. */
static void all_given_back(void)
{
    CHECK_INT(counting.blocks, 0);
    CHECK_INT(counting.bytes, 0);
    CHECK_INT(counting.wrong, 0);
    counting_end();
}

TEST(realloc_makes_moves_and_frees)
{
    for (int counted = 0; counted < 2; counted++) {
        if (counted)
            counting_begin(0);
        CHECK(ur__realloc(NULL, 0, 0) == NULL);
        char *p = ur__realloc(NULL, 0, 3);
        REQUIRE(p != NULL);
        memcpy(p, "abc", 3);
        p = ur__realloc(p, 3, 100000);
        REQUIRE(p != NULL);
        CHECK_MEM(p, "abc", 3);
        p = ur__realloc(p, 100000, 2);
        REQUIRE(p != NULL);
        CHECK_MEM(p, "ab", 2);
        CHECK(ur__realloc(p, 2, 0) == NULL);
    }
    CHECK_INT(counting.calls, 3);
    all_given_back();
}

TEST(reserve_doubles_and_keeps)
{
    counting_begin(0);
    int *a = NULL;
    size_t cap = 0;
    for (size_t n = 1; n <= 10000; n++) {
        REQUIRE(ur__reserve(&a, &cap, n, sizeof *a));
        REQUIRE(cap >= n);
        a[n - 1] = (int)n;
    }
    for (int i = 0; i < 10000; i++)
        REQUIRE(a[i] == i + 1);
    CHECK(counting.calls < 15);
    CHECK(cap < 20000);
    /* more than there are addresses: refused, before and behind the overflow */
    size_t before = cap;
    int *same = a;
    CHECK(!ur__reserve(&a, &cap, SIZE_MAX, sizeof *a));
    CHECK(!ur__reserve(&a, &cap, SIZE_MAX / sizeof *a + 2, sizeof *a));
    counting.fail_at = counting.calls + 1;
    CHECK(!ur__reserve(&a, &cap, before + 1, sizeof *a));
    CHECK(a == same);
    CHECK_INT(cap, before);
    CHECK_INT(a[9999], 10000);
    ur__realloc(a, cap * sizeof *a, 0);
    all_given_back();
}

static bool zeroed(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

enum { PIECES = 2000 };
static char *piece[PIECES];
static size_t piece_bytes[PIECES];

/* Takes pieces of many sizes, checks that they are aligned, zeroed and apart, and soils them. */
static bool take_pieces(ur__bump *b)
{
    for (size_t i = 0; i < PIECES; i++) {
        double u = test_uniform();
        size_t bytes = i % 100 == 99 ? 20000 : (size_t)(300 * u * u);
        piece[i] = ur__bump_alloc(b, bytes);
        piece_bytes[i] = bytes;
        if (!piece[i])
            return false;
        if ((uintptr_t)piece[i] % 16 || !zeroed(piece[i], bytes))
            return CHECK((uintptr_t)piece[i] % 16 == 0) && CHECK(zeroed(piece[i], bytes));
        memset(piece[i], (int)(i % 251) + 1, bytes);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t k = 0; k < piece_bytes[i]; k++)
            if (piece[i][k] != (char)(i % 251 + 1))
                return CHECK(!"a piece was written by another");
    return true;
}

/* A piece a little smaller than all chunks so far fills a chunk of its own, and no more. */
TEST(bump_chunks_hold_what_made_them)
{
    ur__bump b = { 0 };
    REQUIRE(ur__bump_take(&b, 4000) != NULL);
    REQUIRE(ur__bump_take(&b, b.bytes & ~(size_t)15) != NULL);
    const size_t before = b.bytes;
    REQUIRE(ur__bump_take(&b, 1 << 20) != NULL);
    CHECK(b.bytes >= before + (1 << 20));
    ur__bump_free(&b);
}

TEST(bump_gives_zeroed_aligned_pieces_apart)
{
    counting_begin(0);
    ur__bump b = { 0 };
    REQUIRE(take_pieces(&b));
    CHECK_INT(counting.bytes, b.bytes);
    size_t taken = 0;
    for (int i = 0; i < PIECES; i++)
        taken += piece_bytes[i];
    CHECK(b.bytes < 3 * taken);
    CHECK(counting.calls < 30);
    CHECK(ur__bump_alloc(&b, SIZE_MAX) == NULL);
    CHECK(ur__bump_alloc(&b, SIZE_MAX / 2) == NULL);
    CHECK(ur__bump_alloc(&b, 0) != NULL);
    ur__bump_free(&b);
    CHECK_INT(b.bytes, 0);
    CHECK(ur__bump_alloc(&b, 10) != NULL);      /* it can be used anew */
    ur__bump_free(&b);
    all_given_back();
}

/* The same requests after a reset need no memory, other ones only what is missing. */
TEST(bump_keeps_its_chunks)
{
    counting_begin(0);
    ur__bump b = { 0 };
    REQUIRE(take_pieces(&b));
    long calls = counting.calls;
    for (int turn = 0; turn < 5; turn++) {
        ur__bump_reset(&b);
        test_now.random = 0;
        REQUIRE(take_pieces(&b));
        CHECK_INT(counting.calls, calls);
    }
    ur__bump_reset(&b);
    CHECK(ur__bump_alloc(&b, 3 << 20) != NULL);         /* larger than every chunk */
    CHECK_INT(counting.calls, calls + 1);
    CHECK(ur__bump_alloc(&b, 100) != NULL);             /* the small ones still serve */
    CHECK_INT(counting.calls, calls + 1);
    ur__bump_free(&b);
    all_given_back();
}

TEST(bump_survives_a_lack_of_memory)
{
    long needed = 0;
    for (long n = 1; n == 1 || n <= needed; n++) {
        counting_begin(n);
        ur__bump b = { 0 };
        test_now.random = 0;
        CHECK(!take_pieces(&b));
        CHECK_INT(counting.failed, 1);
        ur__bump_reset(&b);
        test_now.random = 0;
        CHECK(take_pieces(&b));
        needed = counting.calls - 1;
        ur__bump_free(&b);
        all_given_back();
    }
    CHECK(needed >= 3);
}

/* An array among the pieces grows as one of the heap does, and nobody frees it. */
TEST(bump_holds_arrays)
{
    counting_begin(0);
    ur__bump b = { 0 };
    int *a = NULL;
    size_t cap = 0;
    for (int i = 0; i < 10000; i++) {
        REQUIRE(ur__bump_reserve(&b, &a, &cap, (size_t)i + 1, sizeof *a));
        REQUIRE(ur__bump_alloc(&b, i % 64) != NULL);    /* others lie between */
        a[i] = i;
    }
    for (int i = 0; i < 10000; i++)
        REQUIRE(a[i] == i);
    CHECK(!ur__bump_reserve(&b, &a, &cap, SIZE_MAX / 2, sizeof *a));
    CHECK(cap >= 10000 && a[9999] == 9999);
    ur__bump_free(&b);
    all_given_back();
}

/* What is lent comes first, serves again after a reset, and is the lender's after the return. */
TEST(bump_borrows_a_block)
{
    for (size_t lent = 0; lent < 3000000; lent = 3 * lent + 100) {
        counting_begin(0);
        ur__bump b = { 0 };
        ur__block block = { 0 };
        REQUIRE(ur__block_grow(&block, lent));
        test_now.random = 0;
        REQUIRE(take_pieces(&b));
        size_t own = b.bytes;
        ur__bump_reset(&b);
        for (int turn = 0; turn < 3; turn++) {
            if (turn == 1)
                ur__bump_reset(&b);
            else
                ur__bump_lend(&b, &block);
            test_now.random = 0;
            REQUIRE(take_pieces(&b));
            CHECK(lent < 1000 || (piece[0] >= block.p && piece[0] < block.p + block.bytes));
            if (turn == 0)
                continue;
            ur__bump_return(&b, &block);
            memset(block.p, 7, block.bytes);            /* nothing of b is in there */
        }
        test_now.random = 0;
        REQUIRE(take_pieces(&b));
        CHECK_INT(b.bytes, own);                        /* its own chunks did */
        ur__bump_free(&b);
        ur__block_free(&block);
        all_given_back();
    }
}

TEST(block_of_zeros)
{
    const size_t sizes[] = { 1, 1000, 100000, (2 << 20) - 1, 2 << 20, (5 << 20) + 3 };
    for (int turn = 0; turn < 2; turn++)                /* a user's allocator, and the system's */
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            if (turn == 0)
                counting_begin(0);
            char *soiled = ur__realloc(NULL, 0, sizes[k]);
            REQUIRE(soiled != NULL);
            memset(soiled, 1, sizes[k]);                /* likely what comes next */
            ur__realloc(soiled, sizes[k], 0);
            ur__block b = { 0 };
            REQUIRE(ur__block_zeros(&b, sizes[k]));
            CHECK_INT((uintptr_t)b.p % 64, 0);
            CHECK_INT(b.bytes, sizes[k]);
            CHECK(zeroed(b.p, b.bytes));
            REQUIRE(ur__block_grow(&b, sizes[k] + 1));
            CHECK(zeroed(b.p, sizes[k]));
            ur__block_free(&b);
            CHECK(!ur__block_zeros(&b, SIZE_MAX));
            if (turn == 0)
                all_given_back();
        }
}

TEST(block_grows_and_keeps)
{
    counting_begin(0);
    ur__block b = { 0 };
    CHECK(ur__block_grow(&b, 0));
    CHECK(b.p != NULL);
    for (size_t n = 1; n < 100000; n += n / 7 + 1) {
        size_t before = b.bytes;
        REQUIRE(ur__block_grow(&b, n));
        REQUIRE(b.bytes >= n && b.bytes >= before);
        CHECK_INT((uintptr_t)b.p % 64, 0);
        for (size_t i = 0; i < before; i++)
            REQUIRE(b.p[i] == (char)i);
        for (size_t i = 0; i < b.bytes; i++)
            b.p[i] = (char)i;
    }
    CHECK(counting.calls < 40);
    char *p = b.p;
    size_t bytes = b.bytes;
    CHECK(ur__block_grow(&b, 10));              /* never smaller */
    CHECK(b.p == p && b.bytes == bytes);
    CHECK(!ur__block_grow(&b, SIZE_MAX));
    counting.fail_at = counting.calls + 2;      /* half as much again, then what is needed */
    CHECK(ur__block_grow(&b, bytes + 1));
    bytes = b.bytes;
    p = b.p;
    counting.fail_at = counting.calls + 1;
    CHECK(ur__block_grow(&b, bytes + 1));
    CHECK_INT(b.bytes, bytes + 1);
    CHECK_INT(counting.failed, 1);
    ur__block_free(&b);
    CHECK(b.p == NULL && b.bytes == 0);
    ur__block_free(&b);
    all_given_back();
}

/* A young block has what large pages are at hand; an old one moves to them, as far as it is used,
 * and neither moves in memory nor changes. Grown it begins anew. */
TEST(block_settles)
{
    enum { LARGE = 2 << 20, USED = 9 << 20 };
    for (int turn = 0; turn < 2; turn++) {              /* a user's allocator, and the system's */
        if (turn == 0)
            counting_begin(0);
        ur__block b = { 0 };
        ur__block_settle(&b, 0, true);
        REQUIRE(ur__block_grow(&b, USED + LARGE));
        char *p = b.p;
        for (size_t i = 0; i < USED; i++)
            p[i] = (char)(i * i >> 8 ^ i);
        b.born_ns = ur__now_ns();
        ur__block_settle(&b, USED, true);
        CHECK(b.large <= USED);
        b.born_ns -= 1e15;
        for (size_t used = LARGE - 1; used <= USED; used += LARGE / 2)
            ur__block_settle(&b, used, true);
        printf("  %d MB of %d on large pages: %.1f ms\n", (int)(b.large >> 20), USED >> 20,
               1e-6 * b.settling_ns);
        CHECK(b.large <= USED);
#ifdef __linux__
        CHECK(b.large >= USED - 2 * LARGE);
#endif
        CHECK(b.p == p);
        for (size_t i = 0; i < USED; i++)
            REQUIRE(p[i] == (char)(i * i >> 8 ^ i));
        REQUIRE(ur__block_renew(&b, 2 * USED));
        CHECK_INT(b.large, 0);
        ur__block_free(&b);
        if (turn == 0)
            all_given_back();
    }
}

static void *no_memory(void *user, void *old, size_t old_bytes, size_t new_bytes)
{
    (void)old, (void)old_bytes;
    *(size_t *)user += new_bytes;
    return NULL;
}

TEST(without_memory_nothing_moves)
{
    ur__block b = { 0 };
    REQUIRE(ur__block_grow(&b, 100));
    memset(b.p, 7, 100);
    ur__block before = b;
    size_t asked = 0;
    ur_set_allocator(no_memory, &asked);
    CHECK(!ur__block_grow(&b, 200));
    CHECK_MEM(&b, &before, sizeof b);
    CHECK(asked >= 200);
    ur__bump bump = { 0 };
    CHECK(ur__bump_alloc(&bump, 1) == NULL);
    CHECK(bump.first == NULL && bump.bytes == 0);
    CHECK(ur_params_new(UR_F32, 0) == NULL);
    ur_set_allocator(NULL, NULL);
    CHECK_INT(b.p[99], 7);
    ur__block_free(&b);
}

/* Zeroed in every step, though it was written to; asked for once. */
TEST(memory_of_a_tape)
{
    counting_begin(0);
    ur_graph *g = ur_graph_new(UR_F32, UR_TRAIN);
    REQUIRE(g != NULL);
    for (int step = 0; step < 3; step++) {
        long calls = counting.calls;
        unsigned char *p = ur_graph_alloc(g, 1000);
        REQUIRE(p != NULL && ur_graph_alloc(g, 0) != NULL);
        CHECK((uintptr_t)p % _Alignof(max_align_t) == 0);
        for (int i = 0; i < 1000; i++)
            CHECK(p[i] == 0);
        memset(p, 7, 1000);
        ur_clear(g);
        CHECK(step == 0 || counting.calls == calls);
    }
    counting.fail_at = counting.calls + 1;
    CHECK(ur_graph_alloc(g, 1 << 20) == NULL);
    CHECK_STR(ur_error(g), "out of memory");
    CHECK(ur_graph_alloc(NULL, 5) == NULL);
    ur_graph_free(g);
    all_given_back();
}

TEST_MAIN(T(realloc_makes_moves_and_frees), T(reserve_doubles_and_keeps),
          T(bump_chunks_hold_what_made_them), T(bump_gives_zeroed_aligned_pieces_apart),
          T(bump_keeps_its_chunks), T(bump_survives_a_lack_of_memory), T(bump_holds_arrays),
          T(bump_borrows_a_block), T(block_of_zeros), T(block_grows_and_keeps), T(block_settles),
          T(without_memory_nothing_moves), T(memory_of_a_tape))
