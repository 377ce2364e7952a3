"""SOSP-I: second-order saliency of sets of structures, with their interactions.

Nonnenmacher, Pfeil, Steinwart, Reeb, "SOSP: Efficiently Capturing Global Correlations by Second-Order Structured
Pruning", ICLR 2022, arXiv 2110.11395, section 2; formulas from memory (papers: structured_pruning §9).
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Loss, SetCriterion, Unit, checked_batches, scalar_loss
from pruning.criteria.derivatives import jacobian
from pruning.criteria.sosp_h import BatchNorm, checked_batch_norm
from pruning.groups import Grouping
from pruning.producers import producers
from pruning.trace import Trace, preserved_rng


@final
class SospI(SetCriterion):
    """Greedy minimisation of λ(M) = Σ_{s∈M} |θ_sᵀ g| + ½ Σ_{s,s'∈M} |θ_sᵀ H θ_s'| over sets M of structures.

    H is the Gauss-Newton matrix (1/N) Σ φᵀ R φ, φ the Jacobian of the outputs and R the Hessian of an example's
    loss in them. With v_{n,s} = φ(x_n) θ_s, Q_ss' = |θ_sᵀ g| δ_ss' + ½ |(1/N) Σ v_{n,s}ᵀ R_n v_{n,s'}|, and λ grows
    by Q_ss + 2 Σ_{s'∈M} Q_ss' when s joins M. Structures are those of `SospH`. Memory: units² and N · D · units of
    a batch, in float64.
    """

    name: ClassVar[str] = "sosp-i"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(self, batch_norm: BatchNorm = "fold") -> None:
        """Choose what θ_s holds; see `SospH`.

        Raises:
            ValueError: another treatment of batch norms.
        """
        self.batch_norm = checked_batch_norm(batch_norm, self.name)

    def order(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> list[Unit]:
        """See `SetCriterion.order`; the loss must be a mean over examples, each with outputs [D].

        Raises:
            ValueError: as for `SospH.score`, or the network's output is not one tensor [N, D].
        """
        units = [(group.name, unit) for group in grouping.groups for unit in range(group.size)]
        return [units[number] for number in greedy_order(self.saliency(grouping, batches, loss))]

    def saliency(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> Tensor:
        """Q, symmetric and >= 0: float64 [units, units].

        Raises:
            ValueError: as for `order`.
        """
        sites, count = producers(grouping, fold=self.batch_norm == "fold"), 0
        slope = torch.zeros(grouping.units, dtype=torch.float64)
        curvature = torch.zeros(grouping.units, grouping.units, dtype=torch.float64)
        with preserved_rng():
            for inputs, targets in checked_batches(grouping.trace, batches, self.name):
                outputs, v = jacobian(grouping, inputs, sites)
                v = v.double().cpu()
                first, second = loss_derivatives(grouping.trace, outputs, targets, loss)
                slope += torch.einsum("nd,nds->s", first, v)
                curvature += v.flatten(0, 1).T @ (second @ v).flatten(0, 1)
                count += len(v)
        return torch.diag(slope.abs() / count) + curvature.abs() / (2 * count)


def greedy_order(saliency: Tensor) -> list[int]:
    """Add argmin Q_ss + 2 Σ_{s'∈M} Q_ss' to M until nothing is left; ties go to the lower number.

    Args:
        saliency: Q, float64 [S, S].

    Returns:
        Every number below S, in the order of removal.
    """
    cost, order = saliency.diagonal().clone(), []
    for _ in range(len(saliency)):
        chosen = int((cost == cost.min()).nonzero()[0])
        order.append(chosen)
        cost += 2 * saliency[chosen]
        cost[chosen] = torch.inf
    return order


def loss_derivatives(trace: Trace, outputs: Tensor, targets: Any, loss: Loss) -> tuple[Tensor, Tensor]:
    """First and second derivatives of each example's loss in its outputs: float64 [N, D] and [N, D, D].

    The loss is a mean over examples, so one product with its Hessian serves a column of all examples.
    """
    leaf = outputs.detach().requires_grad_()
    with torch.enable_grad():
        value = len(leaf) * scalar_loss(trace, (leaf,), targets, loss)
        (first,) = torch.autograd.grad(value, leaf, create_graph=True)
    zeros = torch.zeros_like(leaf)
    columns = [
        torch.autograd.grad(column.sum(), leaf, retain_graph=True)[0] if column.requires_grad else zeros
        for column in first.unbind(1)
    ]
    return first.detach().double().cpu(), torch.stack(columns, dim=2).double().cpu()
