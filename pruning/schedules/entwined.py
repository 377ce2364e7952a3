"""Entwined pruning: layer by layer, a few units at a time, each time followed by a little training.

Yvinec, Dapogny, Cord, Bailly, "SInGE", NeurIPS 2022, arXiv 2207.04089. Reconstructed from the abstract and from memory
(papers: structured_pruning §7); the paper goes with its own criterion, here it is whichever was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, final

from pruning.schedules.base import Schedule, Step, checked_count
from pruning.shrinking import Shrinking


@final
class Entwined(Schedule):
    """Groups in the order of the network; in each, the lowest few units go, the rest is trained and scored again.

    How many units each group loses in the end is the selector's choice on the whole network before anything is
    removed. Later only scores within one group are compared: of a set-valued criterion, the order within it.
    """

    name: ClassVar[str] = "entwined"

    def __init__(self, share: float = 0.1, epochs: int = 1, final_epochs: int = 10) -> None:
        """Choose the steps. The default of `share` is reconstructed.

        Args:
            share: of a group's original units that go at a time, in (0, 1]; at least one unit.
            epochs: of training after every cut.
            final_epochs: after all of them.

        Raises:
            ValueError: an option out of range.
        """
        if not 0 < share <= 1:
            raise ValueError(f"{self.name}, share: expected a share in (0, 1], got {share!r}")
        self.share = share
        self.epochs = checked_count(self.name, "epochs", epochs, 0)
        self.final_epochs = checked_count(self.name, "final_epochs", final_epochs, 0)

    def steps(self, network: Shrinking) -> tuple[Step, ...]:
        """See `Schedule.steps`."""
        wanted = network.choose(network.budget.limit)
        cuts = [
            Step(self.epochs, counts=((group.name, count),))
            for group in network.original.groups
            for count in self._counts(group.size, len(wanted[group.name]))
        ]
        return (*cuts, Step(self.final_epochs))

    def _counts(self, size: int, wanted: int) -> Iterator[int]:
        """Units left after each cut of a group, ever fewer."""
        few = max(1, round(self.share * size))
        while size > wanted:
            size = max(wanted, size - few)
            yield size
