"""What each ATen operation does to the labels of its axes; the table below is the documentation.

A rule gets the labels of the operands, ties what must go together, freezes what cannot be pruned through, and
returns the labels of the result. An operation that is not in the table freezes every channel it touches.

A rule is sound when deleting the removed positions of the operands leaves the kept positions of the result as
they were, given that a removed position counts as zero wherever a sum ends it.
"""

from __future__ import annotations

from torch import fx

from pruning.rules.channelwise import along, batch_norm, broadcast, prelu, reduction, window
from pruning.rules.context import Context as Context
from pruning.rules.context import Rule as Rule
from pruning.rules.context import operation as operation
from pruning.rules.context import shape_of as shape_of
from pruning.rules.context import unknown
from pruning.rules.contraction import convolution, linear, matmul
from pruning.rules.movement import (
    concatenation,
    item,
    padding,
    permutation,
    reshape,
    selection,
    slicing,
)

FAMILIES: dict[Rule, str] = {
    broadcast: """
        abs add alias bitwise_not ceil clamp clamp_max clamp_min clone contiguous cos detach detach_ div
        dropout elu erf exp expand expand_as feature_dropout floor gelu hardsigmoid hardswish hardtanh
        leaky_relu lift_fresh_copy log log1p log_sigmoid logical_not maximum minimum mish mul neg pow
        reciprocal relu relu6 round rsqrt rsub selu sigmoid sign silu sin softplus softsign sqrt square sub
        tanh threshold to _to_copy where
    """,
    convolution: "conv1d conv2d conv3d",
    linear: "linear",
    matmul: "matmul mm bmm",
    batch_norm: "batch_norm _native_batch_norm_legit_no_training",
    prelu: "prelu",
    window: """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d adaptive_max_pool1d
        adaptive_max_pool2d avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d
        max_pool2d_with_indices upsample_bilinear2d upsample_nearest2d
    """,
    reduction: "amax amin mean prod std sum var",
    along: "log_softmax _log_softmax softmax _softmax",
    concatenation: "cat concat",
    permutation: "permute swapaxes t transpose",
    reshape: "flatten reshape squeeze unflatten unsqueeze _unsafe_view view",
    slicing: "slice",
    selection: "select",
    padding: "constant_pad_nd pad",
    item: "getitem",
}

RULES: dict[str, Rule] = {name: rule for rule, names in FAMILIES.items() for name in names.split()}


def rule_for(node: fx.Node) -> Rule:
    """The rule of an operation, by its name without namespace and overload."""
    return RULES.get(operation(node), unknown)
