/* The counter-based generator: published vectors, independence of how it is cut, distributions. */
#include "graph/internal.h"
#include "tests/test.h"

enum { MANY = 200000 };

/* The known answers of philox4x32 with 10 rounds that are distributed with Random123. */
TEST(philox_gives_the_published_answers)
{
    static const struct { uint32_t counter[4], key[2], out[4]; } known[] = {
        { { 0, 0, 0, 0 }, { 0, 0 },
          { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        ur__philox(known[i].counter, known[i].key, out);
        for (int j = 0; j < 4; j++)
            CHECK_INT(out[j], known[i].out[j]);
    }
}

/* The element that the head of random.c defines, from ur__philox alone. */
static double uniform_by_definition(uint64_t key, uint64_t e)
{
    uint32_t upper[4], lower[4], k[2] = { (uint32_t)key, (uint32_t)(key >> 32) };
    uint32_t counter[4] = { (uint32_t)(e / 4), (uint32_t)(e / 4 >> 32), 0, 0 };
    ur__philox(counter, k, upper);
    counter[2] = 1;
    ur__philox(counter, k, lower);
    return ldexp((double)upper[e % 4], -32) + ldexp((double)(lower[e % 4] >> 11), -53);
}

TEST(elements_are_those_of_the_definition)
{
    static const uint64_t firsts[] = { 0, 1, 2, 3, 63, 64, 65, (UINT64_C(1) << 34) - 30,
                                       (UINT64_C(1) << 40) + 7 };
    uint64_t key = UINT64_C(0x0123456789ABCDEF);
    for (size_t f = 0; f < sizeof firsts / sizeof *firsts; f++) {
        double u[100], z[100];
        float v[100];
        ur__random_uniform(key, firsts[f], 100, UR_F64, u);
        ur__random_uniform(key, firsts[f], 100, UR_F32, v);
        ur__random_normal(key, firsts[f], 100, UR_F64, z);
        for (uint64_t i = 0; i < 100; i++) {
            uint64_t e = firsts[f] + i, even = e & ~UINT64_C(1);
            double want = uniform_by_definition(key, e);
            CHECK_NEAR(u[i], want, 0);
            CHECK_NEAR(v[i], floor(want * 0x1p24) / 0x1p24, 0);
            double r = sqrt(-2 * log(1 - uniform_by_definition(key, even)));
            double angle = 2 * acos(-1.0) * uniform_by_definition(key, even + 1);
            CHECK_NEAR(z[i], r * (e == even ? cos(angle) : sin(angle)), 1e-14);
        }
    }
}

/* An element depends on nothing but its key and its number: not on where a call begins or ends. */
TEST(any_cut_gives_the_same_numbers)
{
    static double whole[1000], piece[1000];
    static float whole_f[1000], piece_f[1000];
    void (*const draw[])(uint64_t, uint64_t, size_t, ur_type, void *) = {
        ur__random_uniform, ur__random_normal
    };
    for (int d = 0; d < 2; d++) {
        draw[d](77, 5, 1000, UR_F64, whole);
        draw[d](77, 5, 1000, UR_F32, whole_f);
        for (int turn = 0; turn < 200; turn++) {
            size_t begin = (size_t)(test_uniform() * 1000);
            size_t n = (size_t)(test_uniform() * (double)(1001 - begin));
            memset(piece, 0xFF, sizeof piece);
            memset(piece_f, 0xFF, sizeof piece_f);
            draw[d](77, 5 + begin, n, UR_F64, piece);
            draw[d](77, 5 + begin, n, UR_F32, piece_f);
            CHECK_MEM(piece, whole + begin, n * sizeof *piece);
            CHECK_MEM(piece_f, whole_f + begin, n * sizeof *piece_f);
            if (n < 1000)   /* and nothing is written behind the end */
                CHECK(isnan(piece[n]) && isnan(piece_f[n]));
        }
    }
}

TEST(floats_are_the_doubles_cut_short)
{
    static double u[MANY];
    static float v[MANY];
    ur__random_uniform(3, 0, MANY, UR_F64, u);
    ur__random_uniform(3, 0, MANY, UR_F32, v);
    double worst = 0;
    for (int i = 0; i < MANY; i++)
        if (!((double)v[i] <= u[i] && v[i] < 1))
            worst = 1;
        else if (u[i] - (double)v[i] > worst)
            worst = u[i] - (double)v[i];
    CHECK_NEAR(worst, 0, 0x1p-24);
    ur__random_normal(3, 0, MANY, UR_F64, u);
    ur__random_normal(3, 0, MANY, UR_F32, v);
    worst = 0;
    for (int i = 0; i < MANY; i++)
        worst = fmax(worst, fabs(u[i] - (double)v[i]));
    CHECK_NEAR(worst, 0, 1e-5);
}

/* The k-th moment about c. */
static double moment(const double *x, double c, int k)
{
    double sum = 0;
    for (int i = 0; i < MANY; i++)
        sum += pow(x[i] - c, k);
    return sum / MANY;
}

/* The seed is fixed, so the tests below either always pass or never: bounds are 4 deviations of the
 * estimate. */
TEST(uniform_is_uniform)
{
    static double u[MANY];
    double n = MANY;
    ur__random_uniform(20, 0, MANY, UR_F64, u);
    CHECK_NEAR(moment(u, 0, 1), 0.5, 4 * sqrt(1 / 12.0 / n));
    CHECK_NEAR(moment(u, 0.5, 2), 1 / 12.0, 4 * sqrt(1 / 180.0 / n));
    CHECK_NEAR(moment(u, 0.5, 3), 0, 4 * sqrt(1 / 448.0 / n));
    /* chi-square over 256 equal classes, of the upper and of lower bits, and over pairs */
    for (int what = 0; what < 3; what++) {
        double count[256] = { 0 }, chi = 0, samples = what == 2 ? n / 2 : n;
        for (int i = 0; i < MANY; i += what == 2 ? 2 : 1) {
            double x = what == 1 ? u[i] * 0x1p40 - floor(u[i] * 0x1p40) : u[i];
            int k = what == 2 ? (int)(16 * u[i]) * 16 + (int)(16 * u[i + 1]) : (int)(256 * x);
            count[k]++;
        }
        for (int k = 0; k < 256; k++)
            chi += (count[k] - samples / 256) * (count[k] - samples / 256) / (samples / 256);
        CHECK_NEAR(chi, 255, 4 * sqrt(2 * 255.0));
    }
}

TEST(normal_is_normal)
{
    static double z[MANY];
    double n = MANY, most = 0;
    ur__random_normal(21, 0, MANY, UR_F64, z);
    CHECK_NEAR(moment(z, 0, 1), 0, 4 / sqrt(n));
    CHECK_NEAR(moment(z, 0, 2), 1, 4 * sqrt(2 / n));
    CHECK_NEAR(moment(z, 0, 3), 0, 4 * sqrt(15 / n));
    CHECK_NEAR(moment(z, 0, 4), 3, 4 * sqrt(96 / n));
    double pairs = 0, neighbours = 0;
    for (int i = 0; i + 2 < MANY; i++) {
        pairs += i % 2 ? 0 : z[i] * z[i + 1];
        neighbours += z[i] * z[i + 2];
        most = fmax(most, fabs(z[i]));
    }
    CHECK_NEAR(pairs / (n / 2), 0, 4 / sqrt(n / 2));
    CHECK_NEAR(neighbours / n, 0, 4 / sqrt(n));
    CHECK(most > 4 && most < 6);
    /* shares below some points: Phi(x) = erfc(-x / sqrt 2) / 2 */
    for (double x = -3; x <= 3; x += 0.5) {
        double below = 0, phi = erfc(-x / sqrt(2)) / 2;
        for (int i = 0; i < MANY; i++)
            below += z[i] < x;
        CHECK_NEAR(below / n, phi, 4 * sqrt(phi * (1 - phi) / n));
    }
}

TEST(neighbouring_keys_give_unrelated_streams)
{
    static double a[MANY], b[MANY];
    ur__random_normal(100, 0, MANY, UR_F64, a);
    for (int other = 0; other < 3; other++) {
        ur__random_normal(other == 0 ? 101 : other == 1 ? 100 | UINT64_C(1) << 32 : 36, 0, MANY,
                          UR_F64, b);
        double product = 0;
        for (int i = 0; i < MANY; i++)
            product += a[i] * b[i];
        CHECK_NEAR(product / MANY, 0, 4 / sqrt(MANY));
    }
}

/* Keys are mixed of small numbers: seeds, run numbers, ordinals. */
TEST(mixed_keys_differ)
{
    static uint64_t seen[64 * 64];
    long equal = 0;
    for (uint64_t i = 0; i < 64; i++)
        for (uint64_t j = 0; j < 64; j++) {
            uint64_t key = seen[64 * i + j] = ur__mix(ur__mix(0, i), j);
            for (uint64_t k = 0; k < 64 * i + j; k++)
                equal += seen[k] == key;
        }
    CHECK_INT(equal, 0);
    CHECK(ur__mix(1, 2) != ur__mix(2, 1));
    CHECK(ur__hash_text("lstm.W") != ur__hash_text("lstm.U"));
    CHECK(ur__hash_text("") != ur__hash_text("a"));
    CHECK(ur__hash_text("lstm.W") == ur__hash_text("lstm.W"));
    /* one bit of either operand changes about half of the key's */
    double changed = 0;
    for (int bit = 0; bit < 64; bit++) {
        uint64_t x = ur__mix(9, 5) ^ ur__mix(9, 5 ^ UINT64_C(1) << bit);
        uint64_t y = ur__mix(9, 5) ^ ur__mix(9 ^ UINT64_C(1) << bit, 5);
        for (int i = 0; i < 64; i++)
            changed += (double)(x >> i & 1) + (double)(y >> i & 1);
    }
    CHECK_NEAR(changed / (2 * 64 * 64), 0.5, 0.03);
}

TEST_MAIN(T(philox_gives_the_published_answers), T(elements_are_those_of_the_definition),
          T(any_cut_gives_the_same_numbers), T(floats_are_the_doubles_cut_short),
          T(uniform_is_uniform), T(normal_is_normal), T(neighbouring_keys_give_unrelated_streams),
          T(mixed_keys_differ))
