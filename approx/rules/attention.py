"""Transformers: products of two activations, softmax, layer normalisation."""

import torch
from torch import fx

from approx.layer_norm import LARGEST, QuantLayerNorm
from approx.lowering import Lowering, Unsupported, arguments, batch_axis, shape, shown
from approx.matmul import QuantMatmul
from approx.move import QuantMove
from approx.naming import layer_label, part_label, product_label
from approx.quantizer import Quantizer
from approx.rules.layers import dense
from approx.softmax import QuantSoftmax


def matmul(low: Lowering, node: fx.Node) -> None:
    """Matrix product of two activations, or of an activation and a parameter."""
    x, w = node.args[:2]
    assert isinstance(x, fx.Node) and isinstance(w, fx.Node)
    if low.is_constant(w) and len(shape(w)) == 2:
        name, weight = low.tensor(w, "weight")
        return dense(low, node, x, layer_label(name), (weight.T, torch.zeros(weight.shape[1])))
    if len(shape(x)) < 3 or shape(x)[:-2] != shape(w)[:-2]:
        raise Unsupported(f"it multiplies {shown(x)} by {shown(w)}, expected [..., P, K] by [..., K, O]")
    _refuse_images(x, w)
    return low.add(node, QuantMatmul(product_label(node), (low.source(x), low.source(w)), Quantizer()), [x, w])


def _refuse_images(*factors: fx.Node) -> None:
    for factor in factors:
        if batch_axis(factor) >= len(shape(factor)) - 2:
            raise Unsupported(f"it mixes the images of {shown(factor)}; is batch_first what it should be?")


def scaled_dot_product_attention(low: Lowering, node: fx.Node) -> None:
    """softmax(scale * q kᵀ) v, with a constant mask or none."""
    a = arguments(node)
    if a["dropout_p"] or a["enable_gqa"]:
        raise Unsupported("dropout_p or enable_gqa is set")
    (*leading, rows, size), columns = shape(a["query"]), shape(a["key"])[-2]
    if any(list(shape(a[k])[:-2]) != leading for k in ("key", "value")):
        raise Unsupported("query, key and value have different leading axes")
    _refuse_images(*(a[k] for k in ("query", "key", "value")))
    query, key, value = (low.value(a[k]) for k in ("query", "key", "value"))
    turned = low.put(QuantMove(part_label(node, "k_transposed"), low.quantizer(key), lambda k: k.mT), key)
    factor = size**-0.5 if a["scale"] is None else a["scale"]
    sources = low.quantizer(query), low.quantizer(turned)
    scores = low.put(QuantMatmul(part_label(node, "qk"), sources, Quantizer(), factor), query, turned)
    mask = torch.ones(rows, columns).tril().bool() if a["is_causal"] else _mask(low, a["attn_mask"], len(shape(node)))
    softmax = low.put(QuantSoftmax(part_label(node, "softmax"), low.quantizer(scores), Quantizer(), mask), scores)
    sources = low.quantizer(softmax), low.quantizer(value)
    low.define(node, low.put(QuantMatmul(part_label(node, "av"), sources, Quantizer()), softmax, value))


def _mask(low: Lowering, node: fx.Node | None, axes: int) -> torch.Tensor | None:
    """What may be attended to, bool, of a constant mask that is bool, or 0 and minus infinity."""
    if node is None:
        return None
    mask = low.tensor(node, "mask")[1]
    if mask.dim() == axes and mask.shape[0] != 1:
        raise Unsupported(f"its mask {list(mask.shape)} is not the same for all of the first axis")
    if node.meta["val"].dtype == torch.bool:
        mask = torch.where(mask.bool(), 0.0, -torch.inf)
    if not ((mask == 0) | (mask == -torch.inf)).all():
        raise Unsupported("its mask holds other values than 0 and minus infinity")
    if (mask != 0).all(-1).any():
        raise Unsupported("its mask leaves a token nothing to attend to")
    return mask == 0


def softmax(low: Lowering, node: fx.Node) -> None:
    """Softmax over any axis but the images'."""
    a = arguments(node)
    x, axes = a["self"], len(shape(node))
    if a.get("dtype") not in (None, torch.float32) or batch_axis(node) == a["dim"] % axes:
        raise Unsupported(f"it has dtype {a.get('dtype')} and goes over axis {a['dim']} of {shown(x)}")
    order = list(range(axes))
    order[a["dim"]], order[-1] = order[-1], order[a["dim"]]
    if order == sorted(order):
        return low.add(node, QuantSoftmax(node.name, low.source(x), Quantizer()), [x])
    turned = low.put(QuantMove(f"{node.name}_in", low.source(x), lambda v: v.permute(*order)), low.value(x))
    shares = low.put(QuantSoftmax(node.name, low.source(x), Quantizer()), turned)
    low.define(node, low.put(QuantMove(f"{node.name}_out", low.quantizer(shares), lambda v: v.permute(*order)), shares))
    return None


def layer_norm(low: Lowering, node: fx.Node) -> None:
    """Normalisation of the last axis."""
    a = arguments(node)
    sizes = a["normalized_shape"]
    if len(sizes) != 1 or sizes[0] > LARGEST:
        raise Unsupported(f"it normalises {list(sizes)}, expected one axis of at most {LARGEST}")
    label = node.name if a["weight"] is None else layer_label(low.tensor(a["weight"], "weight")[0])
    gamma = torch.ones(*sizes) if a["weight"] is None else low.tensor(a["weight"], "weight")[1]
    beta = torch.zeros(*sizes) if a["bias"] is None else low.tensor(a["bias"], "bias")[1]
    norm = QuantLayerNorm(label, low.source(a["input"]), Quantizer(), (gamma, beta), a["eps"])
    low.add(node, norm, [a["input"]])


RULES = {
    "matmul.default": matmul,
    "bmm.default": matmul,
    "scaled_dot_product_attention.default": scaled_dot_product_attention,
    "softmax.int": softmax,
    "_softmax.default": softmax,
    "layer_norm.default": layer_norm,
}
