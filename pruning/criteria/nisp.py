"""NISP: importance of the final response layer, propagated back through the whole network.

Yu, Li, Chen, Lai, Morariu, Han, Gao, Lin, Davis, "NISP: Pruning Networks using Neuron Importance Score
Propagation", CVPR 2018, arXiv 1711.05908. Reconstructed from secondary sources (papers: structured_pruning §6).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, fx

from pruning.activations import activations, sum_per_unit
from pruning.criteria.base import Batches, Criterion, Loss, checked_batches
from pruning.criteria.companion import ancestors, companion
from pruning.criteria.inf_fs import inf_fs
from pruning.groups import Grouping
from pruning.layers import LAYERS, channel_axis
from pruning.producers import producers
from pruning.rules import operation
from pruning.rules.context import operand
from pruning.trace import Trace, preserved_rng


@final
class Nisp(Criterion):
    """s_k = |W_{k+1}|ᵀ s_{k+1}, from the Inf-FS scores of the classifier's inputs back to the first layer.

    A unit's score is the sum over the positions of its layer's responses, and over the layers that make it where
    several are tied: a residual stream sums those that write to it. Scores grow with depth, so only units of one
    group compare. Labels and the loss are not used.
    """

    name: ClassVar[str] = "nisp"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = False

    def __init__(self, ratio: float = 0.0, batch_norm: Literal["identity", "scale"] = "identity") -> None:
        """Choose how scores travel.

        Args:
            ratio: share of each group, in [0, 1), whose scores are zeroed on the way, so that layers before are
                judged by what will be left. The paper prunes at preset ratios; a criterion does not know the
                budget, so nothing is zeroed unless this is given.
            batch_norm: "identity", or "scale" to multiply by |γ|/√(σ²+ε) (reconstructed).

        Raises:
            ValueError: a ratio outside [0, 1), or another treatment of batch norms.
        """
        if not 0 <= ratio < 1:
            raise ValueError(f"nisp, ratio: expected a share in [0, 1), got {ratio!r}")
        if batch_norm not in ("identity", "scale"):
            raise ValueError(f"nisp, batch_norm: expected 'identity' or 'scale', got {batch_norm!r}")
        self.ratio, self.batch_norm = ratio, batch_norm

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; the loss is not used.

        Raises:
            ValueError: an operation has no linear companion, or a group does not reach the classifier.
        """
        layer, parts = classifier(grouping.trace), []
        response = operand(layer, 0).name
        with preserved_rng():
            for inputs, _ in checked_batches(grouping.trace, batches, self.name):
                found = activations(grouping.trace, inputs, (response,))[response]
                parts.append(_features(layer, found))
            return self.propagate(grouping, inf_fs(torch.cat(parts)))

    def propagate(self, grouping: Grouping, importance: Tensor) -> dict[str, Tensor]:
        """Scores of all units, given those of the final response layer: float64 [d] -> group -> [size].

        Raises:
            ValueError: as for `score`, or d is not the number of the classifier's inputs.
        """
        scores = torch.zeros(grouping.units, dtype=torch.float64)
        reached = torch.zeros(grouping.units, dtype=torch.bool)
        layer, sites = classifier(grouping.trace), producers(grouping, fold=False)

        def collect(gradient: Tensor, axis: int, units: Tensor) -> Tensor:
            reached[units[units >= 0]] = True
            scores.add_(sum_per_unit(gradient, axis, units, grouping.units).cpu())
            shape = [-1 if i == axis else 1 for i in range(gradient.ndim)]
            return gradient * self._kept(grouping, scores)[units].reshape(shape).to(gradient.device)

        def edit(node: fx.Node, value: Any) -> Any:
            for axis, units in sites.get(node.name, ()):
                value = value.clone()
                value.register_hook(lambda gradient, axis=axis, units=units: collect(gradient, axis, units))
            return value

        with torch.enable_grad():
            output = companion(grouping.trace, operand(layer, 0), scale_norms=self.batch_norm == "scale", edit=edit)
            features = _features(layer, output)
            if importance.shape != features[0].shape:
                got, expected = list(importance.shape), list(features[0].shape)
                raise ValueError(f"nisp: expected one score per input of the classifier, {expected}, got {got}")
            torch.autograd.backward(features.mean(0) @ importance.to(features))
        missing = [name for name, part in grouping.split(reached).items() if not bool(part.all())]
        if missing:
            raise ValueError(
                f"nisp: no score reaches {', '.join(missing)}; they do not lead to the final response layer "
                f"({operand(layer, 0).name}). Leave them out with ignore=, or choose another criterion"
            )
        return grouping.split(scores)

    def _kept(self, grouping: Grouping, scores: Tensor) -> Tensor:
        """0 for the lowest units of each group so far, 1 for the others and (last) for no unit: [units + 1]."""
        kept = torch.ones(grouping.units + 1, dtype=torch.float64)
        for group in grouping.groups if self.ratio else ():
            start = grouping.start(group.name)
            order = torch.argsort(scores[start : start + group.size], stable=True)
            kept[start + order[: int(self.ratio * group.size)]] = 0
        return kept


def classifier(trace: Trace) -> fx.Node:
    """The last layer before the network's only output; its input is the final response layer.

    Raises:
        ValueError: the network returns several tensors, or no layer precedes the output.
    """
    (output,) = (node for node in trace.program.graph.nodes if node.op == "output")
    results = [node for node in output.all_input_nodes if isinstance(node.meta.get("val"), Tensor)]
    if len(results) != 1:
        raise ValueError(f"nisp: expected a network with one output, got {len(results)}; prune one head at a time")
    before, data = ancestors(results[0]), trace.data()
    for node in reversed(trace.program.graph.nodes):
        if node in before and operation(node) in LAYERS and node.args[0] in data:
            return node
    raise ValueError("nisp: no convolution or linear layer before the output, so there is no final response layer")


def _features(layer: fx.Node, value: Tensor) -> Tensor:
    """A layer's input as features [N, d]: for a convolutional or sequence classifier, means over positions."""
    return value.movedim(channel_axis(layer), -1).flatten(1, -2).mean(1) if value.ndim > 2 else value
