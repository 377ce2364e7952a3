"""Additivity: whether what circuits do to the network in several layers at once is the sum of what each does alone.

Selection adds up degradations over layers; this measures, bit-exactly, how far that holds and where it ends.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from approx import Assignment
from noise_models.candidates import Candidates
from noise_models.divergence import DivergenceMeter, MeasuredDivergence
from noise_models.progress import Progress
from noise_models.substitution import BOUNDS, Substitution, measure_substitutions, pick_substitutions


@dataclass(frozen=True)
class JointSubstitution:
    """Several layers run with circuits at once.

    Attributes:
        parts: each layer's own substitution.
        measured: degradation of all together, nats.
    """

    parts: tuple[Substitution, ...]
    measured: float

    def __post_init__(self) -> None:
        """Checks that ratios of the figures mean something.

        Raises:
            ValueError: one is not positive.
        """
        if not (self.measured > 0 and self.alone > 0):
            raise ValueError(
                f"layers {[part.layer for part in self.parts]}: measured {self.measured:g} together and {self.alone:g} "
                f"one by one, both must be positive; measure on more images, or pick worse circuits"
            )

    @property
    def alone(self) -> float:
        """Sum of what was measured of each layer alone."""
        return sum(part.measured for part in self.parts)

    @property
    def predicted(self) -> float:
        """Sum of what was predicted of each layer alone."""
        return sum(part.predicted for part in self.parts)


@dataclass(frozen=True)
class Additivity:
    """The report.

    Attributes:
        joints: what was measured, in order of the sum of the single ones.
    """

    joints: tuple[JointSubstitution, ...]

    @property
    def ratio(self) -> float:
        """Joint over summed single degradation, geometric mean: 1 where degradation adds up, less where it
        saturates."""
        return float(np.exp(np.mean([np.log(j.measured / j.alone) for j in self.joints])))

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of joint and summed single degradation; NaN for fewer than three sets."""
        if len(self.joints) < 3:
            return float("nan")
        return float(spearmanr([j.alone for j in self.joints], [j.measured for j in self.joints]).statistic)

    def bands(self, edges: Sequence[float]) -> list["Additivity"]:
        """Split by the sum of the single degradations: below edges[0], between, above the last; empty ones left out."""
        places = np.digitize([j.alone for j in self.joints], edges)
        parts = (tuple(j for j, p in zip(self.joints, places, strict=True) if p == k) for k in range(len(edges) + 1))
        return [Additivity(part) for part in parts if part]


def measure_additivity(
    candidates: Candidates,
    meter: DivergenceMeter,
    sets: int = 20,
    seed: int = 0,
    bounds: tuple[float, float] = BOUNDS,
    progress: Progress | None = None,
) -> Additivity:
    """Measures two random candidates of every layer alone, then random sets of two layers to all of them together.

    Args:
        candidates: by layer name.
        meter: measures; 2 x layers + sets assignments of it.
        sets: how many.
        seed: of the choice.
        bounds: predicted degradation of the candidates.
        progress: called with (substitutions done, of how many, layer name).

    Raises:
        ValueError: there are fewer than two layers with candidates within bounds, or `sets` is not positive.
    """
    picked = pick_substitutions(candidates, 2 * len(candidates), seed, bounds)
    names = list(dict.fromkeys(name for name, _ in picked))
    if len(names) < 2 or sets < 1:
        raise ValueError(f"additivity needs at least two layers and one set, got {len(names)} layers and {sets} sets")
    singles = measure_substitutions(picked, MeasuredDivergence(meter), progress)
    chance = random.Random(seed)
    joints = []
    for _ in range(sets):
        layers = chance.sample(names, chance.randint(2, len(names)))
        parts = tuple(chance.choice([s for s in singles if s.layer == name]) for name in layers)
        joints.append(JointSubstitution(parts, meter.of(Assignment({s.layer: s.choice for s in parts}))))
    return Additivity(tuple(sorted(joints, key=lambda joint: joint.alone)))
