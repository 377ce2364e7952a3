"""Gradients along straight lines: a row of the product table stands for its least-squares line over the codes seen.

    T[w, x] ~ a_w + b_w x        b_w = Cov(T[w, X], X) / Var(X), X the activation codes of the batch

(in a recurrent layer, of the step) so that the input's gradient is that of a layer with the weights b_w. The slope of
an exact product is the weight itself: there this is straight through. In a rough circuit whole rows of small weights
are zero, and other products grow slower or faster than they should; a gradient that does not know sends errors where
nothing can be done about them. A training step takes about a tenth longer than straight through. The weight's gradient
stays that of the exact product. Ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from approx.layer_integers import LayerIntegers

if TYPE_CHECKING:
    from approx.layer import QuantLayer


def line_weight(layer: QuantLayer, numbers: LayerIntegers, weight: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """The weights of the exact layer that is nearest to the one with a circuit, on these inputs.

    Args:
        layer: with its circuit.
        numbers: its integers.
        weight: real, rounded [O, ...].
        codes: uint8, any shape.

    Returns:
        As `weight`; the same bit for bit where all codes are equal, which no line goes through.
    """
    circuit = layer.layer_circuit
    bend = row_slopes(circuit.products, codes)[circuit.index(numbers.values).long()] - numbers.values
    real = bend.nan_to_num(0.0) * numbers.weight_scale.view(-1, *[1] * (weight.dim() - 1))
    return weight + real.to(weight.dtype)


def row_slopes(products: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Least-squares slope of every row.

    Args:
        products: [R, 256].
        codes: uint8, any shape; places in a row.

    Returns:
        float64 [R]; NaN where all codes are equal.
    """
    places = codes.flatten().int()
    counts = torch.zeros(256, dtype=torch.int32, device=codes.device)
    share = counts.index_add_(0, places, torch.ones_like(places)).double() / codes.numel()
    place = torch.arange(256, dtype=torch.float64, device=codes.device)
    centred = place - share @ place
    return products.double() @ (share * centred) / (share @ centred.square())
