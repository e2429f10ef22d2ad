/* A text cut into contiguous streams that are read side by side.
 *
 * Stream b of a batch of B is the b-th of B equal parts of the text (Mikolov et al., "Recurrent
 * neural network based language model", Interspeech 2010; Zaremba et al., 2014). */
#include "unroll/text.h"

ur_streams ur_streams_of(const int32_t *ids, size_t n, int rows, int steps)
{
    if (rows < 1 || steps < 1 || n == 0)
        return (ur_streams){ ids, 0, 0, rows, steps };
    size_t length = (n - 1) / (size_t)rows;
    return (ur_streams){ ids, length, length / (size_t)steps, rows, steps };
}

void ur_streams_segment(const ur_streams *s, size_t k, int32_t *x, int32_t *y)
{
    for (int b = 0; b < s->rows; b++) {
        const int32_t *from = s->ids + (size_t)b * s->length + k * (size_t)s->steps;
        for (int t = 0; t < s->steps; t++) {
            size_t to = (size_t)t * (size_t)s->rows + (size_t)b;
            x[to] = from[t];
            y[to] = from[t + 1];
        }
    }
}
