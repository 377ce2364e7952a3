"""Criteria by name."""

from __future__ import annotations

from typing import Any

from pruning.criteria.base import Criterion
from pruning.criteria.causal import Causal
from pruning.criteria.effective_filters import EffectiveFilters
from pruning.criteria.geometric_median import GeometricMedian
from pruning.criteria.i_spasp import ISpasp
from pruning.criteria.lamp import Lamp
from pruning.criteria.magnitude import Magnitude
from pruning.criteria.nisp import Nisp
from pruning.criteria.pfp import Pfp
from pruning.criteria.random import Random
from pruning.criteria.singe import Singe
from pruning.criteria.slimming import Slimming
from pruning.criteria.sosp_h import SospH
from pruning.criteria.sosp_i import SospI
from pruning.criteria.taylor import TaylorGate
from pruning.criteria.taylor_activation import TaylorActivation
from pruning.criteria.taylor_norm import TaylorNorm
from pruning.criteria.taylor_second_order import TaylorSecondOrder
from pruning.criteria.taylor_weight import TaylorWeight

_CRITERIA: dict[str, type[Criterion]] = {}


def register(kind: type[Criterion]) -> type[Criterion]:
    """Make a criterion available by its name; usable as a class decorator.

    Raises:
        ValueError: the name is taken by another criterion.
    """
    if _CRITERIA.get(kind.name, kind) is not kind:
        raise ValueError(f"criterion {kind.name!r} is already {_CRITERIA[kind.name].__qualname__}; choose another name")
    _CRITERIA[kind.name] = kind
    return kind


def criteria() -> list[str]:
    """The names of all criteria."""
    return sorted(_CRITERIA)


def criterion(name: str, **options: Any) -> Criterion:
    """A criterion by name, with its own options.

    Raises:
        ValueError: no criterion has that name.
    """
    if name not in _CRITERIA:
        raise ValueError(f"criterion: expected one of {', '.join(criteria())}, got {name!r}")
    return _CRITERIA[name](**options)


for _kind in (
    Causal,
    EffectiveFilters,
    GeometricMedian,
    ISpasp,
    Lamp,
    Magnitude,
    Nisp,
    Pfp,
    Random,
    Singe,
    Slimming,
    SospH,
    SospI,
    TaylorGate,
    TaylorActivation,
    TaylorNorm,
    TaylorSecondOrder,
    TaylorWeight,
):
    register(_kind)
