/* The examples kit: tables, data sets made of them, sentences as text, streams. */
#include "examples/kit/corpus.h"

#include "tests/child.h"
#include "tests/test.h"

/* ---- Tables ---- */

static kit_table table;
static const char *text;
static bool gaps;

/* A copy for a table to own. */
static char *made_up(void)
{
    return strdup(text);
}

static void read_table(void)
{
    table = (kit_table){ 0 };
    kit_read_table(&table, NULL, "words.tsv", made_up(), gaps, "a word, a tab and a tag");
}

TEST(tables_have_two_columns)
{
    text = "a\tb\r\n\nc d\te\tf", gaps = true;
    read_table();
    REQUIRE(CHECK_INT(table.n, 4));
    CHECK_INT(table.filled, 2);
    CHECK_STR(table.rows[0].left, "a");
    CHECK_STR(table.rows[0].right, "b");
    CHECK(!table.rows[1].left && !table.rows[1].right);
    CHECK_STR(table.rows[2].left, "c d");
    CHECK_STR(table.rows[2].right, "e\tf");
    CHECK(!table.rows[3].left);
    CHECK_HAS(table.print, "13 bytes, ");
    kit_table_free(&table);
    text = "a\tb\n", gaps = false;
    read_table();
    CHECK_INT(table.n, 1);
    kit_table_free(&table);
    fill(in_folder("file.tsv"), "x\ty\n");
    table = (kit_table){ 0 };
    kit_read_table(&table, child_folder, "file.tsv", NULL, false, "two words");
    CHECK_INT(table.n, 1);
    CHECK_STR(table.rows[0].right, "y");
    kit_table_free(&table);
}

TEST(wrong_lines_are_named)
{
    static const struct { bool gaps; const char *text, *error; } wrong[] = {
        { true, "a\tb\nc\n", "'words.tsv' line 2: a word, a tab and a tag are wanted\n" },
        { true, "\tb\n", "line 1: " }, { true, "\n\na\t\n", "line 3: " },
        { false, "a\tb\n\n", "line 2: " },
        { true, "\n\n", "'words.tsv' has no lines of a word, a tab and a tag\n" },
    };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        text = wrong[k].text, gaps = wrong[k].gaps;
        run_child(read_table);
        CHECK_INT(child.status, 2);
        CHECK_INT(count(child.err, "\n"), 1);
        CHECK_HAS(child.err, wrong[k].error);
    }
}

TEST(rows_of_one_left_text_are_a_group)
{
    text = "b\t1\na\t2\nb\t3\nc\t4\na\t5\n", gaps = false;
    read_table();
    static const char order[] = "25134";
    int n, *first = kit_group_rows(&table, &n);
    REQUIRE(CHECK_INT(n, 3));
    CHECK(first[0] == 0 && first[1] == 2 && first[2] == 4 && first[3] == 5);
    for (int i = 0; i < 5; i++)
        CHECK_INT(*table.rows[i].right, order[i]);
    free(first);
    kit_table_free(&table);
}

/* ---- Data sets ---- */

static void tag(void)
{
    ur_params *ps = ur_params_new(UR_F32, 0);
    kit_row rows[] = { { "the", "D" }, { "dog", "N" }, { NULL, NULL }, { NULL, NULL },
                       { "cat", text }, { NULL, NULL } };
    const kit_table t = { .rows = rows, .n = 6 }, known = { .rows = rows, .n = 2 };
    ur_vocab *words = kit_vocab(ps, &known, KIT_LEFT, UR_SPACED, UR_WITH_UNK, 1);
    ur_vocab *tags = kit_vocab(ps, &known, KIT_RIGHT, UR_SPACED, 0, 1);
    ur_batches *all = ur_batches_new(kit_tagged(ps, &t, words, tags),
                                     &(ur_batch_options){ .rows = 1, .in_order = true });
    for (ur_batch b; ur_next_batch(all, &b);)
        for (int i = 0; i < b.T; i++)
            printf("%s/%s%c", ur_vocab_symbol(words, b.x[i]).text,
                   ur_vocab_symbol(tags, b.y[i]).text, i + 1 < b.T ? ' ' : '\n');
    kit_need(ps);
    ur_params_free(ps);
}

TEST(sentences_end_at_gaps)
{
    text = "N";
    run_child(tag);
    CHECK_STR(child.out, "the/D dog/N\n<unk>/N\n");
    text = "X";
    run_child(tag);
    CHECK_INT(child.status, 2);
    CHECK_HAS(child.err, "the label 'X' of 'cat' does not occur in the training data");
}

static void pair(void)
{
    ur_params *ps = ur_params_new(UR_F32, 0);
    kit_row rows[] = { { "the man", "l'homme" }, { text, NULL } };
    const kit_table t = { .rows = rows, .n = 1 };
    ur_vocab *left = kit_vocab(ps, &t, KIT_LEFT, UR_WORDS, UR_WITH_UNK, 1);
    ur_vocab *right = kit_vocab(ps, &t, KIT_RIGHT, UR_ELIDED, UR_WITH_SOS | UR_WITH_EOS, 1);
    ur_dataset *d = kit_parallel(ps, rows, 2, (kit_language){ left, UR_WORDS },
                                 (kit_language){ right, UR_ELIDED });
    ur_batches *all = ur_batches_new(d, &(ur_batch_options){ .rows = 1, .in_order = true });
    for (ur_batch b; ur_next_batch(all, &b);)
        printf("%s -> %s\n", kit_words_of(ps, left, b.x, b.T), kit_words_of(ps, right, b.y, b.U));
    kit_need(ps);
    ur_params_free(ps);
}

TEST(translations_stand_between_start_and_end)
{
    text = "the woman, the man";
    run_child(pair);
    CHECK_STR(child.out, "the man -> <sos> l' homme <eos>\nthe <unk> <unk> the man -> \n");
    text = " ";
    run_child(pair);
    CHECK_INT(child.status, 2);
    CHECK_HAS(child.err, "a sentence has no words: ' '");
}

TEST(translations_are_compared_with_all_of_theirs)
{
    text = "a b c d\tu v w x.\na b c d\tu v w y.\ne\tz!\n", gaps = false;
    read_table();
    int n, *first = kit_group_rows(&table, &n);
    static const char *const right[] = { "u v w y .", "z !" }, *const wrong[] = { "u", "x" };
    CHECK_NEAR(kit_bleu_of(&table, first, n, UR_WORDS, right, in_folder("out.tsv")), 100, 1e-9);
    CHECK_STR(content(in_folder("out.tsv")),
              "a b c d\tu v w y .\tu v w x .\tu v w y .\ne\tz !\tz !\n");
    CHECK(kit_bleu_of(&table, first, n, UR_WORDS, wrong, NULL) < 10);
    free(first);
    kit_table_free(&table);
}

/* ---- Streams ---- */

/* A model that remembers: its logits are the sum of what it has read. */
static ur_node logits(void *ctx, ur_node ids, ur_node s[])
{
    const ur_cell *cell = ctx;
    return ur_unroll(cell, ur_one_hot(ids, 3), s);
}

static ur_node sum_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    (void)cell;
    return s[0] = ur_add(s[0], x);
}

TEST(a_stream_is_read_once_whatever_its_pieces)
{
    static const int32_t ids[] = { 0, 1, 2, 2, 0, 1, 1, 1, 0, 2, 0 };
    enum { N = sizeof ids / sizeof *ids };
    ur_params *ps = ur_params_new(UR_F64, 1);
    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_cell *cell = ur_cell_new(ps, "sum", sizeof *cell, sum_step, 3, 3, 1, (int[]){ 3 });
    ur_params *states = ur_cell_states(cell, 1);
    double z[3] = { 0 }, expected = 0, mean;
    for (int i = 0; i + 1 < N; i++) {
        z[ids[i]]++;
        expected += log(exp(z[0]) + exp(z[1]) + exp(z[2])) - z[ids[i + 1]];
    }
    for (int piece = 1; piece <= N; piece++) {
        CHECK(kit_stream_loss(g, states, logits, cell, ids, N, piece, &mean));
        CHECK_NEAR(mean, expected / (N - 1), 1e-12);
    }
    kit_interrupted = 1;
    CHECK(!kit_stream_loss(g, states, logits, cell, ids, N, 3, &mean));
    kit_interrupted = 0;
    ur_graph_free(g);
    ur_params_free(states);
    ur_params_free(ps);
}

/* ---- Lists of numbers, made-up languages ---- */

static void list(void)
{
    int out[4], n = kit_ascending("buckets", text, out, 4);
    for (int i = 0; i < n; i++)
        printf("%d ", out[i]);
}

TEST(numbers_ascend)
{
    static const char *const wrong[] = { ",", "3,2", "3,3", "0,1", "1,2,3,4,5", "a", "1;2", "1,,2",
                                         "1000001" };
    text = "1,20,300";
    run_child(list);
    CHECK_STR(child.out, "1 20 300 ");
    text = "";
    run_child(list);
    CHECK_STR(child.out, "");
    CHECK_INT(child.status, 0);
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        text = wrong[k];
        run_child(list);
        if (!CHECK_INT(child.status, 2))
            printf("  that is '%s'\n", text);
    }
}

/* The same on every machine and with every compiler. */
TEST(made_up_languages_are_drawn_by_the_seed)
{
    char *made[] = { kit_made_up_sentences(2, 1), kit_made_up_opinions(1, 2, 1),
                     kit_made_up_tags(1, 1), kit_made_up_pairs(1, 1) };
    static const char *const is[] = {
        "the old birds hunt many birds .\nthe old birds like a dog .\n",
        "it is fun to the end .\nit is fun to the end .\n",
        "the\tDET\nratiluous\tADJ\nlurasuness\tNOUN\nmokisued\tVERB\n.\tPUNCT\n\n",
        "the big girls find the black tables.\tles filles grandes trouvent les tables noires.\n",
    };
    for (int k = 0; k < 4; k++) {
        CHECK_STR(made[k], is[k]);
        free(made[k]);
    }
}

TEST_MAIN(T(tables_have_two_columns), T(wrong_lines_are_named),
          T(rows_of_one_left_text_are_a_group), T(sentences_end_at_gaps),
          T(translations_stand_between_start_and_end),
          T(translations_are_compared_with_all_of_theirs),
          T(a_stream_is_read_once_whatever_its_pieces), T(numbers_ascend),
          T(made_up_languages_are_drawn_by_the_seed))
