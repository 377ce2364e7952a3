"""LAMP: the share of a unit in the squared norm that is left when everything smaller is gone.

Lee, Park, Mo, Ahn, Shin, "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021, arXiv 2010.07611:
score(u) = w_u^2 / sum of w_v^2 over all v of the layer with w_v^2 >= w_u^2. The paper scores single weights; here
w_u is the norm of everything the unit of a group owns.
"""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Criterion, Loss
from pruning.criteria.magnitude import Magnitude
from pruning.groups import Grouping


@final
class Lamp(Criterion):
    """Layer-adaptive magnitude, in [0, 1] and comparable between groups without another normalisation.

    Within a group the order is that of the magnitudes. A single largest unit scores 1, so that one global
    ranking takes it last.
    """

    name: ClassVar[str] = "lamp"
    needs_data: ClassVar[bool] = False
    comparable: ClassVar[bool] = True

    def __init__(self, scope: Literal["group", "filter"] = "group") -> None:
        """Choose the weights.

        Args:
            scope: as of `Magnitude`, whose L2 norm is rescaled.

        Raises:
            ValueError: another scope.
        """
        self._magnitude = Magnitude(2, scope)

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; needs no data."""
        norms = self._magnitude.score(grouping, None, loss)
        return {name: layer_adaptive(norm.square()) for name, norm in norms.items()}


def layer_adaptive(squares: Tensor) -> Tensor:
    """Each value divided by the sum of all values not smaller: [n] -> [n].

    The paper breaks ties by position; here equal values count each other, so that the score of a unit does
    not depend on its number. Zeros score 0.
    """
    ordered = squares.sort().values
    left = ordered.flip(0).cumsum(0).flip(0)[torch.searchsorted(ordered, squares)]
    return torch.where(left > 0, squares / left, 0)
