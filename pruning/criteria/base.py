"""The contract of a pruning criterion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


def checked_scores(criterion: Criterion, grouping: Grouping, scores: Mapping[str, Tensor]) -> None:
    """Refuse scores that are not one finite number per unit.

    Raises:
        ValueError: groups are missing or unknown, a shape is wrong, or a score is NaN or infinite (criterion and
            group are named).
    """
    sizes = {group.name: group.size for group in grouping.groups}
    if scores.keys() != sizes.keys():
        missing, unknown = sorted(sizes.keys() - scores.keys()), sorted(scores.keys() - sizes.keys())
        raise ValueError(
            f"criterion {criterion.name!r}: expected scores of all groups, missing {missing}, unknown {unknown}; "
            f"correct its `score`"
        )
    for name, score in scores.items():
        where = f"criterion {criterion.name!r}, group {name!r}"
        if not isinstance(score, Tensor) or tuple(score.shape) != (sizes[name],):
            got = f"shape {list(score.shape)}" if isinstance(score, Tensor) else type(score).__name__
            raise ValueError(f"{where}: expected a tensor of {sizes[name]} scores, got {got}; correct its `score`")
        bad = (~torch.isfinite(score)).nonzero().flatten()
        if len(bad):
            raise ValueError(
                f"{where}: expected finite scores, got {float(score[bad[0]])} for unit {int(bad[0])} ({len(bad)} of "
                f"{len(score)} are not finite). Look for very large values in the data and for a loss that overflows, "
                f"leave the layer out with ignore=, or choose another criterion."
            )


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
        for value, example in zip(moved, trace.inputs, strict=True):
            _require_sound(f"loader, batch {count}", value, example)
        yield moved, targets.to(device) if isinstance(targets, Tensor) else targets
    if count == 0:
        raise ValueError(f"criterion {name!r}: the loader is empty; it must give at least one batch")


def _require_sound(where: str, value: Tensor, example: Tensor) -> None:
    floating = value.is_floating_point() or example.is_floating_point()
    if floating and value.dtype != example.dtype:
        raise ValueError(
            f"{where}: expected inputs of {example.dtype}, as in example_input, got {value.dtype}; convert one of them"
        )
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{where}: the inputs hold NaN or infinity; remove such examples")


def scalar_loss(trace: Trace, outputs: tuple[Any, ...], targets: Any, loss: Loss) -> Tensor:
    """The loss of flattened outputs, put back into the structure the network returns.

    Raises:
        ValueError: the loss fails (on labels out of range, say), is no scalar or not finite.
    """
    specification = trace.program.call_spec.out_spec
    assert specification is not None
    structured = torch.utils._pytree.tree_unflatten(list(outputs), specification)
    try:
        value = loss(structured, targets)
    except Exception as error:  # the user's own function; a label out of range is an IndexError, a shape anything
        raise ValueError(
            f"loss: failed on outputs {_shown(structured)} and targets {_shown(targets)}: {str(error).strip()}. "
            f"Labels of classes must be whole numbers from 0 to the number of classes - 1; for other targets pass loss="
        ) from error
    if value.ndim != 0 or not bool(torch.isfinite(value)):
        got = f"shape {list(value.shape)}" if value.ndim else f"{value.item()}"
        raise ValueError(f"loss: expected a finite scalar, the mean over the batch, got {got}")
    return value


def _shown(value: Any) -> str:
    """Shape, dtype and, of whole numbers, range."""
    if not isinstance(value, Tensor):
        return f"of type {type(value).__name__}"
    whole = value.numel() and not value.is_floating_point() and value.dtype != torch.bool
    spread = f" from {int(value.min())} to {int(value.max())}" if whole else ""
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}{spread}"
