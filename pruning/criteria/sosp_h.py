"""SOSP-H: second-order saliency from one Hessian-vector product.

Nonnenmacher, Pfeil, Steinwart, Reeb, "SOSP: Efficiently Capturing Global Correlations by Second-Order Structured
Pruning", ICLR 2022, arXiv 2110.11395, section 2; formulas from memory (papers: structured_pruning §9).
"""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Criterion, Loss, checked_batches
from pruning.criteria.derivatives import factors, gradient_and_curvature
from pruning.groups import Grouping
from pruning.producers import producers
from pruning.trace import preserved_rng

BatchNorm = Literal["fold", "exclude"]


@final
class SospH(Criterion):
    """|θ_sᵀ g| + ½ |θ_sᵀ (H θ_struc)|, θ_struc the sum of all structures.

    θ_s holds everything a unit owns on its output side: filters and biases, of every layer that is tied together
    (reconstructed for tied layers). Scaling them by z is scaling what the layer returns, so θ_sᵀ g and θ_sᵀ H θ_struc
    are dL/dz_s and the row sums of d²L/dz² at z = 1; no vector of the parameters' size is built.
    """

    name: ClassVar[str] = "sosp-h"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def __init__(self, batch_norm: BatchNorm = "fold") -> None:
        """Choose what θ_s holds.

        Args:
            batch_norm: "fold" takes filters with the batch norm right behind them folded in (reconstructed),
                which removes its offset too; "exclude" takes the filters alone.

        Raises:
            ValueError: another treatment of batch norms.
        """
        self.batch_norm = checked_batch_norm(batch_norm, self.name)

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; the loss needs a second derivative, and cross entropy has one.

        Raises:
            ValueError: a group has no filters (`producers`), or the loss is no finite scalar.
        """
        sites, count = producers(grouping, fold=self.batch_norm == "fold"), 0
        first, second = torch.zeros(2, grouping.units, dtype=torch.float64)
        with preserved_rng():
            for inputs, targets in checked_batches(grouping.trace, batches, self.name):
                ones, size = factors(grouping, inputs), len(inputs[0])
                slope, curvature = gradient_and_curvature(grouping, inputs, targets, loss, ones, sites)
                first += size * slope.double().cpu()
                second += size * curvature.double().cpu()
                count += size
        return grouping.split((first.abs() + second.abs() / 2) / count)


def checked_batch_norm(value: str, name: str) -> str:
    """A treatment of batch norms, refused with a ValueError if there is no such one."""
    if value not in ("fold", "exclude"):
        raise ValueError(f"{name}, batch_norm: expected 'fold' or 'exclude', got {value!r}")
    return value
