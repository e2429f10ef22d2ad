/* data.c: arrays that grow, and files of lines. */
#include "examples/kit/kit.h"

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

char *kit_path_in(const char *folder, const char *name)
{
    size_t n = strlen(folder) + strlen(name) + 2;
    char *path = kit_zeros(n, 1);
    snprintf(path, n, "%s%s%s", folder, *folder && folder[strlen(folder) - 1] == '/' ? "" : "/",
             name);
    return path;
}
