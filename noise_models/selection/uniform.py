"""The baseline every method must beat: one multiplier for all layers, with the best coding and order per layer."""

from collections.abc import Sequence

from noise_models.candidates import Candidate, Candidates
from noise_models.selection.front import Front, FrontPoint


def uniform(candidates: Candidates) -> Front:
    """The front over multipliers, each in all layers.

    In every layer a multiplier is used with the weight coding and operand order of least degradation.

    Args:
        candidates: by layer name, dominated ones included.

    Raises:
        ValueError: no multiplier fits every layer.
    """
    best = {name: _best_by_multiplier(row) for name, row in candidates.items()}
    everywhere = [m for m in next(iter(best.values()), {}) if all(m in row for row in best.values())]
    if not everywhere:
        raise ValueError("no multiplier is a candidate in every layer; allow more operands or circuits")
    points = [FrontPoint.of({name: row[m] for name, row in best.items()}) for m in everywhere]
    return Front.of("uniform", [p for p in points if p.degradation < float("inf")])


def _best_by_multiplier(row: Sequence[Candidate]) -> dict[str, Candidate]:
    best: dict[str, Candidate] = {}
    for candidate in sorted(row, key=lambda c: (c.degradation, c.energy)):
        best.setdefault(candidate.choice.multiplier, candidate)
    return best
