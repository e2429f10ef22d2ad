/* Groups: parameters with a rate and a weight decay of their own. */
#include <math.h>
#include "optim/internal.h"

/* Whether a name fits a pattern of `size` characters, in which one * stands for any text. */
static bool fits(const char *name, const char *pattern, size_t size)
{
    size_t length = strlen(name);
    const char *star = memchr(pattern, '*', size);
    if (!star)
        return length == size && memcmp(name, pattern, size) == 0;
    size_t head = (size_t)(star - pattern), tail = size - head - 1;
    return length >= head + tail && memcmp(name, pattern, head) == 0 &&
           memcmp(name + length - tail, star + 1, tail) == 0;
}

static const ur__group *new_group(ur_optim *opt, double lr_factor, double weight_decay)
{
    if (!(lr_factor >= 0 && isfinite(lr_factor) && weight_decay >= 0 && isfinite(weight_decay))) {
        ur__fail(&opt->ps->owner, "group: lr_factor %g and weight_decay %g must be numbers of at "
                                  "least 0", lr_factor, weight_decay);
        return NULL;
    }
    ur__group *group = ur_params_alloc(opt->state, sizeof *group);
    if (!group)
        ur__out_of_memory(&opt->ps->owner);
    else
        *group = (ur__group){ lr_factor, weight_decay };
    return group;
}

/* Members of the group that `names` selects; with group NULL they are only counted, which tells
 * whether every name fits one before anything is changed. */
static int select_names(ur_optim *opt, const char *names, const ur__group *group)
{
    int selected = 0;
    for (const char *p = names + strspn(names, " "); *p; p += strspn(p, " ")) {
        size_t size = strcspn(p, " ");
        int found = 0;
        for (size_t k = 0; k < opt->ps->n; k++)
            if (fits(opt->ps->param[k].name, p, size)) {
                found++;
                if (group)
                    opt->group[k] = group;
            }
        if (!found) {
            ur__fail(&opt->ps->owner, "group: no parameter is called \"%.*s\"", (int)size, p);
            return 0;
        }
        selected += found;
        p += size;
    }
    return selected;
}

int ur_group(ur_optim *opt, const char *names, double lr_factor, double weight_decay)
{
    if (!opt || !names || !select_names(opt, names, NULL))
        return 0;
    const ur__group *group = new_group(opt, lr_factor, weight_decay);
    return group ? select_names(opt, names, group) : 0;
}

int ur_group_list(ur_optim *opt, const ur_node W[], int n, double lr_factor, double weight_decay)
{
    if (!opt)
        return 0;
    for (int i = 0; i < n; i++)
        if (W[i].owner != opt->ps || !ur__live(W[i])) {
            ur__fail(&opt->ps->owner, "group: node %d of %d is no parameter of this optimiser's "
                                      "store", i + 1, n);
            return 0;
        }
    const ur__group *group = new_group(opt, lr_factor, weight_decay);
    for (int i = 0; group && i < n; i++)
        opt->group[W[i].id] = group;
    return group ? n : 0;
}
