/* midi.c: a standard MIDI file of one track (MIDI Manufacturers Association, "Standard MIDI Files
 * 1.0", 1988): a header, then events, each after the number of ticks that it comes later than the
 * one before. */
#include "examples/kit/kit.h"

#include <stdlib.h>
#include <string.h>

enum { TICKS = 96, VELOCITY = 80 }; /* of a frame; how loud */

typedef struct {
    unsigned char *bytes;
    size_t n;
} track;

/* A time in groups of seven bits, all but the last marked by the top bit. */
static void put_length(track *t, unsigned long value)
{
    int shift = 0;
    while (shift < 21 && value >> (shift + 7))
        shift += 7;
    for (; shift > 0; shift -= 7)
        t->bytes[t->n++] = (unsigned char)(0x80 | (value >> shift & 0x7f));
    t->bytes[t->n++] = (unsigned char)(value & 0x7f);
}

static void put(track *t, const void *bytes, size_t n)
{
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
}

static void put_number(track *t, unsigned long value, int size)
{
    while (--size >= 0)
        t->bytes[t->n++] = (unsigned char)(value >> (8 * size) & 0xff);
}

bool kit_midi(const char *path, const unsigned char *notes, size_t frames, double bpm)
{
    enum { KEYS = 128, EVENT = 8 };
    track t = { malloc(64 + (frames + 1) * KEYS * EVENT), 0 };
    unsigned long wait = 0;
    if (!t.bytes) {
        kit_warn("cannot write '%s': out of memory", path);
        return false;
    }
    put(&t, "MThd\0\0\0\6\0\0\0\1", 12);
    put_number(&t, TICKS, 2);
    put(&t, "MTrk\0\0\0\0\0\xff\x51\3", 12); /* the tempo, in microseconds a beat */
    put_number(&t, (unsigned long)(60e6 / bpm), 3);
    for (size_t f = 0; f <= frames; f++, wait += TICKS)
        for (int key = 0; key < KEYS; key++) {
            bool on = f < frames && notes[f * KEYS + (size_t)key];
            bool was = f > 0 && notes[(f - 1) * KEYS + (size_t)key];
            if (on != was) {
                put_length(&t, wait);
                put(&t, (unsigned char[]){ on ? 0x90 : 0x80, (unsigned char)key, VELOCITY }, 3);
                wait = 0;
            }
        }
    put(&t, "\0\xff\x2f\0", 4);
    size_t length = t.n - 22, end = t.n;
    t.n = 18;
    put_number(&t, (unsigned long)length, 4);
    bool written = kit_write_aside(path, t.bytes, end);
    free(t.bytes);
    return written;
}
