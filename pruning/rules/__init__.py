"""What each ATen operation does to the labels of its axes; the table below is the documentation.

A rule gets the labels of the operands, ties what must go together, freezes what cannot be pruned through, and
returns the labels of the result. An operation that is not in the table freezes every channel it touches.

A rule is sound when deleting the removed positions of the operands leaves the kept positions of the result as
they were, given that a removed position counts as zero wherever a sum ends it.
"""

from __future__ import annotations

from torch import fx

from pruning.rules.attention import attention
from pruning.rules.channelwise import along, broadcast, expansion, extreme, prelu, reduction, uniform, window
from pruning.rules.context import Context as Context
from pruning.rules.context import Rule as Rule
from pruning.rules.context import operation as operation
from pruning.rules.context import shape_of as shape_of
from pruning.rules.context import unknown
from pruning.rules.contraction import added_matmul, convolution, linear, matmul, vector_product
from pruning.rules.einsum import einsum
from pruning.rules.movement import (
    concatenation,
    item,
    padding,
    permutation,
    selection,
    slicing,
)
from pruning.rules.normalisation import group_norm, layer_norm, per_channel
from pruning.rules.partition import (
    channel_shuffle,
    cumulation,
    halves,
    indexing,
    lookup,
    pixel_shuffle,
    pixel_unshuffle,
    repetition,
    repetition_within,
    reversal,
    rotation,
    splitting,
    stacking,
    unbinding,
)
from pruning.rules.recurrence import recurrence
from pruning.rules.reshape import reshape

FAMILIES: dict[Rule, str] = {
    broadcast: """
        abs add addcdiv addcmul alias alpha_dropout asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or
        ceil celu clamp clamp_max clamp_min clone contiguous cos cosh detach detach_ div dropout elu eq erf
        erfc exp exp2 expm1 feature_alpha_dropout feature_dropout fill floor fmod frac full_like ge gelu gt
        hardshrink hardsigmoid hardswish hardtanh isfinite isinf isnan le leaky_relu lerp lift_fresh_copy log
        log10 log1p log2 log_sigmoid logaddexp logical_and logical_not logical_or logical_xor logit lt
        masked_fill maximum minimum mish mul nan_to_num ne neg ones_like pow reciprocal relu relu6 remainder
        round rrelu rsqrt rsub selu sigmoid sign silu sin sinh softplus softshrink softsign sqrt square sub
        tan tanh threshold to _to_copy trunc where xlogy zero zeros_like
    """,
    expansion: "expand expand_as",
    uniform: "full new_full new_ones new_zeros ones zeros",
    convolution: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    linear: "linear",
    matmul: "matmul mm bmm",
    vector_product: "mv dot",
    added_matmul: "addmm baddbmm",
    einsum: "einsum",
    recurrence: "lstm gru rnn_tanh rnn_relu",
    attention: "scaled_dot_product_attention",
    per_channel: "batch_norm instance_norm _native_batch_norm_legit_no_training",
    layer_norm: "layer_norm native_layer_norm rms_norm",
    group_norm: "group_norm native_group_norm",
    prelu: "prelu",
    window: """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d adaptive_max_pool1d
        adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d
        max_pool3d max_pool2d_with_indices upsample_bicubic2d upsample_bilinear2d upsample_linear1d
        upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d
    """,
    reduction: "all amax amin any argmax argmin linalg_vector_norm logsumexp mean prod std sum var",
    extreme: "max median min",
    along: "log_softmax _log_softmax softmax _softmax",
    concatenation: "cat concat",
    permutation: "permute swapaxes t transpose",
    reshape: "flatten reshape squeeze unflatten unsqueeze _unsafe_view view",
    slicing: "slice",
    selection: "select",
    padding: "constant_pad_nd pad",
    item: "getitem",
    splitting: "split split_with_sizes chunk",
    halves: "glu",
    unbinding: "unbind",
    stacking: "stack",
    reversal: "flip",
    rotation: "roll",
    cumulation: "cumsum",
    repetition: "repeat tile",
    repetition_within: "repeat_interleave",
    pixel_shuffle: "pixel_shuffle",
    pixel_unshuffle: "pixel_unshuffle",
    channel_shuffle: "channel_shuffle native_channel_shuffle",
    indexing: "index",
    lookup: "embedding",
}

RULES: dict[str, Rule] = {name: rule for rule, names in FAMILIES.items() for name in names.split()}


def rule_for(node: fx.Node) -> Rule:
    """The rule of an operation, by its name without namespace and overload."""
    return RULES.get(operation(node), unknown)
