"""Infinite feature selection: how much each feature matters along all paths through a graph of features.

Roffo, Melzi, Cristani, "Infinite Feature Selection", ICCV 2015, as NISP uses it (arXiv 1711.05908, section 3.2);
reconstructed from secondary sources (papers: structured_pruning §6).
"""

from __future__ import annotations

import torch
from torch import Tensor

CONVERGENCE = 0.9


def inf_fs(features: Tensor, alpha: float = 0.5) -> Tensor:
    """Scores of features from their spread and their rank correlation.

    The graph's edge between features i and j is A_ij = α max(σ_i, σ_j) + (1 − α)(1 − |Spearman_ij|); edges of a
    constant feature, whose correlation is undefined, are zero, so it scores zero.

    Args:
        features: [N, d], one row per example, N >= 2.
        alpha: weight of the spread, in [0, 1].

    Returns:
        float64 [d], all >= 0.

    Raises:
        ValueError: fewer than two examples, or values that are not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"inf_fs: expected features [N, d] of N >= 2 examples, got shape {list(features.shape)}")
    if not bool(torch.isfinite(features).all()):
        raise ValueError("inf_fs: expected finite features, got NaN or infinity; check the network on this data")
    features = features.double()
    spread = features.std(0)
    edges = alpha * torch.maximum(spread[:, None], spread[None]) + (1 - alpha) * (1 - spearman(features).abs())
    return path_scores(edges.nan_to_num(nan=0.0))


def path_scores(edges: Tensor) -> Tensor:
    """Sum over all paths that start at each feature: s = [(I − rA)⁻¹ − I] 1 with r = 0.9 / ρ(A).

    Args:
        edges: A, symmetric and >= 0: float64 [d, d]. A of zeros scores zero.
    """
    radius = float(torch.linalg.eigvalsh(edges).abs().max())
    if radius == 0:
        return torch.zeros_like(edges[0])
    identity, ones = torch.eye(len(edges), dtype=edges.dtype, device=edges.device), torch.ones_like(edges[:, :1])
    return torch.linalg.solve(identity - CONVERGENCE / radius * edges, ones)[:, 0] - 1


def spearman(features: Tensor) -> Tensor:
    """Rank correlation of the columns of [N, d]: float64 [d, d], NaN for a constant column; ties share a rank."""
    columns = features.double().T.contiguous()
    ordered = columns.sort(dim=1).values
    first, last = (torch.searchsorted(ordered, columns, right=right) for right in (False, True))
    ranks = (first + last).double()
    centred = ranks - ranks.mean(1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True)
    return unit @ unit.T
