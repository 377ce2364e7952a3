"""What a divergence from the float network costs in accuracy, read off networks that were not retrained.

Published weights have seen the validation images and still know some of them distorted. Circuits leave that knowledge,
training without those images does not: at 92.8 % saved the validation loss of ResNet-20 rose from 0.6 to 1.5 pp where
the divergence on the same images fell by a sixth (and the test loss from 1.3 to 1.0 pp). So a retrained network is
judged by its divergence, and what that is worth is told by networks with circuits before any training: their validation
losses over their divergences, made monotone (isotonic regression), less noisy too than one network's accuracy.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.optimize import isotonic_regression

from approx import QuantisedNetwork
from benchmarks._selection_lab import TUNE, Laboratory
from benchmarks._selection_methods import OURS, at_level
from benchmarks._selection_tables import level_points
from picojoule.files import Json

BEYOND = (0.94, 0.95, 0.96)  # shares saved, where losses are beyond every bound


def divergence(lab: Laboratory, key: dict[str, Json], network: Callable[[], QuantisedNetwork]) -> float:
    """From the float network on validation images, nats; stored."""
    return float(lab.store.value("divergence", key, lambda: lab.divergence(network())))


def accuracy_lost(lab: Laboratory, found: float) -> float:
    """Validation accuracy, pp, that a divergence stands for: linear between networks that were not retrained."""
    points = [*level_points(lab), *(at_level(OURS.points(lab), level) for level in BEYOND)]
    pairs = [(divergence(lab, {**lab.key, "baseline": "exact"}, lambda: lab.exact_network), 0.0)]
    for point in points:
        key = {**lab.key, "assignment": point.assignment.to_json(), "recovery": TUNE}
        value = divergence(lab, key, partial(lab.prepared, point, TUNE))
        pairs.append((value, lab.loss(point, TUNE)))
    places, losses = np.array(sorted(pairs)).T
    return float(np.interp(found, places, isotonic_regression(losses).x))
