"""Where each buffer lies in one static arena: buffers alive at the same time never overlap.

Greedy by size: the largest buffer first, each at the lowest offset free during its whole life (Pisarchyk and
Lee 2020, arXiv:2001.03288, "greedy by size" for offset calculation).
"""

from collections.abc import Iterable
from dataclasses import dataclass

ALIGNMENT = 8


@dataclass(frozen=True)
class Buffer:
    """Bytes needed from step `first` to step `last`, both included."""

    name: str
    size: int
    first: int
    last: int


def plan_arena(buffers: Iterable[Buffer]) -> tuple[dict[str, int], int]:
    """Offsets by name, and the bytes of the whole arena.

    Args:
        buffers: with distinct names; sizes are rounded up to `ALIGNMENT`.
    """
    placed: list[tuple[Buffer, int, int]] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first, b.name)):
        size = -(-buffer.size // ALIGNMENT) * ALIGNMENT
        taken = sorted(
            (start, stop) for other, start, stop in placed if other.first <= buffer.last and buffer.first <= other.last
        )
        offset = 0
        for start, stop in taken:
            if offset + size <= start:
                break
            offset = max(offset, stop)
        placed.append((buffer, offset, offset + size))
    offsets = {buffer.name: start for buffer, start, _ in placed}
    return offsets, max((stop for _, _, stop in placed), default=0)
