/* languages.c: small made-up languages, for programs without data: each has what its program is to
 * find out. What is drawn must not depend on the order in which a compiler evaluates arguments. */
#include "examples/kit/corpus.h"

#include <string.h>

char *kit_made_up_sentences(int n, uint64_t seed)
{
    static const char *const noun[2][4] = { { "cat", "dog", "mouse", "bird" },
                                            { "cats", "dogs", "mice", "birds" } };
    static const char *const verb[2][3] = { { "sees", "likes", "hunts" },
                                            { "see", "like", "hunt" } };
    static const char *const which[] = { "", "old ", "small ", "quick " };
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    for (int k = 0; k < n; k++) {
        int many = kit_below(&seed, 2), more = kit_below(&seed, 2);
        const char *one = noun[many][kit_below(&seed, 4)];
        fprintf(f, "the %s%s ", which[kit_below(&seed, 4)], one);
        if (kit_below(&seed, 3) == 0)
            fprintf(f, "near the %s ", noun[1 - many][kit_below(&seed, 4)]);
        const char *other = noun[more][kit_below(&seed, 4)];
        fprintf(f, "%s %s %s .\n", verb[many][kit_below(&seed, 3)], more ? "many" : "a", other);
    }
    return kit_memory_close(&m);
}

char *kit_made_up_opinions(int label, int n, uint64_t seed)
{
    static const char *const what[] = { "the film", "the story", "it", "the acting", "the end" };
    static const char *const word[2][3] = { { "bad", "dull", "weak" }, { "good", "fine", "fun" } };
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    for (int i = 0; i < n; i++) {
        bool turned = kit_below(&seed, 4) == 0;
        const char *end = kit_below(&seed, 2) ? " to the end" : "";
        const char *is = word[label != turned][kit_below(&seed, 3)];
        fprintf(f, "%s is %s%s%s .\n", what[kit_below(&seed, 5)], turned ? "not " : "", is, end);
    }
    return kit_memory_close(&m);
}

char *kit_made_up_tags(int n, uint64_t seed)
{
    static const char *const pattern[] = { "DNVR.", "PVDN.", "DJNV.", "PVPR." };
    static const char *const part[] = { "ba", "do", "ki", "lu", "mo", "ne", "ra", "su", "ti" };
    static const char kinds[] = "D.PNVJR";
    static const char *const ending[] = { "the", ".", "", "ness", "ed", "ous", "ly" };
    static const char *const tag[] = { "DET", "PUNCT", "PROPN", "NOUN", "VERB", "ADJ", "ADV" };
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    for (int i = 0; i < n; i++) {
        for (const char *c = pattern[kit_below(&seed, 4)]; *c; c++) {
            char stem[8] = "";
            for (int k = 0; k < 3 && *c != 'D' && *c != '.'; k++)
                strcat(stem, part[kit_below(&seed, 9)]);
            if (*c == 'P')
                *stem = (char)(*stem - 'a' + 'A');
            long kind = strchr(kinds, *c) - kinds;
            fprintf(f, "%s%s\t%s\n", stem, ending[kind], tag[kind]);
        }
        fputc('\n', f);
    }
    return kit_memory_close(&m);
}

/* "the big cats" and "les chats grands": whether there are several. */
static bool make_phrase(uint64_t *random, char english[64], char french[64])
{
    static const char *const noun[2][4][2] = {
        { { "cat", "chat" }, { "dog", "chien" }, { "boy", "garçon" }, { "book", "livre" } },
        { { "car", "voiture" }, { "girl", "fille" }, { "table", "table" }, { "flower", "fleur" } },
    };
    static const char *const adjective[5][2] = { { "", "" }, { " black", " noir" },
        { " big", " grand" }, { " small", " petit" }, { " green", " vert" } };
    const bool she = kit_below(random, 2), many = kit_below(random, 2);
    const char *const *n = noun[she][kit_below(random, 4)], *s = many ? "s" : "";
    const char *const *a = adjective[kit_below(random, 5)];
    snprintf(english, 64, "the%s %s%s", a[0], n[0], s);
    snprintf(french, 64, "%s %s%s%s%s%s", many ? "les" : she ? "la" : "le", n[1], s, a[1],
             *a[1] && she ? "e" : "", *a[1] ? s : "");
    return many;
}

char *kit_made_up_pairs(int n, uint64_t seed)
{
    static const char *const verb[3][3] = { { "see", "voit", "voient" },
        { "find", "trouve", "trouvent" }, { "want", "veut", "veulent" } };
    char english[2][64], french[2][64];
    kit_memory m;
    FILE *f = kit_memory_open(&m);
    for (int i = 0; i < n; i++) {
        const char *const *v = verb[kit_below(&seed, 3)];
        bool many = make_phrase(&seed, english[0], french[0]);
        make_phrase(&seed, english[1], french[1]);
        fprintf(f, "%s %s%s %s.\t%s %s %s.\n", english[0], v[0], many ? "" : "s", english[1],
                french[0], v[1 + many], french[1]);
    }
    return kit_memory_close(&m);
}
