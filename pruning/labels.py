"""Names for channels: one atom per index of every parameter axis, tied where channels must go together.

Every axis of every tensor in the graph carries an int64 label per position: a value >= 0 is an atom, a value
< 0 is a fixed position and encodes the reason it is fixed. Tying two axes says that position i of one is
position i of the other; tying an atom to a fixed position freezes it, with that position's reason.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Labels:
    """The atoms of one network, their ties, and why some of them are frozen."""

    def __init__(self) -> None:
        self.count = 0
        self.reasons: list[str] = []
        self._codes: dict[str, int] = {}
        self._ties: list[tuple[Tensor, Tensor]] = []
        self._frozen: list[tuple[Tensor, Tensor]] = []

    def fresh(self, size: int) -> Tensor:
        """New atoms for an axis of `size` positions: int64 [size]."""
        start, self.count = self.count, self.count + size
        return torch.arange(start, self.count)

    def fixed(self, size: int, reason: str) -> Tensor:
        """Labels of `size` positions that never go away: int64 [size], all equal to the reason's code."""
        return torch.full((size,), self._code(reason), dtype=torch.int64)

    def tie(self, first: Tensor, second: Tensor) -> None:
        """Position i of `first` and position i of `second` are kept or removed together."""
        if first.shape != second.shape:
            raise AssertionError(f"axes of {list(first.shape)} and {list(second.shape)} cannot be tied")
        atoms = (first >= 0) & (second >= 0)
        self._ties.append((first[atoms], second[atoms]))
        for kept, other in ((first, second), (second, first)):
            meets_fixed = (kept >= 0) & (other < 0)
            self._frozen.append((kept[meets_fixed], other[meets_fixed]))

    def merged(self, first: Tensor, second: Tensor) -> Tensor:
        """Tie two axes; the labels of the one axis they become, which has no atoms if either has none."""
        self.tie(first, second)
        return second if tracked(first) and not tracked(second) else first

    def freeze(self, axis: Tensor, reason: str) -> None:
        """Keep every atom of `axis` for good."""
        atoms = axis[axis >= 0]
        self._frozen.append((atoms, torch.full_like(atoms, self._code(reason))))

    def reason(self, code: int) -> str:
        """The reason behind a fixed label (< 0)."""
        return self.reasons[-1 - code]

    def resolve(self) -> tuple[list[int], dict[int, str]]:
        """Merge all ties.

        Returns:
            roots: the smallest atom of each atom's class, one entry per atom.
            frozen: root -> the first reason recorded for any atom of its class.
        """
        parent = list(range(self.count))

        def find(atom: int) -> int:
            while parent[atom] != atom:
                parent[atom] = parent[parent[atom]]
                atom = parent[atom]
            return atom

        for first, second in self._ties:
            for a, b in zip(first.tolist(), second.tolist(), strict=True):
                one, two = find(a), find(b)
                if one < two:
                    parent[two] = one
                else:
                    parent[one] = two
        frozen: dict[int, str] = {}
        for atoms, codes in self._frozen:
            for atom, code in zip(atoms.tolist(), codes.tolist(), strict=True):
                frozen.setdefault(find(atom), self.reason(code))
        return [find(atom) for atom in range(self.count)], frozen

    def _code(self, reason: str) -> int:
        if reason not in self._codes:
            self.reasons.append(reason)
            self._codes[reason] = -len(self.reasons)
        return self._codes[reason]


def tracked(axis: Tensor) -> bool:
    """Whether any position of the axis is an atom."""
    return bool((axis >= 0).any())
