"""Effective filters: how many filters of a layer the gradient matrix needs, and which to remove in what order.

Zhou, Lian, Yin, Wang, "Neural Network Compression via Effective Filter Analysis and Hierarchical Pruning", 2022,
arXiv 2206.03596. Reconstructed from the abstract and a summary of its sections (papers: structured_pruning §12).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Loss, SetCriterion, Unit, checked_batches
from pruning.criteria.derivatives import factors, gradient
from pruning.criteria.filters import filter_members, filters
from pruning.criteria.taylor_weight import parameter_gradients
from pruning.groups import Grouping
from pruning.trace import Inputs, preserved_rng

SHARE = 0.05
"""Share of a layer's filters removed at a time (the paper)."""

ROUNDING = 1e-12
"""Eigenvalues below this share of the largest are zero: the rounding of duplicates."""


@final
@dataclass(frozen=True, eq=False)
class GradientMatrix:
    """What is kept of G [filters, examples x weights], the gradients of every example's own loss.

    Attributes:
        gram: GGᵀ/N, about the Hessian between filters: float64 [filters, filters].
        salience: mean over examples of Σ (g w)² over a filter's weights: float64 [filters].
    """

    gram: Tensor
    salience: Tensor


@final
class EffectiveFilters(SetCriterion):
    """Layer by layer, then filter by filter, down to the effective number of filters of every layer.

    A group has r effective filters: the fewest eigenvalues of its GGᵀ that hold `tau` of their sum. C − r filters are
    redundant, and r caps what goes. While any group is above its cap, the one with the smallest predicted error per
    filter goes on (½ Σ of its smallest eigenvalues, one for each filter to go; ties: the most redundant one) and
    loses its filters of the lowest salience, 5 % of its size but not below the cap. Eigenvalues are then those of the
    rows left. So the matrix says how many filters go, and salience says which: of two duplicates none may go.

    Beyond the caps: a criterion orders, the budget decides how far the order is followed. All redundant filters of
    the whole network come first, so with the global selector a budget that redundancy can meet leaves every group at
    its cap or above. A smaller budget is met all the same, with filters in the order of their salience over all
    groups; no cap is left standing by then. `caps` tells which it was: compare it with `PruneResult.kept`. The local
    selector cuts all groups alike, whatever their caps.

    The matrices are those of the given network: filters that go do not change the gradients of the others. The paper
    fine-tunes between steps and computes them again, which is pruning in several rounds, each with fresh scores.
    A stream that several layers make has the columns of all of them.
    """

    name: ClassVar[str] = "effective-filters"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(self, tau: float = 0.99, matrix: Literal["filters", "gates"] = "filters") -> None:
        """Choose the matrix.

        Args:
            tau: share of the spectrum, in (0, 1), that effective filters hold.
            matrix: "filters" takes the gradients of all weights, one backward pass per example; "gates" those of one
                factor per unit, [filters, examples], one backward pass per batch; w is then 1.

        Raises:
            ValueError: an option out of range.
        """
        if not 0 < tau < 1:
            raise ValueError(f"effective-filters, tau: expected a share in (0, 1), got {tau!r}")
        if matrix not in ("filters", "gates"):
            raise ValueError(f"effective-filters, matrix: expected 'filters' or 'gates', got {matrix!r}")
        self.tau, self.matrix = tau, matrix

    def order(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> list[Unit]:
        """See `SetCriterion.order`; with "gates", the loss must be a mean over examples.

        Raises:
            ValueError: a group has no filters, or targets cannot be divided into examples.
        """
        return hierarchical_order(self.matrices(grouping, batches, loss), self.tau)

    def caps(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, int]:
        """Group name -> r, its number of effective filters; arguments and errors as of `order`."""
        matrices = self.matrices(grouping, batches, loss)
        return {name: effective_rank(matrix.gram, self.tau) for name, matrix in matrices.items()}

    def matrices(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, GradientMatrix]:
        """Group name -> its gradient matrix over all examples; arguments and errors as of `order`."""
        gram = {group.name: torch.zeros(group.size, group.size, dtype=torch.float64) for group in grouping.groups}
        salience = {group.name: torch.zeros(group.size, dtype=torch.float64) for group in grouping.groups}
        gradients = _filter_gradients(grouping) if self.matrix == "filters" else _gate_gradients(grouping)
        weights = filters(grouping) if self.matrix == "filters" else {}
        count = 0
        with preserved_rng():
            for inputs, targets in checked_batches(grouping.trace, batches, self.name):
                count += len(inputs[0])
                for rows in gradients(inputs, targets, loss):
                    for name, row in rows.items():
                        gram[name] += (row @ row.T).cpu()
                        salience[name] += (row * weights.get(name, 1)).square().sum(1).cpu()
        return {name: GradientMatrix(gram[name] / count, salience[name] / count) for name in gram}


def hierarchical_order(matrices: dict[str, GradientMatrix], tau: float) -> list[Unit]:
    """All filters, the first to go first: down to the caps as `EffectiveFilters` says, then by salience."""
    left = {name: torch.argsort(matrix.salience, stable=True).tolist() for name, matrix in matrices.items()}
    caps = {name: effective_rank(matrix.gram, tau) for name, matrix in matrices.items()}
    order: list[Unit] = []

    def step(name: str) -> int:
        return min(math.ceil(SHARE * len(matrices[name].gram)), len(left[name]) - caps[name])

    def rank(name: str) -> tuple[float, int]:
        kept = torch.tensor(left[name])
        return predicted_error(matrices[name].gram[kept][:, kept], step(name)), caps[name] - len(kept)

    ranks = {name: rank(name) for name in matrices if step(name) > 0}
    while ranks:
        name = min((name for name in matrices if name in ranks), key=lambda name: ranks[name])
        count = step(name)
        order += [(name, unit) for unit in left[name][:count]]
        del left[name][:count], ranks[name]
        if step(name) > 0:
            ranks[name] = rank(name)
    rest = [(float(matrices[name].salience[unit]), (name, unit)) for name in matrices for unit in left[name]]
    return order + [unit for _, unit in sorted(rest, key=lambda entry: entry[0])]


def predicted_error(gram: Tensor, count: int) -> float:
    """½ Σ of the `count` smallest eigenvalues, per filter removed: the loss that their directions carry."""
    return float(_spectrum(gram)[:count].sum()) / (2 * count)


def effective_rank(gram: Tensor, tau: float) -> int:
    """The fewest eigenvalues that hold `tau` of their sum; 0 for a matrix of zeros.

    Args:
        gram: GGᵀ up to a factor, float64 [filters, filters].
        tau: share of the sum, in (0, 1).
    """
    held = _spectrum(gram).flip(0).cumsum(0)
    return int((held < tau * held[-1]).sum()) + 1 if float(held[-1]) > 0 else 0


def _spectrum(gram: Tensor) -> Tensor:
    """Eigenvalues of a Gram matrix, ascending, >= 0: [filters]."""
    values: Tensor = torch.linalg.eigvalsh(gram)
    return torch.where(values > ROUNDING * values[-1], values, 0)


Gradients = Callable[[Inputs, Any, Loss], Iterator[dict[str, Tensor]]]
"""A batch -> gradients as rows of filters, group name -> float64 [filters, columns], in one part or several."""


def _filter_gradients(grouping: Grouping) -> Gradients:
    """Gradients of all weights of the filters, one example at a time."""
    names = sorted({member.tensor for members in filter_members(grouping).values() for member in members})

    def gradients(inputs: Inputs, targets: Any, loss: Loss) -> Iterator[dict[str, Tensor]]:
        for number in range(len(inputs[0])):
            one, target = tuple(x[number : number + 1] for x in inputs), _example(targets, number, len(inputs[0]))
            yield filters(grouping, parameter_gradients(grouping.trace, one, target, loss, names))

    return gradients


def _gate_gradients(grouping: Grouping) -> Gradients:
    """Gradients of one factor per unit and example, where units end."""

    def gradients(inputs: Inputs, targets: Any, loss: Loss) -> Iterator[dict[str, Tensor]]:
        size = len(inputs[0])
        found = gradient(grouping, inputs, targets, loss, factors(grouping, inputs, size)).double() * size
        yield {name: columns.T for name, columns in grouping.split(found).items()}

    return gradients


def _example(targets: Any, number: int, size: int) -> Any:
    """One example's targets, as a batch of one.

    Raises:
        ValueError: the targets are no tensors with the batch on axis 0.
    """

    def one(leaf: Any) -> Any:
        if leaf is None:
            return None
        if not isinstance(leaf, Tensor) or leaf.ndim < 1 or len(leaf) != size:
            got = f"shape {list(leaf.shape)}" if isinstance(leaf, Tensor) else type(leaf).__name__
            raise ValueError(
                f"effective-filters: expected targets as tensors [N, ...] with N = {size}, to give every example its "
                f"own loss, got {got}; use matrix='gates', which divides the loss of a batch"
            )
        return leaf[number : number + 1]

    return torch.utils._pytree.tree_map(one, targets)
