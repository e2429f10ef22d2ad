/* page.h: what pictures are written by, for the files of the kit that draw (page.c). */
#ifndef UNROLL_EXAMPLES_PAGE_H
#define UNROLL_EXAMPLES_PAGE_H

#include "examples/kit/kit.h"

/* Writes what `draw` prints by kit_write_aside, and fails as that does, or when memory runs out. */
bool kit_write_page(const char *path, void (*draw)(FILE *f, const void *what), const void *what);

/* The beginning of an SVG page, white, up to its contents. */
void kit_open_page(FILE *f, const char *title, int width, int height);
/* Writes the template with each '@' replaced by the next number. */
void kit_put(FILE *f, const char *template, const double *numbers);
/* Writes text for XML, at most `most` characters. */
void kit_put_text(FILE *f, const char *s, int most);
int kit_characters(const char *s);

#endif
