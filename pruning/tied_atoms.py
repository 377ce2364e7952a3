"""Positions of parameter axes sorted by the class of their atom: what every unit of a group owns, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.groups import Member

Slot = tuple[str, int]
"""A parameter or buffer and one of its axes."""


@dataclass(frozen=True)
class TiedAtoms:
    """Atoms that go together, in the order in which the parameter axes show them.

    Attributes:
        roots: of each class.
        runs: of each class, from which to which of `slots` and `counts` it has.
        slots: the parameter axes of each class, one after the other.
        counts: how many positions of each of them.
        starts: where these positions begin in `positions`.
        positions: all of them.
    """

    roots: list[int]
    runs: list[tuple[int, int]]
    slots: list[Slot]
    counts: list[int]
    starts: list[int]
    positions: list[int]

    @classmethod
    def of(cls, axes: dict[str, list[Tensor]], roots: Tensor) -> TiedAtoms:
        """Sort every position of every axis by the class of its atom; axes and positions stay in order."""
        listed = [((tensor, number), axis) for tensor, labelled in axes.items() for number, axis in enumerate(labelled)]
        empty = torch.zeros(0, dtype=torch.int64)
        kept = [(axis >= 0).nonzero().flatten() for _, axis in listed]
        positions = torch.cat([empty, *kept])
        root = torch.cat([empty, *(roots[axis[at]] for (_, axis), at in zip(listed, kept, strict=True))])
        slot = torch.repeat_interleave(torch.tensor([len(at) for at in kept], dtype=torch.int64))
        present, inverse = torch.unique(root, return_inverse=True)
        first = torch.full_like(present, len(root)).scatter_reduce(0, inverse, torch.arange(len(root)), "amin")
        rank = torch.empty_like(present)
        rank[torch.argsort(first)] = torch.arange(len(present))
        order = torch.argsort(rank[inverse], stable=True)
        key, counts = torch.unique_consecutive(rank[inverse][order] * len(listed) + slot[order], return_counts=True)
        _, per_class = torch.unique_consecutive(key // max(len(listed), 1), return_counts=True)
        ends = per_class.cumsum(0).tolist()
        return cls(
            present[torch.argsort(first)].tolist(),
            list(zip([0, *ends[:-1]], ends, strict=True)) if ends else [],
            [listed[number][0] for number in (key % max(len(listed), 1)).tolist()],
            counts.tolist(),
            (counts.cumsum(0) - counts).tolist(),
            positions[order].tolist(),
        )

    def signature(self, number: int) -> tuple[tuple[Slot, int], ...]:
        """The axes of a class and how many positions of each it has: equal for the units of one group."""
        start, end = self.runs[number]
        return tuple(zip(self.slots[start:end], self.counts[start:end], strict=True))

    def members(self, signature: tuple[tuple[Slot, int], ...], numbers: Sequence[int]) -> tuple[Member, ...]:
        """The members of the group that these classes are."""
        found = []
        for place, (slot, count) in enumerate(signature):
            begins = [self.starts[self.runs[number][0] + place] for number in numbers]
            found.append(Member(*slot, tuple(tuple(self.positions[at : at + count]) for at in begins)))
        return tuple(found)
