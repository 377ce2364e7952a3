"""Multiplication energy an assignment saves, the way papers count it; and what identifies a library's figures."""

from collections.abc import Mapping
from statistics import fmean

from approx import Assignment
from multipliers import Multiplier
from picojoule.files import Json


def multiplication_saved(assignment: Assignment, macs: Mapping[str, int], library: Mapping[str, Multiplier]) -> float:
    """1 - sum(MACs * energy relative to the exact circuit) / sum(MACs); every layer counts, multipliers only.

    Of a layer whose output channels have circuits of their own, each makes the same number of multiplications.

    Args:
        assignment: circuits by layer; layers it does not name are exact.
        macs: multiplications per image by layer.
        library: where the circuits are.
    """
    chosen = assignment.circuits(macs, library)
    relative = {name: fmean(c.energy_relative for c in circuits) for name, (circuits, _) in chosen.items()}
    spent = sum(n * relative.get(name, 1.0) for name, n in macs.items())
    return 1.0 - spent / sum(macs.values())


def library_key(library: Mapping[str, Multiplier]) -> dict[str, Json]:
    """What a result that depends on circuits depends on: products, energy, uncertainty."""
    return {
        name: [circuit.content_hash, circuit.energy_pj, circuit.energy_relative, circuit.provenance.uncertainty]
        for name, circuit in library.items()
    }
