/* A program of a user's own, built against the installed library by tests/install/run. */
#include <stdio.h>
#include <unroll/unroll.h>

int main(void)
{
    puts(ur_version());
    return 0;
}
