"""The published choice of n circuits for several operating points: QoS-Nets (arXiv 2410.07762).

For each layer and each scale of its tolerance, a vector: predicted error std over what the layer bears, for every
circuit. Values of 1 and more are compressed, v -> 1 + log(v). The vectors are clustered by k-means, and each cluster
takes the cheapest circuit whose centroid is at most 1. (papers/approximate_networks.md §3. Reconstructed: the exact
form of the compression, the largest value kept, and that a circuit in another coding or operand order has an entry of
its own.)
"""

import math
from collections.abc import Sequence

import numpy as np

from approx import LayerChoice
from noise_models.candidates import Candidate, Candidates
from noise_models.prediction import FloatArray
from noise_models.selection.front import Front, FrontPoint
from noise_models.tolerance import Tolerance

PUBLISHED_SCALES = (0.3, 1.0, 2.0)
_LARGEST = 1e6  # of error over tolerance: a layer that bears nothing would be infinitely far from the others


def qos_nets(
    candidates: Candidates,
    tolerance: Tolerance,
    circuits: int,
    scales: Sequence[float] = PUBLISHED_SCALES,
    seed: int = 0,
) -> Front:
    """One choice per scale of the tolerance; all of them together use at most so many distinct circuits.

    Args:
        candidates: by layer name, dominated ones included; only those that are there for every layer are looked at.
        tolerance: of every layer.
        circuits: clusters, 1 .. layers x scales.
        scales: factors on all tolerances, each gives one point.
        seed: of k-means.

    Returns:
        The front of the choices; their degradation is the candidates' own.

    Raises:
        ValueError: too few or too many clusters, no candidate common to all layers, or a cluster none suits (an exact
            circuit suits every one).
    """
    from sklearn.cluster import KMeans

    if not 1 <= circuits <= len(candidates) * len(scales):
        raise ValueError(
            f"QoS-Nets makes 1 .. {len(candidates)} x {len(scales)} (layers x scales) clusters, got circuits={circuits}"
        )
    tables = {name: {c.choice: c for c in row} for name, row in candidates.items()}
    common = [choice for choice in next(iter(tables.values()), {}) if all(choice in t for t in tables.values())]
    if not common:
        raise ValueError("QoS-Nets needs circuits that are candidates in every layer; allow more operands or circuits")
    energy = np.array([math.fsum(table[choice].energy for table in tables.values()) for choice in common])
    vectors = np.array([_vector(t, common, tolerance.scaled(s), name) for s in scales for name, t in tables.items()])
    clusters = KMeans(circuits, n_init=10, random_state=seed).fit(vectors)
    chosen = [common[_cheapest(centroid, energy)] for centroid in clusters.cluster_centers_]
    labels = clusters.labels_.reshape(len(scales), len(tables))
    points = [
        FrontPoint.of({name: table[chosen[k]] for (name, table), k in zip(tables.items(), row, strict=True)})
        for row in labels
    ]
    return Front.of("qos-nets", points)


def _vector(
    table: dict[LayerChoice, Candidate], common: Sequence[LayerChoice], tolerance: Tolerance, layer: str
) -> FloatArray:
    """Error over tolerance of each choice, compressed above 1, float64 [choices]."""
    used = np.sqrt([tolerance[layer].usage(table[choice].prediction.std) for choice in common])
    used = np.minimum(used, _LARGEST)
    return np.where(used < 1, used, 1 + np.log(np.maximum(used, 1)))


def _cheapest(centroid: FloatArray, energy: FloatArray) -> int:
    fitting = np.flatnonzero(centroid <= 1 + 1e-9)  # the mean of ones may round up
    if not len(fitting):
        raise ValueError(
            f"no circuit suits all layers of a cluster: the least error is {centroid.min():.3g} of what they bear "
            f"(logarithmic above 1); add an exact circuit, raise the tolerance, or allow more circuits"
        )
    return int(fitting[np.argmin(energy[fitting])])
