/* Cells against outputs that others computed:
 *   rtneural   an LSTM and a GRU of PyTorch's, one layer, three stacked, a linear layer, 1000
 *              steps, written to a safetensors file and read by ur_import_torch
 *   keras-js   nine LSTMs and nine GRUs of Keras's with hard sigmoids, backwards and stateful, as
 *              cells of a user's own
 * The data lies beside the tree; where it does not, the tests are skipped. */
#include "tests/test.h"
#include "tests/child.h"
#include "graph/safetensors.h"
#include "unroll/unroll.h"

#define ORACLE TEST_ROOT "/../shared/data/oracle/"

/* ----------------------------------------------------------------- a reader of well-formed JSON */

typedef struct json {
    char type;                  /* '{', '[', '"' or '0', a number */
    const char *key;            /* in an object */
    double number;
    struct json *first, *next;
} json;

typedef struct reader {
    char *at;
    json *pool;
    size_t used, size;
} reader;

static json *read_json(reader *r)
{
    static json none;
    r->at += strspn(r->at, " \t\r\n");
    if (r->used == r->size)
        return &none;
    json *v = &r->pool[r->used++], **last = &v->first;
    *v = (json){ .type = *r->at };
    if (v->type == '"') {
        r->at = strchr(r->at + 1, '"') + 1;
    } else if (v->type == '{' || v->type == '[') {
        for (r->at++; *r->at && *r->at != ']' && *r->at != '}';) {
            const char *key = NULL;
            r->at += strspn(r->at, " \t\r\n,");
            if (v->type == '{') {
                key = r->at + 1;
                r->at = strchr(key, '"');
                *r->at = 0;
                r->at = strchr(r->at + 1, ':') + 1;
            }
            *last = read_json(r);
            (*last)->key = key;
            last = &(*last)->next;
            r->at += strspn(r->at, " \t\r\n,");
        }
        r->at += *r->at != 0;
    } else {
        v->type = '0';
        v->number = strtod(r->at, &r->at);
    }
    return v;
}

enum { NODES = 20000, TEXT = 1 << 20 };

/* A file's JSON in memory of its own until the next call; NULL without the file. */
static const json *load_json(const char *path)
{
    static json pool[NODES];
    static char text[TEXT];
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    return read_json(&(reader){ .at = text, .pool = pool, .size = NODES });
}

static const json *member(const json *v, const char *key)
{
    for (v = v ? v->first : NULL; v; v = v->next)
        if (strcmp(v->key, key) == 0)
            return v;
    return NULL;
}

/* All numbers in nested arrays, in order; returns how many. */
static int numbers(const json *v, double *to)
{
    int n = 0;
    if (v && v->type == '0')
        *to = v->number;
    for (const json *e = v ? v->first : NULL; e; e = e->next)
        n += numbers(e, to + n);
    return v && v->type == '0' ? 1 : n;
}

/* -------------------------------------------------------------------------------------- PyTorch */

enum { STEPS = 1000, WIDTH = 8 };

static bool load_column(const char *kind, const char *which, double *to)
{
    char path[300];
    snprintf(path, sizeof path, ORACLE "rtneural/%s_torch_%s_python.csv", kind, which);
    FILE *f = fopen(path, "r");
    int n = 0;
    while (f && n < STEPS && fscanf(f, "%lf%*[^\n]", &to[n]) == 1)
        n++;
    if (f)
        fclose(f);
    return n == STEPS;
}

/* The parameters of the JSON file as a safetensors file of F32, as PyTorch users write them. */
static const char *as_safetensors(const json *model)
{
    static float data[8192];
    ur__st_out tensor[32];
    size_t n = 0, used = 0;
    for (const json *v = model->first; v && n < 32; v = v->next, n++) {
        double value[1024];
        int count = numbers(v, value), rows = 0;
        for (const json *row = v->first; row; row = row->next)
            rows++;
        bool matrix = v->first->type == '[';
        tensor[n] = (ur__st_out){ v->key, UR__ST_F32, matrix ? 2 : 1,
                                  { (uint64_t)rows, (uint64_t)(count / rows) }, data + used };
        for (int i = 0; i < count; i++)
            data[used++] = (float)value[i];
    }
    const char *path = in_folder("torch.safetensors");
    char why[300] = "";
    CHECK(ur__st_write(path, tensor, n, NULL, 0, why, sizeof why));
    CHECK_STR(why, "");
    return path;
}

static void pytorch(const char *kind, ur_type precision,
                    ur_cell *make(ur_params *, const char *, int, int))
{
    char path[300], first[10], second[10];
    double x[STEPS], expected[STEPS];
    snprintf(path, sizeof path, ORACLE "rtneural/%s_torch.json", kind);
    const json *model = load_json(path);
    if (!model || !load_column(kind, "x", x) || !load_column(kind, "y", expected))
        SKIP("no shared/data/oracle/rtneural");
    snprintf(first, sizeof first, "%s", kind);
    snprintf(second, sizeof second, "%s2", kind);
    const char *file = as_safetensors(model);

    ur_params *ps = ur_params_new(precision, 1);
    ur_cell *layer[4] = { make(ps, "a", 1, WIDTH), make(ps, "b", WIDTH, WIDTH),
                          make(ps, "c", WIDTH, WIDTH), make(ps, "d", WIDTH, WIDTH) };
    ur_linear_layer dense = ur_linear_new(ps, "dense", WIDTH, 1);
    ur_cell *all = ur_stacked("all", layer, 4, 0);
    bool read = ur_import_torch(layer[0], file, first, 0) &&
                ur_import_torch(layer[1], file, second, 0) &&
                ur_import_torch(layer[2], file, second, 1) &&
                ur_import_torch(layer[3], file, second, 2) &&
                ur_import_torch_linear(dense, file, "dense");
    CHECK_STR(ur_error(ps), NULL);
    REQUIRE(read);
    ur_graph *g = ur_graph_new(precision, UR_INFER);
    float narrow[STEPS];
    for (int t = 0; t < STEPS; t++)
        narrow[t] = (float)x[t];
    ur_node in = ur_input(g, precision == UR_F64 ? (void *)x : narrow, STEPS, 1, 1);
    ur_node y = ur_linear(dense, ur_unroll(all, in, NULL));
    const void *got = ur_data(y);
    CHECK_STR(ur_error(g), NULL);
    REQUIRE(got != NULL);
    for (int t = 0; t < STEPS; t++)
        CHECK_NEAR(precision == UR_F64 ? ((const double *)got)[t] : ((const float *)got)[t],
                   expected[t], 1e-5);
    ur_graph_free(g);
    ur_params_free(ps);
}

TEST(pytorch_lstm)
{
    pytorch("lstm", UR_F64, ur_lstm);
    if (!test_now.skipped)
        pytorch("lstm", UR_F32, ur_lstm);
}

TEST(pytorch_gru)
{
    pytorch("gru", UR_F64, ur_gru_reset_after);
    if (!test_now.skipped)
        pytorch("gru", UR_F32, ur_gru_reset_after);
}

/* ------------------------------------------------------------------------------------------- Keras
 *
 * Gates i f g o, or z r n with h' = z*h + (1-z)*n, from x W + h U + b, W [I, gates H]. */

typedef struct keras {
    ur_cell cell;
    ur_node W, U, b;
    ur_node (*act)(ur_node), (*gate)(ur_node);
} keras;

static ur_node hard_sigmoid(ur_node x)
{
    return ur_clamp(ur_shift(ur_scale(x, 0.2), 0.5), 0, 1);
}

/* Columns k H to (k+1) H of x W + h U + b. */
static ur_node part(const keras *p, ur_node x, ur_node h, int k)
{
    const int from = k * p->cell.outputs, to = from + p->cell.outputs;
    ur_node W = ur_slice(ur_use(ur_graph_of(x), p->W), 1, from, to);
    ur_node U = ur_slice(ur_use(ur_graph_of(x), p->U), 1, from, to);
    ur_node b = ur_slice(ur_use(ur_graph_of(x), p->b), 0, from, to);
    return ur_add(ur_affine(x, W, b), ur_matmul(h, U));
}

static ur_node lstm_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const keras *p = (const keras *)cell;
    ur_node i = p->gate(part(p, x, s[0], 0)), f = p->gate(part(p, x, s[0], 1));
    ur_node g = p->act(part(p, x, s[0], 2)), o = p->gate(part(p, x, s[0], 3));
    s[1] = ur_add(ur_mul(f, s[1]), ur_mul(i, g));
    return s[0] = ur_mul(o, p->act(s[1]));
}

static ur_node gru_step(const ur_cell *cell, ur_node x, ur_node s[])
{
    const keras *p = (const keras *)cell;
    ur_node h = s[0];
    ur_node z = p->gate(part(p, x, h, 0)), r = p->gate(part(p, x, h, 1));
    ur_node n = p->act(part(p, x, ur_mul(r, h), 2));
    return s[0] = ur_add(ur_mul(z, h), ur_mul(ur_one_minus(z), n));
}

static void set_parameter(ur_node W, const json *from)
{
    double *to = ur_param_values(W);
    if (from)
        CHECK_INT(numbers(member(from, "data"), to), ur_count(W));
    else
        memset(to, 0, ur_count(W) * sizeof *to);
}

static void shape_of(const json *v, double size[2])
{
    size[0] = size[1] = 0;
    numbers(member(v, "shape"), size);
}

/* One case: number 1 has logistic gates, the others hard ones; 3, 4, 7, 8 run backwards; 5 to 8
 * go on from the states after a first run; the expected output has one row or one a step. */
static void one_case(const json *model, int number, bool lstm)
{
    double size[2], expected_size[2], x[64], expected[64], got[64];
    const json *weights = member(model, "weights")->first;
    shape_of(member(model, "input"), size);
    shape_of(member(model, "expected"), expected_size);
    numbers(member(member(model, "input"), "data"), x);
    const int n = numbers(member(member(model, "expected"), "data"), expected);
    const int T = (int)size[0], I = (int)size[1];
    const int H = (int)(expected_size[1] > 0 ? expected_size[1] : expected_size[0]);
    const int gates = lstm ? 4 : 3;

    ur_params *ps = ur_params_new(UR_F64, 1);
    keras *p = ur_cell_new(ps, "keras", sizeof *p, lstm ? lstm_step : gru_step, I, H, lstm ? 2 : 1,
                           (int[]){ H, H });
    p->W = ur_param(ps, "W", ur_constant(0), I, gates * H);
    p->U = ur_param(ps, "U", ur_constant(0), H, gates * H);
    p->b = ur_param(ps, "b", ur_constant(0), gates * H);
    p->act = number == 1 ? ur_sigmoid : ur_tanh;
    p->gate = number == 1 ? ur_sigmoid : hard_sigmoid;
    set_parameter(p->W, weights);
    set_parameter(p->U, weights->next);
    set_parameter(p->b, weights->next->next);

    ur_graph *g = ur_graph_new(UR_F64, UR_INFER);
    ur_params *st = ur_cell_states(&p->cell, 1);
    for (int pass = 0; pass < (number >= 5 ? 2 : 1); pass++) {
        ur_clear(g);
        ur_node s[2], in = ur_input(g, x, T, 1, I);
        bool backwards = number == 3 || number == 4 || number >= 7;
        ur_state_in(g, st, s);
        ur_node y = ur_unroll(&p->cell, backwards ? ur_reverse(in, 0) : in, s);
        ur_state_out(st, s);
        CHECK(ur_read(expected_size[1] > 0 ? y : s[0], got, (size_t)n));
    }
    CHECK_STR(ur_error(g), NULL);
    for (int i = 0; i < n; i++)
        if (!CHECK_NEAR(got[i], expected[i], 1e-5))
            printf("  %s %d, element %d\n", lstm ? "LSTM" : "GRU", number, i);
    ur_graph_free(g);
    ur_params_free(st);
    ur_params_free(ps);
}

static void keras_cases(const char *kind, bool lstm)
{
    char path[300];
    snprintf(path, sizeof path, ORACLE "keras-js/%s.json", kind);
    const json *cases = load_json(path);
    if (!cases)
        SKIP("no shared/data/oracle/keras-js");
    int number = 0;
    for (const json *c = cases->first; c; c = c->next)
        one_case(c, number++, lstm);
    CHECK_INT(number, 9);
}

TEST(keras_lstm)
{
    keras_cases("LSTM", true);
}

TEST(keras_gru)
{
    keras_cases("GRU", false);
}

TEST_MAIN(T(pytorch_lstm), T(pytorch_gru), T(keras_lstm), T(keras_gru))
