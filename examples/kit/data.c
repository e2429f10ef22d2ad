/* data.c: arrays that grow, and files of lines. */
#include "examples/kit/kit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void *kit_zeros(size_t n, size_t size)
{
    void *p = calloc(n > 0 ? n : 1, size);
    if (!p)
        kit_die("out of memory");
    return p;
}

void *kit_grow(void *array, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return array;
    size_t room = n > 0 ? 2 * n : 1;
    void *p = room <= SIZE_MAX / size ? realloc(array, room * size) : NULL;
    if (!p)
        kit_die("out of memory");
    return p;
}

char *kit_next_line(char **rest)
{
    char *line = *rest, *end = strchr(line, '\n');
    if (!*line)
        return NULL;
    *rest = end ? end + 1 : line + strlen(line);
    if (end && end > line && end[-1] == '\r')
        end--;
    if (end)
        *end = 0;
    return line;
}

FILE *kit_memory_open(kit_memory *m)
{
    *m = (kit_memory){ 0 };
    m->file = open_memstream(&m->text, &m->n);
    if (!m->file)
        kit_die("out of memory");
    return m->file;
}

char *kit_memory_close(kit_memory *m)
{
    if (fclose(m->file) != 0)
        kit_die("out of memory");
    return m->text;
}

char *kit_path_in(const char *folder, const char *name)
{
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = kit_zeros(n, 1);
    snprintf(path, n, "%s%s%s", folder, *folder && folder[strlen(folder) - 1] == '/' ? "" : "/",
             name);
    return path;
}

/* Larger ones are slips of the pen, and their squares soon no numbers. */
static const double MOST = 1e30;

double *kit_read_months(const char *path, int *n, double *year)
{
    char *text;
    size_t bytes;
    int first, month, number = 0;
    double *values = NULL;
    *n = 0, *year = 0;
    if (!kit_read_file(path, &text, &bytes))
        exit(2);
    for (char *rest = text, *line; (line = kit_next_line(&rest)) != NULL;) {
        char *comma = strrchr(line, ',');
        number++;
        if (number == 1 || !*line)
            continue;
        if (*n == 0 && sscanf(line, "%*[\"]%d-%d", &first, &month) == 2)
            *year = first + (month - 1) / 12.0;
        values = kit_grow(values, (size_t)*n, sizeof *values);
        const char *field = comma ? comma + 1 : line;
        double *value = &values[(*n)++];
        if (!kit_parse(field, value))
            kit_die("'%s' line %d: '%s' is no number", path, number, field);
        if (!(fabs(*value) <= MOST))
            kit_die("'%s' line %d: the number %s is out of range: at most 1e30 from zero", path,
                    number, field);
    }
    free(text);
    return values;
}
