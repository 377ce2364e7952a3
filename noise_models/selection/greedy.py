"""The published matching of AGN (papers/approximate_networks.md §3): each layer for itself, no global budget.

Every layer takes the cheapest circuit whose predicted error std is within the layer's tolerance,
sigma <= |sigma_l| * std(outputs of the layer). The mean of the error is not looked at. The published way to another
trade-off is another search; QoS-Nets scales one tolerance instead, as `scales` does.
"""

from collections.abc import Iterable

from noise_models.candidates import Candidate, Candidates
from noise_models.selection.front import Front, FrontPoint
from noise_models.tolerance import Tolerance


def greedy(candidates: Candidates, tolerance: Tolerance, scales: Iterable[float] = (1.0,)) -> Front:
    """One choice per scale of the tolerance.

    Args:
        candidates: by layer name, dominated ones included, predicted by the model to be used ("published").
        tolerance: of every layer.
        scales: factors on all tolerances, each gives one point.

    Returns:
        The front of the choices; their degradation is the candidates' own.

    Raises:
        ValueError: a layer has no circuit within its tolerance (an exact one always is).
    """
    points = []
    for scale in scales:
        scaled = tolerance.scaled(scale)
        chosen = {name: _cheapest(name, row, scaled) for name, row in candidates.items()}
        points.append(FrontPoint.of(chosen))
    return Front.of("greedy", points)


def _cheapest(layer: str, row: Iterable[Candidate], tolerance: Tolerance) -> Candidate:
    borne = tolerance[layer]
    fitting = [c for c in row if borne.usage(c.prediction.std) <= 1.0]
    if not fitting:
        raise ValueError(
            f"layer {layer!r}: no circuit's error is within its tolerance {borne.absolute}; add an exact circuit to "
            f"the library or raise the tolerance"
        )
    return min(fitting, key=lambda c: (c.energy, c.degradation))
