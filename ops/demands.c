/* What shape rules demand of operands, each with its text. */
#include <limits.h>
#include "ops/internal.h"

bool ur__need_numbers(ur_shaping *s, int k)
{
    static const char *const text[] = {
        "%0, but numbers are needed: ur_cast makes them of int32",
        "%1, but numbers are needed: ur_cast makes them of int32",
        "%2, but numbers are needed: ur_cast makes them of int32",
        "%3, but numbers are needed: ur_cast makes them of int32",
    };
    return s->type_in[k] != UR_I32 || ur_refuse(s, text[k & 3]);
}

bool ur__need_ints(ur_shaping *s, int k)
{
    static const char *const text[] = {
        "%0, but int32 is needed: ur_ints makes such nodes",
        "%1, but int32 is needed: ur_ints makes such nodes",
        "%2, but int32 is needed: ur_ints makes such nodes",
        "%3, but int32 is needed: ur_ints makes such nodes",
    };
    return s->type_in[k] == UR_I32 || ur_refuse(s, text[k & 3]);
}

bool ur__need_axis(ur_shaping *s, int64_t axis, int more)
{
    return (axis >= 0 && axis < s->in[0].rank + more) ||
           ur_refuse(s, "%0, so there is no axis %lld", (long long)axis);
}

bool ur__need_size(ur_shaping *s, int64_t n)
{
    return (n >= 0 && n <= INT_MAX) ||
           ur_refuse(s, "the result would have an axis of size %lld", (long long)n);
}
