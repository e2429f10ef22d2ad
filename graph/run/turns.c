/* Turning back. Every step of a recurrence reads the same weights, and those of one sequence do
 * little else. Of weights that are larger than the first cache nothing is left there when they are
 * read from the beginning again; read from the end, what came last is. So the products of every
 * other step are computed from the last to the first, those that read rows each from its other end:
 * they do not need each other, and the sums are the same (kernels.h). */
#include "graph/run/run.h"

/* Whether the phase from `begin` on is products of few rows; *end: behind it. */
static bool is_thin(const ur__plan *p, size_t begin, size_t *end)
{
    bool all = true;
    size_t i = begin;
    do {
        const ur__step *s = &p->step[i];
        const ur__contraction *c = s->what == UR__CONTRACT ? s->body : NULL;
        all = all && c && c->thin && !c->gang;
    } while (!p->step[i++].ends);
    *end = i;
    return all;
}

static bool same_right(const ur__contraction *x, const ur__contraction *y)
{
    bool same = x->n_terms == y->n_terms;
    for (size_t i = 0; same && i < x->n_terms; i++)
        same = x->term[i].b.region == y->term[i].b.region &&
               x->term[i].b.offset == y->term[i].b.offset;
    return same;
}

void ur__mark_turns(ur__plan *p)
{
    size_t last = 0, n_last = 0;
    for (size_t i = 0, end; i < p->n_steps; i = end) {
        if (!is_thin(p, i, &end))
            continue;
        bool same = end - i == n_last;
        for (size_t k = 0; same && k < n_last; k++)
            same = same_right(p->step[last + k].body, p->step[i + k].body);
        for (size_t k = i; same && k < end; k++)
            p->step[k].turned = !p->step[last].turned;
        last = i;
        n_last = end - i;
    }
}
