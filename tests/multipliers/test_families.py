"""Every family passes the conformance suite and reproduces the published check figures."""

import numpy as np
import pytest

from multipliers import FAMILIES, Family, generate
from multipliers.families import parse_circuit
from multipliers.families.broken_array import BrokenArray
from multipliers.families.drum import Drum
from multipliers.families.exact import Exact, ExactSigned
from multipliers.families.mitchell import Mitchell
from multipliers.families.perforated import Perforated
from multipliers.families.sign_magnitude import SignMagnitude
from multipliers.families.truncated import TruncatedColumns, TruncatedOperands
from multipliers.families.truncated_signed import TruncatedColumnsSigned, TruncatedOperandsSigned
from multipliers.families.underdesigned import Underdesigned
from multipliers.testing import FamilyConformance


class TestExact(FamilyConformance):
    @pytest.fixture
    def family(self) -> Family:
        return Exact()


class TestExactSigned(FamilyConformance):
    @pytest.fixture
    def family(self) -> Family:
        return ExactSigned()


class TestTruncatedColumns(FamilyConformance):
    @pytest.fixture(params=[0, 1, 3, 6, 8, 11, 14])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return TruncatedColumns(request.param)


class TestTruncatedColumnsSigned(FamilyConformance):
    @pytest.fixture(params=[0, 1, 3, 7])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return TruncatedColumnsSigned(request.param)


class TestTruncatedOperands(FamilyConformance):
    @pytest.fixture(params=[0, 1, 2, 5, 7])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return TruncatedOperands(request.param)


class TestTruncatedOperandsSigned(FamilyConformance):
    @pytest.fixture(params=[0, 1, 3, 6])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return TruncatedOperandsSigned(request.param)


class TestBrokenArray(FamilyConformance):
    @pytest.fixture(params=[(0, 0), (2, 0), (0, 5), (2, 6), (5, 10), (7, 14)])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return BrokenArray(*request.param)


class TestPerforated(FamilyConformance):
    @pytest.fixture(params=[(0, 0), (0, 2), (1, 2), (2, 1)])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return Perforated(*request.param)


class TestUnderdesigned(FamilyConformance):
    @pytest.fixture
    def family(self) -> Family:
        return Underdesigned()


class TestDrum(FamilyConformance):
    @pytest.fixture(params=[3, 4, 5, 6, 7, 8])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return Drum(request.param)


class TestMitchell(FamilyConformance):
    @pytest.fixture
    def family(self) -> Family:
        return Mitchell()


class TestSignMagnitude(FamilyConformance):
    @pytest.fixture(
        params=[Exact(), TruncatedColumns(6), BrokenArray(2, 4), Drum(3), Drum(4), Mitchell()],
        ids=lambda core: core.suffix,
    )
    def family(self, request: pytest.FixtureRequest) -> Family:
        return SignMagnitude(request.param)


@pytest.mark.parametrize(
    ("family", "figures"),
    [
        (TruncatedColumns(6), {"mae": 80.25, "wce": 321, "ep": 0.9375}),
        (TruncatedOperands(2), {"mae": 380.25, "wce": 1521}),
        (BrokenArray(2, 6), {"mae": 240.25, "wce": 961}),
        (Perforated(0, 2), {"mae": 191.25, "wce": 765}),
        (Perforated(1, 2), {"mae": 382.5, "wce": 1530}),
        (Underdesigned(), {"wce": 14450, "wcre": 2 / 9}),
        (Mitchell(), {"wce": 4096, "wcre": 1 / 9}),
    ],
    ids=lambda value: value.suffix if isinstance(value, Family) else "",
)
def test_exact_check_figures(family: Family, figures: dict[str, float]) -> None:
    statistics = generate(family).statistics()
    for field, value in figures.items():
        assert getattr(statistics, field) == pytest.approx(value, rel=1e-12), field


def test_printed_check_figures_of_mitchell() -> None:
    statistics = generate(Mitchell()).statistics()
    assert round(100 * statistics.ep, 2) == 93.09
    assert round(100 * statistics.mre, 2) == 3.79


@pytest.mark.parametrize(("width", "ep", "mre"), [(2, 6.25, 2.47), (4, 19.14, 2.97), (8, 46.73, 3.28)])
def test_printed_check_figures_of_the_underdesigned_multiplier(width: int, ep: float, mre: float) -> None:
    statistics = generate(Underdesigned(), width).statistics()
    assert round(100 * statistics.ep, 2) == ep
    assert round(100 * statistics.mre, 2) == mre


@pytest.mark.parametrize("columns", range(1, 9))
def test_truncation_follows_its_formula(columns: int) -> None:
    statistics = generate(TruncatedColumns(columns)).statistics()
    wce = (columns - 1) * 2**columns + 1
    assert statistics.wce == wce
    assert statistics.mae == wce / 4
    assert statistics.bias == -statistics.mae
    signed = generate(TruncatedColumnsSigned(min(columns, 7))).statistics()
    assert signed.wce == (min(columns, 7) - 1) * 2 ** min(columns, 7) + 1


@pytest.mark.parametrize(("bits", "mre_percent"), [(3, 11.90), (4, 5.89), (5, 2.94), (6, 1.47)])
def test_drum_reaches_its_published_error_at_16_bits(bits: int, mre_percent: float) -> None:
    generator = np.random.default_rng(1)
    a, b = generator.integers(1, 1 << 16, size=(2, 400_000))
    exact = a * b
    relative = np.abs(Drum(bits).product(a, b, 16, 16) - exact) / exact
    assert 100 * relative.mean() == pytest.approx(mre_percent, abs=0.03)
    assert relative.max() <= (1 + 2.0 ** (1 - bits)) ** 2 - 1


def test_mitchell_reaches_its_published_error_at_16_bits() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.integers(1, 1 << 16, size=(2, 400_000))
    relative = (a * b - Mitchell().product(a, b, 16, 16)) / (a * b)
    assert 100 * relative.mean() == pytest.approx(3.85, abs=0.02)
    assert relative.min() >= 0 and relative.max() <= 1 / 9


def test_definitions_on_worked_examples() -> None:
    def product(family: Family, a: int, b: int) -> int:
        return int(family.product(np.array(a), np.array(b), 8, 8))

    # a = 0b10110101: DRUM-3 keeps 101|1xxxx -> 0b101 << 5; b = 6 is below 2^3 and stays.
    assert product(Drum(3), 0b10110101, 6) == (0b101 << 5) * 6
    assert product(Drum(3), 0b11000000, 1) == 0b111 << 5
    # 3 x 3: 2^(1+1) (1 + .5 + .5) has x + y = 1, so 2^3 * 1 = 8; 5 x 6 = 4 * 4 * (1 + .25 + .5) = 28.
    assert product(Mitchell(), 3, 3) == 8
    assert product(Mitchell(), 5, 6) == 28
    assert product(Mitchell(), 0, 255) == product(Mitchell(), 255, 0) == 0
    # 3 x 3 without column 0: 9 - 1.
    assert product(TruncatedColumns(1), 3, 3) == 8
    assert product(BrokenArray(1, 0), 255, 3) == 255 * 2
    assert product(SignMagnitude(Drum(3)), -128, -128) == (0b101 << 5) ** 2
    assert product(TruncatedOperandsSigned(2), -1, 7) == -4 * 4


def test_full_segment_drum_costs_what_the_exact_multiplier_costs() -> None:
    assert generate(Drum(8)).energy_relative == pytest.approx(1.0)
    assert Drum(8).netlist().gate_counts() == Exact().netlist().gate_counts()


def test_truncation_saves_energy_monotonically() -> None:
    energies = [generate(TruncatedColumns(columns)).energy_relative for columns in range(12)]
    assert energies[0] == 1.0
    assert energies == sorted(energies, reverse=True)


def test_registry_holds_every_family_under_its_name() -> None:
    assert set(FAMILIES) >= {"exact", "exact_signed", "truncated", "broken_array", "drum", "mitchell"}
    assert all(family.family == name for name, family in FAMILIES.items())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mul8u_drum2", "3..8 bits"),
        ("mul8u_drum9", "3..8 bits"),
        ("mul8u_nothing", "no unsigned family"),
        ("mul8s_drum4", "no signed family"),
        ("mul8s_sm_sm_exact", "no unsigned family"),
        ("mul8u_trunc15", r"0..14 columns"),
        ("mul8s_trunc8", r"0..7 columns"),
        ("mul0u_exact", "widths >= 1"),
        ("mul8u_bam_h8v0", "horizontal 0..7"),
        ("mul8u_perf_j7n2", "rows within 0..7"),
        ("mul8u_perf_j0n8", "at least one left"),
        ("mul8u_optrunc-1", "no unsigned family"),
        ("drum4", "not the name"),
        ("mul8s_1KV8", "no signed family"),
    ],
)
def test_unknown_circuits_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_circuit(name)


def test_sign_magnitude_needs_an_unsigned_core() -> None:
    with pytest.raises(ValueError, match="unsigned core"):
        SignMagnitude(ExactSigned())


def test_asymmetric_names() -> None:
    multiplier = generate("mul8x4u_trunc3")
    assert (multiplier.width_a, multiplier.width_b) == (8, 4)
    assert multiplier.table.shape == (256, 16)
    assert multiplier.statistics().wce == 17
