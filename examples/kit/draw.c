/* draw.c: the drawing of a graph. The library prints it to a stream; here it becomes a file, which
 * is only replaced when all of it is there. */
#include "examples/kit/run.h"

#include <stdlib.h>
#include <string.h>

void kit_write_dot(const char *path, ur_graph *g)
{
    char *text = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&text, &n);
    if (!memory)
        kit_die("out of memory");
    if (!ur_print_dot(g, memory))
        kit_need(g);
    if (fclose(memory) != 0)
        kit_die("out of memory");
    if (strcmp(path, "-") == 0)
        fwrite(text, 1, n, stdout);
    else if (!kit_write_aside(path, text, n))
        exit(2);
    free(text);
}
