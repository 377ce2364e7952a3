"""SInGE: the integral of a neuron's gradient while it is shrunk to nothing.

Yvinec, Dapogny, Cord, Bailly, "SInGE: Sparsity via Integrated Gradients Estimation of Neuron Relevance",
NeurIPS 2022, arXiv 2207.04089. Reconstructed from the abstract and from memory (papers: structured_pruning §7).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Criterion, Loss, checked_batches
from pruning.criteria.derivatives import factors, gradient
from pruning.groups import Grouping, Sites
from pruning.producers import producers
from pruning.trace import Inputs, preserved_rng


@final
class Singe(Criterion):
    """|Σ_s (μ^s − μ^{s+1}) dL/dz| along z = μ^s, s = 0 .. steps − 1: how much of the loss each unit stands for.

    All units of one group shrink together and the other groups stay, so a batch costs `steps` passes per group
    instead of per unit (reconstructed; the paper's path shrinks one neuron). The sum over a group's signed
    integrals is then the loss of the whole group, up to the discretisation. The paper weights step s by μ^s,
    which is 1 / (1 − μ) times this and ranks alike. Gradients are averaged over the data before the magnitude.
    """

    name: ClassVar[str] = "singe"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(self, mu: float = 0.9, steps: int = 60, path: Literal["gates", "weights"] = "gates") -> None:
        """Choose the path. The defaults of `mu` and `steps` are reconstructed.

        Args:
            mu: ratio of neighbouring points, in (0, 1).
            steps: number of points; the path ends at mu ** steps, and what is beyond is not counted.
            path: "gates" shrinks the unit where others read it, so it ends as removed; "weights" shrinks its
                filters and their biases, as the paper does, and what batch norm makes of zero remains.

        Raises:
            ValueError: an option out of range.
        """
        if not 0 < mu < 1:
            raise ValueError(f"singe, mu: expected a ratio in (0, 1), got {mu!r}")
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"singe, steps: expected an integer >= 1, got {steps!r}")
        if path not in ("gates", "weights"):
            raise ValueError(f"singe, path: expected 'gates' or 'weights', got {path!r}")
        self.mu, self.steps, self.path = mu, steps, path

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`."""
        total, count = torch.zeros(grouping.units, dtype=torch.float64), 0
        sites = producers(grouping, fold=False) if self.path == "weights" else None
        with preserved_rng():
            for inputs, targets in checked_batches(grouping.trace, batches, self.name):
                count += len(inputs[0])
                for group in grouping.groups:
                    mine = slice(grouping.start(group.name), grouping.start(group.name) + group.size)
                    gradient_at = partial(_gradient_at, grouping, inputs, targets, loss, sites, mine)
                    total[mine] += len(inputs[0]) * geometric_integral(gradient_at, self.mu, self.steps)
        return grouping.split((total / count).abs())


def _gradient_at(
    grouping: Grouping, inputs: Inputs, targets: Any, loss: Loss, sites: Sites | None, mine: slice, scale: float
) -> Tensor:
    """dL/dz of some units, all of them at the same scale and the others at 1: float64."""
    z = factors(grouping, inputs)
    z[mine] = scale
    return gradient(grouping, inputs, targets, loss, z, sites)[mine].double().cpu()


def geometric_integral(function: Callable[[float], Tensor], mu: float, steps: int) -> Tensor:
    """Left Riemann sum of a function over [μ^steps, 1] at the points μ^s: Σ (μ^s − μ^{s+1}) f(μ^s)."""
    terms = [(mu**s - mu ** (s + 1)) * function(mu**s) for s in range(steps)]
    return torch.stack(terms).sum(0)
