"""The two engines of `benchmarks.pruning_coverage`, each cutting a network to about half of its MACs by magnitude.

Ours takes the steps of `pruning.prune` one by one. The peer is used as its README says, with a group magnitude, the
same share of every group, and the classifier left alone; as it has no budget, the share is the one that halves the
MACs of a chain of dense layers. Its own two repairs for torchvision's vision transformers are made as in its examples
(channels rounded to the number of heads, `hidden_dim` corrected).
"""

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

from torch import Tensor, nn

import pruning
from benchmarks._pruning_zoo import Network
from pruning.probe import require_equal_cut

PEER = "torch-pruning"
PEER_VERSION = "1.6.1"
SHARE = 0.5
PEER_RATIO = 1 - math.sqrt(SHARE)


@dataclass(frozen=True)
class Cut:
    """What an engine made of a network.

    Attributes:
        model: the cut network.
        cutter: makes the same cut in another copy of the dense network.
        proof: the engine's own check, None where it has none; raises RuntimeError, or returns the difference.
    """

    model: nn.Module
    cutter: Callable[[nn.Module], object]
    proof: Callable[[], float] | None


Engine = Callable[[Network, nn.Module, Tensor], Cut]
"""(what it is, the dense network, which is left as it is, an input) -> a cut copy."""


def ours(network: Network, model: nn.Module, images: Tensor) -> Cut:
    """Group, score, select and cut a copy of the network.

    Raises:
        ValueError: the network cannot be exported or pruned to the budget; the reason is named.
    """
    grouping = pruning.find_safe_groups(pruning.trace(model, images))
    macs = pruning.count_macs(model, images)
    budget = pruning.Budget(pruning.macs_cost(grouping, macs), SHARE * macs)
    scores = pruning.Magnitude().score(grouping, None, nn.functional.cross_entropy)
    kept = pruning.GlobalSelector().select(scores, budget, pruning.Constraints(), comparable=False)
    plan = pruning.Plan.from_kept(grouping, kept)
    pruned = plan.apply(copy.deepcopy(model))
    return Cut(pruned, plan.apply, lambda: require_equal_cut(grouping, kept, pruned))


def peer(network: Network, model: nn.Module, images: Tensor) -> Cut:
    """Group, score and cut a copy of the network."""
    model = copy.deepcopy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = import_module("torch_pruning")
        layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
        transformer: Any = model if network.name.startswith("vit_") else None
        pruner = engine.pruner.BasePruner(
            model,
            images,
            importance=engine.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=PEER_RATIO,
            ignored_layers=[layer for layer in layers if layer.weight.shape[0] == network.classes],
            round_to=transformer.encoder.layers[0].num_heads if transformer else None,
            in_channel_groups={},  # its defaults are shared between pruners
            out_channel_groups={},
            output_transform=(lambda outputs: outputs["out"]) if network.classes != 1000 else None,
        )
        steps = []
        for group in pruner.step(interactive=True):
            for dependency, positions in group:
                steps.append(_Step.of(pruner.DG, dependency, list(positions)))
            group.prune()
        if transformer:
            transformer.hidden_dim = transformer.conv_proj.out_channels

    def cutter(twin: nn.Module) -> None:
        for step in steps:
            step(twin)

    return Cut(model, cutter, None)


@dataclass(frozen=True)
class _Step:
    """One removal by the peer, to be made in another copy: its own function, where, and the positions removed."""

    function: Any
    target: str
    axis: int | None
    positions: list[int]

    @classmethod
    def of(cls, graph: Any, dependency: Any, positions: list[int]) -> "_Step":
        target = dependency.target
        table = graph._param_to_name if isinstance(target.module, nn.Parameter) else graph._module2name
        return cls(dependency.handler, table.get(target.module, ""), target.pruning_dim, positions)

    def __call__(self, twin: nn.Module) -> None:
        owner, _, name = self.target.rpartition(".")
        if not name:  # an operation of its graph that is no layer
            return
        layer = getattr(twin.get_submodule(owner), name)
        self.function.__self__.pruning_dim = self.axis
        result = self.function(layer, self.positions)
        if isinstance(layer, nn.Parameter):
            setattr(twin.get_submodule(owner), name, result)


def peer_version() -> str | None:
    """The installed version of the peer, None where it is missing."""
    try:
        return metadata.version(PEER)
    except metadata.PackageNotFoundError:
        return None
