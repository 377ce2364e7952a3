"""Families by name, and circuits by name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import itertools
import pkgutil
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from multipliers import families
from multipliers.families._base import Family
from multipliers.families.sign_magnitude import SignMagnitude


def _discover() -> Iterator[type[Family]]:
    """The families defined in the modules of this package: a new one needs no entry anywhere."""
    for module in pkgutil.iter_modules(families.__path__):
        if module.name.startswith("_") or module.name == "registry":
            continue
        loaded = importlib.import_module(f"{families.__name__}.{module.name}")
        for member in vars(loaded).values():
            if inspect.isclass(member) and issubclass(member, Family) and member.__module__ == loaded.__name__:
                yield member


FAMILIES: Mapping[str, type[Family]] = MappingProxyType({family.family: family for family in _discover()})
"""Every family by registry name."""


def members(width_a: int, width_b: int, *, signed: bool) -> list[Family]:
    """Every circuit of every family at these widths: all parameters the definitions allow.

    Signed ones are the two's complement families and every unsigned member in sign-magnitude form.
    """
    found: list[Family] = []
    for kind in FAMILIES.values():
        if kind.signed != signed:
            continue
        if kind is SignMagnitude:
            cores = members(width_a, width_b, signed=False)
            candidates: list[Family] = [SignMagnitude(core) for core in cores]
        else:
            values = range(width_a + width_b + 1)
            candidates = [kind(*given) for given in itertools.product(values, repeat=len(dataclasses.fields(kind)))]
        found.extend(family for family in candidates if family.allows(width_a, width_b))
    return found


def exact_families(width_a: int, width_b: int, signed: bool) -> list[Family]:
    """The exact multipliers that allow these widths.

    Raises:
        ValueError: there is none.
    """
    found = [family() for family in FAMILIES.values() if family.exact and family.signed == signed]
    allowed = [family for family in found if family.allows(width_a, width_b)]
    if not allowed:
        kind = "signed" if signed else "unsigned"
        raise ValueError(f"no exact {kind} multiplier of {width_a} x {width_b} bits to relate energy to")
    return allowed


MAX_WIDTH = 16
"""Bits of an operand up to which families are tested."""

_NAME = re.compile(r"mul(?P<a>\d+)(?:x(?P<b>\d+))?(?P<sign>[us])_(?P<suffix>.+)")


def parse_circuit(name: str) -> tuple[Family, int, int]:
    """The family and widths a generated circuit's name stands for.

    Args:
        name: e.g. ``"mul8u_drum4"``, ``"mul8x4u_trunc3"``, ``"mul8s_sm_mitchell"``.

    Returns:
        (family with its parameters, width_a, width_b).

    Raises:
        ValueError: if no family has such circuits, or not for these widths.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"'{name}' is not the name of a generated circuit; expected e.g. mul8u_drum4 or mul8x4u_trunc3"
        )
    width_a = int(match["a"])
    width_b = int(match["b"] or match["a"])
    if max(width_a, width_b) > MAX_WIDTH:
        raise ValueError(f"'{name}': operands have at most {MAX_WIDTH} bits, got {width_a} x {width_b}")
    family = _parse_suffix(name, match["suffix"], signed=match["sign"] == "s")
    family.check(width_a, width_b)
    if family.name(width_a, width_b) != name:
        raise ValueError(f"'{name}' is written {family.name(width_a, width_b)}")
    return family, width_a, width_b


def _parse_suffix(name: str, suffix: str, *, signed: bool) -> Family:
    for family in FAMILIES.values():
        match = re.fullmatch(family.pattern, suffix)
        if match is None or family.signed != signed:
            continue
        if family is SignMagnitude:
            return SignMagnitude(_parse_suffix(name, match["core"], signed=False))
        return family(**{parameter: int(value) for parameter, value in match.groupdict().items()})
    if signed and any(not f.signed and re.fullmatch(f.pattern, suffix) for f in FAMILIES.values()):
        raise ValueError(f"'{name}': '{suffix}' is unsigned; its sign-magnitude form is called sm_{suffix}")
    kind = "signed" if signed else "unsigned"
    patterns = ", ".join(
        re.sub(r"\(\?P<(\w+)>.*?\)", r"{\1}", f.pattern) for f in FAMILIES.values() if f.signed == signed
    )
    raise ValueError(f"'{name}': no {kind} family is called '{suffix}'; known: {patterns}")
