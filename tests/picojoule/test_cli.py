"""The command line as a user meets it: tables, --json, and one clear line with exit code 2 for every mistake."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from multipliers import default_library
from picojoule.cli import app
from picojoule.models import make_model

ROOT = Path(__file__).resolve().parents[2]


def invoke(*arguments: str) -> tuple[int, str]:
    """Exit code and everything printed."""
    script = f"import sys; from picojoule.cli import main; sys.argv = ['picojoule', *{list(arguments)!r}]; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    return done.returncode, done.stdout + done.stderr


def in_process(*arguments: str) -> list[str]:
    """Lines on standard output of a command that succeeds."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip().splitlines()


def test_help_has_an_example_for_every_command() -> None:
    verbs = ("demo", "run", "validate", "energy", "trace", "tolerance", "select", "retrain", "compile")
    for command in (*([verb] for verb in verbs), ["multipliers", "ls"]):
        assert "Example: picojoule" in "\n".join(in_process(*command, "--help"))


def test_multipliers_are_listed_and_filtered() -> None:
    everything = json.loads(in_process("multipliers", "ls", "--json")[-1])["multipliers"]
    some = json.loads(in_process("multipliers", "ls", "--unsigned", "--max-mae", "50", "--json")[-1])["multipliers"]
    assert 0 < len(some) < len(everything)
    assert all(not row["signed"] and row["mae"] <= 50 for row in some)


def test_energy_of_a_candidate_needs_no_training(tmp_path: Path) -> None:
    assignment = {"version": 1, "layers": {"layer3.*": {"multiplier": "mul8u_bam_h2v4", "operands": "sign-magnitude"}}}
    (tmp_path / "a.json").write_text(json.dumps(assignment))
    report = json.loads(in_process("energy", "resnet20", "--assignment", str(tmp_path / "a.json"), "--json")[-1])
    assert report["totals"]["macs"] == pytest.approx(40.55e6, rel=1e-3)
    assert 0 < report["saved_multiplication"] < 1
    circuits = {row["layer"]: row["circuit"] for row in report["layers"]}
    assert circuits["layer3.0.conv1"] == "mul8u_bam_h2v4" and circuits["conv1"] == "exact"


def test_compile_a_model_for_this_machine(tmp_path: Path) -> None:
    save_file(make_model("demo-cnn").state_dict(), tmp_path / "w.safetensors")
    options = ["--weights", str(tmp_path / "w.safetensors"), "--data", "digits", "--out", str(tmp_path / "build")]
    built = json.loads(in_process("compile", "demo-cnn", "--target", "x86-64", *options, "--json")[-1])
    assert built["passed"] and all((tmp_path / "build" / name).is_file() for name in ("net.c", "program_tvm.so"))
    again = ["--target", "cortex-m4", "--out", str(tmp_path / "m4"), "--json"]
    assert json.loads(in_process("compile", str(tmp_path / "build" / "program.safetensors"), *again)[-1])["passed"]


def test_select_writes_assignments_that_energy_reads(tmp_path: Path) -> None:
    save_file(make_model("demo-cnn").state_dict(), tmp_path / "w.safetensors")
    options = ["--weights", str(tmp_path / "w.safetensors"), "--data", "digits", "--out", str(tmp_path / "front")]
    rows = json.loads(in_process("select", "demo-cnn", *options, "--points", "3", "--json")[-1])["written"]
    assert len(rows) == 3 and rows[0]["energy"] < rows[-1]["energy"]
    report = json.loads(in_process("energy", "demo-cnn", "--assignment", rows[0]["file"], "--json")[-1])
    assert report["saved_multiplication"] > 0.3


CONFIG = '[model]\nname = "demo-cnn"\nweights = "{weights}"\n[data]\nname = "digits"\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing.toml"], "nothing.toml"),
        (["select", "demo-cnn", "--out", "x"], "--weights"),
        (["demo", "--out", "docs"], "docs holds other files"),
        (["energy", "resnet21"], "did you mean"),
        (["energy", "resnet20", "--assignment", "nothing.json"], "nothing.json"),
        (["energy", "resnet20", "--hardware", "abacus"], "abacus"),
        (["compile", "resnet20", "--target", "z80", "--out", "x"], "--weights"),
        (["multipliers", "ls", "--library", "nowhere"], "nowhere"),
        (["energy", "torch.nn:GELU", "--input-shape", "1,2,2"], "GELU"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    code, output = invoke(*arguments)
    assert code == 2 and message in output
    assert "Traceback" not in output and len(output.strip().splitlines()) == 1


def test_an_unknown_key_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(weights="w") + "[prune]\nmac = 0.5\n")
    code, output = invoke("run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"))
    assert code == 2 and "c.toml:7: prune.mac: unknown key; did you mean 'macs'?" in output
    assert not (tmp_path / "run").exists()


def test_an_assignment_to_a_missing_layer(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": 1, "layers": {"layer9.conv": "mul8u_exact"}}')
    code, output = invoke("energy", "resnet20", "--assignment", str(tmp_path / "a.json"))
    assert code == 2 and "layer9.conv" in output and "did you mean" in output


def test_truncated_weights_and_wrong_images(tmp_path: Path) -> None:
    save_file(make_model("demo-cnn").state_dict(), tmp_path / "whole.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-100])
    (tmp_path / "c.toml").write_text(CONFIG.format(weights=cut))
    code, output = invoke("run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"))
    assert code == 2 and "cut.safetensors" in output and not (tmp_path / "run" / "prepare").exists()
    wrong = CONFIG.format(weights=tmp_path / "whole.safetensors").replace("demo-cnn", "resnet20")
    (tmp_path / "d.toml").write_text(wrong)
    code, output = invoke("run", str(tmp_path / "d.toml"), "--out", str(tmp_path / "run2"))
    assert code == 2 and "1x8x8" in output and "3x32x32" in output and not (tmp_path / "run2").exists()


@pytest.mark.parametrize("shape", [(256, 255), (16, 16)])
def test_a_table_of_the_wrong_shape(tmp_path: Path, shape: tuple[int, int]) -> None:
    folder = tmp_path / "circuits"
    folder.mkdir()
    head = "name,signed,bits,power_mw,area_um2,delay_ns,mae,wce,wcre_percent,ep_percent,mre_percent,mse"
    (folder / "own.csv").write_text(f"{head}\nmine,0,8x8,0.3,700,1.4,0,0,0,0,0,0\n")
    np.savez(folder / "own.npz", mine=np.zeros(shape, np.int32))
    code, output = invoke("multipliers", "ls", "--library", str(folder))
    assert code == 2 and "mine" in output and "256" in output and len(output.strip().splitlines()) == 1


def test_a_damaged_library(tmp_path: Path) -> None:
    default_library().save(tmp_path / "whole.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-5000])
    code, output = invoke("multipliers", "ls", "--library", str(tmp_path / "cut.npz"))
    assert code == 2 and "cut.npz" in output and len(output.strip().splitlines()) == 1


def test_a_model_that_cannot_be_exported_names_the_operation(tmp_path: Path) -> None:
    source = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.head = torch.nn.Linear(144, 10)
    def forward(self, x):
        return self.head(torch.cumsum(self.conv(x), 1).flatten(1))
class Branch(Net):
    def forward(self, x):
        y = self.conv(x).flatten(1)
        return self.head(y) if y.sum() > 0 else -self.head(y)
"""
    (tmp_path / "mine.py").write_text(source)
    for name, message in (("Net", "cumsum"), ("Branch", "cannot be exported")):
        config = f'[model]\nname = "mine:{name}"\n[data]\nname = "digits"\n[train]\nepochs = 1\n'
        (tmp_path / "c.toml").write_text(config)
        command = [sys.executable, "-m", "picojoule", "run", "c.toml", "--out", name]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert done.returncode == 2 and len(errors) == 1 and message in errors[0]
        assert not (tmp_path / name).exists()
