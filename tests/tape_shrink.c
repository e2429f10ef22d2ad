/* Shrinking: a line is left out, or is replaced by one of its operands or by a leaf of its shape,
 * as long as the tape still fails; over and over until nothing more can go. */
#include "tests/tape.h"

/* Everything that took `line` takes `by` instead. */
static void replace(tape *t, int line, int by)
{
    for (int i = line + 1; i < t->n; i++)
        for (int k = 0; k < t->line[i].n_in; k++)
            if (t->line[i].in[k] == line)
                t->line[i].in[k] = by;
    t->line[line].gone = true;
}

static bool same_shape(const ur_shape *a, const ur_shape *b)
{
    return a->rank == b->rank && !memcmp(a->dim, b->dim, sizeof *a->dim * (size_t)a->rank);
}

/* The step-th way to make `line` less; false when there are no more. */
static bool simpler(tape *t, int line, int step)
{
    tape_line *l = &t->line[line];
    if (l->gone)
        return false;
    switch (step) {
    case 0: l->gone = true; l->seen = l->read = false; return true;
    case 1: l->read = false; return true;
    case 2: l->seen = false; return true;
    case 3: case 4: case 5: {
        int k = step - 3;
        if (k < l->n_in && same_shape(&t->line[l->in[k]].shape, &l->shape) &&
            t->line[l->in[k]].ints == l->ints)
            replace(t, line, l->in[k]);
        return true;
    }
    case 6:
        if (!l->ints && l->form != FORM_leaf && l->form != FORM_weight && l->form != FORM_backward
            && l->form != FORM_state_out) {
            l->form = FORM_leaf;
            l->n_in = 0;
            l->n[0] = TAPE_GIVEN;
            l->n[1] = 2000 + line;
        }
        return true;
    case 7: l->n_in -= l->n_in > 1 && (l->form == FORM_stack_n || l->form == FORM_concat_n);
            return true;
    default: return false;
    }
}

/* Appends the names of `all` to `off` as long as it fails: what remains on is what is at fault. */
static void shrink_rewrites(const tape *t, char *off, const char *all, tape_fails *fails, void *ctx)
{
    char more[200];
    for (size_t n; *all; all += n + (all[n] == ',')) {
        n = strcspn(all, ",");
        snprintf(more, sizeof more, "%s%s%.*s", off, *off ? "," : "", (int)n, all);
        if (fails(t, more, ctx))
            strcpy(off, more);
    }
}

void tape_shrink(tape *t, char *off, const char *all, tape_fails *fails, void *ctx)
{
    static tape try;
    shrink_rewrites(t, off, all, fails, ctx);
    for (bool again = true; again;) {
        again = false;
        for (int i = t->n - 1; i >= 0; i--)
            for (int step = 0;; step++) {
                try = *t;
                if (!simpler(&try, i, step))
                    break;
                if (step == 0 && tape_used(t, i))
                    continue;
                tape_sweep(&try);
                if (memcmp(&try, t, sizeof try) && fails(&try, off, ctx)) {
                    *t = try;
                    again = true;
                }
            }
    }
}
