"""One-shot pruning: score, select, cut, train."""

from __future__ import annotations

from typing import ClassVar, final

from pruning.schedules.base import Schedule, Step, checked_count
from pruning.shrinking import Shrinking


@final
class OneShot(Schedule):
    """Everything is removed at once; training, if any, comes afterwards."""

    name: ClassVar[str] = "one-shot"

    def __init__(self, final_epochs: int = 0) -> None:
        """Choose the training.

        Args:
            final_epochs: after the cut.

        Raises:
            ValueError: not an integer >= 0.
        """
        self.final_epochs = checked_count(self.name, "final_epochs", final_epochs, 0)

    def steps(self, network: Shrinking) -> tuple[Step, ...]:
        """See `Schedule.steps`."""
        return (Step(self.final_epochs, limit=network.budget.limit),)
