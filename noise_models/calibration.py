"""Calibration: a handful of measured substitutions turn predicted degradation into measured one.

measured = factor_l * predicted, fitted by least squares of logarithms: a degradation of any size counts alike. A
layer's own factor is shrunk towards the global one by how far layers can be told apart at all: with n_l measurements of
the layer, variance within layers s^2 and between layers t^2, its weight is t^2 / (t^2 + s^2 / n_l) (one-way random
effects, variances by moments; Searle, Casella and McCulloch, "Variance components", 1992).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.stats import spearmanr

from noise_models.candidates import Candidate, Candidates
from noise_models.degradation import Degradation
from noise_models.prediction import ErrorPrediction, FloatArray
from noise_models.substitution import Substitution


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was learnt from the substitutions.

    Attributes:
        factor: of layers that were not measured.
        by_layer: of those that were.
        substitutions: what it was fitted to.
    """

    factor: float
    by_layer: Mapping[str, float]
    substitutions: tuple[Substitution, ...]

    @classmethod
    def fit(cls, substitutions: Sequence[Substitution]) -> "Calibration":
        """The fit.

        Raises:
            ValueError: there is no substitution, or a prediction or a measurement is not positive.
        """
        if not substitutions:
            raise ValueError("calibrating needs at least one measured substitution")
        for s in substitutions:
            if not (0 < s.predicted < float("inf") and 0 < s.measured < float("inf")):
                raise ValueError(
                    f"layer {s.layer!r} with {s.choice.multiplier!r}: predicted {s.predicted:g} and measured "
                    f"{s.measured:g} must be positive and finite; measure on more images, or pick worse circuits"
                )
        logs: dict[str, list[float]] = {}
        for s in substitutions:
            logs.setdefault(s.layer, []).append(float(np.log(s.measured / s.predicted)))
        overall, shrunk = _shrunk_means(logs)
        return cls(float(np.exp(overall)), {n: float(np.exp(v)) for n, v in shrunk.items()}, tuple(substitutions))

    def of(self, layer: str) -> float:
        """Measured over predicted degradation of this layer."""
        return self.by_layer.get(layer, self.factor)

    def applied(self, candidates: Candidates) -> dict[str, list[Candidate]]:
        """The candidates with calibrated degradation, for refined ones that no `Degradation` gives."""
        return {
            name: [replace(c, degradation=self.of(name) * c.degradation) for c in row]
            for name, row in candidates.items()
        }

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of prediction and measurement before calibration; NaN for fewer than three substitutions."""
        predicted, measured = self._logs
        return float(spearmanr(predicted, measured).statistic) if len(predicted) > 2 else float("nan")

    @property
    def slope(self) -> float:
        """Of the logarithms, measured over predicted: 1 where a factor is all that lacks; NaN where undetermined."""
        predicted, measured = self._logs
        spread = predicted - predicted.mean()
        squares = float(spread @ spread)
        return float(spread @ measured) / squares if squares > 0 else float("nan")

    @property
    def scatter(self) -> float:
        """Factor (>= 1) by which a measurement typically misses the calibrated prediction: exp of the rms residual."""
        predicted, measured = self._logs
        factors = np.log([self.of(s.layer) for s in self.substitutions])
        return float(np.exp(np.sqrt(np.mean((measured - predicted - factors) ** 2))))

    @cached_property
    def _logs(self) -> tuple[FloatArray, FloatArray]:
        pairs = np.log([(s.predicted, s.measured) for s in self.substitutions])
        return pairs[:, 0], pairs[:, 1]


@dataclass(frozen=True, eq=False)
class Calibrated(Degradation):
    """Another degradation, times each layer's factor.

    Attributes:
        inner: what is calibrated; the substitutions were predicted with it.
        calibration: the factors.
    """

    inner: Degradation
    calibration: Calibration

    def of(self, layer: str, prediction: ErrorPrediction) -> float:
        return self.calibration.of(layer) * self.inner.of(layer, prediction)

    def by_channel(self, layer: str, prediction: ErrorPrediction) -> FloatArray:
        return self.calibration.of(layer) * self.inner.by_channel(layer, prediction)


def _shrunk_means(values: Mapping[str, Sequence[float]]) -> tuple[float, dict[str, float]]:
    """Mean of the layers' means, and each layer's mean drawn towards it, see the module."""
    counts = np.array([len(v) for v in values.values()], dtype=np.float64)
    means = np.array([np.mean(v) for v in values.values()])
    freedom = counts.sum() - len(counts)
    if freedom == 0 or len(means) < 2:  # nothing says what scatters, layers or measurements
        overall = float(np.concatenate([np.asarray(v) for v in values.values()]).mean())
        return overall, dict.fromkeys(values, overall)
    within = sum(float(np.var(v)) * len(v) for v in values.values()) / freedom
    between = max(0.0, float(np.var(means, ddof=1)) - within * float(np.mean(1 / counts)))
    precision = between + within / counts
    weights = 1 / precision if (precision > 0).all() else np.ones_like(counts)
    overall = float(np.average(means, weights=weights))
    trust = np.divide(between, precision, out=np.ones_like(counts), where=precision > 0)
    return overall, dict(zip(values, (overall + trust * (means - overall)).tolist(), strict=True))
