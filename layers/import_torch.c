/* Parameters of PyTorch's recurrent modules and of nn.Linear.
 *
 * For q gates PyTorch keeps weight_ih [q H, I], weight_hh [q H, H], bias_ih and bias_hh [q H], with
 * y = W x, the gates stacked in the order
 *     LSTM  i f g o        GRU  r z n        RNN  one
 * A matrix here acts on [h, x], on h or on x alone: rows from weight_hh, then rows from weight_ih,
 * transposed. A bias is bias_ih + bias_hh, or the one that belongs to its matrix.
 */
#include <string.h>
#include "unroll/layers.h"

enum { ON_X = 1, ON_H = 2, ON_BOTH = 3 };

/* A parameter of a cell: its name behind the cell's, which gate, what it acts on. */
typedef struct piece {
    const char *name;
    int gate, on;
} piece;

typedef struct kind {
    const char *module;
    int gates;
    piece piece[8];             /* the first one's name tells the kinds apart */
} kind;

static const kind kinds[] = {
    { "LSTM", 4, { { "Wi", 0, ON_BOTH }, { "bi", 0, ON_BOTH }, { "Wf", 1, ON_BOTH },
                   { "bf", 1, ON_BOTH }, { "Wg", 2, ON_BOTH }, { "bg", 2, ON_BOTH },
                   { "Wo", 3, ON_BOTH }, { "bo", 3, ON_BOTH } } },
    { "GRU", 3, { { "Un", 2, ON_X }, { "bn", 2, ON_X }, { "Wn", 2, ON_H }, { "dn", 2, ON_H },
                  { "Wr", 0, ON_BOTH }, { "br", 0, ON_BOTH }, { "Wz", 1, ON_BOTH },
                  { "bz", 1, ON_BOTH } } },
    { "RNN", 1, { { "U", 0, ON_X }, { "W", 0, ON_H }, { "b", 0, ON_BOTH } } },
};

/* The tensors of one layer of a module: each is loaded, in double, into a store of its own. A bias
 * that the file lacks is NULL. */
enum { W_IH, W_HH, B_IH, B_HH, TENSORS };
typedef struct source {
    ur_params *ps;
    const char *path, *module;
    int layer;                  /* below 0: names have no number */
    ur_params *store[TENSORS];
    const double *data[TENSORS];
} source;

static void close_source(source *s)
{
    for (int k = 0; k < TENSORS; k++)
        ur_params_free(s->store[k]);
}

/* The store in which a tensor was not loaded is ours, so its error is told as one of the import. */
static bool not_loaded(const source *s, const char *why)
{
    static const char front[] = "load: ", behind[] = " in the store";
    why += strncmp(why, front, strlen(front)) == 0 ? strlen(front) : 0;
    size_t n = strlen(why), b = strlen(behind);
    bool shape = n > b && strcmp(why + n - b, behind) == 0;
    return ur_fail(s->ps, NULL, "import_torch", "%.*s%s", (int)(shape ? n - b : n), why,
                   shape ? " is needed" : "");
}

/* Tensor k, of the given size; columns 0 for a vector. What is not needed may be missing. */
static bool read_tensor(source *s, int k, const char *name, int rows, int columns, bool needed)
{
    char full[200], number[20] = "";
    ur_load_report report;
    if (s->layer >= 0)
        snprintf(number, sizeof number, "_l%d", s->layer);
    snprintf(full, sizeof full, "%s%s%s%s", s->module, s->module[0] ? "." : "", name, number);
    ur_params *store = s->store[k] = ur_params_new(UR_F64, 0);
    ur_node t = ur_param_at(NULL, store, full, ur_constant(0), columns ? 2 : 1,
                            (int[]){ rows, columns });
    if (!ur_load(s->path, &store, 1, false, &report))
        return not_loaded(s, ur_error(store));
    if (!report.loaded && needed)
        return ur_fail(s->ps, NULL, "import_torch", "'%s' has no tensor \"%s\"", s->path, full);
    s->data[k] = report.loaded ? ur_param_values(t) : NULL;
    return true;
}

static void put(ur_params *ps, void *values, size_t i, double v)
{
    if (ur_params_type(ps) == UR_F64)
        ((double *)values)[i] = v;
    else
        ((float *)values)[i] = (float)v;
}

static ur_node parameter(const ur_cell *cell, const char *name)
{
    char full[200];
    snprintf(full, sizeof full, "%s.%s", cell->name, name);
    return ur_find(cell->params, full);
}

/* to[at + c][u] = from[row + u][c] for u < H: a transposed block of rows. */
static void put_transposed(const source *s, void *to, int at, const double *from, int row,
                           int columns, int H)
{
    for (int u = 0; u < H; u++)
        for (int c = 0; c < columns; c++)
            put(s->ps, to, (size_t)(at + c) * (size_t)H + (size_t)u,
                from[(size_t)(row + u) * (size_t)columns + (size_t)c]);
}

static void put_piece(const source *s, const ur_cell *cell, const piece *p)
{
    const int H = cell->outputs, I = cell->inputs, row = p->gate * H;
    ur_node W = parameter(cell, p->name);
    void *to = ur_param_values(W);
    if (ur_shape_of(W).rank == 2) {
        if (p->on & ON_H)
            put_transposed(s, to, 0, s->data[W_HH], row, H, H);
        if (p->on & ON_X)
            put_transposed(s, to, p->on & ON_H ? H : 0, s->data[W_IH], row, I, H);
        return;
    }
    for (int u = 0; u < H; u++) {
        double b = 0;
        if (p->on & ON_X && s->data[B_IH])
            b += s->data[B_IH][row + u];
        if (p->on & ON_H && s->data[B_HH])
            b += s->data[B_HH][row + u];
        put(s->ps, to, (size_t)u, b);
    }
}

/* Whether the cell has an lstm's parameters and others besides: peepholes, or gains of sums. */
static bool has_more(const ur_cell *cell)
{
    return !ur_is_nil(parameter(cell, "pi")) || !ur_is_nil(parameter(cell, "ai"));
}

/* The kind whose parameters the cell has, all of them and of the right size. */
static const kind *kind_of(const ur_cell *cell)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        bool fits = !has_more(cell);
        for (const piece *p = kinds[k].piece; p < kinds[k].piece + 8 && p->name; p++) {
            ur_shape s = ur_shape_of(parameter(cell, p->name));
            int rows = (p->on & ON_H ? cell->outputs : 0) + (p->on & ON_X ? cell->inputs : 0);
            fits = fits && ((s.rank == 2 && s.dim[0] == rows && s.dim[1] == cell->outputs) ||
                            (s.rank == 1 && s.dim[0] == cell->outputs));
        }
        if (fits)
            return &kinds[k];
    }
    ur_fail(cell->params, NULL, "import_torch", "cell %s has not the parameters of PyTorch's LSTM "
            "(ur_lstm), GRU (ur_gru_reset_after) or RNN (ur_elman)", cell->name);
    return NULL;
}

static bool read_cell(source *s, const ur_cell *cell, const kind *k)
{
    const int H = cell->outputs, rows = k->gates * H;
    return read_tensor(s, W_IH, "weight_ih", rows, cell->inputs, true) &&
           read_tensor(s, W_HH, "weight_hh", rows, H, true) &&
           read_tensor(s, B_IH, "bias_ih", rows, 0, false) &&
           (!s->data[B_IH] || read_tensor(s, B_HH, "bias_hh", rows, 0, true));
}

bool ur_import_torch(ur_cell *cell, const char *path, const char *module, int layer)
{
    const kind *k = ur_cell_usable(cell) && !ur_error(cell->params) ? kind_of(cell) : NULL;
    if (!k)
        return false;
    source s = { .ps = cell->params, .path = path, .module = module, .layer = layer };
    bool ok = read_cell(&s, cell, k) && ur_values(s.ps);
    for (const piece *p = k->piece; ok && p < k->piece + 8 && p->name; p++)
        put_piece(&s, cell, p);
    if (ok)
        ur_params_changed(s.ps);
    close_source(&s);
    return ok;
}

bool ur_import_torch_linear(ur_linear_layer layer, const char *path, const char *module)
{
    const int I = ur_dim(layer.W, 0), O = ur_dim(layer.W, 1);
    ur_params *ps = layer.W.owner;
    if (ur_is_nil(layer.W) || ur_error(ps))
        return false;
    source s = { .ps = ps, .path = path, .module = module, .layer = -1 };
    bool ok = read_tensor(&s, W_IH, "weight", O, I, true) &&
              (!layer.b.owner || read_tensor(&s, B_IH, "bias", O, 0, true)) && ur_values(ps);
    if (ok) {
        put_transposed(&s, ur_param_values(layer.W), 0, s.data[W_IH], 0, I, O);
        for (int o = 0; layer.b.owner && o < O; o++)
            put(ps, ur_param_values(layer.b), (size_t)o, s.data[B_IH][o]);
        ur_params_changed(ps);
    }
    close_source(&s);
    return ok;
}
