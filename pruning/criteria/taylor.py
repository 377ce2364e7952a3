"""Taylor importance with gates: the squared first-order change of the loss when a unit is removed.

Molchanov, Mallya, Tyree, Frosio, Kautz, "Importance Estimation for Neural Network Pruning", CVPR 2019,
arXiv 1906.10771, eq. 8 with the gate of section 3.2: I = (dL/dz)^2 at z = 1.
"""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Criterion, Loss, checked_batches, scalar_loss
from pruning.gates import gate_uses, gated
from pruning.groups import Grouping
from pruning.trace import preserved_rng


@final
class TaylorGate(Criterion):
    """One gate z = 1 per unit, after batch norm and activation; score = mean of (dL/dz)^2 / uses.

    The gate multiplies the unit wherever something else consumes it, so a residual stream's gate acts once
    per block and its gradient sums over the blocks; the score is divided by that number of uses (the paper
    divides by the number of blocks of a stage). With ReLU, gates before and after the activation are equal.
    """

    name: ClassVar[str] = "taylor"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(self, per: Literal["example", "batch"] = "example") -> None:
        """Choose what is squared.

        Args:
            per: "example" squares each example's gradient (the Fisher form); "batch" squares the gradient of
                the mean loss of a minibatch and averages over minibatches.

        Raises:
            ValueError: another value of `per`.
        """
        if per not in ("example", "batch"):
            raise ValueError(f"taylor, per: expected 'example' or 'batch', got {per!r}")
        self.per = per

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; the loss must be a mean over the batch, as gradients are scaled by N."""
        trace, total, count = grouping.trace, torch.zeros(grouping.units, dtype=torch.float64), 0
        with preserved_rng():
            for inputs, targets in checked_batches(trace, batches, self.name):
                size = len(inputs[0]) if self.per == "example" else 1
                gradient = gate_gradient(grouping, inputs, targets, loss, gates=size)
                total += (gradient.double().cpu() * size).square().sum(0)
                count += size
        return grouping.split(total / count / gate_uses(grouping).clamp(min=1))


def gate_gradient(
    grouping: Grouping, inputs: tuple[Tensor, ...], targets: object, loss: Loss, *, gates: int = 1
) -> Tensor:
    """dL/dz at z = 1: [gates, units].

    Args:
        grouping: the network and its units.
        inputs: one batch of N examples.
        targets: what `loss` compares the output with.
        loss: mean loss of the batch.
        gates: 1 for gates shared by the batch, N for gates of each example's own (their sum is the former).
    """
    value, z = gated_loss(grouping, inputs, targets, loss, gates=gates)
    if not value.requires_grad:
        return torch.zeros_like(z)
    return torch.autograd.grad(value, z)[0]


def gated_loss(
    grouping: Grouping, inputs: tuple[Tensor, ...], targets: object, loss: Loss, *, gates: int = 1
) -> tuple[Tensor, Tensor]:
    """The loss as a function of the gates z = 1, [gates, units], and these; arguments as of `gate_gradient`."""
    values = {name: value.detach() for name, value in grouping.trace.values().items()}
    dtype = next((v.dtype for v in (*inputs, *values.values()) if v.is_floating_point()), torch.float32)
    z = torch.ones(gates, grouping.units, dtype=dtype, device=inputs[0].device).requires_grad_()
    with torch.enable_grad():
        outputs = gated(grouping, inputs, z if gates > 1 else z[0], values=values)
        return scalar_loss(grouping.trace, outputs, targets, loss), z
