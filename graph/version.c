/* The version of the library, which is the project's version in the top meson.build. */
#include "graph/graph.h"

const char *ur_version(void)
{
    return UR__VERSION;
}
