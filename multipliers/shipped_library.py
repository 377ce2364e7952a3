"""Makes the library that is shipped: every family, every parameter, at 8 x 8 bits, thinned to the useful circuits.

    python -m multipliers.shipped_library

writes ``shipped.npz`` beside this module, byte for byte the same on every machine.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from multipliers.default_library import SHIPPED
from multipliers.families import Family
from multipliers.families.registry import members, parse_circuit
from multipliers.generator import generate
from multipliers.library import Library
from multipliers.multiplier import Multiplier
from multipliers.operands import operand_values

WIDTH = 8
ERRORS = ("mae", "mse", "std", "mre", "wce")
"""A circuit is kept when no other beats it in energy and one of these, or in energy and the standard deviation of its
error on small operands, which are what networks multiply."""

COMPARED_MAE = 650
"""Error at which families are compared: 1 % of the largest product, where most published 8-bit circuits lie."""

_SMALL = 32
_CHUNK = 8


def make_shipped_library(workers: int = 2, progress: Callable[[int, int], None] | None = None) -> Library:
    """Generate, cost and thin all members of all families, unsigned and signed.

    Args:
        workers: processes.
        progress: called with (done, total).
    """
    families = [family for signed in (False, True) for family in members(WIDTH, WIDTH, signed=signed)]
    circuits = []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for circuit in pool.map(_generate, families, chunksize=_CHUNK):
            circuits.append(circuit)
            if progress is not None:
                progress(len(circuits), len(families))
    return thinned(circuits)


def thinned(circuits: Iterable[Multiplier]) -> Library:
    """The union of the fronts of energy against each error, and one circuit of every family to compare with.

    Of several circuits with one function the cheapest stays, of equally cheap ones that with the shortest name. A
    family is represented by its member nearest to ``COMPARED_MAE``, whether or not others beat it; the circuits of
    exact families all stay.
    """
    exact: list[Multiplier] = []
    cheapest: dict[str, Multiplier] = {}
    nearest: dict[str, Multiplier] = {}
    for circuit in circuits:
        family = parse_circuit(circuit.name)[0]
        if family.exact:
            exact.append(circuit)
        elif not circuit.is_exact:
            _keep_best(cheapest, circuit.content_hash, circuit, lambda m: (m.energy_relative, len(m.name)))
            _keep_best(nearest, family.family, circuit, lambda m: (_distance(m), m.energy_relative))
    everything = Library([*exact, *{m.name: m for m in (*cheapest.values(), *nearest.values())}.values()])
    kept = {name for error in (*ERRORS, _std_on_small_operands) for name in everything.pareto(error)}
    kept.update(circuit.name for circuit in (*exact, *nearest.values()))
    return everything.filter(lambda circuit: circuit.name in kept)


def _keep_best(
    best: dict[str, Multiplier], key: str, circuit: Multiplier, cost: Callable[[Multiplier], tuple[float, float]]
) -> None:
    if key not in best or cost(circuit) < cost(best[key]):
        best[key] = circuit


def _distance(circuit: Multiplier) -> float:
    return abs(math.log(circuit.statistics().mae / COMPARED_MAE))


def _std_on_small_operands(circuit: Multiplier) -> float:
    """Standard deviation of the error for normally distributed operands (in magnitude, of unsigned circuits)."""
    values = operand_values(WIDTH, circuit.signed).astype(np.float64)
    histogram = np.exp(-0.5 * (values / _SMALL) ** 2)
    return circuit.statistics(histogram, histogram).std


def _generate(family: Family) -> Multiplier:
    return generate(family, WIDTH)


def _main() -> None:
    def show(done: int, total: int) -> None:
        print(f"\r{done}/{total}", end="", file=sys.stderr, flush=True)

    library = make_shipped_library(progress=show)
    library.save(SHIPPED)
    print(f"\n{SHIPPED}: {len(library)} circuits, {SHIPPED.stat().st_size / 1024:.0f} KiB", file=sys.stderr)


if __name__ == "__main__":
    _main()
