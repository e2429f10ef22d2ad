/* examples/charlm is given odd texts, and bad input of every kind. */
#include "tests/charlm.h"

/* ---- Odd texts ---- */

TEST(any_bytes_are_text)
{
    const char *text = keep("bytes"), *run = keep("run.st");
    static unsigned char bytes[4096];
    char value[KIT_VOCABULARY_TEXT], why[256];
    for (int i = 0; i < 4096; i++)
        bytes[i] = (unsigned char)(i * 7);
    fill_bytes(text, bytes, sizeof bytes);
    CHARLM("--data %s %s --epochs 1 --save %s --sample 20", text, tiny, run);
    CHECK(ur_load_metadata(run, "vocabulary", value, sizeof value, why, sizeof why));
    CHECK(strncmp(value, "\\00\\01\\02", 9) == 0);
    CHECK_HAS(value, "\\20!\"#$%&'()*");
    CHECK_HAS(value, "Z[\\5c]^_");
    CHARLM("--load %s --sample 100", run);
    memset(bytes, 'a', sizeof bytes);
    fill_bytes(text, bytes, sizeof bytes);
    CHARLM("--data %s %s --epochs 1 --save %s", text, tiny, run);
    CHARLM("--load %s --sample 7", run);
    CHECK_STR(child.out, "aaaaaaa");
}

TEST(shortest_texts)
{
    const char *text = keep("short");
    fill(text, "abcabcabcab");
    CHARLM("--data %s --hidden 3 --embed 2 --batch 1 --steps 1 --updates 3", text);
    CHARLM("--data %s --hidden 3 --embed 2 --batch 3 --steps 2 --epochs 2", text);
    CHARLM("--data %s --hidden 3 --embed 2 --batch 2 --steps 4 --epochs 2", text);
    fill(text, "abcabcabca");
    CHECK_INT(charlm("--data %s --hidden 3 --batch 1 --steps 1 --updates 3", text), 2);
    CHECK_HAS(child.err, "has 10 bytes, but one update with --batch 1 and --steps 1 takes 11\n");
    CHECK_INT(charlm("--data %s --hidden 3 --batch 2 --steps 5 --updates 3", text), 2);
    CHECK_HAS(child.err, "takes 13\n");
    fill(text, "abcabcabcabc");
    CHECK_INT(charlm("--data %s --hidden 3 --batch 2 --steps 5 --updates 3", text), 2);
    fill(text, "abcabcabcabca");
    CHARLM("--data %s --hidden 3 --embed 2 --batch 2 --steps 5 --updates 3", text);
}

/* ---- Bad input ---- */

typedef struct {
    const char *arguments, *says; /* @ stands for the folder */
} refusal;

static const refusal refusals[] = {
    { "", "--data FILE is needed" },
    { "--data @/none", "cannot read '@/none': there is no such file" },
    { "--data @/empty", "cannot read '@/empty': the file is empty" },
    { "--data @", "cannot read '@': it is a directory" },
    { "--data @/short", "has 12 bytes, but one update with --batch 64 and --steps 64 takes 4553" },
    { "--data @/book --save @/no/run.st", "cannot write '@/no/run.st': its folder does not exist" },
    { "--data @/book --save @", "cannot write '@': it is a directory" },
    { "--data @/book --plot @/no/x.svg", "cannot write '@/no/x.svg'" },
    { "--data @/book --batch 2 --steps 2 --log @/no/log", "cannot write the log '@/no/log'" },
    { "--data @/book --hidden 0", "--hidden: 0 must be" },
    { "--data @/book --hidden many", "--hidden: 'many' is not a whole number" },
    { "--data @/book --hidden 1e3", "--hidden: '1e3' is not a whole number" },
    { "--data @/book --lr 0", "--lr: 0 must be above 0" },
    { "--data @/book --lr nan", "--lr: 'nan' is not a number" },
    { "--data @/book --dropout 1", "--dropout: 1 must be" },
    { "--data @/book --clip -1", "--clip: -1 must be" },
    { "--data @/book --batch 99999999999", "--batch: 99999999999 must be" },
    { "--data @/book --seed -1", "--seed: -1 must be" },
    { "--data @/book --temperature -1", "--temperature: -1 must be" },
    { "--data @/book --top-p 0", "--top-p: 0 must be" },
    { "--data @/book --cell lsmt", "--cell: 'lsmt' is not one of elman, lstm" },
    { "--data @/book --optim adm", "--optim: 'adm' is not one of sgd, momentum" },
    { "--data @/book --epochs 1 --updates 1", "--epochs and --updates both" },
    { "--data @/book --hiden 3", "unknown option --hiden; did you mean --hidden?" },
    { "--data @/book extra", "'extra' is not an option" },
    { "--data @/book --save @/book", "'@/book' is given twice" },
    { "--data @/book --log @/link", "is given twice" },
    { "--data @/book --plot @/x.svg --log @/x.svg", "'@/x.svg' is given twice" },
    { "--data @/book --resume @/run.st --log @/run.st", "'@/run.st' is given twice" },
    { "--data @/book --batch 2 --steps 2 --prime A", "--prime: byte 65 ('A') does not occur" },
    { "--data @/book --resume @/none.st", "@/none.st" },
    { "--data @/book --resume @/book", "@/book" },
    { "--data @/book --resume @/run.st --hidden 13", "--hidden cannot change" },
    { "--data @/book --resume @/run.st --steps 9", "--steps cannot change" },
    { "--data @/book --resume @/run.st --optim sgd", "--optim cannot change" },
    { "--data @/book --resume @/run.st --cell all", "--resume takes up one run" },
    { "--data @/other --resume @/run.st", "it was trained with another text" },
    { "--load @/run.st", "--load needs --sample" },
    { "--load @/run.st --sample 5 --data @/book", "--load trains nothing" },
    { "--load @/run.st --sample 5 --hidden 13", "--hidden cannot change" },
    { "--load @/run.st --sample 5 --prime A", "--prime: byte 65 ('A') does not occur" },
    { "--load @/none.st --sample 5", "@/none.st" },
    { "--load @/book --sample 5", "@/book" },
    { "--load @/cut.st --sample 5", "@/cut.st" },
};

/* Copies text with each @ replaced by the test's folder. */
static const char *placed(const char *text, char *out, size_t size)
{
    size_t n = 0;
    for (; *text && n + 1 < size; text++)
        n += *text == '@' ? (size_t)snprintf(out + n, size - n, "%s", child_folder)
                          : (out[n] = *text, 1u);
    out[n < size ? n : size - 1] = 0;
    return out;
}

TEST(bad_input_is_one_clear_line)
{
    char *saved = NULL, *later = NULL;
    size_t n_saved = 0, n_later = 0;
    fill(in_folder("empty"), "");
    fill(in_folder("short"), "too short :)");
    book("book", 6000);
    book("other", 6000);
    CHECK_INT(symlink("book", in_folder("link")), 0);
    const char *run = keep("run.st"), *text = keep("book");
    CHARLM("--data %s %s --updates 3 --save %s", text, tiny, run);
    REQUIRE(kit_read_file(run, &saved, &n_saved));
    fill_bytes(in_folder("cut.st"), saved, n_saved - 5);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char arguments[1024], says[1024];
        placed(refusals[i].arguments, arguments, sizeof arguments);
        placed(refusals[i].says, says, sizeof says);
        bool ok = CHECK_INT(charlm("%s", arguments), 2);
        ok = CHECK_HAS(child.err, says) && ok;
        ok = CHECK(strncmp(child.err, "charlm: ", 8) == 0) && ok;
        ok = CHECK_INT(count(child.err, "\n"), 1) && ok;
        ok = CHECK_STR(child.out, "") && ok;
        if (!ok)
            printf("  that was charlm %s\n", arguments);
    }
    /* None of them has damaged what was saved, nor the text. */
    REQUIRE(kit_read_file(run, &later, &n_later));
    if (CHECK_INT(n_later, n_saved))
        CHECK_MEM(later, saved, n_saved);
    CHECK_INT(strlen(content(text)), 6000);
    free(saved);
    free(later);
}

TEST(diverging_run_ends_and_keeps_what_was_saved)
{
    const char *text = keep("book"), *run = keep("run.st");
    char value[64], why[256];
    book("book", 1200);
    CHARLM("--data %s %s --optim adamw --updates 5 --save %s", text, tiny, run);
    CHECK_INT(charlm("--data %s --resume %s --save %s --lr 1e30 --clip 0 --epochs 9", text, run,
                     run), 2);
    CHECK_HAS(child.err, "is not finite: a smaller learning rate");
    CHECK(ur_load_metadata(run, "at.update", value, sizeof value, why, sizeof why));
    CHECK_STR(value, "5");
}

/* The main job of examples/run is too long for a test; that charlm knows its options is not. */
TEST(main_job_is_understood)
{
    static char script[8192];
    int options = 0;
    snprintf(script, sizeof script, "%.8000s", content(TEST_ROOT "/examples/run"));
    char *call = strstr(script, "build/examples/charlm\" ");
    REQUIRE(call != NULL);
    charlm("--help");
    char *end = strstr(call, "|| exit");
    REQUIRE(end != NULL);
    *end = 0;
    for (char *w = strtok(call, " \n\\\""); w; w = strtok(NULL, " \n\\\"")) {
        char option[64];
        if (strncmp(w, "--", 2) != 0)
            continue;
        snprintf(option, sizeof option, "\n  %.40s ", w);
        CHECK_HAS(child.out, option);
        options++;
    }
    CHECK(options >= 15);
}

TEST_MAIN(T(any_bytes_are_text), T(shortest_texts), T(bad_input_is_one_clear_line),
          T(diverging_run_ends_and_keeps_what_was_saved), T(main_job_is_understood))
