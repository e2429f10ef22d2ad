/* Errors: the funnel that all of them pass, and the pieces that their one line is made of.
 *
 *     cell.c:41: add: h is [2,7] but lstm.b is [3,16]: sizes 7 and 16 differ (in lstm, t=0)
 *     place      op   operands as the program calls them                      scope
 *
 * Texts are cut at the length of their buffers, never rejected for it. */
#include "graph/internal.h"

static ur_error_hook *error_hook;
static void *error_user;

void ur_set_error_hook(ur_error_hook *hook, void *user)
{
    error_hook = hook;
    error_user = user;
}

static bool fail(ur__owner *o, const char *text)
{
    if (!o || o->failed)
        return false;
    o->failed = true;
    snprintf(o->error, sizeof o->error, "%s", text);
    if (error_hook)
        error_hook(error_user, o, o->error);
    return false;
}

bool ur__fail(ur__owner *o, const char *format, ...)
{
    char text[sizeof o->error];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(o, text);
}

bool ur_fail(void *graph_or_store, ur_at at, const char *what, const char *format, ...)
{
    ur__owner *o = graph_or_store;
    if (!o || o->failed)
        return false;
    char text[sizeof o->error];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (o->what == UR__GRAPH)
        return ur__fail_at(graph_or_store, at, what, "%s", text);
    return ur__fail(o, "%s%s%s%s", ur__place(at), what ? what : "", what ? ": " : "", text);
}

bool ur__out_of_memory(ur__owner *o)
{
    return fail(o, "out of memory");
}

const char *ur_error(const void *graph_or_store)
{
    const ur__owner *o = graph_or_store;
    if (!o)
        return "there is no graph or store here: out of memory when it was made";
    return o->failed ? o->error : NULL;
}

void ur_error_reset(void *graph_or_store)
{
    ur__owner *o = graph_or_store;
    if (!o)
        return;
    o->failed = false;
    o->error[0] = 0;
}

/* --------------------------------------------------------------------------------------- texts */

enum { TEXT = 320 };

/* The next buffer of this thread's ring. */
static char *next_text(void)
{
    static _Thread_local char ring[16][TEXT];
    static _Thread_local unsigned turn;
    return ring[turn++ % 16];
}

/* Where the line number of a place begins, and with *arguments where its arguments do; NULL when
 * it is no "file:line:arguments". */
static const char *line_of(ur_at at, const char **arguments)
{
    for (const char *colon = at; colon && (colon = strchr(colon, ':')) != NULL; colon++) {
        size_t digits = strspn(colon + 1, "0123456789");
        if (digits && colon[1 + digits] == ':') {
            *arguments = colon + digits + 2;
            return colon + 1;
        }
    }
    return NULL;
}

const char *ur__place(ur_at at)
{
    const char *arguments, *line = line_of(at, &arguments);
    if (!line)
        return "";
    const char *file = line;
    while (file > at && file[-1] != '/' && file[-1] != '\\')
        file--;
    char *text = next_text();
    snprintf(text, TEXT, "%.*s ", (int)(arguments - file), file);
    return text;
}

static void shape_into(char *out, size_t size, ur_shape s)
{
    size_t n = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < s.rank && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%d", i ? "," : "", s.dim[i]);
    if (n < size)
        snprintf(out + n, size - n, "]");
}

const char *ur_shape_text(ur_shape s)
{
    char *text = next_text();
    shape_into(text, TEXT, s);
    return text;
}

/* Written from the end, since a scope knows what it lies in but not what lies in it. */
const char *ur__scope_text(const ur_graph *g, uint32_t scope)
{
    char *text = next_text(), *p = text + TEXT - 1, piece[TEXT];
    *p = 0;
    for (; scope && scope <= g->n_scopes; scope = g->scopes[scope - 1].parent) {
        const ur__scope *s = &g->scopes[scope - 1];
        const char *name = s->name ? s->name : "";
        if (s->t >= 0)
            snprintf(piece, sizeof piece, "%s%st=%d", name, name[0] ? ", " : "", s->t);
        else
            snprintf(piece, sizeof piece, "%s", name);
        size_t n = strlen(piece), comma = *p && n ? 2 : 0;
        if (n + comma + 5 > (size_t)(p - text)) {
            p -= 5;
            memcpy(p, "..., ", 5);
            break;
        }
        p -= comma;
        memcpy(p, ", ", comma);
        p -= n;
        memcpy(p, piece, n);
    }
    return p;
}

/* The end of one argument: the comma that no bracket and no quote encloses, or the end. */
static const char *argument_end(const char *p)
{
    int depth = 0;
    char quote = 0;
    for (; *p; p++) {
        if (quote) {
            if (*p == '\\' && p[1])
                p++;
            else if (*p == quote)
                quote = 0;
        } else if (*p == '"' || *p == '\'') {
            quote = *p;
        } else if (*p == '(' || *p == '[' || *p == '{') {
            depth++;
        } else if (*p == ')' || *p == ']' || *p == '}') {
            depth--;
        } else if (*p == ',' && depth <= 0) {
            break;
        }
    }
    return p;
}

void ur__argument(ur_at at, int k, char *out, size_t size)
{
    const char *begin, *end;
    out[0] = 0;
    if (!line_of(at, &begin))
        return;
    for (; (end = argument_end(begin)) != NULL && k > 0; k--) {
        if (!*end)
            return;
        begin = end + 1;
    }
    begin += strspn(begin, " ");
    while (end > begin && end[-1] == ' ')
        end--;
    snprintf(out, size, "%.*s", (int)(end - begin), begin);
}

/* ------------------------------------------------------------------------------------ operands */

/* The program's name for a node of g, or "" where it has none: a parameter's own, one given by
 * ur_named, the argument's text where it is short. */
static void name_into(char *out, size_t size, ur_graph *g, uint32_t id, ur_at at, int k)
{
    enum { SHORT = 40 };
    const ur__node *x = ur__at(g, id);
    if (x->op == &ur__op_param || x->op == &ur__op_import) {
        const int64_t *attr = &g->into->attr[x->attr];
        snprintf(out, size, "%s", g->slot[attr[0]].store->param[attr[1]].name);
        return;
    }
    if (g->into == &g->tape)    /* names are of the tape's nodes, not of a plan's */
        for (size_t i = g->n_names; i-- > 0;)
            if (g->names[i].id == id) {
                snprintf(out, size, "%s", g->names[i].text);
                return;
            }
    /* A composite passes its caller's place on to its parts. What one part made at that place and
     * another takes is none of the caller's arguments. */
    bool made_here = at && g->into->origin[id].at == at && !g->rule_of;
    ur__argument(made_here ? NULL : at, k, out, size);
    if (strlen(out) > SHORT)
        out[0] = 0;
}

const char *ur__gone(ur_node x)
{
    return x.owner && x.generation ? "is of a tape that was cleared since" : "is nil";
}

const char *ur_called(ur_node x, ur_at at, int k)
{
    char name[TEXT - 100] = "", shape[100];
    char *text = next_text();
    if (!ur__live(x)) {
        ur__argument(at, k, name, sizeof name);
        if (!name[0])
            snprintf(name, sizeof name, "operand %d", k);
        snprintf(text, TEXT, "%s %s", name, ur__gone(x));
        return text;
    }
    if (((ur__owner *)x.owner)->what == UR__STORE) {
        snprintf(name, sizeof name, "%s", ((ur_params *)x.owner)->param[x.id].name);
    } else {
        ur_graph *g = ur__graph(x);
        name_into(name, sizeof name, g, x.id, at, k);
        if (!name[0])
            snprintf(name, sizeof name, "node %u (%s)", (unsigned)x.id, ur__at(g, x.id)->op->name);
    }
    ur_shape s = ur_shape_of(x);
    bool ints = ur_type_of(x) == UR_I32;
    if (s.rank == 0) {
        snprintf(text, TEXT, "%s is %s", name, ints ? "an int32 scalar" : "a scalar");
    } else {
        shape_into(shape, sizeof shape, s);
        snprintf(text, TEXT, "%.200s is %s%s", name, ints ? "int32 " : "", shape);
    }
    return text;
}

/* While a gradient rule runs, its own line comes first and the one it differentiates last. */
bool ur__fail_at(ur_graph *g, ur_at at, const char *op, const char *format, ...)
{
    if (g->owner.failed)
        return false;
    char text[sizeof g->owner.error], front[TEXT + 80], behind[2 * TEXT + 40];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    const ur__origin *rule_of = g->rule_of;
    if (rule_of && !at)
        at = rule_of->at;
    bool has_op = op && *op;
    snprintf(front, sizeof front, "%s%.70s%s", ur__place(at), has_op ? op : "", has_op ? ": " : "");

    const char *scope = ur__scope_text(g, rule_of ? rule_of->scope : g->scope);
    const char *of = rule_of && rule_of->at != at ? ur__place(rule_of->at) : "";
    size_t n = 0;
    if (*scope)
        n += (size_t)snprintf(behind, sizeof behind, " (in %s", scope);
    if (*of)    /* without its last ": " */
        n += (size_t)snprintf(behind + n, sizeof behind - n, "%sthe gradient of %.*s",
                              n ? ", " : " (in ", (int)strlen(of) - 2, of);
    snprintf(behind + n, sizeof behind - n, "%s", n ? ")" : "");

    /* A long text is cut, rather than the scope. */
    size_t room = sizeof text - 1, taken = strlen(front) + strlen(behind);
    room = taken < room ? room - taken : 0;
    if (strlen(text) > room)
        text[room] = 0;
    return ur__fail(&g->owner, "%s%s%s", front, text, behind);
}
