"""Isomorphic selection: groups of the same structure compete, and every structure loses the same share.

Fang, Ma, Mi, Wang, "Isomorphic Pruning for Vision Models", ECCV 2024, arXiv 2407.04616: scores of structures that do
different work (attention heads, hidden channels, residual streams) have different distributions, so only those of
isomorphic ones are ranked together. What counts as isomorphic is reconstructed: see `pruning.isomorphism`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from torch import Tensor

from pruning.cost import Budget
from pruning.selectors.base import Classes, Constraints, Kept, Selector, best_units, require_finite
from pruning.selectors.scale import Normalise, Price, Scale
from pruning.selectors.shares import equal_shares


@final
class IsomorphicSelector(Selector):
    """One ranking for each class of structures; the smallest share, common to all classes, that meets the budget."""

    name: ClassVar[str] = "isomorphic"

    def __init__(self, normalise: Normalise = "auto", price: Price = 0.0) -> None:
        """Choose the scale within a class; see `Scale`.

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
        """See `Selector.select`; `classes` must name every group.

        Raises:
            ValueError: also if a group has no class.
        """
        require_finite(scores)
        missing = sorted(scores.keys() - (classes or {}).keys())
        if classes is None or missing:
            raise ValueError(
                f"selector 'isomorphic' needs the class of every group, not given for {missing}: pass "
                f"classes=structure_classes(grouping)"
            )
        ranks = self.scale(scores, budget, constraints, comparable=comparable)
        return best_units(scores, equal_shares(ranks, classes, budget, constraints))
