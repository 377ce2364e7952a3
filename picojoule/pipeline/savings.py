"""Multiplication energy an assignment saves, the way papers count it; and what identifies a library's figures."""

from collections.abc import Mapping

from approx import Assignment
from multipliers import Multiplier
from picojoule.files import Json


def multiplication_saved(assignment: Assignment, macs: Mapping[str, int], library: Mapping[str, Multiplier]) -> float:
    """1 - sum(MACs * energy relative to the exact circuit) / sum(MACs); every layer counts, multipliers only.

    Args:
        assignment: circuits by layer; layers it does not name are exact.
        macs: multiplications per image by layer.
        library: where the circuits are.
    """
    chosen = assignment.circuits(macs, library)
    spent = sum(n * (chosen[name][0].energy_relative if name in chosen else 1.0) for name, n in macs.items())
    return 1.0 - spent / sum(macs.values())


def library_key(library: Mapping[str, Multiplier]) -> dict[str, Json]:
    """What a result that depends on circuits depends on: products, energy, uncertainty."""
    return {
        name: [circuit.content_hash, circuit.energy_pj, circuit.energy_relative, circuit.provenance.uncertainty]
        for name, circuit in library.items()
    }
