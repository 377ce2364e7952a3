"""Figures of standard cells against physics and against an independent reading of the same technologies."""

import math

import pytest

from multipliers.cell_libraries import CELL_LIBRARIES, IHP_SG13G2, SKY130
from multipliers.cells import Cell, CellLibrary
from multipliers.gates import GATE_KINDS

ADDERS = {"HA", "FA"}

each_library = pytest.mark.parametrize("library", CELL_LIBRARIES.values(), ids=CELL_LIBRARIES)


def loaded_delay(library: CellLibrary, kind: str, fan_out: int = 4) -> float:
    """Delay of a cell driving ``fan_out`` inverters, ps."""
    cell = library.cell(kind)
    return cell.delay_ps + cell.slope_ps_per_ff * fan_out * library.cell("INV").pin_ff


@each_library
def test_every_kind_but_the_adders_is_covered(library: CellLibrary) -> None:
    assert set(GATE_KINDS) - ADDERS <= set(library.cells) <= set(GATE_KINDS)


@each_library
def test_every_figure_is_positive_and_finite(library: CellLibrary) -> None:
    for kind, cell in library.cells.items():
        for figure, value in vars(cell).items():
            assert 0 < value < math.inf, (kind, figure)


@each_library
def test_the_inverter_is_the_least_cell(library: CellLibrary) -> None:
    inverter = library.cell("INV")
    for kind in library.cells.keys() - {"INV"}:
        cell = library.cell(kind)
        assert inverter.area_um2 <= cell.area_um2, kind
        assert inverter.energy_fj < cell.energy_fj, kind
        assert loaded_delay(library, "INV") < loaded_delay(library, kind), kind


@each_library
@pytest.mark.parametrize(("inverting", "buffered"), [("NAND2", "AND2"), ("NOR2", "OR2"), ("INV", "BUF")])
def test_a_buffered_cell_is_an_inverting_one_and_an_inverter(
    library: CellLibrary, inverting: str, buffered: str
) -> None:
    small, large, inverter = library.cell(inverting), library.cell(buffered), library.cell("INV")
    assert small.area_um2 <= large.area_um2 < small.area_um2 + inverter.area_um2
    assert small.energy_fj < large.energy_fj
    assert loaded_delay(library, inverting, 1) < loaded_delay(library, buffered, 1)
    assert large.slope_ps_per_ff < 1.5 * inverter.slope_ps_per_ff  # the last stage is an inverter


@each_library
def test_stacked_transistors_drive_less(library: CellLibrary) -> None:
    slope = {kind: cell.slope_ps_per_ff for kind, cell in library.cells.items()}
    assert slope["INV"] < slope["NAND2"] < slope["NAND3"] < slope["NOR3"]
    assert slope["NAND2"] < slope["NOR2"] < slope["NOR3"]  # holes are slower than electrons


@each_library
@pytest.mark.parametrize("kind", ["XOR2", "XNOR2"])
def test_parity_costs_more_than_nand(library: CellLibrary, kind: str) -> None:
    parity, nand = library.cell(kind), library.cell("NAND2")
    assert all(dear > cheap for dear, cheap in zip(vars(parity).values(), vars(nand).values(), strict=True))


@each_library
def test_a_fan_out_of_four_takes_what_it_does_at_130_nm(library: CellLibrary) -> None:
    """Rule of thumb: 0.36 to 0.6 ps per nm of drawn channel (130 or 150 nm), 47 to 90 ps."""
    assert 47 < loaded_delay(library, "INV") < 90


@each_library
def test_an_inverter_spends_less_inside_than_on_two_others(library: CellLibrary) -> None:
    load_fj = 0.5 * library.output_load_ff * library.supply_v**2
    assert 0.2 * load_fj < library.cell("INV").energy_fj < 0.6 * load_fj


@each_library
def test_products_drive_two_inverters(library: CellLibrary) -> None:
    assert library.output_load_ff == 2 * library.cell("INV").pin_ff


def test_an_adder_cell_beats_its_gates() -> None:
    area = {kind: cell.area_um2 for kind, cell in SKY130.cells.items()}
    assert area["XOR2"] < area["HA"] < area["XOR2"] + area["AND2"]
    assert area["HA"] < area["FA"] < 2 * area["XOR2"] + 3 * area["NAND2"]
    assert loaded_delay(SKY130, "FA") < 3 * loaded_delay(SKY130, "XOR2")
    assert ADDERS.isdisjoint(IHP_SG13G2.cells)


@pytest.mark.parametrize(
    ("library", "kind", "energy_fj", "pin_ff"),
    [
        (SKY130, "INV", 2.77, 2.30),
        (SKY130, "OR2", 9.21, 1.47),
        (SKY130, "XNOR2", 13.0, 4.54),
        (SKY130, "MUX2", 10.3, 2.28),
        (SKY130, "FA", 8.31, 5.76),
        (IHP_SG13G2, "INV", 1.60, 2.89),
        (IHP_SG13G2, "NAND2", 2.47, 2.98),
        (IHP_SG13G2, "NOR2", 2.57, 2.98),
        (IHP_SG13G2, "AND2", 6.47, 2.56),
        (IHP_SG13G2, "XOR2", 7.54, 5.48),
    ],
)
def test_figures_agree_with_an_independent_reading(
    library: CellLibrary, kind: str, energy_fj: float, pin_ff: float
) -> None:
    """Computed once before by other code, which put the energies of IHP cells 0.7 % higher."""
    assert library.cell(kind).energy_fj == pytest.approx(energy_fj, rel=0.01)
    assert library.cell(kind).pin_ff == pytest.approx(pin_ff, rel=0.005)


@each_library
def test_source_and_licence_are_named(library: CellLibrary) -> None:
    assert "Apache-2.0" in library.attribution
    assert "PDK Authors" in library.attribution
    assert f"{library.supply_v} V" in library.node


def test_libraries_are_found_by_name_and_cannot_be_changed() -> None:
    assert CELL_LIBRARIES == {"SKY130": SKY130, "IHP SG13G2": IHP_SG13G2}
    for mapping in (CELL_LIBRARIES, SKY130.cells, IHP_SG13G2.cells):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["INV"] = SKY130.cell("INV")  # type: ignore[index]


def test_a_cell_without_delay_is_refused() -> None:
    with pytest.raises(TypeError, match="delay_ps"):
        Cell(1.0, 1.0, 1.0)  # type: ignore[call-arg]
