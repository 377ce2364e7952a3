"""i-SpaSP: the channels whose support explains what the next layer computes, by sparse signal recovery.

Wolfe, Kyrillidis, "i-SpaSP: Structured Neural Pruning via Sparse Signal Recovery", L4DC 2022, arXiv 2112.04905,
algorithm 1 (papers: structured_pruning §8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from pruning.activations import activations, sum_per_unit
from pruning.consumers import LinearMap, consumers
from pruning.criteria.base import Batches, Loss, SetCriterion, Unit, checked_batches
from pruning.groups import Group, Grouping
from pruning.producers import makers
from pruning.rules.context import operand
from pruning.trace import preserved_rng

CHUNK = 2**24
"""Most numbers held at once of what a reader makes of single units."""

Sums = tuple[Tensor, Tensor]
"""A tensor where units end and its magnitude, summed over examples: float64 [1, ...]."""


@final
class ISpasp(SetCriterion):
    """Two-layer blocks H = act(first), U = second(H): keep the rows of H that a pursuit algorithm finds in U.

    With Ω the kept rows, V = U − second(H_Ω) is the residual and y = rowsum(secondᵀ V) correlates it with the rows.
    `second` is the linear part of everything that reads the unit, running batch norms included: offsets cancel in
    V, also on the first pass, where the reference code takes the output of no channels for zero. As V is linear in
    H, y = K 1 over the rows not in Ω, with K[c, c'] = ⟨second(1_c), second(Σ_n H_c')⟩ found once per unit, after
    which every iteration and every size costs a product with K.

    The paper prunes block-internal channels only (one layer makes them, one reads them). Other groups, such as
    residual streams, come after all internal ones in the order: with the global selector, a budget that internal
    channels can meet does not touch them. Their own order sums K over all readers (reconstructed). The local
    selector cuts every group: leave streams out with ignore=. Labels and the loss are not used.
    """

    name: ClassVar[str] = "i-spasp"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(self, keep: float | None = None, iterations: int = 20) -> None:
        """Choose the sizes to solve for.

        Args:
            keep: share of a group, in (0, 1), whose exact support is kept when the selector keeps that share; the
                paper keeps 0.4 of ResNet-34's. None solves for every size and ranks units by the number of
                supports they are in, as a criterion does not know the budget (reconstructed).
            iterations: T; fewer are run if the support repeats itself.

        Raises:
            ValueError: an option out of range.
        """
        if keep is not None and not 0 < keep < 1:
            raise ValueError(f"i-spasp, keep: expected a share in (0, 1) or None, got {keep!r}")
        if not isinstance(iterations, int) or iterations < 1:
            raise ValueError(f"i-spasp, iterations: expected an integer >= 1, got {iterations!r}")
        self.keep, self.iterations = keep, iterations

    def order(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> list[Unit]:
        """See `SetCriterion.order`; groups take turns so that all lose the same share at any time.

        Raises:
            ValueError: something reads a unit that is not linear in it, such as attention (it is named).
        """
        with preserved_rng():
            sums = _sums(grouping, batches, self.name)
        layers, places = _layers(grouping), []
        for number, group in enumerate(grouping.groups):
            correlation, mass, readers = _block(grouping, group, sums)
            last = readers != 1 or layers[group.name] != 1
            for position, unit in enumerate(self._removal(correlation, mass)):
                places.append((last, position / group.size, number, unit))
        return [(grouping.groups[number].name, unit) for _, _, number, unit in sorted(places)]

    def _removal(self, correlation: Tensor, mass: Tensor) -> list[int]:
        """Units of a group, the first to go first: by the supports they are in, then by mass."""
        size = len(mass)
        sizes = range(1, size) if self.keep is None else [max(1, round(self.keep * size))]
        member_of = torch.zeros(size, dtype=torch.int64)
        for wanted in sizes:
            member_of[support(correlation, mass, wanted, self.iterations)] += 1
        return sorted(range(size), key=lambda unit: (int(member_of[unit]), float(mass[unit]), -unit))


def support(correlation: Tensor, mass: Tensor, size: int, iterations: int) -> Tensor:
    """Algorithm 1: `size` rows, ascending int64.

    Args:
        correlation: K, float64 [C, C].
        mass: sums of the rows of H (of their magnitudes, where an activation has negative values): [C].
        size: rows wanted, 1 .. C.
        iterations: most repetitions.
    """
    kept = torch.zeros(len(mass), dtype=torch.bool)
    for _ in range(iterations):
        y = correlation @ (~kept).double()
        candidates = kept.clone()
        candidates[torch.argsort(y, descending=True, stable=True)[: 2 * size]] = True
        ranked = torch.where(candidates, mass, -torch.inf)
        chosen = torch.zeros_like(kept)
        chosen[torch.argsort(ranked, descending=True, stable=True)[:size]] = True
        if bool((chosen == kept).all()):
            break
        kept = chosen
    return kept.nonzero()[:, 0]


def block_correlation(second: LinearMap, total: Tensor, axis: int, units: Tensor, count: int) -> Tensor:
    """K[c, c'] = ⟨second(1_c), second(H_c')⟩ of one reader: float64 [count, count].

    Args:
        second: the reader.
        total: H summed over examples: float64 [1, ...].
        axis: the axis of units.
        units: unit of each position of that axis, -1 = none.
        count: number of units.
    """
    positions = [(units == unit).nonzero()[:, 0].to(total.device) for unit in range(count)]

    def images(value: Tensor, first: int, last: int) -> Tensor:
        chosen = positions[first:last]
        return torch.stack([second(value.index_select(axis, own), own).flatten() for own in chosen])

    ones, rows = torch.ones_like(total), []
    step = max(1, CHUNK // images(ones, 0, 1).numel())
    for first in range(0, count, step):
        left = images(ones, first, first + step)
        rows.append(torch.cat([left @ images(total, at, at + step).T for at in range(0, count, step)], dim=1))
    return torch.cat(rows)


def _block(grouping: Grouping, group: Group, sums: Mapping[str, Sums]) -> tuple[Tensor, Tensor, int]:
    """K, the mass of each unit and the number of readers, over all tensors where the group's units end."""
    start, size, readers = grouping.start(group.name), group.size, 0
    correlation, mass = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for node in grouping.trace.program.graph.nodes:
        for axis, units in grouping.sites.get(node.name, ()):
            mine = torch.where((units >= start) & (units < start + size), units - start, -1)
            if bool((mine >= 0).any()):
                total, magnitude = sums[node.name]
                mass += sum_per_unit(magnitude, axis, mine, size).cpu()
                for second in consumers(grouping, node, axis):
                    correlation += block_correlation(second, total, axis, mine, size).cpu()
                    readers += 1
    return correlation, mass, readers


def _layers(grouping: Grouping) -> dict[str, int]:
    """Group name -> number of layers that make its units, not counting depthwise ones, which only pass them on."""
    counts, weights = torch.zeros(grouping.units + 1, dtype=torch.int64), grouping.trace.tensors()
    for layer, units in makers(grouping).items():
        if weights[operand(layer, 1).name] not in grouping.whole_groups:
            counts[torch.unique(units)] += 1
    return {name: int(part.max()) for name, part in grouping.split(counts[:-1]).items()}


def _sums(grouping: Grouping, batches: Batches | None, name: str) -> dict[str, Sums]:
    """Node name -> sums of the tensor where units end."""
    sums: dict[str, Sums] = {}
    for inputs, _ in checked_batches(grouping.trace, batches, name):
        for node, value in activations(grouping.trace, inputs, grouping.sites).items():
            if len(value) != len(inputs[0]):
                raise ValueError(f"i-spasp: {node} has shape {list(value.shape)}, expected the batch on axis 0")
            total, magnitude = (v.double().sum(0, keepdim=True) for v in (value, value.abs()))
            before = sums.get(node, (torch.zeros_like(total), torch.zeros_like(total)))
            sums[node] = (before[0] + total, before[1] + magnitude)
    return sums
