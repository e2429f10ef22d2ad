/* The tape as Graphviz DOT: dot -Tsvg. Clusters by scope, and inside a layer by time step; inputs
 * as boxes, parameters as filled boxes, operations as ellipses, states and gradients in bold.
 *
 * Scopes are opened anew in every step, clusters are one for each layer and one for each of its
 * steps: all scopes of one name within one cluster. DOT adds to a cluster that it has seen before,
 * so nodes are printed in the order of the tape. */
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
    if (name)
        print_quoted(to, name);
    if (name && x->op->kind != UR_LEAF)
        fputs("\\n", to);
    if (!name || x->op->kind != UR_LEAF)
        print_quoted(to, x->op->name);
    fprintf(to, "\\n%s\"%s];\n", ur_shape_text(g->shape[x->shape].s), style);
}

/* ------------------------------------------------------------------------------------- clusters */

typedef struct cluster {
    const char *name;           /* of a layer; NULL: the step t of its parent */
    int t;
    uint32_t parent;            /* 1 + number, 0 none */
} cluster;

typedef struct drawing {
    const ur_graph *g;
    FILE *to;
    cluster *cluster;
    uint32_t *of, *index;       /* scope -> 1 + its cluster; hash table of 1 + cluster, or 0 */
    uint32_t n;
    size_t room, index_room;
} drawing;

static uint32_t cluster_of(drawing *d, const char *name, int t, uint32_t parent)
{
    uint64_t h = ur__mix(ur__mix(name ? ur__hash_text(name) : 0, (uint64_t)t), parent);
    for (size_t i = h & (d->index_room - 1);; i = (i + 1) & (d->index_room - 1)) {
        const cluster *c = d->index[i] ? &d->cluster[d->index[i] - 1] : NULL;
        if (c && (c->parent != parent || c->t != t || !c->name != !name ||
                  (name && strcmp(c->name, name) != 0)))
            continue;
        if (!c) {
            d->cluster[d->n] = (cluster){ name, t, parent };
            d->index[i] = ++d->n;
        }
        return d->index[i];
    }
}

/* A scope has at most two clusters of its own: the layer, and the step in it. */
static bool find_clusters(drawing *d)
{
    const size_t n = d->g->n_scopes;
    for (d->room = 2 * n + 1, d->index_room = 8; d->index_room < 2 * d->room;)
        d->index_room *= 2;
    d->cluster = ur__realloc(NULL, 0, d->room * sizeof *d->cluster);
    d->of = ur__realloc(NULL, 0, (n + 1) * sizeof *d->of);
    d->index = ur__realloc(NULL, 0, d->index_room * sizeof *d->index);
    if (!d->cluster || !d->of || !d->index)
        return false;
    memset(d->index, 0, d->index_room * sizeof *d->index);
    d->of[0] = 0;
    for (size_t i = 1; i <= n; i++) {
        const ur__scope *s = &d->g->scopes[i - 1];
        d->of[i] = cluster_of(d, s->name, -1, d->of[s->parent]);
        if (s->t >= 0)
            d->of[i] = cluster_of(d, NULL, s->t, d->of[i]);
    }
    return true;
}

/* Leaves are of a layer rather than of its first step. */
static uint32_t cluster_of_node(const drawing *d, uint32_t id)
{
    uint32_t c = d->of[d->g->tape.origin[id].scope];
    bool leaf = d->g->tape.node[id].op->kind == UR_LEAF;
    return c && leaf && !d->cluster[c - 1].name ? d->cluster[c - 1].parent : c;
}

/* From the outermost in: opens what `now` lies in beyond `was`, closes what it does not. */
static void change_cluster(const drawing *d, uint32_t was, uint32_t now)
{
    enum { DEEP = 128 };
    uint32_t path[2][DEEP];
    int depth[2] = { 0, 0 }, shared = 0;
    for (int k = 0; k < 2; k++)
        for (uint32_t c = k ? now : was; c && depth[k] < DEEP; c = d->cluster[c - 1].parent)
            path[k][depth[k]++] = c;
    while (shared < depth[0] && shared < depth[1] &&
           path[0][depth[0] - 1 - shared] == path[1][depth[1] - 1 - shared])
        shared++;
    for (int k = shared; k < depth[0]; k++)
        fputs("    }\n", d->to);
    for (int k = shared; k < depth[1]; k++) {
        uint32_t number = path[1][depth[1] - 1 - k];
        const cluster *c = &d->cluster[number - 1];
        fprintf(d->to, "    subgraph cluster_%u {\n    style=\"rounded,filled\"; fillcolor=\"%s\"; "
                "color=\"#888888\"; labeljust=l; labelloc=b; label=\"", (unsigned)number,
                c->name ? "#f4f4f4" : "#ffffff");
        if (c->name)
            print_quoted(d->to, c->name);
        else
            fprintf(d->to, "t=%d", c->t);
        fputs("\";\n", d->to);
    }
}

static void draw(const drawing *d)
{
    const ur__tape *t = &d->g->tape;
    uint32_t was = 0;
    fputs("digraph tape {\n    rankdir=BT; fontname=\"sans-serif\"; fontsize=12;\n"
          "    node [fontname=\"sans-serif\", fontsize=10];\n", d->to);
    for (uint32_t id = 0; id < t->n; id++) {
        uint32_t now = cluster_of_node(d, id);
        change_cluster(d, was, now);
        was = now;
        print_node(d->g, d->to, id);
    }
    change_cluster(d, was, 0);
    for (uint32_t id = 0; id < t->n; id++)
        for (uint32_t i = 0; i < t->node[id].n_in; i++)
            fprintf(d->to, "    n%u -> n%u;\n", (unsigned)t->operand[t->node[id].in + i],
                    (unsigned)id);
    fputs("}\n", d->to);
}

bool ur_print_dot(ur_graph *g, FILE *to)
{
    if (!g || g->owner.failed)
        return false;
    drawing d = { .g = g, .to = to };
    bool ok = find_clusters(&d);
    if (ok)
        draw(&d);
    else
        ur__out_of_memory(&g->owner);
    ur__realloc(d.cluster, d.cluster ? d.room * sizeof *d.cluster : 0, 0);
    ur__realloc(d.of, d.of ? (g->n_scopes + 1) * sizeof *d.of : 0, 0);
    ur__realloc(d.index, d.index ? d.index_room * sizeof *d.index : 0, 0);
    return ok && !ferror(to);
}
