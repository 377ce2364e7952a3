"""Mitchell's logarithmic multiplier (Mitchell, IRE Transactions on Electronic Computers EC-11(4), 1962)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from multipliers.arithmetic import encode, leading_one, ripple_add, select, shift_left
from multipliers.builder import Net, NetlistBuilder
from multipliers.families._base import Family, Int64Array, require
from multipliers.netlist import ZERO


@dataclass(frozen=True)
class Mitchell(Family):
    """Adds piecewise linear logarithms: a = 2^p (1 + x), b = 2^q (1 + y).

    The product is 2^(p+q) (1 + x + y) if x + y < 1, else 2^(p+q+1) (x + y), and 0 if an operand is 0. It
    never exceeds the exact product and falls short of it by at most 11.1 %.
    """

    family: ClassVar[str] = "mitchell"
    pattern: ClassVar[str] = "mitchell"

    @property
    def suffix(self) -> str:
        return "mitchell"

    def check(self, width_a: int, width_b: int) -> None:
        require(width_a >= 2 and width_b >= 2, self.suffix, "widths >= 2", f"{width_a} x {width_b}")

    def build(self, circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net]) -> list[Net]:
        characteristic_a, fraction_a, some_a = self._logarithm(circuit, a)
        characteristic_b, fraction_b, some_b = self._logarithm(circuit, b)
        bits = max(len(fraction_a), len(fraction_b))
        aligned_a, aligned_b = ([ZERO] * (bits - len(f)) + f for f in (fraction_a, fraction_b))
        *mantissa, carry = ripple_add(circuit, aligned_a, aligned_b, bits + 1)
        width = len(a) + len(b)
        exponent = ripple_add(circuit, characteristic_a, characteristic_b, (width - 1).bit_length(), carry)
        nonzero = circuit.and2(some_a, some_b)
        gated = [*(circuit.and2(bit, nonzero) for bit in mantissa), nonzero]
        return shift_left(circuit, gated, exponent, bits + width)[bits:]

    def product(self, a: Int64Array, b: Int64Array, width_a: int, width_b: int) -> Int64Array:
        power_a, power_b = (np.left_shift(1, _floor_log2(x)) for x in (a, b))
        linear = (a - power_a) * power_b + (b - power_b) * power_a
        scale = power_a * power_b
        product = np.where(linear < scale, scale + linear, 2 * linear)
        return np.where((a == 0) | (b == 0), 0, product)

    def _logarithm(self, circuit: NetlistBuilder, x: Sequence[Net]) -> tuple[list[Net], list[Net], Net]:
        """(characteristic, fraction bits, operand non-zero) of an operand."""
        one_hot, some = leading_one(circuit, x)
        top = len(x) - 1
        fraction = [
            select(circuit, one_hot[top - i :], [x[p - top + i] for p in range(top - i, top + 1)]) for i in range(top)
        ]
        return encode(circuit, one_hot), fraction, some


def _floor_log2(x: Int64Array) -> Int64Array:
    """Position of the leading one; 0 for 0."""
    return np.maximum(np.frexp(x.astype(np.float64))[1].astype(np.int64) - 1, 0)
