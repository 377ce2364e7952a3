"""Is a netlist the multiplier it is taken for? Wrong guesses are refused with the remedy, not imported."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from multipliers.netlist import Netlist
from multipliers.operands import MAX_TABLE_BITS, operand_values
from multipliers.readers.errors import NetlistError

MAX_PRODUCT_BITS = 63
_NAME = re.compile(r"mul(?P<a>\d+)(?:x(?P<b>\d+))?(?P<sign>[su])(?:_|$)")


def named_sign(name: str) -> bool | None:
    """Whether a name such as mul8s_1KV8 says that the circuit is signed; None where it says nothing."""
    match = _NAME.match(name)
    return None if match is None else match["sign"] == "s"


def check_multiplier(path: Path, netlist: Netlist) -> None:
    """Refuse a circuit whose product has not the bits of a product."""
    expected = netlist.width_a + netlist.width_b
    if len(netlist.outputs) != expected:
        raise NetlistError(
            f"expected a multiplier with {expected} product bits for {netlist.width_a} x {netlist.width_b}, "
            f"got {len(netlist.outputs)}; is it an adder?",
            file=str(path),
        )
    if expected > MAX_PRODUCT_BITS:
        raise NetlistError(f"at most {MAX_PRODUCT_BITS} product bits can be evaluated, got {expected}", file=str(path))


def check_name(path: Path, name: str, netlist: Netlist) -> None:
    """Refuse a circuit of other widths than its name says."""
    match = _NAME.match(name)
    if match is None:
        return
    named = int(match["a"]), int(match["b"] or match["a"])
    if named not in ((netlist.width_a, netlist.width_b), (netlist.width_b, netlist.width_a)):
        raise NetlistError(
            f"its name says {named[0]} x {named[1]} bits, its operands have {netlist.width_a} x {netlist.width_b}",
            file=str(path),
        )


def check_sign(path: Path, netlist: Netlist) -> None:
    """Refuse a guess of the sign that the other guess beats by far: names and missing keywords mislead."""
    if netlist.width_a + netlist.width_b > MAX_TABLE_BITS:
        return
    mean, other_mean = (
        _mean_error(dataclasses.replace(netlist, signed=s)) for s in (netlist.signed, not netlist.signed)
    )
    if other_mean < mean / 8:
        kind, other = ("signed", "unsigned") if netlist.signed else ("unsigned", "signed")
        raise NetlistError(
            f"read as {kind} its mean error is {mean:.4g}, as {other} only {other_mean:.4g}; say which it is "
            "(--signed or --unsigned)",
            file=str(path),
        )


def _mean_error(netlist: Netlist) -> float:
    a, b = (operand_values(width, netlist.signed) for width in (netlist.width_a, netlist.width_b))
    return float(np.abs(netlist.product_table() - np.multiply.outer(a, b)).mean())
