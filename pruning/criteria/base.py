"""The contract of a pruning criterion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from pruning.groups import Grouping
from pruning.trace import Inputs, Trace

Batches = Iterable[tuple[Any, Any]]
"""(inputs, targets) pairs; inputs are a tensor [N, ...] or a tuple of them."""

Loss = Callable[[Any, Any], Tensor]
"""(network output, targets) -> the mean loss of the batch, a scalar."""

Unit = tuple[str, int]
"""Group name, number of the unit in that group."""


class Criterion(ABC):
    """Scores units; the lowest are removed first.

    A criterion sees the network in evaluation mode (running batch-norm statistics) and must leave everything
    as it was: parameters, gradients, modes and the random state. Two runs give equal scores.

    Attributes:
        name: what the criterion is called in configurations.
        needs_data: whether `score` needs batches and a loss. One that does not is never given any.
        comparable: whether scores of different groups are on one scale; if not, selectors normalise them.
        equivariant: whether scores follow their channels when those are reordered. Only a criterion that does not
            look at the network says no; its scores stay where they are.
    """

    name: ClassVar[str]
    needs_data: ClassVar[bool]
    comparable: ClassVar[bool]
    equivariant: ClassVar[bool] = True

    @abstractmethod
    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """Score every unit.

        Args:
            grouping: the network and its groups.
            batches: data, for criteria that need it.
            loss: mean loss of a batch.

        Returns:
            Group name -> float64 [size], all finite.

        Raises:
            ValueError: data is missing, empty or does not fit the network.
        """


class SetCriterion(Criterion):
    """Orders units where the worth of one depends on which others are left, so that no score of its own exists.

    Implement `order`; a greedy choice of a set is an order. Its score is the unit's place in that order, so every
    selector, rounding and minimum work as they are: they cut the order at the budget. `comparable` says whether
    the order means something between groups.
    """

    @abstractmethod
    def order(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> Sequence[Unit]:
        """Every unit once, the first to go first.

        Args:
            grouping: the network and its groups.
            batches: data, for criteria that need it.
            loss: mean loss of a batch.

        Raises:
            ValueError: data is missing, empty or does not fit the network.
        """

    @final
    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """Place of every unit in the order, from 0: group name -> float64 [size]; see `Criterion.score`."""
        order = self.order(grouping, batches, loss)
        wanted = [(group.name, unit) for group in grouping.groups for unit in range(group.size)]
        if sorted(order) != sorted(wanted):
            raise AssertionError(
                f"criterion {self.name!r}: the order has {len(order)} units, not all {len(wanted)} once"
            )
        place = {unit: number for number, unit in enumerate(order)}
        return grouping.split(torch.tensor([place[unit] for unit in wanted], dtype=torch.float64))


def checked_batches(trace: Trace, batches: Batches | None, name: str) -> Iterator[tuple[Inputs, Any]]:
    """The batches on the network's device, each input as a tuple.

    Raises:
        ValueError: there are none, an entry is no (inputs, targets) pair, or inputs differ from the example.
    """
    if batches is None:
        raise ValueError(f"criterion {name!r} needs data: pass loader=, an iterable of (inputs, targets)")
    device, count = trace.inputs[0].device, 0
    for count, batch in enumerate(batches, start=1):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ValueError(f"loader, batch {count}: expected a pair (inputs, targets), got {type(batch).__name__}")
        inputs, targets = batch
        tensors = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        moved = tuple(tensor.detach().to(device) for tensor in tensors)
        got, expected = ([list(x.shape[1:]) for x in group] for group in (moved, trace.inputs))
        if got != expected:
            raise ValueError(
                f"loader, batch {count}: expected inputs of shape [N, ...] with {expected} after N, as in "
                f"example_input, got {got}; pass an example of the data's own size"
            )
        yield moved, targets.to(device) if isinstance(targets, Tensor) else targets
    if count == 0:
        raise ValueError(f"criterion {name!r}: the loader is empty; it must give at least one batch")


def scalar_loss(trace: Trace, outputs: tuple[Any, ...], targets: Any, loss: Loss) -> Tensor:
    """The loss of flattened outputs, put back into the structure the network returns.

    Raises:
        ValueError: the loss is no scalar or not finite.
    """
    specification = trace.program.call_spec.out_spec
    assert specification is not None
    value = loss(torch.utils._pytree.tree_unflatten(list(outputs), specification), targets)
    if value.ndim != 0 or not bool(torch.isfinite(value)):
        got = f"shape {list(value.shape)}" if value.ndim else f"{value.item()}"
        raise ValueError(f"loss: expected a finite scalar, the mean over the batch, got {got}")
    return value
