"""Local selection: every group keeps the same fraction of its units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from torch import Tensor

from pruning.cost import Budget
from pruning.selectors.base import Classes, Constraints, Kept, Selector, best_units, require_finite
from pruning.selectors.shares import equal_shares


@final
class LocalSelector(Selector):
    """The largest common fraction that meets the budget; scores are only compared within a group."""

    name: ClassVar[str] = "local"

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
        return best_units(scores, equal_shares(scores, {name: name for name in scores}, budget, constraints))
