"""Global selection: the lowest-scoring units of the whole network go first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from torch import Tensor

from pruning.cost import Budget
from pruning.selectors.base import Classes, Constraints, Kept, Selector, best_units, require_finite
from pruning.selectors.scale import Normalise, Price, Scale
from pruning.selectors.shares import equal_shares


@final
class GlobalSelector(Selector):
    """One ranking over all groups, on a scale that makes them comparable."""

    name: ClassVar[str] = "global"

    def __init__(self, normalise: Normalise = "auto", price: Price = 0.0) -> None:
        """Choose the scale; see `Scale`.

        Raises:
            ValueError: another value.
        """
        self.scale = Scale(normalise, price)

    def select(
        self,
        scores: Mapping[str, Tensor],
        budget: Budget,
        constraints: Constraints,
        *,
        comparable: bool,
        classes: Classes | None = None,
    ) -> Kept:
        """See `Selector.select`."""
        require_finite(scores)
        ranks = self.scale(scores, budget, constraints, comparable=comparable)
        return best_units(scores, equal_shares(ranks, dict.fromkeys(scores, 0), budget, constraints))
