/* Long short-term memory over trees: a node's h' and c' from its input x and its children's h_k and
 * c_k.
 *
 *     i = sigmoid(x Ui + h Wi + bi)       f_k = sigmoid(x Uf + .. + bf), one a child
 *     g = tanh(x Ug + h Wg + bg)          o = sigmoid(x Uo + h Wo + bo)
 *     c' = i*g + sum_k f_k*c_k            h' = o * tanh(c')
 *
 *     binary      h = [h_1, h_2]      f_1 = sigmoid(.. h Wf1 ..)    f_2 = sigmoid(.. h Wf2 ..)
 *     child-sum   h = sum_k h_k       f_k = sigmoid(.. h_k Wf ..)
 *
 * K. S. Tai, R. Socher and C. D. Manning, "Improved semantic representations from tree-structured
 * long short-term memory networks", ACL 2015, equations 2 to 14; g is their u, and their letters U
 * and W are the other way round. Terms of what a node does not have, x or children, are left out.
 *
 * Every gate has a line of its own: by it the planner tells nodes to compute together.
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

/* ----------------------------------------------------------------------------------- parameters */

static ur_tree_lstm new_tree(ur_params *ps, const char *name, bool binary, int I, int H,
                             const ur_cell_options *options)
{
    const ur_cell_options o = options ? *options : ur_cell_defaults(H);
    ur_tree_lstm p = { .params = ps, .name = ur_namef(ps, "%s", name), .binary = binary };
    if (I < 1 || I > UR_MAX_SIZE || H < 1 || H > UR_MAX_SIZE) {
        ur_fail(ps, NULL, NULL, "tree_lstm %s: %d inputs, %d units: sizes are from 1 to %d", name,
                I, H, UR_MAX_SIZE);
        return p;
    }
    const int rows = binary ? 2 * H : H;
    p.Ui = ur_param(ps, ur_namef(ps, "%s.Ui", name), o.U, I, H);
    p.Uf = ur_param(ps, ur_namef(ps, "%s.Uf", name), o.U, I, H);
    p.Ug = ur_param(ps, ur_namef(ps, "%s.Ug", name), o.U, I, H);
    p.Uo = ur_param(ps, ur_namef(ps, "%s.Uo", name), o.U, I, H);
    p.Wi = ur_param(ps, ur_namef(ps, "%s.Wi", name), o.W, rows, H);
    if (binary) {
        p.Wf1 = ur_param(ps, ur_namef(ps, "%s.Wf1", name), o.W, rows, H);
        p.Wf2 = ur_param(ps, ur_namef(ps, "%s.Wf2", name), o.W, rows, H);
    } else {
        p.Wf = ur_param(ps, ur_namef(ps, "%s.Wf", name), o.W, rows, H);
    }
    p.Wg = ur_param(ps, ur_namef(ps, "%s.Wg", name), o.W, rows, H);
    p.Wo = ur_param(ps, ur_namef(ps, "%s.Wo", name), o.W, rows, H);
    p.bi = ur_param(ps, ur_namef(ps, "%s.bi", name), o.b, H);
    p.bf = ur_param(ps, ur_namef(ps, "%s.bf", name), o.forget, H);
    p.bg = ur_param(ps, ur_namef(ps, "%s.bg", name), o.b, H);
    p.bo = ur_param(ps, ur_namef(ps, "%s.bo", name), o.b, H);
    return p;
}

ur_tree_lstm ur_tree_lstm_binary_with(ur_params *ps, const char *name, int I, int H,
                                      const ur_cell_options *o)
{
    return new_tree(ps, name, true, I, H, o);
}

ur_tree_lstm ur_tree_lstm_binary(ur_params *ps, const char *name, int I, int H)
{
    return ur_tree_lstm_binary_with(ps, name, I, H, NULL);
}

ur_tree_lstm ur_tree_lstm_child_sum_with(ur_params *ps, const char *name, int I, int H,
                                         const ur_cell_options *o)
{
    return new_tree(ps, name, false, I, H, o);
}

ur_tree_lstm ur_tree_lstm_child_sum(ur_params *ps, const char *name, int I, int H)
{
    return ur_tree_lstm_child_sum_with(ps, name, I, H, NULL);
}

/* ------------------------------------------------------------------------------------- one node */

/* x U + h W + b, of what there is. */
#define SUMS(x, U, h, W, b) sums(UR_AT(#x ", " #U ", " #h ", " #W), x, U, h, W, b)
static ur_node sums(ur_at at, ur_node x, ur_node U, ur_node h, ur_node W, ur_node b)
{
    if (!h.owner)
        return ur_affine_at(at, x, U, b);
    if (!x.owner)
        return ur_affine_at(at, h, W, b);
    return ur_add_at(at, ur_affine_at(at, x, U, b), ur_matmul_at(at, h, W));
}

/* h' and c' from h, the children's together, and what is left of their c. */
static ur_tree_state close_gates(const ur_tree_lstm *p, ur_node x, ur_node h, ur_node rest)
{
    ur_node i = ur_sigmoid(SUMS(x, p->Ui, h, p->Wi, p->bi));
    ur_node g = ur_tanh(SUMS(x, p->Ug, h, p->Wg, p->bg));
    ur_node o = ur_sigmoid(SUMS(x, p->Uo, h, p->Wo, p->bo));
    ur_node new = ur_mul(i, g), c = rest.owner ? ur_add(new, rest) : new;
    return (ur_tree_state){ .h = ur_mul(o, ur_tanh(c)), .c = c };
}

static ur_tree_state binary(const ur_tree_lstm *p, ur_node x, const ur_tree_state child[])
{
    ur_node h = ur_concat(child[0].h, child[1].h);
    ur_node f1 = ur_sigmoid(SUMS(x, p->Uf, h, p->Wf1, p->bf));
    ur_node f2 = ur_sigmoid(SUMS(x, p->Uf, h, p->Wf2, p->bf));
    return close_gates(p, x, h, ur_add(ur_mul(f1, child[0].c), ur_mul(f2, child[1].c)));
}

static ur_tree_state child_sum(const ur_tree_lstm *p, ur_node x, const ur_tree_state child[], int n)
{
    ur_node h = UR_NIL, rest = UR_NIL;
    for (int k = 0; k < n; k++) {
        ur_node f = ur_sigmoid(SUMS(x, p->Uf, child[k].h, p->Wf, p->bf));
        ur_node kept = ur_mul(f, child[k].c);
        rest = k ? ur_add(rest, kept) : kept;
        h = k ? ur_add(h, child[k].h) : child[k].h;
    }
    return close_gates(p, x, h, rest);
}

/* --------------------------------------------------------------------------------------- checks */

static bool is_rows(ur_node x, int B, int features)
{
    ur_shape s = ur_shape_of(x);
    return s.rank == 2 && s.dim[0] == B && s.dim[1] == features;
}

/* Rows are not repeated: broadcasting would hide a child of another batch. */
static bool check(ur_graph *g, ur_at at, const ur_tree_lstm *p, ur_node x,
                  const ur_tree_state child[], int n)
{
    const int I = ur_dim(p->Ui, 0), H = ur_dim(p->Ui, 1);
    if (ur_error(p->params))
        return ur_fail(g, at, "tree_lstm", "the layer could not be made: %s", ur_error(p->params));
    if (n < 0 || (p->binary && n != 0 && n != 2))
        return ur_fail(g, at, "tree_lstm", "%d children, but a node of %s has %s", n, p->name,
                       p->binary ? "none or 2" : "0 or more");
    const int B = x.owner ? ur_dim(x, 0) : ur_dim(child[0].h, 0);
    if (x.owner && !is_rows(x, B, I))
        return ur_fail(g, at, "tree_lstm", "%s, but %s takes [B,%d]", ur_called(x, at, 0), p->name,
                       I);
    for (int k = 0; k < 2 * n; k++) {
        ur_node s = k % 2 ? child[k / 2].c : child[k / 2].h;
        if (!is_rows(s, B, H))
            return ur_fail(g, at, "tree_lstm", "%s of child %d is %s, but %s carries [%d,%d] here",
                           k % 2 ? "c" : "h", k / 2,
                           ur_is_nil(s) ? "nil" : ur_shape_text(ur_shape_of(s)), p->name, B, H);
    }
    return true;
}

ur_tree_state ur_tree_lstm_node_at(ur_at at, const ur_tree_lstm *tree, ur_node x,
                                   const ur_tree_state children[], int n)
{
    ur_tree_state y = { UR_NIL, UR_NIL };
    ur_graph *g = ur_graph_of(x);
    for (int k = 0; !g && k < n; k++)
        g = ur_graph_of(children[k].h);
    if (!x.owner && n <= 0)
        ur_fail(tree->params, at, "tree_lstm", "a node of %s has neither an input nor children",
                tree->name);
    if (!g || ur_error(g) || !check(g, at, tree, x, children, n))
        return y;
    ur_scope_begin(g, tree->name, -1);
    y = tree->binary && n ? binary(tree, x, children) : child_sum(tree, x, children, n);
    ur_scope_end(g);
    return y;
}

ur_tree_state (ur_tree_lstm_node)(const ur_tree_lstm *tree, ur_node x,
                                  const ur_tree_state children[], int n)
{
    return ur_tree_lstm_node_at(NULL, tree, x, children, n);
}
