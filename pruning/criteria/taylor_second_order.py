"""Taylor importance to the second order: the squared change of the loss that a quadratic in the gate predicts.

Molchanov et al., CVPR 2019, arXiv 1906.10771, the second-order form with only the diagonal of the Hessian, at the
gate of section 3.2: I = (H_zz z^2 / 2 - g z)^2 at z = 1, with g = dL/dz and H_zz = d^2 L / dz^2.
"""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pruning.criteria.base import Batches, Criterion, Loss, checked_batches
from pruning.criteria.taylor import gate_gradient, gated_loss
from pruning.gates import gate_uses
from pruning.groups import Grouping
from pruning.trace import preserved_rng


@final
class TaylorSecondOrder(Criterion):
    """(H_zz / 2 - g)^2 / uses, one gate per unit shared by all examples, placed and divided as in `TaylorGate`.

    g and H are means over all examples before anything is squared, so the score does not depend on how the
    examples are batched, and it is the squared change of the loss of all of them.
    """

    name: ClassVar[str] = "taylor-second-order"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(self, hessian: Literal["exact", "fisher"] = "exact") -> None:
        """Choose the second derivative.

        Args:
            hessian: "exact" differentiates the gradient of every gate again, one backward pass per unit and
                batch (0.1 s of one core for ResNet-20 and 32 images): for small networks. "fisher" takes the
                mean square of each example's gradient, one backward pass per batch. It equals the exact one in
                expectation if the loss is a negative log-likelihood, the network is linear in its gates and the
                targets come from its own predictions; otherwise it is an approximation, never negative.

        Raises:
            ValueError: another value.
        """
        if hessian not in ("exact", "fisher"):
            raise ValueError(f"taylor-second-order, hessian: expected 'exact' or 'fisher', got {hessian!r}")
        self.hessian = hessian

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; the loss must be a mean over the batch.

        Raises:
            ValueError: data does not fit, or ("exact") an operation cannot be differentiated twice.
        """
        derivatives = gate_curvature if self.hessian == "exact" else gate_fisher
        change, count = torch.zeros(grouping.units, dtype=torch.float64), 0
        with preserved_rng():
            for inputs, targets in checked_batches(grouping.trace, batches, self.name):
                gradient, curvature = derivatives(grouping, inputs, targets, loss)
                change += (curvature / 2 - gradient).cpu() * len(inputs[0])
                count += len(inputs[0])
        return grouping.split((change / count).square() / gate_uses(grouping).clamp(min=1))


def gate_curvature(
    grouping: Grouping, inputs: tuple[Tensor, ...], targets: object, loss: Loss
) -> tuple[Tensor, Tensor]:
    """dL/dz and d^2 L / dz^2 of the batch's loss at z = 1, each float64 [units]; arguments as of `gate_gradient`.

    A custom autograd function marked `once_differentiable` counts as linear, because torch does not report it here.

    Raises:
        ValueError: an operation of the network or the loss cannot be differentiated twice.
    """
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention kernels have no second derivative
        value, z = gated_loss(grouping, inputs, targets, loss)
        curvature = torch.zeros_like(z[0])
        if not value.requires_grad:
            return curvature.double(), curvature.double()
        (gradient,) = torch.autograd.grad(value, z, create_graph=True)
        try:
            for unit in range(grouping.units if gradient.requires_grad else 0):
                (row,) = torch.autograd.grad(gradient[0, unit], z, retain_graph=True, materialize_grads=True)
                curvature[unit] = row[0, unit]
        except RuntimeError as error:
            raise ValueError(
                f"taylor-second-order: differentiating the loss twice failed ({error}); use hessian='fisher', which "
                f"differentiates once"
            ) from error
    return gradient[0].detach().double(), curvature.detach().double()


def gate_fisher(grouping: Grouping, inputs: tuple[Tensor, ...], targets: object, loss: Loss) -> tuple[Tensor, Tensor]:
    """Mean and mean square of each example's dL/dz at z = 1, each float64 [units]."""
    size = len(inputs[0])
    gradients = gate_gradient(grouping, inputs, targets, loss, gates=size).double() * size
    return gradients.mean(0), gradients.square().mean(0)
