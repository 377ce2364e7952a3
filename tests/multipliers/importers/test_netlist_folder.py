"""Checkouts of EvoApproxLib, rebuilt small: Pareto folders, mapped netlists, adders, headers that lie."""

import json
from pathlib import Path

import numpy as np
import pytest

from multipliers import Library, Multiplier, generate, import_circuits
from multipliers.importers import Reading
from multipliers.readers import NetlistError
from multipliers.testing import LibraryConformance
from multipliers.writers.verilog import write_verilog

ADDER = "module add4u_1(A, B, O); input [3:0] A, B; output [4:0] O; assign O = {1'b0, A} + {1'b0, B}; endmodule"


def header(circuit: Multiplier, **changes: str) -> str:
    s = circuit.statistics()
    figures = {
        "MAE": f"{s.mae:.2f}",
        "WCE": f"{s.wce:.1f}",
        "WCRE%": f"{100 * s.wcre:.2f} %",
        "EP%": f"{100 * s.ep:.2f} %",
        "MRE%": f"{100 * s.mre:.2f} %",
        "MSE": f"{s.mse:.1f}",
        "PDK45_PWR": "0.031 mW",
        "PDK45_AREA": "85.9 um2",
        "PDK45_DELAY": "0.54 ns",
    }
    return "".join(f"// {label} = {value}\n" for label, value in {**figures, **changes}.items())


def put(root: Path, folder: str, name: str, circuit: Multiplier, head: str = "", suffix: str = "") -> Path:
    path = root / "multiplers" / folder / f"{name}{suffix}.v"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert circuit.netlist is not None
    path.write_text(head + write_verilog(circuit.netlist))
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "evoapproxlib"
    exact, rough, signed = generate("mul4u_exact"), generate("mul4u_trunc3"), generate("mul4s_trunc2")
    put(root, "4_unsigned/pareto_pwr_mae", "mul4u_AAA", exact, header(exact))
    put(root, "4_unsigned/pareto_pwr_mae", "mul4u_BBB", rough, header(rough))
    put(root, "4_unsigned/pareto_pwr_wce", "mul4u_BBB", rough, header(rough))
    put(root, "4_signed/pareto_pwr_mae", "mul4s_CCC", signed, suffix="_pdk45")
    (root / "multiplers/4_signed/pareto_pwr_mae/mul4s_CCC.v").write_text(
        header(signed) + "module damaged(A, B); XX y();"
    )
    adders = root / "adders/4_unsigned"
    adders.mkdir(parents=True)
    (adders / "add4u_1.v").write_text(ADDER)
    return root


class TestCheckout(LibraryConformance):
    @pytest.fixture
    def library(self, checkout: Path) -> Library:
        return import_circuits(checkout).library


def test_a_checkout_is_read_whole(checkout: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    outcome = import_circuits(checkout, Reading("lite2021"), progress=lambda *step: seen.append(step))
    assert sorted(outcome.library) == ["mul4s_CCC", "mul4u_AAA", "mul4u_BBB"]
    assert outcome.mismatches == ()
    (adder,) = outcome.skipped
    assert str(adder).startswith(f"{adder.file}: expected a multiplier with 8 product bits for 4 x 4, got 5; is it an")
    assert [done for done, _, _ in seen] == [1, 2, 3, 4, 5] and {total for _, total, _ in seen} == {5}
    signed, rough = outcome.library["mul4s_CCC"], outcome.library["mul4u_BBB"]
    assert signed.signed and signed.content_hash == generate("mul4s_trunc2").content_hash
    assert rough.provenance.source == "lite2021: mul4u_BBB.v"


def test_published_figures_are_kept_beside_our_own(checkout: Path) -> None:
    library = import_circuits(checkout, Reading("lite2021")).library
    for name in library:  # the mapped file has no header: its plain sibling's counts
        published = library[name].published
        assert published is not None and published.source == "lite2021, PDK45"
        assert (published.power_mw, published.area_um2, published.delay_ns) == (0.031, 85.9, 0.54)
    own, imported = generate("mul4u_trunc3"), library["mul4u_BBB"]
    assert imported.energy_pj == pytest.approx(own.energy_pj) and imported.area_um2 == pytest.approx(own.area_um2)


@pytest.mark.parametrize(
    ("label", "value"), [("MAE", "1.7"), ("WCE", "20"), ("EP%", "50.0 %"), ("MRE%", "0.1 %"), ("WCRE%", "1.00 %")]
)
def test_a_header_that_lies_is_reported_and_the_circuit_kept(checkout: Path, label: str, value: str) -> None:
    rough = generate("mul4u_trunc3")
    path = put(checkout, "4_unsigned/pareto_pwr_ep", "mul4u_DDD", rough, header(rough, **{label: value}))
    outcome = import_circuits(checkout)
    (mismatch,) = outcome.mismatches
    assert (mismatch.circuit, mismatch.figure, mismatch.file) == ("mul4u_DDD", label, str(path))
    assert str(mismatch).startswith(f"{path}, 'mul4u_DDD': published {label} is {value.split()[0]}, the circuit gives")
    assert "mul4u_DDD" in outcome.library


def test_one_name_for_two_functions_is_kept_apart(checkout: Path) -> None:
    other = generate("mul4u_trunc4")
    put(checkout, "v2022/pareto_pwr_mae", "mul4u_BBB", other)
    library = import_circuits(checkout).library
    assert len(library) == 4
    name = f"mul4u_BBB@{other.content_hash[:8]}"
    assert library[name].content_hash == other.content_hash


def test_the_index_serves_where_headers_are_missing(checkout: Path) -> None:
    put(checkout, "4_unsigned/pareto_pwr_ep", "mul4u_EEE", generate("mul4u_trunc2"))
    index = [{"instances": [{"name": "mul4u_EEE", "params": {"pwr": "0.5", "ep%": "99.0"}}]}]
    (checkout / "meta.json").write_text(json.dumps(index))
    outcome = import_circuits(checkout)
    published = outcome.library["mul4u_EEE"].published
    assert published is not None and published.power_mw == 0.5
    assert [m.figure for m in outcome.mismatches] == ["ep%"]


def test_a_skipped_file_is_named_once_and_with_the_line(checkout: Path) -> None:
    path = checkout / "multiplers/4_signed/pareto_pwr_ep/mul4s_HHH.v"
    path.parent.mkdir()
    path.write_text("module m(A, B, Z);\ninput [3:0] A, B;\noutput [7:0] Z;\nassign Z = A / B;\nendmodule")
    (skipped,) = (skipped for skipped in import_circuits(checkout).skipped if skipped.file == str(path))
    assert str(skipped).startswith(f"{path}: line 4: ")


def test_behavioural_truncation_is_our_truncation(tmp_path: Path) -> None:
    """Wide signed circuits of EvoApproxLib multiply cut operands with ``*``."""
    path = tmp_path / "mul4s_HHH.v"
    path.write_text(
        "// truncated multiplier\nmodule m(A, B, Z);\ninput signed [4-1:0] A, B;\noutput signed [2*4-1:0] Z;\n"
        "wire signed [2*(4-1)-1:0] t;\nassign t = $signed(A[4-1:1]) * $signed(B[4-1:1]);\n"
        "assign Z = {t, 2'b00};\nendmodule"
    )
    (circuit,) = import_circuits(path).library.values()
    ours = generate("mul4s_optrunc1")
    assert circuit.signed and circuit.content_hash == ours.content_hash
    assert circuit.energy_relative == pytest.approx(ours.energy_relative, rel=0.02)


def test_single_files_fail_loudly(checkout: Path) -> None:
    path = checkout / "multiplers/4_signed/pareto_pwr_mae/mul4s_CCC.v"
    with pytest.raises(NetlistError, match="mul4s_CCC.v"):
        import_circuits(path)
    with pytest.raises(NetlistError, match=r"expected a multiplier with 8 product bits for 4 x 4, got 5"):
        import_circuits(checkout / "adders/4_unsigned/add4u_1.v")
    (circuit,) = import_circuits(checkout / "multiplers/4_unsigned/pareto_pwr_mae/mul4u_AAA.v").library.values()
    assert circuit.is_exact


def test_operands_and_sign_can_be_told(tmp_path: Path) -> None:
    ports = "input [1:0] Y; input [2:0] X; output [4:0] P;"
    text = f"module thing(Y, X, P); {ports} assign P = {{3'b0, Y}} + {{2'b0, X}}; endmodule"
    (tmp_path / "thing.v").write_text(text)
    (circuit,) = import_circuits(tmp_path / "thing.v", Reading(operands=("X", "Y"))).library.values()
    assert (circuit.width_a, circuit.width_b) == (3, 2) and circuit.table[5, 2] == 7
    (circuit,) = import_circuits(tmp_path, Reading(operands=("Y", "X"), signed=True)).library.values()
    assert (circuit.width_a, circuit.signed) == (2, True)


def test_wide_circuits_are_judged_by_samples(tmp_path: Path) -> None:
    circuit = generate("mul12u_trunc8")
    s = circuit.statistics()
    true = {"MAE": f"{(7 * 2**8 + 1) / 4:.1f}", "WCE": f"{7 * 2**8 + 1}"}
    put(tmp_path, "12", "mul12u_A", circuit, header(circuit, **true))
    put(
        tmp_path,
        "12",
        "mul12u_B",
        circuit,
        header(circuit, **{**true, "WCE": str(s.wce - 2), "MAE": f"{1.05 * s.mae}"}),
    )
    outcome = import_circuits(tmp_path)
    assert [(m.circuit, m.figure) for m in outcome.mismatches] == [("mul12u_B", "MAE"), ("mul12u_B", "WCE")]


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        import_circuits(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="found neither"):
        import_circuits(tmp_path)
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ValueError, match="cannot tell what this is"):
        import_circuits(tmp_path / "x.txt")
    (tmp_path / "x.h").write_text("")
    with pytest.raises(ValueError, match="a C table has no energy"):
        import_circuits(tmp_path / "x.h")


def test_a_saved_library_comes_back(tmp_path: Path) -> None:
    Library([generate("mul4u_exact")]).save(tmp_path / "a.npz")
    assert list(import_circuits(tmp_path / "a.npz").library) == ["mul4u_exact"]


def test_odd_company_does_not_spoil_a_folder(checkout: Path) -> None:
    """Whatever lies beside good circuits is skipped with its reason, and nothing ends the import."""
    (checkout / "thin.v").write_text(
        "module t(A, B, O); input signed A; input signed [3:0] B; output [4:0] O; assign O = A * B; endmodule"
    )
    (checkout / "wide.v").write_text(
        "module w(A, B, O); input [31:0] A, B; output [63:0] O; assign O = {A, B}; endmodule"
    )
    rough = generate("mul4u_trunc3")
    put(checkout, "x", "mul4u_INF", rough, header(rough, MAE="1e999"))
    (checkout / "directory.v").mkdir()
    (checkout / "meta.json").write_text("[1, 2")
    (checkout / "design.json").write_text("{}")
    (checkout / "other.csv").write_text("a,b\n1,2\n")
    np.savez(checkout / "other.npz", a=np.zeros(3))
    outcome = import_circuits(checkout)
    assert {"mul4s_CCC", "mul4u_AAA", "mul4u_BBB"} <= set(outcome.library)
    reasons = {Path(skipped.file).name: skipped.reason for skipped in outcome.skipped}
    assert "no exact signed multiplier of 1 x 4 bits" in reasons["thin.v"]
    assert "at most 63 product bits" in reasons["wide.v"]
    assert "JSON index" in reasons["meta.json"] and "design.json" in reasons
    assert outcome.mismatches == ()


@pytest.mark.parametrize("value", ["NaN", "true", "null", '"nan"', '"many"', "[1]", "3"])
def test_figures_of_an_index_that_are_no_numbers_are_left_out(checkout: Path, value: str) -> None:
    put(checkout, "x", "mul4u_EEE", generate("mul4u_trunc2"))
    (checkout / "meta.json").write_text(f'[{{"name": "mul4u_EEE", "params": {{"pwr": {value}, "area": "3.5"}}}}]')
    published = import_circuits(checkout).library["mul4u_EEE"].published
    assert published is not None and published.power_mw is None and published.area_um2 == 3.5


def test_a_folder_without_a_circuit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.v").write_text(ADDER)
    with pytest.raises(ValueError, match=r"none of 1 files is a circuit: .*is it an adder"):
        import_circuits(tmp_path)


def test_rare_errors_of_wide_circuits_are_no_contradiction(tmp_path: Path) -> None:
    """One wrong pair in 2^24 is hardly ever drawn."""
    body = "assign O = A * B ^ {23'b0, &{A, B}};"
    (tmp_path / "mul12u_R.v").write_text(
        "// EP% = 0.00000596 %\n// MAE = 0.00000006\n// WCE = 1\n"
        f"module r(A, B, O); input [11:0] A, B; output [23:0] O; {body} endmodule"
    )
    outcome = import_circuits(tmp_path)
    assert outcome.mismatches == () and outcome.library["mul12u_R"].statistics().ep == 0


def test_a_wrong_guess_of_the_sign_is_refused_with_the_remedy(tmp_path: Path) -> None:
    signed = generate("mul4s_trunc2")
    assert signed.netlist is not None
    for name in ("mul4u_wrong.v", "plain.v"):
        path = tmp_path / name
        path.write_text(write_verilog(signed.netlist).replace("signed ", ""))
        with pytest.raises(NetlistError, match=r"read as unsigned .* as signed only .*--signed or --unsigned"):
            import_circuits(path)
        (circuit,) = import_circuits(path, Reading(signed=True)).library.values()
        assert circuit.content_hash == signed.content_hash


def test_a_name_of_other_widths_is_refused(tmp_path: Path) -> None:
    netlist = generate("mul4u_exact").netlist
    assert netlist is not None
    (tmp_path / "mul8u_FAKE.v").write_text(write_verilog(netlist))
    with pytest.raises(NetlistError, match="its name says 8 x 8 bits, its operands have 4 x 4"):
        import_circuits(tmp_path / "mul8u_FAKE.v")


def test_a_file_of_several_modules_needs_its_top(tmp_path: Path) -> None:
    one = "module {name}(A, B, O); input [1:0] A, B; output [3:0] O; assign O = A * B; endmodule\n"
    (tmp_path / "two.v").write_text(one.format(name="first") + one.format(name="second"))
    with pytest.raises(NetlistError, match="top"):
        import_circuits(tmp_path / "two.v")
    (circuit,) = import_circuits(tmp_path / "two.v", Reading(top="second")).library.values()
    assert circuit.is_exact
