/* Data sets in batches, and streams. */
#include "tests/counting.h"
#include "tests/test.h"
#include "unroll/unroll.h"

enum { ITEMS = 200, LONGEST = 30, PAD = -7, PAD_Y = -9 };

static int x_length(int i) { return i * 7 % (LONGEST + 1); }
static int y_length(int i) { return i * 5 % 13; }
static int length(int i) { return x_length(i) > y_length(i) ? x_length(i) : y_length(i); }

/* Item i is i * 100 + t, and its target -i * 100 - t; some are of length 0. */
static ur_dataset *make(ur_params *ps, int items)
{
    ur_dataset *d = ur_dataset_new(ps);
    for (int i = 0; i < items; i++) {
        int32_t x[LONGEST], y[LONGEST];
        for (int t = 0; t < LONGEST; t++)
            x[t] = i * 100 + t, y[t] = -i * 100 - t;
        ur_dataset_add(d, x, (size_t)x_length(i), y, (size_t)y_length(i), i + 1000);
    }
    return d;
}

/* One element of a batch, which is that of the item or padding. */
static bool cell_is(const int32_t *block, int B, int t, int b, int n, int32_t first, int32_t pad)
{
    int32_t want = t < n ? first + (first < 0 || pad == PAD_Y ? -t : t) : pad;
    return block[t * B + b] == want;
}

static void check_batch(const ur_batch *b, const ur_batch_options *o, int seen[])
{
    int longest_x = 0, longest_y = 0, bucket = -1;
    CHECK(b->B >= 1 && (!o->rows || b->B <= o->rows));
    CHECK(!o->tokens || b->B == 1 || b->B * (b->T > b->U ? b->T : b->U) <= o->tokens);
    for (int k = 0; k < b->B; k++) {
        const int i = b->items[k];
        int own = 0;
        seen[i]++;
        CHECK_INT(b->labels[k], i + 1000);
        CHECK_INT(b->x_lengths[k], x_length(i));
        CHECK_INT(b->y_lengths[k], y_length(i));
        longest_x = longest_x > x_length(i) ? longest_x : x_length(i);
        longest_y = longest_y > y_length(i) ? longest_y : y_length(i);
        while (own < o->n_buckets && o->buckets[own] < length(i))
            own++;
        CHECK(bucket == -1 || bucket == own);
        bucket = own;
        bool same = true;
        for (int t = 0; t < b->T; t++)
            same = same && cell_is(b->x, b->B, t, k, x_length(i), i * 100, PAD);
        for (int t = 0; t < b->U; t++)
            same = same && cell_is(b->y, b->B, t, k, y_length(i), -i * 100, PAD_Y);
        CHECK(same);
    }
    if (o->full && bucket < o->n_buckets)
        CHECK(b->T == o->buckets[bucket] && b->U == b->T);
    else if (!o->full)
        CHECK(b->T == longest_x && b->U == longest_y);
}

static const int buckets[] = { 0, 10, 20 };
static const ur_batch_options kinds[] = {
    { .rows = 8, .seed = 1 },
    { .rows = 7, .in_order = true },
    { .rows = 8, .buckets = buckets, .n_buckets = 3, .seed = 2 },
    { .rows = 8, .buckets = buckets, .n_buckets = 3, .full = true, .seed = 2 },
    { .tokens = 90, .seed = 3 },
    { .tokens = 20, .seed = 3 },
    { .tokens = 90, .rows = 5, .buckets = buckets, .n_buckets = 3, .seed = 4 },
    { .tokens = 90, .buckets = buckets, .n_buckets = 3, .full = true, .seed = 4 },
    { .rows = 1000, .seed = 5 },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static ur_batches *batches(ur_dataset *d, int kind)
{
    ur_batch_options o = kinds[kind];
    o.pad_x = PAD, o.pad_y = PAD_Y;
    return ur_batches_new(d, &o);
}

TEST(each_item_once)
{
    ur_params *ps = ur_params_new(UR_F32, 0);
    ur_dataset *d = make(ps, ITEMS);
    CHECK_INT(ur_dataset_size(d), ITEMS);
    for (int k = 0; k < KINDS; k++) {
        ur_batches *all = batches(d, k);
        ur_batch b;
        for (int epoch = 0; epoch < 3; epoch++) {
            int seen[ITEMS] = { 0 };
            int64_t n = 0, count = ur_batches_count(all);
            for (; ur_next_batch(all, &b); n++)
                check_batch(&b, &kinds[k], seen);
            CHECK_INT(n, count);
            for (int i = 0; i < ITEMS; i++)
                CHECK_INT(seen[i], 1);
        }
    }
    ur_params_free(ps);
}

/* The items of the next n batches as a hash. */
static uint64_t order_of(ur_batches *all, int n)
{
    uint64_t h = 1;
    ur_batch b;
    while (n-- > 0) {
        bool more = ur_next_batch(all, &b);
        h = h * 31 + more;
        for (int k = 0; more && k < b.B; k++)
            h = h * 1099511628211u + (uint64_t)b.items[k] + (uint64_t)b.x[k];
    }
    return h;
}

TEST(seeded_and_resumed)
{
    ur_params *ps = ur_params_new(UR_F32, 0);
    ur_dataset *d = make(ps, ITEMS);
    for (int k = 0; k < KINDS; k++) {
        ur_batches *a = batches(d, k), *b = batches(d, k), *c = batches(d, k);
        CHECK(order_of(a, 60) == order_of(b, 60));
        ur_batches_state state = ur_batches_tell(a);
        uint64_t rest = order_of(a, 40);
        CHECK(ur_batches_seek(c, state));
        CHECK(order_of(c, 40) == rest);
        CHECK(ur_batches_seek(a, state) && order_of(a, 40) == rest);
        state.seed += 1;
        if (!kinds[k].in_order && kinds[k].rows < ITEMS && ur_batches_seek(b, state))
            CHECK(order_of(b, 40) != rest);
        state.position = 1000000;
        ur_batches_state now = ur_batches_tell(c);
        CHECK(!ur_batches_seek(c, state) && ur_batches_tell(c).seed == now.seed);
    }
    ur_batches *a = batches(d, 0);
    uint64_t first = order_of(a, 26);   /* 25 batches and the end */
    CHECK(ur_batches_tell(a).epoch == 1 && ur_batches_tell(a).position == 0);
    CHECK(order_of(a, 26) != first);
    ur_batches *in_order = batches(d, 1);
    first = order_of(in_order, 30);
    CHECK(order_of(in_order, 30) == first);
    ur_params_free(ps);
}

/* Every place of the first item is as likely: the shuffle has no preference that shows. */
TEST(shuffles_evenly)
{
    enum { N = 6, EPOCHS = 6000 };
    int at[N][N] = { 0 };
    ur_params *ps = ur_params_new(UR_F32, 0);
    ur_batches *all = ur_batches_new(make(ps, N), &(ur_batch_options){ .rows = N, .seed = 9 });
    ur_batch b;
    for (int e = 0; e < EPOCHS; e++)
        while (ur_next_batch(all, &b))
            for (int k = 0; k < N; k++)
                at[b.items[k]][k]++;
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            CHECK_NEAR(at[i][k], EPOCHS / N, 150);      /* 5 deviations */
    ur_params_free(ps);
}

TEST(steady_and_starved)
{
    for (long n = 1, failed = 1; failed; n++) {
        counting_begin(n);
        ur_params *ps = ur_params_new(UR_F32, 0);
        ur_batches *all = batches(make(ps, ITEMS), 4);
        failed = counting.failed;
        CHECK(failed ? !all : all != NULL);
        long calls = counting.calls;
        order_of(all, 100);
        CHECK_INT(counting.calls, calls);
        ur_params_free(ps);
        counting_end();
        CHECK_INT(counting.blocks, 0);
    }
}

TEST(refused)
{
    static const int down[] = { 10, 10 };
    static const struct { ur_batch_options o; const char *why; } bad[] = {
        { { .rows = 0 }, "batches: rows 0, tokens 0: one must be above 0" },
        { { .rows = -1, .tokens = 5 }, "rows -1, tokens 5" },
        { { .rows = 1, .full = true }, "`full` needs buckets" },
        { { .rows = 1, .buckets = down, .n_buckets = 2 }, "bucket 1 has length 10" },
    };
    ur_params *ps = ur_params_new(UR_F32, 0);
    ur_dataset *d = make(ps, 3);
    ur_batch b;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        CHECK(!ur_batches_new(d, &bad[k].o));
        CHECK_HAS(ur_error(ps), bad[k].why);
        ur_error_reset(ps);
    }
    CHECK(!ur_next_batch(NULL, &b) && ur_batches_count(NULL) == 0);
    ur_batches *none = ur_batches_new(ur_dataset_new(ps), &(ur_batch_options){ .rows = 2 });
    CHECK(none && ur_batches_count(none) == 0 && !ur_next_batch(none, &b));
    ur_params_free(ps);
}

TEST(streams)
{
    int32_t ids[23], x[6], y[6];
    for (int i = 0; i < 23; i++)
        ids[i] = i;
    ur_streams s = ur_streams_of(ids, 23, 3, 2); /* 22 with a successor: 3 rows of 7 */
    CHECK(s.length == 7 && s.segments == 3);
    ur_streams_segment(&s, 2, x, y);
    CHECK_MEM(x, ((int32_t[]){ 4, 11, 18, 5, 12, 19 }), sizeof x);
    CHECK_MEM(y, ((int32_t[]){ 5, 12, 19, 6, 13, 20 }), sizeof y);
    CHECK_INT(ur_streams_of(ids, 0, 3, 2).segments, 0);
    CHECK_INT(ur_streams_of(ids, 23, 0, 2).segments, 0);
}

TEST_MAIN(T(each_item_once), T(seeded_and_resumed), T(shuffles_evenly), T(steady_and_starved),
          T(refused), T(streams))
