"""Random scores: the baseline that every criterion must beat."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Criterion, Loss
from pruning.groups import Grouping


@final
class Random(Criterion):
    """Uniform scores in [0, 1), drawn anew from the seed at every call, so two runs agree.

    The k-th unit of the network gets the k-th number, whatever the unit does: the criterion is not equivariant.
    """

    name: ClassVar[str] = "random"
    needs_data: ClassVar[bool] = False
    comparable: ClassVar[bool] = True
    equivariant: ClassVar[bool] = False

    def __init__(self, seed: int = 0) -> None:
        """Choose the numbers.

        Args:
            seed: of a generator of its own; the global random state is not touched.

        Raises:
            ValueError: the seed is no integer >= 0.
        """
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"random, seed: expected an integer >= 0, got {seed!r}")
        self.seed = seed

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; needs no data."""
        generator = torch.Generator().manual_seed(self.seed)
        return grouping.split(torch.rand(grouping.units, dtype=torch.float64, generator=generator))
