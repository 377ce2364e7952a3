"""`Grid`: what the codes of an activation stand for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """real = scale * (code - zero), codes of so many bits."""

    scale: float
    zero: int
    bits: int
