"""`PruneResult`: a pruned network and what was done to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from pruning.groups import Frozen
from pruning.plan import Plan


@dataclass(frozen=True, eq=False)
class PruneResult:
    """A pruned network and what was done to it, however many steps it took.

    Attributes:
        model: the smaller network (the user's own module if pruned in place).
        plan: rebuilds it from a fresh network and a state dict.
        macs_before, macs_after: multiply-accumulates per example, counted on the networks themselves.
        params_before, params_after: number of parameters.
        frozen: channels that could not be removed, and why.
        kept: group name -> (units kept, units before).
        max_difference: masked against cut, relative, fp64, evaluation mode; the largest of all cuts.
    """

    model: nn.Module
    plan: Plan
    macs_before: float
    macs_after: float
    params_before: int
    params_after: int
    frozen: tuple[Frozen, ...]
    kept: Mapping[str, tuple[int, int]]
    max_difference: float
