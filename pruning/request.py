"""`Request`: what is to be removed from a network; everything about a pruning but when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import nn

from pruning.cost import Budget, Cost, require_fraction
from pruning.criteria.base import Batches, Criterion, Loss
from pruning.criteria.registry import criterion as criterion_by_name
from pruning.groups import Grouping
from pruning.preconditions import require_data_where_it_belongs
from pruning.selectors.base import Constraints, Selector
from pruning.selectors.registry import selector as selector_by_name


class Request:
    """A budget, and how to choose under it. The arguments are those of `pruning.prune`.

    Attributes:
        criterion, selector, loader, loss, constraints, ignore: resolved and checked.
    """

    def __init__(  # noqa: PLR0913  one argument per question the user may answer, each has a default
        self,
        *,
        macs: float = 0.5,
        budget: Callable[[Grouping], Budget] | None = None,
        criterion: str | Criterion = "taylor",
        loader: Batches | None = None,
        loss: Loss = nn.functional.cross_entropy,
        selector: str | Selector = "global",
        round_to: int | Mapping[str, int] = 1,
        min_keep: int = 1,
        ignore: Iterable[str] = (),
    ) -> None:
        """Look up names.

        Raises:
            ValueError: an unknown name, a number out of range, or data that is missing or superfluous.
        """
        self.criterion = criterion_by_name(criterion) if isinstance(criterion, str) else criterion
        self.selector = selector_by_name(selector) if isinstance(selector, str) else selector
        self.constraints = Constraints(round_to, min_keep)
        _check_arguments(macs, self.criterion, self.selector, ignore)
        require_data_where_it_belongs(self.criterion, loader)
        self.loader, self.loss, self.ignore = loader, loss, tuple(ignore)
        self._macs, self._budget = macs, budget

    def budget(self, grouping: Grouping, cost: Cost, macs: float) -> Budget:
        """The budget for a network.

        Args:
            grouping: its groups, before anything is removed.
            cost: its multiply-accumulates, by units kept.
            macs: its multiply-accumulates now.

        Raises:
            ValueError: the user's function returned something else.
        """
        if self._budget is None:
            return Budget(cost, self._macs * macs)
        budget = self._budget(grouping)
        if not isinstance(budget, Budget):
            raise ValueError(f"budget: expected a function that returns a pruning.Budget, got {budget!r} from it")
        return budget


def _check_arguments(macs: float, criterion: Criterion, selector: Selector, ignore: Iterable[str]) -> None:
    require_fraction("macs", macs)
    for argument, value, kind in (("criterion", criterion, Criterion), ("selector", selector, Selector)):
        if not isinstance(value, kind):
            raise ValueError(f"{argument}: expected a name or an instance of {kind.__name__}, got {value!r}")
    if isinstance(ignore, str):
        raise ValueError(f"ignore: expected a list of patterns, got the text {ignore!r}; write [{ignore!r}]")
