/* The tape as Graphviz DOT: dot -Tsvg. Clusters by scope, and inside a layer by time step; inputs as
 * boxes, parameters as filled boxes, operations as ellipses, states and gradients in bold. */
#include "graph/internal.h"

static void print_quoted(FILE *to, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', to);
        fputc(*text, to);
    }
}

static const char *name_of(const ur_graph *g, uint32_t id)
{
    const ur__node *x = &g->tape.node[id];
    const int64_t *a = g->tape.attr + x->attr;
    if (x->op == &ur__op_param || x->op == &ur__op_import || x->op == &ur__op_state)
        return g->slot[a[0]].store->param[a[1]].name;
    for (size_t i = g->n_names; i-- > 0;)
        if (g->names[i].id == id)
            return g->names[i].text;
    return NULL;
}

static void print_node(const ur_graph *g, FILE *to, uint32_t id)
{
    const ur__node *x = &g->tape.node[id];
    const char *name = name_of(g, id), *style = "";
    if (x->op == &ur__op_param || x->op == &ur__op_import)
        style = ", shape=box, style=filled, fillcolor=\"#dde8f5\"";
    else if (x->op->kind == UR_LEAF)
        style = ", shape=box";
    else if (x->op->kind == UR_EFFECT || x->op->kind == UR_REQUEST)
        style = ", style=bold";
    fprintf(to, "    n%u [label=\"", (unsigned)id);
    if (name) {
        print_quoted(to, name);
        fputs("\\n", to);
    }
    if (!name || x->op->kind != UR_LEAF)
        print_quoted(to, x->op->name);
    fprintf(to, "\\n%s\"%s];\n", ur__shape_text(g->shape[x->shape].s), style);
}

/* Scopes from the outermost in: opens what `now` has beyond `was`, closes what it lacks. */
static void change_scope(const ur_graph *g, FILE *to, uint32_t was, uint32_t now, unsigned *cluster)
{
    uint32_t path[2][64];
    int depth[2] = { 0, 0 };
    for (int k = 0; k < 2; k++)
        for (uint32_t s = k ? now : was; s && depth[k] < 64; s = g->scopes[s - 1].parent)
            path[k][depth[k]++] = s;
    int shared = 0;
    while (shared < depth[0] && shared < depth[1] &&
           path[0][depth[0] - 1 - shared] == path[1][depth[1] - 1 - shared])
        shared++;
    for (int k = shared; k < depth[0]; k++)
        fputs("    }\n", to);
    for (int k = shared; k < depth[1]; k++) {
        const ur__scope *s = &g->scopes[path[1][depth[1] - 1 - k] - 1];
        fprintf(to, "    subgraph cluster_%u {\n    style=rounded; color=\"#888888\"; label=\"",
                (*cluster)++);
        print_quoted(to, s->name);
        if (s->t >= 0)
            fprintf(to, ", t=%d", s->t);
        fputs("\";\n", to);
    }
}

bool ur_print_dot(ur_graph *g, FILE *to)
{
    if (!g || g->owner.failed)
        return false;
    const ur__tape *t = &g->tape;
    uint32_t scope = 0;
    unsigned cluster = 0;
    fputs("digraph tape {\n    rankdir=BT; node [fontname=\"sans-serif\", fontsize=10];\n", to);
    for (uint32_t id = 0; id < t->n; id++) {
        uint32_t now = t->node[id].op->kind == UR_LEAF ? 0 : t->origin[id].scope;
        change_scope(g, to, scope, now, &cluster);
        scope = now;
        print_node(g, to, id);
    }
    change_scope(g, to, scope, 0, &cluster);
    for (uint32_t id = 0; id < t->n; id++)
        for (uint32_t i = 0; i < t->node[id].n_in; i++)
            fprintf(to, "    n%u -> n%u;\n", (unsigned)t->operand[t->node[id].in + i],
                    (unsigned)id);
    fputs("}\n", to);
    return !ferror(to);
}
