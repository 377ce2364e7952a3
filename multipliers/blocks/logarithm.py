"""Blocks of logarithmic and rounding multipliers: leading ones, Mitchell's logarithm, products with powers of two.

An operand is a = 2^p (1 + x): p is the position of its leading one (the characteristic), 2^p x the rest (the
residue), 0 <= x < 1 the fraction (Mitchell, IRE Transactions on Electronic Computers EC-11(4), 1962).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from multipliers.arrays import Int64Array
from multipliers.blocks.arithmetic import encode, leading_one, ripple_add, select, shift_left
from multipliers.builder import Net, NetlistBuilder
from multipliers.netlist import ZERO

FractionAdder = Callable[[NetlistBuilder, list[Net], list[Net]], list[Net]]
"""Adds two fractions of equal length: (circuit, x, y) -> their sum, one bit longer."""


@dataclass(frozen=True)
class Logarithm:
    """The piecewise linear binary logarithm p + x of an operand 2^p (1 + x), as nets.

    Attributes:
        characteristic: bits of p, least significant first; 0 for the operand 0.
        fraction: bits of x, most significant last; one less than the operand has; 0 for the operand 0.
        nonzero: 1 unless the operand is 0.
    """

    characteristic: list[Net]
    fraction: list[Net]
    nonzero: Net


def logarithm(circuit: NetlistBuilder, x: Sequence[Net]) -> Logarithm:
    """Leading-one detector, encoder, and an AND-OR selection that aligns the bits behind the leading one."""
    one_hot, nonzero = leading_one(circuit, x)
    top = len(x) - 1
    fraction = [
        select(circuit, one_hot[top - i :], [x[p - top + i] for p in range(top - i, top + 1)]) for i in range(top)
    ]
    return Logarithm(encode(circuit, one_hot), fraction, nonzero)


def leading_bits(bits: Sequence[Net], count: int) -> list[Net]:
    """A fraction truncated, or extended with zeros, to ``count`` bits."""
    return [ZERO] * (count - len(bits)) + list(bits[max(0, len(bits) - count) :])


def antilogarithm(
    circuit: NetlistBuilder, exponent: Sequence[Net], significand: Sequence[Net], point: int, width: int
) -> list[Net]:
    """The low ``width`` bits of floor(significand 2^(exponent - point)): a barrel shifter."""
    return shift_left(circuit, significand, exponent, point + width)[point:]


def multiply_logarithms(
    circuit: NetlistBuilder, a: Sequence[Net], b: Sequence[Net], add_fractions: FractionAdder
) -> list[Net]:
    """Antilogarithm of the sum of the logarithms of a and b, 0 if one is 0; len(a) + len(b) bits.

    Fractions are aligned at their most significant bits; their carry raises the characteristic.
    """
    log_a, log_b = logarithm(circuit, a), logarithm(circuit, b)
    bits = max(len(log_a.fraction), len(log_b.fraction))
    *mantissa, carry = add_fractions(circuit, leading_bits(log_a.fraction, bits), leading_bits(log_b.fraction, bits))
    width = len(a) + len(b)
    exponent = ripple_add(circuit, log_a.characteristic, log_b.characteristic, (width - 1).bit_length(), carry)
    nonzero = circuit.and2(log_a.nonzero, log_b.nonzero)
    significand = [*(circuit.and2(bit, nonzero) for bit in mantissa), nonzero]
    return antilogarithm(circuit, exponent, significand, bits, width)


def residue(circuit: NetlistBuilder, x: Sequence[Net]) -> list[Net]:
    """x without its leading one, same length: every bit that has a one above it."""
    above = ZERO
    rest = []
    for bit in reversed(x):
        rest.append(circuit.and2(bit, above))
        above = circuit.or2(above, bit)
    return rest[::-1]


def scale(circuit: NetlistBuilder, x: Sequence[Net], power: Sequence[Net], width: int) -> list[Net]:
    """The low ``width`` bits of x times a power of two given as a one-hot vector; 0 times x if it holds no one.

    An AND-OR array: it needs no encoder, no gating of 0, and its gates rest where the power has no one, so that
    it takes less energy than an encoder and a barrel shifter (which two scalings in a row would not).
    """
    return [
        circuit.any_of(circuit.and2(power[i], x[k - i]) for i in range(len(power)) if 0 <= k - i < len(x))
        for k in range(width)
    ]


def floor_log2(x: Int64Array) -> Int64Array:
    """Position of the leading one of each integer 0..2^53 (0 for 0), int64, same shape."""
    return np.maximum(np.frexp(x.astype(np.float64))[1].astype(np.int64) - 1, 0)
