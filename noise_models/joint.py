"""Joint choice: bits of activations and weights, circuit and pruning ratio of every layer in one knapsack.

A candidate of a layer says which circuit it has (that fixes the bits of its weights), how many bits the activations
have that it reads, and its energy and degradation; candidates of other widths come from `noise_models.narrow`. Pruning
joins by group of layers, as it takes whole channels: where a group keeps a share r of its channels, a layer with those
channels on one side (its outputs, or its inputs) makes r times as many multiplications, one with them on both sides
r^2. What pruning degrades is the caller's figure, from a Taylor score or measured. Degradations add up; that errors of
circuits in channels that are gone degrade nothing any more is left out, so the sum is on the safe side.

Each layer belongs to one group at most. That is exact for the inner channels of residual blocks; channels that chain
layer to layer make one group of the chain, with one share for all of it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import nn

from approx import QuantisedNetwork, capture
from multipliers import Multiplier
from noise_models.candidates import Candidate, Candidates, undominated
from noise_models.selection.front import Front, FrontPoint
from noise_models.selection.hull import choosable
from noise_models.selection.knapsack import vertices


@dataclass(frozen=True)
class Group:
    """Layers that are decided together.

    Attributes:
        sides: layer -> on how many sides, 1 or 2, it has the channels that are pruned, 0 for none.
        pruning: share of the channels kept -> predicted degradation, in the unit of the candidates'; without pruning
            (share 1) it is 0 and need not be named.
        same_bits: its layers read the same activations, so these have one width.
    """

    sides: Mapping[str, int]
    pruning: Mapping[float, float] = field(default_factory=dict)
    same_bits: bool = False

    def __post_init__(self) -> None:
        if not self.sides or not all(s in (0, 1, 2) for s in self.sides.values()):
            raise ValueError(f"a group needs layers with 0, 1 or 2 pruned sides, got {dict(self.sides)}")
        wrong = {k: d for k, d in self.pruning.items() if not (0 < k <= 1 and 0 <= d < math.inf)}
        if wrong:
            raise ValueError(
                f"group of {list(self.sides)}: expected shares above 0 and at most 1 with finite degradations >= 0, "
                f"got {wrong}"
            )


def joint_front(candidates: Candidates, groups: Iterable[Group] = ()) -> Front:
    """Every vertex of the convex front over circuits, bits and shares kept.

    Args:
        candidates: by layer name, of any widths.
        groups: each layer in one at most; the others are decided alone, and not pruned.

    Raises:
        ValueError: there are no layers, or one has no candidate of finite degradation; a group names a layer without
            candidates or one of another group, or no width suits all its layers.
    """
    choosable(candidates)  # refuses layers without any
    rows = {name: [c for c in row if c.degradation < math.inf] for name, row in candidates.items()}
    groups = tuple(groups)
    named = [name for group in groups for name in group.sides]
    wrong = sorted({n for n in named if n not in rows or named.count(n) > 1})
    if wrong:
        raise ValueError(f"layers {wrong} of the groups have no candidates or are in several groups")
    alone = [Group({name: 0}) for name in rows if name not in named]
    options = {str(i): undominated(_options(group, rows)) for i, group in enumerate((*groups, *alone))}
    return Front.of("joint knapsack", (_merged(chosen.values(), rows) for chosen in vertices(options)))


def sole_readers(network: QuantisedNetwork) -> list[str]:
    """Layers whose input nothing else reads: they alone suffer from fewer bits there.

    The degradation of a candidate with fewer bits speaks of its own layer; at a residual connection the sum would
    suffer too. Choose fewer bits only here, or add to the degradation what they do elsewhere.
    """
    read = [source for step in network.steps() if not step.moves_only for source in step.sources]
    return [name for name, layer in network.layers().items() if sum(s is layer.sources[0] for s in read) == 1]


def realise(
    model: nn.Module, batches: Sequence[torch.Tensor], point: FrontPoint, library: Mapping[str, Multiplier]
) -> QuantisedNetwork:
    """The network with the bits and circuits of a point; pruning is the caller's, before it.

    Args:
        model: float network; where the point keeps less than all channels, pruned by that.
        batches: calibration images [N, C, H, W].
        point: from `joint_front`.
        library: where the circuits are.

    Raises:
        ValueError: layers that read the same activation are to read different bits, or a circuit does not fit.
    """
    network = capture(model, batches[0])
    writers = {id(step.output): step.label for step in network.steps() if not step.moves_only}
    bits: dict[str, int] = {}
    for name, layer in network.layers().items():
        label, wanted = writers[id(layer.sources[0])], point.bits.get(name, 8)
        if bits.setdefault(label, wanted) != wanted:
            raise ValueError(
                f"layer {name!r} is to read {wanted} bits of activation {label!r}, which another layer reads with "
                f"{bits[label]}; put them into one group with same_bits"
            )
    narrow = {label: width for label, width in bits.items() if width != 8}
    return network.use_bits(narrow).calibrate(batches).assign(point.assignment, library)


@dataclass(frozen=True, eq=False)
class _Together:
    """One candidate in each layer of a group."""

    chosen: Mapping[str, Candidate]

    @cached_property
    def energy(self) -> float:
        return math.fsum(c.energy for c in self.chosen.values())

    @cached_property
    def degradation(self) -> float:
        return math.fsum(c.degradation for c in self.chosen.values())


def _options(group: Group, rows: Candidates) -> list[_Together]:
    """Every vertex of the group's own front."""
    widths = sorted({c.bits for name in group.sides for c in rows[name]})
    found: list[_Together] = []
    for allowed in [{width} for width in widths] if group.same_bits else [set(widths)]:
        fitting = {name: [c for c in rows[name] if c.bits in allowed] for name in group.sides}
        if all(fitting.values()):
            for kept, degradation in {1.0: 0.0, **group.pruning}.items():
                share = degradation / len(fitting)
                pruned = {n: [_pruned(c, kept, group.sides[n], share) for c in row] for n, row in fitting.items()}
                found += map(_Together, vertices({name: undominated(row) for name, row in pruned.items()}))
    if not found:
        raise ValueError(f"no width of activations suits all layers {list(group.sides)} of a group with same_bits")
    return found


def _pruned(candidate: Candidate, kept: float, sides: int, degradation: float) -> Candidate:
    return replace(
        candidate,
        energy=candidate.energy * kept**sides,
        degradation=candidate.degradation + degradation,
        kept=kept if sides else 1.0,
    )


def _merged(groups: Iterable[_Together], order: Iterable[str]) -> FrontPoint:
    every = {name: candidate for group in groups for name, candidate in group.chosen.items()}
    return FrontPoint.of({name: every[name] for name in order})
