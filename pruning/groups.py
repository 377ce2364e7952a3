"""Groups: channels that must be removed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pruning.trace import Trace

Site = tuple[tuple[int, Tensor], ...]
"""(axis, units of its positions int64 [size], -1 = none) for the axes of one tensor that are masked."""

Sites = Mapping[str, Site]
"""Node name -> the masked axes of the tensor it returns."""


@dataclass(frozen=True)
class MacTerm:
    """Multiply-accumulates of one operation per example: `factor` times the kept size of each axis."""

    node: str
    factor: float
    axes: tuple[Tensor, ...]


@dataclass(frozen=True)
class Member:
    """One parameter axis of a group: unit i of the group owns positions `indices[i]` of that axis."""

    tensor: str
    axis: int
    indices: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Group:
    """`size` interchangeable units; removing unit i removes its positions from every member at once.

    Attributes:
        name: the layer (or parameter) whose output channels these are; unique in the network.
        size: number of units.
        members: every parameter and buffer axis that shrinks with the group.
    """

    name: str
    size: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Frozen:
    """Channels that cannot be removed: `count` of the `size` positions of a parameter axis, and why."""

    tensor: str
    axis: int
    count: int
    size: int
    reason: str


@dataclass(frozen=True)
class Fork:
    """An operation that divides an axis of channels in one of `readings` ways, and the groups it passes on.

    The traced graph cannot tell the ways apart: `view(n, 3, 4)` of 12 channels may have been written as
    `view(n, 3, -1)` or as `view(n, -1, 4)`.
    """

    readings: int
    groups: frozenset[str]


@dataclass(frozen=True, eq=False)
class Grouping:
    """All groups of a network and how they appear in its graph.

    Units are numbered through all groups in order: unit i of group g is `start(g) + i`.

    Attributes:
        trace: the network.
        groups: what can be pruned.
        frozen: what cannot, and why.
        terms: multiply-accumulates per operation; an axis holds, per position, a unit (>= 0) or -1 (fixed).
        sites: each tensor over whose channels some operation sums: there a unit ends, and zero means removed.
        whole_groups: weight -> number of groups, for convolutions and norms where a unit is a whole group.
        forks: operation -> how else it could have been read.
        weights: as `sites`, for parameters to be masked because the sum is inside an operation (recurrence).
    """

    trace: Trace
    groups: tuple[Group, ...]
    frozen: tuple[Frozen, ...]
    terms: tuple[MacTerm, ...]
    sites: Sites
    whole_groups: Mapping[str, int]
    forks: Mapping[str, Fork] = field(default_factory=dict)
    weights: Sites = field(default_factory=dict)

    @property
    def units(self) -> int:
        """Number of units in all groups."""
        return sum(group.size for group in self.groups)

    def start(self, name: str) -> int:
        """Number of the first unit of a group."""
        position = 0
        for group in self.groups:
            if group.name == name:
                return position
            position += group.size
        raise ValueError(f"no group {name!r}; groups: {[group.name for group in self.groups]}")

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Per-unit values [..., units] -> group name -> [..., size]."""
        parts = values.split([group.size for group in self.groups], dim=-1)
        return {group.name: part for group, part in zip(self.groups, parts, strict=True)}
