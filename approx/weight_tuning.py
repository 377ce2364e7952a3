"""Weight tuning: moves a network's integer weights to where its circuits err least, without gradients or labels.

Layer after layer in execution order, so that every layer also makes up for what the layers before it got wrong: its
weights are fitted (`approx.weight_descent`) to the responses the exact network gives at the same places of the same
images, then gain and bias restore the moments (`approx.correction`). Weights stay on the grid they had, so the device
runs the same program with other numbers in it.

Layers inside a recurrent one are not tuned; of transposed convolutions (whose absent taps a receptive field cannot
show) and of products of two activations only gain and bias are.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

import torch

from approx.assignment import Assignment
from approx.correction import (
    GAIN_LIMITS,
    LayerMoments,
    Moments,
    match_moments,
    require_uncorrected,
    response_moments,
)
from approx.layer import QuantLayer
from approx.multiplying import Multiplying
from approx.network import QuantisedNetwork
from approx.operands import Operands
from approx.operation import zero_of
from approx.transposed_convolution import QuantConvTranspose
from approx.visiting import Visitor
from approx.weight_descent import Descent

SAMPLES = 16384
PASSES = 2


@dataclass(frozen=True, eq=False)
class Reference:
    """What the exact network does on some images.

    Attributes:
        moments: of every layer's response.
        responses: layer name -> float32 [S, C] at sampled outputs, weights not rounded.
    """

    moments: LayerMoments
    responses: Mapping[str, torch.Tensor]

    @classmethod
    def of(cls, network: QuantisedNetwork, images: torch.Tensor, samples: int = SAMPLES) -> "Reference":
        """Of a calibrated network, whose circuits are ignored, on one batch [N, C, H, W]."""
        exact = copy.deepcopy(network).assign(Assignment(), {})
        moments: dict[str, Moments] = {}
        responses: dict[str, torch.Tensor] = {}

        def visit(layer: Multiplying, *inputs: torch.Tensor) -> None:
            moments[layer.label] = response_moments(layer, *inputs)
            if _tunable(layer):
                fields = sampled_fields(layer, inputs[0], samples)
                seen = (fields.float() - zero_of(layer.sources[0])) * layer.sources[0].scale.float()
                weight = layer.weight.detach().flatten(1).unflatten(0, (layer.groups, -1))  # [G, C / G, K]
                responses[layer.label] = (seen @ weight.transpose(1, 2)).transpose(0, 1).flatten(1)

        Visitor(exact, visit).pass_over(images)
        return cls(moments, responses)


def sampled_fields(layer: QuantLayer, x: torch.Tensor, samples: int) -> torch.Tensor:
    """Receptive fields uint8 [G, S, K] of at most so many outputs, at places that depend on nothing but x's shape."""
    positions = layer.channels_last(layer.response(x[:1])).shape[1:-1].numel()
    return layer.receptive_fields(layer.codes(x), min(samples, len(x) * positions), torch.Generator().manual_seed(0))


def tune(
    network: QuantisedNetwork,
    images: torch.Tensor,
    reference: Reference | None = None,
    passes: int = PASSES,
    progress: Callable[[str], None] | None = None,
) -> QuantisedNetwork:
    """Tune weights, gain and bias of every layer with an approximate circuit; returns the network.

    Call it instead of `correct`, once, directly after `assign` on a freshly quantised network.

    Args:
        network: calibrated, with circuits assigned.
        images: one batch [N, C, H, W] that no test uses; a thousand or two.
        reference: of the same network on the same images, where it is known already.
        passes: over each layer's weights.
        progress: called with a layer's name when it is done.

    Raises:
        ValueError: a layer is corrected already, or `passes` is not positive.
    """
    if passes < 1:
        raise ValueError(f"tuning weights takes at least one pass, got {passes}")
    require_uncorrected(network)
    known = reference or Reference.of(network, images)

    def visit(layer: Multiplying, *inputs: torch.Tensor) -> None:
        if layer.table is not None:
            if _tunable(layer):
                tune_layer(layer, inputs[0], known.responses[layer.label], passes)
            match_moments(layer, known.moments[layer.label], *inputs)
        if progress is not None:
            progress(layer.label)

    Visitor(network, visit).pass_over(images)
    return network


def tune_layer(layer: QuantLayer, x: torch.Tensor, wanted: torch.Tensor, passes: int = PASSES) -> None:
    """Fit the integer weights of one layer.

    Args:
        layer: with a circuit.
        x: its real input.
        wanted: float32 [S, C], responses at the outputs `sampled_fields` takes.
        passes: over the weights.
    """
    numbers, circuit = layer.integers(), layer.layer_circuit
    descent = _descent(layer, sampled_fields(layer, x, len(wanted)), wanted)
    descent.run(passes)
    values = descent.rows - (circuit.first_row + circuit.table.offset).view(-1, 1).long()
    real = (values - numbers.weight_zero[:, None]) * numbers.weight_scale[:, None]
    layer.weight.data.copy_(real.view(layer.weight.shape))


def _tunable(layer: Multiplying) -> TypeGuard[QuantLayer]:
    return isinstance(layer, QuantLayer) and not isinstance(layer, QuantConvTranspose)


def _descent(layer: QuantLayer, codes: torch.Tensor, wanted: torch.Tensor) -> Descent:
    """The problem of one layer, gain fitted by least squares."""
    numbers, circuit = layer.integers(), layer.layer_circuit
    products, rows = circuit.products.double(), circuit.index(numbers.values).long().flatten(1)
    sums = _sums(products.float(), rows, codes)
    if layer.operands is Operands.AFFINE:
        per_group = len(rows) // layer.groups
        sums -= numbers.weight_zero.float() * codes.sum(2).float().T.repeat_interleave(per_group, 1)
    sums -= sums.mean(0)
    target = wanted - wanted.mean(0)
    unit = (layer.sources[0].scale * numbers.weight_scale).float()
    fitted = (sums * target).sum(0) / (sums.square().sum(0) * unit).clamp(min=1e-12)
    step = unit * fitted.clamp(*GAIN_LIMITS)
    return Descent(codes, products, step, _allowed(layer), _frozen(layer), (target - step * sums).contiguous(), rows)


def _sums(products: torch.Tensor, rows: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Table products summed: float32 [S, C]."""
    per_group = len(rows) // len(codes)
    total = torch.zeros(codes.shape[1], len(rows))
    for position in range(rows.shape[1]):
        for group, seen in enumerate(codes[:, :, position].long()):
            channels = slice(group * per_group, (group + 1) * per_group)
            total[:, channels] += products[rows[channels, position]].T.contiguous().index_select(0, seen)
    return total


def _allowed(layer: QuantLayer) -> torch.Tensor:
    """Rows a channel may use, bool [C, R]: those of its own circuit."""
    circuit = layer.layer_circuit
    row = torch.arange(len(circuit.products)) - circuit.first_row.long()[:, None]
    return ((row >= 0) & (row < len(circuit.table.values))).expand(len(layer.weight), -1)


def _frozen(layer: QuantLayer) -> torch.Tensor:
    """Weights that set their channel's scale, bool [C, K]: they stay, so that the grid does."""
    weight = layer.weight.detach().flatten(1)
    channel = torch.arange(len(weight))
    frozen = torch.zeros_like(weight, dtype=torch.bool)
    ends = (weight.argmin(1), weight.argmax(1)) if layer.operands is Operands.AFFINE else (weight.abs().argmax(1),)
    for end in ends:
        frozen[channel, end] = True
    return frozen
