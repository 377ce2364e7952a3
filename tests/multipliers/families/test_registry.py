"""Families by name, circuits by name."""

import pkgutil
from pathlib import Path

import pytest

from multipliers import FAMILIES, families, generate
from multipliers.families.registry import parse_circuit


def test_holds_every_family_under_its_name() -> None:
    assert set(FAMILIES) >= {"exact", "exact_signed", "truncated", "broken_array", "drum", "mitchell"}
    assert all(family.family == name for name, family in FAMILIES.items())


def test_every_family_has_its_test_file() -> None:
    modules = {module.name for module in pkgutil.iter_modules(families.__path__) if not module.name.startswith("_")}
    missing = [name for name in modules if not Path(__file__).with_name(f"test_{name}.py").exists()]
    assert len(modules) > 20 and missing == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8u_nothing", "no unsigned family"),
        ("mul8s_drum4", "its sign-magnitude form is called sm_"),
        ("mul0u_exact", "widths >= 1"),
        ("mul8u_optrunc-1", "no unsigned family"),
        ("drum4", "not the name"),
        ("mul8s_1KV8", "no signed family"),
    ],
)
def test_unknown_circuits_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)


def test_asymmetric_names() -> None:
    multiplier = generate("mul8x4u_trunc3")
    assert (multiplier.width_a, multiplier.width_b) == (8, 4)
    assert multiplier.table.shape == (256, 16)
    assert multiplier.statistics().wce == 17
