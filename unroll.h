/* unroll.h: all of the library. Each header is a manual:
 *     graph.h   the tape: nodes, parameters, gradients, states, runs, saving; start there
 *     ops.h     the operations, with their formulas
 *     layers.h  cells and layers; sequences.h: cells over sequences, included by it
 *     attention.h  attention, decoders, transformers
 *     structured.h  CRF, CTC, hidden Markov and n-gram models, bags and windows
 *     text.h    tokens, vocabularies, batches
 *     decode.h  sampling, beam search, scores of sequences
 *     optim.h   optimisers, clipping, schedules
 */
#ifndef UNROLL_H
#define UNROLL_H

#include "unroll/graph.h"
#include "unroll/op.h"
#include "unroll/ops.h"
#include "unroll/layers.h"
#include "unroll/attention.h"
#include "unroll/structured.h"
#include "unroll/text.h"
#include "unroll/decode.h"
#include "unroll/optim.h"
#include "unroll/check.h"

#endif
