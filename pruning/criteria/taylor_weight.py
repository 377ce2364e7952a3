"""Taylor importance per parameter: the first-order change of the loss when a unit's filters are zeroed.

Molchanov et al., CVPR 2019, arXiv 1906.10771, eq. 8 (sum of squares) and eq. 9 (squared sum over the filter).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Criterion, Loss, checked_batches, scalar_loss
from pruning.criteria.magnitude import per_unit, weight_members
from pruning.groups import Grouping, Member
from pruning.layers import output_axes
from pruning.replay import replay
from pruning.trace import Inputs, Trace, preserved_rng, tensors_of


@final
class TaylorWeight(Criterion):
    """(g w)^2 of the weights that compute the unit, averaged over minibatches and summed over its filters."""

    name: ClassVar[str] = "taylor-weight"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(self, joint: bool = False) -> None:
        """Choose the reduction over a filter.

        Args:
            joint: square the sum of g w over the filter instead of summing the squares.
        """
        self.joint = joint

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; g is the gradient of the minibatch's mean loss."""
        trace = grouping.trace
        tensors = tensors_of(trace.model)
        axes = output_axes(trace)
        filters = {
            g.name: [m for m in weight_members(g, tensors) if m.axis == axes.get(m.tensor, 0)] for g in grouping.groups
        }
        names = sorted({member.tensor for members in filters.values() for member in members})
        scores = {g.name: torch.zeros(g.size, dtype=torch.float64) for g in grouping.groups}
        count = 0
        with preserved_rng():
            for inputs, targets in checked_batches(trace, batches, self.name):
                count += 1
                gradients = parameter_gradients(trace, inputs, targets, loss, names)
                products = {name: gradients[name] * tensors[name].detach() for name in names}
                for group, members in filters.items():
                    for member in members:
                        scores[group] += self._reduce(member, products[member.tensor].double()).cpu()
        return {name: total / count for name, total in scores.items()}

    def _reduce(self, member: Member, products: Tensor) -> Tensor:
        if self.joint:
            return per_unit(member, products).square()
        return per_unit(member, products.square())


def parameter_gradients(
    trace: Trace, inputs: Inputs, targets: object, loss: Loss, names: Sequence[str]
) -> dict[str, Tensor]:
    """Gradient of the minibatch's mean loss for each named tensor, zero for one that the loss does not depend on."""
    values = {name: value.detach() for name, value in trace.values().items()}
    leaves = {name: values[name].clone().requires_grad_() for name in names}
    with torch.enable_grad():
        outputs = replay(trace, inputs, values={**values, **leaves})
        value = scalar_loss(trace, outputs, targets, loss)
    if not value.requires_grad:
        return {name: torch.zeros_like(values[name]) for name in names}
    found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))
