/* page.c: SVG pages, texts and numbers on them. */
#include "examples/kit/page.h"

#include <stdlib.h>
#include <string.h>

void kit_put(FILE *f, const char *template, const double *numbers)
{
    char text[64];
    for (; *template; template++) {
        if (*template == '@')
            fputs(kit_number(text, "%.1f", *numbers++), f);
        else
            fputc(*template, f);
    }
}

/* What XML forbids becomes U+FFFD or a space. */
void kit_put_text(FILE *f, const char *s, int most)
{
    for (int i = 0; *s; i++) {
        unsigned char c = (unsigned char)*s;
        size_t n = kit_utf8(s);
        if (i + 1 == most && s[n ? n : 1]) {
            fputs("\xe2\x80\xa6", f); /* an ellipsis */
            return;
        }
        if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
            fprintf(f, "&#%d;", c);
        else if (c == '\n' || c == '\t' || c == '\r')
            fputc(' ', f);
        else if (n == 0 || c < ' ' || c == 0x7f || memcmp(s, "\xef\xbf\xbe", n) == 0
                 || memcmp(s, "\xef\xbf\xbf", n) == 0)
            fputs("\xef\xbf\xbd", f);
        else
            fwrite(s, 1, n, f);
        s += n ? n : 1;
    }
}

int kit_characters(const char *s)
{
    int n = 0;
    for (; *s; n++)
        s += kit_utf8(s) ? kit_utf8(s) : 1;
    return n;
}

void kit_open_page(FILE *f, const char *title, int width, int height)
{
    fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\""
               " viewBox=\"0 0 %d %d\" role=\"img\"\n"
               "     font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif\""
               " font-size=\"13\">\n<title>", width, height, width, height);
    kit_put_text(f, title ? title : "", 1000);
    fprintf(f, "</title>\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", width, height);
}

bool kit_write_page(const char *path, void (*draw)(FILE *f, const void *what), const void *what)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    bool drawn = f != NULL;
    if (drawn) {
        draw(f, what);
        drawn = !ferror(f);
        drawn = fclose(f) == 0 && drawn;
    }
    if (!drawn)
        kit_warn("cannot draw '%s': out of memory", path);
    drawn = drawn && kit_write_aside(path, text, n);
    free(text);
    return drawn;
}
