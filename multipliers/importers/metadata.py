"""Published figures in the ``meta.json`` of an EvoApproxLib checkout, which repeats those of the file headers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multipliers.importers.headers import Header
from multipliers.importers.published import Printed, is_figure
from multipliers.provenance import PublishedFigures

INDEX = "meta.json"
_ERRORS = {"wcre%": ("wcre", 100.0), "ep%": ("ep", 100.0), "mre%": ("mre", 100.0)}
"""``mae%`` and ``wce%`` repeat what the headers print, relative to 2^(product bits)."""


def read_metadata(folder: Path, source: str) -> dict[str, Header]:
    """Figures by circuit name; empty where there is no ``meta.json``.

    Raises:
        ValueError: the file is no JSON.
    """
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # JSON, encoding, numbers of absurd length
        raise ValueError(f"{path}: expected the JSON index of an EvoApproxLib release, got {error}") from error
    return {name: _header(parameters, source) for name, parameters in _instances(content)}


def _instances(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every (name, params) anywhere in the index."""
    if isinstance(node, list):
        for item in node:
            yield from _instances(item)
    elif isinstance(node, dict):
        if isinstance(node.get("name"), str) and isinstance(node.get("params"), dict):
            yield node["name"], node["params"]
        for value in node.values():
            yield from _instances(value)


def _header(parameters: dict[str, Any], source: str) -> Header:
    numbers = {label: value for label, value in parameters.items() if is_figure(value)}
    errors = tuple(Printed(label, *_ERRORS[label], text) for label, text in numbers.items() if label in _ERRORS)
    values = {label: float(text) for label, text in numbers.items()}
    figures = PublishedFigures(f"{source}, PDK45", values.get("pwr"), values.get("area"), values.get("delay"))
    return Header(errors, figures if {"pwr", "area", "delay"} & set(values) else None)
