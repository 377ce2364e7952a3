"""The library that is always there: nothing to download, nothing to generate."""

from __future__ import annotations

import functools
from pathlib import Path

from multipliers.library import Library

SHIPPED = Path(__file__).with_name("shipped.npz")
"""Written by ``python -m multipliers.shipped_library``."""


@functools.cache
def default_library() -> Library:
    """8x8-bit circuits of all families that no other beats, with the exact references; read once per process.

    ``shipped_library`` says which circuits are in it and why. ``generate`` makes any other.
    """
    return Library.load(SHIPPED)
