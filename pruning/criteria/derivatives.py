"""Derivatives of the loss and of the outputs with respect to one factor per unit, at any value of the factors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pruning.criteria.base import Loss, scalar_loss
from pruning.gates import gated
from pruning.groups import Grouping, Sites
from pruning.trace import Inputs


def factors(grouping: Grouping, inputs: Inputs, count: int | None = None) -> Tensor:
    """Ones in the network's dtype and on its device: [units], or [count, units]."""
    values = (*inputs, *grouping.trace.values().values())
    dtype = next((v.dtype for v in values if v.is_floating_point()), torch.float32)
    shape = (grouping.units,) if count is None else (count, grouping.units)
    return torch.ones(shape, dtype=dtype, device=inputs[0].device)


def gradient(
    grouping: Grouping, inputs: Inputs, targets: Any, loss: Loss, z: Tensor, sites: Sites | None = None
) -> Tensor:
    """dL/dz of a batch's mean loss at z: [units]; `sites` as in `gated`."""
    z, value = _loss_at(grouping, inputs, targets, loss, z, sites)
    return torch.autograd.grad(value, z)[0] if value.requires_grad else torch.zeros_like(z)


def gradient_and_curvature(
    grouping: Grouping, inputs: Inputs, targets: Any, loss: Loss, z: Tensor, sites: Sites | None = None
) -> tuple[Tensor, Tensor]:
    """dL/dz and (d²L/dz²) 1 of a batch's mean loss at z: [units] each, by double backward.

    Attention runs its mathematical form, as fused kernels have no second derivative.

    Raises:
        ValueError: PyTorch lacks the second derivative of an operation (it is named).
    """
    with sdpa_kernel(SDPBackend.MATH):
        z, value = _loss_at(grouping, inputs, targets, loss, z, sites)
        zeros = torch.zeros_like(z)
        first = torch.autograd.grad(value, z, create_graph=True)[0] if value.requires_grad else zeros
        try:
            second = torch.autograd.grad(first.sum(), z)[0] if first.requires_grad else zeros
        except RuntimeError as error:
            if "is not implemented" not in str(error):
                raise
            raise ValueError(
                f"no second derivative: PyTorch says {error}; choose a criterion that needs the first only, such as "
                f"'sosp-i', 'singe' or 'taylor'"
            ) from error
    return first.detach(), second


def jacobian(grouping: Grouping, inputs: Inputs, sites: Sites | None = None) -> tuple[Tensor, Tensor]:
    """Outputs [N, D] and their derivatives by each unit's factor at 1, per example: [N, D, units].

    D backward passes with one factor per example.

    Raises:
        ValueError: the network does not return one tensor [N, D], or has no batch on axis 0 of a unit's tensor.
    """
    z = factors(grouping, inputs, len(inputs[0])).requires_grad_()
    values = {name: value.detach() for name, value in grouping.trace.values().items()}
    with torch.enable_grad():
        outputs = gated(grouping, inputs, z, values=values, sites=sites)
    if len(outputs) != 1 or outputs[0].ndim != 2:
        shapes = [list(output.shape) for output in outputs if isinstance(output, Tensor)]
        raise ValueError(f"expected a network that returns one tensor [N, D], got shapes {shapes}")
    zeros = torch.zeros_like(z)
    rows = [
        torch.autograd.grad(column.sum(), z, retain_graph=True)[0] if column.requires_grad else zeros
        for column in outputs[0].unbind(1)
    ]
    return outputs[0].detach(), torch.stack(rows, dim=1)


def _loss_at(
    grouping: Grouping, inputs: Inputs, targets: Any, loss: Loss, z: Tensor, sites: Sites | None
) -> tuple[Tensor, Tensor]:
    """A leaf at z, and the loss as a function of it alone."""
    leaf = z.detach().clone().requires_grad_()
    values = {name: value.detach() for name, value in grouping.trace.values().items()}
    with torch.enable_grad():
        outputs = gated(grouping, inputs, leaf, values=values, sites=sites)
        return leaf, scalar_loss(grouping.trace, outputs, targets, loss)
