/* Parameters of PyTorch's recurrent modules and of nn.Linear.
 *
 * For q gates PyTorch keeps weight_ih [q H, I], weight_hh [q H, H], bias_ih and bias_hh [q H], with
 * y = W x, the gates stacked in the order
 *     LSTM  i f g o        GRU  r z n        RNN  one
 * A matrix here acts on [h, x], on h or on x alone: rows from weight_hh, then rows from weight_ih,
 * transposed. A bias is bias_ih + bias_hh, or the one that belongs to its matrix.
 */
#include "graph/internal.h"
#include "graph/safetensors.h"
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

/* The tensors of one layer of a module, in double; a bias that the file lacks is NULL. */
enum { W_IH, W_HH, B_IH, B_HH, TENSORS };
typedef struct source {
    ur_params *ps;
    ur__st_file file;
    const char *path, *module;
    double *data[TENSORS];
    size_t count[TENSORS];
} source;

static bool fail(source *s, const char *text)
{
    return ur__fail(&s->ps->owner, "import_torch: %s", text);
}

static bool open_source(source *s, ur_params *ps, const char *path, const char *module)
{
    char why[400];
    *s = (source){ .ps = ps, .path = path, .module = module };
    return ur__st_open(&s->file, path, why, sizeof why) || fail(s, why);
}

static void close_source(source *s)
{
    for (int k = 0; k < TENSORS; k++)
        ur__realloc(s->data[k], s->count[k] * sizeof *s->data[k], 0);
    ur__st_close(&s->file);
}

static void tensor_name(const source *s, const char *name, int layer, char *out, size_t size)
{
    const char *dot = s->module[0] ? "." : "";
    if (layer < 0)
        snprintf(out, size, "%s%s%s", s->module, dot, name);
    else
        snprintf(out, size, "%s%s%s_l%d", s->module, dot, name, layer);
}

static bool wrong_size(source *s, const ur__st_tensor *t, ur_shape needed)
{
    char is[100] = "";
    size_t n = 0;
    for (int i = 0; i < t->rank && n < sizeof is; i++)
        n += (size_t)snprintf(is + n, sizeof is - n, "%s%llu", i ? "," : "",
                              (unsigned long long)t->dim[i]);
    return ur__fail(&s->ps->owner, "import_torch: \"%s\" of '%s' is [%s], but %s is needed",
                    t->name, s->path, is, ur__shape_text(needed));
}

/* Tensor k, of the given size, into memory of our own; columns 0 for a vector. A layer below 0 has
 * no number in its name. */
static bool read_tensor(source *s, int k, const char *name, int layer, int rows, int columns)
{
    char full[200], why[400];
    tensor_name(s, name, layer, full, sizeof full);
    const ur__st_tensor *t = ur__st_find(&s->file, full);
    if (!t)
        return ur__fail(&s->ps->owner, "import_torch: '%s' has no tensor \"%s\"", s->path, full);
    if (t->rank != (columns ? 2 : 1) || t->dim[0] != (uint64_t)rows ||
        (columns && t->dim[1] != (uint64_t)columns))
        return wrong_size(s, t, (ur_shape){ columns ? 2 : 1, { rows, columns } });
    s->count[k] = (size_t)rows * (size_t)(columns ? columns : 1);
    s->data[k] = ur__realloc(NULL, 0, s->count[k] * sizeof *s->data[k]);
    if (!s->data[k])
        return ur__out_of_memory(&s->ps->owner);
    return ur__st_read(&s->file, t, UR__ST_F64, s->data[k], s->count[k], why, sizeof why) ||
           fail(s, why);
}

static void put(const ur_params *ps, void *values, size_t i, double v)
{
    if (ps->type == UR_F64)
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

/* The kind whose parameters the cell has, all of them and of the right size. */
static const kind *kind_of(const ur_cell *cell)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        bool fits = true;
        for (const piece *p = kinds[k].piece; p < kinds[k].piece + 8 && p->name; p++) {
            ur_shape s = ur_shape_of(parameter(cell, p->name));
            int rows = (p->on & ON_H ? cell->outputs : 0) + (p->on & ON_X ? cell->inputs : 0);
            fits = fits && ((s.rank == 2 && s.dim[0] == rows && s.dim[1] == cell->outputs) ||
                            (s.rank == 1 && s.dim[0] == cell->outputs));
        }
        if (fits)
            return &kinds[k];
    }
    ur__fail(&cell->params->owner, "import_torch: cell %s has not the parameters of PyTorch's "
                                   "LSTM (ur_lstm), GRU (ur_gru_reset_after) or RNN (ur_elman)",
             cell->name);
    return NULL;
}

static bool read_cell(source *s, const ur_cell *cell, const kind *k, int layer)
{
    const int H = cell->outputs, rows = k->gates * H;
    char name[200];
    tensor_name(s, "bias_ih", layer, name, sizeof name);
    const bool biased = ur__st_find(&s->file, name) != NULL;
    return read_tensor(s, W_IH, "weight_ih", layer, rows, cell->inputs) &&
           read_tensor(s, W_HH, "weight_hh", layer, rows, H) &&
           (!biased || (read_tensor(s, B_IH, "bias_ih", layer, rows, 0) &&
                        read_tensor(s, B_HH, "bias_hh", layer, rows, 0)));
}

bool ur_import_torch(ur_cell *cell, const char *path, const char *module, int layer)
{
    source s;
    const kind *k = ur_cell_usable(cell) && !ur_error(cell->params) ? kind_of(cell) : NULL;
    if (!k)
        return false;
    bool ok = open_source(&s, cell->params, path, module) && read_cell(&s, cell, k, layer) &&
              ur_values(s.ps);
    for (const piece *p = k->piece; ok && p < k->piece + 8 && p->name; p++)
        put_piece(&s, cell, p);
    if (ok)
        ur_params_changed(s.ps);
    close_source(&s);
    return ok;
}

bool ur_import_torch_linear(ur_linear_layer layer, const char *path, const char *module)
{
    source s;
    const int I = ur_dim(layer.W, 0), O = ur_dim(layer.W, 1);
    ur_params *ps = layer.W.owner;
    if (ur_is_nil(layer.W) || ur_error(ps) || !open_source(&s, ps, path, module))
        return false;
    bool ok = read_tensor(&s, W_IH, "weight", -1, O, I) &&
              (!layer.b.owner || read_tensor(&s, B_IH, "bias", -1, O, 0)) && ur_values(ps);
    if (ok) {
        put_transposed(&s, ur_param_values(layer.W), 0, s.data[W_IH], 0, I, O);
        for (int o = 0; layer.b.owner && o < O; o++)
            put(ps, ur_param_values(layer.b), (size_t)o, s.data[B_IH][o]);
        ur_params_changed(ps);
    }
    close_source(&s);
    return ok;
}
