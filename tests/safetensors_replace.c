/* A safetensors file that takes the place of another: at every moment, and whatever goes wrong, the
 * old one or the new one is there as a whole. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "tests/st_files.h"

static ur__st_file f;

static const float numbers[] = { 0, 1, 2 };
static const ur__st_out three = { "x", UR__ST_F32, 1, { 3 }, numbers };

TEST(targets_that_cannot_be_written)
{
    CHECK(symlink("round", in_folder("round")) == 0);
    CHECK(mkfifo(in_folder("pipe"), 0600) == 0);
    fill(in_folder("file"), "x");
    const struct { const char *path, *part; } table[] = {
        { "", "cannot write '': the file name is empty" },
        { in_folder(""), "it is a directory" },
        { in_folder("none/x"), "/none/x': its folder does not exist" },
        { in_folder("file/x"), "Not a directory" },
        { in_folder("round"), "Too many levels of symbolic links" },
        { in_folder("pipe"), "it is no regular file" },
        { "/dev/full", "'/dev/full': it is no regular file" },
        { "/proc/x.safetensors", "cannot write '/proc/x.safetensors': " },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        CHECK(!write_st(table[i].path, &three, 1, NULL, 0));
        one_line("write", "");
        CHECK_HAS(why, table[i].part);
    }
    CHECK_STR(content(in_folder("file")), "x");
    CHECK_INT(count_names(".tmp"), 0);
}

static char target[128];
static unsigned char large[100000];
static const ur__st_out large_one = { "large", UR__ST_U8, 1, { sizeof large }, large };

static const ur__st_out small_one = { "small", UR__ST_U8, 1, { 1000 }, large };
static const ur__st_out *one = &large_one;
static rlim_t most = 50000;

static void write_and_report(void)
{
    bool ok = write_st(target, one, 1, NULL, 0);
    fprintf(stderr, "%s\n", ok ? "written" : why);
    exit(ok ? 0 : 2);
}

static void limited(void)
{
    struct rlimit limit = { most, most };
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);    /* as good as a full disk */
    write_and_report();
}

static void killed(void)
{
    struct rlimit limit = { most, most }, no_core = { 0, 0 };
    signal(SIGXFSZ, SIG_DFL);
    setrlimit(RLIMIT_CORE, &no_core);
    setrlimit(RLIMIT_FSIZE, &limit);
    write_and_report();
}

TEST(a_full_disk_leaves_the_old_file)
{
    snprintf(target, sizeof target, "%s", in_folder("old"));
    fill(target, "precious");
    for (int last = 0; last < 2; last++) {   /* in the midst of it, and in the last bytes */
        one = last ? &small_one : &large_one;
        most = last ? 500 : 50000;
        run_child(limited);
        CHECK_INT(child.status, 2);
        CHECK_HAS(child.err, "cannot write '");
        CHECK_HAS(child.err, "/old': File too large");
        CHECK_INT(count(child.err, "\n"), 1);
        CHECK_STR(content(target), "precious");
        CHECK_INT(count_names("old."), 0);
    }
    one = &large_one;
    most = 50000;
}

TEST(being_killed_leaves_the_old_file)
{
    snprintf(target, sizeof target, "%s", in_folder("killed"));
    fill(target, "precious");
    run_child(killed);
    CHECK_INT(child.killed_by, SIGXFSZ);
    CHECK_STR(content(target), "precious");
    CHECK_INT(count_names("killed."), 1);   /* what could not be removed any more */
    run_child(write_and_report);
    CHECK_INT(child.status, 0);
    CHECK(open_st(&f, target));
    CHECK(ur__st_find(&f, "large") != NULL);
    ur__st_close(&f);
}

static void as_nobody(void)
{
    if (geteuid() == 0 && setuid(65534) != 0)   /* root may write everywhere */
        exit(3);
    write_and_report();
}

TEST(rights_are_respected)
{
    struct stat st;
    chmod(in_folder(""), 0755);
    CHECK(mkdir(in_folder("locked"), 0755) == 0);
    snprintf(target, sizeof target, "%s", in_folder("locked/old"));
    fill(target, "precious");
    chmod(target, 0666);
    chmod(in_folder("locked"), 0555);       /* the folder forbids it, then the file */
    for (int file = 0; file < 2; file++) {
        run_child(as_nobody);
        CHECK_INT(child.status, 2);
        CHECK_HAS(child.err, "/locked/old': Permission denied\n");
        CHECK_STR(content(target), "precious");
        chmod(in_folder("locked"), 0777);
        chmod(target, 0444);
    }
    chmod(target, 0640);
    CHECK(write_st(target, &three, 1, NULL, 0));
    CHECK(stat(target, &st) == 0 && (st.st_mode & 0777) == 0640);
    mode_t mask = umask(027);
    CHECK(write_st(in_folder("new"), &three, 1, NULL, 0));
    umask(mask);
    CHECK(stat(in_folder("new"), &st) == 0 && (st.st_mode & 0777) == 0640);
}

TEST(links_are_followed)
{
    struct stat st;
    CHECK(mkdir(in_folder("deep"), 0700) == 0);
    CHECK(symlink("deep/link", in_folder("link")) == 0);
    CHECK(symlink("../end", in_folder("deep/link")) == 0);
    for (int round = 0; round < 2; round++) {   /* to nothing, then to a file */
        CHECK(write_st(in_folder("link"), &three, 1, NULL, 0));
        CHECK(open_st(&f, in_folder("end")));
        ur__st_close(&f);
    }
    CHECK(lstat(in_folder("link"), &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(lstat(in_folder("deep/link"), &st) == 0 && S_ISLNK(st.st_mode));
}

/* Who has the old file open goes on with the old file. */
TEST(readers_are_not_disturbed)
{
    const char *path = in_folder("shared");
    float x[3];
    CHECK(write_st(path, &three, 1, NULL, 0));
    REQUIRE(open_st(&f, path));
    CHECK(write_st(path, &large_one, 1, NULL, 0));
    REQUIRE(ur__st_read(&f, f.tensors, UR__ST_F32, x, 3, why, sizeof why));
    CHECK_MEM(x, numbers, sizeof x);
    ur__st_close(&f);
    CHECK(open_st(&f, path) && ur__st_find(&f, "large"));
    ur__st_close(&f);
}

/* Names as long as a folder allows, names without a folder, and temporary names that are taken. */
TEST(names_of_files)
{
    char name[256], taken[128];
    memset(name, 'n', 255);
    name[255] = 0;
    REQUIRE(*in_folder("") && chdir(in_folder("")) == 0);
    CHECK(write_st(name, &three, 1, NULL, 0));
    CHECK(open_st(&f, name));
    ur__st_close(&f);
    for (int i = 0; i < 3; i++) {
        snprintf(taken, sizeof taken, "taken.%ld-%d.tmp", (long)getpid(), i);
        fill(taken, "other");
    }
    CHECK(write_st("taken", &three, 1, NULL, 0));
    for (int i = 0; i < 3; i++) {
        snprintf(taken, sizeof taken, "taken.%ld-%d.tmp", (long)getpid(), i);
        CHECK_STR(content(taken), "other");
    }
    CHECK_INT(count_names("taken"), 4);
    CHECK(chdir("/") == 0);
}

TEST(out_of_memory)
{
    const char *path = in_folder("memory");
    fill(path, "precious");
    ur__st_out t[2] = { three, large_one };
    bool ok = false;
    for (long k = 0; !ok && k < 100; k++) {
        heap.left = k;
        heap.held = 0;
        ur_set_allocator(counting, NULL);
        ok = write_st(path, t, 2, &(ur__st_pair){ "k", "v" }, 1);
        CHECK_INT(heap.held, 0);
        ur_set_allocator(NULL, NULL);
        CHECK(ok ? k >= 4 : k < 30);
        if (!ok) {
            one_line("write", "/memory'");
            CHECK_HAS(why, "out of memory");
            CHECK_STR(content(path), "precious");
        }
    }
    CHECK(ok);
}

TEST_MAIN(T(targets_that_cannot_be_written), T(a_full_disk_leaves_the_old_file),
          T(being_killed_leaves_the_old_file), T(rights_are_respected), T(links_are_followed),
          T(readers_are_not_disturbed), T(names_of_files), T(out_of_memory))
