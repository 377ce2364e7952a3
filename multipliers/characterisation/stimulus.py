"""What a circuit is exercised with: how often each operand pair occurs, and random transitions between pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multipliers.arrays import FloatArray, Words
from multipliers.simulation import pack
from multipliers.statistics import distribution

TRANSITIONS = 1 << 16
"""Random transitions a circuit is simulated with."""

_SEED = 0


@dataclass(frozen=True, eq=False)
class Stimulus:
    """Independent operands of a stated distribution, every pair independent of the one before.

    Attributes:
        width_a: bits of operand a.
        width_b: bits of operand b.
        p: probability of each bit pattern of operand a, float64 [2**width_a]; None when uniform.
        q: probability of each bit pattern of operand b, [2**width_b]; None when uniform.
    """

    width_a: int
    width_b: int
    p: FloatArray | None
    q: FloatArray | None

    @classmethod
    def of(cls, width_a: int, width_b: int, p: npt.ArrayLike | None = None, q: npt.ArrayLike | None = None) -> Stimulus:
        """Stimulus of given histograms (any scale; uniform when None).

        Raises:
            ValueError: if a histogram is malformed.
        """
        return cls(
            width_a,
            width_b,
            _probabilities("p (operand a)", p, 1 << width_a),
            _probabilities("q (operand b)", q, 1 << width_b),
        )

    @property
    def uniform(self) -> bool:
        """Whether all operand pairs are equally likely."""
        return self.p is None and self.q is None

    def pair_probabilities(self) -> FloatArray:
        """Probability of every operand pair, float64 [2**(width_a + width_b)], index a * 2**width_b + b."""
        p = np.full(1 << self.width_a, 0.5**self.width_a) if self.p is None else self.p
        q = np.full(1 << self.width_b, 0.5**self.width_b) if self.q is None else self.q
        return np.multiply.outer(p, q).ravel()

    def transitions(self) -> tuple[Words, Words]:
        """65,536 random transitions, always the same ones: the operand bits before and after.

        Returns:
            two times uint64 [width_a + width_b, 1024], as ``Netlist.simulate`` takes them.
        """
        generator = np.random.default_rng(_SEED)
        before, after = (
            np.concatenate(
                [_random_bits(generator, self.width_a, self.p), _random_bits(generator, self.width_b, self.q)]
            )
            for _ in range(2)
        )
        return before, after


def _probabilities(label: str, histogram: npt.ArrayLike | None, size: int) -> FloatArray | None:
    if histogram is None:
        return None
    weights = distribution(label, histogram, size)
    return None if (weights == weights[0]).all() else weights


def _random_bits(generator: np.random.Generator, width: int, probabilities: FloatArray | None) -> Words:
    """Bits of random operands, uint64 [width, 1024]."""
    if probabilities is None:
        return generator.integers(0, 1 << 64, size=(width, TRANSITIONS // 64), dtype=np.uint64)
    cumulative = np.cumsum(probabilities)
    drawn = generator.random(TRANSITIONS) * cumulative[-1]
    return pack(np.searchsorted(cumulative, drawn, side="right"), width)
