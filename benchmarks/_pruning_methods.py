"""What `benchmarks.pruning` compares: every criterion of ours in each way that suits it, and the peer's.

A way is a selector, for all channels or for those within residual blocks alone, in one cut or in several, each with
scores of the network as it is then.

The peer is torch-pruning, used as its own CIFAR benchmark does: channels go in many small steps until the network has
the wanted multiply-accumulates. Its Taylor criterion has the gradients of the unpruned network, of as many images as
ours, which it cuts along with the weights. It may cut the channels inside residual blocks only, because it cuts through
the padded shortcuts of these networks (option A) and leaves a network that does not run.
"""

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import metadata, util
from typing import Any

from torch import Tensor, nn

import pruning

Batches = Sequence[tuple[Tensor, Tensor]]
PEER_STEPS = 400
IMAGES = {"singe": 128, "taylor-second-order": 128}
"""Criteria that see the first few of the images only: 60 passes a group, or a pass a channel, take long enough."""
STEPS = 8
ONE_SHOT = (*IMAGES, "pfp")
"""Criteria that score once only, for the same reason."""


@dataclass(frozen=True)
class Job:
    """A network to prune.

    Attributes:
        model: not changed.
        example: an image [1, C, H, W].
        macs: share of the multiply-accumulates to keep.
        batches: labelled training images, for methods that look at data.
        seed: for methods that draw random numbers.
    """

    model: nn.Module
    example: Tensor
    macs: float
    batches: Batches
    seed: int


Cutter = Callable[[Job], nn.Module]


@dataclass(frozen=True)
class Method:
    """A way to prune.

    Attributes:
        name: in the table.
        cut: gives the smaller network.
        is_peer: not ours.
        needs_data: the criterion sees images.
        in_steps: the same in several cuts, if there is that.
    """

    name: str
    cut: Cutter
    is_peer: bool = False
    needs_data: bool = True
    in_steps: "Method | None" = None


@dataclass(frozen=True)
class Way:
    """How scores become a cut.

    Attributes:
        name: in the table.
        selector: of channels.
        ignore: layers left alone.
    """

    name: str
    selector: pruning.Selector
    ignore: tuple[str, ...]


STREAM = ("conv1", "linear", "*.conv2")
"""Layers of these networks that write the residual stream, or the scores."""


@cache
def methods() -> tuple[Method, ...]:
    """All that there are here: every criterion, then the peer's where it is installed."""
    found = [_ours(criterion, way) for criterion in pruning.criteria() for way in _ways(criterion)]
    return (*found, *(peers() if util.find_spec("torch_pruning") else ()))


def _ways(criterion: str) -> list[Way]:
    """A criterion that gives an order of all channels has made the choice itself."""
    chosen: dict[str, pruning.Selector] = {"global": pruning.GlobalSelector()}
    if not isinstance(pruning.criterion(criterion), pruning.SetCriterion):
        chosen = {name: pruning.selector(name) for name in pruning.selectors()}
    apart = [name for name in chosen if name != "isomorphic"]  # within blocks all groups are alike: it is "global"
    within = [Way(f"{name}, within blocks", chosen[name], STREAM) for name in apart]
    return [*(Way(name, selector, ()) for name, selector in chosen.items()), *within]


def _ours(criterion: str, way: Way) -> Method:
    name, steps = f"{criterion}, {way.name}", pruning.Iterative(STEPS, epochs=0, final_epochs=0)
    needs_data = pruning.criterion(criterion).needs_data
    in_steps = Method(f"{name}, in {STEPS} steps", _cutter(criterion, way, steps), needs_data=needs_data)
    once = _cutter(criterion, way, pruning.OneShot())
    return Method(name, once, needs_data=needs_data, in_steps=None if criterion in ONE_SHOT else in_steps)


def _cutter(criterion: str, way: Way, schedule: pruning.Schedule) -> Cutter:
    def cut(job: Job) -> nn.Module:
        if isinstance(schedule, pruning.OneShot):
            judge: pruning.Criterion = _judge(criterion, job.seed, job.model, way.ignore)
        else:
            judge = _fresh(criterion, job.seed)
        return pruning.prune(
            job.model,
            job.example,
            macs=job.macs,
            criterion=judge,
            loader=seen(criterion, job.batches) if judge.needs_data else None,
            selector=way.selector,
            ignore=way.ignore,
            schedule=schedule,
        ).model

    return cut


def seen(criterion: str, batches: Batches) -> Batches:
    """The batches a criterion is given, of all there are."""
    size = len(batches[0][1])
    return batches[: math.ceil(IMAGES[criterion] / size)] if criterion in IMAGES else batches


class Remembered(pruning.Criterion):
    """A criterion that scores once: neither the budget nor the selector changes the scores of a network."""

    def __init__(self, criterion: pruning.Criterion) -> None:
        self.name = criterion.name  # type: ignore[misc]  # of the class elsewhere
        self.needs_data, self.comparable = criterion.needs_data, criterion.comparable  # type: ignore[misc]
        self._criterion, self._found = criterion, dict[str, Tensor]()

    def score(self, grouping: pruning.Grouping, batches: Any, loss: Any) -> dict[str, Tensor]:
        """See `Criterion.score`; always of the same network and the same images."""
        self._found = self._found or self._criterion.score(grouping, batches, loss)
        return dict(self._found)


@cache
def _judge(criterion: str, seed: int, model: nn.Module, ignore: tuple[str, ...]) -> Remembered:
    """The criterion that sees this network without some layers, and the images of this seed."""
    return Remembered(_fresh(criterion, seed))


def _fresh(criterion: str, seed: int) -> pruning.Criterion:
    draws = "seed" in inspect.signature(type(pruning.criterion(criterion))).parameters
    return pruning.criterion(criterion, **({"seed": seed} if draws else {}))


def peers() -> list[Method]:
    """Magnitude and Taylor, each with one threshold for the network and with one ratio for all layers."""
    version = metadata.version("torch-pruning")
    kinds = {"group magnitude": False, "group Taylor": True}
    return [
        Method(
            f"torch-pruning {version} {kind}, {scope}",
            _peer(scope == "global", needs_data),
            is_peer=True,
            needs_data=needs_data,
        )
        for kind, needs_data in kinds.items()
        for scope in ("global", "local")
    ]


def _peer(is_global: bool, needs_data: bool) -> Cutter:
    def cut(job: Job) -> nn.Module:
        import torch_pruning

        kinds: Any = torch_pruning.importance
        importance = kinds.GroupTaylorImportance() if needs_data else kinds.GroupMagnitudeImportance()
        model = copy.deepcopy(job.model).eval()
        pruner: Any = torch_pruning.pruner.BasePruner(
            model,
            job.example,
            importance=importance,
            global_pruning=is_global,
            pruning_ratio=1.0,
            iterative_steps=PEER_STEPS,
            ignored_layers=[
                layer for name, layer in model.named_modules() if any(fnmatchcase(name, p) for p in STREAM)
            ],
        )
        limit = job.macs * pruning.count_macs(model, job.example)
        for images, labels in job.batches if needs_data else ():
            nn.functional.cross_entropy(model(images), labels).backward()
        for _ in range(PEER_STEPS):
            pruner.step()
            if pruning.count_macs(model, job.example) <= limit:
                model.zero_grad(set_to_none=True)
                return model
        raise RuntimeError(f"torch-pruning stays above {job.macs:.0%} of the multiply-accumulates")

    return cut
