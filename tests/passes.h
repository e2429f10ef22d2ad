/* passes.h: a gradient check inside a test; its report is printed where it did not pass. */
#ifndef UNROLL_TESTS_PASSES_H
#define UNROLL_TESTS_PASSES_H

#include "tests/test.h"
#include "unroll/check.h"

static inline bool passes(const char *name, ur_report r)
{
    bool ok = CHECK_INT(r.status, UR_CHECK_PASSED);
    if (!ok) {
        printf("  %s:\n", name);
        ur_report_print(&r, stdout);
    }
    CHECK(r.checked > 0);
    CHECK_INT(r.kinks, 0);
    ur_report_free(&r);
    return ok;
}

#endif
