/* A table of vectors, one for each symbol.
 *
 *     y = E[id]
 */
#include "unroll/layers.h"
#include "unroll/ops.h"

ur_embedding ur_embedding_with(ur_params *ps, const char *name, int V, int F, ur_init E)
{
    return (ur_embedding){ ur_param(ps, ur_namef(ps, "%s.E", name), E, V, F) };
}

ur_embedding ur_embedding_new(ur_params *ps, const char *name, int V, int F)
{
    return ur_embedding_with(ps, name, V, F, ur_normal_with(0, 1));
}

ur_node ur_embed_at(ur_at at, ur_embedding embedding, ur_node ids)
{
    return ur_gather_at(at, embedding.E, ids);
}

ur_node (ur_embed)(ur_embedding embedding, ur_node ids)
{
    return ur_embed_at(NULL, embedding, ids);
}
