/* Safetensors files made to do harm, or harmed themselves: whatever the bytes are, a file is opened
 * right or refused by one line, and nothing is leaked. With the sanitizers this also shows that no
 * byte outside is touched. Also every character of UTF-8, and memory that runs out. */
#include <stdlib.h>
#include "graph/json.h"
#include "tests/st_files.h"

static ur__st_file f;

/* A small file with all there is in a header. */
static size_t small_file(unsigned char bytes[512])
{
    static const char text[] = "{'__metadata__':{'k\\u00e9\\n':'v\\\\\xf0\x9f\x98\x80','b':''},"
        "'w.0':{'dtype':'F32','shape':[2,1],'data_offsets':[0,8]},"
        "'x':{'y':[1,-2.5e3,{'z':null}],'dtype':'F16','shape':[3],'data_offsets':[8,14]},"
        "'s':{'data_offsets':[14,15],'dtype':'BOOL','shape':[]}}";
    FILE *made = fopen(file_with(text, 15), "rb");
    size_t n = made ? fread(bytes, 1, 512, made) : 0;
    if (made)
        fclose(made);
    CHECK(n > 200 && n < 512);
    return n;
}

/* Opens these bytes; if they are a file, all of it is used. */
static bool try_bytes(const unsigned char *bytes, size_t n)
{
    double x[64];
    if (!open_st(&f, file_of(bytes, n)))
        return one_line("read", "/file.safetensors'") && CHECK(!f.path) && false;
    uint64_t sum = 0;
    for (size_t i = 0; i < f.n; i++) {
        const ur__st_tensor *t = &f.tensors[i];
        uint64_t count = 1;
        for (int k = 0; k < t->rank; k++)
            count *= t->dim[k];
        sum += t->bytes;
        CHECK_INT(count, t->count);
        CHECK(ur__st_find(&f, t->name) == t);
        if (CHECK(t->offset + t->bytes <= n && t->count <= 64))
            CHECK(ur__st_read(&f, t, t->dtype, x, (size_t)t->count, why, sizeof why));
    }
    CHECK(sum < n);
    for (size_t i = 0; i < f.n_pairs; i++)
        CHECK_STR(ur__st_meta(&f, f.pairs[i].key), f.pairs[i].value);
    ur__st_close(&f);
    return true;
}

TEST(cut_off_at_every_length)
{
    unsigned char bytes[512];
    size_t n = small_file(bytes);
    CHECK(try_bytes(bytes, n));
    for (size_t k = 0; k < n; k++)
        if (!CHECK(!try_bytes(bytes, k)))
            printf("  cut to %zu of %zu\n", k, n);
    for (size_t k = n + 1; k < n + 40; k++)
        if (!CHECK(!try_bytes(bytes, k)))
            printf("  grown to %zu from %zu\n", k, n);
}

TEST(every_byte_changed)
{
    static const unsigned char others[] = { 0, 1, '\t', ' ', '"', '[', ']', '{', '}', ',', ':', '-',
                                            '\\', '.', '0', '9', 'e', 'u', 127, 128, 192, 255 };
    unsigned char bytes[512];
    size_t n = small_file(bytes);
    int refused = 0, tried = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char was = bytes[i];
        for (size_t k = 0; k < 8 + sizeof others; k++) {
            bytes[i] = (unsigned char)(k < 8 ? was ^ 1u << k : others[k - 8]);
            refused += !try_bytes(bytes, n);
            tried++;
        }
        bytes[i] = was;
    }
    CHECK(refused > tried / 3 && refused < tried);      /* a change of a name, say, is no fault */
}

TEST(many_bytes_changed)
{
    unsigned char whole[512], bytes[512];
    size_t n = small_file(whole);
    for (int round = 0; round < 3000; round++) {
        memcpy(bytes, whole, n);
        for (int k = 1 + (int)(4 * test_uniform()); k-- > 0;) {
            size_t at = 8 + (size_t)(test_uniform() * (double)(n - 8));
            size_t from = 8 + (size_t)(test_uniform() * (double)(n - 8));
            size_t length = (size_t)(12 * test_uniform());
            if (at + length <= n && from + length <= n)
                memmove(bytes + at, bytes + from, length);
        }
        try_bytes(bytes, n);
    }
}

/* A hundred thousand tensors on the same bytes. */
TEST(overlapping_tensors)
{
    enum { N = 100000, EACH = 70 };
    char *bytes = malloc(8 + (size_t)N * EACH + 16), *p = bytes + 8;
    REQUIRE(bytes);
    for (int i = 0; i < N; i++)
        p += sprintf(p, "%c\"%d\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}",
                     i ? ',' : '{', i);
    *p++ = '}';
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)((p - bytes - 8) >> 8 * i & 0xff);
    memset(p, 0, 16);
    CHECK(!open_st(&f, file_of(bytes, (size_t)(p - bytes) + 16)));
    one_line("read", "/file.safetensors'");
    CHECK_HAS(why, "begins at byte 0 of the values and not at 16, the end of the one before");
    free(bytes);
}

/* As many tensors in an order that a simple quicksort would take n^2 steps for, with empty ones. */
TEST(many_tensors_in_any_order)
{
    enum { N = 100000, EACH = 80 };
    char *bytes = malloc(8 + (size_t)N * EACH + N), *p = bytes + 8;
    REQUIRE(bytes);
    for (int i = 0; i < N; i++) {
        int k = i % 2 ? N - i : i;
        int begin = k / 2, end = (k + 1) / 2;
        p += sprintf(p, "%c\"%07d\":{\"dtype\":\"I8\",\"shape\":[%d],\"data_offsets\":[%d,%d]}",
                     i ? ',' : '{', k, end - begin, begin, end);
    }
    *p++ = '}';
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)((p - bytes - 8) >> 8 * i & 0xff);
    for (int i = 0; i < N / 2; i++)
        *p++ = (char)(i % 100);
    bool ok = CHECK(open_st(&f, file_of(bytes, (size_t)(p - bytes))));
    free(bytes);
    REQUIRE(ok || (puts(why), false));
    REQUIRE(f.n == N);
    for (int k = 0; k < N; k++) {
        char name[16];
        signed char value = 0;
        snprintf(name, sizeof name, "%07d", k);
        const ur__st_tensor *t = ur__st_find(&f, name);
        REQUIRE(t && t == &f.tensors[k] && t->count == (uint64_t)(k % 2));
        if (k % 997 == 1 && CHECK(ur__st_read(&f, t, UR__ST_I8, &value, k % 2, why, sizeof why)))
            CHECK_INT(value, k % 2 ? k / 2 % 100 : 0);
    }
    ur__st_close(&f);
}

/* The longest header there may be, all zeros and without a tensor: a hole in the file. */
TEST(longest_header)
{
    static const unsigned char length[] = { 0x00, 0xe1, 0xf5, 0x05, 0, 0, 0, 0, '{', '}' };
    const char *path = file_of(length, 10);
    CHECK(truncate(path, 8 + 100000000) == 0);
    CHECK(!open_st(&f, path));
    CHECK_HAS(why, "malformed at byte 2 of 100000000: expected nothing more");
    unlink(path);
}

/* Memory ends after k requests, for every k that matters. */
TEST(out_of_memory)
{
    unsigned char bytes[512];
    const char *path = file_of(bytes, small_file(bytes));
    bool ok = false;
    for (long k = 0; !ok && k < 100; k++) {
        heap.left = k;
        heap.held = 0;
        ur_set_allocator(counting, NULL);
        ok = open_st(&f, path);
        if (!ok) {
            one_line("read", "/file.safetensors'");
            CHECK_HAS(why, "out of memory");
            CHECK_INT(heap.held, 0);
        }
        CHECK(ok ? k >= 5 : k < 20);
        ur__st_close(&f);
        CHECK_INT(heap.held, 0);
        ur_set_allocator(NULL, NULL);
    }
    CHECK(ok);
}

/* ---- UTF-8 ---- */

/* Every character that there is has one form, so a count of the accepted forms shows that no other
 * is accepted. */
TEST(utf8_forms)
{
    long accepted[5] = { 0 };
    char s[4];
    for (int a = 0; a < 256; a++) {
        s[0] = (char)a;
        accepted[1] += ur__utf8_valid(s, 1) == 1;
        for (int b = 0; b < 256; b++) {
            s[1] = (char)b;
            accepted[2] += a >= 0x80 && ur__utf8_valid(s, 2) == 2;
            for (int c = 0; c < 256 && a >= 0x80; c++) {
                static const unsigned char edge[] = { 0, 0x7f, 0x80, 0xbf, 0xc0, 0xff };
                s[2] = (char)c;
                accepted[3] += ur__utf8_valid(s, 2) == 0 && ur__utf8_valid(s, 3) == 3;
                for (int d = 0; d < 6 && a >= 0xf0; d++) {
                    s[3] = (char)edge[d];
                    accepted[4] += ur__utf8_valid(s, 3) == 0 && ur__utf8_valid(s, 4) == 4;
                }
            }
        }
    }
    CHECK_INT(accepted[1], 0x80);
    CHECK_INT(accepted[2], 0x800 - 0x80);
    CHECK_INT(accepted[3], 0x10000 - 0x800 - 2048);         /* without surrogates */
    CHECK_INT(accepted[4], (0x110000 - 0x10000) / 64 * 2);  /* last bytes 80 and BF of 80..BF */
}

/* Every character as an escape, decoded, is valid and quotes to what it was. */
TEST(every_character)
{
    long n = 0;
    for (long c = 1, step; c < 0x110000; c += step) {
        step = c < 0x3000 || c % 0x400 >= 0x3fe || c % 0x400 < 2 ? 1 : 29;
        char text[32], back[40];
        const char *s, *again;
        ur__json j;
        if (c >= 0xd800 && c < 0xe000)
            continue;
        if (c < 0x10000)
            snprintf(text, sizeof text, "\"\\u%04lx\"", (unsigned long)c);
        else
            snprintf(text, sizeof text, "\"\\u%04lX\\u%04lx\"",
                     (unsigned long)(0xd800 + ((c - 0x10000) >> 10)),
                     (unsigned long)(0xdc00 + ((c - 0x10000) & 0x3ff)));
        REQUIRE(ur__json_start(&j, text, strlen(text)) && ur__json_string(&j, &s));
        REQUIRE(ur__json_done(&j));
        size_t length = strlen(s);
        size_t expected = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        REQUIRE(length == expected && ur__utf8_valid(s, length) == length);
        long value = length == 1 ? s[0] : s[0] & (0x7f >> length);
        for (size_t i = 1; i < length; i++)
            value = value << 6 | (s[i] & 0x3f);
        REQUIRE(value == c);
        size_t quoted = ur__json_quote(back, s);
        REQUIRE(quoted == ur__json_quote(NULL, s) && quoted < sizeof back);
        REQUIRE(ur__json_start(&j, back, quoted) && ur__json_string(&j, &again));
        REQUIRE(ur__json_done(&j) && strcmp(s, again) == 0);
        n++;
    }
    CHECK(n > 40000);
}

TEST_MAIN(T(cut_off_at_every_length), T(every_byte_changed), T(many_bytes_changed),
          T(overlapping_tensors), T(many_tensors_in_any_order), T(longest_header), T(out_of_memory),
          T(utf8_forms), T(every_character))
