"""Local selection: every group keeps the same fraction of its units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar, final

from torch import Tensor

from pruning.cost import Budget
from pruning.selectors.base import Constraints, Kept, Selector, best_units, require_finite, search


@final
class LocalSelector(Selector):
    """The largest common fraction that meets the budget; scores are only compared within a group."""

    name: ClassVar[str] = "local"

    def select(
        self, scores: Mapping[str, Tensor], budget: Budget, constraints: Constraints, *, comparable: bool
    ) -> Kept:
        """See `Selector.select`."""
        require_finite(scores)
        sizes = {name: len(score) for name, score in scores.items()}
        fractions = sorted({Fraction(k, n) for n in set(sizes.values()) for k in range(n + 1)}, reverse=True)

        def counts_at(level: int) -> dict[str, int]:
            share = fractions[level]
            return {name: constraints.allowed(math.ceil(share * size), size) for name, size in sizes.items()}

        return best_units(scores, search(counts_at, len(fractions) - 1, budget))
