"""Bit-parallel simulation of gates: 64 operand pairs in one machine word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from multipliers.arrays import Int64Array, Words
from multipliers.gates import GATE_KINDS

CHUNK_WORDS = 1024
"""Words simulated at a time where there are many: the state of a 500-gate circuit is then 4 MiB."""

_LOW_PATTERNS = (
    0xAAAAAAAAAAAAAAAA,
    0xCCCCCCCCCCCCCCCC,
    0xF0F0F0F0F0F0F0F0,
    0xFF00FF00FF00FF00,
    0xFFFF0000FFFF0000,
    0xFFFFFFFF00000000,
)


def all_operand_pairs(width_a: int, width_b: int, first: int = 0, words: int | None = None) -> Words:
    """The bits of all operand pairs in order, uint64 [width_a + width_b, words]: those of a, then those of b.

    Pair index a * 2**width_b + b is bit (index % 64) of word (index // 64). Fewer than 6 operand bits fill
    one word by repetition.

    Args:
        width_a: bits of operand a.
        width_b: bits of operand b.
        first: first word.
        words: number of words; all of them when None.
    """
    total = max(1, (1 << (width_a + width_b)) >> 6)
    index = np.arange(first, total if words is None else min(total, first + words), dtype=np.uint64)
    bits = np.empty((width_a + width_b, index.size), dtype=np.uint64)
    for position in range(width_a + width_b):  # position in the pair index
        if position < 6:
            row: Words | int = _LOW_PATTERNS[position]
        else:
            row = -((index >> np.uint64(position - 6)) & np.uint64(1))
        bits[width_a + position if position < width_b else position - width_b] = row
    return bits


def simulate(pins: Sequence[tuple[str, Sequence[int], int]], operands: Words) -> Words:
    """Settled value of every net.

    Args:
        pins: gates in topological order as (kind, rows of the input nets, row of the first output net).
        operands: bits of the operands, uint64 [operand bits, words].

    Returns:
        uint64 [nets, words]: rows 0 and 1 the constants, then the operands, then the gate outputs in order.
    """
    outputs = sum(len(GATE_KINDS[kind].outputs) for kind, _, _ in pins)
    values = np.empty((2 + len(operands) + outputs, operands.shape[1]), dtype=np.uint64)
    values[0], values[1] = 0, ~np.uint64(0)
    values[2 : 2 + len(operands)] = operands
    rows = list(values)
    for kind, inputs, output in pins:
        for result in GATE_KINDS[kind].function(*[rows[row] for row in inputs]):
            rows[output][:] = result
            output += 1
    return values


def pack(patterns: npt.NDArray[np.integer], width: int) -> Words:
    """The bits of operands, 64 to a word, uint64 [width, max(1, ceil(n / 64))]; the last word is filled with zeros.

    Args:
        patterns: integers, [n]; their low ``width`` bits are taken.
        width: bits.
    """
    packed = np.zeros((width, 8 * max(1, -(-patterns.size // 64))), dtype=np.uint8)
    for position in range(width):
        bits = np.packbits((patterns & patterns.dtype.type(1 << position)) != 0, bitorder="little")
        packed[position, : bits.size] = bits
    return packed.view("<u8").astype(np.uint64, copy=False)


def unpack(words: Words, count: int) -> npt.NDArray[np.uint8]:
    """The first ``count`` bits of packed words, uint8 [count] of 0 and 1."""
    return np.unpackbits(words.astype("<u8", copy=False).view(np.uint8), count=count, bitorder="little")


def integers(bits: Sequence[Words], count: int, signed: bool) -> Int64Array:
    """Unpack ``count`` integers from the words of their bits, least significant first (at most 63 bits)."""
    columns = np.zeros((count, 8), dtype=np.uint8)
    for position, words in enumerate(bits):
        columns[:, position // 8] |= unpack(words, count) << np.uint8(position % 8)
    values = columns.view("<i8").astype(np.int64, copy=False).ravel()
    if signed and bits:
        values -= (values >> (len(bits) - 1)) << len(bits)
    return values


def ones(values: Words) -> Int64Array:
    """Number of ones in every row of packed words, int64 [rows]."""
    if hasattr(np, "bitwise_count"):  # numpy >= 2
        counts: Int64Array = np.bitwise_count(values).sum(axis=1, dtype=np.int64)
    else:
        counts = _BYTE_ONES[values.view(np.uint8)].sum(axis=1, dtype=np.int64)
    return counts


_BYTE_ONES = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)
