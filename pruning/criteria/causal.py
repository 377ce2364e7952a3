"""Causal data-free pruning: how much a unit tells its readers when the network is fed pure noise.

Ferianc, Sankaran, Mastropietro, Saboori, Cappart, "On Causal Inference for Data-free Structured Pruning", ITCI'22 at
AAAI 2022, arXiv 2112.10229. Reconstructed from the abstract: mutual information under a maximum-entropy perturbation,
propagated layer by layer (papers: structured_pruning §1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, fx

from pruning.activations import activations
from pruning.consumers import LinearMap, consumers
from pruning.criteria.base import Batches, Criterion, Loss
from pruning.criteria.information import ESTIMATORS, numbers_per_pair
from pruning.gates import gating
from pruning.groups import Group, Grouping
from pruning.rules.context import shape_of
from pruning.trace import Inputs, preserved_rng

CHUNK = 2**23
"""Most numbers held at once of the responses of single units."""

INPUTS = 64
"""Noise inputs that run through the network together."""


@final
@dataclass(frozen=True, eq=False)
class Reading:
    """A tensor where units of a group end, and one linear map that reads it.

    Attributes:
        node: the operation that returns the tensor.
        axis: the axis of units; the map's outputs are on the same axis of its result.
        units: unit of the group at each position of that axis, -1 = none: int64 [size].
        read: the map.
    """

    node: fx.Node
    axis: int
    units: Tensor
    read: LinearMap


@final
class Causal(Criterion):
    """S_i = Σ_j I(u_ij ; z_j) in nats under do(input = noise).

    z_j is a pre-activation of something that reads unit i, without its bias, and u_ij the unit's own part of it: the
    response of the reader to that unit alone, exact for linear layers (behind a flattening too), products with a
    parameter, and convolutions, grouped and transposed ones included. What a depthwise convolution passes on is read
    behind it. Everything that reads a unit counts. The noise is of maximum entropy: standard normal for the variance
    1, or uniform over given bounds. It has the shape of the example inputs and a seed of its own.

    A sample is one value of a response: one noise input for a linear layer over features, one position of one noise
    input for a convolution or a sequence. A reader with P positions therefore takes ⌈samples / P⌉ noise inputs, and
    the network runs on as many as the reader with the fewest positions needs. Positions that see the same noise are
    not independent, so more samples than the default may be worth their time behind large receptive fields.

    Scores of different groups are no measure of each other; selectors divide by the mean of the group.
    """

    name: ClassVar[str] = "causal"
    needs_data: ClassVar[bool] = False
    comparable: ClassVar[bool] = False

    def __init__(
        self,
        bounds: tuple[float, float] | None = None,
        estimator: Literal["gaussian", "histogram"] = "gaussian",
        samples: int = 2048,
        ratio: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Choose the intervention and the estimator.

        Args:
            bounds: (low, high) of the network's inputs; None if only their scale is known (zero mean, variance 1).
            estimator: of the mutual information, see `pruning.criteria.information`.
            samples: of every response, at least.
            ratio: share of each group, in [0, 1), whose lowest units are masked, so that groups that end later are
                judged by what will be left before them. A criterion does not know the budget, so nothing is masked
                unless this is given; the network then runs once per group.
            seed: of the noise.

        Raises:
            ValueError: an option out of range.
        """
        if bounds is not None and not (len(bounds) == 2 and -math.inf < bounds[0] < bounds[1] < math.inf):
            raise ValueError(f"causal, bounds: expected (low, high) with low < high, or None, got {bounds!r}")
        if estimator not in ESTIMATORS:
            raise ValueError(f"causal, estimator: expected 'gaussian' or 'histogram', got {estimator!r}")
        if not isinstance(samples, int) or samples < 2:
            raise ValueError(f"causal, samples: expected an integer >= 2, got {samples!r}")
        if not 0 <= ratio < 1:
            raise ValueError(f"causal, ratio: expected a share in [0, 1), got {ratio!r}")
        self.bounds, self.estimator, self.samples, self.ratio, self.seed = bounds, estimator, samples, ratio, seed

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; needs no data.

        Raises:
            ValueError: an input takes no noise (token numbers), or units are read by nothing linear (it is named).
        """
        order = {node: number for number, node in enumerate(grouping.trace.program.graph.nodes)}
        readings = {group.name: _readings(grouping, group) for group in grouping.groups}
        names = sorted(readings, key=lambda name: max(order[reading.node] for reading in readings[name]))
        scores = {group.name: torch.zeros(group.size, dtype=torch.float64) for group in grouping.groups}
        factors = torch.ones(grouping.units, device=grouping.trace.inputs[0].device)
        for stage in [[name] for name in names] if self.ratio else [names]:
            ends = self._responses(grouping, [reading for name in stage for reading in readings[name]], factors)
            for name in stage:
                for reading in readings[name]:
                    scores[name] += self._information(reading, ends[reading.node.name], len(scores[name]))
                removed = torch.argsort(scores[name], stable=True)[: int(self.ratio * len(scores[name]))]
                factors[grouping.start(name) + removed] = 0
        return scores

    def _responses(self, grouping: Grouping, readings: Sequence[Reading], factors: Tensor) -> dict[str, Tensor]:
        """Node name -> the tensor that is read, for as many noise inputs as its readers need."""
        wanted: dict[str, int] = {}
        for reading in readings:
            needed = -(-self.samples // _positions(reading, grouping.trace.batch))
            wanted[reading.node.name] = max(needed, wanted.get(reading.node.name, 0))
        parts: dict[str, list[Tensor]] = {name: [] for name in wanted}
        generator, total = torch.Generator().manual_seed(self.seed), max(wanted.values(), default=0)
        for start in range(0, total, INPUTS):
            inputs = self._noise(grouping.trace.inputs, min(INPUTS, total - start), generator)
            nodes = {name for name, needed in wanted.items() if needed > start}
            with preserved_rng():
                found = activations(grouping.trace, inputs, nodes, edit=gating(grouping, factors.to(inputs[0])))
            for name, value in found.items():
                if len(value) != len(inputs[0]):
                    raise ValueError(f"causal: {name} has shape {list(value.shape)}, expected the batch on axis 0")
                if not bool(torch.isfinite(value).all()):
                    raise ValueError(
                        f"causal: {name} is not finite under noise; narrow the bounds, or mend the weights"
                    )
                parts[name].append(value[: wanted[name] - start].clone())
        return {name: torch.cat(values) for name, values in parts.items()}

    def _noise(self, example: Inputs, count: int, generator: torch.Generator) -> Inputs:
        """Noise shaped, typed and placed like the example: [count, ...] each."""
        made = []
        for number, like in enumerate(example):
            if not like.is_floating_point():
                raise ValueError(
                    f"causal: input {number} has dtype {like.dtype}, and noise of maximum entropy is real-valued; "
                    f"prune the network behind its embedding, or choose another criterion, such as 'magnitude'"
                )
            shape = (count, *like.shape[1:])
            if self.bounds is None:
                value = torch.randn(shape, generator=generator, dtype=torch.float64)
            else:
                low, high = self.bounds
                value = low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
            made.append(value.to(like))
        return tuple(made)

    def _information(self, reading: Reading, value: Tensor, size: int) -> Tensor:
        """Σ_j I(u_ij ; z_j) of every unit at one reader, zero for units that are not read there: float64 [size]."""
        value, axis, scores = value.double(), reading.axis, torch.zeros(size, dtype=torch.float64)
        whole = _samples(reading.read(value), axis)
        present = torch.unique(reading.units[reading.units >= 0]).tolist()
        step = max(1, CHUNK // (len(whole) * numbers_per_pair(self.estimator, whole.shape[1])))
        for first in range(0, len(present), step):
            chosen = present[first : first + step]
            owned = [(reading.units == unit).nonzero()[:, 0].to(value.device) for unit in chosen]
            own = [_samples(reading.read(value.index_select(axis, index), index), axis) for index in owned]
            scores[chosen] = ESTIMATORS[self.estimator](torch.stack(own), whole).sum(1).cpu()
        return scores


def _samples(response: Tensor, axis: int) -> Tensor:
    """A response with its outputs first and everything else as samples: [outputs, samples]."""
    return response.movedim(axis, 0).flatten(1)


def _positions(reading: Reading, batch: int) -> int:
    """Samples that a reader's outputs have per input of the network."""
    weight = reading.read.weight
    tensor = torch.zeros(shape_of(reading.node.meta["val"]), dtype=weight.dtype, device=weight.device)
    return max(1, _samples(reading.read(tensor), reading.axis).shape[1] // batch)


def _readings(grouping: Grouping, group: Group) -> list[Reading]:
    """Where a group's units end and what reads them, in the order of the graph.

    Raises:
        ValueError: something reads units that is no linear map, or nothing does.
    """
    start, found = grouping.start(group.name), []

    def mine(units: Tensor) -> Tensor:
        return torch.where((units >= start) & (units < start + group.size), units - start, -1)

    for weight, places in grouping.weights.items():
        if any(bool((mine(units) >= 0).any()) for _, units in places):
            raise ValueError(
                f"group {group.name!r}: its units are read inside a recurrent layer, by "
                f"{grouping.trace.tensors().get(weight, weight)}, where there is no linear map to explain; leave the "
                f"group out with ignore=, or choose another criterion"
            )
    for node in grouping.trace.program.graph.nodes:
        for axis, units in grouping.sites.get(node.name, ()):
            if bool((mine(units) >= 0).any()):
                found += [Reading(node, axis, mine(units), read) for read in consumers(grouping, node, axis)]
    if not found:
        raise ValueError(
            f"group {group.name!r}: no layer reads its units, so there is no response to them; leave the group out "
            f"with ignore=, or choose another criterion"
        )
    return found
