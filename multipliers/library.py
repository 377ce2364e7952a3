"""An ordered, immutable collection of multipliers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from multipliers import library_file
from multipliers.multiplier import Multiplier
from multipliers.statistics import ErrorStatistics

_STATISTICS = tuple(field.name for field in dataclasses.fields(ErrorStatistics) if field.name != "sampled_pairs")
_FIGURES = ("energy_pj", "energy_relative", "area_um2", "delay_ns")
_CRITERIA = ("name", "signed", "width_a", "width_b", *_FIGURES, *_STATISTICS)

ErrorFunction = Callable[[Multiplier], float]


class Library(Mapping[str, Multiplier]):
    """Ordered, immutable mapping from name to ``Multiplier``."""

    def __init__(self, multipliers: Iterable[Multiplier] = ()) -> None:
        """Collect ``multipliers`` in the order given.

        Raises:
            ValueError: if two circuits share a name.
        """
        circuits: dict[str, Multiplier] = {}
        for multiplier in multipliers:
            if multiplier.name in circuits:
                raise ValueError(
                    f"library: two circuits are named '{multiplier.name}'; names are the keys of "
                    "assignments, rename one (names are not stable across EvoApprox releases)"
                )
            circuits[multiplier.name] = multiplier
        self._circuits = circuits

    def __getitem__(self, name: str) -> Multiplier:
        try:
            return self._circuits[name]
        except KeyError:
            raise KeyError(f"no multiplier '{name}' in this library of {len(self)}; known: {_some(self)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._circuits)

    def __len__(self) -> int:
        return len(self._circuits)

    def __repr__(self) -> str:
        return f"Library({len(self)} circuits: {_some(self)})"

    def filter(self, predicate: Callable[[Multiplier], bool] | None = None, **criteria: object) -> Library:
        """Circuits that satisfy the predicate and every keyword, in order.

        Args:
            predicate: function of a ``Multiplier``.
            **criteria: ``field=value`` for equality, ``min_field=value`` / ``max_field=value`` for inclusive
                bounds, over the fields of ``Multiplier`` (name, signed, widths, energy, area, delay) and of
                ``ErrorStatistics``; e.g. ``filter(signed=False, max_mae=100, max_energy_relative=0.5)``. A
                circuit whose figure is unknown (None) fails a bound on it.

        Raises:
            ValueError: on a keyword that names no field.
        """
        tests = [_criterion(keyword, value) for keyword, value in criteria.items()]
        if predicate is not None:
            tests.append(predicate)
        return Library(m for m in self.values() if all(test(m) for test in tests))

    def pareto(self, error: str | ErrorFunction = "mae", cost: str = "energy_relative") -> Library:
        """Circuits not dominated in (error, cost): one front per widths and signedness, each cheapest first.

        Among circuits with equal error and cost the first one stays.

        Args:
            error: a field of ``ErrorStatistics`` (``"bias"`` is taken in absolute value), or a function of a
                ``Multiplier``, smaller is better.
            cost: one of energy_relative, energy_pj, area_um2, delay_ns.

        Raises:
            ValueError: on an unknown field, or when a circuit's cost is unknown.
        """
        if cost not in _FIGURES:
            raise ValueError(f"pareto: cost must be one of {', '.join(_FIGURES)}; got '{cost}'")
        measure = error if not isinstance(error, str) else error_figure(error)
        groups: dict[tuple[int, int, bool], list[tuple[float, float, Multiplier]]] = {}
        for m in self.values():
            if getattr(m, cost) is None:
                raise ValueError(f"pareto: '{m.name}' has no {cost}; filter such circuits out first")
            groups.setdefault((m.width_a, m.width_b, m.signed), []).append((float(getattr(m, cost)), measure(m), m))
        front: list[Multiplier] = []
        for members in groups.values():
            best = float("inf")
            for entry in sorted(members, key=lambda item: item[:2]):
                if entry[1] < best:
                    best = entry[1]
                    front.append(entry[2])
        return Library(front)

    def save(self, path: str | Path) -> None:
        """Write the library as one ``.npz`` file (no pickle, reproducible byte for byte); see ``library_file``."""
        library_file.write(path, list(self.values()))

    @classmethod
    def load(cls, path: str | Path) -> Library:
        """Read a file written by ``save``; every function is checked against its recorded hash.

        Raises:
            ValueError: if the file is not a library, has another version, or a table was altered.
        """
        return cls(library_file.read(path))


def error_figure(field: str) -> ErrorFunction:
    """The size of one error figure of a circuit, by its name in ``ErrorStatistics``.

    Raises:
        ValueError: there is no such figure.
    """
    if field not in _STATISTICS:
        raise ValueError(f"error must be one of {', '.join(_STATISTICS)}; got '{field}'")
    return lambda multiplier: abs(float(getattr(multiplier.statistics(), field)))


def _criterion(keyword: str, value: object) -> Callable[[Multiplier], bool]:
    bound, field = "", keyword
    if keyword not in _CRITERIA and keyword[:4] in ("min_", "max_"):
        bound, field = keyword[:3], keyword[4:]
    if field not in _CRITERIA:
        raise ValueError(
            f"filter: '{keyword}' names no field; use one of {', '.join(_CRITERIA)}, optionally with min_ or max_"
        )

    def test(multiplier: Multiplier) -> bool:
        owner = multiplier.statistics() if field in _STATISTICS else multiplier
        actual = getattr(owner, field)
        if not bound:
            return bool(actual == value)
        if actual is None:
            return False
        return bool(actual >= value if bound == "min" else actual <= value)

    return test


def _some(library: Library, limit: int = 8) -> str:
    names = list(library)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
