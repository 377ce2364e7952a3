"""Group magnitude: the L1 or L2 norm of everything a unit owns.

Filter norms: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, arXiv 1608.08710. Norms over the
whole group: Fang et al., "DepGraph", CVPR 2023, arXiv 2301.12900.
"""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Criterion, Loss
from pruning.groups import Group, Grouping, Member
from pruning.layers import output_axes
from pruning.trace import tensors_of


@final
class Magnitude(Criterion):
    """Norm of the unit's weights. Biases, batch-norm parameters and buffers do not count."""

    name: ClassVar[str] = "magnitude"
    needs_data: ClassVar[bool] = False
    comparable: ClassVar[bool] = False

    def __init__(self, p: int = 2, scope: Literal["group", "filter"] = "group") -> None:
        """Choose the norm.

        Args:
            p: 1 or 2.
            scope: "group" takes every weight the unit owns, incoming and outgoing; "filter" only the weights
                that compute it (the original method).

        Raises:
            ValueError: another p or scope.
        """
        if p not in (1, 2):
            raise ValueError(f"magnitude, p: expected 1 or 2, got {p!r}")
        if scope not in ("group", "filter"):
            raise ValueError(f"magnitude, scope: expected 'group' or 'filter', got {scope!r}")
        self.p, self.scope = p, scope

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; needs no data."""
        tensors, axes = tensors_of(grouping.trace.model), output_axes(grouping.trace)
        scores = {}
        for group in grouping.groups:
            total = torch.zeros(group.size, dtype=torch.float64)
            for member in weight_members(group, tensors):
                if self.scope == "group" or member.axis == axes.get(member.tensor, 0):
                    powers = tensors[member.tensor].detach().double().abs() ** self.p
                    total += per_unit(member, powers).cpu()
            scores[group.name] = total ** (1 / self.p)
        return scores


def weight_members(group: Group, tensors: dict[str, Tensor]) -> list[Member]:
    """The members that are axes of weights (parameters with at least two axes)."""
    return [
        m for m in group.members if isinstance(tensors[m.tensor], torch.nn.Parameter) and tensors[m.tensor].ndim > 1
    ]


def per_unit(member: Member, values: Tensor) -> Tensor:
    """Sum of `values` (shaped like the member's tensor) over everything each unit owns: [size]."""
    along = values.movedim(member.axis, 0).flatten(1).sum(1) if values.ndim > 1 else values
    return along[torch.tensor(member.indices, device=values.device)].sum(1)
