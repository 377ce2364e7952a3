"""EvoApproxLib: the 49 real circuits, and files that lie."""

from pathlib import Path

import numpy as np
import pytest

from multipliers import Library, load_evoapprox
from multipliers.importers.published import KNOWN_MISPRINTS
from multipliers.testing import LibraryConformance

HEADER = "name,signed,bits,power_mw,area_um2,delay_ns,mae,wce,wcre_percent,ep_percent,mre_percent,mse"
EXACT = "exact,0,2x2,0.4,10.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0"
WRONG = "wrong,0,2x2,0.1,5.0,0.5,0.12,2.0,22.22,6.25,2.47,0.25"
TABLE = np.multiply.outer(np.arange(4), np.arange(4)).astype(np.int32)
APPROXIMATE = TABLE.copy()
APPROXIMATE[3, 3] = 7


@pytest.fixture(scope="session")
def evoapprox(shared_data: Path) -> Library:
    return load_evoapprox(shared_data / "multipliers")


class TestEvoApprox(LibraryConformance):
    @pytest.fixture
    def library(self, evoapprox: Library) -> Library:
        return evoapprox


def write(folder: Path, rows: list[str], header: str = HEADER, **tables: np.ndarray) -> Path:
    (folder / "pair.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    np.savez(folder / "pair.npz", **(tables or {"exact": TABLE, "wrong": APPROXIMATE}))
    return folder


def test_all_49_circuits_match_their_published_figures(evoapprox: Library) -> None:
    """Loading verifies MAE, WCE, WCRE, EP, MRE and MSE of every row; one figure is a known misprint."""
    assert len(evoapprox) == 49
    assert len(evoapprox.filter(signed=False)) == 36 and len(evoapprox.filter(signed=True)) == 13
    assert {(evoapprox["mul8s_1KRC"].content_hash[:8], "mae")} == KNOWN_MISPRINTS
    assert evoapprox["mul8s_1KRC"].statistics().mae == pytest.approx(36.535, abs=5e-4)


def test_energy_is_published_power_relative_to_exact(evoapprox: Library) -> None:
    assert evoapprox["mul8u_1JFF"].energy_relative == 1.0 and evoapprox["mul8s_1KV8"].energy_relative == 1.0
    assert evoapprox["mul8u_17KS"].energy_relative == pytest.approx(0.104 / 0.391)
    assert evoapprox["mul8s_1L1G"].energy_relative == pytest.approx(0.126 / 0.425)
    assert evoapprox["mul8u_17KS"].energy_pj == pytest.approx(0.2 * 0.104 / 0.391)
    assert evoapprox["mul8u_E9R"].energy_pj == 0.0
    assert evoapprox["mul8u_1JFF"].area_um2 == 709.6 and evoapprox["mul8u_1JFF"].delay_ns == 1.43
    provenance = evoapprox["mul8u_1JFF"].provenance
    assert "45 nm" in provenance.node and "Horowitz" in provenance.method and provenance.uncertainty > 0


def test_a_correct_pair_loads(tmp_path: Path) -> None:
    library = load_evoapprox(write(tmp_path, [EXACT, WRONG]))
    assert list(library) == ["exact", "wrong"]
    assert library["wrong"].energy_relative == 0.25 and library["wrong"].width_a == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [(6, "0.14"), (7, "3.0"), (8, "22.23"), (9, "6.5"), (10, "2.49"), (11, "0.24")],
)
def test_a_published_figure_that_contradicts_the_table_is_refused(tmp_path: Path, column: int, value: str) -> None:
    fields = WRONG.split(",")
    fields[column] = value
    name = HEADER.split(",")[column]
    with pytest.raises(ValueError, match=f"'wrong': published {name} is {value}, the circuit gives"):
        load_evoapprox(write(tmp_path, [EXACT, ",".join(fields)]))


def test_a_swapped_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'exact': published mae is 0\.0, the circuit gives 0\.125"):
        load_evoapprox(write(tmp_path, [EXACT, WRONG], exact=APPROXIMATE, wrong=TABLE))


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([WRONG], HEADER, "no exact unsigned circuit"),
        ([EXACT, "ghost" + WRONG[5:]], HEADER, "no table for ghost"),
        ([EXACT, WRONG.replace(",0,2x2", ",2,2x2")], HEADER, "line 3: signed must be 0 or 1, got '2'"),
        ([EXACT, WRONG.replace("2x2", "2 by 2")], HEADER, "bits must read like '8x8'"),
        ([EXACT, WRONG.replace("2x2", "3x2")], HEADER, r"shape \(8, 4\)"),
        ([EXACT, WRONG.replace("5.0", "n/a")], HEADER, "area_um2 must be a number, got 'n/a'"),
        ([EXACT, "wrong,0,2x2"], HEADER, "line 3: incomplete row"),
        ([EXACT, WRONG], HEADER.replace("power_mw", "power"), r"missing column\(s\) power_mw"),
        ([EXACT, EXACT], HEADER, "two circuits are named 'exact'"),
    ],
)
def test_malformed_pairs_are_refused(tmp_path: Path, rows: list[str], header: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_evoapprox(write(tmp_path, rows, header))


def test_a_folder_without_a_pair_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alone.csv").write_text(HEADER)
    with pytest.raises(ValueError, match="expected an EvoApproxLib pair"):
        load_evoapprox(tmp_path)
