"""Selectors by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pruning.selectors.base import Selector
from pruning.selectors.everywhere import GlobalSelector
from pruning.selectors.isomorphic import IsomorphicSelector
from pruning.selectors.local import LocalSelector

_SELECTORS: dict[str, Callable[..., Selector]] = {
    **{kind.name: kind for kind in (GlobalSelector, IsomorphicSelector, LocalSelector)},
    "priced": partial(GlobalSelector, price="fit"),
}


def selectors() -> list[str]:
    """The names of all selectors."""
    return sorted(_SELECTORS)


def selector(name: str, **options: Any) -> Selector:
    """A selector by name, with its own options.

    Raises:
        ValueError: no selector has that name.
    """
    if name not in _SELECTORS:
        raise ValueError(f"selector: expected one of {', '.join(selectors())}, got {name!r}")
    return _SELECTORS[name](**options)
