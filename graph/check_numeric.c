/* One element's numeric derivative, from runs of the tape on perturbed copies.
 *
 *     D(h) = (8 (P(h) - P(-h)) - (P(2h) - P(-2h))) / 12h        n = (16 D(h/2) - D(h)) / 15
 *
 * Differences are taken output by output before they are weighted and summed, so that an output
 * that did not move adds no rounding.
 *
 * Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 25.3.6; L. F. Richardson, "The
 * approximate arithmetical solution by finite differences", 1911. */
#include <float.h>
#include <math.h>
#include "graph/check_parts.h"

/* Runs at x - 2h, x - h, x - h/2, x + h/2, x + h, x + 2h. */
static const double step_of[UR__CHECK_RUNS] = { -2, -1, -0.5, 0.5, 1, 2 };

/* The outputs with one element of a leaf changed. */
static bool evaluate(ur__checker *c, const ur__tensor *t, size_t e, double value, double *to)
{
    double *leaf = ur__leaf_data(c->g, t->x);
    leaf[e] = value;
    c->g->changed = true;
    ur_set_run_number(c->g, 0);
    return ur_rerun(c->g) ? ur__check_read(c, to) : ur__report_error(c->r, "%s", ur_error(c->g));
}

/* An output that stays infinite or NaN, behind a mask, did not move. */
static double difference(double a, double b)
{
    return a == b || (isnan(a) && isnan(b)) ? 0 : a - b;
}

static bool estimate_with(ur__checker *c, const ur__tensor *t, size_t e, double h,
                          ur__estimate *out)
{
    const double x = ((double *)ur__leaf_data(c->g, t->x))[e];
    bool ok = true;
    for (int k = 0; ok && k < UR__CHECK_RUNS; k++)
        ok = evaluate(c, t, e, x + step_of[k] * h, c->at[k]);
    ((double *)ur__leaf_data(c->g, t->x))[e] = x;
    double wide = 0, narrow = 0, bend = 0, moved = 0, *const *p = c->at;
    for (size_t i = 0; ok && i < c->values; i++) {
        double w = c->w[i], y = c->centre[i];
        double d2 = difference(p[5][i], p[0][i]), d1 = difference(p[4][i], p[1][i]);
        double d0 = difference(p[3][i], p[2][i]);
        double s1 = difference(p[4][i], y) - difference(y, p[1][i]);
        double s0 = difference(p[3][i], y) - difference(y, p[2][i]);
        wide += w * (8 * d1 - d2);
        narrow += w * (8 * d0 - d1);
        bend += w * (s1 - 4 * s0);
        moved += d0 != 0 || d1 != 0 || d2 != 0 ? w * y * w * y : 0;
    }
    /* An output that ought to have moved by less than its rounding did not; and the rounding of a
     * gradient is that of the values behind it, if those move on a scale of about 1. */
    moved = fmax(moved > 0 ? sqrt(moved) : c->size, c->before);
    wide /= 12 * h;
    narrow /= 6 * h;
    /* For a smooth function s1 = 4 s0 but for O(h^4); at a kink of size J it is 2 s0 = J h. */
    bend = fabs(bend) / h;
    out->value = narrow + (narrow - wide) / 15;
    out->noise = 8 * DBL_EPSILON * moved / h;
    out->doubt = fabs(wide - narrow);
    if (bend > 1e-5 * (fabs(out->value) + t->rms) + out->noise && bend > out->doubt)
        out->doubt = bend;
    return ok;
}

/* What |a - n| may be. */
static double tolerance(const ur__checker *c, const ur__tensor *t, const ur__estimate *n)
{
    return c->r->bound * (2 * fabs(n->value) + 1e-3 * t->rms);
}

/* Whether h and h/2 give the same number, as far as the check needs it. */
static bool agrees(const ur__checker *c, const ur__tensor *t, const ur__estimate *n)
{
    return n->doubt <= tolerance(c, t, n) / 4 + n->noise;
}

/* The first h, for elements whose natural scale is about 1: its sixth power is nothing and rounding
 * makes 1e-13 of n. A power of 2, so that x + h is mostly exact. */
static const double first_h = 1 / 512.;

/* Where D(h) and D(h/2) disagree, smaller h are tried: strong curvature or a kink nearby. Where
 * rounding is what limits n, larger ones, as long as they agree with themselves and with the
 * smaller h: stairs look smooth from afar. */
bool ur__check_estimate(ur__checker *c, const ur__tensor *t, size_t e, ur__estimate *best,
                        bool *kink)
{
    static const double smaller[] = { 1 / 16., 1 / 256., 1 / 4096. }, larger[] = { 16, 256 };
    ur__estimate new;
    if (!estimate_with(c, t, e, first_h, best))
        return false;
    bool good = agrees(c, t, best);
    for (int k = 0; !good && k < 3; k++) {
        if (!estimate_with(c, t, e, first_h * smaller[k], &new))
            return false;
        good = agrees(c, t, &new);
        if (good || !(new.doubt >= best->doubt))
            *best = new;
    }
    for (int k = 0; good && k < 2; k++) {
        double unsure = best->doubt + best->noise;
        if (unsure <= tolerance(c, t, best) / 2)
            break;
        if (!estimate_with(c, t, e, first_h * larger[k], &new))
            return false;
        if (!agrees(c, t, &new) || fabs(new.value - best->value) > unsure + new.noise ||
            new.doubt + new.noise >= unsure)
            break;
        *best = new;
    }
    *kink = !good && isfinite(best->value);     /* what is not finite is an error, and no kink */
    return true;
}

double ur__check_error(const ur__checker *c, const ur__tensor *t, double a, const ur__estimate *n,
                       bool *drowned)
{
    double off = fabs(a - n->value);
    double error = off / (fabs(a) + fabs(n->value) + 1e-3 * t->rms);
    *drowned = error > c->r->bound && off <= n->noise;
    if (off == 0 || *drowned)
        return 0;
    return isnan(error) ? (double)INFINITY : error;
}
