"""The contract of a schedule: the steps in which a network is pruned, and what training is asked for between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pruning.shrinking import Shrinking


@dataclass(frozen=True)
class Phase:
    """A stretch of training between two cuts.

    Attributes:
        number: of the step it belongs to, from 0.
        epochs: to train, at least 1.
        first_epoch: epochs trained in all earlier phases, where a loader's order and a log go on.
        final: whether nothing is cut after it.
        after_epoch: to be called with the number of epochs done in this phase after each of them. Soft pruning
            zeroes filters then; with other schedules it does nothing.
    """

    number: int
    epochs: int
    first_epoch: int
    final: bool
    after_epoch: Callable[[int], None]


Tune = Callable[[nn.Module, Phase], None]
"""Trains a network in place for `phase.epochs` epochs. Modes may be left changed; sizes and names may not be."""


@dataclass(frozen=True)
class Step:
    """What is done once: score, choose and cut, then train. A step may leave out either half.

    Attributes:
        epochs: of training, after the cut.
        limit: cut to this cost (in the budget's unit); the selector chooses among all units. None: no such cut.
        counts: cut these groups to so many units each; those with the lowest scores go.
        soft: a cost for every epoch of training, after which the filters that a cut to it would take are zeroed.
    """

    epochs: int = 0
    limit: float | None = None
    counts: tuple[tuple[str, int], ...] = ()
    soft: tuple[float, ...] = ()

    @property
    def cuts(self) -> bool:
        """Whether anything is removed."""
        return self.limit is not None or bool(self.counts)


class Schedule(ABC):
    """When to prune. A pure function of the network as it came, so that an interrupted pruning finds the same steps.

    Every step scores the network as it is then, with the weights it has then. Criteria that need data see the same
    loader every time, which must be one that can be iterated again. A `SetCriterion` orders anew what is left. What
    a criterion wants of the training belongs into `tune`, network slimming for instance
    `with scale_penalty(network, 1e-4): ...` in every phase that is not final.

    Attributes:
        name: what the schedule is called in configurations.
    """

    name: ClassVar[str]

    @abstractmethod
    def steps(self, network: Shrinking) -> Sequence[Step]:
        """All steps, at least one; after the last one the network meets `network.budget`.

        Args:
            network: before anything is removed; it must be left as it is.

        Raises:
            ValueError: the criterion refuses, where the steps depend on scores.
        """


def checked_count(schedule: str, name: str, value: int, least: int) -> int:
    """An integer option of a schedule.

    Raises:
        ValueError: it is no integer, or smaller than `least`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{schedule}, {name}: expected an integer >= {least}, got {value!r}")
    return value
