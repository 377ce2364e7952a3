"""Network slimming: train with an L1 penalty on the scales of batch norms, then remove the smallest scales.

Liu, Li, Shen, Huang, Yan, Zhang, "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017,
arXiv 1708.06519: the loss L + strength * sum |gamma| (eq. 1), whose subgradient `scale_penalty` adds; the score is
|gamma|. Their strength is 1e-4 for VGG and 1e-5 for ResNet and DenseNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from pruning.criteria.base import Batches, Criterion, Loss
from pruning.criteria.norms import norms_of
from pruning.groups import Grouping
from pruning.trace import tensors_of


@final
class Slimming(Criterion):
    """|gamma| of the batch norms that act on the unit, compared over the whole network as in the paper.

    A residual stream has the batch norm of every block that adds into it; the paper's networks have one, so
    how several are reduced is reconstructed. Scores mean little unless the network was trained with
    `scale_penalty`: the scale of a layer can be moved into the next one without changing the network.
    """

    name: ClassVar[str] = "slimming"
    needs_data: ClassVar[bool] = False
    comparable: ClassVar[bool] = True

    def __init__(self, reduce: Literal["mean", "sum", "max"] = "mean") -> None:
        """Choose the reduction.

        Args:
            reduce: over all scales of a unit.

        Raises:
            ValueError: another reduction.
        """
        if reduce not in ("mean", "sum", "max"):
            raise ValueError(f"slimming, reduce: expected 'mean', 'sum' or 'max', got {reduce!r}")
        self.reduce = reduce

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; needs no data.

        Raises:
            ValueError: groups have no batch norm (they are named).
        """
        tensors, scores = tensors_of(grouping.trace.model), {}
        for name, norms in norms_of(grouping, self.name).items():
            gammas = [tensors[m.tensor].detach().double().abs().cpu()[torch.tensor(m.indices)] for m, _ in norms]
            together = torch.cat(gammas, dim=1)
            scores[name] = together.amax(1) if self.reduce == "max" else together.sum(1)
            if self.reduce == "mean":
                scores[name] /= together.shape[1]
        return scores


@contextmanager
def scale_penalty(model: nn.Module, strength: float) -> Iterator[None]:
    """While open, every optimiser step first adds strength * sign(gamma) to the gradients of the model's scales.

        with scale_penalty(model, 1e-4):
            train(model)

    The penalty enters once per step, after gradient accumulation, clipping and `GradScaler` unscaling, and
    through whatever optimiser holds the scales; frozen scales are left alone. An optimiser that computes gradients
    in a closure overwrites it.

    Args:
        model: the network; its batch norms are looked up when the context opens.
        strength: lambda, in loss per unit of scale, >= 0.

    Raises:
        ValueError: the strength is negative or not finite, or no batch norm of the model has a scale.
    """
    if not 0 <= strength < float("inf"):
        raise ValueError(f"scale_penalty, strength: expected a finite number >= 0, got {strength}")
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    scales = {id(norm.weight) for norm in norms if norm.weight is not None}
    if not scales:
        raise ValueError(f"scale_penalty: {type(model).__name__} has no batch norm with a scale, nothing to penalise")

    def add(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            if id(parameter) in scales and parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad.add_(parameter.detach().sign(), alpha=strength)

    handle = register_optimizer_step_pre_hook(add)
    try:
        yield
    finally:
        handle.remove()
