"""Leaves out circuits that drown a layer: predicted to put in its place more noise than signal.

Sensitivities speak of small errors that have nothing to do with the signal. A circuit that makes nearly every product
zero errs by the signal itself, at all places together; where a network is sure of its images the second order takes
that for harmless, and a front that ends in chance looks like a bargain. Points of ResNet-20 that lose up to 10 pp stay
below a share of 0.22, so nothing useful is lost. Ours.
"""

from collections.abc import Mapping

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

    Layers whose circuit is pinned keep all.

    Args:
        candidates: of every layer, as `list_candidates` gives them.
        traces: of the same layers.
        limits: with the pins.

    Raises:
        ValueError: a pin names no layer.
    """
    pinned = set() if limits is None else {*limits.pin_of(candidates)}
    kept: dict[str, list[Candidate]] = {}
    for name, row in candidates.items():
        shares = [noise_share(candidate, traces[name]) for candidate in row]
        largest = max(shares if name in pinned else (LARGEST_SHARE, min(shares)))
        kept[name] = [c for c, share in zip(row, shares, strict=True) if share <= largest]
    return kept
