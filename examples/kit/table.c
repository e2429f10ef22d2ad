/* table.c: files of two columns: words and their tags, sentences and their translations. */
#include "examples/kit/corpus.h"

#include <stdlib.h>
#include <string.h>

static void add(kit_table *t, const char *left, const char *right)
{
    t->rows = kit_grow(t->rows, (size_t)t->n, sizeof *t->rows);
    t->rows[t->n++] = (kit_row){ left, right };
}

void kit_read_table(kit_table *t, const char *folder, const char *name, char *made_up, bool gaps,
                    const char *wanted)
{
    char *path = folder ? kit_path_in(folder, name) : NULL;
    int number = 0;
    size_t n;
    t->text = made_up;
    if (path && !kit_read_file(path, &t->text, &n))
        exit(2);
    kit_print_of(t->print, t->text, strlen(t->text));
    for (char *rest = t->text, *line; (line = kit_next_line(&rest)) != NULL;) {
        char *tab = strchr(line, '\t');
        number++;
        if (gaps && !*line) {
            add(t, NULL, NULL);
            continue;
        }
        if (!tab || tab == line || !tab[1])
            kit_die("'%s' line %d: %s are wanted", path ? path : name, number, wanted);
        *tab = 0;
        add(t, line, tab + 1);
        t->filled++;
    }
    if (gaps)
        add(t, NULL, NULL);
    if (t->filled == 0)
        kit_die("'%s' has no lines of %s", path ? path : name, wanted);
    free(path);
}

void kit_table_free(kit_table *t)
{
    free(t->rows);
    free(t->text);
}

static int by_left(const void *a, const void *b)
{
    const kit_row *p = a, *q = b;
    int order = strcmp(p->left, q->left);
    return order ? order : (p->left > q->left) - (p->left < q->left); /* places in the text */
}

int *kit_group_rows(kit_table *t, int *n)
{
    int *first = kit_zeros((size_t)t->n + 1, sizeof *first);
    qsort(t->rows, (size_t)t->n, sizeof *t->rows, by_left);
    *n = 0;
    for (int i = 0; i < t->n; i++)
        if (i == 0 || strcmp(t->rows[i].left, t->rows[i - 1].left) != 0)
            first[(*n)++] = i;
    first[*n] = t->n;
    return first;
}
