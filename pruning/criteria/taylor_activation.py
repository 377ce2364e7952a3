"""Taylor importance of activations: the first-order change of the loss when a feature map is zeroed.

Molchanov, Tyree, Karras, Aila, Kautz, "Pruning Convolutional Neural Networks for Resource Efficient Inference",
ICLR 2017, arXiv 1611.06440: Theta = mean over examples of |1/M sum over positions of (dC/da) a|, M positions to a
map, and its rescaling Theta / sqrt(sum of Theta^2 over the layer). Their cost term, Theta - lambda * FLOPs, is for
selectors.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, fx

from pruning.criteria.base import Batches, Criterion, Loss, checked_batches, scalar_loss
from pruning.gates import require_batch_first
from pruning.groups import Grouping
from pruning.replay import replay
from pruning.trace import preserved_rng


@final
class TaylorActivation(Criterion):
    """Activation times gradient, where the unit ends: after batch norm and activation, at what reads it.

    A residual stream ends at the node of each sum, scored once however many layers read it, and perhaps after a
    pooling. The paper has no unit that ends at several places; here the mean is then over the positions of all of
    them together, so that its numerator stays the gradient of one gate and pooling a place does not change it.
    """

    name: ClassVar[str] = "taylor-activation"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(self, abs_stage: Literal["position mean", "element"] = "position mean", rescale: bool = True) -> None:
        """Choose the variant.

        Args:
            abs_stage: where the absolute value is taken: after the mean over positions (the paper) or of every
                element before it (the authors' later code).
            rescale: divide the scores of each group by their L2 norm, as the paper does.

        Raises:
            ValueError: another stage.
        """
        if abs_stage not in ("position mean", "element"):
            raise ValueError(f"taylor-activation, abs_stage: expected 'position mean' or 'element', got {abs_stage!r}")
        self.abs_stage, self.rescale = abs_stage, rescale

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; the loss must be a mean over the batch, as gradients are scaled by N.

        Raises:
            ValueError: data does not fit, or a tensor where units end does not have the batch on axis 0.
        """
        trace, total, count = grouping.trace, torch.zeros(grouping.units, dtype=torch.float64), 0
        with preserved_rng():
            for inputs, targets in checked_batches(trace, batches, self.name):
                size = len(inputs[0])
                products = activation_products(grouping, inputs, targets, loss)
                if self.abs_stage == "element":
                    products = {node: product.abs() for node, product in products.items()}
                total += position_means(grouping, products, size).abs().sum(0) * size
                count += size
        scores = grouping.split(total / count)
        return {name: _unit_norm(score) for name, score in scores.items()} if self.rescale else scores


def activation_products(
    grouping: Grouping, inputs: tuple[Tensor, ...], targets: object, loss: Loss
) -> dict[str, Tensor]:
    """Activation times its gradient of the batch's loss, for every tensor of `grouping.sites`: node -> [N, ...]."""
    values = {name: value.detach() for name, value in grouping.trace.values().items()}
    activations: dict[str, Tensor] = {}

    def watch(node: fx.Node, value: Any) -> Any:
        if node.name not in grouping.sites:
            return value
        require_batch_first(grouping.trace, node)
        if not value.requires_grad:
            value = value.detach().requires_grad_()
        activations[node.name] = value
        return value

    with torch.enable_grad():
        outputs = replay(grouping.trace, inputs, edit=watch, values=values)
        value = scalar_loss(grouping.trace, outputs, targets, loss)
    if not value.requires_grad:
        return {name: torch.zeros_like(activation) for name, activation in activations.items()}
    gradients = torch.autograd.grad(value, list(activations.values()), allow_unused=True, materialize_grads=True)
    return {
        name: activation.detach() * gradient
        for (name, activation), gradient in zip(activations.items(), gradients, strict=True)
    }


def position_means(grouping: Grouping, products: dict[str, Tensor], examples: int) -> Tensor:
    """Mean over the positions of each unit, at all its places: float64 [examples, units]; 0 for a unit without."""
    total = torch.zeros(examples, grouping.units + 1, dtype=torch.float64)
    positions = torch.zeros(grouping.units + 1, dtype=torch.float64)
    for node, product in products.items():
        for axis, units in grouping.sites[node]:
            flat = product.movedim(axis, 1).reshape(examples, len(units), -1)
            owner = torch.where(units < 0, grouping.units, units)
            total.index_add_(1, owner, flat.sum(2, dtype=torch.float64).cpu())
            positions.index_add_(0, owner, torch.full(owner.shape, flat.shape[2], dtype=torch.float64))
    return (total / positions.clamp(min=1))[:, :-1]


def _unit_norm(score: Tensor) -> Tensor:
    norm = score.norm()
    return score / norm if float(norm) > 0 else score
