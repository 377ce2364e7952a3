"""Figures printed in file headers and in the index of a release: both generations of EvoApproxLib."""

import json
from pathlib import Path

import pytest

from multipliers.importers.headers import parse_header
from multipliers.importers.metadata import read_metadata
from multipliers.importers.published import half_unit

LITE = """/***
* a licence text with MAE = 3 in it
***/
// MAE% = 0.16 %
// MAE = 0.8
// WCE% = 0.59 %
// WCE = 3.0
// WCRE% = 50.00 %
// EP% = 43.75 %
// MRE% = 0.40 %
// MSE = 1.5
// PDK45_PWR = 0.024 mW
// PDK45_AREA = 57.3 um2
// PDK45_DELAY = 0.47 ns
module x; endmodule
"""
OLD = """/// Approximate function mul8_000
///  Library = EvoApprox8b
///  Circuit = mul8_000
///  Area   (180) = 820
///  Power  (180) = 218.00
///  Area   (45) = 59
///  Delay  (45) = 0.500
///  Power  (45) = 21.53
///  Nodes = 10
///  HD = 138496
///  MAE = 1.71875
///  MSE = 6.00000
///  MRE = 0.88 %
///  WCE = 7
///  WCRE = 100 %
///  EP = 71.9 %
"""


def test_the_newer_header() -> None:
    header = parse_header(LITE, "lite2021")
    figures = header.figures
    assert figures is not None and figures.source == "lite2021, PDK45"
    assert (figures.power_mw, figures.area_um2, figures.delay_ns) == (0.024, 57.3, 0.47)
    printed = {p.label: (p.field, p.scale, p.text) for p in header.errors}
    assert printed == {
        "MAE": ("mae", 1.0, "0.8"),
        "WCE": ("wce", 1.0, "3.0"),
        "WCRE%": ("wcre", 100.0, "50.00"),
        "EP%": ("ep", 100.0, "43.75"),
        "MRE%": ("mre", 100.0, "0.40"),
        "MSE": ("mse", 1.0, "1.5"),
    }


def test_the_header_of_2017_means_other_units_and_averages() -> None:
    header = parse_header(OLD, "8b2017")
    figures = header.figures
    assert figures is not None and figures.power_mw == pytest.approx(0.02153)
    assert (figures.area_um2, figures.delay_ns) == (59.0, 0.5)
    printed = {p.label: (p.field, p.text) for p in header.errors}
    assert printed["MRE"] == ("mre_8b2017", "0.88") and printed["WCRE"] == ("wcre_8b2017", "100")
    assert printed["EP"] == ("ep", "71.9") and printed["MAE"] == ("mae", "1.71875")


@pytest.mark.parametrize("text", [LITE, OLD])
def test_line_ends_do_not_matter(text: str) -> None:
    unix, dos = parse_header(text, "x"), parse_header(text.replace("\n", "\r\n"), "x")
    assert unix == dos and unix.figures is not None and len(unix.errors) == 6


def test_no_header() -> None:
    header = parse_header("module x; // MAE = about 3\nendmodule", "nowhere")
    assert header.errors == () and header.figures is None


def test_the_index_of_a_release(tmp_path: Path) -> None:
    instance = {"name": "mul8u_X", "files": [], "params": {"pwr": "0.39", "area": "709", "ep%": "6.25", "mae%": "n/a"}}
    (tmp_path / "meta.json").write_text(json.dumps([{"datasets": [{"datasets": [{"instances": [instance]}]}]}]))
    found = read_metadata(tmp_path, "lite2021")
    figures = found["mul8u_X"].figures
    assert figures is not None and figures.power_mw == 0.39 and figures.delay_ns is None
    assert [(p.field, p.text) for p in found["mul8u_X"].errors] == [("ep", "6.25")]
    assert read_metadata(tmp_path / "nowhere", "x") == {}


def test_a_broken_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"name": ')
    with pytest.raises(ValueError, match=r"meta\.json: expected the JSON index"):
        read_metadata(tmp_path, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.12", 0.005),
        ("12.0", 0.5),
        ("36", 0.5),
        ("0.0", 0.0),
        ("471649810", 5.0),
        ("0.0053", 0.00005),
        ("12.5e3", 50.0),
        ("1e3", 500.0),
        ("6e-08", 5e-9),
        ("1.5E+02", 5.0),
        ("34405.106e3", 0.5),
        ("25053.976e5", 50.0),
    ],
)
def test_rounding_of_printed_numbers(text: str, expected: float) -> None:
    assert half_unit(text) == pytest.approx(expected)


def test_reading_a_header_takes_time_in_proportion_to_the_file() -> None:
    """Blank lines used to be read once for every line: 200,000 of them took minutes."""
    assert parse_header("\n" * 200_000 + LITE, "x").errors == parse_header(LITE, "x").errors
