"""Candidates judged anew by their true error. Too dear for all of them, so those that can matter are picked first.

Measured on ResNet-20: exact errors rank single substitutions far better than Fisher does, but the fronts chosen by them
are no better. They favour what their images (256) underrate: on fresh images the advantage is gone. So Fisher is the
default; refine to judge candidates, and judge what is chosen on other images.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from noise_models.candidates import Candidate, Candidates, undominated
from noise_models.progress import Progress
from noise_models.selection.hull import lower_hull
from noise_models.sensitivity import Refinement


def refine_candidates(
    candidates: Candidates, refinement: Refinement, slack: float = 2.0, progress: Progress | None = None
) -> dict[str, list[Candidate]]:
    """The candidates near the lower hull of their layer, with the degradation the refinement finds.

    Args:
        candidates: of every layer, as `list_candidates` gives them.
        refinement: judges each choice.
        slack: how many times the hull's degradation, at its own energy, a candidate may have to be judged; >= 1.
        progress: called with (candidates done, of how many, layer name).

    Returns:
        Layer name -> candidates, cheapest first; those that were not judged are left out, since predicted and refined
        degradation do not compare.

    Raises:
        ValueError: slack is below 1, or the refinement knows a layer or a circuit not.
    """
    if not slack >= 1:
        raise ValueError(f"slack must be at least 1, the hull itself, got {slack!r}")
    chosen = {name: near_hull(row, slack) for name, row in candidates.items()}
    total, done = sum(map(len, chosen.values())), 0
    table: dict[str, list[Candidate]] = {}
    for name, row in chosen.items():
        found = []
        for candidate in sorted(row, key=lambda c: c.choice.operands):  # exact responses are kept by coding
            found.append(replace(candidate, degradation=refinement.of(name, candidate.choice)))
            done += 1
            if progress is not None:
                progress(done, total, name)
        table[name] = sorted(found, key=lambda c: (c.energy, c.degradation))
    return table


def near_hull(row: Sequence[Candidate], slack: float) -> list[Candidate]:
    """The lower hull of a layer's candidates, and those that degrade at most `slack` times as much at their energy.

    None that needs more energy than the cheapest of those without degradation.
    """
    best = undominated(row)
    hull = [best[i] for i in lower_hull([(c.energy, c.degradation) for c in best])]
    energies, degradations = [c.energy for c in hull], [c.degradation for c in hull]
    limits = slack * np.interp([c.energy for c in row], energies, degradations)
    on_hull = set(map(id, hull))
    return [c for c, limit in zip(row, limits, strict=True) if id(c) in on_hull or 0 < c.degradation <= limit]
