"""The check behind every surgery: the cut network equals the one whose removed channels are held at zero."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning.gates import gated
from pruning.groups import Grouping
from pruning.plan import Plan
from pruning.trace import Inputs, preserved_rng

TOLERANCE = 1e-9
SMALLEST_SCALE = 1e-4


def difference_after_cut(
    grouping: Grouping, kept: Mapping[str, tuple[int, ...]], dtype: torch.dtype = torch.float64
) -> float:
    """Cut a copy of the traced network and compare it with the masked one; see `difference`.

    Raises:
        ValueError: the outputs differ in number or shape.
    """
    model = Plan.from_kept(grouping, kept).apply(copy.deepcopy(grouping.trace.model))
    return _difference_from(grouping, kept, model.to(dtype), dtype)


def difference(grouping: Grouping, kept: Mapping[str, tuple[int, ...]], model: nn.Module) -> float:
    """Largest |masked - cut| over all outputs, in fp64 and evaluation mode, on random inputs.

    The masked network is the traced graph; the cut one is the user's own module, run as Python.

    Args:
        grouping: the network before the cut.
        kept: units kept per group.
        model: the network after the cut; it is copied, so its mode and tensors are untouched.

    Returns:
        The difference divided by the largest |masked output|, or by 1e-4 if that is larger.

    Raises:
        ValueError: the outputs differ in number or shape.
    """
    return _difference_from(grouping, kept, copy.deepcopy(model).double().eval(), torch.float64)


def _difference_from(
    grouping: Grouping, kept: Mapping[str, tuple[int, ...]], model: nn.Module, dtype: torch.dtype
) -> float:
    """`difference` of a network of this dtype, in evaluation mode, that is the caller's to lose."""
    values = {k: v.detach().to(dtype) if v.is_floating_point() else v for k, v in grouping.trace.values().items()}
    with preserved_rng(), torch.no_grad():
        inputs = random_inputs(grouping.trace.inputs, dtype)
        outputs = flatten(model(*inputs))  # first, as trial cuts fail early here
        masked = gated(grouping, inputs, mask(grouping, kept).to(dtype), values=values)
    return _difference(masked, outputs)


def require_equal(grouping: Grouping, kept: Mapping[str, tuple[int, ...]], model: nn.Module) -> float:
    """The `difference`, refused if it exceeds 1e-9.

    Raises:
        RuntimeError: the cut network is not the masked one and must not be used.
    """
    found = difference(grouping, kept, model)
    if not found <= TOLERANCE:
        raise RuntimeError(
            f"the cut network differs from the masked one by {found:.3g} (relative, fp64; limit {TOLERANCE}), "
            f"so it was discarded. Find the layer by pruning with ignore=(...) and report it."
        )
    return found


def mask(grouping: Grouping, kept: Mapping[str, tuple[int, ...]]) -> Tensor:
    """1 for kept units, 0 for removed ones: float64 [units]."""
    parts = []
    for group in grouping.groups:
        part = torch.zeros(group.size, dtype=torch.float64)
        part[list(kept.get(group.name, range(group.size)))] = 1
        parts.append(part)
    device = grouping.trace.inputs[0].device
    return torch.cat([*parts, torch.zeros(0, dtype=torch.float64)]).to(device)


def flatten(outputs: Any) -> tuple[Any, ...]:
    """The leaves of a network's output, in the exporter's order."""
    return tuple(torch.utils._pytree.tree_leaves(outputs))


def _difference(expected: tuple[Any, ...], got: tuple[Any, ...]) -> float:
    if len(expected) != len(got):
        raise ValueError(f"the cut network returns {len(got)} values, the original {len(expected)}")
    worst = 0.0
    for one, two in zip(expected, got, strict=True):
        if not isinstance(one, Tensor):
            continue
        if one.shape != two.shape:
            raise ValueError(f"the cut network returns shape {list(two.shape)}, the original {list(one.shape)}")
        if one.numel():
            gap = float((one.double() - two.double()).abs().max()) / max(SMALLEST_SCALE, float(one.abs().max()))
            worst = gap if gap > worst or math.isnan(gap) else worst
    return worst


def random_inputs(example: Inputs, dtype: torch.dtype = torch.float64) -> Inputs:
    """Standard normal inputs shaped like the example; integer inputs are the example's own."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device, dtype)
        if x.is_floating_point()
        else x
        for x in example
    )
