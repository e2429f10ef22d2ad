/* Reading safetensors files: what is right is read right, and what is wrong is refused by one line,
 * whatever the bytes are. Writing them: safetensors_write.c. */
#include <fcntl.h>
#include <sys/stat.h>
#include "tests/st_files.h"

static ur__st_file f;

/* The bytes of ur__st_read as another kind, with the whole tensor asked for. */
static bool read_as(const char *name, ur__st_dtype as, void *dst)
{
    const ur__st_tensor *t = ur__st_find(&f, name);
    snprintf(why, sizeof why, "nothing was said");
    return CHECK(t != NULL) && ur__st_read(&f, t, as, dst, (size_t)t->count, why, sizeof why);
}

/* ---- Right files ---- */

TEST(golden_empty)
{
    static const char bytes[] = "\x08\0\0\0\0\0\0\0{}      ";
    REQUIRE(open_st(&f, file_of(bytes, 16)));
    CHECK_INT(f.n, 0);
    CHECK_INT(f.n_pairs, 0);
    CHECK(!ur__st_find(&f, "a") && !ur__st_meta(&f, "a"));
    ur__st_close(&f);
    ur__st_close(&f);
    CHECK_STR(why, "nothing was said");
    ur__st_file zero = { 0 };
    ur__st_close(&zero);
}

TEST(golden_tensor)
{
    static const char bytes[] = "\x48\0\0\0\0\0\0\0"
        "{\"attn0\":{\"dtype\":\"F32\",\"shape\":[1,1,2,3],\"data_offsets\":[0,24]}}       "
        "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\xa0\x40";
    REQUIRE(open_st(&f, file_of(bytes, sizeof bytes - 1)));
    REQUIRE(f.n == 1);
    const ur__st_tensor *t = ur__st_find(&f, "attn0");
    REQUIRE(t == f.tensors);
    CHECK_INT(t->dtype, UR__ST_F32);
    CHECK_INT(t->rank, 4);
    const uint64_t dim[] = { 1, 1, 2, 3 };
    CHECK_MEM(t->dim, dim, sizeof dim);
    CHECK_INT(t->count, 6);
    CHECK_INT(t->bytes, 24);
    CHECK_INT(t->offset, 80);
    float x[6];
    double y[6];
    CHECK(read_as("attn0", UR__ST_F32, x));
    CHECK(read_as("attn0", UR__ST_F64, y));
    for (int i = 0; i < 6; i++) {
        CHECK_NEAR(x[i], i, 0);
        CHECK_NEAR(y[i], i, 0);
    }
    ur__st_close(&f);
}

/* Header, data bytes: files that are unusual but right. */
TEST(accepted)
{
    static const struct { const char *text; size_t data; } table[] = {
        { " \t\r\n{}\r \t\n", 0 },
        { "{ 'a' : { 'data_offsets' : [ 0 , 4 ] , 'shape' : [ 2 , 2 ] , 'dtype' : 'U8' } }", 4 },
        { "{'a':{'dtype':'I32','shape':[],'data_offsets':[0,4]}}", 4 },
        { "{'a':{'dtype':'I32','shape':[2,0],'data_offsets':[0,0]}}", 0 },
        { "{'a':{'dtype':'I32','shape':[0,18446744073709551615,7],'data_offsets':[0,0]}}", 0 },
        { "{'':{'dtype':'BOOL','shape':[1],'data_offsets':[0,1]}}", 1 },
        { "{'__metadata__':{}}", 0 },
        { "{'__metadata__':{'':'','__metadata__':''}}", 0 },
        { "{'b':{'dtype':'U8','shape':[1],'data_offsets':[2,3]},"
          "'a':{'dtype':'U16','shape':[1],'data_offsets':[0,2]},"
          "'c':{'dtype':'F64','shape':[0],'data_offsets':[2,2]}}", 3 },
        { "{'a':{'dtype':'U8','shape':[1],'x':{'y':[-0.5e+3,0,1E-9,true,false,null,{},[],"
          "'\\n'],'z':{}},'data_offsets':[0,1]}}", 1 },
        { "{'a':{'dtype':'F4','shape':[4],'data_offsets':[0,2]}}", 2 },
        { "{'a':{'dtype':'F6_E2M3','shape':[4],'data_offsets':[0,3]}}", 3 },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        bool ok = CHECK(open_st(&f, file_with(table[i].text, table[i].data)));
        if (!ok)
            printf("  %s\n  %s\n", table[i].text, why);
        ur__st_close(&f);
    }
}

TEST(tensors_come_sorted_with_their_places)
{
    const char *text = "{'b':{'dtype':'U8','shape':[1],'data_offsets':[6,7]},"
        "'__metadata__':{'z':'1','a':'2','m':'3'},"
        "'c':{'dtype':'I32','shape':[1,1],'data_offsets':[2,6]},"
        "'a':{'dtype':'U16','shape':[1],'data_offsets':[0,2]},"
        "'':{'dtype':'F64','shape':[3,0],'data_offsets':[2,2]}}";
    REQUIRE(open_st(&f, file_with(text, 7)));
    REQUIRE(f.n == 4 && f.n_pairs == 3);
    static const char *const name[] = { "", "a", "b", "c" }, *const key[] = { "a", "m", "z" };
    static const int place[] = { 2, 0, 6, 2 }, rank[] = { 2, 1, 1, 2 };
    for (int i = 0; i < 4; i++) {
        CHECK_STR(f.tensors[i].name, name[i]);
        CHECK_INT(f.tensors[i].offset, 8 + strlen(text) + (size_t)place[i]);
        CHECK_INT(f.tensors[i].rank, rank[i]);
        CHECK(ur__st_find(&f, name[i]) == &f.tensors[i]);
    }
    CHECK_INT(f.tensors[0].dim[0], 3);
    CHECK_INT(f.tensors[0].dim[1], 0);
    for (int i = 0; i < 3; i++)
        CHECK_STR(f.pairs[i].key, key[i]);
    CHECK_STR(ur__st_meta(&f, "a"), "2");
    CHECK_STR(ur__st_meta(&f, "m"), "3");
    CHECK_STR(ur__st_meta(&f, "z"), "1");
    CHECK(!ur__st_meta(&f, "b") && !ur__st_meta(&f, "zz") && !ur__st_find(&f, "d"));
    int32_t c = 0;
    CHECK(read_as("c", UR__ST_I32, &c));
    CHECK_INT(c, 0x05040302);
    ur__st_close(&f);
}

TEST(strings_are_decoded)
{
    REQUIRE(open_st(&f, file_with("{'__metadata__':{'\\u0041':'\\'\\\\\\/\\b\\f\\n\\r\\t',"
        "'b':'\\u00e9\\u20AC\\uD83D\\ude00 \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80','c':"
        "'\\u0001\\u001f\x7f\\uFFFF\\uD800\\uDC00'},'\\u0061.\\u03b2':{'\\u0064type':'F\\u0033"
        "2','shape':[],'data_offsets':[0,4]}}", 4)));
    CHECK_STR(ur__st_meta(&f, "A"), "\"\\/\b\f\n\r\t");
    CHECK_STR(ur__st_meta(&f, "b"), "é€\xf0\x9f\x98\x80 é€\xf0\x9f\x98\x80");
    CHECK_STR(ur__st_meta(&f, "c"), "\x01\x1f\x7f\xef\xbf\xbf\xf0\x90\x80\x80");
    CHECK(ur__st_find(&f, "a.\xce\xb2") != NULL);
    ur__st_close(&f);
}

/* A model that others have written. */
TEST(real_file)
{
    const char *path = TEST_ROOT "/../shared/data/safetensors/silero_vad_16k.safetensors";
    if (access(path, R_OK) != 0)
        SKIP("no shared/data/safetensors");
    REQUIRE(open_st(&f, path));
    CHECK_INT(f.n, 15);
    const ur__st_tensor *t = ur__st_find(&f, "lstm_cell.weight_ih");
    REQUIRE(t && t->rank == 2);
    CHECK_INT(t->dim[0], 512);
    CHECK_INT(t->dim[1], 128);
    static float w[258 * 256];
    for (size_t i = 0; i < f.n; i++) {
        double sum = 0;
        t = &f.tensors[i];
        CHECK_INT(t->dtype, UR__ST_F32);
        REQUIRE(t->count <= sizeof w / sizeof *w);
        CHECK(ur__st_read(&f, t, UR__ST_F32, w, (size_t)t->count, why, sizeof why));
        for (size_t k = 0; k < t->count; k++)
            sum += fabs((double)w[k]);
        CHECK(sum > 0 && sum / (double)t->count < 10);     /* weights, not noise bits */
    }
    ur__st_close(&f);
}

/* ---- Wrong files ---- */

/* The header's text, bytes of data, part of the message. */
#define ONE(fields) "{'a':{" fields "}}"
static const struct { const char *text; size_t data; const char *part; } refused[] = {
    /* The header as JSON. */
    { "", 0, "malformed at byte 0 of 0: expected '{'" },
    { "{", 0, "malformed at byte 1 of 1: expected a string" },
    { "\xff", 0, "malformed at byte 0 of 1: this is not UTF-8" },
    { "\xef\xbb\xbf{}", 0, "expected '{'" },
    { "[]", 0, "expected '{'" },
    { "{}}", 0, "malformed at byte 2 of 3: expected nothing more" },
    { "{} x", 0, "expected nothing more" },
    { "\v{}", 0, "expected '{'" },
    { "{'__metadata__':{},}", 0, "expected a string" },
    { "{,}", 0, "expected a string" },
    { "{a:1}", 0, "expected a string" },
    { "{'a'}", 0, "expected ':'" },
    { "{'a':1}", 0, "expected '{'" },
    { "{'a':{}", 0, "tensor 'a' has no dtype" },
    { "{'a':{'x':1", 0, "expected '}'" },
    { "{'a", 0, "a string without an end" },
    { "{'a\\", 0, "a string without an end" },
    { "{'a\\'", 0, "a string without an end" },
    { "{'a\n'", 0, "a control character" },
    { "{'a\\x'", 0, "an unknown escape" },
    { "{'a\\u12'", 0, "four hexadecimal digits" },
    { "{'a\\u12g4'", 0, "four hexadecimal digits" },
    { "{'a\\u123", 0, "four hexadecimal digits" },
    { "{'a\\u0000'", 0, "a zero character" },
    { "{'a\\ud800'", 0, "half of a surrogate pair" },
    { "{'a\\ud800\\n'", 0, "half of a surrogate pair" },
    { "{'a\\ud800\\ud800'", 0, "half of a surrogate pair" },
    { "{'a\\ud83d\\u0041'", 0, "half of a surrogate pair" },
    { "{'a\\udc00'", 0, "half of a surrogate pair" },
    { "{'\xc0\x80'", 0, "byte 2 of 5: this is not UTF-8" },
    { "{'\xed\xa0\x80'", 0, "not UTF-8" },
    { "{'\xf4\x90\x80\x80'", 0, "not UTF-8" },
    { "{'\xe2\x82'", 0, "not UTF-8" },
    /* Metadata. */
    { "{'__metadata__':[]}", 0, "expected '{'" },
    { "{'__metadata__':null}", 0, "expected '{'" },
    { "{'__metadata__':{'a':1}}", 0, "expected a string" },
    { "{'__metadata__':{'a':{'b':'c'}}}", 0, "expected a string" },
    { "{'__metadata__':{'a':['b']}}", 0, "expected a string" },
    { "{'__metadata__':{'a':null}}", 0, "expected a string" },
    { "{'__metadata__':{'a':'b',}}", 0, "expected a string" },
    { "{'__metadata__':{'a':'b'", 0, "expected '}'" },
    { "{'__metadata__':{},'__metadata__':{}}", 0, "two keys '__metadata__'" },
    { "{'__metadata__':{'a':'1','b':'2','\\u0061':'1'}}", 0, "metadata are 'a'" },
    /* Tensors. */
    { ONE("'dtype':'F32','shape':[]"), 4, "tensor 'a' has no data_offsets" },
    { ONE("'dtype':'F32','data_offsets':[0,4]"), 4, "tensor 'a' has no shape" },
    { ONE("'shape':[],'data_offsets':[0,4]"), 4, "tensor 'a' has no dtype" },
    { ONE("'dtype':'F32','dtype':'F32'"), 4, "tensor 'a' has two keys 'dtype'" },
    { ONE("'shape':[],'shape':[]"), 4, "tensor 'a' has two keys 'shape'" },
    { ONE("'dtype':'f32'"), 4, "tensor 'a' has the unknown dtype 'f32'" },
    { ONE("'dtype':'F32\\n'"), 4, "unknown dtype 'F32?'" },
    { ONE("'dtype':32"), 4, "expected a string" },
    { ONE("'shape':4"), 4, "expected '['" },
    { ONE("'shape':[1,]"), 4, "expected a whole number" },
    { ONE("'shape':[1"), 4, "expected ']'" },
    { ONE("'shape':[[1]]"), 4, "expected a whole number" },
    { ONE("'shape':['1']"), 4, "expected a whole number" },
    { ONE("'shape':[-1]"), 4, "a negative number" },
    { ONE("'shape':[-0]"), 4, "a negative number" },
    { ONE("'shape':[+1]"), 4, "expected a whole number" },
    { ONE("'shape':[1.0]"), 4, "a fraction or an exponent" },
    { ONE("'shape':[1e0]"), 4, "a fraction or an exponent" },
    { ONE("'shape':[1E2]"), 4, "a fraction or an exponent" },
    { ONE("'shape':[01]"), 4, "a leading zero" },
    { ONE("'shape':[00]"), 4, "a leading zero" },
    { ONE("'shape':[0x1]"), 4, "expected ']'" },
    { ONE("'shape':[1 2]"), 4, "expected ']'" },
    { ONE("'shape':[18446744073709551616]"), 4, "2^64 or more" },
    { ONE("'shape':[99999999999999999999999]"), 4, "2^64 or more" },
    { ONE("'data_offsets':[]"), 4, "expected a whole number" },
    { ONE("'data_offsets':[0]"), 4, "expected ','" },
    { ONE("'data_offsets':[0,4,8]"), 4, "expected ']'" },
    { ONE("'data_offsets':[4,0]"), 4, "tensor 'a' ends before it begins: data_offsets [4,0]" },
    { ONE("'data_offsets':[-4,0]"), 4, "a negative number" },
    { ONE("'x':01"), 4, "a leading zero" },
    { ONE("'x':-"), 4, "expected a digit" },
    { ONE("'x':1."), 4, "expected a digit" },
    { ONE("'x':1e+"), 4, "expected a digit" },
    { ONE("'x':nul"), 4, "expected a value" },
    { ONE("'x':[1}"), 4, "expected ']'" },
    { ONE("'x':[1,]"), 4, "expected a value" },
    { ONE("'x':{'y':1]"), 4, "expected '}'" },
    { ONE("'x':{'y':1,}"), 4, "expected a string" },
    /* Sizes and places. */
    { ONE("'dtype':'I32','shape':[2,2],'data_offsets':[0,4]"), 4,
      "tensor 'a' needs 16 bytes by its shape and dtype but its data_offsets give it 4" },
    { ONE("'dtype':'I32','shape':[],'data_offsets':[0,8]"), 8, "needs 4 bytes" },
    { ONE("'dtype':'I32','shape':[2,18446744073709551614],'data_offsets':[0,16]"), 16,
      "tensor 'a': its shape has more than 2^64 - 1 elements" },
    { ONE("'dtype':'I32','shape':[2,9223372036854775807],'data_offsets':[0,16]"), 16,
      "tensor 'a': its shape has more than 2^64 - 1 bits" },
    { ONE("'dtype':'F4','shape':[3],'data_offsets':[0,1]"), 1, "fill whole bytes" },
    { ONE("'dtype':'F6_E3M2','shape':[2],'data_offsets':[0,1]"), 1, "fill whole bytes" },
    { ONE("'dtype':'U8','shape':[4],'data_offsets':[1,5]"), 5,
      "tensor 'a' begins at byte 1 of the values and not at 0, their start" },
    { ONE("'dtype':'U8','shape':[4],'data_offsets':[0,4]"), 5, "should be 4 bytes but are 5" },
    { ONE("'dtype':'U8','shape':[4],'data_offsets':[0,4]"), 2, "should be 4 bytes but are 2" },
    { ONE("'dtype':'U8','shape':[18446744073709551615],'data_offsets':[0,1844674407370955161"
          "5]"), 2, "more than 2^64 - 1 bits" },
    { ONE("'dtype':'U8','shape':[2305843009213693951],'data_offsets':[0,2305843009213693951]"),
      2, "should be 2305843009213693951 bytes but are 2" },
    { "{}", 1, "should be 0 bytes but are 1" },
    { "{'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]},"
      "'b':{'dtype':'U8','shape':[2],'data_offsets':[1,3]}}", 3,
      "tensor 'b' begins at byte 1 of the values and not at 2, the end of the one before" },
    { "{'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]},"
      "'b':{'dtype':'U8','shape':[2],'data_offsets':[3,5]}}", 5, "3 of the values and not at 2" },
    { "{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},"
      "'a':{'dtype':'U8','shape':[1],'data_offsets':[1,2]}}", 2, "two tensors are called 'a'" },
    { "{'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},"
      "'b':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},"
      "'\\u0061':{'dtype':'U8','shape':[0],'data_offsets':[0,0]}}", 0, "called 'a'" },
};

TEST(malformed_headers_are_refused)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (CHECK(!open_st(&f, file_with(refused[i].text, refused[i].data)))) {
            one_line("read", "/file.safetensors'");
            if (!CHECK_HAS(why, refused[i].part))
                printf("  %s\n", refused[i].text);
        }
        CHECK(f.fd == -1 && !f.path && !f.n && !f.tensors);
        ur__st_close(&f);
    }
}

/* The length of the header against the file's. */
TEST(lengths_that_lie_are_refused)
{
    static const struct { const char *bytes; size_t n; const char *part; } table[] = {
        { "", 0, "it has 0 bytes" },
        { "\x08\0\0\0\0\0\0", 7, "it has 7 bytes" },
        { "\x3c\0\0\0\0\0\0\0", 8, "its header should be 60 bytes, but only 0 follow" },
        { "\x03\0\0\0\0\0\0\0{}", 10, "its header should be 3 bytes, but only 2 follow" },
        { "\xe8\x03\0\0\0\0\0\0{}", 10, "its header should be 1000 bytes, but only 2 follow" },
        { "\x3c\0\0\0\0\xff\xff\xff{}", 10, "would be 18446742974197923900 bytes" },
        { "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "would be 18446744073709551615 bytes" },
        { "\x01\xe1\xf5\x05\0\0\0\0{}", 10, "would be 100000001 bytes" },
        { "\0\xe1\xf5\x05\0\0\0\0{}", 10, "should be 100000000 bytes, but only 2 follow" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CHECK(!open_st(&f, file_of(table[i].bytes, table[i].n)));
        one_line("read", "/file.safetensors'");
        CHECK_HAS(why, table[i].part);
    }
}

TEST(nesting_is_bounded)
{
    for (int depth = 60; depth < 30000; depth = depth < 70 ? depth + 1 : depth * 3) {
        static char text[1 << 16];
        int n = sprintf(text, "{'a':{'dtype':'U8','shape':[],'data_offsets':[0,1],'x':");
        memset(text + n, '[', (size_t)depth);
        memset(text + n + depth, ']', (size_t)depth);
        strcpy(text + n + 2 * depth, "}}");
        bool ok = open_st(&f, file_with(text, 1));
        CHECK_INT(ok, depth <= 64);
        if (!ok)
            CHECK_HAS(why, "more than 64 values inside each other");
        ur__st_close(&f);
    }
}

TEST(what_is_no_file_is_refused)
{
    CHECK(mkfifo(in_folder("pipe"), 0600) == 0);
    char name[300];
    memset(name, 'x', sizeof name);
    name[299] = 0;
    const struct { const char *path, *part; } table[] = {
        { in_folder(""), "': it is a directory" },
        { in_folder("none"), "/none': there is no such file" },
        { in_folder("a\nb\x1b"), "/a?b?': there is no such file" },
        { "", "cannot read '': there is no such file" },
        { in_folder("pipe"), "/pipe': it is no regular file" },
        { "/dev/null", "'/dev/null': it is no regular file" },
        { name, "xx': File name too long" },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CHECK(!open_st(&f, table[i].path));
        one_line("read", "");
        CHECK_HAS(why, table[i].part);
    }
    char small[20] = "";
    CHECK(!ur__st_open(&f, in_folder("none"), small, sizeof small));
    CHECK_STR(small, "cannot read '/tmp/u");
    CHECK(!ur__st_open(&f, in_folder("none"), NULL, 0));
}

/* Names of any length and content leave the message one line of sane length. */
TEST(messages_are_short)
{
    static char text[1 << 15];
    int n = sprintf(text, "{'\\n");
    for (int i = 0; i < 10000; i++)
        n += sprintf(text + n, "é");
    strcpy(text + n, "':{}}");
    CHECK(!open_st(&f, file_with(text, 0)));
    one_line("read", "/file.safetensors'");
    CHECK(strlen(why) < 200);
    CHECK_HAS(why, "tensor '?éé");
    CHECK_HAS(why, "éé...' has no dtype");
}

TEST_MAIN(T(golden_empty), T(golden_tensor), T(accepted), T(tensors_come_sorted_with_their_places),
          T(strings_are_decoded), T(real_file), T(malformed_headers_are_refused),
          T(lengths_that_lie_are_refused), T(nesting_is_bounded), T(what_is_no_file_is_refused),
          T(messages_are_short))
