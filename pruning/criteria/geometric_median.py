"""Geometric median: the filter that the others can best replace goes first.

He, Liu, Wang, Hu, Yang, "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration"
(FPGM), CVPR 2019, arXiv 1811.00250: the filter nearest to the geometric median of its layer is the one with the
smallest sum of distances, g(j) = sum over j' of d(F_j, F_j'). The cosine distance is reconstructed from memory of
the paper; the authors' code has a branch for it that is never reached.
"""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from pruning.criteria.base import Batches, Criterion, Loss
from pruning.criteria.filters import filters
from pruning.groups import Grouping


@final
class GeometricMedian(Criterion):
    """Sum of the distances of a unit's filter to the filters of all other units of its group.

    A unit has one filter even if several layers compute it (see `filters`). Time and memory grow with the
    square of a group's size.
    """

    name: ClassVar[str] = "geometric-median"
    needs_data: ClassVar[bool] = False
    comparable: ClassVar[bool] = False

    def __init__(self, distance: Literal["l2", "cosine"] = "l2") -> None:
        """Choose the distance.

        Args:
            distance: "l2" for the norm of the difference; "cosine" for 1 - cos of the angle between two
                filters, in [0, 2], where a zero filter is at distance 1 from every other.

        Raises:
            ValueError: another distance.
        """
        if distance not in ("l2", "cosine"):
            raise ValueError(f"geometric-median, distance: expected 'l2' or 'cosine', got {distance!r}")
        self.distance = distance

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; needs no data. A group of one unit scores 0.

        Raises:
            ValueError: a group has no filters.
        """
        measure = _euclidean if self.distance == "l2" else _cosine
        return {name: measure(rows).sum(1).cpu() for name, rows in filters(grouping).items()}


def _euclidean(rows: Tensor) -> Tensor:
    """Distances [n, n], from |a|^2 + |b|^2 - 2ab, which loses least when the rows lie around the origin."""
    centred = rows - rows.mean(0)
    return torch.cdist(centred, centred, compute_mode="use_mm_for_euclid_dist").fill_diagonal_(0)


def _cosine(rows: Tensor) -> Tensor:
    """1 - cos [n, n], zero on the diagonal."""
    directions = F.normalize(rows, dim=1, eps=torch.finfo(rows.dtype).tiny)
    return (1 - directions @ directions.T).clamp(min=0).fill_diagonal_(0)
