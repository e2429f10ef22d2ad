/* Prints the instruction sets that the environment variable UR_ISA can name here, best first. */
#include <stdio.h>
#include "ops/kernels/kernels.h"

int main(void)
{
    puts(ur__isa_list());
    return 0;
}
