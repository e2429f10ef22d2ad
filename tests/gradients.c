/* Every op and every composite against differences of its values, to the second order; and the same
 * ops with faults planted in their rules, which the check must catch.
 *
 * A fault is put between a rule and the sum that collects its contributions (ur__fault_hook):
 *     sign        the contribution of one operand, negated
 *     scale       the contribution of one operand times 1.001
 *     swap        a later operand gets what the first one was given
 *     drop        the first slice of a contribution in the place of its sum over broadcast axes
 *     transpose   the last two axes of a contribution swapped
 * It counts where it changes some gradient by more than 1e-6, or is refused as a shape error. */
#include "tests/test.h"
#include "graph/check_parts.h"
#include "ops/internal.h"

enum { MOST = 4000 };           /* elements of a sample's value, or of its gradients */

/* -------------------------------------------------------------------------------- what is right */

static double worst_of(const ur_report *r, int order)
{
    double worst = 0;
    for (int k = 0; k < r->n_rows; k++)
        if (r->row[k].order == order && r->row[k].error > worst)
            worst = r->row[k].error;
    return worst;
}

static void passes(const char *name, ur_report r)
{
    printf("  %-22s %6zu elements, %zu kinks, worst error %.1e, %.1e\n", name, r.checked, r.kinks,
           worst_of(&r, 1), worst_of(&r, 2));
    if (!CHECK_INT(r.status, UR_CHECK_PASSED))
        ur_report_print(&r, stdout);
    ur_report_free(&r);
}

TEST(every_op)
{
    for (int k = 0; ur__ops[k]; k++)
        passes(ur__ops[k]->name, ur_check_op(ur__ops[k], 2));
}

/* An op is listed once, and has what the check needs. */
TEST(every_op_can_be_checked)
{
    int n = 0;
    for (; ur__ops[n]; n++) {
        const ur_op *op = ur__ops[n];
        CHECK(op->rule || op->flags & (UR_FLAT | UR_INT_OUT));
        for (int k = 0; k < n; k++)
            CHECK(ur__ops[k] != op && strcmp(ur__ops[k]->name, op->name) != 0);
        if (!op->rule)
            continue;
        ur_report r = ur_check_op(op, 1);
        if (!CHECK(r.checked > 0))
            printf("  %s: nothing was checked\n", op->name);
        ur_report_free(&r);
    }
    CHECK(n > UR__MAP_COUNT);
}

/* Compares the values of an op's sample with those with one element of an operand moved a little
 * either way; returns how many elements that were, -1 after the last sample. */
static int stays(const ur_op *op, int which)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_draw d = { 0 };
    ur__draw_begin(&d, g, ur__mix(0, (uint64_t)which));
    ur_node y = ur__draw_sample(&d, op, which);
    static double want[MOST], got[MOST];
    const size_t n = ur_is_nil(y) ? 0 : ur_count(y);
    int moved = ur_is_nil(y) ? -1 : 0;
    CHECK_STR(ur_error(g), NULL);
    CHECK(moved < 0 || (n <= MOST && ur_read(y, want, n)));
    for (size_t k = 0; moved >= 0 && k < d.n; k++) {
        double *x = ur_type_of(d.drawn[k].x) == UR_F64 ? ur__leaf_data(g, d.drawn[k].x) : NULL;
        for (size_t e = 0; x && e < 2 * ur_count(d.drawn[k].x); e++) {
            const double before = x[e / 2];
            x[e / 2] = before + (e % 2 ? -1e-6 : 1e-6);
            g->changed = true;
            ur_set_run_number(g, 0);
            if (!CHECK(ur_rerun(g) && ur_read(y, got, n) && !memcmp(got, want, n * sizeof *got)))
                printf("  sample %d of %s, operand %zu[%zu]\n", which, op->name, k, e / 2);
            x[e / 2] = before;
            moved++;
        }
    }
    ur__draw_end(&d);
    ur_graph_free(g);
    return moved;
}

/* What has no rule because its derivative is 0 almost everywhere stays as it is. */
TEST(what_is_flat_stays)
{
    for (int k = 0; ur__ops[k]; k++) {
        const ur_op *op = ur__ops[k];
        int n = 0;
        if (!(op->flags & UR_FLAT) || op->flags & UR_INT_OUT)
            continue;
        for (int which = 0, moved; (moved = stays(op, which)) >= 0; which++)
            n += moved;
        printf("  %-22s %6d elements moved\n", op->name, n);
    }
}

/* ---------------------------------------------------------------------------------- composites */

#define COMPOSITE(name, expression)                                                                \
    static void name(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)                    \
    {                                                                                              \
        ur_node x = in[0], y = in[1];                                                              \
        (void)g, (void)ctx, (void)x, (void)y;                                                      \
        out[0] = expression;                                                                       \
    }

COMPOSITE(scale, ur_scale(x, -1.7))
COMPOSITE(shift, ur_mul(x, ur_shift(x, 0.4)))
COMPOSITE(power_3, ur_pow(x, 3))
COMPOSITE(clamp, ur_mul(x, ur_clamp(x, -0.31, 0.52)))
COMPOSITE(leaky_relu, ur_mul(x, ur_leaky_relu(x, 0.1)))
COMPOSITE(mean, ur_mean(ur_square(x)))
COMPOSITE(mean_over, ur_mean_over(ur_square(x), 1))
COMPOSITE(sum_of_two_axes, ur_square(ur_sum_keep(ur_square(x), 0, 1)))
COMPOSITE(sum_of_all, ur_square(ur_sum(x)))
COMPOSITE(max_of_all, ur_square(ur_max(x)))
COMPOSITE(logsumexp_of_all, ur_logsumexp(ur_scale(x, 3)))
COMPOSITE(transposed, ur_mul(ur_transpose(x), ur_permute(y, 1, 0)))
COMPOSITE(repeated, ur_square(ur_tile(ur_repeat(x, 0, 2), 1, 2)))
COMPOSITE(reversed, ur_mul(x, ur_reverse(y, -1)))
COMPOSITE(padded, ur_square(ur_pad(x, 1, 1, 2)))
COMPOSITE(squared_loss, ur_squared_loss(x, y))
COMPOSITE(absolute_loss, ur_square(ur_absolute_loss(x, y)))
COMPOSITE(huber_loss, ur_huber_loss(x, y, 0.5))
COMPOSITE(dropout, ur_dropout(ur_square(x), 0.4))
COMPOSITE(one_mask, ur_mul(ur_dropout_tagged(x, 0.4, 3), ur_dropout_tagged(y, 0.4, 3)))
COMPOSITE(binary, ur_binary_cross_entropy(ur_scale(x, 4), ur_sigmoid(y)))
COMPOSITE(detached, ur_add(ur_mul(ur_detach(ur_scale(x, 0)), y), x))
COMPOSITE(diamond, ur_add(ur_mul(ur_tanh(x), ur_tanh(x)), ur_mul(ur_tanh(x), x)))
COMPOSITE(twice_the_same, ur_matmul_with(x, x, false, true))
COMPOSITE(all_of_it, ur_softmax(ur_matmul_with(ur_concat(x, ur_square(y)), ur_concat(y, x), false,
                                                true)))

static void split(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    (void)g, (void)ctx;
    if (ur_split(in[0], 1, 2, out))
        out[0] = ur_mul(out[0], out[1]);
}

static void loss_of_labels(ur_graph *g, const ur_node in[], ur_node out[], void *ctx)
{
    const double *weights = ctx;
    const int32_t labels[] = { 2, -7, 0, 4 };
    ur_node l = ur_ints(g, labels, 4), w = weights ? ur_input(g, weights, 5) : UR_NIL;
    out[0] = ur_cross_entropy_with(in[0], l, -7, 0, w, UR_MEAN);
    out[1] = ur_cross_entropy_with(in[0], l, -7, 0.1, w, UR_EACH);
    out[2] = ur_cross_entropy_with(in[0], l, -7, 0.3, w, UR_TOTAL);
}

TEST(composites)
{
    static const struct {
        const char *name;
        ur_check_function *f;
    } list[] = {
#define C(name) { #name, name }
        C(scale), C(shift), C(power_3), C(clamp), C(leaky_relu), C(mean), C(mean_over),
        C(sum_of_two_axes), C(sum_of_all), C(max_of_all), C(logsumexp_of_all), C(transposed),
        C(repeated), C(reversed), C(padded), C(squared_loss), C(absolute_loss), C(huber_loss),
        C(dropout), C(one_mask), C(binary), C(detached), C(diamond), C(twice_the_same),
        C(all_of_it), C(split),
#undef C
    };
    for (size_t k = 0; k < sizeof list / sizeof *list; k++)
        passes(list[k].name, ur_check(list[k].f, .in = { ur_in("x", 3, 4), ur_in("y", 3, 4) },
                                      .outputs = list[k].f == split ? 2 : 1, .order = 2));
    static const double weights[] = { 1, 0.5, 2, 0, 3 };
    passes("cross_entropy", ur_check(loss_of_labels, .in = { ur_in("x", 4, 5) }, .outputs = 3,
                                     .order = 2));
    passes("weighted", ur_check(loss_of_labels, .in = { ur_in("x", 4, 5) }, .outputs = 3,
                                .order = 2, .ctx = (void *)weights));
}

/* ------------------------------------------------------------------------------ planted faults */

enum { SIGN, SCALE, SWAP, DROP, TRANSPOSE, FAULTS };
static const char *const fault_name[] = { "sign", "scale", "swap", "drop", "transpose" };
enum { OPERANDS = 3 };

typedef struct plant {
    const ur_op *op;
    int fault, operand;         /* operand: of SIGN and SCALE */
    bool hit;                   /* the fault was put somewhere */
    ur_node first;              /* SWAP: what the first operand was given by this run of the rule */
    int first_operand;
    uint32_t anchor;
} plant;

static ur_node swapped(plant *p, int operand, ur_node given)
{
    ur_graph *g = ur_graph_of(given);
    if (p->first.owner == g && ur__live(p->first) && p->anchor == g->anchor &&
        p->first_operand != operand) {
        p->hit = true;
        return p->first;
    }
    p->first = given;
    p->first_operand = operand;
    p->anchor = g->anchor;
    return given;
}

/* The first slice along every axis that `to` lacks or has with size 1. */
static ur_node first_slice(plant *p, ur_node to, ur_node given)
{
    ur_shape s = ur_shape_of(to), from = ur_shape_of(given);
    for (int k = 0; k < from.rank; k++) {
        int axis = k - (from.rank - s.rank);
        if (from.dim[k] > 1 && (axis < 0 || s.dim[axis] == 1)) {
            given = ur_slice(given, k, 0, 1);
            p->hit = true;
        }
    }
    return p->hit ? ur__reshape_to(NULL, given, &s) : given;
}

static ur_node plant_fault(void *user, const ur_op *op, int operand, ur_node to, ur_node given)
{
    plant *p = user;
    if (op != p->op || ur_is_nil(given))
        return given;
    bool mine = operand == p->operand;
    switch (p->fault) {
    case SIGN: p->hit |= mine; return mine ? ur_neg(given) : given;
    case SCALE: p->hit |= mine; return mine ? ur_scale(given, 1.001) : given;
    case SWAP: return swapped(p, operand, given);
    case DROP: return first_slice(p, to, given);
    default:
        if (!mine || ur_shape_of(given).rank < 2)
            return given;
        p->hit = true;
        return ur_transpose(given);
    }
}

/* The gradients of an op's sample for all that was drawn, of an uneven sum of its elements. Returns
 * their number, -1 after the last sample, -2 for an error. */
static int gradients_of(const ur_op *op, int which, double *out)
{
    ur_graph *g = ur_graph_new(UR_F64, UR_TRAIN);
    ur_draw d = { 0 };
    ur__draw_begin(&d, g, ur__mix(0, (uint64_t)which));     /* as the check draws */
    ur_node y = ur__draw_sample(&d, op, which), x[16], dx[16], seed;
    int n = 0, total = 0;
    if (ur_is_nil(y)) {
        total = ur_error(g) ? -2 : -1;
    } else {
        static double w[MOST];
        ur_shape s = ur_shape_of(y);
        if (!CHECK(ur_count(y) <= MOST))
            s = (ur_shape){ .rank = 0 };
        for (size_t i = 0; i < ur_count(y) && i < MOST; i++)
            w[i] = (i % 3 ? 1 : -1) * (0.5 + fmod(0.618034 * (double)(i + 1), 1));
        seed = ur_input_at(NULL, g, w, s.rank, s.dim);
        for (size_t k = 0; k < d.n && n < 16; k++)
            if (ur_type_of(d.drawn[k].x) != UR_I32)
                x[n++] = d.drawn[k].x;
        ur_grad(&y, &seed, 1, x, n, dx);
        for (int k = 0; k < n && total >= 0; k++) {
            size_t count = ur_count(x[k]);
            bool fits = (size_t)total + count <= MOST;
            total = fits && ur_read(dx[k], out + total, count) ? total + (int)count : -2;
        }
    }
    ur__draw_end(&d);
    ur_graph_free(g);
    return total;
}

static void plant_it(plant *p)
{
    p->hit = false;
    p->first = (ur_node){ 0 };
    ur__fault_hook = plant_fault;
    ur__fault_user = p;
}

static void weed(void)
{
    ur__fault_hook = NULL;
    ur__fault_user = NULL;
}

/* Whether the fault changes some gradient by more than 1e-6 or is refused; *any: it changes one at
 * all. */
static bool counts(plant *p, bool *any)
{
    static double right[MOST], wrong[MOST];
    bool refused = false, hit = false;
    double most = 0;
    for (int which = 0; !refused; which++) {
        int n = gradients_of(p->op, which, right);
        if (n == -1)
            break;
        CHECK(n >= 0);
        plant_it(p);
        int m = gradients_of(p->op, which, wrong);
        weed();
        hit |= p->hit;
        refused = m == -2;
        for (int i = 0; i < n && m == n; i++) {
            double off = fabs(right[i] - wrong[i]);
            most = off > most ? off : most;
        }
    }
    p->hit = hit;
    *any = refused || most > 0;
    return refused || most > 1e-6;
}

TEST(planted_faults)
{
    int planted = 0, counted = 0, caught = 0, by_fault[FAULTS] = { 0 };
    for (int k = 0; ur__ops[k]; k++) {
        const ur_op *op = ur__ops[k];
        int of_op = 0;
        for (int fault = 0; op->rule && fault < FAULTS; fault++) {
            bool each = fault == SIGN || fault == SCALE || fault == TRANSPOSE;
            for (int operand = 0; operand < (each ? OPERANDS : 1); operand++) {
                plant p = { .op = op, .fault = fault, .operand = operand };
                bool any, count = counts(&p, &any);
                if (!p.hit)
                    continue;
                plant_it(&p);
                ur_report r = ur_check_op(op, 1);
                weed();
                bool was_caught = r.status == UR_CHECK_WRONG || r.status == UR_CHECK_ERROR;
                planted++;
                counted += count;
                caught += count && was_caught;
                by_fault[fault] += count;
                of_op += count;
                if (!CHECK(was_caught >= count && was_caught <= any))
                    printf("  %s, %s of operand %d: %s but %s\n", op->name, fault_name[fault],
                           operand, count ? "counts" : any ? "changes little" : "changes nothing",
                           was_caught ? "caught" : "not caught");
                ur_report_free(&r);
            }
        }
        if (op->rule && !CHECK(of_op >= 2))
            printf("  %s: %d faults counted\n", op->name, of_op);
    }
    for (int f = 0; f < FAULTS; f++) {
        printf("  %-10s %d counted\n", fault_name[f], by_fault[f]);
        CHECK(by_fault[f] > 0);
    }
    printf("  planted %d, counted %d, caught %d\n", planted, counted, caught);
    CHECK_INT(caught, counted);
}

TEST_MAIN(T(every_op), T(every_op_can_be_checked), T(what_is_flat_stays), T(composites),
          T(planted_faults))
