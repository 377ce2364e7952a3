"""Schedules by name."""

from __future__ import annotations

from typing import Any

from pruning.schedules.base import Schedule
from pruning.schedules.entwined import Entwined
from pruning.schedules.iterative import Iterative
from pruning.schedules.one_shot import OneShot
from pruning.schedules.soft_to_hard import SoftToHard

_SCHEDULES: dict[str, type[Schedule]] = {kind.name: kind for kind in (Entwined, Iterative, OneShot, SoftToHard)}


def schedules() -> list[str]:
    """The names of all schedules."""
    return sorted(_SCHEDULES)


def schedule(name: str, **options: Any) -> Schedule:
    """A schedule by name, with its own options.

    Raises:
        ValueError: no schedule has that name.
    """
    if name not in _SCHEDULES:
        raise ValueError(f"schedule: expected one of {', '.join(schedules())}, got {name!r}")
    return _SCHEDULES[name](**options)
