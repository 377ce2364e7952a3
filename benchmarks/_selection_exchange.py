"""What a divergence from the float network costs in accuracy, read off networks that were not retrained.

The accuracy of one network on 5,000 images says too little: between two networks it is off by a quarter of a point, and
a bound on it chose 73 % saved with one seed and 88 % with another where test losses were alike. And published weights
have seen the validation images and still know some of them distorted. Circuits leave that knowledge, training without
those images does not: at 92.8 % saved the validation loss of ResNet-20 rose from 0.6 to 1.5 pp where the divergence on
the same images fell by a sixth (and the test loss from 1.3 to 1.0 pp). So every network is judged by its divergence,
and what that is worth is told by many networks of our front before any training: their validation losses over their
divergences, made monotone (isotonic regression).
"""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from approx import QuantisedNetwork
from benchmarks._selection_lab import Laboratory
from benchmarks._selection_methods import at_level, level_points, ours
from picojoule.files import Json

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
FURTHER = (0.74, 0.78, 0.815, 0.845, 0.87, 0.89, 0.91, 0.925, 0.94, 0.95, 0.96)
"""Shares saved, beside those of the plan; the last ones lose more than any bound."""


def divergence(lab: Laboratory, key: dict[str, Json], network: Callable[[], QuantisedNetwork]) -> float:
    """From the float network on validation images, nats; stored."""
    return float(lab.store.value("divergence", key, lambda: lab.divergence(network())))


def accuracy_lost(lab: Laboratory, found: float) -> float:
    """Validation accuracy, pp, that a divergence stands for: linear between networks that were not retrained."""
    return float(np.interp(found, *_curve(lab)))


@cache
def _curve(lab: Laboratory) -> Curve:
    """Divergences, ascending, and losses."""
    points = [*level_points(lab), *(at_level(ours(lab).points(lab), level) for level in FURTHER)]
    pairs = {(divergence(lab, {**lab.key, "baseline": "exact"}, lambda: lab.exact_network), 0.0)}
    for point in points:
        key = {**lab.key, "assignment": point.assignment.to_json(), "recovery": lab.recovery}
        value = divergence(lab, key, partial(lab.prepared, point, lab.recovery))
        pairs.add((value, lab.loss(point, lab.recovery)))
    places, losses = np.array(sorted(pairs)).T
    return places, isotonic_regression(losses).x
