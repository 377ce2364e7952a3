"""Every member of every family, signed and unsigned: the gates equal the definition, at 8 bits for all operands."""

import numpy as np
import pytest

from multipliers import operand_values
from multipliers.families import Family
from multipliers.families.registry import members
from multipliers.operands import operand_range

PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize(("width_a", "width_b"), [(8, 8), (8, 4), (8, 2), (4, 8)])
def test_gates_equal_the_definition(width_a: int, width_b: int, signed: bool, part: int) -> None:
    families = members(width_a, width_b, signed=signed)[part::PARTS]
    assert families
    a = operand_values(width_a, signed).astype(np.int64)[:, None]
    b = operand_values(width_b, signed).astype(np.int64)[None, :]
    wrong = [f for f in families if not _equal(f, a, b, (width_a, width_b))]
    assert wrong == []


def _equal(family: Family, a: np.ndarray, b: np.ndarray, widths: tuple[int, int]) -> bool:
    return np.array_equal(family.netlist(*widths).product_table(), family.product(a, b, *widths))


def test_the_sweep_is_not_empty_anywhere() -> None:
    for signed in (False, True):
        families = members(8, 8, signed=signed)
        assert len(families) > 300 and len(set(families)) == len(families)
        assert len({family.name() for family in families}) == len(families)


def test_gates_equal_the_definition_on_samples_of_wide_circuits() -> None:
    """At 12 x 12 and 16 x 16; one member in ten."""
    generator = np.random.default_rng(3)
    for width in (12, 16):
        for signed in (False, True):
            a, b = generator.integers(*operand_range(width, signed), size=(2, 256), endpoint=True)
            for family in members(width, width, signed=signed)[::10]:
                np.testing.assert_array_equal(family.netlist(width).multiply(a, b), family.product(a, b, width, width))
