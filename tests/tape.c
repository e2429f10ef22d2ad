/* Recording and printing tapes: the table of forms is expanded once as C and once as text. */
#include "tests/tape.h"
#include <ctype.h>

ur_node tape_line_recorded(tape_run *r, const tape *t, int line, const ur_node v[])
{
    const tape_line *l = &t->line[line];
    ur_node L[TAPE_IN + 1] = { { NULL, 0, 0 } };
    const int n = l->n_in, rank = l->shape.rank, *dim = l->shape.dim;
    const int a = l->n[0], b = l->n[1], c = l->n[2], d = l->n[3], e = l->n[4];
    ur_graph *g = r->g;
    for (int i = 0; i < n; i++)
        L[i] = v[l->in[i]];
    ur_node x = L[0], y = L[1], z = L[2];
    (void)e;
    switch (l->form) {
#define FORM(name, how, ...) case FORM_##name: return __VA_ARGS__;
    TAPE_FORMS(FORM)
#undef FORM
    }
    return x;
}

/* Parameters come first: none can be added once a part of the tape has been run. */
void tape_recorded(tape_run *r, const void *ctx)
{
    const tape *t = ctx;
    ur_node v[TAPE_LINES], of[TAPE_IN + 1];
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < t->n; i++) {
            const tape_line *l = &t->line[i];
            if (l->gone || (l->form == FORM_weight) == pass)
                continue;
            v[i] = tape_line_recorded(r, t, i, v);
            of[0] = v[i];
            for (int k = 0; k < l->n_in; k++)
                of[k + 1] = v[l->in[k]];
            if (l->seen)
                tape_see(r, i, l->n_in < 8 ? l->n_in + 1 : 8, of);
            if (l->read)
                tape_read(r, v[i]);
        }
}

bool tape_used(const tape *t, int line)
{
    for (int i = line + 1; i < t->n; i++)
        for (int k = 0; k < t->line[i].n_in && !t->line[i].gone; k++)
            if (t->line[i].in[k] == line)
                return true;
    return false;
}

static bool effect(int form)
{
    return form == FORM_backward || form == FORM_state_out;
}

void tape_sweep(tape *t)
{
    bool needed[TAPE_LINES] = { false };
    for (int i = t->n - 1; i >= 0; i--) {
        tape_line *l = &t->line[i];
        l->gone = l->gone || !(needed[i] || l->seen || l->read || effect(l->form));
        for (int k = 0; k < l->n_in && !l->gone; k++)
            needed[l->in[k]] = true;
    }
}

/* ----------------------------------------------------------------------------------------- text */

static void print_array(const char *type, int n, const int x[], const char *prefix, FILE *to)
{
    if (!n) {
        fputs("NULL", to);
        return;
    }
    fprintf(to, "((%s[]){ ", type);
    for (int i = 0; i < n; i++)
        fprintf(to, "%s%s%d", i ? ", " : "", prefix, x[i]);
    fputs(" })", to);
}

/* One name in the text of a form. */
static void print_name(const tape_line *l, int line, const char *name, int length, FILE *to)
{
    const char c = *name;
    if (length == 4 && !memcmp(name, "line", 4))
        fprintf(to, "%d", line);
    else if (length == 4 && !memcmp(name, "rank", 4))
        fprintf(to, "%d", l->shape.rank);
    else if (length == 3 && !memcmp(name, "dim", 3))
        print_array("int", l->shape.rank, l->shape.dim, "", to);
    else if (length > 1 || c == 'g' || c == 'r')
        fprintf(to, "%.*s", length, name);
    else if (c == 'L')
        print_array("ur_node", l->n_in, l->in, "v", to);
    else if (c == 'n')
        fprintf(to, "%d", l->n_in);
    else if (c >= 'x')
        fprintf(to, "v%d", l->in[c - 'x']);
    else
        fprintf(to, "%d", l->n[c - 'a']);
}

static const char *const form_name[] = {
#define FORM(name, how, ...) #name,
    TAPE_FORMS(FORM)
#undef FORM
};

/* Lines of one form are recorded at one place when the table records them, and the planner may go
 * by places; so they are here. */
static void print_places(const tape *t, FILE *to)
{
    for (int form = 0; form < TAPE_N_FORMS; form++) {
        bool there = false;
        for (int i = 0; i < t->n; i++)
            there |= !t->line[i].gone && t->line[i].form == form;
        if (there)
            fprintf(to, "static const char at_%s[] = \"%s.c:1:\";\n", form_name[form],
                    form_name[form]);
    }
    fputs("static const char *place;\n#undef UR_AT\n#define UR_AT(arguments) place\n\n", to);
}

static void print_line(const tape *t, int i, FILE *to)
{
    static const char *const text[] = {
#define FORM(name, how, ...) #__VA_ARGS__,
        TAPE_FORMS(FORM)
#undef FORM
    };
    const tape_line *l = &t->line[i];
    fprintf(to, "    place = at_%s;\n    ur_node v%d = ", form_name[l->form], i);
    for (const char *p = text[l->form]; *p;) {
        int n = 0;
        while (isalnum((unsigned char)p[n]) || p[n] == '_' || (n && p[n] == '.'))
            n++;
        if (n && isalpha((unsigned char)*p))
            print_name(l, i, p, n, to);
        else
            fprintf(to, "%.*s", n ? n : 1, p);
        p += n ? n : 1;
    }
    fputs(";\n", to);
    if (l->seen) {
        int of[TAPE_IN + 1] = { i };
        memcpy(of + 1, l->in, sizeof l->in);
        fprintf(to, "    tape_see(r, %d, %d, ", i, l->n_in < 8 ? l->n_in + 1 : 8);
        print_array("ur_node", l->n_in < 8 ? l->n_in + 1 : 8, of, "v", to);
        fputs(");\n", to);
    }
    if (l->read)
        fprintf(to, "    tape_read(r, v%d);\n", i);
    if (!l->read && !l->seen && !tape_used(t, i))
        fprintf(to, "    (void)v%d;\n", i);
}

void tape_print(const tape *t, const tape_case *c, const char *why, FILE *to)
{
    fprintf(to, "/* %s\n"
            " * cc -I<tree> -I<build> <this>.c <build>/libunroll-core.a -lm -pthread */\n"
            "#include <stdio.h>\n#include \"tests/tape_compare.h\"\n\n", why);
    print_places(t, to);
    fprintf(to, "static void record(tape_run *r, const void *ctx)\n{\n"
            "    ur_graph *g = r->g;\n    (void)g, (void)ctx;\n");
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < t->n; i++)
            if (!t->line[i].gone && (t->line[i].form == FORM_weight) != pass)
                print_line(t, i, to);
    fprintf(to, "}\n\nint main(void)\n{\n"
            "    return tape_main(&(tape_case){ .record = record, .type = %s,\n"
            "        .all = \"%s\",\n        .off = \"%s\",\n"
            "        .threads = { %d, %d }, .small = %d, .part = %.17g });\n"
            "}\n",
            c->type == UR_F64 ? "UR_F64" : "UR_F32", c->all, c->off, c->threads[0], c->threads[1],
            c->small, c->part);
}
