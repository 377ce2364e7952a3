"""The main job on real (small) data: what it finds is consistent, what it leaves is complete, a kill costs little."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.golden import load_golden
from deploy.interpreter import run
from deploy.program_file import load_program
from picojoule.config import load_config
from picojoule.files import read_json
from picojoule.pipeline import run_pipeline
from picojoule.run_folder import read_log

CONFIG = """
name = "small"
threads = 1
[model]
name = "demo-cnn"
[data]
name = "digits"
batch_size = 64
calibration_images = 256
[train]
epochs = 3
[prune]
macs = 0.7
criterion = "{criterion}"
min_keep = 6
fine_tune_epochs = 2
images = 128
[tolerance]
method = "{tolerance}"
epochs = 1
images = 256
[select]
circuits = ["mul8u_exact", "mul8u_trunc*", "mul8u_drum*"]
candidates = 3
max_loss = 4.0
patches = 128
[retrain]
epochs = 2
[deploy]
targets = ["onnx"]
golden_images = 16
"""
STAGES = ["prepare", "prune", "quantise", "tolerate", "select", "retrain", "deploy", "measure", "energy"]


def write_config(folder: Path, criterion: str = "magnitude", tolerance: str = "fisher") -> Path:
    path = folder / "small.toml"
    path.write_text(CONFIG.format(criterion=criterion, tolerance=tolerance))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("run")
    return folder / "out", run_pipeline(load_config(write_config(folder)), folder / "out")


def test_results_are_complete_and_plausible(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, r = finished
    assert r == {**read_json(folder / "results.json"), "report": r["report"]}  # type: ignore[dict-item]
    assert r["accuracy_float"] > 0.85 and r["accuracy_approximate"] > 0.6 and r["test_images"] == 360
    assert r["macs_after"] < 0.72 * r["macs_before"] and r["max_difference_masked_cut"] < 1e-9
    assert 0 < r["energy_saved_multiplication"] < 1 and r["energy_saved_total"] < r["energy_saved_multiplication"]
    assert r["energy_saved_total_with_pruning"] > r["energy_saved_total"]
    assert r["backends_agree"] is True and r["backends"] == {"onnx": True}


def test_the_reported_accuracy_is_the_program_s(finished: tuple[Path, dict[str, Any]]) -> None:
    from picojoule.data import load_data

    folder, r = finished
    images, labels = load_data(load_config(folder.parent / "small.toml").data).test[:]
    program = load_program(folder / "deploy" / "program.safetensors")
    outputs = run(program, program.quantise_input(images.numpy()))
    assert r["accuracy_approximate"] == np.mean(outputs.argmax(1) == labels.numpy())
    golden = load_golden(folder / "deploy" / "golden.safetensors")
    assert (outputs[: len(golden.outputs)] == golden.outputs).all()


def test_every_back_end_gives_the_program_s_integers_on_100_test_images(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    from deploy.golden import make_golden
    from deploy.onnx_backend import export_onnx, run_onnx
    from deploy.targets import target
    from deploy.tvm_backend import compile_tvm
    from picojoule.data import load_data

    folder, _ = finished
    images, _ = load_data(load_config(folder.parent / "small.toml").data).test[:100]
    program = load_program(folder / "deploy" / "program.safetensors")
    assert any(getattr(op, "weights", None) is not None and op.weights.table is not None for op in program.operations)
    golden = make_golden(program, program.quantise_input(images.numpy()))
    assert len(np.unique(golden.outputs)) > 100
    assert (compile_tvm(program).run(golden.inputs) == golden.outputs).all()
    assert (run_onnx(export_onnx(program, tmp_path / "p.onnx"), golden.inputs) == golden.outputs).all()
    for name in ("cortex-m4", "x86-64"):
        artifact = target(name).build(program, tmp_path / name, golden)
        assert [check.outcome for check in artifact.checks] == ["passed"] * len(artifact.checks), artifact.checks


def test_the_report_and_the_picture_are_there(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, r = finished
    page = Path(r["report"]).read_text()
    assert "mul8u_" in page and "Plotly" in page
    assert (folder / "front.svg").read_text().startswith("<svg")


def test_nothing_is_done_twice(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, r = finished
    again = run_pipeline(load_config(folder.parent / "small.toml"), folder)
    events = read_log(folder / "log.jsonl")
    last = [
        e
        for e in events
        if e["time"] >= [e for e in events if e["event"] == "begin" and e["stage"] == "run"][-1]["time"]
    ]
    assert [e["stage"] for e in last if e["event"] == "cached"] == STAGES
    assert again == r


def test_a_changed_key_redoes_only_what_depends_on_it(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = finished
    run_pipeline(load_config(folder.parent / "small.toml", ["deploy.golden_images=8"]), folder)
    events = read_log(folder / "log.jsonl")
    last = events[max(i for i, e in enumerate(events) if e["stage"] == "run" and e["event"] == "begin") :]
    assert {e["stage"] for e in last if e["event"] == "done"} <= {"deploy", "measure"}


def test_agn_and_taylor_go_through(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, "taylor", "agn"))
    r = run_pipeline(config, tmp_path / "out")
    assert r["accuracy_approximate"] > 0.5 and r["backends_agree"] is True


@pytest.mark.parametrize("stage", ["prepare", "select", "retrain", "deploy"])
def test_killed_and_restarted_it_goes_on_and_finds_the_same(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path, stage: str
) -> None:
    config, out = write_config(tmp_path), tmp_path / "out"
    command = [sys.executable, "-m", "picojoule", "run", str(config), "--out", str(out), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted = "epoch" if stage in ("prepare", "retrain") else "begin"
    while process.poll() is None and not _seen(out, stage, wanted):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {e["stage"] for e in read_log(out / "log.jsonl") if e["event"] == "done"}
    assert stage not in done
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    events = read_log(out / "log.jsonl")
    last = events[max(i for i, e in enumerate(events) if e["stage"] == "run" and e["event"] == "begin") :]
    assert {e["stage"] for e in last if e["event"] == "cached"} == done
    if wanted == "epoch":
        epochs = [e["epoch"] for e in last if e["stage"] == stage and e["event"] == "epoch"]
        assert 1 not in epochs, "the epoch done before the kill was done again"
    mine, theirs = json.loads(text.splitlines()[-1]), finished[1]
    same = ("accuracy_float", "accuracy_int8", "accuracy_approximate", "assignment", "energy_saved_total")
    assert {k: mine[k] for k in same} == {k: theirs[k] for k in same}


def _seen(out: Path, stage: str, event: str) -> bool:
    log = out / "log.jsonl"
    return log.is_file() and any(e["stage"] == stage and e["event"] == event for e in read_log(log))
