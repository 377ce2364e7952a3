"""Families of partial products and of adder trees at every width 2..16, square and not."""

import numpy as np
import pytest

from multipliers import Family
from multipliers.families.approximate_adder_tree import ApproximateAdderTree
from multipliers.families.array import Array, ArraySigned
from multipliers.families.booth import Booth, BoothSigned
from multipliers.families.booth_truncated import BoothTruncated
from multipliers.families.broken_array import BrokenArray
from multipliers.families.lower_or import LowerOr
from multipliers.families.momeni import Momeni
from multipliers.families.perforated import Perforated, PerforatedSigned
from multipliers.families.sdlc import Sdlc
from multipliers.families.truncated import TruncatedColumns, TruncatedOperands
from multipliers.families.truncated_signed import TruncatedColumnsSigned
from multipliers.families.underdesigned import Underdesigned
from multipliers.families.venkatachalam_ko import VenkatachalamKo
from multipliers.families.wallace import Wallace, WallaceSigned

SQUARE = tuple((width, width) for width in range(2, 17))
OBLONG = ((8, 4), (8, 2), (4, 8), (2, 8), (16, 2), (2, 16), (9, 7), (15, 16))

FAMILIES = (
    Wallace(),
    WallaceSigned(),
    Array(),
    ArraySigned(),
    Booth(),
    BoothSigned(),
    BoothTruncated(2),
    Sdlc(),
    ApproximateAdderTree(4),
    LowerOr(3),
    Momeni(1, 4),
    Momeni(2, 4),
    VenkatachalamKo(4),
    Underdesigned(),
    TruncatedColumns(2),
    TruncatedColumnsSigned(1),
    TruncatedOperands(1),
    BrokenArray(1, 2),
    Perforated(0, 1),
    PerforatedSigned(0, 1),
)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name())
def test_netlist_equals_definition_at_every_width(family: Family) -> None:
    generator = np.random.default_rng(0)
    for width_a, width_b in SQUARE + OBLONG:
        a, b = (operands(generator, width, family.signed) for width in (width_a, width_b))
        product = family.netlist(width_a, width_b).multiply(a, b)
        np.testing.assert_array_equal(product, family.product(a, b, width_a, width_b), err_msg=f"{width_a}x{width_b}")


def operands(generator: np.random.Generator, width: int, signed: bool) -> np.ndarray:
    low = -(1 << (width - 1)) if signed else 0
    drawn = generator.integers(low, low + (1 << width), size=500)
    return generator.permutation(np.concatenate([drawn, [low, low + (1 << width) - 1, 0]]))
