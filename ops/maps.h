/* The table of elementwise operations, one row each: the only place where they are listed.
 *
 *     MAPn(name, value, lo, hi, derivative of each operand ...)
 *
 * name     the op is ur_<name> in C and <name> in texts.
 * value    the formula on vectors a, b, c of the kernels (ops/kernels/maps.c gives v_exp, v_sel..)
 * lo, hi   the range from which the gradient check draws operands; kinks lie outside it or are kept
 *          apart by the check
 * rules    what operand a (b, c) contributes to the gradient, from the incoming gradient g, the
 *          result y and the operands: a page of calculus to proof-read with a textbook. Sums over
 *          broadcast axes are the driver's work. NONE marks an operand that has no gradient by
 *          intent: an exponent, a bound, a condition.
 * FLATn    rows without any gradient by intent: they are constant almost everywhere.
 *
 * A row is expanded several times: into its kernels for every instruction set and precision, its
 * descriptor with its rule, and its public function.
 */
#ifndef UR_OPS_MAPS_H
#define UR_OPS_MAPS_H

#define UR__MAPS(MAP1, MAP2, MAP3, FLAT1, FLAT2, FLAT3)                                            \
    MAP1(neg,        -a,                     -2, 2,   ur_neg(g))                                   \
    MAP2(add,        a + b,                  -2, 2,   g, g)                                        \
    MAP2(sub,        a - b,                  -2, 2,   g, ur_neg(g))                                \
    MAP2(mul,        a * b,                  -2, 2,   ur_mul(g, b), ur_mul(g, a))                  \
    MAP2(div,        a / b,                  0.5, 2,                                               \
         ur_div(g, b), ur_neg(ur_div(ur_mul(g, y), b)))                                            \
    MAP1(one_minus,  1 - a,                  -2, 2,   ur_neg(g))                                   \
    MAP1(exp,        v_exp(a),               -2, 2,   ur_mul(g, y))                                \
    MAP1(log,        v_log(a),               0.3, 3,  ur_div(g, a))                                \
    MAP1(sqrt,       v_sqrt(a),              0.3, 3,  ur_div(g, ur_add(y, y)))                     \
    MAP1(square,     a * a,                  -2, 2,   ur_mul(g, ur_add(a, a)))                     \
    MAP1(reciprocal, 1 / a,                  0.5, 2,  ur_neg(ur_mul(g, ur_square(y))))             \
    MAP1(abs,        v_abs(a),               -2, 2,   ur_mul(g, ur_sign(a)))                       \
    MAP1(sin,        v_sin(a),               -3, 3,   ur_mul(g, ur_cos(a)))                        \
    MAP1(cos,        v_cos(a),               -3, 3,   ur_neg(ur_mul(g, ur_sin(a))))                \
    MAP1(tanh,       v_tanh(a),              -2, 2,   ur_tanh_grad(y, g))                          \
    MAP1(sigmoid,    v_sigmoid(a),           -3, 3,   ur_sigmoid_grad(y, g))                       \
    MAP2(tanh_grad,    b * (1 - a * a),      -1, 1,                                                \
         ur_neg(ur_mul(g, ur_mul(b, ur_add(a, a)))), ur_tanh_grad(a, g))                           \
    MAP2(sigmoid_grad, b * (a * (1 - a)),    0, 1,                                                 \
         ur_mul(g, ur_mul(b, ur_sub(ur_one_minus(a), a))), ur_sigmoid_grad(a, g))                  \
    MAP1(softplus,   v_softplus(a),          -3, 3,   ur_mul(g, ur_sigmoid(a)))                    \
    MAP1(relu,       v_sel(a > 0, a, v_nan(a)), -2, 2, ur_select(ur_positive(a), g))               \
    MAP2(leaky_relu, v_sel(a > 0, a, a * b), -2, 2,                                                \
         ur_where(ur_positive(a), g, ur_mul(g, b)), NONE)                                          \
    MAP1(normal_pdf, v_normal_pdf(a),        -2, 2,   ur_neg(ur_mul(g, ur_mul(a, y))))             \
    MAP1(normal_cdf, v_normal_cdf(a),        -2, 2,   ur_mul(g, ur_normal_pdf(a)))                 \
    MAP1(gelu,       a * v_normal_cdf(a),    -2, 2,                                                \
         ur_mul(g, ur_add(ur_normal_cdf(a), ur_mul(a, ur_normal_pdf(a)))))                         \
    MAP2(minimum,    v_min(a, b),            -2, 2,                                                \
         ur_select(ur_less_equal(a, b), g), ur_unless(ur_less_equal(a, b), g))                     \
    MAP2(maximum,    v_max(a, b),            -2, 2,                                                \
         ur_select(ur_greater_equal(a, b), g), ur_unless(ur_greater_equal(a, b), g))               \
    MAP2(power,      v_pow(a, b),            0.5, 2,                                               \
         ur_mul(g, ur_mul(b, ur_power(a, ur_shift(b, -1)))), NONE)                                 \
    MAP3(clip,       v_min(v_max(a, b), c),  -2, 2,                                                \
         ur_select(ur_inside(a, b, c), g), NONE, NONE)                                             \
    MAP3(where,      v_sel(a != 0, b, c),    -2, 2,   NONE, ur_select(a, g), ur_unless(a, g))      \
    MAP2(select,     v_sel(a != 0, b, 0 * ONE), -2, 2, NONE, ur_select(a, g))                      \
    MAP2(unless,     v_sel(a != 0, 0 * ONE, b), -2, 2, NONE, ur_unless(a, g))                      \
    FLAT1(sign,      v_bit(a > 0) - v_bit(a < 0),    -2, 2)                                        \
    FLAT1(positive,  v_bit(a > 0),                   -2, 2)                                        \
    FLAT3(inside,    v_bit((a >= b) & (a <= c)),     -2, 2)                                        \
    FLAT2(less,          v_bit(a < b),               -2, 2)                                        \
    FLAT2(less_equal,    v_bit(a <= b),              -2, 2)                                        \
    FLAT2(greater,       v_bit(a > b),               -2, 2)                                        \
    FLAT2(greater_equal, v_bit(a >= b),              -2, 2)                                        \
    FLAT2(equal,         v_bit(a == b),              -2, 2)                                        \
    FLAT2(not_equal,     v_bit(a != b),              -2, 2)

/* The row number of each op, an index into the kernels' tables. */
#define UR__ROW(name, ...) UR__MAP_##name,
enum { UR__MAPS(UR__ROW, UR__ROW, UR__ROW, UR__ROW, UR__ROW, UR__ROW) UR__MAP_COUNT };
#undef UR__ROW

#endif
