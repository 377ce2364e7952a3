"""Leaves out circuits that drown a layer: predicted to put in its place more noise than signal.

Sensitivities speak of small errors that have nothing to do with the signal. A circuit that makes nearly every product
zero errs by the signal itself, at all places together; where a network is sure of its images the second order takes
that for harmless, and a front that ends in chance looks like a bargain. Points of ResNet-20 that lose up to 10 pp stay
below a share of 0.22, so nothing useful is lost.

One circuit that fits all layers stays in each of them, the one whose largest share is least: what chooses one circuit
for a whole network, or few, keeps a choice. Ours.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from approx import LayerTrace
from noise_models.candidates import Candidate, Candidates
from noise_models.selection.limits import Limits

LARGEST_SHARE = 0.5


def noise_share(candidate: Candidate, trace: LayerTrace) -> float:
    """Predicted error variance after free correction over the variance of the layer's response, means over channels."""
    signal = float(np.mean(trace.channel_std**2))
    noise = candidate.prediction.layer_residual_std**2
    return noise / signal if signal > 0 else 0.0


def without_drowned(
    candidates: Candidates, traces: Mapping[str, LayerTrace], limits: Limits | None = None
) -> dict[str, list[Candidate]]:
    """Those whose noise is at most half as large as the signal, in their order; of a layer that has none, the best.

    So does the best way to use the circuit that drowns all layers least. Layers whose circuit is pinned keep all.

    Args:
        candidates: of every layer, as `list_candidates` gives them.
        traces: of the same layers.
        limits: with the pins.

    Raises:
        ValueError: a pin names no layer.
    """
    pinned = set() if limits is None else {*limits.pin_of(candidates)}
    shares = {name: [noise_share(candidate, traces[name]) for candidate in row] for name, row in candidates.items()}
    least = {name: _least(row, shares[name]) for name, row in candidates.items()}
    everywhere = [m for m in next(iter(least.values()), {}) if all(m in of for of in least.values())]
    quietest = min(everywhere, key=lambda m: max(of[m] for of in least.values()), default="")
    kept: dict[str, list[Candidate]] = {}
    for name, row in candidates.items():
        largest = max(shares[name] if name in pinned else (LARGEST_SHARE, min(shares[name])))
        kept[name] = [
            c
            for c, share in zip(row, shares[name], strict=True)
            if share <= largest or (c.choice.multiplier == quietest and share == least[name][quietest])
        ]
    return kept


def _least(row: Sequence[Candidate], shares: Sequence[float]) -> dict[str, float]:
    """The least share of each circuit."""
    least: dict[str, float] = {}
    for candidate, share in zip(row, shares, strict=True):
        name = candidate.choice.multiplier
        least[name] = min(share, least.get(name, share))
    return least
