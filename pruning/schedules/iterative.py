"""Iterative pruning: a little at a time, with training in between."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from pruning.schedules.base import Schedule, Step, checked_count
from pruning.shrinking import Shrinking


@final
class Iterative(Schedule):
    """Several cuts under budgets that fall from the cost of the whole network to the one wanted.

    Each cut scores the network as it is then. A geometric fall takes the same share of what is left every time, as
    in the cascade of prune and retrain of Liebenwein et al. (arXiv 1911.07412); with one step it is one-shot pruning.
    Network slimming's multi-pass scheme is this with `scale_penalty` open in every phase but the final one.
    """

    name: ClassVar[str] = "iterative"

    def __init__(
        self,
        steps: int = 5,
        epochs: int = 1,
        final_epochs: int = 10,
        fall: Literal["geometric", "linear"] = "geometric",
    ) -> None:
        """Choose the steps.

        Args:
            steps: how many cuts.
            epochs: of training after every cut but the last.
            final_epochs: after the last one.
            fall: of the budgets, from cut to cut.

        Raises:
            ValueError: a number out of range, or another fall.
        """
        if fall not in ("geometric", "linear"):
            raise ValueError(f"{self.name}, fall: expected 'geometric' or 'linear', got {fall!r}")
        self.count = checked_count(self.name, "steps", steps, 1)
        self.epochs = checked_count(self.name, "epochs", epochs, 0)
        self.final_epochs = checked_count(self.name, "final_epochs", final_epochs, 0)
        self.fall = fall

    def steps(self, network: Shrinking) -> tuple[Step, ...]:
        """See `Schedule.steps`."""
        cost, limit = network.cost, network.budget.limit
        shares = [number / self.count for number in range(1, self.count)]
        if self.fall == "linear":
            between = [cost + (limit - cost) * share for share in shares]
        else:
            between = [cost * (limit / cost) ** share for share in shares]
        return (*(Step(self.epochs, limit=each) for each in between), Step(self.final_epochs, limit=limit))
