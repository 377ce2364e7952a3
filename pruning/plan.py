"""`Plan`: the kept indices of every shortened parameter axis: a small file rebuilds the small network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pruning.groups import Grouping
from pruning.surgery import cut
from pruning.trace import tensors_of

FORMAT = "picojoule.pruning.plan"
VERSION = 1


@dataclass(frozen=True)
class Axis:
    """Kept positions, ascending, of one axis of a parameter or buffer that had `size` positions."""

    tensor: str
    axis: int
    size: int
    kept: tuple[int, ...]

    def __post_init__(self) -> None:
        where = f"plan, {self.tensor!r} axis {self.axis}"
        if self.axis < 0 or self.size < 1:
            raise ValueError(f"{where}: expected axis >= 0 and size >= 1, got size {self.size}")
        if not self.kept or list(self.kept) != sorted(set(self.kept)):
            raise ValueError(f"{where}: kept indices must be ascending, unique and not empty")
        if self.kept[0] < 0 or self.kept[-1] >= self.size:
            raise ValueError(f"{where}: kept indices {self.kept[0]}..{self.kept[-1]} outside 0..{self.size - 1}")

    def positions(self, kept: tuple[int, ...]) -> tuple[int, ...]:
        """Original positions of some of those that are left."""
        return tuple(self.kept[position] for position in kept)


@dataclass(frozen=True)
class Plan:
    """What to keep of a network; everything not mentioned stays whole.

    Attributes:
        axes: the shortened axes.
        groups: module name -> new `groups`, for grouped convolutions and group norms that lose whole groups.
    """

    axes: tuple[Axis, ...] = ()
    groups: tuple[tuple[str, int], ...] = ()

    @classmethod
    def from_kept(cls, grouping: Grouping, kept: Mapping[str, tuple[int, ...]]) -> Plan:
        """The plan that keeps the given units of each group; a group not mentioned stays whole.

        Raises:
            ValueError: an unknown group, no unit kept, or a unit number out of range.
        """
        unknown = sorted(set(kept) - {group.name for group in grouping.groups})
        if unknown:
            raise ValueError(f"kept: no groups {unknown}; groups: {[g.name for g in grouping.groups]}")
        removed: dict[tuple[str, int], set[int]] = {}
        for group in grouping.groups:
            units = kept.get(group.name, tuple(range(group.size)))
            if not units or not set(units) <= set(range(group.size)):
                raise ValueError(f"kept[{group.name!r}]: expected units in 0..{group.size - 1}, got {units}")
            gone = set(range(group.size)) - set(units)
            for member in group.members if gone else ():
                slot = removed.setdefault((member.tensor, member.axis), set())
                slot.update(position for unit in gone for position in member.indices[unit])
        tensors = tensors_of(grouping.trace.model)
        axes = []
        for (tensor, axis), gone in removed.items():
            size = tensors[tensor].shape[axis]
            axes.append(Axis(tensor, axis, size, tuple(i for i in range(size) if i not in gone)))
        groups = []
        for entry in axes:
            if entry.axis == 0 and entry.tensor in grouping.whole_groups:
                per_group = entry.size // grouping.whole_groups[entry.tensor]
                groups.append((entry.tensor.rpartition(".")[0], len(entry.kept) // per_group))
        return cls(tuple(axes), tuple(groups))

    def apply(self, model: nn.Module) -> nn.Module:
        """Cut `model` in place: its own parameters and buffers shrink and its layers' sizes follow.

        Parameters stay the same objects (hooks, ties, `requires_grad` and optimiser references survive);
        gradients are cut too. Nothing is changed if anything does not fit.

        Returns:
            The same module.

        Raises:
            ValueError: the plan was made for another network; the first misfit is named.
        """
        cut(model, {(a.tensor, a.axis): (a.size, a.kept) for a in self.axes}, dict(self.groups))
        return model

    def then(self, other: Plan) -> Plan:
        """One plan for two cuts: this one, and another made for the network it leaves.

        `first.then(second).apply(model)` is `second.apply(first.apply(model))`; kept positions are the original's.

        Raises:
            ValueError: the other plan is for a network of other sizes (the first misfit is named).
        """
        axes = {(a.tensor, a.axis): a for a in self.axes}
        for entry in other.axes:
            before = axes.get((entry.tensor, entry.axis))
            if before is not None and entry.size != len(before.kept):
                raise ValueError(
                    f"plan, {entry.tensor!r} axis {entry.axis}: the first plan keeps {len(before.kept)} positions, the "
                    f"second one was made for {entry.size}; give the plan of the network that the first one leaves"
                )
            size, kept = (entry.size, entry.kept) if before is None else (before.size, before.positions(entry.kept))
            axes[entry.tensor, entry.axis] = Axis(entry.tensor, entry.axis, size, kept)
        return Plan(tuple(axes.values()), tuple({**dict(self.groups), **dict(other.groups)}.items()))

    def to_json(self) -> str:
        """The plan as JSON text."""
        return json.dumps(
            {
                "format": FORMAT,
                "version": VERSION,
                "axes": [{"tensor": a.tensor, "axis": a.axis, "size": a.size, "kept": list(a.kept)} for a in self.axes],
                "groups": dict(self.groups),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """A plan from JSON text.

        Raises:
            ValueError: not JSON, not a plan, another version, or indices that make no sense.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"plan: expected JSON, got text that fails at {error}") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f"plan: expected an object with format {FORMAT!r}")
        if data.get("version") != VERSION:
            raise ValueError(f"plan: expected version {VERSION}, got {data.get('version')!r}; save the plan again")
        if set(data) != {"format", "version", "axes", "groups"}:
            raise ValueError(f"plan: expected keys axes, format, groups, version, got {sorted(data)}")
        if not isinstance(data["axes"], list) or not isinstance(data["groups"], dict):
            raise ValueError("plan: expected 'axes' to be a list and 'groups' an object")
        groups = tuple((name, _integer(f"groups[{name!r}]", value)) for name, value in data["groups"].items())
        axes = tuple(_axis(entry, i) for i, entry in enumerate(data["axes"]))
        if len({(a.tensor, a.axis) for a in axes}) != len(axes):
            raise ValueError("plan: the same axis of a tensor is listed twice")
        return cls(axes, groups)

    def save(self, path: Path | str) -> None:
        """Write the plan as JSON."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Plan:
        """Read a plan; see `from_json`.

        Raises:
            ValueError: the file does not hold a valid plan (it is named).
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise ValueError(f"{path}: {error}") from error


def _integer(where: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"plan, {where}: expected an integer, got {value!r}")
    return value


def _axis(entry: Any, number: int) -> Axis:
    where = f"axes[{number}]"
    if not isinstance(entry, dict) or set(entry) != {"tensor", "axis", "size", "kept"}:
        raise ValueError(f"plan, {where}: expected an object with tensor, axis, size, kept")
    if not isinstance(entry["tensor"], str) or not isinstance(entry["kept"], list):
        raise ValueError(f"plan, {where}: expected 'tensor' to be text and 'kept' a list")
    kept = tuple(_integer(f"{where}.kept", index) for index in entry["kept"])
    axis, size = (_integer(f"{where}.{key}", entry[key]) for key in ("axis", "size"))
    return Axis(entry["tensor"], axis, size, kept)
