"""`picojoule multipliers ...` as a user meets it."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from multipliers import Library, default_library, generate
from multipliers.readers import read_verilog
from multipliers.writers.c_header import write_c_header
from picojoule.cli import app
from picojoule.errors import user_message


def run(*arguments: str) -> list[str]:
    """Lines on standard output of a command that succeeds."""
    result = CliRunner().invoke(app, ["multipliers", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip().splitlines()


def refused(*arguments: str) -> str:
    """What the user is told about a command that fails."""
    result = CliRunner().invoke(app, ["multipliers", *arguments])
    assert result.exit_code != 0 and result.exception is not None
    message = user_message(result.exception)
    assert message is not None, f"unexpected {result.exception!r}"
    return message


def values(*arguments: str) -> dict:
    return json.loads(run(*arguments, "--json")[-1])


@pytest.mark.parametrize("command", ["ls", "show", "generate", "import", "export", "pareto", "plot"])
def test_every_command_has_an_example(command: str) -> None:
    assert "Example" in "\n".join(run(command, "--help"))


def test_ls_filters_by_width_sign_error_and_energy(tmp_path: Path) -> None:
    everything = values("ls")["multipliers"]
    assert len(everything) == len(default_library())
    signed = values("ls", "--signed", "--max-mae", "50", "--max-energy", "0.9")["multipliers"]
    assert 0 < len(signed) < len(everything)
    assert all(row["signed"] and row["mae"] <= 50 and row["energy_relative"] <= 0.9 for row in signed)
    Library([generate("mul8x4u_trunc3"), generate("mul4u_exact")]).save(tmp_path / "a.npz")
    found = values("ls", "--library", str(tmp_path / "a.npz"), "--width", "8x4")["multipliers"]
    assert [row["name"] for row in found] == ["mul8x4u_trunc3"] and found[0]["widths"] == [8, 4]
    assert 'expected "8x8"' in refused("ls", "--width", "wide")


def test_show_tells_all_and_draws(tmp_path: Path) -> None:
    lines = run("show", "mul8u_bam_h2v6", "--map", str(tmp_path / "map.png"))
    text = "\n".join(lines)
    assert "MAE" not in text and "240.25" in text and "SKY130" in text and "IHP SG13G2" in text and "█" in text
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    run("show", "mul8s_trunc6", "--map", str(tmp_path / "map.html"))
    assert "Plotly" in (tmp_path / "map.html").read_text(encoding="utf-8")
    found = values("show", "mul8u_bam_h2v6")
    assert found["statistics"]["wce"] == 961 and set(found["cost"]) == {"SKY130", "IHP SG13G2"}
    assert found["gates"]["FA"] > 10 and found["content_hash"] == generate("mul8u_bam_h2v6").content_hash


def test_show_generates_what_the_library_does_not_hold() -> None:
    found = values("show", "mul16s_sm_drum6")
    assert found["statistics"]["sampled_pairs"] > 0 and found["widths"] == [16, 16]
    assert "estimated from" in "\n".join(run("show", "mul16s_sm_drum6"))


def test_generate_by_name_sweep_and_technology(tmp_path: Path) -> None:
    out = tmp_path / "mine.npz"
    run("generate", "mul8u_drum4", "mul12s_trunc5", "--out", str(out))
    assert list(Library.load(out)) == ["mul8u_drum4", "mul12s_trunc5"]
    swept = values("generate", "--sweep", "4x2u", "--cells", "IHP SG13G2")["multipliers"]
    assert len(swept) > 40 and {"mul4x2u_exact", "mul4x2u_trunc3"} <= {row["name"] for row in swept}
    families = values("generate", "--families")["families"]
    assert {"drum", "tosam", "booth_signed", "momeni"} <= {row["family"] for row in families}
    assert all(row["source"] and row["definition"] and row["names"] for row in families)


def test_import_reports_and_saves(tmp_path: Path) -> None:
    circuit = generate("mul4u_trunc3")
    run("export", "mul4u_trunc3", "--out", str(tmp_path / "in" / "mul4u_A.v"))
    path = tmp_path / "in" / "mul4u_A.v"
    path.write_text("// MAE = 0.5\n// WCE = 17\n// PDK45_PWR = 0.1 mW\n" + path.read_text())
    (tmp_path / "in" / "mul4u_B.v").write_text("module broken(")
    out = tmp_path / "out.npz"
    found = values("import", str(tmp_path / "in"), "--out", str(out), "--source", "mine")
    assert [row["name"] for row in found["multipliers"]] == ["mul4u_A"]
    assert len(found["mismatches"]) == 1 and "published MAE is 0.5, the circuit gives 4.25" in found["mismatches"][0]
    assert len(found["skipped"]) == 1 and "mul4u_B.v" in found["skipped"][0]
    back = Library.load(out)["mul4u_A"]
    assert back.content_hash == circuit.content_hash and back.published is not None and back.published.power_mw == 0.1
    assert "published (mine, PDK45): power_mw 0.1" in "\n".join(run("show", "mul4u_A", "--library", str(out)))


def test_import_of_a_c_table(tmp_path: Path) -> None:
    circuit = generate("mul8s_trunc4")
    (tmp_path / "lut.h").write_text(write_c_header(circuit))
    out = tmp_path / "out.npz"
    assert "energy" in refused("import", str(tmp_path / "lut.h"), "--out", str(out)) and not out.exists()
    run("import", str(tmp_path / "lut.h"), "--out", str(out), "--energy", "0.7", "--signed")
    assert Library.load(out)["mul8s_trunc4"].content_hash == circuit.content_hash


def test_export_in_every_format(tmp_path: Path) -> None:
    circuit = generate("mul8u_trunc6")
    for name in ("a.v", "a.h", "a.hex", "a.mem", "a.npz"):
        assert run("export", "mul8u_trunc6", "--out", str(tmp_path / name)) == [str(tmp_path / name)]
    np.testing.assert_array_equal(read_verilog(tmp_path / "a.v").product_table(), circuit.table)
    assert Library.load(tmp_path / "a.npz")["mul8u_trunc6"].content_hash == circuit.content_hash
    assert (tmp_path / "a.hex").read_text() == (tmp_path / "a.mem").read_text()
    assert "gates are not known" not in (tmp_path / "a.h").read_text()
    assert "expected one of .h (C header)" in refused("export", "mul8u_trunc6", "--out", str(tmp_path / "a.txt"))


def test_verilog_of_a_circuit_without_gates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lut.h").write_text(write_c_header(generate("mul4u_exact")))
    run("import", str(tmp_path / "lut.h"), "--out", str(tmp_path / "t.npz"), "--energy", "1")
    message = refused("export", "mul4u_exact", "--library", str(tmp_path / "t.npz"), "--out", str(tmp_path / "t.v"))
    assert "not its gates" in message and not (tmp_path / "t.v").exists()


def test_pareto_keeps_the_front(tmp_path: Path) -> None:
    out = tmp_path / "front.npz"
    rows = values("pareto", "--unsigned", "--error", "mre", "--out", str(out))["multipliers"]
    errors, energies = [row["mre"] for row in rows], [row["energy_relative"] for row in rows]
    assert errors == sorted(errors, reverse=True) and energies == sorted(energies)
    assert list(Library.load(out)) == [row["name"] for row in rows]
    assert "error must be one of" in refused("pareto", "--error", "psnr")


@pytest.mark.parametrize("ending", ["png", "svg", "html"])
def test_plot_compares_libraries(tmp_path: Path, ending: str) -> None:
    Library([generate("mul8u_exact"), generate("mul8u_drum4")]).save(tmp_path / "a.npz")
    out = tmp_path / f"plot.{ending}"
    run("plot", "--library", "default", "--library", str(tmp_path / "a.npz"), "--error", "std", "--out", str(out))
    assert out.stat().st_size > 5_000
    assert "default" in out.read_text(encoding="utf-8", errors="replace") or ending == "png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "mul8u_drum"], "nor can it be generated"),
        (["show", "mul8u_drum44"], "3..8 bits"),
        (["show", "nothing.v"], "nothing.v"),
        (["show", "mul8u_exact", "--map", "x.gif"], "expected a picture"),
        (["show", "mul16u_exact", "--map", "x.png"], "too many pairs for a map"),
        (["generate"], "nothing to generate"),
        (["generate", "mul8u_exact", "--out", "x.txt"], "written as .npz"),
        (["generate", "mul8u_exact", "--cells", "7nm"], "unknown technology '7nm'"),
        (["generate", "--sweep", "eight"], 'expected widths and sign such as "8x8u"'),
        (["import", "nothing", "--out", "x.npz"], "nothing"),
        (["import", "docs", "--out", "x.npz"], "found neither"),
        (["import", "docs", "--out", "x.npz", "--operands", "X"], "two ports"),
        (["plot", "--out", "x.png", "--max-mae", "-1"], "no circuit left"),
        (["plot", "--out", "x.png", "--error", "psnr"], "error must be one of"),
    ],
)
def test_mistakes_are_explained(arguments: list[str], message: str) -> None:
    assert message in refused(*arguments)
