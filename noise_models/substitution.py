"""`Substitution`: one layer run with a circuit while all others stay exact, what was predicted of it and measured."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from approx import LayerChoice
from noise_models.candidates import Candidate, Candidates
from noise_models.progress import Progress
from noise_models.sensitivity import Refinement

BOUNDS = (1e-3, 0.1)
"""Predicted degradation in nats of what is worth measuring: below, fronts do not care; above, no front goes."""


@dataclass(frozen=True)
class Substitution:
    """See the module.

    Attributes:
        layer: its name.
        choice: how it is run.
        predicted: degradation of this layer, > 0.
        measured: degradation of the network, same unit, > 0.
    """

    layer: str
    choice: LayerChoice
    predicted: float
    measured: float


def pick_substitutions(
    candidates: Candidates, count: int, seed: int = 0, bounds: tuple[float, float] = BOUNDS
) -> list[tuple[str, Candidate]]:
    """Random candidates, evenly over layers and over orders of magnitude of predicted degradation.

    Args:
        candidates: by layer name.
        count: how many; fewer come when there are no more within bounds.
        seed: of the choice.
        bounds: smallest and largest predicted degradation.

    Raises:
        ValueError: `count` is not positive, or no candidate lies within bounds.
    """
    if count < 1:
        raise ValueError(f"expected a positive number of substitutions, got {count}")
    chance = random.Random(seed)
    left = {name: [c for c in row if bounds[0] <= c.degradation <= bounds[1]] for name, row in candidates.items()}
    if not any(left.values()):
        raise ValueError(f"no candidate has a predicted degradation in {bounds[0]:g}..{bounds[1]:g} nats; widen bounds")
    picked: list[tuple[str, Candidate]] = []
    while len(picked) < count and any(left.values()):
        names = [name for name, row in left.items() if row]
        for name in chance.sample(names, min(len(names), count - len(picked))):
            wanted = chance.uniform(log(bounds[0]), log(bounds[1]))
            nearest = min(left[name], key=lambda c: abs(log(c.degradation) - wanted))
            left[name].remove(nearest)
            picked.append((name, nearest))
    return picked


def measure_substitutions(
    picked: Sequence[tuple[str, Candidate]], measure: Refinement, progress: Progress | None = None
) -> list[Substitution]:
    """Measures each.

    Args:
        picked: layer names and candidates.
        measure: what to believe, `MeasuredDivergence`.
        progress: called with (substitutions done, of how many, layer name).
    """
    found = []
    for done, (name, candidate) in enumerate(picked, 1):
        found.append(Substitution(name, candidate.choice, candidate.degradation, measure.of(name, candidate.choice)))
        if progress is not None:
            progress(done, len(picked), name)
    return found
