/* Writing safetensors files: the bytes, round trips, and what is refused. How the old file is
 * replaced: safetensors_replace.c. */
#include <locale.h>
#include "tests/st_files.h"

static ur__st_file f;

static bool holds(const char *path, const void *bytes, size_t n)
{
    static char got[1 << 16];
    FILE *file = fopen(path, "rb");
    size_t k = file ? fread(got, 1, sizeof got, file) : 0;
    if (file)
        fclose(file);
    return CHECK_INT(k, n) && CHECK_MEM(got, bytes, n);
}

static const float numbers[] = { 0, 1, 2, 3, 4, 5 };

/* ---- Bytes ---- */

TEST(golden)
{
    const char *path = in_folder("golden");
    CHECK(write_st(path, NULL, 0, NULL, 0));
    CHECK_STR(why, "nothing was said");
    holds(path, "\x08\0\0\0\0\0\0\0{}      ", 16);
    CHECK(write_st(path, NULL, 0, &(ur__st_pair){ "framework", "pt" }, 1));
    holds(path, "\x28\0\0\0\0\0\0\0{\"__metadata__\":{\"framework\":\"pt\"}}     ", 48);
    ur__st_out t = { "attn0", UR__ST_F32, 4, { 1, 1, 2, 3 }, numbers };
    CHECK(write_st(path, &t, 1, NULL, 0));
    holds(path, "\x48\0\0\0\0\0\0\0"
          "{\"attn0\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],\"data_offsets\":[0,24]}}       "
          "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40", 104);
}

/* The last kinds first, then by name; metadata by key. Escapes are the short ones. */
TEST(order)
{
    static const unsigned char bytes[16] = "0123456789abcdef";
    const ur__st_out t[] = {
        { "b", UR__ST_U8, 1, { 1 }, bytes }, { "a", UR__ST_BOOL, 1, { 1 }, bytes + 1 },
        { "z", UR__ST_U64, 0, { 0 }, bytes }, { "\xc3\xa9", UR__ST_U8, 1, { 0 }, NULL },
        { "a\n\"", UR__ST_U8, 1, { 1 }, bytes + 2 }, { "m", UR__ST_F16, 2, { 2, 1 }, bytes + 3 },
    };
    const ur__st_pair p[] = { { "k", "\b\f\n\r\t\x1f\x7f/\\" }, { "", "1" },
                              { "j", "\xf0\x9f\x98\x80" } };
    const char *path = in_folder("order");
    CHECK(write_st(path, t, 6, p, 3));
    static const char text[] = "{\"__metadata__\":{\"\":\"1\",\"j\":\"\xf0\x9f\x98\x80\","
        "\"k\":\"\\b\\f\\n\\r\\t\\u001f\x7f/\\\\\"},"
        "\"z\":{\"dtype\":\"U64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"m\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[8,12]},"
        "\"a\\n\\\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[12,13]},"
        "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[13,14]},"
        "\"\xc3\xa9\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[14,14]},"
        "\"a\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[14,15]}}";
    char whole[600] = { 0 };
    size_t n = (sizeof text - 1 + 7) / 8 * 8;
    whole[0] = (char)(n & 0xff);
    whole[1] = (char)(n >> 8);
    memset(whole + 8, ' ', n);
    memcpy(whole + 8, text, sizeof text - 1);
    memcpy(whole + 8 + n, "012345673456201", 15);
    holds(path, whole, 8 + n + 15);
    CHECK(open_st(&f, path));
    CHECK_STR(ur__st_meta(&f, "k"), "\b\f\n\r\t\x1f\x7f/\\");
    CHECK_STR(ur__st_meta(&f, ""), "1");
    CHECK(ur__st_find(&f, "a\n\"") && ur__st_find(&f, "\xc3\xa9"));
    ur__st_close(&f);
}

/* A decimal comma or grouped digits must not get into a file. */
TEST(any_locale)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8"))
        setlocale(LC_ALL, "");      /* as good a locale as this machine has */
    ur__st_out t = { "x", UR__ST_U8, 1, { 12345 }, calloc(12345, 1) };
    REQUIRE(t.data);
    CHECK(write_st(in_folder("locale"), &t, 1, NULL, 0));
    CHECK_HAS(content(in_folder("locale")) + 8, "\"shape\":[12345],\"data_offsets\":[0,12345]");
    CHECK(open_st(&f, in_folder("locale")));
    ur__st_close(&f);
    free((void *)t.data);
    setlocale(LC_ALL, "C");
}

/* ---- Round trips ---- */

/* Tensors of every kind and of sizes around those of the buffers, with all sorts of shapes. */
TEST(every_kind_comes_back)
{
    enum { EACH = 9 };
    static const uint64_t shape[EACH][4] = {
        { 0 }, { 1, 8 }, { 1, 0 }, { 2, 3, 8 }, { 3, 2, 4, 5 }, { 1, 8184 }, { 1, 8192 },
        { 1, 8200 }, { 2, 131, 400 },
    };
    static ur__st_out t[UR__ST_DTYPES * EACH];
    static char name[UR__ST_DTYPES * EACH][16];
    static unsigned char bytes[131 * 400 * 8 + 256], back[131 * 400 * 8];
    static const char *const values[] = { "", "plain", "\"quotes\" and \\", "{\"a\":[1]}",
                                          "lines\n\r\n\tand\x01more",
                                          "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" };
    ur__st_pair p[6];
    size_t n = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(256 * test_uniform());
    for (int k = 0; k < UR__ST_DTYPES; k++)
        for (int s = 0; s < EACH; s++) {
            uint64_t count, size;
            ur__st_out *o = &t[n];
            o->name = name[n];
            o->dtype = (ur__st_dtype)k;
            o->rank = (int)shape[s][0];
            memcpy(o->dim, shape[s] + 1, (size_t)o->rank * sizeof o->dim[0]);
            o->data = bytes + n;
            sprintf(name[n], "%d.%d", s, k);
            n += ur__st_size(o->dtype, o->rank, o->dim, &count, &size) == NULL;
        }
    CHECK_INT(n, UR__ST_DTYPES * EACH - 3);     /* but for one element of 4 or 6 bits */
    for (int i = 0; i < 6; i++)
        p[i] = (ur__st_pair){ values[i], values[5 - i] };
    REQUIRE(write_st(in_folder("kinds"), t, n, p, 6));
    REQUIRE(open_st(&f, in_folder("kinds")));
    CHECK_INT(f.n, n);
    CHECK_INT(f.n_pairs, 6);
    for (int i = 0; i < 6; i++)
        CHECK_STR(ur__st_meta(&f, values[i]), values[5 - i]);
    for (size_t i = 0; i < n; i++) {
        const ur__st_tensor *r = ur__st_find(&f, t[i].name);
        static const unsigned align[] = { [UR__ST_I16] = 2, 2, 2, 2, 4, 4, 4, 4, 8, 8, 8 };
        REQUIRE(r && r->dtype == t[i].dtype && r->rank == t[i].rank);
        CHECK_MEM(r->dim, t[i].dim, (size_t)r->rank * sizeof r->dim[0]);
        CHECK(r->dtype < UR__ST_I16 || r->offset % align[r->dtype] == 0);
        REQUIRE(ur__st_read(&f, r, r->dtype, back, (size_t)r->count, why, sizeof why));
        CHECK_MEM(back, t[i].data, r->bytes);
    }
    ur__st_close(&f);
}

/* ---- What is refused ---- */

TEST(refused)
{
    static const uint64_t big = UINT64_MAX;
    const struct { ur__st_out t[2]; ur__st_pair p[2]; size_t n, m; const char *part; } table[] = {
        { { { "a", UR__ST_F32, 0, { 0 }, numbers }, { "a", UR__ST_U8, 0, { 0 }, numbers } },
          { { 0 } }, 2, 0, "two tensors are called 'a'" },
        { { { 0 } }, { { "k", "1" }, { "k", "2" } }, 0, 2, "two keys of the metadata are 'k'" },
        { { { "__metadata__", UR__ST_F32, 0, { 0 }, numbers } }, { { 0 } }, 1, 0, "__metadata__" },
        { { { "a\xff", UR__ST_F32, 0, { 0 }, numbers } }, { { 0 } }, 1, 0,
          "the tensor name 'a\xff' is not UTF-8" },
        { { { 0 } }, { { "\xed\xa0\x80", "1" } }, 0, 1, "the metadata under" },
        { { { 0 } }, { { "k", "\xc0\xaf" } }, 0, 1, "the metadata under 'k' are not UTF-8" },
        { { { "a", UR__ST_DTYPES, 0, { 0 }, numbers } }, { { 0 } }, 1, 0, "dtype number 22" },
        { { { "a", UR__ST_F32, 9, { 0 }, numbers } }, { { 0 } }, 1, 0, "rank 9" },
        { { { "a", UR__ST_F32, -1, { 0 }, numbers } }, { { 0 } }, 1, 0, "rank -1" },
        { { { "a", UR__ST_F32, 2, { big, 2 }, numbers } }, { { 0 } }, 1, 0, "2^64 - 1 elements" },
        { { { "a", UR__ST_F32, 1, { big / 4 }, numbers } }, { { 0 } }, 1, 0, "2^64 - 1 bits" },
        { { { "a", UR__ST_F4, 1, { 3 }, numbers } }, { { 0 } }, 1, 0, "fill whole bytes" },
    };
    const char *path = in_folder("refused");
    fill(path, "precious");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CHECK(!write_st(path, table[i].t, table[i].n, table[i].p, table[i].m));
        one_line("write", "/refused'");
        CHECK_HAS(why, table[i].part);
    }
    CHECK_STR(content(path), "precious");
    CHECK_INT(count_names(".tmp"), 0);
}

/* Seen before a byte is written. */
TEST(too_large)
{
    ur__st_out t[6];
    for (int i = 0; i < 6; i++)
        t[i] = (ur__st_out){ (const char *[]){ "a", "b", "c", "d", "e", "f" }[i], UR__ST_U8, 1,
                             { UINT64_MAX / 8 }, NULL };
    CHECK(!write_st(in_folder("large"), t, 6, NULL, 0));
    one_line("write", "/large'");
    CHECK_HAS(why, "it would exceed 2^63 bytes");
    enum { N = 100000000 / 6 };
    char *text = malloc(N + 1);
    REQUIRE(text);
    memset(text, 1, N);     /* six characters each */
    text[N] = 0;
    CHECK(!write_st(in_folder("large"), NULL, 0, &(ur__st_pair){ "k", text }, 1));
    one_line("write", "/large'");
    CHECK_HAS(why, "its header would exceed 100000000 bytes");
    free(text);
    CHECK_INT(count_names("large"), 0);
}

TEST_MAIN(T(golden), T(order), T(any_locale), T(every_kind_comes_back), T(refused), T(too_large))
