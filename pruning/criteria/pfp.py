"""PFP: channels by their empirical sensitivity, layers by one error ε that all of them are held to.

Liebenwein, Baykal, Lang, Feldman, Rus, "Provable Filter Pruning for Efficient Neural Networks", ICLR 2020,
arXiv 1911.07412 (papers: structured_pruning §2).
"""

from __future__ import annotations

from collections.abc import Container
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, fx

from pruning.consumers import readers
from pruning.criteria.base import Batches, Criterion, Loss
from pruning.criteria.sample_complexity import fewest_draws, thresholds
from pruning.groups import Grouping
from pruning.patches import channel_columns, layer_patches, parameter_layers, taps, weight_rows
from pruning.rules.context import place
from pruning.sensitivity import (
    largest_per_unit,
    largest_shares,
    largest_unit_shares,
    log_factor,
    mean_shares,
    sample_size,
)

FAILURE = 1e-16
"""δ of the paper's experiments."""


@final
class Pfp(Criterion):
    """The error ε up to which the paper keeps a unit, so that a threshold on scores is the paper's search for ε.

    s_j is the largest share unit j has in a sum that reads it: over outputs, taps, positions and examples, and over
    all layers that read it where there are several (reconstructed, as is the largest α of those). With p = s / Σ s,
    the layer keeps U(ε) units (see `sample_complexity`); the u-th of the layer's order scores the ε at which U(ε)
    falls below u. The global selector then finds the paper's allocation, and does so for any cost, rounding and
    minimum. Units that no example uses score 0: unlike in the paper, they stay while the budget has room. Equal s,
    of which s = 1 is common, are told apart by the sum of their weights' mean shares; the reference code leaves them
    to its sort.

    Random variants keep exactly U(ε) units, not U(ε) in expectation, and leave kept weights as they are, where the
    paper multiplies them by (times drawn) / (m p_j): a criterion changes no weights, and fine-tuning follows.
    Labels and the loss are not used.
    """

    name: ClassVar[str] = "pfp"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(
        self,
        variant: Literal["det", "rand", "top"] = "det",
        numerator: Literal["tap", "channel"] = "tap",
        examples: int | None = None,
        seed: int = 0,
    ) -> None:
        """Choose how a layer's units are ordered.

        Args:
            variant: "det", by s. "rand", as drawn from p: the order of first appearance. "top": the paper's
                k = #{p_j >= 1/m} most sensitive ones and the others as drawn, where m grows with the units kept; one
                order serves all sizes, so any of those k that are missing come next (reconstructed).
            numerator: the share of a single tap, as in the reference code, or of the channel, all of its taps in
                one patch together, as in the paper (from memory).
            examples: most examples used, the first of the data; None for the paper's number, about 200.
            seed: of the draws.

        Raises:
            ValueError: an option out of range.
        """
        if variant not in ("det", "rand", "top"):
            raise ValueError(f"pfp, variant: expected det, rand or top, got {variant!r}")
        if numerator not in ("tap", "channel"):
            raise ValueError(f"pfp, numerator: expected tap or channel, got {numerator!r}")
        for option, value, least in (("examples", examples, 1), ("seed", seed, 0)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise ValueError(f"pfp, {option}: expected an integer >= {least}, got {value!r}")
        self.variant, self.numerator, self.examples, self.seed = variant, numerator, examples, seed

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; the loss is not used.

        Raises:
            ValueError: something reads a unit that is not linear in it, or nothing linear does (it is named).
        """
        largest, mean, factors = (grouping.split(part.cpu()) for part in self.sensitivity(grouping, batches))
        generator = torch.Generator().manual_seed(self.seed)
        return {name: self._scores(s, mean[name], float(factors[name].max()), generator) for name, s in largest.items()}

    def sensitivity(self, grouping: Grouping, batches: Batches | None) -> tuple[Tensor, Tensor, Tensor]:
        """What the order and the ratios are made of.

        Returns:
            s_j; the sums of the mean shares of a unit's weights; the α of its readers: float64 [units] each.

        Raises:
            ValueError: as for `score`.
        """
        names = parameter_layers(grouping.trace)
        layers = _reading(grouping, names)
        values, count = grouping.trace.values(), grouping.units
        rows = {layer: weight_rows(layer, values[names[layer]].detach().double()) for layer in layers}
        largest, factors = (torch.zeros(count, dtype=torch.float64, device=_device(grouping)) for _ in range(2))
        means = {layer: torch.zeros_like(row) for layer, row in rows.items()}
        limit = self.examples or sample_size(names, FAILURE)
        for layer, patches in layer_patches(grouping.trace, layers, batches, limit, self.name):
            columns = layers[layer].to(patches.device)
            if self.numerator == "channel":
                largest = torch.maximum(largest, largest_unit_shares(rows[layer], patches, columns, count))
            else:
                largest = largest_per_unit(largest_shares(rows[layer], patches).amax(1), columns, largest)
            means[layer] = torch.maximum(means[layer], mean_shares(rows[layer], patches))
            alpha = torch.full(columns.shape, log_factor(patches.shape[-1], taps(layer), FAILURE)).to(factors)
            factors = largest_per_unit(alpha, columns, factors)
        mean = torch.zeros_like(largest)
        for layer, found in means.items():
            columns = layers[layer].to(found.device)
            mean.index_add_(0, columns[columns >= 0], found.sum(1)[columns >= 0])
        return largest, mean, factors

    def _scores(self, s: Tensor, ties: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Scores of one group: the threshold of place u goes to the u-th unit of the order."""
        order = sorted(range(len(s)), key=lambda unit: (-float(s[unit]), -float(ties[unit]), unit))
        draws, scores = fewest_draws(s / s.sum()), torch.zeros_like(s)
        used = torch.tensor(order[: len(draws)], dtype=torch.int64)
        if self.variant != "det":
            used = used[_drawn_order(s[used] / s.sum(), draws, self.variant == "top", generator)]
        scores[used] = thresholds(draws, factor * float(s.sum()))
        return scores


def _drawn_order(p: Tensor, draws: Tensor, top: bool, generator: torch.Generator) -> Tensor:
    """Order of first appearance in draws from p, which is that of exponential arrival times at rates p.

    Args:
        p: descending, float64 [C]; arrival times go by place, so they follow channels that are reordered.
        draws: m for u = 1 .. C units.
        top: whether the units with p >= 1/m come first.
        generator: of the arrival times.
    """
    arrival = torch.empty_like(p).exponential_(generator=generator) / p
    waiting = torch.argsort(arrival, stable=True).tolist()
    if not top:
        return torch.tensor(waiting, dtype=torch.int64)
    order, chosen, best, first = list[int](), set[int](), 0, 0
    for size, certain in enumerate((p[None] >= 1 / draws[:, None]).sum(1).tolist(), start=1):
        while best in chosen:
            best += 1
        while waiting[first] in chosen:
            first += 1
        order.append(best if best < min(certain, size) else waiting[first])
        chosen.add(order[-1])
    return torch.tensor(order, dtype=torch.int64)


def _reading(grouping: Grouping, known: Container[fx.Node]) -> dict[fx.Node, Tensor]:
    """Layers, of those known, that read units -> unit of every column of their rows, -1 = none.

    Raises:
        ValueError: something that is not linear reads a unit, or nothing that is linear does.
    """
    found, reached = {}, torch.zeros(grouping.units + 1, dtype=torch.bool)
    for node in grouping.trace.program.graph.nodes:
        for axis, units in grouping.sites.get(node.name, ()):
            for layer in readers(grouping, node, axis):
                if layer not in known:
                    raise ValueError(
                        f"pfp: {place(layer)} sums over channels in a way that is not read here; leave the layers "
                        f"before it out with ignore=, or choose another criterion"
                    )
                found[layer] = channel_columns(layer, units)
                reached[units] = True
    missing = [name for name, part in grouping.split(reached[:-1]).items() if not bool(part.all())]
    if missing:
        raise ValueError(
            f"pfp: no convolution, linear layer or product with a parameter reads {', '.join(missing)}, so they have "
            f"no sensitivity; leave them out with ignore=, or choose another criterion"
        )
    return found


def _device(grouping: Grouping) -> torch.device:
    return grouping.trace.inputs[0].device
