/* draw.c: the drawing of a graph. The library prints it to a stream; here it becomes a file, which
 * is only replaced when all of it is there. */
#include "examples/kit/run.h"

#include <stdlib.h>
#include <string.h>

void kit_write_dot(const char *path, ur_graph *g)
{
    kit_memory m;
    if (!ur_print_dot(g, kit_memory_open(&m)))
        kit_need(g);
    char *text = kit_memory_close(&m);
    if (strcmp(path, "-") == 0)
        fwrite(text, 1, m.n, stdout);
    else if (!kit_write_aside(path, text, m.n))
        exit(2);
    free(text);
}
