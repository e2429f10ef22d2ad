/* Values read from safetensors files: each kind as itself, and floating point in other widths. */
#include <stdlib.h>
#include "tests/st_files.h"

static ur__st_file f;

/* Opens a file with one tensor "a" of n elements, whose bytes are those given. */
static bool open_one(const char *dtype, size_t n, const void *values, size_t bytes)
{
    char text[160];
    snprintf(text, sizeof text, "{'a':{'dtype':'%s','shape':[%zu],'data_offsets':[0,%zu]}}", dtype,
             n, bytes);
    FILE *file = fopen(file_with(text, 0), "ab");
    bool made = file && fwrite(values, 1, bytes, file) == bytes;
    made &= file && fclose(file) == 0;
    return CHECK(made && open_st(&f, in_folder("file.safetensors")));
}

static bool read_as(ur__st_dtype as, void *dst, size_t n)
{
    snprintf(why, sizeof why, "nothing was said");
    return ur__st_read(&f, f.tensors, as, dst, n, why, sizeof why);
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The value of a number of 1 + exponent + fraction bits, straight from the definition. */
static double by_definition(unsigned bits, int exponent, int fraction)
{
    unsigned e = bits >> fraction & ((1u << exponent) - 1), m = bits & ((1u << fraction) - 1);
    double sign = bits >> (exponent + fraction) ? -1 : 1;
    int bias = (1 << (exponent - 1)) - 1;
    if (e == (1u << exponent) - 1)
        return m ? NAN : sign * INFINITY;
    return sign * ldexp(m + (e ? ldexp(1, fraction) : 0), (e ? (int)e : 1) - bias - fraction);
}

TEST(every_half_and_bfloat)
{
    static unsigned char bytes[2 * 65536];
    static float x[65536];
    static double y[65536];
    for (size_t i = 0; i < 65536; i++) {
        bytes[2 * i] = (unsigned char)(i & 0xff);
        bytes[2 * i + 1] = (unsigned char)(i >> 8);
    }
    for (int half = 0; half < 2; half++) {
        REQUIRE(open_one(half ? "F16" : "BF16", 65536, bytes, sizeof bytes));
        REQUIRE(read_as(UR__ST_F32, x, 65536) && read_as(UR__ST_F64, y, 65536));
        for (unsigned i = 0; i < 65536; i++) {
            double is = half ? by_definition(i, 5, 10) : by_definition(i, 8, 7);
            bool same = isnan(is) ? isnan(x[i]) && isnan(y[i])
                      : x[i] == is && y[i] == is && !signbit(x[i]) == !signbit(is)
                        && !signbit(y[i]) == !signbit(is);
            if (!CHECK(same))
                printf("  %s %04x: %.17g, %.17g, not %.17g\n", half ? "F16" : "BF16", i,
                       (double)x[i], y[i], is);
        }
        ur__st_close(&f);
    }
}

TEST(single_to_double_is_exact)
{
    enum { N = 20000 };
    static float x[N], same[N];
    static double y[N];
    for (int i = 0; i < N; i++) {
        uint32_t bits = (uint32_t)(test_uniform() * 0x1p32);
        memcpy(&x[i], &bits, sizeof bits);
    }
    REQUIRE(open_one("F32", N, x, sizeof x));   /* the tests run on little-endian machines */
    REQUIRE(read_as(UR__ST_F64, y, N) && read_as(UR__ST_F32, same, N));
    CHECK_MEM(x, same, sizeof x);               /* NaN with their bits, too */
    for (int i = 0; i < N; i++)
        CHECK(isnan(x[i]) ? isnan(y[i]) : (double)x[i] == y[i]);
    ur__st_close(&f);
}

TEST(double_to_single_rounds_to_nearest)
{
    static const struct { double from; float to; } table[] = {
        { 0, 0 }, { 1.5, 1.5f }, { -3, -3 }, { 0x1p-149, 0x1p-149f }, { 0x1p-150, 0 },
        { 0x1.8p-150, 0x1p-149f }, { 1 + 0x1p-24, 1 }, { 1 + 0x1.8p-23, 1 + 0x1p-22f },
        { 1 + 0x1.000002p-24, 1 + 0x1p-23f }, { 0x1.fffffep127, 0x1.fffffep127f },
        { 0x1.fffffefffffffp127, 0x1.fffffep127f }, { -0x1.fffffefffffffp127, -0x1.fffffep127f },
        { INFINITY, INFINITY }, { -INFINITY, -INFINITY },
    };
    enum { N = sizeof table / sizeof table[0] };
    double from[N + 1];
    float to[N + 1];
    for (int i = 0; i < N; i++)
        from[i] = table[i].from;
    from[N] = NAN;
    REQUIRE(open_one("F64", N + 1, from, sizeof from));
    REQUIRE(read_as(UR__ST_F32, to, N + 1));
    for (int i = 0; i < N; i++)
        if (!CHECK_INT(bits_of(to[i]), bits_of(table[i].to)))
            printf("  of %a\n", table[i].from);
    CHECK(isnan(to[N]));
    ur__st_close(&f);
}

TEST(double_beyond_single_is_refused)
{
    static const double wrong[] = { 1e300, -1e300, 0x1.ffffffp127, -0x1.ffffffp127 };
    static double x[5000];
    static float to[5000];
    for (int i = 0; i < 4; i++) {
        memset(x, 0, sizeof x);
        x[4321] = wrong[i];
        REQUIRE(open_one("F64", 5000, x, sizeof x));
        CHECK(!read_as(UR__ST_F32, to, 5000));
        one_line("read", "/file.safetensors'");
        CHECK_HAS(why, "tensor 'a': element 4321 is too large for F32");
        ur__st_close(&f);
    }
}

/* All kinds by all: the diagonal, and floating point to F32 and F64. */
TEST(other_pairs_are_refused)
{
    static const struct { const char *name; ur__st_dtype dtype; int bits, is_float; } kind[] = {
        { "BOOL", UR__ST_BOOL, 8, 0 }, { "F4", UR__ST_F4, 4, 0 },
        { "F6_E2M3", UR__ST_F6_E2M3, 6, 0 }, { "F6_E3M2", UR__ST_F6_E3M2, 6, 0 },
        { "U8", UR__ST_U8, 8, 0 }, { "I8", UR__ST_I8, 8, 0 },
        { "F8_E5M2", UR__ST_F8_E5M2, 8, 0 }, { "F8_E4M3", UR__ST_F8_E4M3, 8, 0 },
        { "F8_E8M0", UR__ST_F8_E8M0, 8, 0 }, { "F8_E4M3FNUZ", UR__ST_F8_E4M3FNUZ, 8, 0 },
        { "F8_E5M2FNUZ", UR__ST_F8_E5M2FNUZ, 8, 0 }, { "I16", UR__ST_I16, 16, 0 },
        { "U16", UR__ST_U16, 16, 0 }, { "F16", UR__ST_F16, 16, 1 },
        { "BF16", UR__ST_BF16, 16, 1 }, { "I32", UR__ST_I32, 32, 0 },
        { "U32", UR__ST_U32, 32, 0 }, { "F32", UR__ST_F32, 32, 1 }, { "C64", UR__ST_C64, 64, 0 },
        { "F64", UR__ST_F64, 64, 1 }, { "I64", UR__ST_I64, 64, 0 }, { "U64", UR__ST_U64, 64, 0 },
    };
    enum { KINDS = sizeof kind / sizeof kind[0] };
    CHECK_INT(KINDS, UR__ST_DTYPES);
    unsigned char bytes[64];
    double dst[8];
    for (int i = 0; i < 64; i++)
        bytes[i] = (unsigned char)(i * 3 % 64);    /* no F64 beyond F32 */
    for (int k = 0; k < KINDS; k++) {
        size_t size = 8 * (size_t)kind[k].bits / 8;
        CHECK_INT(kind[k].dtype, k);
        CHECK_STR(ur__st_dtype_name(kind[k].dtype), kind[k].name);
        REQUIRE(open_one(kind[k].name, 8, bytes, size));
        CHECK_INT(f.tensors[0].dtype, k);
        CHECK_INT(f.tensors[0].bytes, size);
        for (int as = 0; as < KINDS; as++) {
            bool can = as == k || (kind[k].is_float && (as == UR__ST_F32 || as == UR__ST_F64));
            char said[80];
            snprintf(said, sizeof said, "tensor 'a' is %s, which cannot be read as %s",
                     kind[k].name, kind[as].name);
            if (CHECK_INT(read_as((ur__st_dtype)as, dst, 8), can) && !can)
                CHECK_HAS(why, said);
            if (as == k)
                CHECK_MEM(dst, bytes, size);
        }
        ur__st_close(&f);
    }
}

TEST(another_number_of_elements_is_refused)
{
    int32_t x[4] = { 0 };
    REQUIRE(open_one("I32", 3, x, 12));
    CHECK(!read_as(UR__ST_I32, x, 4));
    one_line("read", "/file.safetensors'");
    CHECK_HAS(why, "tensor 'a' has 3 elements, not 4");
    CHECK(!read_as(UR__ST_I32, x, 0));
    CHECK(read_as(UR__ST_I32, x, 3));
    ur__st_close(&f);
    REQUIRE(open_one("F32", 0, "", 0));
    CHECK(read_as(UR__ST_F32, NULL, 0));
    CHECK(read_as(UR__ST_F64, NULL, 0));
    ur__st_close(&f);
}

TEST(a_file_cut_off_after_opening)
{
    static double x[3000];
    for (int part = 0; part < 2; part++) {
        REQUIRE(open_one("F64", 3000, x, sizeof x));
        CHECK(truncate(in_folder("file.safetensors"), (off_t)f.tensors[0].offset + 20000) == 0);
        CHECK(!read_as(part ? UR__ST_F32 : UR__ST_F64, x, 3000));
        one_line("read", "/file.safetensors'");
        CHECK_HAS(why, "tensor 'a': it has been cut off since it was opened");
        ur__st_close(&f);
    }
}

/* Sixteen GiB of nothing between two tensors: neither opening nor reading takes memory for it. */
TEST(a_file_larger_than_memory)
{
    const char *text = "{'a':{'dtype':'U8','shape':[17179869184],'data_offsets':[0,17179869184]},"
        "'b':{'dtype':'I16','shape':[2],'data_offsets':[17179869184,17179869188]}}";
    size_t n = strlen(text);
    const char *path = file_with(text, 0);
    off_t place = (off_t)(8 + n) + 17179869184;
    FILE *file = fopen(path, "r+b");
    REQUIRE(file);
    bool made = fseeko(file, place, SEEK_SET) == 0 && fwrite("\1\2\3\4", 1, 4, file) == 4;
    made &= fclose(file) == 0;
    if (!made) {
        unlink(path);
        SKIP("no file of 16 GiB with a hole can be made here");
    }
    heap.left = 100;
    ur_set_allocator(counting, NULL);
    REQUIRE(open_st(&f, path));
    CHECK(heap.held < 4096);
    int16_t b[2];
    const ur__st_tensor *t = ur__st_find(&f, "b");
    REQUIRE(t && ur__st_read(&f, t, UR__ST_I16, b, 2, why, sizeof why));
    CHECK_INT(b[0], 0x0201);
    CHECK_INT(b[1], 0x0403);
    ur__st_close(&f);
    CHECK_INT(heap.held, 0);
    ur_set_allocator(NULL, NULL);
    unlink(path);
}

TEST_MAIN(T(every_half_and_bfloat), T(single_to_double_is_exact),
          T(double_to_single_rounds_to_nearest), T(double_beyond_single_is_refused),
          T(other_pairs_are_refused), T(another_number_of_elements_is_refused),
          T(a_file_cut_off_after_opening), T(a_file_larger_than_memory))
