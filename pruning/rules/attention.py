"""Scaled dot-product attention: heads pass, head dimensions of the values pass, those of the keys end."""

from __future__ import annotations

from torch import fx

from pruning.groups import MacTerm
from pruning.rules.context import Axes, Context, argument, place, shape_of
from pruning.rules.contraction import stretched


def attention(context: Context, node: fx.Node) -> Axes:
    """softmax(q k^T * scale + mask) v (Vaswani et al. 2017, eq. 1) of q [..., L, E], k [..., S, E], v [..., S, V].

    Without an explicit scale it is 1 / sqrt(E), so removing head dimensions of q and k would change it.
    """
    query, key, value = (context.operand(node, index) for index in range(3))
    labels, where = context.labels, place(node)
    labels.tie(query[-1], key[-1])
    labels.tie(key[-2], value[-2])
    labels.freeze(key[-2], f"mixed by {where}")
    if node.kwargs.get("scale") is None:
        labels.freeze(key[-1], f"scale of {where} depends on the head dimension")
    if node.kwargs.get("enable_gqa"):
        for axes in (query, key, value):
            labels.freeze(axes[-3], f"heads in groups of {where}")
    context.end(node, 0, -1)
    context.end(node, 1, -1)
    shape = shape_of(node.meta["val"])
    lead = stretched(context, node, [query[:-2], key[:-2], value[:-2]], shape[:-2])
    mask = argument(node, 3, "attn_mask")
    if isinstance(mask, fx.Node):
        scores = (*shape[:-1], len(key[-2]))
        stretched(context, node, [[*lead, query[-2], key[-2]], context.axes(mask)], scores)
    for features in (query[-1], value[-1]):
        context.terms.append(MacTerm(node.name, 1 / context.batch, (*lead, query[-2], key[-2], features)))
    return [*lead, query[-2], value[-1]]
