"""Makes the library that is shipped: every family, every parameter, at 8 x 8 bits, thinned to the useful circuits.

    python -m multipliers.shipped_library

writes ``shipped.npz`` beside this module, byte for byte the same on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from multipliers.families import Family
from multipliers.families.registry import members
from multipliers.generator import generate
from multipliers.library import Library
from multipliers.multiplier import Multiplier

PATH = Path(__file__).with_name("shipped.npz")
ERRORS = ("mae", "mse", "mre", "wce")
"""A circuit is kept when no other beats it in energy and one of these."""

WIDTH = 8
_CHUNK = 8


def make_shipped_library(workers: int = 2, progress: Callable[[int, int], None] | None = None) -> Library:
    """Generate, cost and thin all members of all families, unsigned and signed.

    Args:
        workers: processes.
        progress: called with (done, total).
    """
    families = [family for signed in (False, True) for family in members(WIDTH, WIDTH, signed=signed)]
    circuits = []
    with ProcessPoolExecutor(workers) as pool:
        for circuit in pool.map(_generate, families, chunksize=_CHUNK):
            circuits.append(circuit)
            if progress is not None:
                progress(len(circuits), len(families))
    return thinned(circuits)


def thinned(circuits: Iterable[Multiplier]) -> Library:
    """The union of the fronts of energy against each of ``ERRORS``, one circuit per function, and the references.

    Exact circuits that are not the cheapest stay as well: they are what a designer would otherwise take.
    """
    cheapest: dict[str, Multiplier] = {}
    references = []
    for circuit in circuits:
        if circuit.is_exact and circuit.provenance.source.endswith("()"):
            references.append(circuit)
            continue
        known = cheapest.get(circuit.content_hash)
        if known is None or circuit.energy_relative < known.energy_relative:
            cheapest[circuit.content_hash] = circuit
    everything = Library([*references, *cheapest.values()])
    kept = {name for error in ERRORS for name in everything.pareto(error)} | {circuit.name for circuit in references}
    return everything.filter(lambda circuit: circuit.name in kept)


def _generate(family: Family) -> Multiplier:
    return generate(family, WIDTH)


def _main() -> None:
    def show(done: int, total: int) -> None:
        print(f"\r{done}/{total}", end="", file=sys.stderr, flush=True)

    library = make_shipped_library(progress=show)
    library.save(PATH)
    print(f"\n{PATH}: {len(library)} circuits, {PATH.stat().st_size / 1024:.0f} KiB", file=sys.stderr)


if __name__ == "__main__":
    _main()
